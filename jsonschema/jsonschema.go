// Package jsonschema checks data against a JSON Schema, within limits. Schemas
// are those of draft 2020-12 and data is JSON (https://json-schema.org). The work
// is done by santhosh-tekuri/jsonschema in sandbox workers: schemas and data are
// strangers', and a small schema can ask for work without end.
//
// Programs that use it call sandbox.Main first of all.
package jsonschema

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"platen/sandbox"
)

const (
	memoryLimit = 512 << 20
	cpuLimit    = 5 * time.Second
	wallLimit   = 10 * time.Second
	sizeLimit   = 4 << 20 // bytes of a schema, and of data
	outputLimit = 1 << 20
)

// MaxViolations is how many violations Validate tells at most.
const MaxViolations = 100

// Kind says whose mistake an Error is.
type Kind string

const (
	Schema Kind = "SCHEMA" // the schema is none, or uses what is not supported
	Limit  Kind = "LIMIT"  // checking took too long, or needed too much
)

// Error is why a schema cannot be used, told to the people who wrote it.
type Error struct {
	Kind    Kind
	Pointer string // into the schema (RFC 6901); empty for the whole, and when it cannot be told
	Message string // what is wrong, without the place
}

func (e *Error) Error() string {
	if e.Pointer == "" {
		return e.Message
	}
	return e.Pointer + ": " + e.Message
}

// Violation is what one value of the data is not as the schema has it.
type Violation struct {
	Pointer string // into the data (RFC 6901); empty for the whole. One of more than 1000 bytes stops at a value around
	Keyword string // of the schema, such as required
	Message string // what is expected; it goes on from the name of the value: "must be a number, but is a string"
}

// Options describe a Checker.
type Options struct {
	Workers int          // calls that run at once; each keeps a process
	UID     uint32       // user of the workers when we are root; 0 keeps ours
	Log     *slog.Logger // nil logs nothing
}

// Checker checks schemas and data. It is safe for concurrent use.
type Checker struct {
	pool *sandbox.Pool
	log  *slog.Logger
}

// New starts the workers.
func New(o Options) (*Checker, error) { return start(o, cpuLimit) }

func start(o Options, cpu time.Duration) (*Checker, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	pool, err := sandbox.NewPool(sandbox.Options{
		Function: workerFunction,
		Workers:  o.Workers,
		UID:      o.UID,
		Log:      o.Log,
		Limits: sandbox.Limits{
			Memory: memoryLimit, CPU: cpu, Wall: wallLimit,
			Input: 2*sizeLimit + 1<<10, Output: outputLimit,
		},
	})
	if err != nil {
		return nil, err
	}
	return &Checker{pool, o.Log}, nil
}

// Close ends all workers and the calls that they serve.
func (c *Checker) Close() error { return c.pool.Close() }

// Check reports the first mistake of a schema as an *Error: what JSON Schema
// 2020-12 does not allow, another draft in $schema (none is 2020-12), a reference
// to anything outside of the schema other than the metaschema of 2020-12, a
// reference that leads back to itself, and a regular expression that is not
// RE2's, as those with lookarounds are not (https://github.com/google/re2). Both
// schema and data are nested at most 500 deep, and their numbers have at most
// 1000 digits and exponents from -1000 to 1000. Other errors are those of ctx
// and of the machine.
func (c *Checker) Check(ctx context.Context, schema json.RawMessage) error {
	_, err := c.call(ctx, request{schema: schema})
	return err
}

// Validate lists what in the data is not as the schema has it, in the order of
// the data; none: the data is valid. Data that is absent is taken for an empty
// object, so that one who sends nothing is told what is required; a JSON null is
// null. What fits none of the alternatives of anyOf and oneOf is one violation of
// that keyword. An object that lacks or must not have a property is one as well.
// Numbers are compared by all of their digits. Data that is no JSON, or that is
// beyond the limits of Check, violates "type".
//
// The formats date, time, date-time, duration, period, email, hostname, ipv4,
// ipv6, uri, uri-reference, iri, iri-reference, uri-template, uuid, json-pointer,
// relative-json-pointer, regex and semver are asserted, and others are not. The
// keywords of content are not asserted either. Errors are those of Check.
func (c *Checker) Validate(ctx context.Context, schema, data json.RawMessage) ([]Violation, error) {
	answer, err := c.call(ctx, request{validate: true, schema: schema, data: data})
	return answer.Violations, err
}

func (c *Checker) call(ctx context.Context, r request) (response, error) {
	if len(r.schema) > sizeLimit || len(r.data) > sizeLimit {
		return response{}, limitError("input")
	}
	out, err := c.pool.Call(ctx, r.encode())
	var limit *sandbox.LimitError
	var function *sandbox.FunctionError
	switch {
	case errors.As(err, &limit):
		return response{}, limitError(limit.Limit)
	case errors.As(err, &function):
		// The library stumbled. Its words are not for users.
		c.log.InfoContext(ctx, "jsonschema: a schema could not be applied", "error", function)
		return response{}, &Error{Kind: Schema, Message: "the schema cannot be applied"}
	case err != nil:
		return response{}, err
	}
	var answer response
	if err := json.Unmarshal(out, &answer); err != nil {
		return response{}, fmt.Errorf("jsonschema: answer of a worker: %w", err)
	}
	if answer.Error != nil {
		return response{}, answer.Error
	}
	return answer, nil
}

func limitError(limit string) *Error {
	message := map[string]string{
		"cpu":    fmt.Sprintf("checking the data against the schema needs more than %v of computing time", cpuLimit),
		"time":   fmt.Sprintf("checking the data against the schema takes longer than %v", wallLimit),
		"memory": "checking the data against the schema needs more memory than it may use",
		"output": "there is too much to tell about the data",
		"input":  fmt.Sprintf("the schema or the data is larger than %d MB", sizeLimit>>20),
	}[limit]
	return &Error{Kind: Limit, Message: message}
}
