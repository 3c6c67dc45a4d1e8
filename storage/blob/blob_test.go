package blob

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"platen/delivery/s3test"
)

// testStore is the contract of a Store (house rule 11): every implementation runs it.
func testStore(t *testing.T, store Store) {
	ctx := t.Context()
	content := make([]byte, 300_000)
	rand.Read(content)
	put := func(t *testing.T, key string) {
		t.Helper()
		if err := store.Put(ctx, key, bytes.NewReader(content), int64(len(content)), "application/pdf"); err != nil {
			t.Fatal(err)
		}
	}

	t.Run("what was put is read back whole and from any offset", func(t *testing.T) {
		put(t, "sub_a/1-x.pdf")
		blob, err := store.Open(ctx, "sub_a/1-x.pdf")
		if err != nil {
			t.Fatal(err)
		}
		defer blob.Close()
		if size, err := blob.Seek(0, io.SeekEnd); err != nil || size != int64(len(content)) {
			t.Fatalf("size %d, %v", size, err)
		}
		for _, offset := range []int64{0, 1, 150_000, int64(len(content)) - 1} {
			if _, err := blob.Seek(offset, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(blob)
			if err != nil || !bytes.Equal(got, content[offset:]) {
				t.Errorf("from %d: %d bytes, %v", offset, len(got), err)
			}
		}
	})
	t.Run("a blob that is not there is ErrNotFound", func(t *testing.T) {
		if _, err := store.Open(ctx, "sub_none/1.pdf"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Open = %v", err)
		}
		if err := store.Delete(ctx, "sub_none/1.pdf"); err != nil {
			t.Errorf("Delete = %v", err)
		}
	})
	t.Run("a wrong size stores nothing", func(t *testing.T) {
		if err := store.Put(ctx, "sub_short/1.pdf", bytes.NewReader(content), int64(len(content))+1, "application/pdf"); err == nil {
			t.Fatal("no error")
		}
		if _, err := store.Open(ctx, "sub_short/1.pdf"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Open = %v", err)
		}
	})
	t.Run("a cancelled write stores nothing", func(t *testing.T) {
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		if err := store.Put(cancelled, "sub_cancelled/1.pdf", bytes.NewReader(content), int64(len(content)), "application/pdf"); err == nil {
			t.Fatal("no error")
		}
		if _, err := store.Open(ctx, "sub_cancelled/1.pdf"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Open = %v", err)
		}
	})
	t.Run("listing shows what is old enough, deleting removes it", func(t *testing.T) {
		put(t, "sub_old/1-y.pdf")
		list := func(before time.Time) map[string]bool {
			keys := map[string]bool{}
			if err := store.List(ctx, before, func(key string) error { keys[key] = true; return nil }); err != nil {
				t.Fatal(err)
			}
			return keys
		}
		if list(time.Now().Add(-time.Hour))["sub_old/1-y.pdf"] {
			t.Error("a new blob is listed as an old one")
		}
		if !list(time.Now().Add(time.Hour))["sub_old/1-y.pdf"] {
			t.Error("the blob is not listed")
		}
		if err := store.Delete(ctx, "sub_old/1-y.pdf"); err != nil {
			t.Fatal(err)
		}
		if list(time.Now().Add(time.Hour))["sub_old/1-y.pdf"] {
			t.Error("the blob is listed after it was deleted")
		}
	})
	t.Run("the store says that it works", func(t *testing.T) {
		if err := store.Check(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestFolder(t *testing.T) {
	t.Parallel()
	folder, err := OpenFolder(filepath.Join(t.TempDir(), "documents"))
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	testStore(t, folder)
}

func TestS3(t *testing.T) {
	t.Parallel()
	server := s3test.New(t).Own()
	server.CreateBucket("own-copies", "us-east-1")
	server.AddKey("AKOWN", "secret", s3test.Policy{Put: []string{"own-copies"}, Get: []string{"own-copies"}, Delete: []string{"own-copies"}, List: []string{"own-copies"}})
	testStore(t, OpenS3(S3Options{Bucket: "own-copies", Prefix: "platen/", Region: "us-east-1", Endpoint: server.URL, PathStyle: true,
		AccessKeyID: "AKOWN", SecretAccessKey: "secret"}))
}

func TestAFolderIsPrivateAndForgetsInterruptedWrites(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "documents")
	folder, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := folder.Put(t.Context(), "sub_a/1.pdf", bytes.NewReader([]byte("x")), 1, "application/pdf"); err != nil {
		t.Fatal(err)
	}
	folder.Close()
	old, young := filepath.Join(dir, "sub_a", asidePrefix+"old.pdf"), filepath.Join(dir, "sub_a", asidePrefix+"young.pdf")
	for _, name := range []string{old, young} {
		if err := os.WriteFile(name, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	if folder, err = OpenFolder(dir); err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an interrupted write was kept: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("a write that may still go on was removed: %v", err)
	}
	for name, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "sub_a"): 0o700, filepath.Join(dir, "sub_a", "1.pdf"): 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	if _, err := folder.Open(t.Context(), "../secret"); err == nil {
		t.Error("a key led out of the folder")
	}
	_ = fmt.Sprint
}
