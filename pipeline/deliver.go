package pipeline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"platen"
	"platen/delivery"
	"platen/storage"
	"platen/storage/blob"
)

// deliverArgs name the action to do.
type deliverArgs struct {
	AccountID string `json:"account_id"`
	ActionID  string `json:"action_id"`
	// Force says that somebody asked for this attempt: it is made although the
	// integration has not been answering.
	Force bool `json:"force,omitempty"`
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
	return time.Now().Add(makeRetry(job.Attempt))
}

// outcome is what one attempt of a delivery came to: a receipt or a failure.
type outcome struct {
	destination string
	upload      *platen.UploadReceipt
	webhook     *platen.WebhookReceipt
	failure     *platen.Failure
}

// Work makes one attempt of one action. It may run twice: the same object is put
// under the same key again. What goes wrong with the last attempt of the job is a
// failed attempt of the action, so that it is tried again by a job of its own.
func (w *deliverWorker) Work(ctx context.Context, job *river.Job[deliverArgs]) error {
	err, last := tried(ctx, job.JobRow, func() error { return w.work(ctx, job) })
	if !last {
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
	start := time.Now()
	done, err := p.attempt(ctx, action, job.Args.Force)
	if errors.As(err, new(*river.JobSnoozeError)) {
		return err
	}
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
	attrs := []any{"subject", action.SubjectID, "integration", action.IntegrationID, "destination", action.Destination,
		"attempts", action.Attempts, "state", action.State, "ms", time.Since(start).Milliseconds()}
	if done.failure != nil {
		log.WarnContext(ctx, "delivery failed", append(attrs, "code", done.failure.Code, "error", done.failure.Message, "next", action.NextAttemptAt)...)
	} else {
		log.InfoContext(ctx, "delivered", attrs...)
	}
	return nil
}

// attempt makes one attempt of an action, if there is a place in its lane. Where
// there is none, the error says for how long the job sleeps, which is no attempt; but
// an action whose time is over is not kept waiting for a closed lane.
func (p *Pipeline) attempt(ctx context.Context, action *platen.Action, force bool) (outcome, error) {
	name := laneOf(action)
	wait, closedBy := p.lanes.enter(name, force, time.Now())
	if closedBy != nil && time.Since(action.TriedSince) >= platen.DeliveryGiveUp {
		return outcome{destination: action.Destination, failure: closedBy}, nil
	}
	if wait > 0 {
		return outcome{}, river.JobSnooze(wait)
	}
	start := time.Now()
	var done outcome
	judged := false
	defer func() { p.lanes.leave(name, done.failure, judged, time.Since(start), time.Now()) }()
	done, err := p.deliver(ctx, action)
	judged = err == nil && (done.failure == nil || done.failure.Stage == platen.StageDeliver && done.failure.Code != platen.FailureStorage)
	return done, err
}

// laneOf names the lane of an action: its integration's, or, for a presigned upload,
// that of the server it goes to.
func laneOf(a *platen.Action) string {
	if a.IntegrationID != "" {
		return a.IntegrationID
	}
	if u, err := url.Parse(a.Destination); err == nil {
		return u.Host
	}
	return ""
}

// finishDelivery commits the outcome of an attempt: the action's new state, its
// event, the job of the next attempt if there is one, and the end of this job.
func (p *Pipeline) finishDelivery(ctx context.Context, job *river.Job[deliverArgs], action *platen.Action, done outcome) error {
	err := p.DB.InTx(ctx, func(tx *storage.Tx) error {
		subject, err := tx.LockSubject(ctx, action.AccountID, action.SubjectID)
		if err != nil {
			return err
		}
		if err := tx.CompleteJob(ctx, job.ID, job.Attempt); err != nil {
			return err
		}
		a := subject.Base().Action(action.ID)
		if a == nil || a.Final() {
			return errSettled
		}
		now := time.Now().UTC().Truncate(time.Microsecond)
		a.Attempts++
		a.AttemptedAt, a.NextAttemptAt = &now, nil
		a.Destination, a.Upload, a.Webhook, a.Failure = done.destination, done.upload, done.webhook, done.failure
		switch {
		case done.failure == nil:
			a.State, a.PresignedUpload = platen.ActionProcessed, nil
		case done.failure.Retryable && now.Sub(a.TriedSince) < platen.DeliveryGiveUp:
			next := now.Add(platen.RetryDelay(p.RetryBase, a.Attempts-a.TriedBefore, rand.Float64())).Truncate(time.Microsecond)
			a.NextAttemptAt = &next
		default:
			a.State = platen.ActionFailed
			if done.failure.Retryable {
				a.Failure = givenUp(*done.failure)
			}
		}
		if err := p.updateAction(ctx, tx, subject, a); err != nil {
			return err
		}
		if a.NextAttemptAt != nil {
			next := deliverArgs{AccountID: job.Args.AccountID, ActionID: job.Args.ActionID}
			if _, err := p.river.InsertTx(ctx, tx.SQL(), next, &river.InsertOpts{ScheduledAt: *a.NextAttemptAt}); err != nil {
				return err
			}
		}
		*action = *a
		return nil
	})
	if err == nil {
		p.Hub.Nudge()
	}
	return err
}

// givenUp is a failure that could pass and has not within the time for it: its message
// no longer says that it is tried again.
func givenUp(f platen.Failure) *platen.Failure {
	f.Message = strings.Replace(f.Message, "It is tried again", "It was tried for a day and is given up: retry the action once that has passed", 1)
	return &f
}

// deliver makes one attempt. Its error means that the attempt could not be judged:
// the database is away, or this node is stopping.
func (p *Pipeline) deliver(ctx context.Context, action *platen.Action) (outcome, error) {
	done := outcome{destination: action.Destination}
	subject, err := p.DB.Subject(ctx, storage.Scope{AccountID: action.AccountID}, action.SubjectID)
	if err != nil {
		return done, err
	}
	if action.Type == platen.ActionPresignedUpload {
		return p.deliverPresigned(ctx, subject, action, done)
	}
	integration, err := p.DB.Integration(ctx, action.AccountID, action.IntegrationID)
	if errors.Is(err, storage.ErrNotFound) {
		done.failure = integrationDeleted()
		return done, nil
	}
	if err != nil {
		return done, err
	}
	secret, err := p.Keyring.Decrypt(integration.Secret, integration.ID)
	if err != nil {
		p.Log.ErrorContext(ctx, "the secret of an integration cannot be decrypted", "integration", integration.ID, "error", err)
		done.failure = secretUnreadable()
		return done, nil
	}
	if integration.Webhook != nil {
		return p.deliverWebhook(ctx, subject, action, integration, string(secret))
	}
	return p.deliverS3(ctx, subject, integration, string(secret))
}

func secretUnreadable() *platen.Failure {
	return deliveryFailure(platen.FailureSecretUnreadable,
		"The stored secret cannot be decrypted: the operator's PLATEN_SECRET_KEY lacks the key it was encrypted with. Put that key back, or enter the secret anew; then retry the action.")
}

// deliverS3 puts the subject's file into an integration's bucket.
func (p *Pipeline) deliverS3(ctx context.Context, subject platen.Subject, i *platen.Integration, secret string) (done outcome, err error) {
	target := s3Target(i.S3, secret)
	names := keyDocument(subject)
	path := i.S3.Path(names.Kind, subject.Base().Test)
	if path == "" {
		done.failure = deliveryFailure(platen.FailureKeyInvalid,
			"The integration has no path template for this any more, so there is no key. Give it one, then retry the action.")
		return done, nil
	}
	key, err := p.Keys.Key(ctx, path, names)
	if err != nil {
		return done.failed(err)
	}
	done.destination = delivery.Destination(target, key)
	object, closeObject, err := p.object(ctx, subject)
	if err != nil {
		return done.failed(err)
	}
	defer closeObject()
	object.Key = key
	done.upload, err = p.S3.Put(ctx, target, object)
	if err != nil {
		return done.failed(err)
	}
	return done, nil
}

// deliverPresigned puts the subject's file to an address that its caller had signed.
func (p *Pipeline) deliverPresigned(ctx context.Context, subject platen.Subject, action *platen.Action, done outcome) (outcome, error) {
	address, err := p.presignedUpload(subject, action.PresignedUpload)
	if err != nil {
		p.Log.ErrorContext(ctx, "a presigned URL cannot be decrypted", "action", action.ID, "error", err)
		done.failure = deliveryFailure(platen.FailureSecretUnreadable,
			"The stored presigned URL cannot be decrypted: the operator's PLATEN_SECRET_KEY lacks the key it was encrypted with. Retry the action with a new presigned URL.")
		return done, nil
	}
	done.destination = address.Destination()
	object, closeObject, err := p.object(ctx, subject)
	if err != nil {
		return done.failed(err)
	}
	defer closeObject()
	if done.upload, err = p.Presigned.Put(ctx, address, object); err != nil {
		return done.failed(err)
	}
	return done, nil
}

// webhookDownloadLife is for how long the download URL in a webhook is good. Each
// attempt carries a new one.
const webhookDownloadLife = 24 * time.Hour

// deliverWebhook posts the subject, with its actions as they are now.
func (p *Pipeline) deliverWebhook(ctx context.Context, subject platen.Subject, action *platen.Action, i *platen.Integration, secret string) (outcome, error) {
	done := outcome{destination: platen.AddressWithoutSecrets(i.Webhook.URL)}
	document, ok := subject.(platen.AnyDocument)
	if !ok {
		return done, fmt.Errorf("%s is no document: no webhook tells of it", action.SubjectID)
	}
	d := document.Common()
	actions, err := p.DB.ActionsOf(ctx, d.AccountID, []string{d.ID})
	if err != nil {
		return done, err
	}
	d.Actions = actions[d.ID]
	switch of := document.(type) {
	case *platen.Submission:
		err = p.DB.SubmissionContent(ctx, of)
	case *platen.CombinedSubmission:
		err = p.DB.CombinedInputs(ctx, of)
	}
	if err != nil {
		return done, err
	}
	body, err := delivery.DocumentPayload(document, p.DownloadURL(document, webhookDownloadLife))
	if err != nil {
		return done, err
	}
	done.webhook, err = p.Webhooks.Post(ctx, delivery.Webhook{URL: i.Webhook.URL, Secret: platen.NewSecret(secret), ID: action.ID, Body: body})
	if err != nil {
		return done.failed(err)
	}
	return done, nil
}

func s3Target(s *platen.S3Settings, secret string) delivery.Target {
	return delivery.Target{AccessKeyID: s.AccessKeyID, SecretAccessKey: platen.NewSecret(secret), Region: s.Region, Bucket: s.Bucket, Endpoint: s.Endpoint,
		ForcePathStyle: s.ForcePathStyle, StorageClass: s.StorageClass, ServerSideEncryption: s.ServerSideEncryption, KMSKeyID: s.KMSKeyID,
		Checksum: s.Checksum}
}

// keyDocument is what path templates may say of a subject. One that is not processed
// yet has the time of now: that is for previews.
func keyDocument(subject platen.Subject) delivery.Document {
	if v, ok := subject.(*platen.TemplateVersion); ok {
		return delivery.Document{Kind: platen.PathTemplateVersion, AccountID: v.AccountID, TemplateID: v.TemplateID, TemplateName: v.TemplateName,
			TemplateVersion: fmt.Sprint(v.Number), At: v.PublishedAt}
	}
	document := subject.(platen.AnyDocument)
	d := document.Common()
	names := delivery.Document{Kind: document.PathKind(), AccountID: d.AccountID, At: time.Now(), Metadata: d.Metadata, Extension: document.Extension()}
	if d.ProcessedAt != nil {
		names.At = *d.ProcessedAt
	}
	if s, ok := document.(*platen.Submission); ok {
		names.SubmissionID = s.ID
		names.TemplateID, names.TemplateName, names.TemplateVersion = templateNames(s)
	} else {
		names.CombinedSubmissionID = d.ID
	}
	return names
}

// object opens what is uploaded of a subject; its key is left to the caller. Its error
// is a *platen.Failure when it says something about the copy.
func (p *Pipeline) object(ctx context.Context, subject platen.Subject) (o delivery.Object, closeObject func() error, err error) {
	if v, ok := subject.(*platen.TemplateVersion); ok {
		version, err := p.DB.VersionContent(ctx, v.AccountID, v.ID)
		if err != nil {
			return o, nil, err
		}
		content := versionFile(version)
		sum := sha256.Sum256(content)
		return delivery.Object{Body: bytes.NewReader(content), Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:]),
			ContentType: "text/html; charset=utf-8", Filename: fmt.Sprintf("%s-%d.html", v.TemplateID, v.Number)}, func() error { return nil }, nil
	}
	document := subject.(platen.AnyDocument)
	d := document.Common()
	if d.ExpiredAt != nil {
		return o, nil, expiredMeanwhile()
	}
	content, err := p.Blobs.Open(ctx, d.File.BlobKey)
	if err != nil {
		if ctx.Err() != nil {
			return o, nil, ctx.Err()
		}
		if now, err := p.DB.Subject(ctx, storage.Scope{AccountID: d.AccountID}, d.ID); err == nil && now.(platen.AnyDocument).Common().ExpiredAt != nil {
			return o, nil, expiredMeanwhile()
		}
		p.Log.ErrorContext(ctx, "Platen's own copy cannot be read", "document", d.ID, "blob", d.File.BlobKey, "error", err)
		return o, nil, &platen.Failure{Stage: platen.StageStore, Code: platen.FailureStorage, OccurredAt: time.Now(),
			Retryable: !errors.Is(err, blob.ErrNotFound), Message: "Platen's own copy of the document cannot be read, so it cannot be uploaded. The log says why."}
	}
	return delivery.Object{Body: content, Size: d.File.ByteSize, SHA256: d.File.SHA256, MD5: d.File.MD5, ContentType: d.File.ContentType,
		Filename: d.ID + "." + document.Extension()}, content.Close, nil
}

func expiredMeanwhile() *platen.Failure {
	return deliveryFailure(platen.FailureExpired, "The document has expired, so there is no copy of it left to deliver. Send it again if it is wanted after all.")
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
