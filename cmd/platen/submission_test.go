package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// create creates a submission and expects it to be accepted, without waiting for it.
func (c *client) create(token string, input vars) string {
	c.t.Helper()
	a := c.ask(token, `mutation ($input: CreateSubmissionInput!) { createSubmission(input: $input) { submission { id } `+userErrors+` } }`, vars{"input": input})
	var got struct {
		CreateSubmission struct{ Submission *struct{ ID string } }
	}
	if err := json.Unmarshal(a.Data, &got); err != nil || got.CreateSubmission.Submission == nil {
		c.t.Fatalf("%s %+v %v", a.Data, a.Errors, err)
	}
	return got.CreateSubmission.Submission.ID
}

func TestR3_9AnIdempotencyKeyStandsForOneCall(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	input := func(changes vars) vars {
		i := vars{"html": "<p>{{ n }}</p>", "data": vars{"n": 1, "m": vars{"b": 1, "a": 2}}, "password": "1234", "idempotencyKey": "invoice 4711"}
		for name, value := range changes {
			i[name] = value
		}
		return i
	}
	first := c.create(c.live, input(nil))
	if again := c.create(c.live, input(vars{"wait": 30})); again != first {
		t.Errorf("the same call, with another wait, made %s, want %s", again, first)
	}
	for name, change := range map[string]vars{
		"other data":     {"data": vars{"n": 2}},
		"other password": {"password": "1235"},
		"other expiry":   {"expiresIn": 60},
		"expiry by null": {"expiresIn": nil},
		"other output":   {"output": "PNG", "password": nil},
		"other HTML":     {"html": "<p>{{ n }}</p> "},
		"no data":        {"data": nil},
	} {
		if codes := codesOf(c.refused(c.live, input(change))); !slices.Equal(codes, []string{"input.idempotencyKey IDEMPOTENCY_KEY_REUSED"}) {
			t.Errorf("%s: %v", name, codes)
		}
	}
	// The tokens of an environment share keys; those of another one, and other accounts, do not.
	if made := c.create(c.test, input(nil)); made == first {
		t.Error("a test token was led to a live document by its key")
	}
	if other := newClient(t); other.create(other.live, input(nil)) == first {
		t.Error("another account was led to the document by its key")
	}
	if made := c.create(c.live, input(vars{"idempotencyKey": "invoice 4712"})); made == first {
		t.Error("another key led to the same document")
	}
	for name, key := range map[string]string{"empty": "", "long": strings.Repeat("ä", 256), "U+0000": "a\x00"} {
		if errs := c.refused(c.live, input(vars{"idempotencyKey": key})); len(errs) != 1 || !slices.Equal(errs[0].Path, []string{"input", "idempotencyKey"}) {
			t.Errorf("%s: %+v", name, errs)
		}
	}
	// After a day the key is free.
	if _, err := shared.db.SQL().ExecContext(t.Context(), `update idempotency_keys set created_at = created_at - interval '24 hours 1 second'
		where account_id = $1 and key = 'invoice 4711'`, c.account.ID); err != nil {
		t.Fatal(err)
	}
	next := c.create(c.live, input(vars{"data": vars{"n": 3}}))
	if next == first {
		t.Error("a key stands for its call for longer than a day")
	}
	if again := c.create(c.live, input(vars{"data": vars{"n": 3}})); again != next {
		t.Errorf("the key's next call: made %s, then %s", next, again)
	}
}

func TestR3_9FiftyEqualCallsAtOnceMakeOneDocument(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	made := make([]string, 50)
	batches := make([]string, 50)
	var wg sync.WaitGroup
	for i := range made {
		wg.Go(func() {
			made[i] = c.create(c.live, vars{"html": "<p>once</p>", "idempotencyKey": "once"})
			b, ids := c.batch(c.live, vars{"submissions": []vars{{"html": "<p>a</p>"}, {"html": "<p>b</p>"}}, "idempotencyKey": "once"})
			batches[i] = b.ID + strings.Join(ids, " ")
		})
	}
	wg.Wait()
	slices.Sort(made)
	slices.Sort(batches)
	if len(slices.Compact(made)) != 1 || len(slices.Compact(batches)) != 1 {
		t.Errorf("made %v and %v", made, batches)
	}
	var count struct{ Submissions struct{ TotalCount int } }
	c.do(`{ submissions { totalCount } }`, nil, &count)
	if count.Submissions.TotalCount != 3 {
		t.Errorf("%d submissions, want 1 and a batch of 2", count.Submissions.TotalCount)
	}
}

// expiring is what is asked of an expired document.
const expiring = `id state expired expiresAt downloadUrl sourceHtml sourceUrl data metadata file { sha256 byteSize } failure { stage code } actions { state failure { code } } revision`

type expired struct {
	ID, State              string
	Expired                bool
	ExpiresAt, DownloadURL *string
	SourceHTML, SourceURL  *string
	Data, Metadata         json.RawMessage
	File                   *struct {
		SHA256   string `json:"sha256"`
		ByteSize int
	}
	Failure *struct{ Stage, Code string }
	Actions []struct {
		State   string
		Failure *struct{ Code string }
	}
	Revision int
}

// expire expires a submission by hand.
func (c *client) expire(token, id string) (s *expired, errs []userError) {
	c.t.Helper()
	a := c.ask(token, `mutation ($id: ID!) { expireSubmission(id: $id) { submission { `+expiring+` } `+userErrors+` } }`, vars{"id": id})
	var got struct {
		ExpireSubmission struct {
			Submission *expired
			UserErrors []userError
		}
	}
	if err := json.Unmarshal(a.Data, &got); err != nil || len(a.Errors) > 0 {
		c.t.Fatalf("%s %+v %v", a.Data, a.Errors, err)
	}
	return got.ExpireSubmission.Submission, got.ExpireSubmission.UserErrors
}

// copies are the files of a document in the shared program's folder.
func copies(t *testing.T, id string) (files []string) {
	t.Helper()
	root := filepath.Join(shared.config.dataDir, "documents")
	if err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, id) {
			files = append(files, path)
		}
		if os.IsNotExist(err) {
			return nil // folders come and go meanwhile
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return files
}

// inputs counts what is kept in the database of what a document was made of.
func inputs(t *testing.T, id string) (rows int) {
	t.Helper()
	if err := shared.db.SQL().QueryRowContext(t.Context(), `select count(*) from submission_inputs where submission_id = $1`, id).Scan(&rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestR3_8ADocumentIsExpiredByHand(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "archive")
	c.integrate(server, "archive", nil)
	doc := c.final(c.create(c.live, vars{"html": "<p>secret {{ data.n }}</p>", "data": vars{"n": 1}, "metadata": vars{"m": "kept"}}))
	if len(copies(t, doc.ID)) != 1 || inputs(t, doc.ID) != 1 {
		t.Fatalf("before: %v", copies(t, doc.ID))
	}
	if _, errs := c.expire(c.test, doc.ID); len(errs) != 1 || errs[0].Code != "NOT_FOUND" {
		t.Errorf("a test token expires a live document: %+v", errs)
	}
	got, errs := c.expire(c.live, doc.ID)
	if len(errs) > 0 || got.State != "PROCESSED" || !got.Expired || got.DownloadURL != nil || got.SourceHTML != nil || string(got.Data) != "null" ||
		string(got.Metadata) != `{"m":"kept"}` || got.File == nil || got.File.SHA256 != doc.File.SHA256 || len(got.Actions) != 1 || got.Actions[0].State != "PROCESSED" ||
		got.Revision <= doc.Revision {
		t.Errorf("%+v %+v", got, errs)
	}
	if files := copies(t, doc.ID); len(files) > 0 || inputs(t, doc.ID) != 0 {
		t.Errorf("still there: %v", files)
	}
	if response, body := c.download(doc.DownloadURL); response.StatusCode != 404 {
		t.Errorf("an address from before answers %d %s", response.StatusCode, body)
	}
	if again, errs := c.expire(c.live, doc.ID); len(errs) > 0 || again.Revision != got.Revision {
		t.Errorf("expiring twice: %+v %+v", again, errs)
	}
	// The customer's copy stays: nothing but PutObject is ever asked of a bucket.
	if doc.Actions[0].Result == nil {
		t.Error("no copy was delivered before")
	}
	for name, id := range map[string]string{"missing": "sub_000000000000000000", "no id": "x", "another kind": c.template("T", "<p>")} {
		if _, errs := c.expire(c.live, id); len(errs) != 1 || errs[0].Code != "NOT_FOUND" {
			t.Errorf("%s: %+v", name, errs)
		}
	}
}

func TestR3_8WhatIsPendingEndsWhenItIsExpiredByHand(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	hook := newHook(t)
	c.hook(hook, nil)
	server := newS3(t, "archive")
	t.Cleanup(server.Hold("archive")) // it takes nothing, so that uploads stay PENDING
	c.integrate(server, "archive", nil)

	waiting := c.submit(vars{"html": "<p>waiting for its bucket</p>"})
	got, errs := c.expire(c.live, waiting.ID)
	if len(errs) > 0 || got.State != "PROCESSED" || !got.Expired {
		t.Fatalf("%+v %+v", got, errs)
	}
	ended := 0
	for _, a := range got.Actions {
		if a.State == "PENDING" {
			t.Errorf("an action is still PENDING: %+v", got.Actions)
		}
		if a.State == "FAILED" && a.Failure.Code == "EXPIRED" {
			ended++
		}
	}
	if ended == 0 {
		t.Errorf("%+v", got.Actions)
	}
	if files := copies(t, waiting.ID); len(files) > 0 {
		t.Errorf("still there: %v", files)
	}
	for _, a := range c.submission(waiting.ID).Actions {
		if a.Type == "AWS_S3_UPLOAD" {
			if errs := c.change(c.live, retryAction, vars{"id": a.ID}, nil); len(errs) != 1 || errs[0].Code != "CONFLICT" {
				t.Errorf("retrying the upload of an expired document: %+v", errs)
			}
		}
	}
	// One that is not made yet ends as FAILED, and its webhook tells of it.
	pending := c.create(c.live, vars{"html": "<p><script>while (true) {}</script></p>", "page": vars{"timeout": 20}})
	got, errs = c.expire(c.live, pending)
	if len(errs) > 0 || got.State != "FAILED" || !got.Expired || got.Failure == nil || got.Failure.Code != "EXPIRED" || len(got.Actions) != 1 {
		t.Errorf("%+v %+v", got, errs)
	}
	if doc := c.final(pending); doc.State != "FAILED" || doc.Failure.Code != "EXPIRED" || doc.Actions[0].State != "PROCESSED" {
		t.Errorf("%v", doc)
	}
}

func TestR3_8WhatCannotBeDeliveredAnyMoreIsForgottenAndNotTriedAgain(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "archive")
	integration := c.integrate(server, "missing", nil)
	address := strings.Replace(presign(t, server, "own.pdf", time.Hour), "X-Amz-Signature=", "X-Amz-Signature=0", 1)
	doc := c.final(c.create(c.live, vars{"html": "<p>x</p>", "presignedUpload": vars{"url": address}}))
	if len(doc.Actions) != 2 || doc.Actions[0].State != "FAILED" || doc.Actions[1].State != "FAILED" {
		t.Fatalf("%v", doc)
	}
	if _, errs := c.expire(c.live, doc.ID); len(errs) > 0 {
		t.Fatal(errs)
	}
	var kept int
	if err := shared.db.SQL().QueryRowContext(t.Context(), `select count(*) from actions where submission_id = $1 and presigned_upload is not null`, doc.ID).Scan(&kept); err != nil || kept > 0 {
		t.Errorf("%d presigned URLs are kept of an expired document, %v", kept, err)
	}
	var retried struct{ Count int }
	if errs := c.change(c.live, retryFailed, vars{"id": integration}, &retried); len(errs) > 0 || retried.Count != 0 {
		t.Errorf("retried %d uploads of an expired document, %+v", retried.Count, errs)
	}
	for i, a := range c.submission(doc.ID).Actions {
		if a.State != "FAILED" || a.Revision != doc.Actions[i].Revision {
			t.Errorf("%+v, before %+v", a, doc.Actions[i])
		}
	}
}

func TestR3_8ADocumentExpiresWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	for _, seconds := range []any{0, -1, 315360001} {
		if codes := codesOf(c.refused(c.live, vars{"html": "<p>", "expiresIn": seconds})); !slices.Equal(codes, []string{"input.expiresIn INVALID"}) {
			t.Errorf("expiresIn %v: %v", seconds, codes)
		}
	}
	// A template says it for its submissions, unless they say otherwise.
	template := c.createTemplate(vars{"name": "T", "content": vars{"html": "<p>"}, "expireAfter": 3600}).ID
	for name, test := range map[string]struct {
		input vars
		after time.Duration // 0: never
	}{
		"as the template says": {vars{}, time.Hour},
		"never":                {vars{"expiresIn": nil}, 0},
		"sooner":               {vars{"expiresIn": 60}, time.Minute},
	} {
		test.input["templateId"] = template
		var got struct {
			Submission struct{ CreatedAt, ExpiresAt *time.Time }
		}
		c.do(`query ($id: ID!) { submission(id: $id) { createdAt expiresAt } }`, vars{"id": c.create(c.live, test.input)}, &got)
		at := got.Submission.ExpiresAt
		if (at == nil) != (test.after == 0) || at != nil && at.Sub(*got.Submission.CreatedAt).Round(5*time.Second) != test.after {
			t.Errorf("%s: expires at %v, created at %v", name, at, got.Submission.CreatedAt)
		}
	}
	forever := c.create(c.live, vars{"html": "<p>", "expiresIn": nil})
	done := c.submit(vars{"html": "<p>done</p>", "expiresIn": 3600})
	server := newS3(t, "archive")
	t.Cleanup(server.Hold("archive")) // uploads stay PENDING
	c.integrate(server, "archive", nil)
	undelivered := c.submit(vars{"html": "<p>undelivered</p>", "expiresIn": 3600})
	overdue := c.submit(vars{"html": "<p>overdue</p>", "expiresIn": 3600})
	// Their time comes sooner than they were told.
	for id, ago := range map[string]string{done.ID: "1 second", undelivered.ID: "1 hour", overdue.ID: "25 hours"} {
		if _, err := shared.db.SQL().ExecContext(t.Context(), `update submissions set expires_at = now() - $2::interval where id = $1`, id, ago); err != nil {
			t.Fatal(err)
		}
	}
	state := func(id string) (s expired) {
		t.Helper()
		var got struct{ Submission expired }
		c.do(`query ($id: ID!) { submission(id: $id) { `+expiring+` } }`, vars{"id": id}, &got)
		return got.Submission
	}
	eventually(t, "the expiry of what is done, and of what waited a day", func() bool { return state(done.ID).Expired && state(overdue.ID).Expired })
	if files := append(copies(t, done.ID), copies(t, overdue.ID)...); len(files) > 0 || inputs(t, done.ID)+inputs(t, overdue.ID) > 0 {
		t.Errorf("still there: %v", files)
	}
	if got := state(overdue.ID); got.Actions[0].State != "FAILED" || got.Actions[0].Failure.Code != "EXPIRED" {
		t.Errorf("the upload that did not come through within a day: %+v", got.Actions)
	}
	if got := state(undelivered.ID); got.Expired || got.DownloadURL == nil || got.Actions[0].State != "PENDING" {
		t.Errorf("what its bucket did not take yet has to be kept for a day: %+v", got)
	}
	if got := state(forever); got.Expired || got.ExpiresAt != nil {
		t.Errorf("what was to be kept: %+v", got)
	}
}

// eventually waits for what no event tells of.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come about", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestR3_7SubmissionsAreFiltered(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	letter := c.template("Letter", "<p>x</p>")
	ids := map[string]string{
		"letter": c.create(c.live, vars{"templateId": letter, "metadata": vars{"customer": "acme", "n": 1}}),
		"test":   c.create(c.test, vars{"templateId": letter, "metadata": vars{"customer": "acme", "n": 1.0, "tags": []any{"a", vars{"y": 1, "x": 2}}}}),
		"html":   c.create(c.live, vars{"html": "<p>", "metadata": vars{"customer": "Acme", "n": "1"}}),
		"broken": c.create(c.live, vars{"html": "<img src='http://127.0.0.1:1/x.png'>", "metadata": vars{"customer": nil}}),
	}
	batch, of := c.batch(c.live, vars{"submissions": []vars{{"html": "<p>b</p>", "metadata": vars{"customer": "acme"}}}})
	ids["batch"] = of[0]
	for _, id := range ids {
		c.final(id)
	}
	names := map[string]string{}
	for name, id := range ids {
		names[id] = name
	}
	for _, test := range []struct {
		filter string
		want   []string
	}{
		{`{}`, []string{"batch", "broken", "html", "letter", "test"}},
		{fmt.Sprintf(`{templateId: %q}`, letter), []string{"letter", "test"}},
		{fmt.Sprintf(`{templateId: %q, test: false}`, letter), []string{"letter"}},
		{`{test: true}`, []string{"test"}},
		{`{states: [FAILED]}`, []string{"broken"}},
		{`{states: [FAILED, INVALID_DATA, FAILED]}`, []string{"broken"}},
		{`{states: [PROCESSED, FAILED], test: false}`, []string{"batch", "broken", "html", "letter"}},
		{`{states: [PENDING]}`, nil},
		{fmt.Sprintf(`{batchId: %q}`, batch.ID), []string{"batch"}},
		{`{metadata: {customer: "acme"}}`, []string{"batch", "letter", "test"}},
		{`{metadata: {customer: "acme", n: 1}}`, []string{"letter", "test"}},
		{`{metadata: {customer: "acme", n: 1e0}, test: true}`, []string{"test"}},
		{`{metadata: {n: "1"}}`, []string{"html"}},
		{`{metadata: {customer: null}}`, []string{"broken"}},
		{`{metadata: {tags: ["a", {x: 2, y: 1}]}}`, []string{"test"}},
		{`{metadata: {tags: [{x: 2, y: 1}, "a"]}}`, nil},
		{`{metadata: {missing: 1}}`, nil},
		{`{createdAt: {from: "2020-01-01T00:00:00Z", until: "2021-01-01T00:00:00Z"}}`, nil},
		{`{createdAt: {from: "0001-01-01T00:00:00+23:59", until: "9999-12-31T23:59:59.999999999-23:59"}}`, []string{"batch", "broken", "html", "letter", "test"}},
		{`{createdAt: {from: "2020-01-01T00:00:00Z"}, metadata: {customer: "acme"}, states: [PROCESSED]}`, []string{"batch", "letter", "test"}},
	} {
		var got struct {
			Submissions struct {
				Nodes      []struct{ ID string }
				TotalCount int
			}
		}
		c.do(`{ submissions(filter: `+test.filter+`) { nodes { id } totalCount } }`, nil, &got)
		var found []string
		for _, node := range got.Submissions.Nodes {
			found = append(found, names[node.ID])
		}
		slices.Sort(found)
		if !slices.Equal(found, test.want) || got.Submissions.TotalCount != len(test.want) {
			t.Errorf("%s: %v (%d), want %v", test.filter, found, got.Submissions.TotalCount, test.want)
		}
	}
	// Pages of a filter go both ways, also where several states are merged.
	query := `query ($after: String, $before: String, $first: Int, $last: Int) { submissions(first: $first, after: $after, last: $last, before: $before,
		filter: {states: [PROCESSED, FAILED], createdAt: {from: "2020-01-01T00:00:00Z"}}) { nodes { id } pageInfo { startCursor endCursor hasNextPage hasPreviousPage } } }`
	type page struct {
		Submissions struct {
			Nodes    []struct{ ID string }
			PageInfo struct {
				StartCursor, EndCursor       *string
				HasNextPage, HasPreviousPage bool
			}
		}
	}
	var forward, backward []string
	for arguments := (vars{"first": 2}); ; {
		var got page
		c.do(query, arguments, &got)
		for _, node := range got.Submissions.Nodes {
			forward = append(forward, node.ID)
		}
		if arguments = (vars{"first": 2, "after": got.Submissions.PageInfo.EndCursor}); !got.Submissions.PageInfo.HasNextPage {
			break
		}
	}
	for arguments := (vars{"last": 2}); ; {
		var got page
		c.do(query, arguments, &got)
		for i := len(got.Submissions.Nodes) - 1; i >= 0; i-- {
			backward = append(backward, got.Submissions.Nodes[i].ID)
		}
		if arguments = (vars{"last": 2, "before": got.Submissions.PageInfo.StartCursor}); !got.Submissions.PageInfo.HasPreviousPage {
			break
		}
	}
	slices.Reverse(backward)
	if len(forward) != 5 || !slices.Equal(forward, backward) {
		t.Errorf("forward %v, backward %v", forward, backward)
	}
	for _, bad := range []string{`{templateId: "x"}`, fmt.Sprintf(`{batchId: %q}`, letter), `{metadata: [1]}`} {
		if a := c.ask(c.live, `{ submissions(filter: `+bad+`) { nodes { id } } }`, nil); a.code() != "BAD_USER_INPUT" {
			t.Errorf("%s: %s %+v", bad, a.Data, a.Errors)
		}
	}
}
