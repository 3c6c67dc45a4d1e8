package main

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"platen/delivery/s3test"
	"platen/renderer"
)

// person is somebody before a screen: a Chromium with one window, driven by a scenario of
// web/test, which can tell this side to break things and to mend them.
type person struct {
	t       *testing.T
	environ []string
}

// newPerson starts a browser and the address at which its scenario breaks things.
func newPerson(t *testing.T, base string, breaks map[string]func()) *person {
	t.Helper()
	mux := http.NewServeMux()
	for name, f := range breaks {
		mux.HandleFunc("POST /"+name, func(http.ResponseWriter, *http.Request) { f() })
	}
	control := httptest.NewServer(mux)
	t.Cleanup(control.Close)
	return &person{t, append(os.Environ(), "BASE="+base, "CONTROL="+control.URL, "BROWSER="+startBrowser(t))}
}

// startBrowser starts the machine's Chromium, with its sandbox, and answers its address.
func startBrowser(t *testing.T) (address string) {
	t.Helper()
	executable, err := renderer.Find()
	if err != nil {
		t.Fatal(err)
	}
	dir := emptyFolder(t)
	cmd := exec.CommandContext(t.Context(), executable, "--remote-debugging-port=0", "--user-data-dir="+dir, "--headless", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars", "--lang=en-US", "about:blank")
	cmd.Env = []string{"HOME=" + dir, "TMPDIR=" + dir, "PATH=/usr/bin:/bin", "LANG=C.UTF-8", "TZ=America/New_York"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() == 0 { // its sandbox refuses to work for root
		uid := unprivileged("platen-test-browser", 3)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
		if err := os.Chown(dir, int(uid), int(uid)); err != nil {
			t.Fatal(err)
		}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Cancel()
		_ = cmd.Wait()
	})
	var said strings.Builder
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		if _, found, ok := strings.Cut(lines.Text(), "DevTools listening on "); ok {
			go func() { // so that it never waits for somebody to read
				for lines.Scan() {
				}
			}()
			return found
		}
	}
	t.Fatalf("Chromium does not start:\n%s", said.String())
	return ""
}

// plays runs a scenario and fails with what it says.
func (p *person) plays(scenario string, environ ...string) string {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), "node", "test/"+scenario+".mjs")
	cmd.Dir = "../../web"
	cmd.Env = append(p.environ, environ...)
	if folder := os.Getenv("TEST_SCREENSHOTS"); folder != "" {
		cmd.Env = append(cmd.Env, "SCREENSHOTS="+folder)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("%s: %v\n%s\nrun `make test`, which installs and builds what it needs", scenario, err, out)
	}
	p.t.Logf("%s\n%s", scenario, out)
	return string(out)
}

var startAddress = regexp.MustCompile(`http://\S+/sign-in#start=\S+`)

// The way of a newcomer: nothing configured, no documentation read, from the address that the
// start prints to a PDF in a bucket of one's own.
func TestR8_1ANewcomerBringsAPDFIntoABucketWithinThreeMinutes(t *testing.T) {
	t.Parallel()
	bucket := newS3(t, "archive")
	p := serveProcess(t, emptyFolder(t), "PLATEN_EGRESS_ALLOW=127.0.0.0/8")
	ready(t, p)
	start := startAddress.FindString(p.out.String())
	if start == "" {
		t.Fatalf("the start prints no address:\n%s", p.out)
	}
	began := time.Now()
	newPerson(t, p.base, nil).plays("newcomer", "START="+start, "ENDPOINT="+bucket.URL)
	if took := time.Since(began); took > 3*time.Minute {
		t.Errorf("it took %v", took)
	}
	if keys := bucket.Keys("archive"); len(keys) != 1 || !strings.HasSuffix(keys[0], ".pdf") {
		t.Errorf("the bucket holds %q", keys)
	}
}

func TestR8_1WhatHappensIsSeenWithoutAReload(t *testing.T) {
	t.Parallel()
	for _, scenario := range []string{"documents", "templates", "integrations"} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			const token = "live-token-of-the-page"
			bucket := newS3(t, "archive")
			p := startProgram(t, emptyFolder(t), append(cluster(t, token), "PLATEN_EGRESS_ALLOW=127.0.0.0/8", "PLATEN_RATE_LIMIT=0")...)
			server, err := url.Parse(p.baseURL)
			if err != nil {
				t.Fatal(err)
			}
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var refuses atomic.Bool
			l := newLink(t, listener, func() (net.Conn, error) {
				if refuses.Load() {
					return nil, syscall.ECONNREFUSED
				}
				return net.Dial("tcp", server.Host)
			})
			release := func() {}
			newPerson(t, "http://"+listener.Addr().String(), map[string]func(){
				"cut":     func() { l.cut(func() { refuses.Store(true) }) },
				"silence": l.silence,
				"mend":    func() { refuses.Store(false); l.speak() },
				"deny":    func() { bucket.Fault("archive", s3test.Error(http.StatusForbidden, "AccessDenied", "Access Denied")) }, // once
				"hold":    func() { release = bucket.Hold("archive") },
				"release": func() { release() },
			}).plays(scenario, "TOKEN="+token, "ENDPOINT="+bucket.URL, "DIRECT="+p.baseURL)
		})
	}
}

// At first load a screen costs at most 120 KB of compressed script, and whatever is asked for
// comes from this server.
func TestR8_1TheFirstLoadIsSmall(t *testing.T) {
	t.Parallel()
	index, err := os.ReadFile("../../web/dist/index.html")
	if err != nil {
		t.Fatalf("%v: run `make web`, which builds the page", err)
	}
	var total int64
	for _, script := range regexp.MustCompile(`(?:src|href)="(/assets/[^"]+\.js)"`).FindAllSubmatch(index, -1) {
		info, err := os.Stat(filepath.Join("../../web/dist", string(script[1])+".gz"))
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	t.Logf("%d bytes of compressed script", total)
	if total == 0 || total > 120_000 {
		t.Errorf("the first load has %d bytes of compressed script, at most 120,000 are promised", total)
	}
}
