package platen

import (
	"encoding/json"
	"fmt"
	"time"
)

// Limits of what one document is made of, in bytes.
const (
	MaxSource   = 2 << 20 // HTML, CSS, header or footer, each
	MaxData     = 4 << 20 // a submission's data
	MaxMetadata = 64 << 10
)

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

// Validate says what is wrong with the content; whether its Liquid parses is the
// liquid room's to say.
func (c TemplateContent) Validate() Errors {
	var errs Errors
	if c.HTML == "" {
		errs.Add(CodeRequired, "The HTML is empty: there is nothing to print.", "html")
	}
	for _, source := range []struct{ name, text string }{
		{"html", c.HTML}, {"css", c.CSS}, {"headerHtml", c.HeaderHTML}, {"footerHtml", c.FooterHTML},
	} {
		if len(source.text) > MaxSource {
			errs.Add(CodeTooLarge, fmt.Sprintf("At most %d bytes; this has %d. Keep large images at an address, or in the data.", MaxSource, len(source.text)), source.name)
		}
		errs = append(errs, ValidateText(source.text, source.name)...)
	}
	return append(errs, c.Page.Validate().At("page")...)
}

// Template is a named draft with its published versions (R2.1, R2.2).
type Template struct {
	AccountID     string
	ID            string
	Name          string
	Description   string
	Draft         TemplateContent
	LatestVersion int // number of the latest published version; 0: none yet
	// ExpireAfter is after how many seconds its submissions expire unless they say
	// otherwise; nil: never.
	ExpireAfter *int
	// ArchivedAt is since when it takes no submissions; nil: it does.
	ArchivedAt *time.Time
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// Validate says what is wrong with the template.
func (t *Template) Validate() Errors {
	errs := ValidateName(t.Name, "name")
	if len(t.Description) > 4000 {
		errs.Add(CodeTooLong, "A description has at most 4,000 bytes.", "description")
	}
	errs = append(errs, ValidateText(t.Description, "description")...)
	return append(errs, t.Draft.Validate().At("content")...)
}

// TemplateVersion is an immutable, published state of a template.
type TemplateVersion struct {
	Record
	TemplateID   string          `json:"templateId"`
	TemplateName string          `json:"templateName"` // as it is now: names are not versioned
	Number       int             `json:"number"`       // 1, 2, 3, ... within the template; never reused
	Content      TemplateContent `json:"-"`            // not in events
	PublishedAt  time.Time       `json:"publishedAt"`
}

// Final tells whether nothing more happens to the version by itself: its copies are
// all done or given up.
func (v *TemplateVersion) Final() bool { return v.PendingActions == 0 }
