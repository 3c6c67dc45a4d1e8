package feed

import (
	"testing"

	"platen"
	"platen/storage"
)

func FuzzAFeedsCursorIsReadAsItWasWritten(f *testing.F) {
	f.Add(encode("epoch", platen.Cursor{XID: 1, ID: 2}))
	for _, seed := range []string{"", "!", "IDEgLTE", "ZSAxIDIgMw", "ZSA5OTk5OTk5OTk5OTk5OTk5OTk5OSAx"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		epoch, position, err := decode(cursor)
		if err != nil {
			if err != storage.ErrCursor {
				t.Errorf("%q: %v", cursor, err)
			}
			return
		}
		if position.ID < 0 || position.XID > 1<<63-1 {
			t.Errorf("%q is %+v", cursor, position)
		}
		if again, same, err := decode(encode(epoch, position)); err != nil || again != epoch || same != position {
			t.Errorf("%q %+v comes back as %q %+v, %v", epoch, position, again, same, err)
		}
	})
}
