package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// examples are those of docs/examples, which the guide to templates shows, with what
// their documents have to be.
var examples = map[string]struct {
	dpi   int // of the picture in the guide
	pages []examplePage
	more  func(t *testing.T, pdf []byte) // looks at it in other ways; nil: none
}{
	"invoice": {dpi: 50, pages: []examplePage{
		{a4, "Harbour Paper Works|Ünal & Söhne|23 November 2026|Item Quantity Price Amount|Card <ivory>, A5, 300 g|Cut to size & rounded|Page 1 of 2"},
		{a4, "Harbour Paper Works|Item Quantity Price Amount|Delivery by courier|Total EUR 1,459.50|by 23 December 2026|Page 2 of 2"}}},
	"report": {dpi: 50, pages: []examplePage{
		{a5, "The press room in October|1. What was printed"},
		{a5, "What was printed|Day Press Sheets Waste|Counted at the end of each shift."},
		{a5, "Day Press Sheets Waste|Wed 21 Oct|Counted at the end of each shift.|How to read the table"},
		{a5, "What comes next|A word of thanks"}}, more: reportIsLinked},
	"certificate": {dpi: 70, pages: []examplePage{{a5Landscape, "Zoë Đặng|Setting type by hand|47 of 50 points|Bristol, 12 June 2026"}}},
	"scripts": {dpi: 80, pages: []examplePage{{paper{170, 158}, "Faktura nr 123, Łódź|Hóa đơn số 123|Τιμολόγιο 123|Счёт № 123|القاهرة|חיפה|चालान संख्या|" +
		"ใบแจ้งหนี้เลขที่ 123|发票编号 123，上海|發票編號 123，臺北|請求書番号 123、東京|청구서 번호 123"}}},
	"chart": {dpi: 70, pages: []examplePage{{a5Landscape, "A year at the press|Oct"}}, more: chartIsDrawn},
	"mixed": {dpi: 60, pages: []examplePage{{a5, "Three presses, twelve months"}, {a5Landscape, "All months beside one another|Press Jan Feb"}}},
	"label": {dpi: 80, pages: []examplePage{{paper{100, 62}, "Ünal & Söhne|1 of 2"}, {paper{100, 62}, "THAILAND|2 of 2"}}},
	"offer": {dpi: 60, pages: []examplePage{{a5, "Offer A-118|Dear Mrs. Ünal|TEST"}}},
	"image": {}, // no PDF
}

// examplePage is the size of a page, and texts on it with | between them.
type examplePage struct {
	paper
	says string
}

// paper is a width and a height in millimetres.
type paper [2]float64

var a4, a5, a5Landscape = paper{210, 297}, paper{148, 210}, paper{210, 148}

// reportIsLinked sees that its contents lead to its chapters, and that it has bookmarks.
func reportIsLinked(t *testing.T, pdf []byte) {
	outline := pdfTool(t, pdf, "qpdf", "--json", "--json-key=outlines", "FILE")
	for _, want := range []string{"The press room in October", "What was printed", "How to read the table", "What comes next"} {
		if !strings.Contains(outline, want) {
			t.Errorf("no bookmark %q in %s", want, outline)
		}
	}
	if destinations := pdfTool(t, pdf, "pdfinfo", "-dests", "FILE"); !strings.Contains(destinations, "chapter-2") {
		t.Errorf("the contents lead nowhere: %s", destinations)
	}
	if info := pdfTool(t, pdf, "pdfinfo", "FILE"); !strings.Contains(info, "Tagged:          yes") {
		t.Errorf("not tagged: %s", info)
	}
}

// chartIsDrawn sees that its bars are as high as they get: that of October, the
// highest, has its colour just below the line of 100.
func chartIsDrawn(t *testing.T, pdf []byte) {
	pages := pagesOf(t, pdf, 70)
	bar, first := color.RGBA{194, 65, 12, 255}, -1
	for y := pages[0].Bounds().Min.Y; y < pages[0].Bounds().Max.Y && first < 0; y++ {
		for x := pages[0].Bounds().Min.X; x < pages[0].Bounds().Max.X; x++ {
			if color.RGBAModel.Convert(pages[0].At(x, y)) == bar {
				first = y
				break
			}
		}
	}
	if part := float64(first) / float64(pages[0].Bounds().Dy()); part < 0.15 || part > 0.35 {
		t.Errorf("its highest bar begins at %.0f %% of the page", 100*part)
	}
}

func TestTheExamplesOfTheGuidesRender(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	folders, err := filepath.Glob("../../docs/examples/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if _, known := examples[filepath.Base(folder)]; !known {
			t.Errorf("nothing says what has to come out of %s", folder)
		}
	}
	for name, want := range examples {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := *c
			c.t = t
			doc := c.submit(exampleInput(t, filepath.Join("../../docs/examples", name)))
			if doc.State != "PROCESSED" {
				t.Fatalf("%v", doc)
			}
			_, file := c.download(doc.DownloadURL)
			if name == "image" {
				if width, height := size(t, file); width != 600 || height != 315 {
					t.Errorf("%d by %d pixels", width, height)
				}
				picture(t, name, file)
				return
			}
			if doc.File.PageCount != len(want.pages) {
				t.Fatalf("%d pages, want %d", doc.File.PageCount, len(want.pages))
			}
			for i, page := range want.pages {
				number := fmt.Sprint(i + 1)
				said := pdfTool(t, file, "pdftotext", "-layout", "-f", number, "-l", number, "FILE", "-")
				said = strings.Join(strings.Fields(marksOfDirection.Replace(said)), " ")
				for text := range strings.SplitSeq(page.says, "|") {
					if !strings.Contains(said, text) {
						t.Errorf("page %s lacks %q: %s", number, text, said)
					}
				}
				info := pdfTool(t, file, "pdfinfo", "-f", number, "-l", number, "FILE")
				_, size, _ := strings.Cut(info, " size:")
				var width, height float64
				if _, err := fmt.Sscanf(size, "%f x %f", &width, &height); err != nil {
					t.Fatalf("%v: %s", err, info)
				}
				if width, height = width/72*25.4, height/72*25.4; math.Abs(width-page.paper[0]) > 0.5 || math.Abs(height-page.paper[1]) > 0.5 {
					t.Errorf("page %s has %.1f by %.1f mm, want %v", number, width, height, page.paper)
				}
			}
			if want.more != nil {
				want.more(t, file)
			}
			picture(t, name, sideBySide(t, file, want.dpi))
		})
	}
}

// marksOfDirection are what pdftotext puts around words that run from the right.
var marksOfDirection = strings.NewReplacer("\u200e", "", "\u200f", "", "\u202a", "", "\u202b", "", "\u202c", "")

// exampleInput is the input of createSubmission of an example: its sources, its data,
// and what else input.json says.
func exampleInput(t *testing.T, folder string) vars {
	t.Helper()
	input := vars{}
	text := func(file string) []byte {
		text, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return text
	}
	if more := text("input.json"); more != nil {
		if err := json.Unmarshal(more, &input); err != nil {
			t.Fatal(err)
		}
	}
	for field, file := range map[string]string{"html": "template.html", "css": "style.css", "headerHtml": "header.html", "footerHtml": "footer.html"} {
		if source := text(file); source != nil {
			input[field] = string(source)
		}
	}
	if data := text("data.json"); data != nil {
		input["data"] = json.RawMessage(data)
	}
	return input
}

// picture writes a picture of the guide into the folder TEST_PICTURES, if it is set.
func picture(t *testing.T, name string, png []byte) {
	t.Helper()
	if len(png) > 80<<10 {
		t.Errorf("the picture has %d bytes", len(png))
	}
	if folder := os.Getenv("TEST_PICTURES"); folder != "" {
		if err := os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644); err != nil {
			t.Error(err)
		}
	}
}

// sideBySide is a picture of the pages of a PDF, in a row.
func sideBySide(t *testing.T, pdf []byte, dpi int) []byte {
	t.Helper()
	const gap = 10
	pages := pagesOf(t, pdf, dpi)
	width, height := gap, 0
	for _, page := range pages {
		width += page.Bounds().Dx() + gap
		height = max(height, page.Bounds().Dy()+2*gap)
	}
	whole := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.Draw(whole, whole.Bounds(), image.NewUniform(color.RGBA{214, 218, 224, 255}), image.Point{}, draw.Src)
	left := gap
	for _, page := range pages {
		draw.Draw(whole, page.Bounds().Add(image.Pt(left, gap)), page, image.Point{}, draw.Src)
		left += page.Bounds().Dx() + gap
	}
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, whole); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// pagesOf are pictures of the pages of a PDF.
func pagesOf(t *testing.T, pdf []byte, dpi int) (pages []image.Image) {
	t.Helper()
	dir := t.TempDir()
	pdfTool(t, pdf, "pdftoppm", "-r", fmt.Sprint(dpi), "-png", "FILE", filepath.Join(dir, "page"))
	files, err := filepath.Glob(filepath.Join(dir, "page*.png")) // sorted
	if err != nil || len(files) == 0 {
		t.Fatal("no pages: ", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		page, err := png.Decode(bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, page)
	}
	return pages
}
