package server

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// timed is a response whose connection has a deadline for writing.
type timed struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (w *timed) SetWriteDeadline(at time.Time) error { w.deadline = at; return nil }

// The connection of a stream that is complete serves other requests.
func TestAStreamOfEventsLeavesNoDeadlineBehind(t *testing.T) {
	t.Parallel()
	w := &timed{ResponseRecorder: httptest.NewRecorder()}
	e := &eventStream{w: w, control: http.NewResponseController(w)}
	if err := e.next([]byte("{\n}")); err != nil || w.deadline.Before(time.Now()) {
		t.Errorf("while it is being sent: %v %v", w.deadline, err)
	}
	if err := e.end(); err != nil || !w.deadline.IsZero() {
		t.Errorf("afterwards: %v %v", w.deadline, err)
	}
	if got := w.Body.String(); got != "event: next\ndata: { }\n\nevent: complete\ndata: \n\n" {
		t.Errorf("%q", got)
	}
}
