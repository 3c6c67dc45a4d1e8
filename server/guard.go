package server

import (
	"context"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"
)

// guard bounds the shape of a document before it is validated. Validation, and the
// complexity count that gqlgen offers, walk fragments anew wherever they are
// spread, so a kilobyte of fragments that spread one another twice costs them 2 to
// the power of its depth. The guard visits each fragment once.
type guard struct {
	bytes, tokens, depth, fields, perSet, fragments, directives int
}

// defaultGuard has room for full introspection and for any page that is fit to be
// looked at.
var defaultGuard = guard{bytes: 64 << 10, tokens: 5000, depth: 15, fields: 1000, perSet: 150, fragments: 100, directives: 5}

var _ interface {
	graphql.HandlerExtension
	graphql.OperationParameterMutator
} = guard{}

func (guard) ExtensionName() string                   { return "DocumentGuard" }
func (guard) Validate(graphql.ExecutableSchema) error { return nil }

// MutateOperationParameters refuses a document that is too large, too deep or too
// wide, in time linear to its length.
func (g guard) MutateOperationParameters(_ context.Context, params *graphql.RawParams) *gqlerror.Error {
	if len(params.Query) > g.bytes {
		return tooComplex("it is longer than 64 KiB: send values as variables")
	}
	document, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: params.Query}, g.tokens)
	if err != nil {
		return nil // gqlgen parses it again, under the same limit, and says what is wrong
	}
	if len(document.Fragments) > g.fragments {
		return tooComplex("it has too many fragments")
	}
	w := walk{guard: g, fragments: map[string]*ast.FragmentDefinition{}, seen: map[string]*cost{}}
	for _, fragment := range document.Fragments {
		w.fragments[fragment.Name] = fragment
	}
	for _, operation := range document.Operations {
		if _, ok := w.set(operation.SelectionSet, 1); !ok || len(operation.Directives) > g.directives {
			return tooComplex("it selects too much at once, or nests too deeply: split it")
		}
	}
	return nil
}

func tooComplex(why string) *gqlerror.Error {
	return &gqlerror.Error{Message: "The document is too complex: " + why + ".", Extensions: map[string]any{"code": "DOCUMENT_TOO_COMPLEX"}}
}

// cost is what a selection set comes to when its fragments are put in place.
type cost struct {
	fields, depth int
	open          bool // being worked out: meeting it again is a cycle
}

type walk struct {
	guard
	fragments map[string]*ast.FragmentDefinition
	seen      map[string]*cost
}

// set works out the cost of a selection set at a depth; not ok when it is too much.
func (w *walk) set(selections ast.SelectionSet, depth int) (total cost, ok bool) {
	if len(selections) > w.perSet || depth > w.depth {
		return total, false
	}
	for _, selection := range selections {
		var part cost
		switch s := selection.(type) {
		case *ast.Field:
			if part, ok = w.set(s.SelectionSet, depth+1); !ok || len(s.Directives) > w.directives {
				return total, false
			}
			part.fields++
			part.depth++
		case *ast.InlineFragment:
			if part, ok = w.set(s.SelectionSet, depth); !ok || len(s.Directives) > w.directives {
				return total, false
			}
		case *ast.FragmentSpread:
			if part, ok = w.fragment(s.Name, depth); !ok || len(s.Directives) > w.directives {
				return total, false
			}
		}
		total.fields += max(part.fields, 1) // an empty fragment costs something too
		total.depth = max(total.depth, part.depth)
		if total.fields > w.fields || depth+total.depth-1 > w.depth {
			return total, false
		}
	}
	return total, true
}

func (w *walk) fragment(name string, depth int) (cost, bool) {
	if known := w.seen[name]; known != nil {
		return *known, !known.open && depth+known.depth-1 <= w.depth
	}
	definition := w.fragments[name]
	if definition == nil {
		return cost{}, true // validation says that it is missing
	}
	known := &cost{open: true}
	w.seen[name] = known
	total, ok := w.set(definition.SelectionSet, depth)
	*known = total
	return total, ok
}
