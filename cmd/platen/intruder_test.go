package main

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// asIntruder makes the test binary be a program that has escaped from a child process: it
// becomes the user of this number, and then tries to get at what it is told of.
const asIntruder = "TEST_AS_INTRUDER"

func init() {
	uid, err := strconv.Atoi(os.Getenv(asIntruder))
	if err != nil {
		return
	}
	if uid != 0 {
		err := syscall.Setgroups(nil)
		if err == nil {
			err = syscall.Setresgid(uid, uid, uid)
		}
		if err == nil {
			err = syscall.Setresuid(uid, uid, uid)
		}
		if err != nil || os.Getuid() != uid {
			fmt.Println("no intruder:", err)
			os.Exit(1)
		}
	}
	runtime.LockOSThread() // who traces is a thread
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		kind, path, _ := strings.Cut(lines.Text(), " ")
		if intrude(kind, path) == nil {
			fmt.Println(kind, path)
		}
	}
	os.Exit(0)
}

// intrude tries one thing, and is nil if it works.
func intrude(kind, path string) error {
	switch kind {
	case "list":
		_, err := os.ReadDir(path)
		return err
	case "read":
		fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would keep us waiting
		if err != nil {
			return err
		}
		defer syscall.Close(fd)
		if _, err = syscall.Read(fd, make([]byte, 1)); err == syscall.EAGAIN {
			return nil // there was only nothing to read
		}
		return err // the files of /proc refuse it here
	case "write":
		fd, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			syscall.Close(fd)
		}
		return err
	case "create":
		return os.Mkdir(filepath.Join(path, "intruder"), 0o700)
	case "remove":
		return os.Rename(path, path+".intruder")
	case "connect":
		conn, err := net.Dial("unix", path)
		if err == nil {
			conn.Close()
		}
		return err
	case "kill":
		pid, _ := strconv.Atoi(path)
		return syscall.Kill(pid, 0)
	case "trace":
		pid, _ := strconv.Atoi(path)
		err := syscall.PtraceAttach(pid)
		if err == nil {
			_ = syscall.PtraceDetach(pid)
		}
		return err
	}
	return fmt.Errorf("no kind %s", kind)
}

// T5: who escapes from the browser or from a worker, as its very user, gets at neither
// documents, keys, the database's folder and socket, nor at what the server has in memory.
// Where all run as one user, because Platen does not run as root, nothing keeps them apart.
func TestT5AnEscapedChildGetsAtNothingOfTheServer(t *testing.T) {
	t.Parallel()
	dir, err := dataFolder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := serveProcess(t, dir)
	c := &client{t: t, base: p.base, live: p.tokens()[0]}
	if doc := c.submit(vars{"html": "<p>{{ 1 }}<script>1</script>", "wait": 60}); doc.State != "PROCESSED" {
		t.Fatal(doc)
	}
	server := p.cmd.Process.Pid
	users := childUsers(t, server)
	if os.Getuid() != 0 {
		t.Logf("not as root all run as one user: %v", users)
		return
	}

	// All that there is, as root sees it.
	var tries []string
	if err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // it went away
		case entry.IsDir():
			tries = append(tries, "list "+path, "create "+path)
		case entry.Type() == fs.ModeSocket:
			tries = append(tries, "connect "+path)
		case entry.Type().IsRegular():
			tries = append(tries, "read "+path, "write "+path)
		}
		if path != dir {
			tries = append(tries, "remove "+path)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"environ", "maps", "mem", "stack", "fd/0", "fd/1", "root/etc/hostname"} {
		tries = append(tries, fmt.Sprintf("read /proc/%d/%s", server, name))
	}
	tries = append(tries, fmt.Sprintf("list /proc/%d/fd", server), fmt.Sprintf("list /proc/%d/cwd", server), fmt.Sprint("kill ", server), fmt.Sprint("trace ", server))
	for _, want := range []string{"documents/", "keys/secret.key", "postgres/", ".s.PGSQL."} {
		if !slices.ContainsFunc(tries, func(one string) bool { return strings.Contains(one, want) }) {
			t.Fatalf("the data folder has no %s", want)
		}
	}
	intruder := func(uid int, tries []string) []string {
		command := exec.Command("/proc/self/exe")
		command.Env, command.Dir = []string{asIntruder + "=" + strconv.Itoa(uid)}, "/"
		command.Stdin = strings.NewReader(strings.Join(tries, "\n"))
		out, err := command.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.Split(strings.TrimSpace(string(out)), "\n")
	}
	// As root the same program gets at what it only looks at, so its failures mean something.
	var looks []string
	for _, one := range tries {
		if !strings.HasPrefix(one, "create ") && !strings.HasPrefix(one, "remove ") && !strings.HasPrefix(one, "trace ") {
			looks = append(looks, one)
		}
	}
	got := intruder(0, looks)
	for _, want := range []string{"secret.key", "documents", ".s.PGSQL.", "environ", "kill"} {
		if !slices.ContainsFunc(got, func(one string) bool { return strings.Contains(one, want) }) {
			t.Errorf("root itself gets at no %s", want)
		}
	}
	if len(users) < 2 {
		t.Errorf("the children run as %v: one user for the browser, another for the workers", users)
	}
	for uid, what := range users {
		if uid == 0 {
			t.Errorf("%s runs as root", what)
			continue
		}
		if got := intruder(uid, tries); got[0] != "" {
			t.Errorf("as the user %d of %s one gets at %v", uid, what, got)
		}
	}
}

// childUsers are the users of the server's browser and workers, by their numbers.
func childUsers(t *testing.T, server int) map[int]string {
	t.Helper()
	users := map[int]string{}
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		status, _ := os.ReadFile(folder + "/status")
		arguments, _ := os.ReadFile(folder + "/cmdline")
		if !bytes.Contains(status, fmt.Appendf(nil, "\nPPid:\t%d\n", server)) {
			continue
		}
		var uid int
		_, of, _ := strings.Cut(string(status), "\nUid:\t")
		fmt.Sscan(of, &uid)
		switch {
		case bytes.Contains(arguments, []byte("--headless")):
			users[uid] = "Chromium"
		case bytes.HasPrefix(arguments, []byte("platen-sandbox-worker")):
			users[uid] = "the workers"
		}
	}
	return users
}

// T11, T16: what strangers make the workers do ends as a failure that says so, in time, while
// the server's own memory stays as it is; and the next document works.
func TestT11WhatIsTooMuchEndsTheDocumentAndNotTheServer(t *testing.T) {
	t.Parallel()
	dir, err := dataFolder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := serveProcess(t, dir, "PLATEN_EGRESS_ALLOW=127.0.0.0/8")
	c := &client{t: t, base: p.base, live: p.tokens()[0]}
	good := c.pdfOf("<p>good</p>")
	memory := func() (mb int) {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		_, of, _ := strings.Cut(string(status), "\nVmRSS:")
		fmt.Sscan(of, &mb)
		return mb >> 10
	}
	before := memory()
	for _, attack := range []struct{ html, code string }{
		{"{% for i in (1..1000000000) %}{% endfor %}", "TEMPLATE_LIMIT"},
		{"{% for i in (1..100000) %}{% for j in (1..100000) %}{% endfor %}{% endfor %}", "TEMPLATE_LIMIT"},
		{`{% assign a = "xxxxxxxxxxxxxxxx" %}{% for i in (1..64) %}{% assign a = a | append: a %}{% endfor %}{{ a }}`, "TEMPLATE_LIMIT"},
		{`{{ (1..100000000) | join: "," }}`, "TEMPLATE_LIMIT"},
		{"{{ (5..1) | join }}", "TEMPLATE_RENDER"},
	} {
		doc := c.submit(vars{"html": attack.html, "wait": 60})
		if doc.State != "FAILED" || doc.Failure.Stage != "TEMPLATE" || !strings.HasPrefix(doc.Failure.Code, attack.code) {
			t.Errorf("%s: %v", attack.html, doc)
		}
		if doc.ProcessingTimeMS == nil || *doc.ProcessingTimeMS > 30_000 {
			t.Errorf("%s: it took too long: %v", attack.html, doc)
		}
		if doc := c.submit(vars{"html": "{{ data.a }}", "data": vars{"a": "next"}, "wait": 60}); doc.State != "PROCESSED" {
			t.Errorf("after %s: %v", attack.html, doc)
		}
	}
	refused := c.refused(c.live, vars{"html": `{% include "/etc/passwd" %}`})
	if len(refused) != 1 || refused[0].Code != "TEMPLATE_INVALID" {
		t.Errorf("an include of a file: %+v", refused)
	}
	for name, attack := range map[string]struct {
		file []byte
		code string
	}{
		"broken":    {good[:len(good)/3], "SOURCE_DAMAGED"},
		"encrypted": {pdfEncrypted(t, good), "SOURCE_ENCRYPTED"},
		"recursive": {[]byte("%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Count 1/Kids[2 0 R]>>endobj\n" +
			"xref\n0 3\n0000000000 65535 f \n0000000009 00000 n \n0000000052 00000 n \ntrailer<</Size 3/Root 1 0 R>>\nstartxref\n104\n%%EOF\n"), "SOURCE_DAMAGED"},
		"enormous": {packedPDF(1 << 30), "SOURCE_"},
		"deep":     {[]byte("%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R/X " + strings.Repeat("[", 1<<20) + ">>endobj\n"), "SOURCE_"},
	} {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(attack.file) }))
		end := c.finalCombined(c.live, c.combine(c.live, vars{"sources": []vars{{"url": web.URL}}}).ID)
		web.Close()
		if end.State != "FAILED" || end.Failure.Stage != "COMBINE" || !strings.HasPrefix(end.Failure.Code, attack.code) {
			t.Errorf("%s: %v", name, end)
		}
	}
	if grown := memory() - before; grown > 60 {
		t.Errorf("the server's memory grew by %d MB, from %d", grown, before)
	}
	if end := c.submit(vars{"html": "<p>after</p>", "wait": 60}); end.State != "PROCESSED" {
		t.Errorf("afterwards: %v", end)
	}
}

// packedPDF is a small file whose objects are packed in a stream that becomes size bytes
// (ISO 32000-1, 7.5.7 and 7.5.8).
func packedPDF(size int) []byte {
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	z.Write([]byte("1 0 2 30 3 90 "))
	for blank := bytes.Repeat([]byte(" "), 1<<20); size > 0; size -= len(blank) {
		z.Write(blank)
	}
	z.Close()
	file := []byte("%PDF-1.5\n")
	at := len(file)
	file = fmt.Appendf(file, "4 0 obj\n<</Type/ObjStm/N 3/First 14/Filter/FlateDecode/Length %d>>stream\n%s\nendstream\nendobj\n", packed.Len(), packed.Bytes())
	table := "\x00\x00\x00\xff" + "\x02\x00\x04\x00\x02\x00\x04\x01\x02\x00\x04\x02" + string([]byte{1, 0, byte(at), 0})
	return fmt.Appendf(file, "5 0 obj\n<</Type/XRef/Size 5/Root 1 0 R/W[1 2 1]/Length %d>>stream\n%s\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n", len(table), table, len(file))
}
