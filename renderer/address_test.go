package renderer

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"platen"
)

// at is a page at an address, of the test's own account.
func at(t testing.TB, address string) Page {
	p := document(t, "")
	p.URL = address
	return p
}

// site is a server of some pages.
func site(t testing.TB, pages map[string]string) *httptest.Server {
	t.Helper()
	return server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
		html, known := pages[r.URL.Path]
		if !known {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, html)
	})
}

func TestAPageAtAnAddressBecomesADocument(t *testing.T) {
	t.Parallel()
	pages := site(t, map[string]string{
		"/": `<!doctype html><title>Their title</title><p id=p>x</p><img src=/red.png width=400 height=400>
			<script src=script.js></script><p style=break-before:page>Ünï 日本`,
		"/script.js": "p.textContent = 'SCRIPTED ' + location.pathname",
	})
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/red.png" {
			time.Sleep(300 * time.Millisecond) // longer than the rest
			w.Write(redPNG())
			return
		}
		pages.Config.Handler.ServeHTTP(w, r)
	})
	p := at(t, s.URL+"/")
	p.Settings.MarginTop, p.Settings.MarginBottom = "2cm", "2cm"
	p.HeaderHTML, p.FooterHTML = "Head <span class=title></span>", "Page <span class=pageNumber></span> of <span class=totalPages></span>"
	pdf := render(t, p)
	got := strings.Join(strings.Fields(text(t, pdf)), " ")
	for _, want := range []string{"SCRIPTED /", "Ünï 日本", "Head Their title", "Page 2 of 2"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in %q", want, got)
		}
	}
	if got := picture(t, pdf).At(150, 200); !isColor(got, 255, 0, 0) {
		t.Errorf("the picture is %v", got)
	}
	if info(t, pdf, "Title") != "Their title" {
		t.Error(info(t, pdf, "Title"))
	}
}

func TestAPageIsPrintedWhereItEndsUp(t *testing.T) {
	t.Parallel()
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		end := "http://" + r.Host + "/end"
		switch r.URL.Path {
		case "/http":
			http.Redirect(w, r, "/http2", http.StatusMovedPermanently)
		case "/http2":
			http.Redirect(w, r, end, http.StatusFound)
		case "/head":
			fmt.Fprintf(w, "<script>location='%s'</script>BEFORE", end)
		case "/load":
			fmt.Fprintf(w, "<body onload=\"location='%s'\">BEFORE", end)
		case "/refresh":
			fmt.Fprintf(w, "<meta http-equiv=refresh content='0;url=%s'>BEFORE", end)
		case "/chain":
			fmt.Fprint(w, "<meta http-equiv=refresh content='0;url=/load'>BEFORE")
		case "/waits":
			fmt.Fprintf(w, "<script>setTimeout(()=>location='%s',300)</script>BEFORE", end)
		case "/streams":
			fmt.Fprint(w, "<p>BEGUN")
			w.(http.Flusher).Flush()
			time.Sleep(300 * time.Millisecond)
			fmt.Fprint(w, "<p>END")
		case "/form":
			fmt.Fprintf(w, "<form method=post action=/end></form><script>document.forms[0].submit()</script>BEFORE")
		case "/end":
			time.Sleep(100 * time.Millisecond) // long enough for a page before it to be printed
			fmt.Fprint(w, "<p class=end>END")
		}
	})
	for _, path := range []string{"/end", "/http", "/head", "/load", "/refresh", "/chain", "/waits", "/form", "/streams"} {
		p := at(t, s.URL+path)
		if path == "/waits" {
			p = waiting(p, platen.WaitFor{Selector: ".end", Expression: "document.querySelector('.end')", NetworkIdle: true}, 20)
		}
		if got := text(t, render(t, p)); !strings.Contains(got, "END") || strings.Contains(got, "BEFORE") {
			t.Errorf("%s: %q", path, got)
		}
	}
}

func TestARefreshIsPartOfTheWay(t *testing.T) {
	t.Parallel()
	resting := func(events ...string) bool {
		way := travel{changed: make(chan struct{}, 1)}
		for _, one := range events {
			method, params, _ := strings.Cut(one, " ")
			way.event("main", "Page."+method, json.RawMessage(params))
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		return way.rest(ended) == nil
	}
	const main, start, stop = `{"frameId":"main"}`, `frameStartedLoading {"frameId":"main"}`, `frameStoppedLoading {"frameId":"main"}`
	for _, c := range []struct {
		events []string
		want   bool
	}{
		{[]string{start}, false}, {[]string{start, stop}, true}, {[]string{start, `frameStoppedLoading {"frameId":"inner"}`}, false},
		// As Chromium tells of a refresh: between its announcement and its start, nothing loads.
		{[]string{start, `frameScheduledNavigation {"frameId":"main","delay":0}`, stop}, false},
		{[]string{start, `frameScheduledNavigation {"frameId":"main","delay":0}`, stop, "frameClearedScheduledNavigation " + main}, true},
		{[]string{start, `frameScheduledNavigation {"frameId":"main","delay":0}`, stop, start, "frameClearedScheduledNavigation " + main}, false},
		{[]string{start, `frameScheduledNavigation {"frameId":"main","delay":300}`, stop}, true},
		{[]string{start, `frameScheduledNavigation {"frameId":"inner","delay":0}`, stop}, true},
	} {
		if resting(c.events...) != c.want {
			t.Errorf("%v: at rest is %t", c.events, !c.want)
		}
	}
}

func TestAPageThatStaysIsPrintedThoughItWouldGo(t *testing.T) {
	t.Parallel()
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		switch r.URL.Path {
		case "/nothing":
			w.WriteHeader(http.StatusNoContent)
		case "/download":
			w.Header().Set("Content-Disposition", "attachment")
			fmt.Fprint(w, "bytes")
		default:
			fmt.Fprintf(w, "STAYS<script>onload=()=>{%s}</script>", r.URL.Query().Get("do"))
		}
	})
	for _, do := range []string{
		"location='/nothing'", "location='/download'", "location='file:///etc/passwd'", "location='chrome://version'", "location='view-source:http://x'",
		"location='data:text/html,OTHER'", "location='mailto:a@b.c'", "location='nosuch:x'", "location.hash='x'", "history.pushState(1,'','/other')",
		"location='javascript:1'", "setTimeout(()=>location='/other',5000)", "alert(1);confirm(2);prompt(3)", "window.open('/other')",
		"onbeforeunload=e=>{e.preventDefault();return 'x'};location='/nothing'", "print()", "window.close()",
		"document.write('<meta http-equiv=refresh content=5;url=/other>STAYS')", "navigator.serviceWorker.register('/sw.js')", "Notification.requestPermission()",
	} {
		p := at(t, s.URL+"/?do="+strings.NewReplacer(";", "%3B", "&", "%26", "+", "%2B", "=", "%3D", " ", "%20", "#", "%23").Replace(do))
		p.Settings.Timeout = 20
		if got := text(t, render(t, p)); !strings.Contains(got, "STAYS") || strings.Contains(got, "root:") || strings.Contains(got, "OTHER") {
			t.Errorf("%s: %q", do, got)
		}
	}
}

func TestAnAddressThatIsNoPageFailsTheDocument(t *testing.T) {
	t.Parallel()
	var denied atomic.Int64
	private := server(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) { denied.Add(1) })
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, private.URL+"/private?token=geheim", http.StatusFound)
		case "/script":
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<script>location='/gone'</script>")
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "/login":
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		case "/busy":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/gone":
			w.WriteHeader(http.StatusGone)
			fmt.Fprint(w, "<h1>a page that says so")
		case "/nothing":
			w.WriteHeader(http.StatusNoContent)
		case "/pdf":
			w.Header().Set("Content-Type", "application/pdf")
			fmt.Fprint(w, "%PDF-1.4")
		case "/attachment":
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Content-Disposition", "attachment; filename=x.html")
			fmt.Fprint(w, "<p>x")
		case "/cut":
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Content-Length", "1000000")
			fmt.Fprint(w, "<p>x")
		}
	})
	secure := unstarted(t, openHost, func(w http.ResponseWriter, r *http.Request) {})
	secure.StartTLS()
	nobody := unstarted(t, openHost, nil)
	closed := nobody.Listener.Addr().String()
	nobody.Close()
	withUser := func(address string) string { return strings.Replace(address, "://", "://user:geheim@", 1) }
	for _, c := range []struct {
		address   string
		code      platen.FailureCode
		message   string
		retryable bool
	}{
		{withUser(s.URL) + "/gone?signature=geheim#geheim", platen.FailureAssetFailed, "/gone (Document) did not load: HTTP status 410.", false},
		{s.URL + "/busy", platen.FailureAssetFailed, "HTTP status 503.", true},
		{s.URL + "/login", platen.FailureAssetFailed, "HTTP status 401.", false},
		{s.URL + "/script", platen.FailureAssetFailed, "/gone (Document) did not load: HTTP status 410.", false},
		{s.URL + "/loop", platen.FailureAssetFailed, "net::ERR_TOO_MANY_REDIRECTS", false},
		{s.URL + "/file", platen.FailureAssetFailed, "net::ERR_UNSAFE_REDIRECT", false},
		{s.URL + "/nothing", platen.FailureAssetFailed, "no content (HTTP status 204)", false},
		{s.URL + "/pdf?geheim", platen.FailureAssetFailed, "/pdf (Document) did not load: it is no page but a file to download (application/pdf).", false},
		{s.URL + "/attachment", platen.FailureAssetFailed, "a file to download (text/html)", false},
		{s.URL + "/cut", platen.FailureAssetFailed, "net::ERR_CONTENT_LENGTH_MISMATCH", true},
		{secure.URL + "/", platen.FailureAssetFailed, "net::ERR_CERT_AUTHORITY_INVALID", false},
		{"http://" + closed + "/?geheim", platen.FailureAssetFailed, "connection refused", true},
		{"https://" + closed + "/?geheim", platen.FailureAssetFailed, "connection refused", true},
		{"http://no-such-host.invalid/", platen.FailureAssetFailed, "host not found", false},
		{"https://no-such-host.invalid/", platen.FailureAssetFailed, "host not found", false},
		{withUser(private.URL) + "/a?geheim", platen.FailureEgressDenied, private.URL + "/a (Document) may not be reached", false},
		{strings.Replace(private.URL, "http:", "https:", 1) + "/a", platen.FailureEgressDenied, "PLATEN_RENDER_ALLOW", false},
		{s.URL + "/away", platen.FailureEgressDenied, s.URL + "/away (Document) may not be reached", false},
		{"http://169.254.169.254/latest/meta-data", platen.FailureEgressDenied, "PLATEN_RENDER_ALLOW", false},
		{"http://localhost/", platen.FailureEgressDenied, "PLATEN_RENDER_ALLOW", false},
		{"http://2130706433/", platen.FailureEgressDenied, "PLATEN_RENDER_ALLOW", false},
	} {
		failure := renderFails(t, shared, at(t, c.address), platen.StageAsset, c.code)
		if !strings.Contains(failure.Message, c.message) || failure.Retryable != c.retryable {
			t.Errorf("%s: retryable %t: %s", c.address, failure.Retryable, failure.Message)
		}
		if assets := listed(t, failure); len(assets) != 1 || strings.Contains(failure.Message+string(failure.Details), "geheim") {
			t.Errorf("%s: %s %s", c.address, failure.Message, failure.Details)
		}
	}
	if denied.Load() > 0 {
		t.Errorf("a private address was reached %d times", denied.Load())
	}
}

func TestOnlyPagesOfTheWebAreVisited(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"file:///etc/passwd", "FILE:///etc/passwd", "data:text/html,x", "chrome://version", "view-source:http://example.com", "about:blank", "javascript:1",
		"ftp://example.com", "blob:http://example.com/x", "filesystem:http://x/y", "//example.com", "/etc/passwd", "example.com", "http:", "http:///x", "http//x", " http://x", "%",
	} {
		failure := renderFails(t, shared, at(t, address), platen.StageAsset, platen.FailureAssetFailed)
		if !strings.Contains(failure.Message, "not a full http or https address") || failure.Retryable {
			t.Error(failure.Message)
		}
	}
}

func TestWhatAPageOfOthersLacksIsTheirAffair(t *testing.T) {
	t.Parallel()
	s := site(t, map[string]string{"/": `<link rel=stylesheet href=/no.css><script src=/no.js></script><img src=/no.png alt=ALT><img src=http://127.0.0.1:1/x>
		<img src=data:image/png;base64,AAAA><iframe src=/no.html></iframe><img src=http://no-such-host.invalid/x><p>SHOWN`})
	if got := text(t, render(t, at(t, s.URL+"/"))); !strings.Contains(got, "SHOWN") {
		t.Error(got)
	}
}

func TestAPageThatIsNeverReadyEnds(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		switch r.URL.Path {
		case "/silent", "/slow.png":
			<-held
		case "/slow":
			fmt.Fprint(w, "<img src=/slow.png?geheim>")
		case "/goes":
			fmt.Fprint(w, "<script>location.reload()</script>")
		case "/busy":
			fmt.Fprint(w, "<script>while(1){}</script>")
		case "/alerts":
			fmt.Fprint(w, "<script>while(1)alert(1)</script>")
		case "/shrinks":
			w.(http.Flusher).Flush()
			<-held
		}
	})
	defer close(held)
	for path, loading := range map[string]string{"/silent?geheim": "/silent", "/slow": "/slow.png", "/goes": "", "/busy": "", "/alerts": "", "/shrinks": "/shrinks"} {
		p := at(t, s.URL+path)
		p.Settings.Timeout = 2
		started := time.Now()
		failure := renderFails(t, shared, p, platen.StageRender, platen.FailureRenderTimeout)
		var got struct{ Loading []string }
		if err := json.Unmarshal(failure.Details, &got); err != nil {
			t.Fatal(err)
		}
		if loading != "" && (len(got.Loading) != 1 || got.Loading[0] != s.URL+loading) || strings.Contains(failure.Message+string(failure.Details), "geheim") {
			t.Errorf("%s: %s %s", path, failure.Message, failure.Details)
		}
		if took := time.Since(started); took > 20*time.Second {
			t.Errorf("%s: %v", path, took)
		}
	}
}

func TestNothingOfAnAddressIsLeftForTheNextDocument(t *testing.T) {
	t.Parallel()
	var cookies sync.Map
	var asked atomic.Int64
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/sw.js":
			w.Header().Set("Content-Type", "text/javascript")
			fmt.Fprint(w, "onfetch=e=>e.request.url.endsWith('/look')&&e.respondWith(new Response('FROM A WORKER',{headers:{'Content-Type':'text/html'}}))")
			return
		case "/cached.js":
			asked.Add(1)
			w.Header().Set("Cache-Control", "max-age=3600")
			fmt.Fprint(w, "1")
			return
		}
		cookies.Store(r.URL.Path, r.Header.Get("Cookie"))
		w.Header().Set("Content-Type", "text/html")
		if r.URL.Path == "/leave" {
			w.Header().Set("Set-Cookie", "c=MARK")
			fmt.Fprint(w, `<script src=/cached.js></script><script>localStorage.x=sessionStorage.x=window.name='MARK';document.cookie='d=MARK';
				indexedDB.open('x')</script>left`)
			return
		}
		fmt.Fprint(w, `<script src=/cached.js></script><p id=p></p><script>p.textContent='['+[document.cookie,localStorage.x,sessionStorage.x,window.name]+']'</script>`)
	})
	render(t, document(t, "<p>of markup<script>1</script>"))
	kept := waitIdle(t, shared, account(t))
	leave := waiting(at(t, s.URL+"/leave"), platen.WaitFor{Expression: "navigator.serviceWorker.register('/sw.js').then(() => navigator.serviceWorker.ready)"}, 20)
	if got := text(t, render(t, leave)); !strings.Contains(got, "left") {
		t.Fatal(got)
	}
	if got := text(t, render(t, at(t, s.URL+"/look"))); !strings.Contains(got, "[,,,]") {
		t.Error(got)
	}
	if cookie, _ := cookies.Load("/look"); cookie != "" {
		t.Errorf("the cookie %q came back", cookie)
	}
	if asked.Load() != 2 {
		t.Errorf("%d requests of two: a cache is shared", asked.Load())
	}
	if idle := idlePages(shared, account(t)); len(idle) != 1 || idle[0] != kept || kept.uses != 1 {
		t.Errorf("%d pages are kept, and the one of markup was used %d times", len(idle), kept.uses)
	}
}

// Chromium says that a page is due and that it loads, but under load not always that what
// was due has begun: a visit that waited for that never ended.
func TestAVisitDoesNotWaitForWhatHasBegunAndEnded(t *testing.T) {
	t.Parallel()
	travel := &travel{changed: make(chan struct{}, 1)}
	for _, event := range []string{"frameStartedLoading", "frameScheduledNavigation", "frameStartedLoading", "frameStoppedLoading"} {
		travel.event("F", "Page."+event, []byte(`{"frameId":"F","delay":0}`))
		resting, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		err := travel.rest(resting)
		cancel()
		if ended := event == "frameStoppedLoading"; ended != (err == nil) {
			t.Errorf("after %s: %v", event, err)
		}
	}
}
