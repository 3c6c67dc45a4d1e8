package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lib/pq"

	"platen"
)

type integrationRow struct {
	AccountID   string     `db:"account_id"`
	ID          string     `db:"id"`
	Type        string     `db:"type"`
	Name        string     `db:"name"`
	Enabled     bool       `db:"enabled"`
	AppliesTo   string     `db:"applies_to"`
	Secret      []byte     `db:"secret"`
	SecretSetAt time.Time  `db:"secret_set_at"`
	Settings    []byte     `db:"settings"`
	TestedAt    *time.Time `db:"tested_at"`
	TestFailure []byte     `db:"test_failure"`
	CreatedAt   time.Time  `db:"created_at"`
	UpdatedAt   time.Time  `db:"updated_at"`
}

const integrationColumns = `account_id, id, type, name, enabled, applies_to, secret, secret_set_at, settings, tested_at, test_failure,
	created_at, updated_at`

// The types of integrations, as the column has them.
const (
	typeAWSS3   = "AWS_S3"
	typeWebhook = "WEBHOOK"
)

func (r *integrationRow) integration() (*platen.Integration, error) {
	i := &platen.Integration{AccountID: r.AccountID, ID: r.ID, Name: r.Name, Enabled: r.Enabled, AppliesTo: platen.AppliesTo(r.AppliesTo),
		Secret: r.Secret, SecretSetAt: r.SecretSetAt, TestedAt: r.TestedAt, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt}
	var settings any
	if r.Type == typeWebhook {
		i.Webhook = new(platen.WebhookSettings)
		settings = i.Webhook
	} else {
		i.S3 = new(platen.S3Settings)
		settings = i.S3
	}
	if err := json.Unmarshal(r.Settings, settings); err != nil {
		return nil, fmt.Errorf("settings of %s: %w", r.ID, err)
	}
	return i, failureFrom(r.TestFailure, &i.TestFailure)
}

// integrationSettings are what the columns type and settings hold.
func integrationSettings(i *platen.Integration) (kind string, settings []byte, err error) {
	if i.Webhook != nil {
		settings, err = json.Marshal(i.Webhook)
		return typeWebhook, settings, err
	}
	settings, err = json.Marshal(i.S3)
	return typeAWSS3, settings, err
}

// CreateIntegration inserts an integration, its secret already encrypted.
func (t *Tx) CreateIntegration(ctx context.Context, i *platen.Integration) error {
	kind, settings, err := integrationSettings(i)
	if err != nil {
		return err
	}
	return t.setIntegration(ctx, i, `insert into integrations (account_id, id, type, name, enabled, applies_to, secret, secret_set_at, settings)
		values ($1, $2, $3, $4, $5, $6, $7, now(), $8) returning `+integrationColumns,
		i.AccountID, i.ID, kind, i.Name, i.Enabled, i.AppliesTo, i.Secret, settings)
}

// LockIntegration reads an integration and keeps it from changing, and from getting
// new actions, until the end of the transaction.
func (t *Tx) LockIntegration(ctx context.Context, accountID, id string) (*platen.Integration, error) {
	i := new(platen.Integration)
	return i, t.setIntegration(ctx, i, `select `+integrationColumns+` from integrations
		where account_id = $1 and id = $2 and deleted_at is null for update`, accountID, id)
}

// UpdateIntegration writes a locked integration; newSecret says that its secret is
// another one than before.
func (t *Tx) UpdateIntegration(ctx context.Context, i *platen.Integration, newSecret bool) error {
	_, settings, err := integrationSettings(i)
	if err != nil {
		return err
	}
	return t.setIntegration(ctx, i, `update integrations set name = $3, enabled = $4, applies_to = $5, secret = $6, settings = $7, updated_at = now(),
			secret_set_at = case when $8 then now() else secret_set_at end
		where account_id = $1 and id = $2 returning `+integrationColumns,
		i.AccountID, i.ID, i.Name, i.Enabled, i.AppliesTo, i.Secret, settings, newSecret)
}

// setIntegration runs a statement that gives one integration.
func (t *Tx) setIntegration(ctx context.Context, i *platen.Integration, statement string, args ...any) error {
	var row integrationRow
	if err := t.tx.GetContext(ctx, &row, statement, args...); err != nil {
		return notFound(err)
	}
	read, err := row.integration()
	if err == nil {
		*i = *read
	}
	return err
}

// DeleteIntegration takes a locked integration out of use, and forgets its secret.
// The row stays, as its actions refer to it; nothing reads it any more.
func (t *Tx) DeleteIntegration(ctx context.Context, accountID, id string) error {
	_, err := t.tx.ExecContext(ctx, `update integrations set deleted_at = now(), enabled = false, secret = ''
		where account_id = $1 and id = $2`, accountID, id)
	return err
}

// RecordIntegrationTest notes what a test of the integration came to; nil: it went well.
func (t *Tx) RecordIntegrationTest(ctx context.Context, accountID, id string, at time.Time, failure *platen.Failure) error {
	text, err := failureJSON(failure)
	if err != nil {
		return err
	}
	_, err = t.tx.ExecContext(ctx, `update integrations set tested_at = $3, test_failure = $4
		where account_id = $1 and id = $2 and deleted_at is null`, accountID, id, at, text)
	return err
}

// EnabledIntegrations reads the enabled integrations of an account. They are locked
// against deletion and change until the end of the transaction, so that the actions
// made of them hold.
func (t *Tx) EnabledIntegrations(ctx context.Context, accountID string) ([]*platen.Integration, error) {
	var rows []*integrationRow
	if err := t.tx.SelectContext(ctx, &rows, `select `+integrationColumns+` from integrations
		where account_id = $1 and enabled and deleted_at is null order by created_at, id for share`, accountID); err != nil {
		return nil, err
	}
	return integrationsOf(rows)
}

func integrationsOf(rows []*integrationRow) ([]*platen.Integration, error) {
	integrations := make([]*platen.Integration, len(rows))
	for n, row := range rows {
		var err error
		if integrations[n], err = row.integration(); err != nil {
			return nil, err
		}
	}
	return integrations, nil
}

// IntegrationsByID reads those of these integrations that the account has.
func (d *DB) IntegrationsByID(ctx context.Context, accountID string, ids []string) (map[string]*platen.Integration, error) {
	var rows []*integrationRow
	if err := d.db.SelectContext(ctx, &rows, `select `+integrationColumns+` from integrations
		where account_id = $1 and id = any($2) and deleted_at is null`, accountID, pq.Array(ids)); err != nil {
		return nil, err
	}
	integrations, err := integrationsOf(rows)
	byID := make(map[string]*platen.Integration, len(integrations))
	for _, i := range integrations {
		byID[i.ID] = i
	}
	return byID, err
}

// Integration reads one integration of an account.
func (d *DB) Integration(ctx context.Context, accountID, id string) (*platen.Integration, error) {
	return one(d.IntegrationsByID(ctx, accountID, []string{id}))(id)
}

// Integrations reads a part of an account's integrations.
func (d *DB) Integrations(ctx context.Context, accountID string, page Page) ([]*platen.Integration, PageInfo, error) {
	tail, args, err := page.clause([]any{accountID}, "created_at", "id")
	if err != nil {
		return nil, PageInfo{}, err
	}
	var rows []*integrationRow
	if err := d.db.SelectContext(ctx, &rows, `select `+integrationColumns+` from integrations
		where account_id = $1 and deleted_at is null`+tail, args...); err != nil {
		return nil, PageInfo{}, err
	}
	rows, info := trim(page, rows)
	integrations, err := integrationsOf(rows)
	return integrations, info, err
}

// CountIntegrations counts an account's integrations, up to CountLimit.
func (d *DB) CountIntegrations(ctx context.Context, accountID string) (int, error) {
	return d.count(ctx, `select 1 from integrations where account_id = $1 and deleted_at is null`, accountID)
}

// IntegrationHealth tells for each of these integrations what the newest attempt of
// an action, or a newer test, came to. What failed on Platen's own side says nothing
// about the integration. A scope of test documents does not learn of live ones.
func (d *DB) IntegrationHealth(ctx context.Context, scope Scope, ids []string) (map[string]platen.Health, error) {
	var rows []struct {
		ID      string
		At      *time.Time
		Failure []byte
	}
	if err := d.db.SelectContext(ctx, &rows, `select i.id, coalesce(greatest(i.tested_at, a.attempted_at), i.tested_at, a.attempted_at) as at,
			case when a.attempted_at is null or i.tested_at > a.attempted_at then i.test_failure else a.failure end as failure
		from integrations i left join lateral (select attempted_at, failure from actions
			where account_id = i.account_id and integration_id = i.id and attempted_at is not null
				and (failure is null or failure->>'stage' = 'DELIVER') and (`+visibleAction+` or not $3)
			order by attempted_at desc limit 1) a on true
		where i.account_id = $1 and i.id = any($2)`, scope.AccountID, pq.Array(ids), scope.TestOnly); err != nil {
		return nil, err
	}
	health := make(map[string]platen.Health, len(rows))
	for _, row := range rows {
		h := platen.Health{State: platen.HealthUnknown, CheckedAt: row.At}
		if err := failureFrom(row.Failure, &h.Failure); err != nil {
			return nil, err
		}
		switch {
		case h.Failure != nil:
			h.State = platen.HealthFailing
		case row.At != nil:
			h.State = platen.HealthHealthy
		}
		health[row.ID] = h
	}
	return health, nil
}
