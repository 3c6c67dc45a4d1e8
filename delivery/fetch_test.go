package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"platen"
	"platen/egress"
)

func fetcher(t *testing.T, o Options) *Fetcher {
	t.Helper()
	if o.Guard == nil {
		o.Guard = loopback(t)
	}
	f := NewFetcher(o)
	t.Cleanup(f.Close)
	return f
}

func TestR4_1AFileIsFetchedOverJudgedRedirectsAndWithinItsLimit(t *testing.T) {
	t.Parallel()
	file := content(100_000)
	var referred string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		referred += r.Header.Get("Referer")
		var steps int
		if _, err := fmt.Sscanf(r.URL.Path, "/%d", &steps); err == nil && steps > 0 {
			http.Redirect(w, r, fmt.Sprintf("/%d?secret", steps-1), http.StatusFound)
			return
		}
		_, _ = w.Write(file)
	}))
	t.Cleanup(server.Close)
	f := fetcher(t, Options{})
	for _, test := range []struct {
		path  string
		limit int64
		code  platen.FailureCode // "": it is fetched
	}{
		{"/0", 100_000, ""},
		{"/5?secret", 100_000, ""},
		{"/6?secret", 100_000, platen.FailureSourceUnavailable},
		{"/0?secret", 99_999, platen.FailureSourceTooLarge},
	} {
		var got bytes.Buffer
		n, err := f.Fetch(t.Context(), server.URL+test.path, test.limit, &got)
		if test.code == "" {
			if err != nil || n != 100_000 || !bytes.Equal(got.Bytes(), file) {
				t.Errorf("%s: %d bytes, %v", test.path, n, err)
			}
			continue
		}
		var failure *platen.Failure
		if !errors.As(err, &failure) || failure.Code != test.code || failure.Stage != platen.StageCombine || failure.Retryable || strings.Contains(failure.Message, "secret") {
			t.Errorf("%s: %v", test.path, err)
		}
	}
	if referred != "" {
		t.Errorf("a redirect was told where it comes from: %s", referred)
	}
}

func TestR4_3WhatKeepsAFileFromBeingFetchedIsSaid(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/missing":
			http.NotFound(w, r)
		case "/busy":
			w.WriteHeader(http.StatusTooManyRequests)
		case "/part":
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("a part"))
		case "/stops":
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("a part"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/silent":
			<-r.Context().Done()
		case "/elsewhere":
			http.Redirect(w, r, "ftp://example.com/a.pdf", http.StatusFound)
		default:
			_, _ = w.Write([]byte("here"))
		}
	}))
	t.Cleanup(server.Close)
	f, strict := fetcher(t, Options{AnswerTimeout: 200 * time.Millisecond}), fetcher(t, Options{Guard: egress.New(egress.Options{Setting: "PLATEN_EGRESS_ALLOW"})})
	for _, test := range []struct {
		with      *Fetcher
		url       string
		code      platen.FailureCode
		retryable bool
		says      string
	}{
		{f, server.URL + "/missing", platen.FailureSourceUnavailable, false, "HTTP 404"},
		{f, server.URL + "/busy", platen.FailureSourceUnavailable, true, "HTTP 429"},
		{f, server.URL + "/part", platen.FailureConnectionFailed, true, "broke off"},
		{f, server.URL + "/stops", platen.FailureTimeout, true, "did not answer in time"},
		{f, server.URL + "/silent", platen.FailureTimeout, true, "did not answer in time"},
		{f, server.URL + "/elsewhere", platen.FailureSourceUnavailable, false, "no web address"},
		{f, "http://" + unusedAddress(t) + "/", platen.FailureConnectionFailed, true, "refused"},
		{f, strings.Replace(server.URL, "http:", "https:", 1), platen.FailureTLS, false, "does not speak TLS"},
		{f, "http://" + speaking(t, "SSH-2.0-x\r\n") + "/", platen.FailureSourceUnavailable, false, "not as a web server"},
		{strict, server.URL + "/", platen.FailureEgressDenied, false, "PLATEN_EGRESS_ALLOW"},
	} {
		_, err := test.with.Fetch(t.Context(), test.url+"?secret", 1<<20, new(bytes.Buffer))
		var failure *platen.Failure
		if !errors.As(err, &failure) || failure.Code != test.code || failure.Retryable != test.retryable || failure.Stage != platen.StageCombine ||
			!strings.Contains(failure.Message, test.says) || strings.Contains(failure.Message, "secret") || strings.Contains(failure.Message, "action") {
			t.Errorf("%s: %v", test.url, err)
		}
	}
	full := errors.New("no space left")
	if _, err := f.Fetch(t.Context(), server.URL, 1<<20, writerOf(func([]byte) (int, error) { return 0, full })); !errors.Is(err, full) {
		t.Errorf("a full disk: %v", err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Fetch(canceled, server.URL, 1<<20, new(bytes.Buffer)); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// Where a server speaks first, net/http may notice before it sends the request. Here it
// always does: the request waits until the connection was given up.
func TestAServerThatSpeaksFirstIsNoWebServer(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	givenUp := make(chan struct{})
	go func() {
		defer close(givenUp)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "SSH-2.0-x\r\n")
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	}()
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { <-givenUp }})
	_, err = fetcher(t, Options{}).Fetch(ctx, "http://"+listener.Addr().String()+"/", 1<<20, new(bytes.Buffer))
	var failure *platen.Failure
	if !errors.As(err, &failure) || failure.Code != platen.FailureSourceUnavailable || failure.Retryable || !strings.Contains(failure.Message, "not as a web server") {
		t.Error(err)
	}
}

type writerOf func([]byte) (int, error)

func (w writerOf) Write(p []byte) (int, error) { return w(p) }
