package pdf

import (
	"crypto/rand"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"
	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/unicode/rangetable"
)

// maxPassword is what PDF 2.0 takes, in bytes of UTF-8 (ISO 32000-2, 7.6.4.3.3).
const maxPassword = 127

// allAllowed is the permission entry of a file whose opener may do everything:
// all bits but the two lowest, which are reserved (ISO 32000-2, table 22).
const allAllowed = model.PermissionFlags(0xfffc)

// unseen are the letters, marks and signs that SASLprep drops or forbids: tables
// B.1, C.6 and C.7 of RFC 3454. What else those tables hold, and those of spaces
// and controls, is of other categories.
var unseen = rangetable.Merge(unicode.Variation_Selector, rangetable.New(0x034f, 0x1806, 0xfffc, 0xfffd), &unicode.RangeTable{
	R16: []unicode.Range16{{Lo: 0x2ff0, Hi: 0x2ffb, Stride: 1}},
})

// CheckPassword says what is wrong with a password, for the people who chose
// it; nil: it opens a protected file in every reader. The error never holds the
// password.
//
// PDF 2.0 has readers prepare what is typed with SASLprep (RFC 4013). Some do,
// and some take it as it is, so a password is refused that SASLprep would
// change or forbid: a file must open in all of them.
func CheckPassword(password string) error {
	switch {
	case password == "":
		return errors.New("a password has at least one character")
	case !utf8.ValidString(password):
		return errors.New("a password is text in UTF-8")
	case len(password) > maxPassword:
		return fmt.Errorf("a password has at most %d bytes in UTF-8; this has %d", maxPassword, len(password))
	case !norm.NFKC.IsNormalString(password):
		return errors.New("the password holds characters that PDF readers take in different ways, such as a letter and its accent apart, or a ligature; use plain letters")
	}
	for _, r := range password {
		if r != ' ' && (!unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S) || unicode.Is(unseen, r)) {
			return errors.New("the password holds a control character, an invisible character or a special space; use visible characters and plain spaces")
		}
	}
	if mixesDirections(password) {
		return errors.New("the password mixes scripts that are written from right to left with others, or has digits or signs at its end or start; PDF readers take that in different ways")
	}
	return nil
}

// mixesDirections is section 6 of RFC 3454.
func mixesDirections(password string) bool {
	var rightToLeft, leftToRight, edges bool
	for i, r := range password {
		properties, size := bidi.LookupRune(r)
		switch properties.Class() {
		case bidi.R, bidi.AL:
			rightToLeft = true
			continue
		case bidi.L:
			leftToRight = true
		}
		if i == 0 || i+size == len(password) {
			edges = true
		}
	}
	return rightToLeft && (leftToRight || edges)
}

// protect has pdfcpu encrypt the document while it writes it.
func protect(doc *model.Context, password []byte) {
	version := model.V20 // the version that has this encryption; earlier ones get an older, weaker hash
	doc.RootVersion = &version
	doc.Cmd = model.ENCRYPT
	doc.EncryptUsingAES, doc.EncryptKeyLength = true, 256
	doc.Permissions = allAllowed
	doc.UserPW = string(password)
	// Who knows the owner's password may do more than the permissions allow,
	// and they allow everything. An empty one would open the file to everybody.
	doc.OwnerPW = rand.Text()
}
