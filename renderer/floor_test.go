package renderer

import (
	"os"
	"slices"
	"testing"
	"time"
)

// barePage is a page without a renderer around it.
func barePage(b testing.TB, p Page) (*page, map[string]any) {
	b.Helper()
	parameters, err := printParameters(p)
	if err != nil {
		b.Fatal(err)
	}
	browser, err := shared.alive(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	made, err := newPage(b.Context(), browser, owner{account: b.Name(), scripts: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(made.dispose)
	return made, parameters
}

// TestAWarmRenderIsNearTheFloor takes turns, so that both see the same machine.
func TestAWarmRenderIsNearTheFloor(t *testing.T) {
	invoice, err := os.ReadFile("testdata/invoice.html")
	if err != nil {
		t.Fatal(err)
	}
	p := document(t, string(invoice))
	floor, parameters := barePage(t, p)
	const runs = 50
	var rendered, bottom []time.Duration
	for i := range runs + 5 {
		started := time.Now()
		render(t, p)
		between := time.Now()
		if _, err := floor.setAndPrint(t.Context(), p.HTML, parameters); err != nil {
			t.Fatal(err)
		}
		if i >= 5 { // the first ones warm up
			rendered, bottom = append(rendered, between.Sub(started)), append(bottom, time.Since(between))
		}
	}
	slices.Sort(rendered)
	slices.Sort(bottom)
	t.Logf("invoice, %d runs: render p50 %v p95 %v, floor p50 %v p95 %v", runs,
		rendered[runs/2], rendered[runs*95/100], bottom[runs/2], bottom[runs*95/100])
	if ratio := float64(rendered[runs/2]) / float64(bottom[runs/2]); ratio > 2 {
		t.Errorf("a render takes %.1f times as long as setting and printing a page", ratio)
	}
}
