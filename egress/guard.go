package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

// Options of a Guard. The zero value opens every port of public addresses and
// nothing else.
type Options struct {
	// Allow is what may be reached although it is not public.
	Allow Allow
	// Closed opens nothing at all, whatever Allow lists. No name is looked up either.
	Closed bool
	// Setting is the name of the setting that Allow comes from, for error messages.
	Setting string
	// Ports are those open at addresses that Allow does not list; nil: any.
	Ports []uint16
	// Timeout bounds the making of a connection, resolution included; 0: 10 s.
	Timeout time.Duration
	// Resolver looks names up instead of the system. Its answers are judged all the same.
	Resolver func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Guard makes connections to what may be reached. It is safe for concurrent use.
type Guard struct {
	options Options
	public  *ssrf.Guardian
}

// New makes a Guard.
func New(o Options) *Guard {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	ports := ssrf.WithAnyPort()
	if len(o.Ports) > 0 {
		ports = ssrf.WithPorts(o.Ports...)
	}
	return &Guard{options: o, public: ssrf.New(ports, ssrf.WithDeniedV4Prefixes(
		// Azure's metadata and control address, which is public by its number alone.
		netip.MustParsePrefix("168.63.129.16/32"),
	))}
}

// DeniedError says that a connection was refused before it was made.
type DeniedError struct {
	Host    string         // as it was asked for, with the port
	Address netip.AddrPort // what Host resolved to; the zero value if it was not resolved. For logs, not for customers.
	Reason  string
	Setting string // which setting can open it; "" if none
	Closed  bool   // nothing at all can be reached
}

// Error names what was asked for but not what it resolved to: callers who may
// choose the host must not learn the addresses of names inside our network.
func (e *DeniedError) Error() string {
	text := e.Host + " may not be reached from here: " + e.Reason
	if e.Setting != "" {
		text += "; the operator can open it with " + e.Setting
	}
	return text
}

// DialContext connects like net.Dialer, if the address dialled is public or
// allowed. What is refused is a *DeniedError inside the error.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if g.options.Closed && defended {
		return nil, &DeniedError{Host: address, Reason: "the network is off", Closed: true}
	}
	_, err = netip.ParseAddr(host)
	literal := err == nil
	if !literal && endsInNumber(host) && defended {
		return nil, &DeniedError{Host: address, Reason: "it is not a usual spelling of an address"}
	}
	ctx, cancel := context.WithTimeout(ctx, g.options.Timeout)
	defer cancel()
	listed := g.options.Allow.host(host, port)
	dialer := net.Dialer{KeepAlive: 30 * time.Second, Control: func(network, resolved string, _ syscall.RawConn) error {
		return g.judge(address, listed, network, resolved)
	}}
	if literal || g.options.Resolver == nil {
		return dialer.DialContext(ctx, network, address)
	}
	addresses, err := g.options.Resolver(ctx, host)
	if err != nil {
		return nil, err
	}
	err = &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	for _, one := range addresses {
		conn, dialError := dialer.DialContext(ctx, network, net.JoinHostPort(one.String(), port))
		if dialError == nil {
			return conn, nil
		}
		err = dialError
	}
	return nil, err
}

// judge decides on one resolved address, immediately before it is dialled.
func (g *Guard) judge(asked string, listed bool, network, resolved string) error {
	if !defended {
		return nil
	}
	target, err := netip.ParseAddrPort(resolved)
	if err != nil {
		return &DeniedError{Host: asked, Reason: "it is not an address of the internet"}
	}
	target = netip.AddrPortFrom(plain(target.Addr()), target.Port())
	if network != "tcp4" && network != "tcp6" {
		return &DeniedError{Host: asked, Address: target, Reason: "only TCP is open"}
	}
	if listed || g.options.Allow.address(target) {
		return nil
	}
	denied := &DeniedError{Host: asked, Address: target, Setting: g.options.Setting, Reason: "it is not a public address"}
	err = g.public.SafeAddrPort(target)
	if errors.Is(err, ssrf.ErrProhibitedPort) {
		denied.Reason = "port " + strconv.Itoa(int(target.Port())) + " is not open"
	}
	if err != nil {
		return denied
	}
	return nil
}

// Transport makes a new transport that dials through the guard: no proxy, TLS 1.2
// or newer, and no redirects of its own. The caller closes its idle connections.
func (g *Guard) Transport() *http.Transport {
	return &http.Transport{
		DialContext:           g.DialContext,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: time.Minute,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConns:          1000,
		MaxIdleConnsPerHost:   100,
		// A dialer of our own would otherwise switch HTTP/2 off.
		ForceAttemptHTTP2: true,
	}
}

// Client makes a client on a transport of its own. It hands redirects back
// instead of following them; timeout bounds a whole exchange, 0 does not.
func (g *Guard) Client(timeout time.Duration) *http.Client {
	return &http.Client{
		Transport: g.Transport(),
		Timeout:   timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
}
