package platen

import (
	"encoding/json"
	"time"
)

// MaxBatch is how many submissions one batch holds (R3.6).
const MaxBatch = 1000

// BatchState is where a batch is on its way.
type BatchState string

// The states of a batch.
const (
	BatchPending   BatchState = "PENDING"
	BatchProcessed BatchState = "PROCESSED" // every submission is PROCESSED
	BatchFailed    BatchState = "FAILED"    // none is PENDING any more, and at least one is not PROCESSED
)

// Batch is submissions that were made by one call, in one transaction (R3.6).
type Batch struct {
	AccountID string
	ID        string
	Test      bool
	Metadata  json.RawMessage // an object
	CreatedAt time.Time

	// How many submissions there are, and in which states. FAILED counts INVALID_DATA
	// as well.
	Total, Processed, Failed int
	// ProcessedAt is when the last submission left PENDING; nil before.
	ProcessedAt *time.Time
}

// Pending is how many submissions are still PENDING.
func (b *Batch) Pending() int { return b.Total - b.Processed - b.Failed }

// State is that of all submissions together.
func (b *Batch) State() BatchState {
	switch {
	case b.Pending() > 0:
		return BatchPending
	case b.Failed > 0:
		return BatchFailed
	}
	return BatchProcessed
}

// Revision grows with every submission that leaves PENDING, which none enters again.
func (b *Batch) Revision() int { return 1 + b.Processed + b.Failed }
