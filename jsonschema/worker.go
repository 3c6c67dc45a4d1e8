package jsonschema

import (
	"bytes"
	"container/list"
	"encoding/binary"
	"encoding/json"
	"errors"

	"platen/sandbox"
)

const workerFunction = "jsonschema"

func init() { sandbox.Register(workerFunction, work) }

type request struct {
	validate     bool // the data as well
	schema, data []byte
}

type response struct {
	Violations []Violation `json:",omitempty"`
	Error      *Error      `json:",omitempty"`
}

func (r request) encode() []byte {
	out := make([]byte, 1, 1+binary.MaxVarintLen32+len(r.schema)+len(r.data))
	if r.validate {
		out[0] = 1
	}
	out = binary.AppendUvarint(out, uint64(len(r.schema)))
	return append(append(out, r.schema...), r.data...)
}

func decodeRequest(in []byte) (request, error) {
	if len(in) < 1 {
		return request{}, errors.New("malformed request")
	}
	size, n := binary.Uvarint(in[1:])
	if n <= 0 || size > uint64(len(in)-1-n) {
		return request{}, errors.New("malformed request")
	}
	from, to := 1+n, 1+n+int(size)
	return request{in[0] == 1, in[from:to], in[to:]}, nil
}

// work is what the sandbox runs.
func work(in []byte) ([]byte, error) {
	r, err := decodeRequest(in)
	if err != nil {
		return nil, err
	}
	var answer response
	s, bad := compiledSchema(r.schema)
	switch {
	case bad != nil:
		answer.Error = bad
	case r.validate:
		data := r.data
		if len(bytes.TrimSpace(data)) == 0 {
			data = []byte("{}")
		}
		answer.Violations, answer.Error = validate(s, data)
	}
	return json.Marshal(answer)
}

// compiled keeps schemas, the least recently used at the back. A worker serves
// one call at a time.
var compiled = struct {
	order    *list.List // of *kept
	bySchema map[string]*list.Element
	size     int // bytes of the schemas
}{list.New(), map[string]*list.Element{}, 0}

// compiledMost bounds the bytes of all schemas that are kept; compiled they need
// many times as much.
const compiledMost = 256 << 10

type kept struct {
	text   string
	schema *schema
}

func compiledSchema(text []byte) (*schema, *Error) {
	if e := compiled.bySchema[string(text)]; e != nil {
		compiled.order.MoveToFront(e)
		return e.Value.(*kept).schema, nil
	}
	s, bad := compile(text)
	if bad != nil || len(text) > compiledMost {
		return s, bad
	}
	k := &kept{string(text), s}
	compiled.bySchema[k.text] = compiled.order.PushFront(k)
	compiled.size += len(k.text)
	for compiled.size > compiledMost || compiled.order.Len() > 100 {
		last := compiled.order.Remove(compiled.order.Back()).(*kept)
		delete(compiled.bySchema, last.text)
		compiled.size -= len(last.text)
	}
	return s, nil
}
