package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"platen/delivery/s3test"
)

// mode is how a bucket behaves until further notice.
type mode struct {
	mu  sync.Mutex
	now s3test.Fault // nil: as it should
}

func (m *mode) set(f s3test.Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = f
}

func (m *mode) fault(s *s3test.Server, w http.ResponseWriter, r *http.Request) (done bool) {
	m.mu.Lock()
	now := m.now
	m.mu.Unlock()
	return now != nil && now(s, w, r)
}

// receiver takes webhooks, and remembers of which documents it was told.
type receiver struct {
	*httptest.Server
	failing atomic.Bool
	mu      sync.Mutex
	states  map[string]string // that it was told last, by the document's id
}

func newReceiver(t *testing.T) *receiver {
	h := &receiver{states: map[string]string{}}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Submission         *struct{ ID, State string }
			CombinedSubmission *struct{ ID, State string } `json:"combined_submission"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || h.failing.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if body.Submission != nil {
			h.states[body.Submission.ID] = body.Submission.State
		} else if body.CombinedSubmission != nil {
			h.states[body.CombinedSubmission.ID] = body.CombinedSubmission.State
		}
	}))
	t.Cleanup(h.Close)
	return h
}

// told is the state of a document as the receiver knows it, or "".
func (h *receiver) told(id string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.states[id]
}

// backlog is how many documents wait.
type backlog struct{ pending atomic.Int64 }

// most bounds what waits: documents that lie in a queue meet no fault.
const most = 60

// watchBacklog counts until ctx ends.
func (c *chaos) watchBacklog(ctx context.Context) *backlog {
	b := &backlog{}
	go func() {
		ticker := time.NewTicker(200 * time.Millisecond)
		defer ticker.Stop()
		for {
			var pending int64
			if err := c.db.QueryRowContext(ctx, `select (select count(*) from submissions where state = 'PENDING') + (select count(*) from combined_submissions where state = 'PENDING')`).Scan(&pending); err == nil {
				b.pending.Store(pending)
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}()
	return b
}

// kind is one of the calls that clients make.
type kind int

const (
	single kind = iota
	batch
	combination
)

var mutations = map[kind]string{
	single:      `mutation ($input: CreateSubmissionInput!) { made: createSubmission(input: $input) { it: submission { id } ` + userErrors + ` } }`,
	batch:       `mutation ($input: CreateSubmissionBatchInput!) { made: createSubmissionBatch(input: $input) { it: batch { id } submissionIds ` + userErrors + ` } }`,
	combination: `mutation ($input: CreateCombinedSubmissionInput!) { made: createCombinedSubmission(input: $input) { it: combinedSubmission { id } ` + userErrors + ` } }`,
}

// order is a call that is repeated until it is acknowledged.
type order struct {
	kind
	key       string
	input     vars
	parts     []*promise // of a combination: what it is made of
	documents []*promise // what it makes
	id        string     // of what was acknowledged
	refused   []userError
}

// promise is a document that was accepted.
type promise struct {
	id    string
	kind  kind     // single or combination
	texts []string // of its pages
	order *order
}

// actor is a client, whose calls are decided by a stream of its own.
type actor struct {
	c        *chaos
	name     string
	r        *rand.Rand
	http     *http.Client
	orders   []*order
	promises []*promise // submissions
}

func (c *chaos) newActor(i int) *actor {
	return &actor{c: c, name: fmt.Sprint("client-", i+1), r: c.stream(clientStream + uint64(i)), http: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{}}}
}

// work makes calls until ctx ends, the last one until it is acknowledged.
func (a *actor) work(ctx context.Context, waiting *backlog) {
	defer a.http.CloseIdleConnections()
	for {
		pause := between(a.r, 0, 300*time.Millisecond)
		o := a.decide()
		first := a.r.IntN(len(a.c.nodes))
		// A client has other things to do in between, and does not go on for ever while
		// nothing gets done.
		for time.Sleep(pause); waiting.pending.Load() >= most && ctx.Err() == nil; {
			time.Sleep(20 * time.Millisecond)
		}
		if ctx.Err() != nil {
			return
		}
		if !a.send(o, first) {
			return
		}
	}
}

// decide is the next call.
func (a *actor) decide() *order {
	n := len(a.orders) + 1
	o := &order{key: fmt.Sprintf("%s-%d", a.name, n)}
	switch roll := a.r.IntN(100); {
	case roll < 10 && len(a.orders) > 0: // again, although it was acknowledged
		return a.orders[a.r.IntN(len(a.orders))]
	case roll < 25:
		o.kind = batch
		var all []vars
		for i := range 2 + a.r.IntN(4) {
			text := fmt.Sprintf("%s-%d", o.key, i+1)
			all = append(all, a.letter(text))
			o.documents = append(o.documents, &promise{texts: []string{text}, order: o})
		}
		o.input = vars{"submissions": all}
	case roll < 45 && len(a.promises) > 1:
		o.kind = combination
		var ids []string
		whole := &promise{kind: combination, order: o}
		for range 2 + a.r.IntN(4) {
			// Mostly of what was made last, and may not be finished.
			part := a.promises[len(a.promises)-1-a.r.IntN(min(len(a.promises), 8))]
			o.parts = append(o.parts, part)
			ids = append(ids, part.id)
			whole.texts = append(whole.texts, part.texts...)
		}
		o.documents = []*promise{whole}
		o.input = vars{"sources": sourcesOf(ids...)}
	default:
		o.input = a.letter(o.key)
		o.documents = []*promise{{texts: []string{o.key}, order: o}}
		if a.r.IntN(3) == 0 {
			o.input["wait"] = 1 + a.r.IntN(3)
		}
	}
	o.input["idempotencyKey"] = o.key
	o.input["metadata"] = vars{"order": o.key}
	return o
}

// letter is a submission whose text names it. Some take a while.
func (a *actor) letter(text string) vars {
	letter := vars{"html": "<h1>Order</h1><p>{{ text }}</p>", "data": vars{"text": text}}
	if a.r.IntN(3) == 0 {
		letter["html"] = fmt.Sprintf("<p>{{ text }}</p><script>setTimeout(() => { window.done = true }, %d)</script>", 200+a.r.IntN(1300))
		letter["page"] = vars{"waitFor": vars{"expression": "window.done"}}
	}
	return letter
}

// send makes a call to one node or another until it is acknowledged.
func (a *actor) send(o *order, first int) bool {
	deadline := time.Now().Add(settleTime)
	for attempt := first; ; attempt++ {
		base := a.c.nodes[attempt%len(a.c.nodes)].address()
		wrong := "no node to ask"
		if base != "" {
			var over bool
			if over, wrong = a.call(base, o); over {
				return true
			}
		}
		if a.c.t.Context().Err() != nil {
			return false
		}
		if time.Now().After(deadline) {
			a.c.problem("%s gets no answer to %s: %s", a.name, o.key, wrong)
			return false
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// call makes a call once; over says that it need not be repeated.
func (a *actor) call(base string, o *order) (over bool, wrong string) {
	body, err := json.Marshal(map[string]any{"query": mutations[o.kind], "variables": vars{"input": o.input}})
	if err != nil {
		a.c.problem("%v", err)
		return true, ""
	}
	request, err := http.NewRequestWithContext(a.c.t.Context(), http.MethodPost, base+"/graphql", bytes.NewReader(body))
	if err != nil {
		a.c.problem("%v", err)
		return true, ""
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+chaosToken)
	response, err := a.http.Do(request)
	if err != nil {
		a.c.count("call without an answer")
		return false, err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		a.c.count("call without an answer")
		return false, err.Error()
	}
	var got answer
	var data struct {
		Made *struct {
			It            *struct{ ID string }
			SubmissionIds []string
			UserErrors    []userError
		}
	}
	err = json.Unmarshal(text, &got)
	if err == nil && len(got.Data) > 0 {
		err = json.Unmarshal(got.Data, &data)
	}
	switch {
	case err == nil && got.code() == "UNAVAILABLE":
		a.c.count("call answered " + got.code())
		return false, string(text)
	case err != nil || len(got.Errors) > 0 || data.Made == nil:
		a.c.problem("%s: %d %s", o.key, response.StatusCode, text)
		return true, ""
	case data.Made.It == nil && o.kind == combination && o.id == "":
		if o.refused == nil {
			o.refused = data.Made.UserErrors // to be judged once it is known what became of its parts
			a.note(o)
		}
		return true, ""
	case data.Made.It == nil:
		a.c.problem("%s is refused: %s", o.key, text)
		return true, ""
	}
	ids := data.Made.SubmissionIds
	if o.kind != batch {
		ids = []string{data.Made.It.ID}
	}
	if o.id != "" { // it was acknowledged before
		if before := idsOf(o.documents); data.Made.It.ID != o.id || !slices.Equal(ids, before) {
			a.c.problem("%s was acknowledged as %s %v, and then as %s %v", o.key, o.id, before, data.Made.It.ID, ids)
		}
		return true, ""
	}
	if len(ids) != len(o.documents) {
		a.c.problem("%s made %d documents, want %d", o.key, len(ids), len(o.documents))
		return true, ""
	}
	o.id = data.Made.It.ID
	for i, one := range o.documents {
		one.id = ids[i]
	}
	a.note(o)
	if o.kind != combination {
		a.promises = append(a.promises, o.documents...)
	}
	return true, ""
}

func (a *actor) note(o *order) {
	a.orders = append(a.orders, o)
	a.c.note("%s: %s %v %v", o.key, o.id, idsOf(o.documents), codesOf(o.refused))
}

func idsOf(promises []*promise) (ids []string) {
	for _, one := range promises {
		ids = append(ids, one.id)
	}
	return ids
}
