package renderer

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"platen"
)

func TestAnImageFromAnAllowedAddressIsPrinted(t *testing.T) {
	t.Parallel()
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) { w.Write(redPNG()) })
	for name, html := range map[string]string{
		"image":      "<img width=400 height=400 src=" + s.URL + "/a.png>",
		"lazy image": "<img loading=lazy width=400 height=400 src=" + s.URL + "/b.png>",
		"background": "<style>div{width:400px;height:400px;background:url(" + s.URL + "/c.png)}</style><div></div>",
		"scripted":   "<div id=d></div><script>d.innerHTML='<img width=400 height=400 src=" + s.URL + "/d.png>'</script>",
	} {
		if got := picture(t, render(t, document(t, "<!doctype html>"+html))).At(150, 150); !isColor(got, 255, 0, 0) {
			t.Errorf("%s: the middle is %v", name, got)
		}
	}
}

func TestALazyImageFarDownIsPrinted(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) { hits.Add(1); w.Write(redPNG()) })
	render(t, document(t, "<!doctype html><div style=height:50000px></div><img loading=lazy src="+s.URL+"/a.png>"))
	if hits.Load() != 1 {
		t.Errorf("%d requests", hits.Load())
	}
}

func TestAMissingAssetFailsTheDocument(t *testing.T) {
	t.Parallel()
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/gone":
			http.Error(w, "<html>gone", http.StatusGone)
		case "/busy":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/page":
			w.Header().Set("Content-Type", "text/html")
			w.Write([]byte("<html>login"))
		case "/font":
			w.Write([]byte("wOF2"))
		case "/cut":
			w.Header().Set("Content-Length", "1000000")
			w.Write(redPNG())
		case "/moved":
			http.Redirect(w, r, "/404", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	})
	nobody := unstarted(t, openHost, nil)
	closed := nobody.Listener.Addr().String()
	nobody.Close()
	for _, c := range []struct {
		html, kind string
		status     int
		error      string
		retryable  bool
	}{
		{"<img src=§/x.png?X-Amz-Signature=geheim#geheim>", "Image", 404, "", false},
		{"<img src=§/gone>", "Image", 410, "", false},
		{"<img src=§/busy>", "Image", 503, "", true},
		{"<img src=§/moved>", "Image", 404, "", false},
		{"<img src=§/page>", "Image", 200, "the answer is not an image", false},
		{"<img src=§/cut>", "Image", 0, "net::ERR_", true},
		{"<link rel=stylesheet href=§/x.css>", "Stylesheet", 404, "", false},
		{"<script src=§/x.js></script>", "Script", 404, "", false},
		{"<style>@font-face{font-family:F;src:url(§/f.woff2)} p{font-family:F}</style><p>x", "Font", 404, "", false},
		{"<style>@font-face{font-family:F;src:url(§/font)} p{font-family:F}</style><p>x", "Font", 0, "CORS: ", false},
		{"<img src=http://" + closed + "/x.png>", "Image", 0, "connection refused", true},
		{"<img src=https://" + closed + "/x.png>", "Image", 0, "connection refused", true},
		{"<img src=http://no-such-host.invalid/x.png>", "Image", 0, "host not found", false},
		{"<img src=https://no-such-host.invalid/x.png>", "Image", 0, "host not found", false},
	} {
		failure := renderFails(t, shared, document(t, strings.ReplaceAll(c.html, "§", s.URL)), platen.StageAsset, platen.FailureAssetFailed)
		assets := listed(t, failure)
		if len(assets) != 1 {
			t.Errorf("%s: %s", c.html, failure.Details)
			continue
		}
		got := assets[0]
		if got.Type != c.kind || got.Status != c.status || !strings.HasPrefix(got.Error, c.error) || (c.error == "") != (got.Error == "") || failure.Retryable != c.retryable {
			t.Errorf("%s: retryable %t, %s", c.html, failure.Retryable, failure.Details)
		}
		if all := failure.Message + string(failure.Details); strings.Contains(all, "geheim") || !strings.Contains(failure.Message, got.URL) {
			t.Error(all)
		}
	}
}

func TestABadCertificateFailsTheDocument(t *testing.T) {
	t.Parallel()
	s := unstarted(t, openHost, func(w http.ResponseWriter, r *http.Request) { w.Write(redPNG()) })
	s.StartTLS()
	failure := renderFails(t, shared, document(t, "<img src="+s.URL+"/x.png>"), platen.StageAsset, platen.FailureAssetFailed)
	if !strings.Contains(string(failure.Details), "net::ERR_CERT_AUTHORITY_INVALID") || failure.Retryable {
		t.Errorf("%+v %s", failure, failure.Details)
	}
}

func TestADeniedAssetFailsTheDocumentAndIsNotReached(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	canary := server(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) { hits.Add(1) })
	redirect := server(t, openHost, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, canary.URL, http.StatusFound) })
	for _, html := range []string{
		"<img src=" + canary.URL + "/a>",
		"<img src=" + strings.Replace(canary.URL, "http:", "https:", 1) + "/a>",
		"<link rel=stylesheet href=" + canary.URL + "/a>",
		"<script src=" + canary.URL + "/a></script>",
		"<img src=http://169.254.169.254/latest/meta-data>",
		"<img src=http://localhost/>", "<img src=http://2130706433/>", "<img src=http://0x7f.1/>", "<img src=http://[::ffff:7f00:1]/>",
		"<img src=" + redirect.URL + ">",
		"<img src=" + redirect.URL + "/missing><img src=" + canary.URL + "/b>",
	} {
		failure := renderFails(t, shared, document(t, html), platen.StageAsset, platen.FailureEgressDenied)
		if failure.Retryable || !strings.Contains(failure.Message, "PLATEN_RENDER_ALLOW") || !strings.Contains(string(failure.Details), `"error":"denied"`) {
			t.Errorf("%s: %+v %s", html, failure, failure.Details)
		}
	}
	if hits.Load() != 0 {
		t.Errorf("the canary was reached %d times", hits.Load())
	}
}

func TestAFailureListsAtMostTwentyAssets(t *testing.T) {
	t.Parallel()
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) })
	var html strings.Builder
	for i := range 30 {
		fmt.Fprintf(&html, "<img src=%s/%d.png>", s.URL, i)
	}
	failure := renderFails(t, shared, document(t, html.String()), platen.StageAsset, platen.FailureAssetFailed)
	if n := len(listed(t, failure)); n != maxAssets || !strings.Contains(failure.Message, "29 more") {
		t.Errorf("%d assets: %s", n, failure.Message)
	}
}

func TestWhatScriptsAskForMayFail(t *testing.T) {
	t.Parallel()
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) })
	pdf := render(t, document(t, strings.ReplaceAll(`<!doctype html><link rel=icon href=§/icon><link rel=prefetch href=§/prefetch><p id=p>waiting</p><script>
		const x = new XMLHttpRequest(); x.open('GET', '§/xhr', false); try { x.send() } catch (e) {}
		fetch('§/fetch').catch(() => {}); navigator.sendBeacon('§/beacon', 'x'); new WebSocket('ws://127.0.0.1:1');
		p.textContent = 'went on'</script>`, "§", s.URL)))
	if got := text(t, pdf); !strings.Contains(got, "went on") {
		t.Error(got)
	}
}

func TestFilesOfTheMachineAreNotReadable(t *testing.T) {
	t.Parallel()
	for _, html := range []string{
		"<iframe src=file:///etc/passwd></iframe>", "<object data=file:///etc/passwd></object>", "<embed src=FILE:///etc/passwd>",
		"<iframe src=view-source:file:///etc/passwd></iframe>", "<link rel=stylesheet href=file:///etc/passwd>",
		"<script>const x=new XMLHttpRequest();try{x.open('GET','file:///etc/passwd',false);x.send();document.body.append(x.responseText)}catch(e){}</script>",
		"<script>location='file:///etc/passwd'</script>", "<meta http-equiv=refresh content='0;url=file:///etc/passwd'>",
	} {
		result, err := shared.Render(t.Context(), document(t, "<body>"+html))
		if err == nil && strings.Contains(text(t, result.Content), "root:") {
			t.Errorf("%s was read", html)
		}
	}
}

func TestAHeaderReachesNothingAndRunsNothing(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	for _, host := range []string{"127.0.0.1", openHost} {
		s := server(t, host, func(w http.ResponseWriter, r *http.Request) { hits.Add(1); w.Write(redPNG()) })
		p := document(t, "Body")
		p.HeaderHTML = strings.ReplaceAll("<img src=§/img><style>p{background:url(§/background)}</style><p>x</p><iframe src=§/iframe></iframe><script>document.body.append('RAN')</script>"+
			"<img src=data:x onerror=\"this.after('RAN')\">Head", "§", s.URL)
		if got := text(t, render(t, p)); strings.Contains(got, "RAN") || !strings.Contains(got, "Head") {
			t.Error(got)
		}
		p.HeaderHTML = "<link rel=stylesheet href=" + s.URL + ">"
		if failure := renderFails(t, shared, p, platen.StageRender, platen.FailureRenderFailed); !strings.Contains(failure.Message, "header") {
			t.Error(failure.Message)
		}
	}
	if hits.Load() != 0 {
		t.Errorf("%d requests", hits.Load())
	}
}

func TestAnImageThatIsNoneEndsTheDocument(t *testing.T) {
	t.Parallel()
	const pixel = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
	for name, html := range map[string]string{
		"a relative address":      `<img src="logo.png">`,
		"a rooted address":        `<img src="/logo.png?sig=geheim">`,
		"a file":                  `<img src="file:///etc/hostname.png">`,
		"data that is no picture": `<img src="data:image/png;base64,AAAA">`,
		"one of several":          `<img src="` + pixel + `"><IMG SRC='nowhere.svg'>`,
	} {
		failure := renderFails(t, shared, document(t, html), platen.StageAsset, platen.FailureAssetFailed)
		if strings.Contains(failure.Message+string(failure.Details), "geheim") {
			t.Errorf("%s: a query is shown: %s", name, failure.Message)
		}
		if failure.Retryable {
			t.Errorf("%s: trying again cannot help", name)
		}
	}
	for name, html := range map[string]string{
		"a picture":             `<img src="` + pixel + `">`,
		"an SVG without a size": `<img src="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 10 10'%3E%3Crect width='9' height='9'/%3E%3C/svg%3E">`,
		"an image without one":  `<img alt="none">`,
		"inline SVG":            `<svg width="10" height="10"><image href="` + pixel + `" width="5" height="5"/></svg>`,
	} {
		if _, err := shared.Render(t.Context(), document(t, html+"fine")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestADocumentThatLeavesIsNotPrinted(t *testing.T) {
	t.Parallel()
	elsewhere := server(t, openHost, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<h1>another page</h1>")) })
	for name, html := range map[string]string{
		"a script":             "<script>location='" + elsewhere.URL + "/'</script>INVOICE",
		"a script, to nobody":  "<script>location='http://127.0.0.1:1/'</script>INVOICE",
		"a refresh":            "<meta http-equiv=refresh content='0;url=" + elsewhere.URL + "/'>INVOICE",
		"a refresh, to nobody": "<meta http-equiv=refresh content='0;url=http://127.0.0.1:1/'>INVOICE",
		"a form":               "<form action='" + elsewhere.URL + "/'></form><script>document.forms[0].submit()</script>INVOICE",
	} {
		for range 3 {
			failure := renderFails(t, shared, document(t, html), platen.StageRender, platen.FailureRenderFailed)
			if !strings.Contains(failure.Message, "another address") {
				t.Errorf("%s: %s", name, failure.Message)
			}
		}
	}
	anchor := render(t, document(t, "<p id=there>INVOICE</p><script>location.hash='there'</script>"))
	if got := text(t, anchor); !strings.Contains(got, "INVOICE") {
		t.Errorf("a document that goes to an anchor of its own: %q", got)
	}
}
