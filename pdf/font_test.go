package pdf

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/types"

	"platen"
	"platen/renderer"
)

// fontPrograms counts the TrueType faces of a file, and their programs.
func fontPrograms(t *testing.T, path string) (faces, programs int) {
	t.Helper()
	names, files := map[string]bool{}, map[any]bool{}
	for _, o := range readStructure(t, path).objects {
		if descriptor, ok := o.Value.(map[string]any); ok && descriptor["/FontFile2"] != nil {
			names[subsetTag.ReplaceAllString(descriptor["/FontName"].(string)[1:], "")] = true
			files[descriptor["/FontFile2"]] = true
		}
	}
	return len(names), len(files)
}

// Documents of one look and other words: letters in several faces and sizes, some of them composed,
// joined or without width, have to look and read as before, with each face there once.
func TestR4_2SubsetsOfAFontAreOneFontAndEveryPageLooksAndReadsAsBefore(t *testing.T) {
	t.Parallel()
	chromium := newRenderer(t)
	r := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("Zürich Ærø naïve façade œuvre 0123 4567 89.5 % €12 office waffle Ελλάδα Дело ẍ ǟ a\u200db x\u200cy e\u0301 AVATAR (§7) „Gänse“ 3×4 – ½ ﬁx אבג \u00ad")
	var parts []Part
	var paths []string
	size := 0
	for range 12 {
		var html strings.Builder
		for _, style := range []string{"font: 14px sans-serif", "font: bold 18px sans-serif", "font: italic 13px serif", "font: 12px monospace", "font: bold italic 30px serif; letter-spacing: 1px"} {
			fmt.Fprintf(&html, `<p style="%s">`, style)
			for range 2 + r.IntN(12) {
				html.WriteString(words[r.IntN(len(words))] + " ")
			}
		}
		made, err := chromium.Render(t.Context(), renderer.Page{Account: "a", HTML: html.String(), Settings: platen.DefaultPageSettings()})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, Part{File: made.Content})
		paths = append(paths, save(t, made.Content))
		size += len(made.Content)
	}
	file := mustMerge(t, len(parts), parts...)
	merged := save(t, file)
	faces, programs := fontPrograms(t, merged)
	if faces < 6 || programs != faces {
		t.Errorf("there are %d faces, in %d programs", faces, programs)
	}
	if len(file) > size*2/5 {
		t.Errorf("%d bytes became %d", size, len(file))
	}
	for i, path := range paths {
		if got, want := pageText(t, merged, i+1), pageText(t, path, 1); got != want {
			t.Errorf("page %d reads\n%s\nand did\n%s", i+1, got, want)
		}
		if got, want := picture(t, merged, i+1), picture(t, path, 1); !reflect.DeepEqual(got, want) {
			t.Errorf("page %d looks different", i+1)
		}
	}
}

// Others than Chromium give glyphs new numbers, so that one font's blank can be another's letter.
func TestR4_2OnlyFontsOfChromiumsFilesAreUnited(t *testing.T) {
	t.Parallel()
	chromium := newRenderer(t)
	for producer, united := range map[string]bool{"Skia/PDF": true, "Other/PD": false} {
		var parts []Part
		for _, text := range []string{"abc", "bcd"} {
			made, err := chromium.Render(t.Context(), renderer.Page{Account: "a", HTML: "<p>" + text, Settings: platen.DefaultPageSettings()})
			if err != nil {
				t.Fatal(err)
			}
			file := bytes.Replace(made.Content, []byte("/Producer (Skia/PDF"), []byte("/Producer ("+producer), 1)
			if united == bytes.Contains(file, []byte("Other")) {
				t.Fatal("the file names no producer")
			}
			parts = append(parts, Part{File: file})
		}
		if faces, programs := fontPrograms(t, save(t, mustMerge(t, 2, parts...))); faces != 1 || (programs == 1) != united {
			t.Errorf("of files by %s: %d faces in %d programs", producer, faces, programs)
		}
	}
}

// program is a font of these glyphs, by number, each so wide and of this outline.
func program(glyphs map[int]glyph) *trueType {
	f := &trueType{kind: 0x00010000, head: make([]byte, 54), hhea: make([]byte, 36), maxp: make([]byte, 32), shared: map[string][]byte{"prep": {1, 2, 3}}}
	f.head[18], f.maxp[1] = 4, 1 // 1,024 units to the em; version 1
	f.glyphs = make([]glyph, slices.Max(slices.Collect(maps.Keys(glyphs)))+1)
	for n, g := range glyphs {
		f.glyphs[n] = g
	}
	return f
}

// outlined is a glyph of this outline that is as wide as half of the em.
func outlined(outline string) glyph {
	return glyph{outline: []byte(outline), metrics: [4]byte{2, 0, 0, 1}}
}

// withSubset adds a subset of a font to the objects, and returns its CIDFont.
func withSubset(m *merger, name string, f *trueType, change func(font, descriptor types.Dict, file streamObject)) types.Dict {
	content := f.file()
	file := deflated(types.Dict{"Length1": types.Integer(len(content))}, content)
	descriptor := types.Dict{"Type": types.Name("FontDescriptor"), "FontName": types.Name(name), "FontFile2": reference(m.add(file))}
	font := types.Dict{"Type": types.Name("Font"), "Subtype": types.Name("CIDFontType2"), "BaseFont": types.Name(name), "CIDToGIDMap": types.Name("Identity"),
		"DW": types.Integer(len(f.glyphs)), "FontDescriptor": reference(m.add(descriptor))}
	m.add(font)
	m.cidFonts = append(m.cidFonts, font)
	if change != nil {
		change(font, descriptor, file)
	}
	return font
}

// programOf is the number of a font's program.
func (m *merger) programOf(font types.Dict) int {
	descriptor := m.get(font["FontDescriptor"].(types.IndirectRef)).(types.Dict)
	ref := descriptor["FontFile2"].(types.IndirectRef)
	return m.final(ref.ObjectNumber.Value())
}

// Only what is known to be one font is made one.
func TestR4_2FontsThatAreNotSubsetsOfOneStayApart(t *testing.T) {
	t.Parallel()
	a, b := map[int]glyph{1: outlined("aa"), 3: outlined("cc")}, map[int]glyph{1: outlined("aa"), 4: outlined("dd")}
	const name, other = "ABCDEF+One", "GHIJKL+One"
	shared := func(name string) *trueType {
		f := program(b)
		f.shared[name] = []byte{7}
		return f
	}
	set := func(at int) *trueType {
		f := program(b)
		f.head[at]++
		return f
	}
	for _, c := range []struct {
		what   string
		name   string
		second *trueType
		change func(font, descriptor types.Dict, file streamObject)
		one    bool
	}{
		{what: "subsets of one font", name: other, second: program(b), one: true},
		{what: "subsets of one font with the same tag", name: name, second: program(b), one: true},
		{what: "another name", name: "GHIJKL+Two", second: program(b)},
		{what: "a font that is no subset", name: "One", second: program(b)},
		{what: "another glyph of one number", name: other, second: program(map[int]glyph{1: outlined("xx"), 4: outlined("dd")})},
		{what: "a glyph that goes on", name: other, second: program(map[int]glyph{1: outlined("aaa")})},
		{what: "a glyph that is padded", name: other, second: program(map[int]glyph{1: outlined("aa\x00\x00")}), one: true},
		{what: "another place of one glyph", name: other, second: program(map[int]glyph{1: {outline: []byte("aa"), metrics: [4]byte{2, 0, 0, 2}}})},
		{what: "another size of the em", name: other, second: set(18)},
		{what: "another box around all glyphs", name: other, second: set(37), one: true},
		{what: "another program for the whole font", name: other, second: shared("prep")},
		{what: "a table that only one has", name: other, second: shared("cvt ")},
		{what: "a table that may change what is seen", name: other, second: shared("gvar")},
		{what: "a table that readers of a PDF do not use", name: other, second: shared("GSUB"), one: true},
		{what: "other widths in the dictionary", name: other, second: program(b), one: true,
			change: func(font, _ types.Dict, _ streamObject) { font["W"] = types.Array{} }},
		{what: "a list of the glyphs that are there", name: other, second: program(b),
			change: func(_, descriptor types.Dict, _ streamObject) { descriptor["CIDSet"] = reference(1) }},
		{what: "a descriptor that is not there", name: other, second: program(b),
			change: func(_, descriptor types.Dict, _ streamObject) { clear(descriptor) }},
		{what: "another filter", name: other, second: program(b),
			change: func(_, _ types.Dict, file streamObject) { file.Dict["Filter"] = types.Name("LZWDecode") }},
		{what: "parameters of a filter", name: other, second: program(b),
			change: func(_, _ types.Dict, file streamObject) { file.Dict["DecodeParms"] = types.Dict{} }},
		{what: "a program that is cut", name: other, second: program(b),
			change: func(_, _ types.Dict, file streamObject) { clear(file.raw[len(file.raw)/2:]) }},
	} {
		m := newMerger(2)
		first, second := withSubset(m, name, program(a), nil), withSubset(m, c.name, c.second, c.change)
		m.uniteFonts()
		if c.what == "a descriptor that is not there" {
			continue // and nothing broke
		}
		n := m.programOf(first)
		if one := n == m.programOf(second); one != c.one {
			t.Errorf("%s: they are one: %v", c.what, one)
		}
		if !c.one {
			continue
		}
		if first["BaseFont"] != types.Name(name) || second["BaseFont"] != types.Name(c.name) || first["DW"] == second["DW"] {
			t.Errorf("%s: the fonts became %v and %v", c.what, first, second)
		}
		left := maxFonts
		united := m.program(n, &left)
		if united == nil {
			t.Errorf("%s: the program cannot be read", c.what)
			continue
		}
		for _, f := range []*trueType{program(a), c.second} {
			for n, want := range f.glyphs {
				if got := united.glyphs[n]; want.present() && (!sameOutline(got.outline, want.outline) || got.metrics != want.metrics) {
					t.Errorf("%s: glyph %d is %+v, want %+v", c.what, n, got, want)
				}
			}
		}
	}
}

// A program that something else shows as well stays for that, and fonts of which two and two
// are one become as many as there are pairs, however many kinds there are.
func TestR4_2WhoShowsAProgramInAnotherWayKeepsItAndKindsStayApart(t *testing.T) {
	t.Parallel()
	const kinds = openUnions + 8
	m := newMerger(2)
	var fonts []types.Dict
	for i := range kinds {
		for _, n := range []int{2, 3} {
			fonts = append(fonts, withSubset(m, "ABCDEF+One", program(map[int]glyph{1: outlined(fmt.Sprint(10 + i)), n: outlined("bb")}), nil))
		}
	}
	simple := types.Dict{"Type": types.Name("Font"), "Subtype": types.Name("TrueType"), "FontDescriptor": fonts[0]["FontDescriptor"]}
	old := m.programOf(simple)
	all := types.Array{simple}
	for _, font := range fonts {
		all = append(all, font)
	}
	m.catalog["All"] = all
	m.uniteFonts()
	shown := map[int]int{}
	for _, font := range fonts {
		shown[m.programOf(font)]++
	}
	for n, count := range shown {
		if count != 2 {
			t.Errorf("%d fonts show program %d", count, n)
		}
	}
	if len(shown) != kinds || m.programOf(simple) != old || shown[old] != 0 {
		t.Errorf("%d programs, want %d; the simple font's is %d and was %d", len(shown), kinds, m.programOf(simple), old)
	}
	files := 0
	for i, reached := range m.reached(m.add(m.catalog))[1:] {
		if _, ok := m.objects[i].(streamObject); ok && reached {
			files++
		}
	}
	if files != kinds+1 {
		t.Errorf("%d files are written, want %d", files, kinds+1)
	}
}

// What is read for this has a limit, for one font and for all.
func TestR4_3FontsThatAreTooLargeAreNotUnited(t *testing.T) {
	t.Parallel()
	m := newMerger(2)
	n := m.add(deflated(types.Dict{}, program(map[int]glyph{1: outlined(string(make([]byte, 1000)))}).file()))
	bomb := m.add(deflated(types.Dict{}, make([]byte, maxFont+1)))
	left := maxFonts
	if m.program(n, &left) == nil || left >= maxFonts || left < maxFonts-2000 {
		t.Errorf("a small font was not read, or as %d bytes", maxFonts-left)
	}
	before := left
	if m.program(bomb, &left) != nil || left != before-maxFont {
		t.Errorf("one too large was read, as %d bytes", before-left)
	}
	if left = 999; m.program(n, &left) != nil || left != 0 {
		t.Errorf("one was read when %d bytes were left", left)
	}
	// What becomes of several is no larger than one may be.
	third := string(make([]byte, maxFont*2/5&^1))
	a, b, c := program(map[int]glyph{1: outlined(third)}), program(map[int]glyph{2: outlined(third)}), program(map[int]glyph{3: outlined(third)})
	for _, f := range []*trueType{a, b, c} {
		*f = *parseTrueType(f.file())
	}
	if !a.unite(b) || a.unite(c) || !a.unite(b) || a.size != 2*len(third) {
		t.Errorf("%d bytes of outlines are in one font", a.size)
	}
}
