package renderer

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/rand"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"platen"
)

// shot is a page of the test's own account that becomes an image.
func shot(t testing.TB, html string, kind platen.OutputKind) Page {
	p := document(t, html)
	p.Output, p.Screenshot = kind, platen.DefaultScreenshot()
	return p
}

// drawn renders the page and decodes the image.
func drawn(t testing.TB, p Page) image.Image {
	t.Helper()
	return decodeImage(t, p.Output, render(t, p))
}

// decodeImage reads an image; a WebP, which Go does not know, by way of the browser.
func decodeImage(t testing.TB, kind platen.OutputKind, file []byte) image.Image {
	t.Helper()
	var img image.Image
	var err error
	switch kind {
	case platen.OutputPNG:
		img, err = png.Decode(bytes.NewReader(file))
	case platen.OutputJPEG:
		img, err = jpeg.Decode(bytes.NewReader(file))
	case platen.OutputWebP:
		if !bytes.HasPrefix(file, []byte("RIFF")) || string(file[8:12]) != "WEBP" {
			t.Fatalf("%.20q is not a WebP", file)
		}
		p := shot(t, "<!doctype html><style>body{margin:0}img{display:block}</style><img src=data:image/webp;base64,"+
			base64.StdEncoding.EncodeToString(file)+">", platen.OutputPNG)
		p.Account += "-webp"
		p.Screenshot.OmitBackground, p.Screenshot.Height = true, 1
		p.Screenshot.Width = webPWidth(file)
		return drawn(t, p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// webPWidth reads the width from the header of a lossy, a lossless or an extended
// file (RFC 9649, sections 2.5 to 2.7).
func webPWidth(file []byte) int {
	switch string(file[12:16]) {
	case "VP8 ":
		return int(file[26]) | int(file[27]&0x3f)<<8
	case "VP8L":
		return 1 + (int(file[21]) | int(file[22]&0x3f)<<8)
	}
	return 1 + (int(file[24]) | int(file[25])<<8 | int(file[26])<<16)
}

func size(img image.Image) string {
	return fmt.Sprintf("%dx%d", img.Bounds().Dx(), img.Bounds().Dy())
}

// bands is a page of 600 CSS pixels and its window's height: red, and blue at the end.
const bands = `<!doctype html><style>body{margin:0}div{background:#f00;height:500px}p{margin:0;background:#00f;height:100px}i{display:block;height:100vh;background:#0f0}</style><i></i><div></div><p></p>`

func TestR3_1APageBecomesAnImageOfTheRightSize(t *testing.T) {
	t.Parallel()
	for _, kind := range []platen.OutputKind{platen.OutputPNG, platen.OutputJPEG, platen.OutputWebP} {
		for _, c := range []struct {
			width, height int
			scale         float64
			full          bool
			want          string
		}{
			{800, 301, 1, true, "800x901"}, {800, 301, 1, false, "800x301"}, {800, 301, 2, true, "1600x1802"}, {401, 301, 1.5, false, "602x452"},
			{401, 301, 1.5, true, "602x1352"}, {4000, 300, 0.1, true, "400x90"}, {1, 1, 1, false, "1x1"},
		} {
			p := shot(t, bands, kind)
			p.Screenshot.Width, p.Screenshot.Height, p.Screenshot.DeviceScaleFactor, p.Screenshot.FullPage = c.width, c.height, c.scale, c.full
			if errs := p.Screenshot.Validate(kind); len(errs) > 0 {
				t.Fatal(errs)
			}
			img := drawn(t, p)
			if size(img) != c.want {
				t.Errorf("%s %+v: %s", kind, c, size(img))
			}
			bottom := img.Bounds().Dy() - 1
			if !isColor(img.At(0, 0), 0, 255, 0) || c.full && !isColor(img.At(0, bottom), 0, 0, 255) || !c.full && !isColor(img.At(0, bottom), 0, 255, 0) {
				t.Errorf("%s %+v: %v, %v", kind, c, img.At(0, 0), img.At(0, bottom))
			}
		}
	}
	short := shot(t, "<!doctype html>short", platen.OutputPNG)
	if got := size(drawn(t, short)); got != "1280x800" {
		t.Errorf("a page that does not fill its window: %s", got)
	}
	wide := shot(t, "<!doctype html><div style=width:3000px>wide", platen.OutputPNG)
	if got := size(drawn(t, wide)); got != "1280x800" {
		t.Errorf("a page wider than its window: %s", got)
	}
}

func TestR3_1QualityMakesImagesSmaller(t *testing.T) {
	t.Parallel()
	const busy = "<!doctype html><body style='background:repeating-conic-gradient(#123 0 7deg,#fed 0 13deg)'>"
	for _, kind := range []platen.OutputKind{platen.OutputJPEG, platen.OutputWebP} {
		var sizes []int // 100 is lossless in WebP, and can be smaller
		for _, quality := range []int{5, 50, 95} {
			p := shot(t, busy, kind)
			p.Screenshot.Quality = quality
			sizes = append(sizes, len(render(t, p)))
		}
		if sizes[0] >= sizes[1] || sizes[1] >= sizes[2] {
			t.Errorf("%s: %v bytes", kind, sizes)
		}
	}
}

func TestR3_1ABackgroundMayBeLeftOut(t *testing.T) {
	t.Parallel()
	alpha := func(c color.Color) uint32 { _, _, _, a := c.RGBA(); return a >> 8 }
	const html = "<!doctype html><div style='background:#f00;width:100px;height:100px'></div>"
	for _, kind := range []platen.OutputKind{platen.OutputPNG, platen.OutputWebP} {
		p := shot(t, html, kind)
		p.Screenshot.OmitBackground = true
		img := drawn(t, p)
		if alpha(img.At(600, 600)) != 0 || !isColor(img.At(50, 50), 255, 0, 0) || alpha(img.At(50, 50)) != 255 {
			t.Errorf("%s: %v, %v", kind, img.At(600, 600), img.At(50, 50))
		}
	}
	// On the same page of the browser, with nothing left of it.
	if img := drawn(t, shot(t, html, platen.OutputPNG)); !isColor(img.At(600, 600), 255, 255, 255) || alpha(img.At(600, 600)) != 255 {
		t.Errorf("the next image has the background %v", img.At(600, 600))
	}
}

func TestR3_1AnImageLeavesNoWindowForTheNextPDF(t *testing.T) {
	t.Parallel()
	const html = "<!doctype html><p id=p></p><script>p.textContent=[innerWidth,innerHeight,outerWidth,screen.width,devicePixelRatio,matchMedia('(min-width:2000px)').matches]</script>"
	before := text(t, render(t, document(t, html)))
	first := waitIdle(t, shared, account(t))
	p := shot(t, html, platen.OutputPNG)
	p.Screenshot.Width, p.Screenshot.Height, p.Screenshot.DeviceScaleFactor, p.Screenshot.OmitBackground = 2222, 333, 2, true
	if got := size(drawn(t, p)); got != "4444x666" {
		t.Error(got)
	}
	waitIdle(t, shared, account(t))
	if after := text(t, render(t, document(t, html))); after != before {
		t.Errorf("before %q, after %q", before, after)
	}
	if p := waitIdle(t, shared, account(t)); p != first || p.uses != 3 {
		t.Errorf("another page was used, so this proves nothing: %d uses", p.uses)
	}
}

func TestNothingOfADocumentIsSeenInTheNext(t *testing.T) {
	t.Parallel()
	const plain = "<!doctype html><body style='margin:0'><p style='font-size:60px'>HHHH</p><div style='height:20000px'></div>"
	for name, before := range map[string]string{
		"scrolled by a focus": "<!doctype html><body style='height:10000px'><input autofocus style='position:absolute;top:6000px'>",
		"dark":                "<!doctype html><meta name=color-scheme content=dark><p>x",
		"dark by a style":     "<!doctype html><html style='color-scheme:dark'><p>x",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			window := func(html string) Page {
				p := shot(t, html, platen.OutputPNG)
				p.Screenshot.Width, p.Screenshot.Height, p.Screenshot.FullPage = 300, 200, false
				return p
			}
			image, pdf := render(t, window(plain)), render(t, document(t, plain))
			render(t, window(before))
			pages := waitIdles(t, shared, account(t), 2) // one is drawn, and one printed
			if !bytes.Equal(render(t, window(plain)), image) {
				t.Error("an image is another one after this document")
			}
			waitIdles(t, shared, account(t), 2)
			render(t, document(t, before))
			waitIdles(t, shared, account(t), 2)
			if want, got := picture(t, pdf), picture(t, render(t, document(t, plain))); want.At(5, 5) != got.At(5, 5) {
				t.Errorf("after this document, the next one's paper is %v, want %v", got.At(5, 5), want.At(5, 5))
			}
			for _, p := range waitIdles(t, shared, account(t), 2) {
				if !slices.Contains(pages, p) {
					t.Error("another page was used, so this proves nothing")
				}
			}
		})
	}
}

func TestR3_1AnImageLargerThanTheLimitsIsRefused(t *testing.T) {
	t.Parallel()
	column := func(height int) string {
		return fmt.Sprintf("<!doctype html><style>body{margin:0}</style><div style=height:%dpx;background:#f00></div><p style=margin:0;height:10px;background:#00f>", height-10)
	}
	for _, c := range []struct {
		html          string
		width, height int
		scale         float64
		want          string
	}{
		{column(platen.MaxImageSide + 1), 100, 100, 1, "100 by 16384 pixels"},
		{column(platen.MaxImageSide/2 + 1), 100, 100, 2, "200 by 16384 pixels"},
		{column(16_000), platen.MaxWindow, 100, 1.02, "4178 by 16320 pixels"},
		{column(3_000_000), 100, 100, 1, "by 3000000 pixels"},
	} {
		p := shot(t, c.html, platen.OutputPNG)
		p.Screenshot.Width, p.Screenshot.Height, p.Screenshot.DeviceScaleFactor = c.width, c.height, c.scale
		failure := renderFails(t, shared, p, platen.StageRender, platen.FailureDocumentLimit)
		if !strings.Contains(failure.Message, c.want) || !strings.Contains(failure.Message, "16383") || !strings.Contains(failure.Message, "67108864") || failure.Retryable {
			t.Errorf("%s: %s", c.want, failure.Message)
		}
	}
	// The limits themselves are possible, to the last row, in each kind.
	for _, kind := range []platen.OutputKind{platen.OutputPNG, platen.OutputJPEG, platen.OutputWebP} {
		p := shot(t, column(platen.MaxImageSide), kind)
		p.Screenshot.Width, p.Screenshot.Height = 100, 100
		img := drawn(t, p)
		if size(img) != "100x16383" || !isColor(img.At(50, platen.MaxImageSide-2), 0, 0, 255) || !isColor(img.At(50, platen.MaxImageSide-20), 255, 0, 0) {
			t.Errorf("%s: %s, %v", kind, size(img), img.At(50, platen.MaxImageSide-2))
		}
	}
}

func TestR3_1AnImageShowsPicturesFontsAndScripts(t *testing.T) {
	t.Parallel()
	// Large enough that a browser would decode it beside the drawing.
	noise := image.NewRGBA(image.Rect(0, 0, 3000, 3000))
	random := rand.New(rand.NewSource(1))
	for i := range noise.Pix {
		noise.Pix[i] = byte(random.Int())
	}
	for y := 1400; y < 1600; y++ {
		for x := 1400; x < 1600; x++ {
			noise.Set(x, y, color.RGBA{R: 255, A: 255})
		}
	}
	var large bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.NoCompression}).Encode(&large, noise); err != nil {
		t.Fatal(err)
	}
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large.png":
			w.Write(large.Bytes())
		case "/red.png":
			w.Write(redPNG())
		default:
			http.NotFound(w, r)
		}
	})
	p := shot(t, "<!doctype html><style>body{margin:0}</style><img width=600 height=600 src="+s.URL+"/large.png><canvas id=c></canvas>"+
		"<script>c.getContext('2d').fillRect(0,0,300,150);document.body.style.background='#00f'</script>", platen.OutputPNG)
	img := drawn(t, p)
	if !isColor(img.At(300, 300), 255, 0, 0) || !isColor(img.At(700, 550), 0, 0, 0) || !isColor(img.At(1200, 700), 0, 0, 255) {
		t.Errorf("%v %v %v", img.At(300, 300), img.At(700, 550), img.At(1200, 700))
	}
	for _, media := range []platen.Media{platen.MediaPrint, platen.MediaScreen} {
		p := shot(t, "<!doctype html><style>@media print{body{background:#0f0}} @media screen{body{background:#f0f}}</style>", platen.OutputPNG)
		p.Settings.Media = media
		if img := drawn(t, p); media == platen.MediaPrint != isColor(img.At(9, 9), 0, 255, 0) || media == platen.MediaScreen != isColor(img.At(9, 9), 255, 0, 255) {
			t.Errorf("%s: %v", media, img.At(9, 9))
		}
	}
	// A header, a footer and the settings of paper have nothing to do with it.
	p = shot(t, "<!doctype html><style>body{background:#0f0}</style>", platen.OutputPNG)
	p.HeaderHTML, p.Settings.PageRanges, p.Settings.Scale = "<link rel=stylesheet href=x>", "7", 0
	if img := drawn(t, p); size(img) != "1280x800" || !isColor(img.At(0, 0), 0, 255, 0) {
		t.Errorf("%s %v", size(img), img.At(0, 0))
	}
	p = shot(t, "<img src="+s.URL+"/missing.png>", platen.OutputJPEG)
	renderFails(t, shared, p, platen.StageAsset, platen.FailureAssetFailed)
	p = shot(t, "<script>1</script>", platen.OutputPNG)
	renderFails(t, shared, waiting(p, platen.WaitFor{Selector: ".never"}, 1), platen.StageRender, platen.FailureRenderTimeout)
	// A page at an address becomes an image as well.
	address := shot(t, "", platen.OutputPNG)
	address.URL = s.URL + "/red.png"
	if img := drawn(t, address); !isColor(img.At(640, 400), 255, 0, 0) {
		t.Errorf("at an address: %v", img.At(640, 400))
	}
}

func TestAnImageThatCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	p := shot(t, "x", platen.OutputPNG)
	p.Screenshot = platen.Screenshot{}
	if failure := renderFails(t, shared, p, platen.StageRender, platen.FailureRenderFailed); !strings.Contains(failure.Message, "width") {
		t.Error(failure.Message)
	}
	renderFails(t, shared, shot(t, "x", "GIF"), platen.StageRender, platen.FailureRenderFailed)
}

func TestR3_5ATestImageIsMarked(t *testing.T) {
	t.Parallel()
	const hide = `<style>svg,img,text,*{opacity:0!important}body{opacity:1!important;background:§!important}</style><div style="position:fixed;inset:0;z-index:2147483647;background:§"></div>
		<script>setInterval(()=>document.querySelectorAll('svg,text').forEach(e=>e.remove()),1)</script>`
	for name, c := range map[string]struct {
		html string
		r    uint8 // grey of the page
	}{
		"light": {"<!doctype html><body style=background:#fff>", 255}, "dark": {"<!doctype html><body style=background:#000>", 0},
		"hostile": {"<!doctype html>" + strings.ReplaceAll(hide, "§", "#fff"), 255},
	} {
		for _, kind := range []platen.OutputKind{platen.OutputPNG, platen.OutputJPEG, platen.OutputWebP} {
			p := shot(t, c.html, kind)
			p.Screenshot.DeviceScaleFactor = 1.5
			plain := drawn(t, p)
			p.Watermark = "TEST"
			file := render(t, p)
			keep(t, name+"."+kind.Extension(), file)
			marked := decodeImage(t, kind, file)
			if size(marked) != "1920x1200" || size(plain) != "1920x1200" {
				t.Errorf("%s %s: %s, %s without the mark", name, kind, size(marked), size(plain))
			}
			changed := 0
			for y := range 1200 {
				for x := range 1920 {
					if !isColor(marked.At(x, y), c.r, c.r, c.r) {
						changed++
					}
				}
			}
			// Letters of 312 pixels.
			if share := float64(changed) / (1920 * 1200); share < 0.02 || share > 0.2 {
				t.Errorf("%s %s: the mark changes %.3f of the pixels", name, kind, share)
			}
			if !isColor(marked.At(5, 5), c.r, c.r, c.r) || !isColor(marked.At(1900, 1190), c.r, c.r, c.r) {
				t.Errorf("%s %s: the corners are %v and %v", name, kind, marked.At(5, 5), marked.At(1900, 1190))
			}
		}
	}
}

func TestR3_5TheMarkChangesNothingElse(t *testing.T) {
	t.Parallel()
	p := shot(t, "<!doctype html><body style='margin:0;background:linear-gradient(45deg,#f00,#0f0,#00f)'><h1>Text that is sharp</h1><div style=height:9000px>", platen.OutputPNG)
	p.Screenshot.Width, p.Screenshot.DeviceScaleFactor = 333, 1.3
	plain := drawn(t, p)
	p.Watermark = "TEST"
	file := render(t, p)
	keep(t, "long.png", file)
	marked := decodeImage(t, p.Output, file)
	if size(marked) != size(plain) {
		t.Fatalf("%s, without the mark %s", size(marked), size(plain))
	}
	same, bounds := 0, plain.Bounds()
	lastMark := 0
	for y := range bounds.Dy() {
		for x := range bounds.Dx() {
			if plain.At(x, y) == marked.At(x, y) {
				same++
			} else if y-lastMark > bounds.Dx()*2 {
				t.Fatalf("no mark between the rows %d and %d", lastMark, y)
			} else {
				lastMark = y
			}
		}
	}
	if share := float64(same) / float64(bounds.Dx()*bounds.Dy()); share < 0.8 || share > 0.98 {
		t.Errorf("%.3f of the pixels are the same", share)
	}
	p = shot(t, "<!doctype html>", platen.OutputPNG)
	p.Screenshot.OmitBackground, p.Watermark = true, "TEST"
	file = render(t, p)
	keep(t, "transparent.png", file)
	var clear, drawn int
	img := decodeImage(t, p.Output, file)
	for y := range 800 {
		for x := range 1280 {
			if _, _, _, a := img.At(x, y).RGBA(); a == 0 {
				clear++
			} else if a>>8 < 100 {
				drawn++
			}
		}
	}
	if clear < 1280*800*8/10 || drawn < 1280*800*3/100 || clear+drawn != 1280*800 {
		t.Errorf("%d pixels are clear, %d are the mark", clear, drawn)
	}
	// It goes over images alone.
	pdf := document(t, "Body")
	pdf.Watermark = "TEST"
	if got := text(t, render(t, pdf)); strings.Contains(got, "TEST") {
		t.Error(got)
	}
}

// keep writes a file to look at into the folder TEST_KEEP_DIR, if it is set.
func keep(t testing.TB, name string, file []byte) {
	t.Helper()
	if dir := os.Getenv("TEST_KEEP_DIR"); dir != "" {
		if err := os.WriteFile(dir+"/"+t.Name()+"-"+name, file, 0o644); err != nil {
			t.Error(err)
		}
	}
}
