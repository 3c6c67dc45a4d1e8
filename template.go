package platen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Limits of what one document is made of, in bytes.
const (
	MaxSource   = 2 << 20 // HTML, CSS, header or footer, each
	MaxData     = 4 << 20 // a submission's data
	MaxMetadata = 64 << 10

	MaxDescription = 4000 // of a template
)

// MaxExpireAfter is the latest that the submissions of a template can expire, in
// seconds: ten years.
const MaxExpireAfter = 315_360_000

// TemplateContent is what data is poured into: Liquid sources, styles and page settings.
type TemplateContent struct {
	HTML       string       `json:"html"`
	CSS        string       `json:"css,omitempty"`
	HeaderHTML string       `json:"headerHtml,omitempty"`
	FooterHTML string       `json:"footerHtml,omitempty"`
	Page       PageSettings `json:"page"`
	// Schema is a JSON Schema (2020-12) that a submission's data has to satisfy; nil: none.
	Schema json.RawMessage `json:"schema,omitempty"`
	// SampleData is for previews.
	SampleData json.RawMessage `json:"sampleData,omitempty"`
}

// Size is how many bytes of sources and schema a submission keeps that has its own copy.
func (c TemplateContent) Size() int {
	return len(c.HTML) + len(c.CSS) + len(c.HeaderHTML) + len(c.FooterHTML) + len(c.Schema)
}

// Validate says what is wrong with the content; whether its Liquid parses, and whether
// its schema is a JSON Schema, is for other rooms to say.
func (c TemplateContent) Validate() Errors {
	var errs Errors
	if c.HTML == "" {
		errs.Add(CodeRequired, "The HTML is empty: there is nothing to print.", "html")
	}
	return append(errs, c.validateParts()...)
}

// validateParts is Validate for a content whose HTML is to be had elsewhere.
func (c TemplateContent) validateParts() Errors {
	var errs Errors
	for _, source := range []struct{ name, text string }{
		{"html", c.HTML}, {"css", c.CSS}, {"headerHtml", c.HeaderHTML}, {"footerHtml", c.FooterHTML},
	} {
		if len(source.text) > MaxSource {
			errs.Add(CodeTooLarge, fmt.Sprintf("At most %d bytes; this has %d. Keep large images at an address, or in the data.", MaxSource, len(source.text)), source.name)
		}
		errs = append(errs, ValidateText(source.text, source.name)...)
	}
	for _, value := range []struct {
		name string
		json json.RawMessage
	}{{"schema", c.Schema}, {"sampleData", c.SampleData}} {
		if len(value.json) > MaxData {
			errs.Add(CodeTooLarge, fmt.Sprintf("At most %d bytes; this has %d.", MaxData, len(value.json)), value.name)
		}
		if containsNUL(value.json) {
			errs.Add(CodeInvalid, "The character U+0000 is not allowed; remove it.", value.name)
		}
	}
	if schema := bytes.TrimSpace(c.Schema); len(schema) > 0 && schema[0] != '{' && string(schema) != "true" && string(schema) != "false" {
		errs.Add(CodeInvalid, "A JSON Schema is a JSON object, or true or false.", "schema")
	}
	return append(errs, c.Page.Validate().At("page")...)
}

// Template is a named draft with its published versions (R2.1, R2.2).
type Template struct {
	AccountID     string
	ID            string
	Name          string
	Description   string
	Draft         *TemplateContent // large: nil in lists
	LatestVersion int              // number of the latest published version; 0: none yet
	// ExpireAfter is after how many seconds its submissions expire unless they say
	// otherwise; nil: never.
	ExpireAfter *int
	// ArchivedAt is since when it takes no submissions; nil: it does.
	ArchivedAt *time.Time
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// Validate says what is wrong with the template, its draft apart.
func (t *Template) Validate() Errors {
	errs := ValidateName(t.Name, "name")
	if len(t.Description) > MaxDescription {
		errs.Add(CodeTooLong, fmt.Sprintf("A description has at most %d bytes.", MaxDescription), "description")
	}
	if t.ExpireAfter != nil && (*t.ExpireAfter < 1 || *t.ExpireAfter > MaxExpireAfter) {
		errs.Add(CodeInvalid, fmt.Sprintf("expireAfter is 1 to %d seconds (ten years); null: never.", MaxExpireAfter), "expireAfter")
	}
	return append(errs, ValidateText(t.Description, "description")...)
}

// Archive puts the template into the archive, or takes it out again. One that is there
// already stays as it is.
func (t *Template) Archive(archived bool, now time.Time) {
	switch {
	case !archived:
		t.ArchivedAt = nil
	case t.ArchivedAt == nil:
		t.ArchivedAt = &now
	}
}

// TemplateFilter chooses templates.
type TemplateFilter struct {
	NameContains string // in capitals or not; "": any
	Archived     bool   // those that are archived, or those that are not
}

// TemplateVersion is an immutable, published state of a template.
type TemplateVersion struct {
	Record
	TemplateID   string           `json:"templateId"`
	TemplateName string           `json:"templateName"` // as it is now: names are not versioned
	Number       int              `json:"number"`       // 1, 2, 3, ... within the template; never reused
	Content      *TemplateContent `json:"-"`            // large: nil in lists and events
	PublishedAt  time.Time        `json:"publishedAt"`
}

// Final tells whether nothing more happens to the version by itself: its copies are
// all done or given up.
func (v *TemplateVersion) Final() bool { return v.PendingActions == 0 }
