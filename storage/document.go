package storage

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"platen"
)

// documentTables are where a kind of document is kept.
type documentTables struct {
	documents string
	metadata  string // the pairs by which they are found
	inputs    string // what they are made of: gone at expiry
	id        string // what the other two and actions call the document
	columns   string
	listed    string // the condition of those that lists show
}

var (
	submissionTables = documentTables{documents: "submissions", metadata: "submission_metadata", inputs: "submission_inputs",
		id: "submission_id", columns: submissionColumns, listed: "not preview"}
	combinedTables = documentTables{documents: "combined_submissions", metadata: "combined_submission_metadata", inputs: "combined_submission_inputs",
		id: "combined_submission_id", columns: documentColumns, listed: "true"}
)

func tablesOf(d platen.AnyDocument) documentTables {
	if _, combined := d.(*platen.CombinedSubmission); combined {
		return combinedTables
	}
	return submissionTables
}

// documentRow is what the rows of all documents have.
type documentRow struct {
	AccountID         string         `db:"account_id"`
	ID                string         `db:"id"`
	State             string         `db:"state"`
	Test              bool           `db:"test"`
	Metadata          []byte         `db:"metadata"`
	ContentType       sql.NullString `db:"content_type"`
	ByteSize          sql.NullInt64  `db:"byte_size"`
	PageCount         sql.NullInt32  `db:"page_count"`
	SHA256            sql.NullString `db:"sha256"`
	MD5               sql.NullString `db:"md5"`
	PasswordProtected bool           `db:"password_protected"`
	BlobKey           sql.NullString `db:"blob_key"`
	Failure           []byte         `db:"failure"`
	CreatedAt         time.Time      `db:"created_at"`
	ProcessedAt       *time.Time     `db:"processed_at"`
	ProcessingTimeMS  *int           `db:"processing_time_ms"`
	FinishedAt        *time.Time     `db:"finished_at"`
	ExpiresAt         *time.Time     `db:"expires_at"`
	ExpiredAt         *time.Time     `db:"expired_at"`
	PendingActions    int            `db:"pending_actions"`
	Revision          int            `db:"revision"`
	Changes           int            `db:"changes"`
}

const documentColumns = `account_id, id, state, test, metadata, content_type, byte_size, page_count, sha256, md5, password_protected, blob_key, failure,
	created_at, processed_at, processing_time_ms, finished_at, expires_at, expired_at, pending_actions, revision, changes`

func (r *documentRow) document() (platen.Document, error) {
	d := platen.Document{
		Record: platen.Record{AccountID: r.AccountID, ID: r.ID, Test: r.Test, PendingActions: r.PendingActions, Changes: r.Changes},
		State:  platen.DocumentState(r.State), Metadata: r.Metadata, CreatedAt: r.CreatedAt, ProcessedAt: r.ProcessedAt,
		ProcessingTimeMS: r.ProcessingTimeMS, FinishedAt: r.FinishedAt, ExpiresAt: r.ExpiresAt, ExpiredAt: r.ExpiredAt, Revision: r.Revision,
	}
	if r.SHA256.Valid {
		d.File = &platen.DocumentFile{ContentType: r.ContentType.String, ByteSize: r.ByteSize.Int64, PageCount: int(r.PageCount.Int32),
			SHA256: r.SHA256.String, MD5: r.MD5.String, PasswordProtected: r.PasswordProtected, BlobKey: r.BlobKey.String}
	}
	return d, failureFrom(r.Failure, &d.Failure)
}

func nullTime(at *time.Time) (null sql.NullTime) {
	if at != nil {
		null = sql.NullTime{Time: *at, Valid: true}
	}
	return null
}

func nullString(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

func nullInt(n int) sql.NullInt32 { return sql.NullInt32{Int32: int32(n), Valid: n != 0} }

// nullText is a JSON or other text in which nil means that there is none.
func nullText(value []byte) sql.NullString {
	return sql.NullString{String: string(value), Valid: value != nil}
}

// columnOf collects one value of each row, for unnest.
func columnOf[R, V any](rows []R, value func(R) V) any {
	values := make([]V, len(rows))
	for i, row := range rows {
		values[i] = value(row)
	}
	return pq.Array(values)
}

// byID is the condition of those of some ids that a scope has: account, ids, test only.
const byID = ` where account_id = $1 and id = any($2) and (test or not $3)`

// readDocuments reads the documents of a kind that a condition chooses, by their ids.
func readDocuments[R any, D platen.AnyDocument](ctx context.Context, q sqlx.QueryerContext, in documentTables, read func(*R) (D, error),
	where string, args ...any) (map[string]D, error) {
	var rows []*R
	if err := sqlx.SelectContext(ctx, q, &rows, `select `+in.columns+` from `+in.documents+where, args...); err != nil {
		return nil, err
	}
	documents := make(map[string]D, len(rows))
	for _, row := range rows {
		document, err := read(row)
		if err != nil {
			return nil, err
		}
		documents[document.Common().ID] = document
	}
	return documents, nil
}

// readAnyDocuments does that with all kinds, submissions first.
func readAnyDocuments(ctx context.Context, q sqlx.QueryerContext, where string, args ...any) (map[string]platen.AnyDocument, error) {
	submissions, err := readDocuments(ctx, q, submissionTables, (*submissionRow).submission, where, args...)
	if err != nil {
		return nil, err
	}
	combined, err := readDocuments(ctx, q, combinedTables, (*combinedRow).combined, where, args...)
	if err != nil {
		return nil, err
	}
	documents := make(map[string]platen.AnyDocument, len(submissions)+len(combined))
	for id, s := range submissions {
		documents[id] = s
	}
	for id, c := range combined {
		documents[id] = c
	}
	return documents, nil
}

// DocumentsByID reads those of these documents that the scope has.
func (d *DB) DocumentsByID(ctx context.Context, scope Scope, ids []string) (map[string]platen.AnyDocument, error) {
	return readAnyDocuments(ctx, d.db, byID, scope.AccountID, pq.Array(ids), scope.TestOnly)
}

// LockDocument is LockSubject for what has to be a document.
func (t *Tx) LockDocument(ctx context.Context, accountID, id string) (platen.AnyDocument, error) {
	locked, err := t.LockSubject(ctx, accountID, id)
	if err != nil {
		return nil, err
	}
	d, ok := locked.(platen.AnyDocument)
	if !ok {
		return nil, ErrNotFound
	}
	return d, nil
}

// FinishDocument gives a locked document its final state: PROCESSED with a file and the
// actions that follow, or another with a failure. One event shows it all, so that nobody
// sees PROCESSED without its actions (R6.1).
func (t *Tx) FinishDocument(ctx context.Context, d platen.AnyDocument, actions []*platen.Action) error {
	if err := t.addActions(ctx, d, actions); err != nil {
		return err
	}
	d.Common().FinishedAt = new(time.Now().UTC().Truncate(time.Microsecond))
	return t.updateDocument(ctx, d)
}

// ExpireDocument deletes what a locked document was made of, where it was to go, and the
// name of its own copy: the copy itself is the caller's to delete, after the commit (R3.8).
func (t *Tx) ExpireDocument(ctx context.Context, document platen.AnyDocument) error {
	d, in := document.Common(), tablesOf(document)
	d.ExpiredAt = new(time.Now().UTC().Truncate(time.Microsecond))
	if d.File != nil {
		d.File.BlobKey = ""
	}
	for _, statement := range []string{
		`delete from ` + in.inputs + ` where account_id = $1 and ` + in.id + ` = $2`,
		`update actions set presigned_upload = null where account_id = $1 and subject_id = $2 and presigned_upload is not null`,
	} {
		if _, err := t.tx.ExecContext(ctx, statement, d.AccountID, d.ID); err != nil {
			return err
		}
	}
	return t.updateDocument(ctx, document)
}

// updateDocument writes the fields of a locked document that can change, with the event
// that shows it.
func (t *Tx) updateDocument(ctx context.Context, document platen.AnyDocument) error {
	d := document.Common()
	var file platen.DocumentFile
	if d.File != nil {
		file = *d.File
	}
	failure, err := failureJSON(d.Failure)
	if err != nil {
		return err
	}
	d.Revision++
	d.Changes++
	return t.recordUpdate(ctx, document, "", `update `+tablesOf(document).documents+` set state = $3, content_type = $4, byte_size = $5, page_count = $6, sha256 = $7,
			blob_key = $8, failure = $9, processed_at = $10, processing_time_ms = $11, pending_actions = $12, revision = $13, changes = $14,
			password_protected = $15, finished_at = $16, expired_at = $17, md5 = $18
		where account_id = $1 and id = $2`, d.AccountID, d.ID, d.State, nullString(file.ContentType),
		sql.NullInt64{Int64: file.ByteSize, Valid: d.File != nil}, nullInt(file.PageCount), nullString(file.SHA256),
		nullString(file.BlobKey), failure, d.ProcessedAt, d.ProcessingTimeMS, d.PendingActions, d.Revision, d.Changes,
		file.PasswordProtected, d.FinishedAt, d.ExpiredAt, nullString(file.MD5))
}

func failureJSON(f *platen.Failure) (any, error) {
	if f == nil {
		return nil, nil
	}
	text, err := json.Marshal(f)
	return text, err
}

// failureFrom reads what failureJSON wrote; nothing leaves into nil.
func failureFrom(text []byte, into **platen.Failure) error {
	if text == nil {
		return nil
	}
	*into = new(platen.Failure)
	if err := json.Unmarshal(text, *into); err != nil {
		return fmt.Errorf("a failure in the database: %w", err)
	}
	return nil
}

// TakePresignedUpload reads where a document that leaves PENDING goes besides the
// integrations; nil: nowhere. The inputs forget it, and the password with it: from then
// on the action has the address, or nobody, and the password has done its work.
func (t *Tx) TakePresignedUpload(ctx context.Context, document platen.AnyDocument) error {
	d, in := document.Common(), tablesOf(document)
	err := t.tx.GetContext(ctx, &d.PresignedUpload, `with had as (select presigned_upload from `+in.inputs+` where account_id = $1 and `+in.id+` = $2)
		update `+in.inputs+` set presigned_upload = null, password = null
		where account_id = $1 and `+in.id+` = $2 and (presigned_upload is not null or password is not null)
		returning (select presigned_upload from had)`, d.AccountID, d.ID)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // neither was given
	}
	return err
}

// chosenDocuments is what a filter comes to in SQL.
type chosenDocuments struct {
	documentTables
	from   string // the tables and the conditions, but for the states
	args   []any
	at, id string // the columns of the list's order
	states []platen.DocumentState
}

// add narrows the choice by a condition of one value.
func (c *chosenDocuments) add(condition string, value any) {
	c.args = append(c.args, value)
	c.from += fmt.Sprintf(" and "+condition, len(c.args))
}

// choose is the choice by what all documents have.
func (d *DB) choose(ctx context.Context, in documentTables, scope Scope, f platen.DocumentFilter) (chosenDocuments, error) {
	pairs, err := d.rarestFirst(ctx, in, scope.AccountID, metadataPairs(f.Metadata))
	c := chosenDocuments{documentTables: in, args: []any{scope.AccountID}, at: "created_at", id: "id",
		states: slices.Compact(slices.Sorted(slices.Values(f.States)))}
	c.from = " from " + in.documents + " where account_id = $1 and " + in.listed
	if len(pairs) > 0 {
		// The first pair leads, in the order of its own index; the others are looked up.
		c.at, c.id = "at", in.id
		c.args = append(c.args, pairs[0])
		c.from = ` from (select at, ` + in.id + ` from ` + in.metadata + ` where account_id = $1 and pair = $2) as of_pair
			join ` + in.documents + ` on id = ` + in.id + ` where account_id = $1 and ` + in.listed
		// All at once: PostgreSQL would plan hundreds of conditions of their own for minutes.
		if others := pairs[1:]; len(others) > 0 {
			c.add(`(select count(*) from `+in.metadata+` as other where other.account_id = $1 and other.pair = any($%[1]d::bytea[])
				and other.at = created_at and other.`+in.id+` = id) = cardinality($%[1]d::bytea[])`, pq.ByteaArray(others))
		}
	}
	if scope.TestOnly {
		c.from += " and test"
	}
	if f.Test != nil {
		c.add("test = $%d", *f.Test)
	}
	if f.From != nil {
		c.add(c.at+" >= $%d", f.From.UTC()) // PostgreSQL takes no offset of sixteen hours and more
	}
	if f.Until != nil {
		c.add(c.at+" < $%d", f.Until.UTC())
	}
	return c, err
}

// listDocuments reads a page of what was chosen.
func listDocuments[R, D any](ctx context.Context, d *DB, c chosenDocuments, page Page, read func(*R) (D, error)) ([]D, PageInfo, error) {
	query, args, err := c.list(page)
	if err != nil {
		return nil, PageInfo{}, err
	}
	var rows []*R
	if err := d.db.SelectContext(ctx, &rows, query, args...); err != nil {
		return nil, PageInfo{}, err
	}
	rows, info := trim(page, rows)
	documents := make([]D, len(rows))
	for i, row := range rows {
		if documents[i], err = read(row); err != nil {
			return nil, info, err
		}
	}
	return documents, info, nil
}

// list is the statement of a page. Whatever single thing is filtered by, an index in
// the list's order leads to it, so that a page costs the same however many rows there
// are. Of several states each is read from its own place in the index, and what they
// give is merged.
func (c chosenDocuments) list(page Page) (string, []any, error) {
	tail, args, err := page.clause(c.args, c.at, c.id)
	if err != nil {
		return "", nil, err
	}
	if len(c.states) == 0 {
		return "select " + c.columns + c.from + tail, args, nil
	}
	parts := make([]string, len(c.states))
	for i, state := range c.states {
		args = append(args, state)
		parts[i] = fmt.Sprintf("(select %s%s and state = $%d%s)", c.columns, c.from, len(args), tail)
	}
	if len(parts) == 1 {
		return parts[0], args, nil
	}
	return "select * from (" + strings.Join(parts, " union all ") + ") as merged" + page.order("created_at", "id"), args, nil
}

// count counts what was chosen, up to CountLimit.
func (c chosenDocuments) count(ctx context.Context, d *DB) (int, error) {
	if len(c.states) > 0 {
		c.add("state = any($%d)", pq.Array(c.states))
	}
	return d.count(ctx, "select 1"+c.from, c.args...)
}

// DocumentsToExpire names at most limit documents whose time is over at now (R3.8). One
// that is not done yet, has uploads to come, or is waited for by a combined submission,
// has to be over at late for that.
func (d *DB) DocumentsToExpire(ctx context.Context, now, late time.Time, limit int) (refs []SubjectRef, err error) {
	const of = `(select account_id, id, expires_at from %[1]s where expires_at < $1 and expires_at is not null and expired_at is null
		and (state <> 'PENDING' and pending_actions = 0 and not exists (select 1 from combined_sources as source join combined_submissions as whole
				on whole.account_id = source.account_id and whole.id = source.combined_submission_id
			where source.account_id = %[1]s.account_id and source.document_id = %[1]s.id and whole.state = 'PENDING') or expires_at < $2)
		order by expires_at limit $3)`
	err = d.db.SelectContext(ctx, &refs, fmt.Sprintf(`select account_id, id from (`+of+` union all `, submissionTables.documents)+
		fmt.Sprintf(of+`) as due order by expires_at limit $3`, combinedTables.documents), now, late, limit)
	return refs, err
}

// SubjectRef names a subject.
type SubjectRef struct {
	AccountID string `db:"account_id"`
	ID        string `db:"id"`
}
