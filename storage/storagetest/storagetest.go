// Package storagetest gives each test a fresh database on a real PostgreSQL.
package storagetest

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/lib/pq"

	"platen"
	"platen/embedpg"
	"platen/storage"
)

// template is the migrated database that every test's own is a copy of.
const template = "platen_template"

var (
	server *embedpg.Server
	admin  *sql.DB
	clone  sync.Mutex // PostgreSQL copies a database only while nobody uses it
)

// Main runs a package's tests with a PostgreSQL of their own, and stops it
// afterwards. It is called from TestMain.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "platen-test-*")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	// As root, PostgreSQL runs as another user, who has to reach its folder.
	if err := os.Chmod(dir, 0o711); err != nil {
		log.Fatal(err)
	}
	if err := start(filepath.Join(dir, "postgres")); err != nil {
		log.Print(err)
		return 1
	}
	defer func() {
		admin.Close()
		if err := server.Stop(); err != nil {
			log.Print(err)
		}
	}()
	return m.Run()
}

func start(dir string) (err error) {
	ctx := context.Background()
	// What a test writes need not survive a power cut. The time zone is one that
	// shows where an instant was taken for local time.
	server, err = embedpg.Start(ctx, embedpg.Options{Dir: dir, Settings: map[string]string{
		"fsync": "off", "full_page_writes": "off", "max_connections": "500", "timezone": "Canada/Newfoundland"}})
	if err != nil {
		return err
	}
	if admin, err = sql.Open("postgres", server.DSN("postgres")); err != nil {
		return err
	}
	if _, err = admin.Exec("create database " + template); err != nil {
		return err
	}
	db, err := storage.Open(ctx, server.DSN(template), 4)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Migrate(ctx)
}

// DSN makes a database for this test and returns its address; it is dropped when
// the test ends.
func DSN(t testing.TB) string { return create(t, template) }

// EmptyDSN is DSN for a database without tables.
func EmptyDSN(t testing.TB) string { return create(t, "template1") }

func create(t testing.TB, of string) string {
	t.Helper()
	name := strings.ToLower("test_" + platen.RandomString(12))
	clone.Lock()
	_, err := admin.Exec(fmt.Sprintf("create database %s template %s", pq.QuoteIdentifier(name), of))
	clone.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.Exec("drop database " + pq.QuoteIdentifier(name) + " with (force)"); err != nil {
			t.Error(err)
		}
	})
	return server.DSN(name)
}

// New opens a fresh, migrated database.
func New(t testing.TB) *storage.DB {
	t.Helper()
	db, err := storage.Open(t.Context(), DSN(t), 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// Account makes an account with a token of each environment.
func Account(t testing.TB, db *storage.DB) (account *platen.Account, live, test string) {
	t.Helper()
	account = &platen.Account{ID: platen.NewID(platen.KindAccount), Name: "Test account"}
	live, test = platen.NewTokenSecret(platen.Live), platen.NewTokenSecret(platen.Test)
	err := db.InTx(t.Context(), func(tx *storage.Tx) error {
		if err := tx.CreateAccount(t.Context(), account); err != nil {
			return err
		}
		for secret, environment := range map[string]platen.Environment{live: platen.Live, test: platen.Test} {
			token := &platen.APIToken{AccountID: account.ID, Name: string(environment), Environment: environment, Scope: platen.ScopeAdmin}
			if err := tx.CreateAPIToken(t.Context(), token, secret); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return account, live, test
}

// Submission makes a pending submission of HTML.
func Submission(t testing.TB, db *storage.DB, accountID string, test bool) *platen.Submission {
	t.Helper()
	s := &platen.Submission{Source: platen.SourceHTML, Output: platen.OutputPDF, Content: &platen.TemplateContent{HTML: "<p>Hello</p>", Page: platen.DefaultPageSettings()},
		Document: platen.Document{Record: platen.Record{AccountID: accountID, ID: platen.NewID(platen.KindSubmission), Test: test}, Metadata: []byte("{}")}}
	if err := db.InTx(t.Context(), func(tx *storage.Tx) error { return tx.CreateSubmissions(t.Context(), []*platen.Submission{s}) }); err != nil {
		t.Fatal(err)
	}
	return s
}
