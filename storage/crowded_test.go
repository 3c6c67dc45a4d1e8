package storage_test

import (
	"strings"
	"sync"
	"testing"

	"platen"
	"platen/storage"
	"platen/storage/storagetest"
)

// A cluster shares the connections of one PostgreSQL: a node that gets fewer than it would
// like works with those, one after the other, and refuses nothing.
func TestAPoolMakesDoWithTheConnectionsThatItGets(t *testing.T) {
	t.Parallel()
	dsn := storagetest.DSN(t)
	admin, err := storage.Open(t.Context(), dsn, 1)
	if err != nil {
		t.Fatal(err)
	}
	role := "role_" + strings.ToLower(platen.RandomString(12))
	if _, err := admin.SQL().ExecContext(t.Context(), `create role `+role+` login connection limit 3`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.SQL().Exec(`drop role ` + role); err != nil {
			t.Error(err)
		}
		admin.Close()
	})
	db, err := storage.Open(t.Context(), dsn+" user="+role, 20)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var callers sync.WaitGroup
	for range 40 {
		callers.Go(func() {
			for range 5 {
				if _, err := db.SQL().ExecContext(t.Context(), `select pg_sleep(0.01)`); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	callers.Wait()
}
