package pipeline

import (
	"context"
	"time"

	"github.com/riverqueue/river"
)

const (
	housekeepInterval = time.Hour
	// eventRetention is how long a reader may be away and still miss nothing (R7.3).
	eventRetention = 24 * time.Hour
	// orphanAge is how old a copy that no row names must be to be removed: much
	// older than any job, so that none is just about to name it.
	orphanAge = 24 * time.Hour
)

// housekeepArgs ask for what has grown old to be removed.
type housekeepArgs struct{}

func (housekeepArgs) Kind() string { return "housekeep" }

func (housekeepArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queueHousekeeper, MaxAttempts: 3, UniqueOpts: river.UniqueOpts{ByPeriod: housekeepInterval}}
}

type housekeepWorker struct {
	river.WorkerDefaults[housekeepArgs]
	pipeline *Pipeline
}

// Work forgets the events that nobody may resume from any more, and removes copies
// that an interrupted attempt left behind.
func (w *housekeepWorker) Work(ctx context.Context, _ *river.Job[housekeepArgs]) error {
	p := w.pipeline
	for {
		n, err := p.DB.DeleteEventsBefore(ctx, time.Now().Add(-eventRetention), 5000)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	return p.Blobs.List(ctx, time.Now().Add(-orphanAge), func(key string) error {
		named, err := p.DB.BlobNamed(ctx, key)
		if err != nil || named {
			return err
		}
		p.Log.InfoContext(ctx, "removing a copy that no document names", "blob", key)
		return p.Blobs.Delete(ctx, key)
	})
}
