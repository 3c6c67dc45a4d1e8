package storage_test

import (
	"fmt"
	"testing"

	"platen/storage"
	"platen/storage/storagetest"
)

// alone is a database with one connection, whose prepared statements can be looked at.
func alone(t *testing.T) (db *storage.DB, prepared func() int) {
	t.Helper()
	db, err := storage.Open(t.Context(), storagetest.DSN(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db, func() (n int) {
		if err := db.SQL().QueryRowContext(t.Context(), `select count(*) from pg_prepared_statements`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
}

func TestAStatementIsPreparedOnceAndThoseOfAConnectionAreBounded(t *testing.T) {
	t.Parallel()
	db, prepared := alone(t)
	before := prepared()
	for n := range 20 {
		var got int
		if err := db.SQL().QueryRowContext(t.Context(), `select $1::integer + 1`, n).Scan(&got); err != nil || got != n+1 {
			t.Fatal(got, err)
		}
	}
	if n := prepared() - before; n != 1 {
		t.Errorf("%d statements are prepared for one that was sent twenty times", n)
	}
	for n := range 3 * storage.MaxStatements {
		if _, err := db.SQL().ExecContext(t.Context(), fmt.Sprintf(`select $1::integer + %d`, n), n); err != nil {
			t.Fatal(err)
		}
	}
	if n := prepared(); n != storage.MaxStatements {
		t.Errorf("%d statements are prepared, want %d", n, storage.MaxStatements)
	}
}

// A node of this version goes on while one of the next migrates the tables.
func TestAStatementThatAMigrationHasChangedIsPreparedAnew(t *testing.T) {
	t.Parallel()
	db, _ := alone(t)
	for name, change := range map[string]string{
		"a column more":     `alter table things add column more text`,
		"forgotten by name": `deallocate all`,
	} {
		exec := func(statement string) {
			t.Helper()
			if _, err := db.SQL().ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		exec(`create table things (id integer)`)
		exec(`insert into things values (1)`)
		read := func() error {
			rows, err := db.SQL().QueryContext(t.Context(), `select * from things where id = $1`, 1)
			if err != nil {
				return err
			}
			defer rows.Close()
			if !rows.Next() {
				return fmt.Errorf("no row: %v", rows.Err())
			}
			return rows.Err()
		}
		if err := read(); err != nil {
			t.Fatal(err)
		}
		exec(change)
		if err := read(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		exec(`drop table things`)
	}
}
