package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lib/pq"

	"platen"
)

type templateRow struct {
	AccountID     string     `db:"account_id"`
	ID            string     `db:"id"`
	Name          string     `db:"name"`
	Description   string     `db:"description"`
	LatestVersion int        `db:"latest_version"`
	ExpireAfter   *int       `db:"expire_after"`
	ArchivedAt    *time.Time `db:"archived_at"`
	CreatedAt     time.Time  `db:"created_at"`
	UpdatedAt     time.Time  `db:"updated_at"`
}

// templateColumns leave out the draft, which can be megabytes.
const templateColumns = `account_id, id, name, description, latest_version, expire_after, archived_at, created_at, updated_at`

func (r *templateRow) template() *platen.Template {
	return &platen.Template{AccountID: r.AccountID, ID: r.ID, Name: r.Name, Description: r.Description,
		LatestVersion: r.LatestVersion, ExpireAfter: r.ExpireAfter, ArchivedAt: r.ArchivedAt, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt}
}

// contentFrom reads a content as it is stored.
func contentFrom(id string, text []byte) (*platen.TemplateContent, error) {
	c := new(platen.TemplateContent)
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("content of %s: %w", id, err)
	}
	return c, nil
}

type templateVersionRow struct {
	AccountID      string    `db:"account_id"`
	ID             string    `db:"id"`
	TemplateID     string    `db:"template_id"`
	TemplateName   string    `db:"template_name"`
	Number         int       `db:"number"`
	PublishedAt    time.Time `db:"published_at"`
	PendingActions int       `db:"pending_actions"`
	Changes        int       `db:"changes"`
}

const templateVersions = `select v.account_id, v.id, v.template_id, t.name as template_name, v.number, v.published_at,
		v.pending_actions, v.changes
	from template_versions v join templates t on t.account_id = v.account_id and t.id = v.template_id`

func (r *templateVersionRow) templateVersion() *platen.TemplateVersion {
	return &platen.TemplateVersion{
		Record:     platen.Record{AccountID: r.AccountID, ID: r.ID, PendingActions: r.PendingActions, Changes: r.Changes},
		TemplateID: r.TemplateID, TemplateName: r.TemplateName, Number: r.Number, PublishedAt: r.PublishedAt}
}

// CreateTemplate inserts a template.
func (t *Tx) CreateTemplate(ctx context.Context, template *platen.Template) error {
	draft, err := json.Marshal(template.Draft)
	if err != nil {
		return err
	}
	return t.setTemplate(ctx, template, `insert into templates (account_id, id, name, description, draft, expire_after)
		values ($1, $2, $3, $4, $5, $6) returning `+templateColumns,
		template.AccountID, template.ID, template.Name, template.Description, draft, template.ExpireAfter)
}

// LockTemplate keeps a template from being changed and published by others until the
// end of the transaction, and tells when it was last edited. Submissions may still
// refer to it. Its changes write no events, so a lock of the row is enough; the event
// of a new version is the first of that version, which nobody else knows before the
// commit.
func (t *Tx) LockTemplate(ctx context.Context, accountID, id string) (editedAt time.Time, err error) {
	err = t.tx.GetContext(ctx, &editedAt, `select updated_at from templates where account_id = $1 and id = $2 for no key update`, accountID, id)
	return editedAt, notFound(err)
}

// UpdateTemplate writes a locked template. Each edit has a later time than the one
// before: the clock can go back, and a transaction's time is that of its beginning.
func (t *Tx) UpdateTemplate(ctx context.Context, template *platen.Template) error {
	draft, err := json.Marshal(template.Draft)
	if err != nil {
		return err
	}
	return t.setTemplate(ctx, template, `update templates set name = $3, description = $4, draft = $5, expire_after = $6, archived_at = $7,
			updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')
		where account_id = $1 and id = $2 returning `+templateColumns,
		template.AccountID, template.ID, template.Name, template.Description, draft, template.ExpireAfter, template.ArchivedAt)
}

// setTemplate runs a statement that gives one template.
func (t *Tx) setTemplate(ctx context.Context, template *platen.Template, statement string, args ...any) error {
	var row templateRow
	if err := t.tx.GetContext(ctx, &row, statement, args...); err != nil {
		return notFound(err)
	}
	draft := template.Draft
	*template = *row.template()
	template.Draft = draft
	return nil
}

// unpublished holds of a template whose draft is not its latest version. A version is
// a copy of the draft, letter by letter.
const unpublished = `not exists (select 1 from template_versions v where v.account_id = templates.account_id
	and v.template_id = templates.id and v.number = templates.latest_version and v.content::text = templates.draft::text)`

// PublishTemplate freezes a locked template's draft as its next version. Without
// unpublished changes it makes none and gives the latest; fresh tells which.
func (t *Tx) PublishTemplate(ctx context.Context, accountID, templateID string) (v *platen.TemplateVersion, fresh bool, err error) {
	done, err := t.tx.ExecContext(ctx, `update templates set latest_version = latest_version + 1
		where account_id = $1 and id = $2 and `+unpublished, accountID, templateID)
	if err != nil {
		return nil, false, err
	}
	changed, err := done.RowsAffected()
	if err != nil {
		return nil, false, err
	}
	if fresh = changed > 0; fresh {
		if _, err := t.tx.ExecContext(ctx, `insert into template_versions (account_id, id, template_id, number, content, published_at)
			select account_id, $3, id, latest_version, draft, clock_timestamp() from templates where account_id = $1 and id = $2`,
			accountID, templateID, platen.NewID(platen.KindTemplateVersion)); err != nil {
			return nil, false, err
		}
	}
	var row templateVersionRow
	if err := t.tx.GetContext(ctx, &row, templateVersions+` where v.account_id = $1 and v.template_id = $2 and v.number = t.latest_version`,
		accountID, templateID); err != nil {
		return nil, false, notFound(err)
	}
	return row.templateVersion(), fresh, nil
}

// AddVersionActions gives a version that this transaction has just published the
// actions that follow, with the event that shows them.
func (t *Tx) AddVersionActions(ctx context.Context, v *platen.TemplateVersion, actions []*platen.Action) error {
	if len(actions) == 0 {
		return nil
	}
	if err := t.addActions(ctx, v, actions); err != nil {
		return err
	}
	v.Changes++
	if _, err := t.tx.ExecContext(ctx, `update template_versions set pending_actions = $3, changes = $4
		where account_id = $1 and id = $2`, v.AccountID, v.ID, v.PendingActions, v.Changes); err != nil {
		return err
	}
	return t.recordChange(ctx, v, "")
}

// Template reads one template of an account, without its draft.
func (d *DB) Template(ctx context.Context, accountID, id string) (*platen.Template, error) {
	return one(d.TemplatesByID(ctx, accountID, []string{id}))(id)
}

// TemplateWithDraft reads one template of an account and its draft, as they are at one
// moment.
func (d *DB) TemplateWithDraft(ctx context.Context, accountID, id string) (*platen.Template, error) {
	var row struct {
		templateRow
		Draft []byte `db:"draft"`
	}
	if err := d.db.GetContext(ctx, &row, `select `+templateColumns+`, draft from templates where account_id = $1 and id = $2`, accountID, id); err != nil {
		return nil, notFound(err)
	}
	t := row.template()
	var err error
	t.Draft, err = contentFrom(id, row.Draft)
	return t, err
}

// Drafts reads the drafts of those of these templates that the account has.
func (d *DB) Drafts(ctx context.Context, accountID string, ids []string) (map[string]*platen.TemplateContent, error) {
	return d.contents(ctx, `select id, draft as content from templates where account_id = $1 and id = any($2)`, accountID, ids)
}

// VersionContents reads the contents of those of these versions that the account has.
func (d *DB) VersionContents(ctx context.Context, accountID string, ids []string) (map[string]*platen.TemplateContent, error) {
	return d.contents(ctx, `select id, content from template_versions where account_id = $1 and id = any($2)`, accountID, ids)
}

// VersionContent reads the content of one version of an account's templates.
func (d *DB) VersionContent(ctx context.Context, accountID, id string) (*platen.TemplateContent, error) {
	return one(d.VersionContents(ctx, accountID, []string{id}))(id)
}

// VersionPage reads how a version is printed, without the rest of it.
func (d *DB) VersionPage(ctx context.Context, accountID, id string) (page platen.PageSettings, err error) {
	var text []byte
	if err := d.db.GetContext(ctx, &text, `select content->'page' from template_versions where account_id = $1 and id = $2`, accountID, id); err != nil {
		return page, notFound(err)
	}
	return page, json.Unmarshal(text, &page)
}

func (d *DB) contents(ctx context.Context, query, accountID string, ids []string) (map[string]*platen.TemplateContent, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var rows []struct {
		ID      string
		Content []byte
	}
	if err := d.db.SelectContext(ctx, &rows, query, accountID, pq.Array(ids)); err != nil {
		return nil, err
	}
	contents := make(map[string]*platen.TemplateContent, len(rows))
	for _, row := range rows {
		content, err := contentFrom(row.ID, row.Content)
		if err != nil {
			return nil, err
		}
		contents[row.ID] = content
	}
	return contents, nil
}

// TemplatesByID reads those of these templates that the account has, without drafts.
func (d *DB) TemplatesByID(ctx context.Context, accountID string, ids []string) (map[string]*platen.Template, error) {
	var rows []*templateRow
	if err := d.db.SelectContext(ctx, &rows, `select `+templateColumns+` from templates where account_id = $1 and id = any($2)`, accountID, pq.Array(ids)); err != nil {
		return nil, err
	}
	templates := make(map[string]*platen.Template, len(rows))
	for _, row := range rows {
		templates[row.ID] = row.template()
	}
	return templates, nil
}

// whereTemplates is the part of a statement that chooses templates. PostgreSQL uses the
// index templates_newest for a condition of this form; it turns others, such as
// (archived_at is not null) = false, into archived_at is null, which the index has not.
func whereTemplates(accountID string, f platen.TemplateFilter) (string, []any) {
	return fmt.Sprintf(` from templates where account_id = $1 and (archived_at is not null) is %t and strpos(lower(name), lower($2)) > 0`, f.Archived),
		[]any{accountID, f.NameContains}
}

// Templates reads a part of an account's templates.
func (d *DB) Templates(ctx context.Context, accountID string, filter platen.TemplateFilter, page Page) ([]*platen.Template, PageInfo, error) {
	where, args := whereTemplates(accountID, filter)
	tail, args, err := page.clause(args, "created_at", "id")
	if err != nil {
		return nil, PageInfo{}, err
	}
	var rows []*templateRow
	if err := d.db.SelectContext(ctx, &rows, `select `+templateColumns+where+tail, args...); err != nil {
		return nil, PageInfo{}, err
	}
	rows, info := trim(page, rows)
	templates := make([]*platen.Template, len(rows))
	for i, row := range rows {
		templates[i] = row.template()
	}
	return templates, info, nil
}

// CountTemplates counts an account's templates, up to CountLimit.
func (d *DB) CountTemplates(ctx context.Context, accountID string, filter platen.TemplateFilter) (int, error) {
	where, args := whereTemplates(accountID, filter)
	return d.count(ctx, `select 1`+where, args...)
}

// UnpublishedTemplates tells of which of these templates the draft is not the latest
// version. The comparison is the database's: contents can be megabytes.
func (d *DB) UnpublishedTemplates(ctx context.Context, accountID string, ids []string) (map[string]bool, error) {
	var found []string
	err := d.db.SelectContext(ctx, &found, `select id from templates where account_id = $1 and id = any($2) and `+unpublished, accountID, pq.Array(ids))
	changed := make(map[string]bool, len(found))
	for _, id := range found {
		changed[id] = true
	}
	return changed, err
}

// LatestTemplateVersion reads the version that a submission of the template uses.
func (d *DB) LatestTemplateVersion(ctx context.Context, accountID, templateID string) (*platen.TemplateVersion, error) {
	return one(d.LatestTemplateVersions(ctx, accountID, []string{templateID}))(templateID)
}

// LatestTemplateVersions reads the latest version of each of these templates that
// the account has and has published, by template.
func (d *DB) LatestTemplateVersions(ctx context.Context, accountID string, templateIDs []string) (map[string]*platen.TemplateVersion, error) {
	versions, err := d.templateVersions(ctx, ` and v.template_id = any($2) and v.number = t.latest_version`, accountID, pq.Array(templateIDs))
	return byTemplate(versions), err
}

// TemplateVersionsByNumber reads the version with this number of each of these
// templates that the account has, by template.
func (d *DB) TemplateVersionsByNumber(ctx context.Context, accountID string, templateIDs []string, number int) (map[string]*platen.TemplateVersion, error) {
	// A number may be larger than the column's.
	versions, err := d.templateVersions(ctx, ` and v.template_id = any($2) and v.number = $3::bigint`, accountID, pq.Array(templateIDs), number)
	return byTemplate(versions), err
}

func byTemplate(versions []*platen.TemplateVersion) map[string]*platen.TemplateVersion {
	by := make(map[string]*platen.TemplateVersion, len(versions))
	for _, v := range versions {
		by[v.TemplateID] = v
	}
	return by
}

// TemplateVersionsByID reads those of these versions that the account has.
func (d *DB) TemplateVersionsByID(ctx context.Context, accountID string, ids []string) (map[string]*platen.TemplateVersion, error) {
	versions, err := d.templateVersions(ctx, ` and v.id = any($2)`, accountID, pq.Array(ids))
	byID := make(map[string]*platen.TemplateVersion, len(versions))
	for _, v := range versions {
		byID[v.ID] = v
	}
	return byID, err
}

// TemplateVersions reads the first versions of each of these templates, or those after a
// cursor, newest first, by template. Their order is that of their numbers: times can be
// equal.
func (d *DB) TemplateVersions(ctx context.Context, accountID string, templateIDs []string, page Page) (map[string]Part[*platen.TemplateVersion], error) {
	after := ""
	if page.After != "" {
		var err error
		if _, after, err = parseCursor(page.After); err != nil || platen.KindOf(after) != platen.KindTemplateVersion {
			return nil, ErrCursor // of another list
		}
	}
	versions, err := d.templateVersions(ctx, ` and v.id in (select newest.id from unnest($2::text[]) as template (id),
			lateral (select id from template_versions where account_id = $1 and template_id = template.id and ($3 = '' or number <
				(select number from template_versions where account_id = $1 and template_id = template.id and id = $3))
				order by number desc limit $4) as newest)
		order by v.number desc`, accountID, pq.Array(templateIDs), after, page.First+1)
	return parts(page, versions, func(v *platen.TemplateVersion) string { return v.TemplateID }), err
}

// templateVersions reads versions of an account that satisfy more conditions.
func (d *DB) templateVersions(ctx context.Context, more, accountID string, args ...any) ([]*platen.TemplateVersion, error) {
	var rows []*templateVersionRow
	if err := d.db.SelectContext(ctx, &rows, templateVersions+` where v.account_id = $1`+more, append([]any{accountID}, args...)...); err != nil {
		return nil, err
	}
	versions := make([]*platen.TemplateVersion, len(rows))
	for i, row := range rows {
		versions[i] = row.templateVersion()
	}
	return versions, nil
}

// TemplateVersion reads one version of an account's templates.
func (d *DB) TemplateVersion(ctx context.Context, accountID, id string) (*platen.TemplateVersion, error) {
	return one(d.TemplateVersionsByID(ctx, accountID, []string{id}))(id)
}
