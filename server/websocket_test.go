package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"platen"
	"platen/resolvers"
)

// These tests are about time and about what is left when a websocket is over. They run in
// bubbles of testing/synctest, where a minute takes no time, and whose end waits for every
// goroutine: one that was left behind fails its test. cmd/platen tests the protocol.

// house is a server in a bubble, whose connections are pipes: nothing is on its way that
// was not read.
type house struct {
	*Server
	t *testing.T
}

func newHouse(t *testing.T) *house {
	s := New(Options{Resolvers: &resolvers.Root{}, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
	s.exec = executor.New(hanging)
	return &house{Server: s, t: t}
}

// hanging is a schema whose one field is never answered; an operation named panics does.
var hanging = &graphql.ExecutableSchemaMock{
	SchemaFunc: func() *ast.Schema {
		return gqlparser.MustLoadSchema(&ast.Source{Input: `type Query { hang: Int }`})
	},
	ExecFunc: func(ctx context.Context) graphql.ResponseHandler {
		if graphql.GetOperationContext(ctx).Operation.Name == "panics" {
			panic("of a test")
		}
		return func(ctx context.Context) *graphql.Response {
			<-ctx.Done()
			return &graphql.Response{Data: []byte(`{"hang":1}`)}
		}
	},
	ComplexityFunc: func(context.Context, string, string, int, map[string]any) (int, bool) { return 0, false },
}

// answering executes everything to the same data.
func answering(data string) *executor.Executor {
	return executor.New(&graphql.ExecutableSchemaMock{SchemaFunc: hanging.SchemaFunc, ComplexityFunc: hanging.ComplexityFunc,
		ExecFunc: func(context.Context) graphql.ResponseHandler {
			return graphql.OneShot(&graphql.Response{Data: []byte(data)})
		}})
}

// hijacked is the answer to a request whose connection is taken over.
type hijacked struct {
	http.ResponseWriter
	conn net.Conn
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// dial opens a websocket with a token in its header, or nil.
func (h *house) dial(token *platen.APIToken) *websocket.Conn {
	h.t.Helper()
	return h.dialThrough(token, func(server net.Conn) net.Conn { return server })
}

// dialThrough is dial with something at the server's end of the connection.
func (h *house) dialThrough(token *platen.APIToken, end func(net.Conn) net.Conn) *websocket.Conn {
	h.t.Helper()
	ours, theirs := net.Pipe()
	go func() {
		request, err := http.ReadRequest(bufio.NewReader(theirs))
		if err != nil {
			h.t.Error(err)
			return
		}
		h.websocket(hijacked{conn: end(theirs)}, request.WithContext(resolvers.WithToken(request.Context(), token)))
	}()
	dialer := websocket.Dialer{Subprotocols: []string{subprotocol}, NetDial: func(string, string) (net.Conn, error) { return ours, nil }}
	conn, _, err := dialer.Dial("ws://platen/graphql", nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return conn
}

var someToken = &platen.APIToken{ID: "tok_1", AccountID: "acc_1"}

// acknowledged opens a websocket that may have operations.
func (h *house) acknowledged() *websocket.Conn {
	h.t.Helper()
	conn := h.dial(someToken)
	say(h.t, conn, `{"type":"connection_init"}`)
	hear(h.t, conn, `{"type":"connection_ack"}`)
	return conn
}

// empty expects that there is no connection any more.
func (h *house) empty() {
	h.t.Helper()
	synctest.Wait()
	counts(h.t, h.connections, nil)
}

func say(t *testing.T, conn *websocket.Conn, text string) {
	t.Helper()
	if err := conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// read is the next message. Pings keep a bubble's time going: it has to end.
func read(conn *websocket.Conn) (text string, err error) {
	_ = conn.SetReadDeadline(time.Now().Add(time.Hour))
	_, content, err := conn.ReadMessage()
	return string(content), err
}

func hear(t *testing.T, conn *websocket.Conn, want string) {
	t.Helper()
	if text, err := read(conn); err != nil || text != want {
		t.Fatalf("got %.200s %v, want %.200s", text, err, want)
	}
}

// closed expects a close frame next, and the end of the connection after it.
func closed(t *testing.T, conn *websocket.Conn, code int, reason string) {
	t.Helper()
	text, err := read(conn)
	var end *websocket.CloseError
	if !errors.As(err, &end) || end.Code != code || !strings.Contains(end.Text, reason) {
		t.Fatalf("got %.200s %v, want %d %s", text, err, code, reason)
	}
	if n, err := conn.NetConn().Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		t.Errorf("after the close frame: %d bytes, %v", n, err)
	}
}

func TestR7_4TheInitialisationTimeoutIsKeptToTheSecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		conn := h.dial(nil)
		time.Sleep(initTime - time.Second)
		say(t, conn, `{"type":"ping"}`) // does not make it longer
		hear(t, conn, `{"type":"pong"}`)
		start := time.Now()
		closed(t, conn, closeInitTimeout, "Connection initialisation timeout")
		if took := time.Since(start); took != time.Second {
			t.Errorf("closed %v too late", took-time.Second)
		}
		h.empty()

		conn = h.dial(someToken)
		time.Sleep(initTime - time.Nanosecond)
		say(t, conn, `{"type":"connection_init"}`)
		hear(t, conn, `{"type":"connection_ack"}`)
		time.Sleep(initTime)
		say(t, conn, `{"type":"ping"}`)
		hear(t, conn, `{"type":"pong"}`)
		conn.Close()
		h.empty()
	})
}

// "Operation execution errors can occur before execution starts, or during the execution of
// the request. This message terminates the operation and no further messages will be sent."
func TestR7_4AnOperationThatPanicsEndsWithAnErrorAndNothingElseDoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		conn := h.acknowledged()
		say(t, conn, `{"id":"1","type":"subscribe","payload":{"query":"{ hang }"}}`)
		for range 2 { // its id is free again
			say(t, conn, `{"id":"2","type":"subscribe","payload":{"query":"query panics { hang }"}}`)
			text, err := read(conn)
			if err != nil || !strings.HasPrefix(text, `{"id":"2","type":"error","payload":[{"message":"Something went wrong`) || strings.Contains(text, "of a test") {
				t.Fatalf("%s %v", text, err)
			}
			synctest.Wait()
			say(t, conn, `{"type":"ping"}`)
			hear(t, conn, `{"type":"pong"}`)
		}
		conn.Close()
		h.empty()
	})
}

func TestWhoFindsNoRoomIsToldToComeBackBeforeThereIsAWebsocket(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.connections.strangers, h.connections.maxOf = 0, 0
	for _, token := range []*platen.APIToken{nil, someToken} {
		request := httptest.NewRequestWithContext(resolvers.WithToken(t.Context(), token), http.MethodGet, "/graphql", nil)
		answer := httptest.NewRecorder()
		h.websocket(answer, request)
		if answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") == "" || !strings.Contains(answer.Body.String(), `"UNAVAILABLE"`) {
			t.Errorf("%d %v %s", answer.Code, answer.Header(), answer.Body)
		}
	}
	counts(t, h.connections, nil)
}

func TestR7_4WhoIsGoneWithoutAWordIsNotKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		var all []*websocket.Conn
		for range 5 {
			all = append(all, h.dial(nil), h.acknowledged())
			conn := h.acknowledged()
			for n := range maxOperations {
				say(t, conn, fmt.Sprintf(`{"id":"%d","type":"subscribe","payload":{"query":"{ hang }"}}`, n))
			}
			all = append(all, conn)
		}
		synctest.Wait()
		counts(t, h.connections, map[string]int{"": 5, someToken.ID: 10})
		for _, conn := range all {
			conn.NetConn().Close() // no close frame
		}
		h.empty()
	})
}

// A network that fails closes nothing: nobody answers any more.
func TestR7_4WhoDoesNotAnswerPingsIsNotKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		silent, alive := h.acknowledged(), h.acknowledged()
		pinged := 0
		silent.SetPingHandler(func(string) error { pinged++; return nil })
		say(t, silent, `{"id":"1","type":"subscribe","payload":{"query":"{ hang }"}}`)
		start := time.Now()
		var silence time.Duration
		go func() {
			_, _, _ = silent.ReadMessage()
			silence = time.Since(start)
		}()
		go func() { _, _, _ = alive.ReadMessage() }() // answers pings, and says nothing itself
		time.Sleep(time.Hour)
		synctest.Wait()
		if silence != 2*pingInterval || pinged == 0 {
			t.Errorf("cut off after %v and %d pings, want %v", silence, pinged, 2*pingInterval)
		}
		counts(t, h.connections, map[string]int{someToken.ID: 1})
		alive.NetConn().Close()
		h.empty()
		silent.Close()
	})
}

func TestR7_5ASlowReaderIsToldSoOnceItReads(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		reads   time.Duration // on, after this
		tooSlow bool
	}{
		"just in time":   {writeTime - time.Second, false},
		"a moment late":  {writeTime + time.Second, true},
		"before the end": {2*writeTime - time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				conn, other := h.acknowledged(), h.acknowledged()
				say(t, conn, `{"id":"1","type":"subscribe","payload":{"query":"{ hang }"}}`)
				say(t, conn, `{"type":"ping"}`)
				time.Sleep(test.reads)
				say(t, other, `{"type":"ping"}`)
				hear(t, other, `{"type":"pong"}`)
				hear(t, conn, `{"type":"pong"}`) // what was being sent is sent whole
				if test.tooSlow {
					closed(t, conn, closeTryAgain, "Too slow")
				} else { // each message has its own time
					time.Sleep(writeTime)
					say(t, conn, `{"type":"ping"}`)
					hear(t, conn, `{"type":"pong"}`)
					conn.Close()
				}
				synctest.Wait()
				counts(t, h.connections, map[string]int{someToken.ID: 1})
				other.Close()
				h.empty()
			})
		})
	}
}

// slowly is a connection that takes 4 KiB in a fifth of a second.
type slowly struct{ net.Conn }

func (c slowly) Write(b []byte) (written int, err error) {
	for err == nil && written < len(b) {
		time.Sleep(200 * time.Millisecond)
		var n int
		n, err = c.Conn.Write(b[written:min(written+4096, len(b))])
		written += n
	}
	return written, err
}

func TestR7_5ALargeMessageMayTakeLongIfTheClientReadsOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		data := `{"x":"` + strings.Repeat("x", 2<<20) + `"}`
		h.exec = answering(data)
		conn := h.dialThrough(someToken, func(server net.Conn) net.Conn { return slowly{server} })
		say(t, conn, `{"type":"connection_init"}`)
		hear(t, conn, `{"type":"connection_ack"}`)
		start := time.Now()
		say(t, conn, `{"id":"1","type":"subscribe","payload":{"query":"{ hang }"}}`)
		hear(t, conn, `{"id":"1","type":"next","payload":{"data":`+data+`}}`)
		if took := time.Since(start); took < 4*pingInterval {
			t.Errorf("it took %v, and shows nothing", took)
		}
		hear(t, conn, `{"id":"1","type":"complete"}`)
		// The same of an answer that the server's reader waits for.
		payload := `{"x":"` + strings.Repeat("x", 1000<<10) + `"}`
		say(t, conn, `{"type":"ping","payload":`+payload+`}`)
		hear(t, conn, `{"type":"pong","payload":`+payload+`}`)
		say(t, conn, `{"type":"ping"}`)
		hear(t, conn, `{"type":"pong"}`)
		conn.Close()
		h.empty()
	})
}

func TestR1_2AWebsocketThatIsNotReadIsClosedInTimeAllTheSame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		conn := h.acknowledged()
		say(t, conn, `{"type":"ping"}`) // whose answer is not read
		time.Sleep(time.Second)
		go h.connections.close(closeForbidden, "revoked", func(*connection) bool { return true })
		time.Sleep(2 * closingTime)
		h.empty()
		conn.Close()
	})
}

func TestR7_5WhoNeverReadsIsCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		conn := h.acknowledged()
		say(t, conn, `{"id":"1","type":"subscribe","payload":{"query":"{ hang }"}}`)
		say(t, conn, `{"type":"ping"}`)
		time.Sleep(2*writeTime - time.Second)
		synctest.Wait()
		counts(t, h.connections, map[string]int{someToken.ID: 1})
		time.Sleep(2 * time.Second)
		h.empty()
		conn.Close()
	})
}

// A node that stops does not wait for clients that do not read.
func TestR7_4StoppingTellsWhoReadsAndWaitsForNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		deaf := h.acknowledged()
		say(t, deaf, `{"type":"ping"}`)
		var readers []*websocket.Conn
		for range 3 {
			conn := h.acknowledged()
			say(t, conn, `{"id":"1","type":"subscribe","payload":{"query":"{ hang }"}}`)
			readers = append(readers, conn, h.dial(nil))
		}
		synctest.Wait()
		start := time.Now()
		go func() {
			for _, conn := range readers {
				closed(t, conn, closeGoingAway, stopping) // and no complete before
			}
		}()
		h.Drain()
		if took := time.Since(start); took > closingTime {
			t.Errorf("it took %v", took)
		}
		time.Sleep(time.Minute)
		h.empty()
		deaf.Close()
	})
}

// It can be closed before it is one: its token may be revoked, or the node stop, while its
// handshake is being answered.
func TestR7_4AWebsocketThatIsClosedBeforeItIsOpenIsToldWhy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		conn := h.dialThrough(nil, func(server net.Conn) net.Conn { return stopsFirst{server, h.Drain} })
		// It says at once who it is, as clients do. If nobody read that, the system could
		// reset the connection, and the close frame would be lost.
		go func() {
			if err := conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"connection_init"}`)); err != nil {
				t.Error(err)
			}
		}()
		time.Sleep(closingTime / 2)
		closed(t, conn, closeGoingAway, stopping)
		h.empty()
		conn.Close()
	})
}

// stopsFirst is a connection on which something happens before anything is sent.
type stopsFirst struct {
	net.Conn
	first func()
}

func (s stopsFirst) Write(p []byte) (int, error) {
	s.first()
	return s.Conn.Write(p)
}
