package storage

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func FuzzACursorIsOneThatAListCouldGiveOut(f *testing.F) {
	f.Add(Cursor(time.UnixMicro(1), "sub_x"))
	for _, seed := range []string{"", "!", "MQ", "LTEgeA", "MSAA", "OTk5OTk5OTk5OTk5OTk5OTk5IHg"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		at, id, err := parseCursor(cursor)
		if err != nil {
			if err != ErrCursor {
				t.Errorf("%q: %v", cursor, err)
			}
			return
		}
		if at.Year() < 1970 || at.Year() > 9999 || !utf8.ValidString(id) || strings.Contains(id, "\x00") {
			t.Errorf("%q is %v %q", cursor, at, id)
		}
		if again, same, err := parseCursor(Cursor(at, id)); err != nil || !again.Equal(at) || same != id {
			t.Errorf("%v %q comes back as %v %q, %v", at, id, again, same, err)
		}
		clause, args, err := Page{First: 1, After: cursor}.clause([]any{"acc"}, "created_at", "id")
		if err != nil || len(args) != 3 || strings.Contains(clause, id) && len(id) > 10 {
			t.Errorf("%q: %s %v %v", cursor, clause, args, err)
		}
	})
}
