package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

type batchSeen struct {
	ID, State                                             string
	Test                                                  bool
	TotalCount, PendingCount, ProcessedCount, FailedCount int
	CompletionPercentage                                  float64
	ProcessedAt                                           *string
	Metadata                                              json.RawMessage
	Revision                                              int
	Submissions                                           struct {
		Nodes      []struct{ ID, State string }
		TotalCount int
		PageInfo   struct {
			HasNextPage bool
			EndCursor   string
		}
	}
}

const batchFields = `id state test totalCount pendingCount processedCount failedCount completionPercentage processedAt metadata revision`

const createBatch = `mutation ($input: CreateSubmissionBatchInput!) { createSubmissionBatch(input: $input) { batch { ` + batchFields + ` } submissionIds ` + userErrors + ` } }`

type batchMade struct {
	CreateSubmissionBatch struct {
		Batch         *batchSeen
		SubmissionIds []string
		UserErrors    []userError
	}
}

// batch creates a batch with a token, and expects it to be accepted.
func (c *client) batch(token string, input vars) (batchSeen, []string) {
	c.t.Helper()
	a := c.ask(token, createBatch, vars{"input": input})
	var got batchMade
	if err := json.Unmarshal(a.Data, &got); err != nil || got.CreateSubmissionBatch.Batch == nil {
		c.t.Fatalf("%s %+v %v", a.Data, a.Errors, err)
	}
	return *got.CreateSubmissionBatch.Batch, got.CreateSubmissionBatch.SubmissionIds
}

// finalBatch follows a batch to its end, and returns all that it was told.
func (c *client) finalBatch(token, id string) (seen []batchSeen) {
	c.t.Helper()
	s := c.subscribe(token, `subscription ($id: ID!) { submissionBatchUpdated(id: $id) { kind batch { `+batchFields+` } } }`, vars{"id": id})
	for {
		var event struct {
			SubmissionBatchUpdated struct {
				Kind  string
				Batch batchSeen
			}
		}
		if !s.next(&event) {
			return seen
		}
		if kind := event.SubmissionBatchUpdated.Kind; (kind == "SNAPSHOT") != (len(seen) == 0) {
			c.t.Errorf("event %d is a %s", len(seen), kind)
		}
		seen = append(seen, event.SubmissionBatchUpdated.Batch)
	}
}

func TestR3_6ABatchIsAcceptedWholeAndItsProgressIsFollowed(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	template := c.template("Letter", "<p>To {{ name }}</p>")
	var submissions []vars
	for i := range 40 {
		one := vars{"data": vars{"name": fmt.Sprint("person ", i)}, "metadata": vars{"n": i}}
		if i == 7 {
			one = vars{"html": "<img src='http://127.0.0.1:1/missing.png'>"} // an address that may not be reached
		}
		submissions = append(submissions, one)
	}
	made, ids := c.batch(c.live, vars{"templateId": template, "submissions": submissions, "metadata": vars{"run": "nightly"}})
	if made.State != "PENDING" || made.TotalCount != 40 || made.PendingCount != 40 || made.Test || string(made.Metadata) != `{"run":"nightly"}` || len(ids) != 40 {
		t.Fatalf("%+v %d", made, len(ids))
	}
	seen := c.finalBatch(c.live, made.ID)
	last := seen[len(seen)-1]
	if last.State != "FAILED" || last.ProcessedCount != 39 || last.FailedCount != 1 || last.PendingCount != 0 || last.CompletionPercentage != 100 || last.ProcessedAt == nil {
		t.Errorf("at the end: %+v", last)
	}
	for i := range seen[1:] {
		if seen[i+1].Revision <= seen[i].Revision || seen[i+1].PendingCount >= seen[i].PendingCount {
			t.Errorf("progress goes back: %+v after %+v", seen[i+1], seen[i])
		}
		if (seen[i].State == "PENDING") != (seen[i].PendingCount > 0) || (seen[i].ProcessedAt != nil) != (seen[i].PendingCount == 0) {
			t.Errorf("%+v", seen[i])
		}
	}
	// Its submissions are read in the order in which they were given, by pages.
	query := `query ($id: ID!, $after: String, $states: [DocumentState!]) { submissionBatch(id: $id) { submissions(first: 15, after: $after, states: $states) {
		nodes { id state } totalCount pageInfo { hasNextPage endCursor } } } }`
	read := func(states any) (listed []string) {
		for after, more := any(nil), true; more; {
			var got struct{ SubmissionBatch batchSeen }
			c.do(query, vars{"id": made.ID, "after": after, "states": states}, &got)
			for _, node := range got.SubmissionBatch.Submissions.Nodes {
				listed = append(listed, node.ID)
			}
			after, more = got.SubmissionBatch.Submissions.PageInfo.EndCursor, got.SubmissionBatch.Submissions.PageInfo.HasNextPage
		}
		return listed
	}
	if listed := read(nil); !slices.Equal(listed, ids) {
		t.Errorf("listed %v, want %v", listed, ids)
	}
	if failed := read([]string{"FAILED", "INVALID_DATA"}); !slices.Equal(failed, ids[7:8]) {
		t.Errorf("failed: %v, want %v", failed, ids[7:8])
	}
	var of struct {
		Submission struct{ Batch struct{ ID string } }
		Node       struct{ ID string }
		Batches    struct {
			Nodes      []struct{ ID string }
			TotalCount int
		}
	}
	c.do(`query ($id: ID!, $batch: ID!) { submission(id: $id) { batch { id } } node(id: $batch) { id } batches: submissionBatches { nodes { id } totalCount } }`,
		vars{"id": ids[3], "batch": made.ID}, &of)
	if of.Submission.Batch.ID != made.ID || of.Node.ID != made.ID || len(of.Batches.Nodes) != 1 || of.Batches.TotalCount != 1 {
		t.Errorf("%+v", of)
	}
	// Each one's document is its own.
	doc := c.submission(ids[33])
	if _, pdf := c.download(doc.DownloadURL); !strings.Contains(text(t, pdf), "To person 33") {
		t.Errorf("document 33 says %q", text(t, pdf))
	}
}

func TestR3_6IfOneOfABatchIsRefusedNoneIsMade(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	template := c.template("Letter", "<p>{{ name }}</p>")
	good := vars{"templateId": template}
	thousandAndOne := slices.Repeat([]vars{good}, 1001)
	for name, test := range map[string]struct {
		token string
		input vars
		want  []string
	}{
		"none":                 {c.live, vars{"submissions": []vars{}}, []string{"input.submissions REQUIRED"}},
		"too many":             {c.live, vars{"submissions": thousandAndOne}, []string{"input.submissions TOO_LARGE"}},
		"one without a source": {c.live, vars{"submissions": []vars{good, {}}}, []string{"input.submissions.1 INVALID"}},
		"two mistakes":         {c.live, vars{"submissions": []vars{{"html": ""}, good, {"html": "{{"}}}, []string{"input.submissions.0.html REQUIRED", "input.submissions.2.html TEMPLATE_INVALID"}},
		"a missing template":   {c.live, vars{"templateId": "tpl_000000000000000000", "submissions": []vars{{}, {"html": "<p>"}}}, []string{"input.templateId NOT_FOUND"}},
		"what belongs to the whole": {c.live, vars{"submissions": []vars{{"html": "<p>", "test": true, "wait": 1, "idempotencyKey": "k"}}},
			[]string{"input.submissions.0.idempotencyKey INVALID", "input.submissions.0.test INVALID", "input.submissions.0.wait INVALID"}},
		"a live one by a test token": {c.test, vars{"test": false, "submissions": []vars{good}}, []string{"input.test FORBIDDEN"}},
		"metadata":                   {c.live, vars{"metadata": []int{1}, "submissions": []vars{good}}, []string{"input.metadata INVALID"}},
		"expiry":                     {c.live, vars{"expiresIn": 0, "submissions": []vars{good}}, []string{"input.expiresIn INVALID"}},
	} {
		a := c.ask(test.token, createBatch, vars{"input": test.input})
		var got batchMade
		if err := json.Unmarshal(a.Data, &got); err != nil || got.CreateSubmissionBatch.Batch != nil {
			t.Errorf("%s: %s %+v", name, a.Data, a.Errors)
			continue
		}
		if codes := codesOf(got.CreateSubmissionBatch.UserErrors); !slices.Equal(codes, test.want) {
			t.Errorf("%s: %v, want %v", name, codes, test.want)
		}
	}
	var left struct {
		Submissions, SubmissionBatches struct{ TotalCount int }
	}
	c.do(`{ submissions { totalCount } submissionBatches { totalCount } }`, nil, &left)
	if left.Submissions.TotalCount != 0 || left.SubmissionBatches.TotalCount != 0 {
		t.Errorf("refused batches left %+v", left)
	}
}

// codesOf are path and code of each error, sorted.
func codesOf(errs []userError) []string {
	codes := make([]string, len(errs))
	for i, e := range errs {
		codes[i] = strings.Join(e.Path, ".") + " " + e.Code
	}
	slices.Sort(codes)
	return codes
}

// Each submission keeps a copy of the draft that it uses, so that a short call could ask
// for gigabytes.
func TestR3_6ABatchOfLargeDraftsIsRefused(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	draft := c.createTemplate(vars{"name": "Large", "content": vars{"html": "<p>" + strings.Repeat("x", 2_000_000)}}).ID
	of := func(n int) vars {
		return vars{"templateId": draft, "test": true, "submissions": slices.Repeat([]vars{{"draft": true}}, n)}
	}
	var got batchMade
	c.do(createBatch, vars{"input": of(1000)}, &got)
	if codes := codesOf(got.CreateSubmissionBatch.UserErrors); !slices.Equal(codes, []string{"input.submissions TOO_LARGE"}) {
		t.Errorf("2 GB of drafts: %v", codes)
	}
	if made, _ := c.batch(c.live, of(2)); made.TotalCount != 2 {
		t.Errorf("%+v", made)
	}
}

func TestR3_6AThousandAreAcceptedInOneTransaction(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	// None of the data is valid, so that a thousand come to their end without a browser.
	template := c.createTemplate(vars{"name": "Letter", "content": vars{"html": "<p>{{ n }}</p>", "schema": vars{"required": []string{"name"}}}}).ID
	submissions := make([]vars, 1000)
	for i := range submissions {
		submissions[i] = vars{"data": vars{"n": i}}
	}
	made, ids := c.batch(c.live, vars{"templateId": template, "submissions": submissions})
	if made.TotalCount != 1000 || len(ids) != 1000 {
		t.Fatalf("%+v, %d ids", made, len(ids))
	}
	var transactions, jobs int
	if err := shared.db.SQL().QueryRowContext(t.Context(), `select count(distinct xid) from events where subject_id = any(select id from submissions where batch_id = $1)
		and action_id is null and body->>'state' = 'PENDING'`, made.ID).Scan(&transactions); err != nil || transactions != 1 {
		t.Errorf("accepted by %d transactions, %v", transactions, err)
	}
	if err := shared.db.SQL().QueryRowContext(t.Context(), `select count(*) from river.river_job where kind = 'render_submission'
		and args->>'submission_id' = any(select id from submissions where batch_id = $1)`, made.ID).Scan(&jobs); err != nil || jobs != 1000 {
		t.Errorf("%d jobs, %v", jobs, err)
	}
	seen := c.finalBatch(c.live, made.ID)
	if last := seen[len(seen)-1]; last.State != "FAILED" || last.FailedCount != 1000 {
		t.Errorf("at the end: %+v", last)
	}
}

func TestR1_2ATestTokensBatchIsATest(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	live, _ := c.batch(c.live, vars{"submissions": []vars{{"html": "<p>live</p>"}}})
	test, ids := c.batch(c.test, vars{"submissions": []vars{{"html": "<p>test</p>"}, {"html": "<p>test</p>"}}})
	if live.Test || !test.Test {
		t.Errorf("live %+v, test %+v", live, test)
	}
	c.finalBatch(c.test, test.ID)
	a := c.ask(c.test, `query ($live: ID!, $test: ID!) { live: submissionBatch(id: $live) { id } test: submissionBatch(id: $test) { submissions { nodes { id test } } } submissionBatches { totalCount } }`,
		vars{"live": live.ID, "test": test.ID})
	want := fmt.Sprintf(`{"live":null,"test":{"submissions":{"nodes":[{"id":%q,"test":true},{"id":%q,"test":true}]}},"submissionBatches":{"totalCount":1}}`, ids[0], ids[1])
	if string(a.Data) != want {
		t.Errorf("a test token sees %s, want %s", a.Data, want)
	}
	s := c.subscribe(c.test, `subscription ($id: ID!) { submissionBatchUpdated(id: $id) { kind } }`, vars{"id": live.ID})
	if f := s.read(); !strings.Contains(string(f.Payload), "NOT_FOUND") {
		t.Errorf("a test token follows a live batch: %s", f.Payload)
	}
}

func TestAFloodKeepsNoOtherAccountWaiting(t *testing.T) {
	t.Parallel()
	flood, other := newClient(t), newClient(t)
	batch, ids := flood.batch(flood.live, vars{"submissions": slices.Repeat([]vars{{"html": "<p>x</p>"}}, 150)})
	doc := other.submit(vars{"html": "<p>y</p>"})
	var before int
	if err := shared.db.SQL().QueryRowContext(t.Context(), `select count(*) from submissions where batch_id = $1 and finished_at < $2`, batch.ID, doc.ProcessedAt).Scan(&before); err != nil {
		t.Fatal(err)
	}
	if before > 75 {
		t.Errorf("%d of a batch of %d were made before another account's one document", before, len(ids))
	}
	flood.finalBatch(flood.live, batch.ID)
}
