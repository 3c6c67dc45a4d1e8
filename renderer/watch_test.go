package renderer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"platen"
)

// atWork starts documents that wait for a picture, and returns when all have asked for
// it. After release they need nothing more.
func atWork(t *testing.T, r *Renderer, pages []Page) (release func(), done func() []error) {
	t.Helper()
	asked, held := make(chan struct{}, 100), make(chan struct{})
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-held
		w.Write(redPNG())
	})
	release = sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	errs := make([]error, len(pages))
	var all sync.WaitGroup
	for i, p := range pages {
		p.Account = fmt.Sprint(account(t), "-", i)
		p.HTML = fmt.Sprintf("<p>document %d<img src=%s/%d.png>", i, s.URL, i) + p.HTML
		all.Go(func() {
			result, err := r.Render(t.Context(), p)
			if err == nil && !strings.Contains(text(t, result.Content), fmt.Sprint("document ", i)) {
				err = errors.New(text(t, result.Content))
			}
			errs[i] = err
		})
	}
	for range pages {
		<-asked
	}
	return release, func() []error { all.Wait(); return errs }
}

// R9.2: a browser that hangs is found in 5 s, and what it had is rendered by the next.
func TestR9_2ABrowserThatHangsIsReplacedWithinTheRender(t *testing.T) {
	t.Parallel()
	r := own(t, Options{})
	pages := make([]Page, 3)
	for i := range pages {
		pages[i].Settings = platen.DefaultPageSettings()
	}
	release, done := atWork(t, r, pages)
	hung := r.browserOfNow()
	if err := syscall.Kill(hung.command.Process.Pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	release()
	began := time.Now()
	// More than the pipe holds: who sends it must not wait for room in it for ever either.
	large := document(t, "large"+strings.Repeat("<!-- nothing -->", 1<<16))
	if got := text(t, renderOn(t, r, large)); !strings.Contains(got, "large") {
		t.Error(got)
	}
	for _, err := range done() {
		if err != nil {
			t.Error(err)
		}
	}
	t.Logf("all had their document %v after the browser hung", time.Since(began).Round(time.Millisecond))
	select {
	case <-hung.exited:
	case <-time.After(20 * time.Second):
		t.Error("the browser that hangs is still there")
	}
	if r.browserOfNow() == hung {
		t.Error("it was not replaced")
	}
	if left, err := os.ReadDir(r.options.TempDir); err != nil || len(left) != 1 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// R9.2: a document is not blamed for a browser that hangs, and does not wait for it.
func TestR9_2ADocumentThatRunsOutOfTimeOnABrowserThatHangsMayBeTriedAgain(t *testing.T) {
	t.Parallel()
	r := own(t, Options{})
	r.keptRender = time.Minute
	// With a page at hand, the document's time is all there is to wait for.
	p := document(t, "<i>warm")
	p.Account += "-0"
	renderOn(t, r, p)
	waitIdle(t, r, p.Account)
	p.Settings.Timeout = 1
	began := time.Now()
	_, done := atWork(t, r, []Page{p})
	if err := syscall.Kill(r.browserOfNow().command.Process.Pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var failure *platen.Failure
	if err := done()[0]; !errors.As(err, &failure) || failure.Code != platen.FailureBrowserGone || !failure.Retryable {
		t.Errorf("%v", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
}

// Half a message in the pipe is the end of it.
func TestABrowserThatReadsNothingIsReplaced(t *testing.T) {
	t.Parallel()
	r := own(t, Options{})
	b := r.browserOfNow()
	if err := syscall.Kill(b.command.Process.Pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	b.hangUp()
	select {
	case <-b.exited:
	case <-time.After(20 * time.Second):
		t.Error("it is still there")
		b.kill()
	}
	if got := text(t, renderOn(t, r, document(t, "next"))); !strings.Contains(got, "next") {
		t.Error(got)
	}
}

// Who calls waits as long as he likes, and not for room in the pipe.
func TestACallDoesNotWaitForABrowserThatReadsNothing(t *testing.T) {
	t.Parallel()
	in, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer answers.Close()
	nobody, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := newConnection(in, out)
	ended := make(chan struct{})
	go func() { c.read(); close(ended) }()
	for range 2 { // the second has to wait for the first as well
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		began := time.Now()
		if _, err := c.call(ctx, "", "Page.setDocumentContent", strings.Repeat("x", 1<<20)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if took := time.Since(began); took > sendTimeout/2 {
			t.Errorf("the call took %v", took)
		}
		cancel()
	}
	nobody.Close() // half of the first message is in the pipe
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the connection goes on")
	}
	if _, err := c.call(t.Context(), "", "Browser.getVersion", nil); err != errBrowserGone {
		t.Error(err)
	}
}

// R9.2: a page that hangs while nobody uses it takes its next document's time, and no more.
func TestR9_2AnIdlePageThatHangsIsFoundInTheDocumentsTime(t *testing.T) {
	t.Parallel()
	r := own(t, Options{})
	r.keptRender = time.Minute
	p := shot(t, "one", platen.OutputPNG) // which begins with a reset
	renderOn(t, r, p)
	waitIdle(t, r, p.Account)
	if err := syscall.Kill(helper(t, r.browserOfNow(), "--type=renderer"), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	p.Settings.Timeout = 1
	began := time.Now()
	renderFails(t, r, p, platen.StageRender, platen.FailureRenderTimeout)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	renderOn(t, r, p)
	settled(t, r, 0)
}

// The zygote makes the pages' processes. Without it, the browser answers but gives no page.
func TestABrowserThatGivesNoPageIsReplaced(t *testing.T) {
	t.Parallel()
	r := own(t, Options{})
	r.takeTimeout = 4 * time.Second
	b := r.browserOfNow()
	stopped := map[int]bool{}
	for _, pid := range family(b.command.Process.Pid) {
		arguments, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.Contains(string(arguments), "--type=zygote") {
			stopped[pid] = true
			syscall.Kill(pid, syscall.SIGSTOP)
		}
	}
	if len(stopped) == 0 {
		t.Fatal("there is no zygote")
	}
	failure := renderFails(t, r, document(t, "no page"), platen.StageRender, platen.FailureBrowserGone)
	if !failure.Retryable {
		t.Error("not retryable")
	}
	if got := text(t, renderOn(t, r, document(t, "next"))); !strings.Contains(got, "next") {
		t.Error(got)
	}
	select {
	case <-b.exited:
	case <-time.After(busyPatience + 20*time.Second):
		t.Error("the browser that gives no page is still there")
	}
}

// What hangs may be a part of the browser of which nobody hears.
func TestABrowserOnWhichAllRunOutOfTimeIsReplaced(t *testing.T) {
	t.Parallel()
	r := own(t, Options{})
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) { w.Write(redPNG()) })
	renderOn(t, r, document(t, "<img src="+s.URL+"/0.png>")) // there is a network service now
	b := r.browserOfNow()
	syscall.Kill(helper(t, b, "network.mojom.NetworkService"), syscall.SIGSTOP)
	var last error
	for i := range maxTimeouts + 2 {
		p := document(t, fmt.Sprintf("<img src=%s/%d.png>", s.URL, i+1))
		p.Settings.Timeout = 1
		if _, last = r.Render(t.Context(), p); last == nil {
			break // on the next
		}
	}
	if last != nil {
		t.Error(last)
	}
	select {
	case <-b.exited:
	case <-time.After(busyPatience + 20*time.Second):
		t.Error("the browser on which they did is still there")
	}
}

// Chromium itself starts them again.
func TestAHelperOfTheBrowserThatDiesHarmsNoDocument(t *testing.T) {
	t.Parallel()
	r := own(t, Options{})
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) { w.Write(redPNG()) })
	renderOn(t, r, document(t, "<img src="+s.URL+"/0.png>")) // there is a network service now
	b := r.browserOfNow()
	before := settled(t, r, 0)
	for _, kind := range []string{"--type=gpu-process", "network.mojom.NetworkService"} {
		pid := helper(t, b, kind)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			p := document(t, fmt.Sprintf("<p>document %d<img src=%s/%d.png>", i, s.URL, i))
			if got := text(t, renderOn(t, r, p)); !strings.Contains(got, fmt.Sprint("document ", i)) {
				t.Errorf("%s: %s", kind, got)
			}
			p.Output, p.Screenshot = platen.OutputPNG, platen.DefaultScreenshot()
			if image := renderOn(t, r, p); len(image) < 1000 {
				t.Errorf("%s: an image of %d bytes", kind, len(image))
			}
		}
	}
	if r.browserOfNow() != b {
		t.Error("the browser was replaced")
	}
	settled(t, r, before)
}

// Chromium ends when its pipe does, unless it hangs.
func TestR9_2ABrowserThatHangsEndsWithItsNode(t *testing.T) {
	t.Parallel()
	dir := reachableDir(t)
	// As Chromium's user, it may write only where all may.
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	hanging := filepath.Join(dir, "hanging")
	if err := os.WriteFile(hanging, []byte("#!/bin/sh\necho $$ > "+dir+"/new && mv "+dir+"/new "+dir+"/pid\nexec sleep 600\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	node := exec.Command("/proc/self/exe")
	node.Env = append(os.Environ(), executable+"="+hanging)
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	for began := time.Now(); pid == 0; time.Sleep(5 * time.Millisecond) {
		text, _ := os.ReadFile(dir + "/pid")
		fmt.Sscan(string(text), &pid)
		if time.Since(began) > 20*time.Second {
			t.Fatal("it does not start")
		}
	}
	ended, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ended)
	node.Process.Kill()
	node.Wait()
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(ended), Events: unix.POLLIN}}, 10_000)
	for err == unix.EINTR {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(ended), Events: unix.POLLIN}}, 10_000)
	}
	if n != 1 {
		t.Errorf("process %d outlived its node: %v", pid, err)
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// A page that took long may hold much memory, which the watch would count against others.
func TestAPageThatTookLongIsNotKept(t *testing.T) {
	t.Parallel()
	r := own(t, Options{})
	for _, c := range []struct {
		most time.Duration
		kept bool
	}{{time.Minute, true}, {time.Nanosecond, false}} {
		r.keptRender = c.most
		p := document(t, "x")
		p.Account += fmt.Sprint(c.kept)
		renderOn(t, r, p)
		if kept := len(idlePages(r, p.Account)) == 1; kept != c.kept {
			t.Errorf("kept: %t", kept)
		}
	}
}

func TestTheKernelTakesTheBrowserFirst(t *testing.T) {
	t.Parallel()
	r := own(t, Options{})
	renderOn(t, r, document(t, "<script>1</script>"))
	b := r.browserOfNow()
	for _, pid := range []int{b.command.Process.Pid, helper(t, b, "--type=renderer")} {
		score, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
		if err != nil || len(strings.TrimSpace(string(score))) < 3 {
			t.Errorf("%s %v", score, err)
		}
	}
	if half := halfOfMemory(); half < 256<<20 || half > 1<<46 {
		t.Errorf("half of this machine's memory is %d bytes", half)
	}
}

// BenchmarkWatch is what each look at a browser with a few pages costs.
func BenchmarkWatch(b *testing.B) {
	r := own(b, Options{})
	for i := range 4 {
		p := document(b, "x")
		p.Account = fmt.Sprint(i)
		renderOn(b, r, p)
	}
	for b.Loop() {
		r.browserOfNow().bound(1<<40, r.options.Log)
	}
}
