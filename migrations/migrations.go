// Package migrations holds the numbered SQL of the database and runs it, each
// script once, also when several nodes start at the same moment on one database.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/rivermigrate"
)

//go:embed *.sql
var scripts embed.FS

// RiverSchema is the PostgreSQL schema that holds the job engine's own tables.
const RiverSchema = "river"

// riverVersion is the job engine's migration that this release wants. A release
// with a newer one gets a migration of its own here.
const riverVersion = 7

// Version is the number of the newest script: the version of the tables that this
// release works with.
func Version() (newest int64) {
	names, _ := fs.Glob(scripts, "*.sql") // fails for a malformed pattern only
	for _, name := range names {
		number, _, _ := strings.Cut(name, "_")
		n, _ := strconv.ParseInt(number, 10, 64)
		newest = max(newest, n)
	}
	return newest
}

// Up brings the database to the present version. A session lock makes concurrent
// calls wait for one another. A database that is ahead, since nodes of the next release
// have begun to replace this one's, stays as it is.
func Up(ctx context.Context, db *sql.DB) error { return up(ctx, db, latest) }

// latest is above all versions.
var latest = goose.MaxVersion

func up(ctx context.Context, db *sql.DB, version int64) error {
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return err
	}
	// RunDB, not RunTx: River adds a value to an enum and uses it later, which one
	// transaction may not do (PostgreSQL error 55P04).
	river := goose.NewGoMigration(2, &goose.GoFunc{RunDB: migrateRiver}, nil)
	provider, err := goose.NewProvider(goose.DialectPostgres, db, scripts,
		goose.WithSessionLocker(locker), goose.WithGoMigrations(river), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	if _, err := provider.UpTo(ctx, version); err != nil {
		return fmt.Errorf("migrating the database: %w", err)
	}
	return nil
}

func migrateRiver(ctx context.Context, db *sql.DB) error {
	if _, err := db.ExecContext(ctx, `create schema if not exists `+RiverSchema); err != nil {
		return err
	}
	migrator, err := rivermigrate.New(riverdatabasesql.New(db), &rivermigrate.Config{Schema: RiverSchema})
	if err != nil {
		return err
	}
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, &rivermigrate.MigrateOpts{TargetVersion: riverVersion})
	return err
}
