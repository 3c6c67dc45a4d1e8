package storage

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lib/pq"

	"platen"
)

type submissionRow struct {
	documentRow
	Source                string         `db:"source"`
	Output                string         `db:"output"`
	BatchID               sql.NullString `db:"batch_id"`
	BatchIndex            sql.NullInt32  `db:"batch_index"`
	Preview               bool           `db:"preview"`
	TemplateID            sql.NullString `db:"template_id"`
	TemplateVersionID     sql.NullString `db:"template_version_id"`
	TemplateVersionNumber sql.NullInt32  `db:"template_version_number"`
	TemplateName          sql.NullString `db:"template_name"`
}

const submissionColumns = documentColumns + `, source, output, batch_id, batch_index, preview,
	template_id, template_version_id, template_version_number, template_name`

func (r *submissionRow) submission() (*platen.Submission, error) {
	d, err := r.document()
	return &platen.Submission{Document: d, Source: platen.SourceKind(r.Source), Output: platen.OutputKind(r.Output),
		BatchID: r.BatchID.String, BatchIndex: int(r.BatchIndex.Int32), Preview: r.Preview,
		TemplateID: r.TemplateID.String, TemplateVersionID: r.TemplateVersionID.String,
		TemplateVersionNumber: int(r.TemplateVersionNumber.Int32), TemplateName: r.TemplateName.String}, err
}

// CreateSubmissions inserts submissions of one account, PENDING, with what they are
// made of, and the event of each one's creation. Of a published version only the page
// settings are kept: the rest is the version's, which never changes.
func (t *Tx) CreateSubmissions(ctx context.Context, submissions []*platen.Submission) error {
	accountID := submissions[0].AccountID
	var created []time.Time
	inputs, err := inputsOf(submissions)
	if err != nil {
		return err
	}
	// An array of bytea has no way to say that there is none: empty does.
	if err := t.tx.SelectContext(ctx, &created, `with made as (insert into submissions (account_id, id, state, test, source, output, batch_id, batch_index, preview,
			template_id, template_version_id, template_version_number, template_name, metadata, expires_at)
		select $1, id, 'PENDING', test, source, output, batch_id, case when batch_id is not null then batch_index end, preview,
			template_id, template_version_id, template_version_number, template_name, metadata, expires_at
		from unnest($2::text[], $3::boolean[], $4::text[], $5::text[], $6::text[], $7::integer[], $8::boolean[],
			$9::text[], $10::text[], $11::integer[], $12::text[], $13::json[], $14::timestamptz[])
			as new (id, test, source, output, batch_id, batch_index, preview,
			template_id, template_version_id, template_version_number, template_name, metadata, expires_at)
		returning created_at),
			inputs as (insert into submission_inputs (account_id, submission_id, html, css, header_html, footer_html, schema,
				url, page, screenshot, data, presigned_upload, password)
			select $1, id, html, css, header_html, footer_html, schema, url, page, nullif(screenshot::text, 'null')::json, data,
				nullif(presigned_upload, ''), nullif(password, '')
			from unnest($2::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::json[], $20::text[], $21::json[], $22::json[],
				$23::json[], $24::bytea[], $25::bytea[]) as new (id, html, css, header_html, footer_html, schema, url, page, screenshot,
				data, presigned_upload, password))
		select created_at from made`, append([]any{accountID,
		columnOf(submissions, func(s *platen.Submission) string { return s.ID }),
		columnOf(submissions, func(s *platen.Submission) bool { return s.Test }),
		columnOf(submissions, func(s *platen.Submission) string { return string(s.Source) }),
		columnOf(submissions, func(s *platen.Submission) string { return string(s.Output) }),
		columnOf(submissions, func(s *platen.Submission) sql.NullString { return nullString(s.BatchID) }),
		columnOf(submissions, func(s *platen.Submission) int { return s.BatchIndex }),
		columnOf(submissions, func(s *platen.Submission) bool { return s.Preview }),
		columnOf(submissions, func(s *platen.Submission) sql.NullString { return nullString(s.TemplateID) }),
		columnOf(submissions, func(s *platen.Submission) sql.NullString { return nullString(s.TemplateVersionID) }),
		columnOf(submissions, func(s *platen.Submission) sql.NullInt32 { return nullInt(s.TemplateVersionNumber) }),
		columnOf(submissions, func(s *platen.Submission) sql.NullString { return nullString(s.TemplateName) }),
		columnOf(submissions, func(s *platen.Submission) string { return string(s.Metadata) }),
		columnOf(submissions, func(s *platen.Submission) sql.NullTime { return nullTime(s.ExpiresAt) })}, inputs...)...); err != nil {
		return err
	}
	changes, documents := make([]change, len(submissions)), make([]platen.AnyDocument, len(submissions))
	for i, s := range submissions {
		s.State, s.Revision, s.Changes, s.CreatedAt = platen.DocumentPending, 1, 1, created[i]
		changes[i], documents[i] = change{subject: s}, s
	}
	if err := t.createMetadata(ctx, documents); err != nil {
		return err
	}
	return t.recordChanges(ctx, accountID, changes)
}

// inputsOf is what submissions are made of, as columns.
func inputsOf(submissions []*platen.Submission) (columns []any, failed error) {
	own := func(part func(platen.TemplateContent) sql.NullString) any {
		return columnOf(submissions, func(s *platen.Submission) (none sql.NullString) {
			if s.Source == platen.SourceTemplate {
				return none
			}
			return part(*s.Content)
		})
	}
	encoded := func(value func(*platen.Submission) any) any {
		return columnOf(submissions, func(s *platen.Submission) sql.NullString {
			text, err := json.Marshal(value(s))
			if err != nil {
				failed = err
			}
			return nullString(string(text))
		})
	}
	columns = []any{
		own(func(c platen.TemplateContent) sql.NullString { return nullString(c.HTML) }),
		own(func(c platen.TemplateContent) sql.NullString { return nullString(c.CSS) }),
		own(func(c platen.TemplateContent) sql.NullString { return nullString(c.HeaderHTML) }),
		own(func(c platen.TemplateContent) sql.NullString { return nullString(c.FooterHTML) }),
		own(func(c platen.TemplateContent) sql.NullString { return nullText(c.Schema) }),
		columnOf(submissions, func(s *platen.Submission) sql.NullString { return nullString(s.URL) }),
		encoded(func(s *platen.Submission) any { return s.Content.Page }),
		encoded(func(s *platen.Submission) any { return s.Screenshot }),
		columnOf(submissions, func(s *platen.Submission) sql.NullString { return nullText(s.Data) }),
		columnOf(submissions, func(s *platen.Submission) []byte { return s.PresignedUpload }),
		columnOf(submissions, func(s *platen.Submission) []byte { return s.Password })}
	return columns, failed
}

// DeletePreview removes all of a preview that nobody needs any more. It has no actions
// and is found by no metadata.
func (t *Tx) DeletePreview(ctx context.Context, s *platen.Submission) error {
	s.ExpiredAt = new(time.Now().UTC().Truncate(time.Microsecond))
	for _, statement := range []string{
		`delete from submission_inputs where account_id = $1 and submission_id = $2`,
		`delete from submissions where account_id = $1 and id = $2 and preview`,
	} {
		if _, err := t.tx.ExecContext(ctx, statement, s.AccountID, s.ID); err != nil {
			return err
		}
	}
	return nil
}

// Submission reads one submission in a scope.
func (d *DB) Submission(ctx context.Context, scope Scope, id string) (*platen.Submission, error) {
	found, err := readDocuments(ctx, d.db, submissionTables, (*submissionRow).submission, byID, scope.AccountID, pq.Array([]string{id}), scope.TestOnly)
	return one(found, err)(id)
}

// SubmissionContent reads what a submission is made of: of a template, the
// version's content under the submission's page settings. Of one that has expired
// nothing is left, and its Content stays nil.
func (d *DB) SubmissionContent(ctx context.Context, s *platen.Submission) error {
	var row struct {
		HTML, CSS  sql.NullString
		HeaderHTML sql.NullString `db:"header_html"`
		FooterHTML sql.NullString `db:"footer_html"`
		URL        sql.NullString
		Page       []byte
		Schema     []byte
		Screenshot []byte
		Data       []byte
		Password   []byte
		Published  []byte // the version's
	}
	err := d.db.GetContext(ctx, &row, `select html, css, header_html, footer_html, url, page, schema, screenshot, data, password,
			(select content from template_versions as version where version.account_id = $1 and version.id = $3) as published
		from submission_inputs where account_id = $1 and submission_id = $2`, s.AccountID, s.ID, s.TemplateVersionID)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	content := platen.TemplateContent{HTML: row.HTML.String, CSS: row.CSS.String, HeaderHTML: row.HeaderHTML.String,
		FooterHTML: row.FooterHTML.String, Schema: row.Schema}
	if s.TemplateVersionID != "" {
		content = platen.TemplateContent{}
		if err := json.Unmarshal(row.Published, &content); err != nil {
			return fmt.Errorf("content of %s: %w", s.TemplateVersionID, err)
		}
		if s.Preview {
			row.Data = content.SampleData // not copied for each of a thousand places
		}
	}
	content.Page = platen.PageSettings{}
	if err := json.Unmarshal(row.Page, &content.Page); err != nil {
		return fmt.Errorf("page settings of %s: %w", s.ID, err)
	}
	if row.Screenshot != nil {
		s.Screenshot = new(platen.Screenshot)
		if err := json.Unmarshal(row.Screenshot, s.Screenshot); err != nil {
			return fmt.Errorf("screenshot options of %s: %w", s.ID, err)
		}
	}
	s.Content, s.Data, s.URL, s.Password = &content, row.Data, row.URL.String, row.Password
	return nil
}

// SubmissionInput is a part of what submissions are made of, as SQL.
type SubmissionInput string

// The parts that the API shows.
const (
	InputHTML SubmissionInput = "i.html"
	InputURL  SubmissionInput = "i.url"
	// A preview's data is not copied for each of a thousand places.
	InputData SubmissionInput = `case when s.preview and v.id is not null then v.content->'sampleData' else i.data end`
)

// SubmissionInputs reads a part of what these submissions are made of, as text, by
// submission. Those that have none are left out: they have expired, or are made of
// something else.
func (d *DB) SubmissionInputs(ctx context.Context, accountID string, ids []string, part SubmissionInput) (map[string]*string, error) {
	var rows []struct{ ID, Text string }
	if err := d.db.SelectContext(ctx, &rows, `select id, text from (select s.id, (`+string(part)+`)::text as text
			from submission_inputs i join submissions s on s.account_id = i.account_id and s.id = i.submission_id
			left join template_versions v on v.account_id = s.account_id and v.id = s.template_version_id
			where i.account_id = $1 and i.submission_id = any($2)) as inputs where text is not null`, accountID, pq.Array(ids)); err != nil {
		return nil, err
	}
	texts := make(map[string]*string, len(rows))
	for _, row := range rows {
		texts[row.ID] = &row.Text
	}
	return texts, nil
}

// Submissions reads a part of a scope's submissions, newest first; previews are in no
// list.
func (d *DB) Submissions(ctx context.Context, scope Scope, filter platen.SubmissionFilter, page Page) ([]*platen.Submission, PageInfo, error) {
	chosen, err := d.chooseSubmissions(ctx, scope, filter)
	if err != nil {
		return nil, PageInfo{}, err
	}
	return listDocuments(ctx, d, chosen, page, (*submissionRow).submission)
}

// CountSubmissions counts a scope's submissions, up to CountLimit.
func (d *DB) CountSubmissions(ctx context.Context, scope Scope, filter platen.SubmissionFilter) (int, error) {
	chosen, err := d.chooseSubmissions(ctx, scope, filter)
	if err != nil {
		return 0, err
	}
	return chosen.count(ctx, d)
}

func (d *DB) chooseSubmissions(ctx context.Context, scope Scope, f platen.SubmissionFilter) (chosenDocuments, error) {
	c, err := d.choose(ctx, submissionTables, scope, f.DocumentFilter)
	if f.TemplateID != "" {
		c.add("template_id = $%d", f.TemplateID)
	}
	if f.BatchID != "" {
		c.add("batch_id = $%d", f.BatchID)
	}
	return c, err
}

// Waiting counts the documents that are PENDING, of each account that has some.
func (d *DB) Waiting(ctx context.Context) (map[string]int, error) {
	var rows []struct {
		AccountID string `db:"account_id"`
		N         int
	}
	err := d.db.SelectContext(ctx, &rows, `select account_id, count(*) as n from (
		select account_id from submissions where state = 'PENDING'
		union all select account_id from combined_submissions where state = 'PENDING') as waiting group by 1`)
	waiting := make(map[string]int, len(rows))
	for _, row := range rows {
		waiting[row.AccountID] = row.N
	}
	return waiting, err
}

// CountWaiting counts an account's submissions that are PENDING, up to limit: its
// previews, of which people wait for few at a time, or all others.
func (d *DB) CountWaiting(ctx context.Context, accountID string, previews bool, limit int) (n int, err error) {
	which := "not preview"
	if previews {
		which = "preview"
	}
	err = d.db.GetContext(ctx, &n, `select count(*) from (select 1 from submissions
		where account_id = $1 and state = 'PENDING' and `+which+` limit $2) as waiting`, accountID, limit)
	return n, err
}
