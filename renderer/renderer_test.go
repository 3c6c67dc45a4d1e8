package renderer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"platen"
)

func TestADocumentWithoutScriptsHasThemOff(t *testing.T) {
	t.Parallel()
	parameters, err := printParameters(document(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	// As if the scan had missed the script.
	j := &job{markup: markup{html: "<p id=p>still</p><script>p.textContent='ran'</script>"}, media: "print", print: parameters, proxy: shared.options.Proxy, timeout: time.Minute}
	pdf, _, err := shared.try(t.Context(), account(t), j)
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, pdf); !strings.Contains(got, "still") {
		t.Error(got)
	}
}

func TestATimeoutNamesWhatWasStillLoading(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) { <-release })
	defer close(release)
	p := document(t, "<img src="+s.URL+"/slow.png?sig=geheim>")
	p.Settings.Timeout = 1
	started := time.Now()
	failure := renderFails(t, shared, p, platen.StageRender, platen.FailureRenderTimeout)
	// From when it has a page, which a busy machine may be slow to give.
	if took := time.Since(started); took < 900*time.Millisecond || took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	var got struct {
		Step    string
		Loading []string
	}
	if err := json.Unmarshal(failure.Details, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Loading) != 1 || got.Loading[0] != s.URL+"/slow.png" || got.Step != "loading the page" || !failure.Retryable {
		t.Errorf("retryable %t, %s", failure.Retryable, failure.Details)
	}
	if !strings.Contains(failure.Message, s.URL+"/slow.png") || strings.Contains(failure.Message, "geheim") {
		t.Error(failure.Message)
	}
}

func TestAScriptThatNeverEndsHarmsNobody(t *testing.T) {
	t.Parallel()
	for i, html := range []string{
		"<script>while(1){}</script>", "<script>addEventListener('load',()=>{while(1){}})</script>", "<body onload='while(1)alert(1)'>",
		"<script>onbeforeprint=()=>{while(1){}}</script>x",
	} {
		var siblings sync.WaitGroup
		siblings.Go(func() {
			for range 5 {
				p := document(t, "<p>sibling</p>")
				p.Account += fmt.Sprint("-sibling-", i)
				render(t, p)
			}
		})
		p := document(t, html)
		p.Settings.Timeout = 1
		started := time.Now()
		failure := renderFails(t, shared, p, platen.StageRender, platen.FailureRenderTimeout)
		if took := time.Since(started); took > 3*time.Second || failure.Retryable {
			t.Errorf("%s: took %v, retryable %t", html, took, failure.Retryable)
		}
		siblings.Wait()
		if got := text(t, render(t, document(t, "<p>next</p><script>1</script>"))); !strings.Contains(got, "next") {
			t.Error(got)
		}
	}
}

func TestAPageThatUsesUpItsMemoryCrashesAlone(t *testing.T) {
	t.Parallel()
	var siblings sync.WaitGroup
	siblings.Go(func() {
		for range 10 {
			p := document(t, "<p>sibling</p>")
			p.Account += "-sibling"
			render(t, p)
		}
	})
	failure := renderFails(t, shared, document(t, "<script>let a=[];while(1)a.push(new Array(1e5).fill(Math.random()))</script>"),
		platen.StageRender, platen.FailureRenderCrashed)
	if failure.Retryable {
		t.Error("the crash is retryable")
	}
	siblings.Wait()
	render(t, document(t, "<script>1</script>next"))
}

func TestDialogsPopupsAndClosingEnd(t *testing.T) {
	t.Parallel()
	pdf := render(t, document(t, "<p id=p></p><script>alert(1);p.textContent='confirmed '+confirm(2)+' '+typeof prompt(3)</script>"))
	if got := text(t, pdf); !strings.Contains(got, "confirmed true") {
		t.Error(got)
	}
	render(t, document(t, "<script>for(let i=0;i<3;i++)window.open('about:blank')</script>popups"))
	failure := renderFails(t, shared, document(t, "<script>window.close()</script>"), platen.StageRender, platen.FailureRenderFailed)
	if !strings.Contains(failure.Message, "window.close") {
		t.Error(failure.Message)
	}
}

func TestTheCallerMayGiveUp(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	started := time.Now()
	_, err := shared.Render(ctx, document(t, "<script>while(1){}</script>"))
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(started) > 20*time.Second {
		t.Errorf("%v after %v", err, time.Since(started))
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := shared.Render(ctx, document(t, "<script>while(1){}</script>")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestAPageThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	failure := renderFails(t, shared, document(t, strings.Repeat("x", maxSent+1)), platen.StageRender, platen.FailureDocumentLimit)
	if failure.Retryable {
		t.Error("retryable")
	}
	render(t, document(t, "still there"))
}

func TestAnAnswerThatIsTooLargeIsNotKept(t *testing.T) {
	t.Parallel()
	in, chromium, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	asked, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := newConnection(in, out)
	c.largest = 1 << 20
	go c.read()
	go func() {
		commands := bufio.NewReader(asked)
		for id := 1; ; id++ {
			if _, err := commands.ReadBytes(0); err != nil {
				return
			}
			size := 3 << 20
			if id > 1 {
				size = 10
			}
			fmt.Fprintf(chromium, `{"id":%d,"result":{"data":"%s"}}%c`, id, bytes.Repeat([]byte("A"), size), 0)
		}
	}()
	if _, err := c.call(t.Context(), "", "Page.printToPDF", nil); !errors.Is(err, errReceivedTooLarge) {
		t.Error(err)
	}
	if answer, err := c.call(t.Context(), "", "Page.printToPDF", nil); err != nil || string(answer) != `{"data":"AAAAAAAAAA"}` {
		t.Errorf("%s %v", answer, err)
	}
	for _, file := range []*os.File{asked, out, chromium, in} {
		file.Close()
	}
}

func TestWaitingForATurnIsNotTheDocumentsTime(t *testing.T) {
	t.Parallel()
	r := own(t, Options{Concurrency: 1})
	slow := document(t, "<script>while(1){}</script>")
	slow.Settings.Timeout = 6
	var first sync.WaitGroup
	first.Go(func() { renderFails(t, r, slow, platen.StageRender, platen.FailureRenderTimeout) })
	for len(r.turns) == 0 {
		time.Sleep(time.Millisecond)
	}
	quick := document(t, "quick")
	quick.Settings.Timeout = 5
	if result, err := r.Render(t.Context(), quick); err != nil || result.Duration > 5*time.Second {
		t.Errorf("%v", err)
	}
	first.Wait()
}

func TestNothingOfAnAccountReachesAnother(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("Set-Cookie", "c=1; SameSite=None; Secure")
		w.Write(redPNG())
	})
	leave := "<img src=" + s.URL + "/logo.png><script>window.name='MARK';window.mark='MARK';history.pushState(1,'');document.write('left')</script>"
	look := "<p id=p></p><img src=" + s.URL + "/logo.png><script>p.textContent='name=['+window.name+'] mark=['+window.mark+'] history='+history.length</script>"
	a, b := document(t, leave), document(t, look)
	a.Account, b.Account = a.Account+"-a", b.Account+"-b"
	render(t, a)
	waitIdle(t, shared, a.Account)
	if got := text(t, render(t, b)); !strings.Contains(got, "name=[] mark=[undefined] history=1") {
		t.Error(got)
	}
	if hits.Load() != 2 {
		t.Errorf("the accounts share a cache: %d requests of two", hits.Load())
	}
	// Where no script can look into it, an account does have its cache again.
	plain := document(t, "<img src="+s.URL+"/logo.png>")
	plain.Account = a.Account
	render(t, plain)
	waitIdle(t, shared, a.Account)
	render(t, plain)
	if hits.Load() != 3 {
		t.Errorf("an account's own cache is lost: %d requests", hits.Load())
	}
	if first, second := waitIdle(t, shared, a.Account), waitIdle(t, shared, b.Account); first.context == second.context {
		t.Error("the accounts share a context")
	}
}

func TestNothingOfAScriptReachesTheAccountsNextDocument(t *testing.T) {
	t.Parallel()
	leave := `<script>window.name='MARK';window.mark='MARK';Array.prototype.mark='MARK';history.pushState(1,'');document.cookie='c=MARK';
		document.title='MARK';setInterval(()=>document.body&&document.body.append('MARK'),1);new BroadcastChannel('x').onmessage=e=>{};
		addEventListener('beforeunload',e=>{e.preventDefault();e.returnValue='x'});try{localStorage.x='MARK'}catch(e){}</script>left`
	look := `<p id=p></p><script>let cookie='',store='';try{cookie=document.cookie}catch(e){};try{store=''+localStorage.x}catch(e){}
		const until=Date.now()+100;p.textContent='name=['+window.name+'] mark=['+window.mark+'] array=['+[].mark+'] history='+history.length+' cookie=['+cookie+'] store=['+store+']';
		while(Date.now()<until){}</script>`
	render(t, document(t, leave))
	before := waitIdle(t, shared, account(t))
	got := text(t, render(t, document(t, look)))
	if strings.Contains(got, "MARK") || !strings.Contains(got, "name=[] mark=[undefined] array=[undefined] history=1 cookie=[]") {
		t.Error(got)
	}
	after := waitIdle(t, shared, account(t))
	if before != after || after.uses != 2 {
		t.Errorf("the second document had another page, so this proves nothing: %d uses", after.uses)
	}
}

func TestADocumentWithoutScriptsLeavesNothingEither(t *testing.T) {
	t.Parallel()
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) { w.Write(redPNG()) })
	render(t, document(t, "<title>OLD</title><style>p{color:red}p::after{content:'OLD'}</style><p>OLD<img src="+s.URL+"/x.png>"))
	if got := text(t, render(t, document(t, "<p>new</p>"))); strings.Contains(got, "OLD") || !strings.Contains(got, "new") {
		t.Error(got)
	}
	if p := waitIdle(t, shared, account(t)); p.uses != 2 {
		t.Errorf("%d uses", p.uses)
	}
	// A refresh that fires later must not take the next document away.
	for range 5 {
		_, err := shared.Render(t.Context(), document(t, "<meta http-equiv=refresh content='0;url="+s.URL+"/'>first"))
		if err != nil && !strings.Contains(err.Error(), "went to another address") {
			t.Error(err) // it may be printed before it goes, or not
		}
		if got := text(t, render(t, document(t, "<p>second</p>"))); !strings.Contains(got, "second") {
			t.Error(got)
		}
	}
}

func TestAPageThatMovedOrFramedIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte("elsewhere"))
	})
	for i, html := range []string{
		"<iframe srcdoc=x></iframe>", "<iframe src=" + s.URL + "></iframe>", "<script>window.open('about:blank')</script>",
		"<script>document.body.append(document.createElement('iframe'))</script>",
	} {
		p := document(t, "<body>"+html)
		p.Account += fmt.Sprint(i)
		render(t, p)
		time.Sleep(300 * time.Millisecond)
		if len(idlePages(shared, p.Account)) != 0 {
			t.Errorf("%s: the page is kept", html)
		}
	}
}

func TestIdlePagesAreFewAndEmptied(t *testing.T) {
	t.Parallel()
	r := own(t, Options{})
	for i := range maxIdle + 4 {
		p := document(t, "<style>@keyframes k{to{margin-left:100px}} p{animation:k 1s infinite}</style><p>busy")
		p.Account = fmt.Sprint(i)
		if _, err := r.Render(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	// A page that is being emptied is not among the idle ones for that moment, so on a
	// busy machine there can be fewer for a while, but never more.
	deadline := time.Now().Add(3*blankAfter + 30*time.Second)
	for dirty := 1; dirty > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d idle pages are not emptied", dirty)
		}
		time.Sleep(100 * time.Millisecond)
		dirty = 0
		r.mu.Lock()
		for _, p := range r.idle {
			if !p.blank {
				dirty++
			}
		}
		if len(r.idle) > maxIdle {
			t.Errorf("%d pages are idle", len(r.idle))
		}
		dirty += maxIdle - len(r.idle)
		r.mu.Unlock()
	}
}

func TestABrowserThatDiesIsReplacedWithinTheRender(t *testing.T) {
	t.Parallel()
	r := own(t, Options{})
	asked := make(chan struct{}, 10)
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		time.Sleep(300 * time.Millisecond)
		w.Write(redPNG())
	})
	kill := func() {
		<-asked
		r.mu.Lock()
		pid := r.current.command.Process.Pid
		r.mu.Unlock()
		syscall.Kill(pid, syscall.SIGKILL)
	}
	go kill()
	result, err := r.Render(t.Context(), document(t, "survived<img src="+s.URL+"/1.png>"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text(t, result.Content), "survived") {
		t.Error(text(t, result.Content))
	}
	<-asked // of the second try

	go func() { kill(); kill() }()
	failure := renderFails(t, r, document(t, "<img src="+s.URL+"/2.png>"), platen.StageRender, platen.FailureBrowserGone)
	if !failure.Retryable {
		t.Error("not retryable")
	}
	if err := r.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := r.Render(t.Context(), document(t, "and on")); err != nil {
		t.Error(err)
	}
}

func TestAWornBrowserIsReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	r := own(t, Options{Concurrency: 3})
	r.mu.Lock()
	r.browserUses = 10
	first := r.current
	r.mu.Unlock()
	var workers sync.WaitGroup
	for w := range 3 {
		workers.Go(func() {
			for i := range 15 {
				p := document(t, fmt.Sprint("document ", i))
				p.Account = fmt.Sprint(w, i%2)
				if _, err := r.Render(t.Context(), p); err != nil {
					t.Error(err)
				}
			}
		})
	}
	workers.Wait()
	select {
	case <-first.exited:
	case <-time.After(10 * time.Second):
		t.Error("the worn browser is still there")
	}
}

func TestCloseLeavesNoProcessFileOrGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	proxy, err := newProxy()
	if err != nil {
		t.Fatal(err)
	}
	dir := reachableDir(t)
	r, err := New(Options{Proxy: proxy, UID: testUID + 1, TempDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	group := r.current.command.Process.Pid
	for _, html := range []string{"plain", "<script>setInterval(()=>{},1)</script>scripts", "<script>window.open('about:blank')</script>"} {
		if _, err := r.Render(t.Context(), document(t, html)); err != nil {
			t.Error(err)
		}
	}
	running := make(chan error)
	go func() {
		_, err := r.Render(context.Background(), document(t, "<script>while(1){}</script>"))
		running <- err
	}()
	time.Sleep(200 * time.Millisecond)
	if n := len(processesOf(t, group, testUID+1)); n < 3 {
		t.Fatalf("%d processes are found while it runs, so this test sees nothing", n)
	}
	closing := time.Now()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	var failure *platen.Failure
	if err := <-running; !errors.As(err, &failure) || failure.Code != platen.FailureBrowserGone {
		t.Errorf("the render under way ended with %v", err)
	}
	if _, err := r.Render(t.Context(), document(t, "after")); !errors.As(err, &failure) || failure.Code != platen.FailureBrowserGone {
		t.Errorf("a render after Close ended with %v", err)
	}
	if err := r.Healthy(t.Context()); err == nil {
		t.Error("healthy after Close")
	}
	if err := r.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	if took := time.Since(closing); took > 20*time.Second {
		t.Errorf("closing took %v", took)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
	proxy.Close()
	// The renderer that other tests share may be emptying a page meanwhile, which takes a
	// goroutine for resetTimeout at most, and as long again to dispose of it. Its watch
	// takes one for a moment, again and again.
	deadline, after := time.Now().Add(4*resetTimeout), runtime.NumGoroutine()
	for time.Now().Before(deadline) && (len(processesOf(t, group, testUID+1)) > 0 || after > before) {
		time.Sleep(10 * time.Millisecond)
		after = runtime.NumGoroutine()
	}
	if left := processesOf(t, group, testUID+1); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
	if after > before {
		stacks := make([]byte, 1<<16)
		t.Errorf("%d goroutines before, %d after\n%s", before, after, stacks[:runtime.Stack(stacks, true)])
	}
}

// processesOf are the processes of a browser's group, and as root all of its user.
func processesOf(t testing.TB, group int, user uint32) []string {
	t.Helper()
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var those []string
	for _, folder := range folders {
		stat, err := os.ReadFile(folder + "/stat")
		if err != nil {
			continue
		}
		var state string
		var parent, pgrp int
		fmt.Sscan(string(stat[bytes.LastIndexByte(stat, ')')+1:]), &state, &parent, &pgrp)
		status, _ := os.ReadFile(folder + "/status")
		if pgrp == group || os.Getuid() == 0 && bytes.Contains(status, fmt.Appendf(nil, "\nUid:\t%d\t", user)) {
			those = append(those, folder)
		}
	}
	return those
}

func TestChromiumSeesNothingOfOurEnvironment(t *testing.T) {
	t.Setenv("PLATEN_SECRET_KEY", "geheim")
	r := own(t, Options{})
	if environment := strings.Join(r.current.command.Env, " "); len(r.current.command.Env) == 0 || strings.Contains(environment, "geheim") {
		t.Errorf("its environment is %q", environment)
	}
	home, err := os.ReadDir(r.options.TempDir)
	if err != nil || len(home) != 1 {
		t.Fatal(home, err)
	}
	if stat, err := home[0].Info(); err != nil || stat.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", stat.Mode(), err)
	}
}

func TestABrowserThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	dir := reachableDir(t)
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ executable, want string }{
		{script("sandbox", "echo 'FATAL: No usable sandbox!' >&2; exit 1"), "chromium-sandbox"},
		{script("library", "echo 'error while loading shared libraries: libnss3.so' >&2; exit 127"), "libnss3.so"},
		{filepath.Join(dir, "missing"), "no such file"},
	} {
		_, err := New(Options{Proxy: shared.options.Proxy, UID: testUID, TempDir: dir, Executable: c.executable})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.executable) {
			t.Errorf("%s: %v", c.executable, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "platen-*")); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
	if _, err := New(Options{UID: testUID}); err == nil {
		t.Error("a renderer without a proxy starts")
	}
	if _, err := New(Options{Proxy: shared.options.Proxy}); os.Getuid() == 0 && err == nil {
		t.Error("Chromium starts as root")
	}
}

func TestFindFindsChromium(t *testing.T) {
	t.Parallel()
	path, err := Find()
	if err != nil || path == "" {
		t.Errorf("%q %v", path, err)
	}
}

func TestTheRendererIsHealthy(t *testing.T) {
	t.Parallel()
	if err := shared.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestManyDocumentsAtOnceAreEachTheirOwn(t *testing.T) {
	t.Parallel()
	var workers sync.WaitGroup
	for w := range 8 {
		workers.Go(func() {
			for i := range 10 {
				p := document(t, fmt.Sprintf("<p>only-%d-%d", w, i))
				if i%3 == 0 {
					p.HTML = fmt.Sprintf("<p id=p></p><script>p.textContent='only-%d-'+%d</script>", w, i)
				}
				p.Account = fmt.Sprint(account(t), w%3)
				if got := strings.TrimSpace(text(t, render(t, p))); got != fmt.Sprintf("only-%d-%d", w, i) {
					t.Errorf("%d %d: %q", w, i, got)
				}
			}
		})
	}
	workers.Wait()
}

// BenchmarkInvoice compares a render with the least that can make a document:
// the same markup set and printed on one page, with nothing around it.
func BenchmarkInvoice(b *testing.B) {
	invoice, err := os.ReadFile("testdata/invoice.html")
	if err != nil {
		b.Fatal(err)
	}
	p := document(b, string(invoice))
	b.Run("render", func(b *testing.B) {
		for b.Loop() {
			if _, err := shared.Render(b.Context(), p); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("floor", func(b *testing.B) {
		floor, parameters := barePage(b, p)
		for b.Loop() {
			if _, err := floor.setAndPrint(b.Context(), p.HTML, parameters); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func TestFoldersOfKilledProcessesAreRemoved(t *testing.T) {
	t.Parallel()
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	temp := t.TempDir()
	left := filepath.Join(temp, fmt.Sprintf("%s%d-123", folderPrefix, dead.Process.Pid))
	alive := filepath.Join(temp, fmt.Sprintf("%s%d-123", folderPrefix, os.Getppid()))
	other := filepath.Join(temp, "something-else")
	for _, dir := range []string{left, alive, other} {
		if err := os.MkdirAll(filepath.Join(dir, "profile"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	sweep(temp)
	for dir, kept := range map[string]bool{left: false, alive: true, other: true} {
		if _, err := os.Stat(dir); (err == nil) != kept {
			t.Errorf("%s: %v, kept should be %v", dir, err, kept)
		}
	}
}

// No thread of the browser is as urgent as whoever calls, the database and the uploads.
func TestRenderingYieldsToAllElse(t *testing.T) {
	t.Parallel()
	r := own(t, Options{})
	renderOn(t, r, document(t, "<script>1</script>x"))
	nice := func(path string) int {
		stat, err := os.ReadFile(path)
		if err != nil {
			return 99 // it has ended
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		n, err := strconv.Atoi(fields[19-3]) // proc_pid_stat(5): the first is the third
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	own, seen := nice("/proc/self/stat"), 0
	if own != niceness() {
		t.Errorf("the program became as nice as %d", own)
	}
	want := min(own+nicer, 19)
	for _, pid := range family(r.browserOfNow().command.Process.Pid) {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, thread := range threads {
			if seen++; nice(thread) < want {
				t.Errorf("%s is as nice as %d, want %d", thread, nice(thread), want)
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d threads were seen", seen)
	}
}
