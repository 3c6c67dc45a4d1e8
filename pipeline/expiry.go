package pipeline

import (
	"context"
	"errors"
	"time"

	"github.com/riverqueue/river"

	"platen"
	"platen/storage"
)

const (
	// ExpireInterval is how long a copy may outlive its time.
	ExpireInterval = 10 * time.Second
	// expiryPatience is for how long a set expiry waits for what is not done yet, so that
	// a bucket's outage loses nothing (R3.8).
	expiryPatience = 24 * time.Hour
	expireBatch    = 100
)

// expireArgs ask for what is past its time to be expired.
type expireArgs struct{}

func (expireArgs) Kind() string { return "expire" }

func (expireArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queueHousekeeper, MaxAttempts: 1}
}

type expireWorker struct {
	river.WorkerDefaults[expireArgs]
	pipeline *Pipeline
}

// Work expires the submissions whose time is over. What it leaves, the next one does:
// a submission that cannot be expired keeps none of the others.
func (w *expireWorker) Work(ctx context.Context, _ *river.Job[expireArgs]) error {
	for {
		// One clock finds and judges: what one of two finds and the other keeps would be
		// found again at once, for as long as they differ.
		now := time.Now()
		late := now.Add(-expiryPatience)
		refs, err := w.pipeline.DB.SubmissionsToExpire(ctx, now, late, expireBatch)
		if err != nil || len(refs) == 0 {
			return err
		}
		done := 0
		for _, ref := range refs {
			_, err := w.pipeline.expire(ctx, ref.AccountID, ref.ID, func(s *platen.Submission) bool { return s.Final() || s.ExpiresAt.Before(late) })
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				w.pipeline.Log.ErrorContext(ctx, "a document could not be expired and will be tried again", "submission", ref.ID, "account", ref.AccountID, "error", err)
				continue
			}
			done++
		}
		if done == 0 || len(refs) < expireBatch {
			return nil
		}
	}
}

// ExpireSubmission deletes Platen's own copy and the data now, whatever is pending
// (R3.8). One that has expired stays as it is. The error is platen.Errors when the
// caller can mend it.
func (p *Pipeline) ExpireSubmission(ctx context.Context, scope storage.Scope, id string) (*platen.Submission, error) {
	missing := platen.Errors{{Code: platen.CodeNotFound, ID: id, Path: []string{"id"}, Message: "There is no submission with this id in this account."}}
	if platen.KindOf(id) != platen.KindSubmission {
		return nil, missing
	}
	if _, err := p.DB.Submission(ctx, scope, id); errors.Is(err, storage.ErrNotFound) {
		return nil, missing
	} else if err != nil {
		return nil, err
	}
	return p.expire(ctx, scope.AccountID, id, func(*platen.Submission) bool { return true })
}

// expire expires a submission if due says so once it is locked.
func (p *Pipeline) expire(ctx context.Context, accountID, id string, due func(*platen.Submission) bool) (*platen.Submission, error) {
	var s *platen.Submission
	var copyKey string
	expired := false
	err := p.DB.InTx(ctx, func(tx *storage.Tx) (err error) {
		if s, err = tx.LockSubmission(ctx, accountID, id); err != nil {
			return err
		}
		if expired = s.ExpiredAt == nil && due(s); !expired {
			return nil
		}
		if s.File != nil {
			copyKey = s.File.BlobKey
		}
		if s.Preview {
			return tx.DeletePreview(ctx, s)
		}
		for _, a := range s.Actions {
			if a.Final() {
				continue
			}
			a.State, a.NextAttemptAt = platen.ActionFailed, nil
			a.Failure = expiredMeanwhile()
			if err := p.updateAction(ctx, tx, s, a); err != nil {
				return err
			}
		}
		if s.State == platen.DocumentPending {
			failure := &platen.Failure{Stage: platen.StageRender, Code: platen.FailureExpired, OccurredAt: time.Now(),
				Message: "The document was expired before it was made. Send it again if it is wanted after all."}
			if err := p.finish(ctx, tx, s, nil, failure); err != nil {
				return err
			}
		}
		return tx.ExpireSubmission(ctx, s)
	})
	if err != nil || !expired {
		return s, err
	}
	p.Hub.Nudge()
	if copyKey != "" {
		// After the commit: a copy that is named has to be there. One that could not be
		// deleted is named by nobody, and the sweep finds it.
		if err := p.Blobs.Delete(ctx, copyKey); err != nil {
			p.Log.WarnContext(ctx, "the copy of an expired document could not be deleted and is left to the sweep", "blob", copyKey, "error", err)
		}
	}
	p.Log.InfoContext(ctx, "document expired", "submission", id, "account", accountID)
	return s, nil
}
