package renderer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"platen"
)

func waiting(p Page, w platen.WaitFor, timeout int) Page {
	p.Settings.WaitFor, p.Settings.Timeout = &w, timeout
	return p
}

func TestR2_3ADocumentWaitsForItsSelector(t *testing.T) {
	t.Parallel()
	for name, html := range map[string]string{
		"there at once":     "<p class=done>DONE",
		"added":             "<script>setTimeout(()=>document.body.innerHTML='<p class=done>DONE',200)</script>",
		"a class added":     "<p id=p>x</p><script>setTimeout(()=>{p.className='done';p.textContent='DONE'},200)</script>",
		"added when loaded": "<script>onload=()=>setTimeout(()=>document.body.innerHTML='<p class=done>DONE',200)</script>",
		// What only a world of its own is safe from.
		"tampering": `<script>document.querySelector=()=>document.body;Document.prototype.querySelector=()=>document.body;window.requestAnimationFrame=()=>{};
			Promise.prototype.then=()=>{};window.scheduler={};MutationObserver=null;
			const frame=Window.prototype.requestAnimationFrame||requestAnimationFrame,late=setTimeout(()=>document.body.innerHTML='<p class=done>DONE',500),
			own=setInterval(()=>{const timer=setTimeout(()=>{});for(let i=timer-50;i<=timer;i++)if(i!=late&&i!=own)clearTimeout(i);
			for(let i=0;i<300;i++)cancelAnimationFrame(i)},1)</script>`,
	} {
		p := waiting(document(t, html), platen.WaitFor{Selector: " p.done "}, 20)
		if got := text(t, render(t, p)); !strings.Contains(got, "DONE") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestR2_3ADocumentWithoutScriptsNeedsItsSelectorAtOnce(t *testing.T) {
	t.Parallel()
	for _, html := range []string{"<p class=done>DONE", "<noscript><p class=done>DONE</noscript>"} {
		p := waiting(document(t, html), platen.WaitFor{Selector: ".done"}, 20)
		p.Settings.NoJavaScript = true
		if got := text(t, render(t, p)); !strings.Contains(got, "DONE") {
			t.Errorf("%q", got)
		}
	}
	p := waiting(document(t, "<p>never"), platen.WaitFor{Selector: ".done"}, 60)
	started := time.Now()
	failure := renderFails(t, shared, p, platen.StageRender, platen.FailureRenderTimeout)
	if took := time.Since(started); took > 30*time.Second || !strings.Contains(failure.Message, `".done" (waitFor.selector)`) {
		t.Errorf("after %v: %s", took, failure.Message)
	}
	// Such a document keeps the fast way: a page without scripts, used again.
	p = waiting(document(t, "<p class=done>DONE"), platen.WaitFor{Selector: ".done"}, 20)
	p.Account += "-fast"
	render(t, p)
	if idle := waitIdle(t, shared, p.Account); idle.owner.scripts {
		t.Error("a selector alone switches scripts on")
	}
}

func TestR2_3ADocumentWaitsForItsExpression(t *testing.T) {
	t.Parallel()
	const later = "<p id=p>x</p><script>setTimeout(()=>{window.ready=true;p.textContent='DONE'},200)</script>"
	for expression, html := range map[string]string{
		"window.ready":                                later,
		"ready // that throws until it is set":        later,
		"nothing.yet || true":                         "<script>setTimeout(()=>{window.nothing={};document.body.append('DONE')},100)</script>",
		"document.body.dataset.x = 1, 'DONE'":         "DONE",
		"document.querySelectorAll('p').length > 1":   "<p>DONE<p>2",
		"new Promise(r => setTimeout(r, 200, 'yes'))": "DONE",
		"await new Promise(r => setTimeout(r, 50)), window.n = (window.n || 0) + 1, n > 2": "DONE",
		"document.body.append('DONE'), 1":                                                  "<p>without a script of its own",
		"ready.now":                                                                        `<script>Promise.prototype.then=()=>{};window.requestAnimationFrame=()=>{};Object.defineProperty(window,'scheduler',{value:{postTask(){}}});setTimeout(()=>{window.ready={now:1};document.body.append('DONE')},100)</script>`,
	} {
		p := waiting(document(t, html), platen.WaitFor{Expression: expression}, 20)
		if got := text(t, render(t, p)); !strings.Contains(got, "DONE") {
			t.Errorf("%s: %q", expression, got)
		}
	}
	// What an expression leaves is as gone as what a script leaves.
	p := waiting(document(t, "<p>plain"), platen.WaitFor{Expression: "window.name = window.mark = 'MARK'"}, 20)
	render(t, p)
	waitIdle(t, shared, account(t))
	p = document(t, "<p id=p></p><script>p.textContent='['+window.name+window.mark+']'</script>")
	if got := text(t, render(t, p)); !strings.Contains(got, "[undefined]") {
		t.Error(got)
	}
}

func TestR2_3AConditionThatIsNotMetIsNamed(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) { <-held })
	defer close(held)
	for _, c := range []struct {
		html                          string
		wait                          platen.WaitFor
		condition, message, exception string
	}{
		{"<script>1</script>", platen.WaitFor{Selector: ".never"}, "waitFor.selector", `".never"`, ""},
		{"<p>x", platen.WaitFor{Expression: "window.never"}, "waitFor.expression", `"window.never"`, ""},
		{"<p>x", platen.WaitFor{Expression: "never.there"}, "waitFor.expression", "ReferenceError: never is not defined", "ReferenceError: never is not defined"},
		{"<p>x", platen.WaitFor{Expression: "Promise.reject(Error('no'))"}, "waitFor.expression", "throws Error: no", "Error: no"},
		{"<p>x", platen.WaitFor{Expression: "(()=>{throw 'text'})()"}, "waitFor.expression", "throws text", "text"},
		{"<p>x", platen.WaitFor{Expression: "new Promise(()=>{})"}, "waitFor.expression", "new Promise", ""},
		{"<p>x", platen.WaitFor{Expression: "(()=>{while(1){}})()"}, "waitFor.expression", "while(1)", ""},
		{"<script>fetch('" + s.URL + "/slow?secret')</script>", platen.WaitFor{NetworkIdle: true}, "waitFor.networkIdle", s.URL + "/slow has not answered", ""},
	} {
		failure := renderFails(t, shared, waiting(document(t, c.html), c.wait, 2), platen.StageRender, platen.FailureRenderTimeout)
		var got struct{ Condition, Exception string }
		if err := json.Unmarshal(failure.Details, &got); err != nil {
			t.Fatal(err)
		}
		if got.Condition != c.condition || got.Exception != c.exception || !strings.Contains(failure.Message, c.message) ||
			!strings.Contains(failure.Message, "("+c.condition+")") || strings.Contains(failure.Message, "secret") {
			t.Errorf("%+v: %s %s", c.wait, failure.Message, failure.Details)
		}
	}
}

func TestR2_3AConditionThatCannotBeReadFailsAtOnce(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) { <-held })
	defer close(held)
	for _, w := range []platen.WaitFor{{Expression: "if (ready) true"}, {Expression: "a b"}, {Expression: "a;"}, {Expression: "(("}, {Expression: "'open"}, {Expression: ")(" /* would close our own */}} {
		p := waiting(document(t, "<img src="+s.URL+"/held>"), w, 60)
		if failure := renderFails(t, shared, p, platen.StageRender, platen.FailureRenderFailed); !strings.Contains(failure.Message, "waitFor.expression") || !strings.Contains(failure.Message, "SyntaxError") {
			t.Error(failure.Message)
		}
	}
	for _, html := range []string{"<p>x", "<script>1</script>"} {
		p := waiting(document(t, html), platen.WaitFor{Selector: "p:{"}, 60)
		if failure := renderFails(t, shared, p, platen.StageRender, platen.FailureRenderFailed); !strings.Contains(failure.Message, "waitFor.selector") {
			t.Error(failure.Message)
		}
	}
}

func TestR2_3ADocumentWaitsForTheNetworkToBeIdle(t *testing.T) {
	t.Parallel()
	var last atomic.Int64
	var events atomic.Bool
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		if r.URL.Path == "/events" {
			events.Store(true)
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		last.Store(time.Now().UnixNano())
		fmt.Fprint(w, r.URL.Path[1:])
	})
	// Four requests, each begun by the answer to the one before, after a pause.
	p := waiting(document(t, strings.ReplaceAll(`<p id=p>x</p><script>new EventSource('§/events');
		(async()=>{for(let i=1;i<5;i++){p.textContent=await (await fetch('§/step'+i)).text();await new Promise(r=>setTimeout(r,150))}})()</script>`, "§", s.URL)),
		platen.WaitFor{NetworkIdle: true}, 20)
	pdf := render(t, p)
	if quiet := time.Since(time.Unix(0, last.Load())); quiet < idleTime {
		t.Errorf("it was made %v after the last request", quiet)
	}
	if got := text(t, pdf); !strings.Contains(got, "step4") || !events.Load() {
		t.Errorf("%q, a stream of events is open: %t", got, events.Load())
	}
	// A document that can load nothing has nothing to wait for.
	p = waiting(document(t, "<p>plain"), platen.WaitFor{NetworkIdle: true}, 20)
	started := time.Now()
	for range 10 {
		render(t, p)
	}
	if took := time.Since(started); took > 10*idleTime {
		t.Errorf("it waits for nothing: %v", took)
	}
}

func TestWhatComesWhileADocumentWaitsIsLoadedAsWell(t *testing.T) {
	t.Parallel()
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/missing" {
			http.NotFound(w, r)
			return
		}
		w.Write(redPNG())
	})
	html := "<!doctype html><script>setTimeout(()=>{document.body.innerHTML='<img width=400 height=400 src=" + s.URL + "/red class=done>'},200)</script>"
	p := waiting(document(t, html), platen.WaitFor{Selector: ".done", NetworkIdle: true}, 20)
	if got := picture(t, render(t, p)).At(150, 150); !isColor(got, 255, 0, 0) {
		t.Error(got)
	}
	p.HTML = strings.Replace(html, "/red", "/missing", 1)
	renderFails(t, shared, p, platen.StageAsset, platen.FailureAssetFailed)
}

func TestADocumentThatLeavesWhileItWaitsIsNotPrinted(t *testing.T) {
	t.Parallel()
	elsewhere := server(t, openHost, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<h1 class=done>another page</h1>"))
	})
	for _, w := range []platen.WaitFor{{Selector: ".done"}, {Expression: "document.querySelector('.done')"}, {NetworkIdle: true}} {
		p := waiting(document(t, "<script>setTimeout(()=>location='"+elsewhere.URL+"/',100)</script>INVOICE"), w, 20)
		if failure := renderFails(t, shared, p, platen.StageRender, platen.FailureRenderFailed); !strings.Contains(failure.Message, "another address") {
			t.Errorf("%+v: %s", w, failure.Message)
		}
	}
}
