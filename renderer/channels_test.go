package renderer

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"platen"
	"platen/egress"
)

// events is how long what a page tries is waited for, on a machine with much else to do.
const events = 90 * time.Second

// channel is a way for a page to make somebody be connected to. § in it is a host of
// its own, with the port of the canary; ¶ is the canary's allowed address.
type channel struct{ name, markup string }

// channels are all that we know of. What begins with js: is a script of its own.
var channels = []channel{
	{"img", "<img src=http://§/>"},
	{"srcset", "<img srcset='http://§/ 1x'>"},
	{"picture", "<picture><source srcset=http://§/><img></picture>"},
	{"input", "<input type=image src=http://§/>"},
	{"body-background", "<table background=http://§/><tr><td>x</table>"},
	{"svg-image", "<svg><image href=http://§/ width=9 height=9 /></svg>"},
	{"svg-filter", "<svg><filter id=f><feImage href=http://§/ /></filter><rect filter=url(#f) width=9 height=9 /></svg>"},
	{"stylesheet", "<link rel=stylesheet href=http://§/>"},
	{"css-import", "<style>@import 'http://§/';</style>"},
	{"css-import-url", "<style>@import url(http://§/) print;</style>"},
	{"css-background", "<p style='background:url(http://§/)'>x"},
	{"css-escaped", `<p style="background:\75rl(\68ttp://§/)">x`},
	{"css-image-set", "<p style='background:image-set(\"http://§/\" 1x)'>x"},
	{"css-list-style", "<li style='list-style-image:url(http://§/)'>x"},
	{"css-content", "<style>#c::after{content:url(http://§/)}</style><p id=c>x"},
	{"css-mask", "<p style='mask-image:url(http://§/)'>x"},
	{"css-border", "<p style='border:1px solid;border-image:url(http://§/) 1'>x"},
	{"font", "<style>@font-face{font-family:Z1;src:url(http://§/)}</style><p style='font-family:Z1'>x"},
	{"font-face", "js:new FontFace('Z2', 'url(http://§/)').load()"},
	{"script", "<script src=http://§/></script>"},
	{"module", "<script type=module src=http://§/></script>"},
	{"import", "js:import('http://§/')"},
	{"iframe", "<iframe src=http://§/></iframe>"},
	{"object", "<object data=http://§/></object>"},
	{"embed", "<embed src=http://§/>"},
	{"video", "<video src=http://§/ preload=auto></video>"},
	{"poster", "<video poster=http://§/></video>"},
	{"audio", "<audio src=http://§/ preload=auto></audio>"},
	{"track", "<video src=data:video/mp4,x crossorigin><track default kind=captions src=http://§/></video>"},
	{"prefetch", "<link rel=prefetch href=http://§/>"},
	{"preload", "<link rel=preload as=image href=http://§/>"},
	{"modulepreload", "<link rel=modulepreload href=http://§/>"},
	{"preconnect", "<link rel=preconnect href=http://§/>"},
	{"dns-prefetch", "<link rel=dns-prefetch href=http://§/>"},
	{"prerender", "<link rel=prerender href=http://§/>"},
	{"speculation", `<script type=speculationrules>{"prefetch":[{"urls":["http://§/"],"eagerness":"immediate"}]}</script>`},
	{"icon", "<link rel=icon href=http://§/>"},
	{"manifest", "<link rel=manifest href=http://§/>"},
	{"fetch", "js:fetch('http://§/', {mode: 'no-cors'})"},
	{"keepalive", "js:fetch('http://§/', {mode: 'no-cors', keepalive: true, method: 'POST', body: 'x'})"},
	{"xhr", "js:{ const x = new XMLHttpRequest(); x.open('GET', 'http://§/'); x.send() }"},
	{"beacon", "js:navigator.sendBeacon('http://§/', 'x')"},
	{"eventsource", "js:new EventSource('http://§/')"},
	{"image-object", "js:new Image().src = 'http://§/'"},
	{"websocket", "js:new WebSocket('ws://§/')"},
	{"websocket-tls", "js:new WebSocket('wss://§/')"},
	{"https", "js:fetch('https://§/', {mode: 'no-cors'})"},
	{"worker-fetch", "js:new Worker(code(`fetch('http://§/', {mode: 'no-cors'})`))"},
	{"worker-import", "js:new Worker(code(`importScripts('http://§/')`))"},
	{"worker-websocket", "js:new Worker(code(`new WebSocket('ws://§/')`))"},
	{"worker-in-worker", "js:new Worker(code('new Worker(URL.createObjectURL(new Blob([`fetch(\"http://§/\", {mode: \"no-cors\"})`])))'))"},
	{"popup", "js:window.open('http://§/')"},
	{"popup-noopener", "js:window.open('http://§/', '', 'noopener')"},
	{"ping", "<a id=ping href='data:,x' target=into ping=http://§/>x</a><script>ping.click()</script>"},
	{"link", "<a id=link href=http://§/ target=_blank>x</a><script>link.click()</script>"},
	{"form", "<form id=form method=post action=http://§/ target=into></form><iframe name=into></iframe><script>form.submit()</script>"},
	{"form-blank", "<form id=blank action=http://§/ target=_blank></form><script>blank.submit()</script>"},
	{"frame-location", "<iframe name=moved></iframe><script>moved.location = 'http://§/'</script>"},
	{"frame-refresh", "<iframe srcdoc='<meta http-equiv=refresh content=\"0;url=http://§/\">'></iframe>"},
	{"frame-srcdoc", "<iframe srcdoc='<img src=http://§/>'></iframe>"},
	{"frame-sandbox", "<iframe sandbox=allow-scripts srcdoc='<script>fetch(\"http://§/\", {mode: \"no-cors\"})</script>'></iframe>"},
	{"redirect-img", "<img src=http://¶/redirect?http://§/>"},
	{"redirect-fetch", "js:fetch('http://¶/redirect?http://§/', {mode: 'no-cors'})"},
	{"redirect-frame", "<iframe src=http://¶/redirect?http://§/></iframe>"},
	{"redirect-refresh", "<iframe src=http://¶/refresh?http://§/></iframe>"},
	{"redirect-twice", "<img src=http://¶/redirect?http://¶/redirect?http://§/>"},
	{"redirect-worker", "js:new Worker(code(`fetch('http://¶/redirect?http://§/', {mode: 'no-cors'})`))"},
	{"stun", "js:rtc('stun:§', () => fetch('http://§/', {mode: 'no-cors'}))"}, // it tells when it has tried
	{"turn", "js:rtc('turn:§?transport=tcp')"},
	{"turns", "js:rtc('turns:§?transport=tcp')"},
	{"webtransport", "js:new WebTransport('https://§/')"},
}

// ofOrigins need a page with an origin of its own: one at an address.
var ofOrigins = []channel{
	{"shared-worker", "js:new SharedWorker('/shared.js?http://§/')"},
	{"service-worker", "js:navigator.serviceWorker.register('/service.js?http://§/')"},
	{"worklet", "js:new OfflineAudioContext(1, 1, 8000).audioWorklet.addModule('http://§/')"},
	{"same-origin-worker", "js:new Worker('/shared.js?http://§/')"},
}

// notTried are the channels that our Chromium does not have: it is told not to, or
// headless browsers leave them out. That they reach nothing is tested all the same.
var notTried = []string{"dns-prefetch", "icon", "manifest", "preconnect", "prerender", "speculation", "webtransport"}

const channelsHead = `<!doctype html><body><script>
	const code = text => URL.createObjectURL(new Blob([text], {type: 'text/javascript'}));
	const rtc = (url, then) => { const c = new RTCPeerConnection({iceServers: [{urls: url, username: 'x', credential: 'x'}]}); c.createDataChannel('x'); c.createOffer().then(o => c.setLocalDescription(o)); (window.kept ??= []).push(c);
		c.onicegatheringstatechange = () => c.iceGatheringState == 'complete' && then?.() };
	</script>`

// channelPage tries channels, each at the host that to says.
func channelPage(all []channel, to func(i int, name string) string, open string) string {
	var page strings.Builder
	page.WriteString(channelsHead)
	for i, one := range all {
		markup := one.markup
		if script, ok := strings.CutPrefix(markup, "js:"); ok {
			markup = "<script>try { const r = " + script + "; r?.catch?.(() => {}) } catch (e) {}</script>"
			if strings.HasPrefix(script, "{") {
				markup = "<script>" + script + "</script>"
			}
		}
		page.WriteString("\n" + strings.NewReplacer("§", to(i, one.name), "¶", open).Replace(markup))
	}
	return page.String()
}

// seen is a set that can be waited for.
type seen struct {
	mu      sync.Mutex
	set     map[string]bool
	changed chan struct{}
}

func newSeen() *seen { return &seen{set: map[string]bool{}, changed: make(chan struct{}, 1)} }

func (s *seen) add(name string) {
	s.mu.Lock()
	s.set[name] = true
	s.mu.Unlock()
	signal(s.changed)
}

func (s *seen) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.set))
}

// missing waits until all of the names are there, and returns those that never come.
func (s *seen) missing(names []string, patience time.Duration) []string {
	over := time.After(patience)
	for {
		s.mu.Lock()
		left := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return s.set[name] })
		s.mu.Unlock()
		if len(left) == 0 {
			return nil
		}
		select {
		case <-s.changed:
		case <-over:
			return left
		}
	}
}

// Handle makes a seen a log that remembers the hosts that were denied.
func (s *seen) Handle(_ context.Context, record slog.Record) error {
	if record.Message == "egress denied" {
		record.Attrs(func(a slog.Attr) bool {
			if a.Key == "host" {
				s.add(a.Value.String())
			}
			return true
		})
	}
	return nil
}
func (s *seen) Enabled(context.Context, slog.Level) bool { return true }
func (s *seen) WithAttrs([]slog.Attr) slog.Handler       { return s }
func (s *seen) WithGroup(string) slog.Handler            { return s }

// theCanary listens on every address of this machine, on one port of TCP and of UDP. What
// comes for the allowed address is remembered by its host, and anything else by how it came.
type theCanary struct {
	port          string
	open, strange *seen
	// page is what stands at the path /page.
	page string
}

func startCanary(t testing.TB) *theCanary {
	t.Helper()
	c := &theCanary{open: newSeen(), strange: newSeen()}
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	_, c.port, _ = net.SplitHostPort(listener.Addr().String())
	packets, err := net.ListenPacket("udp", ":"+c.port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { packets.Close() })
	go func() {
		for {
			_, from, err := packets.ReadFrom(make([]byte, 2000))
			if err != nil {
				return
			}
			c.strange.add("UDP from " + from.(*net.UDPAddr).IP.String())
		}
	}()
	server := &http.Server{Handler: c, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go server.Serve(watched{listener, c})
	t.Cleanup(func() { server.Close() })
	return c
}

// watched tells of connections, also of those on which nothing is asked.
type watched struct {
	net.Listener
	canary *theCanary
}

func (w watched) Accept() (net.Conn, error) {
	conn, err := w.Listener.Accept()
	if err == nil && conn.LocalAddr().(*net.TCPAddr).IP.String() != openHost {
		w.canary.strange.add("TCP to " + conn.LocalAddr().String())
	}
	return conn, err
}

func (c *theCanary) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	switch to := r.URL.RawQuery; r.URL.Path {
	case "/redirect":
		http.Redirect(w, r, to, http.StatusFound)
	case "/refresh":
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, "<meta http-equiv=refresh content='0;url=%s'>", to)
	case "/shared.js":
		w.Header().Set("Content-Type", "text/javascript")
		fmt.Fprintf(w, "fetch('%s', {mode: 'no-cors'})", to)
	case "/service.js":
		w.Header().Set("Content-Type", "text/javascript")
		fmt.Fprintf(w, "oninstall = () => fetch('%s', {mode: 'no-cors'})", to)
	case "/page":
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, c.page)
	default:
		c.open.add(r.Host)
	}
}

// ownAddress is an address of this machine in a network: none of loopback, and none of
// the internet.
func ownAddress(t testing.TB) (address netip.Addr, found bool) {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		prefix, err := netip.ParsePrefix(one.String())
		if err == nil && prefix.Addr().Is4() && !prefix.Addr().IsLoopback() {
			return prefix.Addr(), true
		}
	}
	return netip.Addr{}, false
}

// T1: a page reaches nothing on loopback or in a private network by any way that there is
// to reach it, and the same page does reach what is allowed.
func TestT1NoChannelOfAPageLeadsToAPrivateAddress(t *testing.T) {
	t.Parallel()
	allow, err := egress.ParseAllow(openHost)
	if err != nil {
		t.Fatal(err)
	}
	private, found := ownAddress(t)
	if !found {
		private = netip.MustParseAddr("127.0.0.3") // such a machine has no network to protect
	}
	for _, mode := range []struct {
		name     string
		channels []channel
	}{{"markup", channels}, {"address", slices.Concat(channels, ofOrigins)}} {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			denied := newSeen()
			guard := egress.New(egress.Options{Allow: allow, Resolver: func(_ context.Context, host string) ([]netip.Addr, error) {
				switch host[strings.Index(host, ".")+1:] {
				case "open.test":
					return []netip.Addr{netip.MustParseAddr(openHost)}, nil
				case "loopback.test":
					return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
				case "private.test":
					return []netip.Addr{private}, nil
				}
				return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
			}})
			proxy, err := egress.NewProxy(guard, slog.New(denied))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { proxy.Close() })
			r := own(t, Options{Proxy: proxy})

			// visit renders the page and waits until each of these has come to what is awaited.
			visit := func(t *testing.T, to func(int, string) string, awaited func(*theCanary) *seen, want func(name string) bool) *theCanary {
				t.Helper()
				canary := startCanary(t)
				open := openHost + ":" + canary.port
				at := func(i int, name string) string { return to(i, name) + ":" + canary.port }
				page := channelPage(mode.channels, at, open)
				p := document(t, page)
				if mode.name == "address" {
					canary.page = page
					p = Page{Account: account(t), URL: "http://" + open + "/page", Settings: platen.DefaultPageSettings()}
				}
				stop := staying(t, r, p)
				defer stop()
				var hosts []string
				for i, one := range mode.channels {
					if want(one.name) {
						hosts = append(hosts, at(i, one.name))
					}
				}
				if left := awaited(canary).missing(hosts, events); left != nil {
					t.Errorf("never tried: %v", left)
				}
				return canary
			}
			tried := func(name string) bool { return !slices.Contains(notTried, name) }
			// An allowed address is reached by each, but for those that need TLS or speak
			// another protocol, of which the proxy's denials below tell.
			control := visit(t, func(_ int, name string) string { return name + ".open.test" }, func(c *theCanary) *seen { return c.open }, func(name string) bool {
				return tried(name) && !slices.Contains([]string{"websocket-tls", "https", "turn", "turns"}, name)
			})
			if strange := control.strange.names(); strange != nil {
				t.Errorf("beside the allowed address: %v", strange)
			}
			for kind, to := range map[string]func(int, string) string{
				"loopback, by an address for each": func(i int, _ string) string { return fmt.Sprintf("127.0.%d.%d", 1+i/250, 1+i%250) },
				"loopback, by name":                func(_ int, name string) string { return name + ".loopback.test" },
				"private, by name":                 func(_ int, name string) string { return name + ".private.test" },
			} {
				canary := visit(t, to, func(*theCanary) *seen { return denied }, tried)
				if strange := canary.strange.names(); strange != nil {
					t.Errorf("%s: reached, %v", kind, strange)
				}
			}
		})
	}
}

// staying renders a page that waits for ever, until it is told to stop.
func staying(t testing.TB, r *Renderer, p Page) (stop func()) {
	p.Settings.WaitFor = &platen.WaitFor{Expression: "new Promise(() => {})"}
	p.Settings.Timeout = platen.MaxRenderTimeout
	ctx, cancel := context.WithCancel(t.Context())
	rendered := make(chan error, 1)
	go func() {
		_, err := r.Render(ctx, p)
		rendered <- err
	}()
	return func() {
		cancel()
		if err := <-rendered; err != context.Canceled {
			t.Errorf("the page did not stay: %v", err)
		}
	}
}

// T1: with network: false a page reaches nothing by any way, not even what the operator
// allows.
func TestT1APageWithoutNetworkReachesNothing(t *testing.T) {
	t.Parallel()
	canary := startCanary(t)
	var hosts []string
	to := func(i int, name string) string {
		host := fmt.Sprintf("127.0.0.2:%s", canary.port)
		if i%2 == 0 {
			host = fmt.Sprintf("%s.open.test:%s", name, canary.port)
		}
		if !slices.Contains(notTried, name) {
			hosts = append(hosts, host)
		}
		return host
	}
	p := document(t, channelPage(slices.DeleteFunc(slices.Clone(channels), func(c channel) bool { return strings.Contains(c.markup, "¶") }), to, ""))
	p.Settings.NoNetwork = true
	stop := staying(t, shared, p)
	defer stop()
	deadline := time.Now().Add(40 * time.Second)
	for _, host := range hosts {
		for shared.nowhere.Refusal(host) != egress.RefusedClosed {
			if time.Now().After(deadline) {
				t.Fatalf("%s was never tried", host)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	if reached := slices.Concat(canary.open.names(), canary.strange.names()); reached != nil {
		t.Errorf("reached: %v", reached)
	}
}

func TestAnAssetThatNeedsTheNetworkFailsADocumentWithoutAndSaysSo(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	s := server(t, openHost, func(w http.ResponseWriter, r *http.Request) { hits.Add(1); w.Write(redPNG()) })
	for _, html := range []string{
		"<img src=§/a.png>", "<img src=https://example.com/a.png>", "<link rel=stylesheet href=§/a.css>", "<script src=§/a.js></script>",
		"<style>@font-face{font-family:F;src:url(§/f)} p{font-family:F}</style><p>x",
	} {
		for _, scripts := range []bool{true, false} {
			if !scripts && strings.Contains(html, "<script") {
				continue
			}
			p := document(t, strings.ReplaceAll(html, "§", s.URL))
			p.Settings.NoNetwork, p.Settings.NoJavaScript = true, !scripts
			failure := renderFails(t, shared, p, platen.StageAsset, platen.FailureEgressDenied)
			if failure.Retryable || !strings.Contains(failure.Message, "network: false") || strings.Contains(failure.Message, "PLATEN_") {
				t.Errorf("%s: %s", html, failure.Message)
			}
		}
	}
	for _, kind := range []platen.OutputKind{platen.OutputPDF, platen.OutputPNG} {
		p := document(t, "<img src='data:image/svg+xml,%3Csvg xmlns=%22http://www.w3.org/2000/svg%22/%3E'><p id=p>x<script>fetch('"+s.URL+"').catch(()=>{p.textContent='refused'})</script>")
		p.Settings.NoNetwork, p.Output, p.Screenshot, p.Watermark = true, kind, platen.DefaultScreenshot(), "TEST"
		p.Settings.WaitFor = &platen.WaitFor{Expression: "p.textContent=='refused'"}
		if _, err := shared.Render(t.Context(), p); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if hits.Load() != 0 {
		t.Errorf("%d requests", hits.Load())
	}
	// The account's other documents have their network.
	render(t, document(t, "<img src="+s.URL+"/a.png>"))
	if hits.Load() != 1 {
		t.Errorf("%d requests of one", hits.Load())
	}
}

// without makes a Chromium that is started without some of its flags.
func without(t testing.TB, patterns string, more ...string) string {
	t.Helper()
	chromium, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(reachableDir(t), "chromium")
	script := "#!/bin/sh\nfor a do shift; case \"$a\" in " + patterns + ") ;; *) set -- \"$@\" \"$a\";; esac; done\nexec " + chromium + " \"$@\" " + strings.Join(more, " ") + "\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// T1: what each flag is for is seen when it is missing, so the suite above can fail.
func TestT1WithoutItsFlagsChromiumGoesAroundTheProxy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ flag, markup, reached string }{
		{"--proxy-bypass-list=*", "<img src=http://127.0.0.1:%s/ onerror=tell() onload=tell()>", "TCP to 127.0.0.1:"},
		{"--force-webrtc-ip-handling-policy=*", channelsHead + "<script>rtc('stun:127.0.0.1:%s', tell)</script>", "UDP from 127.0.0.1"},
	} {
		t.Run(c.flag, func(t *testing.T) {
			t.Parallel()
			for _, missing := range []bool{true, false} {
				canary := startCanary(t)
				o := Options{}
				if missing {
					o.Executable = without(t, c.flag)
				}
				tell := "<script>const tell = () => fetch('http://" + openHost + ":" + canary.port + "/', {mode: 'no-cors'})</script>"
				stop := staying(t, own(t, o), document(t, tell+fmt.Sprintf(c.markup, canary.port)))
				if !missing {
					if left := canary.open.missing([]string{openHost + ":" + canary.port}, events); left != nil {
						t.Error("the page does not tell that it has tried")
					}
					stop()
					if strange := canary.strange.names(); strange != nil {
						t.Errorf("with the flag: %v", strange)
					}
					continue
				}
				reached := c.reached
				if strings.HasSuffix(reached, ":") {
					reached += canary.port
				}
				if left := canary.strange.missing([]string{reached}, events); left != nil {
					t.Errorf("without the flag, the canary is not reached either: this proves nothing")
				}
				stop()
			}
		})
	}
}

// T1: a name that Chromium looked up by itself would carry what it holds to whoever answers
// for it. It looks up none: the proxy does, for what it may reach.
func TestT1ChromiumLooksUpNoName(t *testing.T) {
	t.Parallel()
	const markup = channelsHead + `<link rel=dns-prefetch href=//prefetched.invalid><link rel=preconnect href=//connected.invalid>
		<img src=http://fetched.invalid/><script>new WebSocket('ws://socket.invalid/'); fetch('https://secure.invalid/').catch(() => {});
		rtc('stun:stun.invalid:1', () => fetch('http://%s/', {mode: 'no-cors'}))</script>`
	for _, around := range []bool{true, false} {
		canary, folder := startCanary(t), reachableDir(t)
		if err := os.Chmod(folder, 0o777); err != nil {
			t.Fatal(err)
		}
		log, missing := filepath.Join(folder, "net.json"), "--none"
		if around {
			missing = "--proxy-server=*"
		}
		r := own(t, Options{Executable: without(t, missing, "--log-net-log="+log)})
		open := openHost + ":" + canary.port
		stop := staying(t, r, document(t, fmt.Sprintf(markup, open)))
		if left := canary.open.missing([]string{open}, events); left != nil {
			t.Error("the page does not tell that it has tried")
		}
		stop()
		b := r.browserOfNow()
		_, _ = b.call(t.Context(), "", "Browser.close", nil) // it writes its log as it ends
		<-b.exited
		if lookups, complete := lookups(t, log); !complete || around != (lookups > 0) {
			t.Errorf("without %s: %d lookups, the log is complete: %t", missing, lookups, complete)
		}
	}
}

// lookups counts what Chromium's log of its network says of names that were looked up.
func lookups(t testing.TB, path string) (count int, complete bool) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var log struct {
		Constants struct{ LogEventTypes map[string]int }
		Events    []struct{ Type int }
	}
	if err := json.Unmarshal(text, &log); err != nil {
		t.Fatal(err)
	}
	job, known := log.Constants.LogEventTypes["HOST_RESOLVER_MANAGER_JOB"]
	for _, event := range log.Events {
		if event.Type == job {
			count++
		}
	}
	return count, known && len(log.Events) > 0
}
