package pdf

import (
	"bytes"
	"compress/zlib"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/types"
)

const (
	maxFont    = 4 << 20  // bytes of a font that is united with others, and of what becomes of them
	maxFonts   = 64 << 20 // of all that are looked at for one merge
	openUnions = 4        // that the next subset may belong to
)

// subsetTag stands before the name of a font of which the file holds only what it shows
// (ISO 32000-2, 9.9.2).
var subsetTag = regexp.MustCompile(`^[A-Z]{6}\+`)

// union is what the programs of several subsets of a font become.
type union struct {
	program *trueType
	members []int // numbers of streams
}

// keepsNumbers is the beginning of the Producer of files whose fonts are subsets in
// which each glyph has the number that it has in the whole font: Chromium's. Others give
// new ones; then what is blank in one may be visible in another that agrees in the rest.
const keepsNumbers = "Skia/PDF"

// noteFonts remembers the CIDFonts among the objects after first, if the part is one
// whose fonts may be united.
func (s *source) noteFonts(first int) {
	if s.doc.Info == nil {
		return
	}
	if producer, _ := s.asText(s.asDict(*s.doc.Info)["Producer"]); !strings.HasPrefix(producer, keepsNumbers) {
		return
	}
	for n := first + 1; n <= s.m.last(); n++ {
		if d, ok := s.m.objects[n-1].(types.Dict); ok && d["Subtype"] == types.Name("CIDFontType2") {
			s.m.cidFonts = append(s.m.cidFonts, d)
		}
	}
}

// uniteFonts stores once what the subsets of a font have in common. Chromium
// embeds the glyphs that a document shows, and leaves them their numbers: two
// invoices that differ by a digit in a heading have two fonts, which agree in all that
// both have. Only the program is shared. Which number stands for which letter, and
// how wide it is, each part goes on saying for itself.
func (m *merger) uniteFonts() {
	users := map[int][]types.Dict{} // CIDFonts, by the number of their program
	groups := map[string][]int{}    // programs, by the name of the font
	var names []string
	for _, font := range m.cidFonts {
		n, ok := m.subset(font)
		if !ok {
			continue
		}
		if users[n] = append(users[n], font); len(users[n]) > 1 {
			continue
		}
		name := subsetTag.ReplaceAllString(string(font["BaseFont"].(types.Name)), "")
		if groups[name] == nil {
			names = append(names, name)
		}
		groups[name] = append(groups[name], n)
	}
	first, left := m.last(), maxFonts
	for _, name := range names {
		if len(groups[name]) == 1 {
			continue
		}
		var open []*union
		for _, n := range groups[name] {
			program := m.program(n, &left)
			if program == nil {
				continue
			}
			at := slices.IndexFunc(open, func(u *union) bool { return u.program.unite(program) })
			if at < 0 {
				if len(open) == openUnions {
					m.install(open[0], users)
					open = open[1:]
				}
				open, at = append(open, &union{program: program}), len(open)
			}
			open[at].members = append(open[at].members, n)
		}
		for _, u := range open {
			m.install(u, users)
		}
	}
	m.unify(first) // descriptors differed by what they describe
}

// subset returns the number of a CIDFont's program if that holds only what is shown.
func (m *merger) subset(font types.Dict) (int, bool) {
	name, _ := font["BaseFont"].(types.Name)
	at, referred := font["FontDescriptor"].(types.IndirectRef)
	if !referred || !subsetTag.MatchString(string(name)) {
		return 0, false
	}
	descriptor, _ := m.get(at).(types.Dict)
	file, referred := descriptor["FontFile2"].(types.IndirectRef)
	if !referred || descriptor["CIDSet"] != nil { // a list of what the program holds
		return 0, false
	}
	_, ok := m.get(file).(streamObject)
	return m.final(file.ObjectNumber.Value()), ok
}

// program reads a subset; it is nil for what is not understood to the last byte, and when
// too much was read already.
func (m *merger) program(n int, left *int) *trueType {
	file := m.objects[n-1].(streamObject)
	content := io.Reader(bytes.NewReader(file.raw))
	for key, value := range file.Dict {
		switch {
		case key == "Length1":
		case key == "Filter" && value == types.Name("FlateDecode"):
			z, err := zlib.NewReader(content)
			if err != nil {
				return nil
			}
			content = z
		default:
			return nil
		}
	}
	limit := min(maxFont, *left)
	read, err := io.ReadAll(io.LimitReader(content, int64(limit)+1))
	*left -= min(len(read), limit)
	if err != nil || len(read) > limit {
		return nil
	}
	return parseTrueType(read)
}

// install gives the members' fonts a program in common. Those stay behind, unless
// something else refers to them.
func (m *merger) install(u *union, users map[int][]types.Dict) {
	if len(u.members) < 2 {
		return
	}
	file := u.program.file()
	program := reference(m.add(deflated(types.Dict{"Length1": types.Integer(len(file))}, file)))
	for _, n := range u.members {
		for _, font := range users[n] {
			descriptor := maps.Clone(m.get(font["FontDescriptor"].(types.IndirectRef)).(types.Dict))
			descriptor["FontFile2"] = program
			font["FontDescriptor"] = reference(m.add(descriptor))
		}
	}
}
