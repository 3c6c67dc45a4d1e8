package renderer

import (
	"errors"
	"fmt"
	"regexp"

	"platen"
)

// Chromium cannot print such a header: it fails, or its process crashes.
var styleLinkPattern = regexp.MustCompile(`(?i)<link|@import`)

var errEdgeLoads = errors.New("a header or footer must not hold a link element or @import: put its style into a style element")

// maxPDF is the size of the largest document, in bytes.
const maxPDF = 256 << 20

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
		"landscape":         false, // Geometry has turned the paper
		"preferCSSPageSize": false, "generateTaggedPDF": false, "generateDocumentOutline": false,
		"displayHeaderFooter": p.HeaderHTML != "" || p.FooterHTML != "",
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

func mediaType(m platen.Media) string {
	if m == platen.MediaScreen {
		return "screen"
	}
	return "print"
}
