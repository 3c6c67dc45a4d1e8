package main

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// eventStream reads the events of an answer of Server-Sent Events.
type eventStream struct {
	t      *testing.T
	body   *bufio.Reader
	close  func() error
	header http.Header
}

// stream sends an operation and expects a stream of events.
func (c *client) stream(token, body string) *eventStream {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.base+"/graphql", strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "text/event-stream")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream; charset=utf-8" {
		c.t.Fatalf("%d %v", response.StatusCode, response.Header)
	}
	return &eventStream{c.t, bufio.NewReader(response.Body), response.Body.Close, response.Header}
}

// next reads the next event, comments left out: its name and its data.
func (s *eventStream) next() (event, data string, err error) {
	s.t.Helper()
	defer time.AfterFunc(patience, func() { _ = s.close() }).Stop() // then reading is an error
	for {
		line, err := s.body.ReadString('\n')
		if err != nil {
			return event, data, err
		}
		line = strings.TrimSuffix(line, "\n")
		field, value, _ := strings.Cut(line, ":")
		switch {
		case field == "event":
			event = strings.TrimPrefix(value, " ")
		case field == "data":
			data += strings.TrimPrefix(value, " ")
		case line == "" && event != "":
			return event, data, nil
		case field != "": // a comment has none
			s.t.Fatalf("a line %q", line)
		}
	}
}

// expect reads events that begin so.
func (s *eventStream) expect(want ...string) {
	s.t.Helper()
	for _, w := range want {
		event, data, err := s.next()
		if got := strings.TrimSpace(event + " " + data); err != nil || !strings.HasPrefix(got, w) {
			s.t.Fatalf("%q %v, want %q", got, err, w)
		}
	}
}

// ends expects the stream to end, as a stream that has said all, or cut off.
func (s *eventStream) ends(want error) {
	s.t.Helper()
	if event, data, err := s.next(); event != "" || !errors.Is(err, want) {
		s.t.Fatalf("%s %s %v, want the end: %v", event, data, err, want)
	}
}

func TestR7_4AStreamOfEventsTellsEachResultAndThenThatItIsComplete(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	doc := c.submit(vars{"html": "<p>x</p>"})
	s := c.stream(c.live, `{"query":"subscription { submissionUpdated(id: \"`+doc.ID+`\") { kind submission { id state } } }"}`)
	if s.header.Get("X-Accel-Buffering") != "no" || s.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", s.header)
	}
	s.expect(`next {"data":{"submissionUpdated":{"kind":"SNAPSHOT","submission":{"id":"`+doc.ID+`","state":"PROCESSED"}}}}`, "complete")
	s.ends(io.EOF)
	// A feed, which has no end of its own.
	c = newClient(t)
	s = c.stream(c.live, `{"query":"subscription { documentFeed { __typename ... on DocumentChange { document { id state } } } }"}`)
	s.expect(`next {"data":{"documentFeed":{"__typename":"FeedReady"}}}`)
	doc = c.submit(vars{"html": "<p>line\u2028break</p>", "metadata": vars{"a": "b\nc"}})
	s.expect(`next {"data":{"documentFeed":{"__typename":"DocumentChange","document":{"id":"`+doc.ID+`","state":"PENDING"}}}}`,
		`next {"data":{"documentFeed":{"__typename":"DocumentChange","document":{"id":"`+doc.ID+`","state":"PROCESSED"}}}}`)
	// Queries and mutations have one result.
	s = c.stream(c.live, `{"query":"{ account { id } }"}`)
	s.expect(`next {"data":{"account":{"id":"`+c.account.ID+`"}}}`, "complete")
	s.ends(io.EOF)
	// JSON that was sent with line breaks between its values comes in one line.
	s = c.stream(c.live, `{"query":"mutation ($d: JSON) { createSubmission(input: {html: \"x\", data: $d}) { submission { data } userErrors { message } } }","variables":{"d":{
		"a": [1,
		2]}}}`)
	event, data, err := s.next()
	if event != "next" || err != nil || !strings.HasPrefix(data, `{"data":{"createSubmission":{"submission":{"data":{`) || !strings.Contains(data, "2]") {
		t.Errorf("%s %q %v", event, data, err)
	}
	s.expect("complete")
}

func TestR7_4AStreamOfEventsTellsWhatIsWrongWithARequest(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	for name, test := range map[string]struct{ token, body, code string }{
		"no document":     {c.live, `{"query":"{"}`, "GRAPHQL_PARSE_FAILED"},
		"unknown field":   {c.live, `{"query":"{ x }"}`, "GRAPHQL_VALIDATION_FAILED"},
		"no token":        {"", `{"query":"subscription { documentFeed { __typename } }"}`, "UNAUTHENTICATED"},
		"not there":       {c.live, `{"query":"subscription { submissionUpdated(id: \"sub_xxxxxxxxxxxxxxxxxx\") { kind } }"}`, "NOT_FOUND"},
		"no cursor":       {c.live, `{"query":"subscription { documentFeed(after: \"x\") { __typename } }"}`, "BAD_USER_INPUT"},
		"unknown by hash": {c.live, `{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"x"}}}`, "PERSISTED_QUERY_NOT_FOUND"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := (&client{t: t, base: c.base}).stream(test.token, test.body)
			event, data, err := s.next()
			if event != "next" || err != nil || !strings.Contains(data, `"code":"`+test.code+`"`) {
				t.Errorf("%s %s %v, want %s", event, data, err, test.code)
			}
			s.expect("complete")
			s.ends(io.EOF)
		})
	}
	// Without a request there is no stream.
	if _, a := c.request(http.MethodPost, "", `{}`, "Content-Type", "application/json", "Accept", "text/event-stream"); a.Status != http.StatusBadRequest {
		t.Errorf("no query: %d", a.Status)
	}
}

func TestR7_4AStreamOfEventsThatIsCutOffDoesNotSayComplete(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	const feed = `{"query":"subscription { documentFeed { __typename } }"}`
	s := c.stream(c.test, feed)
	s.expect("next")
	start := time.Now()
	c.do(`mutation ($id: ID!) { revokeApiToken(id: $id) { apiToken { id } } }`, vars{"id": tokenID(t, c.test)}, &struct{}{})
	s.ends(io.ErrUnexpectedEOF)
	if took := time.Since(start); took > 5*time.Second { // R1.2
		t.Errorf("after a token was revoked, it took %v", took)
	}
	// A node that is told to stop.
	p := startProgram(t, emptyFolder(t), testKey, "PLATEN_ROLES=api", "PLATEN_BOOTSTRAP_LIVE_TOKEN=live-token-of-the-drained-node",
		"DATABASE_URL="+dsnIn(shared.config.dataDir+"/postgres", newDatabase(t)), "PLATEN_BLOB_URL=file://"+emptyFolder(t))
	drained := &client{t: t, base: p.baseURL}
	s = drained.stream("live-token-of-the-drained-node", feed)
	s.expect("next")
	p.server.Drain()
	s.ends(io.ErrUnexpectedEOF)
	response, a := drained.request(http.MethodPost, "", feed, "Content-Type", "application/json", "Accept", "text/event-stream", "Authorization", "Bearer live-token-of-the-drained-node")
	if a.Status != http.StatusServiceUnavailable || a.code() != "UNAVAILABLE" || response.Header.Get("Retry-After") == "" {
		t.Errorf("a new stream on a node that stops: %d %+v", a.Status, a.Errors)
	}
}
