// Package scalar reads and writes the schema's own scalars. It is apart from the
// resolvers because the generated code imports it.
package scalar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/99designs/gqlgen/graphql"
)

// Error says what is wrong with a value that a client sent; it is fit to be shown.
type Error struct{ message string }

func (e *Error) Error() string { return e.message }

func invalid(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// MarshalDateTime writes an instant in UTC with milliseconds.
func MarshalDateTime(t time.Time) graphql.Marshaler {
	return graphql.WriterFunc(func(w io.Writer) {
		_, _ = w.Write(t.UTC().AppendFormat(make([]byte, 0, 32), `"2006-01-02T15:04:05.000Z"`))
	})
}

// UnmarshalDateTime reads RFC 3339, with any offset and any number of digits.
func UnmarshalDateTime(v any) (time.Time, error) {
	text, ok := v.(string)
	if !ok {
		return time.Time{}, invalid("a DateTime is a string such as 2026-11-22T10:15:30.000Z")
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, invalid("%q is not a DateTime such as 2026-11-22T10:15:30.000Z", text)
	}
	return t, nil
}

// MarshalJSON writes the value as it was stored.
func MarshalJSON(m json.RawMessage) graphql.Marshaler {
	return graphql.WriterFunc(func(w io.Writer) {
		if len(m) == 0 {
			m = json.RawMessage("null")
		}
		_, _ = w.Write(m)
	})
}

// UnmarshalJSON keeps a value's JSON text. Numbers that came through variables are
// json.Number here and keep their digits.
func UnmarshalJSON(v any) (json.RawMessage, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, invalid("not a JSON value: %v", err)
	}
	return bytes.TrimSpace(buf.Bytes()), nil
}

// MarshalURL writes an address.
func MarshalURL(s string) graphql.Marshaler { return graphql.MarshalString(s) }

// UnmarshalURL reads an address as it was written. What makes use of it says what is
// wrong with it, as a userError at its place and together with all other mistakes.
func UnmarshalURL(v any) (string, error) {
	text, ok := v.(string)
	if !ok {
		return "", invalid("a URL is a string")
	}
	return text, nil
}
