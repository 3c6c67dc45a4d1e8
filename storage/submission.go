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

	"github.com/lib/pq"

	"platen"
)

type submissionRow struct {
	AccountID             string         `db:"account_id"`
	ID                    string         `db:"id"`
	State                 string         `db:"state"`
	Test                  bool           `db:"test"`
	Source                string         `db:"source"`
	Output                string         `db:"output"`
	BatchID               sql.NullString `db:"batch_id"`
	BatchIndex            sql.NullInt32  `db:"batch_index"`
	Preview               bool           `db:"preview"`
	TemplateID            sql.NullString `db:"template_id"`
	TemplateVersionID     sql.NullString `db:"template_version_id"`
	TemplateVersionNumber sql.NullInt32  `db:"template_version_number"`
	TemplateName          sql.NullString `db:"template_name"`
	Metadata              []byte         `db:"metadata"`
	ContentType           sql.NullString `db:"content_type"`
	ByteSize              sql.NullInt64  `db:"byte_size"`
	PageCount             sql.NullInt32  `db:"page_count"`
	SHA256                sql.NullString `db:"sha256"`
	PasswordProtected     bool           `db:"password_protected"`
	BlobKey               sql.NullString `db:"blob_key"`
	Failure               []byte         `db:"failure"`
	CreatedAt             time.Time      `db:"created_at"`
	ProcessedAt           *time.Time     `db:"processed_at"`
	ProcessingTimeMS      *int           `db:"processing_time_ms"`
	FinishedAt            *time.Time     `db:"finished_at"`
	ExpiresAt             *time.Time     `db:"expires_at"`
	ExpiredAt             *time.Time     `db:"expired_at"`
	PendingActions        int            `db:"pending_actions"`
	Revision              int            `db:"revision"`
	Changes               int            `db:"changes"`
}

const submissionColumns = `account_id, id, state, test, source, output, batch_id, batch_index, preview,
	template_id, template_version_id, template_version_number, template_name, metadata,
	content_type, byte_size, page_count, sha256, password_protected, blob_key, failure,
	created_at, processed_at, processing_time_ms, finished_at, expires_at, expired_at, pending_actions, revision, changes`

func (r *submissionRow) submission() (*platen.Submission, error) {
	s := &platen.Submission{
		Record: platen.Record{AccountID: r.AccountID, ID: r.ID, Test: r.Test, PendingActions: r.PendingActions, Changes: r.Changes},
		State:  platen.DocumentState(r.State), Source: platen.SourceKind(r.Source), Output: platen.OutputKind(r.Output),
		BatchID: r.BatchID.String, BatchIndex: int(r.BatchIndex.Int32), Preview: r.Preview,
		TemplateID: r.TemplateID.String, TemplateVersionID: r.TemplateVersionID.String,
		TemplateVersionNumber: int(r.TemplateVersionNumber.Int32), TemplateName: r.TemplateName.String,
		Metadata: r.Metadata, CreatedAt: r.CreatedAt, ProcessedAt: r.ProcessedAt, ProcessingTimeMS: r.ProcessingTimeMS,
		FinishedAt: r.FinishedAt, ExpiresAt: r.ExpiresAt, ExpiredAt: r.ExpiredAt, Revision: r.Revision,
	}
	if r.SHA256.Valid {
		s.File = &platen.DocumentFile{ContentType: r.ContentType.String, ByteSize: r.ByteSize.Int64, PageCount: int(r.PageCount.Int32),
			SHA256: r.SHA256.String, PasswordProtected: r.PasswordProtected, BlobKey: r.BlobKey.String}
	}
	return s, failureFrom(r.Failure, &s.Failure)
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

// CreateSubmissions inserts submissions of one account, PENDING, with what they are
// made of, and the event of each one's creation. Of a published version only the page
// settings are kept: the rest is the version's, which never changes.
func (t *Tx) CreateSubmissions(ctx context.Context, submissions []*platen.Submission) error {
	accountID := submissions[0].AccountID
	var created []time.Time
	if err := t.tx.SelectContext(ctx, &created, `insert into submissions (account_id, id, state, test, source, output, batch_id, batch_index, preview,
			template_id, template_version_id, template_version_number, template_name, metadata, expires_at)
		select $1, id, 'PENDING', test, source, output, batch_id, case when batch_id is not null then batch_index end, preview,
			template_id, template_version_id, template_version_number, template_name, metadata, expires_at
		from unnest($2::text[], $3::boolean[], $4::text[], $5::text[], $6::text[], $7::integer[], $8::boolean[],
			$9::text[], $10::text[], $11::integer[], $12::text[], $13::json[], $14::timestamptz[])
			as new (id, test, source, output, batch_id, batch_index, preview,
			template_id, template_version_id, template_version_number, template_name, metadata, expires_at)
		returning created_at`, accountID,
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
		columnOf(submissions, func(s *platen.Submission) sql.NullTime { return nullTime(s.ExpiresAt) })); err != nil {
		return err
	}
	changes := make([]change, len(submissions))
	for i, s := range submissions {
		s.State, s.Revision, s.Changes, s.CreatedAt = platen.DocumentPending, 1, 1, created[i]
		changes[i] = change{subject: s}
	}
	if err := t.createInputs(ctx, accountID, submissions); err != nil {
		return err
	}
	if err := t.createMetadata(ctx, accountID, submissions); err != nil {
		return err
	}
	return t.recordChanges(ctx, accountID, changes)
}

func nullTime(at *time.Time) (null sql.NullTime) {
	if at != nil {
		null = sql.NullTime{Time: *at, Valid: true}
	}
	return null
}

// createInputs inserts what submissions are made of.
func (t *Tx) createInputs(ctx context.Context, accountID string, submissions []*platen.Submission) error {
	var failed error
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
	args := []any{accountID,
		columnOf(submissions, func(s *platen.Submission) string { return s.ID }),
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
	if failed != nil {
		return failed
	}
	// An array of bytea has no way to say that there is none: empty does.
	_, err := t.tx.ExecContext(ctx, `insert into submission_inputs (account_id, submission_id, html, css, header_html, footer_html, schema,
			url, page, screenshot, data, presigned_upload, password)
		select $1, id, html, css, header_html, footer_html, schema, url, page, nullif(screenshot::text, 'null')::json, data,
			nullif(presigned_upload, ''), nullif(password, '')
		from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::json[], $8::text[], $9::json[], $10::json[],
			$11::json[], $12::bytea[], $13::bytea[]) as new (id, html, css, header_html, footer_html, schema, url, page, screenshot,
			data, presigned_upload, password)`, args...)
	return err
}

// FinishSubmission gives a locked submission its final state: PROCESSED with a file
// and the actions that follow, or another with a failure. One event shows it all,
// so that nobody sees PROCESSED without its actions (R6.1).
func (t *Tx) FinishSubmission(ctx context.Context, s *platen.Submission, actions []*platen.Action) error {
	if err := t.addActions(ctx, s, actions); err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	s.FinishedAt = &now
	return t.updateSubmission(ctx, s)
}

// ExpireSubmission deletes what a locked submission was made of, where it was to go, and
// the name of its own copy: the copy itself is the caller's to delete, after the commit
// (R3.8).
func (t *Tx) ExpireSubmission(ctx context.Context, s *platen.Submission) error {
	now := time.Now().UTC().Truncate(time.Microsecond)
	s.ExpiredAt = &now
	if s.File != nil {
		s.File.BlobKey = ""
	}
	for _, statement := range []string{
		`delete from submission_inputs where account_id = $1 and submission_id = $2`,
		`update actions set presigned_upload = null where account_id = $1 and subject_id = $2 and presigned_upload is not null`,
	} {
		if _, err := t.tx.ExecContext(ctx, statement, s.AccountID, s.ID); err != nil {
			return err
		}
	}
	return t.updateSubmission(ctx, s)
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

// updateSubmission writes the fields of a locked submission that can change, with the
// event that shows it.
func (t *Tx) updateSubmission(ctx context.Context, s *platen.Submission) error {
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
	if _, err := t.tx.ExecContext(ctx, `update submissions set state = $3, content_type = $4, byte_size = $5, page_count = $6, sha256 = $7,
			blob_key = $8, failure = $9, processed_at = $10, processing_time_ms = $11, pending_actions = $12, revision = $13, changes = $14,
			password_protected = $15, finished_at = $16, expired_at = $17
		where account_id = $1 and id = $2`, s.AccountID, s.ID, s.State, nullString(file.ContentType),
		sql.NullInt64{Int64: file.ByteSize, Valid: s.File != nil}, nullInt(file.PageCount), nullString(file.SHA256),
		nullString(file.BlobKey), failure, s.ProcessedAt, s.ProcessingTimeMS, s.PendingActions, s.Revision, s.Changes,
		file.PasswordProtected, s.FinishedAt, s.ExpiredAt); err != nil {
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

// TakePresignedUpload reads where a submission that leaves PENDING goes besides the
// integrations; nil: nowhere. The inputs forget it, and the password with it: from then
// on the action has the address, or nobody, and the password has done its work.
func (t *Tx) TakePresignedUpload(ctx context.Context, s *platen.Submission) error {
	err := t.tx.GetContext(ctx, &s.PresignedUpload, `with had as (select presigned_upload from submission_inputs where account_id = $1 and submission_id = $2)
		update submission_inputs set presigned_upload = null, password = null
		where account_id = $1 and submission_id = $2 and (presigned_upload is not null or password is not null)
		returning (select presigned_upload from had)`, s.AccountID, s.ID)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // neither was given
	}
	return err
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
	}
	err := d.db.GetContext(ctx, &row, `select html, css, header_html, footer_html, url, page, schema, screenshot, data, password
		from submission_inputs where account_id = $1 and submission_id = $2`, s.AccountID, s.ID)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	content := platen.TemplateContent{HTML: row.HTML.String, CSS: row.CSS.String, HeaderHTML: row.HeaderHTML.String,
		FooterHTML: row.FooterHTML.String, Schema: row.Schema}
	if s.TemplateVersionID != "" {
		published, err := d.VersionContent(ctx, s.AccountID, s.TemplateVersionID)
		if err != nil {
			return err
		}
		content = *published
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

// Submissions reads a part of a scope's submissions, newest first; previews are in no
// list.
func (d *DB) Submissions(ctx context.Context, scope Scope, filter platen.SubmissionFilter, page Page) ([]*platen.Submission, PageInfo, error) {
	pairs, err := d.rarestFirst(ctx, scope.AccountID, metadataPairs(filter.Metadata))
	if err != nil {
		return nil, PageInfo{}, err
	}
	query, args, err := submissionList(scope, filter, pairs, page)
	if err != nil {
		return nil, PageInfo{}, err
	}
	var rows []*submissionRow
	if err := d.db.SelectContext(ctx, &rows, query, args...); err != nil {
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

// submissionList is the statement of a page. Whatever single thing is filtered by, an
// index in the list's order leads to it, so that a page costs the same however many
// rows there are. Of several states each is read from its own place in the index, and
// what they give is merged.
func submissionList(scope Scope, filter platen.SubmissionFilter, pairs [][]byte, page Page) (string, []any, error) {
	chosen := chooseSubmissions(scope, filter, pairs)
	tail, args, err := page.clause(chosen.args, chosen.at, chosen.id)
	if err != nil {
		return "", nil, err
	}
	if len(chosen.states) == 0 {
		return "select " + submissionColumns + chosen.from + tail, args, nil
	}
	parts := make([]string, len(chosen.states))
	for i, state := range chosen.states {
		args = append(args, state)
		parts[i] = fmt.Sprintf("(select %s%s and state = $%d%s)", submissionColumns, chosen.from, len(args), tail)
	}
	if len(parts) == 1 {
		return parts[0], args, nil
	}
	return "select * from (" + strings.Join(parts, " union all ") + ") as merged" + page.order("created_at", "id"), args, nil
}

// chosenSubmissions is what a filter comes to in SQL.
type chosenSubmissions struct {
	from   string // the tables and the conditions, but for the states
	args   []any
	at, id string // the columns of the list's order
	states []platen.DocumentState
}

func chooseSubmissions(scope Scope, f platen.SubmissionFilter, pairs [][]byte) chosenSubmissions {
	c := chosenSubmissions{args: []any{scope.AccountID}, at: "created_at", id: "id", states: slices.Compact(slices.Sorted(slices.Values(f.States)))}
	c.from = " from submissions where account_id = $1 and not preview"
	add := func(condition string, value any) {
		c.args = append(c.args, value)
		c.from += fmt.Sprintf(" and "+condition, len(c.args))
	}
	if len(pairs) > 0 {
		// The first pair leads, in the order of its own index; the others are looked up.
		c.at, c.id = "at", "submission_id"
		c.args = append(c.args, pairs[0])
		c.from = ` from (select at, submission_id from submission_metadata where account_id = $1 and pair = $2) as of_pair
			join submissions on id = submission_id where account_id = $1 and not preview`
		// All at once: PostgreSQL would plan hundreds of conditions of their own for minutes.
		if others := pairs[1:]; len(others) > 0 {
			add(`(select count(*) from submission_metadata as other where other.account_id = $1 and other.pair = any($%[1]d::bytea[])
				and other.at = created_at and other.submission_id = id) = cardinality($%[1]d::bytea[])`, pq.ByteaArray(others))
		}
	}
	if scope.TestOnly {
		c.from += " and test"
	}
	if f.Test != nil {
		add("test = $%d", *f.Test)
	}
	if f.TemplateID != "" {
		add("template_id = $%d", f.TemplateID)
	}
	if f.BatchID != "" {
		add("batch_id = $%d", f.BatchID)
	}
	if f.From != nil {
		add(c.at+" >= $%d", f.From.UTC()) // PostgreSQL takes no offset of sixteen hours and more
	}
	if f.Until != nil {
		add(c.at+" < $%d", f.Until.UTC())
	}
	return c
}

// CountSubmissions counts a scope's submissions, up to CountLimit.
func (d *DB) CountSubmissions(ctx context.Context, scope Scope, filter platen.SubmissionFilter) (int, error) {
	pairs, err := d.rarestFirst(ctx, scope.AccountID, metadataPairs(filter.Metadata))
	if err != nil {
		return 0, err
	}
	chosen := chooseSubmissions(scope, filter, pairs)
	if len(chosen.states) > 0 {
		chosen.args = append(chosen.args, pq.Array(chosen.states))
		chosen.from += fmt.Sprintf(" and state = any($%d)", len(chosen.args))
	}
	return d.count(ctx, "select 1"+chosen.from, chosen.args...)
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

// SubmissionsToExpire names at most limit submissions whose time is over at now (R3.8).
// One that is not done yet, or has uploads to come, has to be over at late for that.
func (d *DB) SubmissionsToExpire(ctx context.Context, now, late time.Time, limit int) (refs []SubjectRef, err error) {
	err = d.db.SelectContext(ctx, &refs, `select account_id, id from submissions
		where expires_at < $1 and expires_at is not null and expired_at is null and (state <> 'PENDING' and pending_actions = 0 or expires_at < $2)
		order by expires_at limit $3`, now, late, limit)
	return refs, err
}

// SubjectRef names a subject.
type SubjectRef struct {
	AccountID string `db:"account_id"`
	ID        string `db:"id"`
}
