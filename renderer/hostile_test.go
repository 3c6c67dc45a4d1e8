package renderer

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"platen"
)

// eat is a script that takes 100 MB and touches them, as often as n says, outside of
// V8's heap.
func eat(n int) string {
	return fmt.Sprintf("<script>const a=[];for(let i=0;i<%d;i++){const x=new Uint8Array(1e8);x.fill(i+1);a.push(x)}</script>", n)
}

// bomb is a small PNG that becomes many bytes when it is decoded.
func bomb(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, image.NewPaletted(image.Rect(0, 0, 12_000, 12_000), color.Palette{color.Black})); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// helper is a process of the browser: its kind is what Chromium calls it in its
// arguments.
func helper(t testing.TB, b *browser, kind string) int {
	t.Helper()
	for _, pid := range family(b.command.Process.Pid) {
		arguments, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if bytes.Contains(arguments, []byte(kind)) {
			return pid
		}
	}
	t.Fatalf("the browser has no process of the kind %s", kind)
	return 0
}

// largest waits for a renderer process of more than 400 MB, which eat(5) becomes.
func largest(t testing.TB, b *browser) int {
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		for _, pid := range family(b.command.Process.Pid) {
			if memoryOf(pid) > 400<<20 {
				return pid
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("no page becomes large")
	return 0
}

// nobodysUID belongs to no process, where only the group counts.
const nobodysUID = 1 << 31

func (r *Renderer) browserOfNow() *browser {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

// settled waits until the browser has no page, and as many processes as wanted (0: any
// number), none of them a zombie. It returns their number.
func settled(t testing.TB, r *Renderer, wanted int) int {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		r.mu.Lock()
		idle := r.idle
		r.idle = nil
		b := r.current
		live := b.live
		r.mu.Unlock()
		for _, p := range idle {
			r.drop(p)
		}
		all := processesOf(t, b.command.Process.Pid, nobodysUID)
		var zombies, pages []string
		for _, folder := range all {
			stat, _ := os.ReadFile(folder + "/stat")
			arguments, _ := os.ReadFile(folder + "/cmdline")
			if bytes.Contains(stat, []byte(") Z ")) {
				zombies = append(zombies, string(stat))
			}
			if bytes.Contains(arguments, []byte("--type=renderer")) {
				pages = append(pages, folder)
			}
		}
		if live == 0 && len(zombies) == 0 && len(pages) == 0 && (wanted == 0 || len(all) <= wanted) {
			return len(all)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d pages live; of %d processes, wanted %d, there are the zombies %q and the pages' %q", live, len(all), wanted, zombies, pages)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// R9.2: whatever a page does ends that one document, in its time and 2 s.
func TestR9_2AHostilePageEndsAloneAndInItsTime(t *testing.T) {
	t.Parallel()
	r := own(t, Options{Concurrency: 4, Memory: 3 << 29})
	r.keptRender = time.Minute
	picture := bomb(t)
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) { w.Write(picture) })
	invoice, err := os.ReadFile("testdata/invoice.html")
	if err != nil {
		t.Fatal(err)
	}
	sibling := func(i int) Page {
		p := document(t, string(invoice))
		p.Account = fmt.Sprint("sibling-", i)
		return p
	}
	want := text(t, renderOn(t, r, sibling(0)))
	if len(want) < 500 {
		t.Fatal(want)
	}
	before, first := settled(t, r, 0), r.browserOfNow()

	var multiplied strings.Builder
	multiplied.WriteString("<svg><circle id=u0 r=1 />")
	for i := range 8 {
		fmt.Fprintf(&multiplied, "<g id=u%d>%s</g>", i+1, strings.Repeat(fmt.Sprintf("<use href=#u%d />", i), 10))
	}
	hostile := account(t)
	crash := func(b *browser) {
		largest(t, b)
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, p := range b.pages {
			if p.owner.account == hostile {
				go b.call(p.life, p.session, "Page.crash", nil)
			}
		}
	}
	send := func(signal syscall.Signal) func(*browser) {
		return func(b *browser) { syscall.Kill(largest(t, b), signal) }
	}
	const wait = "<script>setInterval(()=>{},1000)</script>"
	for _, c := range []struct {
		name, html string
		code       platen.FailureCode // "": any
		change     func(*Page)
		attack     func(*browser)
	}{
		{"a loop", "<script>while(1){}</script>", platen.FailureRenderTimeout, nil, nil},
		{"a loop of promises", "<script>(function f(){Promise.resolve().then(f)})()</script>", platen.FailureRenderTimeout, nil, nil},
		{"a timer that never ends", "<script>setInterval(()=>{while(1){}})</script><p>x", platen.FailureRenderTimeout, func(p *Page) {
			p.Settings.WaitFor = &platen.WaitFor{Selector: "#never"}
		}, nil},
		{"a loop in a worker", "<script>onmessage=0;new Worker(URL.createObjectURL(new Blob(['while(1){}'])))</script>", platen.FailureRenderTimeout, func(p *Page) {
			p.Settings.WaitFor = &platen.WaitFor{Selector: "#never"}
		}, nil},
		{"markup that multiplies", multiplied.String(), platen.FailureRenderTimeout, nil, nil},
		{"printing for ever", "<script>onbeforeprint=()=>{while(1)print()}</script>x", platen.FailureRenderTimeout, nil, nil},
		{"dialogs for ever", "<body onload='while(1)alert(1)'>", platen.FailureRenderTimeout, nil, nil},
		{"frames for ever", "<body><script>setInterval(()=>{for(let i=0;i<100;i++){const f=document.createElement('iframe');f.srcdoc='x';document.body.append(f)}})</script>",
			platen.FailureRenderTimeout, func(p *Page) { p.Settings.WaitFor = &platen.WaitFor{Selector: "#never"} }, nil},
		{"pages without end", "<div style='height:1e9px;background:linear-gradient(red,blue)'>x</div>", platen.FailureRenderTimeout, nil, nil},
		{"a million pages", "<body><script>document.body.innerHTML='<p style=\"break-after:page\">x'.repeat(3e5)</script>", platen.FailureRenderTimeout, nil, nil},
		{"a background that is hard to draw", "<body style='background:linear-gradient(45deg,red,blue);width:30000px;height:3000000px'><div style='filter:blur(50px);width:20000px;height:20000px;background:red'></div>",
			platen.FailureRenderTimeout, nil, nil},
		{"a picture that is hard to draw", "<style>div{width:4096px;height:100px;filter:blur(90px) blur(80px);mix-blend-mode:difference;background:conic-gradient(red,blue)}</style>" + strings.Repeat("<div></div>", 160),
			platen.FailureRenderTimeout, func(p *Page) {
				p.Output, p.Screenshot, p.Watermark = platen.OutputPNG, platen.Screenshot{Width: 4096, Height: 1000, DeviceScaleFactor: 1, FullPage: true}, "TEST"
			}, nil},
		{"a picture that is too high", "<div style='height:1e8px'>", platen.FailureDocumentLimit, func(p *Page) {
			p.Output, p.Screenshot = platen.OutputPNG, platen.Screenshot{Width: 4096, Height: 1000, DeviceScaleFactor: 1, FullPage: true}
		}, nil},
		// Either it is seen to leave, or the empty page that it became is waited for.
		{"reloading for ever", "<script>setInterval(()=>location.reload())</script>", "", func(p *Page) {
			p.Settings.WaitFor = &platen.WaitFor{Selector: "#never"}
		}, nil},
		{"V8's memory", "<script>const a=[];while(1)a.push(new Array(1e5).fill(Math.random()))</script>", platen.FailureRenderCrashed, func(p *Page) { p.Settings.Timeout = 30 }, nil},
		{"memory of arrays", eat(300), platen.FailureRenderCrashed, func(p *Page) { p.Settings.Timeout = 30 }, nil},
		{"memory of workers", "<script>for(let i=0;i<4;i++)new Worker(URL.createObjectURL(new Blob(['const a=[];while(1){const x=new Uint8Array(1e8);x.fill(1);a.push(x)}'])))</script>",
			platen.FailureRenderCrashed, func(p *Page) { p.Settings.Timeout, p.Settings.WaitFor = 30, &platen.WaitFor{Selector: "#never"} }, nil},
		{"memory of WebAssembly", "<script>const a=[];while(1){const m=new WebAssembly.Memory({initial:2000});new Uint8Array(m.buffer).fill(1);a.push(m)}</script>",
			platen.FailureRenderCrashed, func(p *Page) { p.Settings.Timeout = 30 }, nil},
		{"memory of canvases", "<body><script>while(1){const c=document.createElement('canvas');c.width=c.height=8192;c.getContext('2d').fillRect(0,0,8192,8192);document.body.append(c)}</script>",
			platen.FailureRenderCrashed, func(p *Page) { p.Settings.Timeout = 30 }, nil},
		{"memory of elements", "<body><script>while(1)document.body.append(document.createElement('p'))</script>", platen.FailureRenderTimeout, nil, nil},
		// It is Chromium that gives up, or the watch that ends it, whoever is the first; or, on a
		// machine with nothing else to do, it is printed. It harms nobody, is all that can be said.
		{"a picture that is a bomb", "<body>" + strings.Repeat("<img style='width:18cm' src="+s.URL+"/1.png>", 5) + "<script>1</script>", "", func(p *Page) { p.Settings.Timeout = 30 }, nil},
		{"a crash", wait + eat(5), platen.FailureRenderCrashed, func(p *Page) { p.Settings.Timeout, p.Settings.WaitFor = 30, &platen.WaitFor{Selector: "#never"} }, crash},
		{"a process that is killed", wait + eat(5), platen.FailureRenderCrashed, func(p *Page) { p.Settings.Timeout, p.Settings.WaitFor = 30, &platen.WaitFor{Selector: "#never"} }, send(syscall.SIGKILL)},
		{"a process that is stopped", wait + eat(5), platen.FailureRenderTimeout, func(p *Page) { p.Settings.Timeout, p.Settings.WaitFor = 4, &platen.WaitFor{Selector: "#never"} }, send(syscall.SIGSTOP)},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := document(t, c.html)
			p.Account = hostile
			p.Settings.Timeout = 1
			if c.change != nil {
				c.change(&p)
			}
			// With a page at hand, the document's time is all there is to wait for.
			renderOn(t, r, Page{Account: p.Account, HTML: "<script>1</script>", Settings: platen.DefaultPageSettings()})
			waitIdle(t, r, p.Account)
			var over atomic.Bool
			var beside sync.WaitGroup
			for i := range 2 {
				beside.Go(func() {
					for n := 0; n == 0 || !over.Load(); n++ {
						result, err := r.Render(t.Context(), sibling(i))
						if err != nil {
							t.Errorf("beside it: %v", err)
						} else if got := text(t, result.Content); got != want {
							t.Errorf("beside it, an invoice is\n%s", got)
						}
					}
				})
			}
			if c.attack != nil {
				beside.Go(func() { c.attack(r.browserOfNow()) })
			}
			began := time.Now()
			_, err := r.Render(t.Context(), p)
			took := time.Since(began)
			over.Store(true)
			beside.Wait()
			var failure *platen.Failure
			if made := err == nil && c.code == ""; !made && (!errors.As(err, &failure) || c.code != "" && failure.Code != c.code || failure.Retryable) {
				t.Errorf("%v, want %q", err, c.code)
			}
			if limit := time.Duration(p.Settings.Timeout+2) * time.Second; took > limit {
				t.Errorf("it took %v of %v", took, limit)
			}
			t.Logf("%v after %v", err, took.Round(time.Millisecond))
		})
	}
	if r.browserOfNow() != first {
		t.Error("the browser was replaced")
	}
	settled(t, r, before)
	if left, err := os.ReadDir(r.options.TempDir); err != nil || len(left) != 1 {
		t.Errorf("%v is left, %v", left, err)
	}
}
