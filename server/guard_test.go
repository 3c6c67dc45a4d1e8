package server

import (
	"testing"

	"github.com/99designs/gqlgen/graphql"
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
