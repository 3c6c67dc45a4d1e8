package egress

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Header carries the Refusal in answers that the proxy gives by itself. An
// origin cannot set it: the proxy takes it out of what it passes on.
const Header = "X-Platen-Egress"

// Refusal is why the proxy did not reach a host, in words that tell nothing of
// the network behind it.
type Refusal string

// The refusals.
const (
	RefusedDenied     Refusal = "denied"
	RefusedClosed     Refusal = "network off"
	RefusedNoHost     Refusal = "host not found"
	RefusedConnection Refusal = "connection refused"
	RefusedTimeout    Refusal = "connection timed out"
	RefusedOther      Refusal = "connection failed"
)

// Proxy is an HTTP and CONNECT proxy on a loopback port. Everything that it
// reaches, it reaches through its Guard.
type Proxy struct {
	guard   *Guard
	log     *slog.Logger
	url     string
	idle    time.Duration
	server  http.Server
	forward httputil.ReverseProxy
	handled sync.WaitGroup
	stop    context.CancelFunc

	mu     sync.Mutex
	closed bool
	// Two generations of refusals, so that the memory of them is bounded.
	refused, refusedBefore map[string]Refusal
}

const maxRefusals = 1000

// NewProxy starts a proxy. A nil log is silent.
func NewProxy(g *Guard, log *slog.Logger) (*Proxy, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &Proxy{
		guard: g, log: log, stop: stop, idle: 2 * time.Minute,
		url: "http://" + listener.Addr().String(), refused: map[string]Refusal{},
	}
	transport := g.Transport()
	transport.DisableCompression = true // the browser decodes for itself
	p.forward = httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			// Browsers tunnel websockets; an upgrade here would escape the idle timeout.
			r.Out.Header.Del("Connection")
			r.Out.Header.Del("Upgrade")
		},
		ModifyResponse: func(r *http.Response) error {
			r.Header.Del(Header)
			p.remember(withPort(r.Request.URL.Host, "80"), "")
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { p.refuse(w, withPort(r.URL.Host, "80"), err) },
		ErrorLog:     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	p.server = http.Server{
		Handler:           p,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       p.idle,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	p.handled.Go(func() {
		if err := p.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("egress proxy stopped", "error", err)
		}
	})
	return p, nil
}

// URL is the address for a browser's proxy setting.
func (p *Proxy) URL() string { return p.url }

// Setting is the name of the setting that can open what is denied; "" if none.
func (p *Proxy) Setting() string { return p.guard.options.Setting }

// Close ends the proxy and every connection through it.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.stop()
	err := p.server.Close()
	p.handled.Wait()
	p.forward.Transport.(*http.Transport).CloseIdleConnections()
	return err
}

// Refusal says why the latest attempt to reach hostport (host:port) failed, or
// "" if it did not. A browser is told of a refused tunnel, but not why.
func (p *Proxy) Refusal(hostport string) Refusal {
	p.mu.Lock()
	defer p.mu.Unlock()
	if refusal, ok := p.refused[hostport]; ok {
		return refusal
	}
	return p.refusedBefore[hostport]
}

func (p *Proxy) remember(hostport string, refusal Refusal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if refusal == "" {
		delete(p.refused, hostport)
		delete(p.refusedBefore, hostport)
		return
	}
	if len(p.refused) >= maxRefusals {
		p.refused, p.refusedBefore = map[string]Refusal{}, p.refused
	}
	p.refused[hostport] = refusal
}

// ServeHTTP is one request of the browser to the proxy.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.handled.Add(1)
	p.mu.Unlock()
	defer p.handled.Done()

	switch {
	case r.Method == http.MethodConnect:
		p.connect(w, r)
	case r.URL.Scheme == "http" && r.URL.Host != "":
		p.forward.ServeHTTP(w, r)
	default:
		http.Error(w, "This is a proxy.", http.StatusBadRequest)
	}
}

func (p *Proxy) connect(w http.ResponseWriter, r *http.Request) {
	hostport := strings.ToLower(r.Host)
	upstream, err := p.guard.DialContext(r.Context(), "tcp", hostport)
	if err != nil {
		p.refuse(w, hostport, err)
		return
	}
	defer upstream.Close()
	p.remember(hostport, "")
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "A tunnel needs HTTP/1.1.", http.StatusHTTPVersionNotSupported)
		return
	}
	defer client.Close()
	// The request's context outlives the hijack and ends with the proxy.
	defer context.AfterFunc(r.Context(), func() { client.Close(); upstream.Close() })()
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	// From here on not through the buffer: an end of input read there ends the
	// request's context, and with it the other direction.
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	if _, err := upstream.Write(early); err != nil {
		return
	}
	t := tunnel{client: client, upstream: upstream, idle: p.idle}
	var up sync.WaitGroup
	up.Go(func() { t.copy(upstream, client) })
	t.copy(client, upstream)
	up.Wait()
}

// refuse answers in place of a host that was not reached.
func (p *Proxy) refuse(w http.ResponseWriter, hostport string, err error) {
	refusal, status := classify(err)
	p.remember(hostport, refusal)
	var denied *DeniedError
	if errors.As(err, &denied) {
		p.log.Warn("egress denied", "host", denied.Host, "address", denied.Address, "reason", denied.Reason)
	} else {
		p.log.Debug("egress failed", "host", hostport, "error", err)
	}
	w.Header().Set(Header, string(refusal))
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, string(refusal), status)
}

func classify(err error) (Refusal, int) {
	var denied *DeniedError
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &denied) && denied.Closed:
		return RefusedClosed, http.StatusForbidden
	case errors.As(err, &denied):
		return RefusedDenied, http.StatusForbidden
	case errors.As(err, &dns) && dns.IsNotFound:
		return RefusedNoHost, http.StatusBadGateway
	case errors.Is(err, syscall.ECONNREFUSED):
		return RefusedConnection, http.StatusBadGateway
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return RefusedTimeout, http.StatusGatewayTimeout
	}
	return RefusedOther, http.StatusBadGateway
}

func withPort(host, port string) string {
	host = strings.ToLower(host)
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

// tunnel carries bytes both ways until both sides are done or neither has sent
// anything for the idle time.
type tunnel struct {
	client, upstream net.Conn
	idle             time.Duration
}

func (t tunnel) copy(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		deadline := time.Now().Add(t.idle)
		_ = t.client.SetDeadline(deadline)
		_ = t.upstream.SetDeadline(deadline)
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				break
			}
		}
		if err == io.EOF {
			_ = to.(*net.TCPConn).CloseWrite()
			return
		}
		if err != nil {
			break
		}
	}
	_ = t.client.Close()
	_ = t.upstream.Close()
}
