package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	workerName = "platen-sandbox-worker" // the worker's argv[0]
	ready      = "platen sandbox ready\n"
	maxFrame   = math.MaxUint32
	maxMessage = 4 << 10 // bytes of an error's text
)

// The states of an answer.
const (
	succeeded byte = iota
	failed
	outputTooLarge
)

// answer is what the child sends: a state, and the output or the error's text.
type answer struct {
	status byte
	last   bool // the worker wants to be replaced
	body   []byte
}

// headerSize is that of an answer: state, last, and the size in four bytes.
const headerSize = 6

func (a answer) unpack() ([]byte, error) {
	switch a.status {
	case succeeded:
		return a.body, nil
	case outputTooLarge:
		return nil, &LimitError{"output"}
	default:
		return nil, &FunctionError{string(a.body)}
	}
}

// settings are what a worker must know before it may read anything; they
// travel in its arguments.
type settings struct {
	function string
	memory   uint64
	input    int
	output   int
	uid      uint32 // 0 keeps the user
	isolated bool   // it has namespaces of its own
}

func (s settings) args() []string {
	return []string{
		workerName, s.function,
		strconv.FormatUint(s.memory, 10), strconv.Itoa(s.input), strconv.Itoa(s.output),
		strconv.FormatUint(uint64(s.uid), 10), strconv.FormatBool(s.isolated),
	}
}

func parseSettings(args []string) (settings, error) {
	refused := errors.New("this name is for workers that the program starts itself")
	if len(args) != 7 || len(os.Environ()) > 0 {
		return settings{}, refused
	}
	s := settings{function: args[1]}
	_, err := fmt.Sscan(strings.Join(args[2:], " "), &s.memory, &s.input, &s.output, &s.uid, &s.isolated)
	if err != nil {
		return settings{}, refused
	}
	return s, nil
}

// Main must be the first call in main and in TestMain. In a process that a Pool
// started it serves as a worker and never returns; in any other it returns at
// once.
func Main() {
	if os.Args[0] != workerName {
		return
	}
	// The death signal and the lost capabilities belong to this thread.
	runtime.LockOSThread()
	s, err := parseSettings(os.Args)
	if err == nil {
		err = confine(s)
	}
	if err == nil {
		err = serve(s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		os.Exit(2)
	}
	os.Exit(0)
}

// serve answers requests until the parent closes the pipe.
func serve(s settings) error {
	f := functions[s.function]
	if f == nil {
		return fmt.Errorf("no function is registered as %q", s.function)
	}
	in, out := os.Stdin, os.Stdout
	os.Stdout = os.Stderr // a stray print must not get among the answers
	if _, err := io.WriteString(out, ready); err != nil {
		return err
	}
	var header [headerSize]byte
	for {
		if _, err := io.ReadFull(in, header[:4]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		size := binary.LittleEndian.Uint32(header[:4])
		if uint64(size) > uint64(s.input) {
			return errors.New("the request is too large")
		}
		request := make([]byte, size)
		if _, err := io.ReadFull(in, request); err != nil {
			return err
		}
		a := run(f, request, s.output)
		header[0], header[1] = a.status, 0
		if mapped() > s.memory/2 {
			header[1] = 1
		}
		binary.LittleEndian.PutUint32(header[2:], uint32(len(a.body)))
		if _, err := out.Write(header[:]); err != nil {
			return err
		}
		if _, err := out.Write(a.body); err != nil {
			return err
		}
	}
}

func run(f Function, in []byte, most int) (a answer) {
	defer func() {
		if p := recover(); p != nil {
			// Engines put stack traces into what they panic with, below the first line.
			text, _, _ := strings.Cut(fmt.Sprint(p), "\n")
			a = answer{status: failed, body: message(text)}
		}
	}()
	out, err := f(in)
	switch {
	case err != nil:
		return answer{status: failed, body: message(err.Error())}
	case len(out) > most && defended:
		return answer{status: outputTooLarge}
	}
	return answer{status: succeeded, body: out}
}

// mapped is the memory that this process holds. Go gives none of it back as
// far as RLIMIT_DATA is concerned, so a worker that came near its limit would
// fail in the next call, which may be an innocent one.
func mapped() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func message(s string) []byte { return []byte(s[:min(len(s), maxMessage)]) }

// confine takes from this process all that a pure function does not need. It
// runs before the first byte of input is read.
func confine(s settings) error {
	runtime.GOMAXPROCS(1)
	debug.SetMemoryLimit(int64(s.memory / 4 * 3))
	// The runtime opens the descriptors of its poller with the first timer.
	// Afterwards there is no need for any new descriptor.
	time.AfterFunc(time.Hour, func() {}).Stop()

	if s.isolated {
		if err := emptyRoot(); err != nil {
			return fmt.Errorf("emptying the file system: %w", err)
		}
	}
	if err := limit(unix.RLIMIT_DATA, s.memory*dataFactor); err != nil || !defended {
		return err
	}
	for resource, most := range map[int]uint64{
		unix.RLIMIT_CORE:   0,
		unix.RLIMIT_FSIZE:  0,
		unix.RLIMIT_NOFILE: 3,
	} {
		if err := limit(resource, most); err != nil {
			return err
		}
	}
	if s.uid != 0 {
		id := int(s.uid)
		if err := syscall.Setgroups(nil); err != nil {
			return fmt.Errorf("leaving the groups: %w", err)
		}
		if err := syscall.Setresgid(id, id, id); err != nil {
			return fmt.Errorf("changing the group: %w", err)
		}
		if err := syscall.Setresuid(id, id, id); err != nil {
			return fmt.Errorf("changing the user: %w", err)
		}
	}
	if err := dropCapabilities(); err != nil {
		return fmt.Errorf("dropping capabilities: %w", err)
	}
	if err := everyThread(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		return fmt.Errorf("forbidding new privileges: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbidding dumps: %w", err)
	}
	// The change of user has cleared the one that the parent asked for. If the
	// parent is dead already, the first read says so.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("asking for the death signal: %w", err)
	}
	return nil
}

func limit(resource int, most uint64) error {
	if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: most, Max: most}); err != nil {
		return fmt.Errorf("setting limit %d: %w", resource, err)
	}
	return nil
}

// emptyRoot puts the process into an empty, read-only folder in its own mount
// namespace, from which nothing else can be named.
func emptyRoot() error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	const place = "/proc" // the one folder that is sure to be there
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("none", place, "tmpfs", flags, "size=4k,mode=0555"); err != nil {
		return err
	}
	if err := os.Chdir(place); err != nil {
		return err
	}
	// On the first root file system of a machine there is nothing to pivot
	// from; chroot does as well, because the privilege to leave it goes.
	if err := unix.PivotRoot(".", "."); err == nil {
		if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
			return err
		}
	} else if err := unix.Chroot("."); err != nil {
		return err
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_RDONLY|flags, "")
}

// dropCapabilities matters in a user namespace, where the process keeps its
// user id and with it power over its own namespaces.
func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&header, &none[0])
}

// everyThread makes a system call in all threads. In a program with C code Go
// cannot; there the call holds for this thread, the one that runs the function,
// and for those that come from it.
func everyThread(trap, a1, a2, a3 uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall(trap, a1, a2, a3)
	if errno == syscall.ENOTSUP {
		_, _, errno = syscall.RawSyscall(trap, a1, a2, a3)
	}
	if errno != 0 {
		return errno
	}
	return nil
}
