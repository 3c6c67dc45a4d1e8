package renderer

import (
	"fmt"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// scripts of the world, as invoices have them, by their language (BCP 47). The
// Hindi has a vowel that is written before its consonant, and conjuncts.
var scripts = []struct{ language, sample string }{
	{"en", "Invoice №42 café Ærø Łódź İstanbul Việt €₹₽"}, {"ru", "Счёт Ґанок Љубав"}, {"el", "Τιμολόγιο Ώρα ΐ"}, {"ar", "فاتورة ضريبة رقم ١٢٣"},
	{"hi", "हिन्दी चालान संख्या क्ष्म"}, {"th", "ใบแจ้งหนี้ กรุณา"}, {"zh-Hans", "发票编号 简体"}, {"zh-Hant", "發票編號 繁體"}, {"ja", "請求書 ひらがな カタカナ"},
	{"ko", "청구서 번호"}, {"he", "חשבונית מס"}, {"", "Emoji 😀 🇩🇪 👍🏽"},
}

func TestTheWorldsScriptsArePrintedAndFoundAgain(t *testing.T) {
	t.Parallel()
	var page strings.Builder
	page.WriteString("<!doctype html><meta charset=utf-8><style>body{font:20px sans-serif} .serif{font-family:serif;font-weight:bold}</style>")
	for _, one := range scripts {
		fmt.Fprintf(&page, "<p lang='%s'>%s</p><p class=serif lang='%s'>%s</p>", one.language, html.EscapeString(one.sample), one.language, html.EscapeString(one.sample))
	}
	pdf := render(t, document(t, page.String()))
	keep(t, "scripts.pdf", pdf)
	if n := boxes(t, pdf); n > 0 {
		t.Errorf("%d characters are boxes", n)
	}
	// Embeddings and marks of direction are how pdftotext says that a line runs from
	// the right. In such a line it gives each word in reading order, but not always the
	// words, so words are what is compared.
	got := regexp.MustCompile("[\u200e\u200f\u202a-\u202e]").ReplaceAllString(text(t, pdf), "")
	words := map[string]int{}
	for _, word := range strings.Fields(got) {
		words[word]++
	}
	for _, one := range scripts {
		for _, word := range strings.Fields(one.sample) {
			if words[word] < 2 {
				t.Errorf("%s: %q is found %d times of two in:\n%s", one.language, word, words[word], got)
			}
		}
	}
	// What no font has is a box, so boxes are found.
	if n := boxes(t, render(t, document(t, "a\U000f1234b"))); n != 1 {
		t.Errorf("%d boxes are found of one", n)
	}
}

var shownPattern = regexp.MustCompile(`<((?:[0-9a-f]{4})+)> Tj`)

// boxes counts how often the glyph that stands for a missing one is shown: it is
// number 0 in every font (https://learn.microsoft.com/typography/opentype/spec/recom).
func boxes(t testing.TB, pdf []byte) (n int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "fonts.pdf")
	if err := os.WriteFile(file, pdf, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, shown := range shownPattern.FindAllSubmatch(command(t, nil, "qpdf", "--qdf", "--object-streams=disable", file, "-"), -1) {
		for i := 0; i < len(shown[1]); i += 4 {
			if string(shown[1][i:i+4]) == "0000" {
				n++
			}
		}
	}
	return n
}
