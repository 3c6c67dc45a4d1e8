package server

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"
)

// guard bounds the shape of a document before it is validated. Validation, and the
// complexity count that gqlgen offers, walk fragments anew wherever they are
// spread, so a kilobyte of fragments that spread one another twice costs them 2 to
// the power of its depth; and validation compares each field with all others of its
// name in its place, of fragments that nothing spreads as well. The guard visits
// each part of a document once.
type guard struct {
	bytes, tokens, depth, fields, perSet, fragments, directives int
	// repeats bounds how often a name is selected where it was selected before: each is
	// compared with all before it, and so is what they select.
	repeats int
	// values bounds the answer: its fields times the sizes of the pages that they are
	// in, where a field that can hold megabytes counts as heavy of them.
	values, heavy int
}

// heavyFields are the fields whose values can be megabytes long; and those for which as
// much is read or analysed: sourceUrl, variables.
var heavyFields = map[string]bool{"html": true, "css": true, "headerHtml": true, "footerHtml": true, "sourceHtml": true, "sourceUrl": true,
	"data": true, "schema": true, "sampleData": true, "variables": true}

// defaultGuard has room for full introspection and for any page that is fit to be
// looked at.
var defaultGuard = guard{bytes: 64 << 10, tokens: 5000, depth: 15, fields: 1000, perSet: 150, fragments: 100, directives: 5,
	repeats: 100, values: 20_000, heavy: 400}

var _ interface {
	graphql.HandlerExtension
	graphql.OperationParameterMutator
} = guard{}

func (guard) ExtensionName() string                   { return "DocumentGuard" }
func (guard) Validate(graphql.ExecutableSchema) error { return nil }

// MutateOperationParameters refuses a document that is too large, too deep or too
// wide, in time linear to its length.
func (g guard) MutateOperationParameters(_ context.Context, params *graphql.RawParams) *gqlerror.Error {
	if !defended {
		return nil
	}
	if len(params.Query) > g.bytes {
		return tooComplex("it is longer than 64 KiB: send values as variables")
	}
	document, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: params.Query}, g.tokens)
	if err != nil && strings.Contains(err.Error(), "exceeded token limit") { // gqlparser has no type for it
		return tooComplex(fmt.Sprintf("it has more than %d words and signs: send values as variables, or split it", g.tokens))
	}
	if err != nil {
		return nil // gqlgen parses it again, under the same limit, and says what is wrong
	}
	if len(document.Fragments) > g.fragments {
		return tooComplex(fmt.Sprintf("it has more than %d fragments: split it", g.fragments))
	}
	w := walk{guard: g, variables: params.Variables, fragments: map[string]*ast.FragmentDefinition{}, seen: map[string]*cost{}}
	for _, fragment := range document.Fragments {
		w.fragments[fragment.Name] = fragment
	}
	for _, operation := range document.Operations {
		many := len(operation.Directives) > g.directives
		for _, variable := range operation.VariableDefinitions {
			many = many || len(variable.Directives) > g.directives
		}
		if many {
			return tooComplex(fmt.Sprintf(manyDirectives, g.directives))
		}
		if _, ok := w.set(operation.SelectionSet, 1, place{}); !ok {
			return tooComplex(w.why)
		}
	}
	for _, fragment := range document.Fragments {
		if len(fragment.Directives) > g.directives {
			return tooComplex(fmt.Sprintf(manyDirectives, g.directives))
		}
		ok := false
		if w.fragments[fragment.Name] == fragment {
			_, ok = w.fragment(fragment.Name, 1) // validated although nothing spreads it
		} else {
			_, ok = w.set(fragment.SelectionSet, 1, place{}) // of a name that comes again
		}
		if !ok {
			return tooComplex(w.why)
		}
	}
	if w.repeated > g.repeats {
		return tooComplex(fmt.Sprintf("it selects a name more than %d times where it was selected before: leave some out", g.repeats))
	}
	return nil
}

const codeTooComplex = "DOCUMENT_TOO_COMPLEX"

func tooComplex(why string) *gqlerror.Error {
	return gqlError(codeTooComplex, "The document is too complex: "+why+".")
}

// cost is what a selection set comes to when its fragments are put in place.
type cost struct {
	fields, depth, values int
	connection            bool // it selects the nodes or edges of a list
	open                  bool // being worked out: meeting it again is a cycle
}

type walk struct {
	guard
	variables map[string]any
	fragments map[string]*ast.FragmentDefinition
	seen      map[string]*cost
	repeated  int
	why       string // it is too much, for people
}

// refuse notes the first reason why a document is too complex.
func (w *walk) refuse(total cost, why string, limit ...any) (cost, bool) {
	if w.why == "" {
		w.why = fmt.Sprintf(why, limit...)
	}
	return total, false
}

const (
	tooDeep    = "it nests more than %d levels deep: split it"
	tooWide    = "it selects more than %d fields in one place: split it"
	tooMany    = "it selects more than %d fields: split it"
	tooHeavy   = "its answer could have more than %d values, where sources, data and schemas count as %d each: ask for smaller pages, or for less of each object"
	roundabout = "a fragment spreads itself"

	manyDirectives = "something in it has more than %d directives: leave some out"
)

// place is where a field's selections end up: in its own set, and in inline fragments.
type place struct {
	inline int             // how many inline fragments deep
	names  map[string]bool // that were selected
}

// set works out the cost of a selection set at a depth; not ok when it is too much.
func (w *walk) set(selections ast.SelectionSet, depth int, at place) (total cost, ok bool) {
	if len(selections) > w.perSet {
		return w.refuse(total, tooWide, w.perSet)
	}
	if len(selections) == 0 {
		return total, true // of a field that has no parts
	}
	if depth > w.depth || at.inline > w.depth {
		return w.refuse(total, tooDeep, w.depth)
	}
	if at.names == nil {
		at.names = make(map[string]bool, len(selections))
	}
	for _, selection := range selections {
		var part cost
		switch s := selection.(type) {
		case *ast.Field:
			if len(s.Directives) > w.directives {
				return w.refuse(total, manyDirectives, w.directives)
			}
			if part, ok = w.set(s.SelectionSet, depth+1, place{}); !ok {
				return total, false
			}
			if at.names[s.Alias] { // the parser puts the name where there is none
				w.repeated++
			}
			at.names[s.Alias] = true
			part.fields++
			part.depth++
			part.values = part.values*w.pageSize(s) + 1
			if heavyFields[s.Name] {
				part.values += w.heavy
			}
			if s.Name == "draft" || s.Name == "content" || s.Name == "hasUnpublishedChanges" {
				part.values += w.heavy / 2 // a draft is read whole, whatever of it is selected
			}
		case *ast.InlineFragment:
			if len(s.Directives) > w.directives {
				return w.refuse(total, manyDirectives, w.directives)
			}
			if part, ok = w.set(s.SelectionSet, depth, place{at.inline + 1, at.names}); !ok {
				return total, false
			}
		case *ast.FragmentSpread:
			if len(s.Directives) > w.directives {
				return w.refuse(total, manyDirectives, w.directives)
			}
			if part, ok = w.fragment(s.Name, depth); !ok {
				return total, false
			}
		}
		total.fields += max(part.fields, 1) // an empty fragment costs something too
		total.values += part.values
		total.depth = max(total.depth, part.depth)
		switch {
		case total.fields > w.fields:
			return w.refuse(total, tooMany, w.fields)
		case total.values > w.values:
			return w.refuse(total, tooHeavy, w.values, w.heavy)
		case depth+total.depth-1 > w.depth:
			return w.refuse(total, tooDeep, w.depth)
		}
	}
	return total, true
}

func (w *walk) fragment(name string, depth int) (cost, bool) {
	if known := w.seen[name]; known != nil {
		switch {
		case known.open:
			return w.refuse(*known, roundabout)
		case depth+known.depth-1 > w.depth:
			return w.refuse(*known, tooDeep, w.depth)
		}
		return *known, true
	}
	definition := w.fragments[name]
	if definition == nil {
		return cost{}, true // validation says that it is missing
	}
	known := &cost{open: true}
	w.seen[name] = known
	total, ok := w.set(definition.SelectionSet, depth, place{})
	total.connection = w.isConnection(definition.SelectionSet, w.depth)
	*known = total
	return total, ok
}

// pageSize is how often what a field selects can be in the answer.
func (w *walk) pageSize(field *ast.Field) int {
	const largest, usual = 100, 25 // of a list; the resolvers refuse more
	for _, argument := range field.Arguments {
		switch argument.Name {
		case "first", "last":
			raw := argument.Value.Raw
			if argument.Value.Kind == ast.Variable {
				number, _ := w.variables[raw].(json.Number) // anything else is refused later
				raw = number.String()
			}
			size, err := strconv.Atoi(raw)
			if err != nil {
				return largest // it has a default, or is refused later
			}
			return max(1, min(size, largest))
		case "ids":
			return largest
		}
	}
	switch {
	case field.Name == "sources":
		return largest // of a combined submission: it has no pages, and mostly fewer
	case w.isConnection(field.SelectionSet, w.depth):
		return usual
	}
	return 1
}

// isConnection tells whether a selection is of a list: by its nodes or edges,
// perhaps in a fragment. Fragments are followed so many levels deep.
func (w *walk) isConnection(selections ast.SelectionSet, levels int) bool {
	if levels == 0 {
		return true
	}
	for _, selection := range selections {
		found := false
		switch s := selection.(type) {
		case *ast.Field:
			found = s.Name == "nodes" || s.Name == "edges"
		case *ast.InlineFragment:
			found = w.isConnection(s.SelectionSet, levels-1)
		case *ast.FragmentSpread:
			if definition := w.fragments[s.Name]; definition != nil && w.seen[s.Name] != nil {
				found = w.seen[s.Name].connection
			}
		}
		if found {
			return true
		}
	}
	return false
}
