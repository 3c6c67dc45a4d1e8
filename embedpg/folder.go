package embedpg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	maxSocketPath = 107 // sun_path holds 108 bytes, with the final zero
	maxLogSize    = 10 << 20
)

// The folder belongs to a user with fewer rights than ours, who could put a
// link in the place of a file: none is followed.
const noFollow = syscall.O_NOFOLLOW

// account is the user PostgreSQL runs as.
type account struct {
	name       string
	uid        uint32
	credential *syscall.Credential // nil: the user of this process
}

// unprivileged is this process's own user, or "postgres" when that is root,
// whom PostgreSQL refuses.
func unprivileged() (account, error) {
	if os.Geteuid() != 0 {
		return account{name: "user " + strconv.Itoa(os.Geteuid()), uid: uint32(os.Geteuid())}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return account{}, fmt.Errorf("PostgreSQL does not run as root, and there is no user postgres to run it as (%w): create one (adduser --system --group postgres), start Platen as another user, or set DATABASE_URL", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return account{}, fmt.Errorf("user id of postgres: %w", err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return account{}, fmt.Errorf("group id of postgres: %w", err)
	}
	return account{"postgres", uint32(uid), &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// attributes run a child as the account, end it with this process, and keep the
// terminal's Ctrl-C from it: we end it ourselves, after those who use it.
func (a account) attributes(death syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: a.credential, Pdeathsig: death, Setpgid: true}
}

// mustEnter fails when the account cannot enter dir, naming the folder in the way.
func (a account) mustEnter(ctx context.Context, dir, bin string) error {
	if a.credential == nil {
		return nil
	}
	// Tried rather than computed from the modes, which do not tell of access
	// lists and the like.
	try := func(dir string) error {
		c := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "--version")
		c.Dir, c.Env, c.SysProcAttr = dir, environment(bin), &syscall.SysProcAttr{Credential: a.credential}
		return c.Run()
	}
	if try(dir) == nil {
		return nil
	}
	if err := try("/"); err != nil {
		return fmt.Errorf("the binaries in %s cannot be run as the user %s: %w", bin, a.name, err)
	}
	blocked := dir
	for p := dir; p != "/"; p = filepath.Dir(p) {
		if try(p) != nil {
			blocked = p
		}
	}
	return fmt.Errorf("the folder %s cannot be entered by the user %s, whom PostgreSQL runs as: set PLATEN_DATA_DIR to a folder such as /var/lib/platen, or let others pass through (chmod o+x %[1]s)", blocked, a.name)
}

// prepare creates the folder, or checks that it is the account's, and closes it
// to everybody else.
func (a account) prepare(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o711); err != nil {
		return fmt.Errorf("create the folder of PostgreSQL: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("create the folder of PostgreSQL: %w", err)
	}
	st, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("open the folder of PostgreSQL: %w", err)
	}
	if !st.IsDir() {
		return fmt.Errorf("%s is not a folder; PostgreSQL needs one of its own", dir)
	}
	if owner := st.Sys().(*syscall.Stat_t).Uid; owner != a.uid {
		files, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("open the folder of PostgreSQL: %w", err)
		}
		// Only an empty folder of root is given away: a full one may be anything.
		if a.credential == nil || owner != 0 || len(files) > 0 {
			return fmt.Errorf("%s belongs to user %d, but PostgreSQL runs as %s: give it the folder (chown -R %d %[1]s), or choose another with PLATEN_DATA_DIR", dir, owner, a.name, a.uid)
		}
		if err := os.Chown(dir, int(a.uid), int(a.credential.Gid)); err != nil {
			return fmt.Errorf("give the folder of PostgreSQL to %s: %w", a.name, err)
		}
	}
	if st.Mode().Perm() != 0o700 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return fmt.Errorf("close the folder of PostgreSQL to others: %w", err)
		}
	}
	return nil
}

// resolve returns dir without links, as postgres will see it, and the deepest
// part of it that exists.
func resolve(dir string) (resolved, existing string, err error) {
	if dir == "" {
		return "", "", errors.New("PostgreSQL needs a folder: Dir is empty")
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", "", fmt.Errorf("find the folder of PostgreSQL: %w", err)
	}
	existing = dir
	for {
		if _, err = os.Stat(existing); !errors.Is(err, os.ErrNotExist) {
			break
		}
		existing = filepath.Dir(existing)
	}
	rest := strings.TrimPrefix(dir, existing)
	if err == nil {
		existing, err = filepath.EvalSymlinks(existing)
	}
	if err != nil {
		return "", "", fmt.Errorf("find the folder of PostgreSQL: %w", err)
	}
	resolved = filepath.Join(existing, rest)
	if n := len(filepath.Join(resolved, socketName)); n > maxSocketPath {
		return "", "", fmt.Errorf("the path %s is %d bytes too long for a unix socket in it: choose a shorter one with PLATEN_DATA_DIR", resolved, n-maxSocketPath)
	}
	if strings.Contains(resolved, ",") {
		return "", "", fmt.Errorf("the path %s has a comma, which separates paths in PostgreSQL's settings: choose another with PLATEN_DATA_DIR", resolved)
	}
	return resolved, existing, nil
}

// acquire takes the folder for this process. The lock ends with the process,
// which is what tells a server in use from one whose owner has died.
func acquire(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR|noFollow, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the folder of PostgreSQL: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s %w: stop it, or choose another folder with PLATEN_DATA_DIR", dir, ErrInUse)
		}
		return nil, fmt.Errorf("lock the folder of PostgreSQL %s: %w", dir, err)
	}
	return lock, nil
}

func release(lock *os.File) {
	// Unlocked and not just closed: a child that is being forked holds a copy of
	// the descriptor until it executes its program.
	_ = syscall.Flock(int(lock.Fd()), syscall.LOCK_UN)
	lock.Close()
}

// openLog opens postgres.log for appending, and sets a big one aside as the
// only old one that is kept.
func openLog(dir string) (*os.File, error) {
	path := filepath.Join(dir, "postgres.log")
	if st, err := os.Lstat(path); err == nil && st.Size() > maxLogSize {
		if err := os.Rename(path, path+".old"); err != nil {
			return nil, fmt.Errorf("set the old PostgreSQL log aside: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR|noFollow, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the PostgreSQL log: %w", err)
	}
	return f, nil
}

// tail is the end of what f holds after the offset from.
func tail(f *os.File, from int64) string {
	const most = 4 << 10
	if st, err := f.Stat(); err == nil {
		from = max(from, st.Size()-most)
	}
	b, err := io.ReadAll(io.NewSectionReader(f, from, most))
	if err != nil {
		return err.Error()
	}
	return lastLines(string(b))
}

func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}
