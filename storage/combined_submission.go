package storage

import (
	"context"
	"database/sql"

	"github.com/lib/pq"

	"platen"
)

type combinedRow struct{ documentRow }

func (r *combinedRow) combined() (*platen.CombinedSubmission, error) {
	d, err := r.document()
	return &platen.CombinedSubmission{Document: d}, err
}

// LockParts reads, of these documents, those that a scope has, by their ids, and keeps
// them from being finished or expired until the transaction ends: what is PENDING here
// tells whoever waits for it when it is finished (FinishedParts).
//
// A whole is made after its parts, so locking in the order of creation is locking parts
// before wholes, as finishing them does: nobody waits in a circle. The locks are of rows,
// of which there may be any number.
func (t *Tx) LockParts(ctx context.Context, scope Scope, ids []string) (map[string]platen.AnyDocument, error) {
	return readAnyDocuments(ctx, t.tx, byID+" order by created_at, id for share", scope.AccountID, pq.Array(ids), scope.TestOnly)
}

// CreateCombinedSubmission inserts a combined submission, PENDING, with its sources, and
// the event of its creation.
func (t *Tx) CreateCombinedSubmission(ctx context.Context, c *platen.CombinedSubmission) error {
	c.State, c.Revision, c.Changes = platen.DocumentPending, 1, 1
	if err := t.tx.GetContext(ctx, &c.CreatedAt, `insert into combined_submissions (account_id, id, state, test, metadata, expires_at, waiting)
		values ($1, $2, $3, $4, $5, $6, $7) returning created_at`, c.AccountID, c.ID, c.State, c.Test, string(c.Metadata), nullTime(c.ExpiresAt), c.Waiting); err != nil {
		return err
	}
	if _, err := t.tx.ExecContext(ctx, `insert into combined_submission_inputs (account_id, combined_submission_id, presigned_upload, password)
		values ($1, $2, $3, $4)`, c.AccountID, c.ID, c.PresignedUpload, c.Password); err != nil {
		return err
	}
	text := func(value func(*platen.CombinedSource) string) any {
		return columnOf(c.Sources, func(s *platen.CombinedSource) sql.NullString { return nullString(value(s)) })
	}
	// An array of bytea has no way to say that there is none: empty does.
	if _, err := t.tx.ExecContext(ctx, `insert into combined_sources (account_id, combined_submission_id, index, document_id, template_version_id, upload_id, url, address)
		select $1, $2, index - 1, document_id, template_version_id, upload_id, url, nullif(address, '')
		from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[]) with ordinality
			as new (document_id, template_version_id, upload_id, url, address, index)`, c.AccountID, c.ID,
		text(func(s *platen.CombinedSource) string { return s.DocumentID }), text(func(s *platen.CombinedSource) string { return s.TemplateVersionID }),
		text(func(s *platen.CombinedSource) string { return s.UploadID }), text(func(s *platen.CombinedSource) string { return s.URL }),
		columnOf(c.Sources, func(s *platen.CombinedSource) []byte { return s.Address })); err != nil {
		return err
	}
	if err := t.createMetadata(ctx, []platen.AnyDocument{c}); err != nil {
		return err
	}
	return t.recordChange(ctx, c, "")
}

// FinishedParts tells those that wait for a locked document that they need not wait any
// longer, and returns who can begin now: those that waited for nothing else. Where the
// document is not usable they all can, to find that out.
func (t *Tx) FinishedParts(ctx context.Context, part platen.AnyDocument, usable bool) (begin []string, err error) {
	var waiting []string
	// In the order of creation, as LockParts: a whole may itself be a part of another.
	if err := t.tx.SelectContext(ctx, &waiting, `select id from combined_submissions where account_id = $1 and state = 'PENDING' and id in
			(select combined_submission_id from combined_sources where account_id = $1 and document_id = $2)
		order by created_at, id for update`, part.Common().AccountID, part.Common().ID); err != nil || len(waiting) == 0 {
		return nil, err
	}
	err = t.tx.SelectContext(ctx, &begin, `with counted as (update combined_submissions set waiting = waiting - 1
			where account_id = $1 and id = any($2) returning id, waiting)
		select id from counted where waiting = 0 or not $3`, part.Common().AccountID, pq.Array(waiting), usable)
	return begin, err
}

// CountReady counts an account's combined submissions that wait for nothing but their
// turn, up to limit.
func (t *Tx) CountReady(ctx context.Context, accountID string, limit int) (n int, err error) {
	err = t.tx.GetContext(ctx, &n, `select count(*) from (select 1 from combined_submissions
		where account_id = $1 and state = 'PENDING' and waiting = 0 limit $2) as ready`, accountID, limit)
	return n, err
}

// LostPart returns those that still wait for others while a document that they need is
// expired: it is missing for good.
func (t *Tx) LostPart(ctx context.Context, part platen.AnyDocument) (wholes []string, err error) {
	err = t.tx.SelectContext(ctx, &wholes, `select id from combined_submissions where account_id = $1 and state = 'PENDING' and id in
		(select combined_submission_id from combined_sources where account_id = $1 and document_id = $2)`, part.Common().AccountID, part.Common().ID)
	return wholes, err
}

// CombinedSubmission reads one combined submission in a scope.
func (d *DB) CombinedSubmission(ctx context.Context, scope Scope, id string) (*platen.CombinedSubmission, error) {
	found, err := readDocuments(ctx, d.db, combinedTables, (*combinedRow).combined, byID, scope.AccountID, pq.Array([]string{id}), scope.TestOnly)
	return one(found, err)(id)
}

// CombinedInputs reads what a combined submission is made of: its sources and its
// encrypted password.
func (d *DB) CombinedInputs(ctx context.Context, c *platen.CombinedSubmission) error {
	sources, err := d.CombinedSources(ctx, c.AccountID, []string{c.ID})
	if err != nil {
		return err
	}
	var row struct {
		Waiting  int
		Password []byte
	}
	err = d.db.GetContext(ctx, &row, `select waiting, (select password from combined_submission_inputs as inputs
			where inputs.account_id = whole.account_id and combined_submission_id = whole.id) as password
		from combined_submissions as whole where account_id = $1 and id = $2`, c.AccountID, c.ID)
	c.Sources, c.Waiting, c.Password = sources[c.ID], row.Waiting, row.Password
	return notFound(err)
}

// CombinedSources reads the sources of combined submissions, in their order.
func (d *DB) CombinedSources(ctx context.Context, accountID string, ids []string) (map[string][]*platen.CombinedSource, error) {
	var rows []struct {
		Of                string         `db:"combined_submission_id"`
		DocumentID        sql.NullString `db:"document_id"`
		TemplateVersionID sql.NullString `db:"template_version_id"`
		UploadID          sql.NullString `db:"upload_id"`
		URL               sql.NullString `db:"url"`
		Address           []byte         `db:"address"`
	}
	if err := d.db.SelectContext(ctx, &rows, `select combined_submission_id, document_id, template_version_id, upload_id, url, address
		from combined_sources where account_id = $1 and combined_submission_id = any($2) order by combined_submission_id, index`, accountID, pq.Array(ids)); err != nil {
		return nil, err
	}
	sources := make(map[string][]*platen.CombinedSource, len(ids))
	for _, row := range rows {
		sources[row.Of] = append(sources[row.Of], &platen.CombinedSource{DocumentID: row.DocumentID.String, TemplateVersionID: row.TemplateVersionID.String,
			UploadID: row.UploadID.String, URL: row.URL.String, Address: row.Address})
	}
	return sources, nil
}

// ForgetAddresses deletes the whole addresses of a combined submission's sources, which
// may hold signatures: nobody fetches them any more.
func (t *Tx) ForgetAddresses(ctx context.Context, c *platen.CombinedSubmission) error {
	_, err := t.tx.ExecContext(ctx, `update combined_sources set address = null where account_id = $1 and combined_submission_id = $2 and address is not null`,
		c.AccountID, c.ID)
	return err
}

// CombinedSubmissions reads a part of a scope's combined submissions, newest first.
func (d *DB) CombinedSubmissions(ctx context.Context, scope Scope, filter platen.DocumentFilter, page Page) ([]*platen.CombinedSubmission, PageInfo, error) {
	chosen, err := d.choose(ctx, combinedTables, scope, filter)
	if err != nil {
		return nil, PageInfo{}, err
	}
	return listDocuments(ctx, d, chosen, page, (*combinedRow).combined)
}

// CountCombinedSubmissions counts a scope's combined submissions, up to CountLimit.
func (d *DB) CountCombinedSubmissions(ctx context.Context, scope Scope, filter platen.DocumentFilter) (int, error) {
	chosen, err := d.choose(ctx, combinedTables, scope, filter)
	if err != nil {
		return 0, err
	}
	return chosen.count(ctx, d)
}
