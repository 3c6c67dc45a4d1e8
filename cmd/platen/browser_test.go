package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// browserOf are the processes of a node's Chromium, the one that started the others first.
func browserOf(t *testing.T, p *process) (pids []int) {
	t.Helper()
	for _, pid := range descendants(t, p.cmd.Process.Pid) {
		command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		switch {
		case !strings.Contains(string(command), "--user-data-dir=") && !strings.Contains(string(command), "--type="):
		case strings.Contains(string(command), "--type="):
			pids = append(pids, pid)
		default:
			pids = append([]int{pid}, pids...)
		}
	}
	if len(pids) < 4 {
		t.Fatalf("Chromium has the processes %v only", pids)
	}
	return pids
}

// A process that is stopped sees neither a signal but SIGKILL nor the end of a pipe.
func TestR9_2AKilledNodeLeavesNoChromiumEvenIfThatHangs(t *testing.T) {
	t.Parallel()
	for name, stopped := range map[string]func(pids []int) []int{
		"none":  func([]int) []int { return nil },
		"first": func(pids []int) []int { return pids[:1] },
		"all":   func(pids []int) []int { return pids },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := emptyFolder(t)
			temp := filepath.Join(dir, "temp")
			if err := os.Mkdir(temp, 0o711); err != nil {
				t.Fatal(err)
			}
			folders := func() []string {
				found, _ := filepath.Glob(filepath.Join(temp, "platen-chromium-*"))
				return found
			}
			p := serveProcess(t, dir, "TMPDIR="+temp)
			ready(t, p)
			c := &client{t: t, base: p.base, live: p.tokens()[0]}
			// A page that is kept, and so a process for it.
			if doc := c.submit(vars{"html": "<p>one</p>"}); doc.State != "PROCESSED" {
				t.Fatalf("%v", doc)
			}
			before := folders()
			if len(before) != 1 {
				t.Fatalf("Chromium has the folders %v", before)
			}
			children, browser := descendants(t, p.cmd.Process.Pid), browserOf(t, p)
			for _, pid := range stopped(browser) {
				if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
			}
			p.stop(syscall.SIGKILL)
			gone(t, children)
			p = serveProcess(t, dir, "TMPDIR="+temp)
			ready(t, p)
			if after := folders(); len(after) != 1 || after[0] == before[0] {
				t.Errorf("after the next start there are the folders %v, before there was %v", after, before)
			}
			p.stop(syscall.SIGTERM)
			if after := folders(); len(after) != 0 {
				t.Errorf("%v is left", after)
			}
		})
	}
}
