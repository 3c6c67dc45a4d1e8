package pdf

import (
	"bytes"
	"regexp"
	"strconv"
)

// The few lines that lead to the number of pages in a file as Chromium writes it: with one table of references,
// not compressed, and dictionaries with an entry a line (ISO 32000-2, 7.5.4 to 7.5.8).
var (
	fileEnd   = regexp.MustCompile(`startxref\s+(\d{1,10})\s+%%EOF\s*$`)
	tableHead = regexp.MustCompile(`^xref\s+0 (\d{1,8})\s*\n`)
	fileRoot  = regexp.MustCompile(`^trailer\s*<<[^>]{0,200}?/Root (\d{1,8}) 0 R`)
	treeOf    = regexp.MustCompile(`^\d+ 0 obj\s*<</Type /Catalog\s[^>]{0,200}?/Pages (\d{1,8}) 0 R`)
	countOf   = regexp.MustCompile(`^\d+ 0 obj\s*<</Type /Pages\s+/Count (\d{1,8})\s`)
)

// count is the number of pages that a file of Chromium's says it has. Of any other it knows nothing.
func count(file []byte) (pages int, known bool) {
	end := fileEnd.FindSubmatch(file[max(0, len(file)-100):])
	if end == nil {
		return 0, false
	}
	table := from(file, end[1])
	head := tableHead.FindSubmatch(table[:min(len(table), 40)])
	if head == nil {
		return 0, false
	}
	const entry = 20 // bytes of each line of the table
	size := number(head[1])
	entries := table[len(head[0]):]
	if size > len(entries)/entry {
		return 0, false
	}
	object := func(n []byte) []byte {
		i := number(n)
		if i >= size {
			return nil
		}
		at := from(file, entries[i*entry:i*entry+10])
		if !bytes.HasPrefix(at, []byte(string(n)+" 0 obj")) {
			return nil
		}
		return at[:min(len(at), 400)]
	}
	trailer := entries[size*entry:]
	root := fileRoot.FindSubmatch(trailer[:min(len(trailer), 400)])
	if root == nil {
		return 0, false
	}
	tree := treeOf.FindSubmatch(object(root[1]))
	if tree == nil {
		return 0, false
	}
	found := countOf.FindSubmatch(object(tree[1]))
	if found == nil || number(found[1]) == 0 {
		return 0, false
	}
	return number(found[1]), true
}

// from is the file from an offset on, in decimal digits; nothing where that is beyond its end.
func from(file, offset []byte) []byte { return file[min(number(offset), len(file)):] }

// number reads at most ten decimal digits.
func number(digits []byte) int {
	n, err := strconv.Atoi(string(digits))
	if err != nil || n < 0 {
		return 0
	}
	return n
}
