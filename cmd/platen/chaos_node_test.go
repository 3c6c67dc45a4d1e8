package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"platen/embedpg"
)

const (
	chaosToken = "live-token-of-the-chaos-test"
	// asHurriedProgram makes the test binary be a node that is in a hurry to deliver again.
	asHurriedProgram = "TEST_AS_HURRIED_PROGRAM"
)

// init is for the nodes: there is no other way to a setting that has no variable.
func init() {
	if os.Getenv(asHurriedProgram) == "" { // nor is it for the sandbox's workers, which have no environment
		return
	}
	os.Unsetenv(asHurriedProgram)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := serveHurried(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "platen:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serveHurried is serve with short pauses between attempts.
func serveHurried(ctx context.Context) error {
	config, err := load(os.Environ())
	if err != nil {
		return err
	}
	config.retryBase = 200 * time.Millisecond
	p, err := open(ctx, config, newLog(os.Stderr))
	if err != nil {
		return err
	}
	defer p.close()
	fmt.Print(p.greeting())
	return p.run(ctx)
}

// node is a place for a process, which is started again whenever it ends.
type node struct {
	c         *chaos
	name, dir string
	link      *link // to PostgreSQL
	refusing  bool  // of link, under its lock: PostgreSQL takes no connections
	environ   []string
	log       *syncBuffer // of all its lives
	over      chan struct{}

	mu      sync.Mutex
	life    *life
	changed chan struct{} // closed and replaced when a life begins, gets ready or ends
	ending  bool
	seen    map[identity]bool // child processes of lives that were ended
}

// life is one process of a node. What changes of it is under the node's lock.
type life struct {
	node    *node
	cmd     *exec.Cmd
	base    string // once it listens
	ready   bool
	told    syscall.Signal // to end; 0: it was not
	down    time.Duration  // until the next life
	exited  chan struct{}
	exitErr error
}

func (c *chaos) newNode(name string) *node {
	c.t.Helper()
	n := &node{c: c, name: name, dir: filepath.Join(c.dir, name), log: &syncBuffer{}, over: make(chan struct{}), changed: make(chan struct{}), seen: map[identity]bool{}}
	for _, dir := range []string{n.dir, n.temp()} {
		// Chromium's user has to reach its folder.
		if err := os.Mkdir(dir, 0o711); err != nil {
			c.t.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	n.link = newLink(c.t, listener, func() (net.Conn, error) {
		if n.refusing {
			return nil, syscall.ECONNREFUSED
		}
		return net.Dial("unix", c.postgres.socket())
	})
	n.environ = []string{asHurriedProgram + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + n.dir, "TMPDIR=" + n.temp(), testKey,
		"PLATEN_DATA_DIR=" + filepath.Join(n.dir, "data"), "PLATEN_LISTEN=127.0.0.1:0", "PLATEN_BLOB_URL=file://" + c.disk.documents(),
		"PLATEN_BOOTSTRAP_LIVE_TOKEN=" + chaosToken, "PLATEN_EGRESS_ALLOW=127.0.0.0/8",
		"DATABASE_URL=postgres://platen@" + listener.Addr().String() + "/platen?sslmode=disable"}
	return n
}

func (n *node) temp() string { return filepath.Join(n.dir, "tmp") }

// flow lets everything through to PostgreSQL again.
func (n *node) flow() {
	n.accept()
	n.link.speak()
}

// accept lets connections to PostgreSQL come about again.
func (n *node) accept() {
	n.link.mu.Lock()
	defer n.link.mu.Unlock()
	n.refusing = false
}

// begin keeps the node running until end, or until the test is over.
func (n *node) begin() {
	go n.run()
	n.c.t.Cleanup(func() {
		n.mu.Lock()
		n.ending = true
		life := n.life
		n.mu.Unlock()
		if life != nil {
			_ = life.cmd.Process.Kill() // an error means that it has ended
		}
		<-n.over
		if dir := os.Getenv(logsVariable); dir != "" {
			name := filepath.Join(dir, fmt.Sprintf("%d-%s.log", n.c.seed, n.name))
			if err := os.WriteFile(name, []byte(n.log.String()), 0o600); err != nil {
				n.c.t.Error(err)
			}
		}
	})
}

// run starts one process after the other.
func (n *node) run() {
	// The kernel ends the process with the thread that started it: none stays behind
	// when the test is killed itself.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(n.over)
	for {
		life, err := n.start()
		if err != nil {
			n.c.problem("%s: %v", n.name, err)
			return
		}
		if life == nil {
			return
		}
		n.c.count("start of a node")
		err = life.cmd.Wait()
		n.mu.Lock()
		life.exitErr = err
		n.tellChange()
		told, ready, ending := life.told, life.ready, n.ending
		n.mu.Unlock()
		close(life.exited)
		switch {
		case told == syscall.SIGTERM && err != nil:
			n.c.problem("%s was told to stop and ended with %v:\n%s", n.name, err, n.tail())
		case told == 0 && ready && !ending:
			n.c.problem("%s ended by itself: %v\n%s", n.name, err, n.tail())
		case told == 0 && !ending:
			// What it needs is away at the moment. Whoever keeps services running starts
			// it again after a pause.
			n.c.note("%s does not start: %s", n.name, lastLine(n.log.String()))
			n.c.count("start of a node that failed")
			life.down = 200 * time.Millisecond
		}
		if ending {
			return
		}
		time.Sleep(life.down)
	}
}

// start starts a process, unless the end has come.
func (n *node) start() (*life, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ending {
		return nil, nil
	}
	l := &life{node: n, cmd: exec.Command(self, "serve"), exited: make(chan struct{})}
	l.cmd.Env = n.environ
	l.cmd.Stdout, l.cmd.Stderr = &watch{to: n.log, line: l.listens}, &watch{to: n.log, line: l.logs}
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	l.cmd.WaitDelay = 10 * time.Second // a child may have the other end of a pipe for a moment
	if err := l.cmd.Start(); err != nil {
		return nil, err
	}
	n.life = l
	n.tellChange()
	return l, nil
}

// tellChange wakes who waits for the node; its lock is held.
func (n *node) tellChange() {
	close(n.changed)
	n.changed = make(chan struct{})
}

func (l *life) listens(line string) {
	if _, address, found := strings.Cut(line, "listens on "); found {
		l.node.mu.Lock()
		defer l.node.mu.Unlock()
		l.base = strings.TrimSpace(address)
	}
}

func (l *life) logs(line string) {
	if strings.Contains(line, `"msg":"ready"`) {
		l.node.mu.Lock()
		defer l.node.mu.Unlock()
		l.ready = true
		l.node.tellChange()
	}
}

// serves tells whether a process does its work; the node's lock is held.
func (l *life) serves() bool { return l != nil && l.ready && l.told == 0 && !l.over() }

func (l *life) over() bool {
	select {
	case <-l.exited:
		return true
	default:
		return false
	}
}

func (l *life) pid() int { return l.cmd.Process.Pid }

// current is the process that works at the moment, or nil.
func (n *node) current() *life {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.life.serves() {
		return n.life
	}
	return nil
}

// awaitReady is the process that works, or nil if there is none in time.
func (n *node) awaitReady(deadline time.Time) *life {
	late := time.After(time.Until(deadline))
	for {
		n.mu.Lock()
		life, changed := n.life, n.changed
		serves := life.serves()
		n.mu.Unlock()
		if serves {
			return life
		}
		select {
		case <-changed:
		case <-late:
			return nil
		}
	}
}

// address is where the node listens, or "" while it does not work.
func (n *node) address() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.life.serves() {
		return n.life.base
	}
	return ""
}

// kill sends the node's process a signal that ends it; the next begins some time later.
func (n *node) kill(signal syscall.Signal, down time.Duration) (sent bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	life := n.life
	if life == nil || !life.ready || life.over() || life.told == signal || life.told == syscall.SIGKILL {
		return false
	}
	if signal == syscall.SIGKILL {
		_ = life.cmd.Process.Signal(syscall.SIGSTOP) // so that it starts no child more
	}
	for _, pid := range descendants(n.c.t, life.pid()) {
		if one, ok := identify(pid); ok {
			n.seen[one] = true
		}
	}
	if err := life.cmd.Process.Signal(signal); err != nil {
		return false
	}
	life.told, life.down = signal, down
	n.tellChange()
	if signal == syscall.SIGTERM {
		go func() {
			select {
			case <-life.exited:
			case <-time.After(patience):
				_ = life.cmd.Process.Signal(syscall.SIGABRT) // it shows what it is at
				n.c.problem("%s does not stop when it is told to", n.name)
			}
		}()
	}
	return true
}

// end stops the node for good, and waits for it.
func (n *node) end() {
	n.mu.Lock()
	n.ending = true
	n.mu.Unlock()
	if !n.kill(syscall.SIGTERM, 0) {
		n.c.problem("%s is not there to be stopped:\n%s", n.name, n.tail())
	}
	select {
	case <-n.over:
	case <-time.After(2 * patience):
		n.c.problem("%s does not stop:\n%s", n.name, n.tail())
	}
}

// tail is the end of the log.
func (n *node) tail() string {
	text := n.log.String()
	return text[max(0, len(text)-4000):]
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// watch passes on what a process writes, and tells of each line.
type watch struct {
	to   io.Writer
	line func(string)
	rest []byte
}

func (w *watch) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, rest, whole := bytes.Cut(w.rest, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		w.line(string(line))
		if _, err := w.to.Write(append(line, '\n')); err != nil {
			return 0, err
		}
		w.rest = rest
	}
}

// postmaster is the harness's own PostgreSQL, which nobody else misses.
type postmaster struct {
	c       *chaos
	options embedpg.Options

	mu     sync.Mutex
	server *embedpg.Server
}

func (c *chaos) openPostgres() {
	c.t.Helper()
	// What the test writes need not survive a power cut; a killed process loses nothing
	// of what it gave to the kernel.
	p := &postmaster{c: c, options: embedpg.Options{Dir: filepath.Join(c.dir, "postgres"), Settings: map[string]string{"fsync": "off", "max_connections": "300"}}}
	var err error
	if p.server, err = embedpg.Start(c.t.Context(), p.options); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if err := p.server.Stop(); err != nil {
			c.t.Error(err)
		}
	})
	c.postgres = p
	admin, err := sql.Open("postgres", p.server.DSN(""))
	if err != nil {
		c.t.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.ExecContext(c.t.Context(), "create database platen"); err != nil {
		c.t.Fatal(err)
	}
	if c.db, err = sql.Open("postgres", p.server.DSN("platen")); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { c.db.Close() })
}

func (p *postmaster) socket() string { return filepath.Join(p.options.Dir, ".s.PGSQL.5432") }

// kill ends PostgreSQL without a word, and starts it again after a while.
func (p *postmaster) kill(down time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := syscall.Kill(p.server.PID(), syscall.SIGKILL); err != nil {
		p.c.problem("the postmaster: %v", err)
	}
	<-p.server.Done()
	time.Sleep(down)
	server, err := embedpg.Start(context.Background(), p.options)
	if err != nil {
		p.c.problem("PostgreSQL does not start again: %v", err)
		return
	}
	p.server = server
}

// killOne kills one of the processes that the postmaster has started.
func (p *postmaster) killOne(which int) (pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return killOne(p.c.t, p.server.PID(), which, func(command []string) bool { return command[0] == "postgres:" })
}

// identity is a process whose number was not given to another one.
type identity struct {
	pid   int
	start string // in the kernel's ticks
}

func identify(pid int) (identity, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return identity{}, false
	}
	// The name, in brackets, may hold spaces; the start is the 22nd field.
	// https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	return identity{pid, fields[19]}, true
}

// commandOf is the command line of a process; Chromium's own children have it as one
// string.
func commandOf(pid int) []string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.Fields(string(bytes.ReplaceAll(text, []byte{0}, []byte(" "))))
}

// killOne kills one of the processes whose ancestor is this one and whose command line
// matches; 0 says that there was none.
func killOne(t *testing.T, ancestor, which int, match func(command []string) bool) (pid int) {
	var found []identity
	for _, pid := range descendants(t, ancestor) {
		if command := commandOf(pid); len(command) > 0 && match(command) {
			if one, ok := identify(pid); ok {
				found = append(found, one)
			}
		}
	}
	if len(found) == 0 {
		return 0
	}
	slices.SortFunc(found, func(a, b identity) int { return a.pid - b.pid })
	one := found[which%len(found)]
	process, err := os.FindProcess(one.pid)
	if err != nil {
		return 0
	}
	defer process.Release()
	// The handle is of the process that has the number now.
	if now, ok := identify(one.pid); !ok || now != one || process.Signal(syscall.SIGKILL) != nil {
		return 0
	}
	return one.pid
}

// processesOf are the processes that were started with this text in their environment.
func processesOf(text string) (found []int) {
	names, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is well-formed
	for _, name := range names {
		environ, err := os.ReadFile(name)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err == nil && bytes.Contains(environ, []byte(text)) && running(pid) {
			found = append(found, pid)
		}
	}
	return found
}
