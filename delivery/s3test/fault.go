package s3test

import (
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// Fault is one way to misbehave. It tells whether it has dealt with the request;
// if not, the request is then served as usual.
type Fault func(s *Server, w http.ResponseWriter, r *http.Request) (done bool)

var quiet = log.New(io.Discard, "", 0)

// Pass lets one request through, to put a fault later in the queue.
func Pass() Fault {
	return func(*Server, http.ResponseWriter, *http.Request) bool { return false }
}

// Serve answers with a handler of the test's own, after the body was read.
func Serve(handler http.HandlerFunc) Fault {
	return func(_ *Server, w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		handler(w, r)
		return true
	}
}

// Error answers with an error of S3's form.
func Error(status int, code, message string) Fault {
	return Serve(func(w http.ResponseWriter, _ *http.Request) {
		(&answer{status: status, code: code, message: message}).write(w)
	})
}

// SlowDown is S3's request to come back later.
func SlowDown() Fault {
	return Error(http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.")
}

// InternalError is S3's 500.
func InternalError() Fault {
	return Error(http.StatusInternalServerError, "InternalError", "We encountered an internal error. Please try again.")
}

// PermanentRedirect says that the bucket is in another region, as a regional
// endpoint of AWS does.
func PermanentRedirect(region string) Fault {
	return Serve(func(w http.ResponseWriter, _ *http.Request) {
		(&answer{
			status: http.StatusMovedPermanently, code: "PermanentRedirect", region: region,
			message: "The bucket you are attempting to access must be addressed using the specified endpoint.",
		}).write(w)
	})
}

// Redirect answers with a plain redirect, as a web server does.
func Redirect(status int, location string) Fault {
	return Serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(status)
	})
}

// HTML answers with a page, as proxies and web servers do, and without an ETag.
func HTML(status int) Fault {
	return Serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<html><body><h1>Hello, I am not S3</h1></body></html>")
	})
}

// Hang reads the request and never answers: until the client goes or the test ends.
func Hang() Fault {
	return func(s *Server, _ http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		return stall(s, r)
	}
}

// HangUntil leaves the request unread and serves it as usual once release is closed.
func HangUntil(release <-chan struct{}) Fault {
	return func(s *Server, _ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-release:
			return false
		case <-s.closed:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	}
}

// StopReading takes the head of a request and none of its body.
func StopReading() Fault {
	return func(s *Server, _ http.ResponseWriter, r *http.Request) bool {
		// With this the client starts to send, however it asked.
		_, _ = r.Body.Read(make([]byte, 1))
		return stall(s, r)
	}
}

func stall(s *Server, r *http.Request) bool {
	select {
	case <-s.closed:
	case <-r.Context().Done():
	}
	panic(http.ErrAbortHandler)
}

// SlowReading reads 16 KB of the body at a time with a pause after each, and goes
// on as usual.
func SlowReading(pause time.Duration) Fault {
	return func(_ *Server, _ http.ResponseWriter, r *http.Request) bool {
		r.Body = struct {
			io.Reader
			io.Closer
		}{slowReader{r.Body, pause}, r.Body}
		return false
	}
}

type slowReader struct {
	io.Reader
	pause time.Duration
}

func (s slowReader) Read(p []byte) (int, error) {
	time.Sleep(s.pause)
	return s.Reader.Read(p[:min(len(p), 16<<10)])
}

// Reset reads the request and breaks the connection with a TCP reset.
func Reset() Fault {
	return hijacked(func(conn net.Conn) {
		for {
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
				return
			}
			wrapped, ok := conn.(interface{ NetConn() net.Conn })
			if !ok {
				return
			}
			conn = wrapped.NetConn()
		}
	})
}

// CutOff answers as usual, and breaks the connection after so many bytes of the body.
func CutOff(after int) Fault {
	return within(after, func(*Server, *http.Request) { panic(http.ErrAbortHandler) })
}

// StopSending answers as usual, and sends nothing more after so many bytes of the body:
// until the client goes or the test ends.
func StopSending(after int) Fault {
	return within(after, func(s *Server, r *http.Request) { stall(s, r) })
}

func within(bytes int, end func(*Server, *http.Request)) Fault {
	return func(s *Server, w http.ResponseWriter, r *http.Request) bool {
		bucketName, objectKey := address(r)
		s.serve(&limitedWriter{w, bytes, func() { end(s, r) }}, r, bucketName, objectKey)
		return true
	}
}

// limitedWriter sends on what is written until so many bytes, and then calls end, which
// does not return.
type limitedWriter struct {
	http.ResponseWriter
	left int
	end  func()
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	n, err := l.ResponseWriter.Write(p[:min(l.left, len(p))])
	if l.left -= n; l.left == 0 && err == nil {
		// What was written is on its way before the end comes.
		_ = http.NewResponseController(l.ResponseWriter).Flush()
		l.end()
	}
	return n, err
}

// Close reads the request and closes the connection without an answer.
func Close() Fault { return hijacked(func(net.Conn) {}) }

func hijacked(prepare func(net.Conn)) Fault {
	return func(_ *Server, w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			prepare(conn)
			_ = conn.Close()
		}
		return true
	}
}

// Corrupt alters one byte of the body on its way and serves the request as usual.
func Corrupt() Fault {
	return func(_ *Server, _ http.ResponseWriter, r *http.Request) bool {
		r.Body = struct {
			io.Reader
			io.Closer
		}{&corruptReader{reader: r.Body}, r.Body}
		return false
	}
}

type corruptReader struct {
	reader io.Reader
	done   bool
}

func (c *corruptReader) Read(p []byte) (int, error) {
	n, err := c.reader.Read(p)
	if n > 0 && !c.done {
		p[0] ^= 1
		c.done = true
	}
	return n, err
}
