package storage_test

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"platen/embedpg"
	"platen/storage"
	"platen/storage/storagetest"
)

func epoch(t *testing.T, dsn string) (string, error) {
	t.Helper()
	db, err := storage.Open(t.Context(), dsn, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	return db.Epoch(t.Context())
}

func TestR7_3AFolderPutBackFromACopyHasAnotherHistory(t *testing.T) {
	t.Parallel()
	// Where the user that PostgreSQL runs as may pass, which t.TempDir is not.
	folder, err := os.MkdirTemp("", "platen-storage-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o711); err != nil {
		t.Fatal(err)
	}
	start := func(name string) string {
		t.Helper()
		server, err := embedpg.Start(t.Context(), embedpg.Options{Dir: filepath.Join(folder, name), Settings: map[string]string{"fsync": "off"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Stop() }) // where the test ended early
		dsn := server.DSN("postgres")
		db, err := storage.Open(t.Context(), dsn, 2)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		db.Close()
		name, err = epoch(t, dsn)
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Stop(); err != nil {
			t.Fatal(err)
		}
		return name
	}
	first := start("data")
	if again := start("data"); again != first {
		t.Error("a start is taken for another history")
	}
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", filepath.Join(folder, "data"), filepath.Join(folder, "copy")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if copied := start("copy"); copied == first {
		t.Error("a copy of the folder is taken for the same history")
	}
}

func TestWhatCannotBeAskedOfADatabaseMakesItNoOther(t *testing.T) {
	t.Parallel()
	dsn := storagetest.DSN(t)
	db, err := storage.Open(t.Context(), dsn, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	first, err := db.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	account, _, _ := storagetest.Account(t, db)
	storagetest.Submission(t, db, account.ID, false)
	// A function of that name in front of PostgreSQL's own, and what becomes of asking it.
	if _, err := db.SQL().ExecContext(t.Context(), `create schema front;
		create function front.pg_control_system(out system_identifier bigint) language plpgsql as
			$$ begin raise exception 'the disk is full' using errcode = 'disk_full'; end $$`); err != nil {
		t.Fatal(err)
	}
	if _, err := epoch(t, with(t, dsn, "-c search_path=front,pg_catalog,public")); err == nil || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("the fault is not told: %v", err)
	}
	if events := eventsOf(t, db, account.ID); events != 1 {
		t.Errorf("%d events are left", events)
	}
	if same, err := db.Epoch(t.Context()); err != nil || same != first {
		t.Errorf("the history is another one: %v", err)
	}
	// Whoever may not ask names the history without, and keeps to that.
	if _, err := db.SQL().ExecContext(t.Context(), `create or replace function front.pg_control_system(out system_identifier bigint) language plpgsql as
			$$ begin raise exception 'no' using errcode = 'insufficient_privilege'; end $$`); err != nil {
		t.Fatal(err)
	}
	less, err := epoch(t, with(t, dsn, "-c search_path=front,pg_catalog,public"))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := epoch(t, with(t, dsn, "-c search_path=front,pg_catalog,public")); err != nil || again != less {
		t.Errorf("%s, then %s, %v", less, again, err)
	}
}

// with is a database's address with options for its sessions.
func with(t *testing.T, dsn, options string) string {
	t.Helper()
	if !strings.Contains(dsn, "://") {
		return dsn + " options='" + options + "'"
	}
	address, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	query := address.Query()
	query.Set("options", options)
	address.RawQuery = query.Encode()
	return address.String()
}

func eventsOf(t *testing.T, db *storage.DB, accountID string) (n int) {
	t.Helper()
	if err := db.SQL().QueryRowContext(t.Context(), `select count(*) from events where account_id = $1`, accountID).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
