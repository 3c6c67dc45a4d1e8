package platen

import "time"

// Event is one committed change of a subject or of one of its actions. It shows the
// subject, with all its actions, as that change left it.
type Event struct {
	Cursor    Cursor
	AccountID string
	SubjectID string
	ActionID  string // "" when the subject itself changed
	Test      bool
	At        time.Time
	Subject   Subject // with its actions; without its content and data
}

// Cursor is a position in the account's history: the transaction that wrote an
// event, and the event within it. Events are read in this order, which is the
// order in which they become visible.
type Cursor struct {
	XID uint64 // of PostgreSQL (xid8)
	ID  int64
}

// After tells whether c lies later than other.
func (c Cursor) After(other Cursor) bool {
	return c.XID > other.XID || c.XID == other.XID && c.ID > other.ID
}

// ResetReason is why a feed ends although there is more to come.
type ResetReason string

// The reasons.
const (
	// ResetCursorExpired says that the position asked for is no longer in the history.
	ResetCursorExpired ResetReason = "CURSOR_EXPIRED"
	// ResetTooSlow says that too much waited for the reader.
	ResetTooSlow ResetReason = "TOO_SLOW"
)
