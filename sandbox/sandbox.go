// Package sandbox runs a pure function, bytes in and bytes out, in a child
// process of our own binary that can be killed. Go cannot stop a goroutine and
// cannot bound its memory, so code that works on other people's templates and
// PDFs runs here, under limits of memory, CPU time, wall clock and size.
// A Pool keeps warm workers, which know neither files nor network nor our
// secrets; one that broke a limit is killed and replaced.
//
// A program that uses a Pool calls Main first of all, in main and in TestMain.
package sandbox

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Function is what runs in the child. It must depend on its input alone: the
// next call may go to another process. What it holds in memory between calls
// is a cache that may vanish at any time.
type Function func(in []byte) (out []byte, err error)

var functions = map[string]Function{}

// Register gives a function the name that Options.Function asks for. It is
// called at init time, so that the child knows the function as well. A name
// can be given once.
func Register(name string, f Function) {
	if _, ok := functions[name]; ok {
		panic("sandbox: function registered twice: " + name)
	}
	functions[name] = f
}

// Limits bound one call. All of them must be set.
type Limits struct {
	Memory uint64        // bytes of the worker's data segment (RLIMIT_DATA); a Go program starts from 64 MB up
	CPU    time.Duration // CPU time of one call
	Wall   time.Duration // duration of one call, without the wait for a free worker
	Output int           // bytes of the answer
	Input  int           // bytes of the request
}

// Options describe a pool.
type Options struct {
	Function string // a name given to Register
	Workers  int    // processes kept ready; as many calls run at once
	Limits   Limits
	UID      uint32       // user and group that the workers become when we are root; 0 changes nothing
	Log      *slog.Logger // replaced workers and missing defences; nil logs nothing
}

func (o Options) check() error {
	l := o.Limits
	switch {
	case functions[o.Function] == nil:
		return fmt.Errorf("sandbox: no function is registered as %q", o.Function)
	case o.Workers < 1:
		return errors.New("sandbox: a pool needs a worker")
	case l.Memory == 0 || l.CPU <= 0 || l.Wall <= 0 || l.Output <= 0 || l.Input <= 0:
		return errors.New("sandbox: every limit must be set")
	case uint64(l.Input) > maxFrame || uint64(l.Output) > maxFrame:
		return errors.New("sandbox: a request or an answer is limited to 4 GB")
	}
	return nil
}

// ErrClosed is the answer of a pool that was closed before or during the call.
var ErrClosed = errors.New("sandbox: the pool is closed")

// LimitError says that a call was ended by one of its limits.
type LimitError struct {
	Limit string // "time", "cpu", "memory", "output" or "input"
}

func (e *LimitError) Error() string { return "sandbox: the limit of " + e.Limit + " was reached" }

// FunctionError is an error that the function returned, or the first line of
// what it panicked with. Message never holds a stack trace.
type FunctionError struct {
	Message string
}

func (e *FunctionError) Error() string { return e.Message }
