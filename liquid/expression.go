package liquid

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The kinds of a lexeme.
type kind int

const (
	end kind = iota
	name
	number
	text
	symbol
)

type lexeme struct {
	kind kind
	text string // of a text: without its quotes
	at   int    // byte offset in the source
}

func (l lexeme) String() string {
	if l.kind == end {
		return "the end"
	}
	return strconv.Quote(l.text)
}

// A use is a name in a source: of a filter, or the path of a variable.
type use struct {
	path    []string
	numbers []bool // which of the path are the places of items in lists
	cut     bool   // the path ends before an index that is computed
	at      int
}

// expression parses what is between the braces. Its methods return the same
// expression in the engine's dialect: one line, texts without escapes, filters
// with the colon next to the name. They panic with a *mistake.
type expression struct {
	knows     func(filter string) bool
	lexemes   []lexeme // never empty: the last one is the end
	variables []use
	filters   []use
	operators int // comparisons, and and or
	depth     int
}

// maxDepth bounds the nesting of brackets and of blocks.
const maxDepth = 100

var symbols = []string{"==", "!=", "<>", "<=", ">=", "..", "<", ">", ".", "|", ":", ",", "(", ")", "[", "]", "="}

func lex(source string, from, to int) ([]lexeme, *mistake) {
	var found []lexeme
next:
	for at := from; at < to; {
		rest := source[at:to]
		r, size := utf8.DecodeRuneInString(rest)
		switch {
		case isSpace(rest[0]):
			at++
		case r == '"' || r == '\'':
			length := strings.IndexByte(rest[1:], rest[0])
			if length < 0 {
				return nil, wrong(at, "this text is not closed with %c", r)
			}
			found = append(found, lexeme{text, rest[1 : 1+length], at})
			at += length + 2
		case startsName(rest):
			size := nameSize(rest)
			found = append(found, lexeme{name, rest[:size], at})
			at += size
		case '0' <= r && r <= '9' || r == '-' && len(rest) > 1 && '0' <= rest[1] && rest[1] <= '9':
			size := numberSize(rest)
			found = append(found, lexeme{number, rest[:size], at})
			at += size
		default:
			for _, s := range symbols {
				if strings.HasPrefix(rest, s) {
					found = append(found, lexeme{symbol, s, at})
					at += len(s)
					continue next
				}
			}
			return nil, wrong(at, "unexpected %q", rest[:size])
		}
	}
	return append(found, lexeme{end, "", to}), nil
}

func startsName(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return r == '_' || unicode.IsLetter(r)
}

func nameSize(s string) int {
	for i, r := range s {
		switch {
		case r == '?':
			return i + 1
		case r != '_' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r):
			return i
		}
	}
	return len(s)
}

func numberSize(s string) int {
	digits := func(i int) int {
		for i < len(s) && '0' <= s[i] && s[i] <= '9' {
			i++
		}
		return i
	}
	i := digits(1)
	if i+1 < len(s) && s[i] == '.' && '0' <= s[i+1] && s[i+1] <= '9' {
		i = digits(i + 1)
	}
	return i
}

func (x *expression) peek() lexeme { return x.lexemes[0] }

func (x *expression) take() lexeme {
	l := x.lexemes[0]
	if l.kind != end {
		x.lexemes = x.lexemes[1:]
	}
	return l
}

// is reports whether the next lexeme is one of these symbols or words.
func (x *expression) is(options ...string) bool {
	l := x.peek()
	if l.kind != symbol && l.kind != name {
		return false
	}
	for _, o := range options {
		if l.text == o {
			return true
		}
	}
	return false
}

func (x *expression) accept(option string) bool {
	if x.is(option) {
		x.take()
		return true
	}
	return false
}

func (x *expression) expect(what string) {
	if !x.accept(what) {
		panic(wrong(x.peek().at, "expected %q, found %s", what, x.peek()))
	}
}

func (x *expression) name(what string) lexeme {
	l := x.take()
	if l.kind != name {
		panic(wrong(l.at, "expected %s, found %s", what, l))
	}
	return l
}

func (x *expression) finish() {
	if l := x.peek(); l.kind != end {
		panic(wrong(l.at, "unexpected %s", l))
	}
}

// condition is what if takes: comparisons joined by and and or.
func (x *expression) condition() string {
	out := x.comparison()
	for x.is("and", "or") {
		x.operators++
		out += " " + x.take().text + " " + x.comparison()
	}
	return out
}

func (x *expression) comparison() string {
	left := x.operand()
	if x.is("|") {
		return x.applyFilters(left)
	}
	if !x.is("==", "!=", "<>", "<=", ">=", "<", ">", "contains") {
		return left
	}
	x.operators++
	operator := x.take().text
	if operator == "<>" {
		operator = "!="
	}
	right := x.operand()
	if l := x.peek(); x.is("|") {
		panic(wrong(l.at, "a filter cannot be part of a comparison; assign its result first"))
	}
	if right == "empty" || right == "blank" {
		left, right = right, left // the engine asks the left side, and only ours knows
	}
	return left + " " + operator + " " + right
}

// filtered is what an output takes in most cases: a value and its filters.
func (x *expression) filtered() string { return x.applyFilters(x.operand()) }

func (x *expression) applyFilters(out string) string {
	for x.accept("|") {
		filter := x.name("the name of a filter")
		if !x.knows(filter.text) {
			panic(wrong(filter.at, "unknown filter %q", filter.text))
		}
		x.filters = append(x.filters, use{path: []string{filter.text}, at: filter.at})
		out += " | " + filter.text
		if !x.accept(":") {
			continue
		}
		out += ": " + x.operand()
		for x.accept(",") {
			out += ", "
			if x.peek().kind == name && x.lexemes[1].text == ":" && x.lexemes[1].kind == symbol {
				out += x.take().text + x.take().text + " "
			}
			out += x.operand()
		}
	}
	return out
}

// operand is a constant, a variable with its path, a range, or a condition in
// brackets.
func (x *expression) operand() string {
	x.depth++
	defer func() { x.depth-- }()
	l := x.take()
	if x.depth > maxDepth {
		panic(wrong(l.at, "brackets are nested more than %d deep", maxDepth))
	}
	switch {
	case l.kind == text:
		return x.path(quote(l.text), nil)
	case l.kind == number:
		if _, err := strconv.Atoi(l.text); err != nil && !strings.Contains(l.text, ".") {
			return l.text + ".0" // too large for the engine's integers
		}
		return l.text
	case l.kind == symbol && l.text == "(":
		out := "(" + x.condition()
		if x.accept("..") {
			out += ".." + x.operand()
		}
		x.expect(")")
		return x.path(out+")", nil)
	case l.kind == name:
		switch l.text {
		case "true", "false", "nil", "empty", "blank":
			return l.text
		case "null":
			return "nil"
		case "and", "or", "in", "contains":
		default:
			return x.path(l.text, &l)
		}
	}
	panic(wrong(l.at, "expected a value, found %s", l))
}

// path reads .name and [index] after a value, and notes the path if it begins
// with a variable.
func (x *expression) path(out string, variable *lexeme) string {
	var noted use
	i := len(x.variables)
	if variable != nil {
		noted = use{path: []string{variable.text}, numbers: []bool{false}, at: variable.at}
		x.variables = append(x.variables, noted)
	}
	note := func(l lexeme) {
		if variable != nil && !noted.cut {
			noted.path = append(noted.path, l.text)
			noted.numbers = append(noted.numbers, l.kind == number)
		}
	}
	for {
		switch {
		case x.accept("."):
			property := x.name("a name after the dot")
			out += "." + property.text
			note(property)
		case x.accept("["):
			index := x.peek()
			closes := x.lexemes[min(1, len(x.lexemes)-1)]
			noted.cut = noted.cut || index.kind != text && index.kind != number || closes.kind != symbol || closes.text != "]"
			out += "[" + x.operand() + "]"
			x.expect("]")
			note(index)
		default:
			if variable != nil {
				x.variables[i] = noted
			}
			return out
		}
	}
}

// quote writes a text for the engine, which knows escapes where Liquid has
// none: in double quotes.
func quote(s string) string {
	if !strings.ContainsAny(s, "'\r\n") {
		return "'" + s + "'"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`).Replace(s) + `"`
}
