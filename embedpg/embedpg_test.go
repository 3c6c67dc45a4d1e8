package embedpg

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// appDir makes the test binary the application that a test kills.
const appDir = "EMBEDPG_TEST_APP_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(appDir); dir != "" {
		if err := app(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// app prints the pid of its postmaster, then inserts rows and prints the number
// of each that was committed, until it is killed. It goes on where one before it was
// killed.
func app(dir string) error {
	s, err := Start(context.Background(), Options{Dir: dir})
	if err != nil {
		return err
	}
	db, err := sql.Open("postgres", s.DSN(""))
	if err != nil {
		return err
	}
	if _, err := db.Exec("CREATE TABLE IF NOT EXISTS t (n int)"); err != nil {
		return err
	}
	var n int
	if err := db.QueryRow("SELECT coalesce(max(n), 0) FROM t").Scan(&n); err != nil {
		return err
	}
	fmt.Println(s.PID())
	for n++; ; n++ {
		if _, err := db.Exec("INSERT INTO t VALUES ($1)", n); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

func TestDataOutlivesARestart(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	s := mustStart(t, dir)
	execute(t, s, "CREATE TABLE t (n int)")
	execute(t, s, "INSERT INTO t SELECT generate_series(1, 100)")
	execute(t, s, `CREATE DATABASE "it's \ odd"`)

	if pgid, err := syscall.Getpgid(s.PID()); err != nil || pgid != s.PID() {
		t.Errorf("process group = %d, %v; want its own, %d, out of reach of Ctrl-C", pgid, err, s.PID())
	}
	st, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o700 {
		t.Errorf("mode of the folder = %v, want 0700", st.Mode().Perm())
	}
	for setting, want := range map[string]string{"TimeZone": "UTC", "log_timezone": "UTC", "listen_addresses": "",
		"max_connections": "100", "shared_buffers": "64MB", "work_mem": "5MB", "data_checksums": "on"} {
		if got := value(t, s, "", "SELECT current_setting($1)", setting); got != want {
			t.Errorf("%s = %q, want %q", setting, got, want)
		}
	}

	_, err = Start(t.Context(), options(dir))
	wantError(t, err, dir, "in use by another process")

	stop(t, s)
	s = mustStart(t, dir)
	if got := value(t, s, "", "SELECT count(*) FROM t"); got != "100" {
		t.Errorf("rows after a restart = %s, want 100", got)
	}
	if got := value(t, s, `it's \ odd`, "SELECT current_database()"); got != `it's \ odd` {
		t.Errorf("database = %q", got)
	}
	stop(t, s)

	// The reason is in PostgreSQL's log only.
	o := options(dir)
	o.Settings["max_connections"] = "plenty"
	_, err = Start(t.Context(), o)
	wantError(t, err, dir, `invalid value for parameter "max_connections": "plenty"`, "postgres.log")
	wantNoProcesses(t, dir)
}

func TestStopLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	// As an interrupted first start of root leaves it: not yet given away.
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := mustStart(t, dir)
	busy := make(chan error, 1)
	go func() {
		db, err := sql.Open("postgres", s.DSN(""))
		if err == nil {
			defer db.Close()
			_, err = db.Exec("SELECT pg_sleep(600)")
		}
		busy <- err
	}()
	await(t, "a busy session", func() bool {
		return value(t, s, "", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1"
	})
	if s.Err() != nil {
		t.Errorf("Err while running = %v", s.Err())
	}
	stopped := make(chan error)
	for range 2 {
		go func() { stopped <- s.Stop() }()
	}
	for range 2 {
		if err := <-stopped; err != nil {
			t.Errorf("Stop = %v", err)
		}
	}
	if err := <-busy; err == nil {
		t.Error("the busy session outlived Stop")
	}
	<-s.Done()
	if s.Err() != nil {
		t.Errorf("Err after Stop = %v", s.Err())
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", s.PID())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the postmaster %d is still there: %v", s.PID(), err)
	}
	wantNoProcesses(t, dir)
}

func TestKilledPostmaster(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	s := mustStart(t, dir)
	execute(t, s, "CREATE TABLE t (n int)")
	execute(t, s, "INSERT INTO t SELECT generate_series(1, 100)")
	kill(t, s.PID())
	wait(t, "Done", s.Done())
	wantError(t, s.Err(), dir, "ended by itself", "killed", "postgres.log")
	wantNoProcesses(t, dir)
	if err := s.Stop(); err != nil {
		t.Errorf("Stop after the end = %v", err)
	}

	// By now a stranger may have the process id that the killed one left behind.
	stranger := exec.Command("sleep", "600")
	stranger.SysProcAttr = whoami(t).attributes(syscall.SIGKILL)
	stranger.Dir = "/"
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer stranger.Wait()
	defer stranger.Process.Kill()
	rewritePID(t, dir, stranger.Process.Pid)

	s = mustStart(t, dir)
	if got := value(t, s, "", "SELECT count(*) FROM t"); got != "100" {
		t.Errorf("rows after the kill = %s, want 100", got)
	}
	stop(t, s)
	if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the stranger was killed: %v", err)
	}
}

// A process of a dead server that cannot be seen or stopped is played by this
// one, which attaches to the shared memory.
func TestHeldSharedMemory(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	s := mustStart(t, dir)
	lines := strings.Split(read(t, filepath.Join(dir, "data", "postmaster.pid")), "\n")
	id, err := strconv.Atoi(strings.Fields(lines[6])[1])
	if err != nil {
		t.Fatal(err)
	}
	at, _, errno := syscall.Syscall(syscall.SYS_SHMAT, uintptr(id), 0, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	kill(t, s.PID())
	wait(t, "Done", s.Done())

	retried := make(chan struct{}, 1)
	o := options(dir)
	o.Log = slog.New(slog.NewTextHandler(writer(func(line string) {
		if strings.Contains(line, "holds its shared memory") {
			select {
			case retried <- struct{}{}:
			default:
			}
		}
	}), nil))
	started := make(chan error, 1)
	go func() {
		s, err := Start(context.Background(), o)
		if err == nil {
			err = s.Stop()
		}
		started <- err
	}()
	select {
	case <-retried:
	case err := <-started:
		t.Fatalf("Start did not try again: %v", err)
	}
	if _, _, errno := syscall.Syscall(syscall.SYS_SHMDT, at, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	if err := <-started; err != nil {
		t.Errorf("Start once the shared memory is free = %v", err)
	}
}

func TestOrphanIsReplaced(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	stop(t, mustStart(t, dir))

	bin, err := findBinaries(t.Context(), "", filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	orphan := exec.Command(filepath.Join(bin, "postgres"), arguments(dir, filepath.Join(dir, "data"), fast)...)
	orphan.SysProcAttr = whoami(t).attributes(syscall.SIGQUIT)
	orphan.Env, orphan.Dir = environment(bin), dir
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		orphan.Wait()
		close(ended)
	}()
	await(t, "the orphan to be ready", func() bool {
		b, _ := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
		return strings.Contains(string(b), "ready")
	})

	o := options(dir)
	o.Log = slog.New(slog.NewTextHandler(writer(func(line string) {
		if strings.Contains(line, "trying again") {
			t.Errorf("it started beside the orphan: %s", line)
		}
	}), nil))
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	wait(t, "the end of the orphan", ended)
	stop(t, s)
}

func TestKilledApplication(t *testing.T) {
	t.Parallel()
	t.Run("alone", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		_, acknowledged := killApp(t, dir, false)
		await(t, "the orphaned PostgreSQL to end", func() bool { return len(running(t, dir)) == 0 })
		s := mustStart(t, dir)
		wantRows(t, s, acknowledged)
		stop(t, s)
	})
	t.Run("with the postmaster, and restarted at once", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		for round := range 3 {
			postmaster, acknowledged := killApp(t, dir, true)
			if acknowledged < (round+1)*200 {
				t.Errorf("after %d kills %d rows were written", round+1, acknowledged)
			}
			s := mustStart(t, dir)
			if s.PID() == postmaster {
				t.Error("the killed postmaster is still there")
			}
			wantRows(t, s, acknowledged)
			stop(t, s)
		}
	})
}

// killApp runs the application, kills it while it writes, and returns how many
// rows had been committed.
func killApp(t *testing.T, dir string, postmasterToo bool) (postmaster, acknowledged int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), appDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, enough := bufio.NewScanner(out), 0
	for lines.Scan() {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			break // cut off by the kill
		}
		if postmaster == 0 {
			postmaster = n
			continue
		}
		if acknowledged = n; enough == 0 {
			enough = n + 199
		}
		if n == enough {
			kill(t, cmd.Process.Pid)
			if postmasterToo {
				kill(t, postmaster)
			}
		}
	}
	cmd.Wait()
	if enough == 0 || acknowledged < enough {
		t.Fatalf("the application ended after %d rows", acknowledged)
	}
	return postmaster, acknowledged
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	t.Run("another major version", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		fake(t, filepath.Join(dir, "data", "PG_VERSION"), "9\n", 0o600)
		before := snapshot(t, dir)
		_, err := Start(t.Context(), options(dir))
		wantError(t, err, dir, "was made by PostgreSQL 9,", "nothing was changed")
		if after := snapshot(t, dir); after != before {
			t.Errorf("the folder was touched:\n%s\nwas:\n%s", after, before)
		}
	})
	t.Run("data of another major version, whole", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		s := mustStart(t, dir)
		execute(t, s, "CREATE TABLE t (n int)")
		stop(t, s)
		// As it is once the system was upgraded: the data is older than all binaries.
		data, bin := filepath.Join(dir, "data"), binDir(t)
		version := read(t, filepath.Join(data, "PG_VERSION"))
		fake(t, filepath.Join(data, "PG_VERSION"), "12\n", 0o600)
		before := snapshot(t, dir)
		_, err := Start(t.Context(), options(dir))
		wantError(t, err, data+" was made by PostgreSQL 12,", strings.TrimSpace(version)+" ("+bin+")", "apt-get install postgresql-12",
			"make a backup (platen backup), move the folder "+dir+" away, and restore the backup (platen restore)", "nothing was changed")
		if after := snapshot(t, dir); after != before {
			t.Errorf("the folder was touched:\n%s\nwas:\n%s", after, before)
		}
		fake(t, filepath.Join(data, "PG_VERSION"), version, 0o600)
		s = mustStart(t, dir) // with the right binaries
		execute(t, s, "INSERT INTO t VALUES (1)")
		stop(t, s)
	})
	t.Run("a full disk at a later start", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		stop(t, mustStart(t, dir))
		// One of the files that every start writes.
		opts := filepath.Join(dir, "data", "postmaster.opts")
		if err := os.Remove(opts); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/dev/full", opts); err != nil {
			t.Fatal(err)
		}
		_, err := Start(t.Context(), options(dir))
		wantError(t, err, "the disk of "+dir+" is full: make room on it", "postmaster.opts", "No space left on device")
		wantNoProcesses(t, dir)
		if err := os.Remove(opts); err != nil {
			t.Fatal(err)
		}
		stop(t, mustStart(t, dir))
	})
	t.Run("a full disk at the first start", func(t *testing.T) {
		t.Parallel()
		// An initdb that meets the device which is always full.
		o := options(folder(t))
		o.BinDir = filepath.Join(filepath.Dir(o.Dir), "bin")
		fake(t, filepath.Join(o.BinDir, "postgres"), "#!/bin/sh\necho 'postgres (PostgreSQL) 15.1'\n", 0o755)
		fake(t, filepath.Join(o.BinDir, "initdb"), "#!/bin/sh\nmkdir data.new && echo base > data.new/base && cat data.new/base > /dev/full\n", 0o755)
		_, err := Start(t.Context(), o)
		wantError(t, err, "the disk of "+o.Dir+" is full: make room on it", "No space left on device")
		o.BinDir = ""
		s, err := Start(t.Context(), o) // there is room again
		if err != nil {
			t.Fatal(err)
		}
		stop(t, s)
	})
	t.Run("a place that cannot be written to", func(t *testing.T) {
		t.Parallel()
		_, err := Start(t.Context(), options("/sys/platen/postgres")) // to nobody, root included
		wantError(t, err, "the folder /sys/platen/postgres cannot be written to", "PLATEN_DATA_DIR")
	})
	t.Run("data that is no data directory", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		fake(t, filepath.Join(dir, "data", "letter.txt"), "", 0o600)
		before := snapshot(t, dir)
		_, err := Start(t.Context(), options(dir))
		wantError(t, err, dir, "no PG_VERSION")
		if after := snapshot(t, dir); after != before {
			t.Errorf("the folder was touched:\n%s\nwas:\n%s", after, before)
		}
	})
	t.Run("a parent that cannot be entered", func(t *testing.T) {
		t.Parallel()
		parent := filepath.Dir(folder(t))
		closed := filepath.Join(parent, "closed")
		mode := fs.FileMode(0o700)
		if os.Geteuid() != 0 {
			mode = 0 // closed to ourselves, which the system tells
		}
		if err := os.Mkdir(closed, mode); err != nil {
			t.Fatal(err)
		}
		_, err := Start(t.Context(), options(filepath.Join(closed, "deep", "postgres")))
		wantError(t, err, closed)
		if os.Geteuid() == 0 {
			wantError(t, err, "the folder "+closed+" cannot be entered by the user postgres", "set PLATEN_DATA_DIR to a folder such as /var/lib/platen")
			if files, _ := os.ReadDir(closed); len(files) > 0 {
				t.Errorf("it left %v behind", files)
			}
		}
	})
	t.Run("a folder of somebody else", func(t *testing.T) {
		t.Parallel()
		dir := "/usr" // of root, and not empty
		if os.Geteuid() == 0 {
			dir = folder(t)
			fake(t, filepath.Join(dir, "letter.txt"), "", 0o600)
		}
		_, err := Start(t.Context(), options(dir))
		wantError(t, err, "belongs to user 0", "chown")
	})
	t.Run("no binaries", func(t *testing.T) {
		t.Parallel()
		o := options(folder(t))
		o.BinDir = t.TempDir()
		_, err := Start(t.Context(), o)
		if !errors.Is(err, ErrNotInstalled) {
			t.Errorf("error = %v, want ErrNotInstalled", err)
		}
		wantError(t, err, o.BinDir, "apt-get install postgresql", "DATABASE_URL")
		if _, err := os.Stat(o.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the folder was made: %v", err)
		}
	})
	t.Run("a path too long for a socket", func(t *testing.T) {
		t.Parallel()
		_, err := Start(t.Context(), options(filepath.Join(folder(t), strings.Repeat("long", 25))))
		wantError(t, err, "too long for a unix socket", "PLATEN_DATA_DIR")
	})
	t.Run("a path with a comma", func(t *testing.T) {
		t.Parallel()
		_, err := Start(t.Context(), options(filepath.Join(folder(t), "a,b")))
		wantError(t, err, "comma", "PLATEN_DATA_DIR")
	})
}

func TestEndedContext(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	ctx, cancel := context.WithCancel(t.Context())
	o := options(dir)
	o.Log = slog.New(slog.NewTextHandler(writer(func(line string) {
		if strings.Contains(line, "creating the PostgreSQL data directory") {
			time.AfterFunc(50*time.Millisecond, cancel) // somewhere within initdb
		}
	}), nil))
	_, err := Start(ctx, o)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want context.Canceled", err)
	}
	wantNoProcesses(t, dir)
	stop(t, mustStart(t, dir))
}

// lib/pq follows these variables even against the connection string.
func TestMisleadingEnvironment(t *testing.T) {
	t.Setenv("PGHOSTADDR", "127.0.0.1")
	dir := folder(t)
	_, err := Start(t.Context(), options(dir))
	wantError(t, err, "PGHOSTADDR", "unset")
	wantNoProcesses(t, dir)
}

func TestNewestBinariesFirst(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for version, line := range map[string]string{
		"9.6": "postgres (PostgreSQL) 9.6.24",
		"15":  "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
		"9":   "postgres (PostgreSQL) 9.0",
		"100": "postgres (PostgreSQL) 100beta1",
		"odd": "something else",
	} {
		fake(t, filepath.Join(root, version, "bin", "postgres"), "#!/bin/sh\necho '"+line+"'\n", 0o755)
	}
	// A folder with the client's programs only.
	if err := os.MkdirAll(filepath.Join(root, "200", "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	var got []int
	found, broken := probe(t.Context(), installed([]string{filepath.Join(root, "*", "bin")}), "postgres")
	wantError(t, broken, "something else")
	for _, b := range found {
		if strings.HasPrefix(b.dir, root) {
			got = append(got, b.major)
		}
	}
	if fmt.Sprint(got) != "[100 15 9 9]" {
		t.Errorf("versions = %v, want [100 15 9 9]", got)
	}
}

func TestToolsAreOfTheServersVersionOrTheNextNewer(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	var dirs []string
	for _, version := range []string{"13", "15", "16", "18", "20"} {
		dir := filepath.Join(root, version)
		dirs = append(dirs, dir)
		fake(t, filepath.Join(dir, "pg_dump"), "#!/bin/sh\necho 'pg_dump (PostgreSQL) "+version+".1'\n", 0o755)
		if version != "16" { // a package that brings half of them
			fake(t, filepath.Join(dir, "pg_restore"), "", 0o755)
		}
	}
	for atLeast, want := range map[int]int{12: 13, 13: 13, 14: 15, 15: 15, 16: 18, 20: 20} {
		if got, err := chooseTools(t.Context(), dirs, atLeast); err != nil || got.Major != want || got.Dir != filepath.Join(root, strconv.Itoa(want)) {
			t.Errorf("for %d: %+v, %v", atLeast, got, err)
		}
	}
	_, err := chooseTools(t.Context(), dirs, 21)
	wantError(t, err, "of PostgreSQL 21 or newer are needed", "those installed are of version 20 (", "apt-get install postgresql-client-21")
	_, err = chooseTools(t.Context(), nil, 15)
	wantError(t, err, "none are installed")
	if _, err := FindTools(t.Context(), 1); err != nil {
		t.Errorf("those of this machine: %v", err)
	}
}

func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "postgres.log")
	fake(t, path, "kept", 0o600)
	if err := os.Truncate(path, maxLogSize+1); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		f, err := openLog(dir)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st.Size() != 0 {
			t.Errorf("size of the log = %d, want 0", st.Size())
		}
		if old := read(t, path+".old"); !strings.HasPrefix(old, "kept") {
			t.Error("the old log is lost")
		}
	}
}

// fast spares the syncs, which only a power cut would miss: a killed process
// leaves its writes to the kernel.
var fast = map[string]string{"fsync": "off", "full_page_writes": "off", "work_mem": "5MB"}

func options(dir string) Options {
	settings := map[string]string{}
	for name, value := range fast {
		settings[name] = value
	}
	return Options{Dir: dir, Settings: settings}
}

// folder is a path for a server in a folder that the user postgres can enter,
// which t.TempDir is not.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "embedpg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "postgres")
}

func mustStart(t *testing.T, dir string) *Server {
	t.Helper()
	s, err := Start(t.Context(), options(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop() })
	return s
}

// binDir is where the binaries of new data are.
func binDir(t *testing.T) string {
	t.Helper()
	bin, err := findBinaries(t.Context(), "", "/nowhere")
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

func stop(t *testing.T, s *Server) {
	t.Helper()
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	wantNoProcesses(t, s.dir)
}

func execute(t *testing.T, s *Server, query string) {
	t.Helper()
	db, err := sql.Open("postgres", s.DSN(""))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}

func value(t *testing.T, s *Server, database, query string, args ...any) (v string) {
	t.Helper()
	db, err := sql.Open("postgres", s.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), query, args...).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// wantRows checks that no acknowledged row is missing.
func wantRows(t *testing.T, s *Server, acknowledged int) {
	t.Helper()
	missing := value(t, s, "", "SELECT count(*) FROM generate_series(1, $1::int) n WHERE NOT EXISTS (SELECT FROM t WHERE t.n = n.n)", acknowledged)
	if missing != "0" {
		t.Errorf("%s of %d acknowledged rows are missing", missing, acknowledged)
	}
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q:\n%v", part, err)
		}
	}
}

func wantNoProcesses(t *testing.T, dir string) {
	t.Helper()
	if pids := running(t, dir); len(pids) > 0 {
		t.Errorf("processes left behind in %s: %v", dir, pids)
	}
}

// running finds the processes that work anywhere in dir, whatever they are.
func running(t *testing.T, dir string) (pids []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if cwd, err := os.Readlink(link); err == nil && strings.HasPrefix(cwd, dir) {
			pids = append(pids, filepath.Base(filepath.Dir(link)))
		}
	}
	return pids
}

func whoami(t *testing.T) account {
	t.Helper()
	who, err := unprivileged()
	if err != nil {
		t.Fatal(err)
	}
	return who
}

func rewritePID(t *testing.T, dir string, pid int) {
	t.Helper()
	for _, path := range []string{filepath.Join(dir, "data", "postmaster.pid"), filepath.Join(dir, socketName+".lock")} {
		_, rest, _ := strings.Cut(read(t, path), "\n")
		if err := os.WriteFile(path, []byte(strconv.Itoa(pid)+"\n"+rest), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func wait(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatalf("no %s within 10 seconds", what)
	}
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 10 seconds for %s", what)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func fake(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// snapshot tells names, modes, owners, sizes and times of everything in dir.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("find", dir, "-printf", "%p %m %u %s %T@\n").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

type writer func(line string)

func (w writer) Write(p []byte) (int, error) {
	w(string(p))
	return len(p), nil
}
