package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// admitted creates a submission, and tells after how many seconds to come back if the
// queue is full.
func (c *client) admitted(mutation string, input vars) (made string, retryAfter int) {
	c.t.Helper()
	field, fields, _ := strings.Cut(mutation, " ")
	kind := strings.ToUpper(field[:1]) + field[1:] + "Input"
	a := c.ask(c.live, `mutation ($input: `+kind+`!) { `+field+`(input: $input) { `+fields+` userErrors { __typename code path message ... on QueueFullError { retryAfter } } } }`, vars{"input": input})
	var got map[string]struct {
		UserErrors []struct {
			Typename   string `json:"__typename"`
			Code       string
			Path       []string
			RetryAfter int
		}
		Submission, Batch, CombinedSubmission *struct{ ID string }
	}
	if err := json.Unmarshal(a.Data, &got); err != nil || len(a.Errors) > 0 {
		c.t.Fatalf("%s %+v %v", a.Data, a.Errors, err)
	}
	answer := got[field]
	for _, one := range []*struct{ ID string }{answer.Submission, answer.Batch, answer.CombinedSubmission} {
		if one != nil {
			return one.ID, 0
		}
	}
	if e := answer.UserErrors; len(e) != 1 || e[0].Typename != "QueueFullError" || e[0].Code != "QUEUE_FULL" || e[0].Path != nil || e[0].RetryAfter < 1 {
		c.t.Fatalf("refused with %s", a.Data)
	}
	return "", answer.UserErrors[0].RetryAfter
}

func TestAFullQueueRefusesWholeCallsAndLosesNothing(t *testing.T) {
	t.Parallel()
	environ := append(cluster(t, "live-token-of-the-full-queue"), "PLATEN_QUEUE_LIMIT=8", "PLATEN_ROLES=api")
	p := startProgram(t, emptyFolder(t), environ...) // nobody works yet
	first, second, third := newClientOf(t, p), newClientOf(t, p), newClientOf(t, p)
	const single, batch, combined = `createSubmission submission { id }`, `createSubmissionBatch batch { id }`, `createCombinedSubmission combinedSubmission { id }`
	page := func(key string) vars { return vars{"html": "<p>x</p>", "idempotencyKey": key} }

	kept, _ := first.admitted(single, page("kept"))
	if id, _ := first.admitted(batch, vars{"submissions": []vars{{"html": "1"}, {"html": "2"}, {"html": "3"}, {"html": "4"}}}); id != "" {
		t.Error("a batch is accepted that takes more than an account may have")
	}
	if id, _ := first.admitted(batch, vars{"submissions": []vars{{"html": "1"}, {"html": "2"}}}); id == "" {
		t.Error("a batch is refused for which there is room: the refused one has left something")
	}
	whole, _ := first.admitted(combined, vars{"sources": []vars{{"submissionId": kept}}})
	if whole == "" {
		t.Error("the fourth document is refused")
	}
	for mutation, input := range map[string]vars{single: page("late"), combined: {"sources": []vars{{"submissionId": kept}}}} {
		if id, _ := first.admitted(mutation, input); id != "" {
			t.Errorf("%s: an account has more than half of what may wait", mutation)
		}
	}
	// Who asks again what was accepted is told so.
	if again, _ := first.admitted(single, page("kept")); again != kept {
		t.Errorf("a repeated call made %q, want %s", again, kept)
	}
	for n := range 4 {
		if id, _ := second.admitted(single, vars{"html": fmt.Sprint(n)}); id == "" {
			t.Errorf("another account's document %d is refused", n)
		}
	}
	if id, _ := third.admitted(single, vars{"html": "x"}); id != "" {
		t.Error("more wait than may, in all")
	}

	// What was accepted is made, and then there is room again: also for the call that was refused.
	worker := startProgram(t, emptyFolder(t), append(environ, "PLATEN_ROLES=worker")...)
	becomes(t, worker, http.StatusOK, patience)
	if end := first.finalCombined(first.live, whole); end.State != "PROCESSED" {
		t.Errorf("%v", end)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) { // as callers do, but sooner
		id, after := first.admitted(single, page("late"))
		if id != "" {
			if end := first.final(id); end.State != "PROCESSED" {
				t.Errorf("%v", end)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the queue stays full: come back in %d s", after)
		}
	}
}

func TestATokenThatAsksTooOftenIsToldWhenToComeBack(t *testing.T) {
	t.Parallel()
	p := startProgram(t, emptyFolder(t), append(cluster(t, "live-token-of-the-rate-limit"), "PLATEN_ROLES=api", "PLATEN_RATE_LIMIT=3")...)
	c := newClientOf(t, p)
	const query = `{ account { name } }`
	exhaust := func() {
		t.Helper()
		for n := 0; ; n++ {
			response, a := c.request(http.MethodPost, "", `{"query":"`+query+`"}`, "Content-Type", "application/json", "Authorization", "Bearer "+c.live,
				"X-Forwarded-For", fmt.Sprint("203.0.113.", n), "X-Real-Ip", fmt.Sprint("203.0.113.", n), "Forwarded", fmt.Sprint("for=203.0.113.", n)) // T18: what anybody can claim counts for nothing
			if response.StatusCode == http.StatusOK && n < 50 {
				continue
			}
			if response.StatusCode != http.StatusTooManyRequests || response.Header.Get("Retry-After") != "1" || a.code() != "RATE_LIMITED" {
				t.Fatalf("request %d is answered with %d %s %+v", n, response.StatusCode, response.Header, a.Errors)
			}
			if n < 6 {
				t.Errorf("refused after %d requests; twice the limit may come at once", n)
			}
			return
		}
	}
	socket := c.acknowledged(c.live)
	exhaust()
	socket.ask("1", query)
	socket.hear(`{"id":"1","type":"error","payload":[{"message":"...","extensions":{"code":"RATE_LIMITED","retryAfter":1}}]}`)
	if a := c.ask(c.test, query, nil); a.Status != http.StatusOK {
		t.Errorf("another token: %d %+v", a.Status, a.Errors)
	}
	time.Sleep(time.Second) // as it was told
	if a := c.ask(c.live, query, nil); a.Status != http.StatusOK {
		t.Errorf("after a second: %d %+v", a.Status, a.Errors)
	}
}

func TestASingleDocumentStartsWithinTwoRendersOfAnothersFiveThousand(t *testing.T) {
	t.Parallel()
	environ := append(cluster(t, "live-token-of-the-flood"), "PLATEN_RATE_LIMIT=0")
	p := startProgram(t, emptyFolder(t), append(environ, "PLATEN_ROLES=api")...)
	flood, single := newClientOf(t, p), newClientOf(t, p)
	thousand := make([]vars, 1000)
	for i := range thousand {
		thousand[i] = vars{"html": "<p>flood</p>"}
	}
	for range 5 {
		flood.batch(flood.live, vars{"submissions": thousand})
	}
	worker := startProgram(t, emptyFolder(t), append(environ, "PLATEN_ROLES=worker")...)
	for range 5 {
		id := single.create(single.live, vars{"html": "<p>single</p>"})
		accepted := time.Now()
		doc := single.final(id)
		var between, waiting int
		if err := worker.db.SQL().QueryRowContext(t.Context(), `select count(*), (select count(*) from submissions where state = 'PENDING' and account_id = $3) from river.river_job
			where kind = 'render_submission' and args->>'account_id' = $3 and attempted_at > $2
				and attempted_at < (select attempted_at from river.river_job where kind = 'render_submission' and args->>'submission_id' = $1)`, id, accepted, flood.account.ID).Scan(&between, &waiting); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d of the others began first, %d wait", between, waiting)
		if doc.State != "PROCESSED" || between > 2 || waiting < 4000 {
			t.Errorf("%s: %d renders of the flood began before it, want 2 at most; %d wait", doc.State, between, waiting)
		}
	}
}

// The short form has more documents than a node has deliveries at a time: were the dead
// bucket let to hold them all, the other's would wait a minute for one to be given up.
// What it allows for is what two busy cores add, which is no part of that minute. The
// figure is that of the long form: TEST_LONG=1 go test ./cmd/platen -run TestR6_4ADead -v
func TestR6_4ADeadBucketKeepsAnothersDeliveriesAtTheirPace(t *testing.T) {
	t.Parallel()
	rounds, each, slack := 1, deliveries*5/4, 10*time.Second
	if os.Getenv("TEST_LONG") != "" {
		rounds, each, slack = 10, 25, 0
	}
	c := newClient(t)
	server := newS3(t, "sometimes", "alive")
	c.integrate(server, "sometimes", nil)
	alive := c.integrate(server, "alive", nil)
	var with, without []time.Duration
	for round := range 2 * rounds {
		times, release := &without, func() {}
		if round%2 == 1 {
			times, release = &with, server.Hold("sometimes")
		}
		documents := make([]vars, each)
		for i := range documents {
			documents[i] = vars{"html": "<p>x</p>"}
		}
		_, ids := c.batch(c.live, vars{"submissions": documents})
		for _, id := range ids {
			var took float64
			await := func() bool {
				err := shared.db.SQL().QueryRowContext(t.Context(), `select extract(epoch from a.attempted_at - s.processed_at) from submissions as s join actions as a on a.submission_id = s.id
					where s.id = $1 and a.integration_id = $2 and a.state = 'PROCESSED'`, id, alive).Scan(&took)
				return err == nil
			}
			for deadline := time.Now().Add(patience); !await(); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("it is not delivered")
				}
			}
			*times = append(*times, time.Duration(took*float64(time.Second)))
		}
		release()
	}
	p95 := func(of []time.Duration) time.Duration {
		slices.Sort(of)
		return of[len(of)*95/100]
	}
	a, b := p95(without), p95(with)
	t.Logf("p95 of %d deliveries each: %v, and %v beside a dead bucket: %.2f times", len(with), a, b, float64(b)/float64(a))
	if b > a*3/2+slack {
		t.Errorf("deliveries take %v beside a dead bucket, %v without (p95)", b, a)
	}
}
