package server

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"platen"
	"platen/resolvers"
)

func answerTo(event string) answerKey { return answerKey{event: event} }

func TestAnAnswerIsMadeOnceForAllWhoAskAtTheSameTime(t *testing.T) {
	t.Parallel()
	a := newAnswers(defaultAnswerBounds, prometheus.NewRegistry())
	var made atomic.Int32
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if text := a.get(answerTo("e"), func() ([]byte, bool) { made.Add(1); return []byte("text"), true }); string(text) != "text" {
				t.Errorf("%q", text)
			}
		})
	}
	all.Wait()
	if made.Load() != 1 {
		t.Errorf("made %d times", made.Load())
	}
	for range 2 { // told to one alone
		a.get(answerTo(""), func() ([]byte, bool) { made.Add(1); return nil, true })
	}
	if made.Load() != 3 {
		t.Errorf("what is told to one alone was shared")
	}
}

func TestAnAnswerWhoseMakerPanicsIsMadeByTheNext(t *testing.T) {
	t.Parallel()
	a := newAnswers(defaultAnswerBounds, prometheus.NewRegistry())
	func() {
		defer func() { _ = recover() }()
		a.get(answerTo("e"), func() ([]byte, bool) { panic("no") })
	}()
	if text := a.get(answerTo("e"), func() ([]byte, bool) { return []byte("text"), true }); string(text) != "text" {
		t.Errorf("%q", text)
	}
}

func TestAnAnswerThatWentWrongIsNobodyElses(t *testing.T) {
	t.Parallel()
	a := newAnswers(defaultAnswerBounds, prometheus.NewRegistry())
	for n := range 3 {
		want := fmt.Sprint("error ", n)
		if text := a.get(answerTo("e"), func() ([]byte, bool) { return []byte(want), false }); string(text) != want {
			t.Errorf("%q, want %q", text, want)
		}
	}
}

func TestAnswersAreForgottenByCountSizeAndAge(t *testing.T) {
	t.Parallel()
	for name, bounds := range map[string]answerBounds{
		"count": {count: 3, bytes: 1 << 20, time: time.Hour},
		"size":  {count: 100, bytes: 30, time: time.Hour},
	} {
		a := newAnswers(bounds, prometheus.NewRegistry())
		made := 0
		for n := range 6 {
			a.get(answerTo(fmt.Sprint(n)), func() ([]byte, bool) { made++; return []byte(strings.Repeat("x", 10)), true })
		}
		for _, n := range []int{5, 4, 3} {
			a.get(answerTo(fmt.Sprint(n)), func() ([]byte, bool) { made++; return nil, true })
		}
		if made != 6 {
			t.Errorf("%s: the newest were forgotten", name)
		}
		if len(a.known) != 3 || len(a.order) != 3 || a.bytes != 30 {
			t.Errorf("%s: %d and %d kept, %d bytes", name, len(a.known), len(a.order), a.bytes)
		}
	}
	a := newAnswers(answerBounds{count: 100, bytes: 1 << 20}, prometheus.NewRegistry()) // of no age
	made := 0
	for range 3 {
		a.get(answerTo("e"), func() ([]byte, bool) { made++; return []byte("text"), true })
	}
	if made != 3 || len(a.known) > 1 {
		t.Errorf("age: made %d times, want 3; %d kept", made, len(a.known))
	}
}

// An answer may be shared where these are the same, and only there.
func TestWhatIsSharedIsTheAudienceTheDocumentAndTheVariablesOfTheSelection(t *testing.T) {
	t.Parallel()
	schema := gqlparser.MustLoadSchema(&ast.Source{Input: `type Query { a: Int }
		type Subscription { told(after: String, filter: F): Event! } input F { kind: String }
		type Event { url(expiresIn: Int, of: F): String next: Event name: String }`})
	base := platen.APIToken{ID: "tok_1", AccountID: "acc_1", Scope: "READ", Environment: "LIVE"}
	words := func(token platen.APIToken, document, name string, variables map[string]any) [32]byte {
		t.Helper()
		parsed, errs := gqlparser.LoadQueryWithRules(schema, document, rules.NewDefaultRules())
		if errs != nil {
			t.Fatal(errs)
		}
		return wordsOf(resolvers.WithToken(context.Background(), &token), &graphql.OperationContext{
			RawQuery: document, OperationName: name, Operation: parsed.Operations.ForName(name), Variables: variables})
	}
	const document = `subscription S($after: String, $kind: String, $life: Int, $own: String, $with: Boolean!) {
		told(after: $after, filter: {kind: $kind}) { ...event } }
		fragment event on Event { url(expiresIn: $life, of: {kind: $own}) next { ... on Event @include(if: $with) { name } } }`
	variables := func(change ...any) map[string]any {
		v := map[string]any{"after": "a", "kind": "b", "life": 60, "own": "c", "with": true}
		for i := 0; i < len(change); i += 2 {
			v[change[i].(string)] = change[i+1]
		}
		return v
	}
	same := words(base, document, "S", variables())
	otherToken := base
	otherToken.ID = "tok_2"
	for name, other := range map[string][32]byte{
		"another token of the same kind": words(otherToken, document, "S", variables()),
		"another cursor":                 words(base, document, "S", variables("after", "z")),
		"another filter":                 words(base, document, "S", variables("kind", "z")),
	} {
		if other != same {
			t.Errorf("not shared: %s", name)
		}
	}
	account, scope, environment := base, base, base
	account.AccountID, scope.Scope, environment.Environment = "acc_2", "WRITE", "TEST"
	for name, other := range map[string][32]byte{
		"another account":                 words(account, document, "S", variables()),
		"another scope":                   words(scope, document, "S", variables()),
		"another environment":             words(environment, document, "S", variables()),
		"another document":                words(base, document+" ", "S", variables()),
		"another argument of a field":     words(base, document, "S", variables("life", 61)),
		"another one inside of an object": words(base, document, "S", variables("own", "z")),
		"another condition":               words(base, document, "S", variables("with", false)),
	} {
		if other == same {
			t.Errorf("shared: %s", name)
		}
	}
	two := document + ` subscription T { told { name } }`
	if words(base, two, "S", variables()) == words(base, two, "T", nil) {
		t.Error("shared: another operation of a document")
	}
}
