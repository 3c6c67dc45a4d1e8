package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"platen/resolvers"
)

// slowResponse is a response to a client that takes a time for each piece. Its connection
// has a deadline for writing.
type slowResponse struct {
	*httptest.ResponseRecorder
	takes time.Duration

	mu       sync.Mutex
	deadline time.Time
	moved    chan struct{} // closed when the deadline is another one
	over     bool          // the handler has returned
	after    int           // writes since then
}

func newSlowResponse(takes time.Duration) *slowResponse {
	return &slowResponse{ResponseRecorder: httptest.NewRecorder(), takes: takes, moved: make(chan struct{})}
}

func (w *slowResponse) SetWriteDeadline(at time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = at
	close(w.moved)
	w.moved = make(chan struct{})
	return nil
}

func (w *slowResponse) Write(p []byte) (int, error) {
	for taken := time.After(w.takes); ; {
		w.mu.Lock()
		if w.over {
			w.after++
		}
		deadline, moved := w.deadline, w.moved
		w.mu.Unlock()
		left := time.Hour
		if !deadline.IsZero() {
			left = time.Until(deadline)
		}
		select {
		case <-taken:
			return w.ResponseRecorder.Write(p)
		case <-moved:
		case <-time.After(left):
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// serve answers a query with a stream, and notes when the handler returns.
func (w *slowResponse) serve(h *house, query string) (aborted bool) {
	defer func() {
		aborted = recover() != nil
		w.mu.Lock()
		w.over = true
		w.mu.Unlock()
	}()
	ctx := resolvers.WithToken(context.Background(), someToken)
	operation, errs := h.prepare(ctx, &graphql.RawParams{Query: query})
	h.stream(w, httptest.NewRequestWithContext(ctx, http.MethodPost, "/graphql", nil), operation, errs)
	return false
}

// The connection of a stream that is complete serves other requests.
func TestAStreamOfEventsLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	w := newSlowResponse(0)
	e := &eventStream{w: w, control: http.NewResponseController(w)}
	if err := e.next([]byte("{\n}")); err != nil || w.deadline.Before(time.Now()) {
		t.Errorf("while it is being sent: %v %v", w.deadline, err)
	}
	if err := e.end(); err != nil {
		t.Error(err)
	}
	deadline := w.deadline
	if e.comment() == nil || e.next([]byte("{}")) == nil {
		t.Error("something is written after the end")
	}
	e.abort()
	e.over()
	if got := w.Body.String(); got != "event: next\ndata: { }\n\nevent: complete\ndata: \n\n" || !w.deadline.Equal(deadline) {
		t.Errorf("%q %v", got, w.deadline)
	}
}

// After its handler, a response belongs to somebody else: net/http crashes the process, or
// gives the bytes to another connection.
func TestAStreamOfEventsWritesNothingOnceItsHandlerHasReturned(t *testing.T) {
	t.Parallel()
	for _, takes := range []time.Duration{0, writeTime - time.Second} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.exec = answering(`{"big":"` + strings.Repeat("x", 3*pieceSize) + `"}`) // comments come while it is sent
			w := newSlowResponse(takes)
			if w.serve(h, `{ hang }`) {
				t.Error("cut off")
			}
			time.Sleep(time.Hour)
			if w.after > 0 || !strings.HasSuffix(w.Body.String(), "event: complete\ndata: \n\n") {
				t.Errorf("%d writes afterwards", w.after)
			}
			h.empty()
		})
	}
}

func TestR1_2AStreamOfEventsThatIsBeingReadSlowlyIsCutOffAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.exec = answering(`{"big":"` + strings.Repeat("x", 1<<20) + `"}`)
		w := newSlowResponse(writeTime - time.Second)
		ended := make(chan bool)
		go func() { ended <- w.serve(h, `{ hang }`) }()
		time.Sleep(writeTime + writeTime/2) // in the midst of a piece
		start := time.Now()
		h.connections.close(closeForbidden, "revoked", func(*connection) bool { return true })
		if aborted := <-ended; !aborted || time.Since(start) > 0 {
			t.Errorf("cut off: %v, after %v", aborted, time.Since(start))
		}
		h.empty()
	})
}
