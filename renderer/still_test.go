package renderer

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"

	"platen/bench"
)

// Chromium notes when it wrote a file.
var written = regexp.MustCompile(`/(CreationDate|ModDate) \([^)]*\)`)

func TestAPageThatIsStillPrintsWhatOneThatIsDrawnDoes(t *testing.T) {
	t.Parallel()
	font, err := os.ReadFile("/usr/share/fonts/truetype/dejavu/DejaVuSerif.ttf")
	if err != nil {
		t.Fatal(err)
	}
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
		switch filepath.Ext(r.URL.Path) {
		case ".png":
			w.Write(redPNG())
		case ".ttf":
			w.Header().Set("Access-Control-Allow-Origin", "*")
			w.Write(font)
		}
	})
	inline := "data:image/png;base64," + base64.StdEncoding.EncodeToString(redPNG())
	documents := map[string]string{
		"an invoice":        bench.Invoice().HTML,
		"a report":          bench.Report().HTML,
		"images":            `<img src="` + inline + `"><div style="background:url(` + inline + `);height:80px"></div><img src="` + s.URL + `/a.png">`,
		"a font of data":    `<style>@font-face{font-family:f;src:url(data:font/ttf;base64,` + base64.StdEncoding.EncodeToString(font) + `)}</style><p style="font-family:f">Serif</p>`,
		"an address's font": `<style>@font-face{font-family:f;src:url(` + s.URL + `/f.ttf)}</style><p style="font-family:f;background:url(` + s.URL + `/x.png)">Serif</p>`,
		"boxes":             `<div style="display:grid;grid-template-columns:1fr 2fr;gap:1em"><p style="columns:2">` + string(bytes.Repeat([]byte("word "), 300)) + `<p style="position:sticky;top:0">s<div style="position:fixed;bottom:0">f</div></div>`,
		"paint":             `<div style="width:9em;height:9em;background:conic-gradient(red,blue);box-shadow:0 0 9px #000;transform:rotate(9deg);filter:blur(1px);opacity:.5;mix-blend-mode:multiply;clip-path:circle(40%);mask:linear-gradient(#000,transparent)"></div>`,
		"lists and tables":  `<ol style="list-style:upper-roman"><li>a<li>b</ol><table style="border-collapse:collapse"><thead><tr><th>h<tbody>` + string(bytes.Repeat([]byte("<tr><td>1<td>2"), 200)) + `</table><details open><summary>s</summary>d</details><input value=v><progress value=.5></progress>`,
		"an SVG":            `<svg viewBox="0 0 9 9"><defs><linearGradient id=g><stop stop-color=red /><stop offset=1 /></linearGradient><filter id=f><feGaussianBlur stdDeviation=.2 /></filter></defs><rect width=9 height=9 fill=url(#g) filter=url(#f) /><text y=5 font-size=2>t</text></svg>`,
		"several media":     `<style>@media screen{p{display:none}}@media (min-width:600px){b{color:red}}@container (min-width:9em){i{color:blue}}p:has(b){margin:9pt}</style><div style="container-type:inline-size"><p>a<b>b</b><i>i</i></div><p style="width:50vw;height:50vh;background:#eee">v`,
		"pages":             `<style>@page{margin:3cm;@bottom-center{content:counter(page) " of " counter(pages)}}</style>` + string(bytes.Repeat([]byte("<p style='break-after:page'>page"), 5)),
	}
	for name, html := range documents {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if m := newMarkup(html, "", "", document(t, html).Settings); !m.still {
				t.Fatal("it is not one that is still")
			}
			p := document(t, "<!doctype html>"+html)
			still := render(t, p)
			if idle := waitIdles(t, shared, p.Account, 1); !idle[0].owner.still {
				t.Error("the page is not still")
			}
			again := render(t, p)
			p.HTML += "<!-- animated -->" // so that it is drawn
			drawn := render(t, p)
			waitIdles(t, shared, p.Account, 2)
			for what, other := range map[string][]byte{"again": again, "drawn": drawn} {
				if !bytes.Equal(written.ReplaceAll(still, nil), written.ReplaceAll(other, nil)) {
					t.Errorf("%s it is another document: %d bytes, and %d", what, len(still), len(other))
				}
			}
		})
	}
}

func TestAPageIsStillOnlyIfNothingInItMoves(t *testing.T) {
	t.Parallel()
	for _, html := range []string{
		"<style>p{animation:x 1ms forwards}@keyframes x{to{opacity:1}}</style>", "<p style='TRANSITION:all 1s'>", "<svg><animate /></svg>", "<svg><set /></svg>",
		"<link rel=stylesheet href=https://example.com/a.css>", "<style>@import 'https://example.com/a.css'</style>", "<script>1</script>", "<p onclick=1>", "<iframe srcdoc=x></iframe>",
		"<video></video>", "<p style='content-visibility:auto'>",
	} {
		settings := document(t, "").Settings
		if newMarkup(html, "", "", settings).still {
			t.Errorf("%s is still", html)
		}
		settings.NoJavaScript = true // frames and the like stay
		if newMarkup(html, "", "", settings).still {
			t.Errorf("%s is still without scripts", html)
		}
	}
}

// TestBenchPagesWithoutFrames sets and prints on two pages at once, with nothing around them.
func TestBenchPagesWithoutFrames(t *testing.T) {
	bench.Alone(t)
	for _, d := range []bench.Document{bench.Invoice(), bench.Report()} {
		parameters, err := printParameters(document(t, d.HTML))
		if err != nil {
			t.Fatal(err)
		}
		browser, err := shared.alive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		count := bench.Pick(1, 600/(5*d.Pages))
		perSecond := func(still bool) func() float64 {
			var pages []*page
			for range 2 {
				p, err := newPage(t.Context(), browser, owner{account: account(t), still: still})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(p.dispose)
				pages = append(pages, p)
			}
			return func() float64 {
				return float64(2*count) / bench.Seconds(func() {
					var all sync.WaitGroup
					for _, p := range pages {
						all.Go(func() {
							for range count {
								if _, err := p.setAndPrint(t.Context(), d.HTML, parameters); err != nil {
									t.Error(err)
									return
								}
							}
						})
					}
					all.Wait()
				})
			}
		}
		still, drawn := perSecond(true), perSecond(false)
		bench.Interleave(1, still, drawn) // warm
		measured := bench.Interleave(bench.Pick(1, 15), still, drawn)
		bench.Row{Name: "(a) " + d.Name + ", set and printed without frames over with", Unit: "documents/s", Ours: measured[0], Floor: measured[1], Note: "2 at a time"}.Print(t)
	}
}
