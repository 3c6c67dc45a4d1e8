package jsonschema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	engine "github.com/santhosh-tekuri/jsonschema/v6"
)

const (
	maxDepth    = 500  // of nested objects and lists
	maxDigits   = 1000 // characters of a number
	maxExponent = 1000 // of a number, and as far below zero: 1e999999999 would fill the memory with its digits
	maxPointer  = 1000 // bytes
)

// fault is why a document cannot be worked on.
type fault struct {
	path    []string
	message string
}

// decode reads JSON with all digits of its numbers, and says what in it cannot
// be worked on.
func decode(text []byte) (any, *fault) {
	v, err := engine.UnmarshalJSON(bytes.NewReader(text))
	switch {
	case err != nil && strings.Contains(err.Error(), "exceeded max depth"):
		return nil, tooDeep(nil)
	case err != nil:
		return nil, &fault{nil, "is not valid JSON: " + err.Error()}
	}
	return v, findFault(v, nil)
}

func tooDeep(path []string) *fault {
	return &fault{path, fmt.Sprintf("is nested more than %d deep", maxDepth)}
}

// findFault finds the first thing, by the order of names, that cannot be worked on.
func findFault(v any, path []string) *fault {
	switch v := v.(type) {
	case json.Number:
		if !reasonable(string(v)) {
			return &fault{slices.Clone(path), fmt.Sprintf("must be a number with at most %d digits and an exponent from -%d to %d", maxDigits, maxExponent, maxExponent)}
		}
	case map[string]any:
		if len(path) >= maxDepth {
			return tooDeep(nil) // a pointer to it would not help
		}
		var first *fault
		for name, field := range v {
			f := findFault(field, append(path, name))
			if f != nil && (first == nil || slices.Compare(f.path, first.path) < 0) {
				first = f
			}
		}
		return first
	case []any:
		if len(path) >= maxDepth {
			return tooDeep(nil)
		}
		for i, item := range v {
			if f := findFault(item, append(path, strconv.Itoa(i))); f != nil {
				return f
			}
		}
	}
	return nil
}

func reasonable(number string) bool {
	if len(number) > maxDigits {
		return false
	}
	if i := strings.IndexAny(number, "eE"); i >= 0 {
		exponent, err := strconv.Atoi(number[i+1:])
		return err == nil && -maxExponent <= exponent && exponent <= maxExponent
	}
	return true
}

var escapePointer = strings.NewReplacer("~", "~0", "/", "~1")

// pointer writes a path as RFC 6901 does; a very long one ends early.
func pointer(path []string) string {
	var b strings.Builder
	for _, step := range path {
		step = escapePointer.Replace(step)
		if b.Len()+1+len(step) > maxPointer {
			break
		}
		b.WriteString("/" + step)
	}
	return b.String()
}

// place is a value on the way to one that is asked for, with its position among
// all that are asked for.
type place struct {
	at    int
	parts map[string]*place
}

// positions returns a function that orders values by where they are in the
// document.
func positions(text []byte, paths [][]string) func(path []string) int {
	root := &place{}
	for _, path := range paths {
		root.find(path)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	next := 0
	root.read(d, &next)
	return func(path []string) int { return root.find(path).at }
}

// find returns a part's place, which it makes if it has to.
func (p *place) find(path []string) *place {
	for _, step := range path {
		part := p.parts[step]
		if part == nil {
			if p.parts == nil {
				p.parts = map[string]*place{}
			}
			part = &place{}
			p.parts[step] = part
		}
		p = part
	}
	return p
}

// read goes through a value; p is nil when nothing in it is asked for.
func (p *place) read(d *json.Decoder, next *int) {
	part := func(string) *place { return nil }
	if p != nil {
		p.at = *next
		*next++
		part = func(name string) *place { return p.parts[name] }
	}
	opening, _ := d.Token() // it was decoded before: there are no errors
	switch opening {
	case json.Delim('{'):
		for d.More() {
			name, _ := d.Token()
			part(name.(string)).read(d, next)
		}
		d.Token()
	case json.Delim('['):
		for i := 0; d.More(); i++ {
			part(strconv.Itoa(i)).read(d, next)
		}
		d.Token()
	}
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
