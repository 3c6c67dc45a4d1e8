package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The figures are those of docs/reliability.md: TEST_LONG=1 go test ./cmd/platen -run TestWhatADocumentCosts -v
func TestWhatADocumentCostsTheDatabase(t *testing.T) {
	t.Parallel()
	documents, accepting := 30, 200*time.Millisecond
	if os.Getenv("TEST_LONG") != "" {
		documents, accepting = 1000, 10*time.Second
	}
	environ := append(cluster(t, "live-token-of-the-costs"), "PLATEN_RATE_LIMIT=0", "PLATEN_QUEUE_LIMIT=10000000", "PLATEN_EGRESS_ALLOW=127.0.0.0/8")
	p := startProgram(t, emptyFolder(t), append(environ, "PLATEN_ROLES=api")...)
	c := newClientOf(t, p)
	server := newS3(t, "archive")
	c.integrate(server, "archive", nil)
	inputs := make([]vars, documents)
	for i := range inputs {
		inputs[i] = vars{"html": "<p>Invoice {{ n }}</p>", "data": vars{"n": i}, "metadata": vars{"order": fmt.Sprint(i)}}
	}
	measure := func(query string) (n int64) {
		t.Helper()
		if err := p.db.SQL().QueryRowContext(t.Context(), query).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	const size = `select sum(pg_total_relation_size(oid))::bigint from pg_class where relkind = 'r' and relnamespace in ('public'::regnamespace, 'river'::regnamespace)`
	const events = `select pg_total_relation_size('events')`
	before, eventsBefore := measure(size), measure(events)
	batch, _ := c.batch(c.live, vars{"submissions": inputs})
	startProgram(t, emptyFolder(t), append(environ, "PLATEN_ROLES=worker")...)
	start := time.Now()
	c.finalBatch(c.live, batch.ID)
	rendering := time.Since(start)
	for deadline := time.Now().Add(patience); measure(`select count(*) from actions where state <> 'PROCESSED'`) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is not delivered")
		}
	}
	all, ofEvents := (measure(size)-before)/int64(documents), (measure(events)-eventsBefore)/int64(documents)
	t.Logf("a document that is uploaded to one bucket takes %d bytes in the database, %d of them events, which are kept for a day", all, ofEvents)
	t.Logf("%d documents in %v on this machine: %.0f a second", documents, rendering, float64(documents)/rendering.Seconds())
	// What tables, indexes and their maps begin with is shared by all: a few documents have most of it.
	if most := int64(16<<10 + 2<<20/documents); all > most {
		t.Errorf("a document takes %d bytes in the database, of at most %d", all, most)
	}
	t.Logf("%.0f documents a second are accepted one by one, 16 at a time, while others are rendered", c.acceptedPerSecond(accepting))

	idle := startProgram(t, emptyFolder(t), append(cluster(t, "live-token-of-the-idle-node"), "PLATEN_RATE_LIMIT=0", "PLATEN_QUEUE_LIMIT=10000000", "PLATEN_ROLES=api")...)
	t.Logf("and %.0f where nothing is rendered", newClientOf(t, idle).acceptedPerSecond(accepting))
}

// acceptedPerSecond lets 16 callers create documents one by one for a while.
func (c *client) acceptedPerSecond(length time.Duration) float64 {
	c.t.Helper()
	var accepted atomic.Int64
	var callers sync.WaitGroup
	start := time.Now()
	for range 16 {
		callers.Go(func() {
			for time.Since(start) < length {
				response, err := c.post(`{"query":"mutation { createSubmission(input: {html: \"<p>x</p>\"}) { submission { id } } }"}`)
				if err != nil || !strings.Contains(response, `"sub_`) {
					c.t.Errorf("%s %v", response, err)
					return
				}
				accepted.Add(1)
			}
		})
	}
	callers.Wait()
	return float64(accepted.Load()) / time.Since(start).Seconds()
}

// post sends a request's body with the live token, from any goroutine.
func (c *client) post(body string) (answer string, err error) {
	request, err := http.NewRequest(http.MethodPost, c.base+"/graphql", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+c.live)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}
