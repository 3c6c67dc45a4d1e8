// Package embedpg runs a private PostgreSQL as a child process, from the
// binaries installed on the machine, in a folder of the product's own. It is
// reached through a unix socket in that folder and never listens on the network.
//
// The server cannot outlive the process that started it, and a folder serves
// one process at a time. No existing data directory is ever deleted.
package embedpg

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lib/pq"
)

const (
	role       = "platen" // the superuser that initdb creates
	socketName = ".s.PGSQL.5432"

	// How long a start is tried again while processes of a dead server that we
	// may not see or signal hold its shared memory.
	sharedMemoryPatience = 20 * time.Second
	sharedMemoryPause    = 250 * time.Millisecond
)

// ErrInUse says that another process runs the server of a folder.
var ErrInUse = errors.New("is in use by another process")

var errSharedMemoryHeld = errors.New("the shared memory of the previous server is still in use")

// escalation is how a server is stopped: fast (sessions end, a checkpoint is
// written), then immediate, then killed. Committed data survives all three.
var escalation = []struct {
	signal syscall.Signal
	grace  time.Duration
}{
	{syscall.SIGINT, 30 * time.Second},
	{syscall.SIGQUIT, 5 * time.Second},
	{syscall.SIGKILL, 5 * time.Second},
}

// Options say where and how the server runs.
type Options struct {
	// Dir is a folder of its own, created when missing: mode 0700, owned by the
	// user PostgreSQL runs as, which is "postgres" when this process is root.
	Dir string
	// BinDir holds initdb and postgres. Empty means the binaries installed on
	// the machine: those of the data's version, or the newest for new data.
	BinDir string
	// Log may be nil. PostgreSQL itself logs to postgres.log in Dir.
	Log *slog.Logger
	// Settings are further settings of postgresql.conf. They win over the
	// defaults, but cannot open the server to the network. fsync=off also
	// spares the syncs of the first start.
	Settings map[string]string
}

// Server is a running PostgreSQL.
type Server struct {
	dir, data string
	uid       uint32
	log       *slog.Logger
	lock      *os.File
	output    *os.File // postgres.log
	outputAt  int64    // where this server's part of it begins
	cmd       *exec.Cmd
	stopping  atomic.Bool
	stop      sync.Once
	stopErr   error
	done      chan struct{}
	err       error // set before done is closed
}

// Start returns once the server accepts connections. The first start in a
// folder creates the database; one after a crash replays its log, however long
// that takes, so ctx is the only time limit. Ending ctx later has no effect on
// the server.
//
// The error is ErrNotInstalled when the machine has no PostgreSQL. Otherwise it
// says what is in the way and what to do: the folder is in use by another
// process, was made by another major version, cannot be written to, or cannot be
// entered by the user PostgreSQL runs as, its disk is full, its path is too long for
// a socket, or postgres ended, with the last lines of its log.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	deadline := time.Now().Add(sharedMemoryPatience)
	for {
		s, err := start(ctx, o)
		if err == nil {
			return s, nil
		}
		if !errors.Is(err, errSharedMemoryHeld) || time.Now().After(deadline) {
			return nil, err
		}
		o.Log.Warn("the previous PostgreSQL still holds its shared memory; trying again", "dir", o.Dir)
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-time.After(sharedMemoryPause):
		}
	}
}

func start(ctx context.Context, o Options) (*Server, error) {
	dir, existing, err := resolve(o.Dir)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	// What can be refused without touching the folder comes first.
	if err := checkDSN(dir); err != nil {
		return nil, err
	}
	bin, err := findBinaries(ctx, o.BinDir, data)
	if err != nil {
		return nil, err
	}
	who, err := unprivileged()
	if err != nil {
		return nil, err
	}
	if existing == dir {
		existing = filepath.Dir(dir) // dir itself may still have to be given away
	}
	if err := who.mustEnter(ctx, existing, bin); err != nil {
		return nil, err
	}
	if err := who.prepare(dir); err != nil {
		return nil, explain(dir, err)
	}
	if err := who.mustEnter(ctx, dir, bin); err != nil { // a umask may have closed new parents
		return nil, err
	}
	lock, err := acquire(dir)
	if err != nil {
		return nil, explain(dir, err)
	}
	s := &Server{dir: dir, data: data, uid: who.uid, log: o.Log, lock: lock, done: make(chan struct{})}
	if err := s.launch(ctx, bin, who, o.Settings); err != nil {
		release(lock)
		return nil, explain(dir, err)
	}
	if err := s.ready(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	o.Log.Info("PostgreSQL is ready", "dir", dir, "pid", s.PID(), "binaries", bin)
	return s, nil
}

// launch leaves a running child, watched by a goroutine, or an error.
func (s *Server) launch(ctx context.Context, bin string, who account, settings map[string]string) error {
	if err := initialise(ctx, s.dir, s.data, bin, who, settings["fsync"] == "off", s.log); err != nil {
		return err
	}
	if err := stopProcesses(ctx, s.data, s.uid, s.log); err != nil {
		return err
	}
	output, err := openLog(s.dir)
	if err != nil {
		return err
	}
	end, err := output.Stat()
	if err != nil {
		output.Close()
		return fmt.Errorf("read the PostgreSQL log: %w", err)
	}
	s.output, s.outputAt = output, end.Size()

	s.cmd = exec.Command(filepath.Join(bin, "postgres"), arguments(s.dir, s.data, settings)...)
	s.cmd.Dir, s.cmd.Env = s.dir, environment(bin)
	// A stale postmaster.pid names a process that may since be a stranger's, or a
	// thread of ours after a container's restart, and postgres would refuse to
	// start. That none is a postgres of this folder has just been made sure; this
	// variable, meant for pg_ctl, makes postgres accept it. The check of the
	// shared memory stays in force.
	if pid := postmasterPID(s.data); pid > 0 {
		s.cmd.Env = append(s.cmd.Env, "PG_GRANDPARENT_PID="+strconv.Itoa(pid))
	}
	s.cmd.Stdout, s.cmd.Stderr = output, output
	s.cmd.SysProcAttr = who.attributes(syscall.SIGINT)

	started := make(chan error)
	go func() {
		// The parent death signal fires when the thread that forked ends, not
		// the process: the thread is kept for as long as the child lives.
		runtime.LockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			s.ended(s.cmd.Wait())
		}
	}()
	if err := <-started; err != nil {
		output.Close()
		return fmt.Errorf("start PostgreSQL in %s as %s: %w", s.dir, who.name, err)
	}
	return nil
}

// ended runs once, when the postmaster is gone.
func (s *Server) ended(exit error) {
	// A killed postmaster leaves its backends behind for a moment.
	leftovers := stopProcesses(context.Background(), s.data, s.uid, s.log)
	if !s.stopping.Load() {
		how := "it was told to shut down"
		if exit != nil {
			how = exit.Error()
		}
		lines := tail(s.output, s.outputAt)
		s.err = fmt.Errorf("PostgreSQL in %s ended by itself (%s); the end of %s:\n%s", s.dir, how, s.output.Name(), lines)
		if strings.Contains(lines, "pre-existing shared memory block") {
			s.err = fmt.Errorf("%w: %w", errSharedMemoryHeld, s.err)
		}
	}
	s.err = errors.Join(explain(s.dir, s.err), leftovers)
	s.output.Close()
	release(s.lock)
	close(s.done)
}

// explain puts what to do in front of an error that says no more than what went wrong.
// What initdb and postgres say is English: see environment.
func explain(dir string, err error) error {
	var errno syscall.Errno
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), strings.Contains(err.Error(), "No space left on device"):
		return fmt.Errorf("the disk of %s is full: make room on it, and what was committed is there again; %w", dir, err)
	case errors.As(err, &errno) && (errno == syscall.EROFS || errno == syscall.EACCES || errno == syscall.EPERM):
		return fmt.Errorf("the folder %s cannot be written to: change that, or choose another with PLATEN_DATA_DIR; %w", dir, err)
	}
	return err
}

// ready waits until the server answers a query.
func (s *Server) ready(ctx context.Context) error {
	db, err := sql.Open("postgres", s.DSN(""))
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL in %s: %w", s.dir, err)
	}
	defer db.Close()
	for {
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		err := db.PingContext(attempt)
		cancel()
		if err == nil {
			return nil
		}
		// Class 57 is "starting up" and its like; any other answer of the server
		// is final, while no answer is not.
		var answer *pq.Error
		if errors.As(err, &answer) && answer.Code.Class() != "57" {
			return fmt.Errorf("PostgreSQL in %s refuses the connection: %w", s.dir, err)
		}
		select {
		case <-s.done:
			return s.err
		case <-ctx.Done():
			return fmt.Errorf("waiting for PostgreSQL in %s to accept connections: %w (last answer: %w)", s.dir, ctx.Err(), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// DSN is the connection string for a database of this server, in the keyword
// form of lib/pq. Empty means the database "postgres".
func (s *Server) DSN(database string) string {
	if database == "" {
		database = "postgres"
	}
	return dsn(s.dir, database)
}

// RunningDSN is the connection string for the server of a folder that another
// process runs, after Start said ErrInUse.
func RunningDSN(dir, database string) (string, error) {
	dir, _, err := resolve(dir)
	if err != nil {
		return "", err
	}
	return dsn(dir, database), nil
}

func dsn(dir, database string) string {
	return fmt.Sprintf("host=%s port=5432 user=%s dbname=%s sslmode=disable", quote(dir), role, quote(database))
}

// checkDSN refuses an environment in which lib/pq would connect elsewhere:
// PGHOSTADDR and PGSERVICE win over what a connection string says.
func checkDSN(dir string) error {
	c, err := pq.NewConfig(dsn(dir, "postgres"))
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL in %s: %w; unset the PG... variables of the environment", dir, err)
	}
	if c.Host != dir || c.Port != 5432 || c.Hostaddr.IsValid() || len(c.Multi) > 0 {
		return errors.New("a variable of the environment (PGHOSTADDR, PGHOST or PGSERVICE) leads connections away from the private PostgreSQL; unset it, or set DATABASE_URL to use a server of your own")
	}
	return nil
}

// Done is closed when the server has ended, by itself or by Stop, and none of
// its processes is left. The folder is then free for another Start.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err says, after Done, why the server ended by itself, with the last lines of
// its log. It is nil before, and after a Stop.
func (s *Server) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// PID is the process id of the postmaster.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Stop ends all sessions, waits for the checkpoint and for the last process to
// end, and insists when that takes too long; what was committed is kept in any
// case. It may be called again, from any goroutine, and after the server ended.
// The error says which process could not be stopped.
func (s *Server) Stop() error {
	s.stop.Do(func() {
		s.stopping.Store(true)
		for i, step := range escalation {
			if i > 0 {
				s.log.Warn("PostgreSQL does not stop; insisting", "dir", s.dir, "pid", s.PID(), "signal", step.signal)
			}
			_ = s.cmd.Process.Signal(step.signal) // an error means that it has ended
			select {
			case <-s.done:
				return
			case <-time.After(step.grace):
			}
		}
		s.stopErr = fmt.Errorf("PostgreSQL in %s (process %d) does not stop, not even when killed", s.dir, s.PID())
	})
	return s.stopErr
}

// initialise creates the data directory unless there is one.
func initialise(ctx context.Context, dir, data, bin string, who account, noSync bool, log *slog.Logger) error {
	if _, err := os.Lstat(data); err == nil {
		return nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("open the PostgreSQL data directory: %w", err)
	}
	// Made aside and renamed, so that an interrupted first start leaves nothing
	// that looks like a data directory.
	aside := data + ".new"
	if err := stopProcesses(ctx, aside, who.uid, log); err != nil {
		return err
	}
	if err := os.RemoveAll(aside); err != nil {
		return fmt.Errorf("remove the remains of an interrupted first start: %w", err)
	}
	log.Info("creating the PostgreSQL data directory", "dir", data)
	args := []string{"--pgdata=" + aside, "--username=" + role, "--auth=trust", "--encoding=UTF8",
		"--locale=C.UTF-8", "--data-checksums", "--no-instructions"}
	if noSync {
		args = append(args, "--no-sync")
	}
	c := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), args...)
	c.Dir, c.Env, c.SysProcAttr = dir, environment(bin), who.attributes(syscall.SIGTERM)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = 10 * time.Second
	runtime.LockOSThread() // as in launch
	defer runtime.UnlockOSThread()
	if out, err := c.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("create the PostgreSQL data directory %s: initdb: %w; its output:\n%s", data, err, lastLines(string(out)))
	}
	if err := os.Rename(aside, data); err != nil {
		return fmt.Errorf("create the PostgreSQL data directory: %w", err)
	}
	// Without this a power cut could undo the rename, and take with it all that
	// was committed since.
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("create the PostgreSQL data directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("create the PostgreSQL data directory: %w", err)
	}
	return nil
}

// arguments are those of postgres. Of a repeated setting the last one counts.
func arguments(dir, data string, settings map[string]string) []string {
	set := []string{
		"max_connections=100",
		"shared_buffers=64MB",
		"timezone=UTC",
		"log_timezone=UTC",
	}
	var further []string
	for name, value := range settings {
		further = append(further, name+"="+value)
	}
	slices.Sort(further)
	set = append(set, further...)
	// Trust is the way of authentication: the folder's mode is what guards the
	// server, so nothing may open another way in.
	set = append(set,
		"listen_addresses=",
		"port=5432",
		"unix_socket_directories="+dir,
		"unix_socket_permissions=0700",
	)
	args := []string{"-D", data}
	for _, s := range set {
		args = append(args, "-c", s)
	}
	return args
}

func environment(bin string) []string {
	return []string{"PATH=" + bin + ":/usr/bin:/bin", "LC_ALL=C.UTF-8"}
}

// quote writes a value of a connection string.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
