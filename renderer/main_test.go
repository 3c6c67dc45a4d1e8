package renderer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"platen"
	"platen/egress"
)

// shared is the renderer of all tests that do not harm the browser. Its pages may
// reach openHost, and nothing else on this machine.
var shared *Renderer

const openHost = "127.0.0.2"

// testUID has no entry in /etc/passwd.
const testUID = 54321

func TestMain(m *testing.M) { os.Exit(run(m)) }

// executable makes the test binary be a program that starts this as its Chromium.
const executable = "RENDERER_TEST_EXECUTABLE"

func run(m *testing.M) int {
	proxy, err := newProxy()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer proxy.Close()
	if path := os.Getenv(executable); path != "" {
		_, err := New(Options{Proxy: proxy, UID: testUID, Executable: path, TempDir: filepath.Dir(path)})
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "platen-renderer-test-")
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	shared, err = New(Options{Proxy: proxy, UID: testUID, TempDir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer shared.Close()
	shared.keptRender = time.Minute // on a busy machine anything can take long
	if os.Getenv(asFloor) != "" {
		return runFloor()
	}
	return m.Run()
}

func newProxy() (*egress.Proxy, error) {
	allow, err := egress.ParseAllow(openHost)
	if err != nil {
		return nil, err
	}
	return egress.NewProxy(egress.New(egress.Options{Allow: allow, Ports: []uint16{80, 443}, Setting: "PLATEN_RENDER_ALLOW"}), nil)
}

// own starts a renderer for one test, with a browser of its own.
func own(t testing.TB, o Options) *Renderer {
	t.Helper()
	if o.Proxy == nil {
		proxy, err := newProxy()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { proxy.Close() })
		o.Proxy = proxy
	}
	o.UID, o.TempDir = testUID, reachableDir(t)
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// namedProxy finds every name of .test at openHost, for pages of several sites.
func namedProxy(t testing.TB) *egress.Proxy {
	t.Helper()
	allow, err := egress.ParseAllow(openHost)
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := egress.NewProxy(egress.New(egress.Options{Allow: allow, Resolver: func(_ context.Context, host string) ([]netip.Addr, error) {
		if !strings.HasSuffix(host, ".test") {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		return []netip.Addr{netip.MustParseAddr(openHost)}, nil
	}}), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	return proxy
}

func reachableDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "platen-renderer-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// account is the test's own, also when it is run several times.
func account(t testing.TB) string {
	n, _ := accounts.LoadOrStore(t, t.Name()+"-"+strconv.FormatInt(lastAccount.Add(1), 10))
	return n.(string)
}

var (
	accounts    sync.Map
	lastAccount atomic.Int64
)

// document is a page of the test's own account.
func document(t testing.TB, html string) Page {
	return Page{Account: account(t), HTML: html, Settings: platen.DefaultPageSettings()}
}

func render(t testing.TB, p Page) []byte {
	t.Helper()
	return renderOn(t, shared, p)
}

func renderOn(t testing.TB, r *Renderer, p Page) []byte {
	t.Helper()
	result, err := r.Render(t.Context(), p)
	if err != nil {
		t.Fatalf("%v\n%s", err, details(err))
	}
	if result.Duration <= 0 {
		t.Errorf("the render took %v", result.Duration)
	}
	return result.Content
}

func details(err error) string {
	var failure *platen.Failure
	if errors.As(err, &failure) {
		return string(failure.Details)
	}
	return ""
}

// renderFails renders what must fail and returns the failure.
func renderFails(t testing.TB, r *Renderer, p Page, stage platen.FailureStage, code platen.FailureCode) *platen.Failure {
	t.Helper()
	_, err := r.Render(t.Context(), p)
	var failure *platen.Failure
	if !errors.As(err, &failure) {
		t.Fatalf("%v is not a failure of %s %s", err, stage, code)
	}
	if failure.Stage != stage || failure.Code != code {
		t.Fatalf("%s %s, want %s %s: %s", failure.Stage, failure.Code, stage, code, failure.Message)
	}
	if since := time.Since(failure.OccurredAt); since < 0 || since > time.Minute || failure.Message == "" {
		t.Errorf("%+v", failure)
	}
	return failure
}

func command(t testing.TB, pdf []byte, name string, arguments ...string) []byte {
	t.Helper()
	c := exec.Command(name, arguments...)
	c.Stdin = bytes.NewReader(pdf)
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return out
}

func text(t testing.TB, pdf []byte) string {
	t.Helper()
	return string(command(t, pdf, "pdftotext", "-layout", "-", "-"))
}

func pages(t testing.TB, pdf []byte) int {
	t.Helper()
	n, _ := strconv.Atoi(info(t, pdf, "Pages"))
	return n
}

func info(t testing.TB, pdf []byte, field string) string {
	t.Helper()
	for line := range strings.Lines(string(command(t, pdf, "pdfinfo", "-"))) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// picture is the first page at 72 dots per inch: one pixel is one point.
func picture(t testing.TB, pdf []byte) image.Image {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(command(t, pdf, "pdftoppm", "-png", "-r", "72", "-f", "1", "-l", "1", "-")))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func isColor(got color.Color, r, g, b uint8) bool {
	c := color.RGBAModel.Convert(got).(color.RGBA)
	near := func(x, y uint8) bool { return max(x, y)-min(x, y) < 16 }
	return near(c.R, r) && near(c.G, g) && near(c.B, b)
}

var wordPattern = regexp.MustCompile(`<word xMin="([\d.]+)" yMin="([\d.]+)" xMax="([\d.]+)" yMax="([\d.]+)">([^<]*)</word>`)

// box is where a word stands on its page, in points.
func box(t testing.TB, pdf []byte, word string) (xMin, yMin, xMax, yMax float64) {
	t.Helper()
	for _, m := range wordPattern.FindAllStringSubmatch(string(command(t, pdf, "pdftotext", "-bbox", "-", "-")), -1) {
		if m[5] == word {
			number := func(s string) float64 { f, _ := strconv.ParseFloat(s, 64); return f }
			return number(m[1]), number(m[2]), number(m[3]), number(m[4])
		}
	}
	t.Fatalf("%q is not in the document", word)
	return
}

// server listens on an address of loopback.
func server(t testing.TB, host string, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := unstarted(t, host, handler)
	s.Start()
	return s
}

func unstarted(t testing.TB, host string, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	listener, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(handler)
	s.Listener.Close()
	s.Listener = listener
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	t.Cleanup(s.Close)
	return s
}

// redPNG is a red square.
func redPNG() []byte {
	img := image.NewRGBA(image.Rect(0, 0, 40, 40))
	for i := range 40 * 40 {
		img.Set(i%40, i/40, color.RGBA{R: 255, A: 255})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func listed(t testing.TB, failure *platen.Failure) []asset {
	t.Helper()
	var d struct{ Assets []asset }
	if err := json.Unmarshal(failure.Details, &d); err != nil {
		t.Fatal(err)
	}
	return d.Assets
}

func idlePages(r *Renderer, account string) []*page {
	r.mu.Lock()
	defer r.mu.Unlock()
	var those []*page
	for _, p := range r.idle {
		if p.owner.account == account {
			those = append(those, p)
		}
	}
	return those
}

// waitIdle waits until the account has an idle page, and returns it.
func waitIdle(t testing.TB, r *Renderer, account string) *page {
	t.Helper()
	return waitIdles(t, r, account, 1)[0]
}

// waitIdles waits until the account has so many idle pages, and returns them.
func waitIdles(t testing.TB, r *Renderer, account string, n int) []*page {
	t.Helper()
	for range 500 {
		if idle := idlePages(r, account); len(idle) >= n {
			return idle
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("no page becomes idle")
	return nil
}
