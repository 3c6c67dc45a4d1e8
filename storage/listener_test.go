package storage_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
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

// Who gives up waiting for a server that takes what it is sent and answers nothing is let go at once, and may
// close what he has.
func TestR9_1AListenerOfAMuteServerCanBeGivenUp(t *testing.T) {
	t.Parallel()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var calls sync.WaitGroup
	t.Cleanup(func() { server.Close(); calls.Wait() })
	calls.Go(func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			calls.Go(func() {
				defer conn.Close()
				// https://www.postgresql.org/docs/15/protocol-message-formats.html: AuthenticationOk, ReadyForQuery.
				if _, err := conn.Write([]byte("R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I")); err == nil {
					_, _ = io.Copy(io.Discard, conn)
				}
			})
		}
	})
	db, err := storage.Unasked("postgres://a@" + server.Addr().String() + "/a?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, call := range []struct {
		what string
		do   func(ctx context.Context) error
	}{
		{"a new one that listens", func(ctx context.Context) error { _, err := db.Listen(ctx, "a"); return err }},
		{"one that listens to more", func(ctx context.Context) error {
			listener, err := db.Listen(ctx)
			if err != nil {
				return err
			}
			defer listener.Close()
			return listener.Listen(ctx, "a")
		}},
		{"one that asks", func(ctx context.Context) error {
			listener, err := db.Listen(ctx)
			if err != nil {
				return err
			}
			defer listener.Close()
			return listener.Ping(ctx)
		}},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		ended := make(chan error, 1)
		go func() { ended <- call.do(ctx) }()
		select {
		case err := <-ended:
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", call.what, err)
			}
		case <-time.After(30 * time.Second):
			t.Errorf("%s waits for ever", call.what)
		}
		cancel()
	}
}
