package sandbox

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"
)

// Pool is a set of warm workers for one function.
type Pool struct {
	options   Options
	isolation isolation
	idle      chan *worker
	closed    chan struct{}
	keepers   sync.WaitGroup

	mu      sync.Mutex
	closing bool
	workers map[*worker]bool // alive, idle or not
}

// NewPool starts the workers. It returns when the first one is ready, or with
// an error when none can be started at all. Where the machine refuses a
// defence (namespaces need root or user namespaces), the pool works without
// and logs it once.
func NewPool(o Options) (*Pool, error) {
	if os.Args[0] == workerName {
		// Without Main, a worker would run the program itself and start
		// workers of its own, without end.
		return nil, errors.New("sandbox: Main must be the first call of the program")
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Pool{
		options: o,
		idle:    make(chan *worker, o.Workers),
		closed:  make(chan struct{}),
		workers: map[*worker]bool{},
	}
	first := make(chan error, 1)
	p.keepers.Go(func() { p.keep(first) })
	if err := <-first; err != nil {
		p.Close()
		return nil, err
	}
	for range o.Workers - 1 {
		p.keepers.Go(func() { p.keep(nil) })
	}
	return p, nil
}

// Call runs the function on in, in the next free worker. The error is a
// *LimitError, a *FunctionError, ErrClosed, an error of ctx, or a plain error
// when the machine failed. The end of ctx kills the worker.
func (p *Pool) Call(ctx context.Context, in []byte) ([]byte, error) {
	if len(in) > p.options.Limits.Input {
		return nil, &LimitError{"input"}
	}
	for attempt := 1; ; attempt++ {
		w, err := p.take(ctx)
		if err != nil {
			return nil, err
		}
		out, err := w.call(ctx, in, p.options.Limits)
		if w.release() {
			p.offer(w)
		}
		// An idle worker may have died since it was last used, and a pure
		// function can be called again. The third death is the input's doing.
		if errors.Is(err, errDied) && attempt < 3 {
			continue
		}
		return out, err
	}
}

func (p *Pool) take(ctx context.Context) (*worker, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		select {
		case <-p.closed:
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		case w := <-p.idle:
			if w.take() {
				return w, nil
			}
		}
	}
}

// offer makes a worker available. There is room for all that live; when the
// channel is full, some in it died while they were idle, and are thrown out.
func (p *Pool) offer(w *worker) {
	for {
		select {
		case p.idle <- w:
			return
		default:
		}
		select {
		case other := <-p.idle:
			if !other.dead() {
				p.offer(other)
			}
		default:
		}
	}
}

// Close kills all workers and returns when they are gone. Calls that are
// running end with ErrClosed.
func (p *Pool) Close() error {
	p.mu.Lock()
	if !p.closing {
		p.closing = true
		close(p.closed)
	}
	for w := range p.workers {
		w.kill(0, ErrClosed)
	}
	p.mu.Unlock()
	p.keepers.Wait()
	return nil
}

// keep owns one place in the pool: it starts a worker, awaits its death and
// starts the next. The thread is locked because the kernel sends the worker
// its death signal when the thread that started it ends, and Go ends threads
// as it likes.
func (p *Pool) keep(first chan<- error) {
	runtime.LockOSThread()
	const shortest, longest = 50 * time.Millisecond, 5 * time.Second
	pause := shortest
	for {
		w, err := p.start(first != nil)
		if first != nil {
			first <- err
			if err != nil {
				return
			}
			first = nil
		}
		if err == nil {
			pause = shortest
			if p.add(w) {
				p.offer(w)
			} else {
				w.kill(0, ErrClosed)
			}
			w.wait()
			p.remove(w)
		} else {
			p.options.Log.Warn("sandbox: no worker could be started", "function", p.options.Function, "error", err)
		}
		select {
		case <-p.closed:
			return
		default:
		}
		if err != nil {
			select {
			case <-p.closed:
				return
			case <-time.After(pause):
				pause = min(2*pause, longest)
			}
		}
	}
}

func (p *Pool) start(first bool) (*worker, error) {
	if !first {
		return startWorker(p.options, p.isolation)
	}
	var refusals []error
	for _, i := range isolations() {
		w, err := startWorker(p.options, i)
		if err != nil {
			refusals = append(refusals, err)
			continue
		}
		p.isolation = i
		if i == limitsOnly {
			p.options.Log.Warn("sandbox: workers run under limits, but without namespaces of their own",
				"function", p.options.Function, "reason", errors.Join(refusals...))
		}
		return w, nil
	}
	return nil, errors.Join(refusals...)
}

func (p *Pool) add(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return false
	}
	p.workers[w] = true
	return true
}

func (p *Pool) remove(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.workers, w)
}
