package storage

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"platen"
)

// LockSubject reads what actions are done with, by its id, together with them, and
// locks it: changes of one subject happen one after the other. It has to come before
// anything that the transaction writes: see lockRecord.
func (t *Tx) LockSubject(ctx context.Context, accountID, id string) (platen.Subject, error) {
	if err := t.lockRecord(ctx, id); err != nil {
		return nil, err
	}
	return subject(ctx, t.tx, Scope{AccountID: accountID}, id, " for update")
}

// lockRecord makes the transactions that change a record wait for one another
// without numbering them. The history is read in the order of transaction numbers,
// and PostgreSQL numbers a transaction when it first writes. A row lock is too late
// for that: a transaction that waits for one can have its number before it gets it
// (heap_lock_tuple follows the update chain under the waiter's own number), and then
// the record's changes would be told in another order than they happened.
func (t *Tx) lockRecord(ctx context.Context, id string) error {
	_, err := t.tx.ExecContext(ctx, `select pg_advisory_xact_lock(hashtextextended($1, 0))`, id)
	return err
}

// LockRecords is lockRecord for a transaction that is going to change actions of
// several subjects.
// Everybody takes such locks in the order of the ids, and then those of the documents'
// rows in the order in which LockParts takes them, so nobody waits in a circle.
func (t *Tx) LockRecords(ctx context.Context, accountID string, refs []ActionRef) error {
	ids := make([]string, len(refs))
	for i, ref := range refs {
		ids[i] = ref.SubjectID
	}
	if _, err := t.tx.ExecContext(ctx, `select pg_advisory_xact_lock(hashtextextended(id, 0))
		from (select distinct id from unnest($1::text[]) as asked (id) order by id) as ordered`, pq.Array(ids)); err != nil {
		return err
	}
	for _, in := range []documentTables{submissionTables, combinedTables} {
		if _, err := t.tx.ExecContext(ctx, `select 1 from `+in.documents+` where account_id = $1 and id = any($2) order by created_at, id for update`,
			accountID, pq.Array(ids)); err != nil {
			return err
		}
	}
	return nil
}

// Subject reads what actions are done with, by its id and without them.
func (d *DB) Subject(ctx context.Context, scope Scope, id string) (platen.Subject, error) {
	return subjectRow(ctx, d.db, scope, id, "")
}

// SubjectSnapshot reads a subject with its actions as they are at one moment, and
// the position in the history from which on every event is later than it, or of a
// transaction that was open just before.
func (d *DB) SubjectSnapshot(ctx context.Context, scope Scope, id string) (platen.Subject, platen.Cursor, error) {
	// Most that is followed is pending: its row alone is of one moment, without a transaction.
	horizon, err := d.EventHorizon(ctx)
	if err != nil {
		return nil, horizon, err
	}
	s, err := d.Subject(ctx, scope, id)
	if err != nil {
		return nil, horizon, err
	}
	if pending(s) {
		s.Base().Actions = []*platen.Action{}
		return s, horizon, nil
	}
	tx, err := d.db.BeginTxx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return nil, horizon, err
	}
	defer tx.Rollback() //nolint:errcheck // it only reads
	if s, err = subject(ctx, tx, scope, id, ""); err != nil {
		return nil, horizon, err
	}
	err = tx.GetContext(ctx, &horizon.XID, `select pg_snapshot_xmin(pg_current_snapshot())::text`)
	return s, horizon, err
}

type querier interface {
	sqlx.QueryerContext
	GetContext(ctx context.Context, into any, query string, args ...any) error
}

func subject(ctx context.Context, q querier, scope Scope, id, lock string) (platen.Subject, error) {
	s, err := subjectRow(ctx, q, scope, id, lock)
	if err != nil {
		return nil, err
	}
	record := s.Base()
	record.Actions = []*platen.Action{}
	if pending(s) {
		return s, nil
	}
	actions, err := actionsOf(ctx, q, record.AccountID, []string{record.ID})
	record.Actions = append(record.Actions, actions[record.ID]...)
	return s, err
}

// pending tells of a subject that is not made yet: it has no actions.
func pending(s platen.Subject) bool {
	document, ok := s.(platen.AnyDocument)
	return ok && document.Common().State == platen.DocumentPending
}

func subjectRow(ctx context.Context, q querier, scope Scope, id, lock string) (platen.Subject, error) {
	switch platen.KindOf(id) {
	case platen.KindSubmission:
		var row submissionRow
		if err := q.GetContext(ctx, &row, `select `+submissionColumns+` from submissions
			where account_id = $1 and id = $2 and (test or not $3)`+lock, scope.AccountID, id, scope.TestOnly); err != nil {
			return nil, notFound(err)
		}
		return row.submission()
	case platen.KindCombined:
		var row combinedRow
		if err := q.GetContext(ctx, &row, `select `+documentColumns+` from combined_submissions
			where account_id = $1 and id = $2 and (test or not $3)`+lock, scope.AccountID, id, scope.TestOnly); err != nil {
			return nil, notFound(err)
		}
		return row.combined()
	case platen.KindTemplateVersion:
		if lock != "" {
			lock += " of v"
		}
		var row templateVersionRow
		if err := q.GetContext(ctx, &row, templateVersions+` where v.account_id = $1 and v.id = $2`+lock, scope.AccountID, id); err != nil {
			return nil, notFound(err)
		}
		return row.templateVersion(), nil
	}
	return nil, ErrNotFound
}

// change is what an event tells of: a subject, as the change left it, and which of
// its actions changed; "" for the subject itself.
type change struct {
	subject  platen.Subject
	actionID string
}

// recordChange writes the event of a change: the subject, with its actions, as the
// change left it.
func (t *Tx) recordChange(ctx context.Context, subject platen.Subject, actionID string) error {
	return t.recordChanges(ctx, subject.Base().AccountID, []change{{subject, actionID}})
}

// recordUpdate is recordChange in one statement with the update that makes the change. The arguments of that begin
// with the account and the subject's id.
func (t *Tx) recordUpdate(ctx context.Context, subject platen.Subject, actionID, update string, args ...any) error {
	body, err := json.Marshal(subject)
	if err != nil {
		return err
	}
	n := len(args)
	_, err = t.tx.ExecContext(ctx, fmt.Sprintf(`with changed as (%s) insert into events (account_id, subject_id, action_id, test, body)
		values ($1, $2, nullif($%d, ''), $%d, $%d)`, update, n+1, n+2, n+3), append(args, actionID, subject.Base().Test, string(body))...)
	return err
}

// recordChanges is recordChange for many subjects of one account.
func (t *Tx) recordChanges(ctx context.Context, accountID string, changes []change) error {
	if len(changes) == 0 {
		return nil
	}
	bodies := make([]string, len(changes))
	for i, c := range changes {
		body, err := json.Marshal(c.subject)
		if err != nil {
			return err
		}
		bodies[i] = string(body)
	}
	_, err := t.tx.ExecContext(ctx, `insert into events (account_id, subject_id, action_id, test, body)
		select $1, subject_id, nullif(action_id, ''), test, body
		from unnest($2::text[], $3::text[], $4::boolean[], $5::json[]) as new (subject_id, action_id, test, body)`, accountID,
		columnOf(changes, func(c change) string { return c.subject.Base().ID }),
		columnOf(changes, func(c change) string { return c.actionID }),
		columnOf(changes, func(c change) bool { return c.subject.Base().Test }), pq.Array(bodies))
	return err
}

// subjects reads these subjects with their actions.
func (t *Tx) subjects(ctx context.Context, accountID string, ids []string) (map[string]platen.Subject, error) {
	documents, err := readAnyDocuments(ctx, t.tx, byID, accountID, pq.Array(ids), false)
	if err != nil {
		return nil, err
	}
	subjects := make(map[string]platen.Subject, len(ids))
	for id, document := range documents {
		subjects[id] = document
	}
	var versions []*templateVersionRow
	if err := t.tx.SelectContext(ctx, &versions, templateVersions+` where v.account_id = $1 and v.id = any($2)`, accountID, pq.Array(ids)); err != nil {
		return nil, err
	}
	for _, row := range versions {
		subjects[row.ID] = row.templateVersion()
	}
	actions, err := actionsOf(ctx, t.tx, accountID, ids)
	for id, subject := range subjects {
		subject.Base().Actions = actions[id]
	}
	return subjects, err
}

// subjectFrom reads what recordChange wrote.
func subjectFrom(id string, body []byte) (subject platen.Subject, err error) {
	switch platen.KindOf(id) {
	case platen.KindSubmission:
		subject = new(platen.Submission)
	case platen.KindCombined:
		subject = new(platen.CombinedSubmission)
	case platen.KindTemplateVersion:
		subject = new(platen.TemplateVersion)
	default:
		return nil, fmt.Errorf("%s is nothing that has actions", id)
	}
	return subject, json.Unmarshal(body, subject)
}
