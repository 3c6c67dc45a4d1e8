package resolvers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2"
	gql "github.com/vektah/gqlparser/v2/ast"

	"platen"
	"platen/graph"
)

// schema is the contract as the server serves it.
func schema() *gql.Schema { return graph.NewExecutableSchema(graph.Config{}).Schema() }

func TestEveryNameOfTheContractIsDescribed(t *testing.T) {
	t.Parallel()
	s := gqlparser.MustLoadSchema(&gql.Source{Name: "schema.graphqls", Input: platen.SDL}) // not the one that all share
	if bare := undescribed(s); len(bare) > 0 {
		t.Errorf("these have no description: %v; the schema is the manual", bare)
	}
	// One of each is found when it has none.
	def, mutation := s.Types["CreateTemplateInput"], s.Mutation
	def.Fields.ForName("publish").Description = " "
	mutation.Description = ""
	mutation.Fields.ForName("testIntegration").Arguments.ForName("key").Description = ""
	s.Types["PaperFormat"].EnumValues.ForName("A4").Description = ""
	s.Types["JSON"].Description = ""
	s.Types["PageSettings"].Fields.ForName("scale").Description = ""
	s.Directives["auth"].Arguments.ForName("scope").Description = ""
	want := []string{"@auth(scope)", "CreateTemplateInput.publish", "JSON", "Mutation", "Mutation.testIntegration(key)", "PageSettings.scale", "PaperFormat.A4"}
	if bare := undescribed(s); !slices.Equal(bare, want) {
		t.Errorf("found %v, want %v", bare, want)
	}
}

// undescribed are the names of the contract that have no description, sorted: types, their
// fields, those fields' arguments, enum values, directives.
func undescribed(s *gql.Schema) (bare []string) {
	check := func(name, description string) {
		if strings.TrimSpace(description) == "" {
			bare = append(bare, name)
		}
	}
	for _, def := range s.Types {
		if def.BuiltIn || strings.HasPrefix(def.Name, "__") {
			continue
		}
		check(def.Name, def.Description)
		for _, field := range def.Fields { // of inputs as well
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
	for _, directive := range s.Directives {
		if directive.Position.Src.BuiltIn || strings.HasPrefix(directive.Name, "go") {
			continue // GraphQL's own, and the code generator's, which clients do not see
		}
		check("@"+directive.Name, directive.Description)
		for _, arg := range directive.Arguments {
			check("@"+directive.Name+"("+arg.Name+")", arg.Description)
		}
	}
	slices.Sort(bare)
	return bare
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
