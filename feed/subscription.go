package feed

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"

	"platen"
	"platen/storage"
)

// Update is a document, with its actions, as it was at one moment.
type Update struct {
	Cursor     string
	Snapshot   bool // the present, at the start; otherwise a change
	At         time.Time
	Submission *platen.Submission
	ActionID   string // the action that changed; "" for the document itself
}

// Action is the document's action with this id, or nil.
func (u *Update) Action(id string) *platen.Action {
	for _, action := range u.Submission.Actions {
		if action.ID == id {
			return action
		}
	}
	return nil
}

// Submission follows one submission: the present first, then each later state, in
// order (R7.2). The channel is closed when the submission is final or ctx ends. It
// returns storage.ErrNotFound when there is no such submission in the scope.
func (h *Hub) Submission(ctx context.Context, scope storage.Scope, id string) (<-chan *Update, error) {
	return h.follow(ctx, scope, id, func(last, next *platen.Submission) (send, final bool) {
		return last == nil || next.Changes > last.Changes, next.Final()
	})
}

// Action follows one action in the same way, until it is PROCESSED or FAILED.
func (h *Hub) Action(ctx context.Context, scope storage.Scope, id string) (<-chan *Update, error) {
	action, err := h.db.Action(ctx, scope, id)
	if err != nil {
		return nil, err
	}
	find := func(s *platen.Submission) *platen.Action {
		if s == nil {
			return nil
		}
		return (&Update{Submission: s}).Action(id)
	}
	return h.follow(ctx, scope, action.SubmissionID, func(last, next *platen.Submission) (send, final bool) {
		before, now := find(last), find(next)
		return now != nil && (before == nil || now.Revision > before.Revision), now != nil && now.Final()
	})
}

// follow sends what check wants sent until check says that it was the last.
func (h *Hub) follow(ctx context.Context, scope storage.Scope, documentID string,
	check func(last, next *platen.Submission) (send, final bool)) (<-chan *Update, error) {
	// First the queue, then the snapshot: what commits in between is in both, and
	// what was in the snapshot already is dropped by its number.
	queue, cancel := h.subscribe(documentID)
	snapshot, horizon, err := h.db.SubmissionSnapshot(ctx, scope, documentID)
	if err != nil {
		cancel()
		return nil, err
	}
	updates := make(chan *Update)
	go func() {
		defer close(updates)
		defer cancel()
		next := &Update{Cursor: h.encode(horizon), Snapshot: true, At: time.Now(), Submission: snapshot}
		var last *platen.Submission
		for {
			send, final := check(last, next.Submission)
			if send {
				select {
				case updates <- next:
				case <-ctx.Done():
					return
				}
				last = next.Submission
			}
			if final {
				return
			}
			event, err := queue.take(ctx)
			if err != nil {
				return
			}
			next = &Update{Cursor: h.encode(event.Cursor), At: event.At, Submission: event.Submission, ActionID: event.ActionID}
		}
	}()
	return updates, nil
}

// Await returns the submission as soon as it is no longer PENDING, or as it was
// last seen when ctx ended; nil when it ended before the first look.
func (h *Hub) Await(ctx context.Context, scope storage.Scope, id string) (*platen.Submission, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	updates, err := h.Submission(ctx, scope, id)
	if err != nil {
		return nil, err
	}
	var last *platen.Submission
	for update := range updates {
		last = update.Submission
		if last.State != platen.DocumentPending {
			break
		}
	}
	return last, nil
}

// encode makes a cursor that clients give back: opaque to them, and naming the
// history that it points into.
func (h *Hub) encode(c platen.Cursor) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%s %d %d", h.epoch, c.XID, c.ID))
}
