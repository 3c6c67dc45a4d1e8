package storage_test

import (
	"errors"
	"testing"
	"time"

	"github.com/lib/pq"

	"platen/storage"
	"platen/storage/storagetest"
)

// A node that loses its connection as it begins to listen has to hear of it at once: it
// hears of nothing else until it connects anew.
func TestR7_2AListenerThatIsCutOffSaysSoToWhoListensAndToWhoWaits(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	listener, err := db.Listen(t.Context(), "early")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := listener.Listen(t.Context(), "early"); err != nil {
		t.Errorf("to listen twice: %v", err)
	}
	if _, err := db.SQL().ExecContext(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query ilike 'listen%'`); err != nil {
		t.Fatal(err)
	}
	for _, call := range []struct {
		what string
		do   func() error
	}{
		{"to wait", func() error { _, err := listener.Wait(t.Context()); return err }},
		{"to listen", func() error { return listener.Listen(t.Context(), "late") }},
	} {
		said := make(chan error, 1)
		go func() { said <- call.do() }()
		select {
		case err := <-said:
			var cause *pq.Error
			if !errors.As(err, &cause) || cause.Code != "57P01" { // admin_shutdown
				t.Errorf("%s after the connection was cut: %v", call.what, err)
			}
		case <-time.After(30 * time.Second):
			t.Errorf("%s says nothing after the connection was cut", call.what)
		}
	}
}

// A node knows its own nudges, of which it needs none: it has looked by then.
func TestR7_2ANudgeSaysWhoSentIt(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	listener, err := db.Listen(t.Context(), storage.EventChannel)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, name := range []string{"a", "b"} {
		if err := db.Nudge(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if n, err := listener.Wait(t.Context()); err != nil || n.Payload != name || n.Channel != storage.EventChannel {
			t.Errorf("the nudge of %s is %+v, %v", name, n, err)
		}
	}
}
