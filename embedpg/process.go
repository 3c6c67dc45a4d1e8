package embedpg

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopProcesses ends every postgres that works on the data directory and
// outlived the one who started it, and returns when the last is gone. The
// caller holds the folder's lock, so none of them is in use.
//
// It is not pg_ctl that does this: that waits for postmaster.pid to vanish,
// which the file of a killed server never does.
func stopProcesses(ctx context.Context, data string, uid uint32, log *slog.Logger) error {
	for _, step := range escalation {
		pids := processes(data, uid)
		if len(pids) == 0 {
			return nil
		}
		// While the postmaster lives it is told alone, and tells the others. A
		// fast shutdown means nothing without one.
		if pm := postmasterPID(data); slices.Contains(pids, pm) && step.signal != syscall.SIGKILL {
			pids = []int{pm}
		} else if step.signal == syscall.SIGINT {
			continue
		}
		log.Warn("stopping a PostgreSQL left over from before", "dir", data, "pids", pids, "signal", step.signal)
		for _, pid := range pids {
			_ = syscall.Kill(pid, step.signal) // an error means that it has ended
		}
		for end := time.Now().Add(step.grace); time.Now().Before(end); {
			select {
			case <-ctx.Done():
				return fmt.Errorf("stopping the PostgreSQL left over in %s: %w", data, ctx.Err())
			case <-time.After(10 * time.Millisecond):
			}
			if len(processes(data, uid)) == 0 {
				return nil
			}
		}
	}
	return fmt.Errorf("the processes %v of a PostgreSQL left over in %s do not stop, not even when killed", processes(data, uid), data)
}

// processes lists the living postgres processes of a user that work on a data
// directory, by their working directory, which is how PostgreSQL runs.
func processes(data string, uid uint32) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		dir := filepath.Join("/proc", e.Name())
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue
		}
		_, rest, ok := bytes.Cut(stat, []byte(" (postgres) "))
		if !ok || rest[0] == 'Z' || rest[0] == 'X' {
			continue
		}
		if st, err := os.Stat(dir); err != nil || st.Sys().(*syscall.Stat_t).Uid != uid {
			continue
		}
		if cwd, err := os.Readlink(filepath.Join(dir, "cwd")); err == nil {
			if cwd == data {
				pids = append(pids, pid)
			}
			continue
		}
		// In a container even root may lack the right to read that link; the
		// command line, which all may read, still tells the postmaster.
		cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if bytes.Contains(cmdline, []byte("\x00-D\x00"+data+"\x00")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// postmasterPID is what postmaster.pid says, which may be stale; 0 without it.
func postmasterPID(data string) int {
	b, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	pid, _ := strconv.Atoi(strings.TrimSpace(line))
	return pid
}
