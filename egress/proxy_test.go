package egress

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"
)

func startProxy(t testing.TB, allow string) *Proxy {
	t.Helper()
	return proxyOf(t, New(Options{Allow: mustAllow(t, allow)}))
}

func proxyOf(t testing.TB, guard *Guard) *Proxy {
	t.Helper()
	p, err := NewProxy(guard, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func throughProxy(t testing.TB, p *Proxy) *http.Client {
	t.Helper()
	address, err := url.Parse(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(address)}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func TestTheProxyReachesOnlyWhatTheGuardAllows(t *testing.T) {
	hostport, hits := canary(t)
	closed, open := startProxy(t, ""), startProxy(t, "127.0.0.0/8")

	response, err := throughProxy(t, closed).Get("http://" + hostport)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusForbidden || response.Header.Get(Header) != string(RefusedDenied) {
		t.Errorf("status %d, header %q", response.StatusCode, response.Header.Get(Header))
	}
	if closed.Refusal(hostport) != RefusedDenied {
		t.Errorf("refusal %q", closed.Refusal(hostport))
	}
	status, header := connect(t, closed, hostport)
	if status != http.StatusForbidden || header.Get(Header) != string(RefusedDenied) {
		t.Errorf("CONNECT: status %d, header %q", status, header.Get(Header))
	}
	if hits.Load() != 0 {
		t.Fatalf("the canary was reached %d times", hits.Load())
	}

	response, err = throughProxy(t, open).Get("http://" + hostport)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK || hits.Load() != 1 || open.Refusal(hostport) != "" {
		t.Errorf("status %d, %d hits, refusal %q", response.StatusCode, hits.Load(), open.Refusal(hostport))
	}
}

// connect asks for a tunnel and returns the answer to that.
func connect(t *testing.T, p *Proxy, hostport string) (int, http.Header) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", hostport, hostport)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode, response.Header
}

func TestTheProxyTunnelsTLS(t *testing.T) {
	p := startProxy(t, "127.0.0.0/8")
	body := bytes.Repeat([]byte("platen"), 1<<18)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	defer server.Close()
	client := throughProxy(t, p)
	client.Transport.(*http.Transport).TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig
	response, err := client.Post(server.URL, "text/plain", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got, err := io.ReadAll(response.Body); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes came back of %d: %v", len(got), len(body), err)
	}
}

func TestATunnelEndsWhenOneSideHalfCloses(t *testing.T) {
	p := startProxy(t, "127.0.0.0/8")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		all, _ := io.ReadAll(conn) // answers only after the other side is done
		conn.Write(append([]byte("got "), all...))
	}()
	conn := tunnelTo(t, p, listener.Addr().String())
	io.WriteString(conn, "hello")
	conn.CloseWrite()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "got hello" {
		t.Errorf("%q %v", got, err)
	}
}

func tunnelTo(t *testing.T, p *Proxy, hostport string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", hostport, hostport)
	answer := make([]byte, len("HTTP/1.1 200 Connection established\r\n\r\n"))
	if _, err := io.ReadFull(conn, answer); err != nil || !bytes.Contains(answer, []byte(" 200 ")) {
		t.Fatalf("%q %v", answer, err)
	}
	return conn.(*net.TCPConn)
}

func TestAnIdleTunnelIsClosed(t *testing.T) {
	p := startProxy(t, "127.0.0.0/8")
	p.idle = 200 * time.Millisecond
	hostport, _ := canary(t)
	conn := tunnelTo(t, p, hostport)
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	started := time.Now()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Fatal("data out of nowhere")
	}
	if took := time.Since(started); took < 100*time.Millisecond || took > 20*time.Second {
		t.Errorf("closed after %v", took)
	}
}

func TestHopByHopHeadersStopAtTheProxy(t *testing.T) {
	p := startProxy(t, "127.0.0.0/8")
	seen := make(chan http.Header, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header
		w.Header().Set("Connection", "X-Private")
		w.Header().Set("X-Private", "1")
		w.Header().Set("X-Public", "1")
		w.Header().Set(Header, "denied")
	}))
	defer server.Close()
	request, _ := http.NewRequest("GET", server.URL, nil)
	for name, value := range map[string]string{
		"Connection": "X-Secret, Upgrade", "X-Secret": "1", "Proxy-Authorization": "Basic eDp5", "Proxy-Connection": "keep-alive",
		"Upgrade": "websocket", "Te": "gzip", "Keep-Alive": "5", "X-Kept": "1", "User-Agent": "chrome",
	} {
		request.Header.Set(name, value)
	}
	response, err := throughProxy(t, p).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	header := <-seen
	for _, name := range []string{"Connection", "X-Secret", "Proxy-Authorization", "Proxy-Connection", "Upgrade", "Te", "Keep-Alive", "X-Forwarded-For", "Via"} {
		if header.Get(name) != "" {
			t.Errorf("the origin saw %s: %s", name, header.Get(name))
		}
	}
	if header.Get("X-Kept") != "1" || header.Get("User-Agent") != "chrome" {
		t.Errorf("end-to-end headers are missing: %v", header)
	}
	if response.Header.Get("X-Private") != "" || response.Header.Get(Header) != "" || response.Header.Get("X-Public") != "1" {
		t.Errorf("%v", response.Header)
	}
}

func TestTheProxyStreams(t *testing.T) {
	p := startProxy(t, "127.0.0.0/8")
	goOn := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		<-goOn
		io.WriteString(w, "last")
	}))
	defer server.Close()
	response, err := throughProxy(t, p).Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	first := make([]byte, 5)
	_, err = io.ReadFull(response.Body, first)
	close(goOn)
	if err != nil || string(first) != "first" {
		t.Fatalf("%q %v", first, err)
	}
	if rest, err := io.ReadAll(response.Body); err != nil || string(rest) != "last" {
		t.Errorf("%q %v", rest, err)
	}
}

func TestARedirectIsTheBrowsersMatter(t *testing.T) {
	p := startProxy(t, "127.0.0.0/8")
	hostport, hits := canary(t)
	response, err := throughProxy(t, p).Get("http://" + hostport + "/away")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusFound || hits.Load() != 1 {
		t.Errorf("status %d, %d hits", response.StatusCode, hits.Load())
	}
}

func TestAnUnreachableHostIsNotDenied(t *testing.T) {
	p := startProxy(t, "127.0.0.0/8")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hostport := listener.Addr().String()
	listener.Close()
	response, err := throughProxy(t, p).Get("http://" + hostport)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusBadGateway || response.Header.Get(Header) != string(RefusedConnection) || p.Refusal(hostport) != RefusedConnection {
		t.Errorf("status %d, header %q, refusal %q", response.StatusCode, response.Header.Get(Header), p.Refusal(hostport))
	}
	if status, _ := connect(t, p, hostport); status != http.StatusBadGateway {
		t.Errorf("CONNECT: status %d", status)
	}
}

func TestTheProxyIsNoOrigin(t *testing.T) {
	p := startProxy(t, "127.0.0.0/8")
	response, err := http.Get(p.URL() + "/x")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if response.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d", response.StatusCode)
	}
}

func TestRefusalsAreForgottenWhenThereAreManyOrTheHostAnswers(t *testing.T) {
	p := startProxy(t, "")
	for i := range 5 * maxRefusals {
		p.remember(fmt.Sprint("h", i, ":443"), RefusedDenied)
	}
	if n := len(p.refused) + len(p.refusedBefore); n > 2*maxRefusals {
		t.Errorf("%d refusals are kept", n)
	}
	last := fmt.Sprint("h", 5*maxRefusals-1, ":443")
	if p.Refusal(last) != RefusedDenied {
		t.Error("the latest is forgotten")
	}
	p.remember(last, "")
	if p.Refusal(last) != "" {
		t.Error("a host that answers still counts as refused")
	}
}

func TestCloseEndsEveryConnectionAndGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	p := startProxy(t, "127.0.0.0/8")
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-release
	}))
	var tunnels []*net.TCPConn
	for range 5 {
		tunnels = append(tunnels, tunnelTo(t, p, server.Listener.Addr().String()))
	}
	client := throughProxy(t, p)
	response, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	for _, tunnel := range tunnels {
		tunnel.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := tunnel.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("the tunnel is still open: %v", err)
		}
	}
	response.Body.Close()
	close(release)
	server.Close()
	client.CloseIdleConnections()
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if after := runtime.NumGoroutine(); after > before {
		stacks := make([]byte, 1<<16)
		t.Errorf("%d goroutines before, %d after\n%s", before, after, stacks[:runtime.Stack(stacks, true)])
	}
	if err := p.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}
