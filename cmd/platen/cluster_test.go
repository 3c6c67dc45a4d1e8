package main

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"platen/delivery/s3test"
	"platen/storage"
)

func TestR9_1FourNodesStartTogetherOnAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	dsn := dsnIn(filepath.Join(shared.config.dataDir, "postgres"), newDatabase(t))
	environ := []string{testKey, "DATABASE_URL=" + dsn, "PLATEN_BLOB_URL=file://" + emptyFolder(t)}
	nodes := make([]*process, 4)
	for i := range nodes {
		p := &process{t: t, cmd: platen(t, emptyFolder(t), "serve"), out: &syncBuffer{}, log: &syncBuffer{}, exited: make(chan struct{})}
		p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = append(p.cmd.Env, environ...), p.out, p.log
		if i > 1 {
			p.cmd.Env = append(p.cmd.Env, "PLATEN_ROLES=api") // the machine has few cores for browsers
		}
		nodes[i] = p
	}
	for _, p := range nodes { // all at once
		if err := p.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { p.exitErr = p.cmd.Wait(); close(p.exited) }()
		t.Cleanup(func() { _ = p.cmd.Process.Kill(); <-p.exited })
	}
	told := 0
	for i, p := range nodes {
		for deadline := time.Now().Add(patience); p.base == ""; time.Sleep(20 * time.Millisecond) {
			if _, address, found := strings.Cut(p.out.String(), "listens on "); found && strings.Contains(address, "\n") {
				p.base, _, _ = strings.Cut(address, "\n")
			}
			select {
			case <-p.exited:
				t.Fatalf("node %d does not start: %v\n%s", i, p.exitErr, p.log)
			default:
			}
			if time.Now().After(deadline) {
				t.Fatalf("node %d does not start\n%s", i, p.log)
			}
		}
		ready(t, p)
		if printedToken.MatchString(p.out.String()) {
			told++
		}
	}
	if told != 1 {
		t.Errorf("%d nodes have shown tokens", told)
	}
	db, err := storage.Open(t.Context(), dsn, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for query, want := range map[string]string{
		`select count(*) from accounts`:                                        "1",
		`select count(*) from api_tokens`:                                      "2",
		`select count(*) from installation where key_check is not null`:        "1",
		`select count(*) - count(distinct version_id) from goose_db_version`:   "0",
		`select max(version_id) from goose_db_version where is_applied`:        fmt.Sprint(storage.SchemaVersion()),
		`select count(*) - count(distinct version) from river.river_migration`: "0",
	} {
		var got string
		if err := db.SQL().QueryRowContext(t.Context(), query).Scan(&got); err != nil || got != want {
			t.Errorf("%s = %s, %v; want %s", query, got, err, want)
		}
	}
	// They are one Platen: what comes to any is seen by all.
	var live string
	for _, p := range nodes {
		if m := printedToken.FindStringSubmatch(p.out.String()); m != nil {
			live = m[2]
		}
	}
	c := &client{t: t, base: nodes[3].base, live: live}
	doc := c.submit(vars{"html": "<p>together</p>"})
	for i, p := range nodes {
		c.base = p.base
		seen := c.submission(doc.ID)
		if response, _ := c.download(seen.DownloadURL); seen.State != "PROCESSED" || response.StatusCode != http.StatusOK {
			t.Errorf("node %d: %v, %d", i, seen, response.StatusCode)
		}
	}
	for i, p := range nodes {
		if p.stop(syscall.SIGTERM); p.exitErr != nil {
			t.Errorf("node %d ended with %v\n%s", i, p.exitErr, p.log)
		}
	}
}

func TestTheOwnBucketIsTriedAtTheStartAndOnlyListedAfterwards(t *testing.T) {
	t.Parallel()
	bucket := newOwnBucket(t)
	environ := append(ownDatabase(t, bucket, "platen", "live-token-of-the-own-bucket"), "PLATEN_ROLES=api")
	bucket.AddKey("AKOWN", "secret-of-AKOWN", s3test.Policy{Get: []string{"*"}, Delete: []string{"*"}, List: []string{"*"}})
	config, err := load(append(environ, "PLATEN_DATA_DIR="+emptyFolder(t), "PLATEN_LISTEN=127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(t.Context(), config, newLog(io.Discard)); err == nil || !strings.Contains(err.Error(), "PLATEN_BLOB_URL: the store of Platen's own copies does not work: it cannot be written to") || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("a key that may not write: %v", err)
	}
	bucket.AddKey("AKOWN", "secret-of-AKOWN", s3test.FullAccess("own-copies"))
	p := startProgram(t, emptyFolder(t), environ...)
	asked := len(bucket.Requests())
	get := func() (int, string, time.Duration) {
		t.Helper()
		start := time.Now()
		response, err := http.Get(p.baseURL + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(body), time.Since(start)
	}
	for range 3 {
		if status, body, _ := get(); status != http.StatusOK {
			t.Errorf("%d %s", status, body)
		}
	}
	for _, r := range bucket.Requests()[asked:] {
		if r.Method != http.MethodGet || r.Key != "" {
			t.Errorf("readiness asks %s %s", r.Method, r.Key)
		}
	}
	failing := func(how string) {
		t.Helper()
		if status, body, took := get(); status != http.StatusServiceUnavailable || !strings.Contains(body, `"documents":"failing"`) || !strings.Contains(body, `"database":"ok"`) || took > 5*time.Second {
			t.Errorf("%s: %d %s after %v", how, status, body, took)
		}
	}
	release := bucket.Hold("own-copies")
	failing("a bucket that hangs")
	release()
	bucket.AddKey("AKOWN", "another secret", s3test.FullAccess("own-copies"))
	failing("a key that was taken away")
}
