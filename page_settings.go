package platen

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// PaperFormat is a paper size by name.
type PaperFormat string

// paperInches are the sizes of the formats in portrait, width and height in
// inches: ANSI/ASME Y14.1 for the American ones, ISO 216 for the A series.
var paperInches = map[PaperFormat][2]float64{
	"LETTER": {8.5, 11}, "LEGAL": {8.5, 14}, "TABLOID": {11, 17}, "LEDGER": {17, 11},
	"A0": {841 / 25.4, 1189 / 25.4}, "A1": {594 / 25.4, 841 / 25.4}, "A2": {420 / 25.4, 594 / 25.4},
	"A3": {297 / 25.4, 420 / 25.4}, "A4": {210 / 25.4, 297 / 25.4}, "A5": {148 / 25.4, 210 / 25.4},
	"A6": {105 / 25.4, 148 / 25.4},
}

// Orientation is how the paper lies.
type Orientation string

// The orientations.
const (
	Portrait  Orientation = "PORTRAIT"
	Landscape Orientation = "LANDSCAPE"
)

// Media is the CSS media type that a page is rendered for.
type Media string

// The media types.
const (
	MediaPrint  Media = "PRINT"
	MediaScreen Media = "SCREEN"
)

// Limits of what a page setting may say, in characters.
const (
	MaxPageRanges     = 200
	MaxWaitSelector   = 1_000
	MaxWaitExpression = 4_000
	MaxLength         = 40 // of a CSS length: the longest number that means anything is shorter
)

// maxPageNumber is far beyond any document, and far below where numbers overflow.
const maxPageNumber = 1_000_000

// MaxRenderTimeout is the longest timeout of a page setting, in seconds. The job
// that renders has longer, so that the page's own deadline always comes first.
const MaxRenderTimeout = 120

// PageSettings say how a page is printed (R2.3). Lengths are CSS lengths.
type PageSettings struct {
	Format          PaperFormat `json:"format,omitempty"` // "" when width and height are given
	Width           string      `json:"width,omitempty"`
	Height          string      `json:"height,omitempty"`
	Orientation     Orientation `json:"orientation"`
	MarginTop       string      `json:"marginTop"`
	MarginRight     string      `json:"marginRight"`
	MarginBottom    string      `json:"marginBottom"`
	MarginLeft      string      `json:"marginLeft"`
	Scale           float64     `json:"scale"` // 0.1 to 2
	PrintBackground bool        `json:"printBackground"`
	// PreferCSSPageSize lets an @page size in the CSS win over format, width and height.
	PreferCSSPageSize bool `json:"preferCssPageSize,omitempty"`
	// PageRanges are the pages to print, such as 1-3, 5, 8-; "": all. They come in the
	// order of the document and each once, whatever the order of the ranges.
	PageRanges string `json:"pageRanges,omitempty"`
	// Outline makes bookmarks from the headings. Chromium can do that for tagged PDFs
	// only, so it makes the PDF Tagged as well.
	Outline bool `json:"outline,omitempty"`
	// Tagged makes the PDF accessible: larger, and slower to make.
	Tagged bool  `json:"tagged,omitempty"`
	Media  Media `json:"media"`
	// NoJavaScript refuses scripts, and shows what noscript elements hold. What has no
	// scripts is rendered without them either way.
	NoJavaScript bool `json:"noJavaScript,omitempty"`
	// NoNetwork refuses every request of the page, whatever the operator allows.
	NoNetwork bool `json:"noNetwork,omitempty"`
	// WaitFor is what has to be true before printing, beside the load event and the fonts.
	WaitFor *WaitFor `json:"waitFor,omitempty"`
	Timeout int      `json:"timeout"` // seconds for the whole render
}

// WaitFor is what a page has to reach before it is printed. What is empty or blank
// does not matter.
type WaitFor struct {
	// NetworkIdle: no request for half a second. Streams of events and websockets, which
	// stay open, do not count.
	NetworkIdle bool `json:"networkIdle,omitempty"`
	// Selector is the CSS selector of an element that must exist.
	Selector string `json:"selector,omitempty"`
	// Expression is a JavaScript expression that must become truthy. A promise is
	// awaited, and what it resolves to counts.
	Expression string `json:"expression,omitempty"`
}

// Waits are the conditions of WaitFor without blank ones; the zero value is none.
func (p PageSettings) Waits() WaitFor {
	if p.WaitFor == nil {
		return WaitFor{}
	}
	w := *p.WaitFor
	w.Selector, w.Expression = strings.TrimSpace(w.Selector), strings.TrimSpace(w.Expression)
	return w
}

// DefaultPageSettings are those of a template that says nothing.
func DefaultPageSettings() PageSettings {
	return PageSettings{
		Format: "LETTER", Orientation: Portrait,
		MarginTop: "0.4in", MarginRight: "0.4in", MarginBottom: "0.4in", MarginLeft: "0.4in",
		Scale: 1, PrintBackground: true, Media: MediaPrint, Timeout: 30,
	}
}

// Geometry is a page in inches, as a printer wants it.
type Geometry struct {
	Width, Height                                    float64
	MarginTop, MarginRight, MarginBottom, MarginLeft float64
}

// Geometry works out the paper and the margins in inches. Landscape turns the
// paper, whether it was given by name or by width and height. It fails only for
// settings that Validate refuses.
func (p PageSettings) Geometry() (Geometry, error) {
	var g Geometry
	size, known := paperInches[p.Format]
	if known {
		g.Width, g.Height = size[0], size[1]
	}
	for _, length := range []struct {
		text string
		into *float64
	}{
		{p.Width, &g.Width}, {p.Height, &g.Height}, {p.MarginTop, &g.MarginTop}, {p.MarginRight, &g.MarginRight},
		{p.MarginBottom, &g.MarginBottom}, {p.MarginLeft, &g.MarginLeft},
	} {
		if length.text == "" {
			continue
		}
		inches, err := ParseLength(length.text)
		if err != nil {
			return g, err
		}
		*length.into = inches
	}
	if p.Orientation == Landscape {
		g.Width, g.Height = g.Height, g.Width
	}
	return g, nil
}

// Limits of a page, in inches. Chromium refuses paper without a printable area,
// and 200 inches (14,400 points) is the limit of a PDF page (ISO 32000-1, annex C).
const (
	minPaper, maxPaper = 0.5, 200.0
	minPrintable       = 0.1
)

// Validate says what is wrong with the settings; the paths name their fields.
func (p PageSettings) Validate() Errors {
	var errs Errors
	if p.Format == "" && p.Width == "" && p.Height == "" {
		errs.Add(CodeRequired, "Give a format, or width and height.", "format")
	} else if (p.Width == "") != (p.Height == "") {
		missing := "width"
		if p.Width != "" {
			missing = "height"
		}
		errs.Add(CodeRequired, "Width and height go together: give both, or neither.", missing)
	}
	if _, known := paperInches[p.Format]; p.Format != "" && !known {
		errs.Add(CodeInvalid, fmt.Sprintf("%q is not a paper format.", p.Format), "format")
	}
	for _, length := range []struct{ name, text string }{
		{"width", p.Width}, {"height", p.Height}, {"marginTop", p.MarginTop}, {"marginRight", p.MarginRight},
		{"marginBottom", p.MarginBottom}, {"marginLeft", p.MarginLeft},
	} {
		if length.text == "" && (length.name == "width" || length.name == "height") {
			continue
		}
		if n := utf8.RuneCountInString(length.text); n > MaxLength {
			errs.Add(CodeTooLong, fmt.Sprintf("A length has at most %d characters; this has %d. Write it as 210mm.", MaxLength, n), length.name)
		} else if _, err := ParseLength(length.text); err != nil {
			errs.Add(CodeInvalid, err.Error(), length.name)
		}
	}
	// Written so that NaN is refused as well.
	if !(p.Scale >= 0.1 && p.Scale <= 2) {
		errs.Add(CodeInvalid, "The scale is a number from 0.1 to 2.", "scale")
	}
	if p.Timeout < 1 || p.Timeout > MaxRenderTimeout {
		errs.Add(CodeInvalid, fmt.Sprintf("The timeout is 1 to %d seconds.", MaxRenderTimeout), "timeout")
	}
	if n := utf8.RuneCountInString(p.PageRanges); n > MaxPageRanges {
		errs.Add(CodeTooLong, fmt.Sprintf("Page ranges have at most %d characters; this has %d.", MaxPageRanges, n), "pageRanges")
	} else if err := checkPageRanges(p.PageRanges); err != nil {
		errs.Add(CodeInvalid, err.Error(), "pageRanges")
	}
	waits, asGiven := p.Waits(), WaitFor{}
	if p.WaitFor != nil {
		asGiven = *p.WaitFor
	}
	for _, one := range []struct {
		name, what, text string
		most             int
	}{
		{"selector", "A selector", asGiven.Selector, MaxWaitSelector}, {"expression", "An expression", asGiven.Expression, MaxWaitExpression},
	} {
		if n := utf8.RuneCountInString(one.text); n > one.most {
			errs.Add(CodeTooLong, fmt.Sprintf("%s to wait for has at most %d characters; this has %d.", one.what, one.most, n), "waitFor", one.name)
		}
		errs = append(errs, ValidateText(one.text, "waitFor", one.name)...)
	}
	if waits.Expression != "" && p.NoJavaScript {
		errs.Add(CodeInvalid, "An expression is JavaScript, which these settings switch off: allow it, or wait for a selector.", "waitFor", "expression")
	}
	if len(errs) > 0 {
		return errs
	}
	g, err := p.Geometry()
	if err != nil {
		errs.Add(CodeInvalid, err.Error())
		return errs
	}
	if g.Width < minPaper || g.Width > maxPaper || g.Height < minPaper || g.Height > maxPaper {
		errs.Add(CodeInvalid, "The paper is 0.5in to 200in wide and high.", "width")
	}
	if g.Width-g.MarginLeft-g.MarginRight < minPrintable || g.Height-g.MarginTop-g.MarginBottom < minPrintable {
		errs.Add(CodeInvalid, "The margins leave no room on the paper: make them smaller.", "marginTop")
	}
	return errs
}

// checkPageRanges says what is wrong with page ranges as Page.printToPDF takes them
// (https://chromedevtools.github.io/devtools-protocol/tot/Page/#method-printToPDF).
func checkPageRanges(ranges string) error {
	if strings.TrimSpace(ranges) == "" {
		return nil
	}
	for one := range strings.SplitSeq(ranges, ",") {
		one = strings.TrimSpace(one)
		from, to, _ := strings.Cut(one, "-")
		first, firstOK := pageNumber(from)
		last, lastOK := pageNumber(to)
		switch {
		case !firstOK || !lastOK || first == 0 && last == 0:
			return fmt.Errorf("%q is not a range of pages: write one page as 5, and several as 1-3, -3 (up to the third) or 8- (from the eighth), "+
				"with commas between", shortened(one))
		case first > 0 && last > 0 && first > last:
			return fmt.Errorf("%q goes backwards: write the smaller page first", shortened(one))
		}
	}
	return nil
}

// pageNumber reads the number of a page, the first being 1; "" is 0.
func pageNumber(text string) (n uint64, ok bool) {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, true
	}
	n, err := strconv.ParseUint(text, 10, 32)
	return n, err == nil && n >= 1 && n <= maxPageNumber
}

// shortened is what is quoted of a value that may be of any length.
func shortened(text string) string {
	if len(text) > 40 {
		return strings.ToValidUTF8(text[:40], "") + "..."
	}
	return text
}

// inchesPer are the absolute CSS units (https://www.w3.org/TR/css-values-4/#absolute-lengths).
var inchesPer = map[string]float64{
	"in": 1, "cm": 1 / 2.54, "mm": 1 / 25.4, "q": 1 / 101.6, "pt": 1.0 / 72, "pc": 1.0 / 6, "px": 1.0 / 96,
}

// ParseLength reads an absolute CSS length, such as 8.5in, 210mm or 96px, and
// returns it in inches. Only 0 may go without a unit.
func ParseLength(text string) (inches float64, err error) {
	trimmed := strings.TrimSpace(text)
	number := strings.TrimRight(trimmed, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit := strings.ToLower(trimmed[len(number):])
	value, err := strconv.ParseFloat(number, 64)
	per, known := inchesPer[unit]
	if err == nil && unit == "" && value == 0 {
		return 0, nil
	}
	// Go also reads hexadecimal numbers and underscores, which CSS does not.
	if err != nil || !known || value < 0 || math.IsNaN(value) || math.IsInf(value, 0) || strings.ContainsAny(number, "xX_") {
		return 0, fmt.Errorf("%q is not a CSS length: give a number and one of in, cm, mm, Q, pt, pc, px, such as 210mm", shortened(text))
	}
	return value * per, nil
}
