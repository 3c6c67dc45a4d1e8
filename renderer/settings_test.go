package renderer

import (
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"platen"
)

const threePages = "<h1>One</h1><p style='break-before:page'>Two<p style='break-before:page'>Three"

func TestR2_3PageRangesChooseThePages(t *testing.T) {
	t.Parallel()
	p := document(t, threePages)
	for ranges, want := range map[string]string{
		"": "One Two Three", " ": "One Two Three", "2": "Two", "1-2": "One Two", "2-": "Two Three", "-2": "One Two", "3, 1": "One Three",
		"1 - 2,2-3": "One Two Three", "2-9": "Two Three", "1, 7-8": "One",
	} {
		p.Settings.PageRanges = ranges
		if errs := p.Settings.Validate(); len(errs) > 0 {
			t.Errorf("%q: %v", ranges, errs)
		}
		if got := strings.Join(strings.Fields(text(t, render(t, p))), " "); got != want {
			t.Errorf("%q: %q, want %q", ranges, got, want)
		}
	}
	for _, ranges := range []string{"4", "5-9", "1000000"} {
		p.Settings.PageRanges = ranges
		failure := renderFails(t, shared, p, platen.StageRender, platen.FailureRenderFailed)
		if !strings.Contains(failure.Message, "pages "+ranges+" ") || !strings.Contains(failure.Message, "the document has 3.") || failure.Retryable {
			t.Error(failure.Message)
		}
	}
}

func TestR2_3ACSSPageSizeWinsWhenItIsPreferred(t *testing.T) {
	t.Parallel()
	elsewhere := server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		fmt.Fprintf(w, "<!doctype html><style>@page{size:%s}</style>x", r.URL.Query().Get("size"))
	})
	for _, c := range []struct {
		size   string
		prefer bool
		w, h   float64 // points
	}{
		{"A5", true, 419.5, 595.3}, {"A5", false, 612, 792}, {"A5 landscape", true, 595.3, 419.5}, {"A5 landscape", false, 612, 792},
		{"landscape", true, 792, 612}, {"landscape", false, 612, 792}, {"auto", true, 612, 792},
	} {
		markup := document(t, "<!doctype html><style>@page{size:"+c.size+"}</style>x")
		address := Page{Account: markup.Account, URL: elsewhere.URL + "/?size=" + strings.ReplaceAll(c.size, " ", "+"), Settings: markup.Settings}
		for _, p := range []Page{markup, address} {
			p.Settings.PreferCSSPageSize = c.prefer
			var w, h float64
			size := info(t, render(t, p), "Page size")
			fmt.Sscanf(size, "%f x %f", &w, &h)
			if math.Abs(w-c.w) > 1 || math.Abs(h-c.h) > 1 {
				t.Errorf("%+v, %q: %s", c, p.URL, size)
			}
		}
	}
}

func TestR2_3AnOutlineHasTheHeadingsAndNeedsTags(t *testing.T) {
	t.Parallel()
	p := document(t, "<title>T</title><h1>Chapter Alpha</h1><p>x<h2>Section Beta</h2><p>y")
	for _, c := range []struct {
		outline, tagged bool
		titles          int
		wantTagged      string
	}{{false, false, 0, "no"}, {true, false, 2, "yes"}, {false, true, 0, "yes"}, {true, true, 2, "yes"}} {
		p.Settings.Outline, p.Settings.Tagged = c.outline, c.tagged
		pdf := render(t, p)
		if got := info(t, pdf, "Tagged"); got != c.wantTagged {
			t.Errorf("%+v: tagged %s", c, got)
		}
		file := filepath.Join(t.TempDir(), "outline.pdf")
		if err := os.WriteFile(file, pdf, 0o600); err != nil {
			t.Fatal(err)
		}
		bookmarks := string(command(t, nil, "qpdf", "--json", "--json-key=outlines", file))
		if n := strings.Count(bookmarks, "Chapter Alpha") + strings.Count(bookmarks, "Section Beta"); n != c.titles {
			t.Errorf("%+v: %s", c, bookmarks)
		}
	}
}

func TestR2_3WithoutJavaScriptNoScriptRuns(t *testing.T) {
	t.Parallel()
	const frame = "<p id=p>FRAMED</p><script>p.textContent='RAN'</script>"
	const scripted = `<!doctype html><noscript>NOSCRIPT</noscript><p id=p>STILL</p><script>p.textContent='RAN'</script>
		<body onload="document.body.append('RAN')"><svg onload="document.body.append('RAN')"></svg>`
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if r.URL.Path == "/frame" {
			fmt.Fprint(w, frame)
			return
		}
		_, port, _ := net.SplitHostPort(r.Host)
		// Browsers may give a frame of another site a process of its own.
		fmt.Fprintf(w, "%s<iframe src=http://other.test:%s/frame></iframe><iframe src=/frame></iframe>", scripted, port)
	})
	r := own(t, Options{Proxy: namedProxy(t)})
	markup := document(t, scripted+"<iframe src="+s.URL+"/frame></iframe><iframe srcdoc=\""+frame+"\"></iframe>")
	for _, p := range []Page{markup, {Account: markup.Account, URL: s.URL, Settings: markup.Settings}} {
		p.Settings.NoJavaScript = true
		got := text(t, renderOn(t, r, p))
		if strings.Contains(got, "RAN") || !strings.Contains(got, "STILL") || !strings.Contains(got, "NOSCRIPT") || strings.Count(got, "FRAMED") != 2 {
			t.Errorf("%q: %s", p.URL, got)
		}
		p.Settings.NoJavaScript = false
		if got := text(t, renderOn(t, r, p)); strings.Count(got, "RAN") < 3 || strings.Contains(got, "STILL") || strings.Contains(got, "NOSCRIPT") {
			t.Errorf("%q with scripts: %s", p.URL, got)
		}
	}
}
