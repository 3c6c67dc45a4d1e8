package feed

import (
	"context"
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
// skipped, the last ones never are (R7.2). The channel is closed when nothing of the
// batch is PENDING any more, or ctx ends. It returns storage.ErrNotFound when there is
// no such batch in the scope.
func (h *Hub) Batch(ctx context.Context, scope storage.Scope, id string) (<-chan *BatchUpdate, error) {
	// First the queue, then the present, as follow does it.
	queue, cancel := h.subscribe(id)
	horizon, err := h.db.EventHorizon(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	batch, err := h.db.Batch(ctx, scope, id)
	if err != nil {
		cancel()
		return nil, err
	}
	updates := make(chan *BatchUpdate)
	go func() {
		defer close(updates)
		defer cancel()
		next := &BatchUpdate{Cursor: h.encode(horizon), Snapshot: true, At: time.Now(), Batch: batch}
		sent := 0
		for {
			if next.Batch.Revision() > sent {
				select {
				case updates <- next:
				case <-ctx.Done():
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
	}()
	return updates, nil
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
