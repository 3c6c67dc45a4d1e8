package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is platen as a real process in a process group of its own.
type process struct {
	t       *testing.T
	cmd     *exec.Cmd
	base    string
	out     *syncBuffer // what it printed
	log     *syncBuffer
	exited  chan struct{}
	exitErr error
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// platen runs the program with these arguments in a data folder.
func platen(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = []string{asProgram + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + dir, "PLATEN_DATA_DIR=" + filepath.Join(dir, "data"), "PLATEN_LISTEN=127.0.0.1:0"}
	return cmd
}

func serveProcess(t *testing.T, dir string, environ ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: platen(t, dir, "serve"), out: &syncBuffer{}, log: &syncBuffer{}, exited: make(chan struct{})}
	p.cmd.Env = append(p.cmd.Env, environ...)
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
	})
	lines := bufio.NewReader(stdout)
	line := ""
	for err == nil && p.base == "" {
		line, err = lines.ReadString('\n')
		_, _ = p.out.Write([]byte(line))
		if _, address, found := strings.Cut(line, "listens on "); found {
			p.base = strings.TrimSpace(address)
		}
	}
	var rest sync.WaitGroup
	rest.Go(func() { _, _ = io.Copy(p.out, lines) })
	go func() {
		rest.Wait()
		p.exitErr = p.cmd.Wait()
		close(p.exited)
	}()
	if p.base == "" {
		<-p.exited
		t.Fatalf("it does not start: %v\n%s", p.exitErr, p.log)
	}
	return p
}

// tokens are the live and the test token that the first start prints.
func (p *process) tokens() (secrets []string) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for len(secrets) < 2 {
		secrets = nil
		for _, match := range printedToken.FindAllStringSubmatch(p.out.String(), -1) {
			secrets = append(secrets, match[2])
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("it printed no tokens:\n%s", p.out)
		}
		time.Sleep(time.Millisecond)
	}
	return secrets
}

// stop sends a signal and waits for the end.
func (p *process) stop(signal syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatalf("it does not stop\n%s", p.log)
	}
}

// descendants are the processes whose ancestor is this one.
func descendants(t *testing.T, pid int) (found []int) {
	t.Helper()
	parent := map[int]int{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended meanwhile
		}
		var child, above int
		fmt.Sscan(string(text), &child)
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		fmt.Sscan(fields[1], &above)
		parent[child] = above
	}
	for child := range parent {
		for above := parent[child]; above > 1; above = parent[above] {
			if above == pid {
				found = append(found, child)
				break
			}
		}
	}
	return found
}

// running tells whether a process runs: a zombie that its reaper has not collected
// does not.
func running(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.HasPrefix(string(text[bytes.LastIndexByte(text, ')')+2:]), "Z")
}

// gone waits until none of these processes runs.
func gone(t *testing.T, pids []int) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for _, pid := range pids {
		for running(pid) {
			if time.Now().After(deadline) {
				command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
				t.Fatalf("process %d is left behind: %.200q", pid, command)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

func emptyFolder(t *testing.T) string {
	t.Helper()
	dir, err := dataFolder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

var printedToken = regexp.MustCompile(`(?m)^  (live|test)  (platen_(?:live|test)_\w{43})$`)

func TestR9_1AStartNeedsNoConfigurationAndASecondOneKeepsEverything(t *testing.T) {
	t.Parallel()
	dir := emptyFolder(t)
	first := serveProcess(t, dir)
	c := &client{t: t, base: first.base}
	ready(t, first)
	children := descendants(t, first.cmd.Process.Pid)
	if len(children) < 5 {
		t.Errorf("only %d child processes: PostgreSQL, Chromium and the sandbox workers were expected", len(children))
	}
	first.stop(syscall.SIGINT)
	if first.exitErr != nil {
		t.Errorf("it ended with %v", first.exitErr)
	}
	gone(t, children)
	tokens := first.tokens()
	if len(tokens) != 2 || !strings.Contains(first.out.String(), "Next:") {
		t.Fatalf("the first start printed\n%s", first.out)
	}
	c.live, c.test = tokens[0], tokens[1]
	if log := first.log.String(); strings.Contains(log, c.live) || strings.Contains(log, c.test) {
		t.Error("a token is in the log")
	}

	start := time.Now()
	second := serveProcess(t, dir)
	t.Logf("the second start took %v", time.Since(start))
	c.base = second.base
	doc := c.submit(vars{"html": "<p>kept</p>"})
	second.stop(syscall.SIGTERM)
	if printedToken.MatchString(second.out.String()) {
		t.Errorf("the tokens are shown again:\n%s", second.out)
	}

	// The operators' commands work without a server, and beside one.
	var out bytes.Buffer
	create := platen(t, dir, "token", "create", "--scope", "read", "--name", "Lost")
	create.Stdout = &out
	if err := create.Run(); err != nil {
		t.Fatal(err)
	}
	id, secret := field(t, out.String(), "token"), field(t, out.String(), "secret")
	third := serveProcess(t, dir)
	c.base = third.base
	if kept := c.submission(doc.ID); kept.State != "PROCESSED" || kept.File.SHA256 != doc.File.SHA256 {
		t.Errorf("after a restart: %v", kept)
	}
	if a := c.ask(secret, `{ currentApiToken { name scope } }`, nil); string(a.Data) != `{"currentApiToken":{"name":"Lost","scope":"READ"}}` {
		t.Errorf("the operator's token: %s", a.Data)
	}
	if err := platen(t, dir, "token", "revoke", id).Run(); err != nil {
		t.Errorf("revoking beside a running server: %v", err)
	}
	if a := c.ask(secret, `{ currentApiToken { name } }`, nil); a.Status != http.StatusUnauthorized {
		t.Errorf("after it was revoked: %d", a.Status)
	}
	out.Reset()
	account := platen(t, dir, "account", "create", "Second")
	account.Stdout = &out
	if err := account.Run(); err != nil {
		t.Fatal(err)
	}
	other := &client{t: t, base: third.base, live: field(t, out.String(), "live")}
	if a := other.ask(other.live, `query ($id: ID!) { account { name } submission(id: $id) { id } }`, vars{"id": doc.ID}); string(a.Data) != `{"account":{"name":"Second"},"submission":null}` {
		t.Errorf("the second account: %s %v", a.Data, a.Errors)
	}
}

func TestAStartThatFailsDoesNotUseUpTheTokens(t *testing.T) {
	t.Parallel()
	dir := emptyFolder(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	failing := platen(t, dir, "serve")
	failing.Env = append(failing.Env, "PLATEN_LISTEN="+taken.Addr().String())
	if out, err := failing.CombinedOutput(); err == nil || !strings.Contains(string(out), "address already in use") || printedToken.Match(out) {
		t.Fatalf("%v\n%s", err, out)
	}
	if tokens := serveProcess(t, dir).tokens(); len(tokens) != 2 {
		t.Errorf("%v", tokens)
	}
}

func field(t *testing.T, out, name string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + name + `\s+(\S+)$`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("there is no %s in\n%s", name, out)
	}
	return m[1]
}

func ready(t *testing.T, p *process) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		response, err := http.Get(p.base + "/readyz")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not get ready: %v\n%s", err, p.log)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestCtrlCLetsRunningWorkFinish(t *testing.T) {
	t.Parallel()
	p := serveProcess(t, emptyFolder(t))
	ready(t, p)
	c := &client{t: t, base: p.base, live: p.tokens()[0]}
	doc := c.submit(vars{"html": `<p>slow</p><script>const end = Date.now() + 3000; while (Date.now() < end) {}</script>`, "wait": 1})
	if doc.State != "PENDING" {
		t.Fatalf("%v", doc)
	}
	children := descendants(t, p.cmd.Process.Pid)
	p.stop(syscall.SIGINT)
	if p.exitErr != nil {
		t.Errorf("it ended with %v", p.exitErr)
	}
	gone(t, children)
	if !regexp.MustCompile(`"document processed".*"` + doc.ID + `".*"attempt":1`).MatchString(p.log.String()) {
		t.Errorf("the document was not finished:\n%s", p.log)
	}
}

func TestR9_2AnAcceptedDocumentSurvivesKill9(t *testing.T) {
	t.Parallel()
	dir := emptyFolder(t)
	p := serveProcess(t, dir)
	ready(t, p)
	p.stop(syscall.SIGINT)
	live := p.tokens()[0]
	p = serveProcess(t, dir)
	c := &client{t: t, base: p.base, live: live}
	// One document is being rendered when the node dies: its script never ends.
	doc := c.submit(vars{"html": `<p>kept</p><script>while (true) {}</script>`, "page": vars{"timeout": 5}, "wait": 1})
	if doc.State != "PENDING" {
		t.Fatalf("%v", doc)
	}
	children := descendants(t, p.cmd.Process.Pid)
	p.stop(syscall.SIGKILL)
	gone(t, children)
	p = serveProcess(t, dir)
	c.base = p.base
	if after := c.final(doc.ID); after.State != "FAILED" || after.Failure.Code != "RENDER_TIMEOUT" {
		t.Errorf("after the crash: %v", after)
	}
	if good := c.submit(vars{"html": "<p>next</p>"}); good.State != "PROCESSED" {
		t.Errorf("the next document: %v", good)
	}
}

func TestR9_3MistakesOfTheConfigurationAreNamedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := load([]string{"PLATEN_LISTEN=127.0.0.1:99999", "PLATEN_DATADIR=/x", "DATABASE_URL=postgres://user:pass@db/x", "PLATEN_ROLES=api,cook",
		"PLATEN_EGRESS_ALLOW=300.0.0.0/8", "PLATEN_BOOTSTRAP_LIVE_TOKEN=short", "PLATEN_QUEUE_LIMIT=1", "PLATEN_RATE_LIMIT=many", "PLATEN_SHUTDOWN_DELAY=5", "HOME=/tmp"})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"PLATEN_LISTEN:", "PLATEN_DATADIR: there is no such setting", "PLATEN_BLOB_URL: is demanded", "PLATEN_SECRET_KEY: is demanded",
		"PLATEN_ROLES:", "PLATEN_EGRESS_ALLOW:", "PLATEN_BOOTSTRAP_LIVE_TOKEN:",
		"PLATEN_QUEUE_LIMIT:", "PLATEN_RATE_LIMIT:", "PLATEN_SHUTDOWN_DELAY:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "short") || strings.Contains(err.Error(), "pass@") {
		t.Errorf("a secret is in the error:\n%v", err)
	}
	const key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	for _, url := range []string{"ftp://x", "file://relative", "s3://bucket/prefix", "s3://bucket?region=eu&pathstyle=true", "s3://bucket?region=eu"} {
		if _, err := load([]string{"DATABASE_URL=postgres://db", "PLATEN_SECRET_KEY=" + key, "PLATEN_BLOB_URL=" + url, "HOME=/tmp"}); err == nil || !strings.Contains(err.Error(), "PLATEN_BLOB_URL:") {
			t.Errorf("%s: %v", url, err)
		}
	}
	c, err := load([]string{"DATABASE_URL=postgres://db", "PLATEN_SECRET_KEY=" + key, "HOME=/tmp", "AWS_ACCESS_KEY_ID=AK", "AWS_SECRET_ACCESS_KEY=SK",
		"PLATEN_BLOB_URL=s3://bucket/some/prefix?region=eu-west-3&endpoint=http://minio:9000&path_style=true", "PLATEN_ROLES=worker", "PLATEN_BASE_URL=https://platen.example.com/"})
	if err != nil || c.blobS3 == nil || c.blobS3.Bucket != "bucket" || c.blobS3.Prefix != "/some/prefix" || !c.blobS3.PathStyle || c.api || !c.worker || c.baseURL != "https://platen.example.com" {
		t.Errorf("%+v %+v, %v", c, c.blobS3, err)
	}
	if got := fmt.Sprint(c.databaseURL); got != "***" {
		t.Errorf("a secret prints as %q", got)
	}
	for _, v := range variables {
		if !strings.Contains(help(), v.name) {
			t.Errorf("--help lacks %s", v.name)
		}
	}
}
