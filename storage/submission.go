package storage

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lib/pq"

	"platen"
)

type submissionRow struct {
	AccountID             string         `db:"account_id"`
	ID                    string         `db:"id"`
	State                 string         `db:"state"`
	Test                  bool           `db:"test"`
	TemplateID            sql.NullString `db:"template_id"`
	TemplateVersionID     sql.NullString `db:"template_version_id"`
	TemplateVersionNumber sql.NullInt32  `db:"template_version_number"`
	TemplateName          sql.NullString `db:"template_name"`
	Metadata              []byte         `db:"metadata"`
	ContentType           sql.NullString `db:"content_type"`
	ByteSize              sql.NullInt64  `db:"byte_size"`
	PageCount             sql.NullInt32  `db:"page_count"`
	SHA256                sql.NullString `db:"sha256"`
	BlobKey               sql.NullString `db:"blob_key"`
	Failure               []byte         `db:"failure"`
	CreatedAt             time.Time      `db:"created_at"`
	ProcessedAt           *time.Time     `db:"processed_at"`
	ProcessingTimeMS      *int           `db:"processing_time_ms"`
	PendingActions        int            `db:"pending_actions"`
	Revision              int            `db:"revision"`
	Changes               int            `db:"changes"`
}

const submissionColumns = `account_id, id, state, test, template_id, template_version_id, template_version_number, template_name,
	metadata, content_type, byte_size, page_count, sha256, blob_key, failure, created_at, processed_at, processing_time_ms,
	pending_actions, revision, changes`

func (r *submissionRow) submission() (*platen.Submission, error) {
	s := &platen.Submission{
		Record:     platen.Record{AccountID: r.AccountID, ID: r.ID, Test: r.Test, PendingActions: r.PendingActions, Changes: r.Changes},
		State:      platen.DocumentState(r.State),
		TemplateID: r.TemplateID.String, TemplateVersionID: r.TemplateVersionID.String,
		TemplateVersionNumber: int(r.TemplateVersionNumber.Int32), TemplateName: r.TemplateName.String,
		Metadata: r.Metadata, CreatedAt: r.CreatedAt, ProcessedAt: r.ProcessedAt, ProcessingTimeMS: r.ProcessingTimeMS,
		Revision: r.Revision,
	}
	if r.BlobKey.Valid {
		s.File = &platen.DocumentFile{ContentType: r.ContentType.String, ByteSize: r.ByteSize.Int64,
			PageCount: int(r.PageCount.Int32), SHA256: r.SHA256.String, BlobKey: r.BlobKey.String}
	}
	return s, failureFrom(r.Failure, &s.Failure)
}

func nullString(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

func nullInt(n int) sql.NullInt32 { return sql.NullInt32{Int32: int32(n), Valid: n != 0} }

// CreateSubmission inserts a submission, PENDING, with what it is made of, and the
// event of its creation. Of a template's content only the page settings are kept:
// the rest is the version's, which never changes.
func (t *Tx) CreateSubmission(ctx context.Context, s *platen.Submission) error {
	s.State, s.Revision, s.Changes = platen.DocumentPending, 1, 1
	if err := t.tx.GetContext(ctx, &s.CreatedAt, `insert into submissions (account_id, id, state, test, template_id, template_version_id,
			template_version_number, template_name, metadata)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning created_at`,
		s.AccountID, s.ID, s.State, s.Test, nullString(s.TemplateID), nullString(s.TemplateVersionID),
		nullInt(s.TemplateVersionNumber), nullString(s.TemplateName), []byte(s.Metadata)); err != nil {
		return err
	}
	page, err := json.Marshal(s.Content.Page)
	if err != nil {
		return err
	}
	var own platen.TemplateContent
	if s.TemplateID == "" {
		own = *s.Content
	}
	if _, err := t.tx.ExecContext(ctx, `insert into submission_inputs (account_id, submission_id, html, css, header_html, footer_html, page, data, presigned_upload)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, s.AccountID, s.ID, nullString(own.HTML), nullString(own.CSS),
		nullString(own.HeaderHTML), nullString(own.FooterHTML), page, nullJSON(s.Data), s.PresignedUpload); err != nil {
		return err
	}
	return t.recordChange(ctx, s, "")
}

func nullJSON(value json.RawMessage) any {
	if value == nil {
		return nil
	}
	return []byte(value)
}

// FinishSubmission gives a locked submission its final state: PROCESSED with a file
// and the actions that follow, or another with a failure. One event shows it all,
// so that nobody sees PROCESSED without its actions (R6.1).
func (t *Tx) FinishSubmission(ctx context.Context, s *platen.Submission, actions []*platen.Action) error {
	var file platen.DocumentFile
	if s.File != nil {
		file = *s.File
	}
	failure, err := failureJSON(s.Failure)
	if err != nil {
		return err
	}
	s.Revision++
	s.Changes++
	if err := t.addActions(ctx, s, actions); err != nil {
		return err
	}
	if _, err := t.tx.ExecContext(ctx, `update submissions set state = $3, content_type = $4, byte_size = $5, page_count = $6, sha256 = $7,
			blob_key = $8, failure = $9, processed_at = $10, processing_time_ms = $11, pending_actions = $12, revision = $13, changes = $14
		where account_id = $1 and id = $2`, s.AccountID, s.ID, s.State, nullString(file.ContentType),
		sql.NullInt64{Int64: file.ByteSize, Valid: s.File != nil}, nullInt(file.PageCount), nullString(file.SHA256),
		nullString(file.BlobKey), failure, s.ProcessedAt, s.ProcessingTimeMS, s.PendingActions, s.Revision, s.Changes); err != nil {
		return err
	}
	return t.recordChange(ctx, s, "")
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

// PresignedUpload reads where a submission's file goes besides the integrations; nil:
// nowhere.
func (t *Tx) PresignedUpload(ctx context.Context, s *platen.Submission) error {
	return notFound(t.tx.GetContext(ctx, &s.PresignedUpload, `select presigned_upload from submission_inputs
		where account_id = $1 and submission_id = $2`, s.AccountID, s.ID))
}

// Submission reads one submission in a scope.
func (d *DB) Submission(ctx context.Context, scope Scope, id string) (*platen.Submission, error) {
	return one(d.SubmissionsByID(ctx, scope, []string{id}))(id)
}

// SubmissionsByID reads those of these submissions that the scope has.
func (d *DB) SubmissionsByID(ctx context.Context, scope Scope, ids []string) (map[string]*platen.Submission, error) {
	var rows []*submissionRow
	if err := d.db.SelectContext(ctx, &rows, `select `+submissionColumns+` from submissions
		where account_id = $1 and id = any($2) and (test or not $3)`, scope.AccountID, pq.Array(ids), scope.TestOnly); err != nil {
		return nil, err
	}
	submissions := make(map[string]*platen.Submission, len(rows))
	for _, row := range rows {
		s, err := row.submission()
		if err != nil {
			return nil, err
		}
		submissions[row.ID] = s
	}
	return submissions, nil
}

// SubmissionContent reads what a submission is made of: of a template, the
// version's content under the submission's page settings.
func (d *DB) SubmissionContent(ctx context.Context, s *platen.Submission) error {
	var row struct {
		HTML, CSS  sql.NullString
		HeaderHTML sql.NullString `db:"header_html"`
		FooterHTML sql.NullString `db:"footer_html"`
		Page, Data []byte
	}
	if err := d.db.GetContext(ctx, &row, `select html, css, header_html, footer_html, page, data from submission_inputs
		where account_id = $1 and submission_id = $2`, s.AccountID, s.ID); err != nil {
		return notFound(err)
	}
	content := platen.TemplateContent{HTML: row.HTML.String, CSS: row.CSS.String, HeaderHTML: row.HeaderHTML.String, FooterHTML: row.FooterHTML.String}
	if s.TemplateVersionID != "" {
		version, err := d.TemplateVersion(ctx, s.AccountID, s.TemplateVersionID)
		if err != nil {
			return err
		}
		content = version.Content
	}
	content.Page = platen.PageSettings{}
	if err := json.Unmarshal(row.Page, &content.Page); err != nil {
		return fmt.Errorf("page settings of %s: %w", s.ID, err)
	}
	s.Content, s.Data = &content, row.Data
	return nil
}

// Submissions reads a part of a scope's submissions, newest first.
func (d *DB) Submissions(ctx context.Context, scope Scope, page Page) ([]*platen.Submission, PageInfo, error) {
	tail, args, err := page.clause([]any{scope.AccountID})
	if err != nil {
		return nil, PageInfo{}, err
	}
	var rows []*submissionRow
	if err := d.db.SelectContext(ctx, &rows, `select `+submissionColumns+` from submissions where account_id = $1`+onlyTest(scope)+tail, args...); err != nil {
		return nil, PageInfo{}, err
	}
	rows, info := trim(page, rows)
	submissions := make([]*platen.Submission, len(rows))
	for i, row := range rows {
		if submissions[i], err = row.submission(); err != nil {
			return nil, info, err
		}
	}
	return submissions, info, nil
}

// onlyTest is a condition of its own, not an argument, so that the planner can use
// the partial index.
func onlyTest(scope Scope) string {
	if scope.TestOnly {
		return " and test"
	}
	return ""
}

// CountSubmissions counts a scope's submissions, up to CountLimit.
func (d *DB) CountSubmissions(ctx context.Context, scope Scope) (int, error) {
	return d.count(ctx, `select 1 from submissions where account_id = $1`+onlyTest(scope), scope.AccountID)
}
