package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"platen/delivery/s3test"
	"platen/storage/blob"
)

// run runs a command of platen's in a data folder, and returns what it printed; the error
// has what it complained of.
func run(t *testing.T, dir string, environ []string, args ...string) (string, error) {
	t.Helper()
	cmd := platen(t, dir, args...)
	cmd.Env = append(cmd.Env, environ...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%w: %s", err, complaint.String())
	}
	return out.String(), nil
}

func mustRun(t *testing.T, dir string, environ []string, args ...string) string {
	t.Helper()
	out, err := run(t, dir, environ, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// wantRefusal runs a command that has to fail and to say these things.
func wantRefusal(t *testing.T, dir string, environ []string, args []string, parts ...string) {
	t.Helper()
	_, err := run(t, dir, environ, args...)
	if err == nil {
		t.Errorf("platen %v is not refused", args)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("platen %v does not say %q:\n%v", args, part, err)
		}
	}
}

// whole checks that a document's copy is there and is what its hash says.
func (c *client) whole(id string) {
	c.t.Helper()
	doc := c.final(id)
	if doc.State != "PROCESSED" {
		c.t.Errorf("%v", doc)
		return
	}
	response, body := c.download(doc.DownloadURL)
	if sum := sha256.Sum256(body); response.StatusCode != http.StatusOK || hex.EncodeToString(sum[:]) != doc.File.SHA256 {
		c.t.Errorf("the download of %s: %d, %d bytes with another hash", id, response.StatusCode, len(body))
	}
}

func (c *client) cursor() string {
	c.t.Helper()
	var got struct{ Account struct{ FeedCursor string } }
	c.do(`{ account { feedCursor } }`, nil, &got)
	return got.Account.FeedCursor
}

func copyFile(t *testing.T, to, from string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		if err = os.MkdirAll(filepath.Dir(to), 0o711); err == nil {
			err = os.WriteFile(to, content, 0o600)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// altered changes a file for as long as f runs.
func altered(t *testing.T, path string, change func([]byte) []byte, f func()) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(bytes.Clone(content)), 0o600); err != nil {
		t.Fatal(err)
	}
	f()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func truncated(b []byte) []byte { return b[:len(b)-1] }

func flipped(b []byte) []byte {
	b[len(b)/2] ^= 1
	return b
}

func TestR9_2ABackupBesideABusyServerIsRestoredWhole(t *testing.T) {
	t.Parallel()
	bucket := newS3(t, "archive")
	old := emptyFolder(t)
	environ := []string{"PLATEN_EGRESS_ALLOW=127.0.0.0/8"}
	server := serveProcess(t, old, environ...)
	ready(t, server)
	c := &client{t: t, base: server.base, live: server.tokens()[0]}

	// What there is: finished documents, an upload, a delivery that hangs with the bucket, a
	// batch that is being rendered meanwhile.
	first := c.submit(vars{"html": "<p>the first</p>"})
	upload := c.uploaded(c.live, "terms.pdf", c.pdfOf("<p>terms</p>"))
	release := bucket.Hold("archive")
	c.integrate(bucket, "archive", vars{"region": "eu-west-3", "pathTemplates": vars{"submission": "{{ submission_id }}.pdf"}})
	waiting := c.submit(vars{"html": "<p>waits for its bucket</p>"})
	bucket.WaitForRequest(t, func(r s3test.Request) bool { return r.Key == waiting.ID+".pdf" })
	cursor := c.cursor()
	letters := make([]vars, 60)
	for i := range letters {
		letters[i] = vars{"html": "<p>{{ n }}</p>", "data": vars{"n": i}}
	}
	_, ids := c.batch(c.live, vars{"submissions": letters})
	ids = append(ids, first.ID, waiting.ID)

	place := emptyFolder(t)
	folder := filepath.Join(place, "monday")
	out := mustRun(t, old, environ, "backup", folder)
	for _, part := range []string{"backup     " + folder, "database   ", "documents  ", "The master key is not in it: keep " + filepath.Join(old, "data", "keys", "secret.key")} {
		if !strings.Contains(out, part) {
			t.Errorf("it does not say %q:\n%s", part, out)
		}
	}
	wantRefusal(t, old, environ, []string{"backup", folder}, folder+" exists already")
	if names, err := filepath.Glob(filepath.Join(place, "*")); err != nil || !slices.Equal(names, []string{folder}) {
		t.Errorf("%q is left, %v", names, err)
	}
	key, err := os.ReadFile(filepath.Join(old, "data", "keys", "secret.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others may see %s: %v", path, info.Mode())
		}
		if entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, bytes.TrimSpace(key)) {
			t.Errorf("the master key is in %s", path)
		}
		return err
	}); err != nil {
		t.Error(err)
	}

	wantRefusal(t, old, environ, []string{"restore", folder}, "is in use by another process")
	// It dies in the middle of the delivery, which its backup shows as running.
	server.stop(syscall.SIGKILL)
	wantRefusal(t, old, environ, []string{"restore", folder}, "the database is not empty")
	// Without a server a backup is made as well, of an installation that a crash has left.
	mustRun(t, old, environ, "backup", filepath.Join(place, "tuesday"))

	// What is refused changes nothing, so that the restore after all of it works.
	fresh := emptyFolder(t)
	restore := []string{"restore", folder}
	secret := filepath.Join(fresh, "data", "keys", "secret.key")
	wantRefusal(t, fresh, environ, restore, "there is no master key: put the one of the installation that was backed up into "+secret)
	wantRefusal(t, fresh, append(environ, testKey), restore, "PLATEN_SECRET_KEY is not the master key of the installation that was backed up")
	if _, err := os.Stat(filepath.Join(fresh, "data", "postgres")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused restore has touched the folder: %v", err)
	}
	copyFile(t, secret, filepath.Join(old, "data", "keys", "secret.key"))
	for _, name := range []string{databaseFile, documentsFile} {
		altered(t, filepath.Join(folder, name), truncated, func() { wantRefusal(t, fresh, environ, restore, "the backup is damaged", name, "nothing was changed") })
		altered(t, filepath.Join(folder, name), flipped, func() { wantRefusal(t, fresh, environ, restore, "the backup is damaged", name) })
	}
	copies, err := filepath.Glob(filepath.Join(folder, documentsDir, "*", "*"))
	if err != nil || len(copies) < 3 {
		t.Fatalf("%q, %v", copies, err)
	}
	altered(t, copies[0], truncated, func() { wantRefusal(t, fresh, environ, restore, "the backup is damaged", copies[0]) })
	altered(t, copies[1], flipped, func() { wantRefusal(t, fresh, environ, restore, "the backup is damaged", copies[1]) })
	if err := os.Rename(copies[2], copies[2]+".away"); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, fresh, environ, restore, "the backup is damaged", copies[2])
	if err := os.Rename(copies[2]+".away", copies[2]); err != nil {
		t.Fatal(err)
	}
	for change, say := range map[string]string{`"format": 9`: "has the format 9", `"schema": 99`: "of a newer Platen, with tables of version 99",
		`"postgresqlMajor": 98`: "restore it into version 98 or newer"} {
		altered(t, filepath.Join(folder, manifestFile), func(b []byte) []byte {
			name, _, _ := strings.Cut(change, " ")
			at := bytes.Index(b, []byte(name))
			end := at + bytes.IndexByte(b[at:], ',')
			return slices.Concat(b[:at], []byte(change), b[end:])
		}, func() { wantRefusal(t, fresh, environ, restore, say) })
	}

	out = mustRun(t, fresh, environ, restore...)
	if !strings.Contains(out, "restored   "+folder) {
		t.Errorf("%s", out)
	}
	wantRefusal(t, fresh, environ, restore, "the database is not empty")

	release()
	again := serveProcess(t, fresh, environ...)
	ready(t, again)
	c.base = again.base
	if printedToken.MatchString(again.out.String()) {
		t.Error("it takes itself for a first start")
	}
	for _, id := range ids {
		c.whole(id)
	}
	if delivered := c.final(waiting.ID).Actions; len(delivered) != 1 || delivered[0].State != "PROCESSED" {
		t.Errorf("%+v", delivered)
	}
	_, own := c.download(c.final(waiting.ID).DownloadURL)
	if object := bucket.WaitForObject(t, "archive", waiting.ID+".pdf"); !bytes.Equal(object.Body, own) {
		t.Error("the bucket has another document")
	}
	if combined := c.finalCombined(c.live, c.combine(c.live, vars{"sources": append(sourcesOf(first.ID), vars{"uploadId": upload})}).ID); combined.State != "PROCESSED" {
		t.Errorf("the upload: %v", combined)
	}
	if got := said(c.documentFeed(c.live, cursor, "").feed(1)); !slices.Equal(got, []string{"ResetCURSOR_EXPIRED"}) {
		t.Errorf("a cursor from before is answered %q", got)
	}
}

// ownDatabase is an installation on the tests' PostgreSQL with its copies in a bucket.
func ownDatabase(t *testing.T, bucket *s3test.Server, prefix, token string) []string {
	t.Helper()
	return []string{testKey, "DATABASE_URL=" + dsnIn(filepath.Join(shared.config.dataDir, "postgres"), newDatabase(t)),
		"PLATEN_BLOB_URL=s3://own-copies/" + prefix + "?region=eu-west-3&path_style=true&endpoint=" + bucket.URL,
		"AWS_ACCESS_KEY_ID=AKOWN", "AWS_SECRET_ACCESS_KEY=secret-of-AKOWN", "PLATEN_BOOTSTRAP_LIVE_TOKEN=" + token}
}

func newOwnBucket(t *testing.T) *s3test.Server {
	t.Helper()
	bucket := s3test.New(t).Own()
	bucket.CreateBucket("own-copies", "eu-west-3")
	bucket.AddKey("AKOWN", "secret-of-AKOWN", s3test.FullAccess("own-copies"))
	return bucket
}

// copyOf is the key of a document's own copy in the bucket.
func copyOf(t *testing.T, bucket *s3test.Server, prefix, id string) string {
	t.Helper()
	for _, key := range bucket.Keys("own-copies") {
		if strings.HasPrefix(key, prefix+"/"+id+"/") {
			return key
		}
	}
	t.Fatalf("there is no copy of %s", id)
	return ""
}

func TestR9_1ABackupOfADatabaseAndABucketIsRestoredIntoOthers(t *testing.T) {
	t.Parallel()
	bucket := newOwnBucket(t)
	const token = "live-token-of-the-backup"
	environ := ownDatabase(t, bucket, "old", token)
	server := startProgram(t, emptyFolder(t), environ...)
	c := &client{t: t, base: server.baseURL, live: token}
	var ids []string
	for n := range 4 {
		ids = append(ids, c.submit(vars{"html": fmt.Sprintf("<p>document %d</p>", n)}).ID)
	}
	place, dir := emptyFolder(t), emptyFolder(t)

	// One expires between the snapshot of the database and the copying of the documents.
	expiring := copyOf(t, bucket, "old", ids[3])
	going := make(chan struct{})
	bucket.Fault("own-copies/"+expiring, s3test.HangUntil(going))
	folder := filepath.Join(place, "backup")
	printed := make(chan string, 1)
	go func() {
		out, err := run(t, dir, environ, "backup", folder)
		printed <- fmt.Sprint(out, err)
	}()
	bucket.WaitForRequest(t, func(r s3test.Request) bool { return r.Method == http.MethodGet && r.Key == expiring })
	if _, errs := c.expire(c.live, ids[3]); len(errs) > 0 {
		t.Fatal(errs)
	}
	bucket.WaitForRequest(t, func(r s3test.Request) bool {
		return r.Method == http.MethodDelete && r.Key == expiring && r.Status != 0
	})
	close(going)
	if out := <-printed; !strings.Contains(out, "documents  3, ") || !strings.Contains(out, "expired    1, while") || !strings.Contains(out, "keep PLATEN_SECRET_KEY too") {
		t.Errorf("%s", out)
	}

	target := ownDatabase(t, bucket, "new", token)
	mustRun(t, dir, target, "restore", folder)
	restored := startProgram(t, emptyFolder(t), target...)
	c.base = restored.baseURL
	for _, id := range ids[:3] {
		c.whole(id)
		if object, _ := bucket.Object("own-copies", copyOf(t, bucket, "new", id)); object.Header.Get("Content-Type") != "application/pdf" {
			t.Errorf("the copy has the type %q", object.Header.Get("Content-Type"))
		}
	}
	wantRefusal(t, dir, target, []string{"restore", folder}, "the database is not empty")
	wantRefusal(t, dir, append(ownDatabase(t, bucket, "third", token), "PLATEN_SECRET_KEY="+strings.Repeat("B", 43)+"="), []string{"restore", folder}, "PLATEN_SECRET_KEY is not the master key")

	// Copies that are gone or damaged, though the database names them, are told and stop nothing.
	own := blob.OpenS3(*server.config.blobS3)
	gone, damaged := strings.TrimPrefix(copyOf(t, bucket, "old", ids[0]), "old/"), strings.TrimPrefix(copyOf(t, bucket, "old", ids[1]), "old/")
	if err := own.Delete(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if err := own.Put(t.Context(), damaged, strings.NewReader("rust"), 4, "application/pdf"); err != nil {
		t.Fatal(err)
	}
	second := filepath.Join(place, "second")
	wantRefusal(t, dir, environ, []string{"backup", second}, "whole but for 2 documents", filepath.Join(second, missingFile))
	missing, err := os.ReadFile(filepath.Join(second, missingFile))
	if lines := strings.Fields(string(missing)); err != nil || len(lines) != 2 || !slices.Contains(lines, gone) || !slices.Contains(lines, damaged) {
		t.Errorf("%q, %v", missing, err)
	}
	third := ownDatabase(t, bucket, "third", token)
	if out := mustRun(t, dir, third, "restore", second); !strings.Contains(out, "documents  1, ") || !strings.Contains(out, "2 documents had lost their copies") {
		t.Errorf("%s", out)
	}
	// A bucket that is not there is no reason to take all documents for lost.
	broken := slices.Clone(environ)
	broken[2] = strings.Replace(broken[2], "own-copies", "nowhere", 1)
	wantRefusal(t, dir, broken, []string{"backup", filepath.Join(place, "broken")}, "NoSuchBucket")
	if names, err := filepath.Glob(filepath.Join(place, "*")); err != nil || len(names) != 2 {
		t.Errorf("%q is left, %v", names, err)
	}
}

func TestAnInterruptedBackupLeavesNothingThatLooksWhole(t *testing.T) {
	t.Parallel()
	bucket := newOwnBucket(t)
	const token = "live-token-of-the-interrupted-backup"
	environ := ownDatabase(t, bucket, "old", token)
	server := startProgram(t, emptyFolder(t), environ...)
	c := &client{t: t, base: server.baseURL, live: token}
	doc := c.submit(vars{"html": "<p>kept</p>"})
	dir, folder := emptyFolder(t), filepath.Join(emptyFolder(t), "backup")
	key := copyOf(t, bucket, "old", doc.ID)
	// begin starts a backup and returns when it waits for a document.
	begin := func() *process {
		arrived := make(chan struct{})
		bucket.Fault("own-copies/"+key, func(s *s3test.Server, w http.ResponseWriter, r *http.Request) bool {
			close(arrived)
			return s3test.Hang()(s, w, r)
		})
		p := &process{t: t, cmd: platen(t, dir, "backup", folder), log: &syncBuffer{}, exited: make(chan struct{})}
		p.cmd.Env, p.cmd.Stderr = append(p.cmd.Env, environ...), p.log
		if err := p.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { p.exitErr = p.cmd.Wait(); close(p.exited) }()
		t.Cleanup(func() { _ = p.cmd.Process.Kill(); <-p.exited })
		select {
		case <-arrived:
		case <-p.exited:
			t.Fatalf("it ended: %v %s", p.exitErr, p.log)
		}
		return p
	}
	killed := begin()
	wantRefusal(t, dir, environ, []string{"backup", folder}, folder+".unfinished: another backup is being made there")
	killed.stop(syscall.SIGKILL)
	if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a killed backup left %s: %v", folder, err)
	}
	target := ownDatabase(t, bucket, "new", token)
	wantRefusal(t, dir, target, []string{"restore", folder + unfinished}, "is no whole backup: it has no manifest.json")
	wantRefusal(t, dir, target, []string{"restore", folder}, "is no whole backup")

	stopped := begin() // where the killed one left its remains
	stopped.stop(syscall.SIGTERM)
	if stopped.exitErr == nil || !strings.Contains(stopped.log.String(), "interrupted; there is no backup") {
		t.Errorf("%v: %s", stopped.exitErr, stopped.log)
	}
	if names, err := filepath.Glob(filepath.Join(filepath.Dir(folder), "*")); err != nil || len(names) > 0 {
		t.Errorf("%q is left, %v", names, err)
	}
	mustRun(t, dir, environ, "backup", folder)

	// A restore that is killed before its end leaves the database empty, and is made again.
	arrived, restoring := make(chan struct{}), platen(t, dir, "restore", folder)
	bucket.Fault("own-copies/new/"+strings.TrimPrefix(key, "old/"), func(s *s3test.Server, w http.ResponseWriter, r *http.Request) bool {
		close(arrived)
		return s3test.Hang()(s, w, r)
	})
	restoring.Env = append(restoring.Env, target...)
	if err := restoring.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-arrived:
	case <-time.After(patience):
		t.Error("the restore puts no document")
	}
	if err := restoring.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = restoring.Wait()
	mustRun(t, dir, target, "restore", folder)
	var m manifest
	text, err := os.ReadFile(filepath.Join(folder, manifestFile))
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil || m.Documents.Count != 1 || m.Documents.ByteSize != doc.File.ByteSize || m.Schema == 0 || m.Major < 13 || len(m.KeyCheck) == 0 {
		t.Errorf("%s, %v", text, err)
	}
}

func TestThereIsNothingToBackUpInAnEmptyFolder(t *testing.T) {
	t.Parallel()
	dir := emptyFolder(t)
	wantRefusal(t, dir, nil, []string{"backup", filepath.Join(dir, "backup")}, "there is nothing to back up in "+filepath.Join(dir, "data"))
	if _, err := os.Stat(filepath.Join(dir, "data")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it made the data folder: %v", err)
	}
	empty := []string{testKey, "DATABASE_URL=" + dsnIn(filepath.Join(shared.config.dataDir, "postgres"), newDatabase(t)), "PLATEN_BLOB_URL=file://" + emptyFolder(t)}
	wantRefusal(t, dir, empty, []string{"backup", filepath.Join(dir, "backup")}, "the database has no tables of Platen's")
	if _, err := os.Stat(filepath.Join(dir, "backup"+unfinished)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it left something behind: %v", err)
	}
}
