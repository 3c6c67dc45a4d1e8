package resolvers

import (
	"context"
	"errors"
	"iter"

	"platen"
	"platen/feed"
	"platen/graph"
	"platen/storage"
)

func (r subscription) SubmissionUpdated(ctx context.Context, id string) (<-chan *graph.SubmissionEvent, error) {
	if platen.KindOf(id) != platen.KindSubmission {
		return nil, notFound("submission", id)
	}
	updates, err := r.Hub.Document(ctx, scope(ctx), id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, notFound("submission", id)
	}
	return events(ctx, updates, err, func(u *feed.Update) *graph.SubmissionEvent {
		return &graph.SubmissionEvent{Cursor: u.Cursor, Kind: kind(u.Snapshot), At: u.At, Submission: toSubmission(u.Subject.(*platen.Submission))}
	})
}

func (r subscription) ActionUpdated(ctx context.Context, id string) (<-chan *graph.ActionEvent, error) {
	if platen.KindOf(id) != platen.KindAction {
		return nil, notFound("action", id)
	}
	updates, err := r.Hub.Action(ctx, scope(ctx), id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, notFound("action", id)
	}
	return events(ctx, updates, err, func(u *feed.Update) *graph.ActionEvent {
		return &graph.ActionEvent{Cursor: u.Cursor, Kind: kind(u.Snapshot), At: u.At, Action: toAction(u.Subject.Base().Action(id))}
	})
}

func (r subscription) SubmissionBatchUpdated(ctx context.Context, id string) (<-chan *graph.SubmissionBatchEvent, error) {
	if platen.KindOf(id) != platen.KindBatch {
		return nil, notFound("batch", id)
	}
	updates, err := r.Hub.Batch(ctx, scope(ctx), id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, notFound("batch", id)
	}
	return events(ctx, updates, err, func(u *feed.BatchUpdate) *graph.SubmissionBatchEvent {
		return &graph.SubmissionBatchEvent{Cursor: u.Cursor, Kind: kind(u.Snapshot), At: u.At, Batch: toBatch(u.Batch)}
	})
}

func kind(snapshot bool) graph.EventKind {
	if snapshot {
		return graph.EventKindSnapshot
	}
	return graph.EventKindChanged
}

// events translates updates until they end.
func events[U, E any](ctx context.Context, updates iter.Seq[U], err error, event func(U) E) (<-chan E, error) {
	if err != nil {
		return nil, err
	}
	out := make(chan E)
	go func() {
		defer close(out)
		for update := range updates {
			select {
			case out <- event(update):
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}
