package platen

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a text that prints as ***, with whatever verb, in JSON and in logs. What needs
// it says so: Reveal.
//
// It holds the text by its address, as no package that prints can call the methods of a
// field whose name is not exported; of such a field fmt prints the address.
type Secret struct{ text *string }

// NewSecret keeps a text from being printed; "" is no secret.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal is the text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// String tells only whether there is a secret.
func (s Secret) String() string {
	if s.text == nil {
		return ""
	}
	return "***"
}

// Format implements fmt.Formatter, for all verbs.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements encoding.TextMarshaler, for JSON and others.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
