package delivery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"platen"
	"platen/delivery/s3test"
	"platen/egress"
)

func presigned(t *testing.T, o Options) *Presigned {
	t.Helper()
	if o.Guard == nil {
		o.Guard = loopback(t)
	}
	o.MaxPause = time.Millisecond
	p := NewPresigned(o)
	t.Cleanup(p.Close)
	return p
}

// sign signs a PUT as a customer of the server does.
func sign(t *testing.T, server *s3test.Server, input s3.PutObjectInput, life time.Duration) string {
	t.Helper()
	bucket := "docs"
	input.Bucket = &bucket
	client := s3.NewPresignClient(s3.New(s3.Options{Region: "eu-west-3", BaseEndpoint: &server.URL, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider("AKIAPLATEN", secret, "")}))
	signed, err := client.PresignPutObject(t.Context(), &input, s3.WithPresignExpires(life))
	if err != nil {
		t.Fatal(err)
	}
	return signed.URL
}

func failureOfPut(t *testing.T, err error) *platen.Failure {
	t.Helper()
	var failure *platen.Failure
	if !errors.As(err, &failure) {
		t.Fatalf("%v is no failure", err)
	}
	if text, _ := json.Marshal(failure); strings.Contains(string(text), "X-Amz-Signature=") || strings.Contains(string(text), "hidden") {
		t.Errorf("the address is shown: %s", text)
	}
	return failure
}

func TestR6_5APresignedURLGetsExactlyTheBytes(t *testing.T) {
	t.Parallel()
	server, _, _ := bucket(t)
	server.KeepVersions("docs")
	key, contentType, body := "a b/ü%+invoice.pdf", "application/pdf", content(70_000)
	address := sign(t, server, s3.PutObjectInput{Key: &key}, time.Minute)
	receipt, err := presigned(t, Options{}).Put(t.Context(), platen.PresignedUpload{URL: address}, object("ignored", body))
	if err != nil {
		t.Fatal(err)
	}
	stored, ok := server.Object("docs", key)
	if !ok || !bytes.Equal(stored.Body, body) {
		t.Fatalf("the bucket does not hold the bytes: %v", server.Keys("docs"))
	}
	want := platen.UploadReceipt{URL: strings.Split(address, "?")[0], Region: "eu-west-3", ETag: strings.Trim(stored.ETag, `"`), VersionID: "version-1",
		ByteSize: 70_000, SHA256: object("", body).SHA256, UploadedAt: receipt.UploadedAt}
	if *receipt != want {
		t.Errorf("%+v, want %+v", *receipt, want)
	}
	headers := map[string]bool{"Content-Length": true, "Content-Type": true, "User-Agent": true}
	if _, err := presigned(t, Options{}).Put(t.Context(), platen.PresignedUpload{URL: address, Headers: []platen.Header{{Name: "content-type"}}}, object("", body)); err != nil {
		t.Error(err)
	} else if untyped, _ := server.Object("docs", key); untyped.Header.Get("Content-Type") != "" || untyped.Header.Get("User-Agent") == "" {
		t.Errorf("an empty value did not take its header away: %v", untyped.Header)
	}
	for name := range stored.Header {
		if !headers[name] {
			t.Errorf("a header that nobody asked for: %s: %s", name, stored.Header.Get(name))
		}
	}
	if stored.Header.Get("Content-Type") != contentType {
		t.Error(stored.Header)
	}
	// What was signed has to be sent as it was signed.
	other, note := "text/plain", map[string]string{"note": "a b"}
	address = sign(t, server, s3.PutObjectInput{Key: &key, ContentType: &other, Metadata: note}, time.Minute)
	for name, test := range map[string]struct {
		headers []platen.Header
		code    platen.FailureCode
	}{
		"as signed":          {[]platen.Header{{Name: "content-type", Value: "text/plain"}, {Name: "X-Amz-Meta-Note", Value: "a b"}}, ""},
		"without the note":   {[]platen.Header{{Name: "Content-Type", Value: "text/plain"}}, platen.FailureSignatureMismatch},
		"with the file's":    {[]platen.Header{{Name: "X-Amz-Meta-Note", Value: "a b"}}, platen.FailureSignatureMismatch},
		"with another value": {[]platen.Header{{Name: "Content-Type", Value: "text/plain"}, {Name: "X-Amz-Meta-Note", Value: "a"}}, platen.FailureSignatureMismatch},
	} {
		_, err := presigned(t, Options{}).Put(t.Context(), platen.PresignedUpload{URL: address, Headers: test.headers}, object("", body))
		if test.code == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if failure := failureOfPut(t, err); failure.Code != test.code || failure.Retryable {
			t.Errorf("%s: %v", name, failure)
		} else if name == "without the note" && !strings.Contains(failure.Message, "x-amz-meta-note") {
			t.Errorf("%s: it does not say which header is missing: %s", name, failure.Message)
		}
	}
	server.OnlyPuts(t)
}

func TestR6_5AnExpiredURLIsRecognisedBeforeAndAfter(t *testing.T) {
	t.Parallel()
	server, _, _ := bucket(t)
	key := "k"
	address := sign(t, server, s3.PutObjectInput{Key: &key}, time.Minute)
	u := platen.PresignedUpload{URL: address}
	expires, known := u.Expires()
	if !known || time.Until(expires) > time.Minute || time.Until(expires) < 30*time.Second {
		t.Fatalf("%v %v", expires, known)
	}
	if errs := u.Validate(time.Now()); len(errs) > 0 {
		t.Error(errs)
	}
	if errs := u.Validate(expires); len(errs) != 1 || errs[0].Path[0] != "url" || !strings.Contains(errs[0].Message, expires.Format(time.RFC3339)) {
		t.Error(errs)
	}
	// The storage's clock is ahead of ours: it refuses what we think is good.
	server.SetClock(func() time.Time { return time.Now().Add(time.Hour) })
	_, err := presigned(t, Options{}).Put(t.Context(), u, object("", content(10)))
	if failure := failureOfPut(t, err); failure.Code != platen.FailurePresignedExpired || failure.ProviderCode != "AccessDenied" || failure.Retryable {
		t.Errorf("after: %+v", failure)
	}
	before := len(server.Requests())
	old := strings.Replace(address, "X-Amz-Date=20", "X-Amz-Date=19", 1)
	_, err = presigned(t, Options{}).Put(t.Context(), platen.PresignedUpload{URL: old}, object("", content(10)))
	if failure := failureOfPut(t, err); failure.Code != platen.FailurePresignedExpired || len(server.Requests()) != before {
		t.Errorf("before: %+v, %d requests", failure, len(server.Requests())-before)
	}
	for address, want := range map[string]string{
		"https://b.s3.amazonaws.com/k?X-Amz-Date=20260101T000000Z&X-Amz-Expires=300":         "2026-01-01T00:05:00Z",
		"https://storage.googleapis.com/b/k?X-Goog-Date=20260101T000000Z&X-Goog-Expires=300": "2026-01-01T00:05:00Z",
		"https://b.s3.amazonaws.com/k?AWSAccessKeyId=AK&Expires=1767225900&Signature=x":      "2026-01-01T00:05:00Z",
		"https://a.blob.core.windows.net/c/k?sv=2022&se=2026-01-01T00%3A05%3A00Z&sig=x":      "2026-01-01T00:05:00Z",
		"https://a.blob.core.windows.net/c/k?sv=2022&se=2026-01-02&sig=x":                    "2026-01-02T00:00:00Z",
		"https://example.com/k":                   "",
		"https://example.com/k?Expires=1":         "",
		"https://example.com/k?X-Amz-Expires=300": "",
	} {
		at, known := platen.PresignedUpload{URL: address}.Expires()
		if known != (want != "") || known && at.UTC().Format(time.RFC3339) != want {
			t.Errorf("%s: %v %v", address, at, known)
		}
	}
}

// answering is a server of the test's own; it answers and keeps the requests.
func answering(t *testing.T, answer http.HandlerFunc) *receiver { return newReceiver(t, answer) }

func xmlError(status int, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
	}
}

func TestR6_3WhatAPresignedUploadsAnswersMean(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		query     string
		answer    http.HandlerFunc
		code      platen.FailureCode // "": it goes well
		retryable bool
		requests  int
	}{
		"200":                {"", status(200), "", false, 1},
		"201, Azure":         {"sv=1&sig=hidden", status(201), "", false, 1},
		"204":                {"", status(204), "", false, 1},
		"200 with an error":  {"", xmlError(200, "InternalError", ""), platen.FailureStorageUnavailable, true, 3},
		"200 with a refusal": {"", xmlError(200, "AccessDenied", ""), platen.FailureAccessDenied, false, 1},
		"202 is no promise":  {"", status(202), platen.FailureRequestRejected, false, 1},
		"a web page": {"", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html>")
		}, platen.FailureNotAnS3Endpoint, false, 1},
		"301":                   {"", http.RedirectHandler("https://elsewhere.example.com/x?hidden", http.StatusMovedPermanently).ServeHTTP, platen.FailureRedirected, false, 1},
		"303":                   {"", http.RedirectHandler("https://elsewhere.example.com/x?hidden", http.StatusSeeOther).ServeHTTP, platen.FailureRedirected, false, 1},
		"307":                   {"", http.RedirectHandler("https://elsewhere.example.com/x?hidden", http.StatusTemporaryRedirect).ServeHTTP, platen.FailureRedirected, false, 1},
		"SlowDown":              {"", xmlError(503, "SlowDown", ""), platen.FailureStorageUnavailable, true, 3},
		"429":                   {"", status(429), platen.FailureStorageUnavailable, true, 3},
		"501":                   {"", status(501), platen.FailureRequestRejected, false, 1},
		"413":                   {"", status(413), platen.FailureFileTooLarge, false, 1},
		"AccessDenied":          {"", xmlError(403, "AccessDenied", "Access Denied"), platen.FailureAccessDenied, false, 1},
		"expired, S3":           {"", xmlError(403, "AccessDenied", "Request has expired"), platen.FailurePresignedExpired, false, 1},
		"expired, Azure":        {"", xmlError(403, "AuthenticationFailed", "Signature not valid in the specified time frame"), platen.FailurePresignedExpired, false, 1},
		"NoSuchBucket":          {"", xmlError(404, "NoSuchBucket", ""), platen.FailureNoSuchBucket, false, 1},
		"InvalidAccessKeyId":    {"", xmlError(403, "InvalidAccessKeyId", ""), platen.FailureInvalidAccessKey, false, 1},
		"a message that echoes": {"", xmlError(403, "AccessDenied", "no right to ?a=hidden"), platen.FailureAccessDenied, false, 1},
		"SignatureDoesNotMatch": {"", xmlError(403, "SignatureDoesNotMatch", ""), platen.FailureSignatureMismatch, false, 1},
		"BadDigest":             {"", xmlError(400, "BadDigest", ""), platen.FailureStorageUnavailable, true, 3},
		"a signed checksum":     {"x-amz-checksum-crc32=AAAAAA%3D%3D", xmlError(400, "BadDigest", ""), platen.FailureRequestRejected, false, 1},
		"cut off":               {"", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, platen.FailureConnectionFailed, true, 3},
		"half an answer":        {"", breaking(403, false), platen.FailureConnectionFailed, true, 3},
		"an answer that stops":  {"", breaking(403, true), platen.FailureTimeout, true, 1},
		"no answer":             {"", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, platen.FailureTimeout, true, 1},
		"an unknown code":       {"", xmlError(400, "Whatever", "x"), platen.FailureRequestRejected, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := answering(t, test.answer)
			body := content(2000)
			receipt, err := presigned(t, Options{AnswerTimeout: time.Second}).Put(t.Context(), platen.PresignedUpload{URL: server.URL + "/b/k?a=hidden&" + test.query}, object("", body))
			if test.code == "" {
				if err != nil || receipt.URL != server.URL+"/b/k" || receipt.ByteSize != 2000 {
					t.Fatalf("%+v %v", receipt, err)
				}
			} else if failure := failureOfPut(t, err); failure.Code != test.code || failure.Retryable != test.retryable || failure.Message == "" {
				t.Errorf("%+v, want %s %v", failure, test.code, test.retryable)
			}
			if len(server.posts()) != test.requests {
				t.Errorf("%d requests, want %d", len(server.posts()), test.requests)
			}
			for _, put := range server.posts() {
				if put.method != http.MethodPut || !bytes.Equal(put.body, body) {
					t.Errorf("%s with %d bytes", put.method, len(put.body))
				}
				if azure := put.header.Get("X-Ms-Blob-Type"); (azure == "BlockBlob") != strings.Contains(test.query, "sv=") {
					t.Errorf("x-ms-blob-type: %q", azure)
				}
			}
		})
	}
}

func TestR6_5AFaultPassesWithinOneDelivery(t *testing.T) {
	t.Parallel()
	answered := 0 // by one handler after the other
	server := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		if answered++; answered < 3 {
			w.WriteHeader(500)
		}
	})
	if _, err := presigned(t, Options{}).Put(t.Context(), platen.PresignedUpload{URL: server.URL}, object("", content(100_000))); err != nil || len(server.posts()) != 3 {
		t.Errorf("%v after %d", err, len(server.posts()))
	}
	damaged := object("", content(100))
	damaged.SHA256 = strings.Repeat("0", 64)
	if _, err := presigned(t, Options{}).Put(t.Context(), platen.PresignedUpload{URL: server.URL}, damaged); failureOfPut(t, err).Code != platen.FailureStorage || len(server.posts()) != 3 {
		t.Errorf("a damaged copy: %v after %d", err, len(server.posts()))
	}
	if _, err := presigned(t, Options{}).Put(t.Context(), platen.PresignedUpload{URL: server.URL}, object("", nil)); failureOfPut(t, err).Code != platen.FailureStorage || len(server.posts()) != 3 {
		t.Errorf("an empty one: %v after %d", err, len(server.posts()))
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := presigned(t, Options{}).Put(canceled, platen.PresignedUpload{URL: server.URL}, object("", content(10))); err != context.Canceled {
		t.Errorf("canceled: %v", err)
	}
}

func TestR6_5APresignedURLReachesOnlyWhatItMay(t *testing.T) {
	t.Parallel()
	server := answering(t, status(200))
	secure := httptest.NewTLSServer(status(200))
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	t.Cleanup(secure.Close)
	strict := egress.New(egress.Options{Setting: "PLATEN_EGRESS_ALLOW"})
	for _, test := range []struct {
		o    Options
		url  string
		code platen.FailureCode
	}{{Options{Guard: strict}, server.URL, platen.FailureEgressDenied}, {Options{}, secure.URL, platen.FailureTLS}, {Options{}, "https" + strings.TrimPrefix(server.URL, "http"), platen.FailureTLS}} {
		_, err := presigned(t, test.o).Put(t.Context(), platen.PresignedUpload{URL: test.url + "/k?X-Amz-Signature=hidden"}, object("", content(10)))
		if failure := failureOfPut(t, err); failure.Code != test.code || failure.Retryable {
			t.Errorf("%s: %v, want %s", test.url, failure, test.code)
		}
	}
	if len(server.posts()) != 0 {
		t.Error("a private address was reached")
	}
}

func TestAPresignedUploadIsChecked(t *testing.T) {
	t.Parallel()
	now := time.Now()
	many := make([]platen.Header, 33)
	for path, u := range map[string][]platen.PresignedUpload{
		"url": {{URL: ""}, {URL: "example.com/k"}, {URL: "ftp://example.com/k"}, {URL: "https:///k"}, {URL: "https://user:word@example.com/k"},
			{URL: "https://example.com/k#x"}, {URL: "https://example.com/ü"}, {URL: "https://example.com:65536/k"}, {URL: "https://example.com:0/k"}, {URL: "https://example.com/" + strings.Repeat("x", 16<<10)}},
		"headers.0.name": {{URL: "https://example.com", Headers: []platen.Header{{Name: "Host", Value: "x"}}}, {URL: "https://example.com", Headers: []platen.Header{{Name: "transfer-encoding", Value: "chunked"}}},
			{URL: "https://example.com", Headers: []platen.Header{{Name: "content-length", Value: "1"}}}, {URL: "https://example.com", Headers: []platen.Header{{Name: "a b", Value: "x"}}}, {URL: "https://example.com", Headers: []platen.Header{{Name: "Proxy-Authorization", Value: "x"}}}},
		"headers.1.name":  {{URL: "https://example.com", Headers: []platen.Header{{Name: "X-A", Value: "1"}, {Name: "x-a", Value: "2"}}}},
		"headers.0.value": {{URL: "https://example.com", Headers: []platen.Header{{Name: "X-A", Value: "1\r\nX-B: 2"}}}},
		"headers":         {{URL: "https://example.com", Headers: many}, {URL: "https://example.com", Headers: []platen.Header{{Name: "X-A", Value: strings.Repeat("a", 9000)}}}},
	} {
		for _, one := range u {
			if errs := one.Validate(now); len(errs) != 1 || strings.Join(errs[0].Path, ".") != path {
				t.Errorf("%.60s %v: %v, want one at %s", one.URL, one.Headers, errs, path)
			}
		}
	}
	good := platen.PresignedUpload{URL: "https://example.com/k?X-Amz-Signature=hidden", Headers: []platen.Header{{Name: "Authorization", Value: "Bearer hidden"}, {Name: "x-ms-blob-type", Value: "AppendBlob"}}}
	if errs := good.Validate(now); len(errs) > 0 {
		t.Error(errs)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "to", good)
	if text := fmt.Sprintf("%v %+v %#v %s %s", good, good, good, good, log.String()); strings.Contains(text, "hidden") {
		t.Errorf("it is shown whole: %s", text)
	}
	for address, want := range map[string]string{
		"https://docs.s3.eu-west-3.amazonaws.com/a/b.pdf":                                                   "docs a/b.pdf eu-west-3",
		"https://s3.eu-west-3.amazonaws.com/docs/a/b.pdf":                                                   "docs a/b.pdf eu-west-3",
		"https://my.docs.s3.amazonaws.com/a?X-Amz-Credential=AK%2F20260101%2Feu-west-1%2Fs3%2Faws4_request": "my.docs a eu-west-1",
		"https://storage.googleapis.com/docs/a/b.pdf":                                                       "docs a/b.pdf ",
		"https://minio.example.com/docs/a/b.pdf":                                                            "  ",
	} {
		bucket, key, region := (&presignedCall{upload: platen.PresignedUpload{URL: address}}).place()
		if got := bucket + " " + key + " " + region; got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
}

// slowCopy sees whether the copy is set back while somebody still reads it.
type slowCopy struct {
	*bytes.Reader
	reading          atomic.Int32
	sent, overlapped atomic.Bool
	setBack          chan struct{}
}

func (c *slowCopy) Read(p []byte) (int, error) {
	c.reading.Add(1)
	defer c.reading.Add(-1)
	if c.sent.Load() {
		select {
		case <-c.setBack:
		case <-time.After(30 * time.Millisecond): // a disk that takes its time
		}
	}
	return c.Reader.Read(p)
}

func (c *slowCopy) Seek(offset int64, whence int) (int64, error) {
	if c.sent.Load() && c.reading.Load() > 0 {
		c.overlapped.Store(true)
		close(c.setBack)
	}
	return c.Reader.Seek(offset, whence)
}

func TestR6_5AnAttemptReadsTheCopyNoLongerThanItLasts(t *testing.T) {
	t.Parallel()
	copied := &slowCopy{Reader: bytes.NewReader(content(1 << 20)), setBack: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		copied.sent.Store(true)
		if _, err := io.ReadFull(r.Body, make([]byte, 1<<10)); err != nil {
			t.Error(err)
		}
		hijacked, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		// An answer before the body was read, and an end: the client is still sending.
		fmt.Fprint(hijacked, "HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		hijacked.Close()
	}))
	t.Cleanup(server.Close)
	o := object("", content(1<<20))
	o.Body = copied
	_, err := presigned(t, Options{AnswerTimeout: 10 * time.Second}).Put(t.Context(), platen.PresignedUpload{URL: server.URL + "/b/k"}, o)
	if failure := failureOfPut(t, err); !failure.Retryable {
		t.Error(failure)
	}
	if copied.overlapped.Load() {
		t.Error("the next attempt set the copy back while the one before still read it")
	}
}
