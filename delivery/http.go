package delivery

import (
	"context"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"platen/egress"
)

// Options say how customers' servers are reached.
type Options struct {
	Guard *egress.Guard // decides which addresses may be reached
	// RootCAs are trusted for https addresses; nil: the system's.
	RootCAs *x509.CertPool
	// AnswerTimeout bounds the wait for an answer once all is sent, the reading of that
	// answer, and each wait for the other side to take more bytes; 0: one minute.
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
	transport := &transport{o.Guard.Transport(), o.AnswerTimeout}
	transport.TLSClientConfig.RootCAs = o.RootCAs
	transport.ResponseHeaderTimeout = o.AnswerTimeout
	transport.WriteBufferSize = mostAtOnce
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

// transport bounds the reading of answers, which no timeout of http.Transport covers
// once their headers are there.
type transport struct {
	*http.Transport
	timeout time.Duration
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	response, err := t.Transport.RoundTrip(r.WithContext(ctx))
	if err != nil {
		cancel(nil)
		return nil, err
	}
	response.Body = &timedBody{response.Body, ctx, cancel, time.AfterFunc(t.timeout, func() { cancel(os.ErrDeadlineExceeded) })}
	return response, nil
}

type timedBody struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && context.Cause(b.ctx) == os.ErrDeadlineExceeded {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

func (b *timedBody) Close() error {
	b.timer.Stop()
	b.cancel(nil)
	return b.ReadCloser.Close()
}

// readText reads what counts of an answer's body. Its error says that the body broke
// off, or did not come in time: the part that says what the answer means may be missing.
func readText(response *http.Response) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != os.ErrDeadlineExceeded && response.ContentLength < 0 && len(response.TransferEncoding) == 0 {
		return text, nil // such a body ends with its connection, however that ends
	}
	return text, err
}

// mostAtOnce is how many bytes the other side has to take in time.
const mostAtOnce = 64 << 10

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

// ReadFrom lets the kernel send a file by itself, which net/http hands on as a reader of limited length.
func (c *steadyConn) ReadFrom(r io.Reader) (sent int64, err error) {
	body, ok := r.(*io.LimitedReader)
	if ok {
		_, ok = body.R.(syscall.Conn)
	}
	if !ok {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	for body.N > 0 && err == nil {
		if err = c.SetWriteDeadline(time.Now().Add(c.timeout)); err == nil {
			var n int64
			n, err = io.CopyN(c.Conn, body.R, min(body.N, mostAtOnce))
			sent, body.N = sent+n, body.N-n
		}
	}
	if err == io.EOF { // the file is shorter, which is for net/http to find out
		err = nil
	}
	return sent, err
}
