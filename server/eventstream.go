package server

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"slices"
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
	out := &eventStream{w: w, control: http.NewResponseController(w)}
	// Nothing can be said to a client whose token was revoked, or who should go to another
	// node: `complete` would mean that there is no more to come. Cut off, it comes back.
	connection, why := s.connections.open(resolvers.Token(ctx), func(int, string) { cancel(); out.abort() })
	if why != "" {
		w.Header().Set("Retry-After", "10")
		answerErrors(w, typeJSON, http.StatusServiceUnavailable, gqlError("UNAVAILABLE", why))
		return
	}
	defer connection.over()
	defer out.over()
	h := w.Header()
	h.Set("Content-Type", typeEvents+"; charset=utf-8")
	h.Set("X-Accel-Buffering", "no") // nginx would gather what is to be seen at once
	w.WriteHeader(http.StatusOK)
	defer func() {
		if p := recover(); p != nil {
			s.Log.ErrorContext(ctx, "answering a stream of events failed", "panic", p, "stack", string(debug.Stack()))
			panic(http.ErrAbortHandler)
		}
	}()
	defer every(pingInterval, func() { // it finds out about clients that are gone without a word
		if out.comment() != nil {
			cancel()
		}
	})()
	_ = out.comment() // the stream stands, whenever the first result comes
	if len(errs) > 0 {
		_ = out.next(encodeErrors(s.refuse(ctx, operation, errs)))
	} else {
		s.execute(ctx, operation, out.next)
	}
	if ctx.Err() != nil || out.end() != nil {
		panic(http.ErrAbortHandler) // a proper end would say that there is no more to come
	}
}

// eventStream writes events, each at once and whole, while its handler runs: afterwards
// the response is somebody else's.
type eventStream struct {
	mu      sync.Mutex // of writing
	w       http.ResponseWriter
	control *http.ResponseController

	ending  sync.Mutex // held for moments only
	aborted bool
	closed  bool
}

var errStreamOver = errors.New("the stream of events is over")

// abort ends what is being written, and writes nothing more.
func (e *eventStream) abort() {
	e.ending.Lock()
	defer e.ending.Unlock()
	e.aborted = true
	if !e.closed {
		_ = e.control.SetWriteDeadline(time.Unix(1, 0)) // the past
	}
}

// over waits for what is being written, and lets nothing more be.
func (e *eventStream) over() {
	e.ending.Lock()
	closed := e.closed
	e.ending.Unlock()
	if closed {
		return
	}
	e.abort()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ending.Lock()
	defer e.ending.Unlock()
	e.closed = true
}

// mayWrite gives the client time for the next piece.
func (e *eventStream) mayWrite() error {
	e.ending.Lock()
	defer e.ending.Unlock()
	if e.aborted || e.closed {
		return errStreamOver
	}
	_ = e.control.SetWriteDeadline(time.Now().Add(writeTime)) // not every connection has one
	return nil
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
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.write(slices.Concat([]byte("event: next\ndata: "), answer, []byte("\n\n")))
}

// end says that there is no more to come.
func (e *eventStream) end() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.write([]byte("event: complete\ndata: \n\n")); err != nil {
		return err
	}
	e.ending.Lock()
	defer e.ending.Unlock()
	if e.aborted {
		return errStreamOver
	}
	e.closed = true
	return nil
}

// comment writes what clients skip, unless something is being written anyhow.
func (e *eventStream) comment() error {
	if !e.mu.TryLock() {
		return nil
	}
	defer e.mu.Unlock()
	return e.write([]byte(":\n\n"))
}

// write writes at once; e.mu is locked.
func (e *eventStream) write(text []byte) error {
	if err := inPieces(e.w, text, e.mayWrite); err != nil {
		return err
	}
	if err := e.mayWrite(); err != nil {
		return err
	}
	return e.control.Flush()
}
