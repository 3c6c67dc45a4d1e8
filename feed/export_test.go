package feed

import (
	"context"
	"platen"
)

// Encode and Decode make and read cursors, as clients cannot.
var (
	Encode = encode
	Decode = decode
)

// Skip moves a hub to a position, as if all before it had been handed out.
func (h *Hub) Skip(to platen.Cursor) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.position = to
}

// Renew looks whether the history is still the same, as a hub does that was cut off.
func (h *Hub) Renew(ctx context.Context) error { return h.renew(ctx) }
