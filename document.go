package platen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// DocumentState is where a document is on its way (R3.2).
type DocumentState string

// The states: PENDING, then one of the others, for good.
const (
	DocumentPending     DocumentState = "PENDING"
	DocumentProcessed   DocumentState = "PROCESSED"
	DocumentInvalidData DocumentState = "INVALID_DATA"
	DocumentFailed      DocumentState = "FAILED"
)

// DocumentFile is the finished file as it was stored. It stays when the document
// expires, but for the copy itself.
type DocumentFile struct {
	ContentType       string `json:"contentType"`
	ByteSize          int64  `json:"byteSize"`
	PageCount         int    `json:"pageCount"`     // 0 for images
	SHA256            string `json:"sha256"`        // hex
	MD5               string `json:"md5,omitempty"` // hex; "" of files that were stored by an earlier release; never shown
	PasswordProtected bool   `json:"passwordProtected,omitempty"`
	BlobKey           string `json:"blobKey,omitempty"` // where Platen's own copy is; never shown; "" once expired
}

// Document is what a submission and a combined submission have in common: both embed
// it, so that storing, delivering, expiring, following and listing work for both by the
// same code.
type Document struct {
	Record
	State    DocumentState   `json:"state"`
	Metadata json.RawMessage `json:"metadata"` // an object

	File             *DocumentFile `json:"file,omitempty"`
	Failure          *Failure      `json:"failure,omitempty"`
	CreatedAt        time.Time     `json:"createdAt"`
	ProcessedAt      *time.Time    `json:"processedAt,omitempty"`
	ProcessingTimeMS *int          `json:"processingTimeMs,omitempty"`
	// FinishedAt is when it left PENDING, whatever for.
	FinishedAt *time.Time `json:"finishedAt,omitempty"`
	// ExpiresAt is when the own copy and the data are to be deleted; nil: never.
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
	// ExpiredAt is when they were.
	ExpiredAt *time.Time `json:"expiredAt,omitempty"`

	// Revision grows with every change of the document's own fields.
	Revision int `json:"revision"`

	// PresignedUpload is where the file goes besides the integrations: an encrypted
	// delivery.PresignedUpload, kept apart from the record. Nil: nowhere.
	PresignedUpload []byte `json:"-"`
	// Password opens the PDF, encrypted and kept apart like PresignedUpload. Nil: none.
	Password []byte `json:"-"`
}

// AnyDocument is a *Submission or a *CombinedSubmission.
type AnyDocument interface {
	Subject
	// Common is what all documents have.
	Common() *Document
	// Extension is what the name of the file ends with, without the dot.
	Extension() string
	// PathKind is which of an integration's path templates makes its keys.
	PathKind() PathKind
}

// Common is the document itself: what makes its embedder an AnyDocument.
func (d *Document) Common() *Document { return d }

// Final tells whether nothing more happens to the document by itself.
func (d *Document) Final() bool {
	return d.State != DocumentPending && d.PendingActions == 0
}

// Environment is LIVE or TEST.
func (d *Document) Environment() Environment {
	if d.Test {
		return Test
	}
	return Live
}

// DocumentFilter chooses documents; what is empty does not matter.
type DocumentFilter struct {
	States      []DocumentState
	Test        *bool
	From, Until *time.Time // of CreatedAt: from inclusive, until exclusive
	// Metadata is an object whose names have these values in the document's.
	Metadata json.RawMessage
}

// Limits of a document.
const (
	MaxPassword     = 127 // bytes of a PDF's password (ISO 32000-2, 7.6.4.3.3)
	MaxMetadataKeys = 256 // names in an object of metadata: each can be looked for in lists
)

// ValidatePassword says what is wrong with the password of a document.
func ValidatePassword(password string, output OutputKind) Errors {
	var errs Errors
	switch {
	case output != OutputPDF:
		errs.Add(CodeInvalid, "Only a PDF can have a password: leave it out, or ask for PDF as output.", "password")
	case password == "":
		errs.Add(CodeRequired, "The password is empty: give one, or leave it out.", "password")
	case len(password) > MaxPassword:
		errs.Add(CodeTooLong, fmt.Sprintf("A PDF's password has at most %d bytes; this has %d.", MaxPassword, len(password)), "password")
	default:
		errs = append(errs, ValidateText(password, "password")...)
	}
	return errs
}

// ValidateMetadata says what is wrong with the metadata of a document or a batch.
func ValidateMetadata(metadata json.RawMessage) Errors {
	var errs Errors
	if len(metadata) > MaxMetadata {
		errs.Add(CodeTooLarge, fmt.Sprintf("Metadata has at most %d bytes; this has %d.", MaxMetadata, len(metadata)), "metadata")
		return errs
	}
	if containsNUL(metadata) {
		errs.Add(CodeInvalid, "The character U+0000 is not allowed; remove it.", "metadata")
	}
	if len(bytes.TrimSpace(metadata)) == 0 {
		return errs
	}
	var names map[string]json.RawMessage
	switch err := json.Unmarshal(metadata, &names); {
	case err != nil || names == nil:
		errs.Add(CodeInvalid, "Metadata is a JSON object, such as {\"order\": \"4711\"}.", "metadata")
	case len(names) > MaxMetadataKeys:
		errs.Add(CodeTooLarge, fmt.Sprintf("Metadata has at most %d names; this has %d.", MaxMetadataKeys, len(names)), "metadata")
	}
	return errs
}

// containsNUL finds \u0000 in a JSON text; an even number of backslashes before
// the u is an escaped backslash and a harmless u0000.
func containsNUL(value json.RawMessage) bool {
	for rest := value; ; {
		at := bytes.Index(rest, []byte(`u0000`))
		if at < 0 {
			return false
		}
		slashes := 0
		for at-1-slashes >= 0 && rest[at-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 1 {
			return true
		}
		rest = rest[at+5:]
	}
}
