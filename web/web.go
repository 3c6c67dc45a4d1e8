// Package web is the page that people use in their browsers: it serves what the build of
// web/src left in web/dist, from inside the binary.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

// dist is empty but for .gitkeep in a clone: so that Go code builds and is tested without
// Node. `all:` because a pattern that matches nothing else would not compile.
//
//go:embed all:dist
var dist embed.FS

// placeholder is what a binary without the page shows in its place.
//
//go:embed placeholder.html
var placeholder []byte

// Options are where the page comes from.
type Options struct {
	// Files are those of the built page, index.html among them; nil: those in the binary.
	Files fs.FS
}

// Page serves the built page, or the placeholder if the files have no index.html.
type Page struct {
	files      map[string]*file // by address, without those of addresses
	index      *file
	playground *file // GraphiQL, a document of its own; the index where there is none
}

// addresses are those of the page's own router, as patterns of http.ServeMux. What is not
// here, and no file, is a 404: a misspelt address of the API has to be told as one.
var addresses = []string{
	"/{$}", "/sign-in", "/tokens", "/account", "/playground",
	"/templates", "/templates/{rest...}",
	"/submissions", "/submissions/{rest...}",
	"/combined-submissions", "/combined-submissions/{rest...}",
	"/batches", "/batches/{rest...}",
	"/integrations", "/integrations/{rest...}",
	"/create", "/create/{rest...}",
}

// hashed is the folder of the files whose names have a hash of their content: what is there
// under a name never changes.
const hashed = "/assets/"

// contentSecurityPolicy lets the page load itself and nothing else. Styles may be inline:
// the editor (CodeMirror) and the playground (GraphiQL, Monaco) write style elements as they
// go, with no nonce. Scripts may not, and come from files alone, so markup that somebody
// smuggles into a document's data runs nothing. Frames show documents, of /files.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; " +
	"font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// permissionsPolicy switches off what the page has no use for. The clipboard stays.
const permissionsPolicy = "accelerometer=(), autoplay=(), camera=(), display-capture=(), encrypted-media=(), fullscreen=(self), geolocation=(), " +
	"gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), usb=(), xr-spatial-tracking=()"

// types are the media types of what the build writes. The machine's own list is not asked:
// with nosniff, a script of another type does not run.
var types = map[string]string{
	".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".ico": "image/x-icon", ".jpg": "image/jpeg",
	".js": "text/javascript; charset=utf-8", ".json": "application/json", ".map": "application/json", ".mjs": "text/javascript; charset=utf-8",
	".png": "image/png", ".svg": "image/svg+xml", ".ttf": "font/ttf", ".txt": "text/plain; charset=utf-8", ".wasm": "application/wasm",
	".webmanifest": "application/manifest+json", ".webp": "image/webp", ".woff": "font/woff", ".woff2": "font/woff2",
}

// encodings are how the build writes a file besides as it is, the smallest first.
var encodings = []struct{ coding, suffix string }{{"br", ".br"}, {"gzip", ".gz"}}

// file is one of the page's.
type file struct {
	mediaType string
	cache     string          // Cache-Control
	forms     map[string]form // by content coding; "": as it is
}

// form is one way in which a file is written.
type form struct {
	open func() (io.ReadSeekCloser, error)
	size int64
	etag string // "": none
}

// New reads which files there are.
func New(o Options) (*Page, error) {
	if o.Files == nil {
		built, err := fs.Sub(dist, "dist")
		if err != nil {
			return nil, err
		}
		o.Files = built
	}
	p := &Page{files: map[string]*file{}}
	if err := fs.WalkDir(o.Files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") || written(o.Files, name) {
			return err
		}
		one, err := read(o.Files, name)
		switch name {
		case "index.html":
			p.index = one
		case "playground.html":
			p.playground = one
		default:
			p.files["/"+name] = one
		}
		return err
	}); err != nil {
		return nil, fmt.Errorf("the page's files: %w", err)
	}
	if p.index == nil {
		p.index = &file{mediaType: types[".html"], forms: map[string]form{"": {size: int64(len(placeholder)),
			open: func() (io.ReadSeekCloser, error) { return readCloser{bytes.NewReader(placeholder)}, nil }}}}
	}
	if p.playground == nil {
		p.playground = p.index
	}
	// They name the files of one build: an older one, kept, would ask for what is gone.
	p.index.cache, p.playground.cache = "no-store", "no-store"
	return p, nil
}

type readCloser struct{ io.ReadSeeker }

func (readCloser) Close() error { return nil }

// written tells whether a file is another one, compressed.
func written(files fs.FS, name string) bool {
	for _, e := range encodings {
		if plain, ok := strings.CutSuffix(name, e.suffix); ok {
			_, err := fs.Stat(files, plain)
			return err == nil
		}
	}
	return false
}

// read finds out in which forms there is a file.
func read(files fs.FS, name string) (*file, error) {
	f := &file{mediaType: types[path.Ext(name)], cache: "public, max-age=31536000, immutable", forms: map[string]form{}}
	if f.mediaType == "" {
		f.mediaType = "application/octet-stream"
	}
	changes := !strings.HasPrefix("/"+name, hashed)
	if changes {
		f.cache = "no-cache"
	}
	var err error
	if f.forms[""], err = formOf(files, name, changes); err != nil {
		return nil, err
	}
	for _, e := range encodings {
		switch one, err := formOf(files, name+e.suffix, changes); {
		case err == nil:
			f.forms[e.coding] = one
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	return f, nil
}

// formOf describes a file, with a hash of its content if its name has none.
func formOf(files fs.FS, name string, changes bool) (form, error) {
	f, err := files.Open(name)
	if err != nil {
		return form{}, err
	}
	defer f.Close()
	content, seeks := f.(io.ReadSeeker)
	if !seeks {
		return form{}, fmt.Errorf("%s cannot be read from anywhere", name)
	}
	one := form{open: func() (io.ReadSeekCloser, error) {
		f, err := files.Open(name)
		if err != nil {
			return nil, err
		}
		return f.(io.ReadSeekCloser), nil // as it was above
	}}
	if one.size, err = content.Seek(0, io.SeekEnd); err != nil || !changes {
		return one, err
	}
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return form{}, err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, content); err != nil {
		return form{}, err
	}
	one.etag = `"` + base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:12]) + `"`
	return one, nil
}

// Patterns are the addresses that the page answers to GET and HEAD, for a http.ServeMux
// that has others besides. Of a page that is nil there are none.
func (p *Page) Patterns() []string {
	if p == nil {
		return nil
	}
	all := append([]string{hashed + "{name...}"}, addresses...)
	for address := range p.files {
		if !strings.HasPrefix(address, hashed) {
			all = append(all, address)
		}
	}
	return all
}

// ServeHTTP answers any of them.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", permissionsPolicy)
	f := p.files[r.URL.Path]
	if f == nil {
		if strings.HasPrefix(r.URL.Path, hashed) {
			// Of another build: the index in its place would be taken for a script.
			h.Set("Cache-Control", "no-store")
			http.Error(w, "There is no such file: load the page anew.", http.StatusNotFound)
			return
		}
		f = p.index
		if r.URL.Path == "/playground" {
			f = p.playground
		}
	}
	f.serve(w, r)
}

// serve answers with the smallest form that the client reads.
func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", f.cache)
	h.Set("Content-Type", f.mediaType)
	one := f.forms[""]
	if len(f.forms) > 1 {
		h.Set("Vary", "Accept-Encoding")
		for _, e := range encodings {
			if smaller, ok := f.forms[e.coding]; ok && accepts(r.Header.Values("Accept-Encoding"), e.coding) {
				h.Set("Content-Encoding", e.coding)
				one = smaller
				break
			}
		}
	}
	content, err := one.open()
	if err != nil {
		http.Error(w, "The page cannot be read.", http.StatusInternalServerError)
		return
	}
	defer content.Close()
	if one.etag != "" {
		h.Set("ETag", one.etag)
	}
	if h.Get("Content-Encoding") == "" {
		http.ServeContent(w, r, "", time.Time{}, content)
		return
	}
	// ServeContent gives no length for what is encoded, as it cannot know whether a
	// middleware encodes on the way; and a part of it is of no use to anybody.
	if one.etag != "" && r.Header.Get("If-None-Match") == one.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.FormatInt(one.size, 10))
	if r.Method != http.MethodHead {
		_, _ = io.Copy(w, content) // or the client is gone
	}
}

// accepts tells whether a client reads a content coding
// (https://www.rfc-editor.org/rfc/rfc9110#name-accept-encoding).
func accepts(headers []string, coding string) bool {
	any := false
	for _, one := range strings.Split(strings.Join(headers, ","), ",") {
		name, parameter, _ := strings.Cut(one, ";")
		q := 1.0
		if text, ok := strings.CutPrefix(strings.TrimSpace(parameter), "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(text, 64); err != nil {
				q = 0
			}
		}
		switch name = strings.TrimSpace(name); {
		case strings.EqualFold(name, coding):
			return q > 0
		case name == "*":
			any = q > 0
		}
	}
	return any
}
