package storage

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Page asks for a part of a list: the First rows after After, or the Last rows
// before Before. Exactly one of First and Last is above zero.
type Page struct {
	First, Last   int
	After, Before string
}

// PageInfo tells where a part of a list stands in the whole.
type PageInfo struct{ HasNext, HasPrevious bool }

// Part is a part of one of several lists that are read at once.
type Part[T any] struct {
	Rows []T
	Info PageInfo
}

// parts sorts the rows of several lists, each in its order and with one row too many
// where there are more, by their lists.
func parts[T any](p Page, rows []T, list func(T) string) map[string]Part[T] {
	of := map[string]Part[T]{}
	for _, row := range rows {
		part := of[list(row)]
		part.Rows = append(part.Rows, row)
		of[list(row)] = part
	}
	for list, part := range of {
		part.Rows, part.Info = trim(p, part.Rows)
		of[list] = part
	}
	return of
}

// CountLimit is where counting the rows of a list stops.
const CountLimit = 10_000

// ErrCursor says that a cursor is not one that a list gave out.
var ErrCursor = errors.New("the cursor is not one that a list gave out")

// Cursor is a position in a list that is ordered by time and id. Rows that come
// or go do not move it.
func Cursor(at time.Time, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(at.UnixMicro(), 10) + " " + id))
}

func parseCursor(cursor string) (at time.Time, id string, err error) {
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return at, "", ErrCursor
	}
	micros, id, ok := strings.Cut(string(text), " ")
	n, err := strconv.ParseInt(micros, 10, 64)
	// The bounds are those of a timestamp that people could mean: 1970 to 9999.
	if !ok || err != nil || n < 0 || n > 253402300799999999 || !utf8.ValidString(id) || strings.IndexByte(id, 0) >= 0 {
		return at, "", ErrCursor
	}
	return time.UnixMicro(n).UTC(), id, nil
}

// clause is the tail of a list's statement: the condition of the cursor, the order
// and the limit, for a list that is newest first by the columns at and id. One row
// more than asked is read, to know whether there are more.
func (p Page) clause(args []any, at, id string) (string, []any, error) {
	var b strings.Builder
	bound := func(op, cursor string) error {
		if cursor == "" {
			return nil
		}
		when, which, err := parseCursor(cursor)
		if err != nil {
			return err
		}
		args = append(args, when, which)
		fmt.Fprintf(&b, " and (%s, %s) %s ($%d, $%d)", at, id, op, len(args)-1, len(args))
		return nil
	}
	if err := errors.Join(bound("<", p.After), bound(">", p.Before)); err != nil {
		return "", nil, ErrCursor
	}
	return b.String() + p.order(at, id), args, nil
}

// order is the order and the limit of clause alone.
func (p Page) order(at, id string) string {
	return p.direction(at, id) + fmt.Sprintf(" limit %d", max(p.First, p.Last)+1)
}

// direction is the order alone.
func (p Page) direction(at, id string) string {
	direction := "desc"
	if p.Last > 0 {
		direction = "asc"
	}
	return fmt.Sprintf(" order by %[1]s %[3]s, %[2]s %[3]s", at, id, direction)
}

// trim cuts the one row too many, puts the rows into the list's order, and tells
// where they stand.
func trim[T any](p Page, rows []T) ([]T, PageInfo) {
	limit := max(p.First, p.Last)
	more := len(rows) > limit
	if more {
		rows = rows[:limit]
	}
	if p.Last > 0 {
		for i, j := 0, len(rows)-1; i < j; i, j = i+1, j-1 {
			rows[i], rows[j] = rows[j], rows[i]
		}
		return rows, PageInfo{HasPrevious: more, HasNext: p.Before != ""}
	}
	return rows, PageInfo{HasNext: more, HasPrevious: p.After != ""}
}
