package pdf

import (
	"bytes"
	"compress/zlib"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/types"
)

// store holds the objects of a file that is being made, numbered from 1, in
// pdfcpu's types. Equal ones become one. It writes itself: pdfcpu's writer
// follows references by recursion, and needs a second copy of the file.
type store struct {
	objects  []types.Object
	hashes   map[int]hash // of objects that may be shared
	known    map[hash]int // the first object of each content
	replaced map[int]int  // by an equal one
	distinct map[int]bool // objects that are never equal to others
	busy     map[int]bool // being hashed
}

type hash [sha256.Size]byte

// streamObject is a stream as it is stored in a file.
type streamObject struct {
	types.Dict
	raw []byte
}

func newStore() store {
	return store{
		hashes: map[int]hash{}, known: map[hash]int{}, replaced: map[int]int{}, distinct: map[int]bool{}, busy: map[int]bool{},
	}
}

func reference(n int) types.IndirectRef { return *types.NewIndirectRef(n, 0) }

// now is the present as PDF writes it.
func now() string { return time.Now().UTC().Format("D:20060102150405Z") }

func (s *store) add(o types.Object) int {
	s.objects = append(s.objects, o)
	return len(s.objects)
}

func (s *store) set(n int, o types.Object) { s.objects[n-1] = o }

func (s *store) get(ref types.IndirectRef) types.Object {
	return s.objects[s.final(ref.ObjectNumber.Value())-1]
}

func (s *store) last() int { return len(s.objects) }

func (s *store) final(n int) int {
	if other, found := s.replaced[n]; found {
		return other
	}
	return n
}

// same reports whether two objects are known to be equal.
func (s *store) same(a, b types.Object) bool {
	resolve := func(out []byte, n int) []byte { return strconv.AppendInt(append(out, " R "...), int64(s.final(n)), 10) }
	return bytes.Equal(appendObject(nil, a, resolve), appendObject(nil, b, resolve))
}

// unify lets the objects after first be replaced by equal ones. Two are equal
// if they are written the same and refer to equal ones, byte for byte: fonts of
// one name are not, if they are subsets that hold different letters.
func (s *store) unify(first int) {
	for n := first + 1; n <= len(s.objects); n++ {
		if _, done := s.replaced[n]; done {
			continue
		}
		h, ok := s.hash(n, 0)
		if !ok {
			continue
		}
		if other, found := s.known[h]; found && other != n {
			s.replaced[n] = other
			s.objects[n-1] = nil
		} else {
			s.known[h] = n
		}
	}
}

// hash is false for what has an identity of its own, or is part of a loop.
func (s *store) hash(n, depth int) (hash, bool) {
	n = s.final(n)
	if h, found := s.hashes[n]; found {
		return h, true
	}
	o := s.objects[n-1]
	if depth > maxDepth || s.busy[n] || s.distinct[n] || !shareable(o) {
		return hash{}, false
	}
	s.busy[n] = true
	defer delete(s.busy, n)
	sum := sha256.New()
	d := appendObject(nil, o, func(out []byte, n int) []byte {
		if h, ok := s.hash(n, depth+1); ok {
			return append(append(out, " H "...), h[:]...)
		}
		return strconv.AppendInt(append(out, " R "...), int64(s.final(n)), 10)
	})
	sum.Write(d)
	if st, ok := o.(streamObject); ok {
		sum.Write([]byte("stream\n")) // an empty one is no dictionary
		sum.Write(st.raw)
	}
	h := hash(sum.Sum(nil))
	s.hashes[n] = h
	return h, true
}

// shareable reports whether it makes no difference that two places hold the
// same object: pages, annotations, fields, bookmarks and layers do.
func shareable(o types.Object) bool {
	d, ok := o.(types.Dict)
	if !ok {
		return o != nil
	}
	switch name, _ := d["Type"].(types.Name); name {
	case "":
		for _, key := range []string{"Rect", "FT", "T", "Parent", "Kids", "Title", "P"} {
			if d[key] != nil {
				return false
			}
		}
		return true
	case "Font", "FontDescriptor", "Encoding", "ExtGState", "Pattern", "Mask", "Halftone", "Group":
		return true
	}
	return false
}

// appendObject writes an object. ref writes a reference.
func appendObject(out []byte, o types.Object, ref func(out []byte, n int) []byte) []byte {
	switch o := o.(type) {
	case nil:
		return append(out, "null"...)
	case types.IndirectRef:
		return ref(out, o.ObjectNumber.Value())
	case types.Array:
		out = append(out, '[')
		for i, value := range o {
			if i > 0 {
				out = append(out, ' ')
			}
			out = appendObject(out, value, ref)
		}
		return append(out, ']')
	case types.Dict:
		return append(appendEntries(append(out, "<<"...), o, ref), ">>"...)
	case streamObject:
		out = appendEntries(append(out, "<<"...), o.Dict, ref)
		return append(strconv.AppendInt(append(out, "/Length "...), int64(len(o.raw)), 10), ">>"...)
	case types.Float:
		return strconv.AppendFloat(out, float64(o), 'f', -1, 64)
	default:
		return append(out, o.PDFString()...)
	}
}

func appendEntries(out []byte, d types.Dict, ref func([]byte, int) []byte) []byte {
	for _, key := range slices.Sorted(maps.Keys(d)) {
		if d[key] == nil {
			continue
		}
		out = append(append(out, types.Name(key).PDFString()...), ' ')
		out = appendObject(out, d[key], ref)
	}
	return out
}

// reached tells of each number whether these lead to it.
func (s *store) reached(roots ...int) []bool {
	found := make([]bool, len(s.objects)+1)
	var next []types.Object
	var visit func(types.Object)
	visit = func(o types.Object) {
		switch o := o.(type) {
		case types.IndirectRef:
			if n := s.final(o.ObjectNumber.Value()); !found[n] {
				found[n], next = true, append(next, s.objects[n-1])
			}
		case types.Array:
			for _, value := range o {
				visit(value)
			}
		case types.Dict:
			for _, value := range o {
				visit(value)
			}
		case streamObject:
			visit(o.Dict)
		}
	}
	for _, n := range roots {
		visit(reference(n))
	}
	for len(next) > 0 { // no recursion: chains of objects can be long
		o := next[len(next)-1]
		next = next[:len(next)-1]
		visit(o)
	}
	return found
}

// write returns head and the file after it, which holds what root and info lead to.
// Objects that are no streams are compressed a hundred at a time (ISO 32000-2, 7.5.7).
func (s *store) write(head []byte, root, info int, version model.Version, size int) []byte {
	numbers := make([]int, len(s.objects)+1)
	var live []int // by their new numbers
	reached := s.reached(root, info)
	for i, o := range s.objects {
		if o != nil && reached[i+1] {
			live = append(live, i+1)
			numbers[i+1] = len(live)
		}
	}
	ref := func(out []byte, n int) []byte {
		number := numbers[s.final(n)]
		if number == 0 {
			return append(out, "null"...)
		}
		return append(strconv.AppendInt(out, int64(number), 10), " 0 R"...)
	}
	type place struct{ kind, where, index int }
	places := []place{{0, 0, 65535}}
	places = append(places, make([]place, len(live))...)

	out := make([]byte, len(head), len(head)+size+size/8+1<<16)
	start := copy(out, head)
	out = fmt.Appendf(out, "%%PDF-%s\n%%\xe2\xe3\xcf\xd3\n", version)
	put := func(number int, st streamObject) {
		places[number] = place{1, len(out) - start, 0}
		out = fmt.Appendf(out, "%d 0 obj\n", number)
		out = appendObject(out, st, ref)
		out = append(append(append(out, "\nstream\n"...), st.raw...), "\nendstream\nendobj\n"...)
	}
	var packed []int
	flush := func() {
		if len(packed) == 0 {
			return
		}
		var index, body []byte
		for i, number := range packed {
			index = fmt.Appendf(index, "%d %d ", number, len(body))
			body = append(appendObject(body, s.objects[live[number-1]-1], ref), '\n')
			places[number] = place{2, len(places), i}
		}
		places = append(places, place{})
		put(len(places)-1, deflated(types.Dict{
			"Type": types.Name("ObjStm"), "N": types.Integer(len(packed)), "First": types.Integer(len(index)),
		}, append(index, body...)))
		packed = packed[:0]
	}
	for i, n := range live {
		if st, ok := s.objects[n-1].(streamObject); ok {
			put(i+1, st)
			s.objects[n-1] = nil
		} else if packed = append(packed, i+1); len(packed) == 100 {
			flush()
		}
	}
	flush()
	number := len(places)
	places = append(places, place{1, len(out) - start, 0})
	var table []byte
	for _, p := range places {
		table = append(table, byte(p.kind), byte(p.where>>24), byte(p.where>>16), byte(p.where>>8), byte(p.where), byte(p.index>>8), byte(p.index))
	}
	id := make([]byte, 16)
	rand.Read(id)
	put(number, deflated(types.Dict{
		"Type": types.Name("XRef"), "Size": types.Integer(len(places)), "W": types.Array{types.Integer(1), types.Integer(4), types.Integer(2)},
		"Root": reference(root), "Info": reference(info), "ID": types.Array{types.NewHexLiteral(id), types.NewHexLiteral(id)},
	}, table))
	return fmt.Appendf(out, "startxref\n%d\n%%%%EOF\n", places[number].where)
}

func deflated(d types.Dict, content []byte) streamObject {
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	z.Write(content) // a buffer takes everything
	z.Close()
	d["Filter"] = types.Name("FlateDecode")
	return streamObject{d, packed.Bytes()}
}
