package storage

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// IdempotencyLife is for how long a key stands for the call that it came with (R3.9).
const IdempotencyLife = 24 * time.Hour

// KeyUse is what a call with an idempotency key came to.
type KeyUse struct {
	Input    string `db:"input"`     // a signature of its arguments
	ResultID string `db:"result_id"` // the id of what it made
}

// freshKey is the condition of a key that still stands for its call.
const freshKey = `idempotency_keys.created_at > now() - interval '24 hours'`

// KeyUse reads what the call with a key came to; ErrNotFound if there was none. Keys of
// test tokens are their own: they must not lead to a live document.
func (d *DB) KeyUse(ctx context.Context, scope Scope, operation, key string) (use KeyUse, err error) {
	err = d.db.GetContext(ctx, &use, keyUse, scope.AccountID, scope.TestOnly, operation, key)
	return use, notFound(err)
}

const keyUse = `select input, result_id from idempotency_keys
	where account_id = $1 and test_only = $2 and operation = $3 and key = $4 and ` + freshKey

// ClaimKey notes that this transaction is what the call with a key comes to. If another
// one was first, that is returned instead; if it is still open, ClaimKey waits for it.
func (t *Tx) ClaimKey(ctx context.Context, scope Scope, operation, key string, use KeyUse) (earlier *KeyUse, err error) {
	var claimed string
	err = t.tx.GetContext(ctx, &claimed, `insert into idempotency_keys (account_id, test_only, operation, key, input, result_id)
		values ($1, $2, $3, $4, $5, $6)
		on conflict (account_id, test_only, operation, key) do update
			set input = excluded.input, result_id = excluded.result_id, created_at = excluded.created_at where not `+freshKey+`
		returning result_id`, scope.AccountID, scope.TestOnly, operation, key, use.Input, use.ResultID)
	if !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	earlier = new(KeyUse)
	return earlier, t.tx.GetContext(ctx, earlier, keyUse, scope.AccountID, scope.TestOnly, operation, key)
}

// DeleteOldKeys forgets the keys that stand for nothing any more.
func (d *DB) DeleteOldKeys(ctx context.Context) error {
	_, err := d.db.ExecContext(ctx, `delete from idempotency_keys where not `+freshKey)
	return err
}
