package server

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"

	"platen"
	"platen/resolvers"
)

// What the guard lets pass is within its limits, as a plain look at it finds them, and is
// validated in a time that its length bounds.
func FuzzTheGuardBoundsWhatItLetsPass(f *testing.F) {
	for _, attack := range Attacks(f) {
		if len(attack.Query) < 4<<10 {
			f.Add(attack.Query)
		}
	}
	f.Add(`query Q($n: Int = 3) { submissions(first: $n) { edges { cursor node { ... on Submission @include(if: true) { id } } } } }`)
	s := New(Options{Resolvers: &resolvers.Root{Log: slog.New(slog.DiscardHandler)}, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
	f.Fuzz(func(t *testing.T, query string) {
		start := time.Now()
		operation, errs := s.prepare(t.Context(), &graphql.RawParams{Query: query})
		if took := time.Since(start); took > 2*time.Second*slowness {
			t.Errorf("%d bytes took %v", len(query), took)
		}
		if len(errs) > toldErrors {
			t.Errorf("%d mistakes are told", len(errs))
		}
		if len(errs) > 0 {
			return
		}
		if len(query) > defaultGuard.bytes || len(operation.Doc.Fragments) > defaultGuard.fragments {
			t.Error("too long, or too many fragments")
		}
		document, err := parser.ParseQuery(&ast.Source{Input: query})
		if err != nil {
			t.Fatal(err)
		}
		var look func(set ast.SelectionSet, depth, inline int)
		look = func(set ast.SelectionSet, depth, inline int) {
			if len(set) > defaultGuard.perSet || len(set) > 0 && max(depth, inline) > defaultGuard.depth {
				t.Errorf("%d in one place, %d deep", len(set), depth)
			}
			for _, selection := range set {
				switch one := selection.(type) {
				case *ast.Field:
					if len(one.Directives) > defaultGuard.directives {
						t.Error("directives")
					}
					look(one.SelectionSet, depth+1, 0)
				case *ast.InlineFragment:
					look(one.SelectionSet, depth, inline+1)
				}
			}
		}
		for _, operation := range document.Operations {
			look(operation.SelectionSet, 1, 0)
		}
		for _, fragment := range document.Fragments {
			look(fragment.SelectionSet, 1, 0)
		}
	})
}

// After any message a websocket is closed with a code and a reason, or answers the next.
func FuzzAWebsocketAnswersOrSaysWhyItIsClosed(f *testing.F) {
	for _, seed := range []string{``, `{}`, `null`, `[]`, `{"type":"ping"}`, `{"type":"ping","payload":null}`, `{"type":"pong","payload":[]}`, `{"type":"connection_init"}`,
		`{"type":"subscribe","id":"1","payload":{"query":"{hang}"}}`, `{"type":"subscribe","id":"1","payload":{"query":7}}`, `{"type":"subscribe","id":"","payload":{}}`,
		`{"type":"complete","id":"1"}`, `{"type":"complete","id":1}`, `{"type":"next","id":"1"}`, `{"type":"ping"}{"type":"ping"}`, `{"type":"ping","type":"x"}`, "\xff",
		`{"type":"subscribe","id":"1","payload":{"query":"{hang}","variables":[]}}`, `{"type":"subscribe","id":"1","payload":{"extensions":{"persistedQuery":{"version":1}}}}`,
		strings.Repeat("[", 20_000)} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	s := New(Options{Resolvers: &resolvers.Root{Log: slog.New(slog.DiscardHandler)}, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
	s.exec = answering(`{"hang":1}`)
	web := httptest.NewServer(s.known())
	f.Cleanup(web.Close)
	dialer := websocket.Dialer{Subprotocols: []string{subprotocol}}
	f.Fuzz(func(t *testing.T, message string, known bool) {
		conn, _, err := dialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(web.URL, "http"), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		send := func(text string) { _ = conn.WriteMessage(websocket.TextMessage, []byte(text)) } // it may be closed
		if known {
			send(`{"type":"connection_init"}`)
		}
		send(message)
		send(`{"type":"ping","payload":{"is":"the last"}}`)
		for {
			_, text, err := conn.ReadMessage()
			if closed, ok := err.(*websocket.CloseError); ok {
				if closed.Code < 1000 || closed.Code == websocket.CloseAbnormalClosure || closed.Text == "" {
					t.Errorf("%q: closed with %v", message, closed)
				}
				return
			}
			if err != nil {
				t.Fatalf("%q: %v", message, err)
			}
			if strings.Contains(string(text), "the last") {
				return
			}
		}
	})
}

// known serves websockets of somebody who has a token.
func (s *Server) known() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.websocket(w, r.WithContext(resolvers.WithToken(r.Context(), &platen.APIToken{ID: platen.NewID(platen.KindAPIToken), AccountID: "acc_1"})))
	})
}
