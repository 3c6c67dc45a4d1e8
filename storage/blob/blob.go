// Package blob keeps Platen's own copies of finished files: in a folder, or in a
// bucket of the operator's. A blob is written once under a key of its own and never
// changed; which key counts is for the row in the database to say.
package blob

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"
)

// ErrNotFound says that there is no blob under a key.
var ErrNotFound = errors.New("no such blob")

// Store is where blobs are kept. A blob is there, whole and durable, when Put
// returns nil; before that, nobody sees any of it. A key is used once: a second Put
// under it may fail or replace the blob, and leaves a whole one in any case.
type Store interface {
	// Put stores size bytes of body under key. body may be read more than once, and is
	// read from its start.
	Put(ctx context.Context, key string, body io.ReadSeeker, size int64, contentType string) error
	// Open returns the blob, or ErrNotFound, which says that the store was reached and
	// has no such blob. The reader seeks without reading what lies between, and must be
	// closed. ctx bounds all reading from it. What cannot be read to its end is an error:
	// also where the blob is deleted meanwhile, unless the reader still has all of it.
	Open(ctx context.Context, key string) (io.ReadSeekCloser, error)
	// Delete removes a blob; one that is not there is no error.
	Delete(ctx context.Context, key string) error
	// List calls f for each blob that was written before an instant, until f fails.
	List(ctx context.Context, before time.Time, f func(key string) error) error
	// Check tells whether the store answers, for readiness, of which somebody asks all the
	// time: it costs one cheap call and leaves nothing behind. Probe tells more.
	Check(ctx context.Context) error
}

// Probe tries all that a Store is used for, on a blob of its own that it deletes. A store
// whose key may not write, or not delete, is better found at the start than with the first
// document, or as a bucket that grows for ever.
func Probe(ctx context.Context, s Store) error {
	key, content := "probe-"+rand.Text(), []byte("Platen tries whether it can write here.\n")
	if err := s.Put(ctx, key, bytes.NewReader(content), int64(len(content)), "text/plain"); err != nil {
		return fmt.Errorf("it cannot be written to: %w", err)
	}
	read := func() error {
		blob, err := s.Open(ctx, key)
		if err != nil {
			return fmt.Errorf("what was written cannot be read: %w", err)
		}
		defer blob.Close()
		got, err := io.ReadAll(blob)
		if err == nil && !bytes.Equal(got, content) {
			err = fmt.Errorf("it is %d other bytes", len(got))
		}
		if err != nil {
			return fmt.Errorf("what was written cannot be read: %w", err)
		}
		return nil
	}
	err := read()
	if deleteErr := s.Delete(context.WithoutCancel(ctx), key); deleteErr != nil {
		err = errors.Join(err, fmt.Errorf("what was written, %s, cannot be deleted: %w", key, deleteErr))
	}
	if err != nil {
		return err
	}
	if err := s.Check(ctx); err != nil {
		return fmt.Errorf("it cannot be listed: %w", err)
	}
	return nil
}
