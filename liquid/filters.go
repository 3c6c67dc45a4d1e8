package liquid

import (
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	engine "github.com/osteele/liquid"
	"github.com/osteele/liquid/filters"
	"github.com/osteele/liquid/render"
	"github.com/osteele/liquid/values"
)

// dictionary collects the engine's filters.
type dictionary map[string]any

func (d dictionary) AddFilter(name string, f any) { d[name] = f }

// standard are the filters that sources can use: the engine's, some of them
// replaced by ones that do what Liquid documents.
var standard = func() dictionary {
	d := dictionary{}
	filters.AddStandardFilters(d)
	delete(d, "type") // tells the names of Go types
	for name, f := range arithmetic {
		d[name] = f
	}
	d["slice"] = slice
	d["sort_natural"] = sortNatural
	return d
}()

func knownFilter(name string) bool {
	_, ok := standard[name]
	return ok
}

func newEngine() *engine.Engine {
	e := engine.NewEngine()
	for name, f := range standard {
		e.RegisterFilter(name, guarded(name, f))
	}
	e.RegisterFilter(pairsFilter, pairs)
	e.RegisterTag(verbatimTag, func(c render.Context) (string, error) {
		text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(c.TagArgs()))
		return string(text), err
	})
	return e
}

// guarded calls a filter so that what it panics with becomes its error, and its
// integers become those which the engine can count and index with.
func guarded(name string, f any) func(args ...any) (any, error) {
	fn := reflect.ValueOf(f)
	return func(args ...any) (out any, err error) {
		defer func() {
			if p := recover(); p != nil {
				err = errors.New("it cannot work with this value")
				if conversion, ok := p.(values.TypeError); ok {
					err = conversion
				}
			}
			if err != nil && name == "date" {
				out, err = args[0], nil // Liquid prints what is no date as it is
			}
		}()
		if name == "date" && (args[0] == nil || len(args) > 1 && (args[1] == nil || args[1] == "")) {
			return args[0], nil
		}
		out, err = values.Call(fn, args)
		if n, ok := out.(int64); ok {
			out = int(n)
		}
		if t, ok := out.(time.Time); ok {
			out = t.UTC()
		}
		return out, err
	}
}

// pairs gives a for loop what it goes through: the entries of an object in the
// order of their names, which the engine alone would give in a new order each
// time, and an empty list for what is no list, so that else is reached.
func pairs(v any) any {
	switch v := v.(type) {
	case object:
		out := make([]any, 0, len(v))
		for _, name := range v.names() {
			out = append(out, []any{name, v[name]})
		}
		return out
	case values.Range:
		return v
	case string:
		if v != "" {
			return []any{v}
		}
	}
	if v != nil && reflect.TypeOf(v).Kind() == reflect.Slice {
		return v
	}
	return []any{}
}

func slice(v any, start int, length func(int) int) any {
	cut := func(size int) (int, int) {
		if start < 0 {
			start += size
		}
		if start < 0 || start > size {
			return 0, 0
		}
		return start, min(size, start+min(max(length(1), 0), size))
	}
	if list, ok := v.([]any); ok {
		from, to := cut(len(list))
		return list[from:to]
	}
	if v == nil {
		return ""
	}
	runes := []rune(fmt.Sprint(v))
	from, to := cut(len(runes))
	return string(runes[from:to])
}

// sortNatural sorts without regard to case; what is missing comes last.
func sortNatural(list []any, property any) []any {
	key := func(v any) (string, bool) {
		if property != nil {
			o, _ := v.(object)
			v = o[fmt.Sprint(property)]
		}
		return strings.ToLower(fmt.Sprint(v)), v == nil
	}
	sorted := slices.Clone(list)
	slices.SortStableFunc(sorted, func(a, b any) int {
		keyA, missingA := key(a)
		keyB, missingB := key(b)
		switch {
		case missingA && missingB:
			return 0
		case missingA:
			return 1
		case missingB:
			return -1
		}
		return strings.Compare(keyA, keyB)
	})
	return sorted
}
