package pipeline

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"platen"
	"platen/keyring"
	"platen/pdf"
	"platen/storage"
	"platen/storage/blob"
	"platen/storage/storagetest"
)

// slowStore is a store that lets nothing in before it is opened.
type slowStore struct {
	blob.Store
	putting chan struct{}
	open    chan struct{}
}

func (s *slowStore) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, contentType string) error {
	s.putting <- struct{}{}
	<-s.open
	return s.Store.Put(ctx, key, body, size, contentType)
}

// receiver is a pipeline that takes uploads, with an account.
func receiver(t *testing.T, wrap func(blob.Store) blob.Store) (*Pipeline, storage.Scope) {
	t.Helper()
	db := storagetest.New(t)
	account, _, _ := storagetest.Account(t, db)
	folder, err := blob.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	keys, err := keyring.LoadOrCreate(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	tool, err := pdf.New(pdf.Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tool.Close() })
	p, err := New(Options{DB: db, Blobs: wrap(folder), Keyring: keys, PDF: tool, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return p, storage.Scope{AccountID: account.ID}
}

// brought announces the bytes of a PDF, and returns what puts them.
func brought(t *testing.T, p *Pipeline, scope storage.Scope, content []byte) func() (*platen.Upload, error) {
	t.Helper()
	u, err := p.CreateUpload(t.Context(), scope, &platen.Upload{Filename: "a.pdf", ContentType: "application/pdf", ByteSize: int64(len(content))})
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(p.UploadURL(u))
	if err != nil {
		t.Fatal(err)
	}
	return func() (*platen.Upload, error) {
		return p.Receive(t.Context(), address.Path, address.Query().Get("signature"), int64(len(content)), bytes.NewReader(content))
	}
}

func invoice(t *testing.T) []byte {
	t.Helper()
	content, err := os.ReadFile("../pdf/testdata/invoice.pdf")
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestFewUploadsAreInMemoryAtATime(t *testing.T) {
	t.Parallel()
	var store *slowStore
	p, scope := receiver(t, func(folder blob.Store) blob.Store {
		store = &slowStore{folder, make(chan struct{}, 10), make(chan struct{})}
		return store
	})
	var wg sync.WaitGroup
	for range receipts + 3 {
		put := brought(t, p, scope, invoice(t))
		wg.Go(func() {
			if _, err := put(); err != nil {
				t.Error(err)
			}
		})
	}
	for range receipts {
		<-store.putting
	}
	select {
	case <-store.putting:
		t.Errorf("more than %d uploads are in memory", receipts)
	case <-time.After(time.Second):
	}
	close(store.open)
	wg.Wait()
}

// What the database did before an error came is not known: the row may name the copy.
func TestTheCopyOfAnUploadStaysWhenNobodyKnowsWhetherItIsNamed(t *testing.T) {
	t.Parallel()
	p, scope := receiver(t, func(folder blob.Store) blob.Store { return folder })
	put := brought(t, p, scope, invoice(t))
	if _, err := p.DB.SQL().ExecContext(t.Context(), `create function refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$;
		create trigger refuse before update on uploads for each row execute function refuse()`); err != nil {
		t.Fatal(err)
	}
	if _, err := put(); err == nil {
		t.Fatal("it was taken")
	}
	copies := 0
	if err := p.Blobs.List(t.Context(), time.Now().Add(time.Hour), func(string) error { copies++; return nil }); err != nil || copies != 1 {
		t.Errorf("%d copies are left for the sweep, %v", copies, err)
	}
}

// full is a disk without space.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestAFullDiskIsNotTheCallersMistake(t *testing.T) {
	t.Parallel()
	u := &platen.Upload{ByteSize: 4}
	var mistake *platen.Error
	if err := take(u, strings.NewReader("%PDF"), full{}); errors.As(err, &mistake) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the disk is full: %v", err)
	}
	if err := take(u, io.MultiReader(strings.NewReader("%P"), iotest.ErrReader(io.ErrUnexpectedEOF)), io.Discard); !errors.As(err, &mistake) {
		t.Errorf("the bytes broke off: %v", err)
	}
}
