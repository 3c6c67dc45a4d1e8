package pipeline

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"

	"platen"
	"platen/delivery"
	"platen/storage"
	"platen/storage/blob"
)

// deliverArgs name the action to do.
type deliverArgs struct {
	AccountID string `json:"account_id"`
	ActionID  string `json:"action_id"`
}

func (deliverArgs) Kind() string { return "deliver_action" }

func (deliverArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: queueDeliver} }

type deliverWorker struct {
	river.WorkerDefaults[deliverArgs]
	pipeline *Pipeline
}

// NextRetry is for jobs that were interrupted; a delivery that failed is a new job,
// at the time that its action shows.
func (w *deliverWorker) NextRetry(job *river.Job[deliverArgs]) time.Time {
	return time.Now().Add(renderRetry(job.Attempt))
}

// outcome is what one attempt of a delivery came to: a receipt or a failure.
type outcome struct {
	destination string
	receipt     *platen.UploadReceipt
	failure     *platen.Failure
}

// Work makes one attempt of one action. It may run twice: the same object is put
// under the same key again. What goes wrong with the last attempt of the job is a
// failed attempt of the action, so that it is tried again by a job of its own.
func (w *deliverWorker) Work(ctx context.Context, job *river.Job[deliverArgs]) error {
	err := recovered(func() error { return w.work(ctx, job) })
	if err == nil || !lastAttempt(ctx, job.JobRow) {
		return err
	}
	action, readErr := w.pipeline.DB.Action(ctx, storage.Scope{AccountID: job.Args.AccountID}, job.Args.ActionID)
	if readErr != nil {
		return readErr
	}
	done := outcome{destination: action.Destination, failure: w.pipeline.interrupted(ctx, platen.StageDeliver, action.ID, err)}
	if err := w.pipeline.finishDelivery(ctx, job, action, done); err != nil && !errors.Is(err, errSettled) {
		return err
	}
	w.pipeline.metrics.delivered(action.State, done.failure, 0)
	return nil
}

func (w *deliverWorker) work(ctx context.Context, job *river.Job[deliverArgs]) error {
	p := w.pipeline
	log := p.Log.With("action", job.Args.ActionID, "account", job.Args.AccountID)
	scope := storage.Scope{AccountID: job.Args.AccountID}
	action, err := p.DB.Action(ctx, scope, job.Args.ActionID)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return river.JobCancel(err)
	case err != nil:
		return err
	case action.Final():
		return nil
	}
	s, err := p.DB.Submission(ctx, scope, action.SubmissionID)
	if err != nil {
		return err
	}
	start := time.Now()
	done, err := p.deliver(ctx, s, action)
	if err != nil {
		log.WarnContext(ctx, "a delivery was interrupted and will be tried again", "error", err)
		return err
	}
	if err := p.finishDelivery(ctx, job, action, done); err != nil {
		if errors.Is(err, errSettled) {
			log.InfoContext(ctx, "another attempt was first")
			return nil
		}
		return err
	}
	p.metrics.delivered(action.State, done.failure, time.Since(start))
	attrs := []any{"submission", s.ID, "integration", action.IntegrationID, "destination", action.Destination,
		"attempts", action.Attempts, "state", action.State, "ms", time.Since(start).Milliseconds()}
	if done.failure != nil {
		log.WarnContext(ctx, "delivery failed", append(attrs, "code", done.failure.Code, "error", done.failure.Message, "next", action.NextAttemptAt)...)
	} else {
		log.InfoContext(ctx, "delivered", attrs...)
	}
	return nil
}

// finishDelivery commits the outcome of an attempt: the action's new state, its
// event, the job of the next attempt if there is one, and the end of this job.
func (p *Pipeline) finishDelivery(ctx context.Context, job *river.Job[deliverArgs], action *platen.Action, done outcome) error {
	err := p.DB.InTx(ctx, func(tx *storage.Tx) error {
		s, err := tx.LockSubmission(ctx, action.AccountID, action.SubmissionID)
		if err != nil {
			return err
		}
		if err := tx.Fence(ctx, job.ID, job.Attempt); err != nil {
			return err
		}
		var a *platen.Action
		for _, one := range s.Actions {
			if one.ID == action.ID {
				a = one
			}
		}
		if a == nil || a.Final() {
			return errSettled
		}
		a.Attempts++
		a.Destination, a.Receipt, a.Failure, a.NextAttemptAt = done.destination, done.receipt, done.failure, nil
		switch {
		case done.receipt != nil:
			a.State = platen.ActionProcessed
		case done.failure.Retryable && time.Since(a.CreatedAt) < platen.DeliveryGiveUp:
			next := time.Now().Add(platen.RetryDelay(p.RetryBase, a.Attempts, rand.Float64())).UTC().Truncate(time.Microsecond)
			a.NextAttemptAt = &next
		default:
			a.State = platen.ActionFailed
		}
		if err := tx.UpdateAction(ctx, s, a); err != nil {
			return err
		}
		if a.NextAttemptAt != nil {
			if _, err := p.river.InsertTx(ctx, tx.SQL(), job.Args, &river.InsertOpts{ScheduledAt: *a.NextAttemptAt}); err != nil {
				return err
			}
		}
		*action = *a
		_, err = river.JobCompleteTx[*riverdatabasesql.Driver](ctx, tx.SQL(), job)
		return err
	})
	if err == nil {
		p.Hub.Nudge()
	}
	return err
}

// deliver makes one attempt. Its error means that the attempt could not be judged:
// the database is away, or this node is stopping.
func (p *Pipeline) deliver(ctx context.Context, s *platen.Submission, action *platen.Action) (outcome, error) {
	var done outcome
	integration, err := p.DB.Integration(ctx, s.AccountID, action.IntegrationID)
	if err != nil {
		return done, err
	}
	secret, err := p.Keyring.Decrypt(integration.Secret, integration.ID)
	if err != nil {
		p.Log.ErrorContext(ctx, "the secret of an integration cannot be decrypted", "integration", integration.ID, "error", err)
		done.failure = deliveryFailure(platen.FailureSecretUnreadable,
			"The stored secret access key cannot be decrypted: the operator's PLATEN_SECRET_KEY lacks the key it was encrypted with. Put that key back, or make the integration anew.")
		return done, nil
	}
	target := delivery.Target{AccessKeyID: integration.AccessKeyID, SecretAccessKey: string(secret), Region: integration.Region,
		Bucket: integration.Bucket, Endpoint: integration.Endpoint, ForcePathStyle: integration.ForcePathStyle}
	templateID, templateName, templateVersion := templateNames(s)
	key, err := p.Keys.Key(ctx, integration.PathTemplate(s.Test), delivery.Document{AccountID: s.AccountID, TemplateID: templateID,
		TemplateName: templateName, TemplateVersion: templateVersion, SubmissionID: s.ID, ProcessedAt: *s.ProcessedAt,
		Metadata: s.Metadata, Extension: "pdf"})
	if err != nil {
		return done.failed(err)
	}
	done.destination = delivery.Destination(target, key)
	content, err := p.Blobs.Open(ctx, s.File.BlobKey)
	if err != nil {
		if ctx.Err() != nil {
			return done, ctx.Err()
		}
		p.Log.ErrorContext(ctx, "Platen's own copy cannot be read", "submission", s.ID, "blob", s.File.BlobKey, "error", err)
		done.failure = &platen.Failure{Stage: platen.StageStore, Code: platen.FailureStorage, OccurredAt: time.Now(),
			Retryable: !errors.Is(err, blob.ErrNotFound), Message: "Platen's own copy of the document cannot be read, so it cannot be uploaded. The log says why."}
		return done, nil
	}
	defer content.Close()
	done.receipt, err = p.S3.Put(ctx, target, delivery.Object{Body: content, Size: s.File.ByteSize, SHA256: s.File.SHA256,
		ContentType: s.File.ContentType, Key: key, Filename: s.ID + ".pdf"})
	if err != nil {
		return done.failed(err)
	}
	return done, nil
}

// failed sorts an error: a failure is an outcome, anything else is none.
func (o outcome) failed(err error) (outcome, error) {
	if errors.As(err, &o.failure) {
		return o, nil
	}
	return o, err
}

func deliveryFailure(code platen.FailureCode, message string) *platen.Failure {
	return &platen.Failure{Stage: platen.StageDeliver, Code: code, Message: message, OccurredAt: time.Now()}
}
