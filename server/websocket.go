package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
	"github.com/gorilla/websocket"
	"github.com/vektah/gqlparser/v2/ast"

	"platen"
	"platen/resolvers"
)

// Close codes of graphql-transport-ws
// (https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md) and of RFC 6455, with
// their reasons. A reason has at most 123 bytes.
const (
	closeBadRequest     = 4400
	closeUnauthorized   = 4401
	closeForbidden      = 4403
	closeBadSubprotocol = 4406
	closeInitTimeout    = 4408
	closeDuplicate      = 4409
	closeSecondInit     = 4429

	closeGoingAway = websocket.CloseGoingAway     // clients come back
	closeTryAgain  = websocket.CloseTryAgainLater // and do here
	closeTooBig    = websocket.CloseMessageTooBig
	closeNotText   = websocket.CloseInvalidFramePayloadData

	stopping    = "the server is stopping"
	sessionOver = "Forbidden: the session has ended: sign in again"
)

const (
	subprotocol = "graphql-transport-ws"
	// maxMessage is the largest message of a client, in bytes; what is larger goes over HTTP.
	maxMessage = 1 << 20
	// maxOperations is how many operations a websocket has at a time.
	maxOperations = 100
	// initTime is how long a client may take to say who it is.
	initTime = 10 * time.Second
	// closingTime is how long a client may take to answer a close frame.
	closingTime = time.Second
)

// upgrader lets every origin in: a websocket is authenticated by the token in its
// connection_init. The cookie of a session, which a browser sends unasked, counts for
// Platen's own page alone: see session.go.
var upgrader = websocket.Upgrader{Subprotocols: []string{subprotocol}, CheckOrigin: func(*http.Request) bool { return true },
	WriteBufferPool: &sync.Pool{}}

// websocket serves the API over a websocket.
func (s *Server) websocket(w http.ResponseWriter, r *http.Request) {
	// It lives on without its request, whose memory it would hold.
	ctx, cancel := context.WithCancel(platen.WithRequestID(context.Background(), platen.RequestID(r.Context())))
	c := &socket{server: s, ctx: ctx, cancel: cancel, token: resolvers.Token(r.Context()), operations: map[string]*socketOperation{}}
	connection, why := s.connections.open(c.token, c.close)
	if why != "" {
		cancel()
		w.Header().Set("Retry-After", "10")
		answerErrors(w, typeJSON, http.StatusServiceUnavailable, gqlError("UNAVAILABLE", why))
		return
	}
	c.connection = connection
	var header http.Header
	switch c.session = sessionOf(r.Context()); {
	case c.session == nil:
	case c.session.over:
		header = http.Header{"Set-Cookie": {s.sessions.cleared().String()}}
	default:
		c.sessionEnd = time.AfterFunc(c.session.ends.Sub(s.sessions.now()), func() { c.close(closeForbidden, sessionOver) })
	}
	conn, err := upgrader.Upgrade(taker{w, c.progress}, r, header)
	if err != nil { // gorilla has answered
		c.outlive()
		connection.over()
		cancel()
		return
	}
	go c.serve(c.open(conn))
}

// taker is a response whose connection, once it is taken over, is written to in pieces.
type taker struct {
	http.ResponseWriter
	progress func() (until time.Time, ok bool)
}

// Hijack implements http.Hijacker.
func (t taker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(t.ResponseWriter).Hijack()
	return pieces{conn, t.progress}, rw, err
}

// pieces is a connection to a client that may take long for a large message, as long as it
// reads on.
type pieces struct {
	net.Conn
	progress func() (until time.Time, ok bool)
}

// pieceSize is what a client has writeTime to take, in bytes: 52 kbit/s will do.
const pieceSize = 64 << 10

func (p pieces) Write(b []byte) (written int, err error) {
	for {
		n, err := p.Conn.Write(b[written:min(written+pieceSize, len(b))])
		written += n
		if err != nil || written == len(b) {
			return written, err
		}
		if until, ok := p.progress(); ok {
			_ = p.SetWriteDeadline(until)
		}
	}
}

// socket is one websocket. Whoever sends to it waits until the client has taken what was
// sent before; when it takes nothing for writeTime, it is closed.
type socket struct {
	server     *Server
	connection *connection
	ctx        context.Context // ends with the connection
	cancel     context.CancelFunc
	token      *platen.APIToken // of the request, or of connection_init
	slow       *time.Timer      // runs while something is being sent
	session    *session         // of the request, or nil
	sessionEnd *time.Timer      // closes it; nil without a session

	closing sync.Mutex
	conn    *websocket.Conn
	end     *websocket.CloseError // why it was closed

	// The reader's alone.
	begun        bool // connection_init came
	acknowledged bool

	mu         sync.Mutex // of sending, too
	operations map[string]*socketOperation
}

// socketOperation is an operation that is not complete.
type socketOperation struct{ cancel context.CancelFunc }

// open begins with the connection, and tells whether it was closed before.
func (c *socket) open(conn *websocket.Conn) (closed bool) {
	c.closing.Lock()
	defer c.closing.Unlock()
	c.conn = conn
	conn.SetPongHandler(func(string) error { c.alive(); return nil })
	c.slow = time.AfterFunc(time.Hour, func() {
		c.closeWithin(writeTime, closeTryAgain, fmt.Sprintf("Too slow: nothing was read for %v; come back with your last cursor", writeTime))
	})
	c.slow.Stop()
	return c.end != nil
}

// outlive lets a session end without the websocket.
func (c *socket) outlive() {
	if c.sessionEnd != nil {
		c.sessionEnd.Stop()
	}
}

// alive gives the client time until the next sign of life.
func (c *socket) alive() {
	c.closing.Lock()
	defer c.closing.Unlock()
	if c.end == nil { // else the deadline is that of closing
		_ = c.conn.SetReadDeadline(time.Now().Add(2 * pingInterval))
	}
}

// close says why, and ends the connection as soon as the client has answered. Only the
// first call says anything.
func (c *socket) close(code int, reason string) { c.closeWithin(closingTime, code, reason) }

// closeWithin waits so long for what is being sent.
func (c *socket) closeWithin(wait time.Duration, code int, reason string) {
	c.closing.Lock()
	conn, first := c.conn, c.end == nil
	if first {
		c.end = &websocket.CloseError{Code: code, Text: reason}
	}
	c.closing.Unlock()
	if first && conn != nil { // else open tells serve
		c.sayWhy(wait)
	}
}

// sayWhy sends the close frame.
func (c *socket) sayWhy(wait time.Duration) {
	defer c.cancel()
	if c.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(c.end.Code, c.end.Text), time.Now().Add(wait)) != nil {
		_ = c.conn.Close() // there is no way to say it
		return
	}
	// Dropping the connection at once could make the client lose the frame itself. The
	// reader may be busy, and see no deadline.
	_ = c.conn.SetReadDeadline(time.Now().Add(closingTime))
	time.AfterFunc(closingTime+closingTime/2, func() { _ = c.conn.Close() })
}

// ended is why the connection was closed, or nil.
func (c *socket) ended() *websocket.CloseError {
	c.closing.Lock()
	defer c.closing.Unlock()
	return c.end
}

// progress gives a client that reads on more time, unless it is too late.
func (c *socket) progress() (until time.Time, ok bool) {
	if c.ended() != nil {
		return until, false
	}
	c.slow.Reset(writeTime)
	c.alive() // it cannot answer a ping that waits behind this
	return time.Now().Add(2 * writeTime), true
}

// serve reads messages until the connection ends; of one that was closed before it was
// open, until the client has answered.
func (c *socket) serve(closed bool) {
	start := time.Now()
	var err error
	defer func() {
		if p := recover(); p != nil {
			c.server.Log.ErrorContext(c.ctx, "a websocket failed", "panic", p, "stack", string(debug.Stack()))
		}
		c.cancel()
		c.slow.Stop()
		c.outlive()
		c.conn.Close()
		c.connection.over()
		account := ""
		if c.acknowledged {
			account = c.token.AccountID
		}
		if end := c.ended(); end != nil {
			err = end
		}
		c.server.Log.InfoContext(c.ctx, "websocket over", "account", account, "ms", time.Since(start).Milliseconds(), "why", err)
	}()
	if closed {
		c.sayWhy(closingTime)
	}
	if c.conn.Subprotocol() == "" {
		c.close(closeBadSubprotocol, "Subprotocol not acceptable: speak "+subprotocol)
	}
	c.alive()
	tooLate := time.AfterFunc(initTime, func() { c.close(closeInitTimeout, "Connection initialisation timeout") })
	defer tooLate.Stop()
	defer every(pingInterval, func() {
		_ = c.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTime))
	})()
	for {
		var kind int
		var reader io.Reader
		if kind, reader, err = c.conn.NextReader(); err != nil {
			return
		}
		limit := int64(maxMessage)
		if !c.acknowledged {
			limit = maxStrangersBody
		}
		var text []byte
		if text, err = io.ReadAll(io.LimitReader(reader, limit+1)); err != nil {
			return
		}
		c.alive()
		if c.ended() != nil {
			continue // until the client's close frame
		}
		switch {
		case kind != websocket.TextMessage:
			c.close(closeBadRequest, "Invalid message: messages are text")
		case int64(len(text)) > limit:
			c.close(closeTooBig, fmt.Sprintf("A message has at most %d bytes; send what is larger over HTTP", limit))
		case !utf8.Valid(text):
			c.close(closeNotText, "Messages are UTF-8") // RFC 6455, section 8.1
		default:
			c.take(text, tooLate)
			c.alive() // that may have waited for the client to read
		}
	}
}

// take does what a message says.
func (c *socket) take(text []byte, tooLate *time.Timer) {
	invalid := func(why string) { c.close(closeBadRequest, "Invalid message: "+why) }
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil || fields == nil {
		invalid("it is no JSON object")
		return
	}
	var kind, id string
	if err := json.Unmarshal(fields["type"], &kind); err != nil {
		invalid("its type is missing, or no string")
		return
	}
	payload := fields["payload"]
	if string(payload) == "null" {
		payload = nil
	}
	switch kind {
	case "subscribe", "complete":
		if err := json.Unmarshal(fields["id"], &id); err != nil || id == "" {
			invalid(kind + " needs an id: a string that is not empty")
			return
		}
	default:
		if len(payload) > 0 && payload[0] != '{' {
			invalid("its payload has to be an object")
			return
		}
	}
	switch kind {
	case "connection_init":
		if c.begun {
			c.close(closeSecondInit, "Too many initialisation requests")
			return
		}
		c.begun = true
		if code, why := c.authenticate(payload); why != "" {
			c.close(code, why)
			return
		}
		if !tooLate.Stop() {
			return // it is being closed
		}
		c.acknowledged = true
		_ = c.send(nil, "connection_ack", "", nil)
	case "ping":
		_ = c.send(nil, "pong", "", payload)
	case "pong":
	case "subscribe":
		if !c.acknowledged {
			c.close(closeUnauthorized, "Unauthorized: send connection_init, and wait for connection_ack")
			return
		}
		c.subscribe(id, payload)
	case "complete":
		c.mu.Lock()
		defer c.mu.Unlock()
		if o := c.operations[id]; o != nil { // else it is over already
			delete(c.operations, id)
			o.cancel()
		}
	default:
		invalid("a client sends no message of this type")
	}
}

// authenticate finds out whose a websocket is, by the payload of connection_init or else by
// the header or the session of its request; or says with which code and why it is refused.
func (c *socket) authenticate(payload json.RawMessage) (code int, why string) {
	var fields map[string]any
	if payload != nil {
		if err := json.Unmarshal(payload, &fields); err != nil {
			return closeBadRequest, "Invalid message: its payload has to be an object"
		}
	}
	header := ""
	for name, value := range fields {
		text, ok := value.(string)
		switch {
		case !strings.EqualFold(name, "authorization") || !ok || text == "":
		case header != "":
			return closeBadRequest, "Invalid message: its payload has more than one authorization"
		default:
			header = text
		}
	}
	if header != "" {
		token, err := c.server.bearer(c.ctx, header)
		if errors.Is(err, errToken) {
			return closeForbidden, "Forbidden: the API token is unknown, revoked or expired"
		}
		if err != nil {
			c.server.unchecked(c.ctx, err)
			return closeTryAgain, "The database does not answer at the moment; try again soon"
		}
		if why := c.connection.belongsTo(token); why != "" {
			return closeTryAgain, why
		}
		c.token = token
		c.outlive()
	}
	if c.token == nil && c.session != nil {
		return closeForbidden, sessionOver
	}
	if c.token == nil {
		return closeForbidden, `Forbidden: send {"authorization": "Bearer ..."} in the payload of connection_init`
	}
	c.ctx = resolvers.WithToken(c.ctx, c.token)
	return 0, ""
}

// subscribe begins an operation.
func (c *socket) subscribe(id string, payload json.RawMessage) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(payload, &fields); err != nil || fields == nil {
		c.close(closeBadRequest, "Invalid message: the payload of subscribe is an object with query")
		return
	}
	params, err := parameters(fields)
	if err == nil && (len(fields["query"]) == 0 || string(fields["query"]) == "null") {
		err = errNoQuery
	}
	if err != nil {
		c.close(closeBadRequest, "Invalid message: "+err.Error())
		return
	}
	ctx, cancel := context.WithCancel(c.ctx)
	o := &socketOperation{cancel: cancel}
	c.mu.Lock()
	_, exists := c.operations[id]
	count := len(c.operations)
	if !exists && count < maxOperations {
		c.operations[id] = o
	}
	c.mu.Unlock()
	switch {
	case exists:
		cancel()
		c.close(closeDuplicate, limited("Subscriber for "+id+" already exists"))
		return
	case count >= maxOperations:
		cancel()
		why := gqlError("TOO_MANY_OPERATIONS", fmt.Sprintf("A websocket has at most %d operations at a time: complete some, or open another.", maxOperations))
		_ = c.send(nil, "error", id, encodeList(why))
		return
	}
	if !c.connection.begin() {
		why := gqlError("TOO_MANY_OPERATIONS", fmt.Sprintf("An API token has at most %d operations at a time on the websockets of a node: complete some.", maxRunning))
		_ = c.send(o, "error", id, encodeList(why))
		cancel()
		return
	}
	go c.run(ctx, id, o, params)
}

// run executes an operation, and says that it is complete.
func (c *socket) run(ctx context.Context, id string, o *socketOperation, params *graphql.RawParams) {
	defer c.connection.done()
	defer o.cancel()
	defer func() {
		if p := recover(); p != nil {
			c.server.Log.ErrorContext(ctx, "an operation failed", "panic", p, "stack", string(debug.Stack()))
			_ = c.send(o, "error", id, encodeList(gqlError("INTERNAL", "Something went wrong in Platen. The log has it under the request id "+platen.RequestID(ctx)+".")))
		}
	}()
	operation, errs := c.server.prepare(ctx, params)
	if len(errs) > 0 {
		_ = c.send(o, "error", id, encodeList(c.server.refuse(ctx, operation, errs)...))
		return
	}
	// Who comes back after a restart subscribes to all again at once, and has bounds of
	// its own: so many at a time.
	if operation.Operation.Operation != ast.Subscription && !c.server.rates.take(c.connection.tokenID, time.Now()) {
		_ = c.send(o, "error", id, encodeList(c.server.rates.refusal()))
		return
	}
	c.server.execute(ctx, operation, func(answer []byte) error { return c.send(o, "next", id, answer) })
	if ctx.Err() == nil { // else nobody wants to know, or it is not complete
		_ = c.send(o, "complete", id, nil)
	}
}

var errOver = errors.New("the operation is over")

// send sends a message; one of an operation only while that is not complete, which it is
// after the message error or complete.
func (c *socket) send(of *socketOperation, kind, id string, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if of != nil {
		if c.operations[id] != of {
			return errOver
		}
		if kind != "next" {
			delete(c.operations, id) // the client may use it again as soon as it reads this
		}
	}
	text := make([]byte, 0, len(payload)+len(id)+50)
	text = append(text, '{')
	if id != "" {
		quoted, err := json.Marshal(id)
		if err != nil {
			return err
		}
		text = append(append(append(text, `"id":`...), quoted...), ',')
	}
	text = append(append(append(text, `"type":"`...), kind...), '"')
	if payload != nil {
		text = append(append(text, `,"payload":`...), payload...)
	}
	c.slow.Reset(writeTime)
	defer c.slow.Stop()
	_ = c.conn.SetWriteDeadline(time.Now().Add(2 * writeTime))
	err := c.conn.WriteMessage(websocket.TextMessage, append(text, '}'))
	if err != nil && !errors.Is(err, websocket.ErrCloseSent) { // then it waits for the client's answer
		c.cancel()
		_ = c.conn.Close()
	}
	return err
}

// limited cuts a reason to what a close frame has room for (RFC 6455, section 5.5).
func limited(reason string) string {
	const most = 123
	if len(reason) > most {
		reason = strings.ToValidUTF8(reason[:most], "")
	}
	return reason
}
