package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"platen"
	"platen/storage"
)

// newActions makes the actions of a document that has just left PENDING: one for
// each integration that wants it, and one for its presigned URL if it has a file (R6.1).
func (p *Pipeline) newActions(ctx context.Context, tx *storage.Tx, document platen.AnyDocument) ([]*platen.Action, error) {
	if s, ok := document.(*platen.Submission); ok && s.Preview {
		return nil, nil
	}
	d := document.Common()
	integrations, err := tx.EnabledIntegrations(ctx, d.AccountID)
	if err != nil {
		return nil, err
	}
	var actions []*platen.Action
	for _, i := range integrations {
		if i.Wants(document) {
			actions = append(actions, &platen.Action{ID: platen.NewID(platen.KindAction), Type: i.ActionType(), State: platen.ActionPending, IntegrationID: i.ID,
				AfterUploads: i.Webhook != nil && i.Webhook.SendWhen == platen.WhenDelivered})
		}
	}
	if err := tx.TakePresignedUpload(ctx, document); err != nil {
		return nil, err
	}
	if d.PresignedUpload != nil && d.State == platen.DocumentProcessed {
		a := &platen.Action{ID: platen.NewID(platen.KindAction), Type: platen.ActionPresignedUpload, State: platen.ActionPending,
			PresignedUpload: d.PresignedUpload}
		// Unreadable, it is still an action: its attempt says what is wrong.
		if address, err := p.presignedUpload(document, d.PresignedUpload); err == nil {
			a.Destination = address.Destination()
		}
		actions = append(actions, a)
	}
	uploads := (&platen.Record{Actions: actions}).UploadsPending()
	for _, a := range actions {
		a.AfterUploads = a.AfterUploads && uploads
	}
	return actions, nil
}

// publishVersion gives a version that tx has just published the actions that copy it
// (R5.3), with their jobs.
func (p *Pipeline) publishVersion(ctx context.Context, tx *storage.Tx, v *platen.TemplateVersion) error {
	integrations, err := tx.EnabledIntegrations(ctx, v.AccountID)
	if err != nil {
		return err
	}
	var actions []*platen.Action
	for _, i := range integrations {
		if i.WantsVersions() {
			actions = append(actions, &platen.Action{ID: platen.NewID(platen.KindAction), Type: i.ActionType(), IntegrationID: i.ID})
		}
	}
	if err := tx.AddVersionActions(ctx, v, actions); err != nil {
		return err
	}
	return p.insertDeliveries(ctx, tx, actions)
}

// insertDeliveries inserts the jobs of new actions, but of those that wait for others.
func (p *Pipeline) insertDeliveries(ctx context.Context, tx *storage.Tx, actions []*platen.Action) error {
	for _, a := range actions {
		if a.AfterUploads {
			continue
		}
		if _, err := p.river.InsertTx(ctx, tx.SQL(), deliverArgs{AccountID: a.AccountID, ActionID: a.ID}, nil); err != nil {
			return err
		}
	}
	return nil
}

// updateAction writes a changed action of a locked subject. Where it ends the last
// upload, the webhooks that waited for that get their jobs.
func (p *Pipeline) updateAction(ctx context.Context, tx *storage.Tx, subject platen.Subject, a *platen.Action) error {
	record := subject.Base()
	var waited []*platen.Action
	if a.Type != platen.ActionWebhook && !record.UploadsPending() {
		for _, other := range record.Actions {
			if other.AfterUploads && !other.Final() {
				other.AfterUploads, other.TriedSince = false, time.Now()
				waited = append(waited, other)
			}
		}
	}
	if err := tx.UpdateAction(ctx, subject, a); err != nil {
		return err
	}
	for _, other := range waited {
		if err := tx.ReleaseAction(ctx, other); err != nil {
			return err
		}
	}
	return p.insertDeliveries(ctx, tx, waited)
}

// RetryAction starts a failed action again at once (R6.3); address is a new one for a
// presigned upload, nil for the one it has. The error is platen.Errors when the caller
// can mend it.
func (p *Pipeline) RetryAction(ctx context.Context, scope storage.Scope, id string, address *platen.PresignedUpload) (*platen.Action, error) {
	missing := &platen.Error{Code: platen.CodeNotFound, ID: id, Path: []string{"id"}, Message: "There is no action with this id in this account."}
	if platen.KindOf(id) != platen.KindAction {
		return nil, missing
	}
	found, err := p.DB.Action(ctx, scope, id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, missing
	}
	if err != nil {
		return nil, err
	}
	var retried *platen.Action
	err = p.DB.InTx(ctx, func(tx *storage.Tx) error {
		subject, err := tx.LockSubject(ctx, found.AccountID, found.SubjectID)
		if err != nil {
			return err
		}
		a := subject.Base().Action(id)
		if err := p.checkRetry(ctx, subject, a, address); err != nil {
			return err
		}
		if address != nil {
			if err := tx.SetPresignedUpload(ctx, a); err != nil {
				return err
			}
		}
		actions, err := p.retry(ctx, tx, found.AccountID, []storage.ActionRef{{ID: id, SubjectID: found.SubjectID}}, true)
		if err == nil {
			retried = actions[0]
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	p.Hub.Nudge()
	p.Log.InfoContext(ctx, "an action starts again", "action", id, "account", scope.AccountID)
	return retried, nil
}

// checkRetry refuses what cannot be tried again, and takes over a new address.
func (p *Pipeline) checkRetry(ctx context.Context, subject platen.Subject, a *platen.Action, address *platen.PresignedUpload) error {
	if a.State != platen.ActionFailed {
		return &platen.Error{Code: platen.CodeConflict, Path: []string{"id"},
			Message: fmt.Sprintf("The action is %s; only a FAILED one can be tried again.", a.State)}
	}
	if d, ok := subject.(platen.AnyDocument); ok && d.Common().ExpiredAt != nil && a.Type != platen.ActionWebhook {
		return &platen.Error{Code: platen.CodeConflict, Path: []string{"id"},
			Message: "The document has expired, so there is no copy of it left to deliver. Send it again."}
	}
	if a.Type != platen.ActionPresignedUpload {
		if address != nil {
			return &platen.Error{Code: platen.CodeInvalid, Path: []string{"presignedUpload"}, Message: "Only a presigned upload takes an address; this action goes where its integration says."}
		}
		if _, err := p.DB.Integration(ctx, a.AccountID, a.IntegrationID); errors.Is(err, storage.ErrNotFound) {
			return &platen.Error{Code: platen.CodeConflict, Path: []string{"id"}, Message: "The action's integration was deleted, so it cannot be tried again."}
		} else if err != nil {
			return err
		}
		return nil
	}
	if address == nil {
		given, err := p.presignedUpload(subject, a.PresignedUpload)
		if err != nil {
			return &platen.Error{Code: platen.CodeInvalid, Path: []string{"presignedUpload"}, Message: "The presigned URL of this action cannot be decrypted any more: give a new one."}
		}
		if expires, known := given.Expires(); known && !time.Now().Before(expires) {
			return &platen.Error{Code: platen.CodeInvalid, Path: []string{"presignedUpload"},
				Message: fmt.Sprintf("The presigned URL of this action expired at %s: give a new one.", expires.UTC().Format(time.RFC3339))}
		}
		return nil
	}
	if errs := address.Validate(time.Now()); len(errs) > 0 {
		return errs.At("presignedUpload")
	}
	sealed, err := p.sealPresignedUpload(subject.Base().ID, *address)
	a.PresignedUpload, a.Destination = sealed, address.Destination()
	return err
}

// retry makes failed actions PENDING again, with jobs that run at once. force lets
// them through although their integration has not been answering.
func (p *Pipeline) retry(ctx context.Context, tx *storage.Tx, accountID string, refs []storage.ActionRef, force bool) ([]*platen.Action, error) {
	actions, err := tx.RetryActions(ctx, accountID, refs)
	if err != nil || len(actions) == 0 {
		return nil, err
	}
	jobs := make([]river.InsertManyParams, len(actions))
	for i, a := range actions {
		jobs[i] = river.InsertManyParams{Args: deliverArgs{AccountID: accountID, ActionID: a.ID, Force: force}}
	}
	_, err = p.river.InsertManyFastTx(ctx, tx.SQL(), jobs)
	return actions, err
}

const (
	// MaxRetries is how many failed actions one call starts again.
	MaxRetries = 10_000
	// actionBatch is how many actions a transaction takes: each needs a lock, of which
	// PostgreSQL has room for some thousands.
	actionBatch = 250
)

// RetryFailedActions starts failed actions of an integration again, MaxRetries at
// most, and tells how many. What it has started stays started when it is interrupted.
func (p *Pipeline) RetryFailedActions(ctx context.Context, scope storage.Scope, integrationID string) (count int, err error) {
	if _, err := p.integration(ctx, scope.AccountID, integrationID, "integrationId"); err != nil {
		return 0, err
	}
	defer func() {
		if count > 0 {
			p.Hub.Nudge()
			p.Log.InfoContext(ctx, "failed actions start again", "integration", integrationID, "account", scope.AccountID, "actions", count)
		}
	}()
	err = p.eachBatch(ctx, scope, integrationID, platen.ActionFailed, func(tx *storage.Tx, refs []storage.ActionRef) (more bool, err error) {
		retried, err := p.retry(ctx, tx, scope.AccountID, refs, false)
		count += len(retried)
		return count+actionBatch <= MaxRetries, err
	})
	return count, err
}

// eachBatch calls change for all actions of an integration that are in a state, a
// batch and a transaction at a time, until change says that it wants no more.
func (p *Pipeline) eachBatch(ctx context.Context, scope storage.Scope, integrationID string, state platen.ActionState,
	change func(*storage.Tx, []storage.ActionRef) (more bool, err error)) error {
	for after, more := "", true; more; {
		refs, err := p.DB.ActionsOfIntegration(ctx, scope, integrationID, state, after, actionBatch)
		if err != nil || len(refs) == 0 {
			return err
		}
		after = refs[len(refs)-1].ID
		if err := p.DB.InTx(ctx, func(tx *storage.Tx) (err error) {
			more, err = change(tx, refs)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// sealPresignedUpload encrypts where a subject's file goes: whoever has the address
// can write there.
func (p *Pipeline) sealPresignedUpload(subjectID string, u platen.PresignedUpload) ([]byte, error) {
	text, err := json.Marshal(struct {
		URL     string          `json:"url"`
		Headers []platen.Header `json:"headers"`
	}{u.URL, u.Headers})
	if err != nil {
		return nil, err
	}
	return p.Keyring.Encrypt(text, subjectID)
}

// presignedUpload reads what sealPresignedUpload made.
func (p *Pipeline) presignedUpload(subject platen.Subject, sealed []byte) (u platen.PresignedUpload, err error) {
	text, err := p.Keyring.Decrypt(sealed, subject.Base().ID)
	if err != nil {
		return u, err
	}
	return u, json.Unmarshal(text, &u)
}

// settleArgs name a deleted integration whose pending actions are to end.
type settleArgs struct {
	AccountID     string `json:"account_id"`
	IntegrationID string `json:"integration_id"`
}

func (settleArgs) Kind() string { return "settle_integration" }

func (settleArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: queueDeliver} }

type settleWorker struct {
	river.WorkerDefaults[settleArgs]
	pipeline *Pipeline
}

// NextRetry is for jobs that were interrupted.
func (w *settleWorker) NextRetry(job *river.Job[settleArgs]) time.Time {
	return time.Now().Add(makeRetry(job.Attempt))
}

// Work ends the pending actions of a deleted integration (R5.1). It may run twice:
// what has ended is left alone.
func (w *settleWorker) Work(ctx context.Context, job *river.Job[settleArgs]) error {
	defer w.pipeline.Hub.Nudge()
	scope := storage.Scope{AccountID: job.Args.AccountID}
	return w.pipeline.eachBatch(ctx, scope, job.Args.IntegrationID, platen.ActionPending, func(tx *storage.Tx, refs []storage.ActionRef) (bool, error) {
		if err := tx.LockRecords(ctx, scope.AccountID, refs); err != nil {
			return false, err
		}
		for _, ref := range refs {
			subject, err := tx.LockSubject(ctx, scope.AccountID, ref.SubjectID)
			if err != nil {
				return false, err
			}
			a := subject.Base().Action(ref.ID)
			if a.Final() {
				continue
			}
			a.State, a.NextAttemptAt, a.Failure = platen.ActionFailed, nil, integrationDeleted()
			if err := w.pipeline.updateAction(ctx, tx, subject, a); err != nil {
				return false, err
			}
		}
		return true, nil
	})
}

func integrationDeleted() *platen.Failure {
	return deliveryFailure(platen.FailureIntegrationDeleted, "The integration was deleted before this was done. The document stays downloadable from Platen.")
}
