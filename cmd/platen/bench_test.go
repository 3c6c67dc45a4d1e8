package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	root "platen"
	"platen/bench"
	"platen/storage"
)

// The rows of `make bench` that need the whole program. The program is a process of its own, as users have it; the
// callers compute beside it on the same cores.

// floorProcess is the floor of renderer/floor_child_test.go.
type floorProcess struct {
	t   *testing.T
	in  *json.Encoder
	out *json.Decoder
}

func startFloor(t *testing.T) *floorProcess {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "floor")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, "platen/renderer")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), "RENDERER_BENCH_FLOOR=1")
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // it ends with its input
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return &floorProcess{t: t, in: json.NewEncoder(in), out: json.NewDecoder(out)}
}

type floorRequest struct {
	HTML        string
	Tabs, Count int
	Fresh       bool
}

// perSecond is how many documents a second the floor makes, and how large one is.
func (f *floorProcess) perSecond(request floorRequest) (float64, int) {
	f.t.Helper()
	var answer struct {
		PerSecond float64
		Bytes     int
		Error     string
	}
	if err := f.in.Encode(request); err != nil {
		f.t.Fatal(err)
	}
	if err := f.out.Decode(&answer); err != nil || answer.Error != "" || answer.Bytes == 0 {
		f.t.Fatalf("the floor: %v %+v", err, answer)
	}
	return answer.PerSecond, answer.Bytes
}

// best is the number of tabs with which the floor is fastest, by the median of rounds that take turns.
func (f *floorProcess) best(request floorRequest) (tabs int) {
	options := bench.Pick([]int{2}, []int{1, 2, 3, 4, 6, 8})
	var sides []func() float64
	for _, n := range options {
		f.perSecond(floorRequest{HTML: request.HTML, Tabs: n, Count: 2 * n, Fresh: request.Fresh}) // warm
		sides = append(sides, func() float64 {
			rate, _ := f.perSecond(floorRequest{HTML: request.HTML, Tabs: n, Count: request.Count, Fresh: request.Fresh})
			return rate
		})
	}
	most := 0.0
	for i, rates := range bench.Interleave(bench.Pick(1, 3), sides...) {
		if rates.Median() > most {
			tabs, most = options[i], rates.Median()
		}
	}
	return tabs
}

// benched is a program without limits on its callers, a caller of it, and its folder.
func benched(t *testing.T, environ ...string) (p *process, c *client, dir string) {
	t.Helper()
	dir = emptyFolder(t)
	p = serveProcess(t, dir, append([]string{"PLATEN_RATE_LIMIT=0", "PLATEN_QUEUE_LIMIT=10000000"}, environ...)...)
	ready(t, p)
	return p, &client{t: t, base: p.base, live: p.tokens()[0]}, dir
}

// publish makes a template of a document, whose first version is published.
func (c *client) publish(d bench.Document) (id string) {
	c.t.Helper()
	content := vars{"html": d.Liquid}
	if d.WaitFor != "" {
		content["page"] = vars{"waitFor": vars{"expression": d.WaitFor}}
	}
	made := c.createTemplate(vars{"name": d.Name, "content": content})
	return made.ID
}

// fromTemplate is the body of a request that creates a document, and may wait for it.
func fromTemplate(t *testing.T, id string, data map[string]any, wait int) string {
	t.Helper()
	body, err := json.Marshal(vars{"query": `mutation ($input: CreateSubmissionInput!) { createSubmission(input: $input) { submission { id state file { byteSize } } userErrors { message } } }`,
		"variables": vars{"input": vars{"templateId": id, "data": data, "wait": wait}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// madePerSecond has callers create documents and wait for each, and counts those that are made.
func (c *client) madePerSecond(body string, callers, count int) float64 {
	c.t.Helper()
	var left atomic.Int64
	left.Store(int64(count))
	var all sync.WaitGroup
	start := time.Now()
	for range callers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if answer, err := c.post(body); err != nil || !strings.Contains(answer, `"state":"PROCESSED"`) {
					c.t.Errorf("%v %s", err, answer)
					return
				}
			}
		})
	}
	all.Wait()
	return float64(count) / time.Since(start).Seconds()
}

func TestBenchDocuments(t *testing.T) {
	bench.Alone(t)
	floor := startFloor(t)
	p, c, _ := benched(t)
	c.oneAtATime(floor)
	for _, row := range []struct {
		bench.Document
		count int
		goal  string
	}{
		{bench.Invoice(), 400, "0.7"},
		{bench.Report(), 80, "0.9"},
		{bench.Chart(), 150, "0.5"},
	} {
		count := bench.Pick(8, row.count)
		body := fromTemplate(t, c.publish(row.Document), row.Data, 60)
		request := floorRequest{HTML: row.HTML, Count: count}
		request.Tabs = floor.best(request)
		callers := 12
		c.madePerSecond(body, callers, bench.Pick(4, 40)) // warm
		c.sameAsTheFloor(body, floor, request)
		computing := map[string]int{}
		measured := bench.Interleave(bench.Pick(1, 9),
			func() float64 {
				before := p.computed()
				rate := c.madePerSecond(body, callers, count)
				for one, ticks := range p.computed() {
					computing[one.part] += ticks - before[one]
				}
				return rate
			},
			func() float64 { rate, _ := floor.perSecond(request); return rate })
		var each []string
		for part, ticks := range computing {
			each = append(each, fmt.Sprintf("%s %.1f", part, float64(ticks)*10/float64(count*len(measured[0]))))
		}
		slices.Sort(each)
		bench.Row{Name: "(a) " + row.Name, Unit: "documents/s", Ours: measured[0], Floor: measured[1], Goal: row.goal,
			Note: fmt.Sprintf("floor in %d tabs, %d callers; CPU ms for each document: %s", request.Tabs, callers, strings.Join(each, ", "))}.Print(t)
	}
}

// partOf is a process of the program: the server, or one of postgres, the browser or the sandbox.
type partOf struct {
	pid  int
	part string
}

// computed is how long each process of the program has computed, in ticks of a hundredth of a second.
func (p *process) computed() map[partOf]int {
	ticks := map[partOf]int{{p.cmd.Process.Pid, "server"}: computed(p.t, p.cmd.Process.Pid)}
	for _, pid := range descendants(p.t, p.cmd.Process.Pid) {
		name, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err != nil {
			continue // it has ended meanwhile
		}
		switch name = filepath.Base(name); {
		case strings.HasPrefix(name, "chromium"), strings.HasPrefix(name, "chrome"), strings.HasPrefix(name, "headless"):
			name = "browser"
		case name != "postgres":
			name = "sandbox"
		}
		ticks[partOf{pid, name}] = computed(p.t, pid)
	}
	return ticks
}

// sameAsTheFloor fails if the product's document is not the floor's, to a twentieth of its size.
func (c *client) sameAsTheFloor(body string, floor *floorProcess, request floorRequest) {
	c.t.Helper()
	text, err := c.post(body)
	var made struct {
		Data struct {
			CreateSubmission struct{ Submission document }
		}
	}
	if err != nil || json.Unmarshal([]byte(text), &made) != nil || made.Data.CreateSubmission.Submission.File == nil {
		c.t.Fatalf("%v %s", err, text)
	}
	request.Count = 1
	_, size := floor.perSecond(request)
	if ours := int(made.Data.CreateSubmission.Submission.File.ByteSize); ours < size*19/20 || ours > size*21/20 {
		c.t.Errorf("the document has %d bytes, the floor's %d", ours, size)
	}
}

// oneAtATime follows single invoices from the request to the event that they are made.
func (c *client) oneAtATime(floor *floorProcess) {
	c.t.Helper()
	invoice := bench.Invoice()
	body := fromTemplate(c.t, c.publish(invoice), invoice.Data, 0)
	s := c.subscribe(c.live, `subscription { documentFeed { __typename ... on DocumentChange { document { id state } } } }`, nil)
	s.read() // FeedReady
	one := func() float64 {
		return 1000 * bench.Seconds(func() {
			if answer, err := c.post(body); err != nil || !strings.Contains(answer, `"sub_`) {
				c.t.Fatal(answer, err)
			}
			for {
				if event := s.read(); strings.Contains(string(event.Payload), `"PROCESSED"`) {
					return
				}
			}
		})
	}
	bottom := func() float64 {
		rate, _ := floor.perSecond(floorRequest{HTML: invoice.HTML, Tabs: 1, Count: 1})
		return 1000 / rate
	}
	bench.Interleave(bench.Pick(1, 20), one, bottom) // warm
	measured := bench.Interleave(bench.Pick(2, 200), one, bottom)
	over := measured[0].Median() - 1.25*measured[1].Median()
	bench.Row{Name: "(a) one invoice at a time, request to PROCESSED event", Unit: "ms", Ours: measured[0], Floor: measured[1], Goal: "1.25 x floor + 40 ms",
		Note: fmt.Sprintf("1.25 x floor + %.1f ms", over)}.Print(c.t)
}

// TestBenchAddresses is of pages of another server, each in a context that is used once.
func TestBenchAddresses(t *testing.T) {
	bench.Alone(t)
	floor := startFloor(t)
	_, c, _ := benched(t, "PLATEN_RENDER_ALLOW="+assets)
	chart := bench.Chart()
	gate := newGate(t, assets, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, chart.HTML)
	}))
	gate.open()
	body, err := json.Marshal(vars{"query": `mutation ($input: CreateSubmissionInput!) { createSubmission(input: $input) { submission { id state } userErrors { message } } }`,
		"variables": vars{"input": vars{"url": gate.URL, "wait": 60}}})
	if err != nil {
		c.t.Fatal(err)
	}
	request := floorRequest{HTML: chart.HTML, Count: bench.Pick(4, 30), Fresh: true}
	request.Tabs = floor.best(request)
	measured := bench.Interleave(bench.Pick(1, 9),
		func() float64 { return c.madePerSecond(string(body), 12, request.Count) },
		func() float64 { rate, _ := floor.perSecond(request); return rate })
	bench.Row{Name: "(a) chart at an address, single-use contexts", Unit: "documents/s", Ours: measured[0], Floor: measured[1],
		Note: fmt.Sprintf("floor: the same set into a new context, %d at a time", request.Tabs)}.Print(c.t)
}

func TestBenchAcceptedPerSecond(t *testing.T) {
	bench.Alone(t)
	const callers = 16
	length := bench.Pick(100*time.Millisecond, 3*time.Second)
	invoice := bench.Invoice()
	for _, row := range []struct {
		name, goal string
		environ    []string
	}{
		{"(b) accepted while nothing renders", "0.6, p95 50 ms", []string{"PLATEN_ROLES=api"}},
		{"(b) accepted while others are rendered", "0.3, p95 50 ms", nil},
	} {
		_, c, dir := benched(t, row.environ...)
		body := fromTemplate(t, c.publish(invoice), invoice.Data, 0)
		bare := newBareRows(t, filepath.Join(dir, "data", "postgres"))
		var all []float64
		accept := func() float64 {
			rate, times := c.repeatedly(body, callers, length)
			all = append(all, times...)
			return rate
		}
		insert := func() float64 { return bare.perSecond(callers, length) }
		measured := bench.Interleave(bench.Pick(1, 7), accept, insert)
		slices.Sort(all)
		bench.Row{Name: row.name, Unit: "documents/s", Ours: measured[0], Floor: measured[1], Goal: row.goal,
			Note: fmt.Sprintf("p50 %.1f ms, p95 %.1f ms", all[len(all)/2]*1000, all[len(all)*95/100]*1000)}.Print(t)
	}
}

// repeatedly has callers send a request for a while: how many were accepted a second, and how long each took, in seconds.
func (c *client) repeatedly(body string, callers int, length time.Duration) (rate float64, times []float64) {
	c.t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	start := time.Now()
	for range callers {
		all.Go(func() {
			var own []float64
			for time.Since(start) < length {
				began := time.Now()
				if answer, err := c.post(body); err != nil || !strings.Contains(answer, `"sub_`) {
					c.t.Errorf("%v %s", err, answer)
					return
				}
				own = append(own, time.Since(began).Seconds())
			}
			mu.Lock()
			defer mu.Unlock()
			times = append(times, own...)
		})
	}
	all.Wait()
	return float64(len(times)) / time.Since(start).Seconds(), times
}

// bareRows is a table of submissions in a database of its own, on the server of a program: what that can take by itself.
type bareRows struct {
	t      *testing.T
	insert *sql.Stmt
}

// newBareRows has one account, and a statement that is prepared.
func newBareRows(t *testing.T, dir string) *bareRows {
	t.Helper()
	name := "bare_" + strings.ToLower(root.RandomString(12))
	open := func(name string) *storage.DB {
		db, err := storage.Open(t.Context(), dsnIn(dir, name), 16)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	}
	if _, err := open("postgres").SQL().ExecContext(t.Context(), "create database "+name); err != nil {
		t.Fatal(err)
	}
	db := open(name)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.SQL().ExecContext(t.Context(), `insert into accounts (id, name) values ('acc', 'bare')`); err != nil {
		t.Fatal(err)
	}
	insert, err := db.SQL().PrepareContext(t.Context(), `insert into submissions (account_id, id, state, test, source, output, preview, metadata)
		values ('acc', $1, 'PENDING', false, 'HTML', 'PDF', false, '{}')`)
	if err != nil {
		t.Fatal(err)
	}
	return &bareRows{t: t, insert: insert}
}

// perSecond inserts for a while, each row in a transaction of its own.
func (b *bareRows) perSecond(callers int, length time.Duration) float64 {
	b.t.Helper()
	var done atomic.Int64
	var all sync.WaitGroup
	start := time.Now()
	for range callers {
		all.Go(func() {
			for time.Since(start) < length {
				if _, err := b.insert.ExecContext(b.t.Context(), root.NewID(root.KindSubmission)); err != nil {
					b.t.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	return float64(done.Load()) / time.Since(start).Seconds()
}

// TestBenchTelling commits changes as another node does, and sees when each socket has been told.
func TestBenchTelling(t *testing.T) {
	bench.Alone(t)
	for _, row := range []struct {
		sockets, rounds int
		goal            string
	}{{1, 300, "p50 10 ms"}, {1000, 30, ""}, {5000, 10, ""}} {
		sockets, rounds := bench.Pick(min(row.sockets, 20), row.sockets), bench.Pick(2, row.rounds)
		p, c, dir := benched(t, "PLATEN_ROLES=api")
		db, err := storage.Open(t.Context(), dsnIn(filepath.Join(dir, "data", "postgres"), "postgres"), 2)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		var accountID string
		if err := db.SQL().QueryRowContext(t.Context(), `select account_id from api_tokens limit 1`).Scan(&accountID); err != nil {
			t.Fatal(err)
		}
		told := make(chan time.Time, sockets)
		for range sockets {
			s := c.subscribe(c.readerToken(sockets), `subscription { documentFeed { __typename ... on DocumentChange { cursor at document { id state final revision } } } }`, nil)
			s.read() // FeedReady
			go s.stamp(told)
		}
		var latency, last bench.Series
		before := computed(t, p.cmd.Process.Pid)
		for range rounds {
			s := &root.Submission{Document: root.Document{Record: root.Record{AccountID: accountID, ID: root.NewID(root.KindSubmission)}, Metadata: []byte("{}")},
				Source: root.SourceHTML, Output: root.OutputPDF, Content: &root.TemplateContent{HTML: "x"}}
			if err := db.InTx(t.Context(), func(tx *storage.Tx) error { return tx.CreateSubmissions(t.Context(), []*root.Submission{s}) }); err != nil {
				t.Fatal(err)
			}
			committed := time.Now()
			if err := db.Nudge(t.Context(), "another"); err != nil {
				t.Fatal(err)
			}
			for range sockets {
				select {
				case at := <-told:
					latency = append(latency, at.Sub(committed).Seconds()*1000)
				case <-time.After(patience):
					t.Fatal("not all sockets are told")
				}
			}
			last = append(last, slices.Max(latency[len(latency)-sockets:]))
		}
		each := float64(computed(t, p.cmd.Process.Pid)-before) * 10_000 / float64(sockets*rounds)
		slices.Sort(latency)
		bench.Row{Name: fmt.Sprintf("(e) commit to %d sockets: p50 of all", sockets), Unit: "ms", Ours: latency, Goal: row.goal,
			Note: fmt.Sprintf("the last socket of each change: %s ms", last)}.Print(t)
		if sockets > 1 {
			bench.Row{Name: fmt.Sprintf("(e) computing for each event that one of %d sockets is told", sockets), Unit: "CPU us", Ours: bench.Series{each}, Goal: "25"}.Print(t)
		}
	}
}

// readerToken is a token for some of many sockets: each may have 2,000.
func (c *client) readerToken(sockets int) string {
	c.t.Helper()
	if sockets < 1000 {
		return c.live
	}
	if len(c.readers) == 0 || c.lent == 1000 {
		var made struct{ CreateAPIToken struct{ Secret string } }
		c.do(`mutation { createApiToken(input: {name: "reader", environment: LIVE, scope: READ}) { secret } }`, nil, &made)
		c.readers, c.lent = append(c.readers, made.CreateAPIToken.Secret), 0
	}
	c.lent++
	return c.readers[len(c.readers)-1]
}

// stamp says when each frame has come, until the connection ends with the test. A frame is not looked into, since this
// computes on the server's cores.
func (s *subscription) stamp(told chan<- time.Time) {
	for {
		_, frame, err := s.conn.ReadMessage()
		if err != nil {
			return
		}
		switch {
		case bytes.Contains(frame, []byte(`"next"`)):
			told <- time.Now()
		case bytes.Contains(frame, []byte(`"ping"`)):
			if s.conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"pong"}`)) != nil {
				return
			}
		}
	}
}

// TestBenchQueuedJobs is what a node keeps in memory for each document that waits in the queue.
func TestBenchQueuedJobs(t *testing.T) {
	bench.Alone(t)
	p, c, _ := benched(t, "PLATEN_ROLES=api")
	size := bench.Pick(10, 1000)
	inputs := make([]vars, size)
	for i := range inputs {
		inputs[i] = vars{"html": "<p>x</p>", "data": vars{"n": i}}
	}
	fill := func(batches int) {
		for range batches {
			c.batch(c.live, vars{"submissions": inputs})
		}
	}
	fill(bench.Pick(1, 30)) // what all need together
	before, batches := memory(t, p.cmd.Process.Pid), bench.Pick(1, 60)
	fill(batches)
	each := float64(memory(t, p.cmd.Process.Pid)-before) / float64(batches*size)
	bench.Row{Name: fmt.Sprintf("(h) memory of a node for each of %d queued jobs", batches*size), Unit: "bytes", Ours: bench.Series{each}, Goal: "2000"}.Print(t)
}
