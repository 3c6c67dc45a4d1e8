package liquid

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/osteele/liquid/values"
)

// object is a JSON object. It prints as JSON: the engine alone would print the
// way Go writes maps.
type object map[string]any

func (o object) String() string {
	text, err := json.Marshal(o)
	if err != nil {
		return ""
	}
	return string(text)
}

func (o object) names() []string { return slices.Sorted(maps.Keys(o)) }

// decodeVars reads the data of a template.
func decodeVars(vars json.RawMessage) (map[string]any, error) {
	decoded := map[string]any{}
	if len(bytes.TrimSpace(vars)) > 0 {
		d := json.NewDecoder(bytes.NewReader(vars))
		d.UseNumber()
		if err := d.Decode(&decoded); err != nil {
			return nil, errors.New("the data of a template must be a JSON object")
		}
	}
	for name, v := range decoded {
		decoded[name] = plain(v)
	}
	if decoded == nil { // JSON null
		decoded = map[string]any{}
	}
	decoded["empty"], decoded["blank"] = absence{}, absence{blank: true}
	return decoded, nil
}

// plain makes of decoded JSON what the engine works with best.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, field := range v {
			v[name] = plain(field)
		}
		return object(v)
	case []any:
		for i, item := range v {
			v[i] = plain(item)
		}
		return v
	case json.Number:
		return plainNumber(string(v))
	default:
		return v
	}
}

// plainNumber keeps the digits of an integer that is too large for the engine
// as a text.
func plainNumber(s string) any {
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	if !strings.ContainsAny(s, ".eE") {
		return s
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return s
	}
	return f
}

// absence is what the words empty and blank stand for: a value that is equal
// to what holds nothing. The engine does not know them.
type absence struct {
	blank bool // equal to nil, false and space as well
}

var _ values.Value = absence{}

func (a absence) Equal(other values.Value) bool {
	v := other.Interface()
	if a.blank {
		if v == nil || v == false {
			return true
		}
		if s, ok := v.(string); ok {
			return strings.TrimSpace(s) == ""
		}
	}
	if v == nil {
		return false
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.String, reflect.Slice, reflect.Map:
		return r.Len() == 0
	}
	return false
}

func (absence) Interface() any                          { return "" }
func (absence) Int() int                                { panic(values.TypeError(`"empty" is not a number`)) }
func (absence) Less(values.Value) bool                  { return false }
func (absence) Contains(values.Value) bool              { return false }
func (absence) IndexValue(values.Value) values.Value    { return values.ValueOf(nil) }
func (absence) PropertyValue(values.Value) values.Value { return values.ValueOf(nil) }
func (absence) Test() bool                              { return true }
