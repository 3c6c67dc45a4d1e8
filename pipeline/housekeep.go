package pipeline

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/riverqueue/river"

	"platen"
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
	return river.InsertOpts{Queue: queueHousekeeper, MaxAttempts: 3}
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
	if err := p.DB.DeleteOldKeys(ctx); err != nil {
		return err
	}
	var old []string
	sweep := func() error {
		orphans, err := p.DB.UnnamedBlobs(ctx, old)
		if err != nil {
			return err
		}
		for _, key := range orphans {
			p.Log.InfoContext(ctx, "removing a copy that no document names", "blob", key)
			if err := p.Blobs.Delete(ctx, key); err != nil {
				return err
			}
		}
		old = old[:0]
		return nil
	}
	if err := p.Blobs.List(ctx, time.Now().Add(-orphanAge), func(key string) error {
		// The operator may keep other things in the same folder or bucket.
		if !blobKeys.MatchString(key) {
			return nil
		}
		if old = append(old, key); len(old) < sweepBatch {
			return nil
		}
		return sweep()
	}); err != nil {
		return err
	}
	return sweep()
}

// sweepBatch is how many copies the database is asked about at a time.
const sweepBatch = 500

// blobKeys is the form of the keys that blobKey makes.
var blobKeys = regexp.MustCompile(`^(sub|com|upl)_[0-9A-Za-z]{18}/[0-9]+-[0-9A-Za-z]{8}\.(pdf|png|jpeg|webp)$`)

// blobKey is where an attempt keeps its copy. Each attempt has a key of its own, so
// that one which was overtaken cannot touch what the other has stored.
func blobKey(id string, attempt int, extension string) string {
	return fmt.Sprintf("%s/%d-%s.%s", id, attempt, platen.RandomString(8), extension)
}

// Timeout implements river.Worker: a large store takes long to go through.
func (w *housekeepWorker) Timeout(*river.Job[housekeepArgs]) time.Duration { return housekeepInterval }
