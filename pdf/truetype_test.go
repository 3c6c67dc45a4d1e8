package pdf

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

func TestAFontIsWrittenAsOpenTypeSays(t *testing.T) {
	t.Parallel()
	small := program(map[int]glyph{0: outlined("odd"), 2: outlined("even")})
	large := program(map[int]glyph{1: outlined(string(make([]byte, 0x20000))), 9: outlined("x")})
	for _, f := range []*trueType{small, large} {
		file := f.file()
		if sum := checksum(file); sum != 0xb1b0afba {
			t.Errorf("the sum of the file is %x", sum)
		}
		count := int(binary.BigEndian.Uint16(file[4:]))
		if got := file[6:12]; count != 7 || !bytes.Equal(got, []byte{0, 64, 0, 2, 0, 48}) {
			t.Errorf("%d tables, searched by %v", count, got)
		}
		var names []string
		for i := range count {
			entry := file[12+16*i:]
			start, size := binary.BigEndian.Uint32(entry[8:]), binary.BigEndian.Uint32(entry[12:])
			table := bytes.Clone(file[start : start+size])
			names = append(names, string(entry[:4]))
			if names[i] == "head" {
				clear(table[8:12])
			}
			if start%4 != 0 || checksum(table) != binary.BigEndian.Uint32(entry[4:]) {
				t.Errorf("%s is at %d, and its sum is %x", entry[:4], start, binary.BigEndian.Uint32(entry[4:]))
			}
		}
		if !slices.IsSorted(names) {
			t.Errorf("the tables are %q", names)
		}
		again := parseTrueType(file)
		if again == nil || len(again.glyphs) != len(f.glyphs) {
			t.Fatalf("read again: %+v", again)
		}
		for i := range f.glyphs {
			if a, b := f.glyphs[i], again.glyphs[i]; a.metrics != b.metrics || !sameOutline(a.outline, b.outline) {
				t.Errorf("glyph %d became %+v", i, b)
			}
		}
	}
}

// The greatest box, and the most of each thing, of two subsets are those of what they become.
func TestAUnionIsAsLargeAsItsMembers(t *testing.T) {
	t.Parallel()
	put := func(table []byte, at int, values ...int16) {
		for i, v := range values {
			binary.BigEndian.PutUint16(table[at+2*i:], uint16(v))
		}
	}
	a, b := program(map[int]glyph{1: outlined("a")}), program(map[int]glyph{2: outlined("b")})
	put(a.head, 36, -5, 3, 40, 50)
	put(b.head, 36, 2, -7, 60, -1)
	put(a.hhea, 10, -1 /* 65,535 */, 1, -9, 9)
	put(b.hhea, 10, 7, -3, 4, 12)
	put(a.maxp, 6, 10, 20, 1)
	put(b.maxp, 6, 11, 19, 1)
	if !a.unite(b) {
		t.Fatal("they are not of one font")
	}
	want := program(map[int]glyph{1: outlined("a")})
	put(want.head, 36, -5, -7, 60, 50)
	put(want.hhea, 10, -1, -3, -9, 12)
	put(want.maxp, 6, 11, 20, 1)
	if !bytes.Equal(a.head, want.head) || !bytes.Equal(a.hhea, want.hhea) || !bytes.Equal(a.maxp, want.maxp) || len(a.glyphs) != 3 {
		t.Errorf("head is % x\nhhea is % x\nmaxp is % x\n%d glyphs", a.head, a.hhea, a.maxp, len(a.glyphs))
	}
}

// Whatever a part embeds as a font is left alone, or read and written without loss, and
// may meet any other.
func FuzzFontsAreReadAndWrittenOrLeftAlone(f *testing.F) {
	one, two := program(map[int]glyph{1: outlined("aa"), 3: outlined("cc")}).file(), program(map[int]glyph{1: outlined("aa"), 4: outlined("dd")}).file()
	f.Add(one, two)
	f.Add(one[:len(one)/2], two)
	f.Add(two, slices.Concat(two[:40], make([]byte, 400)))
	f.Fuzz(func(t *testing.T, file, other []byte) {
		a, b := parseTrueType(file), parseTrueType(other)
		if a == nil || b == nil {
			return
		}
		before := len(a.glyphs)
		took := a.unite(b)
		again := parseTrueType(a.file())
		if again == nil {
			t.Fatal("what was written cannot be read")
		}
		if want := before; !took && len(again.glyphs) != want {
			t.Errorf("%d glyphs became %d", want, len(again.glyphs))
		}
		if took {
			for i, g := range b.glyphs {
				if got := again.glyphs[i]; g.present() && (got.metrics != g.metrics || !sameOutline(got.outline, g.outline)) {
					t.Errorf("glyph %d is %+v and was %+v", i, got, g)
				}
			}
		}
	})
}
