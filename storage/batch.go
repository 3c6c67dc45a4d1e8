package storage

import (
	"context"
	"time"

	"github.com/lib/pq"

	"platen"
)

type batchRow struct {
	AccountID   string     `db:"account_id"`
	ID          string     `db:"id"`
	Test        bool       `db:"test"`
	Metadata    []byte     `db:"metadata"`
	CreatedAt   time.Time  `db:"created_at"`
	Total       int        `db:"total"`
	Processed   int        `db:"processed"`
	Failed      int        `db:"failed"`
	ProcessedAt *time.Time `db:"processed_at"`
}

// batches reads batches with their counts, out of an index alone: a thousand rows at
// most each.
const batches = `select account_id, id, test, metadata, created_at, total, processed, failed,
		case when processed + failed = total then last_finished end as processed_at
	from submission_batches as b, lateral (select count(*) as total, count(*) filter (where s.state = 'PROCESSED') as processed,
			count(*) filter (where s.state in ('FAILED', 'INVALID_DATA')) as failed, max(s.finished_at) as last_finished
		from submissions s where s.account_id = b.account_id and s.batch_id = b.id) as counts where account_id = $1`

func (r *batchRow) batch() *platen.Batch {
	return &platen.Batch{AccountID: r.AccountID, ID: r.ID, Test: r.Test, Metadata: r.Metadata, CreatedAt: r.CreatedAt,
		Total: r.Total, Processed: r.Processed, Failed: r.Failed, ProcessedAt: r.ProcessedAt}
}

// CreateBatch inserts a batch; its submissions are inserted after it.
func (t *Tx) CreateBatch(ctx context.Context, b *platen.Batch) error {
	return t.tx.GetContext(ctx, &b.CreatedAt, `insert into submission_batches (account_id, id, test, metadata) values ($1, $2, $3, $4)
		returning created_at`, b.AccountID, b.ID, b.Test, []byte(b.Metadata))
}

// Batch reads one batch in a scope.
func (d *DB) Batch(ctx context.Context, scope Scope, id string) (*platen.Batch, error) {
	return one(d.BatchesByID(ctx, scope, []string{id}))(id)
}

// BatchesByID reads those of these batches that the scope has.
func (d *DB) BatchesByID(ctx context.Context, scope Scope, ids []string) (map[string]*platen.Batch, error) {
	var rows []*batchRow
	if err := d.db.SelectContext(ctx, &rows, batches+` and id = any($2) and (test or not $3)`, scope.AccountID, pq.Array(ids), scope.TestOnly); err != nil {
		return nil, err
	}
	byID := make(map[string]*platen.Batch, len(rows))
	for _, row := range rows {
		byID[row.ID] = row.batch()
	}
	return byID, nil
}

// Batches reads a part of a scope's batches, newest first.
func (d *DB) Batches(ctx context.Context, scope Scope, page Page) ([]*platen.Batch, PageInfo, error) {
	tail, args, err := page.clause([]any{scope.AccountID}, "created_at", "id")
	if err != nil {
		return nil, PageInfo{}, err
	}
	var rows []*batchRow
	if err := d.db.SelectContext(ctx, &rows, batches+onlyTest(scope)+tail, args...); err != nil {
		return nil, PageInfo{}, err
	}
	rows, info := trim(page, rows)
	read := make([]*platen.Batch, len(rows))
	for i, row := range rows {
		read[i] = row.batch()
	}
	return read, info, nil
}

// CountBatches counts a scope's batches, up to CountLimit.
func (d *DB) CountBatches(ctx context.Context, scope Scope) (int, error) {
	return d.count(ctx, `select 1 from submission_batches where account_id = $1`+onlyTest(scope), scope.AccountID)
}

func onlyTest(scope Scope) string {
	if scope.TestOnly {
		return " and test"
	}
	return ""
}

// SubmissionIDsOfBatch names all submissions of a batch in the order in which they were
// given.
func (d *DB) SubmissionIDsOfBatch(ctx context.Context, accountID, batchID string) (ids []string, err error) {
	err = d.db.SelectContext(ctx, &ids, `select id from submissions where account_id = $1 and batch_id = $2 order by batch_index`, accountID, batchID)
	return ids, err
}

// SubmissionsOfBatches reads at most limit submissions of each of these batches, in the
// order in which they were given, after the place after (-1: from the first), and of
// these states alone unless there are none, by batch.
func (d *DB) SubmissionsOfBatches(ctx context.Context, scope Scope, batchIDs []string, states []platen.DocumentState, after, limit int) (map[string]Part[*platen.Submission], error) {
	var rows []*submissionRow
	if err := d.db.SelectContext(ctx, &rows, `select part.* from unnest($2::text[]) as batch (id), lateral (select `+submissionColumns+` from submissions
			where account_id = $1 and batch_id = batch.id and (test or not $3) and (cardinality($4::text[]) = 0 or state = any($4)) and batch_index > $5
			order by batch_index limit $6) as part order by part.batch_index`,
		scope.AccountID, pq.Array(batchIDs), scope.TestOnly, pq.Array(append([]platen.DocumentState{}, states...)), after, limit+1); err != nil {
		return nil, err
	}
	submissions := make([]*platen.Submission, len(rows))
	for i, row := range rows {
		var err error
		if submissions[i], err = row.submission(); err != nil {
			return nil, err
		}
	}
	return parts(Page{First: limit}, submissions, func(s *platen.Submission) string { return s.BatchID }), nil
}

// CountSubmissionsOfBatches counts the submissions of each of these batches, of these
// states alone unless there are none, by batch. A batch has fewer than CountLimit.
func (d *DB) CountSubmissionsOfBatches(ctx context.Context, scope Scope, batchIDs []string, states []platen.DocumentState) (map[string]int, error) {
	return d.counts(ctx, `select batch_id as id, count(*) as n from submissions where account_id = $1 and batch_id = any($2) and (test or not $3)
		and (cardinality($4::text[]) = 0 or state = any($4)) group by batch_id`,
		scope.AccountID, pq.Array(batchIDs), scope.TestOnly, pq.Array(append([]platen.DocumentState{}, states...)))
}
