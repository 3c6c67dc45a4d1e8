package pdf

import (
	"bytes"
	"encoding/binary"
	"maps"
	"math/bits"
	"slices"
)

// trueType is the program of a font as a PDF embeds it, in the tables that
// readers of a CIDFont of type 2 use (ISO 32000-2, 9.9.1); the layout of these is
// OpenType's. Names and the mapping of characters are among those they do not.
type trueType struct {
	kind             uint32
	head, hhea, maxp []byte
	shared           map[string][]byte // tables that subsets of one font have in common
	glyphs           []glyph           // by number
	size             int               // bytes of all outlines
}

// glyph is what a font says of one of its numbers. Subsets that keep the
// numbers of the font say nothing of those that they leave out.
type glyph struct {
	outline []byte
	metrics [4]byte // advance and left side bearing, of hmtx
}

func (g *glyph) present() bool { return len(g.outline) > 0 || g.metrics != [4]byte{} }

var (
	needed  = []string{"head", "hhea", "maxp", "loca", "glyf", "hmtx"}
	carried = []string{"cvt ", "fpgm", "prep", "gasp"}
	// Other tables, as those of variable and of coloured fonts, may change what is seen.
	dropped = []string{"BASE", "DSIG", "FFTM", "GDEF", "GPOS", "GSUB", "LTSH", "OS/2", "PCLT", "STAT", "VDMX", "cmap", "hdmx", "kern", "meta",
		"name", "post", "vhea", "vmtx"}
)

// What differs between subsets of one font: the checksum of all, the box around
// all glyphs, the most that a glyph has of something, and how loca is written.
var (
	headMay = []span{{8, 12}, {36, 44}, {50, 52}}
	hheaMay = []span{{10, 18}, {34, 36}}
)

type span struct{ from, to int }

// without returns a table with zeros where subsets may differ.
func without(table []byte, spans []span) []byte {
	out := bytes.Clone(table)
	for _, s := range spans {
		clear(out[s.from:s.to])
	}
	return out
}

// parseTrueType is nil for what it does not know how to write again.
func parseTrueType(file []byte) *trueType {
	u16 := func(b []byte, at int) int { return int(binary.BigEndian.Uint16(b[at:])) }
	if len(file) < 12 {
		return nil
	}
	f := &trueType{kind: binary.BigEndian.Uint32(file), shared: map[string][]byte{}}
	count := u16(file, 4)
	if f.kind != 0x00010000 && f.kind != 0x74727565 /* true */ || count > 64 || len(file) < 12+16*count {
		return nil
	}
	tables := map[string][]byte{}
	for i := range count {
		entry := file[12+16*i:]
		name := string(entry[:4])
		start, size := binary.BigEndian.Uint32(entry[8:]), binary.BigEndian.Uint32(entry[12:])
		if uint64(start)+uint64(size) > uint64(len(file)) || tables[name] != nil {
			return nil
		}
		tables[name] = file[start : start+size : start+size]
	}
	for _, name := range needed {
		if tables[name] == nil {
			return nil
		}
	}
	for name, table := range tables {
		switch {
		case slices.Contains(carried, name):
			f.shared[name] = table
		case !slices.Contains(needed, name) && !slices.Contains(dropped, name):
			return nil
		}
	}
	f.head, f.hhea, f.maxp = tables["head"], tables["hhea"], tables["maxp"]
	if len(f.head) != 54 || len(f.hhea) != 36 || len(f.maxp) != 32 {
		return nil
	}
	n, long, metrics := u16(f.maxp, 4), u16(f.head, 50), u16(f.hhea, 34)
	loca, glyf, hmtx := tables["loca"], tables["glyf"], tables["hmtx"]
	if n == 0 || long > 1 || len(loca) < (n+1)*(2+2*long) || metrics == 0 || metrics > n || len(hmtx) < 4*metrics+2*(n-metrics) {
		return nil
	}
	place := func(i int) int {
		if long == 1 {
			return int(binary.BigEndian.Uint32(loca[4*i:]))
		}
		return 2 * u16(loca, 2*i)
	}
	f.glyphs = make([]glyph, n)
	for i := range f.glyphs {
		from, to := place(i), place(i+1)
		if from > to || to > len(glyf) {
			return nil
		}
		f.glyphs[i].outline = glyf[from:to:to]
		f.size += to - from
		if i < metrics {
			copy(f.glyphs[i].metrics[:], hmtx[4*i:])
		} else { // the last advance is that of all that follow
			copy(f.glyphs[i].metrics[:], hmtx[4*(metrics-1):])
			copy(f.glyphs[i].metrics[2:], hmtx[4*metrics+2*(i-metrics):])
		}
	}
	return f
}

// unite takes the glyphs of another subset of the same font in. It is false, and
// takes nothing, if that is not the same font, where some number is another glyph, or
// if both together are too large.
func (f *trueType) unite(other *trueType) bool {
	if f.kind != other.kind || !maps.EqualFunc(f.shared, other.shared, bytes.Equal) ||
		!bytes.Equal(without(f.head, headMay), without(other.head, headMay)) ||
		!bytes.Equal(without(f.hhea, hheaMay), without(other.hhea, hheaMay)) ||
		!bytes.Equal(f.maxp[:4], other.maxp[:4]) {
		return false
	}
	size := f.size
	for i := range other.glyphs {
		b := &other.glyphs[i]
		size += len(b.outline)
		if i >= len(f.glyphs) {
			continue
		}
		a := &f.glyphs[i]
		if a.present() && b.present() && (a.metrics != b.metrics || !sameOutline(a.outline, b.outline)) {
			return false
		}
		size -= min(len(a.outline), len(b.outline))
	}
	if size > maxFont {
		return false
	}
	f.size = size
	f.head, f.hhea, f.maxp = bytes.Clone(f.head), bytes.Clone(f.hhea), bytes.Clone(f.maxp)
	extend(f.head, other.head, 36, true, true)
	extend(f.head, other.head, 38, true, true)
	extend(f.head, other.head, 40, true, false)
	extend(f.head, other.head, 42, true, false)
	extend(f.hhea, other.hhea, 10, false, false)
	extend(f.hhea, other.hhea, 12, true, true)
	extend(f.hhea, other.hhea, 14, true, true)
	extend(f.hhea, other.hhea, 16, true, false)
	for at := 6; at < len(f.maxp); at += 2 {
		extend(f.maxp, other.maxp, at, false, false)
	}
	for i, g := range other.glyphs {
		g.outline = bytes.Clone(g.outline) // so that the rest of the other file can go
		if i == len(f.glyphs) {
			f.glyphs = append(f.glyphs, g)
		} else if mine := &f.glyphs[i]; !mine.present() || len(g.outline) > len(mine.outline) {
			*mine = g
		}
	}
	return true
}

// sameOutline allows that one is padded: programs round a glyph's place up to two
// or four bytes, or not.
func sameOutline(a, b []byte) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	return bytes.HasPrefix(b, a) && len(b)-len(a) < 4 && (len(a) > 0 || len(b) == 0) && len(bytes.Trim(b[len(a):], "\x00")) == 0
}

// extend lets a number of a table be the least, or the greatest, of two.
func extend(table, other []byte, at int, signed, least bool) {
	a, b := binary.BigEndian.Uint16(table[at:]), binary.BigEndian.Uint16(other[at:])
	greater := b > a
	if signed {
		greater = int16(b) > int16(a)
	}
	if a != b && greater != least {
		binary.BigEndian.PutUint16(table[at:], b)
	}
}

// file writes the font.
func (f *trueType) file() []byte {
	var glyf, hmtx []byte
	places := make([]int, 0, len(f.glyphs)+1)
	for _, g := range f.glyphs {
		places = append(places, len(glyf))
		glyf = append(glyf, g.outline...)
		if len(glyf)%2 == 1 {
			glyf = append(glyf, 0)
		}
		hmtx = append(hmtx, g.metrics[:]...)
	}
	places = append(places, len(glyf))
	long := len(glyf)/2 > 0xffff
	var loca []byte
	for _, p := range places {
		if long {
			loca = binary.BigEndian.AppendUint32(loca, uint32(p))
		} else {
			loca = binary.BigEndian.AppendUint16(loca, uint16(p/2))
		}
	}
	head, hhea, maxp := bytes.Clone(f.head), bytes.Clone(f.hhea), bytes.Clone(f.maxp)
	clear(head[8:12])
	clear(head[50:52])
	if long {
		head[51] = 1
	}
	binary.BigEndian.PutUint16(hhea[34:], uint16(len(f.glyphs)))
	binary.BigEndian.PutUint16(maxp[4:], uint16(len(f.glyphs)))
	tables := maps.Clone(f.shared)
	maps.Copy(tables, map[string][]byte{"head": head, "hhea": hhea, "maxp": maxp, "loca": loca, "glyf": glyf, "hmtx": hmtx})

	count := len(tables)
	power := bits.Len(uint(count)) - 1 // the greatest power of two that is not more
	out := binary.BigEndian.AppendUint32(nil, f.kind)
	for _, n := range []int{count, 16 << power, power, 16*count - 16<<power} {
		out = binary.BigEndian.AppendUint16(out, uint16(n))
	}
	var body []byte
	adjust := 0 // where the sum of all is written
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		if name == "head" {
			adjust = 12 + 16*count + len(body) + 8
		}
		out = append(out, name...)
		out = binary.BigEndian.AppendUint32(out, checksum(tables[name]))
		out = binary.BigEndian.AppendUint32(out, uint32(12+16*count+len(body)))
		out = binary.BigEndian.AppendUint32(out, uint32(len(tables[name])))
		body = append(body, tables[name]...)
		for len(body)%4 > 0 {
			body = append(body, 0)
		}
	}
	out = append(out, body...)
	binary.BigEndian.PutUint32(out[adjust:], 0xb1b0afba-checksum(out))
	return out
}

// checksum is OpenType's: the sum of a table's words.
func checksum(table []byte) (sum uint32) {
	for len(table) >= 4 {
		sum += binary.BigEndian.Uint32(table)
		table = table[4:]
	}
	var rest [4]byte
	copy(rest[:], table)
	return sum + binary.BigEndian.Uint32(rest[:])
}
