package web

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// built is a page as the build leaves it.
func built() fstest.MapFS {
	files := fstest.MapFS{}
	for name, content := range map[string]string{
		".gitkeep": "", "index.html": "<p>the page", "index.html.br": "br of the page", "index.html.gz": "gz of the page",
		"playground.html": "<p>the playground", "favicon.svg": "<svg/>", "fonts/a.woff2": "font",
		"assets/index-Bq3.js": "script", "assets/index-Bq3.js.br": "br of the script", "assets/index-Bq3.js.gz": "gz of the script",
		"assets/index-C1x.css": "style", "assets/index-C1x.css.gz": "gz of the style",
		"assets/logo-Aa1.png": "picture", "assets/archive-Zz9.gz": "an archive",
	} {
		files[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return files
}

// mux is a page beside an address of the server's own.
func mux(t *testing.T, files fstest.MapFS) http.Handler {
	t.Helper()
	options := Options{Files: files}
	if files == nil {
		options = Options{}
	}
	page, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/graphql", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the API") })
	for _, pattern := range page.Patterns() {
		mux.Handle("GET "+pattern, page)
	}
	return mux
}

// get asks with headers, given as names and values.
func get(t *testing.T, h http.Handler, method, address string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), method, address, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	h.ServeHTTP(w, r)
	return w
}

func TestR8_1EveryAddressOfThePageIsTheIndexAndNoOtherIs(t *testing.T) {
	t.Parallel()
	h := mux(t, built())
	for _, address := range []string{"/", "/sign-in", "/templates", "/templates/", "/templates/tpl_1/draft", "/submissions", "/submissions/sub_1",
		"/combined-submissions/com_1", "/batches/bat_1", "/integrations/int_1", "/tokens", "/account", "/playground", "/create", "/create/integration", "/?state=FAILED"} {
		w := get(t, h, http.MethodGet, address)
		want := "<p>the page"
		if address == "/playground" {
			want = "<p>the playground"
		}
		if w.Code != http.StatusOK || w.Body.String() != want || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%s: %d %s %q", address, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
		if cache := w.Header().Get("Cache-Control"); cache != "no-store" {
			t.Errorf("%s may be kept: %q", address, cache)
		}
	}
	for _, address := range []string{"/graphq", "/templatesx", "/tokens/x", "/index.html", "/playground.html", "/.gitkeep", "/index.html.br", "/favicon.svg/x", "/assets.js", "/wp-login.php"} {
		if w := get(t, h, http.MethodGet, address); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d %q", address, w.Code, w.Body)
		}
	}
	if w := get(t, h, http.MethodPost, "/sign-in"); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
	if w := get(t, h, http.MethodGet, "/graphql"); w.Body.String() != "the API" {
		t.Errorf("the API's address is the page's: %q", w.Body)
	}
	if w := get(t, h, http.MethodHead, "/tokens"); w.Code != http.StatusOK || w.Body.Len() > 0 || w.Header().Get("Content-Length") != "11" {
		t.Errorf("HEAD: %d %q %v", w.Code, w.Body, w.Header())
	}
}

func TestR8_1AFileIsServedInTheSmallestFormThatTheClientReads(t *testing.T) {
	t.Parallel()
	h := mux(t, built())
	const script = "text/javascript; charset=utf-8"
	for name, test := range map[string]struct{ address, accept, body, coding, mediaType, vary string }{
		"br":            {"/assets/index-Bq3.js", "gzip, deflate, br, zstd", "br of the script", "br", script, "Accept-Encoding"},
		"gzip":          {"/assets/index-Bq3.js", "gzip", "gz of the script", "gzip", script, "Accept-Encoding"},
		"none":          {"/assets/index-Bq3.js", "", "script", "", script, "Accept-Encoding"},
		"identity":      {"/assets/index-Bq3.js", "identity", "script", "", script, "Accept-Encoding"},
		"br is refused": {"/assets/index-Bq3.js", "br;q=0, gzip;q=0.5", "gz of the script", "gzip", script, "Accept-Encoding"},
		"any":           {"/assets/index-Bq3.js", "*", "br of the script", "br", script, "Accept-Encoding"},
		"any but br":    {"/assets/index-Bq3.js", "br; q=0, *", "gz of the script", "gzip", script, "Accept-Encoding"},
		"no br there":   {"/assets/index-C1x.css", "br, gzip", "gz of the style", "gzip", "text/css; charset=utf-8", "Accept-Encoding"},
		"one form only": {"/assets/logo-Aa1.png", "br, gzip", "picture", "", "image/png", ""},
		"an archive":    {"/assets/archive-Zz9.gz", "gzip", "an archive", "", "application/octet-stream", ""},
		"the index":     {"/", "br", "br of the page", "br", "text/html; charset=utf-8", "Accept-Encoding"},
		"a font":        {"/fonts/a.woff2", "br", "font", "", "font/woff2", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				w := get(t, h, method, test.address, "Accept-Encoding", test.accept)
				header := w.Header()
				if w.Code != http.StatusOK || header.Get("Content-Encoding") != test.coding || header.Get("Content-Type") != test.mediaType || header.Get("Vary") != test.vary {
					t.Errorf("%s: %d %v", method, w.Code, header)
				}
				if body := w.Body.String(); method == http.MethodGet && body != test.body || method == http.MethodHead && body != "" {
					t.Errorf("%s: %q", method, body)
				}
			}
		})
	}
}

func TestR8_1WhatHasAHashInItsNameIsKeptForEverAndNothingElseUnasked(t *testing.T) {
	t.Parallel()
	h := mux(t, built())
	for address, want := range map[string]string{
		"/assets/index-Bq3.js": "public, max-age=31536000, immutable", "/assets/gone-Xy2.js": "no-store",
		"/favicon.svg": "no-cache", "/fonts/a.woff2": "no-cache", "/": "no-store",
	} {
		if got := get(t, h, http.MethodGet, address).Header().Get("Cache-Control"); got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
	gone := get(t, h, http.MethodGet, "/assets/gone-Xy2.js")
	if gone.Code != http.StatusNotFound || !strings.HasPrefix(gone.Header().Get("Content-Type"), "text/plain") || strings.Contains(gone.Body.String(), "the page<") {
		t.Errorf("a file of another build: %d %v %q", gone.Code, gone.Header(), gone.Body)
	}
	if w := get(t, h, http.MethodGet, "/assets/index-Bq3.js.br"); w.Code != http.StatusNotFound {
		t.Errorf("a compressed form has an address of its own: %d", w.Code)
	}
	var tags []string
	for _, coding := range []string{"identity", "br"} {
		for _, address := range []string{"/", "/favicon.svg"} {
			tag := get(t, h, http.MethodGet, address, "Accept-Encoding", coding).Header().Get("ETag")
			if w := get(t, h, http.MethodGet, address, "Accept-Encoding", coding, "If-None-Match", tag); tag == "" || w.Code != http.StatusNotModified || w.Body.Len() > 0 {
				t.Errorf("%s in %s, known by %q: %d %q", address, coding, tag, w.Code, w.Body)
			}
			tags = append(tags, tag)
		}
	}
	if slices.Sort(tags); len(slices.Compact(tags)) != 3 { // favicon.svg has one form
		t.Errorf("two forms have one tag: %v", tags)
	}
}

func TestR8_1EveryAnswerOfThePageHasTheHeadersThatKeepItToItself(t *testing.T) {
	t.Parallel()
	for _, h := range []http.Handler{mux(t, built()), mux(t, fstest.MapFS{})} {
		for _, address := range []string{"/", "/sign-in", "/assets/index-Bq3.js", "/assets/gone-Xy2.js"} {
			header := get(t, h, http.MethodGet, address).Header()
			policy := header.Get("Content-Security-Policy")
			for _, part := range []string{"default-src 'none'", "script-src 'self';", "connect-src 'self';", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
				if !strings.Contains(policy, part) {
					t.Errorf("%s: %q has no %s", address, policy, part)
				}
			}
			for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin"} {
				if got := header.Get(name); got != want {
					t.Errorf("%s: %s is %q, want %q", address, name, got, want)
				}
			}
			if !strings.Contains(header.Get("Permissions-Policy"), "camera=()") {
				t.Errorf("%s: Permissions-Policy is %q", address, header.Get("Permissions-Policy"))
			}
		}
	}
}

// A clone has no page, and `go build` alone makes none.
func TestABinaryThatWasBuiltWithoutThePageSaysSo(t *testing.T) {
	t.Parallel()
	h := mux(t, fstest.MapFS{".gitkeep": {}})
	for _, address := range []string{"/", "/submissions/sub_1"} {
		w := get(t, h, http.MethodGet, address)
		for _, part := range []string{"make build", "Node", "/graphql", "/schema.graphql"} {
			if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), part) {
				t.Errorf("%s: %d, no %s", address, w.Code, part)
			}
		}
		if strings.Contains(w.Body.String(), "<script") {
			t.Error("it has a script, which its policy forbids")
		}
	}
	// Whatever this binary was built with can be served.
	if w := get(t, mux(t, nil), http.MethodGet, "/"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "<html") {
		t.Errorf("the binary's own: %d %q", w.Code, w.Body)
	}
}
