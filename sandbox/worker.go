package sandbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// startTime bounds the time until a new worker reports that it is ready. It is
// long because a loaded machine must not look like a broken one.
const startTime = 20 * time.Second

// errDied says that a worker ended for a reason that is not a limit's: it was
// dead before the call, the machine killed it, or the function ended it.
var errDied = errors.New("sandbox: the worker died")

// errRetired is why a worker was killed that asked for it.
var errRetired = errors.New("sandbox: the worker holds too much memory to go on")

// isolation is how a worker is kept apart from the machine.
type isolation string

const (
	namespaces     isolation = "namespaces"      // root: namespaces, an empty root folder, another user
	userNamespaces isolation = "user-namespaces" // the same in a user namespace, as ourselves
	limitsOnly     isolation = "limits"          // rlimits, and another user when we are root
)

// isolations are the ways to try, the best one first.
func isolations() []isolation {
	if !defended {
		return []isolation{limitsOnly}
	}
	if os.Geteuid() == 0 {
		return []isolation{namespaces, userNamespaces, limitsOnly}
	}
	return []isolation{userNamespaces, limitsOnly}
}

func (i isolation) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		Setpgid:   true, // Ctrl-C at the terminal is for the program, which still needs its workers
	}
	if i == limitsOnly {
		return a
	}
	a.Cloneflags = unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWPID
	if i == userNamespaces {
		a.Cloneflags |= unix.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return a
}

// worker is the parent's side of a child process.
type worker struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.ReadCloser
	stderr head
	gone   chan struct{} // closed when the process was waited for

	mu      sync.Mutex
	calls   int   // that it was taken for, so far
	current int   // the number of the call that is running; 0: none
	reason  error // why it was killed; nil if it was not
}

// startWorker returns a worker that said it is ready. The calling goroutine
// must stay locked to its thread until the worker is gone.
func startWorker(o Options, i isolation) (*worker, error) {
	uid := o.UID
	if os.Geteuid() != 0 || i == userNamespaces {
		uid = 0 // only root can change users, and the namespace knows no other one
	}
	w := &worker{gone: make(chan struct{})}
	// The program is named by a link of the kernel's that needs no path, and
	// the worker changes its user itself: it may not be allowed into the folder
	// that holds the program.
	w.cmd = exec.Command("/proc/self/exe")
	w.cmd.Args = settings{o.Function, o.Limits.Memory, o.Limits.Input, o.Limits.Output, uid, i != limitsOnly}.args()
	w.cmd.Env = []string{}
	w.cmd.Dir = "/"
	w.cmd.SysProcAttr = i.attributes()
	w.cmd.Stderr = &w.stderr
	w.cmd.WaitDelay = time.Second
	var err error
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if w.out, err = w.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("sandbox: starting a worker: %w", err)
	}
	out := w.out.(*os.File)
	out.SetReadDeadline(time.Now().Add(startTime))
	hello := make([]byte, len(ready))
	if _, err := io.ReadFull(out, hello); err != nil || string(hello) != ready {
		w.cmd.Process.Kill()
		w.wait()
		return nil, fmt.Errorf("sandbox: a worker did not get ready: %w", w.death())
	}
	out.SetReadDeadline(time.Time{})
	return w, nil
}

// call sends the request and awaits the answer. It blocks in plain reads and
// writes: whatever ends the call early kills the process, which closes the
// pipes.
func (w *worker) call(ctx context.Context, in []byte, l Limits) ([]byte, error) {
	number := w.calls // taken by us: it does not change
	stop := context.AfterFunc(ctx, func() { w.kill(number, ctx.Err()) })
	defer stop()
	guard := w.guard(number, l)
	defer guard.Stop()

	err := w.send(in)
	var a answer
	if err == nil {
		a, err = w.receive(l)
	}
	if err != nil {
		// Anything but an answer: the process is dead, or not to be trusted.
		w.cmd.Process.Kill()
		<-w.gone
		if reason := w.killReason(); reason != nil {
			return nil, reason
		}
		return nil, w.diagnose(l)
	}
	if a.last {
		w.kill(number, errRetired)
	}
	return a.unpack()
}

// guard kills the process when the call has used up its time. CPU time is read
// from the process's clock, because RLIMIT_CPU counts the life of a process
// and not a call.
func (w *worker) guard(number int, l Limits) *time.Timer {
	if !defended {
		l.CPU, l.Wall = math.MaxInt64, math.MaxInt64
	}
	started, cpu := time.Now(), w.cpuTime()
	next := func(cpuLeft, wallLeft time.Duration) time.Duration {
		// The collector may use a second core: look twice as early.
		return min(max(cpuLeft/2, 5*time.Millisecond), wallLeft)
	}
	var t *time.Timer
	t = time.AfterFunc(time.Hour, func() {
		cpuLeft, wallLeft := l.CPU-(w.cpuTime()-cpu), l.Wall-time.Since(started)
		switch {
		case cpuLeft <= 0:
			w.kill(number, &LimitError{"cpu"})
		case wallLeft <= 0:
			w.kill(number, &LimitError{"time"})
		case w.serves(number):
			t.Reset(next(cpuLeft, wallLeft))
		}
	})
	t.Reset(next(l.CPU, l.Wall))
	return t
}

// cpuTime is the CPU time that the process has used so far, 0 when it is gone.
func (w *worker) cpuTime() time.Duration {
	const schedClock = 2 // CPUCLOCK_SCHED of all threads, see clock_getcpuclockid(3)
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^w.cmd.Process.Pid<<3|schedClock), &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

func (w *worker) send(in []byte) error {
	var header [4]byte
	binary.LittleEndian.PutUint32(header[:], uint32(len(in)))
	if _, err := w.in.Write(header[:]); err != nil {
		return err
	}
	_, err := w.in.Write(in)
	return err
}

func (w *worker) receive(l Limits) (answer, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(w.out, header[:]); err != nil {
		return answer{}, err
	}
	a := answer{status: header[0], last: header[1] != 0}
	size := binary.LittleEndian.Uint32(header[2:])
	if uint64(size) > uint64(max(l.Output, maxMessage)) && defended {
		return answer{}, errors.New("sandbox: a worker sent more than it may")
	}
	a.body = make([]byte, size)
	_, err := io.ReadFull(w.out, a.body)
	return a, err
}

// diagnose says why a process that was not killed by us ended in a call.
func (w *worker) diagnose(l Limits) error {
	text := w.stderr.String()
	usage, _ := w.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	for _, sign := range []string{"out of memory", "cannot allocate memory", "stack overflow", "stack exceeds", "pthread_create failed", "new OS thread", "failed to allocate"} {
		if strings.Contains(text, sign) {
			return &LimitError{"memory"}
		}
	}
	if usage != nil && uint64(usage.Maxrss)<<10 > l.Memory/4*3 {
		return &LimitError{"memory"}
	}
	return w.death()
}

// death describes the end of a process that was waited for.
func (w *worker) death() error {
	line, _, _ := strings.Cut(w.stderr.String(), "\n")
	return fmt.Errorf("%w with %v: %s", errDied, w.cmd.ProcessState, line)
}

// wait returns when the process is gone.
func (w *worker) wait() {
	w.cmd.Wait()
	close(w.gone)
}

// take reserves the worker for a call, unless it is dead or dying.
func (w *worker) take() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reason != nil || w.dead() {
		return false
	}
	w.calls++
	w.current = w.calls
	return true
}

// release ends a call and reports whether the worker can serve another.
func (w *worker) release() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.current = 0
	return w.reason == nil && !w.dead()
}

// dead reports whether the process is known to be gone.
func (w *worker) dead() bool {
	select {
	case <-w.gone:
		return true
	default:
		return false
	}
}

// kill ends the process if it serves the call of this number; 0 ends it
// whatever it does. The first reason counts.
func (w *worker) kill(number int, reason error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reason != nil || (number != 0 && number != w.current) {
		return
	}
	w.reason = reason
	w.cmd.Process.Kill()
}

func (w *worker) serves(number int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.current == number
}

func (w *worker) killReason() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reason
}

// head keeps the beginning of what is written to it, where a Go program that
// dies says why.
type head struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (h *head) Write(p []byte) (int, error) {
	const most = 4 << 10
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buf.Write(p[:min(len(p), most-h.buf.Len())])
	return len(p), nil
}

func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.buf.String()
}
