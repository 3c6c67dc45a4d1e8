package renderer

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html"
	"image/png"
	"math"
	"strings"
	"unicode/utf8"

	"platen"
)

// The look of the mark is that of the PDFs' (pdf/watermark.go): bold letters, grey
// with a white edge, so that they are read on light and dark, along the diagonal.
const (
	markOpacity = 0.3
	// The text fills this part of the diagonal, unless its letters would get higher
	// than that part of the shorter side.
	markLength, markHeight = 0.7, 0.26
	// letterWidth is about what a bold letter takes of its size.
	letterWidth = 0.68
	// sectionShape is how many times longer than wide a section of an image gets before
	// it is two, each with a mark: one alone would not be seen in a long page.
	sectionShape = 1.6
)

// marked is the page that shows an image with text over it. The image is a picture
// by then, so nothing in the document can reach or cover the text.
func marked(picture []byte, text string) (page string, width, height int, err error) {
	config, err := png.DecodeConfig(bytes.NewReader(picture))
	if err != nil {
		return "", 0, 0, err
	}
	if base64.StdEncoding.EncodedLen(len(picture)) > maxSent-1<<20 {
		return "", 0, 0, renderFailure(platen.FailureDocumentLimit, false,
			fmt.Sprintf("The image is too large to be marked as a test: %d MB as a PNG. Make it smaller.", len(picture)>>20), nil)
	}
	width, height = config.Width, config.Height
	w, h := float64(width), float64(height)
	across, down := max(1, math.Floor(w/h/sectionShape)), max(1, math.Floor(h/w/sectionShape))
	w, h = w/across, h/down
	size := min(markLength*math.Hypot(w, h)/(letterWidth*float64(max(1, utf8.RuneCountInString(text)))), markHeight*min(w, h))
	var marks strings.Builder
	for y := range int(down) {
		for x := range int(across) {
			fmt.Fprintf(&marks, `<text transform="translate(%.2f %.2f) rotate(%.3f)">%s</text>`,
				(float64(x)+0.5)*w, (float64(y)+0.5)*h, -math.Atan2(h, w)*180/math.Pi, html.EscapeString(text))
		}
	}
	return fmt.Sprintf(`<!doctype html><style>html,body{margin:0}img,svg{position:absolute;left:0;top:0;width:%dpx;height:%dpx}</style>`+
		`<img decoding="sync" src="data:image/png;base64,%s"><svg xmlns="http://www.w3.org/2000/svg"><g opacity="%.2f" fill="#808080" stroke="#fff" `+
		`stroke-width="%.2f" stroke-linejoin="round" font-family="Liberation Sans, Helvetica, Arial, sans-serif" font-weight="bold" font-size="%.2f" `+
		`text-anchor="middle" dominant-baseline="central">%s</g></svg>`,
		width, height, base64.StdEncoding.EncodeToString(picture), markOpacity, size*0.02, size, marks.String()), width, height, nil
}
