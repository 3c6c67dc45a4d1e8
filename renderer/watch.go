package renderer

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-rod/rod/lib/proto"
	"golang.org/x/sys/unix"
)

const (
	// watchEvery is how often a browser is looked at. A page fills about 350 MB meanwhile,
	// with one thread.
	watchEvery = 250 * time.Millisecond
	// stillPatience is how long a browser may owe an answer and use no processor time at
	// all: it is stopped, or waits for itself.
	stillPatience = 5 * time.Second
	// busyPatience is how long one that works may owe an answer. The largest images, long
	// tables and endless loops at once have kept it from answering for 19 s, on two cores,
	// in which it stood still for half a second at most.
	busyPatience = time.Minute
	// oomScore is what Chromium gives its own renderers: when the machine has no memory
	// left, the kernel takes any of its processes before PostgreSQL or us.
	oomScore = 300
)

// watch kills a browser that hangs, and the process that takes the most when all
// together take more than memory bytes, until the browser ends. It counts looks, and
// not time: where this process itself was stopped, the browser has not hung.
func (b *browser) watch(memory int64, log *slog.Logger) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	answered := b.ask()
	var silent, still time.Duration
	var used int64
	for {
		select {
		case <-tick.C:
		case <-b.life.Done():
			return
		}
		b.bound(memory, log)
		select {
		case <-answered:
			silent, still = 0, 0
			answered = b.ask()
			continue
		default:
		}
		silent += watchEvery
		still += watchEvery
		if now := processorTime(b.command.Process.Pid); now != used {
			used, still = now, 0
		}
		if still >= stillPatience || silent >= busyPatience {
			log.Warn("Chromium does not answer and is killed", "pid", b.command.Process.Pid, "silent", silent, "still", still)
			b.kill()
			return
		}
	}
}

// ask tells, by closing the channel, that the browser answered.
func (b *browser) ask() <-chan struct{} {
	answered := make(chan struct{})
	go func() {
		if _, err := (proto.BrowserGetVersion{}).Call(session{connection: b.connection, ctx: b.life}); err == nil {
			close(answered)
		}
	}()
	return answered
}

// hangs tells whether the browser gives no answer for so long and uses no processor time
// meanwhile, as one that is only slow does.
func (b *browser) hangs(patience time.Duration) bool {
	used := processorTime(b.command.Process.Pid)
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-b.ask():
		return false
	case <-b.life.Done():
		return true
	case <-timeout.C:
		return processorTime(b.command.Process.Pid) == used
	}
}

// bound kills the process that takes the most memory if all together take too much.
// No limit of the kernel's would do: Chromium reserves a hundred times what it uses,
// and what a page takes is not in its process alone.
func (b *browser) bound(most int64, log *slog.Logger) {
	main := b.command.Process.Pid
	all := append(family(main), main)
	var sum, largest int64
	var who int
	for _, pid := range all {
		size := memoryOf(pid)
		sum += size
		if size > largest {
			largest, who = size, pid
		}
	}
	if sum <= most {
		return
	}
	log.Warn("Chromium takes too much memory, and its largest process is killed", "pid", who, "bytes", largest, "all", sum, "limit", most)
	if who == main {
		b.kill()
		return
	}
	// Its parent, the zygote, may have collected it meanwhile, but no number is given
	// out again so soon.
	_ = unix.Kill(who, unix.SIGKILL)
}

// family are the descendants of a process. Only its first process starts others from
// more than one thread.
func family(pid int) (pids []int) {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil // it has ended
	}
	var below func(pid int, task string)
	below = func(pid int, task string) {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task))
		for _, field := range strings.Fields(string(children)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
				below(child, field)
			}
		}
	}
	for _, task := range tasks {
		below(pid, task.Name())
	}
	return pids
}

// memoryOf is what a process takes of the machine's memory, in bytes, without what it
// maps of files. What it shares with others is counted for each.
func memoryOf(pid int) (size int64) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for _, field := range []string{"\nRssAnon:", "\nRssShmem:"} {
		_, rest, _ := bytes.Cut(status, []byte(field))
		var kilobytes int64
		_, _ = fmt.Sscan(string(rest[:min(len(rest), 32)]), &kilobytes)
		size += kilobytes << 10
	}
	return size
}

// processorTime is what a process has used so far, in nanoseconds.
func processorTime(pid int) int64 {
	const schedClock = 2 // CPUCLOCK_SCHED of all threads, see clock_getcpuclockid(3)
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &t); err != nil {
		return 0
	}
	return t.Nano()
}

// halfOfMemory is half of what this machine has, or the container that this is in.
func halfOfMemory() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 1 << 30
	}
	most := int64(info.Totalram) * int64(info.Unit)
	for _, name := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, _ := os.ReadFile(name)
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			most = min(most, limit)
		}
	}
	return most / 2
}

// offerFirst lets the kernel take the browser's first process as readily as its
// renderers, where Chromium leaves it as we are.
func offerFirst(pid int) {
	own, _ := os.ReadFile("/proc/self/oom_score_adj")
	if score, err := strconv.Atoi(strings.TrimSpace(string(own))); err == nil && score < oomScore {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(oomScore)), 0) // a machine that refuses does without
	}
}
