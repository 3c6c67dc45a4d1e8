// Package blob keeps Platen's own copies of finished files: in a folder, or in a
// bucket of the operator's. A blob is written once under a key of its own and never
// changed; which key counts is for the row in the database to say.
package blob

import (
	"context"
	"errors"
	"io"
	"time"
)

// ErrNotFound says that there is no blob under a key.
var ErrNotFound = errors.New("no such blob")

// Store is where blobs are kept. A blob is there, whole and durable, when Put
// returns nil; before that, nobody sees any of it.
type Store interface {
	// Put stores size bytes of body under key. body may be read more than once.
	Put(ctx context.Context, key string, body io.ReadSeeker, size int64, contentType string) error
	// Open returns the blob, or ErrNotFound. The reader seeks without reading what
	// lies between, and must be closed. ctx bounds all reading from it.
	Open(ctx context.Context, key string) (io.ReadSeekCloser, error)
	// Delete removes a blob; one that is not there is no error.
	Delete(ctx context.Context, key string) error
	// List calls f for each blob that was written before an instant, until f fails.
	List(ctx context.Context, before time.Time, f func(key string) error) error
	// Check tells whether the store can be used; it leaves nothing behind.
	Check(ctx context.Context) error
}
