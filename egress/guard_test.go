package egress

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
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

// refusedAddresses are spellings of what must never be reached by default.
var refusedAddresses = []string{
	// Loopback, in the spellings that getaddrinfo and browsers take for it.
	"127.0.0.1", "127.0.0.2", "127.255.255.254", "127.1", "127.0.1", "127.000.000.001", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "0X7F000001",
	"0x7f.1", "2130706433", "017700000001", "0x7f.0x0.0x0.0x1", "127.0.0.1.", "localhost", "LOCALHOST", "localhost.",
	"::1", "0:0:0:0:0:0:0:1", "::0001", "::ffff:127.0.0.1", "::ffff:7f00:1", "0:0:0:0:0:ffff:127.0.0.1", "::127.0.0.1", "::ffff:0:127.0.0.1",
	// Unspecified, which the kernel takes for this machine.
	"0.0.0.0", "0", "0x0", "00", "0.1", "0.0.0.0.", "::", "::ffff:0.0.0.0", "::ffff:0:0",
	// Private, carrier-grade NAT, link-local.
	"10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255", "::ffff:10.0.0.1", "::ffff:c0a8:1",
	"10.1", "0xa.1", "167772161", "0300.0250.0.1", "100.64.0.1", "100.127.255.255", "169.254.0.1", "fe80::1", "fe80::1%lo", "febf::1",
	"fc00::1", "fd00::1", "fec0::1",
	// Metadata services.
	"169.254.169.254", "0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "169.254.43518", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe",
	"fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192",
	// IPv4 carried inside IPv6: NAT64, 6to4, Teredo.
	"64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:a00:1::1", "2001:0:7f00:1::1",
	// Multicast, broadcast, documentation, benchmarks, reserved.
	"224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1",
	"198.18.0.1", "192.88.99.1", "2001:db8::1", "3fff::1", "100::1",
}

func TestEverySpellingOfAPrivateAddressIsRefused(t *testing.T) {
	hostport, hits := canary(t)
	_, port, _ := net.SplitHostPort(hostport)
	if len(refusedAddresses) < 60 {
		t.Fatalf("the table has only %d spellings", len(refusedAddresses))
	}
	guard := New(Options{Setting: "PLATEN_EGRESS_ALLOW", Timeout: 3 * time.Second})
	for _, address := range refusedAddresses {
		conn, err := guard.DialContext(t.Context(), "tcp", net.JoinHostPort(address, port))
		if err == nil {
			conn.Close()
		}
		var denied *DeniedError
		var unknown *net.DNSError // "localhost." is a name to resolvers that do not know better
		if !errors.As(err, &denied) && !errors.As(err, &unknown) {
			t.Errorf("%s: %v", address, err)
		}
	}
	if hits.Load() != 0 {
		t.Errorf("the canary was reached %d times", hits.Load())
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

func TestANameThatTurnsPrivateIsRefused(t *testing.T) {
	hostport, hits := canary(t)
	_, port, _ := net.SplitHostPort(hostport)
	var asked atomic.Int64
	guard := New(Options{Timeout: 200 * time.Millisecond, Resolver: func(context.Context, string) ([]netip.Addr, error) {
		if asked.Add(1) == 1 {
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::ffff:127.0.0.1")}, nil
	}})
	for range 100 {
		if conn, err := guard.DialContext(t.Context(), "tcp", "rebind.test:"+port); err == nil {
			conn.Close()
			t.Fatal("reached")
		}
	}
	if hits.Load() != 0 {
		t.Errorf("%d hits", hits.Load())
	}
	if asked.Load() != 100 {
		t.Errorf("100 connections asked %d times: a name is resolved once for each", asked.Load())
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
	for _, address := range refusedAddresses {
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
