package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lib/pq"
)

// stillPending are the documents and actions that are still to come to an end, but for
// those that wait for the dead bucket.
const stillPending = `select id from submissions where state = 'PENDING'
	union all select id from combined_submissions where state = 'PENDING'
	union all select id from actions where state = 'PENDING' and integration_id <> $1`

// settle waits until all is done.
func (c *chaos) settle() {
	start := time.Now()
	var left []string
	for {
		var err error
		if left, err = c.column(stillPending, c.dead); err == nil && len(left) == 0 {
			c.note("all is done %v after everything was healed", time.Since(start).Round(time.Millisecond))
			c.t.Logf("all is done %v after everything was healed", time.Since(start).Round(time.Millisecond))
			return
		}
		if time.Since(start) > settleTime {
			c.problem("%v after everything was healed, %d documents and actions are unfinished (%v)", settleTime, len(left), err)
			for _, id := range left[:min(len(left), 10)] {
				c.explain(id)
			}
			return
		}
		time.Sleep(100 * time.Millisecond) // the harness looks on from outside
	}
}

// column is what a query for one column finds.
func (c *chaos) column(query string, args ...any) (all []string, err error) {
	rows, err := c.db.QueryContext(c.t.Context(), query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// must is column for what has to work.
func (c *chaos) must(query string, args ...any) []string {
	c.t.Helper()
	all, err := c.column(query, args...)
	if err != nil {
		c.t.Fatalf("%s: %v", query, err)
	}
	return all
}

// explain shows what is known of a document or an action: its jobs, and what the nodes
// logged.
func (c *chaos) explain(id string) {
	for _, job := range c.must(`select to_jsonb(job)::text from river.river_job as job where args::text like '%' || $1 || '%' order by id`, id) {
		c.note("  job: %s", job)
	}
	for _, n := range c.nodes {
		for line := range strings.Lines(n.log.String()) {
			if strings.Contains(line, id) {
				c.note("  %s: %s", n.name, strings.TrimSpace(line))
			}
		}
	}
}

// judge asks whether anything that was accepted is lost.
func (c *chaos) judge() {
	c.judgeAccepted()
	c.judgeJobs()
	c.judgeDocuments()
	c.judgeEvents()
	c.judgeFolder()
}

// accepted are all documents that were acknowledged.
func (c *chaos) accepted() (promises []*promise) {
	for _, a := range c.clients {
		for _, o := range a.orders {
			if o.id != "" {
				promises = append(promises, o.documents...)
			}
		}
	}
	return promises
}

// judgeAccepted compares what is in the database with what was acknowledged: neither is
// anything lost, nor was anything made twice.
func (c *chaos) judgeAccepted() {
	made := map[string]int{}
	for _, id := range c.must(`select id from submissions union all select id from combined_submissions`) {
		made[id]++
	}
	acknowledged := map[string]string{}
	for _, one := range c.accepted() {
		if other := acknowledged[one.id]; other != "" {
			c.problem("%s was acknowledged for %s and for %s", one.id, other, one.order.key)
		}
		acknowledged[one.id] = one.order.key
		if made[one.id] != 1 {
			c.problem("%s of %s was acknowledged, and is there %d times", one.id, one.order.key, made[one.id])
		}
	}
	for id := range made {
		if acknowledged[id] == "" {
			c.problem("%s is there, and was never acknowledged", id)
		}
	}
	keys := map[string]bool{}
	for _, row := range c.must(`select key || ' ' || result_id from idempotency_keys`) {
		keys[row] = true
	}
	orders := 0
	for _, a := range c.clients {
		for _, o := range a.orders {
			if o.id == "" {
				continue
			}
			orders++
			if !keys[o.key+" "+o.id] {
				c.problem("%s made %s, which its idempotency key does not say", o.key, o.id)
			}
		}
	}
	if orders != len(keys) {
		c.problem("%d idempotency keys are there, of %d calls", len(keys), orders)
	}
	c.t.Logf("%d calls made %d documents", orders, len(acknowledged))
}

// judgeJobs looks for jobs that nobody needs, and for actions that wait without one.
func (c *chaos) judgeJobs() {
	const open = `state in ('available', 'pending', 'retryable', 'running', 'scheduled')`
	// The job of what was just committed may take a moment to be seen as completed.
	deadline := time.Now().Add(time.Minute)
	var left []string
	for {
		left = c.must(`select kind || ' ' || state::text || ' ' || args::text from river.river_job
			where ` + open + ` and (kind in ('render_submission', 'combine_submissions', 'settle_integration')
				or kind = 'deliver_action' and args->>'action_id' not in (select id from actions where state = 'PENDING'))`)
		if len(left) == 0 || time.Now().After(deadline) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, job := range left {
		c.problem("this job is left over: %s", job)
	}
	for _, row := range c.must(`with waiting as (select id, (select count(*) from river.river_job
				where kind = 'deliver_action' and args->>'action_id' = actions.id and ` + open + `) as jobs from actions where state = 'PENDING')
			select id || ' ' || jobs from waiting where jobs <> 1`) {
		id, jobs, _ := strings.Cut(row, " ")
		c.problem("the action %s is PENDING and has %s jobs, want one", id, jobs)
		c.explain(id)
	}
	for _, job := range c.must(`select kind || ' ' || state::text || ' ' || args::text from river.river_job where state in ('discarded', 'cancelled') and kind not in ('expire', 'housekeep')`) {
		c.problem("this job was given up: %s", job)
	}
	for _, row := range c.must(`select count(*)::text || '  jobs ended at attempt ' || attempt from river.river_job where state = 'completed' and attempt > 1 group by attempt order by attempt`) {
		c.note("%s", row)
	}
}

// judgeDocuments reads each document as a client does.
func (c *chaos) judgeDocuments() {
	promises := c.accepted()
	state := map[string]string{}
	var mu sync.Mutex
	work := make(chan *promise)
	var readers sync.WaitGroup
	for i := range 3 {
		readers.Go(func() {
			for one := range work {
				s, problems := c.read(one, c.nodes[i%len(c.nodes)].address())
				for _, p := range problems {
					c.problem("%s of %s: %s", one.id, one.order.key, p)
				}
				if len(problems) > 0 {
					c.explain(one.id)
				}
				mu.Lock()
				state[one.id] = s
				mu.Unlock()
			}
		})
	}
	for _, one := range promises {
		work <- one
	}
	close(work)
	readers.Wait()
	// A failure has to be of what was done: a page whose process was killed, and what
	// should have been combined of it.
	crashed := 0
	for _, one := range promises {
		switch s := state[one.id]; {
		case s == "PROCESSED":
			c.count("document " + s)
		case s == "FAILED RENDER_CRASHED":
			c.count("document " + s)
			crashed++
		case s == "FAILED SOURCE_FAILED" && failed(one.order.parts, state):
			c.count("document " + s)
		default:
			c.problem("%s of %s is %s", one.id, one.order.key, s)
			c.explain(one.id)
		}
	}
	if killed := c.times("kill: " + pageProcess); crashed > killed {
		c.problem("%d documents failed because their page's process died, and %d were killed", crashed, killed)
	}
	for _, a := range c.clients {
		for _, o := range a.orders {
			if o.refused != nil && !failed(o.parts, state) {
				c.problem("%s was refused: %+v", o.key, o.refused)
			}
		}
	}
}

func (c *chaos) times(kind string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[kind]
}

func failed(promises []*promise, state map[string]string) bool {
	return slices.ContainsFunc(promises, func(one *promise) bool { return strings.HasPrefix(state[one.id], "FAILED") })
}

// read looks at one document with all that was done with it. The state of one that
// failed has the failure's code with it.
func (c *chaos) read(one *promise, base string) (state string, problems []string) {
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	query := `query ($id: ID!) { it: submission(id: $id) { ...doc } }` + fragments
	if one.kind == combination {
		query = `query ($id: ID!) { it: combinedSubmission(id: $id) { ...combined } }` + combinedFragments
	}
	var got struct{ It *document }
	if err := c.ask(base, query, vars{"id": one.id}, &got); err != nil || got.It == nil {
		wrong("it cannot be read: %v", err)
		return "", problems
	}
	doc := *got.It
	state = doc.State
	if doc.Failure != nil {
		state += " " + doc.Failure.Code
	}
	var content []byte
	var sum string
	if doc.State == "PROCESSED" {
		var err error
		if content, err = get(doc.DownloadURL); err != nil {
			wrong("the download: %v", err)
		}
		hash := sha256.Sum256(content)
		if sum = hex.EncodeToString(hash[:]); sum != doc.File.SHA256 {
			wrong("what is downloaded has the SHA-256 %s, want %s", sum, doc.File.SHA256)
		}
		if pages, err := wordsOf(content); err != nil || len(pages) != len(one.texts) {
			wrong("it has %d pages, want %d (%v)", len(pages), len(one.texts), err)
		} else {
			for i, text := range one.texts {
				if !slices.Contains(pages[i], text) {
					wrong("page %d says %q, want %q", i+1, pages[i], text)
				}
			}
		}
	}
	uploads, hooks := 0, 0
	for _, a := range doc.Actions {
		c.count("action " + a.State)
		switch {
		case a.State == "PENDING" && a.Integration != nil && a.Integration.ID == c.dead && !doc.Final:
			uploads++ // will be
		case a.State != "PROCESSED":
			wrong("the action %s is %s: %+v", a.ID, a.State, a.Failure)
		case a.Type == "WEBHOOK":
			hooks++
			if told := c.hook.told(one.id); !strings.EqualFold(told, doc.State) {
				wrong("its webhook told of %q", told)
			}
		default:
			uploads++
			object, ok := c.buckets.Object(a.Result.Bucket, a.Result.Key)
			hash := sha256.Sum256(object.Body)
			if !ok || hex.EncodeToString(hash[:]) != sum || a.Result.SHA256 != sum {
				wrong("the object %s/%s (%v) has the SHA-256 %x, the receipt %s, the document %s", a.Result.Bucket, a.Result.Key, ok, hash, a.Result.SHA256, sum)
			}
		}
	}
	if want := map[bool]int{true: 3}[doc.State == "PROCESSED"]; uploads != want {
		wrong("it has %d uploads, want %d", uploads, want)
	}
	if hooks != 1 {
		wrong("it has %d webhooks", hooks)
	}
	return state, problems
}

// ask asks a node, as often as it takes while nothing is broken any more.
func (c *chaos) ask(base, query string, variables vars, into any) error {
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, base+"/graphql", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+chaosToken)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var a answer
	if err := json.NewDecoder(response.Body).Decode(&a); err != nil {
		return err
	}
	if len(a.Errors) > 0 {
		return fmt.Errorf("%+v", a.Errors)
	}
	return json.Unmarshal(a.Data, into)
}

func get(address string) ([]byte, error) {
	response, err := http.Get(address)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", response.StatusCode, content)
	}
	return content, err
}

// wordsOf are the words of each page of a PDF.
func wordsOf(pdf []byte) (pages [][]string, err error) {
	tool := exec.Command("pdftotext", "-", "-")
	tool.Stdin = bytes.NewReader(pdf)
	text, err := tool.Output()
	for page := range strings.SplitSeq(strings.TrimSuffix(string(text), "\f"), "\f") {
		pages = append(pages, strings.Fields(page))
	}
	return pages, err
}

// judgeEvents asks whether each change of each document was told once, in order.
func (c *chaos) judgeEvents() {
	for _, row := range c.must(`with told as (select subject_id, array_agg((body->>'changes')::integer order by xid, id) as changes from events group by subject_id),
			made as (select id, changes from submissions union all select id, changes from combined_submissions)
			select id || ' has changed ' || changes || ' times, and its events are ' || coalesce((select told.changes::text from told where subject_id = id), 'none') from made
			where (select told.changes from told where subject_id = id) is distinct from (select array_agg(n) from generate_series(1, changes) as n)`) {
		c.problem("%s", row)
	}
}

// judgeLogs looks for what no fault excuses.
func (c *chaos) judgeLogs() {
	for _, n := range c.nodes {
		text := n.log.String()
		for _, sign := range []string{"panic: ", "fatal error: ", "WARNING: DATA RACE"} {
			if at := strings.Index(text, sign); at >= 0 {
				c.problem("%s logged:\n%s", n.name, text[at:min(len(text), at+4000)])
			}
		}
	}
}

// judgeFolder compares the folder of own copies with what the rows name.
func (c *chaos) judgeFolder() {
	var keys []string
	if err := fs.WalkDir(os.DirFS(c.disk.documents()), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || entry.IsDir():
			return err
		case strings.HasPrefix(entry.Name(), ".writing-"):
			c.count("left: half a copy, until it is an hour old") // a node was killed while it wrote
		default:
			keys = append(keys, name)
		}
		return nil
	}); err != nil {
		c.t.Fatal(err)
	}
	named := c.must(`select blob_key from submissions where blob_key is not null union all select blob_key from combined_submissions where blob_key is not null`)
	for _, key := range named {
		if !slices.Contains(keys, key) {
			c.problem("the copy %s is not there", key)
		}
	}
	for range len(keys) - len(named) {
		c.count("left: a copy that no row names, until it is a day old") // of an attempt that was killed
	}
}

// judgeRemains looks for what stopped nodes left behind.
func (c *chaos) judgeRemains() {
	for _, n := range c.nodes {
		var left []int
		for one := range n.seen {
			if now, ok := identify(one.pid); ok && now == one {
				left = append(left, one.pid)
			}
		}
		gone(c.t, left)
		gone(c.t, processesOf(n.temp()))
		for _, dir := range []string{n.temp(), filepath.Join(n.dir, "data")} {
			entries, err := os.ReadDir(dir)
			if err != nil {
				c.problem("%v", err)
			}
			for _, entry := range entries {
				if owner, ok := ownerOf(entry.Name()); ok && syscall.Kill(owner, 0) == nil {
					c.count("left: a browser's folder whose owner's number was given to another process")
					continue
				}
				c.problem("%s was left behind in %s", entry.Name(), dir)
			}
		}
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		sessions := c.must(`select pid::text || ' ' || state || ' ' || query from pg_stat_activity where application_name = 'platen' and datname = 'platen'`)
		if len(sessions) == 0 {
			break
		}
		if time.Now().After(deadline) {
			c.problem("sessions are left behind: %v", pq.Array(sessions))
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// ownerOf is the process that made a browser's folder.
func ownerOf(name string) (pid int, ok bool) {
	_, err := fmt.Sscanf(name, "platen-chromium-%d-", &pid)
	return pid, err == nil
}
