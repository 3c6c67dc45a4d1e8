// Package bench measures in turns and says what came out, one line a row, for `make bench`
// (scripts/bench). Its measurements are tests named TestBench... in the rooms that they measure: without
// TEST_LONG they run for an instant, to see that they still work, and what they print then says nothing.
package bench

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// Long tells whether the measurements are for their figures.
func Long() bool { return os.Getenv("TEST_LONG") != "" }

// Pick is the first where the figures do not count, and the second where they do.
func Pick[T any](short, long T) T {
	if Long() {
		return long
	}
	return short
}

// Alone keeps short measurements beside other tests, and those for their figures by themselves.
func Alone(t *testing.T) {
	if !Long() {
		t.Parallel()
	}
}

// Series is what was measured several times, in the row's unit.
type Series []float64

// Median is the middle one; the lower of two.
func (s Series) Median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	return sorted[(len(sorted)-1)/2]
}

// String is the median, and the least and the most in brackets.
func (s Series) String() string {
	if len(s) == 0 {
		return "-"
	}
	return fmt.Sprintf("%s (%s-%s)", number(s.Median()), number(slices.Min(s)), number(slices.Max(s)))
}

func number(f float64) string {
	switch {
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.2f", f)
}

// Interleave lets the sides take turns, so that all see the same machine, and begins each
// round with another one. Each side measures once and says what.
func Interleave(rounds int, sides ...func() float64) []Series {
	all := make([]Series, len(sides))
	for round := range rounds {
		for i := range sides {
			at := (round + i) % len(sides)
			all[at] = append(all[at], sides[at]())
		}
	}
	return all
}

// Seconds is how long f takes.
func Seconds(f func()) float64 {
	start := time.Now()
	f()
	return time.Since(start).Seconds()
}

// Row is a line of the table.
type Row struct {
	Name string // the letter and what was done
	Unit string
	// Ours and Floor were measured in turns. Without a floor, what counts is Ours itself.
	Ours, Floor Series
	// Goal is what the ratio, or without a floor the figure, has to reach, as people write it; "": none.
	Goal string
	// Note says what the figures do not.
	Note string
}

// Print says the row in the test's log, for scripts/bench to collect. The ratio is the median of
// the rounds' own ratios.
func (r Row) Print(t testing.TB) {
	t.Helper()
	ratio := "-"
	if len(r.Floor) > 0 {
		var each Series
		for i, f := range r.Floor {
			each = append(each, r.Ours[i]/f)
		}
		ratio = each.String()
	}
	goal := r.Goal
	if goal == "" {
		goal = "-"
	}
	test, _, _ := strings.Cut(t.Name(), "/")
	t.Logf("BENCH\t%s", strings.Join([]string{r.Name, r.Unit, r.Ours.String(), r.Floor.String(), ratio, goal, test, r.Note}, "\t"))
}
