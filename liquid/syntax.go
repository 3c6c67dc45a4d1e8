package liquid

import (
	"encoding/base64"
	"slices"
	"strings"
)

// verbatimTag prints its base64 argument: it stands for raw blocks in what the
// engine reads. Sources cannot use it.
const verbatimTag = "platen_verbatim"

// pairsFilter is put behind what a for loop goes through. Sources cannot use it.
const pairsFilter = "platen_pairs"

// syntax is what is known about a source without rendering it.
type syntax struct {
	// engine is the source as the engine reads it: each mark holds one line
	// break of its own, so that the engine's line numbers tell the marks apart.
	engine    string
	marks     []markPlace // in their order
	variables []use       // each read of something that the source does not set
	reads     [][]string  // the paths of all reads in what the source is given
}

type markPlace struct {
	line    int // in the engine's source, from 1
	at      int // in the source
	filters []use
}

// markAt finds the mark that the engine names by a line.
func (s *syntax) markAt(line int) (markPlace, bool) {
	i, found := slices.BinarySearchFunc(s.marks, line, func(m markPlace, line int) int { return m.line - line })
	if !found {
		return markPlace{}, false
	}
	return s.marks[i], true
}

// block is an open {% if %}, {% for %} and so on.
type block struct {
	mark
	loopVariable string   // while it is bound
	items        []string // path of what the loop variable is; nil: made by the source
	captured     string
	hasElse      bool
}

var clauses = map[string][]string{
	"else":  {"if", "unless", "case", "for"},
	"elsif": {"if"},
	"when":  {"case"},
}

func isBlock(name string) bool {
	return slices.Contains([]string{"if", "unless", "case", "for", "tablerow", "capture"}, name)
}

func isLoop(name string) bool { return name == "for" || name == "tablerow" }

// reader goes through a source once, checks it and writes the engine's form.
type reader struct {
	source string
	knows  func(filter string) bool
	out    strings.Builder
	line   int // of out, from 1
	syntax syntax
	blocks []block
	set    map[string][]string // assigned or captured so far, with the path of what it is; nil: made by the source
}

// read checks a source and returns its first mistake.
func read(source string, knows func(filter string) bool) (s *syntax, m *mistake) {
	defer func() {
		if p := recover(); p != nil {
			var ok bool
			if m, ok = p.(*mistake); !ok {
				panic(p)
			}
		}
	}()
	r := &reader{source: source, knows: knows, line: 1, set: map[string][]string{}}
	for at := 0; ; {
		start := opening(source, at)
		if start < 0 {
			r.text(source[at:])
			break
		}
		r.text(source[at:start])
		m, bad := readMark(source, start)
		if bad != nil {
			return nil, bad
		}
		at = r.mark(m)
	}
	if len(r.blocks) > 0 {
		b := r.blocks[len(r.blocks)-1]
		return nil, wrong(b.start, "%q is not closed with %q", b.name, "end"+b.name)
	}
	r.syntax.engine = r.out.String()
	return &r.syntax, nil
}

func (r *reader) text(s string) {
	r.out.WriteString(s)
	r.line += strings.Count(s, "\n")
}

// mark handles one mark and returns where the source goes on.
func (r *reader) mark(m mark) int {
	switch m.name {
	case "":
		r.output(m)
	case "#":
		r.nothing(m)
	case "comment", "raw":
		last, bad := blockEnd(r.source, m, m.name == "comment")
		if bad != nil {
			panic(bad)
		}
		m.trimRight = last.trimRight
		if m.name == "comment" {
			r.nothing(m)
		} else {
			body := base64.StdEncoding.EncodeToString([]byte(r.source[m.end:last.start]))
			r.emit(m, verbatimTag+" "+body, nil)
		}
		return last.end
	case "liquid":
		r.lines(m)
	default:
		r.tag(m)
	}
	return m.end
}

// lines handles {% liquid %}, which holds a tag in each line.
func (r *reader) lines(m mark) {
	r.nothing(mark{start: m.start, trimLeft: m.trimLeft})
	for at := m.from; at < m.to; {
		stop := m.to
		if i := strings.IndexByte(r.source[at:m.to], '\n'); i >= 0 {
			stop = at + i
		}
		line := mark{from: at, to: stop}
		line.trimSpace(r.source)
		line.start, at = line.from, stop+1
		if line.from == line.to {
			continue
		}
		line.name = tagName(r.source[line.from:line.to])
		line.from += len(line.name)
		line.trimSpace(r.source)
		switch line.name {
		case "#":
		case "", "comment", "raw", "liquid":
			panic(wrong(line.start, "a line of \"liquid\" must be a tag other than comment, raw and liquid"))
		default:
			r.tag(line)
		}
	}
	r.nothing(mark{start: m.start, trimRight: m.trimRight})
}

func (r *reader) output(m mark) {
	if m.from == m.to {
		panic(wrong(m.start, "there is nothing to print between the braces"))
	}
	x := r.parse(m)
	content := x.condition()
	r.finish(x)
	if strings.Contains(content, "}}") {
		panic(wrong(m.start, `a text that holds "}}" must be printed with "raw"`))
	}
	r.note(m, x.filters)
	r.out.WriteString("{{" + dash(m.trimLeft) + "\n" + content + " " + dash(m.trimRight) + "}}")
	r.line++
}

func (r *reader) tag(m mark) {
	x := r.parse(m)
	if isBlock(strings.TrimPrefix(m.name, "end")) && strings.HasPrefix(m.name, "end") {
		r.finish(x)
		r.close(m)
		r.emit(m, m.name, nil)
		return
	}
	arguments := ""
	switch m.name {
	case "if", "unless", "case":
		arguments = x.condition()
	case "elsif":
		r.clause(m)
		arguments = x.condition()
	case "else":
		r.clause(m)
	case "when":
		r.clause(m)
		arguments = x.operand()
		for x.is(",", "or") {
			x.take()
			arguments += ", " + x.operand()
		}
	case "assign":
		variable := variableName(x)
		x.expect("=")
		first := x.peek()
		arguments = variable + " = " + x.condition()
		defer func() { r.set[variable] = r.subject(x, first) }()
	case "capture":
		if l := &x.lexemes[0]; l.kind == text && l.text != "" && nameSize(l.text) == len(l.text) {
			l.kind = name // may stand in quotes
		}
		variable := variableName(x)
		r.finish(x)
		r.open(block{mark: m, captured: variable})
		r.emit(m, "capture "+variable, nil)
		return
	case "for", "tablerow":
		variable := variableName(x)
		x.expect("in")
		first := x.peek()
		arguments = variable + " in " + x.filtered() + " | " + pairsFilter + r.loopModifiers(m, x)
		r.finish(x)
		r.open(block{mark: m, loopVariable: variable, items: item(r.subject(x, first))})
		r.emit(m, m.name+" "+arguments, x.filters)
		return
	case "cycle":
		r.inLoop(m)
		arguments = cycle(x)
	case "break", "continue":
		r.inLoop(m)
	case "echo":
		m.name = ""
		r.output(m)
		return
	case "include", "render":
		panic(wrong(m.start, "%q is not available: a template cannot use other files", m.name))
	default:
		panic(wrong(m.start, "unknown tag %q", m.name))
	}
	r.finish(x)
	if isBlock(m.name) {
		r.open(block{mark: m})
	}
	r.emit(m, m.name+" "+arguments, x.filters)
}

func variableName(x *expression) string {
	l := x.name("the name of a variable")
	if l.text == "forloop" {
		panic(wrong(l.at, `"forloop" is set by loops alone`))
	}
	return l.text
}

func (r *reader) loopModifiers(m mark, x *expression) string {
	out := ""
	for x.peek().kind == name || x.is(",") {
		x.accept(",")
		modifier := x.name("a modifier of the loop")
		switch {
		case modifier.text == "reversed":
			out += " reversed"
		case modifier.text == "limit" || modifier.text == "offset" || modifier.text == "cols" && m.name == "tablerow":
			x.expect(":")
			if x.is("continue") {
				panic(wrong(x.peek().at, `"offset: continue" is not supported`))
			}
			out += " " + modifier.text + ": " + x.operand()
		default:
			panic(wrong(modifier.at, "unknown modifier %q of a loop", modifier.text))
		}
	}
	return out
}

// cycle names a group by its texts, as Ruby's Liquid does, where the source
// gives no name.
func cycle(x *expression) string {
	take := func() string {
		l := x.take()
		if l.kind != text {
			panic(wrong(l.at, "\"cycle\" takes texts in quotes, found %s", l))
		}
		return l.text
	}
	group := take()
	texts := []string{group}
	if x.accept(":") {
		texts = []string{take()}
	} else {
		group = ""
	}
	for x.accept(",") {
		texts = append(texts, take())
	}
	if group == "" {
		group = strings.Join(texts, "\x1f")
	}
	for i := range texts {
		texts[i] = quote(texts[i])
	}
	return quote(group) + ": " + strings.Join(texts, ", ")
}

func (r *reader) parse(m mark) *expression {
	lexemes, bad := lex(r.source, m.from, m.to)
	if bad != nil {
		panic(bad)
	}
	return &expression{knows: r.knows, lexemes: lexemes}
}

// finish ends an expression and keeps those of its variables that come from
// outside.
func (r *reader) finish(x *expression) {
	x.finish()
	for _, v := range x.variables {
		root := v.path[0]
		if _, set := r.set[root]; !set && r.loopOf(root) == nil {
			r.syntax.variables = append(r.syntax.variables, v)
		}
		if path := r.origin(v); path != nil {
			r.syntax.reads = append(r.syntax.reads, path)
		}
	}
}

func (r *reader) open(b block) {
	if len(r.blocks) >= maxDepth {
		panic(wrong(b.start, "blocks are nested more than %d deep", maxDepth))
	}
	r.blocks = append(r.blocks, b)
}

func (r *reader) close(m mark) {
	opens := strings.TrimPrefix(m.name, "end")
	if len(r.blocks) == 0 {
		panic(wrong(m.start, "%q without %q", m.name, opens))
	}
	b := r.blocks[len(r.blocks)-1]
	if b.name != opens {
		panic(wrong(m.start, "%q comes before %q has closed %q", m.name, "end"+b.name, b.name))
	}
	if b.captured != "" {
		r.set[b.captured] = nil
	}
	r.blocks = r.blocks[:len(r.blocks)-1]
}

func (r *reader) clause(m mark) {
	parents := clauses[m.name]
	if len(r.blocks) == 0 {
		panic(wrong(m.start, "%q without %q", m.name, parents[0]))
	}
	b := &r.blocks[len(r.blocks)-1]
	if !slices.Contains(parents, b.name) {
		panic(wrong(m.start, "%q does not belong into %q", m.name, b.name))
	}
	if b.hasElse {
		panic(wrong(m.start, "%q after \"else\"", m.name))
	}
	if m.name == "else" {
		b.hasElse = true
		b.loopVariable = ""
	}
}

func (r *reader) inLoop(m mark) {
	if !slices.ContainsFunc(r.blocks, func(b block) bool { return isLoop(b.name) }) {
		panic(wrong(m.start, "%q outside of a loop", m.name))
	}
}

func (r *reader) emit(m mark, content string, filters []use) {
	r.note(m, filters)
	r.out.WriteString("{%" + dash(m.trimLeft) + "\n" + content + " " + dash(m.trimRight) + "%}")
	r.line++
}

// nothing writes what prints nothing but trims the space around it.
func (r *reader) nothing(m mark) {
	r.emit(mark{start: m.start, trimLeft: m.trimLeft}, "comment", nil)
	r.out.WriteString("{% endcomment " + dash(m.trimRight) + "%}")
}

func (r *reader) note(m mark, filters []use) {
	r.syntax.marks = append(r.syntax.marks, markPlace{r.line, m.start, filters})
}

func dash(trim bool) string {
	if trim {
		return "-"
	}
	return ""
}
