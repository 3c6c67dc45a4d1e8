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

// Work expires the documents and uploads whose time is over. What it leaves, the next
// one does: a document that cannot be expired keeps none of the others.
func (w *expireWorker) Work(ctx context.Context, _ *river.Job[expireArgs]) error {
	if err := w.pipeline.expireUploads(ctx); err != nil {
		return err
	}
	for {
		// One clock finds and judges: what one of two finds and the other keeps would be
		// found again at once, for as long as they differ.
		now := time.Now()
		late := now.Add(-expiryPatience)
		refs, err := w.pipeline.DB.DocumentsToExpire(ctx, now, late, expireBatch)
		if err != nil || len(refs) == 0 {
			return err
		}
		done := 0
		for _, ref := range refs {
			_, err := w.pipeline.expire(ctx, ref.AccountID, ref.ID, func(d *platen.Document) bool { return d.Final() || d.ExpiresAt.Before(late) })
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				w.pipeline.Log.ErrorContext(ctx, "a document could not be expired and will be tried again", "document", ref.ID, "account", ref.AccountID, "error", err)
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
	expired, err := p.expireNow(ctx, scope, platen.KindSubmission, id, "There is no submission with this id in this account.")
	s, _ := expired.(*platen.Submission)
	return s, err
}

// ExpireCombinedSubmission does the same with a combined submission. What it was merged
// from stays.
func (p *Pipeline) ExpireCombinedSubmission(ctx context.Context, scope storage.Scope, id string) (*platen.CombinedSubmission, error) {
	expired, err := p.expireNow(ctx, scope, platen.KindCombined, id, "There is no combined submission with this id in this account.")
	c, _ := expired.(*platen.CombinedSubmission)
	return c, err
}

func (p *Pipeline) expireNow(ctx context.Context, scope storage.Scope, kind platen.Kind, id, none string) (platen.AnyDocument, error) {
	missing := platen.Errors{{Code: platen.CodeNotFound, ID: id, Path: []string{"id"}, Message: none}}
	if platen.KindOf(id) != kind {
		return nil, missing
	}
	if _, err := p.DB.Subject(ctx, scope, id); errors.Is(err, storage.ErrNotFound) {
		return nil, missing
	} else if err != nil {
		return nil, err
	}
	return p.expire(ctx, scope.AccountID, id, func(*platen.Document) bool { return true })
}

// expire expires a document if due says so once it is locked.
func (p *Pipeline) expire(ctx context.Context, accountID, id string, due func(*platen.Document) bool) (document platen.AnyDocument, err error) {
	var copyKey string
	expired := false
	err = p.DB.InTx(ctx, func(tx *storage.Tx) (err error) {
		if document, err = tx.LockDocument(ctx, accountID, id); err != nil {
			return err
		}
		d := document.Common()
		if expired = d.ExpiredAt == nil && due(d); !expired {
			return nil
		}
		if d.File != nil {
			copyKey = d.File.BlobKey
		}
		if s, ok := document.(*platen.Submission); ok && s.Preview {
			if err := p.tellLost(ctx, tx, s); err != nil {
				return err
			}
			return tx.DeletePreview(ctx, s)
		}
		for _, a := range d.Actions {
			if a.Final() {
				continue
			}
			a.State, a.NextAttemptAt = platen.ActionFailed, nil
			a.Failure = expiredMeanwhile()
			if err := p.updateAction(ctx, tx, document, a); err != nil {
				return err
			}
		}
		return p.expireLocked(ctx, tx, document)
	})
	if err != nil || !expired {
		return document, err
	}
	p.Hub.Nudge()
	if copyKey != "" {
		p.deleteCopies(ctx, copyKey)
	}
	p.Log.InfoContext(ctx, "document expired", "document", id, "account", accountID)
	if _, combined := document.(*platen.CombinedSubmission); combined {
		p.dropParts(ctx, accountID, id)
	}
	return document, nil
}

// expireLocked ends a document that is still PENDING, or tells those that wait for
// others while they need this one, and then forgets what it is made of.
func (p *Pipeline) expireLocked(ctx context.Context, tx *storage.Tx, document platen.AnyDocument) error {
	if document.Common().State == platen.DocumentPending {
		failure := &platen.Failure{Stage: platen.StageRender, Code: platen.FailureExpired, OccurredAt: time.Now(),
			Message: "The document was expired before it was made. Send it again if it is wanted after all."}
		if _, combined := document.(*platen.CombinedSubmission); combined {
			failure.Stage = platen.StageCombine
		}
		if err := p.finish(ctx, tx, document, nil, failure); err != nil {
			return err
		}
	} else if err := p.tellLost(ctx, tx, document); err != nil {
		return err
	}
	return tx.ExpireDocument(ctx, document)
}

// tellLost starts those that wait for others while they need this locked document, which
// is going to be missing for good: they find that out.
func (p *Pipeline) tellLost(ctx context.Context, tx *storage.Tx, document platen.AnyDocument) error {
	wholes, err := tx.LostPart(ctx, document)
	if err != nil {
		return err
	}
	return p.insertCombines(ctx, tx, document.Common().AccountID, wholes)
}

// deleteCopies deletes copies that nothing names any more. It comes after the commit: a
// copy that is named has to be there. One that cannot be deleted is found by the sweep.
func (p *Pipeline) deleteCopies(ctx context.Context, keys ...string) {
	for _, key := range keys {
		if err := p.Blobs.Delete(ctx, key); err != nil {
			p.Log.WarnContext(ctx, "a copy could not be deleted and is left to the sweep", "blob", key, "error", err)
		}
	}
}

// expireUploads deletes the bytes of uploads whose time is over.
func (p *Pipeline) expireUploads(ctx context.Context) error {
	for {
		now := time.Now()
		keys, count, err := p.DB.ExpireUploads(ctx, now, now.Add(-expiryPatience), expireBatch)
		if err != nil {
			return err
		}
		p.deleteCopies(ctx, keys...)
		if count < expireBatch {
			return nil
		}
	}
}
