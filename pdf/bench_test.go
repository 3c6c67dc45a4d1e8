package pdf

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"platen"
	"platen/bench"
	"platen/egress"
	"platen/renderer"
)

func newRenderer(t *testing.T) *renderer.Renderer {
	t.Helper()
	proxy, err := egress.NewProxy(egress.New(egress.Options{Closed: true}), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	dir, err := os.MkdirTemp("", "platen-pdf-test-")
	if err == nil {
		err = os.Chmod(dir, 0o711) // for Chromium's user
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r, err := renderer.New(renderer.Options{Proxy: proxy, UID: 54321, TempDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// TestBenchMerge compares with qpdf, started once for each merge as its users start it. qpdf keeps neither
// bookmarks nor named destinations of the parts, and a font as often as it comes.
func TestBenchMerge(t *testing.T) {
	bench.Alone(t)
	tool, err := start(Options{Workers: 1, UID: 61234}, memoryLimit)
	if err != nil {
		t.Fatal(err)
	}
	defer tool.Close()
	dir := t.TempDir()
	out := filepath.Join(dir, "merged.pdf")
	var parts []Part
	var paths []string
	chromium := newRenderer(t)
	for i := range 200 {
		html := strings.ReplaceAll(bench.Invoice().HTML, "INV-2026-0042", fmt.Sprintf("INV-2026-%04d", i))
		made, err := chromium.Render(t.Context(), renderer.Page{Account: "bench", HTML: html, Settings: platen.DefaultPageSettings()})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, Part{File: made.Content})
		paths = append(paths, filepath.Join(dir, fmt.Sprintf("%d.pdf", i)))
		if err := os.WriteFile(paths[i], parts[i].File, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		count, rounds int
		time, size    string
	}{{2, 100, "3.5", "0.6"}, {20, 40, "1.3", "0.2"}, {200, 15, "1.3", "0.15"}} {
		var merged []byte
		ours := func() float64 {
			return 1000 * bench.Seconds(func() {
				var err error
				if merged, _, err = tool.Merge(t.Context(), parts[:row.count]); err != nil {
					t.Fatal(err)
				}
			})
		}
		arguments := append(append([]string{"--empty", "--pages"}, paths[:row.count]...), "--", out)
		floor := func() float64 {
			return 1000 * bench.Seconds(func() {
				if text, err := exec.CommandContext(t.Context(), "qpdf", arguments...).CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, text)
				}
			})
		}
		bench.Interleave(bench.Pick(1, 3), ours, floor) // warm
		measured := bench.Interleave(bench.Pick(1, row.rounds), ours, floor)
		name := fmt.Sprintf("(d) merge of %d documents over qpdf", row.count)
		bench.Row{Name: name + ": time", Unit: "ms", Ours: measured[0], Floor: measured[1], Goal: row.time}.Print(t)
		other, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		bench.Row{Name: name + ": size", Unit: "KB", Ours: bench.Series{float64(len(merged)) / 1024}, Floor: bench.Series{float64(len(other)) / 1024}, Goal: row.size}.Print(t)
	}
}
