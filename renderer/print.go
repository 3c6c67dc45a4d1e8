package renderer

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"

	"platen"

	"github.com/go-rod/rod/lib/cdp"
)

// Chromium cannot print such a header: it fails, or its process crashes.
var styleLinkPattern = regexp.MustCompile(`(?i)<link|@import`)

var errEdgeLoads = errors.New("a header or footer must not hold a link element or @import: put its style into a style element")

// maxFile is the size of the largest document, in bytes.
const maxFile = 256 << 20

// printParameters are those of Page.printToPDF. They are a map because rod's type
// leaves out what is false, and Chromium tags a PDF unless told not to, which
// makes large tables many times larger and slower.
func printParameters(p Page) (map[string]any, error) {
	g, err := p.Settings.Geometry()
	if err != nil {
		return nil, err
	}
	if styleLinkPattern.MatchString(p.HeaderHTML) || styleLinkPattern.MatchString(p.FooterHTML) {
		return nil, errEdgeLoads
	}
	parameters := map[string]any{
		"paperWidth": g.Width, "paperHeight": g.Height,
		"marginTop": g.MarginTop, "marginRight": g.MarginRight, "marginBottom": g.MarginBottom, "marginLeft": g.MarginLeft,
		"scale": p.Settings.Scale, "printBackground": p.Settings.PrintBackground,
		"landscape":               false, // Geometry has turned the paper
		"preferCSSPageSize":       p.Settings.PreferCSSPageSize,
		"pageRanges":              strings.TrimSpace(p.Settings.PageRanges),
		"generateTaggedPDF":       p.Settings.Tagged || p.Settings.Outline, // the outline is made from the tags
		"generateDocumentOutline": p.Settings.Outline,
		"displayHeaderFooter":     p.HeaderHTML != "" || p.FooterHTML != "",
	}
	if p.HeaderHTML != "" || p.FooterHTML != "" {
		parameters["headerTemplate"] = edgeTemplate("platen-header", p.HeaderHTML, g)
		parameters["footerTemplate"] = edgeTemplate("platen-footer", p.FooterHTML, g)
	}
	return parameters, nil
}

// edgeTemplate makes a header or footer visible by default: Chromium gives it no
// size and no margins. The selector weighs nothing, so that any style of the
// template's own goes before. Both templates end up in one document.
func edgeTemplate(class, html string, g platen.Geometry) string {
	if html == "" {
		return "<span></span>" // or Chromium would print its own
	}
	return fmt.Sprintf("<style>:where(.%s){font-size:10px;width:100%%;box-sizing:border-box;padding:0 %.4fin 0 %.4fin;"+
		"-webkit-print-color-adjust:exact;print-color-adjust:exact}</style><div class=\"%s\">%s</div>", class, g.MarginRight, g.MarginLeft, class, html)
}

// print makes the PDF of the page as it stands.
func (p *page) print(tab session, j *job) ([]byte, error) {
	answer, err := tab.call(tab.ctx, p.session, "Page.printToPDF", j.print)
	var refused *cdp.Error
	if errors.As(err, &refused) && strings.Contains(refused.Message, "range exceeds page count") {
		return nil, p.noSuchPages(tab, j)
	}
	if err != nil {
		return nil, err
	}
	return decodeFile(answer)
}

// noSuchPages is the failure of page ranges that hold none of the document's pages.
// It prints all of them, to say how many there are.
func (p *page) noSuchPages(tab session, j *job) *platen.Failure {
	message := fmt.Sprintf("None of the pages %s exists", j.print["pageRanges"])
	all := maps.Clone(j.print)
	delete(all, "pageRanges")
	if answer, err := tab.call(tab.ctx, p.session, "Page.printToPDF", all); err == nil {
		if pdf, err := decodeFile(answer); err == nil {
			message += fmt.Sprintf(": the document has %d", bytes.Count(pdf, []byte("/Type /Page\n")))
		}
	}
	return renderFailure(platen.FailureRenderFailed, false, message+". Change pageRanges, or leave it out.", nil)
}

// decodeFile takes the file out of the answer to Page.printToPDF or
// Page.captureScreenshot. It avoids the JSON decoder, which would go over many
// megabytes three times.
func decodeFile(answer json.RawMessage) ([]byte, error) {
	_, data, found := bytes.Cut(answer, []byte(`"data":"`))
	end := bytes.IndexByte(data, '"')
	if !found || end <= 0 {
		return nil, fmt.Errorf("the browser's answer is not a file: %.100s", answer)
	}
	file := make([]byte, base64.StdEncoding.DecodedLen(end))
	n, err := base64.StdEncoding.Decode(file, data[:end])
	return file[:n], err
}

func mediaType(m platen.Media) string {
	if m == platen.MediaScreen {
		return "screen"
	}
	return "print"
}
