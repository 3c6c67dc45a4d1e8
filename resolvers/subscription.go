package resolvers

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"platen"
	"platen/feed"
	"platen/graph"
	"platen/storage"
)

func (r subscription) SubmissionUpdated(ctx context.Context, id string) (<-chan *graph.SubmissionEvent, error) {
	return tell(ctx, func() (iter.Seq[*feed.Update], error) {
		if platen.KindOf(id) != platen.KindSubmission {
			return nil, storage.ErrNotFound
		}
		return r.Hub.Document(ctx, scope(ctx), id)
	}, notFound("submission", id), updateName(id), func(u *feed.Update) *graph.SubmissionEvent {
		return &graph.SubmissionEvent{Cursor: u.Cursor, Kind: kind(u.Snapshot), At: u.At, Submission: toSubmission(u.Subject.(*platen.Submission))}
	})
}

func (r subscription) ActionUpdated(ctx context.Context, id string) (<-chan *graph.ActionEvent, error) {
	return tell(ctx, func() (iter.Seq[*feed.Update], error) {
		if platen.KindOf(id) != platen.KindAction {
			return nil, storage.ErrNotFound
		}
		return r.Hub.Action(ctx, scope(ctx), id)
	}, notFound("action", id), updateName(id), func(u *feed.Update) *graph.ActionEvent {
		return &graph.ActionEvent{Cursor: u.Cursor, Kind: kind(u.Snapshot), At: u.At, Action: toAction(u.Subject.Base().Action(id))}
	})
}

func (r subscription) SubmissionBatchUpdated(ctx context.Context, id string) (<-chan *graph.SubmissionBatchEvent, error) {
	return tell(ctx, func() (iter.Seq[*feed.BatchUpdate], error) {
		if platen.KindOf(id) != platen.KindBatch {
			return nil, storage.ErrNotFound
		}
		return r.Hub.Batch(ctx, scope(ctx), id)
	}, notFound("batch", id), func(u *feed.BatchUpdate) string {
		if u.Snapshot {
			return ""
		}
		return fmt.Sprint(id, " ", u.Cursor, " ", u.Batch.Revision()) // each follower counts by itself
	}, func(u *feed.BatchUpdate) *graph.SubmissionBatchEvent {
		return &graph.SubmissionBatchEvent{Cursor: u.Cursor, Kind: kind(u.Snapshot), At: u.At, Batch: toBatch(u.Batch)}
	})
}

func kind(snapshot bool) graph.EventKind {
	if snapshot {
		return graph.EventKindSnapshot
	}
	return graph.EventKindChanged
}

// updateName names the events of one who follows an object.
func updateName(id string) func(*feed.Update) string {
	return func(u *feed.Update) string {
		if u.Snapshot {
			return ""
		}
		return id + " " + u.Cursor
	}
}

// A subscription is executed twice over, so that what many are told is executed once: its
// resolver leaves what it tells in the Subscription that the transport put into the
// context, and the operation ends at once. For each event, or once for all who are told
// the same event in the same words, the transport executes the operation again with that
// event in the context, and the resolver's channel holds nothing else.
type (
	// Subscription is where a resolver leaves what it tells.
	Subscription struct {
		// Events is nil when the subscription was refused.
		Events iter.Seq[*Event]
	}
	// Event is one event of a subscription.
	Event struct {
		// Name is the same for all in the account whom the same event is told, whatever
		// the arguments of their subscriptions; "" if it is told to one alone.
		Name  string
		value func() any
	}

	subscriptionKey struct{}
	eventKey        struct{}
)

// WithSubscription makes the execution of a subscription find out what it tells.
func WithSubscription(ctx context.Context, s *Subscription) context.Context {
	return context.WithValue(ctx, subscriptionKey{}, s)
}

// WithEvent makes the execution of a subscription answer one event.
func WithEvent(ctx context.Context, e *Event) context.Context {
	return context.WithValue(ctx, eventKey{}, e)
}

// tell is the way of all subscriptions: what follow tells, each with its name and in the
// words of GraphQL. missing is the error for what is not there.
func tell[U, E any](ctx context.Context, follow func() (iter.Seq[U], error), missing error, name func(U) string, event func(U) E) (<-chan E, error) {
	if one, ok := ctx.Value(eventKey{}).(*Event); ok {
		events := make(chan E, 1)
		events <- one.value().(E)
		close(events)
		return events, nil
	}
	s, ok := ctx.Value(subscriptionKey{}).(*Subscription)
	if !ok {
		return nil, errors.New("this transport does not know how subscriptions are told")
	}
	updates, err := follow()
	if errors.Is(err, storage.ErrNotFound) {
		return nil, missing
	}
	if err != nil {
		return nil, err
	}
	s.Events = func(yield func(*Event) bool) {
		for update := range updates {
			if !yield(&Event{Name: name(update), value: func() any { return event(update) }}) {
				return
			}
		}
	}
	events := make(chan E)
	close(events)
	return events, nil
}
