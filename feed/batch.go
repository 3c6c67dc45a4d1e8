package feed

import (
	"context"
	"iter"
	"time"

	"platen"
	"platen/storage"
)

// BatchUpdate is a batch as it was at one moment.
type BatchUpdate struct {
	Cursor   string
	Snapshot bool // the present, at the start; otherwise a change
	At       time.Time
	Batch    *platen.Batch
}

// batchPace is how often a subscriber is told of a batch's progress at most: each time
// a thousand rows are counted.
const batchPace = 100 * time.Millisecond

// Batch follows a batch: the present first, then its counts as they grow. Counts may be
// skipped, the last ones never are (R7.2). It ends when nothing of the batch is PENDING
// any more, or when ctx does. It returns storage.ErrNotFound when there is no such batch
// in the scope.
func (h *Hub) Batch(ctx context.Context, scope storage.Scope, id string) (iter.Seq[*BatchUpdate], error) {
	// First the queue, then the present, as follow does it.
	queue, leave := h.subscribe(ctx, id)
	horizon, err := h.db.EventHorizon(ctx)
	if err != nil {
		leave()
		return nil, err
	}
	batch, err := h.db.Batch(ctx, scope, id)
	if err != nil {
		leave()
		return nil, err
	}
	return func(yield func(*BatchUpdate) bool) {
		defer leave()
		next := &BatchUpdate{Cursor: h.encode(horizon), Snapshot: true, At: time.Now(), Batch: batch}
		sent := 0
		for {
			if next.Batch.Revision() > sent {
				if !yield(next) {
					return
				}
				sent = next.Batch.Revision()
			}
			if next.Batch.State() != platen.BatchPending {
				return
			}
			sleep(ctx, batchPace)
			event, err := queue.latest(ctx)
			if err != nil {
				return
			}
			// An event that shows a submission's end is read after its commit, so the
			// counts have it, and perhaps more.
			batch, err := h.batch(ctx, scope, id)
			if err != nil {
				return
			}
			next = &BatchUpdate{Cursor: h.encode(event.Cursor), At: event.At, Batch: batch}
		}
	}, nil
}

// batch reads a batch. A database that is away is waited for: to end now would look as if
// the batch were done.
func (h *Hub) batch(ctx context.Context, scope storage.Scope, id string) (*platen.Batch, error) {
	for {
		batch, err := h.db.Batch(ctx, scope, id)
		if err == nil || ctx.Err() != nil {
			return batch, err
		}
		h.log.WarnContext(ctx, "reading a batch that is followed failed and will be tried again", "batch", id, "error", err)
		sleep(ctx, pollInterval)
	}
}
