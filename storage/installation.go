package storage

import (
	"context"
	"errors"
	"strings"

	"github.com/lib/pq"
)

// origin is where the history is written: the branch of the database cluster's own history
// (a timeline: another one after a point-in-time recovery, or once a standby has taken
// over), the database, and the table.
const origin = `concat_ws(' ', substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
	(select oid from pg_database where datname = current_database()), 'events'::regclass::oid)`

// cluster says the same of the cluster: its own number, and when its folder was made, or
// put back from a copy. Not every server lets everybody ask.
var cluster = []string{
	`select system_identifier::text from pg_control_system()`,
	`select extract(epoch from change)::text from pg_stat_file('PG_VERSION')`,
}

// Epoch names the history that cursors point into. Where the database was put back to an
// older state, or is another one, it is a new name, and what is there of the history is
// forgotten: its transactions are numbered as elsewhere, and what clients have seen may
// never have happened here.
func (d *DB) Epoch(ctx context.Context) (epoch string, err error) {
	var known []string
	for _, query := range cluster {
		var one string
		err := d.db.GetContext(ctx, &one, query)
		if denied := (*pq.Error)(nil); errors.As(err, &denied) && denied.Code == "42501" { // insufficient_privilege
			continue
		}
		if err != nil {
			return "", err // not to know is no reason to begin anew
		}
		known = append(known, one)
	}
	err = d.InTx(ctx, func(tx *Tx) error {
		var row struct {
			Epoch, Origin, Now string
		}
		if err := tx.tx.GetContext(ctx, &row, `select epoch, origin, $1 || ' ' || `+origin+` as now from installation for update`, strings.Join(known, " ")); err != nil {
			return err
		}
		epoch = row.Epoch
		if row.Origin == row.Now {
			return nil
		}
		if row.Origin == "" { // the first start
			_, err := tx.tx.ExecContext(ctx, `update installation set origin = $1`, row.Now)
			return err
		}
		if err := tx.tx.GetContext(ctx, &epoch, `update installation set origin = $1, epoch = gen_random_uuid()::text, forgotten_xid = '0', forgotten_id = 0
			returning epoch`, row.Now); err != nil {
			return err
		}
		_, err := tx.tx.ExecContext(ctx, `delete from events`)
		return err
	})
	return epoch, err
}

// KeyCheck reads the value that proves the secret key; nil when none is stored yet.
// The row stays locked until the end of the transaction.
func (t *Tx) KeyCheck(ctx context.Context) (check []byte, err error) {
	err = t.tx.GetContext(ctx, &check, `select key_check from installation for update`)
	return check, err
}

// SetKeyCheck stores the value that proves the secret key.
func (t *Tx) SetKeyCheck(ctx context.Context, check []byte) error {
	_, err := t.tx.ExecContext(ctx, `update installation set key_check = $1`, check)
	return err
}
