package main

import (
	"fmt"
	"syscall"
	"testing"
)

// The next migration is played: it adds what migrations may add, see migrations_test.go of
// the room migrations. This release is the version before then.
func TestR9_1ANodeOfTheVersionBeforeWorksWhileTheNextMigratesAndStartsAfterwards(t *testing.T) {
	t.Parallel()
	const token = "live-token-of-the-version-before"
	environ := cluster(t, token)
	p := startProgram(t, emptyFolder(t), environ...)
	c := &client{t: t, base: p.baseURL, live: token}
	kept := c.submit(vars{"html": "<p>before</p>"})

	migrated := make(chan error, 1)
	go func() {
		for _, statement := range []string{
			`alter table submissions add column next_text text, add column next_time timestamptz not null default now()`,
			`alter table actions add column next_number bigint not null default 0`,
			`create table next_things (id text primary key, submission_id text not null)`,
			`create index concurrently next_index on submissions (account_id, next_text)`,
			`insert into goose_db_version (version_id, is_applied) select max(version_id) + 1, true from goose_db_version`,
		} {
			if _, err := p.db.SQL().ExecContext(t.Context(), statement); err != nil {
				migrated <- fmt.Errorf("%s: %w", statement, err)
				return
			}
		}
		migrated <- nil
	}()
	var ids []string
	for done := false; !done || len(ids) < 5; {
		ids = append(ids, c.create(token, vars{"html": fmt.Sprint("<p>", len(ids), "</p>")}))
		select {
		case err := <-migrated:
			if done = true; err != nil {
				t.Fatal(err)
			}
		default:
		}
	}
	for _, id := range ids {
		if doc := c.final(id); doc.State != "PROCESSED" {
			t.Errorf("%v", doc)
		}
	}
	again := serveProcess(t, emptyFolder(t), environ...)
	ready(t, again)
	c.base = again.base
	if doc := c.submission(kept.ID); doc.State != "PROCESSED" {
		t.Errorf("%v", doc)
	}
	if doc := c.submit(vars{"html": "<p>after</p>"}); doc.State != "PROCESSED" {
		t.Errorf("%v", doc)
	}
	again.stop(syscall.SIGTERM)
}
