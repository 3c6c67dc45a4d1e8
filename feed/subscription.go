package feed

import (
	"context"
	"encoding/base64"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"platen"
	"platen/storage"
)

// Update is a subject, with its actions, as it was at one moment.
type Update struct {
	Cursor   string
	Snapshot bool // the present, at the start; otherwise a change
	At       time.Time
	Subject  platen.Subject
	ActionID string // the action that changed; "" for the subject itself
}

// Document follows one document: the present first, then each later state, in order
// (R7.2). It ends when the document is final, or when ctx does. It returns
// storage.ErrNotFound when there is no such document in the scope.
func (h *Hub) Document(ctx context.Context, scope storage.Scope, id string) (iter.Seq[*Update], error) {
	return h.follow(ctx, scope, id, func(last, next platen.Subject) (send, final bool) {
		return last == nil || next.Base().Changes > last.Base().Changes, next.Final()
	})
}

// Action follows one action in the same way, until it is PROCESSED or FAILED.
func (h *Hub) Action(ctx context.Context, scope storage.Scope, id string) (iter.Seq[*Update], error) {
	action, err := h.db.Action(ctx, scope, id)
	if err != nil {
		return nil, err
	}
	return h.follow(ctx, scope, action.SubjectID, func(last, next platen.Subject) (send, final bool) {
		now := next.Base().Action(id)
		if now == nil {
			return false, false
		}
		return last == nil || now.Revision > last.Base().Action(id).Revision, now.Final()
	})
}

// follow shows what check wants shown until check says that it was the last.
func (h *Hub) follow(ctx context.Context, scope storage.Scope, subjectID string,
	check func(last, next platen.Subject) (send, final bool)) (iter.Seq[*Update], error) {
	// First the queue, then the snapshot: what commits in between is in both, and
	// what was in the snapshot already is dropped by its number.
	queue, leave := h.subscribe(ctx, subjectID)
	snapshot, horizon, err := h.db.SubjectSnapshot(ctx, scope, subjectID)
	if err != nil {
		leave()
		return nil, err
	}
	return func(yield func(*Update) bool) {
		defer leave()
		next := &Update{Cursor: h.encode(horizon), Snapshot: true, At: time.Now(), Subject: snapshot}
		var last platen.Subject
		for {
			send, final := check(last, next.Subject)
			if send {
				if !yield(next) {
					return
				}
				last = next.Subject
			}
			if final {
				return
			}
			event, err := queue.take(ctx)
			if err != nil {
				return
			}
			next = &Update{Cursor: h.encode(event.Cursor), At: event.At, Subject: event.Subject, ActionID: event.ActionID}
		}
	}, nil
}

// Await returns the document as soon as it is no longer PENDING, or as it was
// last seen when ctx ended; nil when it ended before the first look.
func (h *Hub) Await(ctx context.Context, scope storage.Scope, id string) (platen.AnyDocument, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	updates, err := h.Document(ctx, scope, id)
	if err != nil {
		return nil, err
	}
	var last platen.AnyDocument
	for update := range updates {
		last = update.Subject.(platen.AnyDocument)
		if last.Common().State != platen.DocumentPending {
			break
		}
	}
	return last, nil
}

// encode makes a cursor that clients give back: opaque to them, and naming the
// history that it points into.
func (h *Hub) encode(c platen.Cursor) string {
	epoch, _ := h.where()
	return encode(epoch, c)
}

func encode(epoch string, c platen.Cursor) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%s %d %d", epoch, c.XID, c.ID))
}

// decode reads what encode made.
func decode(cursor string) (epoch string, c platen.Cursor, err error) {
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return "", c, storage.ErrCursor
	}
	// Scanf would take what only begins like it.
	parts := strings.Split(string(text), " ")
	if len(parts) != 3 {
		return "", c, storage.ErrCursor
	}
	xid, xidErr := strconv.ParseUint(parts[1], 10, 63)
	id, idErr := strconv.ParseInt(parts[2], 10, 64)
	if xidErr != nil || idErr != nil || id < 0 {
		return "", c, storage.ErrCursor
	}
	return parts[0], platen.Cursor{XID: xid, ID: id}, nil
}
