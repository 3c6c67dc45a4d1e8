package renderer

import (
	"strings"
	"testing"

	"platen"
)

func TestMarkupThatMayRunAScriptIsSeen(t *testing.T) {
	for _, html := range []string{
		"<script>1</script>", "<SCRIPT src=x>", "<script\n>", "<svg><script>1</script></svg>", "<p><scr<script>ipt>",
		"<body onload=go()>", "<img src=x onerror=go()>", "<img/onerror = 'go()'>", "<p OnClick\n=\"go()\">", "<svg onload=go()>",
		"<style onload=go()></style>", "<img src=\"\"onerror=go()>", "<details ontoggle\t=go() open>",
		"<a href='javascript:go()'>", "<a href='JavaScript:go()'>",
		"<iframe src=x>", "<IFRAME srcdoc='x'>", "<frameset><frame src=x>", "<object data=x>", "<embed src=x>", "<portal src=x>", "<fencedframe>",
		"<noscript>shown without scripts</noscript>",
	} {
		if !newMarkup(html, "", "", platen.PageSettings{}).scripts {
			t.Errorf("missed in %q", html)
		}
	}
	if !newMarkup("<p>", "</style><script>1</script>", "", platen.PageSettings{}).scripts {
		t.Error("missed in the style sheet")
	}
	for _, html := range []string{
		"<p>Hello</p>", "<svg><rect/></svg>", "<p class=on>", "<p>on = off</p>", "<a href=https://example.com>", "<p>description: x</p>", "<table border=1>",
	} {
		if newMarkup(html, "", "", platen.PageSettings{}).scripts {
			t.Errorf("%q counts as scripted", html)
		}
	}
}

func TestMarkupThatMayLoadSomethingIsSeen(t *testing.T) {
	for _, html := range []string{
		"<img src=https://x/y>", "<img src=//x/y>", "<img src=HTTP:x>", `<img src=http:\\x\y>`, "<img src=&#104;ttps:/x>", "<img src='htt&Tab;p:x'>",
		"<style>p{background:url(\\68ttp:x)}</style>", "<script>1</script>",
	} {
		if !newMarkup(html, "", "", platen.PageSettings{}).addresses {
			t.Errorf("missed in %q", html)
		}
	}
	if m := newMarkup("<p>Plain</p><img src=data:image/gif;base64,AAAA>", "p{color:red}", "T", platen.PageSettings{}); m.addresses || m.fonts || m.outlasts {
		t.Errorf("%+v", m)
	}
	if m := newMarkup("<p>", "@FONT-FACE{src:url(data:x)}", "", platen.PageSettings{}); !m.fonts {
		t.Error("a font is missed")
	}
	if m := newMarkup("<META HTTP-EQUIV=refresh>", "", "", platen.PageSettings{}); !m.outlasts {
		t.Error("a refresh is missed")
	}
}

func TestTheStyleSheetGoesToTheEndOfTheHead(t *testing.T) {
	const style = "<style>\nX\n</style>"
	for _, c := range []struct{ source, want string }{
		{"<!doctype html><html><head><title>T</title></head><body>b", "<!doctype html><html><head><title>T</title>§</head><body>b"},
		{"<!DOCTYPE html>\n<HTML>\n<HEAD >\n</HEAD ><body>", "<!DOCTYPE html>\n<HTML>\n<HEAD >\n§</HEAD ><body>"},
		{"<head><body>b", "<head>§<body>b"},
		{"<!doctype html><html lang=en><body>b", "<!doctype html><html lang=en>§<body>b"},
		{"<!doctype html><p>b", "<!doctype html>§<p>b"},
		{"<!-- c --><!doctype html><!-- c --><p>b", "<!-- c --><!doctype html>§<!-- c --><p>b"},
		{"<!doctype html><meta charset=utf-8><style>p{}</style><p>b", "<!doctype html><meta charset=utf-8><style>p{}</style>§<p>b"},
		{"<!doctype html>plain", "<!doctype html>§plain"},
		{"<p>b", "§<p>b"},
		{"plain", "§plain"},
		{"", "§"},
		{"\ufeff<!doctype html><p>", "<!doctype html>§<p>"},
		{"<head><script>var s='</head>'</script></head>", "<head><script>var s='</head>'</script>§</head>"},
		{"<head><!-- </head> --><title></head></title></head>", "<head><!-- </head> --><title></head></title>§</head>"},
		{"<head><template><p></head></template></head>", "<head><template><p></head></template>§</head>"},
		{"<head><script>never closed", "<head>§<script>never closed"},
		{"<!doctype html><p></head>", "<!doctype html>§<p></head>"},
	} {
		want := strings.Replace(c.want, "§", style, 1)
		if got := newMarkup(c.source, "X", "", platen.PageSettings{}).html; got != want {
			t.Errorf("%q\n got %q\nwant %q", c.source, got, want)
		}
	}
}

func TestAStyleSheetCannotEndItsElement(t *testing.T) {
	m := newMarkup("<head></head>", "a::after{content:'</STYLE><script>alert(1)</script>'}", "", platen.PageSettings{})
	if strings.Count(strings.ToLower(m.html), "</style") != 1 || !strings.Contains(m.html, `<\/STYLE>`) {
		t.Error(m.html)
	}
}

func TestATitleIsAddedOnlyWhereThereIsNone(t *testing.T) {
	if got := newMarkup("<head></head>", "", "A & <B>", platen.PageSettings{}).html; got != "<head><title>A &amp; &lt;B&gt;</title></head>" {
		t.Error(got)
	}
	if got := newMarkup("<head><Title>Mine</Title></head>", "", "Other", platen.PageSettings{}).html; strings.Contains(got, "Other") {
		t.Error(got)
	}
}

func BenchmarkMarkup(b *testing.B) {
	source := "<!doctype html><table>" + strings.Repeat("<tr><td>Person on position</td><td>1.000,00 €</td></tr>\n", 20_000)
	b.SetBytes(int64(len(source)))
	for b.Loop() {
		newMarkup(source, "td{color:red}", "Title", platen.PageSettings{})
	}
}

func FuzzTheInsertionIsInsideTheMarkup(f *testing.F) {
	for _, seed := range []string{"<!doctype html><html><head>", "<head><template><p></head>", "<script></head>", "<!--", "<![CDATA[x]]>", "\x00<p"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		if at := endOfHead(source); at < 0 || at > len(source) {
			t.Errorf("%d of %d", at, len(source))
		}
	})
}
