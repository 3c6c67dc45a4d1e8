package platen

import (
	"crypto/rand"
	"strings"
)

// Kind is the prefix of a public id; it names the type of the object (R1.1).
type Kind string

// The kinds of objects with a public id.
const (
	KindAccount         Kind = "acc"
	KindAPIToken        Kind = "tok"
	KindTemplate        Kind = "tpl"
	KindTemplateVersion Kind = "tpv"
	KindSubmission      Kind = "sub"
	KindBatch           Kind = "bat"
	KindCombined        Kind = "com"
	KindUpload          Kind = "upl"
	KindAction          Kind = "act"
	KindIntegration     Kind = "int"
)

// idLength is the number of random characters after the prefix: 18 of 62, 107 bits.
const idLength = 18

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// NewID makes a public id: the prefix, an underscore and 18 random characters of
// 0-9 A-Z a-z from a cryptographic source.
func NewID(kind Kind) string {
	return string(kind) + "_" + RandomString(idLength)
}

// RandomString returns n characters of 0-9 A-Z a-z, each drawn evenly from a
// cryptographic source.
func RandomString(n int) string {
	out := make([]byte, 0, n)
	buf := make([]byte, n+n/2)
	for len(out) < n {
		rand.Read(buf) // never fails since Go 1.24: it ends the program instead
		for _, b := range buf {
			// 248 is the largest multiple of 62 below 256: what lies above would
			// make some characters likelier than others.
			if b < 248 && len(out) < n {
				out = append(out, base62[b%62])
			}
		}
	}
	return string(out)
}

// KindOf returns the kind that an id's prefix names, or "" if the id has not the
// form of a public id.
func KindOf(id string) Kind {
	prefix, rest, ok := strings.Cut(id, "_")
	if !ok || len(rest) != idLength || strings.Trim(rest, base62) != "" {
		return ""
	}
	return Kind(prefix)
}
