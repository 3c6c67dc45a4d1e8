package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/vektah/gqlparser/v2/ast"

	"platen/resolvers"
)

// answers are the encoded answers to events of subscriptions: those who are told the same
// event in the same words cost one execution and one encoding. Nobody waits for anybody
// slower: each takes them when it comes to them.
type answers struct {
	bounds answerBounds
	// Events told, by how their answers came about.
	made, shared prometheus.Counter

	mu    sync.Mutex
	known map[answerKey]*answer
	order []*answer // oldest first
	bytes int
}

// answerBounds bound what is kept. Whoever comes later than that has its answers made
// anew: they may say what changes with time, as an address that is good for some minutes
// does.
type answerBounds struct {
	count, bytes int
	time         time.Duration
}

var defaultAnswerBounds = answerBounds{count: 10_000, bytes: 32 << 20, time: 10 * time.Second}

type answerKey struct {
	words [sha256.Size]byte
	event string
}

type answer struct {
	key   answerKey
	since time.Time
	made  sync.Once
	text  []byte
	size  int // of text, once it is counted
}

func newAnswers(bounds answerBounds, registry prometheus.Registerer) *answers {
	told := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "platen_subscription_answers_total", Help: "Events told to subscribers, by whether the answer was made, or shared with one who had asked in the same words."}, []string{"answer"})
	registry.MustRegister(told)
	return &answers{bounds: bounds, known: map[answerKey]*answer{}, made: told.WithLabelValues("made"), shared: told.WithLabelValues("shared")}
}

// get returns an answer, which the first to ask makes. One that make says is not to be kept
// is its own alone: others may have more luck.
func (a *answers) get(key answerKey, make func() (text []byte, keep bool)) []byte {
	how := a.shared
	defer func() { how.Inc() }()
	if key.event == "" {
		how = a.made
		text, _ := make()
		return text
	}
	a.mu.Lock()
	a.forget()
	one := a.known[key]
	if one == nil {
		one = &answer{key: key, since: time.Now()}
		a.known[key] = one
		a.order = append(a.order, one)
	}
	a.mu.Unlock()
	var own []byte
	one.made.Do(func() {
		how = a.made
		text, keep := make()
		if !keep {
			own = text
			return
		}
		one.text = text
		a.count(one)
	})
	switch {
	case own != nil:
		return own
	case one.text == nil: // the first to make it kept it to itself, or panicked
		how = a.made
		own, _ = make()
		return own
	}
	return one.text
}

// count makes room for an answer that was made.
func (a *answers) count(one *answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known[one.key] != one {
		return // it had to make room already
	}
	one.size = len(one.text)
	a.bytes += one.size
	a.forget()
}

// forget lets go of what is old or too much.
func (a *answers) forget() {
	for len(a.order) > 0 && (len(a.order) > a.bounds.count || a.bytes > a.bounds.bytes || time.Since(a.order[0].since) > a.bounds.time) {
		a.bytes -= a.order[0].size
		delete(a.known, a.order[0].key)
		a.order[0] = nil
		a.order = a.order[1:]
	}
}

// wordsOf names the words in which a subscription is answered: its audience, document,
// and the variables that its answers depend on. The arguments of the subscription itself
// choose events, and say nothing of how one is shown.
func wordsOf(ctx context.Context, operation *graphql.OperationContext) [sha256.Size]byte {
	used := map[string]any{}
	visited := map[string]bool{}
	var value func(*ast.Value)
	value = func(v *ast.Value) {
		if v == nil {
			return
		}
		if v.Kind == ast.Variable {
			used[v.Raw] = operation.Variables[v.Raw]
		}
		for _, child := range v.Children {
			value(child.Value)
		}
	}
	directives := func(list ast.DirectiveList) {
		for _, directive := range list {
			for _, argument := range directive.Arguments {
				value(argument.Value)
			}
		}
	}
	var walk func(ast.SelectionSet, bool)
	walk = func(selections ast.SelectionSet, root bool) {
		for _, selection := range selections {
			switch selected := selection.(type) {
			case *ast.Field:
				directives(selected.Directives)
				if !root {
					for _, argument := range selected.Arguments {
						value(argument.Value)
					}
				}
				walk(selected.SelectionSet, false)
			case *ast.InlineFragment:
				directives(selected.Directives)
				walk(selected.SelectionSet, root)
			case *ast.FragmentSpread:
				directives(selected.Directives)
				if !visited[selected.Name] {
					visited[selected.Name] = true
					walk(selected.Definition.SelectionSet, root)
				}
			}
		}
	}
	walk(operation.Operation.SelectionSet, true)
	text, err := json.Marshal([]any{resolvers.Audience(ctx), operation.RawQuery, operation.OperationName, used})
	if err != nil {
		text = []byte(rand.Text()) // variables were JSON when they came; not to share is always right
	}
	return sha256.Sum256(text)
}
