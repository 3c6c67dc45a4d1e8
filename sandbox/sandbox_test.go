package sandbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const testUID = 61234

func init() {
	Register("echo", func(in []byte) ([]byte, error) { return in, nil })
	Register("misbehave", misbehave)
}

// misbehave does what its input says, in the worker.
func misbehave(in []byte) ([]byte, error) {
	order, argument, _ := strings.Cut(string(in), " ")
	switch order {
	case "loop":
		//lint:ignore SA5002 spinning is what the test is about
		for {
		}
	case "sleep":
		time.Sleep(time.Hour)
	case "hog":
		var hoard [][]byte
		for {
			//lint:ignore SA4010 hoarding is what the test is about
			hoard = append(hoard, bytes.Repeat([]byte{1}, 1<<20))
		}
	case "recurse":
		var recurse func(int) int
		recurse = func(n int) int { return recurse(n+1) + 1 }
		return []byte{byte(recurse(0))}, nil
	case "fill":
		hoard := bytes.Repeat([]byte{1}, 300<<20)
		return hoard[:1], nil
	case "flood":
		return make([]byte, 2<<20), nil
	case "fail":
		return nil, errors.New("no such thing")
	case "panic":
		panic("broken\ngoroutine 1 [running]: main.secret()")
	case "exit":
		os.Exit(3)
	case "print":
		fmt.Println("hello")
	case "uid":
		return []byte(strconv.Itoa(os.Getuid())), nil
	case "pid":
		return []byte(strconv.Itoa(os.Getpid())), nil
	case "environment":
		return []byte(strings.Join(os.Environ(), " ")), nil
	case "open":
		syscall.Close(2) // the limit on descriptors alone must not be what protects
		_, err := syscall.Open(argument, syscall.O_RDONLY, 0)
		return nil, err
	case "exec":
		return nil, syscall.Exec(argument, []string{argument}, nil)
	case "connect":
		syscall.Close(2)
		s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
		if err != nil {
			return nil, err
		}
		port, _ := strconv.Atoi(argument)
		return nil, syscall.Connect(s, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	}
	return in, nil
}

func TestMain(m *testing.M) {
	Main()
	if os.Getenv("SANDBOX_TEST_PARENT") != "" {
		parent()
	}
	os.Exit(m.Run())
}

// parent is a program with a pool: it prints the pid of its worker, has it
// loop, and waits to be killed.
func parent() {
	o := options()
	o.Workers, o.Limits.CPU, o.Limits.Wall = 1, time.Hour, time.Hour
	p, err := NewPool(o)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	uid, err := p.Call(context.Background(), []byte("uid"))
	for w := range p.workers {
		fmt.Println(w.cmd.Process.Pid, string(uid), err)
	}
	p.Call(context.Background(), []byte("loop"))
}

func options() Options {
	return Options{
		Function: "misbehave",
		Workers:  2,
		Limits:   Limits{Memory: 128 << 20, CPU: 10 * time.Second, Wall: 20 * time.Second, Output: 1 << 20, Input: 1 << 20},
		UID:      testUID,
	}
}

func newPool(t *testing.T, change func(*Options)) *Pool {
	t.Helper()
	o := options()
	if change != nil {
		change(&o)
	}
	p, err := NewPool(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func mustCall(t *testing.T, p *Pool, in string) string {
	t.Helper()
	out, err := p.Call(context.Background(), []byte(in))
	if err != nil {
		t.Fatalf("%.20s: %v", in, err)
	}
	return string(out)
}

func TestAnswersAreTheBytesOfTheFunction(t *testing.T) {
	t.Parallel()
	p := newPool(t, func(o *Options) { o.Function = "echo" })
	for _, in := range []string{"", "a", strings.Repeat("0123456789abcdef", 1<<16)} {
		if out := mustCall(t, p, in); out != in {
			t.Errorf("%d bytes became %d", len(in), len(out))
		}
	}
}

func TestEachLimitEndsTheCallAndTheNextOneWorks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limit, order string
		change       func(*Limits)
	}{
		{"cpu", "loop", func(l *Limits) { l.CPU = 200 * time.Millisecond }},
		{"time", "sleep", func(l *Limits) { l.Wall = 200 * time.Millisecond }},
		{"memory", "hog", func(l *Limits) {}},
		{"memory", "recurse", func(l *Limits) {}},
		{"output", "flood", func(l *Limits) {}},
		{"input", strings.Repeat("x", 2<<20), func(l *Limits) {}},
	} {
		t.Run(c.limit+" "+c.order[:3], func(t *testing.T) {
			t.Parallel()
			p := newPool(t, func(o *Options) { o.Workers = 1; c.change(&o.Limits) })
			for range 2 {
				_, err := p.Call(context.Background(), []byte(c.order))
				var limit *LimitError
				if !errors.As(err, &limit) || limit.Limit != c.limit {
					t.Fatalf("got %v, want the limit of %s", err, c.limit)
				}
				mustCall(t, p, "next")
			}
		})
	}
}

func TestTheCPULimitCountsEachCallForItself(t *testing.T) {
	t.Parallel()
	p := newPool(t, func(o *Options) { o.Workers = 1 })
	pid := mustCall(t, p, "pid")
	w := <-p.idle
	// Use far more than the limit in the life of the process, but not in a call.
	p.idle <- w
	p.options.Limits.CPU = w.cpuTime()/2 + time.Millisecond
	for range 50 {
		mustCall(t, p, "pid")
	}
	if again := mustCall(t, p, "pid"); again != pid {
		t.Errorf("worker %s was replaced by %s", pid, again)
	}
}

func TestErrorsAndPanicsOfTheFunctionAreItsMessageAlone(t *testing.T) {
	t.Parallel()
	p := newPool(t, func(o *Options) { o.Workers = 1 })
	for order, want := range map[string]string{"fail": "no such thing", "panic": "broken"} {
		_, err := p.Call(context.Background(), []byte(order))
		var function *FunctionError
		if !errors.As(err, &function) || function.Message != want {
			t.Errorf("%s: got %v, want %q", order, err, want)
		}
	}
}

func TestAWorkerThatEndsInACallIsAnErrorAndIsReplaced(t *testing.T) {
	t.Parallel()
	p := newPool(t, func(o *Options) { o.Workers = 1 })
	_, err := p.Call(context.Background(), []byte("exit"))
	if err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v", err)
	}
	mustCall(t, p, "next")
}

// R9.2: whatever happens to a worker from outside, in a call or before it, the call ends
// within its limits, the next one works, and nothing is left of the process.
func TestR9_2AWorkerThatIsStoppedOrKilledEndsItsCallAlone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		signal syscall.Signal
		idle   bool // before the call
		want   string
	}{
		{"stopped in a call", syscall.SIGSTOP, false, "sandbox: the limit of time was reached"},
		{"stopped before a call", syscall.SIGSTOP, true, "sandbox: the limit of time was reached"},
		{"killed in a call", syscall.SIGKILL, false, "sandbox: the worker died with signal: killed"},
		{"killed before a call", syscall.SIGKILL, true, ""}, // another one takes it
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const wall = 3 * time.Second
			p := newPool(t, func(o *Options) { o.Workers, o.Limits.Wall = 1, wall })
			struck := map[*worker]bool{}
			strike := func(w *worker) {
				struck[w] = true
				if err := syscall.Kill(w.cmd.Process.Pid, c.signal); err != nil {
					t.Error(err)
				}
			}
			order := "sleep"
			done := make(chan struct{})
			var striking sync.WaitGroup
			if c.idle {
				order = "next"
				w := <-p.idle
				strike(w)
				p.idle <- w
			} else {
				striking.Go(func() {
					// A call is tried again on two more workers.
					for {
						p.mu.Lock()
						for w := range p.workers {
							if w.serves(1) && !struck[w] {
								strike(w)
							}
						}
						p.mu.Unlock()
						select {
						case <-done:
							return
						case <-time.After(time.Millisecond):
						}
					}
				})
			}
			began := time.Now()
			_, err := p.Call(context.Background(), []byte(order))
			took := time.Since(began)
			close(done)
			striking.Wait()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if took > wall+2*time.Second {
				t.Errorf("the call took %v", took)
			}
			mustCall(t, p, "next")
			if len(struck) == 0 {
				t.Error("no worker was struck")
			}
			for w := range struck {
				<-w.gone
				if err := syscall.Kill(w.cmd.Process.Pid, 0); err != syscall.ESRCH {
					t.Errorf("process %d: %v", w.cmd.Process.Pid, err)
				}
			}
		})
	}
}

func TestADeadIdleWorkerIsNeverSeenByACall(t *testing.T) {
	t.Parallel()
	p := newPool(t, func(o *Options) { o.Workers = 1 })
	for range 20 {
		w := <-p.idle
		w.cmd.Process.Kill()
		p.idle <- w // whether or not its death was noticed
		mustCall(t, p, "next")
	}
}

func TestWorkersThatDieIdleAreReplacedAndThePoolCanBeClosed(t *testing.T) {
	t.Parallel()
	p := newPool(t, nil)
	for range 10 {
		p.mu.Lock()
		var idle *worker
		for idle = range p.workers {
			break
		}
		p.mu.Unlock()
		if idle != nil {
			idle.cmd.Process.Kill()
			<-idle.gone
		}
	}
	mustCall(t, p, "next")
	p.Close()
}

func TestAWorkerThatCameNearItsMemoryLimitServesNoOtherCall(t *testing.T) {
	t.Parallel()
	p := newPool(t, func(o *Options) { o.Workers, o.Limits.Memory = 1, 512<<20 }) // room for what is filled in arenas of 64 MB
	worker := func() (found *worker) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for found = range p.workers {
			break
		}
		return found
	}
	w := worker()
	mustCall(t, p, "small")
	if w.dead() {
		t.Error("an ordinary call ended the worker")
	}
	for range 3 {
		mustCall(t, p, "fill")
	}
	<-w.gone
	mustCall(t, p, "next")
}

func TestPrintsOfTheFunctionDoNotReachTheAnswer(t *testing.T) {
	t.Parallel()
	p := newPool(t, nil)
	if out := mustCall(t, p, "print"); out != "print" {
		t.Errorf("got %q", out)
	}
}

func TestManyCallersShareFewWorkers(t *testing.T) {
	t.Parallel()
	p := newPool(t, func(o *Options) { o.Function = "echo" })
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for k := range 200 {
				in := bytes.Repeat(binary.LittleEndian.AppendUint32(nil, uint32(i<<16|k)), 1+k*20)
				out, err := p.Call(context.Background(), in)
				if err != nil || !bytes.Equal(in, out) {
					t.Errorf("caller %d, call %d: %v", i, k, err)
					return
				}
			}
		})
	}
	callers.Wait()
}

func TestTheEndOfTheContextEndsACall(t *testing.T) {
	t.Parallel()
	p := newPool(t, func(o *Options) { o.Workers = 1 })
	for _, order := range []string{"loop", "sleep"} {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		started := time.Now()
		if _, err := p.Call(ctx, []byte(order)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if d := time.Since(started); d > 20*time.Second {
			t.Errorf("the call took %v", d)
		}
		mustCall(t, p, "next")
	}
}

func TestTheEndOfTheContextEndsTheWaitForAWorker(t *testing.T) {
	t.Parallel()
	p := newPool(t, func(o *Options) { o.Workers = 1 })
	w := <-p.idle
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.Call(ctx, []byte("next")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	p.idle <- w
	mustCall(t, p, "next")
}

func TestCloseEndsRunningCallsAndLeavesNoProcess(t *testing.T) {
	t.Parallel()
	p := newPool(t, nil)
	var pids []int
	for range p.options.Workers {
		w := <-p.idle
		pids = append(pids, w.cmd.Process.Pid)
		p.idle <- w
	}
	ended := make(chan error)
	go func() {
		_, err := p.Call(context.Background(), []byte("loop"))
		ended <- err
	}()
	for busy := false; !busy; {
		p.mu.Lock()
		for w := range p.workers {
			busy = busy || w.serves(1)
		}
		p.mu.Unlock()
	}
	p.Close()
	if err := <-ended; err != ErrClosed {
		t.Errorf("the running call got %v", err)
	}
	if _, err := p.Call(context.Background(), nil); err != ErrClosed {
		t.Errorf("a later call got %v", err)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
			t.Errorf("process %d: %v", pid, err)
		}
	}
	p.Close() // again does no harm
}

func TestAWorkerDiesWithItsParentEvenInTheMiddleOfACall(t *testing.T) {
	t.Parallel()
	pid, _ := startParent(t, "/proc/self/exe", 0)
	awaitEnd(t, pid)
}

// A program under /root can be read by root alone, and the workers' user must
// be able to run it all the same.
func TestWorkersStartFromAProgramThatOthersCannotReach(t *testing.T) {
	t.Parallel()
	program := copyOfThisProgram(t, 0o700)
	_, uid := startParent(t, program, 0)
	if os.Getuid() == 0 && uid != testUID {
		t.Errorf("the worker has uid %d, want %d", uid, testUID)
	}
}

// When this test runs as root, it also covers the way without root.
func TestWorkersStartWithoutRoot(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		startParent(t, "/proc/self/exe", 0)
		return
	}
	pid, _ := startParent(t, copyOfThisProgram(t, 0o755), 65534)
	awaitEnd(t, pid)
}

func copyOfThisProgram(t *testing.T, folderMode os.FileMode) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "sandbox-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	if err := os.Chmod(folder, folderMode); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(folder, "program")
	// A child that is being forked meanwhile would hold the file open for writing,
	// and a file that is open for writing cannot be executed.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(program, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return program
}

// startParent runs parent in a process of its own, kills it when its worker is
// in a call, and returns the worker's pid and uid.
func startParent(t *testing.T, program string, uid uint32) (int, int) {
	t.Helper()
	c := exec.Command(program)
	c.Env = []string{"SANDBOX_TEST_PARENT=1"}
	c.Dir = "/"
	if uid != 0 {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var workerPID, workerUID int
	var text string
	_, err = fmt.Fscanln(out, &workerPID, &workerUID, &text)
	c.Process.Kill()
	c.Wait()
	if err != nil || text != "<nil>" {
		t.Fatalf("the parent said %v %q", err, text)
	}
	return workerPID, workerUID
}

func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
		if err == unix.EINTR {
			continue
		}
		if n != 1 {
			t.Fatalf("process %d outlived its parent: %v", pid, err)
		}
		return
	}
}

func TestAWorkerReachesNeitherFilesNorNetworkNorOurEnvironment(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newPool(t, nil)
	if p.isolation == limitsOnly {
		t.Log("this machine allows no namespaces: what is tested is the limit on descriptors")
	}
	for _, order := range []string{"open " + secret, "open /etc/passwd", "open /proc/self/status", "connect " + port, "exec /bin/sh"} {
		bounded, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := p.Call(bounded, []byte(order))
		if err == nil || bounded.Err() != nil { // a shell would never answer
			t.Errorf("%s worked: %v", order, err)
		}
		cancel()
	}
	if environment := mustCall(t, p, "environment"); environment != "" {
		t.Errorf("environment %q", environment)
	}
	if uid := mustCall(t, p, "uid"); os.Getuid() == 0 && p.isolation == namespaces && uid != strconv.Itoa(testUID) {
		t.Errorf("uid %s", uid)
	}
}

// The way for machines without namespaces works here as well.
func TestLimitsAloneKeepUserFilesAndNetworkAway(t *testing.T) {
	t.Parallel()
	o := options()
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	p := &Pool{options: o, isolation: limitsOnly, idle: make(chan *worker, 1), closed: make(chan struct{}), workers: map[*worker]bool{}}
	p.keepers.Go(func() { p.keep(nil) })
	defer p.Close()
	if uid := mustCall(t, p, "uid"); os.Getuid() == 0 && uid != strconv.Itoa(testUID) {
		t.Errorf("uid %s", uid)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Call(context.Background(), []byte("hog")); !errors.As(err, new(*LimitError)) {
		t.Errorf("got %v", err)
	}
	if _, err := p.Call(context.Background(), []byte("open "+secret)); err == nil && os.Getuid() == 0 {
		t.Error("a file of root's was opened")
	}
	mustCall(t, p, "next")
}

func TestTheWorkersNameStartsNothingByAccident(t *testing.T) {
	t.Parallel()
	for _, c := range []*exec.Cmd{
		{Path: "/proc/self/exe", Args: []string{workerName}},
		{Path: "/proc/self/exe", Args: settings{"echo", 1 << 27, 1, 1, 0, false}.args()}, // with our environment
	} {
		out, err := c.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "this name is for workers") {
			t.Errorf("got %v: %s", err, out)
		}
	}
}

func TestAPoolWithoutAFunctionOrALimitIsRefused(t *testing.T) {
	t.Parallel()
	for _, change := range []func(*Options){
		func(o *Options) { o.Function = "unknown" },
		func(o *Options) { o.Workers = 0 },
		func(o *Options) { o.Limits.Memory = 0 },
		func(o *Options) { o.Limits.Wall = 0 },
	} {
		o := options()
		change(&o)
		if p, err := NewPool(o); err == nil {
			p.Close()
			t.Errorf("%+v was accepted", o)
		}
	}
}

func BenchmarkCall(b *testing.B) {
	for _, size := range []int{100, 10_000, 1_000_000} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			o := options()
			o.Function = "echo"
			p, err := NewPool(o)
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			in := make([]byte, size)
			for b.Loop() {
				if _, err := p.Call(context.Background(), in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
