package pdf

import (
	"errors"
	"fmt"
	"math"

	"github.com/pdfcpu/pdfcpu/pkg/font"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/types"
)

const (
	face    = "Helvetica-Bold" // every PDF reader has it
	opacity = 0.3
	fill    = 0.5 // grey of the letters
	edge    = 1.0 // grey of their outline

	// The text fills this part of the diagonal, unless its letters would get
	// higher than that part of the shorter side.
	mostLength, mostHeight = 0.7, 0.26
)

// marker writes one text on the pages of a document. pdfcpu's own stamps turn
// rotated pages upright and leave their links behind, so the pages are changed
// here: content is put between q and Q, and the mark drawn after it.
type marker struct {
	doc       *model.Context
	form      types.IndirectRef // draws the text, centred on the origin, in letters of size 1
	width     float64           // of the text in letters of size 1
	before    types.IndirectRef // content stream that saves the graphics state
	after     map[string]types.IndirectRef
	resources map[types.IndirectRef]resources
}

type resources struct {
	ref  types.IndirectRef
	name string // of the mark in it
}

// attributes are what pages inherit.
type attributes struct {
	resources, mediaBox, cropBox types.Object
	rotate                       int
}

func mark(doc *model.Context, text []byte) error {
	m := &marker{doc: doc, after: map[string]types.IndirectRef{}, resources: map[types.IndirectRef]resources{}}
	if err := m.prepare(text); err != nil {
		return err
	}
	root, err := doc.Pages()
	if err != nil {
		return err
	}
	if err := m.node(*root, attributes{}, 0); err != nil {
		return err
	}
	doc.EnsureVersionForWriting()
	return nil
}

// prepare makes what all pages share.
func (m *marker) prepare(text []byte) error {
	width, err := font.TextWidthFloat(string(text), face, 1)
	if err != nil {
		return err
	}
	m.width = width
	fontRef, err := m.doc.IndRefForNewObject(types.Dict{
		"Type": types.Name("Font"), "Subtype": types.Name("Type1"),
		"BaseFont": types.Name(face), "Encoding": types.Name("WinAnsiEncoding"),
	})
	if err != nil {
		return err
	}
	state, err := m.doc.IndRefForNewObject(types.Dict{
		"Type": types.Name("ExtGState"), "ca": types.Float(opacity), "CA": types.Float(opacity),
		"BM": types.Name("Normal"), "SMask": types.Name("None"),
	})
	if err != nil {
		return err
	}
	// Letters and their outline are one group, so that the opacity counts once
	// where they overlap.
	const capHeight = 0.72
	box := types.Array{types.Float(-width/2 - 0.1), types.Float(-0.7), types.Float(width/2 + 0.1), types.Float(0.7)}
	// Readers that extract text take slanted letters apart; ActualText keeps
	// them together. Latin-1 is UTF-16 with a zero before each byte.
	actual := "feff"
	for _, b := range text {
		actual += fmt.Sprintf("00%02x", b)
	}
	letters, err := m.stream(fmt.Sprintf("/Span <</ActualText <%s>>> BDC BT /F 1 Tf 2 Tr 1 j %.2f g %.2f G 0.02 w %.4f %.4f Td <%x> Tj ET EMC",
		actual, fill, edge, -width/2, -capHeight/2, text), types.Dict{
		"Type": types.Name("XObject"), "Subtype": types.Name("Form"), "BBox": box,
		"Group":     types.Dict{"S": types.Name("Transparency"), "I": types.Boolean(true)},
		"Resources": types.Dict{"Font": types.Dict{"F": *fontRef}},
	})
	if err != nil {
		return err
	}
	m.form, err = m.stream("/G gs /L Do", types.Dict{
		"Type": types.Name("XObject"), "Subtype": types.Name("Form"), "BBox": box,
		"Resources": types.Dict{"ExtGState": types.Dict{"G": *state}, "XObject": types.Dict{"L": letters}},
	})
	if err != nil {
		return err
	}
	m.before, err = m.stream("q", nil)
	return err
}

func (m *marker) stream(content string, entries types.Dict) (types.IndirectRef, error) {
	s, err := m.doc.NewStreamDictForBuf([]byte(content))
	if err != nil {
		return types.IndirectRef{}, err
	}
	for name, value := range entries {
		s.Insert(name, value)
	}
	if err := s.Encode(); err != nil {
		return types.IndirectRef{}, err
	}
	ref, err := m.doc.IndRefForNewObject(*s)
	if err != nil {
		return types.IndirectRef{}, err
	}
	return *ref, nil
}

// node marks the pages at and below a node of the page tree.
func (m *marker) node(o types.Object, inherited attributes, depth int) error {
	if depth > 100 {
		return errors.New("its page tree is too deep")
	}
	d, err := m.doc.DereferenceDict(o)
	if err != nil || d == nil {
		return errors.Join(errors.New("a page is missing"), err)
	}
	for name, place := range map[string]*types.Object{
		"Resources": &inherited.resources, "MediaBox": &inherited.mediaBox, "CropBox": &inherited.cropBox,
	} {
		if value, found := d.Find(name); found {
			*place = value
		}
	}
	if value, found := d.Find("Rotate"); found {
		angle, err := m.doc.DereferenceNumber(value)
		if err != nil {
			return err
		}
		inherited.rotate = int(angle)
	}
	kids, found := d.Find("Kids")
	if !found {
		return m.page(d, inherited)
	}
	list, err := m.doc.DereferenceArray(kids)
	if err != nil {
		return err
	}
	for _, kid := range list {
		if err := m.node(kid, inherited, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (m *marker) page(d types.Dict, a attributes) error {
	visible, err := m.visible(a)
	if err != nil {
		return err
	}
	name, err := m.addToResources(d, a.resources)
	if err != nil {
		return err
	}
	after, err := m.draw(name, visible, a.rotate)
	if err != nil {
		return err
	}
	contents := types.Array{m.before}
	if value, found := d.Find("Contents"); found && value != nil {
		resolved, err := m.doc.Dereference(value)
		if err != nil {
			return err
		}
		if list, ok := resolved.(types.Array); ok {
			contents = append(contents, list...)
		} else if resolved != nil {
			contents = append(contents, value)
		}
	}
	d["Contents"] = append(contents, after)
	return nil
}

// visible is the part of the page that readers show.
func (m *marker) visible(a attributes) (*types.Rectangle, error) {
	box := func(o types.Object) (*types.Rectangle, error) {
		list, err := m.doc.DereferenceArray(o)
		if err != nil || len(list) != 4 {
			return nil, errors.Join(errors.New("a page has no size"), err)
		}
		var n [4]float64
		for i, o := range list {
			if n[i], err = m.doc.DereferenceNumber(o); err != nil {
				return nil, err
			}
		}
		return types.NewRectangle(min(n[0], n[2]), min(n[1], n[3]), max(n[0], n[2]), max(n[1], n[3])), nil
	}
	media, err := box(a.mediaBox)
	if err != nil || a.cropBox == nil {
		return media, err
	}
	crop, err := box(a.cropBox)
	if err != nil {
		return nil, err
	}
	both := types.NewRectangle(max(media.LL.X, crop.LL.X), max(media.LL.Y, crop.LL.Y), min(media.UR.X, crop.UR.X), min(media.UR.Y, crop.UR.Y))
	if both.Width() <= 0 || both.Height() <= 0 {
		return media, nil
	}
	return both, nil
}

// addToResources gives the page resources that hold the mark, and returns its
// name there. Pages that shared resources share them afterwards.
func (m *marker) addToResources(page types.Dict, old types.Object) (string, error) {
	shared, isShared := old.(types.IndirectRef)
	if done, found := m.resources[shared]; isShared && found {
		page["Resources"] = done.ref
		return done.name, nil
	}
	copied, err := m.copyDict(old)
	if err != nil {
		return "", err
	}
	objects, err := m.copyDict(copied["XObject"])
	if err != nil {
		return "", err
	}
	name := "PlatenWatermark"
	for n := 2; objects[name] != nil; n++ {
		name = fmt.Sprintf("PlatenWatermark%d", n)
	}
	objects[name] = m.form
	copied["XObject"] = objects
	page["Resources"] = copied
	if isShared {
		ref, err := m.doc.IndRefForNewObject(copied)
		if err != nil {
			return "", err
		}
		m.resources[shared] = resources{*ref, name}
		page["Resources"] = *ref
	}
	return name, nil
}

// copyDict copies the dictionary that o is or refers to; nil is an empty one.
func (m *marker) copyDict(o types.Object) (types.Dict, error) {
	copied := types.Dict{}
	if o == nil {
		return copied, nil
	}
	d, err := m.doc.DereferenceDict(o)
	for name, value := range d {
		copied[name] = value
	}
	return copied, err
}

// draw returns the content stream that draws the mark on pages of this size.
func (m *marker) draw(name string, visible *types.Rectangle, rotate int) (types.IndirectRef, error) {
	width, height := visible.Width(), visible.Height()
	if rotate%180 != 0 {
		width, height = height, width
	}
	size := min(mostLength*math.Hypot(width, height)/m.width, mostHeight*min(width, height))
	// A page is shown turned clockwise.
	angle := math.Atan2(height, width) + float64(rotate)*math.Pi/180
	sin, cos := math.Sincos(angle)
	x, y := (visible.LL.X+visible.UR.X)/2, (visible.LL.Y+visible.UR.Y)/2
	content := fmt.Sprintf("Q /Artifact <</Type /Pagination /Subtype /Watermark>> BDC q %.5f %.5f %.5f %.5f %.5f %.5f cm /%s Do Q EMC",
		size*cos, size*sin, -size*sin, size*cos, x, y, name)
	if ref, found := m.after[content]; found {
		return ref, nil
	}
	ref, err := m.stream(content, nil)
	m.after[content] = ref
	return ref, err
}
