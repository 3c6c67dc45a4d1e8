package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	root "platen"
	"platen/delivery/s3test"
	"platen/storage"
)

// commitThief is a PostgreSQL proxy that, once, lets a COMMIT through and drops the
// connection before its answer: the client cannot know that it was committed.
type commitThief struct {
	socket string // of the server behind it
	armed  atomic.Bool
	stolen chan struct{}
}

// newCommitThief listens on a socket in dir.
func newCommitThief(t *testing.T, dir, socket string) *commitThief {
	t.Helper()
	p := &commitThief{socket: socket, stolen: make(chan struct{})}
	listener, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(client)
		}
	}()
	return p
}

func (p *commitThief) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("unix", p.socket)
	if err != nil {
		return
	}
	defer server.Close()
	var dropping atomic.Bool
	go func() {
		defer client.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := server.Read(buffer)
			if dropping.Load() { // this is the answer to the COMMIT
				close(p.stolen)
				return
			}
			if _, writeErr := client.Write(buffer[:n]); err != nil || writeErr != nil {
				return
			}
		}
	}()
	finishing := false
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		finishing = finishing || bytes.Contains(buffer[:n], []byte("update submissions set state"))
		if finishing && bytes.Contains(buffer[:n], []byte("COMMIT\x00")) && p.armed.CompareAndSwap(true, false) {
			dropping.Store(true)
		}
		if _, writeErr := server.Write(buffer[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

func TestR9_2ADocumentWhoseCommitWentThroughUnheardIsKept(t *testing.T) {
	t.Parallel()
	dir, database := emptyFolder(t), newDatabase(t)
	thief := newCommitThief(t, dir, filepath.Join(shared.config.dataDir, "postgres", ".s.PGSQL.5432"))
	p := startProgram(t, dir, "PLATEN_BLOB_URL=file://"+dir+"/documents", testKey,
		"PLATEN_BOOTSTRAP_LIVE_TOKEN=live-token-of-the-thief-test", "DATABASE_URL="+dsnIn(dir, database))
	c := &client{t: t, base: p.baseURL, live: "live-token-of-the-thief-test"}
	thief.armed.Store(true)
	doc := c.submit(vars{"html": "<p>kept all the same</p>"})
	<-thief.stolen
	if doc.State != "PROCESSED" {
		t.Fatalf("%v", doc)
	}
	response, body := c.download(doc.DownloadURL)
	if response.StatusCode != http.StatusOK || !strings.Contains(text(t, body), "kept all the same") {
		t.Errorf("the download answers %d", response.StatusCode)
	}
}

func TestR9_1NodesOfOneDatabaseAndBucketAreOnePlaten(t *testing.T) {
	t.Parallel()
	bucket := s3test.New(t).Own()
	bucket.CreateBucket("own-copies", "eu-west-3")
	bucket.AddKey("AKOWN", "secret-of-AKOWN", s3test.FullAccess("own-copies"))
	environ := []string{testKey, "DATABASE_URL=" + dsnIn(filepath.Join(shared.config.dataDir, "postgres"), newDatabase(t)),
		"PLATEN_BLOB_URL=s3://own-copies/platen?region=eu-west-3&path_style=true&endpoint=" + bucket.URL,
		"AWS_ACCESS_KEY_ID=AKOWN", "AWS_SECRET_ACCESS_KEY=secret-of-AKOWN", "PLATEN_BOOTSTRAP_LIVE_TOKEN=live-token-of-two-nodes"}
	front := startProgram(t, emptyFolder(t), append(environ, "PLATEN_ROLES=api")...)
	back := startProgram(t, emptyFolder(t), append(environ, "PLATEN_ROLES=worker")...)
	c := &client{t: t, base: front.baseURL, live: "live-token-of-two-nodes"}
	doc := c.submit(vars{"html": "<p>made elsewhere</p>"})
	if doc.State != "PROCESSED" {
		t.Fatalf("%v", doc)
	}
	response, whole := c.download(doc.DownloadURL)
	if response.StatusCode != http.StatusOK || !strings.Contains(text(t, whole), "made elsewhere") {
		t.Errorf("the download answers %d", response.StatusCode)
	}
	if response, part := c.download(doc.DownloadURL, "Range", "bytes=-20"); response.StatusCode != http.StatusPartialContent || string(part) != string(whole[len(whole)-20:]) {
		t.Errorf("a range from a bucket: %d %q", response.StatusCode, part)
	}
	if keys := bucket.Keys("own-copies"); len(keys) != 1 || !strings.HasPrefix(keys[0], "platen/"+doc.ID+"/") {
		t.Errorf("the bucket holds %v", keys)
	}
	// Uploads come to the one, and another helps to make and combine what the other makes.
	startProgram(t, emptyFolder(t), append(environ, "PLATEN_ROLES=worker")...)
	brought := c.uploaded(c.live, "terms.pdf", whole)
	letters := make([]vars, 30)
	for i := range letters {
		letters[i] = vars{"html": "<p>{{ n }}</p>", "data": vars{"n": i}}
	}
	_, ids := c.batch(c.live, vars{"submissions": letters})
	end := c.finalCombined(c.live, c.combine(c.live, vars{"sources": append(sourcesOf(ids...), vars{"uploadId": brought})}).ID)
	if end.State != "PROCESSED" {
		t.Fatalf("%v", end)
	}
	_, combined := c.download(end.DownloadURL)
	for i, word := range words(t, combined) {
		if want := fmt.Sprint(i); word != want && i < 30 || i == 30 && word != "made elsewhere" {
			t.Errorf("page %d begins %q", i+1, word)
		}
	}
	// A node that only works answers no requests.
	if response, _ := c.download(back.baseURL + "/schema.graphql"); response.StatusCode != http.StatusNotFound {
		t.Errorf("the worker answers %d", response.StatusCode)
	}
	if response, _ := c.download(back.baseURL + "/readyz"); response.StatusCode != http.StatusOK {
		t.Errorf("the worker is not ready: %d", response.StatusCode)
	}
	// A node with another key is refused before it can do harm.
	config, err := load(append(environ[1:], "PLATEN_SECRET_KEY=AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "PLATEN_DATA_DIR="+emptyFolder(t), "PLATEN_LISTEN=127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(t.Context(), config, newLog(io.Discard)); err == nil || !strings.Contains(err.Error(), "PLATEN_SECRET_KEY is not the key") {
		t.Errorf("a wrong key: %v", err)
	}
}

func TestAJobThatUsesUpItsAttemptsEndsItsDocument(t *testing.T) {
	t.Parallel()
	for name, begun := range map[string]int{"the last attempt fails": 49, "no node survived an attempt": 50} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t)
			s := &root.Submission{Source: root.SourceHTML, Output: root.OutputPDF, Document: root.Document{Record: root.Record{AccountID: c.account.ID, ID: root.NewID(root.KindSubmission)}, Metadata: []byte("{}")},
				Content: &root.TemplateContent{HTML: "<p>", Page: root.DefaultPageSettings()}}
			if err := shared.db.InTx(t.Context(), func(tx *storage.Tx) error {
				if err := tx.CreateSubmissions(t.Context(), []*root.Submission{s}); err != nil {
					return err
				}
				if begun == 49 { // what it is made of is missing, so that the attempt can come to no outcome
					if _, err := tx.SQL().ExecContext(t.Context(), `delete from submission_inputs where submission_id = $1`, s.ID); err != nil {
						return err
					}
				}
				_, err := tx.SQL().ExecContext(t.Context(), `insert into river.river_job (kind, args, attempt, max_attempts, queue)
					values ('render_submission', json_build_object('account_id', $1::text, 'submission_id', $2::text), $3, 30000, 'render')`, s.AccountID, s.ID, begun)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			last := c.final(s.ID)
			if last.State != "FAILED" || last.Failure.Code != "INTERRUPTED" || !last.Failure.Retryable || !last.Final {
				t.Errorf("%v", last)
			}
		})
	}
}
