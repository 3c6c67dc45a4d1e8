package egress

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"platen/egress/egresstest"
)

func mustAllow(t testing.TB, text string) Allow {
	t.Helper()
	allow, err := ParseAllow(text)
	if err != nil {
		t.Fatal(err)
	}
	return allow
}

// canary is a server on loopback that counts who reached it.
func canary(t *testing.T) (hostport string, hits *atomic.Int64) {
	hits = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "/", http.StatusFound)
		}
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), hits
}

// T2: whatever it is called, an address that is not public is refused, even by a resolver
// that takes every name for this machine, as getaddrinfo does with 127.1.
func TestT2EverySpellingOfAPrivateAddressIsRefused(t *testing.T) {
	t.Parallel()
	hostport, hits := canary(t)
	_, port, _ := net.SplitHostPort(hostport)
	spellings := egresstest.Spellings()
	if len(spellings) < 200 {
		t.Fatalf("there are only %d spellings", len(spellings))
	}
	guard := New(Options{Setting: "PLATEN_EGRESS_ALLOW", Resolver: always("127.0.0.1")})
	closed := throughProxy(t, proxyOf(t, guard))
	for _, host := range spellings {
		conn, err := guard.DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err == nil {
			conn.Close()
		}
		if !errors.As(err, new(*DeniedError)) {
			t.Errorf("%q: %v", host, err)
		}
		request := &http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}, Header: http.Header{}}
		if response, err := closed.Do(request.WithContext(t.Context())); err == nil {
			response.Body.Close()
			if response.StatusCode < 400 {
				t.Errorf("%q: the proxy answers %d", host, response.StatusCode)
			}
		}
	}
	if hits.Load() != 0 {
		t.Errorf("the canary was reached %d times", hits.Load())
	}
	// What is listed is reached by its names, so the canary can be.
	open := New(Options{Allow: mustAllow(t, "127.0.0.1"), Resolver: always("127.0.0.1")})
	for _, host := range []string{"127.0.0.1", "::ffff:127.0.0.1", "localhost", "127.0.0.1.nip.io"} {
		conn, err := open.DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Errorf("%q: %v", host, err)
			continue
		}
		conn.Close()
	}
}

func TestPublicAddressesAreOpen(t *testing.T) {
	guard := New(Options{Ports: []uint16{80, 443}})
	for address, open := range map[string]bool{
		"1.1.1.1:443": true, "93.184.216.34:80": true, "[2606:4700::1111]:443": true, "[::ffff:1.1.1.1]:443": true,
		"1.1.1.1:25": false, "[2606:4700::1111]:8443": false,
	} {
		err := guard.judge(address, false, "tcp4", address)
		if (err == nil) != open {
			t.Errorf("%s: %v", address, err)
		}
	}
	if err := New(Options{}).judge("x", false, "tcp4", "1.1.1.1:25"); err != nil {
		t.Errorf("without Ports every port is open, but: %v", err)
	}
	if err := guard.judge("x", false, "udp4", "1.1.1.1:443"); err == nil {
		t.Error("UDP is open")
	}
}

func TestWhatIsListedIsReachedOnAnyPort(t *testing.T) {
	hostport, hits := canary(t)
	_, port, _ := net.SplitHostPort(hostport)
	for _, entry := range []string{"127.0.0.0/8", "127.0.0.1", "127.0.0.1:" + port, "minio.lan", "minio.lan:" + port} {
		guard := New(Options{Allow: mustAllow(t, entry), Ports: []uint16{443}, Resolver: always("127.0.0.1")})
		before := hits.Load()
		response, err := guard.Client(time.Second).Get("http://minio.lan:" + port)
		if err != nil {
			t.Errorf("%s: %v", entry, err)
			continue
		}
		response.Body.Close()
		if hits.Load() != before+1 {
			t.Errorf("%s: the canary was not reached", entry)
		}
	}
	for _, entry := range []string{"", "10.0.0.0/8", "127.0.0.1:1", "minio.lan:1", "other.lan"} {
		guard := New(Options{Allow: mustAllow(t, entry), Resolver: always("127.0.0.1")})
		before := hits.Load()
		_, err := guard.Client(time.Second).Get("http://minio.lan:" + port)
		var denied *DeniedError
		if !errors.As(err, &denied) || hits.Load() != before {
			t.Errorf("%q: %v, %d hits", entry, err, hits.Load()-before)
		}
	}
}

func always(address string) func(context.Context, string) ([]netip.Addr, error) {
	return func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr(address)}, nil
	}
}

// T3: a name that is open at one moment and private at the next is judged by what is dialled,
// and looked up once for each connection. The open address is one of loopback that is
// listed, which is judged as a public one is, and can be reached without a network.
func TestT3ANameThatTurnsPrivateIsRefusedAThousandTimes(t *testing.T) {
	t.Parallel()
	private, hits := canary(t)
	_, port, _ := net.SplitHostPort(private)
	listener, err := net.Listen("tcp", "127.0.0.2:"+port)
	if err != nil {
		t.Fatal(err)
	}
	var reached, asked atomic.Int64
	open := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached.Add(1)
		w.Header().Set("Connection", "close") // each request needs a connection of its own
	})}
	go open.Serve(listener)
	t.Cleanup(func() { open.Close() })
	guard := New(Options{Allow: mustAllow(t, "127.0.0.2"), Resolver: func(context.Context, string) ([]netip.Addr, error) {
		one, other := netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.1")
		switch asked.Add(1) % 4 {
		case 1:
			return []netip.Addr{one}, nil
		case 2:
			return []netip.Addr{other, netip.MustParseAddr("::ffff:127.0.0.1")}, nil
		case 3:
			return []netip.Addr{other, one}, nil // what is open is dialled, and nothing else
		}
		return []netip.Addr{netip.MustParseAddr("10.0.0.1"), other}, nil
	}})
	rebound := func(client *http.Client) (denied int) {
		for range 1000 {
			response, err := client.Get("http://rebind.test:" + port)
			if err == nil {
				response.Body.Close()
			}
			if errors.As(err, new(*DeniedError)) || err == nil && response.Header.Get(Header) == string(RefusedDenied) {
				denied++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		return denied
	}
	for name, client := range map[string]*http.Client{"guard": guard.Client(time.Minute), "proxy": throughProxy(t, proxyOf(t, guard))} {
		asked.Store(0)
		reached.Store(0)
		if denied := rebound(client); denied != 500 || reached.Load() != 500 || asked.Load() != 1000 {
			t.Errorf("%s: of 1000 requests, %d were denied and %d arrived, and the name was looked up %d times", name, denied, reached.Load(), asked.Load())
		}
	}
	if hits.Load() != 0 {
		t.Errorf("%d hits", hits.Load())
	}
}

// A closed guard opens nothing, and asks nobody for a name.
func TestT1AClosedGuardReachesNothing(t *testing.T) {
	t.Parallel()
	hostport, hits := canary(t)
	guard := New(Options{Closed: true, Allow: mustAllow(t, "127.0.0.0/8,minio.lan"), Resolver: func(context.Context, string) ([]netip.Addr, error) {
		t.Error("a name was looked up")
		return nil, errors.New("looked up")
	}})
	p := proxyOf(t, guard)
	for _, host := range []string{hostport, "minio.lan:80", "example.com:80", "1.1.1.1:80"} {
		_, err := guard.DialContext(t.Context(), "tcp", host)
		var denied *DeniedError
		if !errors.As(err, &denied) || !denied.Closed {
			t.Errorf("%s: %v", host, err)
		}
		response, err := throughProxy(t, p).Get("http://" + host)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.Header.Get(Header) != string(RefusedClosed) {
			t.Errorf("%s: %v", host, response.Header)
		}
		if status, _ := connect(t, p, host); status != http.StatusForbidden || p.Refusal(host) != RefusedClosed {
			t.Errorf("CONNECT %s: status %d, %s", host, status, p.Refusal(host))
		}
	}
	if hits.Load() != 0 {
		t.Errorf("%d hits", hits.Load())
	}
}

func TestADeniedErrorTellsTheHostAndTheSettingButNotTheAddress(t *testing.T) {
	guard := New(Options{Setting: "PLATEN_EGRESS_ALLOW", Resolver: always("10.1.2.3")})
	_, err := guard.Client(0).Get("http://db.internal:5432/")
	var denied *DeniedError
	if !errors.As(err, &denied) {
		t.Fatal(err)
	}
	if denied.Host != "db.internal:5432" || denied.Address != netip.MustParseAddrPort("10.1.2.3:5432") || denied.Setting != "PLATEN_EGRESS_ALLOW" {
		t.Errorf("%+v", denied)
	}
	text := denied.Error()
	if !strings.Contains(text, "db.internal:5432") || !strings.Contains(text, "PLATEN_EGRESS_ALLOW") || strings.Contains(text, "10.1.2.3") {
		t.Error(text)
	}
}

func TestTheClientHandsRedirectsBack(t *testing.T) {
	hostport, hits := canary(t)
	guard := New(Options{Allow: mustAllow(t, "127.0.0.0/8")})
	response, err := guard.Client(time.Second).Get("http://" + hostport + "/away")
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
	if response.StatusCode != http.StatusFound || hits.Load() != 1 {
		t.Errorf("status %d, %d hits", response.StatusCode, hits.Load())
	}
}

func TestTheTransportRefusesOldTLSAndProxies(t *testing.T) {
	transport := New(Options{}).Transport()
	if transport.Proxy != nil || transport.TLSClientConfig.MinVersion != 0x0303 || transport.MaxIdleConnsPerHost != 100 {
		t.Errorf("%+v", transport)
	}
}

func FuzzNothingButPublicAddressesIsOpen(f *testing.F) {
	for _, address := range egresstest.Spellings() {
		f.Add(address)
	}
	guard := New(Options{})
	f.Fuzz(func(t *testing.T, text string) {
		address, err := netip.ParseAddr(text)
		if err != nil || guard.judge(text, false, "tcp4", netip.AddrPortFrom(address, 80).String()) != nil {
			return
		}
		address = plain(address)
		if !address.IsGlobalUnicast() || address.IsPrivate() || address.IsLoopback() || address.IsLinkLocalUnicast() {
			t.Errorf("%s is open", text)
		}
	})
}
