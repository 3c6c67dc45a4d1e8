package feed

import (
	"context"
	"errors"
	"iter"
	"time"

	"platen"
	"platen/storage"
)

// replay is how many events are read at a time for one who comes back.
const replay = 100

// Entry is an entry of a feed: that it stands, a change, or that it ends.
type Entry struct {
	Cursor string
	At     time.Time
	Ready  bool               // everything after Cursor will come
	Reset  platen.ResetReason // the last entry: read anew, and subscribe after Cursor
	// Event is the change; of one that made or changed an action, ActionID is that action.
	Event    *platen.Event
	ActionID string
}

// Documents is the feed of an account's documents (R7.1, R7.3): every change of each that
// wants chooses, its actions' included, in the order of the history, from after a cursor,
// or from now on when it is "". Its first entry is Ready. It ends after a Reset, or when
// ctx does. It returns storage.ErrCursor for a cursor that none gave out.
func (h *Hub) Documents(ctx context.Context, scope storage.Scope, after string, wants func(platen.AnyDocument) bool) (iter.Seq[*Entry], error) {
	return h.feed(ctx, scope, after, func(event *platen.Event) []string {
		document, ok := event.Subject.(platen.AnyDocument)
		if !ok || isPreview(document) || !wants(document) {
			return nil
		}
		return []string{event.ActionID}
	})
}

// Actions is the feed of an account's actions: each that wants chooses when it is made,
// and after each change of it, in the same way and with the same cursors.
func (h *Hub) Actions(ctx context.Context, scope storage.Scope, after string, wants func(*platen.Action) bool) (iter.Seq[*Entry], error) {
	return h.feed(ctx, scope, after, func(event *platen.Event) (changed []string) {
		for _, a := range event.Subject.Base().Actions {
			// An event of the subject itself shows those that it made: they have not
			// changed yet, and nothing else happens to a subject before they have.
			made := event.ActionID == "" && a.Revision == 1
			if (made || a.ID == event.ActionID) && wants(a) {
				changed = append(changed, a.ID)
			}
		}
		return changed
	})
}

func isPreview(document platen.AnyDocument) bool {
	s, ok := document.(*platen.Submission)
	return ok && s.Preview
}

// feed is what pick chooses of each event: the actions that it shows changed, "" for the
// subject itself.
func (h *Hub) feed(ctx context.Context, scope storage.Scope, after string, pick func(*platen.Event) []string) (iter.Seq[*Entry], error) {
	var epoch string
	var position platen.Cursor
	if after != "" {
		var err error
		if epoch, position, err = decode(after); err != nil {
			return nil, err
		}
	}
	return func(yield func(*Entry) bool) {
		r := &reader{hub: h, scope: scope, epoch: epoch, position: position, pick: pick, yield: yield}
		defer r.leave()
		if after == "" {
			r.join()
			r.position = r.from
		}
		err := r.run(ctx)
		var reset resetError
		if errors.As(err, &reset) {
			epoch, position := h.where()
			if forgotten, _, err := h.db.History(ctx); err == nil && forgotten.After(position) {
				position = forgotten
			}
			// Whoever reads anew after this, and then comes back, misses nothing.
			yield(&Entry{Cursor: encode(epoch, position), At: time.Now(), Reset: platen.ResetReason(reset)})
		}
	}, nil
}

// resetError ends a feed with a reason for its reader.
type resetError platen.ResetReason

func (e resetError) Error() string { return string(e) }

// reader is one who reads a feed.
type reader struct {
	hub      *Hub
	scope    storage.Scope
	epoch    string        // of position
	position platen.Cursor // all before is sent
	pick     func(*platen.Event) []string
	yield    func(*Entry) bool

	queue *subscriber // once it has joined those who read what happens now
	from  platen.Cursor
	left  func()
}

// join takes part in what is handed out from now on: everything after from comes to the
// queue.
func (r *reader) join() {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	r.queue, r.left = r.hub.join(r.scope.AccountID, true)
	r.from = r.hub.position
	if r.epoch == "" {
		r.epoch = r.hub.epoch
	} else if r.epoch != r.hub.epoch {
		r.queue.ended = errRenewed
	}
}

func (r *reader) leave() {
	if r.left != nil {
		r.left()
	}
}

func (r *reader) run(ctx context.Context) error {
	if epoch, _ := r.hub.where(); epoch != r.epoch {
		return resetError(platen.ResetCursorExpired)
	}
	if err := r.patiently(ctx, func() error { return r.kept(ctx) }); err != nil {
		return err
	}
	if err := r.send(&Entry{Cursor: encode(r.epoch, r.position), At: time.Now(), Ready: true}); err != nil {
		return err
	}
	if r.queue == nil {
		// First what is long past, at the reader's own pace; then what came meanwhile,
		// while the queue fills already.
		if err := r.replay(ctx, nil); err != nil {
			return err
		}
		r.join()
		if err := r.replay(ctx, &r.from); err != nil {
			return err
		}
	}
	for {
		event, err := r.queue.take(ctx)
		switch {
		case errors.Is(err, errTooSlow):
			return resetError(platen.ResetTooSlow)
		case errors.Is(err, errRenewed):
			return resetError(platen.ResetCursorExpired)
		case err != nil:
			return err
		}
		if !event.Cursor.After(r.position) {
			continue // it was read from the history
		}
		if err := r.show(event); err != nil {
			return err
		}
	}
}

// replay reads the history from the reader's position: to its end as far as it can be
// read, or to a position at least.
func (r *reader) replay(ctx context.Context, until *platen.Cursor) error {
	for until == nil || until.After(r.position) {
		events, err := r.read(ctx)
		if err != nil {
			return err
		}
		for _, event := range events {
			if err := r.show(event); err != nil {
				return err
			}
		}
		if len(events) < replay {
			if until != nil && until.After(r.position) {
				r.position = *until // others' events lie between
			}
			return nil
		}
	}
	return nil
}

// read reads a part of the history.
func (r *reader) read(ctx context.Context) (events []*platen.Event, err error) {
	err = r.patiently(ctx, func() error {
		if events, _, err = r.hub.db.AccountEventsAfter(ctx, r.scope.AccountID, r.position, replay); err != nil {
			return err
		}
		return r.kept(ctx) // what was forgotten before the read is not in it
	})
	return events, err
}

// patiently waits for a database that is away: to end now would look as if nothing more
// were to come.
func (r *reader) patiently(ctx context.Context, ask func() error) error {
	for {
		err := ask()
		if err == nil || ctx.Err() != nil || errors.As(err, new(resetError)) {
			return err
		}
		r.hub.log.WarnContext(ctx, "reading the history for a feed failed and will be tried again", "account", r.scope.AccountID, "error", err)
		sleep(ctx, pollInterval)
	}
}

// kept tells whether everything after the reader's position is still in the history, and
// the position itself.
func (r *reader) kept(ctx context.Context) error {
	forgotten, end, err := r.hub.db.History(ctx)
	if err == nil && (forgotten.After(r.position) || r.position.After(end)) {
		return resetError(platen.ResetCursorExpired)
	}
	return err
}

// show sends what is picked of an event. Each of several changes that one event shows has
// the cursor before it, but for the last: who comes back then gets all of them again.
func (r *reader) show(event *platen.Event) error {
	before := r.position
	r.position = event.Cursor
	if r.scope.TestOnly && !visible(event) {
		return nil
	}
	picked := r.pick(event)
	for i, actionID := range picked {
		cursor := event.Cursor
		if i < len(picked)-1 {
			cursor = before
		}
		if err := r.send(&Entry{Cursor: encode(r.epoch, cursor), At: event.At, Event: event, ActionID: actionID}); err != nil {
			return err
		}
	}
	return nil
}

// visible tells whether a test token may see an event: template versions are everybody's
// (R1.2).
func visible(event *platen.Event) bool {
	_, version := event.Subject.(*platen.TemplateVersion)
	return event.Test || version
}

// errLeft ends the work for a reader who is gone.
var errLeft = errors.New("the reader has left")

func (r *reader) send(entry *Entry) error {
	if !r.yield(entry) {
		return errLeft
	}
	return nil
}
