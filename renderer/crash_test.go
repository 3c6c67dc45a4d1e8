package renderer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"platen"
)

// between stands between the renderer and its browser: it sees each message before the
// browser does, which gets it when seen returns. It returns what is to be done after that,
// if anything.
func between(t *testing.T, b *browser, seen func(method string) (after func())) {
	t.Helper()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	b.sending.Lock()
	browsers := b.pipes[1]
	b.pipes[1] = out
	_ = browsers.SetWriteDeadline(time.Time{}) // of the last message
	b.sending.Unlock()
	go func() {
		defer browsers.Close()
		defer in.Close()
		for from := bufio.NewReader(in); ; {
			message, err := from.ReadBytes(0)
			if err != nil {
				return
			}
			var m struct{ Method string }
			_ = json.Unmarshal(bytes.TrimSuffix(message, []byte{0}), &m)
			after := seen(m.Method)
			if _, err := browsers.Write(message); err != nil {
				return
			}
			if after != nil {
				after()
			}
		}
	}()
}

// renderers are the processes of the browser's pages.
func renderers(b *browser) (pids []int) {
	for _, pid := range family(b.command.Process.Pid) {
		arguments, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if bytes.Contains(arguments, []byte("--type=renderer")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// killPages kills the processes of all pages, and waits until they are gone if gone is
// set. If there is none yet, the first one dies as soon as it is there.
func killPages(b *browser, gone bool) {
	kill := func() bool {
		pids := renderers(b)
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		for _, pid := range pids {
			for gone && syscall.Kill(pid, 0) == nil {
				time.Sleep(time.Millisecond)
			}
		}
		return len(pids) > 0
	}
	if kill() {
		return
	}
	go func() {
		for b.life.Err() == nil && !kill() {
			time.Sleep(time.Millisecond)
		}
	}()
}

// death kills the process of a page at a message to the browser.
type death struct {
	mu      sync.Mutex
	at      int      // which message kills; 0: none
	odd     int      // 1: at the messages of odd numbers Chromium knows before it gets them; 0: at those of even ones
	always  bool     // it and all after it do
	methods []string // of the messages so far
	begun   bool     // the document was in the page
}

func (d *death) arm(at int, always bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at, d.always, d.methods, d.begun = at, always, nil, false
}

// seen is for between.
func (d *death) seen(b *browser, method string) (after func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch method {
	case "Browser.getVersion", "Target.createBrowserContext", "Target.disposeBrowserContext":
		return nil // there is no process yet, or not for long
	case "Page.printToPDF":
		// Chromium itself ends if it is to print a page that it knows to be dead. That one
		// dies while it prints has a test of its own.
		return nil
	}
	kill := d.at > 0 && (len(d.methods)+1 == d.at || d.always && len(d.methods)+1 > d.at)
	if len(d.methods) < d.at || d.at == 0 {
		d.methods = append(d.methods, method)
		switch method {
		case "Page.setDocumentContent":
			d.begun = true
		case "Page.navigate": // to an empty page
			d.begun = false
		}
	}
	if !kill {
		return nil
	}
	// Either Chromium knows when it gets the message, or it learns with it.
	gone := d.at%2 == d.odd
	if method == "Target.createTarget" {
		return func() { killPages(b, gone) }
	}
	killPages(b, gone)
	return nil
}

// A page's process may die at any message of ours. Until its document is in it, the
// document gets another page; afterwards the document is what it died of, whatever
// Chromium answers to the message. Neither has to wait.
func TestR9_2APagesProcessThatDiesIsKnownAtOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		kind platen.OutputKind
		html string
		warm bool
		odd  int
	}{
		{"PDF", platen.OutputPDF, "<p id=p>text<script>1</script>", false, 0},
		{"PDF of a page that is still", platen.OutputPDF, "<p id=p>text", false, 1},
		{"image", platen.OutputPNG, "<p id=p>text<script>1</script>", false, 1},
		{"image on a page that was used", platen.OutputPNG, "<p id=p>text", true, 0}, // without scripts a page is emptied when it is used again
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := own(t, Options{})
			r.keptRender = time.Minute
			b := r.browserOfNow()
			d := death{odd: c.odd}
			between(t, b, func(method string) (after func()) { return d.seen(b, method) })
			for at := 1; ; at++ {
				p := document(t, c.html)
				p.Account += fmt.Sprint("-", at)
				p.Output, p.Screenshot = c.kind, platen.DefaultScreenshot()
				p.Screenshot.FullPage = true
				if c.warm {
					d.arm(0, false)
					p.Screenshot.Width = 500
					renderOn(t, r, p)
					p.Screenshot.Width = 600
					waitIdle(t, r, p.Account)
				}
				p.Settings.WaitFor = &platen.WaitFor{Selector: "#p"}
				d.arm(at, false)
				began := time.Now()
				_, err := r.Render(t.Context(), p)
				took := time.Since(began)
				settled(t, r, 0)
				d.mu.Lock()
				methods, begun := d.methods, d.begun
				d.mu.Unlock()
				if len(methods) < at {
					if at < 10 {
						t.Errorf("there are only the messages %q", methods)
					}
					break
				}
				var failure *platen.Failure
				switch {
				case !begun && err != nil:
					t.Errorf("it died at %s, before the document: %v", methods[at-1], err)
				case begun && (!errors.As(err, &failure) || failure.Code != platen.FailureRenderCrashed):
					t.Errorf("it died at %s, of the document: %v", methods[at-1], err)
				}
				if took > 10*time.Second {
					t.Errorf("it died at %s and took %v", methods[at-1], took)
				}
			}
			if r.browserOfNow() != b {
				t.Error("the browser was replaced")
			}
		})
	}
}

// A browser whose pages all die before they have a document is at fault, and not that document.
func TestR9_2ABrowserWhosePagesAllDieIsReplaced(t *testing.T) {
	t.Parallel()
	r := own(t, Options{})
	b := r.browserOfNow()
	var d death
	between(t, b, func(method string) (after func()) { return d.seen(b, method) })
	d.arm(2, true)
	began := time.Now()
	failure := renderFails(t, r, document(t, "no page"), platen.StageRender, platen.FailureBrowserGone)
	if took := time.Since(began); took > 15*time.Second || !failure.Retryable {
		t.Errorf("after %v, retryable %t", took, failure.Retryable)
	}
	d.arm(0, false)
	renderOn(t, r, document(t, "next"))
	if r.browserOfNow() == b {
		t.Error("the browser was not replaced")
	}
}

// Chromium may say that the printing failed before it says that a process died.
func TestR9_2APageWhoseProcessDiesInItsPrintingHasCrashed(t *testing.T) {
	t.Parallel()
	r := own(t, Options{})
	b := r.browserOfNow()
	html := strings.Repeat("<p style='break-after:page'>long</p>", 1500)
	for i := range 12 {
		p := document(t, html)
		p.Account += fmt.Sprint("-", i)
		renderOn(t, r, Page{Account: p.Account, HTML: "warm", Settings: p.Settings})
		waitIdle(t, r, p.Account)
		pid := helper(t, b, "--type=renderer")
		killed := make(chan struct{})
		var rendered atomic.Bool
		go func() {
			defer close(killed)
			// After some of the processor's time, and not the clock's, in which it may have done nothing.
			for until := processorTime(pid) + int64(i+1)*int64(60*time.Millisecond); processorTime(pid) < until && !rendered.Load(); {
				time.Sleep(time.Millisecond)
			}
			syscall.Kill(pid, syscall.SIGKILL)
		}()
		_, err := r.Render(t.Context(), p)
		rendered.Store(true)
		<-killed
		var failure *platen.Failure
		if err != nil && (!errors.As(err, &failure) || failure.Code != platen.FailureRenderCrashed) {
			t.Error(err)
		}
		settled(t, r, 0)
	}
}
