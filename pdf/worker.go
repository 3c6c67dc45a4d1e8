package pdf

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"

	"platen/sandbox"
)

const workerFunction = "pdf"

func init() {
	sandbox.Register(workerFunction, work)
	api.DisableConfigDir() // else pdfcpu writes into the home folder
}

const damaged = "the PDF is damaged"

type operation byte

const (
	inspect operation = iota
	watermark
	protection
	check
	merging
)

type request struct {
	operation operation
	text      []byte // up to 255 bytes: of the watermark, or the password
	file      []byte // or, encoded, parts
}

func (r request) encode() []byte {
	out := make([]byte, 0, 2+len(r.text)+len(r.file))
	out = append(out, byte(r.operation), byte(len(r.text)))
	out = append(out, r.text...)
	return append(out, r.file...)
}

func decodeRequest(in []byte) (request, error) {
	if len(in) < 2 || len(in) < 2+int(in[1]) {
		return request{}, errors.New("malformed request")
	}
	end := 2 + int(in[1])
	return request{operation(in[0]), in[2:end], in[end:]}, nil
}

type response struct {
	Info  Info
	Error *Error
	file  []byte
}

func (r response) encode() ([]byte, error) {
	head, err := r.head()
	return append(head, r.file...), err
}

// head is what comes before the file.
func (r response) head() ([]byte, error) {
	words, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, binary.MaxVarintLen32+len(words)+len(r.file))
	return append(binary.AppendUvarint(out, uint64(len(words))), words...), nil
}

func decodeResponse(in []byte) (r response, err error) {
	size, n := binary.Uvarint(in)
	if n <= 0 || size > uint64(len(in)-n) {
		return r, errors.New("malformed answer")
	}
	end := n + int(size)
	err = json.Unmarshal(in[n:end], &r)
	r.file = in[end:]
	return r, err
}

// work is what the sandbox runs.
func work(in []byte) ([]byte, error) {
	r, err := decodeRequest(in)
	if err != nil {
		return nil, err
	}
	defer tidy(len(in)) // for the next call
	var answer response
	if r.operation == merging {
		parts, err := decodeParts(r.file)
		if err != nil {
			return nil, err
		}
		out, bad, err := merge(parts, func(i Info) ([]byte, error) { return response{Info: i}.head() })
		if bad != nil {
			return response{Error: bad}.encode()
		}
		return out, err
	}
	if r.operation == check { // all that a merge does with a part
		m := newMerger(1)
		answer.Error = m.append(0, Part{File: r.file})
		answer.Info = Info{Pages: m.pages, Protected: m.secured}
		return answer.encode()
	}
	doc, bad := read(r.file, false)
	if bad != nil {
		answer.Error = bad
		return answer.encode()
	}
	answer.Info.Pages = doc.PageCount
	switch r.operation {
	case inspect:
		return answer.encode()
	case watermark:
		if err := mark(doc, r.text); err != nil {
			return nil, fmt.Errorf("marking: %w", err)
		}
	case protection:
		protect(doc, r.text)
	}
	var out bytes.Buffer
	out.Grow(len(r.file) + len(r.file)/8)
	if err := api.WriteContext(doc, &out); err != nil {
		return nil, fmt.Errorf("writing: %w", err)
	}
	answer.file = out.Bytes()
	return answer.encode()
}

// read parses and validates a file as tolerantly as PDF readers do. With asPart,
// it may be one that is protected and can be merged all the same.
func read(file []byte, asPart bool) (*model.Context, *Error) {
	if !bytes.Contains(file[:min(len(file), 1024)], []byte("%PDF-")) {
		return nil, problem(Damaged, "the file is not a PDF")
	}
	c := model.NewDefaultConfiguration()
	c.Cmd = model.ADDWATERMARKS
	c.Offline = true
	c.Optimize, c.OptimizeBeforeWriting, c.OptimizeResourceDicts = false, false, false
	doc, err := api.ReadAndValidate(bytes.NewReader(file), c)
	switch {
	case errors.Is(err, pdfcpu.ErrWrongPassword), errors.Is(err, pdfcpu.ErrUnsupportedEncryptionFeature),
		errors.Is(err, pdfcpu.ErrPermissionDenied), err == nil && doc.Encrypt != nil && !asPart:
		return nil, problem(Encrypted, "the PDF is encrypted; remove its protection first")
	case err != nil:
		return nil, problem(Damaged, damaged)
	}
	if err := doc.EnsurePageCount(); err != nil || doc.PageCount == 0 {
		return nil, problem(Damaged, "the PDF has no pages")
	}
	if doc.Encrypt != nil && !mayBeMerged(doc.E) {
		return nil, problem(Encrypted, "the PDF's protection forbids copying it or putting it together with others; remove its protection first")
	}
	return doc, nil
}
