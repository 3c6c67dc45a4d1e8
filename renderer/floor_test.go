package renderer

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/go-rod/rod/lib/proto"
)

// bare is a page without a renderer around it.
type bare struct{ *page }

func barePage(b testing.TB, p Page) (bare, map[string]any) {
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
	return bare{made}, parameters
}

func (p bare) setAndPrint(b testing.TB, html string, parameters map[string]any) {
	tab := p.at(b.Context())
	if err := (proto.PageSetDocumentContent{FrameID: p.frame, HTML: html}).Call(tab); err != nil {
		b.Fatal(err)
	}
	if err := p.waitForLoad(b.Context()); err != nil {
		b.Fatal(err)
	}
	if _, err := tab.call(b.Context(), p.session, "Page.printToPDF", parameters); err != nil {
		b.Fatal(err)
	}
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
		floor.setAndPrint(t, p.HTML, parameters)
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
