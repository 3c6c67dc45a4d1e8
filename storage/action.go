package storage

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"platen"
)

type actionRow struct {
	AccountID     string         `db:"account_id"`
	ID            string         `db:"id"`
	Type          string         `db:"type"`
	State         string         `db:"state"`
	IntegrationID sql.NullString `db:"integration_id"`
	SubmissionID  string         `db:"submission_id"`
	Test          bool           `db:"test"`
	Destination   string         `db:"destination"`
	Attempts      int            `db:"attempts"`
	NextAttemptAt *time.Time     `db:"next_attempt_at"`
	Receipt       []byte         `db:"receipt"`
	Failure       []byte         `db:"failure"`
	CreatedAt     time.Time      `db:"created_at"`
	UpdatedAt     time.Time      `db:"updated_at"`
	Revision      int            `db:"revision"`
}

const actionColumns = `account_id, id, type, state, integration_id, submission_id, test, destination, attempts,
	next_attempt_at, receipt, failure, created_at, updated_at, revision`

func (r *actionRow) action() (*platen.Action, error) {
	a := &platen.Action{AccountID: r.AccountID, ID: r.ID, Type: platen.ActionType(r.Type), State: platen.ActionState(r.State),
		IntegrationID: r.IntegrationID.String, SubmissionID: r.SubmissionID, Test: r.Test, Destination: r.Destination,
		Attempts: r.Attempts, NextAttemptAt: r.NextAttemptAt, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, Revision: r.Revision}
	if r.Receipt != nil {
		a.Receipt = new(platen.UploadReceipt)
		if err := json.Unmarshal(r.Receipt, a.Receipt); err != nil {
			return nil, fmt.Errorf("receipt of %s: %w", r.ID, err)
		}
	}
	if r.Failure != nil {
		a.Failure = new(platen.Failure)
		if err := json.Unmarshal(r.Failure, a.Failure); err != nil {
			return nil, fmt.Errorf("failure of %s: %w", r.ID, err)
		}
	}
	return a, nil
}

// createAction inserts a new, pending action.
func (t *Tx) createAction(ctx context.Context, a *platen.Action) error {
	a.State, a.Revision = platen.ActionPending, 1
	err := t.tx.GetContext(ctx, &a.CreatedAt, `insert into actions (account_id, id, type, state, integration_id, submission_id, test)
		values ($1, $2, $3, $4, $5, $6, $7) returning created_at`,
		a.AccountID, a.ID, a.Type, a.State, nullString(a.IntegrationID), a.SubmissionID, a.Test)
	a.UpdatedAt = a.CreatedAt
	return err
}

// UpdateAction writes the outcome of an attempt, with the event that shows it. s is
// the action's submission, locked, and a one of its actions.
func (t *Tx) UpdateAction(ctx context.Context, s *platen.Submission, a *platen.Action) error {
	failure, err := failureJSON(a.Failure)
	if err != nil {
		return err
	}
	var receipt any
	if a.Receipt != nil {
		if receipt, err = json.Marshal(a.Receipt); err != nil {
			return err
		}
	}
	a.Revision++
	if err := t.tx.GetContext(ctx, &a.UpdatedAt, `update actions set state = $3, destination = $4, attempts = $5, next_attempt_at = $6,
			receipt = $7, failure = $8, updated_at = clock_timestamp(), revision = $9
		where account_id = $1 and id = $2 returning updated_at`,
		a.AccountID, a.ID, a.State, a.Destination, a.Attempts, a.NextAttemptAt, receipt, failure, a.Revision); err != nil {
		return notFound(err)
	}
	s.Changes++
	s.PendingActions = 0
	for _, action := range s.Actions {
		if !action.Final() {
			s.PendingActions++
		}
	}
	if _, err := t.tx.ExecContext(ctx, `update submissions set pending_actions = $3, changes = $4 where account_id = $1 and id = $2`,
		s.AccountID, s.ID, s.PendingActions, s.Changes); err != nil {
		return err
	}
	return t.recordChange(ctx, s, a.ID)
}

// Action reads one action in a scope.
func (d *DB) Action(ctx context.Context, scope Scope, id string) (*platen.Action, error) {
	var row actionRow
	if err := d.db.GetContext(ctx, &row, `select `+actionColumns+` from actions
		where account_id = $1 and id = $2 and (test or not $3)`, scope.AccountID, id, scope.TestOnly); err != nil {
		return nil, notFound(err)
	}
	return row.action()
}

// ActionsOf reads the actions of these submissions, in the order in which they were
// made, by submission.
func (d *DB) ActionsOf(ctx context.Context, accountID string, submissionIDs []string) (map[string][]*platen.Action, error) {
	return actionsOf(ctx, d.db, accountID, submissionIDs)
}

func actionsOf(ctx context.Context, q sqlx.QueryerContext, accountID string, submissionIDs []string) (map[string][]*platen.Action, error) {
	var rows []*actionRow
	if err := sqlx.SelectContext(ctx, q, &rows, `select `+actionColumns+` from actions
		where account_id = $1 and submission_id = any($2) order by created_at, id`, accountID, pq.Array(submissionIDs)); err != nil {
		return nil, err
	}
	actions := make(map[string][]*platen.Action, len(submissionIDs))
	for _, row := range rows {
		action, err := row.action()
		if err != nil {
			return nil, err
		}
		actions[row.SubmissionID] = append(actions[row.SubmissionID], action)
	}
	return actions, nil
}
