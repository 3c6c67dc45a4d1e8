package pdf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/types"
)

// withForm is a page with the annotations, and a form with the fields.
func withForm(fields, annotations string, objects ...string) []byte {
	return build(append([]string{`<</Type /Catalog /Pages 2 0 R /AcroForm <</DA (/F 9 Tf) /Fields [` + fields + `]>>>>`, onePage,
		`<</Type /Page /Parent 2 0 R /Annots [` + annotations + `]>>`}, objects...)...)
}

func fieldNames(s structure) (names []string) {
	for _, f := range s.AcroForm.Fields {
		names = append(names, f.FullName)
	}
	slices.Sort(names)
	return names
}

func TestR4_2FieldsWhoseNamesMeetInAnySpellingStayApart(t *testing.T) {
	t.Parallel()
	const widget = `/Type /Annot /Subtype /Widget /FT /Tx /F 4 /P 3 0 R /Rect [10 10 90 20]`
	one := withForm(`4 0 R 6 0 R 7 0 R`, `5 0 R 6 0 R 7 0 R`,
		`<</T (a) /FT /Tx /Kids [5 0 R]>>`, `<</T (b) /Parent 4 0 R `+widget+`>>`,
		`<</T (x) `+widget+`>>`, `<</T (caf\351) `+widget+`>>`)
	two := withForm(`4 0 R 5 0 R 6 0 R 7 0 R`, `4 0 R 5 0 R 6 0 R 7 0 R`,
		`<</T (a.b) `+widget+`>>`, `<</T (x) `+widget+`>>`, `<</T (x_2) `+widget+`>>`, `<</T <FEFF00630061006600E9> `+widget+`>>`)
	path := save(t, mustMerge(t, 2, Part{File: one}, Part{File: two}))
	run(t, "qpdf", "--check", path)
	want := []string{"a.b", "a_2.b", "café", "café_2", "x", "x_2", "x_3"}
	if got := fieldNames(readStructure(t, path)); !slices.Equal(got, want) {
		t.Errorf("fields are %q, want %q", got, want)
	}
}

func TestR4_2RadioButtonsAndInheritedValuesSurvive(t *testing.T) {
	t.Parallel()
	button := func(state, on string) string {
		return `<</Type /Annot /Subtype /Widget /Parent 4 0 R /P 3 0 R /F 4 /Rect [10 10 20 20] /AS /` + state + ` /AP <</N <</` + on + ` 7 0 R /Off 8 0 R>>>>>>`
	}
	part := withForm(`4 0 R`, `5 0 R 6 0 R`, `<</FT /Btn /Ff 49152 /T (choice) /V /green#20one /Kids [5 0 R 6 0 R]>>`,
		button("Off", "red"), button("green#20one", "green#20one"),
		stream("/Type /XObject /Subtype /Form /BBox [0 0 10 10]", "0 0 10 10 re f"), stream("/Type /XObject /Subtype /Form /BBox [0 0 10 10]", ""))
	path := save(t, mustMerge(t, 2, Part{File: part}, Part{File: part}))
	run(t, "qpdf", "--check", path)
	s := readStructure(t, path)
	var streams []any
	for i, name := range []string{"choice", "choice_2"} {
		field := s.catalog("/AcroForm", "/Fields").([]any)[i]
		kids := s.get(field, "/Kids").([]any)
		if got := fmt.Sprintln(s.get(field, "/T"), s.get(field, "/V"), len(kids), s.get(kids[0], "/AS"), s.get(kids[1], "/AS")); got != "u:"+name+" /green one 2 /Off /green one\n" {
			t.Errorf("field %d is %s", i, got)
		}
		if s.get(kids[0], "/Parent", "/T") != "u:"+name || s.get(kids[1], "/P", "/Type") != "/Page" {
			t.Errorf("the buttons of %s are not its own", name)
		}
		appearance := s.get(kids[1], "/AP", "/N").(map[string]any)
		streams = append(streams, appearance["/green one"])
	}
	// PDFBox writes what is filled in into the stream that is there.
	if streams[0] == nil || streams[0] == streams[1] {
		t.Errorf("fields of two parts are drawn by %v", streams)
	}
}

func TestR4_2ButtonsOfAPartDoNotReachTheFieldsOfOthers(t *testing.T) {
	t.Parallel()
	link := func(action string) string {
		return `<</Type /Annot /Subtype /Link /Rect [10 10 90 20] /A ` + action + `>> `
	}
	part := withForm(`4 0 R`, `4 0 R `+link(`<</S /SubmitForm /F <</FS /URL /F (https://example.com/)>>>>`)+link(`<</S /ResetForm>>`)+
		link(`<</S /URI /URI (https://example.com/) /Next [<</S /Hide /T (x)>>]>>`)+link(`<</S /GoToR /F (other.pdf) /D (total)>>`),
		`<</T (x) /Type /Annot /Subtype /Widget /FT /Tx /F 4 /Rect [10 10 90 20]>>`)
	actions := func(s structure) (out []string) {
		for _, a := range s.get(s.Pages[0].Object, "/Annots").([]any) {
			if action := s.get(a, "/A"); action != nil {
				out = append(out, strings.ReplaceAll(fmt.Sprintf("%v %v", s.get(a, "/A", "/S"), s.get(a, "/A", "/D")), "<nil>", "nil"))
			}
		}
		return out
	}
	want := []string{"/SubmitForm nil", "/ResetForm nil", "/URI nil", "/GoToR u:total"}
	for count, want := range map[int][]string{1: want, 2: want[2:]} {
		path := save(t, mustMerge(t, count, slices.Repeat([]Part{{File: part}}, count)...))
		run(t, "qpdf", "--check", path)
		got := actions(readStructure(t, path))
		if !slices.Equal(got, want) {
			t.Errorf("%d parts: actions are %v, want %v", count, got, want)
		}
	}
}

func TestR4_2AttachmentsWithNamesInUnicodeStayApart(t *testing.T) {
	t.Parallel()
	part := func(word string) []byte {
		return build(`<</Type /Catalog /Pages 2 0 R /Names <</EmbeddedFiles <</Names [<FEFF00DC002E007400780074> 4 0 R]>>>>>>`, onePage, aPage,
			`<</Type /Filespec /F (u.txt) /UF <FEFF00DC002E007400780074> /EF <</F 5 0 R>>>>`, stream("/Type /EmbeddedFile", word))
	}
	path := save(t, mustMerge(t, 2, Part{File: part("one")}, Part{File: part("two")}))
	run(t, "qpdf", "--check", path)
	for name, want := range map[string]string{"Ü.txt": "one", "Ü.txt_2": "two"} {
		if got := run(t, "qpdf", "--show-attachment="+name, path); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestR4_2ABookmarkKeepsJoinersAndLayersAreListedUnderTheSameTitle(t *testing.T) {
	t.Parallel()
	title := "می\u200cخواهم 👩\u200d🔧"
	s := readStructure(t, save(t, mustMerge(t, 4, Part{Title: title, File: everything("one", "Courier")}, Part{File: everything("two", "Courier")})))
	order := s.catalog("/OCProperties", "/D", "/Order").([]any)
	for i, want := range []string{title, "Part 2"} {
		if got := s.get(order[i]).([]any)[0]; s.Outlines[i].Title != want || got != "u:"+want {
			t.Errorf("bookmark %q, layers below %q, want %q", s.Outlines[i].Title, got, want)
		}
	}
}

func TestR4_2BookmarksKeepColourFlagsAndWhatIsOpen(t *testing.T) {
	t.Parallel()
	part := build(`<</Type /Catalog /Pages 2 0 R /Outlines 4 0 R>>`, onePage, aPage, `<</Type /Outlines /First 5 0 R /Last 6 0 R /Count 3>>`,
		`<</Title (open) /Parent 4 0 R /Next 6 0 R /First 7 0 R /Last 7 0 R /Count 1 /C [1 0 0] /F 3 /Dest [0 /Fit]>>`,
		`<</Title (closed) /Parent 4 0 R /Prev 5 0 R /First 8 0 R /Last 8 0 R /Count -1 /A <</S /GoTo /D [3 0 R /Fit]>>>>`,
		`<</Title (in open) /Parent 5 0 R /Dest [3 0 R /XYZ 1 2 0]>>`, `<</Title (in closed) /Parent 6 0 R /Dest [3 0 R /Fit]>>`)
	path := save(t, mustMerge(t, 2, Part{Title: "One", File: part}, Part{Title: "Two", File: part}))
	run(t, "qpdf", "--check", path)
	s := readStructure(t, path)
	if got, want := fmt.Sprint(s.Outlines), "[One@1[open@1[in open@1] closed@1[in closed@1]] Two@2[open@2[in open@2] closed@2[in closed@2]]]"; got != want {
		t.Errorf("bookmarks are %s, want %s", got, want)
	}
	for i, one := range s.Outlines {
		if one.Open || !one.Kids[0].Open || one.Kids[1].Open {
			t.Errorf("what is open of part %d has changed", i)
		}
	}
	item := s.get(s.catalog("/Outlines", "/First"), "/First")
	if got := fmt.Sprint(s.get(item, "/C"), s.get(item, "/F"), s.catalog("/Outlines", "/Count"), s.get(s.catalog("/Outlines", "/First"), "/Count")); got != "[1 0 0] 3 2 -3" {
		t.Errorf("colour, flags and counts are %s", got)
	}
}

func TestR4_2PagesKeepWhatTheyInheritAndMayBeInTheTreeTwice(t *testing.T) {
	t.Parallel()
	part := build(catalog, `<</Type /Pages /Count 3 /Kids [3 0 R 4 0 R 6 0 R] /MediaBox [0 0 300 400] /Rotate 90 /CropBox [10 10 290 390]>>`,
		`<</Type /Pages /Parent 2 0 R /Count 2 /Kids [5 0 R 5 0 R] /Rotate 180 /UserUnit 3>>`,
		`<</Type /Page /Parent 2 0 R /UserUnit 2 /MediaBox [0 0 100 200] /CropBox [0 0 90 190]>>`,
		`<</Type /Page /Parent 3 0 R /Annots [7 0 R]>>`, `<</Type /Pages /Parent 2 0 R /Count 0 /Kids []>>`,
		`<</Type /Annot /Subtype /Link /Rect [0 0 9 9] /Dest [1 /Fit]>>`)
	path := save(t, mustMerge(t, 6, Part{File: part}, Part{File: part}))
	run(t, "qpdf", "--check", path)
	s := readStructure(t, path)
	for i, page := range s.Pages {
		want := "180 [0 0 300 400] [10 10 290 390] <nil>"
		if i%3 == 2 {
			want = "90 [0 0 100 200] [0 0 90 190] 2"
		}
		if got := fmt.Sprint(s.get(page.Object, "/Rotate"), " ", s.get(page.Object, "/MediaBox"), " ", s.get(page.Object, "/CropBox"), " ", s.get(page.Object, "/UserUnit")); got != want {
			t.Errorf("page %d is %s, want %s", i+1, got, want)
		}
	}
	if s.Pages[0] == s.Pages[1] || fmt.Sprint(s.links(1), s.links(4)) != "[2] [5]" {
		t.Errorf("pages %v, links %v and %v", s.Pages, s.links(1), s.links(4))
	}
}

// A part is the same, however its objects are written down.
func TestR4_2PartsMayBeWrittenInAnyWay(t *testing.T) {
	t.Parallel()
	plain := everything("one", "Courier")
	rewrite := func(args ...string) []byte {
		out := filepath.Join(t.TempDir(), "rewritten.pdf")
		run(t, "qpdf", append(args, save(t, plain), out)...)
		file, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	// An update replaces the second page's text, which was different before.
	text := stream("", "BT /F 12 Tf 50 200 Td (one second) Tj ET")
	updated := []byte(strings.Replace(string(plain), "(one second)", "(old second)", 1))
	start := strings.LastIndex(string(updated), "\nxref\n") + 1
	at := len(updated)
	updated = fmt.Appendf(updated, "6 0 obj\n%s\nendobj\n", text)
	updated = fmt.Appendf(updated, "xref\n6 1\n%010d 00000 n \ntrailer\n<</Size 22 /Root 1 0 R /Info 21 0 R /Prev %d>>\nstartxref\n%d\n%%%%EOF\n",
		at, start, at+len(fmt.Sprintf("6 0 obj\n%s\nendobj\n", text)))
	// A hybrid file has a table for old readers, where what is in object streams is free.
	hybrid := hybridFile()

	want := describe(t, mustMerge(t, 4, Part{File: plain}, Part{File: plain}))
	for name, file := range map[string][]byte{
		"object streams":  rewrite("--object-streams=generate"),
		"linearized":      rewrite("--linearize", "--object-streams=disable"),
		"both":            rewrite("--linearize", "--object-streams=generate"),
		"an update":       updated,
		"junk in front":   append([]byte("junk\n"), rewrite("--object-streams=generate")...),
		"protected, AES":  encrypt(t, plain, "", "256", "--print=none"),
		"protected, 128":  encrypt(t, plain, "", "128", "--use-aes=y", "--print=none"),
		"protected, RC4":  encrypt(t, plain, "", "128", "--use-aes=n", "--print=none"),
		"protected, open": encrypt(t, rewrite("--object-streams=generate"), "", "256", "--print=none", "--cleartext-metadata"),
	} {
		out, _, err := shared.Merge(context.Background(), []Part{{File: file}, {File: plain}})
		if name == "junk in front" && err != nil { // offsets are then wrong, which pdfcpu need not mend
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := describe(t, out); got != want {
			t.Errorf("%s: merged to\n%s\nwant\n%s", name, got, want)
		}
	}
	path := save(t, mustMerge(t, 2, Part{File: hybrid}, Part{File: hybrid}))
	run(t, "qpdf", "--check", path)
	if got := pageText(t, path, 2); !strings.Contains(got, "hybrid") {
		t.Errorf("the page of a hybrid file reads %q", got)
	}
}

// describe tells what people see of a merge of two parts of two pages.
func describe(t *testing.T, file []byte) string {
	path := save(t, file)
	run(t, "qpdf", "--check", path)
	s := readStructure(t, path)
	out := fmt.Sprintln(s.Outlines, fieldNames(s), s.PageLabels, s.links(1), s.links(3), run(t, "pdftotext", path, "-"))
	for _, field := range s.AcroForm.Fields {
		out += fmt.Sprintln(field.Value)
	}
	return out + run(t, "qpdf", "--show-attachment=note.txt", path) + run(t, "pdffonts", path)[:60]
}

// hybridFile has its font in an object stream that only its cross-reference
// stream tells of (ISO 32000-2, 7.5.8.4).
func hybridFile() []byte {
	file := build(catalog, onePage, `<</Type /Page /Parent 2 0 R /Contents 4 0 R /Resources <</Font <</F 5 0 R>>>>>>`,
		stream("", "BT /F 12 Tf 50 200 Td (hybrid) Tj ET"), `null`)
	at := strings.LastIndex(string(file), "xref\n0 6")
	body, table := string(file[:at]), string(file[at:])
	body += "6 0 obj\n" + stream("/Type /ObjStm /N 1 /First 4", "5 0 <</Type /Font /Subtype /Type1 /BaseFont /Courier>>") + "\nendobj\n"
	section := len(body)
	body += "7 0 obj\n" + stream("/Type /XRef /Size 8 /Root 1 0 R /W [1 2 1] /Index [5 3]",
		"\x02\x00\x06\x00"+string([]byte{1, byte(at >> 8), byte(at), 0, 1, byte(section >> 8), byte(section), 0})) + "\nendobj\n"
	start := len(body)
	lines := strings.SplitAfter(table[:strings.Index(table, "startxref")], "\n")
	lines[2], lines[2+5] = "0000000005 65535 f \n", "0000000000 65535 f \n"
	body += strings.Join(lines, "") + fmt.Sprintf("startxref\n%d\n%%%%EOF\n", start)
	// Word adds the stream in an update of its own.
	return fmt.Appendf([]byte(body), "xref\n0 0\ntrailer\n<</Size 8 /Root 1 0 R /Prev %d /XRefStm %d>>\nstartxref\n%d\n%%%%EOF\n", start, section, len(body))
}

func TestR4_2DestinationsOfPartsAreUniqueInAnySpelling(t *testing.T) {
	t.Parallel()
	link := func(dest string) string { return `<</Type /Annot /Subtype /Link /Rect [0 0 9 9] /Dest ` + dest + `>> ` }
	part := build(`<</Type /Catalog /Pages 2 0 R /Names <</Dests <</Names [(\344 \(1\)) [4 0 R /Fit] <FEFF00E4> [3 0 R /Fit] (1.x) [4 0 R /Fit] (x) [3 0 R /Fit]]>>>> /Dests <</a#20b 5 0 R /x [4 0 R /Fit]>>>>`,
		`<</Type /Pages /Count 2 /Kids [3 0 R 4 0 R] /MediaBox [0 0 300 400]>>`,
		`<</Type /Page /Parent 2 0 R /Annots [`+link(`(\344 \050\061`+"\\\n"+`\051)`)+link(`<feff00E4>`)+link(`(1.x)`)+link(`(x)`)+link(`/a#20b`)+link(`[1 /Fit]`)+`]>>`, aPage,
		`<</D [4 0 R /XYZ 0 0 0]>>`)
	path := save(t, mustMerge(t, 4, Part{File: part}, Part{File: part}))
	run(t, "qpdf", "--check", path)
	s := readStructure(t, path)
	if got := fmt.Sprint(s.links(1), s.links(3)); got != "[2 1 2 1 2 2] [4 3 4 3 4 4]" {
		t.Errorf("links lead to %s", got)
	}
	lines := strings.Split(strings.TrimSpace(run(t, "pdfinfo", "-dests", path)), "\n")[1:]
	var names []string
	for _, line := range lines {
		names = append(names, line[strings.Index(line, "\""):])
	}
	slices.Sort(names)
	if len(names) != 10 || len(slices.Compact(names)) != 10 {
		t.Errorf("destinations are %q", lines)
	}
}

func TestR4_2EqualObjectsAreOneAndOthersAreNot(t *testing.T) {
	t.Parallel()
	s := newStore()
	loop := func() int {
		a, b := s.add(nil), s.add(nil)
		s.set(a, types.Dict{"X": reference(b)})
		s.set(b, types.Dict{"X": reference(a)})
		return a
	}
	empty := s.add(streamObject{types.Dict{}, nil})
	dict := s.add(types.Dict{"Length": types.Integer(0)})
	font := s.add(types.Dict{"Type": types.Name("Font"), "X": reference(empty)})
	equal := s.add(types.Dict{"Type": types.Name("Font"), "X": reference(s.add(streamObject{types.Dict{}, nil}))})
	other := s.add(types.Dict{"Type": types.Name("Font"), "X": reference(s.add(streamObject{types.Dict{}, []byte("1")}))})
	name := s.add(types.Dict{"Type": types.Name("Font"), "X": types.Name("a /Y /Z")})
	names := s.add(types.Dict{"Type": types.Name("Font"), "X": types.Name("a"), "Y": types.Name("Z")})
	field := s.add(types.Dict{"T": types.Name("x")})
	fields := s.add(types.Dict{"T": types.Name("x")})
	one, two := loop(), loop()
	s.unify(0)
	for _, c := range []struct {
		a, b int
		same bool
	}{{font, equal, true}, {font, other, false}, {empty, dict, false}, {name, names, false}, {field, fields, false}, {one, two, false}} {
		if got := s.final(c.a) == s.final(c.b); got != c.same {
			t.Errorf("%v and %v are one: %v", s.objects[c.a-1], s.objects[c.b-1], got)
		}
	}
}

func TestR4_3NestingThatHasNoEndIsRefusedSoon(t *testing.T) {
	t.Parallel()
	// Each node holds the next one twice: 2^60 ways down, and no page.
	objects := []string{catalog, `<</Type /Pages /Count 1 /Kids [63 0 R 3 0 R] /MediaBox [0 0 9 9]>>`}
	for i := range 60 {
		objects = append(objects, fmt.Sprintf(`<</Type /Pages /Parent %d 0 R /Count 0 /Kids [%d 0 R %d 0 R]>>`, i+2, i+4, i+4))
	}
	objects[len(objects)-1] = `<</Type /Pages /Parent 61 0 R /Count 0 /Kids []>>`
	doubling := build(append(objects, aPage)...)
	place := build(`<</Type /Catalog /Pages 2 0 R /Dests <</a 4 0 R>>>>`, onePage, `<</Type /Page /Parent 2 0 R /Annots [<</Type /Annot /Subtype /Link /Rect [0 0 9 9] /Dest 4 0 R>>]>>`, `<</D 4 0 R>>`)
	for name, file := range map[string][]byte{"doubling nodes": doubling, "a destination in itself": place} {
		started := time.Now()
		out, _, err := shared.Merge(context.Background(), []Part{{File: fixture(t, "invoice.pdf")}, {File: file}})
		var e *Error
		if err != nil && (!errors.As(err, &e) || e.Part != 1) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			run(t, "qpdf", "--check", save(t, out))
		}
		t.Logf("%s: %v after %v", name, err, time.Since(started))
	}
}

func TestR4_2WhatTheDocumentSaysOfItsFieldsLayersFilesAndLanguageIsKept(t *testing.T) {
	t.Parallel()
	const widget = `/Type /Annot /Subtype /Widget /FT /Tx /F 4 /P 3 0 R /DA (/F 9 Tf) /Rect [10 10 90 20]`
	part := func(language string) []byte {
		return build(`<</Type /Catalog /Pages 2 0 R /Lang (`+language+`) /AF [5 0 R] /AcroForm <</NeedAppearances true /Q 2 /DA (/F 9 Tf) /Fields [6 0 R]>>`+
			` /OCProperties <</OCGs [9 0 R 10 0 R] /D <</BaseState /OFF /ON [10 0 R]>>>>>>`, onePage,
			`<</Type /Page /Parent 2 0 R /Annots [6 0 R 7 0 R 8 0 R]>>`,
			`<</Type /Page /Parent 2 0 R /Contents 11 0 R /Resources <<>> /MediaBox [0 0 9 9]>>`, // no longer in the tree
			`<</Type /Filespec /F (n.txt) /UF (n.txt) /AFRelationship /Data /EF <</F 12 0 R>>>>`,
			`<</T (a) `+widget+`>>`, `<</T (b) `+widget+`>>`, // the form does not list it
			`<</Type /Annot /Subtype /Link /Rect [0 0 9 9] /Dest [4 0 R /Fit] /P 4 0 R>>`,
			`<</Type /OCG /Name (off)>>`, `<</Type /OCG /Name (on)>>`, stream("", "BT (a removed page) Tj ET"),
			stream("/Type /EmbeddedFile /F (secret.txt)", "what is in the file"))
	}
	for _, c := range []struct {
		languages [2]string
		want      any
	}{{[2]string{"de", "de"}, "u:de"}, {[2]string{"de", "en"}, nil}} {
		path := save(t, mustMerge(t, 2, Part{File: part(c.languages[0])}, Part{File: part(c.languages[1])}))
		run(t, "qpdf", "--check", path)
		s := readStructure(t, path)
		if got := s.catalog("/Lang"); got != c.want {
			t.Errorf("of %v, the language is %v", c.languages, got)
		}
		if got := fieldNames(s); !slices.Equal(got, []string{"a", "a_2", "b", "b_2"}) || s.catalog("/AcroForm", "/NeedAppearances") != true {
			t.Errorf("fields are %v, to be drawn: %v", got, s.catalog("/AcroForm", "/NeedAppearances"))
		}
		for _, field := range s.catalog("/AcroForm", "/Fields").([]any) {
			if s.get(field, "/Q") != 2. {
				t.Errorf("%v is aligned as %v", s.get(field, "/T"), s.get(field, "/Q"))
			}
		}
		off, _ := s.catalog("/OCProperties", "/D", "/OFF").([]any)
		if len(off) != 2 || s.get(off[0], "/Name") != "u:off" || s.get(off[1], "/Name") != "u:off" || off[0] == off[1] {
			t.Errorf("layers that are off: %v", off)
		}
		files, _ := s.catalog("/AF").([]any)
		if len(files) != 2 || s.get(files[1], "/EF", "/F", "/F") != nil || s.get(files[1], "/EF", "/F", "/Type") != "/EmbeddedFile" {
			t.Errorf("associated files are %v", files)
		}
		plain := run(t, "qpdf", "--qdf", "--object-streams=disable", "--warning-exit-0", path, "-")
		if strings.Contains(plain, "a removed page") || len(s.links(1)) != 1 || s.links(1)[0] != "<nil>" {
			t.Errorf("a page comes along that is in no tree; links are %v", s.links(1))
		}
	}
}
