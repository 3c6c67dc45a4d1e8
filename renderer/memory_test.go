package renderer

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"platen"
	"platen/bench"
)

// footprint is what a renderer takes of memory, in bytes: all processes of its browser,
// with the idle pages and without, and our own heap. Each is the least of several readings.
type footprint struct {
	all, bare, heap int64
	idle            int // pages in all
}

func measure(t testing.TB, r *Renderer) (f footprint) {
	t.Helper()
	least := func(reading func() int64) int64 {
		smallest := reading()
		for range 8 {
			time.Sleep(200 * time.Millisecond)
			smallest = min(smallest, reading())
		}
		return smallest
	}
	browser := func() (sum int64) {
		main := r.browserOfNow().command.Process.Pid
		for _, pid := range append(family(main), main) {
			sum += memoryOf(pid)
		}
		return sum
	}
	r.mu.Lock()
	f.idle = len(r.idle)
	r.mu.Unlock()
	f.all = least(browser)
	settled(t, r, 0)
	f.bare = least(browser)
	f.heap = least(func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	})
	return f
}

func (f footprint) String() string {
	return fmt.Sprintf("%.1f MB with %d idle pages, %.1f MB without, our heap %.1f MB", float64(f.all)/1e6, f.idle, float64(f.bare)/1e6, float64(f.heap)/1e6)
}

// R9.2: nothing grows with the number of documents. TEST_LONG=1 makes 5,000 of them.
func TestR9_2MemoryDoesNotGrowWithTheNumberOfDocuments(t *testing.T) {
	first, last, limit := 60, 300, 1.25 // few documents are nearer to the noise
	if os.Getenv("TEST_LONG") != "" {
		first, last, limit = 500, 5000, 1.1
	}
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".png") {
			w.Write(redPNG())
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<p>at an address<img src=/x.png><script>localStorage.x=1</script>")
	})
	invoice, err := os.ReadFile("testdata/invoice.html")
	if err != nil {
		t.Fatal(err)
	}
	r := own(t, Options{Concurrency: 4})
	page := func(i int) Page {
		p := Page{Account: fmt.Sprint("account-", i%4), HTML: string(invoice), Settings: platen.DefaultPageSettings()}
		switch i % 8 {
		case 1, 5:
			p.HTML += "<p id=p></p><script>p.textContent=Array.from({length:2000},(_,i)=>i).join(' ')</script>"
		case 2:
			p.HeaderHTML, p.FooterHTML = "<span class=title></span>", "<span class=pageNumber></span>"
		case 3:
			p.HTML += fmt.Sprintf("<img src=%s/%d.png>", s.URL, i)
		case 4:
			if i%32 == 4 {
				p.HTML, p.URL = "", s.URL+"/page"
			} else if i%32 == 12 {
				p.Output, p.Screenshot, p.Watermark = platen.OutputPNG, platen.DefaultScreenshot(), "TEST"
			}
		}
		return p
	}
	var made atomic.Int64
	makeUntil := func(n int) {
		var workers sync.WaitGroup
		for range 4 {
			workers.Go(func() {
				for i := int(made.Add(1)); i <= n; i = int(made.Add(1)) {
					if result, err := r.Render(t.Context(), page(i)); err != nil {
						t.Errorf("document %d: %v %s", i, err, details(err))
					} else if !bytes.HasPrefix(result.Content, []byte("%PDF")) && !bytes.HasPrefix(result.Content, []byte("\x89PNG")) {
						t.Errorf("document %d is %.20q", i, result.Content)
					}
				}
			})
		}
		workers.Wait()
		made.Store(int64(n))
	}
	b := r.browserOfNow()
	began := time.Now()
	makeUntil(first)
	early := measure(t, r)
	t.Logf("after %d: %v, goroutines %d", first, early, runtime.NumGoroutine())
	makeUntil(last)
	late := measure(t, r)
	t.Logf("after %d: %v, goroutines %d, %v", last, late, runtime.NumGoroutine(), time.Since(began).Round(time.Second))
	bench.Row{Name: fmt.Sprintf("(h) memory after %d renders over after %d: the browser, and the renderer's heap", last, first), Unit: "MB",
		Ours: bench.Series{float64(late.bare+late.heap) / 1e6}, Floor: bench.Series{float64(early.bare+early.heap) / 1e6}, Goal: "1.1"}.Print(t)
	compare := func(what string, early, late int64) {
		// Of our one megabyte, another is no leak.
		if ratio := float64(late) / float64(early); ratio > limit && late-early > 2<<20 {
			t.Errorf("%s takes %.2f times as much after %d documents as after %d", what, ratio, last, first)
		}
	}
	compare("the browser", early.bare, late.bare)
	compare("our heap", early.heap, late.heap)
	// A page that is kept fills its heap with its first hundreds of documents, and is replaced
	// after maxPageUses: only pages that have come so far can be compared.
	if early.idle == late.idle && first >= maxPageUses {
		compare("the browser with idle pages", early.all, late.all)
	}
	if r.browserOfNow() != b {
		t.Error("the browser was replaced, so this shows nothing")
	}
}
