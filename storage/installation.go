package storage

import "context"

// Epoch names the history that cursors point into. It changes when the database
// is put back to an older state, so that cursors of the lost future are recognised.
func (d *DB) Epoch(ctx context.Context) (epoch string, err error) {
	err = d.db.GetContext(ctx, &epoch, `select epoch from installation`)
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
