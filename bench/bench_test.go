package bench

import "testing"

func TestSidesTakeTurns(t *testing.T) {
	t.Parallel()
	var order string
	side := func(name string, measured float64) func() float64 {
		return func() float64 { order += name; return measured }
	}
	got := Interleave(3, side("a", 1), side("b", 2))
	if order != "abbaab" || len(got[0]) != 3 || got[1].Median() != 2 {
		t.Errorf("%s %v", order, got)
	}
}

func TestASeriesSaysItsMedianAndItsSpread(t *testing.T) {
	t.Parallel()
	if got := (Series{300, 1, 20}).String(); got != "20.0 (1.00-300)" {
		t.Error(got)
	}
}
