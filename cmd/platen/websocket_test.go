package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// These tests are the protocol graphql-transport-ws, sentence by sentence
// (https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md), and what RFC 6455 and
// Platen's limits add to it. They speak in frames: a client library would forgive too much.
//
// What must not come is never waited for. The server answers a ping in the order of what
// it reads, so whatever a message causes at once has come before the pong; and each
// conversation ends with a close frame, up to whose answer every frame is looked at.

// socket is a websocket whose frames a test says and hears. Several goroutines may say.
type socket struct {
	t    *testing.T
	conn *websocket.Conn
	tail *tail
	mu   sync.Mutex // of saying

	pings int
	words *strings.Replacer // for a script
}

// tail remembers the end of what was read from a connection.
type tail struct {
	net.Conn
	last []byte
}

func (t *tail) Read(into []byte) (int, error) {
	n, err := t.Conn.Read(into)
	t.last = append(t.last, into[:n]...)
	t.last = t.last[max(0, len(t.last)-200):]
	return n, err
}

// openSocket opens a websocket that speaks the protocol and has said nothing yet.
func (c *client) openSocket() *socket {
	c.t.Helper()
	return c.upgrade([]string{"graphql-transport-ws"}, nil)
}

// upgrade opens a websocket with these subprotocols and headers.
func (c *client) upgrade(protocols []string, header http.Header) *socket {
	c.t.Helper()
	var end *tail
	dialer := websocket.Dialer{Subprotocols: protocols, NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		end = &tail{Conn: conn}
		return end, err
	}}
	conn, _, err := dialer.DialContext(c.t.Context(), "ws"+strings.TrimPrefix(c.base, "http")+"/graphql", header)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	return &socket{t: c.t, conn: conn, tail: end, words: strings.NewReplacer("{live}", c.live, "{test}", c.test)}
}

// acknowledged opens a websocket with a token.
func (c *client) acknowledged(token string) *socket {
	c.t.Helper()
	s := c.openSocket()
	s.say(`{"type":"connection_init","payload":{"authorization":"Bearer ` + token + `"}}`)
	s.hear(`{"type":"connection_ack"}`)
	return s
}

// say sends a message.
func (s *socket) say(text string) {
	s.t.Helper()
	s.frame(websocket.TextMessage, []byte(text))
}

func (s *socket) frame(kind int, content []byte) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.conn.WriteMessage(kind, content); err != nil {
		s.t.Fatalf("saying %.200q: %v", content, err)
	}
}

// ask subscribes.
func (s *socket) ask(id, query string) {
	s.t.Helper()
	s.say(subscribeMessage(id, query))
}

func subscribeMessage(id, query string) string {
	text, _ := json.Marshal(map[string]any{"id": id, "type": "subscribe", "payload": vars{"query": query}})
	return string(text)
}

// read is the next message, or how the server closed. Each has to have the form that the
// protocol gives it.
func (s *socket) read() (text string, closed *websocket.CloseError) {
	s.t.Helper()
	_ = s.conn.SetReadDeadline(time.Now().Add(patience))
	kind, content, err := s.conn.ReadMessage()
	if errors.As(err, &closed) {
		return "", closed
	}
	if err != nil {
		s.t.Fatalf("reading: %v", err)
	}
	if err := wellFormed(kind, content); err != nil {
		s.t.Errorf("%.300s: %v", content, err)
	}
	return string(content), nil
}

// hear expects the next message. "..." in it stands for anything.
func (s *socket) hear(pattern string) string {
	s.t.Helper()
	text, closed := s.read()
	if closed != nil {
		s.t.Fatalf("closed with %v, want %s", closed, pattern)
	}
	if !matches(pattern, text) {
		s.t.Fatalf("got  %.500s\nwant %.500s", text, pattern)
	}
	return text
}

// matches tells whether a text is what a pattern says.
func matches(pattern, text string) bool {
	first, rest, more := strings.Cut(pattern, "...")
	text, found := strings.CutPrefix(text, first)
	for found && more {
		if first, rest, more = strings.Cut(rest, "..."); !more {
			return strings.HasSuffix(text, first)
		}
		_, text, found = strings.Cut(text, first)
	}
	return found && text == ""
}

// nothing expects that no message comes before the answer to a ping.
func (s *socket) nothing() {
	s.t.Helper()
	s.pings++
	s.say(fmt.Sprintf(`{"type":"ping","payload":{"n":%d}}`, s.pings))
	s.hear(fmt.Sprintf(`{"type":"pong","payload":{"n":%d}}`, s.pings))
}

// closedWith expects a close frame from the server, with a reason, and nothing after it.
func (s *socket) closedWith(code int, reason string) {
	s.t.Helper()
	text, closed := s.read()
	switch {
	case closed == nil:
		s.t.Fatalf("got %.300s, want it closed with %d", text, code)
	case closed.Code != code || !matches(reason, closed.Text) || closed.Text == "" || !utf8.ValidString(closed.Text):
		s.t.Fatalf("closed with %d %q, want %d %s", closed.Code, closed.Text, code, reason)
	}
	// The library has answered, and looks at nothing that follows.
	_, _ = io.Copy(io.Discard, s.tail)
	if frame := websocket.FormatCloseMessage(closed.Code, closed.Text); !bytes.HasSuffix(s.tail.last, frame) {
		s.t.Errorf("after the close frame came %q", s.tail.last)
	}
}

// bye closes as a client does that is done, and expects that no message comes before the
// server's answer.
func (s *socket) bye() {
	s.t.Helper()
	_ = s.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(patience))
	if text, closed := s.read(); closed == nil || closed.Code != websocket.CloseNormalClosure {
		s.t.Fatalf("got %.300s %v, want 1000 back", text, closed)
	}
}

// follow plays a script, whose lines are
//
//	> what the client says
//	? id what it asks, for short
//	< what it hears next
//	- that it hears nothing
//	x how the server closes: code and reason
//	acknowledged, for an exchange that leads there
//
// A conversation that the server has not closed has to end as one in which nothing else
// was about to be said.
func (s *socket) follow(script string) {
	s.t.Helper()
	for line := range strings.Lines(s.words.Replace(script)) {
		line = strings.TrimSpace(line)
		verb, rest, _ := strings.Cut(line, " ")
		switch verb {
		case "":
		case ">":
			s.say(rest)
		case "?":
			id, query, _ := strings.Cut(rest, " ")
			s.ask(id, query)
		case "<":
			s.hear(rest)
		case "-":
			s.nothing()
		case "x":
			code, reason, _ := strings.Cut(rest, " ")
			var number int
			fmt.Sscan(code, &number)
			s.closedWith(number, reason)
			return
		case "acknowledged":
			s.say(s.words.Replace(`{"type":"connection_init","payload":{"authorization":"Bearer {live}"}}`))
			s.hear(`{"type":"connection_ack"}`)
		default:
			s.t.Fatalf("a script has no line %q", line)
		}
	}
	s.bye()
}

// wellFormed tells whether a message has the form that the protocol gives those of a
// server: "All messages contain the type field", and the fields of its interface alone.
func wellFormed(kind int, content []byte) error {
	if kind != websocket.TextMessage {
		return fmt.Errorf("a frame of kind %d", kind)
	}
	var m struct {
		Type    string
		ID      *string
		Payload json.RawMessage
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	isObject := m.Payload == nil || json.Unmarshal(m.Payload, &fields) == nil
	ofOperation := m.ID != nil && *m.ID != ""
	good := false
	switch m.Type {
	case "connection_ack", "ping", "pong":
		good = m.ID == nil && isObject
	case "next": // payload: ExecutionResult
		good = ofOperation && isObject && (fields["data"] != nil || fields["errors"] != nil)
	case "error": // payload: GraphQLError[]
		var list []struct{ Message string }
		good = ofOperation && json.Unmarshal(m.Payload, &list) == nil && len(list) > 0
		for _, one := range list {
			good = good && one.Message != ""
		}
	case "complete":
		good = ofOperation && m.Payload == nil
	}
	if !good {
		return errors.New("this is not the form of its type")
	}
	return nil
}

// scripts plays each script, named by the sentence that it guards, on a socket of its own.
func scripts(t *testing.T, open func(*client) *socket, scripts map[string]string) {
	t.Helper()
	for sentence, script := range scripts {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			open(newClient(t)).follow(script)
		})
	}
}

func TestR7_4AConnectionBegins(t *testing.T) {
	t.Parallel()
	scripts(t, (*client).openSocket, map[string]string{
		"the client immediately dispatches connection_init and the server acknowledges": `
			> {"type":"connection_init","payload":{"authorization":"Bearer {live}"}}
			< {"type":"connection_ack"}
			? 1 { __typename }
			< {"id":"1","type":"next","payload":{"data":{"__typename":"Query"}}}
			< {"id":"1","type":"complete"}`,
		"the payload is as agreed with the server: the header's name in any case": `
			> {"type":"connection_init","payload":{"Authorization":"bearer {test}","userAgent":7,"more":{}}}
			< {"type":"connection_ack"}`,
		"rejecting the connection it is recommended to close with 4403: nobody has this token": `
			> {"type":"connection_init","payload":{"authorization":"Bearer platen_live_wrong"}}
			x 4403 Forbidden: ...`,
		"rejecting the connection it is recommended to close with 4403: no bearer": `
			> {"type":"connection_init","payload":{"authorization":"{live}"}}
			x 4403 Forbidden: ...`,
		"rejecting the connection it is recommended to close with 4403: no token in the payload": `
			> {"type":"connection_init","payload":{}}
			x 4403 Forbidden: ...`,
		"rejecting the connection it is recommended to close with 4403: null": `
			> {"type":"connection_init","payload":null}
			x 4403 Forbidden: ...`,
		"rejecting the connection it is recommended to close with 4403: no payload": `
			> {"type":"connection_init"}
			x 4403 Forbidden: ...`,
		"rejecting the connection it is recommended to close with 4403: a token that is no string": `
			> {"type":"connection_init","payload":{"authorization":["Bearer {live}"]}}
			x 4403 Forbidden: ...`,
		"more than one connection_init at any given time is 4429: before the first is acknowledged": `
			> {"type":"connection_init","payload":{"authorization":"Bearer {live}"}}
			> {"type":"connection_init","payload":{"authorization":"Bearer {live}"}}
			< {"type":"connection_ack"}
			x 4429 Too many initialisation requests`,
		"more than one connection_init at any given time is 4429: after it": `
			acknowledged
			-
			> {"type":"connection_init"}
			x 4429 Too many initialisation requests`,
		"more than one connection_init at any given time is 4429: while operations run": `
			acknowledged
			? 1 subscription { documentFeed { __typename } }
			< {"id":"1","type":"next","payload":{"data":{"documentFeed":{"__typename":"FeedReady"}}}}
			> {"type":"connection_init","payload":{"authorization":"Bearer {live}"}}
			x 4429 Too many initialisation requests`,
		"executing operations is allowed only after the acknowledgement, else 4401": `
			? 1 { __typename }
			x 4401 Unauthorized...`,
		"executing operations is allowed only after the acknowledgement, else 4401: whatever it is": `
			> {"id":"1","type":"subscribe","payload":{"query":7}}
			x 4401 Unauthorized...`,
	})
	inHeader := func(c *client) *socket {
		return c.upgrade([]string{"graphql-transport-ws"}, http.Header{"Authorization": {"Bearer " + c.test}})
	}
	scripts(t, inHeader, map[string]string{
		"payload is optional: the token may be in the header of the request": `
			> {"type":"connection_init"}
			< {"type":"connection_ack"}
			? 1 { currentApiToken { environment } }
			< {"id":"1","type":"next","payload":{"data":{"currentApiToken":{"environment":"TEST"}}}}
			< {"id":"1","type":"complete"}`,
		"payload is optional: null": `
			> {"type":"connection_init","payload":null}
			< {"type":"connection_ack"}`,
		"payload is optional: but what it says counts": `
			> {"type":"connection_init","payload":{"authorization":"Bearer {live}"}}
			< {"type":"connection_ack"}
			? 1 { currentApiToken { environment } }
			< {"id":"1","type":"next","payload":{"data":{"currentApiToken":{"environment":"LIVE"}}}}
			< {"id":"1","type":"complete"}`,
		"payload is optional: and a wrong one is not helped by a header": `
			> {"type":"connection_init","payload":{"authorization":"Bearer wrong"}}
			x 4403 Forbidden: ...`,
		"a header does not stand for connection_init": `
			? 1 { __typename }
			x 4401 Unauthorized...`,
	})
}

func TestR7_4TheSubprotocolIsGraphqlTransportWS(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	for _, protocols := range [][]string{nil, {"graphql-ws"}, {"graphql-sse", "GraphQL-Transport-WS"}} {
		c.upgrade(protocols, nil).closedWith(4406, "...graphql-transport-ws...")
	}
	s := c.upgrade([]string{"graphql-ws", "graphql-transport-ws"}, nil) // one of several
	if got := s.conn.Subprotocol(); got != "graphql-transport-ws" {
		t.Errorf("the subprotocol is %q", got)
	}
	s.follow("acknowledged")
	// The header of the request is refused as it is elsewhere: before there is a websocket.
	dialer := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}}
	_, response, err := dialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(c.base, "http")+"/graphql", http.Header{"Authorization": {"Bearer wrong"}})
	if err == nil || response == nil || response.StatusCode != http.StatusUnauthorized {
		t.Errorf("a wrong token in the header: %v %v", response, err)
	}
}

// "If the client does not request a connection within the allowed timeout, the server will
// close the socket with the event 4408."
func TestR7_4WhoDoesNotRequestAConnectionInTimeIsClosed(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	quick, slow := c.acknowledged(c.live), c.openSocket()
	slow.nothing() // a ping is no request
	slow.closedWith(4408, "Connection initialisation timeout")
	quick.nothing()
	quick.bye()
}

// "Receiving a message of a type or format which is not specified in this document will
// result in an immediate socket closure with the event 4400: <error-message>."
func TestR7_4AMalformedMessageClosesTheSocket(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	always := []string{
		``, ` `, `x`, `{`, `{"type":"ping"`, `{"type":"ping"}}`, `{"type":"ping"}{"type":"ping"}`, `{'type':'ping'}`, "\ufeff" + `{"type":"ping"}`,
		`null`, `true`, `7`, `"ping"`, `[]`, `[{"type":"ping"}]`,
		`{}`, `{"type":null}`, `{"type":7}`, `{"type":["ping"]}`, `{"type":{}}`, `{"type":""}`, `{"Type":"ping"}`,
		`{"type":"PING"}`, `{"type":"start"}`, `{"type":"connection_terminate"}`, `{"type":"ka"}`,
		// "Direction: Server -> Client"
		`{"type":"connection_ack"}`, `{"id":"1","type":"next","payload":{"data":null}}`, `{"id":"1","type":"error","payload":[{"message":"x"}]}`,
		// "id: '<unique-operation-id>'"
		`{"type":"complete"}`, `{"id":"","type":"complete"}`, `{"id":null,"type":"complete"}`, `{"id":1,"type":"complete"}`,
		`{"type":"subscribe","payload":{"query":"{ __typename }"}}`, `{"id":"","type":"subscribe","payload":{"query":"{ __typename }"}}`,
		`{"id":null,"type":"subscribe","payload":{"query":"{ __typename }"}}`, `{"id":1,"type":"subscribe","payload":{"query":"{ __typename }"}}`,
		`{"id":["1"],"type":"subscribe","payload":{"query":"{ __typename }"}}`,
	}
	// "payload?: Record<string, unknown> | null"
	for _, kind := range []string{"connection_init", "ping", "pong"} {
		for _, payload := range []string{`"text"`, `7`, `true`, `[]`, `[{}]`} {
			always = append(always, `{"type":"`+kind+`","payload":`+payload+`}`)
		}
	}
	var later []string
	// "payload: { operationName?: string | null; query: string; variables?, extensions?: Record<string, unknown> | null }"
	for _, payload := range []string{`null`, `7`, `"{ __typename }"`, `[]`, `{}`, `{"query":null}`, `{"query":7}`, `{"query":["{ __typename }"]}`, `{"query":{}}`,
		`{"Query":"{ __typename }"}`, `{"variables":{}}`, `{"query":"{ __typename }","operationName":7}`, `{"query":"{ __typename }","operationName":{}}`,
		`{"query":"{ __typename }","variables":[]}`, `{"query":"{ __typename }","variables":"{}"}`, `{"query":"{ __typename }","variables":7}`,
		`{"query":"{ __typename }","extensions":[]}`, `{"query":"{ __typename }","extensions":"x"}`, `{"query":"{ __typename }","extensions":true}`} {
		later = append(later, `{"id":"1","type":"subscribe","payload":`+payload+`}`)
	}
	later = append(later, `{"id":"1","type":"subscribe"}`)
	for _, message := range always {
		s := c.openSocket()
		s.say(message)
		s.say(`{"type":"ping"}`) // is not answered any more
		s.malformed(message)
	}
	for _, message := range append(always, later...) {
		s := c.acknowledged(c.live)
		s.ask("feed", `subscription { documentFeed { __typename } }`)
		s.hear(`{"id":"feed","type":"next",...`)
		s.say(message)
		s.ask("2", `{ __typename }`)
		s.malformed(message)
	}
	for _, s := range []*socket{c.openSocket(), c.acknowledged(c.live)} {
		s.frame(websocket.BinaryMessage, []byte(`{"type":"ping"}`))
		s.malformed("a binary message")
	}
}

// malformed expects that a message was found to be.
func (s *socket) malformed(message string) {
	s.t.Helper()
	s.t.Logf("%.200s", message) // which it was that fails next
	s.closedWith(4400, "Invalid message: ...")
}

func TestR7_4WhatIsOptionalMayBeAbsentNullOrMore(t *testing.T) {
	t.Parallel()
	scripts(t, (*client).openSocket, map[string]string{
		"payload?: Record<string, unknown> | null of ping and pong": `
			> {"type":"ping"}
			< {"type":"pong"}
			> {"type":"ping","payload":null}
			< {"type":"pong"}
			> {"type":"ping","payload":{}}
			< {"type":"pong","payload":{}}
			> {"type":"pong","payload":null}
			> {"type":"pong","payload":{}}
			-`,
		"operationName?, variables?, extensions? | null": `
			acknowledged
			> {"id":"1","type":"subscribe","payload":{"query":"{ __typename }","operationName":null,"variables":null,"extensions":null}}
			< {"id":"1","type":"next","payload":{"data":{"__typename":"Query"}}}
			< {"id":"1","type":"complete"}
			> {"id":"2","type":"subscribe","payload":{"query":"query A { a: __typename } query B($b: Boolean!) { b: __typename @include(if: $b) }","operationName":"B","variables":{"b":true},"extensions":{"trace":1}}}
			< {"id":"2","type":"next","payload":{"data":{"b":"Query"}}}
			< {"id":"2","type":"complete"}`,
		"what the protocol does not name is not in its way": `
			> {"type":"ping","id":"1","more":[1]}
			< {"type":"pong"}
			> {"type":"connection_init","id":7,"payload":{"authorization":"Bearer {live}"},"extra":null}
			< {"type":"connection_ack"}
			> {"id":"1","type":"subscribe","more":true,"payload":{"query":"{ __typename }","doc_id":"7","headers":{}}}
			< {"id":"1","type":"next","payload":{"data":{"__typename":"Query"}}}
			< {"id":"1","type":"complete"}
			> {"id":"1","type":"complete","payload":"x","more":1}
			-`,
		"messages are JSON: white space, escapes and order are free": `
			> 	{ "payload" : { "authorization" : "Bearer {live}" } , "type" : "connection\u005finit" } 
			< {"type":"connection_ack"}
			> {"payload":{"query":"{ __typename }"},"type":"subscribe","id":"\u00fc\u2028\"\\<\ud83d\ude00"}
			< {"id":"ü\u2028\"\\\u003c😀","type":"next","payload":{"data":{"__typename":"Query"}}}
			< {"id":"ü\u2028\"\\\u003c😀","type":"complete"}`,
	})
}

func TestR7_4APingIsAnsweredAtAnyTime(t *testing.T) {
	t.Parallel()
	scripts(t, (*client).openSocket, map[string]string{
		"a Pong must be sent in response, at any time within the established socket": `
			> {"type":"ping"}
			< {"type":"pong"}
			acknowledged
			> {"type":"ping"}
			< {"type":"pong"}
			? 1 subscription { documentFeed { __typename } }
			< {"id":"1","type":"next",...
			> {"type":"ping"}
			< {"type":"pong"}`,
		"payload can transfer additional details about the ping: they come back as they were": `
			> {"type":"ping","payload":{"at":1.10,"b":[null,"ü"],"a":12345678901234567890}}
			< {"type":"pong","payload":{"at":1.10,"b":[null,"ü"],"a":12345678901234567890}}`,
		"the Pong may even be sent unsolicited": `
			> {"type":"pong"}
			acknowledged
			> {"type":"pong","payload":{"heart":"beat"}}
			-`,
	})
	s := newClient(t).openSocket()
	pong := make(chan string, 1)
	s.conn.SetPongHandler(func(text string) error { pong <- text; return nil })
	if err := s.conn.WriteControl(websocket.PingMessage, []byte("x"), time.Now().Add(patience)); err != nil { // of RFC 6455
		t.Fatal(err)
	}
	s.nothing() // else than that
	if got := <-pong; got != "x" {
		t.Errorf("pong %q", got)
	}
}

func TestR7_4AnOperationIsAnsweredAndCompleted(t *testing.T) {
	t.Parallel()
	scripts(t, (*client).openSocket, map[string]string{
		"a query: at most one Next, then Complete": `
			acknowledged
			? 1 { currentApiToken { environment } }
			< {"id":"1","type":"next","payload":{"data":{"currentApiToken":{"environment":"LIVE"}}}}
			< {"id":"1","type":"complete"}
			-`,
		"a mutation is the same": `
			acknowledged
			? m mutation { revokeApiToken(id: "tok_x") { userErrors { code } } }
			< {"id":"m","type":"next","payload":{"data":{"revokeApiToken":{"userErrors":[{"code":"NOT_FOUND"}]}}}}
			< {"id":"m","type":"complete"}
			-`,
		"Error before execution starts: syntax; no further messages, and none for Complete": `
			acknowledged
			? 1 { account
			< {"id":"1","type":"error","payload":[{"message":"...}]}
			-
			? 1 { __typename }
			< {"id":"1","type":"next","payload":{"data":{"__typename":"Query"}}}
			< {"id":"1","type":"complete"}`,
		"Error before execution starts: no document": `
			acknowledged
			? 1
			< {"id":"1","type":"error","payload":[{"message":"...}]}
			-`,
		"Error before execution starts: validation errors, all of them": `
			acknowledged
			? 1 { nothing nobody }
			< {"id":"1","type":"error","payload":[{"message":"...nothing...},{"message":"...nobody...}]}
			-
			? 1 subscription { documentFeed { __typename } accountFeed { __typename } }
			< {"id":"1","type":"error","payload":[{"message":"...}]}
			-`,
		"Error before execution starts: which operation": `
			acknowledged
			> {"id":"1","type":"subscribe","payload":{"query":"query A { __typename }","operationName":"B"}}
			< {"id":"1","type":"error","payload":[{"message":"...}]}
			> {"id":"1","type":"subscribe","payload":{"query":"query A { __typename } query B { __typename }"}}
			< {"id":"1","type":"error","payload":[{"message":"...}]}
			-`,
		"Error before execution starts: variables": `
			acknowledged
			> {"id":"1","type":"subscribe","payload":{"query":"query ($id: ID!) { submission(id: $id) { id } }","variables":{"id":{}}}}
			< {"id":"1","type":"error","payload":[{"message":"...}]}
			> {"id":"1","type":"subscribe","payload":{"query":"query ($id: ID!) { submission(id: $id) { id } }"}}
			< {"id":"1","type":"error","payload":[{"message":"...}]}
			> {"id":"1","type":"subscribe","payload":{"query":"subscription ($id: ID!) { submissionUpdated(id: $id) { kind } }"}}
			< {"id":"1","type":"error","payload":[{"message":"...}]}
			-`,
		"an ExecutionResult has errors as well: of a query": `
			acknowledged
			? 1 { submissions(first: 0) { totalCount } }
			< {"id":"1","type":"next","payload":{"errors":[{"message":"..."BAD_USER_INPUT"...
			< {"id":"1","type":"complete"}
			-`,
		"an ExecutionResult has errors as well: of a subscription to what is not there": `
			acknowledged
			? 1 subscription { submissionUpdated(id: "sub_x") { kind } }
			< {"id":"1","type":"next","payload":{"errors":[{"message":"..."NOT_FOUND"...
			< {"id":"1","type":"complete"}
			-`,
		"a feed that ends is complete": `
			acknowledged
			? 1 subscription { documentFeed(after: "YW5vdGhlciAxMiAz") { ... on FeedReset { reason } } }
			< {"id":"1","type":"next","payload":{"data":{"documentFeed":{"reason":"CURSOR_EXPIRED"}}}}
			< {"id":"1","type":"complete"}
			-`,
	})
}

const followDocument = `subscription { submissionUpdated(id: %q) { kind submission { state final } } }`

// "Operation execution result(s) from the source stream. After all results have been
// emitted, the Complete message will follow."
func TestR7_4ASubscriptionIsToldAllAndThenComplete(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	id, gate := c.waiting(c.test, "x")
	s := c.acknowledged(c.live)
	s.ask("1", fmt.Sprintf(followDocument, id))
	s.hear(`{"id":"1","type":"next","payload":{"data":{"submissionUpdated":{"kind":"SNAPSHOT","submission":{"state":"PENDING","final":false}}}}}`)
	s.nothing()
	gate.open()
	s.hear(`{"id":"1","type":"next","payload":{"data":{"submissionUpdated":{"kind":"CHANGED","submission":{"state":"PROCESSED","final":true}}}}}`)
	s.hear(`{"id":"1","type":"complete"}`)
	s.nothing()
	s.ask("1", fmt.Sprintf(followDocument, id)) // of what is final already
	s.hear(`{"id":"1","type":"next","payload":{"data":{"submissionUpdated":{"kind":"SNAPSHOT","submission":{"state":"PROCESSED","final":true}}}}}`)
	s.hear(`{"id":"1","type":"complete"}`)
	s.nothing()
	s.bye()
}

func TestR7_4AnIDNamesOneOperationAtATime(t *testing.T) {
	t.Parallel()
	const feed = `subscription { documentFeed { __typename } }`
	ready := func(id string) string {
		return `{"id":"` + id + `","type":"next","payload":{"data":{"documentFeed":{"__typename":"FeedReady"}}}}`
	}
	scripts(t, (*client).openSocket, map[string]string{
		"an active subscriber with the ID: the server must close immediately with 4409": `
			acknowledged
			? 1 ` + feed + `
			< ` + ready("1") + `
			? 1 ` + feed + `
			x 4409 Subscriber for 1 already exists`,
		"regardless of the operation type": `
			acknowledged
			? Ö ` + feed + `
			? Ü ` + feed + `
			< {"id":"...
			< {"id":"...
			? Ü { __typename }
			x 4409 Subscriber for Ü already exists`,
		"single result operations share the name-space": `
			acknowledged
			? 1 mutation { createSubmission(input: {html: "<script>while (true) {}</script>", page: {timeout: 5}, wait: 60}) { submission { id } } }
			? 1 ` + feed + `
			x 4409 Subscriber for 1 already exists`,
		"once a client completes an operation, it is free to re-use that ID": `
			acknowledged
			? 1 ` + feed + `
			< ` + ready("1") + `
			> {"id":"1","type":"complete"}
			? 1 ` + feed + `
			< ` + ready("1") + `
			> {"id":"1","type":"complete"}
			? 1 { __typename }
			< {"id":"1","type":"next","payload":{"data":{"__typename":"Query"}}}
			< {"id":"1","type":"complete"}
			? 1 { error }
			< {"id":"1","type":"error",...
			? 1 ` + feed + `
			< ` + ready("1") + `
			-`,
		"IDs differ by their case, spaces and kind of letters": `
			acknowledged
			? a ` + feed + `
			< ` + ready("a") + `
			? A ` + feed + `
			< ` + ready("A") + `
			> {"id":" a","type":"subscribe","payload":{"query":"` + feed + `"}}
			< ` + ready(" a") + `
			? ä ` + feed + `
			< ` + ready("ä") + `
			-`,
	})
	t.Run("an ID is unique on its socket", func(t *testing.T) {
		t.Parallel()
		c := newClient(t)
		one, two := c.acknowledged(c.live), c.acknowledged(c.live)
		for _, s := range []*socket{one, two} {
			s.ask("1", feed)
			s.hear(ready("1"))
		}
		one.say(`{"id":"1","type":"complete"}`)
		one.nothing()
		two.ask("1", feed)
		two.closedWith(4409, "Subscriber for 1 already exists")
		one.ask("1", feed)
		one.hear(ready("1"))
		one.bye()
	})
	// A close frame has room for 123 bytes: as much is said as is whole.
	for name, long := range map[string]string{"a long ID": strings.Repeat("x", 10_000), "two bytes a letter": strings.Repeat("é", 60), "two bytes a letter, cut": "x" + strings.Repeat("é", 60),
		"four bytes a letter": strings.Repeat("😀", 40), "four bytes a letter, cut": "xyz" + strings.Repeat("😀", 40)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t)
			s := c.acknowledged(c.live)
			s.ask(long, feed)
			s.hear(ready(long))
			s.ask(long, feed)
			full := "Subscriber for " + long + " already exists"
			reason := full[:123]
			for !utf8.ValidString(reason) {
				reason = reason[:len(reason)-1]
			}
			s.closedWith(4409, reason)
		})
	}
}

// "Client -> Server indicates that the client has stopped listening and wants to complete
// the subscription. No further events should be sent through."
func TestR7_4CompleteFromTheClientStopsAnOperation(t *testing.T) {
	t.Parallel()
	scripts(t, (*client).openSocket, map[string]string{
		"it does not constitute an error to name an operation that has been previously completed": `
			acknowledged
			? 1 { __typename }
			< {"id":"1","type":"next","payload":{"data":{"__typename":"Query"}}}
			< {"id":"1","type":"complete"}
			> {"id":"1","type":"complete"}
			> {"id":"1","type":"complete"}
			-
			? 1 { error }
			< {"id":"1","type":"error",...
			> {"id":"1","type":"complete"}
			-`,
		"it is permissible to simply ignore all unknown IDs": `
			> {"id":"never","type":"complete"}
			acknowledged
			> {"id":"never","type":"complete"}
			-`,
	})
	t.Run("of a subscription", func(t *testing.T) {
		t.Parallel()
		c := newClient(t)
		id, gate := c.waiting(c.test, "x")
		s := c.acknowledged(c.live)
		for _, operation := range []string{"stopped", "stays"} {
			s.ask(operation, fmt.Sprintf(followDocument, id))
			s.hear(`{"id":"` + operation + `","type":"next",...`)
		}
		s.say(`{"id":"stopped","type":"complete"}`)
		s.nothing()
		gate.open()
		s.hear(`{"id":"stays","type":"next",..."final":true...`)
		s.hear(`{"id":"stays","type":"complete"}`)
		s.nothing()
		s.bye()
	})
	// "Even if the client sent a Complete message for a single-result-operation before it
	// resolved, the result should not be sent through once it does."
	t.Run("of a single-result-operation", func(t *testing.T) {
		t.Parallel()
		c := newClient(t)
		s, feed := c.acknowledged(c.live), c.acknowledged(c.live)
		feed.ask("feed", `subscription { documentFeed { ... on DocumentChange { document { id state } } } }`)
		feed.hear(`{"id":"feed","type":"next",...`)
		gate := newGate(t, assets, http.NotFoundHandler())
		s.ask("1", `mutation { createSubmission(input: {html: "<img src='`+gate.URL+`'>", wait: 60}) { submission { id } } }`)
		feed.hear(`{"id":"feed","type":"next",..."PENDING"...`)
		s.say(`{"id":"1","type":"complete"}`)
		s.nothing()
		gate.open()
		feed.hear(`{"id":"feed","type":"next",..."FAILED"...`)
		s.nothing()
		s.bye()
	})
}

// "A client can send a Complete message even when messages are in-flight to the client, or
// when the server has itself completed the operation."
func TestR7_4CompleteFromBothSidesAtOnce(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	s := c.acknowledged(c.live)
	id := c.submit(vars{"html": "<p>x</p>", "test": true}).ID
	heard := map[string]int{}
	for n := range 400 {
		query := `{ __typename }`
		if n%2 == 0 {
			query = fmt.Sprintf(followDocument, id)
		}
		s.ask("1", query)
		kinds := ""
		for range n % 8 { // now and then, the server comes further
			kinds += s.kindsUntilPong()
		}
		s.say(`{"id":"1","type":"complete"}`)
		heard[kinds+s.kindsUntilPong()]++
		s.nothing()
	}
	for kinds := range heard {
		if !slices.Contains([]string{"", "next ", "next complete "}, kinds) {
			t.Errorf("an operation was answered with %q", kinds)
		}
	}
	if len(heard) < 2 {
		t.Errorf("the two sides never met: %v", heard)
	}
	t.Log(heard)
	s.bye()
}

// kindsUntilPong are the types of what comes before the answer to a ping.
func (s *socket) kindsUntilPong() (kinds string) {
	s.t.Helper()
	s.say(`{"type":"ping"}`)
	for {
		var f frame
		if err := json.Unmarshal([]byte(s.hear(`{...}`)), &f); err != nil {
			s.t.Fatal(err)
		}
		if f.Type == "pong" {
			return kinds
		}
		kinds += f.Type + " "
	}
}

// "Multiple operations identified with separate IDs can be active at any time and their
// messages can be interleaved on the connection."
func TestR7_4OperationsShareASocket(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	id, gate := c.waiting(c.test, "x")
	s := c.acknowledged(c.live)
	want := map[string][]string{}
	follow := func(operation, query string, answers ...string) {
		want[operation] = append(answers, `{"id":"`+operation+`","type":"complete"}`)
		for i, answer := range answers {
			want[operation][i] = `{"id":"` + operation + `","type":"next","payload":{"data":` + answer + `}}`
		}
		s.ask(operation, query)
	}
	const follows = 10
	for n := range follows {
		follow(fmt.Sprint("follow ", n), fmt.Sprintf(followDocument, id),
			`{"submissionUpdated":{"kind":"SNAPSHOT","submission":{"state":"PENDING","final":false}}}`,
			`{"submissionUpdated":{"kind":"CHANGED","submission":{"state":"PROCESSED","final":true}}}`)
	}
	got := map[string][]string{}
	left := 0
	hear := func() {
		t.Helper()
		text := s.hear(`{"id":"...`)
		var f frame
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			t.Fatal(err)
		}
		got[f.ID] = append(got[f.ID], text)
	}
	for range follows { // the snapshots
		hear()
	}
	for n := range 50 {
		if n == 20 {
			gate.open()
		}
		follow(fmt.Sprint("query ", n), fmt.Sprintf(`{ q%d: __typename }`, n), fmt.Sprintf(`{"q%d":"Query"}`, n))
	}
	for operation := range want {
		left += len(want[operation]) - len(got[operation])
	}
	for range left {
		hear()
	}
	for operation := range want {
		if !slices.Equal(got[operation], want[operation]) {
			t.Errorf("%s got %q, want %q", operation, got[operation], want[operation])
		}
	}
	s.nothing()
	s.bye()
}

func TestR7_4ASocketHasABoundedNumberOfOperations(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	s := c.acknowledged(c.live)
	const most = 100
	const feed = `subscription { documentFeed { __typename } }`
	for n := range most {
		s.ask(fmt.Sprint(n), feed)
		s.hear(fmt.Sprintf(`{"id":"%d",...FeedReady...`, n))
	}
	for range 2 {
		s.ask("more", feed)
		s.hear(`{"id":"more","type":"error","payload":[{"message":"...","extensions":{"code":"TOO_MANY_OPERATIONS"}}]}`)
	}
	s.nothing()
	other := c.acknowledged(c.live) // is free to have some
	other.ask("more", feed)
	other.hear(`{"id":"more",...FeedReady...`)
	c.waiting(c.test, "x")
	told := map[string]bool{}
	for range most {
		var f frame
		if err := json.Unmarshal([]byte(s.hear(`{"id":"...DocumentChange...`)), &f); err != nil {
			t.Fatal(err)
		}
		told[f.ID] = true
	}
	if len(told) != most {
		t.Errorf("%d of %d were told", len(told), most)
	}
	s.say(`{"id":"7","type":"complete"}`)
	s.ask("more", feed)
	s.hear(`{"id":"more",...FeedReady...`)
	s.ask("7", feed)
	s.hear(`{"id":"7","type":"error",...TOO_MANY_OPERATIONS...`)
	s.ask("more", feed) // no room for it, but that is not what is wrong
	s.closedWith(4409, "Subscriber for more already exists")
}

func TestR7_4AMessageHasABoundedSize(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	ping := func(size int) string {
		const around = `{"type":"ping","payload":{"x":""}}`
		return strings.Replace(around, `""`, `"`+strings.Repeat("x", size-len(around))+`"`, 1)
	}
	pong := func(size int) string { return strings.Replace(ping(size), "ping", "pong", 1) }
	const small, large = 64 << 10, 1 << 20
	s := c.openSocket()
	s.say(ping(small))
	s.hear(pong(small))
	s.say(ping(small + 1))
	s.say(ping(small)) // is not answered any more
	s.closedWith(1009, "...65536 bytes...")

	s = c.acknowledged(c.live)
	s.say(ping(large))
	s.hear(pong(large))
	s.say(`{"id":"1","type":"subscribe","payload":{"query":"{ __typename }","variables":{"x":"` + strings.Repeat("x", 200<<10) + `"}}}`)
	s.hear(`{"id":"1","type":"next",...`)
	s.hear(`{"id":"1","type":"complete"}`)
	s.say(ping(large + 1))
	s.closedWith(1009, "...1048576 bytes...")

	// It counts when nothing of it can be parsed yet, too, and when it comes in parts.
	s = c.openSocket()
	w, err := s.conn.NextWriter(websocket.TextMessage)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 { // the last part is never sent
		if _, err := w.Write(bytes.Repeat([]byte(" "), 1000)); err != nil {
			t.Fatal(err)
		}
	}
	s.closedWith(1009, "...65536 bytes...")
}

// What RFC 6455 says of the messages that the protocol is made of.
func TestR7_4MessagesAreFramesOfText(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	t.Run("a fragmented message is one message", func(t *testing.T) {
		t.Parallel()
		s := c.openSocket()
		ping := `{"type":"ping","payload":{"x":"ü"}}`
		s.fragments(websocket.TextMessage, ping)
		s.hear(`{"type":"pong","payload":{"x":"ü"}}`)
		s.bye()
	})
	t.Run("a binary one as well", func(t *testing.T) {
		t.Parallel()
		s := c.openSocket()
		s.fragments(websocket.BinaryMessage, `{"type":"ping"}`)
		s.closedWith(4400, "Invalid message: ...")
	})
	for name, text := range map[string]string{"a byte": "\xff", "half a letter": "{\"type\":\"ping\",\"payload\":{\"x\":\"\xc3\"}}", "a surrogate": "{\"type\":\"ping\",\"x\":\"\xed\xa0\x80\"}"} {
		t.Run("text is UTF-8: "+name, func(t *testing.T) {
			t.Parallel()
			s := c.openSocket()
			s.say(text)
			s.closedWith(1007, "...UTF-8")
		})
	}
	t.Run("a close frame is answered while operations run", func(t *testing.T) {
		t.Parallel()
		c := newClient(t)
		s := c.acknowledged(c.live)
		s.ask("feed", `subscription { documentFeed { __typename } }`)
		s.hear(`{"id":"feed",...`)
		gate := newGate(t, assets, http.NotFoundHandler())
		s.ask("mutation", `mutation { createSubmission(input: {html: "<img src='`+gate.URL+`'>", wait: 60}) { submission { id } } }`)
		s.hear(`{"id":"feed",...DocumentChange...`)
		s.bye()
	})
	t.Run("a client that is not masked does not speak RFC 6455", func(t *testing.T) {
		t.Parallel()
		s := c.openSocket()
		if _, err := s.tail.Write([]byte("\x81\x0f{\"type\":\"ping\"}")); err != nil {
			t.Fatal(err)
		}
		s.closedWith(websocket.CloseProtocolError, "...")
	})
}

// fragments sends a message in frames of one byte, with a ping of RFC 6455 between them.
func (s *socket) fragments(kind int, text string) {
	s.t.Helper()
	for i := range len(text) {
		if i == len(text)/2 {
			if err := s.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(patience)); err != nil {
				s.t.Fatal(err)
			}
		}
		first := byte(0)
		if i == 0 {
			first = byte(kind)
		}
		if i == len(text)-1 {
			first |= 0x80 // the last
		}
		// Masked with zeros: the byte itself.
		if _, err := s.tail.Write([]byte{first, 0x80 | 1, 0, 0, 0, 0, text[i]}); err != nil {
			s.t.Fatal(err)
		}
	}
}

// quietFeed tells of nothing. A feed may tell of what was made a moment before it began:
// transactions that are still open hold what is told back.
const quietFeed = `subscription { documentFeed(filter: {metadata: {nothing: "has this"}}) { __typename } }`

// A websocket that ends because its token does is not complete: its client would take
// what it was told for all there is.
func TestR1_2ARevokedTokensWebsocketsAreClosed(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	id, _ := c.waiting(c.test, "x")
	inHeader := c.upgrade([]string{"graphql-transport-ws"}, http.Header{"Authorization": {"Bearer " + c.test}}) // connection_init has not come
	idle, busy, other := c.acknowledged(c.test), c.acknowledged(c.test), c.acknowledged(c.live)
	for _, s := range []*socket{busy, other} {
		s.ask("1", fmt.Sprintf(followDocument, id))
		s.hear(`{"id":"1","type":"next",...`)
		s.ask("2", quietFeed)
		s.hear(`{"id":"2","type":"next",...`)
	}
	start := time.Now()
	c.do(`mutation ($id: ID!) { revokeApiToken(id: $id) { apiToken { id } } }`, vars{"id": tokenID(t, c.test)}, &struct{}{})
	for _, s := range []*socket{busy, idle, inHeader} {
		s.closedWith(4403, "the API token was revoked or has expired")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("closed after %v, want 5 s at most", took)
	}
	other.nothing()
	other.bye()
}

// "The server can close the socket (kick the client off) at any time." When a node stops,
// its clients are told to come back, to another node; and nothing was complete.
func TestR7_4AServerThatStopsSendsItsClientsAway(t *testing.T) {
	t.Parallel()
	p := serveProcess(t, emptyFolder(t))
	ready(t, p)
	c := &client{t: t, base: p.base, live: p.tokens()[0], test: p.tokens()[1]}
	id, gate := c.waiting(c.test, "x")
	stranger, idle, busy := c.openSocket(), c.acknowledged(c.live), c.acknowledged(c.live)
	busy.ask("follow", fmt.Sprintf(followDocument, id))
	busy.hear(`{"id":"follow",...`)
	busy.ask("feed", quietFeed)
	busy.hear(`{"id":"feed",...`)

	// Some connect again and again, until nobody listens. Who gets in at the last moment is
	// sent away like the others.
	var connecting sync.WaitGroup
	var stops atomic.Bool
	var refused, away atomic.Int32
	connected := make(chan struct{}, 8)
	for range cap(connected) {
		connecting.Go(func() {
			dialer := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}}
			for first := true; ; first = false {
				conn, response, err := dialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(p.base, "http")+"/graphql", nil)
				switch {
				case err != nil && response == nil:
					return
				case err != nil:
					refused.Add(1)
					if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
						t.Errorf("refused with %d %v", response.StatusCode, response.Header)
					}
					continue
				case stops.Load():
					away.Add(1)
					_ = conn.SetReadDeadline(time.Now().Add(patience))
					if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
						t.Errorf("one that had just connected: %v", err)
					}
				}
				conn.Close()
				if first {
					connected <- struct{}{}
				}
			}
		})
	}
	for range cap(connected) {
		<-connected
	}
	stops.Store(true)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*socket{stranger, idle, busy} {
		s.closedWith(1001, "the server is stopping")
	}
	gate.open()
	connecting.Wait()
	<-p.exited
	if p.exitErr != nil {
		t.Errorf("it ended with %v", p.exitErr)
	}
	// Whether anyone does is chance; server tests what happens to one that did.
	t.Logf("%d got in at the last moment, %d were refused", away.Load(), refused.Load())
}

// A slow reader is bounded, ends with a reason, and slows nobody.
func TestR7_5AWebsocketThatIsNotReadIsClosedWithAReasonAndOthersLoseNothing(t *testing.T) {
	t.Parallel()
	const sockets, subscriptions, documents, changes = 20, 50, 30, 2 * 30
	c := newClient(t)
	var present struct{ Account struct{ FeedCursor string } }
	c.do(`{ account { feedCursor } }`, nil, &present)
	const changed = `{ ... on DocumentChange { document { id state } } }`

	// What one change makes for the slow one is more than any buffer on its way holds.
	slow := c.acknowledged(c.test)
	selection := ""
	for n := range 20 {
		selection += fmt.Sprintf(" d%d: data", n)
	}
	for n := range 20 {
		slow.ask(fmt.Sprint(n), `subscription { documentFeed { ... on DocumentChange { document { ... on Submission {`+selection+` } } } } }`)
		slow.hear(`{"id":"...`)
	}

	first := make(chan struct{})
	var once sync.Once
	var reading sync.WaitGroup
	seen := make([]map[string][]string, sockets)
	for i := range seen {
		seen[i] = map[string][]string{}
		s := c.acknowledged(c.test)
		for n := range subscriptions {
			s.ask(fmt.Sprint(n), `subscription { documentFeed `+changed+` }`)
		}
		for range subscriptions {
			s.hear(`{"id":"...","type":"next","payload":{"data":{"documentFeed":{}}}}`) // FeedReady
		}
		reading.Go(func() {
			_ = s.conn.SetReadDeadline(time.Now().Add(patience))
			for range subscriptions * changes {
				var f frame
				if err := s.conn.ReadJSON(&f); err != nil {
					t.Errorf("socket %d: %v", i, err)
					return
				}
				once.Do(func() { close(first) })
				seen[i][f.ID] = append(seen[i][f.ID], f.Type+" "+string(f.Payload))
			}
		})
	}
	input := make([]vars, documents)
	for i := range input {
		input[i] = vars{"html": "<p>x</p>", "data": vars{"x": strings.Repeat("x", 100_000)}}
	}
	start := time.Now()
	c.batch(c.test, vars{"submissions": input})
	if took := time.Since(start); took > 9*time.Second { // it does not wait for the slow one
		t.Errorf("the writer took %v", took)
	}
	<-first
	// The server gives a client 10 s to take what was sent, and as long to take why it is
	// closed. Time itself has to pass: to a client that does not read, nothing happens.
	stalled := time.NewTimer(13 * time.Second)
	messages := 0 // that were on their way
	reading.Go(func() {
		<-stalled.C
		for {
			text, closed := slow.read()
			if closed != nil {
				if closed.Code != websocket.CloseTryAgainLater || !strings.Contains(closed.Text, "Too slow") {
					t.Errorf("closed with %v", closed)
				}
				return
			}
			messages++
			if !strings.Contains(text, `"next"`) {
				t.Errorf("got %.200s", text)
			}
		}
	})
	reading.Wait()
	t.Logf("the others had read all after %v", time.Since(start))

	s := c.acknowledged(c.test)
	s.say(`{"id":"1","type":"subscribe","payload":{"query":"subscription ($after: String) { documentFeed(after: $after) ` + changed + ` }","variables":{"after":"` + present.Account.FeedCursor + `"}}}`)
	s.hear(`{"id":"1","type":"next",...`)
	var want []string
	for range changes {
		var f frame
		if err := json.Unmarshal([]byte(s.hear(`{"id":"1","type":"next",...`)), &f); err != nil {
			t.Fatal(err)
		}
		want = append(want, f.Type+" "+string(f.Payload))
	}
	for i, ofSocket := range seen {
		for n := range subscriptions {
			if got := ofSocket[fmt.Sprint(n)]; !slices.Equal(got, want) {
				t.Errorf("subscription %d of socket %d was told %d changes, or in another order: %q", n, i, len(got), got)
			}
		}
	}

	if messages > 10 {
		t.Errorf("%d messages of 2 MB were on their way", messages)
	}
}
