package server

import (
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/formatter"
	"github.com/vektah/gqlparser/v2/parser"
	"golang.org/x/sys/unix"

	"platen"
	"platen/resolvers"
)

// printed counts how often it is printed.
type printed struct{ times *int }

func (p printed) String() string { *p.times++; return "1" }

// A list of a million numbers, printed for each of a thousand fields, took minutes.
func TestTheGuardDoesNotPrintVariables(t *testing.T) {
	t.Parallel()
	times := 0
	params := &graphql.RawParams{Query: `query ($v: Int) { a(first: $v) { id } b(first: $v) { id } }`, Variables: map[string]any{"v": printed{&times}}}
	if err := defaultGuard.MutateOperationParameters(t.Context(), params); err != nil || times > 0 {
		t.Errorf("printed %d times; %v", times, err)
	}
}

// The bounds of T6, for one document: what its parsing, its walk and its validation take of
// the processor, and what they add to the memory.
const (
	attackTime   = 50 * time.Millisecond
	attackMemory = 20 << 20
	// A document that is within all limits is validated, which may take more of both.
	fitTime   = 150 * time.Millisecond
	fitMemory = 60 << 20
)

// threadTime is the processor time of the present thread.
func threadTime(t *testing.T) time.Duration {
	t.Helper()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// It is not parallel: what is allocated is counted for the whole process.
func TestT6AttacksByDocumentCostLittle(t *testing.T) {
	s := New(Options{Resolvers: &resolvers.Root{Log: slog.New(slog.DiscardHandler)}, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	attacks := Attacks(t)
	for _, name := range slices.Sorted(maps.Keys(attacks)) {
		attack := attacks[name]
		within, room := attackTime, uint64(attackMemory)
		if attack.Reason == "" {
			within, room = fitTime, fitMemory
		}
		// The mean of some, as the kernel may count in hundredths of a second. What others do
		// on this machine, and the collector does in other threads, is not in it.
		const runs = 5
		start, grew := threadTime(t), uint64(1<<60)
		for range runs {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, errs := s.prepare(t.Context(), &graphql.RawParams{Query: attack.Query})
			runtime.ReadMemStats(&after)
			grew = min(grew, after.TotalAlloc-before.TotalAlloc)
			refused := len(errs) > 0 && errs[0].Extensions["code"] == codeTooComplex
			if refused != (attack.Reason != "") || refused && !strings.Contains(errs[0].Message, attack.Reason) {
				t.Errorf("%s: %.200v, want %q", name, errs, attack.Reason)
				break
			}
			if len(errs) > toldErrors {
				t.Errorf("%s: %d mistakes are told", name, len(errs))
			}
		}
		took := (threadTime(t) - start) / runs
		if took > within*slowness || grew > room*slowness {
			t.Errorf("%s: %v of the processor, %d KB allocated", name, took, grew>>10)
		}
		t.Logf("%s: %d bytes, %v, %d KB", name, len(attack.Query), took, grew>>10)
	}
}

// Strangers get no names to probe with; those who have a token are helped.
func TestT7NoNamesAreSuggestedToStrangers(t *testing.T) {
	t.Parallel()
	s := New(Options{Resolvers: &resolvers.Root{Log: slog.New(slog.DiscardHandler)}, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
	for _, query := range []string{`{ submissionz { id } }`, `{ node(idd: 1) { id } }`, `{ account { nam } }`,
		`{ submissions(filter: {state: []}) { totalCount } }`, `{ submissions(filter: {states: [PENDIN]}) { totalCount } }`} {
		if _, errs := s.prepare(t.Context(), &graphql.RawParams{Query: query}); len(errs) == 0 || strings.Contains(errs.Error(), "Did you mean") {
			t.Errorf("a stranger's %s: %v", query, errs)
		}
		known := resolvers.WithToken(t.Context(), &platen.APIToken{})
		if _, errs := s.prepare(known, &graphql.RawParams{Query: query}); !strings.Contains(errs.Error(), "Did you mean") {
			t.Errorf("%s: %v", query, errs)
		}
	}
}

func TestT6TheDocumentsOfToolsAndOfThePagePassTheGuard(t *testing.T) {
	t.Parallel()
	s := New(Options{Resolvers: &resolvers.Root{Log: slog.New(slog.DiscardHandler)}, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
	text, err := os.ReadFile("testdata/introspection.graphql") // as GraphiQL sends it, with all its options
	if err != nil {
		t.Fatal(err)
	}
	if _, errs := s.prepare(t.Context(), &graphql.RawParams{Query: string(text)}); len(errs) > 0 {
		t.Errorf("introspection: %v", errs)
	}
	// The page has a document in each file, and fragments that all of them share.
	page := &ast.QueryDocument{}
	if err := filepath.WalkDir("../web/src", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".graphql" {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		document, err := parser.ParseQuery(&ast.Source{Name: name, Input: string(text)})
		if err != nil {
			return err
		}
		page.Operations, page.Fragments = append(page.Operations, document.Operations...), append(page.Fragments, document.Fragments...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(page.Operations) < 3 {
		t.Fatalf("only %d operations of the page were found", len(page.Operations))
	}
	for _, operation := range page.Operations {
		one := &ast.QueryDocument{Operations: ast.OperationList{operation}, Fragments: spread(page.Fragments, operation.SelectionSet, nil)}
		var b strings.Builder
		formatter.NewFormatter(&b).FormatQueryDocument(one)
		variables := map[string]any{}
		for _, variable := range operation.VariableDefinitions { // pages are as long as they can be: first has no value
			variables[variable.Variable] = "x"
		}
		params := &graphql.RawParams{Query: b.String(), Variables: variables, OperationName: operation.Name}
		if err := defaultGuard.MutateOperationParameters(t.Context(), params); err != nil {
			t.Errorf("%s of the page: %v", operation.Name, err)
		}
	}
}

// spread adds the fragments that a selection spreads to those that are there.
func spread(all ast.FragmentDefinitionList, selections ast.SelectionSet, into ast.FragmentDefinitionList) ast.FragmentDefinitionList {
	for _, selection := range selections {
		switch s := selection.(type) {
		case *ast.Field:
			into = spread(all, s.SelectionSet, into)
		case *ast.InlineFragment:
			into = spread(all, s.SelectionSet, into)
		case *ast.FragmentSpread:
			if definition := all.ForName(s.Name); definition != nil && into.ForName(s.Name) == nil {
				into = spread(all, definition.SelectionSet, append(into, definition))
			}
		}
	}
	return into
}
