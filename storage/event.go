package storage

import (
	"context"
	"fmt"
	"time"

	"platen"
)

// EventChannel is the channel on which nodes nudge one another after a commit that
// wrote events. A nudge says only: look.
const EventChannel = "platen_events"

// Nudge tells every node that there are new events, and who says so. It is sent after the commit:
// inside the transaction it would take a lock that holds up all other commits.
func (d *DB) Nudge(ctx context.Context, from string) error {
	_, err := d.db.ExecContext(ctx, `select pg_notify($1, $2)`, EventChannel, from)
	return err
}

// EventHorizon is the position up to which, at this moment, nothing more can appear.
func (d *DB) EventHorizon(ctx context.Context) (platen.Cursor, error) {
	var xid uint64
	err := d.db.GetContext(ctx, &xid, `select pg_snapshot_xmin(pg_current_snapshot())::text`)
	return platen.Cursor{XID: xid}, err
}

// EventsAfter reads at most limit events after a position, in the order in which
// they became visible. It stops at the oldest transaction still open anywhere on
// the server: what that may yet commit comes before what younger ones did, so that
// no reader's position can pass an event it has not seen. waiting tells whether there are
// committed events that such a transaction keeps from being read.
func (d *DB) EventsAfter(ctx context.Context, after platen.Cursor, limit int) (events []*platen.Event, waiting bool, err error) {
	return d.events(ctx, "", after, limit)
}

// AccountEventsAfter does the same with the events of one account.
func (d *DB) AccountEventsAfter(ctx context.Context, accountID string, after platen.Cursor, limit int) (events []*platen.Event, waiting bool, err error) {
	return d.events(ctx, "account_id = $4 and ", after, limit, accountID)
}

func (d *DB) events(ctx context.Context, of string, after platen.Cursor, limit int, args ...any) (events []*platen.Event, waiting bool, err error) {
	var rows []struct {
		AccountID string    `db:"account_id"`
		ID        int64     `db:"id"`
		XID       uint64    `db:"xid"`
		SubjectID string    `db:"subject_id"`
		ActionID  string    `db:"action_id"`
		Test      bool      `db:"test"`
		Body      []byte    `db:"body"`
		At        time.Time `db:"at"`
		Settled   bool      `db:"settled"`
	}
	// The order names events.xid: the output column is text, and text puts 10 before 9.
	if err := d.db.SelectContext(ctx, &rows, `select account_id, id, xid::text as xid, subject_id, coalesce(action_id, '') as action_id, test, at, settled,
			case when settled then body end as body
		from events, lateral (select xid < pg_snapshot_xmin(pg_current_snapshot()) as settled) as of_all
		where `+of+`(xid, id) > ($1::text::xid8, $2)
		order by events.xid, events.id limit $3`, append([]any{fmt.Sprint(after.XID), after.ID, limit}, args...)...); err != nil {
		return nil, false, err
	}
	for _, row := range rows {
		if !row.Settled {
			return events, true, nil
		}
		subject, err := subjectFrom(row.SubjectID, row.Body)
		if err != nil {
			return nil, false, fmt.Errorf("body of event %d: %w", row.ID, err)
		}
		events = append(events, &platen.Event{Cursor: platen.Cursor{XID: row.XID, ID: row.ID}, AccountID: row.AccountID, SubjectID: row.SubjectID,
			ActionID: row.ActionID, Test: row.Test, At: row.At, Subject: subject})
	}
	return events, false, nil
}

// History is what can be read: after forgotten, and before end, where no transaction has
// been yet. Who reads from an earlier position may have missed something; one from a later
// position has seen a future that was lost, since the server's disk was put back.
func (d *DB) History(ctx context.Context) (forgotten, end platen.Cursor, err error) {
	var row struct {
		XID uint64 `db:"xid"`
		ID  int64  `db:"id"`
		End uint64 `db:"end"`
	}
	err = d.db.GetContext(ctx, &row, `select forgotten_xid::text as xid, forgotten_id as id, pg_snapshot_xmax(pg_current_snapshot())::text as end from installation`)
	return platen.Cursor{XID: row.XID, ID: row.ID}, platen.Cursor{XID: row.End}, err
}

// DeleteEventsBefore forgets the history before an instant, at most limit events a
// call, and tells how many went.
func (d *DB) DeleteEventsBefore(ctx context.Context, before time.Time, limit int) (n int64, err error) {
	err = d.db.GetContext(ctx, &n, `with gone as (delete from events where (account_id, xid, id) in
				(select account_id, xid, id from (select account_id, xid, id, at from events order by xid, id limit $2) as first where at < $1) returning xid, id),
			last as (select xid, id from gone order by xid desc, id desc limit 1),
			noted as (update installation set forgotten_xid = last.xid, forgotten_id = last.id from last
				where (last.xid, last.id) > (forgotten_xid, forgotten_id))
		select count(*) from gone`, before, limit)
	return n, err
}
