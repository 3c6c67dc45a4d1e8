package storage

import (
	"context"

	"github.com/lib/pq"

	"platen"
)

const integrationColumns = `account_id, id, name, enabled, applies_to, access_key_id, secret, secret_set_at, region, bucket,
	endpoint, force_path_style, submission_path, test_submission_path, created_at, updated_at`

// CreateAWSS3Integration inserts an integration, its secret already encrypted.
func (t *Tx) CreateAWSS3Integration(ctx context.Context, i *platen.AWSS3Integration) error {
	return t.tx.GetContext(ctx, i, `insert into integrations (account_id, id, type, name, enabled, applies_to, access_key_id, secret,
			secret_set_at, region, bucket, endpoint, force_path_style, submission_path, test_submission_path)
		values ($1, $2, 'AWS_S3', $3, $4, $5, $6, $7, now(), $8, $9, $10, $11, $12, $13) returning `+integrationColumns,
		i.AccountID, i.ID, i.Name, i.Enabled, i.AppliesTo, i.AccessKeyID, i.Secret, i.Region, i.Bucket, i.Endpoint,
		i.ForcePathStyle, i.SubmissionPath, i.TestSubmissionPath)
}

// IntegrationsFor reads the enabled integrations of an account that are for a
// document of this environment. They are locked against deletion and change until
// the end of the transaction, so that the actions made of them hold.
func (t *Tx) IntegrationsFor(ctx context.Context, accountID string, test bool) ([]*platen.AWSS3Integration, error) {
	var all, covering []*platen.AWSS3Integration
	if err := t.tx.SelectContext(ctx, &all, `select `+integrationColumns+` from integrations
		where account_id = $1 and enabled order by created_at, id for share`, accountID); err != nil {
		return nil, err
	}
	for _, integration := range all {
		if integration.AppliesTo.Covers(test) {
			covering = append(covering, integration)
		}
	}
	return covering, nil
}

// IntegrationsByID reads those of these integrations that the account has.
func (d *DB) IntegrationsByID(ctx context.Context, accountID string, ids []string) (map[string]*platen.AWSS3Integration, error) {
	var rows []*platen.AWSS3Integration
	if err := d.db.SelectContext(ctx, &rows, `select `+integrationColumns+` from integrations where account_id = $1 and id = any($2)`, accountID, pq.Array(ids)); err != nil {
		return nil, err
	}
	integrations := make(map[string]*platen.AWSS3Integration, len(rows))
	for _, row := range rows {
		integrations[row.ID] = row
	}
	return integrations, nil
}

// Integration reads one integration of an account.
func (d *DB) Integration(ctx context.Context, accountID, id string) (*platen.AWSS3Integration, error) {
	return one(d.IntegrationsByID(ctx, accountID, []string{id}))(id)
}

// Integrations reads a part of an account's integrations.
func (d *DB) Integrations(ctx context.Context, accountID string, page Page) ([]*platen.AWSS3Integration, PageInfo, error) {
	tail, args, err := page.clause([]any{accountID})
	if err != nil {
		return nil, PageInfo{}, err
	}
	var rows []*platen.AWSS3Integration
	if err := d.db.SelectContext(ctx, &rows, `select `+integrationColumns+` from integrations where account_id = $1`+tail, args...); err != nil {
		return nil, PageInfo{}, err
	}
	rows, info := trim(page, rows)
	return rows, info, nil
}

// CountIntegrations counts an account's integrations, up to CountLimit.
func (d *DB) CountIntegrations(ctx context.Context, accountID string) (int, error) {
	return d.count(ctx, `select 1 from integrations where account_id = $1`, accountID)
}
