package storage_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/lib/pq"

	"platen/embedpg"
	"platen/storage"
	"platen/storage/storagetest"
)

func TestPostgreSQLsProgramsReachTheSameDatabase(t *testing.T) {
	t.Parallel()
	config, err := pq.NewConfig(storagetest.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	tools, err := embedpg.FindTools(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	// A socket's folder has no place in the host of an address.
	address := "postgres://" + config.User + ":pass%20word@/" + config.Database + "?sslmode=disable&application_name=x&host=" + url.QueryEscape(config.Host)
	for _, dsn := range []string{address, "host=" + config.Host + " user=" + config.User + " dbname=" + config.Database + " password='pass word' sslmode=disable search_path=public"} {
		db, err := storage.Open(t.Context(), dsn, 2)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		env, err := db.ToolEnvironment()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(env, "PGPASSWORD=pass word") || !slices.Contains(env, "PGSSLMODE=disable") {
			t.Errorf("%q", env)
		}
		dump := tools.Command(t.Context(), "pg_dump", env, "--schema-only")
		if strings.Contains(strings.Join(dump.Args, " "), "pass word") {
			t.Error("the password is among the arguments")
		}
		if out, err := dump.CombinedOutput(); err != nil || !strings.Contains(string(out), "CREATE TABLE public.submissions") {
			t.Errorf("%v: %.500s", err, out)
		}
	}
}

func TestASnapshotNamesTheCopiesOfItsMomentAndHoldsUpNoFeed(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	account, _, _ := storagetest.Account(t, db)
	process := func() string {
		t.Helper()
		s := storagetest.Submission(t, db, account.ID, false)
		key := s.ID + "/1-abcdefgh.pdf"
		if _, err := db.SQL().ExecContext(t.Context(), `update submissions set state = 'PROCESSED', processed_at = now(), content_type = 'application/pdf', byte_size = 7,
			page_count = 1, sha256 = 'hash', blob_key = $2 where id = $1`, s.ID, key); err != nil {
			t.Fatal(err)
		}
		return key
	}
	first := process()
	snapshot, err := db.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	process()
	var got []storage.Copy
	if err := snapshot.Copies(t.Context(), func(c storage.Copy) error { got = append(got, c); return nil }); err != nil {
		t.Fatal(err)
	}
	if want := []storage.Copy{{Key: first, ContentType: "application/pdf", ByteSize: 7, SHA256: "hash"}}; !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	// pg_dump joins in, and sees what the snapshot sees.
	tools, err := embedpg.FindTools(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	env, err := db.ToolEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	out, err := tools.Command(t.Context(), "pg_dump", env, "--data-only", "--table=submissions", "--inserts", "--snapshot="+snapshot.ID).CombinedOutput()
	if n := strings.Count(string(out), "INSERT INTO"); err != nil || n != 1 {
		t.Errorf("%d rows, %v: %.500s", n, err, out)
	}
	// Feeds wait for transactions with a number: see ARCHITECTURE.md on the order of events.
	var numbered int
	if err := db.SQL().QueryRowContext(t.Context(), `select count(*) from pg_stat_activity where datname = current_database() and backend_xid is not null`).Scan(&numbered); err != nil || numbered != 0 {
		t.Errorf("%d transactions hold up feeds, %v", numbered, err)
	}
}

func TestADatabaseSaysWhatItIs(t *testing.T) {
	t.Parallel()
	open := func(dsn string) *storage.DB {
		t.Helper()
		db, err := storage.Open(t.Context(), dsn, 2)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	}
	empty := open(storagetest.EmptyDSN(t))
	if i, err := empty.Installation(t.Context()); err != nil || i.Tables || i.Schema != 0 || i.Major < 13 || !strings.HasPrefix(i.Server, "1") {
		t.Errorf("an empty one: %+v, %v", i, err)
	}
	if i, err := open(storagetest.DSN(t)).Installation(t.Context()); err != nil || !i.Tables || i.Schema != storage.SchemaVersion() || i.KeyCheck != nil {
		t.Errorf("Platen's: %+v, %v", i, err)
	}
	if _, err := empty.SQL().ExecContext(t.Context(), `create schema strangers; create table strangers.t ()`); err != nil {
		t.Fatal(err)
	}
	if i, err := empty.Installation(t.Context()); err != nil || !i.Tables || i.Schema != 0 {
		t.Errorf("a stranger's: %+v, %v", i, err)
	}
}
