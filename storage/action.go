package storage

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"platen"
)

type actionRow struct {
	AccountID       string         `db:"account_id"`
	ID              string         `db:"id"`
	Type            string         `db:"type"`
	State           string         `db:"state"`
	IntegrationID   sql.NullString `db:"integration_id"`
	SubjectID       string         `db:"subject_id"`
	Test            bool           `db:"test"`
	Destination     string         `db:"destination"`
	Attempts        int            `db:"attempts"`
	NextAttemptAt   *time.Time     `db:"next_attempt_at"`
	Receipt         []byte         `db:"receipt"`
	Failure         []byte         `db:"failure"`
	CreatedAt       time.Time      `db:"created_at"`
	UpdatedAt       time.Time      `db:"updated_at"`
	Revision        int            `db:"revision"`
	AfterUploads    bool           `db:"after_uploads"`
	TriedSince      time.Time      `db:"tried_since"`
	TriedBefore     int            `db:"tried_before"`
	AttemptedAt     *time.Time     `db:"attempted_at"`
	PresignedUpload []byte         `db:"presigned_upload"`
}

const actionColumns = `account_id, id, type, state, integration_id, subject_id, test, destination, attempts, next_attempt_at, receipt,
	failure, created_at, updated_at, revision, after_uploads, tried_since, tried_before, attempted_at, presigned_upload`

func (r *actionRow) action() (*platen.Action, error) {
	a := &platen.Action{AccountID: r.AccountID, ID: r.ID, Type: platen.ActionType(r.Type), State: platen.ActionState(r.State),
		IntegrationID: r.IntegrationID.String, SubjectID: r.SubjectID, Test: r.Test, Destination: r.Destination,
		Attempts: r.Attempts, NextAttemptAt: r.NextAttemptAt, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, Revision: r.Revision,
		AfterUploads: r.AfterUploads, TriedSince: r.TriedSince, TriedBefore: r.TriedBefore, AttemptedAt: r.AttemptedAt, PresignedUpload: r.PresignedUpload}
	if r.Receipt != nil {
		var receipt any
		if a.Type == platen.ActionWebhook {
			a.Webhook = new(platen.WebhookReceipt)
			receipt = a.Webhook
		} else {
			a.Upload = new(platen.UploadReceipt)
			receipt = a.Upload
		}
		if err := json.Unmarshal(r.Receipt, receipt); err != nil {
			return nil, fmt.Errorf("receipt of %s: %w", r.ID, err)
		}
	}
	return a, failureFrom(r.Failure, &a.Failure)
}

// addActions inserts new, pending actions of a subject.
func (t *Tx) addActions(ctx context.Context, subject platen.Subject, actions []*platen.Action) error {
	record := subject.Base()
	of := subjectColumn(subject)
	for _, a := range actions {
		a.AccountID, a.SubjectID, a.Test = record.AccountID, record.ID, record.Test
		a.State, a.Revision = platen.ActionPending, 1
		if err := t.tx.GetContext(ctx, &a.CreatedAt, `insert into actions (account_id, id, type, state, integration_id, `+of+`,
				test, after_uploads, presigned_upload, destination)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) returning created_at`, a.AccountID, a.ID, a.Type, a.State,
			nullString(a.IntegrationID), record.ID, a.Test, a.AfterUploads, a.PresignedUpload, a.Destination); err != nil {
			return err
		}
		a.UpdatedAt, a.TriedSince = a.CreatedAt, a.CreatedAt
	}
	record.Actions, record.PendingActions = actions, len(actions)
	return nil
}

// subjectColumn is the column of an action that names its subject.
func subjectColumn(subject platen.Subject) string {
	if d, ok := subject.(platen.AnyDocument); ok {
		return tablesOf(d).id
	}
	return "template_version_id"
}

// subjectTable is where a subject is kept.
func subjectTable(subject platen.Subject) string {
	if d, ok := subject.(platen.AnyDocument); ok {
		return tablesOf(d).documents
	}
	return "template_versions"
}

// UpdateAction writes a changed action, with the event that shows it. The subject is
// the action's, locked, and a one of its actions.
func (t *Tx) UpdateAction(ctx context.Context, subject platen.Subject, a *platen.Action) error {
	failure, err := failureJSON(a.Failure)
	if err != nil {
		return err
	}
	var receipt any
	switch {
	case a.Upload != nil:
		receipt, err = json.Marshal(a.Upload)
	case a.Webhook != nil:
		receipt, err = json.Marshal(a.Webhook)
	}
	if err != nil {
		return err
	}
	a.Revision++
	if err := t.tx.GetContext(ctx, &a.UpdatedAt, `update actions set state = $3, destination = $4, attempts = $5, next_attempt_at = $6,
			receipt = $7, failure = $8, updated_at = clock_timestamp(), revision = $9, after_uploads = $10, tried_since = $11,
			attempted_at = $12, presigned_upload = $13, tried_before = $14
		where account_id = $1 and id = $2 returning updated_at`,
		a.AccountID, a.ID, a.State, a.Destination, a.Attempts, a.NextAttemptAt, receipt, failure, a.Revision, a.AfterUploads,
		a.TriedSince, a.AttemptedAt, a.PresignedUpload, a.TriedBefore); err != nil {
		return notFound(err)
	}
	record := subject.Base()
	record.Changes++
	record.PendingActions = 0
	for _, action := range record.Actions {
		if !action.Final() {
			record.PendingActions++
		}
	}
	return t.recordUpdate(ctx, subject, a.ID, `update `+subjectTable(subject)+` set pending_actions = $3, changes = $4 where account_id = $1 and id = $2`,
		record.AccountID, record.ID, record.PendingActions, record.Changes)
}

// visibleAction is the condition of a test token: template versions are neither test
// nor live, and everybody's (R1.2).
const visibleAction = `(test or template_version_id is not null)`

// Action reads one action in a scope.
func (d *DB) Action(ctx context.Context, scope Scope, id string) (*platen.Action, error) {
	return one(d.ActionsByID(ctx, scope, []string{id}))(id)
}

// ActionsByID reads those of these actions that the scope has.
func (d *DB) ActionsByID(ctx context.Context, scope Scope, ids []string) (map[string]*platen.Action, error) {
	var rows []*actionRow
	if err := d.db.SelectContext(ctx, &rows, `select `+actionColumns+` from actions
		where account_id = $1 and id = any($2) and (`+visibleAction+` or not $3)`, scope.AccountID, pq.Array(ids), scope.TestOnly); err != nil {
		return nil, err
	}
	actions, err := actionsFrom(rows)
	byID := make(map[string]*platen.Action, len(actions))
	for _, a := range actions {
		byID[a.ID] = a
	}
	return byID, err
}

func actionsFrom(rows []*actionRow) (actions []*platen.Action, err error) {
	actions = make([]*platen.Action, len(rows))
	for i, row := range rows {
		if actions[i], err = row.action(); err != nil {
			return nil, err
		}
	}
	return actions, nil
}

// whereActions are the conditions of a list of actions with their arguments.
func whereActions(scope Scope, f platen.ActionFilter) (string, []any) {
	var b strings.Builder
	b.WriteString(` where account_id = $1`)
	args := []any{scope.AccountID}
	add := func(condition string, value any) {
		args = append(args, value)
		fmt.Fprintf(&b, " and "+condition, len(args))
	}
	if scope.TestOnly {
		b.WriteString(` and ` + visibleAction)
	}
	if len(f.Types) > 0 {
		add("type = any($%d)", pq.Array(f.Types))
	}
	if len(f.States) > 0 {
		add("state = any($%d)", pq.Array(f.States))
	}
	if f.IntegrationID != "" {
		add("integration_id = $%d", f.IntegrationID)
	}
	if f.SubjectID != "" {
		add("subject_id = $%d", f.SubjectID)
	}
	if f.Test != nil {
		add("template_version_id is null and test = $%d", *f.Test)
	}
	return b.String(), args
}

// Actions reads a part of a scope's actions, newest first.
func (d *DB) Actions(ctx context.Context, scope Scope, filter platen.ActionFilter, page Page) ([]*platen.Action, PageInfo, error) {
	where, args := whereActions(scope, filter)
	tail, args, err := page.clause(args, "created_at", "id")
	if err != nil {
		return nil, PageInfo{}, err
	}
	var rows []*actionRow
	if err := d.db.SelectContext(ctx, &rows, `select `+actionColumns+` from actions`+where+tail, args...); err != nil {
		return nil, PageInfo{}, err
	}
	rows, info := trim(page, rows)
	actions, err := actionsFrom(rows)
	return actions, info, err
}

// ActionsOfIntegrations does what Actions does for each of these integrations, by
// integration. The filter names none.
func (d *DB) ActionsOfIntegrations(ctx context.Context, scope Scope, ids []string, filter platen.ActionFilter, page Page) (map[string]Part[*platen.Action], error) {
	where, args := whereActions(scope, filter)
	tail, args, err := page.clause(args, "created_at", "id")
	if err != nil {
		return nil, err
	}
	args = append(args, pq.Array(ids))
	var rows []*actionRow
	if err := d.db.SelectContext(ctx, &rows, fmt.Sprintf(`select part.* from unnest($%d::text[]) as integration (id),
		lateral (select %s from actions%s and integration_id = integration.id%s) as part%s`,
		len(args), actionColumns, where, tail, page.direction("part.created_at", "part.id")), args...); err != nil {
		return nil, err
	}
	actions, err := actionsFrom(rows)
	return parts(page, actions, func(a *platen.Action) string { return a.IntegrationID }), err
}

// CountActions counts a scope's actions, up to CountLimit.
func (d *DB) CountActions(ctx context.Context, scope Scope, filter platen.ActionFilter) (int, error) {
	where, args := whereActions(scope, filter)
	return d.count(ctx, `select 1 from actions`+where, args...)
}

// CountActionsOfIntegrations does what CountActions does for each of these integrations,
// by integration. The filter names none.
func (d *DB) CountActionsOfIntegrations(ctx context.Context, scope Scope, ids []string, filter platen.ActionFilter) (map[string]int, error) {
	where, args := whereActions(scope, filter)
	args = append(args, pq.Array(ids))
	return d.counts(ctx, fmt.Sprintf(`select integration.id, (select count(*) from (select 1 from actions%s and integration_id = integration.id
		limit %d) as counted) as n from unnest($%d::text[]) as integration (id)`, where, CountLimit, len(args)), args...)
}

// ActionRef names an action and what it is an action of.
type ActionRef struct {
	ID        string `db:"id"`
	SubjectID string `db:"subject_id"`
}

// ActionsOfIntegration names at most limit actions of an integration in a state, in
// the order of their ids, after the id after.
func (d *DB) ActionsOfIntegration(ctx context.Context, scope Scope, integrationID string, state platen.ActionState, after string, limit int) (refs []ActionRef, err error) {
	err = d.db.SelectContext(ctx, &refs, `select id, subject_id from actions
		where account_id = $1 and integration_id = $2 and state = $3 and state <> 'PROCESSED' and id > $4 and (`+visibleAction+` or not $5)
		order by id limit $6`, scope.AccountID, integrationID, state, after, scope.TestOnly, limit)
	return refs, err
}

// ActionsOf reads the actions of these subjects, in the order in which they were
// made, by subject.
func (d *DB) ActionsOf(ctx context.Context, accountID string, subjectIDs []string) (map[string][]*platen.Action, error) {
	return actionsOf(ctx, d.db, accountID, subjectIDs)
}

func actionsOf(ctx context.Context, q sqlx.QueryerContext, accountID string, subjectIDs []string) (map[string][]*platen.Action, error) {
	var rows []*actionRow
	if err := sqlx.SelectContext(ctx, q, &rows, `select `+actionColumns+` from actions
		where account_id = $1 and subject_id = any($2) order by created_at, id`, accountID, pq.Array(subjectIDs)); err != nil {
		return nil, err
	}
	actions := make(map[string][]*platen.Action, len(subjectIDs))
	for _, row := range rows {
		action, err := row.action()
		if err != nil {
			return nil, err
		}
		actions[row.SubjectID] = append(actions[row.SubjectID], action)
	}
	return actions, nil
}

// ReleaseAction lets a webhook that waited for uploads be sent from now on. That is
// nothing a subscriber can see, so there is no event of it.
func (t *Tx) ReleaseAction(ctx context.Context, a *platen.Action) error {
	_, err := t.tx.ExecContext(ctx, `update actions set after_uploads = $3, tried_since = $4 where account_id = $1 and id = $2`,
		a.AccountID, a.ID, a.AfterUploads, a.TriedSince)
	return err
}

// SetPresignedUpload gives an action of a locked subject another place to go to. The
// event of its retry shows it.
func (t *Tx) SetPresignedUpload(ctx context.Context, a *platen.Action) error {
	_, err := t.tx.ExecContext(ctx, `update actions set presigned_upload = $3, destination = $4 where account_id = $1 and id = $2`,
		a.AccountID, a.ID, a.PresignedUpload, a.Destination)
	return err
}

// RetryActions makes those of these actions PENDING again that are FAILED, with an
// event of each, and returns them. Uploads of what has expired are left alone: there is
// nothing to upload. No two of them may have the same subject. It has to come before
// anything that the transaction writes: see lockRecord.
func (t *Tx) RetryActions(ctx context.Context, accountID string, refs []ActionRef) ([]*platen.Action, error) {
	if err := t.LockRecords(ctx, accountID, refs); err != nil {
		return nil, err
	}
	ids := make([]string, len(refs))
	for i, ref := range refs {
		ids[i] = ref.ID
	}
	var retried []ActionRef
	if err := t.tx.SelectContext(ctx, &retried, `update actions set state = 'PENDING', next_attempt_at = null, revision = revision + 1,
			tried_since = clock_timestamp(), tried_before = attempts, updated_at = clock_timestamp()
		where account_id = $1 and id = any($2) and state = 'FAILED' and (type = 'WEBHOOK' or not exists (select 1 from submissions s
			where s.account_id = $1 and s.id = actions.submission_id and s.expired_at is not null) and not exists (select 1 from combined_submissions c
			where c.account_id = $1 and c.id = actions.combined_submission_id and c.expired_at is not null)) returning id, subject_id`, accountID, pq.Array(ids)); err != nil {
		return nil, err
	}
	subjects := make([]string, len(retried))
	for i, ref := range retried {
		subjects[i] = ref.SubjectID
	}
	for _, table := range []string{"submissions", "combined_submissions", "template_versions"} {
		if _, err := t.tx.ExecContext(ctx, `update `+table+` set pending_actions = pending_actions + 1, changes = changes + 1
			where account_id = $1 and id = any($2)`, accountID, pq.Array(subjects)); err != nil {
			return nil, err
		}
	}
	changed, err := t.subjects(ctx, accountID, subjects)
	if err != nil {
		return nil, err
	}
	actions, changes := make([]*platen.Action, len(retried)), make([]change, len(retried))
	for i, ref := range retried {
		actions[i] = changed[ref.SubjectID].Base().Action(ref.ID)
		changes[i] = change{changed[ref.SubjectID], ref.ID}
	}
	return actions, t.recordChanges(ctx, accountID, changes)
}
