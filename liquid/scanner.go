package liquid

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A mark is a {{ output }} or a {% tag %} of a source. Numbers are byte offsets.
type mark struct {
	start, end          int    // of the whole, with its braces
	name                string // of the tag; empty for an output
	from, to            int    // of the expression, without space around it
	trimLeft, trimRight bool   // {{- and -}}
}

// mistake is an error of syntax at a byte offset.
type mistake struct {
	at      int
	message string
}

func wrong(at int, format string, a ...any) *mistake {
	return &mistake{at, fmt.Sprintf(format, a...)}
}

// opening returns where the next mark begins, -1 when there is none.
func opening(source string, at int) int {
	for {
		i := strings.IndexByte(source[at:], '{')
		if i < 0 || at+i+1 >= len(source) {
			return -1
		}
		at += i
		if next := source[at+1]; next == '{' || next == '%' {
			return at
		}
		at++
	}
}

// readMark reads the mark that begins at start. Like Ruby's Liquid it ends at
// the first closing braces, even in a quoted text.
func readMark(source string, start int) (mark, *mistake) {
	open, close := "{{", "}}"
	if source[start+1] == '%' {
		open, close = "{%", "%}"
	}
	length := strings.Index(source[start+2:], close)
	if length < 0 || opensInside(source[start+2:start+2+length]) {
		return mark{}, wrong(start, "%q is not closed with %q", open, close)
	}
	m := mark{start: start, from: start + 2, to: start + 2 + length, end: start + length + 4}
	if m.from < m.to && source[m.from] == '-' {
		m.trimLeft = true
		m.from++
	}
	if m.from < m.to && source[m.to-1] == '-' {
		m.trimRight = true
		m.to--
	}
	m.trimSpace(source)
	if open == "{%" {
		m.name = tagName(source[m.from:m.to])
		if m.name == "" {
			return mark{}, wrong(start, "a tag needs a name")
		}
		m.from += len(m.name)
		m.trimSpace(source)
	}
	return m, nil
}

func (m *mark) trimSpace(source string) {
	for m.from < m.to && isSpace(source[m.from]) {
		m.from++
	}
	for m.from < m.to && isSpace(source[m.to-1]) {
		m.to--
	}
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// opensInside reports whether another mark opens between the braces of one,
// outside of quoted texts: then the one was not closed.
func opensInside(content string) bool {
	for i := 0; i < len(content); i++ {
		switch c := content[i]; {
		case c == '"' || c == '\'':
			if length := strings.IndexByte(content[i+1:], c); length >= 0 {
				i += length + 1
			}
		case c == '{' && i+1 < len(content) && (content[i+1] == '{' || content[i+1] == '%'):
			return true
		}
	}
	return false
}

func tagName(s string) string {
	if strings.HasPrefix(s, "#") {
		return "#"
	}
	for i := range len(s) {
		if c := s[i]; c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return s[:i]
		}
	}
	return s
}

// blockEnd finds the tag that ends the block which m opens, without reading
// what is between. Blocks of the same name can be nested in it if nested is set.
func blockEnd(source string, m mark, nested bool) (mark, *mistake) {
	depth := 1
	for at := m.end; ; {
		start := opening(source, at)
		if start < 0 {
			return mark{}, wrong(m.start, "%q is not closed with %q", m.name, "end"+m.name)
		}
		at = start + 1
		if source[start+1] != '%' {
			continue
		}
		end, bad := readMark(source, start)
		switch {
		case bad != nil:
			continue
		case end.name == "end"+m.name:
			depth--
		case end.name == m.name && nested:
			depth++
		}
		if depth == 0 {
			return end, nil
		}
		at = start + 2
	}
}

// places turns byte offsets, given in ascending order, into lines and columns.
type places struct {
	source       string
	at           int
	line, column int // from 0
}

// place counts lines and columns from 1, and columns in characters.
func (p *places) place(at int) (line, column int) {
	between := p.source[p.at:at]
	if n := strings.Count(between, "\n"); n > 0 {
		p.line += n
		p.column = 0
		between = between[strings.LastIndexByte(between, '\n')+1:]
	}
	p.column += utf8.RuneCountInString(between)
	p.at = at
	return p.line + 1, p.column + 1
}
