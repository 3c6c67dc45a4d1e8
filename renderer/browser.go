package renderer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-rod/rod/lib/proto"
	"golang.org/x/sys/unix"
)

var (
	errBrowserGone = errors.New("the browser ended")
	errBrowserMute = errors.New("the browser does not answer")
	errPageLost    = errors.New("the page ended before it had a document")
	errPageCrashed = errors.New("the page crashed")
	errPageMoved   = errors.New("the page went to another address")
	errPageClosed  = errors.New("the page closed itself")
)

// browser is one Chromium: its process group, its folder, its connection.
type browser struct {
	*connection
	// life ends, with errBrowserGone, when the browser does.
	life context.Context
	end  context.CancelCauseFunc
	// exited is closed when no process and no file of the browser is left.
	exited  chan struct{}
	command *exec.Cmd
	dir     string
	nowhere string // the address of a proxy that reaches nothing
	stderr  tail

	mu    sync.Mutex
	pages map[proto.TargetSessionID]*page

	// For the Renderer, under its lock.
	uses     int
	live     int // pages that are not disposed of yet
	timeouts int // of documents, in a row
	lost     int // pages that ended as they were made, in a row
	retired  bool
}

// folderPrefix begins the name of a browser's folder; the pid of its owner follows.
const folderPrefix = "platen-chromium-"

// sweep removes the folders that were left behind by processes that were killed.
func sweep(tempDir string) {
	if tempDir == "" {
		tempDir = os.TempDir()
	}
	folders, _ := filepath.Glob(filepath.Join(tempDir, folderPrefix+"*-*")) // the pattern is well-formed
	for _, folder := range folders {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(folder), folderPrefix), "-")
		pid, err := strconv.Atoi(owner)
		if err == nil && pid != os.Getpid() && syscall.Kill(pid, 0) == syscall.ESRCH {
			_ = os.RemoveAll(folder) // of another user, perhaps
		}
	}
}

// startBrowser starts a Chromium and waits until it answers, or ctx ends.
func startBrowser(ctx context.Context, o Options, nowhere string) (*browser, error) {
	dir, err := os.MkdirTemp(o.TempDir, folderPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return nil, err
	}
	b := &browser{exited: make(chan struct{}), dir: dir, nowhere: nowhere, pages: map[proto.TargetSessionID]*page{}}
	b.life, b.end = context.WithCancelCause(context.Background())
	if err := b.start(o); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("Chromium (%s) does not start: %w", o.Executable, err)
	}
	starting, cancel := within(ctx, b.life)
	defer cancel()
	_, err = proto.BrowserGetVersion{}.Call(session{connection: b.connection, ctx: starting})
	if err != nil {
		b.kill()
		<-b.exited
		return nil, fmt.Errorf("Chromium (%s) does not start: %w", o.Executable, b.explain(err))
	}
	offerFirst(b.command.Process.Pid)
	go b.watch(o.Memory, o.Log)
	return b, nil
}

func (b *browser) start(o Options) error {
	b.command = exec.Command(o.Executable, arguments(b.dir, o.Proxy.URL())...)
	// Nothing of our own environment: a page that escapes must find no secrets there.
	b.command.Env = []string{
		"HOME=" + b.dir, "TMPDIR=" + b.dir, "PATH=/usr/bin:/bin", "LANG=C.UTF-8",
		// It would talk to the machine's services, if they are there.
		"DBUS_SYSTEM_BUS_ADDRESS=unix:path=/dev/null", "DBUS_SESSION_BUS_ADDRESS=unix:path=/dev/null",
	}
	b.command.Dir = b.dir
	b.command.Stderr = &b.stderr
	b.command.WaitDelay = 5 * time.Second
	// One that hangs does not see that its pipe has ended.
	b.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		b.command.SysProcAttr.Credential = &syscall.Credential{Uid: o.UID, Gid: o.UID}
		if err := os.Chown(b.dir, int(o.UID), int(o.UID)); err != nil {
			return err
		}
	}
	commandsIn, commandsOut, err := os.Pipe()
	if err != nil {
		return err
	}
	answersIn, answersOut, err := os.Pipe()
	if err != nil {
		commandsIn.Close()
		commandsOut.Close()
		return err
	}
	b.command.ExtraFiles = []*os.File{commandsIn, answersOut}
	b.connection = newConnection(answersIn, commandsOut)
	b.handle("", b.event)
	started := make(chan error, 1)
	onThread(func() {
		// The browser inherits how nice its thread is: another user's process could be made so by CAP_SYS_NICE only.
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, min(niceness()+nicer, 19))
		err := b.command.Start()
		started <- err
		if err != nil {
			return
		}
		// The zombie keeps its number, and so its group, ours until the kill is done.
		for unix.Waitid(unix.P_PID, b.command.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
		b.kill()
		_ = b.command.Wait()
		b.end(errBrowserGone)
		b.hangUp()
		b.removeDir()
		close(b.exited)
	})
	err = <-started
	commandsIn.Close()
	answersOut.Close()
	if err != nil {
		b.hangUp()
		return err
	}
	go func() {
		b.read()
		b.end(errBrowserGone)
		// A browser that hangs up but stays is of no use either.
		b.hangUp()
		b.kill()
	}()
	return nil
}

// nicer is how much less urgent rendering is than all else that the program does: whoever calls, the
// database and the uploads are not to wait for pages, of which more come than there are cores for.
const nicer = 5

// niceness is that of this thread (nice(2)), from -20 to 19.
func niceness() int {
	lack, _ := unix.Getpriority(unix.PRIO_PROCESS, 0) // of 20: the system call has it so that none is an error's
	return 20 - lack
}

// onThread runs f on a thread of its own, which ends with it and not before: the kernel sends the death signal when
// the thread that started a process ends, and Go ends threads as it likes. It is not the first thread of the
// program, which never ends, and is what ps(1) shows of it.
func onThread(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		defer runtime.UnlockOSThread()
		begun := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(begun)
			f()
		}()
		<-begun // on another one, since this is taken
	}()
}

// kill ends every process of the browser. It may be called at any time.
func (b *browser) kill() {
	select {
	case <-b.exited:
	default:
		_ = syscall.Kill(-b.command.Process.Pid, syscall.SIGKILL)
	}
}

// removeDir tries for a while: killed processes take a moment to stop writing.
func (b *browser) removeDir() {
	for range 50 {
		if os.RemoveAll(b.dir) == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// event takes the events of the browser itself: a target went away.
func (b *browser) event(method string, params json.RawMessage) {
	var detached proto.TargetDetachedFromTarget
	if method != detached.ProtoEvent() || json.Unmarshal(params, &detached) != nil {
		return
	}
	b.mu.Lock()
	p := b.pages[detached.SessionID]
	b.mu.Unlock()
	if p != nil {
		p.end(errPageClosed)
	}
}

// explain adds to an error what Chromium itself said about it.
func (b *browser) explain(err error) error {
	said := b.stderr.String()
	switch {
	case strings.Contains(said, "sandbox"):
		return fmt.Errorf("%w: its sandbox is not possible here; apt-get install chromium-sandbox, or allow user namespaces "+
			"(in a container: a seccomp profile that permits them). It said: %s", err, said)
	case said != "":
		return fmt.Errorf("%w. It said: %s", err, said)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("it does not answer within %v", startTimeout)
	}
	return err
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - tailSize; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for line := range strings.Lines(string(t.text)) {
		// It always complains of the desktop services that it does not find.
		if !strings.Contains(line, "dbus") {
			lines = append(lines, line)
		}
	}
	return strings.TrimSpace(strings.Join(lines, ""))
}
