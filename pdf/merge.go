package pdf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"unicode"

	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/types"
)

const (
	maxParts = 1000    // of one merge
	maxTitle = 200     // runes of a part's bookmark
	maxDepth = 100     // of trees, as for the watermark's
	maxItems = 1 << 20 // of one tree; more is a bomb
)

// merger makes one document of many. pdfcpu reads the parts; its own merge
// confuses destinations, loses what all but the first bring besides their pages,
// and keeps scripts (ARCHITECTURE.md has the measurements), so the parts' objects
// are copied here, one document after the other, into a new one.
type merger struct {
	store
	alone   bool // one part: what belongs to the document as a whole can stay
	version model.Version
	pages   int
	nodes   types.Array // of the page tree, one for each part
	tree    int         // the root of the page tree
	secured bool        // a part was encrypted
	catalog types.Dict
	info    types.Dict
	outline []bookmark
	dests   map[string]types.Object
	files   map[string]types.Object // embedded, by their names as they are written
	taken   map[string]bool         // names of embedded files as they are read
	numbers map[string]int          // where the search for an unused name goes on
	related types.Array             // associated files
	labels  []label
	labeled bool // at least one part has labels of its own
	form    *form
	layers  *layers
	lang    types.Object
	// cidFonts are those whose programs may be united (font.go).
	cidFonts []types.Dict
}

// form is what the parts' interactive forms become.
type form struct {
	fields types.Array
	names  map[string]bool                    // taken, up to their first dot
	redraw bool                               // readers are to draw the fields anew
	drawn  map[string]map[string]types.Object // what the fields are drawn with: category, name, resource
}

// layers are what the parts' optional content becomes.
type layers struct {
	groups, off, order, locked, alternatives, automatic types.Array
}

type label struct {
	page int // from 0, in the result
	dict types.Dict
}

// bookmark is an item of the outline, already in the words of the result.
type bookmark struct {
	entries types.Dict // all but its place in the tree
	open    bool
	kids    []bookmark
}

// encodeParts appends titles and sizes, then the files, and copies these once
// only: they are large.
func encodeParts(head []byte, parts []Part) []byte {
	size := len(head) + binary.MaxVarintLen32
	for _, p := range parts {
		size += 2*binary.MaxVarintLen32 + 4*maxTitle + len(p.File)
	}
	out := binary.AppendUvarint(append(make([]byte, 0, size), head...), uint64(len(parts)))
	for _, p := range parts {
		title := cleanTitle(p.Title)
		out = binary.AppendUvarint(out, uint64(len(title)))
		own := byte(0)
		if p.OwnTitle {
			own = 1
		}
		out = append(out, own)
		out = append(out, title...)
		out = binary.AppendUvarint(out, uint64(len(p.File)))
	}
	for _, p := range parts {
		out = append(out, p.File...)
	}
	return out
}

func decodeParts(in []byte) ([]Part, error) {
	malformed := errors.New("malformed parts")
	number := func() int {
		value, n := binary.Uvarint(in)
		if n <= 0 || value > sizeLimit+1<<20 {
			return -1
		}
		in = in[n:]
		return int(value)
	}
	count := number()
	if count < 1 || count > maxParts {
		return nil, malformed
	}
	parts, sizes := make([]Part, count), make([]int, count)
	for i := range parts {
		size := number()
		if size < 0 || size >= len(in) {
			return nil, malformed
		}
		parts[i].OwnTitle, in = in[0] == 1, in[1:]
		parts[i].Title, in = string(in[:size]), in[size:]
		if sizes[i] = number(); sizes[i] < 0 {
			return nil, malformed
		}
	}
	for i, size := range sizes {
		if size > len(in) {
			return nil, malformed
		}
		parts[i].File, in = in[:size], in[size:]
	}
	return parts, nil
}

// cleanTitle makes one line of a title that comes from anyone. The two joiners
// are not seen, and belong to Persian words and to emoji.
func cleanTitle(title string) string {
	var out []rune
	for _, r := range strings.ToValidUTF8(title, "\ufffd") {
		if !unicode.IsGraphic(r) && r != '\u200c' && r != '\u200d' {
			r = ' '
		}
		if out = append(out, r); len(out) == maxTitle {
			break
		}
	}
	return strings.TrimSpace(string(out))
}

func newMerger(parts int) *merger {
	m := &merger{
		store: newStore(), alone: parts == 1, version: model.V15, catalog: types.Dict{}, info: types.Dict{},
		dests: map[string]types.Object{}, files: map[string]types.Object{}, taken: map[string]bool{}, numbers: map[string]int{},
	}
	m.tree = m.add(nil)
	return m
}

// merge is what the worker does. before is put in front of the file.
func merge(parts []Part, before func(Info) ([]byte, error)) ([]byte, *Error, error) {
	m := newMerger(len(parts))
	size := 0
	for i, p := range parts {
		size += len(p.File)
		if mistake := m.append(i, p); mistake != nil {
			mistake.Part = i
			return nil, mistake, nil
		}
		tidy(len(p.File))
	}
	m.uniteFonts()
	m.finish()
	head, err := before(Info{Pages: m.pages})
	if err != nil {
		return nil, nil, err
	}
	return m.write(head, m.add(m.catalog), m.add(m.info), m.version, size), nil, nil
}

// tidy collects garbage after work on a large file. Go does it by itself, but
// beside the allocations that follow, which then take memory of their own; and
// what Go once took counts for good.
func tidy(size int) {
	if size > 8<<20 {
		runtime.GC()
	}
}

// append copies a part to the end. What the library or we stumble over is the
// part's fault, and names it.
func (m *merger) append(index int, p Part) (mistake *Error) {
	defer func() {
		if recover() != nil {
			mistake = problem(Damaged, damaged)
		}
	}()
	doc, mistake := read(p.File, true)
	if mistake != nil {
		return mistake
	}
	s := &source{m: m, file: p.File, doc: doc, copied: map[int]int{}, fonts: map[string]string{}}
	if !m.alone {
		s.prefix = fmt.Sprintf("%d.", index+1)
	}
	first := m.last()
	title := p.Title
	if own := s.title(); p.OwnTitle && own != "" {
		title = own
	}
	if s.document(title, index); s.err != nil {
		return problem(Damaged, damaged+": "+s.err.Error())
	}
	m.unify(first)
	s.noteFonts(first)
	m.version = max(m.version, doc.XRefTable.Version())
	m.secured = m.secured || doc.Encrypt != nil
	return nil
}

// unused returns name, or name_2, name_3 and so on: the first that is not taken.
// What it returns is to be taken from then on.
func (m *merger) unused(kind, name string, taken func(string) bool) string {
	free := name
	for taken(free) {
		n := max(2, m.numbers[kind+name])
		free, m.numbers[kind+name] = fmt.Sprintf("%s_%d", name, n), n+1
	}
	return free
}

// mayBeMerged reports whether a file that opens without a password allows that
// its pages become part of another: copying, and assembling or changing
// (ISO 32000-2, table 22: bits 5, 11 and 4).
func mayBeMerged(e *model.Enc) bool {
	const change, copying, assemble = 1 << 3, 1 << 4, 1 << 10
	return e != nil && e.P&copying != 0 && (e.P&change != 0 || e.R >= 3 && e.P&assemble != 0)
}

// finish writes what the parts have in common.
func (m *merger) finish() {
	m.set(m.tree, types.Dict{"Type": types.Name("Pages"), "Kids": m.nodes, "Count": types.Integer(m.pages)})
	m.catalog["Type"], m.catalog["Pages"] = types.Name("Catalog"), reference(m.tree)
	if m.lang != nil {
		m.catalog["Lang"] = m.lang
	}
	if len(m.outline) > 0 {
		root := m.add(nil)
		entries, _ := m.bookmarks(m.outline, root)
		entries["Type"] = types.Name("Outlines")
		m.set(root, entries)
		m.catalog["Outlines"] = reference(root)
	}
	names := types.Dict{}
	for name, values := range map[string]map[string]types.Object{"Dests": m.dests, "EmbeddedFiles": m.files} {
		if len(values) > 0 {
			names[name] = m.nameTree(values)
		}
	}
	if len(names) > 0 {
		m.catalog["Names"] = names
	}
	if len(m.related) > 0 {
		m.catalog["AF"] = m.related
	}
	if m.labeled {
		var numbers types.Array
		for _, l := range m.labels {
			numbers = append(numbers, types.Integer(l.page), l.dict)
		}
		m.catalog["PageLabels"] = reference(m.add(types.Dict{"Nums": numbers}))
	}
	if m.form != nil {
		d := types.Dict{"Fields": m.form.fields}
		if m.form.redraw {
			d["NeedAppearances"] = types.Boolean(true)
		}
		drawn := types.Dict{}
		for category, names := range m.form.drawn {
			drawn[category] = types.Dict(names)
		}
		if len(drawn) > 0 {
			d["DR"] = drawn
		}
		m.catalog["AcroForm"] = reference(m.add(d))
	}
	if l := m.layers; l != nil {
		d := types.Dict{"BaseState": types.Name("ON")}
		for name, list := range map[string]types.Array{
			"OFF": l.off, "Order": l.order, "Locked": l.locked, "RBGroups": l.alternatives, "AS": l.automatic,
		} {
			if len(list) > 0 {
				d[name] = list
			}
		}
		m.catalog["OCProperties"] = types.Dict{"OCGs": l.groups, "D": d}
	}
	now := types.StringLiteral(now())
	m.info["Producer"], m.info["CreationDate"], m.info["ModDate"] = types.StringLiteral("Platen"), now, now
}

// bookmarks writes items below parent, and returns the entries that refer to
// them and how many of them show when parent is open.
func (m *merger) bookmarks(items []bookmark, parent int) (types.Dict, int) {
	numbers := make([]int, len(items))
	for i := range items {
		numbers[i] = m.add(nil)
	}
	shown := len(items)
	for i, item := range items {
		d := item.entries
		d["Parent"] = reference(parent)
		if i > 0 {
			d["Prev"] = reference(numbers[i-1])
		}
		if i < len(items)-1 {
			d["Next"] = reference(numbers[i+1])
		}
		if len(item.kids) > 0 {
			entries, below := m.bookmarks(item.kids, numbers[i])
			d["First"], d["Last"], d["Count"] = entries["First"], entries["Last"], types.Integer(-below)
			if item.open {
				d["Count"] = types.Integer(below)
				shown += below
			}
		}
		m.set(numbers[i], d)
	}
	return types.Dict{
		"First": reference(numbers[0]), "Last": reference(numbers[len(numbers)-1]), "Count": types.Integer(shown),
	}, shown
}

// nameTree writes values in leaves of 64 below one root.
func (m *merger) nameTree(values map[string]types.Object) types.Object {
	var keys []string
	for key := range values {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	text := func(key string) types.Object { return types.NewHexLiteral([]byte(key)) }
	var kids types.Array
	for leaf := range slices.Chunk(keys, 64) {
		var names types.Array
		for _, key := range leaf {
			names = append(names, text(key), values[key])
		}
		kids = append(kids, reference(m.add(types.Dict{
			"Names": names, "Limits": types.Array{text(leaf[0]), text(leaf[len(leaf)-1])},
		})))
	}
	return reference(m.add(types.Dict{"Kids": kids}))
}

// source is a part on its way into the result.
type source struct {
	m      *merger
	file   []byte
	doc    *model.Context
	prefix string            // of the names of its destinations
	copied map[int]int       // numbers there and here; 0: it is left out
	queue  []int             // numbers there of what is still to be copied
	nodes  int               // of the page tree, visited so far
	pages  []page            // in order
	fonts  map[string]string // names of fonts in forms that others had taken
	err    error             // the first; it is told to people
}

type page struct {
	number int // here
	dict   types.Dict
}

// actions that run something, take something from the reader's machine or play
// it are not carried into a file that also holds other people's pages.
var runs = map[types.Name]bool{
	"JavaScript": true, "Launch": true, "ImportData": true, "Rendition": true, "RichMediaExecute": true, "Movie": true, "Sound": true,
}

// reach are actions on the fields of the whole document, by name or all of them:
// a button of one part would send, clear or hide what is filled in in others.
var reach = map[types.Name]bool{"SubmitForm": true, "ResetForm": true, "Hide": true}

func (s *source) staysBehind(action types.Name) bool {
	return runs[action] || !s.m.alone && reach[action]
}

func (s *source) fail(text string) {
	if s.err == nil {
		s.err = errors.New(text)
	}
}

func (s *source) resolve(o types.Object) types.Object {
	for range 10 { // a reference to a reference is none of PDF's, but of some writers'
		if _, ok := o.(types.IndirectRef); !ok {
			return o
		}
		resolved, err := s.doc.Dereference(o)
		if err != nil {
			s.fail("an object cannot be read")
			return nil
		}
		o = resolved
	}
	return nil
}

func (s *source) asDict(o types.Object) types.Dict {
	d, _ := s.resolve(o).(types.Dict)
	return d
}

func (s *source) asArray(o types.Object) types.Array {
	a, _ := s.resolve(o).(types.Array)
	return a
}

func (s *source) asName(o types.Object) types.Name {
	n, _ := s.resolve(o).(types.Name)
	return n
}

// asText returns the bytes of a string.
func (s *source) asText(o types.Object) (string, bool) {
	switch o := s.resolve(o).(type) {
	case types.StringLiteral:
		b, err := types.Unescape(string(o))
		return string(b), err == nil
	case types.HexLiteral:
		if len(o)%2 == 1 {
			o += "0" // as ISO 32000-2, 7.3.4.3, reads it
		}
		b, err := o.Bytes()
		return string(b), err == nil
	}
	return "", false
}

// document copies all that a part brings.
func (s *source) document(title string, index int) {
	root, err := s.doc.Catalog()
	if err != nil || root == nil {
		s.fail("it has no catalog")
		return
	}
	if title == "" {
		title = fmt.Sprintf("Part %d", index+1)
	}
	before := s.m.pages
	s.findPages(root["Pages"], types.Dict{}, 0, map[int]bool{})
	if s.err == nil && len(s.pages) == 0 {
		s.fail("it has no pages")
	}
	if s.err != nil {
		return
	}
	forms := s.asDict(root["AcroForm"])
	s.shareFonts(forms)
	s.copyPages()
	s.drain()
	s.destinations(root)
	s.copyOutline(root, title)
	s.copyFields(forms)
	s.copyFiles(root)
	s.copyLayers(root, title)
	s.copyLabels(root, before)
	lang := s.copy(s.resolve(root["Lang"]))
	if index == 0 {
		s.m.lang = lang
	} else if a, _ := s.asText(lang); s.m.lang != nil {
		if b, _ := s.asText(s.m.lang); a != b {
			s.m.lang = nil
		}
	}
	if s.m.alone {
		for _, key := range []string{"StructTreeRoot", "MarkInfo", "Metadata", "ViewerPreferences", "OutputIntents", "PageMode", "PageLayout"} {
			if c := s.copy(root[key]); c != nil {
				s.m.catalog[key] = c
			}
		}
		if s.doc.Info != nil {
			if d, ok := s.copy(s.asDict(*s.doc.Info)).(types.Dict); ok {
				s.m.info = d
			}
		}
	}
	s.drain()
}

// title is the file's own, of its information dictionary.
func (s *source) title() string {
	if s.doc.Info == nil {
		return ""
	}
	title, _ := s.asText(s.asDict(*s.doc.Info)["Title"])
	return cleanTitle(decodeName(title))
}

// findPages walks the page tree and gives each page its number.
func (s *source) findPages(o types.Object, inherited types.Dict, depth int, above map[int]bool) {
	if ref, ok := o.(types.IndirectRef); ok {
		n := ref.ObjectNumber.Value()
		if above[n] {
			s.fail("its page tree is recursive")
			return
		}
		above[n] = true
		defer delete(above, n)
	}
	d := s.asDict(o)
	switch {
	case s.err != nil:
		return
	case d == nil: // readers skip what is missing
		return
	case depth > maxDepth:
		s.fail("its page tree is too deep")
		return
	case s.nodes >= maxItems: // nodes can be few, and each below many
		s.fail("it has too many pages")
		return
	}
	s.nodes++
	attributes := types.Dict{}
	for _, key := range []string{"Resources", "MediaBox", "CropBox", "Rotate"} {
		if value, found := d[key]; found && value != nil {
			attributes[key] = value
		} else if value, found := inherited[key]; found {
			attributes[key] = value
		}
	}
	if kids, found := d["Kids"]; found && s.asName(d["Type"]) != "Page" {
		for _, kid := range s.asArray(kids) {
			s.findPages(kid, attributes, depth+1, above)
		}
		return
	}
	if s.asName(d["Type"]) == "Pages" && d["Contents"] == nil {
		return // a node without pages
	}
	p := page{s.m.add(nil), types.Dict{}}
	for key, value := range d {
		p.dict[key] = value
	}
	for key, value := range attributes {
		p.dict[key] = value
	}
	if ref, ok := o.(types.IndirectRef); ok && s.copied[ref.ObjectNumber.Value()] == 0 {
		s.copied[ref.ObjectNumber.Value()] = p.number
	}
	s.pages = append(s.pages, p)
}

func (s *source) copyPages() {
	node := s.m.add(nil)
	var kids types.Array
	for _, p := range s.pages {
		d := types.Dict{"Type": types.Name("Page"), "Parent": reference(node), "Resources": types.Dict{}}
		for key, value := range p.dict {
			switch key {
			// Actions, article threads and other programs' private data stay behind.
			case "Type", "Parent", "AA", "B", "PieceInfo":
				continue
			case "StructParents", "Tabs":
				if !s.m.alone {
					continue
				}
			case "Annots":
				var list types.Array
				for _, a := range s.asArray(value) {
					switch s.asName(s.asDict(a)["Subtype"]) {
					case "", "3D", "RichMedia": // the last two bring scripts
					default:
						list = append(list, s.copy(a))
					}
				}
				if len(list) > 0 {
					d[key] = list
				}
				continue
			}
			if c := s.copy(value); c != nil {
				d[key] = c
			}
		}
		s.m.set(p.number, d)
		kids = append(kids, reference(p.number))
	}
	s.m.set(node, types.Dict{
		"Type": types.Name("Pages"), "Parent": reference(s.m.tree), "Kids": kids, "Count": types.Integer(len(kids)),
	})
	s.m.nodes = append(s.m.nodes, reference(node))
	s.m.pages += len(kids)
}

// copy returns an object in the words of the result; what it refers to waits in
// the queue, so that a long chain of objects is no deep recursion.
func (s *source) copy(o types.Object) types.Object {
	switch o := o.(type) {
	case types.IndirectRef:
		n := o.ObjectNumber.Value()
		to, found := s.copied[n]
		if !found {
			if to = 0; s.wanted(s.resolve(o)) {
				to = s.m.add(nil)
				s.queue = append(s.queue, n)
			}
			s.copied[n] = to
		}
		if to == 0 {
			return nil
		}
		return reference(to)
	case types.Dict:
		return s.dict(o)
	case types.Array:
		out := make(types.Array, len(o))
		for i, value := range o {
			out[i] = s.copy(value)
		}
		return out
	case types.StreamDict:
		d := make(types.Dict, len(o.Dict))
		for key, value := range o.Dict {
			switch key {
			case "Length", "F", "FFilter", "FDecodeParms": // the last three: content that lies in another file
			default:
				d[key] = value
			}
		}
		return streamObject{s.dict(d), s.inFile(o)}
	case types.Boolean, types.Integer, types.Float, types.Name, types.StringLiteral, types.HexLiteral:
		return o
	}
	return nil
}

// inFile is a stream's content where it lies in the part, which is in memory all
// along, so that pdfcpu's copy can go. Of a protected part, it is the copy.
func (s *source) inFile(o types.StreamDict) []byte {
	if start, size := o.StreamOffset, int64(len(o.Raw)); start >= 0 && size <= int64(len(s.file))-start {
		if place := s.file[start : start+size]; bytes.Equal(place, o.Raw) {
			return place
		}
	}
	return o.Raw
}

func (s *source) drain() {
	for len(s.queue) > 0 && s.err == nil {
		n := s.queue[len(s.queue)-1]
		s.queue = s.queue[:len(s.queue)-1]
		s.m.set(s.copied[n], s.copy(s.resolve(*types.NewIndirectRef(n, 0))))
	}
}

// wanted tells what is reached by accident: through an old reference to a page
// that is no longer in the tree, for example, the whole of another document.
func (s *source) wanted(o types.Object) bool {
	switch o := o.(type) {
	case nil, types.ObjectStreamDict, types.XRefStreamDict:
		return false
	case types.Dict:
		switch s.asName(o["Type"]) {
		case "Page", "Pages", "Catalog":
			return false
		case "StructTreeRoot", "StructElem":
			return s.m.alone
		}
	}
	return true
}

func (s *source) dict(d types.Dict) types.Dict {
	action := s.asName(d["S"])
	if s.staysBehind(action) {
		return types.Dict{} // wherever it was, and whatever led there
	}
	_, hasBox := s.resolve(d["Rect"]).(types.Array)
	_, hasName := s.asText(d["T"])
	field := hasBox || hasName || s.asName(d["FT"]) != ""
	out := make(types.Dict, len(d))
	for key, value := range d {
		var c types.Object
		switch {
		case key == "AA" && field,
			(key == "StructParent" || key == "StructParents" || key == "SD" && action == "GoTo") && !s.m.alone,
			(key == "A" || key == "PA" || key == "Next") && s.staysBehind(s.asName(s.asDict(value)["S"])),
			// A signature holds for the file that was signed; its picture stays.
			key == "V" && s.asDict(value)["ByteRange"] != nil:
			continue
		case key == "D" && action == "GoTo", key == "Dest" && (hasBox || d["Title"] != nil):
			c = s.destination(value)
		case key == "DA":
			c = s.appearance(value)
		case key == "AP" && hasBox:
			c = s.copy(value)
			s.keepApart(value, 0)
		default:
			c = s.copy(value)
		}
		if c != nil {
			out[key] = c
		}
	}
	return out
}

// keepApart lets nothing else share the streams that show a field or a note:
// PDFBox and others write a new value into the stream that is there.
func (s *source) keepApart(o types.Object, depth int) {
	if ref, ok := o.(types.IndirectRef); ok {
		s.m.distinct[s.copied[ref.ObjectNumber.Value()]] = true
	}
	if depth < 2 { // by kind of appearance, and by state
		for _, value := range s.asDict(o) {
			s.copy(value)
			s.keepApart(value, depth+1)
		}
	}
}

// destination returns where a link or bookmark leads.
func (s *source) destination(o types.Object) types.Object {
	switch o := s.resolve(o).(type) {
	case types.Name:
		return types.NewHexLiteral([]byte(s.prefix + string(o)))
	case types.StringLiteral, types.HexLiteral:
		name, _ := s.asText(o)
		return types.NewHexLiteral([]byte(s.prefix + name))
	case types.Dict: // of a name
		if place, ok := s.resolve(o["D"]).(types.Array); ok {
			return s.destination(place)
		}
	case types.Array:
		if len(o) == 0 {
			return nil
		}
		out := s.copy(o).(types.Array)
		if n, ok := s.resolve(o[0]).(types.Integer); ok { // a page's index is for other files, but readers take it
			out[0] = nil
			if int(n) >= 0 && int(n) < len(s.pages) {
				out[0] = reference(s.pages[n].number)
			}
		}
		if out[0] == nil {
			return nil // the page is not there
		}
		return out
	}
	return nil
}

// destinations gives names to places in the result: those of the tree, and of
// PDF 1.1's dictionary as far as the tree has no such name.
func (s *source) destinations(root types.Dict) {
	add := func(name string, value types.Object) {
		switch s.resolve(value).(type) {
		case types.Array, types.Dict:
			if d := s.destination(value); d != nil && s.m.dests[s.prefix+name] == nil {
				s.m.dests[s.prefix+name] = d
			}
		}
	}
	s.walkTree(s.asDict(root["Names"])["Dests"], "Names", func(key, value types.Object) {
		if name, ok := s.asText(key); ok {
			add(name, value)
		}
	})
	for name, value := range s.asDict(root["Dests"]) {
		add(name, value)
	}
}

// walkTree visits the leaves of a name tree ("Names") or number tree ("Nums").
func (s *source) walkTree(o types.Object, leaves string, visit func(key, value types.Object)) {
	seen, count := map[int]bool{}, 0
	var walk func(types.Object, int)
	walk = func(o types.Object, depth int) {
		if ref, ok := o.(types.IndirectRef); ok {
			if seen[ref.ObjectNumber.Value()] {
				s.fail("a tree of names or numbers is recursive")
			}
			seen[ref.ObjectNumber.Value()] = true
		}
		if depth > maxDepth || count > maxItems {
			s.fail("a tree of names or numbers is too large")
		}
		if s.err != nil {
			return
		}
		d := s.asDict(o)
		list := s.asArray(d[leaves])
		for i := 0; i+1 < len(list); i += 2 {
			count++
			visit(list[i], list[i+1])
		}
		for _, kid := range s.asArray(d["Kids"]) {
			walk(kid, depth+1)
		}
	}
	walk(o, 0)
}

func (s *source) copyOutline(root types.Dict, title string) {
	seen := map[int]bool{}
	var items func(o types.Object, depth int) []bookmark
	items = func(o types.Object, depth int) (list []bookmark) {
		if depth > maxDepth {
			s.fail("its outline is too deep")
		}
		for s.err == nil {
			ref, ok := o.(types.IndirectRef)
			if !ok {
				return list
			}
			if n := ref.ObjectNumber.Value(); seen[n] {
				s.fail("its outline is recursive")
			} else {
				seen[n] = true
			}
			d := s.asDict(o)
			if d == nil || s.err != nil {
				return list
			}
			b := bookmark{entries: types.Dict{"Title": types.StringLiteral("")}}
			for _, key := range []string{"Title", "C", "F"} {
				if c := s.copy(s.resolve(d[key])); c != nil {
					b.entries[key] = c
				}
			}
			if dest := s.destination(d["Dest"]); dest != nil {
				b.entries["Dest"] = dest
			} else if a := s.asDict(d["A"]); a != nil && !s.staysBehind(s.asName(a["S"])) {
				b.entries["A"] = s.copy(d["A"])
			}
			count, _ := s.resolve(d["Count"]).(types.Integer)
			b.open = count > 0
			b.kids = items(d["First"], depth+1)
			list = append(list, b)
			o = d["Next"]
		}
		return list
	}
	own := items(s.asDict(root["Outlines"])["First"], 0)
	if s.m.alone {
		s.m.outline = own
		return
	}
	s.m.outline = append(s.m.outline, bookmark{kids: own, entries: types.Dict{
		"Title": text(title),
		"Dest":  types.Array{reference(s.pages[0].number), types.Name("XYZ"), nil, nil, nil},
	}})
}

// text is a text string of PDF.
func text(value string) types.Object {
	for _, r := range value {
		if r > 0x7e {
			return types.NewHexLiteral([]byte(types.EncodeUTF16String(value)))
		}
	}
	return types.NewHexLiteral([]byte(value))
}

// shareFonts copies what the fields of a form are drawn with. Where another
// part has taken a name for something else, it gets a new one here, and so in
// the fields. It runs before anything is copied that uses the names.
func (s *source) shareFonts(d types.Dict) {
	if d == nil {
		return
	}
	first := s.m.last()
	if s.m.form == nil {
		s.m.form = &form{names: map[string]bool{}, drawn: map[string]map[string]types.Object{}}
	}
	f := s.m.form
	own := map[string]types.Dict{}
	for category, value := range s.asDict(d["DR"]) {
		if list, ok := s.copy(s.asDict(value)).(types.Dict); ok {
			own[category] = list
		}
	}
	s.drain()
	s.m.unify(first)
	for category, list := range own {
		all := f.drawn[category]
		if all == nil {
			all = map[string]types.Object{}
			f.drawn[category] = all
		}
		for name, value := range list {
			free := name
			for n := 2; all[free] != nil && !s.m.same(all[free], value); n++ {
				free = fmt.Sprintf("%s_%d", name, n)
			}
			all[free] = value
			if category == "Font" && free != name {
				s.fonts[name] = free
			}
		}
	}
}

var fontOperand = regexp.MustCompile(`/([^\s/()<>\[\]{}%]+)(\s+[-+.\d]+\s+Tf)`)

// appearance is how a field's text is drawn, with the fonts' names of the result.
func (s *source) appearance(o types.Object) types.Object {
	value, ok := s.asText(o)
	if !ok {
		return s.copy(o)
	}
	return types.NewHexLiteral(fontOperand.ReplaceAllFunc([]byte(value), func(found []byte) []byte {
		parts := fontOperand.FindSubmatch(found)
		if name, renamed := s.fonts[string(parts[1])]; renamed {
			return slices.Concat([]byte("/"+name), parts[2])
		}
		return found
	}))
}

func (s *source) copyFields(d types.Dict) {
	roots := s.asArray(d["Fields"])
	known := map[int]bool{}
	for _, o := range roots {
		if ref, ok := o.(types.IndirectRef); ok {
			known[ref.ObjectNumber.Value()] = true
		}
	}
	// Fields that no form lists are found by readers on the pages, where their
	// names could meet those of other parts.
	for _, p := range s.pages {
		for _, o := range s.asArray(p.dict["Annots"]) {
			if s.asName(s.asDict(o)["Subtype"]) != "Widget" {
				continue
			}
			for range maxDepth {
				parent, ok := s.asDict(o)["Parent"].(types.IndirectRef)
				if !ok {
					break
				}
				o = parent
			}
			ref, ok := o.(types.IndirectRef)
			if _, named := s.asText(s.asDict(o)["T"]); ok && named && !known[ref.ObjectNumber.Value()] {
				known[ref.ObjectNumber.Value()] = true
				roots = append(roots, o)
			}
		}
	}
	if len(roots) == 0 {
		return
	}
	if s.m.form == nil {
		s.m.form = &form{names: map[string]bool{}, drawn: map[string]map[string]types.Object{}}
	}
	f := s.m.form
	if redraw, _ := s.resolve(d["NeedAppearances"]).(types.Boolean); bool(redraw) {
		f.redraw = true
	}
	// Two fields meet if their names are equal, or equal up to a dot: a part may
	// spell out as a.b what another has as b below a.
	own, renamed := map[string]bool{}, map[string]string{}
	for _, o := range roots {
		if name, named := s.asText(s.asDict(o)["T"]); named {
			first, _, _ := strings.Cut(decodeName(name), ".")
			own[first] = true
		}
	}
	for _, o := range roots {
		if s.asDict(o) == nil {
			continue
		}
		ref, ok := s.copy(o).(types.IndirectRef)
		if _, direct := o.(types.Dict); direct {
			ref, ok = reference(s.m.add(s.copy(o))), true
		}
		if s.drain(); !ok {
			continue
		}
		field, ok := s.m.get(ref).(types.Dict)
		if !ok {
			continue
		}
		// What the form said for all of its fields.
		if field["DA"] == nil && d["DA"] != nil {
			field["DA"] = s.appearance(d["DA"])
		}
		if field["Q"] == nil {
			if q, ok := s.resolve(d["Q"]).(types.Integer); ok {
				field["Q"] = q
			}
		}
		if read, named := s.asText(s.asDict(o)["T"]); named {
			name := decodeName(read)
			first, _, _ := strings.Cut(name, ".")
			if _, known := renamed[first]; !known {
				renamed[first] = first
				if f.names[first] {
					renamed[first] = s.m.unused("field ", first, func(free string) bool { return f.names[free] || own[free] })
				}
			}
			if free := renamed[first]; free != first {
				field["T"] = text(free + name[len(first):])
			}
		}
		f.fields = append(f.fields, ref)
	}
	for _, name := range renamed {
		f.names[name] = true
	}
}

// decodeName reads a text string of PDF, in any of its three encodings.
func decodeName(b string) string {
	if escaped, err := types.Escape(b); err == nil {
		if decoded, err := types.StringLiteralToString(types.StringLiteral(*escaped)); err == nil {
			return decoded
		}
	}
	return b
}

// copyFiles keeps attachments; a name that another part has taken is made unique.
func (s *source) copyFiles(root types.Dict) {
	s.walkTree(s.asDict(root["Names"])["EmbeddedFiles"], "Names", func(key, value types.Object) {
		written, ok := s.asText(key)
		if !ok || s.asDict(value) == nil {
			return
		}
		name := decodeName(written)
		free := s.m.unused("file ", name, func(free string) bool { return s.m.taken[free] })
		if free != name {
			written, _ = s.asText(text(free))
		}
		if c := s.copy(value); c != nil {
			s.m.taken[free], s.m.files[written] = true, c
		}
	})
	for _, o := range s.asArray(root["AF"]) {
		if c := s.copy(o); c != nil {
			s.m.related = append(s.m.related, c)
		}
	}
}

// copyLayers keeps the default configuration of optional content.
func (s *source) copyLayers(root types.Dict, title string) {
	properties := s.asDict(root["OCProperties"])
	if properties == nil {
		return
	}
	if s.m.layers == nil {
		s.m.layers = &layers{}
	}
	l := s.m.layers
	list := func(o types.Object) (out types.Array) {
		for _, value := range s.asArray(o) {
			if c := s.copy(value); c != nil {
				out = append(out, c)
			}
		}
		return out
	}
	groups, d := list(properties["OCGs"]), s.asDict(properties["D"])
	for _, g := range groups {
		if ref, ok := g.(types.IndirectRef); ok {
			s.m.distinct[ref.ObjectNumber.Value()] = true
		}
	}
	l.groups = append(l.groups, groups...)
	if s.asName(d["BaseState"]) == "OFF" {
		on := list(d["ON"])
		for _, g := range groups {
			if !slices.Contains(on, g) {
				l.off = append(l.off, g)
			}
		}
	} else {
		l.off = append(l.off, list(d["OFF"])...)
	}
	if order := list(d["Order"]); len(order) > 0 && s.m.alone {
		l.order = order
	} else if len(order) > 0 {
		l.order = append(l.order, append(types.Array{text(title)}, order...))
	}
	l.locked = append(l.locked, list(d["Locked"])...)
	l.alternatives = append(l.alternatives, list(d["RBGroups"])...)
	l.automatic = append(l.automatic, list(d["AS"])...)
}

// copyLabels keeps the numbering of the part: its own labels, or 1, 2, 3 as
// readers show where there are none.
func (s *source) copyLabels(root types.Dict, before int) {
	own := map[int]types.Dict{}
	s.walkTree(root["PageLabels"], "Nums", func(key, value types.Object) {
		n, ok := s.resolve(key).(types.Integer)
		if d := s.asDict(value); ok && d != nil && n >= 0 && int(n) < len(s.pages) {
			own[int(n)] = s.dict(d)
		}
	})
	if len(own) > 0 {
		s.m.labeled = true
	}
	if own[0] == nil {
		own[0] = types.Dict{"S": types.Name("D")}
	}
	var starts []int
	for n := range own {
		starts = append(starts, n)
	}
	slices.Sort(starts)
	for _, n := range starts {
		s.m.labels = append(s.m.labels, label{before + n, own[n]})
	}
}
