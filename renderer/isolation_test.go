package renderer

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"platen"
)

// rounds is how often a test repeats what is to hold always.
func rounds(short, long int) int {
	if os.Getenv("TEST_LONG") != "" {
		return long
	}
	return short
}

// lookAndLeave is a page that looks for what earlier ones have left, leaves a mark in all
// the ways that there are, and looks again: what it finds then shows that it can see. The
// mark is in the place of §.
const lookAndLeave = `<!doctype html><body style="font:6px monospace"><p id=p>waiting</p><script>
const kept = [], sleep = ms => new Promise(r => setTimeout(r, ms)), has = text => ('' + text).includes('MARK') ? text : '';
const heard = () => new Promise(r => { const c = new BroadcastChannel('c'); let all = ''; c.onmessage = e => { if (('' + e.data).startsWith('here')) all += e.data }; c.postMessage('who');
	setTimeout(() => { c.close(); r(all) }, 40) });
const shared = say => new Promise((r, no) => { const w = new SharedWorker('/shared.js', 'w'); w.onerror = no; w.port.onmessage = e => r(e.data); w.port.postMessage(say); setTimeout(no, 2000) });
const within = (o, f) => new Promise((r, no) => { o.onsuccess = () => r(f(o.result)); o.onerror = no });
const looks = {
	name: () => window.name, global: () => window.mark, prototype: () => [].mark, title: () => document.title,
	state: () => history.state, hash: () => location.hash, opener: () => opener && 'MARK', referrer: () => document.referrer,
	length: () => history.length > (location.protocol == 'about:' ? 1 : 2) && !window.left ? 'MARK of ' + history.length : '',
	cookie: () => document.cookie, local: () => localStorage.m, session: () => sessionStorage.m,
	databases: async () => JSON.stringify(await indexedDB.databases()),
	caches: async () => JSON.stringify(await caches.keys()),
	files: async () => { let all = ''; for await (const name of (await navigator.storage.getDirectory()).keys()) all += name; return all },
	locks: async () => JSON.stringify(await navigator.locks.query()),
	worker: async () => JSON.stringify((await navigator.serviceWorker.getRegistrations()).map(r => r.active && r.active.scriptURL)),
	control: () => navigator.serviceWorker.controller && navigator.serviceWorker.controller.scriptURL,
	buckets: async () => (await navigator.storageBuckets.keys()).join(),
	shared: () => shared('look'), heard,
	styles: () => getComputedStyle(document.documentElement).getPropertyValue('--m'),
};
const leaves = [
	() => { window.left = true; window.name = window.mark = Array.prototype.mark = '§'; document.title = '§' },
	() => history.pushState('§', ''), () => { location.hash = '§' }, () => { document.cookie = 'm=§;max-age=9999' },
	() => { localStorage.m = '§' }, () => { sessionStorage.m = '§' }, () => within(indexedDB.open('§'), db => db.close()), () => caches.open('§'),
	async () => (await navigator.storage.getDirectory()).getFileHandle('§', {create: true}),
	() => { navigator.locks.request('§', () => new Promise(() => {})) },
	async () => { await navigator.serviceWorker.register('/worker.js?§'); await navigator.serviceWorker.ready },
	() => navigator.storageBuckets.open('mark-§'.toLowerCase().replace('mark-mark', 'mark')),
	() => shared('§'), () => { const c = new BroadcastChannel('c'); c.onmessage = e => { if (e.data == 'who') c.postMessage('here §') }; kept.push(c) },
	() => { setInterval(() => { window.name = '§' }, 1) }, () => { addEventListener('beforeunload', e => { e.preventDefault(); e.returnValue = 'x' }) },
	() => document.documentElement.style.setProperty('--m', '§'),
];
const look = async () => { const found = {}; for (const name in looks) { try { const f = has(await looks[name]()); if (f) found[name] = f } catch (e) {} } return found };
const answers = (async () => {
	const before = await look();
	before.numbers = typeof numbers == 'function' ? await numbers() : [];
	for (const leave of leaves) { try { await leave() } catch (e) {} }
	const after = await look();
	p.textContent = 'FOUND ' + btoa(JSON.stringify({before, after: Object.keys(after)})).replace(/.{100}/g, '$& ') + ' END';
	document.title = '';
	return true;
})();
</script>`

// numbered asks for what counts how often it was asked for, and may be kept.
const numbered = `<script>const numbers = async () => {
	const image = await new Promise(r => { const i = new Image(); i.onload = () => r(i.naturalWidth); i.onerror = () => r(-1); i.src = '§/image?ACCOUNT' });
	const script = await new Promise(r => { const s = document.createElement('script'); s.onload = () => r(window.number); s.src = '§/script?ACCOUNT'; document.head.append(s) });
	return [image, script, +await (await fetch('§/fetch?ACCOUNT')).text(), +await (await fetch('§/fetch?ACCOUNT', {cache: 'force-cache'})).text()];
};</script>`

// T4: of a thousand documents of two accounts, none sees anything of another, be it of the
// other account or of its own.
func TestT4NothingOfADocumentIsSeenByAnother(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	asked := map[string]int{}
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		mu.Lock()
		asked[r.URL.String()]++
		n := asked[r.URL.String()]
		mu.Unlock()
		switch r.URL.Path {
		case "/shared.js":
			w.Header().Set("Content-Type", "text/javascript")
			fmt.Fprint(w, "let m = ''; onconnect = e => { const port = e.ports[0]; port.onmessage = e => { if (e.data != 'look') m = e.data; port.postMessage(m) } }")
		case "/worker.js":
			w.Header().Set("Content-Type", "text/javascript")
			fmt.Fprint(w, "oninstall = () => skipWaiting(); onactivate = e => e.waitUntil(clients.claim()); onfetch = e => { if (e.request.mode == 'navigate') e.respondWith(new Response('MARK of a worker')) }")
		case "/image":
			w.Header().Set("Cache-Control", "max-age=3600")
			w.Header().Set("Content-Type", "image/svg+xml")
			fmt.Fprintf(w, "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='9'/>", n)
		case "/script":
			w.Header().Set("Cache-Control", "max-age=3600")
			w.Header().Set("Content-Type", "text/javascript")
			fmt.Fprintf(w, "window.number = %d", n)
		case "/fetch":
			w.Header().Set("Cache-Control", "max-age=3600")
			fmt.Fprint(w, n)
		default:
			if cookie := r.Header.Get("Cookie"); cookie != "" {
				t.Errorf("the cookie %s came back", cookie)
			}
			http.SetCookie(w, &http.Cookie{Name: "s", Value: r.URL.Query().Get("mark"), MaxAge: 9999, HttpOnly: true})
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, strings.ReplaceAll(lookAndLeave, "§", r.URL.Query().Get("mark")))
		}
	})
	for _, mode := range []struct {
		name string
		page func(account, mark string) Page
		sees int // kinds of marks, at least, that a page sees of its own
	}{
		{"markup", func(account, mark string) Page {
			return Page{HTML: strings.ReplaceAll(strings.ReplaceAll(numbered, "§", s.URL), "ACCOUNT", account) + strings.ReplaceAll(lookAndLeave, "§", mark)}
		}, 6},
		{"address", func(_, mark string) Page { return Page{URL: s.URL + "/page?mark=" + mark} }, 14},
	} {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			r := own(t, Options{})
			r.keptRender = 1 << 62
			half, uses := rounds(30, maxPageUses), 0
			for i := range half {
				var both sync.WaitGroup
				for _, account := range []string{"a", "b"} {
					both.Go(func() {
						p := mode.page(account, fmt.Sprintf("MARK-%s-%d", account, i))
						p.Account, p.Settings = account, platen.DefaultPageSettings()
						p.Settings.WaitFor = &platen.WaitFor{Expression: "answers"}
						result, err := r.Render(t.Context(), p)
						if err != nil {
							t.Errorf("%s: %v", account, err)
							return
						}
						before, after := findings(t, result.Content)
						numbers, _ := before["numbers"].([]any)
						delete(before, "numbers")
						if len(before) > 0 {
							t.Errorf("%s, %d: found %v", account, i, before)
						}
						if len(after) < mode.sees {
							t.Errorf("%s, %d: it sees only %v of its own marks, so this proves little", account, i, after)
						}
						// What is asked for a second time within a document comes from its cache.
						if want := []any{float64(i + 1), float64(i + 1), float64(i + 1), float64(i + 1)}; mode.name == "markup" && !slices.Equal(numbers, want) {
							t.Errorf("%s, %d: cached by an earlier document: %v, want %v", account, i, numbers, want)
						}
					})
				}
				both.Wait()
				if mode.name == "markup" && i < half-1 { // the last of the long form ends its page
					uses = waitIdle(t, r, "a").uses
					waitIdle(t, r, "b")
				}
			}
			if mode.name == "markup" && uses < half/2 {
				t.Errorf("the account's page was used %d times of %d, so this proves little", uses, half)
			}
		})
	}
}

// findings are what a page of lookAndLeave printed.
func findings(t testing.TB, pdf []byte) (before map[string]any, after []string) {
	t.Helper()
	printed := strings.Join(strings.Fields(text(t, pdf)), "")
	_, printed, _ = strings.Cut(printed, "FOUND")
	printed, _, ended := strings.Cut(printed, "END")
	var found struct {
		Before map[string]any
		After  []string
	}
	if decoded, err := base64.StdEncoding.DecodeString(printed); !ended || err != nil || json.Unmarshal(decoded, &found) != nil {
		t.Errorf("the page printed %q", text(t, pdf))
	}
	return found.Before, found.After
}

// T5: the processes that run a page's markup and scripts are in Chromium's sandbox: another
// user than root, no capabilities, system calls filtered, and namespaces of their own.
func TestT5ChromiumsSandboxIsOn(t *testing.T) {
	t.Parallel()
	r := own(t, Options{})
	renderOn(t, r, document(t, "<script>1</script>x"))
	waitIdle(t, r, account(t)) // its process has put itself into the sandbox
	b := r.browserOfNow()
	namespace := func(pid int, kind string) string {
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		if err != nil && os.Getuid() == 0 {
			t.Fatal(err)
		}
		return link
	}
	found := 0
	for _, pid := range family(b.command.Process.Pid) {
		arguments, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if bytes.Contains(arguments, []byte("--no-sandbox")) || bytes.Contains(arguments, []byte("--disable-web-security")) {
			t.Errorf("a process has the arguments %q", arguments)
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		if os.Getuid() == 0 && !bytes.Contains(status, fmt.Appendf(nil, "\nUid:\t%d\t%d\t%d\t%d\n", testUID, testUID, testUID, testUID)) {
			t.Errorf("a process runs as somebody else:\n%s", status)
		}
		if !bytes.Contains(arguments, []byte("--type=renderer")) {
			continue
		}
		found++
		for _, want := range []string{"\nSeccomp:\t2\n", "\nNoNewPrivs:\t1\n", "\nCapPrm:\t0000000000000000\n", "\nCapEff:\t0000000000000000\n"} {
			if !bytes.Contains(status, []byte(want)) {
				t.Errorf("no %q in\n%s", want, status)
			}
		}
		for _, kind := range []string{"pid", "net"} {
			if theirs := namespace(pid, kind); theirs != "" && theirs == namespace(os.Getpid(), kind) {
				t.Errorf("it has our %s namespace", kind)
			}
		}
	}
	if found == 0 {
		t.Error("there is no process of a page")
	}
}

// T5: no process of the browser has anything of ours, in its environment or open.
func TestT5ChromiumHasNeitherOurEnvironmentNorOurFiles(t *testing.T) {
	t.Setenv("PLATEN_SECRET_KEY", "geheim")
	secret, err := os.Create(filepath.Join(t.TempDir(), "secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	server(t, "127.0.0.1", nil)
	r := own(t, Options{})
	b := r.browserOfNow()
	renderOn(t, r, document(t, "<script>1</script>x"))
	waitIdle(t, r, account(t))
	helper(t, b, "--type=renderer")
	// What it shares with us by intention: the two pipes of the protocol, and stderr's.
	shares := map[string]bool{"/dev/null": true}
	for _, fd := range []int{2, 3, 4} {
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", b.command.Process.Pid, fd))
		if err != nil {
			t.Fatal(err)
		}
		shares[link] = true
	}
	ours := map[string]bool{}
	for _, link := range opened(t, os.Getpid()) {
		ours[link] = !shares[link]
	}
	if !ours[secret.Name()] {
		t.Fatal("our own files are not seen")
	}
	processes := 0
	for _, pid := range family(b.command.Process.Pid) {
		environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			continue // it has ended
		}
		processes++
		if bytes.Contains(environment, []byte("geheim")) || bytes.Contains(environment, []byte("PLATEN")) {
			t.Errorf("%d has the environment %q", pid, environment)
		}
		for _, link := range opened(t, pid) {
			if ours[link] {
				t.Errorf("%d has %s open, which is ours", pid, link)
			}
		}
	}
	if processes < 3 {
		t.Errorf("only %d processes were looked at", processes)
	}
}

// opened are the names of what a process has open, but for what any may share.
func opened(t testing.TB, pid int) []string {
	t.Helper()
	folder := fmt.Sprintf("/proc/%d/fd", pid)
	all, err := os.ReadDir(folder)
	if err != nil && os.Getuid() == 0 && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var links []string
	for _, one := range all {
		if link, err := os.Readlink(filepath.Join(folder, one.Name())); err == nil && !strings.HasPrefix(link, "anon_inode:") {
			links = append(links, link)
		}
	}
	return links
}

// T4: what a page names of the machine, of the browser's own, or of another account's page is
// never loaded, in any place that takes an address. The same places do load what is allowed.
func TestT4NoSchemeReachesTheMachineOrTheBrowser(t *testing.T) {
	t.Parallel()
	folder := reachableDir(t)
	files := map[string]string{"page.html": "<p>T4-READ</p><script>parent.postMessage('T4-READ','*')</script>", "image.svg": "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
		"style.css": "body{--read:T4-READ}", "script.js": "window.read='T4-READ'"}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	told := make(chan string, 1)
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		name := filepath.Base(r.URL.Path)
		if name == "blob" {
			told <- r.URL.Query().Get("is")
		}
		w.Header().Set("Content-Type", map[string]string{".html": "text/html", ".svg": "image/svg+xml", ".css": "text/css", ".js": "text/javascript"}[filepath.Ext(name)])
		fmt.Fprint(w, files[name])
	})
	other := document(t, "<script>fetch('"+s.URL+"/blob?is='+encodeURIComponent(URL.createObjectURL(new Blob([\"<p>T4-READ</p><script>parent.postMessage('T4-READ','*')</sc\"+\"ript>\"],{type:'text/html'}))))</script>")
	other.Account += "-other"
	stop := staying(t, shared, other)
	defer stop()
	blob := <-told

	// § is a folder with the files, and ¶ a page by itself.
	const places = `<body><p id=p>UNREAD</p><script>
		const read = () => { p.textContent = 'T4-READ' };
		onmessage = e => e.data == 'T4-READ' && read();
		const quiet = f => { try { const r = f(); r && r.catch && r.catch(() => {}) } catch (e) {} };
		</script>
		<iframe src="¶"></iframe><object data="¶"></object><embed src="¶">
		<img src="§image.svg" onload="read()"><video src="¶" onloadeddata="read()"></video>
		<link rel=stylesheet href="§style.css"><style>@import "§style.css";</style>
		<script src="§script.js" onload="read()"></script><script type=module src="§script.js" onload="read()"></script>
		<script>
		quiet(() => fetch("¶").then(r => r.text()).then(t => t.includes('T4-READ') && read()));
		quiet(() => { const x = new XMLHttpRequest(); x.open('GET', "¶", false); x.send(); x.responseText.includes('T4-READ') && read() });
		quiet(() => import("§script.js").then(read));
		quiet(() => new Worker("§script.js").onmessage = read);
		quiet(() => { const w = window.open("¶"); setTimeout(() => quiet(() => w.document.body.textContent.includes('T4-READ') && read()), 100) });
		quiet(() => { const f = document.createElement('iframe'); document.body.append(f); f.contentWindow.location = "¶" });
		const settled = new Promise(r => setTimeout(() => { getComputedStyle(document.body).getPropertyValue('--read') && read(); r(true) }, 300));
		</script>`
	visit := func(folder, page string) string {
		p := document(t, strings.NewReplacer("§", folder, "¶", page).Replace(places))
		p.Settings.WaitFor = &platen.WaitFor{Expression: "settled"}
		result, err := shared.Render(t.Context(), p)
		if err != nil {
			return err.Error() // what is missing fails the document
		}
		return text(t, result.Content)
	}
	if got := visit(s.URL+"/", s.URL+"/page.html"); !strings.Contains(got, "T4-READ") {
		t.Fatalf("what is allowed is not loaded: %q", got)
	}
	page := folder + "/page.html"
	for scheme, address := range map[string][2]string{
		"file": {"file://" + folder + "/", "file://" + page}, "FILE": {"FILE://" + folder + "/", "FILE://" + page},
		"file, localhost": {"file://localhost" + folder + "/", "file://localhost" + page}, "file, one slash": {"file:" + folder + "/", "file:" + page},
		"view-source": {"view-source:file://" + folder + "/", "view-source:file://" + page}, "view-source of http": {"view-source:" + s.URL + "/", "view-source:" + s.URL + "/page.html"},
		"filesystem": {"filesystem:file://" + folder + "/", "filesystem:" + s.URL + "/temporary/page.html"},
		"blob":       {blob, blob}, "blob of a file": {"blob:file://" + folder + "/", "blob:file://" + page},
		"chrome": {"chrome://version/", "chrome://version/"}, "chrome, opaque": {"chrome:version", "chrome:version"}, "devtools": {"devtools://devtools/bundled/", "devtools://devtools/bundled/inspector.html"},
		"chrome-extension": {"chrome-extension://x/", "chrome-extension://x/page.html"}, "ftp": {"ftp://" + openHost + "/", "ftp://" + openHost + "/page.html"},
		"jar": {"jar:file://" + page + "!/", "jar:file://" + page + "!/x"}, "environ": {"file:///proc/self/", "file:///proc/self/environ"},
	} {
		got := visit(address[0], address[1])
		for _, sign := range []string{"T4-READ", "HOME=", "DBUS_", "Chromium\t", "User Agent"} {
			if strings.Contains(got, sign) {
				t.Errorf("%s: the document holds %q:\n%s", scheme, sign, got)
			}
		}
	}
	// Nor does a page get there by leaving, from markup or from an address.
	for _, target := range []string{"file://" + page, "FILE://" + page, "view-source:file://" + page, "chrome://version", "file:///proc/self/environ", blob} {
		leaving := server(t, openHost, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/redirect":
				w.Header().Set("Location", target)
				w.WriteHeader(http.StatusFound)
			case "/script":
				w.Header().Set("Content-Type", "text/html")
				fmt.Fprintf(w, "<script>location='%s'</script>stays", target)
			case "/refresh":
				w.Header().Set("Content-Type", "text/html")
				fmt.Fprintf(w, "<meta http-equiv=refresh content='0;url=%s'>stays", target)
			}
		})
		pages := []Page{document(t, "<script>location='"+target+"'</script>stays"), document(t, "<meta http-equiv=refresh content='0;url="+target+"'>stays"),
			document(t, "<form action='"+target+"'></form><script>document.forms[0].submit()</script>stays"), at(t, target)}
		for _, path := range []string{"/redirect", "/script", "/refresh"} {
			pages = append(pages, at(t, leaving.URL+path))
		}
		var all sync.WaitGroup
		for i, p := range pages {
			p.Settings.Timeout = 2
			all.Go(func() {
				if result, err := shared.Render(t.Context(), p); err == nil {
					if got := text(t, result.Content); strings.Contains(got, "T4-READ") || strings.Contains(got, "HOME=") || strings.Contains(got, "User Agent") {
						t.Errorf("%s, way %d: %q", target, i, got)
					}
				}
			})
		}
		all.Wait()
	}
}
