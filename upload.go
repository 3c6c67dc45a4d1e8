package platen

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Upload is a PDF that a caller brings: its bytes are put to a signed address, and it is
// then named as a source of combined submissions (R4.1).
type Upload struct {
	AccountID string
	ID        string
	// Test says that a test token made it: such a token sees no other.
	Test        bool
	Filename    string
	ContentType string
	ByteSize    int64
	SHA256      string // hex; as it was declared, or as it arrived; "": not known yet
	PageCount   int    // once it has arrived
	BlobKey     string // where the bytes are; "" before they arrive and once they are deleted
	CreatedAt   time.Time
	ReceivedAt  *time.Time // when the bytes arrived
	ExpiresAt   time.Time  // when the bytes are deleted, used or not
	ExpiredAt   *time.Time // when they were
}

// Limits of an upload.
const (
	MaxFilename = 255 // characters
	// MaxPart is how large a PDF may be that is brought from outside to be combined, in bytes.
	MaxPart = 128 << 20
	// UploadLife is for how long the bytes are kept, and may arrive.
	UploadLife = 24 * time.Hour
)

// Validate says what is wrong with an upload that a caller announces.
func (u *Upload) Validate() Errors {
	var errs Errors
	switch {
	case strings.TrimSpace(u.Filename) == "":
		errs.Add(CodeRequired, "Give the file's name, such as terms.pdf.", "filename")
	case utf8.RuneCountInString(u.Filename) > MaxFilename:
		errs.Add(CodeTooLong, fmt.Sprintf("A file's name has at most %d characters.", MaxFilename), "filename")
	default:
		errs = append(errs, ValidateText(u.Filename, "filename")...)
	}
	if u.ContentType != OutputPDF.ContentType() {
		errs.Add(CodeInvalid, "Only PDFs can be combined: the content type is application/pdf.", "contentType")
	}
	switch {
	case u.ByteSize < 1:
		errs.Add(CodeInvalid, "The size is that of the file in bytes, 1 at least.", "byteSize")
	case u.ByteSize > MaxPart:
		errs.Add(CodeTooLarge, fmt.Sprintf("An upload has at most %d bytes; this has %d.", MaxPart, u.ByteSize), "byteSize")
	}
	if u.SHA256 != "" && (len(u.SHA256) != 64 || strings.Trim(u.SHA256, "0123456789abcdef") != "") {
		errs.Add(CodeInvalid, "The SHA-256 is 64 digits of 0-9 a-f.", "sha256")
	}
	return errs
}
