package storage

import (
	"context"

	"platen"
)

// These are for the tests of what reading costs.
var MetadataPairs = metadataPairs

const (
	Batches       = batches
	MaxStatements = maxStatements
)

// SubmissionList is the statement of a page of submissions.
func (d *DB) SubmissionList(ctx context.Context, scope Scope, filter platen.SubmissionFilter, page Page) (string, []any, error) {
	chosen, err := d.chooseSubmissions(ctx, scope, filter)
	if err != nil {
		return "", nil, err
	}
	return chosen.list(page)
}

// Unasked is a database of which nobody knows whether it answers.
func Unasked(dsn string) (*DB, error) {
	db, connections, err := pool(dsn, 1)
	return &DB{db: db, connections: connections, dsn: platen.NewSecret(dsn)}, err
}
