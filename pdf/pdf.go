// Package pdf works on finished PDF files: it inspects them, puts them together,
// marks them with a watermark and protects them with a password. The work is
// done with pdfcpu in sandbox workers, within limits of time and memory, because
// a file may come from anyone.
//
// Programs that use it call sandbox.Main first of all.
package pdf

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"platen/sandbox"
)

const (
	memoryLimit = 1 << 30
	timeLimit   = 60 * time.Second
	sizeLimit   = 256 << 20 // bytes of a file
)

// Kind says why a file cannot be worked on.
type Kind string

const (
	Damaged   Kind = "DAMAGED"   // not a PDF, or broken beyond what readers repair
	Encrypted Kind = "ENCRYPTED" // protected, with or without a password to open it
	Limit     Kind = "LIMIT"     // too large, or needs too much time or memory
)

// Error is what is wrong with a file, told to the people who sent it.
type Error struct {
	Kind    Kind
	Message string // without the part
	Part    int    // index of the part of a merge that is at fault, from 0; -1: none, or all together
}

func (e *Error) Error() string {
	if e.Part < 0 {
		return e.Message
	}
	return fmt.Sprintf("part %d: %s", e.Part, e.Message)
}

func problem(kind Kind, message string) *Error { return &Error{kind, message, -1} }

// Info is what is known about a file.
type Info struct {
	Pages int

	// Protected says of a part that it is encrypted, although it opens without a
	// password and may be merged. See CheckPart.
	Protected bool
}

// MaxMerge is how many bytes the files of a merge have together at most.
const MaxMerge = sizeLimit

// Part is one of the files that are merged.
type Part struct {
	Title string // of its bookmark; the first 200 characters count. Empty: "Part 1", "Part 2", ...
	File  []byte

	// OwnTitle says that the file's own title, where it has one, is better.
	OwnTitle bool
}

// Options describe a Tool.
type Options struct {
	Workers int          // calls that run at once; each keeps a process
	UID     uint32       // user of the workers when we are root; 0 keeps ours
	Log     *slog.Logger // nil logs nothing
}

// Tool works on PDFs. It is safe for concurrent use.
type Tool struct {
	pool *sandbox.Pool
	log  *slog.Logger
}

// New starts the workers.
func New(o Options) (*Tool, error) { return start(o, memoryLimit) }

func start(o Options, memory uint64) (*Tool, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	pool, err := sandbox.NewPool(sandbox.Options{
		Function: workerFunction,
		Workers:  o.Workers,
		UID:      o.UID,
		Log:      o.Log,
		Limits: sandbox.Limits{
			Memory: memory, CPU: timeLimit, Wall: timeLimit,
			Input: sizeLimit + 1<<20, Output: sizeLimit + 1<<20,
		},
	})
	if err != nil {
		return nil, err
	}
	return &Tool{pool, o.Log}, nil
}

// Close ends all workers and the calls that they serve.
func (t *Tool) Close() error { return t.pool.Close() }

// Pages counts the pages of a file that was printed here. One that is as Chromium writes it says itself how many it has;
// any other is inspected.
func (t *Tool) Pages(ctx context.Context, file []byte) (int, error) {
	if pages, known := count(file); known {
		return pages, nil
	}
	info, err := t.Inspect(ctx, file)
	return info.Pages, err
}

// Inspect reads the whole file and tells about it. A file that cannot be worked
// on is an *Error; other errors are those of ctx and of the machine.
func (t *Tool) Inspect(ctx context.Context, file []byte) (Info, error) {
	answer, err := t.call(ctx, request{operation: inspect, file: file})
	return answer.Info, err
}

// Watermark writes text across each page from corner to corner, above all of
// its content: grey and translucent, with a light edge that shows on dark
// grounds. Text, links, tags, page sizes and document information of the file
// are kept, except its producer and its dates, which pdfcpu writes anew. text
// has up to 60 characters of Latin-1. Errors are those of Inspect.
func (t *Tool) Watermark(ctx context.Context, file []byte, text string) ([]byte, Info, error) {
	encoded, err := encodeText(text)
	if err != nil {
		return nil, Info{}, err
	}
	answer, err := t.call(ctx, request{operation: watermark, text: encoded, file: file})
	return answer.file, answer.Info, err
}

// Protect encrypts the file so that the password opens it, with AES-256 as PDF
// 2.0 has it (ISO 32000-2, 7.6: version 5, revision 6). Who opens it may do
// everything but change the protection: the owner's password is random, and
// nobody knows it. It comes last, because no other method takes a protected
// file. Text, links, tags, form fields, outline and document information are
// kept; the file says PDF 2.0. A password that CheckPassword refuses is refused
// here, with the same words. Other errors are those of Inspect; none of them,
// and no log, holds the password. Encrypting takes several copies: a file whose
// one stream is larger than some 130 MB ends in Limit.
func (t *Tool) Protect(ctx context.Context, file []byte, password string) ([]byte, error) {
	if err := CheckPassword(password); err != nil {
		return nil, fmt.Errorf("pdf: %w", err)
	}
	answer, err := t.call(ctx, request{operation: protection, text: []byte(password), file: file})
	return answer.file, err
}

// CheckPart reads the whole file and tells whether Merge takes it as a part. It
// differs from Inspect in files that are encrypted and open without a password:
// Merge takes them if their permissions allow copying, and assembling or
// changing; all others are an *Error of the Kind Encrypted.
func (t *Tool) CheckPart(ctx context.Context, file []byte) (Info, error) {
	answer, err := t.call(ctx, request{operation: check, file: file})
	return answer.Info, err
}

// Merge makes one PDF of 1 to 1000 parts, in their order; together they have up
// to 256 MB. An *Error names the part at fault, or -1 where each would do without
// the others. Other errors are those of Inspect.
//
// With two parts or more, each has a bookmark to its first page, closed, with
// its own bookmarks below. These are kept of all parts: page sizes, boxes and
// rotation; links and named destinations, whose names get the part's number in
// front (the first one's "total" becomes "1.total"), so that equal ones do not
// meet; form fields with their appearance (a name that a part before has taken,
// up to its first dot, gets "_2"); layers, as the default configuration shows
// them; attachments; and page labels: if any part has some, parts without are
// numbered 1, 2, 3 anew, and if none has, readers count through. Fonts, images
// and other content that is the same, byte for byte, is stored once, but for the
// appearance of fields; and so is what the fonts of files that Chromium wrote have
// in common, where each holds what its file shows of one font. The version is the highest of the parts', at least 1.5.
//
// Nothing runs: scripts, actions at opening a file or page, additional actions,
// actions that start programs, import or play, XFA, and annotations with 3D or
// rich media stay behind, because who wrote one part must not act among the
// pages of the others. For the same reason, two parts or more lose the actions
// that send, clear or hide fields: they would do it to the fields of all.
// Signatures no longer hold, so only their pictures stay.
//
// What speaks of one file as a whole is kept of a single part only: title,
// author and other information, XMP metadata, structure (tags), output intents
// and viewer preferences. The result of two parts or more is not tagged, and
// does not say so; its language is kept if it is that of all.
//
// A part that is encrypted is refused, unless CheckPart takes it; the result is
// never encrypted.
func (t *Tool) Merge(ctx context.Context, parts []Part) ([]byte, Info, error) {
	if len(parts) < 1 || len(parts) > maxParts {
		return nil, Info{}, fmt.Errorf("pdf: a merge has 1 to %d parts, and not %d", maxParts, len(parts))
	}
	size := 0
	for i, p := range parts {
		if len(p.File) > sizeLimit {
			return nil, Info{}, &Error{Limit, limitMessage("input"), i}
		}
		size += len(p.File)
	}
	if size > sizeLimit {
		return nil, Info{}, problem(Limit, fmt.Sprintf("the PDFs together are larger than %d MB", sizeLimit>>20))
	}
	encoded := encodeParts(request{operation: merging}.encode(), parts)
	answer, err := t.send(ctx, encoded)
	var mistake *Error
	if errors.As(err, &mistake) && mistake.Message == limitMessage("memory") {
		// A worker that was used before has less room than a new one, and this
		// one has been replaced.
		answer, err = t.send(ctx, encoded)
	}
	if errors.As(err, &mistake) && mistake.Part < 0 {
		err = t.blame(ctx, parts, mistake)
	}
	return answer.file, answer.Info, err
}

// blame finds the part at fault when the worker was killed and could not say. It
// was one that is too much alone, or all of them together.
func (t *Tool) blame(ctx context.Context, parts []Part, mistake *Error) error {
	if len(parts) == 1 {
		return &Error{mistake.Kind, mistake.Message, 0}
	}
	// A thousand slow parts are not worth a search of hours.
	search, stop := context.WithTimeout(ctx, 2*timeLimit)
	defer stop()
	for i, p := range parts {
		if search.Err() != nil {
			break
		}
		_, err := t.send(search, encodeParts(request{operation: merging}.encode(), []Part{p}))
		var alone *Error
		if errors.As(err, &alone) {
			return &Error{alone.Kind, alone.Message, i}
		}
		if err != nil && search.Err() == nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if mistake.Kind == Limit {
		return problem(Limit, "the PDFs together need more memory or time than they may use")
	}
	return mistake
}

func encodeText(text string) ([]byte, error) {
	var encoded []byte
	for _, r := range text {
		if r < 0x20 || 0x7e < r && r < 0xa0 || r > 0xff {
			return nil, fmt.Errorf("pdf: a watermark cannot hold %q", r)
		}
		encoded = append(encoded, byte(r))
	}
	if len(encoded) == 0 || len(encoded) > 60 {
		return nil, errors.New("pdf: a watermark has 1 to 60 characters")
	}
	return encoded, nil
}

func (t *Tool) call(ctx context.Context, r request) (response, error) {
	if len(r.file) > sizeLimit {
		return response{}, problem(Limit, limitMessage("input"))
	}
	return t.send(ctx, r.encode())
}

func (t *Tool) send(ctx context.Context, encoded []byte) (response, error) {
	out, err := t.pool.Call(ctx, encoded)
	var limit *sandbox.LimitError
	var function *sandbox.FunctionError
	switch {
	case errors.As(err, &limit):
		return response{}, problem(Limit, limitMessage(limit.Limit))
	case errors.As(err, &function):
		// The library stumbled over the file. Its words are not for users.
		t.log.InfoContext(ctx, "pdf: a file could not be worked on", "error", function)
		return response{}, problem(Damaged, damaged)
	case err != nil:
		return response{}, err
	}
	answer, err := decodeResponse(out)
	if err != nil {
		return response{}, fmt.Errorf("pdf: answer of a worker: %w", err)
	}
	if answer.Error != nil {
		return response{}, answer.Error
	}
	return answer, nil
}

func limitMessage(limit string) string {
	switch limit {
	case "memory":
		return "the PDF needs more memory than it may use"
	case "input", "output":
		return fmt.Sprintf("the PDF is larger than %d MB", sizeLimit>>20)
	default:
		return fmt.Sprintf("the PDF needs more than %v of work", timeLimit)
	}
}
