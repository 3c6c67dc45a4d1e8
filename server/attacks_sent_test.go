package server_test

import (
	"encoding/json"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"platen/server"
	"platen/storage/storagetest"
)

// T6: what is too complex is refused with a code, over HTTP and over a websocket, and
// whoever sent it is served on.
func TestT6AnAttackIsRefusedWithACodeHoweverItIsSent(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	_, token, _ := storagetest.Account(t, db)
	s := serve(t, db, io.Discard)
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	dialer := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}}
	conn, _, err := dialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(web.URL, "http")+"/graphql", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	exchange := func(message any) (answer struct {
		Type    string
		Payload json.RawMessage
	}) {
		t.Helper()
		if err := conn.WriteJSON(message); err != nil {
			t.Fatal(err)
		}
		if err := conn.ReadJSON(&answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
	type message map[string]any
	if answer := exchange(message{"type": "connection_init", "payload": message{"authorization": "Bearer " + token}}); answer.Type != "connection_ack" {
		t.Fatalf("%+v", answer)
	}
	for name, attack := range server.Attacks(t) {
		if attack.Reason == "" {
			continue
		}
		for _, as := range []string{"", "application/graphql-response+json"} {
			r, w := request(t, token, attack.Query, nil), httptest.NewRecorder()
			r.Header.Set("Accept", as)
			if as == "" {
				r.Header.Del("Accept")
			}
			s.ServeHTTP(w, r)
			if body := w.Body.String(); w.Code != 400 || !strings.Contains(body, `"code":"DOCUMENT_TOO_COMPLEX"`) || !strings.Contains(body, attack.Reason) {
				t.Errorf("%s, wanted as %q: %d %.300s", name, as, w.Code, body)
			}
		}
		if len(attack.Query) > 1<<20 {
			continue // no message is so long: see below
		}
		query := strings.Replace(attack.Query, "query", "subscription", 1)
		answer := exchange(message{"type": "subscribe", "id": name, "payload": message{"query": query}})
		if answer.Type != "error" || !strings.Contains(string(answer.Payload), `"code":"DOCUMENT_TOO_COMPLEX"`) {
			t.Errorf("%s, over a websocket: %s %.300s", name, answer.Type, answer.Payload)
		}
	}
	if answer := exchange(message{"type": "subscribe", "id": "1", "payload": message{"query": `{ currentApiToken { environment } }`}}); answer.Type != "next" ||
		string(answer.Payload) != `{"data":{"currentApiToken":{"environment":"LIVE"}}}` {
		t.Errorf("afterwards: %s %s", answer.Type, answer.Payload)
	}
	// Long lists in variables cost what their reading costs.
	long := make([]string, 200_000)
	for i := range long {
		long[i] = "x"
	}
	for _, variables := range []map[string]any{{"ids": long}, {"ids": nested(9000)}} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, request(t, token, `query ($ids: [ID!]!) { nodes(ids: $ids) { id } }`, variables))
		if body := w.Body.String(); !strings.Contains(body, `"errors"`) || len(body) > 10_000 {
			t.Errorf("%d %.300s", w.Code, body)
		}
	}
}

// nested is a list in a list, so deep.
func nested(depth int) json.RawMessage {
	return json.RawMessage(strings.Repeat("[", depth) + strings.Repeat("]", depth))
}
