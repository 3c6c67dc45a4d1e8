package platen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
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
	PageCount         int    `json:"pageCount"` // 0 for images
	SHA256            string `json:"sha256"`    // hex
	PasswordProtected bool   `json:"passwordProtected,omitempty"`
	BlobKey           string `json:"blobKey,omitempty"` // where Platen's own copy is; never shown; "" once expired
}

// SourceKind is what a submission is made of.
type SourceKind string

// The source kinds.
const (
	SourceTemplate SourceKind = "TEMPLATE" // a published version of a template
	SourceDraft    SourceKind = "DRAFT"    // a template's draft, as it stood
	SourceHTML     SourceKind = "HTML"
	SourceURL      SourceKind = "URL"
)

// Submission is one rendering: of a template with data, of HTML, or of an address.
type Submission struct {
	Record
	State  DocumentState `json:"state"`
	Source SourceKind    `json:"source"`
	Output OutputKind    `json:"output"`

	// BatchID is the batch that it was made in, at BatchIndex, counted from 0; "": none.
	BatchID    string `json:"batchId,omitempty"`
	BatchIndex int    `json:"batchIndex,omitempty"`
	// Preview is for an editor's eyes: it is in no list and has no actions.
	Preview bool `json:"preview,omitempty"`

	// Of a template: its version, as it was used. A draft has no version.
	TemplateID            string `json:"templateId,omitempty"`
	TemplateVersionID     string `json:"templateVersionId,omitempty"`
	TemplateVersionNumber int    `json:"templateVersionNumber,omitempty"`
	TemplateName          string `json:"templateName,omitempty"`

	// Content is what is rendered: a copy of the version's, with the submission's
	// own page settings over it, or what was sent as HTML, or the header, footer and
	// settings for an address. It is kept with the data, apart from the record, and is
	// nil in events and lists. So are the following.
	Content    *TemplateContent `json:"-"`
	URL        string           `json:"-"` // of an address
	Screenshot *Screenshot      `json:"-"` // of an image
	Data       json.RawMessage  `json:"-"`
	Metadata   json.RawMessage  `json:"metadata"` // an object

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

// Final tells whether nothing more happens to the document by itself.
func (s *Submission) Final() bool {
	return s.State != DocumentPending && s.PendingActions == 0
}

// Environment is LIVE or TEST.
func (s *Submission) Environment() Environment {
	if s.Test {
		return Test
	}
	return Live
}

// SubmissionFilter chooses submissions; what is empty does not matter.
type SubmissionFilter struct {
	TemplateID, BatchID string
	States              []DocumentState
	Test                *bool
	From, Until         *time.Time // of CreatedAt: from inclusive, until exclusive
	// Metadata is an object whose names have these values in the submission's.
	Metadata json.RawMessage
}

// Limits of a submission, beside those of its content.
const (
	MaxAddress      = 8192 // bytes of the address of a page
	MaxPassword     = 127  // bytes of a PDF's password (ISO 32000-2, 7.6.4.3.3)
	MaxMetadataKeys = 256  // names in an object of metadata: each can be looked for in lists
)

// Validate says what is wrong with what a caller sent to be rendered. The password
// is checked where it is still in clear: see ValidatePassword.
func (s *Submission) Validate() Errors {
	var errs Errors
	switch {
	case s.Content == nil:
	case s.Source == SourceTemplate: // what was published was judged then
		errs = append(errs, s.Content.Page.Validate().At("page")...)
	case s.Source == SourceURL:
		errs = append(errs, s.Content.validateParts()...)
	default:
		errs = append(errs, s.Content.Validate()...)
	}
	if s.Source == SourceURL {
		errs = append(errs, validateAddress(s.URL)...)
	}
	if len(s.Data) > MaxData {
		errs.Add(CodeTooLarge, fmt.Sprintf("Data has at most %d bytes; this has %d.", MaxData, len(s.Data)), "data")
	}
	if containsNUL(s.Data) {
		errs.Add(CodeInvalid, "The character U+0000 is not allowed; remove it.", "data")
	}
	errs = append(errs, ValidateMetadata(s.Metadata)...)
	switch {
	case s.Screenshot == nil:
	case s.Output == OutputPDF:
		errs.Add(CodeInvalid, "These options are for images: leave them out, or ask for PNG, JPEG or WEBP as output.", "screenshot")
	default:
		errs = append(errs, s.Screenshot.Validate(s.Output).At("screenshot")...)
	}
	return errs
}

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

func validateAddress(address string) Errors {
	var errs Errors
	u, err := url.Parse(address)
	switch {
	case len(address) > MaxAddress:
		errs.Add(CodeTooLong, fmt.Sprintf("An address has at most %d bytes; this has %d.", MaxAddress, len(address)), "url")
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		errs.Add(CodeInvalid, "The address of a page begins with http:// or https:// and names a host.", "url")
	default:
		errs = append(errs, ValidateText(address, "url")...)
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
