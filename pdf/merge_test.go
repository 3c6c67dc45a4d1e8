package pdf

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

func mustMerge(t testing.TB, pages int, parts ...Part) []byte {
	t.Helper()
	out, info, err := shared.Merge(context.Background(), parts)
	if err != nil {
		t.Fatal(err)
	}
	if info.Pages != pages {
		t.Errorf("%d pages, want %d", info.Pages, pages)
	}
	return out
}

// structure is what qpdf reads from a file.
type structure struct {
	Pages    []struct{ Object string }
	Outlines []outlineItem
	AcroForm struct {
		Fields []struct {
			FullName string `json:"fullname"`
			Value    any
		}
	}
	PageLabels []struct {
		Index int
		Label map[string]any
	}
	Attachments map[string]any
	QPDF        [2]json.RawMessage `json:"qpdf"`
	objects     map[string]struct {
		Value  any
		Stream struct{ Dict any }
	}
}

type outlineItem struct {
	Title string
	Page  int `json:"destpageposfrom1"`
	Open  bool
	Kids  []outlineItem
}

func (i outlineItem) String() string {
	s := fmt.Sprintf("%s@%d", i.Title, i.Page)
	if len(i.Kids) > 0 {
		s += fmt.Sprint(i.Kids)
	}
	return s
}

func readStructure(t *testing.T, path string) (s structure) {
	t.Helper()
	if err := json.Unmarshal([]byte(run(t, "qpdf", "--json=2", path)), &s); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(s.QPDF[1], &s.objects); err != nil {
		t.Fatal(err)
	}
	return s
}

// get follows references, and then keys of dictionaries.
func (s structure) get(o any, keys ...string) any {
	for {
		if ref, ok := o.(string); ok && strings.HasSuffix(ref, " 0 R") {
			object := s.objects["obj:"+ref]
			if o = object.Value; o == nil {
				o = object.Stream.Dict
			}
			continue
		}
		if len(keys) == 0 {
			return o
		}
		d, _ := o.(map[string]any)
		o, keys = d[keys[0]], keys[1:]
	}
}

func (s structure) catalog(keys ...string) any {
	return s.get(s.objects["trailer"].Value, append([]string{"/Root"}, keys...)...)
}

// page is the number of the page that a destination leads to, 0: none.
func (s structure) page(dest any) int {
	dest = s.get(dest)
	if name, ok := dest.(string); ok {
		if strings.HasPrefix(name, "/") {
			return s.page(s.catalog("/Dests", name))
		}
		kids, _ := s.catalog("/Names", "/Dests", "/Kids").([]any)
		for _, kid := range kids {
			list, _ := s.get(kid, "/Names").([]any)
			for i := 0; i+1 < len(list); i += 2 {
				if list[i] == name {
					return s.page(list[i+1])
				}
			}
		}
	}
	list, _ := dest.([]any)
	if len(list) == 0 {
		return 0
	}
	return 1 + slices.IndexFunc(s.Pages, func(p struct{ Object string }) bool { return p.Object == list[0] })
}

// links are where the links of a page lead: a page's number, or an address.
func (s structure) links(page int) (out []string) {
	list, _ := s.get(s.Pages[page-1].Object, "/Annots").([]any)
	for _, a := range list {
		if s.get(a, "/Subtype") != "/Link" {
			continue
		}
		switch {
		case s.get(a, "/Dest") != nil:
			out = append(out, fmt.Sprint(s.page(s.get(a, "/Dest"))))
		case s.get(a, "/A", "/S") == "/GoTo":
			out = append(out, fmt.Sprint(s.page(s.get(a, "/A", "/D"))))
		default:
			out = append(out, strings.TrimPrefix(fmt.Sprint(s.get(a, "/A", "/URI")), "u:"))
		}
	}
	return out
}

// numbered is an invoice that Chromium printed, with a number on each page.
func numbered(t testing.TB, n int) []byte {
	t.Helper()
	file, _, err := shared.Watermark(context.Background(), fixture(t, "invoice.pdf"), fmt.Sprintf("No %d.", n))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestR4_2PartsAreMergedInOrderWithBookmarksAndLinksToTheRightPages(t *testing.T) {
	t.Parallel()
	own := readStructure(t, save(t, fixture(t, "invoice.pdf")))
	fonts := strings.Count(run(t, "pdffonts", save(t, numbered(t, 1))), "\n")
	var all []Part
	for i := range 200 {
		all = append(all, Part{Title: fmt.Sprintf("Rechnung %d für Ä", i+1), File: numbered(t, i+1)})
	}
	for _, count := range []int{2, 20, 200} {
		parts := all[:count]
		out := mustMerge(t, 2*count, parts...)
		path := save(t, out)
		run(t, "qpdf", "--check", path)
		pages := strings.Split(run(t, "pdftotext", path, "-"), "\f")
		s := readStructure(t, path)
		if len(pages) != 2*count+1 || len(s.Pages) != 2*count || len(s.Outlines) != count {
			t.Fatalf("%d parts: %d pages of text, %d pages, %d bookmarks", count, len(pages), len(s.Pages), len(s.Outlines))
		}
		for i := range count {
			for page := 2 * i; page < 2*i+2; page++ {
				if !strings.Contains(pages[page], fmt.Sprintf("No %d.", i+1)) {
					t.Fatalf("%d parts: page %d is %q", count, page+1, pages[page])
				}
			}
			want := fmt.Sprintf("Rechnung %d für Ä@%d[%s@%d %s@%d]", i+1, 2*i+1,
				own.Outlines[0].Title, 2*i+own.Outlines[0].Page, own.Outlines[1].Title, 2*i+own.Outlines[1].Page)
			if got := s.Outlines[i].String(); got != want || s.Outlines[i].Open {
				t.Fatalf("%d parts: the bookmark is %s, want %s", count, got, want)
			}
			for page := 1; page <= 2; page++ {
				for k, link := range own.links(page) {
					if !strings.Contains(link, "://") {
						link = fmt.Sprint(2*i + own.page(own.get(own.get(own.Pages[page-1].Object, "/Annots").([]any)[k], "/Dest")))
					}
					if got := s.links(2*i + page); got[k] != link {
						t.Fatalf("%d parts: link %d of page %d leads to %s, want %s", count, k, 2*i+page, got[k], link)
					}
				}
			}
		}
		if got := strings.Count(run(t, "pdffonts", path), "\n"); got != fonts {
			t.Errorf("%d parts have %d lines of fonts, one has %d", count, got, fonts)
		}
		t.Logf("%d parts: %d KB of %d", count, len(out)>>10, count*len(parts[0].File)>>10)
	}
}

// everything is a part that has one of each thing that can be in a PDF.
// Its names are the same in all; what tells them apart is the word.
func everything(word string, font string) []byte {
	file := build(
		`<</Type /Catalog /Pages 2 0 R /Outlines 10 0 R /AcroForm <</Fields [7 0 R 20 0 R] /DA (/Helv 9 Tf 0 g) /DR <</Font <</Helv 8 0 R>>>> /CO [7 0 R]>>`+
			` /Names <</Dests <</Kids [13 0 R]>> /EmbeddedFiles <</Names [(note.txt) 14 0 R]>> /JavaScript <</Names [(j) 16 0 R]>>>>`+
			` /Dests <</old [4 0 R /Fit]>> /OpenAction 16 0 R /AA <</WC 16 0 R>> /MarkInfo <</Marked true>> /StructTreeRoot 18 0 R`+
			` /PageLabels <</Nums [0 <</S /r>> 1 <</S /D /P (`+word+`-)>>]>>`+
			` /OCProperties <</OCGs [17 0 R] /D <</OFF [17 0 R] /Order [17 0 R]>>>>>>`,
		`<</Type /Pages /Count 2 /Kids [3 0 R 4 0 R] /MediaBox [0 0 300 400] /Resources <</Font <</F 9 0 R>> /Properties <</L 17 0 R>>>>>>`,
		`<</Type /Page /Parent 2 0 R /Contents 5 0 R /Rotate 90 /CropBox [10 10 290 390] /TrimBox [20 20 280 380] /StructParents 0 /AA <</O 16 0 R>> /Annots [`+
			`<</Type /Annot /Subtype /Link /Rect [10 50 50 60] /Dest (total)>> <</Type /Annot /Subtype /Link /Rect [10 60 50 70] /Dest /old>>`+
			`<</Type /Annot /Subtype /Link /Rect [10 70 50 80] /A <</S /GoTo /D <746f74616c>>>>> <</Type /Annot /Subtype /Link /Rect [10 80 50 90] /A <</S /URI /URI (https://example.com/`+word+`)>>>>`+
			`<</Type /Annot /Subtype /Link /Rect [10 90 50 95] /Dest [4 0 R /XYZ 1 2 3]>> <</Type /Annot /Subtype /Link /Rect [10 95 50 99] /A <</S /Launch /F (calc.exe)>>>>`+
			` 7 0 R 20 0 R <</Type /Annot /Subtype /RichMedia /Rect [0 0 9 9]>>]>>`,
		`<</Type /Page /Parent 2 0 R /Contents 6 0 R /PieceInfo <<>>>>`,
		stream("", "BT /F 12 Tf 50 200 Td ("+word+" first) Tj ET /OC /L BDC BT /F 12 Tf 50 250 Td (hidden) Tj ET EMC"),
		stream("", "BT /F 12 Tf 50 200 Td ("+word+" second) Tj ET"),
		`<</Type /Annot /Subtype /Widget /FT /Tx /T (customer) /V (`+word+` value) /Rect [100 100 200 130] /P 3 0 R /F 4 /AA <</C 16 0 R>> /AP <</N 19 0 R>>>>`,
		`<</Type /Font /Subtype /Type1 /BaseFont /`+font+`>>`,
		`<</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>`,
		`<</Type /Outlines /First 11 0 R /Last 11 0 R /Count 2>>`,
		`<</Title (Chapter) /Parent 10 0 R /Dest (total) /First 12 0 R /Last 12 0 R /Count 1>>`,
		`<</Title <feff00dc> /Parent 11 0 R /A <</S /GoTo /D [3 0 R /Fit] /Next 16 0 R>>>>`,
		`<</Limits [(a) (z)] /Names [(total) <</D [4 0 R /XYZ 0 0 0]>>]>>`,
		`<</Type /Filespec /F (note.txt) /UF (note.txt) /EF <</F 15 0 R>>>>`,
		stream("/Type /EmbeddedFile", word+" note"),
		`<</S /JavaScript /JS (app.alert\(1\))>>`,
		`<</Type /OCG /Name (Layer)>>`,
		`<</Type /StructTreeRoot /K <</Type /StructElem /S /Document /P 18 0 R>>>>`,
		stream("/Type /XObject /Subtype /Form /BBox [0 0 100 30] /Resources <</Font <</Helv 8 0 R>>>>", "BT /Helv 9 Tf 5 5 Td ("+word+" value) Tj ET"),
		`<</Type /Annot /Subtype /Widget /FT /Sig /T (signature) /Rect [200 200 250 230] /P 3 0 R /V <</Type /Sig /Filter /Adobe.PPKLite /SubFilter /adbe.pkcs7.detached /ByteRange [0 1 2 3] /Contents <00>>>>>`,
		`<</Title (A title) /Author (`+word+` author)>>`,
	)
	return []byte(strings.Replace(string(file), "/Root 1 0 R", "/Root 1 0 R /Info 21 0 R", 1))
}

func TestR4_2LinksFieldsLabelsLayersAttachmentsAndBoxesSurviveAndDoNotMeet(t *testing.T) {
	t.Parallel()
	path := save(t, mustMerge(t, 6,
		Part{Title: "One", File: everything("one", "Helvetica")}, Part{Title: "Two", File: everything("two", "Courier")}, Part{Title: "Three", File: everything("three", "Helvetica")}))
	run(t, "qpdf", "--check", path)
	s := readStructure(t, path)
	for i, word := range []string{"one", "two", "three"} {
		first := 2*i + 1
		second := fmt.Sprint(first + 1)
		want := []string{second, second, second, "https://example.com/" + word, second, "<nil>"}
		if got := s.links(first); !slices.Equal(got, want) {
			t.Errorf("links of page %d lead to %v, want %v", first, got, want)
		}
		if got, want := s.Outlines[i].String(), fmt.Sprintf("%s@%d[Chapter@%d[Ü@%d]]", []string{"One", "Two", "Three"}[i], first, first+1, first); got != want {
			t.Errorf("the bookmark is %s, want %s", got, want)
		}
		if text := pageText(t, path, first+1); !strings.Contains(text, word+" second") {
			t.Errorf("page %d is %q", first+1, text)
		}
		page := s.Pages[first-1].Object
		if got := fmt.Sprint(s.get(page, "/Rotate"), s.get(page, "/MediaBox"), s.get(page, "/CropBox"), s.get(page, "/TrimBox")); got != "90 [0 0 300 400] [10 10 290 390] [20 20 280 380]" {
			t.Errorf("page %d is %s", first, got)
		}
		attachment := []string{"note.txt", "note.txt_2", "note.txt_3"}[i]
		if note := run(t, "qpdf", "--show-attachment="+attachment, path); note != word+" note" {
			t.Errorf("the attachment %s is %q", attachment, note)
		}
	}
	var fields, labels []string
	for _, f := range s.AcroForm.Fields {
		fields = append(fields, fmt.Sprintf("%s=%v", f.FullName, f.Value))
	}
	if got, want := strings.Join(fields, " "), "customer=u:one value signature=<nil> customer_2=u:two value signature_2=<nil> customer_3=u:three value signature_3=<nil>"; strings.ReplaceAll(got, "u:", "") != strings.ReplaceAll(want, "u:", "") {
		t.Errorf("fields are\n%s, want\n%s", got, want)
	}
	for _, l := range s.PageLabels {
		labels = append(labels, fmt.Sprint(l.Index, l.Label["/S"], l.Label["/P"]))
	}
	if got, want := strings.Join(labels, " "), "0/r<nil> 1/Du:one- 2/r<nil> 3/Du:two- 4/r<nil> 5/Du:three-"; strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("labels are %s, want %s", got, want)
	}
	// The second part's fields are drawn with its own font, under a new name.
	for i, want := range []string{"/Helvetica", "/Courier", "/Helvetica"} {
		list := s.catalog("/AcroForm", "/Fields").([]any)
		appearance := s.get(list[2*i], "/DA").(string)
		name := "/" + strings.Fields(appearance[strings.Index(appearance, "/")+1:])[0]
		if got := s.get(s.catalog("/AcroForm", "/DR", "/Font", name), "/BaseFont"); got != want {
			t.Errorf("field %d is drawn with %s, which is %v, want %s", i, name, got, want)
		}
	}
	if got := s.catalog("/OCProperties", "/OCGs").([]any); len(got) != 3 || got[0] == got[1] || len(s.catalog("/OCProperties", "/D", "/OFF").([]any)) != 3 {
		t.Errorf("layers are %v", got)
	}
	if text := run(t, "pdftotext", path, "-"); strings.Contains(text, "hidden") {
		t.Error("a hidden layer shows")
	}
}

func TestR4_2NothingOfAPartRunsAndTheResultIsNotSaidToBeTaggedOrSomebodys(t *testing.T) {
	t.Parallel()
	out := mustMerge(t, 4, Part{Title: "One", File: everything("one", "Helvetica")}, Part{Title: "Two", File: everything("two", "Courier")})
	path := save(t, out)
	plain := filepath.Join(t.TempDir(), "plain.pdf")
	run(t, "qpdf", "--qdf", "--object-streams=disable", path, plain)
	text, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"JavaScript", "/JS", "Launch", "OpenAction", "/AA", "RichMedia", "StructTreeRoot", "StructParent", "Marked", "author", "A title", "ByteRange", "PieceInfo"} {
		if strings.Contains(string(text), word) {
			t.Errorf("the result holds %q", word)
		}
	}
	if info := run(t, "pdfinfo", path); !strings.Contains(info, "Tagged:          no") || !strings.Contains(info, "Platen") {
		t.Errorf("pdfinfo says\n%s", info)
	}
}

func TestR4_2ASinglePartKeepsItsInformationTagsAndNames(t *testing.T) {
	t.Parallel()
	path := save(t, mustMerge(t, 2, Part{Title: "One", File: fixture(t, "invoice.pdf")}))
	run(t, "qpdf", "--check", path)
	before := save(t, fixture(t, "invoice.pdf"))
	for _, option := range []string{"-box", "-url", "-dests", "-struct-text"} {
		clean := func(path string) string {
			told := changes.ReplaceAllString(run(t, "pdfinfo", "-f", "1", "-l", "2", option, path), "")
			return regexp.MustCompile(`Object \d+ 0`).ReplaceAllString(told, "Object")
		}
		want := clean(before)
		if got := clean(path); got != want {
			t.Errorf("pdfinfo %s was\n%s\nand is\n%s", option, want, got)
		}
	}
	path = save(t, mustMerge(t, 2, Part{Title: "One", File: everything("one", "Helvetica")}))
	run(t, "qpdf", "--check", path)
	if info := run(t, "pdfinfo", path); !strings.Contains(info, "one author") || !strings.Contains(info, "JavaScript:      no") {
		t.Errorf("pdfinfo says\n%s", info)
	}
	if s := readStructure(t, path); fmt.Sprint(s.Outlines) != "[Chapter@2[Ü@1]]" {
		t.Errorf("bookmarks are %v", s.Outlines)
	}
}

func TestR4_2PartsWithoutLabelsOrTitleAreNumbered(t *testing.T) {
	t.Parallel()
	plain := fixture(t, "mixed.pdf")
	s := readStructure(t, save(t, mustMerge(t, 4, Part{File: plain}, Part{Title: "a\n\xffb" + strings.Repeat("x", 300), File: plain})))
	if len(s.PageLabels) != 0 || s.Outlines[0].Title != "Part 1" || s.Outlines[1].Title != "a \ufffdb"+strings.Repeat("x", 196) {
		t.Errorf("labels %v, bookmarks %v", s.PageLabels, s.Outlines)
	}
	s = readStructure(t, save(t, mustMerge(t, 6, Part{File: plain}, Part{File: everything("x", "Courier")}, Part{File: plain})))
	var labels []string
	for _, l := range s.PageLabels {
		labels = append(labels, fmt.Sprintf("%d %v", l.Index, l.Label["/S"]))
	}
	if got := strings.Join(labels, " "); got != "0 /D 2 /r 3 /D 4 /D" {
		t.Errorf("labels are %s", got)
	}
}

func TestR4_2TheVersionIsTheHighestOfTheParts(t *testing.T) {
	t.Parallel()
	old := everything("x", "Courier") // 1.4
	newer := []byte(strings.Replace(string(old), "%PDF-1.4", "%PDF-2.0", 1))
	for want, parts := range map[string][]Part{"1.5": {{File: old}, {File: old}}, "2.0": {{File: old}, {File: newer}}} {
		path := save(t, mustMerge(t, 4, parts...))
		if info := run(t, "pdfinfo", path); !strings.Contains(info, "PDF version:     "+want) {
			t.Errorf("no version %s in\n%s", want, info)
		}
		run(t, "qpdf", "--check", path)
	}
}

// The corpus: files that are broken, hostile or huge, each by itself and between
// two good parts.

const (
	catalog = `<</Type /Catalog /Pages 2 0 R>>`
	onePage = `<</Type /Pages /Count 1 /Kids [3 0 R] /MediaBox [0 0 300 400]>>`
	aPage   = `<</Type /Page /Parent 2 0 R>>`
)

// manyPages has a flat page tree of empty pages.
func manyPages(count int) []byte {
	objects := []string{catalog, ""}
	var kids strings.Builder
	for i := range count {
		fmt.Fprintf(&kids, "%d 0 R ", i+3)
		objects = append(objects, aPage)
	}
	objects[1] = fmt.Sprintf(`<</Type /Pages /Count %d /Kids [%s] /MediaBox [0 0 300 400]>>`, count, kids.String())
	return build(objects...)
}

// chain is a page whose annotation refers to an object, which refers to the
// next, and so on.
func chain(length int) []byte {
	objects := []string{catalog, onePage, `<</Type /Page /Parent 2 0 R /X 4 0 R>>`}
	for i := range length {
		objects = append(objects, fmt.Sprintf("<</N %d 0 R>>", i+5))
	}
	return build(append(objects, "<</N 4 0 R>>")...)
}

// manyObjects has objects that nothing refers to, besides a page.
func manyObjects(count int) []byte {
	return build(slices.Concat([]string{catalog, onePage, aPage}, slices.Repeat([]string{"<</A [1 2 3 4 5 6 7 8]>>"}, count))...)
}

// deepPages has its page at the end of a long chain of nodes.
func deepPages(depth int) []byte {
	objects := []string{catalog, onePage}
	for i := range depth {
		objects = append(objects, fmt.Sprintf(`<</Type /Pages /Parent %d 0 R /Count 1 /Kids [%d 0 R]>>`, i+2, i+4))
	}
	return build(append(objects, fmt.Sprintf(`<</Type /Page /Parent %d 0 R>>`, depth+2))...)
}

// packedObjects has an object stream of zeros that is tiny and becomes size bytes.
func packedObjects(size int) []byte {
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	z.Write([]byte("1 0 2 30 3 90 "))
	z.Write(bytes.Repeat([]byte(" "), size))
	z.Close()
	file := []byte("%PDF-1.5\n")
	at := len(file)
	file = fmt.Appendf(file, "4 0 obj\n%s\nendobj\n", stream("/Type /ObjStm /N 3 /First 14 /Filter /FlateDecode", packed.String()))
	table := "\x00\x00\x00\xff" + "\x02\x00\x04\x00\x02\x00\x04\x01\x02\x00\x04\x02" + string([]byte{1, 0, byte(at), 0})
	return fmt.Appendf(file, "5 0 obj\n%s\nendobj\nstartxref\n%d\n%%%%EOF\n", stream("/Type /XRef /Size 5 /Root 1 0 R /W [1 2 1]", table), len(file))
}

// bomb is a page whose content is tiny and becomes 4 GB.
func bomb() []byte {
	content := bytes.Repeat([]byte(" "), 1<<22)
	for range 2 {
		var packed bytes.Buffer
		z := zlib.NewWriter(&packed)
		for range 32 {
			z.Write(content)
		}
		z.Close()
		content = packed.Bytes()
	}
	return build(catalog, onePage, `<</Type /Page /Parent 2 0 R /Contents 4 0 R>>`, stream("/Filter [/FlateDecode /FlateDecode]", string(content)))
}

func encrypt(t *testing.T, file []byte, user string, args ...string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "encrypted.pdf")
	run(t, "qpdf", append(append([]string{"--allow-weak-crypto", "--encrypt", user, "owner"}, args...), "--", save(t, file), out)...)
	encrypted, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return encrypted
}

func TestR4_3ABadPartEndsInAClearErrorThatNamesItAndTheNextCallWorks(t *testing.T) {
	t.Parallel()
	tool, err := start(Options{Workers: 1, UID: 61234}, 256<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer tool.Close()
	good := fixture(t, "invoice.pdf")
	outline := func(items ...string) []byte {
		return build(append([]string{`<</Type /Catalog /Pages 2 0 R /Outlines 4 0 R>>`, onePage, aPage, `<</Type /Outlines /First 5 0 R /Last 5 0 R /Count 1>>`}, items...)...)
	}
	for name, c := range map[string]struct {
		file []byte
		want string // kinds, or "merged"; both, where pdfcpu may learn to mend or to refuse it
	}{
		"nothing":                    {nil, "DAMAGED"},
		"another format":             {[]byte("<html>hello</html>"), "DAMAGED"},
		"a header alone":             {[]byte("%PDF-1.7\n"), "DAMAGED"},
		"the first half":             {good[:len(good)/2], "DAMAGED"},
		"noise":                      {append([]byte("%PDF-1.7\n"), bytes.Repeat([]byte("\x00\xff<<[(obj 1 0 R"), 5000)...), "DAMAGED"},
		"a password":                 {encrypt(t, good, "secret", "256"), "ENCRYPTED"},
		"a password, RC4":            {encrypt(t, good, "secret", "128", "--use-aes=n"), "ENCRYPTED"},
		"permissions without copies": {encrypt(t, good, "", "256", "--extract=n"), "ENCRYPTED"},
		"permissions, no assembly":   {encrypt(t, good, "", "128", "--modify=none"), "ENCRYPTED"},
		"permissions without print":  {encrypt(t, good, "", "256", "--print=none"), "merged"},
		"permissions, RC4":           {encrypt(t, good, "", "40"), "merged"},
		"no pages":                   {build(catalog, `<</Type /Pages /Count 0 /Kids []>>`), "DAMAGED"},
		"a loop of pages":            {build(catalog, `<</Type /Pages /Count 1 /Kids [2 0 R]>>`), "DAMAGED"},
		"a longer loop of pages":     {build(catalog, `<</Type /Pages /Count 1 /Kids [3 0 R] /MediaBox [0 0 9 9]>>`, `<</Type /Pages /Parent 2 0 R /Count 1 /Kids [2 0 R]>>`), "DAMAGED"},
		"a lying count of pages":     {build(catalog, `<</Type /Pages /Count 2000000000 /Kids [3 0 R] /MediaBox [0 0 300 400]>>`, aPage), "merged DAMAGED"},
		"deep pages":                 {deepPages(5000), "DAMAGED LIMIT"},
		"a loop of bookmarks":        {outline(`<</Title (a) /Parent 4 0 R /Next 6 0 R /Dest [3 0 R /Fit]>>`, `<</Title (b) /Parent 4 0 R /Prev 5 0 R /Next 5 0 R>>`), "merged DAMAGED"},
		"a bookmark below itself":    {outline(`<</Title (a) /Parent 4 0 R /First 5 0 R /Last 5 0 R /Count 1>>`), "DAMAGED"},
		"a loop of names": {build(`<</Type /Catalog /Pages 2 0 R /Names <</Dests 4 0 R>>>>`, onePage, aPage,
			`<</Limits [(a) (b)] /Kids [5 0 R]>>`, `<</Limits [(a) (b)] /Kids [4 0 R]>>`), "merged DAMAGED"},
		"a loop of fields": {build(`<</Type /Catalog /Pages 2 0 R /AcroForm <</Fields [4 0 R]>>>>`, onePage, aPage,
			`<</FT /Tx /T (a) /Kids [5 0 R]>>`, `<</T (b) /Parent 4 0 R /Kids [4 0 R]>>`), "DAMAGED LIMIT"},
		"references in a circle":           {build(catalog, onePage, `<</Type /Page /Parent 2 0 R /Contents 4 0 R /X 5 0 R>>`, `5 0 R`, `4 0 R`), "merged DAMAGED"},
		"a resource in itself":             {build(catalog, onePage, `<</Type /Page /Parent 2 0 R /Resources 4 0 R>>`, `<</XObject <</X 5 0 R>> /R 4 0 R>>`, stream("/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources 4 0 R", "/X Do")), "merged"},
		"a chain of 10,000":                {chain(10_000), "merged"},
		"deep arrays":                      {build(`<</Type /Catalog /Pages 2 0 R /X `+strings.Repeat("[", 1<<20)+`>>`, onePage, aPage), "DAMAGED LIMIT"},
		"a table that explodes":            {explosive(), "LIMIT DAMAGED"},
		"objects that explode":             {packedObjects(400 << 20), "LIMIT DAMAGED"},
		"content that explodes":            {bomb(), "merged LIMIT DAMAGED"},
		"5,000 pages":                      {manyPages(5000), "merged"},
		"no table of objects":              {good[:bytes.LastIndex(good, []byte("xref\n0"))], "merged DAMAGED"},
		"a table that is not at its place": {bytes.Replace(manyPages(3), []byte("startxref\n"), []byte("startxref\n9"), 1), "merged DAMAGED"},
		"600,000 objects":                  {manyObjects(600_000), "LIMIT"},
		"a chain of 200,000":               {chain(200_000), "merged LIMIT"},
	} {
		if raced() && strings.Contains(c.want, "LIMIT") {
			continue // it has ten times the memory there, and takes minutes to fill it
		}
		check := func(index int, parts ...Part) {
			out, info, err := tool.Merge(context.Background(), parts)
			var e *Error
			switch {
			case err == nil:
				if name != "content that explodes" { // qpdf unpacks it
					run(t, "qpdf", "--check", save(t, out))
				}
				if !strings.Contains(c.want, "merged") || info.Pages < 2*len(parts)-1 {
					t.Errorf("%s: merged %d pages, want %s", name, info.Pages, c.want)
				}
			case !errors.As(err, &e) || !strings.Contains(c.want, string(e.Kind)) || e.Part != index || strings.ContainsAny(e.Message, "\n"):
				t.Errorf("%s: got %v, want %s of part %d", name, err, c.want, index)
			}
		}
		check(0, Part{File: c.file})
		_, _, merged := tool.Merge(context.Background(), []Part{{File: c.file}})
		if _, err := tool.CheckPart(context.Background(), c.file); (err == nil) != (merged == nil) {
			t.Errorf("%s: the check says %v, the merge %v", name, err, merged)
		}
		check(1, Part{File: good}, Part{File: c.file}, Part{File: good})
		if _, info, err := tool.Merge(context.Background(), []Part{{File: good}, {File: good}}); err != nil || info.Pages != 4 {
			t.Errorf("after %s: %v, %v", name, info, err)
		}
	}
}

func TestR4_3PartsThatAreTooMuchTogetherBlameNoneOfThem(t *testing.T) {
	t.Parallel()
	_, _, err := shared.Merge(context.Background(), []Part{{File: make([]byte, sizeLimit/2)}, {File: make([]byte, sizeLimit/2+1)}})
	var e *Error
	if !errors.As(err, &e) || e.Kind != Limit || e.Part != -1 {
		t.Errorf("got %v", err)
	}
	_, _, err = shared.Merge(context.Background(), []Part{{}, {File: make([]byte, sizeLimit+1)}})
	if !errors.As(err, &e) || e.Kind != Limit || e.Part != 1 {
		t.Errorf("got %v", err)
	}
	for _, count := range []int{0, 1001} {
		if _, _, err := shared.Merge(context.Background(), make([]Part, count)); err == nil || errors.As(err, &e) {
			t.Errorf("%d parts: %v", count, err)
		}
	}
}

func TestR4_3PartsThatNeedTooMuchMemoryTogetherBlameNoneOfThem(t *testing.T) {
	t.Parallel()
	tool, err := start(Options{Workers: 1, UID: 61234}, 256<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer tool.Close()
	noise := rand.NewChaCha8([32]byte{})
	var parts []Part
	for range 8 {
		content := make([]byte, 24<<20)
		noise.Read(content)
		parts = append(parts, Part{File: build(catalog, onePage, `<</Type /Page /Parent 2 0 R /Contents 4 0 R>>`, stream("", string(content)))})
	}
	_, _, err = tool.Merge(context.Background(), parts)
	var e *Error
	if raced() && err == nil { // the race detector gets ten times the memory
		return
	}
	if !errors.As(err, &e) || e.Kind != Limit || e.Part != -1 || !strings.Contains(e.Message, "together") {
		t.Errorf("got %v", err)
	}
	if _, info, err := tool.Merge(context.Background(), parts[:1]); err != nil || info.Pages != 1 {
		t.Errorf("afterwards: %v, %v", info, err)
	}
}

// What a worker did before must not count: it may not have room for the largest
// merge, and is then replaced.
func TestR4_2PartsOf256MBAreMergedByAWorkerThatWasUsed(t *testing.T) {
	t.Parallel()
	size := sizeLimit / 8
	if raced() { // which takes several times the memory here as well
		size /= 8
	}
	tool, err := start(Options{Workers: 1, UID: 61234}, memoryLimit)
	if err != nil {
		t.Fatal(err)
	}
	defer tool.Close()
	noise := rand.NewChaCha8([32]byte{})
	content := make([]byte, size-2000)
	var parts []Part
	for range 8 {
		noise.Read(content)
		parts = append(parts, Part{File: build(catalog, onePage, `<</Type /Page /Parent 2 0 R /Contents 4 0 R>>`, stream("", string(content)))})
	}
	for _, count := range []int{1, 3, 8} {
		out, info, err := tool.Merge(context.Background(), parts[:count])
		if err != nil || info.Pages != count || len(out) < count*len(content) {
			t.Errorf("%d parts: %v, %v", count, info, err)
		}
	}
}

func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "-race" && s.Value == "true" })
}

func TestR4_3APartIsCheckedAsMergeTakesIt(t *testing.T) {
	t.Parallel()
	good := fixture(t, "invoice.pdf")
	for name, c := range map[string]struct {
		file      []byte
		protected bool
		kind      Kind
	}{
		"plain":         {good, false, ""},
		"no print":      {encrypt(t, good, "", "256", "--print=none"), true, ""},
		"no copying":    {encrypt(t, good, "", "256", "--extract=n"), false, Encrypted},
		"a password":    {encrypt(t, good, "secret", "256"), false, Encrypted},
		"another thing": {[]byte("GIF89a"), false, Damaged},
	} {
		info, err := shared.CheckPart(context.Background(), c.file)
		var e *Error
		if errors.As(err, &e) && (e.Kind != c.kind || e.Part != -1) || err == nil && (c.kind != "" || info.Pages != 2 || info.Protected != c.protected) {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	path := save(t, mustMerge(t, 4, Part{File: encrypt(t, good, "", "256", "--print=none")}, Part{File: good}))
	run(t, "qpdf", "--check", path)
	if text := pageText(t, path, 1); text != pageText(t, path, 3) {
		t.Errorf("the protected part reads %q", text)
	}
}

// BenchmarkMerge also tells the most memory that a worker held.
func BenchmarkMerge(b *testing.B) {
	var invoices []Part
	for i := range 200 {
		invoices = append(invoices, Part{File: numbered(b, i)})
	}
	for name, parts := range map[string][]Part{
		"2": invoices[:2], "20": invoices[:20], "200": invoices, "5000Pages": {{File: manyPages(5000)}},
	} {
		b.Run(name, func(b *testing.B) {
			others := workers(b)
			tool, err := start(Options{Workers: 1, UID: 61234}, memoryLimit)
			if err != nil {
				b.Fatal(err)
			}
			defer tool.Close()
			var in, out int
			for _, p := range parts {
				in += len(p.File)
			}
			for b.Loop() {
				file, _, err := tool.Merge(context.Background(), parts)
				if out = len(file); err != nil {
					b.Fatal(err)
				}
			}
			for pid, peak := range workers(b) {
				if _, other := others[pid]; !other {
					b.ReportMetric(float64(peak)/1024, "worker-MB")
				}
			}
			b.ReportMetric(float64(in)/1024, "in-KB")
			b.ReportMetric(float64(out)/1024, "out-KB")
		})
	}
}

// workers are the children of this process, and the most KB that each held.
func workers(b *testing.B) map[string]int {
	found := map[string]int{}
	paths, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		b.Fatal(err)
	}
	for _, path := range paths {
		status, _ := os.ReadFile(path) // it may be gone by now
		if strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", os.Getpid())) {
			var peak int
			if at := strings.Index(string(status), "VmHWM:"); at >= 0 {
				fmt.Sscanf(string(status[at:]), "VmHWM: %d", &peak)
			}
			found[path] = peak
		}
	}
	return found
}
func TestR4_2AFilesOwnTitleIsItsBookmarksWhereThatIsAskedFor(t *testing.T) {
	t.Parallel()
	titled := everything("x", "Courier") // its title is "A title"
	plain := build(catalog, onePage, aPage)
	s := readStructure(t, save(t, mustMerge(t, 7, Part{Title: "Given", File: titled, OwnTitle: true}, Part{Title: "Given", File: titled},
		Part{Title: "Given", File: plain, OwnTitle: true}, Part{File: plain, OwnTitle: true}, Part{File: withTitle("<feff00dc0062006500720000>"), OwnTitle: true})))
	var titles []string
	for _, item := range s.Outlines {
		titles = append(titles, item.Title)
	}
	if !slices.Equal(titles, []string{"A title", "Given", "Given", "Part 4", "Über"}) {
		t.Errorf("%q", titles)
	}
}

// withTitle is a file of one page whose information dictionary says what its title is.
func withTitle(title string) []byte {
	file := build(catalog, onePage, aPage, `<</Title `+title+`>>`)
	return bytes.Replace(file, []byte("/Root 1 0 R"), []byte("/Root 1 0 R /Info 4 0 R"), 1)
}
