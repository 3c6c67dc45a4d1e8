package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// nodeCommand runs a script with Node and the packages of testdata/clients.
func nodeCommand(t *testing.T, dir, script string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", append([]string{script}, args...)...)
	cmd.Dir = dir
	return cmd
}

// guideScripts writes the scripts of docs/realtime.md, as they stand there, into a folder
// in which they find their packages.
func guideScripts(t *testing.T) (dir string) {
	t.Helper()
	guide, err := os.ReadFile("../../docs/realtime.md")
	if err != nil {
		t.Fatal(err)
	}
	packages, err := filepath.Abs("testdata/clients/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := os.Symlink(packages, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	for _, script := range regexp.MustCompile("(?s)`([a-z]+\\.mjs)`[^\n]*\n\n```js\n(.*?)```").FindAllSubmatch(guide, -1) {
		if err := os.WriteFile(filepath.Join(dir, string(script[1])), script[2], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestR7_4TheAuditOfGraphQLOverHTTPPassesWhole(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	cmd := nodeCommand(t, "testdata/clients", "audit.mjs", c.base+"/graphql")
	cmd.Env = append(os.Environ(), "TOKEN="+c.test) // some audits ask for the schema
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\nrun `make test`, which installs what it needs", err, stderr.String())
	}
	var audits []struct{ ID, Name, Status, Reason string }
	if err := json.Unmarshal(out, &audits); err != nil {
		t.Fatal(err)
	}
	if len(audits) != 61 {
		t.Errorf("%d audits, want 61", len(audits))
	}
	for _, audit := range audits {
		if audit.Status != "ok" {
			t.Errorf("%s %s: %s: %s", audit.ID, audit.Name, audit.Status, audit.Reason)
		}
	}
}

func TestR7_4TheStockClientsFollowADocumentToItsEnd(t *testing.T) {
	t.Parallel()
	dir := guideScripts(t)
	for script, want := range map[string]string{
		"watch.mjs":  `(?s)^SNAPSHOT (sub_\w+) PENDING \[\]\n(CHANGED \S+ PROCESSED \[\] final\n)$|^SNAPSHOT \S+ PROCESSED \[\] final\n$`,
		"stream.mjs": `^FeedReady\n(sub_\w+) PENDING\n(sub_\w+) PROCESSED final\n$`,
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			c := newClient(t)
			cmd := nodeCommand(t, dir, script, c.base)
			cmd.Env = append(os.Environ(), "TOKEN="+c.live)
			out, err := cmd.CombinedOutput()
			if err != nil || !regexp.MustCompile(want).Match(out) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// balancer is the address of one of several nodes. switchOver cuts everybody off, refuses
// some who come back, and turns to the next node.
func balancer(t *testing.T, nodes ...string) (address string, switchOver func(refuse int)) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	turn, refused := 0, 0
	l := newLink(t, listener, func() (net.Conn, error) {
		if refused > 0 {
			refused--
			return nil, net.ErrClosed
		}
		return net.Dial("tcp", strings.TrimPrefix(nodes[turn%len(nodes)], "http://"))
	})
	return "http://" + listener.Addr().String(), func(refuse int) {
		l.cut(func() { turn++; refused = refuse })
	}
}

func TestR7_3TheFollowerOfTheGuideMissesNothingWhenItIsCutOffAndSentToAnotherNode(t *testing.T) {
	t.Parallel()
	dir := emptyFolder(t)
	environ := []string{testKey, "DATABASE_URL=" + dsnIn(filepath.Join(shared.config.dataDir, "postgres"), newDatabase(t)),
		"PLATEN_BLOB_URL=file://" + dir + "/documents", "PLATEN_BOOTSTRAP_LIVE_TOKEN=live-token-of-the-follower"}
	one := startProgram(t, emptyFolder(t), environ...)
	other := startProgram(t, emptyFolder(t), append(environ, "PLATEN_ROLES=api")...)
	address, switchOver := balancer(t, one.baseURL, other.baseURL)
	c := &client{t: t, base: one.baseURL, live: "live-token-of-the-follower"}

	follow := nodeCommand(t, guideScripts(t), "follow.mjs", address)
	follow.Env = append(os.Environ(), "TOKEN="+c.live)
	out, err := follow.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	follow.Stderr = os.Stderr
	if !testing.Verbose() {
		follow.Stderr = nil
	}
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		_ = follow.Process.Kill()
		for range lines { // to the end of what it printed
		}
		_ = follow.Wait()
	})
	read := func() string {
		select {
		case line, ok := <-lines:
			if !ok {
				t.Fatal("the follower has ended")
			}
			return line
		case <-time.After(patience):
			t.Fatal("the follower prints nothing")
			return ""
		}
	}
	if line := read(); line != "following" {
		t.Fatalf("it begins with %q", line)
	}
	var want, got []string
	for round := range 6 {
		made := c.submit(vars{"html": fmt.Sprintf("<p>round %d</p>", round)})
		want = append(want, made.ID+" PENDING", made.ID+" PROCESSED final")
		if round%2 == 0 {
			switchOver(round / 2) // often before it has read these
		}
		if round == 3 {
			continue // and what comes between two cuts
		}
		for len(got) < len(want) {
			if line := read(); line != "following" {
				got = append(got, line)
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("it printed\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestR7_4TheStockClientComesBackByItself(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	address, switchOver := balancer(t, c.base)
	picture := newGate(t, assets, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(logo()) }))
	dir := guideScripts(t)
	script, err := os.ReadFile(filepath.Join(dir, "watch.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	// The document of the guide, but one that waits.
	script = bytes.Replace(script, []byte("<h1>Hello"), []byte(`<img src="`+picture.URL+`/x.png"><h1>Hello`), 1)
	if err := os.WriteFile(filepath.Join(dir, "wait.mjs"), script, 0o600); err != nil {
		t.Fatal(err)
	}
	watch := nodeCommand(t, dir, "wait.mjs", address)
	watch.Env = append(os.Environ(), "TOKEN="+c.live)
	out, err := watch.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		lines = append(lines, scanner.Text()[:strings.Index(scanner.Text(), " ")]+scanner.Text()[strings.Index(scanner.Text(), " ")+23:])
		switch len(lines) {
		case 1:
			switchOver(1)
		case 2:
			picture.open()
		}
	}
	if err := watch.Wait(); err != nil {
		t.Error(err)
	}
	if want := []string{"SNAPSHOT PENDING []", "SNAPSHOT PENDING []", "CHANGED PROCESSED [] final"}; !slices.Equal(lines, want) {
		t.Errorf("%q, want %q", lines, want)
	}
}
