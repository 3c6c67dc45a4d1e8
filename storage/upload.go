package storage

import (
	"context"
	"database/sql"
	"time"

	"github.com/lib/pq"

	"platen"
)

type uploadRow struct {
	AccountID   string         `db:"account_id"`
	ID          string         `db:"id"`
	Test        bool           `db:"test"`
	Filename    string         `db:"filename"`
	ContentType string         `db:"content_type"`
	ByteSize    int64          `db:"byte_size"`
	SHA256      sql.NullString `db:"sha256"`
	PageCount   sql.NullInt32  `db:"page_count"`
	BlobKey     sql.NullString `db:"blob_key"`
	CreatedAt   time.Time      `db:"created_at"`
	ReceivedAt  *time.Time     `db:"received_at"`
	ExpiresAt   time.Time      `db:"expires_at"`
	ExpiredAt   *time.Time     `db:"expired_at"`
}

const uploadColumns = `account_id, id, test, filename, content_type, byte_size, sha256, page_count, blob_key, created_at, received_at, expires_at, expired_at`

func (r *uploadRow) upload() *platen.Upload {
	return &platen.Upload{AccountID: r.AccountID, ID: r.ID, Test: r.Test, Filename: r.Filename, ContentType: r.ContentType, ByteSize: r.ByteSize,
		SHA256: r.SHA256.String, PageCount: int(r.PageCount.Int32), BlobKey: r.BlobKey.String, CreatedAt: r.CreatedAt, ReceivedAt: r.ReceivedAt,
		ExpiresAt: r.ExpiresAt, ExpiredAt: r.ExpiredAt}
}

// CreateUpload inserts an upload whose bytes are still to come.
func (d *DB) CreateUpload(ctx context.Context, u *platen.Upload) error {
	return d.db.GetContext(ctx, &u.CreatedAt, `insert into uploads (account_id, id, test, filename, content_type, byte_size, sha256, expires_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8) returning created_at`, u.AccountID, u.ID, u.Test, u.Filename, u.ContentType, u.ByteSize,
		nullString(u.SHA256), u.ExpiresAt)
}

// Upload reads one upload in a scope.
func (d *DB) Upload(ctx context.Context, scope Scope, id string) (*platen.Upload, error) {
	return one(d.UploadsByID(ctx, scope, []string{id}))(id)
}

// UploadsByID reads those of these uploads that the scope has.
func (d *DB) UploadsByID(ctx context.Context, scope Scope, ids []string) (map[string]*platen.Upload, error) {
	var rows []*uploadRow
	if err := d.db.SelectContext(ctx, &rows, `select `+uploadColumns+` from uploads
		where account_id = $1 and id = any($2) and (test or not $3)`, scope.AccountID, pq.Array(ids), scope.TestOnly); err != nil {
		return nil, err
	}
	uploads := make(map[string]*platen.Upload, len(rows))
	for _, row := range rows {
		uploads[row.ID] = row.upload()
	}
	return uploads, nil
}

// ReceiveUpload notes that the bytes of an upload have arrived, where they are, and what
// they are. It returns ErrNotFound when they arrived before, or their time is over.
func (d *DB) ReceiveUpload(ctx context.Context, u *platen.Upload) error {
	err := d.db.GetContext(ctx, &u.ReceivedAt, `update uploads set received_at = clock_timestamp(), blob_key = $3, sha256 = $4, page_count = $5
		where account_id = $1 and id = $2 and received_at is null and expired_at is null returning received_at`,
		u.AccountID, u.ID, u.BlobKey, u.SHA256, nullInt(u.PageCount))
	return notFound(err)
}

// ExpireUploads forgets the bytes of at most limit uploads whose time is over, and
// returns the keys of what is to be deleted, after that, and how many uploads there were.
// One that a combined submission still waits to use keeps them until late.
func (d *DB) ExpireUploads(ctx context.Context, now, late time.Time, limit int) (blobs []string, count int, err error) {
	var keys []sql.NullString
	err = d.db.SelectContext(ctx, &keys, `with due as (select account_id, id, blob_key from uploads
			where expires_at < $1 and expired_at is null and (expires_at < $2 or not exists (select 1 from combined_sources as source join combined_submissions as whole
					on whole.account_id = source.account_id and whole.id = source.combined_submission_id
				where source.account_id = uploads.account_id and source.upload_id = uploads.id and whole.state = 'PENDING'))
			order by expires_at limit $3 for update skip locked)
		update uploads set expired_at = clock_timestamp(), blob_key = null from due
		where uploads.account_id = due.account_id and uploads.id = due.id returning due.blob_key`, now, late, limit)
	for _, key := range keys {
		if key.Valid {
			blobs = append(blobs, key.String)
		}
	}
	return blobs, len(keys), err
}
