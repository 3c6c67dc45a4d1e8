package delivery

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"time"

	"platen/egress"
)

// Options say how customers' servers are reached.
type Options struct {
	Guard *egress.Guard // decides which addresses may be reached
	// RootCAs are trusted for https addresses; nil: the system's.
	RootCAs *x509.CertPool
	// AnswerTimeout bounds the wait for an answer once all is sent, and each wait for
	// the other side to take more bytes; 0: one minute.
	AnswerTimeout time.Duration
	// MaxPause is the longest pause before something is sent again within one
	// delivery; 0: two seconds.
	MaxPause time.Duration
}

// newClient makes the HTTP client of deliveries.
func newClient(o Options) *http.Client {
	if o.AnswerTimeout == 0 {
		o.AnswerTimeout = time.Minute
	}
	transport := o.Guard.Transport()
	transport.TLSClientConfig.RootCAs = o.RootCAs
	transport.ResponseHeaderTimeout = o.AnswerTimeout
	transport.WriteBufferSize = 64 << 10
	// S3 speaks HTTP/1.1. Where a proxy would speak HTTP/2, all uploads to it would
	// share one connection, and the slowest would hold up the rest.
	transport.ForceAttemptHTTP2 = false
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &steadyConn{conn, o.AnswerTimeout}, nil
	}
	return &http.Client{
		Transport: transport,
		// A redirect would turn the PUT into a GET, or carry the document to a host
		// that nobody named.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// steadyConn fails a write that the other side does not take in time: no timeout of
// http.Transport covers the sending of a body.
type steadyConn struct {
	net.Conn
	timeout time.Duration
}

func (c *steadyConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
