package renderer

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"platen"
)

func TestAPageBecomesAPDF(t *testing.T) {
	t.Parallel()
	p := document(t, "<!doctype html><h1>Invoice 4711</h1><p style='break-before:page'>Second – Ünï 日本</p>")
	p.Title = "Rechnung <1>"
	pdf := render(t, p)
	if pages(t, pdf) != 2 {
		t.Errorf("%d pages", pages(t, pdf))
	}
	for _, want := range []string{"Invoice 4711", "Second – Ünï 日本"} {
		if !strings.Contains(strings.Join(strings.Fields(text(t, pdf)), " "), want) {
			t.Errorf("%q is missing in %q", want, text(t, pdf))
		}
	}
	if title, tagged := info(t, pdf, "Title"), info(t, pdf, "Tagged"); title != "Rechnung <1>" || tagged != "no" {
		t.Errorf("title %q, tagged %q", title, tagged)
	}
}

func TestHeaderAndFooterStandOnEveryPage(t *testing.T) {
	t.Parallel()
	p := document(t, "<title>Report</title>One<p style='break-before:page'>Two<p style='break-before:page'>Three")
	p.Settings.MarginTop, p.Settings.MarginBottom, p.Settings.MarginLeft = "2cm", "2cm", "3cm"
	p.HeaderHTML = "Header-<span class=title></span>"
	p.FooterHTML = "<style>.platen-footer{font-size:20px}</style>Page-<span class=pageNumber></span>-of-<span class=totalPages></span>"
	pdf := render(t, p)
	got := text(t, pdf)
	if pages(t, pdf) != 3 || strings.Count(got, "Header-Report") != 3 {
		t.Errorf("%d pages: %s", pages(t, pdf), got)
	}
	for i := range 3 {
		if want := fmt.Sprintf("Page-%d-of-3", i+1); strings.Count(got, want) != 1 {
			t.Errorf("%q is not there once: %s", want, got)
		}
	}
	const left = 3 / 2.54 * 72
	x, top, _, bottom := box(t, pdf, "Header-Report")
	if math.Abs(x-left) > 1.5 || bottom-top < 9 || bottom-top > 12 {
		t.Errorf("the header begins at %.1f of %.1f points, and is %.1f high", x, left, bottom-top)
	}
	if _, top, _, bottom = box(t, pdf, "Page-1-of-3"); bottom-top < 18 {
		t.Errorf("the footer's own size does not count: it is %.1f points high", bottom-top)
	}
}

func TestAFooterAloneBringsNoHeader(t *testing.T) {
	t.Parallel()
	p := document(t, "<title>Secret</title>Body")
	p.FooterHTML = "Foot"
	if got := text(t, render(t, p)); strings.Contains(got, "Secret") || strings.Contains(got, "about:blank") || !strings.Contains(got, "Foot") {
		t.Error(got)
	}
}

func TestPaperHasTheSizeOfTheSettings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		format        platen.PaperFormat
		width, height string
		orientation   platen.Orientation
		w, h          float64 // points
	}{
		{"LETTER", "", "", platen.Portrait, 612, 792},
		{"LETTER", "", "", platen.Landscape, 792, 612},
		{"LEGAL", "", "", platen.Portrait, 612, 1008},
		{"A4", "", "", platen.Portrait, 595.28, 841.89},
		{"A4", "", "", platen.Landscape, 841.89, 595.28},
		{"A6", "", "", platen.Portrait, 297.64, 419.53},
		{"A0", "", "", platen.Portrait, 2383.94, 3370.39},
		{"", "4in", "6in", platen.Portrait, 288, 432},
		{"", "100mm", "50mm", platen.Portrait, 283.46, 141.73},
		{"", "200in", "1in", platen.Portrait, 14400, 72},
	} {
		p := document(t, "<style>@page{size:A5}</style>x")
		p.Settings.Format, p.Settings.Width, p.Settings.Height, p.Settings.Orientation = c.format, c.width, c.height, c.orientation
		p.Settings.MarginTop, p.Settings.MarginBottom = "1mm", "1mm"
		var w, h float64
		size := info(t, render(t, p), "Page size")
		fmt.Sscanf(size, "%f x %f", &w, &h)
		// Chromium makes pages of whole CSS pixels, which are 0.75 points, and rounds up.
		if math.Abs(w-c.w) > 1 || math.Abs(h-c.h) > 1 {
			t.Errorf("%+v: %s", c, size)
		}
	}
}

func TestMarginsAndScaleMoveTheContent(t *testing.T) {
	t.Parallel()
	p := document(t, "<!doctype html><style>body{margin:0;font:40px/1 sans-serif}</style>Word")
	p.Settings.MarginLeft, p.Settings.MarginTop = "1in", "2in"
	x, y, right, _ := box(t, render(t, p), "Word")
	if math.Abs(x-72) > 3 || y < 140 || y > 160 {
		t.Errorf("the word stands at %.1f, %.1f", x, y)
	}
	p.Settings.Scale = 0.5
	half, _, halfRight, _ := box(t, render(t, p), "Word")
	if ratio := (halfRight - half) / (right - x); math.Abs(ratio-0.5) > 0.02 {
		t.Errorf("at half the scale the word is %.2f as wide", ratio)
	}
}

func TestTheMediaTypeIsThatOfTheSettings(t *testing.T) {
	t.Parallel()
	p := document(t, "<style>p{display:none} @media print{.p{display:block}} @media screen{.s{display:block}}</style><p class=p>PRINTED<p class=s>SCREENED")
	for _, c := range []struct {
		media         platen.Media
		want, wantNot string
	}{{platen.MediaPrint, "PRINTED", "SCREENED"}, {platen.MediaScreen, "SCREENED", "PRINTED"}, {platen.MediaPrint, "PRINTED", "SCREENED"}} {
		p.Settings.Media = c.media
		if got := text(t, render(t, p)); !strings.Contains(got, c.want) || strings.Contains(got, c.wantNot) {
			t.Errorf("%s: %q", c.media, got)
		}
	}
}

func TestBackgroundsArePrintedWhenAskedFor(t *testing.T) {
	t.Parallel()
	p := document(t, "<!doctype html><div style='background:#00f;height:400px'></div>")
	if got := picture(t, render(t, p)).At(300, 150); !isColor(got, 0, 0, 255) {
		t.Errorf("with backgrounds: %v", got)
	}
	p.Settings.PrintBackground = false
	if got := picture(t, render(t, p)).At(300, 150); !isColor(got, 255, 255, 255) {
		t.Errorf("without: %v", got)
	}
}

func TestTheStyleSheetAppliesWithoutQuirks(t *testing.T) {
	t.Parallel()
	p := document(t, "<!doctype html><p id=p></p><script>p.textContent=document.compatMode</script>")
	p.CSS = "p{color:#f00;font-size:60px} /* </style> */ p::before{content:'styled '}"
	pdf := render(t, p)
	if got := text(t, pdf); !strings.Contains(got, "styled CSS1Compat") {
		t.Error(got)
	}
}

func TestAPageDrawnByScriptsIsComplete(t *testing.T) {
	t.Parallel()
	p := document(t, `<!doctype html><canvas id=c width=400 height=400></canvas><p id=p></p><script>
		addEventListener('load', () => { const x = c.getContext('2d'); x.fillStyle = '#0a0'; x.fillRect(0, 0, 400, 400); p.textContent = 'drawn ' + 6*7 })</script>`)
	pdf := render(t, p)
	if got := picture(t, pdf).At(150, 150); !isColor(got, 0, 0xaa, 0) {
		t.Errorf("the canvas is %v", got)
	}
	if got := text(t, pdf); !strings.Contains(got, "drawn 42") {
		t.Error(got)
	}
}

func TestABrokenFontDoesNotHoldTheDocumentUp(t *testing.T) {
	t.Parallel()
	p := document(t, "<style>@font-face{font-family:F;src:url(data:font/woff2;base64,AAAA)} p{font-family:F,sans-serif}</style><p>Text in a broken font")
	if got := text(t, render(t, p)); !strings.Contains(got, "broken font") {
		t.Error(got)
	}
}
