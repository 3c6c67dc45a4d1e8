package pdf

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
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

// TestBenchLongTable shows what it would bring to split the rows of a long table: two halves, at the best place there is, which only
// a look at the whole can tell, are printed in parallel and joined.
func TestBenchLongTable(t *testing.T) {
	bench.Alone(t)
	chromium := newRenderer(t)
	tool, err := start(Options{Workers: 2, UID: 61234}, memoryLimit)
	if err != nil {
		t.Fatal(err)
	}
	defer tool.Close()
	print := func(html string) []byte {
		made, err := chromium.Render(t.Context(), renderer.Page{Account: "bench", HTML: html, Settings: platen.DefaultPageSettings()})
		if err != nil {
			t.Error(err)
			return nil
		}
		return made.Content
	}
	rows := bench.Pick(300, 2900)
	whole := func(fixed bool) func() []byte {
		return func() []byte { return print(bench.Table(fixed, 0, rows)) }
	}
	halves := func(fixed bool, middle int) func() []byte {
		return func() []byte {
			var parts [2]Part
			var both sync.WaitGroup
			both.Go(func() { parts[0].File = print(bench.Table(fixed, 0, middle)) })
			both.Go(func() { parts[1].File = print(bench.Table(fixed, middle, rows)) })
			both.Wait()
			joined, _, err := tool.Merge(t.Context(), parts[:])
			if err != nil {
				t.Error(err)
			}
			return joined
		}
	}
	middle := map[bool]int{}
	var same []string
	for _, fixed := range []bool{false, true} {
		path := save(t, whole(fixed)())
		pages, err := strconv.Atoi(regexp.MustCompile(`Pages: +(\d+)`).FindStringSubmatch(run(t, "pdfinfo", path))[1])
		if err != nil {
			t.Fatal(err)
		}
		// The first row of the page in the middle. Rows have numbers from 1.
		first, err := strconv.Atoi(regexp.MustCompile(`(?m)^(\d+)$`).FindString(pageText(t, path, pages/2+1)))
		if err != nil {
			t.Fatal(err)
		}
		middle[fixed] = first - 1
		joined, count := save(t, halves(fixed, first-1)()), 0
		for page := 1; page <= pages; page++ {
			if reflect.DeepEqual(picture(t, path, page), picture(t, joined, page)) {
				count++
			}
		}
		same = append(same, fmt.Sprintf("%d of %d", count, pages))
	}
	for _, row := range []struct {
		at   string
		once int
	}{{"one at a time", 1}, {"two at a time", 2}} {
		all := func(make func() []byte) func() float64 {
			return func() float64 {
				return float64(row.once) / bench.Seconds(func() {
					var wg sync.WaitGroup
					for range row.once {
						wg.Go(func() { make() })
					}
					wg.Wait()
				})
			}
		}
		measured := bench.Interleave(bench.Pick(1, 9), all(halves(false, middle[false])), all(whole(false)))
		bench.Row{Name: "(a) long table, split in two and joined over whole, " + row.at, Unit: "documents/s", Ours: measured[0], Floor: measured[1],
			Note: fmt.Sprintf("pages that look the same: %s, with fixed columns %s", same[0], same[1])}.Print(t)
	}
}
