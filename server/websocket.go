package server

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler/transport"
	"github.com/gorilla/websocket"

	"platen/resolvers"
	"platen/storage"
)

// Close codes of graphql-transport-ws
// (https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md).
const (
	closeForbidden       = 4403
	closeBadSubprotocol  = 4406
	subprotocol          = "graphql-transport-ws"
	socketWriteTimeout   = 10 * time.Second
	socketClosing        = time.Second
	tokenCheckInterval   = 2 * time.Second
	closeReasonTokenOver = "the API token was revoked or has expired"
)

// websocketTransport is gqlgen's transport on gorilla/websocket. gqlgen itself
// knows neither when a token is revoked nor when the server stops, and leaves the
// connection open after some malformed messages.
type websocketTransport struct {
	sockets *sockets
	inner   transport.Websocket
}

func (t websocketTransport) Supports(r *http.Request) bool { return t.inner.Supports(r) }

func (t websocketTransport) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	s := &socket{}
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), socketKey{}, s))
	defer cancel()
	t.sockets.add(s)
	defer t.sockets.remove(s)
	defer s.end()
	t.inner.Implementation = accept(func(c *websocket.Conn) *socket { s.open(c); return s })
	t.inner.Do(w, r.WithContext(ctx), exec)
}

// accept is a transport.WebsocketImplementation on gorilla/websocket.
type accept func(*websocket.Conn) *socket

// upgrader lets every origin in: a websocket is authenticated by the token in its
// connection_init, never by a cookie that a browser would send unasked.
var upgrader = websocket.Upgrader{Subprotocols: []string{subprotocol}, CheckOrigin: func(*http.Request) bool { return true },
	WriteBufferPool: &sync.Pool{}}

func (open accept) Accept(w http.ResponseWriter, r *http.Request, _ transport.WebsocketAcceptOptions) (transport.WebsocketConn, error) {
	// gorilla asks for the connection by type assertion, which the recorder of the
	// log would hide.
	for {
		wrapped, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = wrapped.Unwrap()
	}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return nil, err
	}
	s := open(conn)
	if conn.Subprotocol() == "" {
		s.close(closeBadSubprotocol, "speak "+subprotocol)
	}
	return s, nil
}

type socketKey struct{}

// socket is one websocket.
type socket struct {
	mu      sync.Mutex
	conn    *websocket.Conn
	tokenID string
	closed  bool
}

func (s *socket) open(conn *websocket.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = conn
}

// close says why, and ends the connection. Only the first call says anything.
func (s *socket) close(code int, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.conn == nil {
		return
	}
	s.closed = true
	_ = s.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(socketClosing))
	// The peer gets a moment to answer the close frame: dropping the connection at
	// once could make it lose the frame itself.
	_ = s.conn.SetReadDeadline(time.Now().Add(socketClosing))
}

// end drops the connection, whatever state it is in.
func (s *socket) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

// The rest implements transport.WebsocketConn for gqlgen.

func (s *socket) Subprotocol() string { return subprotocol }

func (s *socket) NextReader() (int, io.Reader, error) {
	kind, r, err := s.conn.NextReader()
	if websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived) {
		err = transport.ErrWebsocketClosed
	}
	return kind, r, err
}

func (s *socket) SetReadLimit(limit int64) { s.conn.SetReadLimit(limit) }

func (s *socket) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil // the deadline of closing stays
	}
	return s.conn.SetReadDeadline(t)
}

func (s *socket) WriteJSON(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(socketWriteTimeout)); err != nil {
		return err
	}
	return s.conn.WriteMessage(websocket.TextMessage, text)
}

func (s *socket) WriteClose(code int, reason string) error {
	s.close(code, reason)
	return nil
}

// Close implements io.Closer. gqlgen calls it right after WriteClose; the
// connection is dropped when its reader has seen the answer or the deadline.
func (s *socket) Close() error { return nil }

// sockets are all websockets of this node.
type sockets struct {
	db  *storage.DB
	log *slog.Logger

	mu  sync.Mutex
	all map[*socket]struct{}
}

func newSockets(db *storage.DB, log *slog.Logger) *sockets {
	return &sockets{db: db, log: log, all: map[*socket]struct{}{}}
}

func (s *sockets) add(one *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[one] = struct{}{}
}

func (s *sockets) remove(one *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, one)
}

// authenticated notes whose websocket this is.
func (s *sockets) authenticated(ctx context.Context) {
	one, ok := ctx.Value(socketKey{}).(*socket)
	if !ok {
		return
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	one.tokenID = resolvers.TokenID(ctx)
}

func (s *sockets) list() []*socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*socket, 0, len(s.all))
	for one := range s.all {
		list = append(list, one)
	}
	return list
}

// closeAll tells every client to come back: graphql-ws clients do on 1001.
func (s *sockets) closeAll() {
	for _, one := range s.list() {
		one.close(websocket.CloseGoingAway, "the server is stopping")
	}
}

// watch closes the websockets of tokens that are no longer good (R1.2).
func (s *sockets) watch(ctx context.Context) {
	ticker := time.NewTicker(tokenCheckInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		byToken := map[string][]*socket{}
		for _, one := range s.list() {
			one.mu.Lock()
			if one.tokenID != "" {
				byToken[one.tokenID] = append(byToken[one.tokenID], one)
			}
			one.mu.Unlock()
		}
		if len(byToken) == 0 {
			continue
		}
		ids := make([]string, 0, len(byToken))
		for id := range byToken {
			ids = append(ids, id)
		}
		ended, err := s.db.EndedAPITokens(ctx, ids)
		if err != nil {
			if ctx.Err() == nil {
				s.log.WarnContext(ctx, "whether tokens were revoked could not be checked", "error", err)
			}
			continue
		}
		for id, list := range byToken {
			if slices.Contains(ended, id) {
				for _, one := range list {
					one.close(closeForbidden, closeReasonTokenOver)
				}
			}
		}
	}
}
