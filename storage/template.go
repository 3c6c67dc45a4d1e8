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
	AccountID     string    `db:"account_id"`
	ID            string    `db:"id"`
	Name          string    `db:"name"`
	Description   string    `db:"description"`
	Draft         []byte    `db:"draft"`
	LatestVersion int       `db:"latest_version"`
	CreatedAt     time.Time `db:"created_at"`
	UpdatedAt     time.Time `db:"updated_at"`
}

const templateColumns = `account_id, id, name, description, draft, latest_version, created_at, updated_at`

func (r *templateRow) template() (*platen.Template, error) {
	t := &platen.Template{AccountID: r.AccountID, ID: r.ID, Name: r.Name, Description: r.Description,
		LatestVersion: r.LatestVersion, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt}
	if err := json.Unmarshal(r.Draft, &t.Draft); err != nil {
		return nil, fmt.Errorf("draft of %s: %w", r.ID, err)
	}
	return t, nil
}

type templateVersionRow struct {
	AccountID      string    `db:"account_id"`
	ID             string    `db:"id"`
	TemplateID     string    `db:"template_id"`
	TemplateName   string    `db:"template_name"`
	Number         int       `db:"number"`
	Content        []byte    `db:"content"`
	PublishedAt    time.Time `db:"published_at"`
	PendingActions int       `db:"pending_actions"`
	Changes        int       `db:"changes"`
}

const templateVersions = `select v.account_id, v.id, v.template_id, t.name as template_name, v.number, v.content, v.published_at,
		v.pending_actions, v.changes
	from template_versions v join templates t on t.account_id = v.account_id and t.id = v.template_id`

func (r *templateVersionRow) templateVersion() (*platen.TemplateVersion, error) {
	v := &platen.TemplateVersion{
		Record:     platen.Record{AccountID: r.AccountID, ID: r.ID, PendingActions: r.PendingActions, Changes: r.Changes},
		TemplateID: r.TemplateID, TemplateName: r.TemplateName, Number: r.Number, PublishedAt: r.PublishedAt}
	if err := json.Unmarshal(r.Content, &v.Content); err != nil {
		return nil, fmt.Errorf("content of %s: %w", r.ID, err)
	}
	return v, nil
}

// CreateTemplate inserts a template.
func (t *Tx) CreateTemplate(ctx context.Context, template *platen.Template) error {
	draft, err := json.Marshal(template.Draft)
	if err != nil {
		return err
	}
	var times struct {
		CreatedAt time.Time `db:"created_at"`
		UpdatedAt time.Time `db:"updated_at"`
	}
	err = t.tx.GetContext(ctx, &times, `insert into templates (account_id, id, name, description, draft)
		values ($1, $2, $3, $4, $5) returning created_at, updated_at`,
		template.AccountID, template.ID, template.Name, template.Description, draft)
	template.CreatedAt, template.UpdatedAt = times.CreatedAt, times.UpdatedAt
	return err
}

// PublishTemplate freezes a template's draft as its next version.
func (t *Tx) PublishTemplate(ctx context.Context, accountID, templateID string) (*platen.TemplateVersion, error) {
	var number int
	if err := t.tx.GetContext(ctx, &number, `update templates set latest_version = latest_version + 1
		where account_id = $1 and id = $2 returning latest_version`, accountID, templateID); err != nil {
		return nil, notFound(err)
	}
	id := platen.NewID(platen.KindTemplateVersion)
	if _, err := t.tx.ExecContext(ctx, `insert into template_versions (account_id, id, template_id, number, content)
		select account_id, $3, id, $4, draft from templates where account_id = $1 and id = $2`, accountID, templateID, id, number); err != nil {
		return nil, err
	}
	var row templateVersionRow
	if err := t.tx.GetContext(ctx, &row, templateVersions+` where v.account_id = $1 and v.id = $2`, accountID, id); err != nil {
		return nil, err
	}
	return row.templateVersion()
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

// Template reads one template of an account.
func (d *DB) Template(ctx context.Context, accountID, id string) (*platen.Template, error) {
	return one(d.TemplatesByID(ctx, accountID, []string{id}))(id)
}

// TemplatesByID reads those of these templates that the account has.
func (d *DB) TemplatesByID(ctx context.Context, accountID string, ids []string) (map[string]*platen.Template, error) {
	var rows []*templateRow
	if err := d.db.SelectContext(ctx, &rows, `select `+templateColumns+` from templates where account_id = $1 and id = any($2)`, accountID, pq.Array(ids)); err != nil {
		return nil, err
	}
	templates := make(map[string]*platen.Template, len(rows))
	for _, row := range rows {
		template, err := row.template()
		if err != nil {
			return nil, err
		}
		templates[row.ID] = template
	}
	return templates, nil
}

// Templates reads a part of an account's templates.
func (d *DB) Templates(ctx context.Context, accountID string, page Page) ([]*platen.Template, PageInfo, error) {
	tail, args, err := page.clause([]any{accountID})
	if err != nil {
		return nil, PageInfo{}, err
	}
	var rows []*templateRow
	if err := d.db.SelectContext(ctx, &rows, `select `+templateColumns+` from templates where account_id = $1`+tail, args...); err != nil {
		return nil, PageInfo{}, err
	}
	rows, info := trim(page, rows)
	templates := make([]*platen.Template, len(rows))
	for i, row := range rows {
		if templates[i], err = row.template(); err != nil {
			return nil, info, err
		}
	}
	return templates, info, nil
}

// CountTemplates counts an account's templates, up to CountLimit.
func (d *DB) CountTemplates(ctx context.Context, accountID string) (int, error) {
	return d.count(ctx, `select 1 from templates where account_id = $1`, accountID)
}

// LatestTemplateVersion reads the version that a submission of the template uses.
func (d *DB) LatestTemplateVersion(ctx context.Context, accountID, templateID string) (*platen.TemplateVersion, error) {
	return one(d.LatestTemplateVersions(ctx, accountID, []string{templateID}))(templateID)
}

// LatestTemplateVersions reads the latest version of each of these templates that
// the account has and has published, by template.
func (d *DB) LatestTemplateVersions(ctx context.Context, accountID string, templateIDs []string) (map[string]*platen.TemplateVersion, error) {
	versions, err := d.templateVersions(ctx, ` where v.account_id = $1 and v.template_id = any($2) and v.number = t.latest_version`, accountID, templateIDs)
	latest := make(map[string]*platen.TemplateVersion, len(versions))
	for _, v := range versions {
		latest[v.TemplateID] = v
	}
	return latest, err
}

// TemplateVersionsByID reads those of these versions that the account has.
func (d *DB) TemplateVersionsByID(ctx context.Context, accountID string, ids []string) (map[string]*platen.TemplateVersion, error) {
	versions, err := d.templateVersions(ctx, ` where v.account_id = $1 and v.id = any($2)`, accountID, ids)
	byID := make(map[string]*platen.TemplateVersion, len(versions))
	for _, v := range versions {
		byID[v.ID] = v
	}
	return byID, err
}

func (d *DB) templateVersions(ctx context.Context, where, accountID string, ids []string) ([]*platen.TemplateVersion, error) {
	var rows []*templateVersionRow
	if err := d.db.SelectContext(ctx, &rows, templateVersions+where, accountID, pq.Array(ids)); err != nil {
		return nil, err
	}
	versions := make([]*platen.TemplateVersion, len(rows))
	for i, row := range rows {
		var err error
		if versions[i], err = row.templateVersion(); err != nil {
			return nil, err
		}
	}
	return versions, nil
}

// TemplateVersion reads one version of an account's templates.
func (d *DB) TemplateVersion(ctx context.Context, accountID, id string) (*platen.TemplateVersion, error) {
	return one(d.TemplateVersionsByID(ctx, accountID, []string{id}))(id)
}
