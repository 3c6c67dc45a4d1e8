package pipeline

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"platen"
	"platen/sandbox"
	"platen/storage"
	"platen/storage/blob"
	"platen/storage/storagetest"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	os.Exit(storagetest.Main(m))
}

func TestCopiesThatNoDocumentNamesAreSweptAfterADay(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	account, _, _ := storagetest.Account(t, db)
	dir := t.TempDir()
	blobs, err := blob.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer blobs.Close()
	p, err := New(Options{DB: db, Blobs: blobs, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	named := storagetest.Submission(t, db, account.ID, false)
	orphan, young := blobKey(platen.NewID(platen.KindSubmission), 1, "pdf"), blobKey(platen.NewID(platen.KindSubmission), 12, "webp")
	kept := blobKey(named.ID, 1, "pdf")
	// What is not of our making is left alone, in the same folder or not.
	const photo, report = "family-photos/a.jpg", "sub_reports/1-2024.pdf"
	for _, key := range []string{orphan, young, kept, photo, report} {
		if err := blobs.Put(t.Context(), key, bytes.NewReader([]byte("x")), 1, "application/pdf"); err != nil {
			t.Fatal(err)
		}
		if key != young {
			past := time.Now().Add(-25 * time.Hour)
			if err := os.Chtimes(filepath.Join(dir, key), past, past); err != nil {
				t.Fatal(err)
			}
		}
	}
	now := time.Now()
	if err := db.InTx(t.Context(), func(tx *storage.Tx) error {
		s, err := tx.LockDocument(t.Context(), account.ID, named.ID)
		if err != nil {
			return err
		}
		d := s.Common()
		d.State, d.ProcessedAt = platen.DocumentProcessed, &now
		d.File = &platen.DocumentFile{ContentType: "application/pdf", ByteSize: 1, PageCount: 1, SHA256: strings.Repeat("0", 64), BlobKey: kept}
		return tx.FinishDocument(t.Context(), s, nil)
	}); err != nil {
		t.Fatal(err)
	}
	if err := (&housekeepWorker{pipeline: p}).Work(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for key, kept := range map[string]bool{orphan: false, young: true, kept: true, photo: true, report: true} {
		content, err := blobs.Open(t.Context(), key)
		if kept && err != nil || !kept && !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("%s: %v, kept should be %v", key, err, kept)
		}
		if err == nil {
			content.Close()
		}
	}
}
