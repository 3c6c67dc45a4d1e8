package server

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"platen/resolvers"
)

// stream answers an operation with Server-Sent Events, as GraphQL over SSE says in its
// mode of distinct connections
// (https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md): a `next` for each
// result, those that name mistakes of the request included, then `complete`.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, operation *graphql.OperationContext, errs gqlerror.List) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	// Nothing can be said to a client whose token was revoked, or who should go to another
	// node: `complete` would mean that there is no more to come. Cut off, it comes back.
	connection, why := s.connections.open(resolvers.Token(ctx), func(int, string) { cancel() })
	if why != "" {
		w.Header().Set("Retry-After", "10")
		answerErrors(w, typeJSON, http.StatusServiceUnavailable, gqlError("UNAVAILABLE", why))
		return
	}
	defer connection.over()
	h := w.Header()
	h.Set("Content-Type", typeEvents+"; charset=utf-8")
	h.Set("X-Accel-Buffering", "no") // nginx would gather what is to be seen at once
	out := &eventStream{w: w, control: http.NewResponseController(w)}
	w.WriteHeader(http.StatusOK)
	defer func() {
		if p := recover(); p != nil {
			s.Log.ErrorContext(ctx, "answering a stream of events failed", "panic", p, "stack", string(debug.Stack()))
			panic(http.ErrAbortHandler)
		}
	}()
	const comment = ":\n\n"
	defer every(pingInterval, func() { // it finds out about clients that are gone without a word
		if out.write(comment) != nil {
			cancel()
		}
	})()
	_ = out.write(comment) // the stream stands, whenever the first result comes
	if len(errs) > 0 {
		_ = out.next(encodeErrors(s.refuse(ctx, operation, errs)))
	} else {
		s.execute(ctx, operation, out.next)
	}
	if ctx.Err() != nil || out.end() != nil {
		panic(http.ErrAbortHandler) // a proper end would say that there is no more to come
	}
}

// eventStream writes events, each at once and whole.
type eventStream struct {
	mu      sync.Mutex
	w       http.ResponseWriter
	control *http.ResponseController
}

// next writes a result. Its JSON may have line breaks between its values, which would end
// the line of an event.
func (e *eventStream) next(answer []byte) error {
	if bytes.ContainsAny(answer, "\r\n") {
		answer = bytes.Map(func(r rune) rune {
			if r == '\r' || r == '\n' {
				return ' '
			}
			return r
		}, answer)
	}
	return e.write("event: next\ndata: " + string(answer) + "\n\n")
}

// end says that there is no more to come. The connection may serve other requests then,
// which have not the time of this one.
func (e *eventStream) end() error {
	err := e.write("event: complete\ndata: \n\n")
	_ = e.control.SetWriteDeadline(time.Time{})
	return err
}

func (e *eventStream) write(text string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(text) > 0 {
		n := min(len(text), pieceSize)
		_ = e.control.SetWriteDeadline(time.Now().Add(writeTime)) // not every connection has one
		if _, err := io.WriteString(e.w, text[:n]); err != nil {
			return err
		}
		text = text[n:]
	}
	return e.control.Flush()
}
