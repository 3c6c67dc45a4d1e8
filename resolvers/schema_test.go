package resolvers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	gql "github.com/vektah/gqlparser/v2/ast"

	"platen/graph"
)

// schema is the contract as the server serves it.
func schema() *gql.Schema { return graph.NewExecutableSchema(graph.Config{}).Schema() }

func TestEveryNameOfTheContractIsDescribed(t *testing.T) {
	t.Parallel()
	for _, def := range schema().Types {
		if def.BuiltIn || strings.HasPrefix(def.Name, "__") {
			continue
		}
		check := func(name, description string) {
			if strings.TrimSpace(description) == "" {
				t.Errorf("%s has no description: the schema is the manual", name)
			}
		}
		root := def.Name == "Query" || def.Name == "Mutation" || def.Name == "Subscription"
		if !root {
			check(def.Name, def.Description)
		}
		for _, field := range def.Fields {
			if strings.HasPrefix(field.Name, "__") {
				continue
			}
			check(def.Name+"."+field.Name, field.Description)
			for _, arg := range field.Arguments {
				check(def.Name+"."+field.Name+"("+arg.Name+")", arg.Description)
			}
		}
		for _, value := range def.EnumValues {
			check(def.Name+"."+value.Name, value.Description)
		}
	}
}

// constants are the string constants of a type of package platen.
func constants(t *testing.T, typeName string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	names, err := filepath.Glob("../*.go")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST {
				continue
			}
			for _, spec := range group.Specs {
				value := spec.(*ast.ValueSpec)
				if name, ok := value.Type.(*ast.Ident); ok && name.Name == typeName && len(value.Values) == 1 {
					text, err := strconv.Unquote(value.Values[0].(*ast.BasicLit).Value)
					if err != nil {
						t.Fatal(err)
					}
					found[text] = true
				}
			}
		}
	}
	return found
}

func TestEnumsAndTheVocabularyAgree(t *testing.T) {
	t.Parallel()
	for enum, typeName := range map[string]string{"ActionState": "ActionState", "ActionType": "ActionType", "AppliesTo": "AppliesTo",
		"DocumentState": "DocumentState", "Environment": "Environment", "FailureStage": "FailureStage", "Media": "Media",
		"Orientation": "Orientation", "TokenScope": "TokenScope", "UserErrorCode": "ErrorCode"} {
		words := constants(t, typeName)
		for _, value := range schema().Types[enum].EnumValues {
			if !words[value.Name] {
				t.Errorf("%s.%s has no constant of type platen.%s", enum, value.Name, typeName)
			}
			delete(words, value.Name)
		}
		for word := range words {
			t.Errorf("platen.%s %q is not in the enum %s", typeName, word, enum)
		}
	}
}

func TestEveryRootFieldNeedsAToken(t *testing.T) {
	t.Parallel()
	s := schema()
	for _, root := range []*gql.Definition{s.Query, s.Mutation, s.Subscription} {
		for _, field := range root.Fields {
			if !strings.HasPrefix(field.Name, "__") && field.Directives.ForName("auth") == nil {
				t.Errorf("%s.%s has no @auth", root.Name, field.Name)
			}
		}
	}
}
