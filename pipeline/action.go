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

// newActions makes the actions of a submission that has just left PENDING: one for
// each integration that wants it, and one for its presigned URL if it has a file (R6.1).
func (p *Pipeline) newActions(ctx context.Context, tx *storage.Tx, s *platen.Submission) ([]*platen.Action, error) {
	integrations, err := tx.EnabledIntegrations(ctx, s.AccountID)
	if err != nil {
		return nil, err
	}
	var actions []*platen.Action
	for _, i := range integrations {
		if i.Wants(s) {
			actions = append(actions, &platen.Action{ID: platen.NewID(platen.KindAction), Type: i.ActionType(), State: platen.ActionPending, IntegrationID: i.ID,
				AfterUploads: i.Webhook != nil && i.Webhook.SendWhen == platen.WhenDelivered})
		}
	}
	if s.State == platen.DocumentProcessed {
		if err := tx.PresignedUpload(ctx, s); err != nil {
			return nil, err
		}
		if s.PresignedUpload != nil {
			a := &platen.Action{ID: platen.NewID(platen.KindAction), Type: platen.ActionPresignedUpload, State: platen.ActionPending,
				PresignedUpload: s.PresignedUpload}
			// Unreadable, it is still an action: its attempt says what is wrong.
			if address, err := p.presignedUpload(s, s.PresignedUpload); err == nil {
				a.Destination = address.Destination()
			}
			actions = append(actions, a)
		}
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
		retried = subject.Base().Action(id)
		if err := p.checkRetry(ctx, subject, retried, address); err != nil {
			return err
		}
		return p.retry(ctx, tx, subject, retried, true)
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
			return err
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

// retry makes a failed action PENDING again, with a job that runs at once. force lets
// it through although its integration has not been answering.
func (p *Pipeline) retry(ctx context.Context, tx *storage.Tx, subject platen.Subject, a *platen.Action, force bool) error {
	a.State, a.NextAttemptAt, a.TriedSince, a.TriedBefore = platen.ActionPending, nil, time.Now(), a.Attempts
	if err := tx.UpdateAction(ctx, subject, a); err != nil {
		return err
	}
	_, err := p.river.InsertTx(ctx, tx.SQL(), deliverArgs{AccountID: a.AccountID, ActionID: a.ID, Force: force}, nil)
	return err
}

const (
	// MaxRetries is how many failed actions one call starts again.
	MaxRetries = 10_000
	// retryBatch is how many of them a transaction takes.
	retryBatch = 100
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
	err = p.eachAction(ctx, scope, integrationID, platen.ActionFailed, func(tx *storage.Tx, subject platen.Subject, a *platen.Action) (bool, error) {
		if count == MaxRetries {
			return false, nil
		}
		count++
		return true, p.retry(ctx, tx, subject, a, false)
	})
	return count, err
}

// eachAction calls change for each action of an integration that is in a state, its
// subject locked, in transactions of retryBatch actions, until change says that it
// wants no more.
func (p *Pipeline) eachAction(ctx context.Context, scope storage.Scope, integrationID string, state platen.ActionState,
	change func(*storage.Tx, platen.Subject, *platen.Action) (more bool, err error)) error {
	for after, more := "", true; more; {
		refs, err := p.DB.ActionsOfIntegration(ctx, scope, integrationID, state, after, retryBatch)
		if err != nil || len(refs) == 0 {
			return err
		}
		after = refs[len(refs)-1].ID
		subjects := make([]string, len(refs))
		for i, ref := range refs {
			subjects[i] = ref.SubjectID
		}
		if err := p.DB.InTx(ctx, func(tx *storage.Tx) error {
			if err := tx.LockRecords(ctx, subjects); err != nil {
				return err
			}
			for _, ref := range refs {
				subject, err := tx.LockSubject(ctx, scope.AccountID, ref.SubjectID)
				if err != nil {
					return err
				}
				if a := subject.Base().Action(ref.ID); a.State == state && more {
					if more, err = change(tx, subject, a); err != nil {
						return err
					}
				}
			}
			return nil
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

// Work ends the pending actions of a deleted integration (R5.1). It may run twice:
// what has ended is left alone.
func (w *settleWorker) Work(ctx context.Context, job *river.Job[settleArgs]) error {
	defer w.pipeline.Hub.Nudge()
	scope := storage.Scope{AccountID: job.Args.AccountID}
	return w.pipeline.eachAction(ctx, scope, job.Args.IntegrationID, platen.ActionPending, func(tx *storage.Tx, subject platen.Subject, a *platen.Action) (bool, error) {
		a.State, a.NextAttemptAt, a.Failure = platen.ActionFailed, nil, integrationDeleted()
		return true, w.pipeline.updateAction(ctx, tx, subject, a)
	})
}

func integrationDeleted() *platen.Failure {
	return deliveryFailure(platen.FailureIntegrationDeleted, "The integration was deleted before this was done. The document stays downloadable from Platen.")
}
