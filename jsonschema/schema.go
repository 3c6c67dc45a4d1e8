package jsonschema

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	engine "github.com/santhosh-tekuri/jsonschema/v6"
)

// home is the address that a schema has for itself. Nothing relative to it exists.
const home = "platen://schema/"

// metaschema is the address of draft 2020-12.
const metaschema = "https://json-schema.org/draft/2020-12/schema"

// schema is a compiled schema.
type schema = engine.Schema

// nowhere refuses what is outside of the schema.
type nowhere struct{}

func (nowhere) Load(string) (any, error) { return nil, errors.New("nothing is loaded") }

func mistake(pointer, format string, a ...any) *Error {
	return &Error{Schema, pointer, fmt.Sprintf(format, a...)}
}

// compile prepares a schema, or finds its first mistake.
func compile(text []byte) (*schema, *Error) {
	doc, f := decode(text)
	if f != nil {
		return nil, mistake(pointer(f.path), "%s", f.message)
	}
	if root, ok := doc.(map[string]any); ok {
		if draft, ok := root["$schema"].(string); ok && strings.TrimSuffix(draft, "#") != metaschema {
			return nil, otherDraft("/$schema", draft)
		}
	}
	c := engine.NewCompiler()
	c.DefaultDraft(engine.Draft2020)
	c.AssertFormat()
	c.UseLoader(nowhere{})
	if err := c.AddResource(home, doc); err != nil {
		return nil, explain(doc, err)
	}
	s, err := c.Compile(home)
	if err != nil {
		return nil, explain(doc, err)
	}
	if bad := (&explorer{doc: doc, state: map[*schema]state{}}).visit(s); bad != nil {
		return nil, bad
	}
	return s, nil
}

func otherDraft(pointer, draft string) *Error {
	return mistake(pointer, "names %q, but schemas here are of JSON Schema 2020-12: write %q, or leave it out", shorten(draft), metaschema)
}

// explain says in plain words, and where, what the engine found wrong.
func explain(doc any, err error) *Error {
	var (
		invalid     *engine.SchemaValidationError
		outside     *engine.LoadURLError
		noPointer   *engine.JSONPointerNotFoundError
		badPointer  *engine.InvalidJsonPointerError
		noAnchor    *engine.AnchorNotFoundError
		regex       *engine.InvalidRegexError
		id          *engine.ParseIDError
		anchor      *engine.ParseAnchorError
		twiceID     *engine.DuplicateIDError
		twiceAnchor *engine.DuplicateAnchorError
	)
	switch {
	case errors.As(err, &invalid):
		var found *engine.ValidationError
		if errors.As(invalid.Err, &found) {
			first := leaves(found)[0]
			return mistake(fragment(invalid.URL)+pointer(first.InstanceLocation), "%s", message(first, true))
		}
	case errors.As(err, &outside):
		place, written := findReference(doc, func(target *url.URL) bool { return withoutFragment(target) == outside.URL })
		return mistake(place, "names %q, which is outside of this schema; nothing is loaded from elsewhere", shorten(written))
	case errors.As(err, &noPointer):
		return missing(doc, noPointer.URL)
	case errors.As(err, &badPointer):
		return missing(doc, badPointer.URL)
	case errors.As(err, &noAnchor):
		return missing(doc, noAnchor.Reference)
	case errors.As(err, &regex):
		return mistake(fragment(regex.URL), "%s", regexMessage(regex.Err))
	case errors.As(err, &id):
		return mistake(fragment(id.URL)+"/$id", "is not an address")
	case errors.As(err, &anchor):
		return mistake(fragment(anchor.URL), "has a $anchor that is no name")
	case errors.As(err, &twiceID):
		return mistake(twiceID.Ptr2+"/$id", "is also the $id of another schema in here")
	case errors.As(err, &twiceAnchor):
		return mistake(twiceAnchor.Ptr2, "has a $anchor that another schema in here has as well")
	}
	return mistake("", "the schema cannot be used: %s", strings.ReplaceAll(err.Error(), home, ""))
}

// missing explains a reference to a part of the schema that is not there.
func missing(doc any, reference string) *Error {
	wanted := fragment(reference)
	place, written := findReference(doc, func(target *url.URL) bool {
		return target.Fragment != "" && strings.HasSuffix(wanted, target.Fragment)
	})
	return mistake(place, "names %q, which is not in this schema", shorten(written))
}

// fragment is what stands behind the # of an address of the engine's.
func fragment(address string) string {
	_, f, _ := strings.Cut(address, "#")
	if plain, err := url.PathUnescape(f); err == nil {
		return plain
	}
	return f
}

func withoutFragment(u *url.URL) string {
	plain := *u
	plain.Fragment, plain.RawFragment = "", ""
	return plain.String()
}

// findReference finds the first reference, by the order of names, whose target
// is meant. The engine tells the target alone.
func findReference(doc any, meant func(target *url.URL) bool) (place, written string) {
	base, _ := url.Parse(home)
	var find func(v any, base *url.URL, path []string) bool
	find = func(v any, base *url.URL, path []string) bool {
		switch v := v.(type) {
		case map[string]any:
			if id, ok := v["$id"].(string); ok {
				if joined, err := base.Parse(id); err == nil {
					base = joined
				}
			}
			for _, name := range sortedNames(v) {
				below := append(slices.Clone(path), name)
				if reference, ok := v[name].(string); ok && (name == "$ref" || name == "$dynamicRef" || name == "$schema") {
					if target, err := base.Parse(reference); err == nil && meant(target) {
						place, written = pointer(below), reference
						return true
					}
				}
				if find(v[name], base, below) {
					return true
				}
			}
		case []any:
			for i, item := range v {
				if find(item, base, append(slices.Clone(path), strconv.Itoa(i))) {
					return true
				}
			}
		}
		return false
	}
	find(doc, base, nil)
	return place, written
}

// explorer goes through all schemas that can be reached. It finds those of other
// drafts, which the engine knows by heart, and references that lead back to where
// they are, which the engine would tell of data only.
type explorer struct {
	doc   any
	state map[*schema]state
}

type state int

const (
	unknown state = iota
	entered       // its parts for the same value are being visited
	left
)

func (x *explorer) visit(s *schema) *Error {
	for todo := []*schema{s}; len(todo) > 0; {
		next := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if x.state[next] != unknown {
			continue
		}
		below, bad := x.enter(next)
		if bad != nil {
			return bad
		}
		todo = append(todo, below...)
	}
	return nil
}

// enter visits a schema and those that it applies to the same value, and returns
// those that they apply to parts of it.
func (x *explorer) enter(s *schema) (below []*schema, bad *Error) {
	if s.DraftVersion != 2020 {
		if !strings.HasPrefix(s.Location, home) {
			address, _, _ := strings.Cut(s.Location, "#")
			place, written := findReference(x.doc, func(target *url.URL) bool { return withoutFragment(target) == address })
			return nil, otherDraft(place, written)
		}
		return nil, otherDraft(fragment(s.Location), "another draft in $schema")
	}
	x.state[s] = entered
	same, below := applied(s)
	for _, part := range same {
		switch x.state[part] {
		case entered:
			return nil, mistake(fragment(part.Location), "leads back to itself without end: it applies itself to the same value")
		case unknown:
			further, bad := x.enter(part)
			if bad != nil {
				return nil, bad
			}
			below = append(below, further...)
		}
	}
	x.state[s] = left
	return below, nil
}

// applied lists what a schema applies to the same value, and to parts of it.
func applied(s *schema) (same, below []*schema) {
	same = slices.Concat([]*schema{s.Ref, s.Not, s.If, s.Then, s.Else}, s.AllOf, s.AnyOf, s.OneOf)
	if s.DynamicRef != nil {
		same = append(same, s.DynamicRef.Ref)
	}
	for _, name := range sortedNames(s.DependentSchemas) {
		same = append(same, s.DependentSchemas[name])
	}
	for _, name := range sortedNames(s.Dependencies) {
		if dependent, ok := s.Dependencies[name].(*schema); ok {
			same = append(same, dependent)
		}
	}
	below = slices.Concat([]*schema{s.PropertyNames, s.UnevaluatedProperties, s.Contains, s.Items2020, s.UnevaluatedItems}, s.PrefixItems)
	if additional, ok := s.AdditionalProperties.(*schema); ok {
		below = append(below, additional)
	}
	for _, name := range sortedNames(s.Properties) {
		below = append(below, s.Properties[name])
	}
	for _, property := range s.PatternProperties {
		below = append(below, property)
	}
	none := func(s *schema) bool { return s == nil }
	return slices.DeleteFunc(same, none), slices.DeleteFunc(below, none)
}
