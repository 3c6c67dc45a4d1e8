package platen

import (
	"encoding/json"
	"fmt"
	"net/url"
)

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
	Document
	Source SourceKind `json:"source"`
	Output OutputKind `json:"output"`

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
}

// Extension is what the name of the file ends with, without the dot.
func (s *Submission) Extension() string { return s.Output.Extension() }

// PathKind is PathSubmission.
func (*Submission) PathKind() PathKind { return PathSubmission }

// SubmissionFilter chooses submissions; what is empty does not matter.
type SubmissionFilter struct {
	DocumentFilter
	TemplateID, BatchID string
}

// MaxAddress is how long the address of a page or of a PDF is at most, in bytes.
const MaxAddress = 8192

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
		errs = append(errs, ValidateAddress(s.URL)...)
		if s.Content != nil && s.Content.Page.NoNetwork {
			errs.Add(CodeInvalid, "A page at an address needs the network: allow it, or send the page as html.", "page", "network")
		}
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

// ValidateAddress says what is wrong with the address of a page or of a PDF.
func ValidateAddress(address string) Errors {
	var errs Errors
	u, err := url.Parse(address)
	switch {
	case len(address) > MaxAddress:
		errs.Add(CodeTooLong, fmt.Sprintf("An address has at most %d bytes; this has %d.", MaxAddress, len(address)), "url")
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		errs.Add(CodeInvalid, "An address begins with http:// or https:// and names a host.", "url")
	default:
		errs = append(errs, ValidateText(address, "url")...)
	}
	return errs
}
