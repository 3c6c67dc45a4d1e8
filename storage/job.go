package storage

import (
	"cmp"
	"context"
	"errors"

	"github.com/lib/pq"

	"platen/migrations"
)

const jobs = migrations.RiverSchema + ".river_job"

// ErrFenced says that a job's attempt is no longer the one that counts: another
// node has taken the job over, so what this one did must not be committed.
var ErrFenced = errors.New("the job was taken over by another attempt")

// CompleteJob ends a job with the transaction, if attempt number attempt is still the one that
// runs. Otherwise it returns ErrFenced. River's JobCompleteTx does not ask for the attempt; it is a statement for any
// number of jobs with any outcome.
func (t *Tx) CompleteJob(ctx context.Context, jobID int64, attempt int) error {
	done, err := t.tx.ExecContext(ctx, `update `+jobs+` set state = 'completed', finalized_at = clock_timestamp()
		where id = $1 and attempt = $2 and state = 'running'`, jobID, attempt)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		return cmp.Or(err, ErrFenced)
	}
	return nil
}

// QueueDepth is how many jobs of a queue are in a state.
type QueueDepth struct {
	Queue, State string
	Jobs         int
}

// QueueDepths counts the jobs that are not over.
func (d *DB) QueueDepths(ctx context.Context) (depths []QueueDepth, err error) {
	err = d.db.SelectContext(ctx, &depths, `select queue, state::text as state, count(*) as jobs from `+jobs+`
		where state in ('available', 'running', 'retryable', 'scheduled') group by 1, 2 order by 1, 2`)
	return depths, err
}

// UnnamedBlobs tells which of these blobs nothing names as its copy.
func (d *DB) UnnamedBlobs(ctx context.Context, keys []string) (unnamed []string, err error) {
	err = d.db.SelectContext(ctx, &unnamed, `select asked.key from unnest($1::text[]) as asked (key)
		where not exists (select 1 from submissions where blob_key = asked.key)
			and not exists (select 1 from combined_submissions where blob_key = asked.key)
			and not exists (select 1 from uploads where blob_key = asked.key)`, pq.Array(keys))
	return unnamed, err
}
