package liquid

import (
	"bytes"
	"container/list"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	engine "github.com/osteele/liquid"

	"platen/sandbox"
)

const workerFunction = "liquid"

func init() { sandbox.Register(workerFunction, work) }

// enginePath makes the engine keep the innermost place of an error: it lets
// places without a path be overwritten by those of the blocks around.
const enginePath = "source"

type operation string

const (
	opRender    operation = "render"
	opCheck     operation = "check"
	opVariables operation = "variables"
	opDataNames operation = "data names"
)

type request struct {
	Operation operation
	Key       string
	Sources   []Source
	Vars      json.RawMessage
}

type response struct {
	Texts     map[string]string `json:"-"`
	Variables []Variable        `json:",omitempty"`
	Names     []string          `json:",omitempty"`
	Error     *Error            `json:",omitempty"`
}

// Requests and answers are fields with their lengths before them: texts of
// megabytes need no escaping.

func (r request) encode() []byte {
	fields := [][]byte{[]byte(r.Operation), []byte(r.Key), r.Vars}
	for _, s := range r.Sources {
		fields = append(fields, []byte(s.Name), []byte(s.Text))
	}
	return join(fields)
}

func decodeRequest(in []byte) (request, error) {
	fields, err := split(in)
	if err != nil || len(fields) < 3 || len(fields)%2 == 0 {
		return request{}, errors.New("malformed request")
	}
	r := request{Operation: operation(fields[0]), Key: string(fields[1]), Vars: fields[2]}
	for pair := range slices.Chunk(fields[3:], 2) {
		r.Sources = append(r.Sources, Source{string(pair[0]), string(pair[1])})
	}
	return r, nil
}

func (r response) encode() ([]byte, error) {
	head, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	fields := [][]byte{head}
	for name, text := range r.Texts {
		fields = append(fields, []byte(name), []byte(text))
	}
	return join(fields), nil
}

func decodeResponse(in []byte) (response, error) {
	fields, err := split(in)
	if err != nil || len(fields)%2 == 0 {
		return response{}, errors.New("malformed answer")
	}
	r := response{Texts: map[string]string{}}
	if err := json.Unmarshal(fields[0], &r); err != nil {
		return r, err
	}
	for pair := range slices.Chunk(fields[1:], 2) {
		r.Texts[string(pair[0])] = string(pair[1])
	}
	return r, nil
}

func join(fields [][]byte) []byte {
	size := 0
	for _, f := range fields {
		size += len(f) + binary.MaxVarintLen32
	}
	out := make([]byte, 0, size)
	for _, f := range fields {
		out = append(binary.AppendUvarint(out, uint64(len(f))), f...)
	}
	return out
}

func split(in []byte) ([][]byte, error) {
	var fields [][]byte
	for len(in) > 0 {
		size, n := binary.Uvarint(in)
		if n <= 0 || size > uint64(len(in)-n) {
			return nil, errors.New("malformed field")
		}
		fields = append(fields, in[n:n+int(size)])
		in = in[n+int(size):]
	}
	return fields, nil
}

// work is what the sandbox runs.
func work(in []byte) ([]byte, error) {
	r, err := decodeRequest(in)
	if err != nil {
		return nil, err
	}
	var answer response
	switch r.Operation {
	case opRender:
		answer.Texts, answer.Error = renderAll(r)
	case opCheck:
		_, answer.Error = compile(r.Sources[0])
	case opVariables:
		answer.Variables, answer.Error = variables(r.Sources[0])
	case opDataNames:
		answer.Names, answer.Error = dataNames(r)
	default:
		return nil, fmt.Errorf("unknown operation %q", r.Operation)
	}
	return answer.encode()
}

// template is a compiled source.
type template struct {
	source Source
	syntax *syntax
	engine *engine.Template
}

// compile prepares a source for rendering, or finds its first mistake.
func compile(s Source) (*template, *Error) {
	read, bad := read(s.Text, knownFilter)
	if bad != nil {
		return nil, errorAt(Syntax, s, bad.at, bad.message)
	}
	t := &template{source: s, syntax: read}
	compiled, err := parse(read.engine)
	if err != nil {
		return nil, t.explain(Syntax, err)
	}
	t.engine = compiled
	return t, nil
}

// parse has the engine read a source. Parts of the engine panic at what they
// cannot read; the reader has refused all that is known to do so.
func parse(source string) (t *engine.Template, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("the template could not be understood")
		}
	}()
	t, located := standardEngine().ParseTemplateLocation([]byte(source), enginePath, 1)
	if located != nil {
		return nil, located
	}
	return t, nil
}

func (t *template) render(out io.Writer, vars map[string]any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("the template could not be rendered")
		}
	}()
	if err := t.engine.FRender(out, vars); err != nil {
		return err
	}
	return nil
}

// explain turns an engine's error into ours, at the filter or at the mark.
func (t *template) explain(kind Kind, err error) *Error {
	message, filter := explain(err)
	located, ok := err.(engine.SourceError)
	if !ok {
		return &Error{Kind: kind, Source: t.source.Name, Message: message}
	}
	mark, ok := t.syntax.markAt(located.LineNumber())
	if !ok {
		return &Error{Kind: kind, Source: t.source.Name, Message: message}
	}
	at := mark.at
	for _, f := range mark.filters {
		if f.path[0] == filter {
			at = f.at
			break
		}
	}
	return errorAt(kind, t.source, at, message)
}

func errorAt(kind Kind, s Source, at int, message string) *Error {
	line, column := (&places{source: s.Text}).place(at)
	return &Error{Kind: kind, Source: s.Name, Line: line, Column: column, Message: message}
}

func variables(s Source) ([]Variable, *Error) {
	t, bad := compile(s)
	if bad != nil {
		return nil, bad
	}
	found := []Variable{}
	seen := map[string]bool{}
	p := places{source: s.Text}
	for _, v := range t.syntax.variables {
		key := strings.Join(v.path, "\x00")
		if seen[key] {
			continue
		}
		seen[key] = true
		line, column := p.place(v.at)
		found = append(found, Variable{v.path, line, column})
	}
	return found, nil
}

func renderAll(r request) (map[string]string, *Error) {
	templates, bad := compileAll(r.Key, r.Sources)
	if bad != nil {
		return nil, bad
	}
	vars, err := decodeVars(r.Vars)
	if err != nil {
		return nil, &Error{Kind: Render, Message: err.Error()}
	}
	texts := make(map[string]string, len(templates))
	left := outputLimit
	for _, t := range templates {
		out := &limitedBuffer{left: left}
		err := t.render(out, vars)
		if out.full {
			bad := limitError("output")
			bad.Source = t.source.Name
			return nil, bad
		}
		if err != nil {
			return nil, t.explain(Render, err)
		}
		left = out.left
		texts[t.source.Name] = out.String()
	}
	return texts, nil
}

// limitedBuffer refuses what goes over its limit. The engine turns some
// refusals into panics, so it remembers that there was one.
type limitedBuffer struct {
	bytes.Buffer
	left int
	full bool
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if len(p) > b.left {
		b.full = true
		return 0, errors.New("too much output")
	}
	b.left -= len(p)
	return b.Buffer.Write(p)
}

// compiled keeps what was compiled under a key, the least recently used at the
// back. A worker serves one call at a time.
var compiled = struct {
	order *list.List // of *compiledSet
	byKey map[string]*list.Element
	size  int // bytes of the sources
}{list.New(), map[string]*list.Element{}, 0}

// compiledMost bounds the bytes of all sources that are kept; compiled they
// need several times as much.
const compiledMost = 4 << 20

type compiledSet struct {
	key       string
	sources   []Source
	size      int
	templates []*template
}

func compileAll(key string, sources []Source) ([]*template, *Error) {
	if e := compiled.byKey[key]; e != nil && slices.Equal(e.Value.(*compiledSet).sources, sources) {
		compiled.order.MoveToFront(e)
		return e.Value.(*compiledSet).templates, nil
	}
	set := &compiledSet{key: key, sources: sources}
	for _, s := range sources {
		t, bad := compile(s)
		if bad != nil {
			return nil, bad
		}
		set.templates = append(set.templates, t)
		set.size += len(s.Text)
	}
	if key == "" || set.size > compiledMost {
		return set.templates, nil
	}
	if e := compiled.byKey[key]; e != nil {
		forget(e)
	}
	compiled.byKey[key] = compiled.order.PushFront(set)
	compiled.size += set.size
	for compiled.size > compiledMost || compiled.order.Len() > 100 {
		forget(compiled.order.Back())
	}
	return set.templates, nil
}

func forget(e *list.Element) {
	set := compiled.order.Remove(e).(*compiledSet)
	delete(compiled.byKey, set.key)
	compiled.size -= set.size
}

// standardEngine is the engine of this worker. In it, local time is UTC.
var standardEngine = sync.OnceValue(func() *engine.Engine {
	time.Local = time.UTC
	return newEngine()
})
