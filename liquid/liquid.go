// Package liquid turns Liquid source and data into text, within limits. The
// work is done in sandbox workers, because the engine (osteele/liquid) can loop
// for ever, run out of memory and panic. A scanner of our own reads each source
// first: it finds every mistake of syntax with its line and column, and gives
// the engine a form of the source that the engine reads the way Liquid is
// documented.
//
// Programs that use it call sandbox.Main first of all.
package liquid

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
	memoryLimit = 256 << 20
	cpuLimit    = 5 * time.Second
	wallLimit   = 10 * time.Second
	outputLimit = 8 << 20  // bytes of all texts of one Render
	inputLimit  = 32 << 20 // bytes of sources and data
)

// Options describe an Engine.
type Options struct {
	Workers int          // calls that run at once; each keeps a process
	UID     uint32       // user of the workers when we are root; 0 keeps ours
	Log     *slog.Logger // nil logs nothing
}

// Engine renders and checks Liquid. It is safe for concurrent use.
type Engine struct {
	pool *sandbox.Pool
}

// Source is a piece of Liquid, with the name that errors give it.
type Source struct {
	Name, Text string
}

// Variable is something that a source reads and does not set itself.
type Variable struct {
	Path         []string // "metadata", "customer", "id" for metadata.customer.id; ends before an index that is computed
	Line, Column int      // of its first use, from 1
}

// New starts the workers.
func New(o Options) (*Engine, error) { return start(o, cpuLimit) }

func start(o Options, cpu time.Duration) (*Engine, error) {
	pool, err := sandbox.NewPool(sandbox.Options{
		Function: workerFunction,
		Workers:  o.Workers,
		UID:      o.UID,
		Log:      o.Log,
		Limits: sandbox.Limits{
			Memory: memoryLimit, CPU: cpu, Wall: wallLimit,
			Input: inputLimit, Output: outputLimit + 1<<20,
		},
	})
	if err != nil {
		return nil, err
	}
	return &Engine{pool}, nil
}

// Close ends all workers and the calls that they serve.
func (e *Engine) Close() error { return e.pool.Close() }

// Render renders sources with the same data and returns the texts by the names
// of the sources. vars is a JSON object; a value that is missing prints as
// nothing. key identifies these sources for ever, as the id of a template's
// version does: a worker may keep what it compiled under it. An empty key keeps
// nothing. A mistake in a source or in its use of the data is an *Error; other
// errors are those of ctx and of the machine.
func (e *Engine) Render(ctx context.Context, key string, sources []Source, vars json.RawMessage) (map[string]string, error) {
	answer, err := e.call(ctx, request{Operation: opRender, Key: key, Sources: sources, Vars: vars})
	if err != nil {
		return nil, err
	}
	return answer.Texts, nil
}

// Check reports the first mistake of the source as an *Error with line and
// column, before any data is known: syntax, unknown tags and filters, and
// files, which cannot be included.
func (e *Engine) Check(ctx context.Context, source Source) error {
	_, err := e.call(ctx, request{Operation: opCheck, Sources: []Source{source}})
	return err
}

// Variables lists what the source reads from outside, each path once, in the
// order of first use. The mistakes that Check finds are reported here as well.
func (e *Engine) Variables(ctx context.Context, source Source) ([]Variable, error) {
	answer, err := e.call(ctx, request{Operation: opVariables, Sources: []Source{source}})
	if err != nil {
		return nil, err
	}
	return answer.Variables, nil
}

// DataNames lists the names that the sources read from data, sorted, each once:
// customer.name, lines, lines[].price. The fields of data are variables by
// themselves, and data as a whole is the variable named whole: with "data",
// data.customer.name is customer.name as well, and data alone is no name. The
// variables in own hide fields of the same name and are not data, nor is what
// the sources set themselves.
//
// A loop over lines reads lines, and lines[].price where it reads the price of
// its variable; an index that is a number is written the same. Names follow
// variables that stand for a part of data, as after assign. A name ends before
// an index that is computed, and after 32 steps; of names with more than 256
// bytes the end is missing, and at most 1000 names are told. The mistakes that
// Check finds are reported here as well.
func (e *Engine) DataNames(ctx context.Context, sources []Source, whole string, own ...string) ([]string, error) {
	vars, err := json.Marshal(append([]string{whole}, own...))
	if err != nil {
		return nil, err
	}
	answer, err := e.call(ctx, request{Operation: opDataNames, Sources: sources, Vars: vars})
	if err != nil {
		return nil, err
	}
	return answer.Names, nil
}

func (e *Engine) call(ctx context.Context, r request) (response, error) {
	out, err := e.pool.Call(ctx, r.encode())
	var limit *sandbox.LimitError
	var function *sandbox.FunctionError
	switch {
	case errors.As(err, &limit):
		return response{}, limitError(limit.Limit)
	case errors.As(err, &function):
		return response{}, &Error{Kind: Render, Message: "the template could not be rendered: " + function.Message}
	case err != nil:
		return response{}, err
	}
	answer, err := decodeResponse(out)
	if err != nil {
		return response{}, fmt.Errorf("liquid: answer of a worker: %w", err)
	}
	if answer.Error != nil {
		return response{}, answer.Error
	}
	return answer, nil
}
