package delivery

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"platen"
	"platen/delivery/s3test"
	"platen/egress"
)

const secret = "dEadBeefSecretAccessKeyThatNobodyMaySee+/"

// bucket is a server with the bucket docs in eu-west-3, the keys that may write into
// it and nothing else, and an S3 that reaches it.
func bucket(t testing.TB) (*s3test.Server, *S3, Target) {
	t.Helper()
	server := s3test.New(t)
	server.CreateBucket("docs", "eu-west-3")
	server.AddKey("AKIAPLATEN", secret, s3test.PutOnly("docs"))
	return server, storage(t, Options{}), Target{
		AccessKeyID: "AKIAPLATEN", SecretAccessKey: platen.NewSecret(secret), Region: "eu-west-3", Bucket: "docs",
		Endpoint: server.URL, ForcePathStyle: true,
	}
}

// storage is an S3 for loopback that does not pause for long.
func storage(t testing.TB, o Options) *S3 {
	t.Helper()
	if o.Guard == nil {
		o.Guard = loopback(t)
	}
	o.MaxPause = time.Millisecond
	s := NewS3(o)
	t.Cleanup(s.Close)
	return s
}

func object(key string, content []byte) Object {
	sum := sha256.Sum256(content)
	return Object{
		Body: bytes.NewReader(content), Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:]),
		ContentType: "application/pdf", Key: key, Filename: "invoice.pdf",
	}
}

func content(size int) []byte {
	text := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(text)
	return text
}

// failed puts an object that must not arrive, and returns why it did not.
func failed(t testing.TB, s *S3, target Target, o Object) *platen.Failure {
	t.Helper()
	receipt, err := s.Put(t.Context(), target, o)
	var failure *platen.Failure
	if !errors.As(err, &failure) {
		t.Fatalf("receipt %+v, error %v; want a failure", receipt, err)
	}
	if failure.Stage != platen.StageDeliver || failure.OccurredAt.IsZero() || failure.Message == "" || strings.Contains(failure.Message+string(failure.Details), secret) {
		t.Errorf("%+v", failure)
	}
	return failure
}

func TestPutStoresTheBytesAndReturnsTheReceiptR62(t *testing.T) {
	t.Parallel()
	server, s, target := bucket(t)
	server.KeepVersions("docs")
	body := content(60 << 10)
	before := time.Now()
	receipt, err := s.Put(t.Context(), target, object("a/b.pdf", body))
	if err != nil {
		t.Fatal(err)
	}
	stored, _ := server.Object("docs", "a/b.pdf")
	if !bytes.Equal(stored.Body, body) {
		t.Error("the bucket holds other bytes")
	}
	want := platen.UploadReceipt{
		Bucket: "docs", Region: "eu-west-3", Key: "a/b.pdf", URL: server.URL + "/docs/a/b.pdf", ETag: strings.Trim(stored.ETag, `"`),
		VersionID: "version-1", ByteSize: 60 << 10, SHA256: object("", body).SHA256, UploadedAt: receipt.UploadedAt,
	}
	if *receipt != want || receipt.UploadedAt.Before(before) || receipt.UploadedAt.Location() != time.UTC {
		t.Errorf("receipt %+v, want %+v", *receipt, want)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/pdf", "Content-Disposition": "inline; filename=invoice.pdf",
		"Content-Encoding": "", "X-Amz-Acl": "", "X-Amz-Tagging": "", "X-Amz-Storage-Class": "", "If-None-Match": "",
	} {
		if got := stored.Header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	if stored.Header.Get("Content-Md5") == "" {
		t.Error("without Content-MD5 nothing protects the bytes on their way")
	}
	if strings.Contains(stored.Header.Get("Authorization"), "accept-encoding") {
		t.Error("Accept-Encoding is signed, which proxies change")
	}
}

func TestNothingButPutObjectIsCalledR52(t *testing.T) {
	t.Parallel()
	server, s, target := bucket(t)
	server.CreateBucket("docs--euw3-az1--x-s3", "") // the SDK would open a session for a directory bucket
	server.AddKey("AKIAPLATEN", secret, s3test.PutOnly("docs", "docs--euw3-az1--x-s3"))
	server.Fault("docs", s3test.SlowDown(), s3test.Pass(), s3test.PermanentRedirect("us-east-2"), s3test.Redirect(307, server.URL+"/docs/elsewhere"))
	for range 4 {
		_, _ = s.Put(t.Context(), target, object("k", content(100)))
	}
	target.Bucket = "docs--euw3-az1--x-s3"
	if _, err := s.Put(t.Context(), target, object("k", content(100))); err != nil {
		t.Error(err)
	}
	server.OnlyPuts(t)
	if n := len(server.Requests()); n != 6 {
		t.Errorf("%d requests, want 6", n)
	}
	if server.Contains(secret) {
		t.Error("the secret was sent")
	}
}

func TestExistingKeyIsOverwrittenR57(t *testing.T) {
	t.Parallel()
	server, s, target := bucket(t)
	for _, text := range []string{"first", "second"} {
		if _, err := s.Put(t.Context(), target, object("k", []byte(text))); err != nil {
			t.Fatal(err)
		}
	}
	if versions := server.Versions("docs", "k"); len(versions) != 1 || string(versions[0].Body) != "second" {
		t.Errorf("%d versions", len(versions))
	}
}

func TestKeysArriveAsTheyAre(t *testing.T) {
	t.Parallel()
	server, s, target := bucket(t)
	for _, key := range []string{
		"sp ace+ü%25(1)!'*.pdf", "a//b", "/a", "a/", "%2F", "a?b=c#d&e", "~._-", "日本語/😀.pdf", "a\\b:c@d;e,f=g$h", `"quoted"`, "a/./b", "a/../b", "e\u0301",
		strings.Repeat("k", 1024),
	} {
		receipt, err := s.Put(t.Context(), target, object(key, []byte(key)))
		if err != nil {
			t.Errorf("%q: %v", key, err)
			continue
		}
		if stored, ok := server.Object("docs", key); !ok || string(stored.Body) != key || receipt.Key != key {
			t.Errorf("%q was stored under another key: %q", key, server.Keys("docs"))
		}
		if strings.ContainsAny(strings.TrimPrefix(receipt.URL, "http://"), "?# ") {
			t.Errorf("URL %s", receipt.URL)
		}
	}
}

func TestFilenamesOfAnyScript(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"":                    "",
		"invoice.pdf":         "inline; filename=invoice.pdf",
		`a "b".pdf`:           `inline; filename="a \"b\".pdf"`,
		"Rechnung Müller.pdf": "inline; filename*=utf-8''Rechnung%20M%C3%BCller.pdf",
		"a\r\nX-Evil: 1.pdf":  "inline; filename*=utf-8''a%0D%0AX-Evil%3A%201.pdf",
	} {
		server, s, target := bucket(t)
		o := object("k", []byte("x"))
		o.Filename = name
		if _, err := s.Put(t.Context(), target, o); err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if stored, _ := server.Object("docs", "k"); stored.Header.Get("Content-Disposition") != want {
			t.Errorf("%q: %q, want %q", name, stored.Header.Get("Content-Disposition"), want)
		}
	}
}

func TestBucketInTheHostName(t *testing.T) {
	t.Parallel()
	server, s, target := bucket(t)
	_, port, _ := net.SplitHostPort(server.Addr)
	target.Endpoint, target.ForcePathStyle = "http://"+s3test.Domain+":"+port, false
	receipt, err := s.Put(t.Context(), target, object("a b", []byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	if want := "http://docs." + s3test.Domain + ":" + port + "/a%20b"; receipt.URL != want {
		t.Errorf("URL %s, want %s", receipt.URL, want)
	}
	if _, ok := server.Object("docs", "a b"); !ok {
		t.Error("not stored")
	}
}

func TestSlashesAtTheEndOfAnEndpointDoNotMatter(t *testing.T) {
	t.Parallel()
	server, s, target := bucket(t)
	_, port, _ := net.SplitHostPort(server.Addr)
	for endpoint, pathStyle := range map[string]bool{server.URL + "/": true, server.URL + "//": true, "http://" + s3test.Domain + ":" + port + "//": false} {
		target.Endpoint, target.ForcePathStyle = endpoint, pathStyle
		receipt, err := s.Put(t.Context(), target, object("a/k", []byte("x")))
		if err != nil || !strings.HasSuffix(receipt.URL, ":"+port+"/a/k") && !strings.HasSuffix(receipt.URL, ":"+port+"/docs/a/k") {
			t.Errorf("%s: %+v %v", endpoint, receipt, err)
		}
	}
}

func TestAWSIsAddressedByBucketAndRegion(t *testing.T) {
	t.Parallel()
	server := s3test.NewTLS(t)
	server.CreateBucket("docs", "eu-west-3")
	server.AddKey("AKIAPLATEN", secret, s3test.PutOnly("docs"))
	s := storage(t, Options{})
	// Amazon's names lead to the test's server.
	transport := s.http.Transport.(*transport)
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.Addr)
	}
	target := Target{AccessKeyID: "AKIAPLATEN", SecretAccessKey: platen.NewSecret(secret), Region: "eu-west-3", Bucket: "docs"}
	for pathStyle, want := range map[bool]string{
		false: "https://docs.s3.eu-west-3.amazonaws.com/a/k.pdf",
		true:  "https://s3.eu-west-3.amazonaws.com/docs/a/k.pdf",
	} {
		target.ForcePathStyle = pathStyle
		receipt, err := s.Put(t.Context(), target, object("a/k.pdf", []byte("x")))
		if err != nil || receipt.URL != want {
			t.Errorf("%+v, %v; want %s", receipt, err, want)
		}
	}
}

func TestPutOverTLS(t *testing.T) {
	t.Parallel()
	server := s3test.NewTLS(t)
	server.CreateBucket("docs", "")
	server.AddKey("AKIAPLATEN", secret, s3test.PutOnly("docs"))
	target := Target{AccessKeyID: "AKIAPLATEN", SecretAccessKey: platen.NewSecret(secret), Region: "auto", Bucket: "docs", Endpoint: server.URL, ForcePathStyle: true}
	s := storage(t, Options{RootCAs: server.RootCAs()})
	body := content(3 << 20) // large enough for Expect: 100-continue
	server.Fault("docs", s3test.Corrupt())
	if _, err := s.Put(t.Context(), target, object("k", body)); err != nil {
		t.Fatal(err)
	}
	stored, _ := server.Object("docs", "k")
	if !bytes.Equal(stored.Body, body) {
		t.Error("other bytes")
	}
	if requests := server.Requests(); len(requests) != 2 || requests[0].Status != 400 {
		t.Error("the damaged upload was not refused")
	}
	if payload := stored.Header.Get("X-Amz-Content-Sha256"); payload != object("k", body).SHA256 || stored.Header.Get("X-Amz-Trailer") != "" {
		t.Errorf("payload %q: it is signed, and older servers refuse checksums in a trailer", payload)
	}
}

func TestTransientFaultsAreTriedAgainWithTheWholeBody(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]s3test.Fault{
		"SlowDown": s3test.SlowDown(), "InternalError": s3test.InternalError(), "a proxy's 503": s3test.HTML(503), "429": s3test.HTML(429),
		"reset": s3test.Reset(), "closed": s3test.Close(), "damaged": s3test.Corrupt(), "an answer before the body": tooEarly,
		"RequestTimeout": s3test.Error(400, "RequestTimeout", ""), "OperationAborted": s3test.Error(409, "OperationAborted", ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := content(1 << 20)
			for kind, o := range map[string]Object{"memory": object("k", body), "file": inFile(t, object("k", body))} {
				server, s, target := bucket(t)
				server.Fault("docs", fault, fault)
				if _, err := s.Put(t.Context(), target, o); err != nil {
					t.Fatalf("%s: %v", kind, err)
				}
				if stored, _ := server.Object("docs", "k"); !bytes.Equal(stored.Body, body) {
					t.Errorf("%s: other bytes", kind)
				}
				if n := len(server.Requests()); n != 3 {
					t.Errorf("%s: %d requests, want 3", kind, n)
				}
			}
		})
	}
}

// tooEarly answers before the body is read, whose rest is on its way meanwhile.
func tooEarly(_ *s3test.Server, w http.ResponseWriter, _ *http.Request) bool {
	w.WriteHeader(http.StatusServiceUnavailable)
	return true
}

// inFile is an object whose own copy is a file, as it is in a folder.
func inFile(t testing.TB, o Object) Object {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "copy"))
	if err == nil {
		_, err = io.Copy(file, o.Body)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	o.Body = file
	return o
}

func TestAttemptsAreFew(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault s3test.Fault
		want  int
	}{
		"transient":          {s3test.SlowDown(), attempts},
		"access denied":      {s3test.Error(403, "AccessDenied", ""), 1},
		"wrong region":       {s3test.PermanentRedirect("us-east-2"), 1},
		"redirect":           {s3test.Redirect(307, "/docs/other"), 1},
		"web page":           {s3test.HTML(200), 1},
		"not implemented":    {s3test.Error(501, "NotImplemented", ""), 1},
		"invalid request":    {s3test.Error(400, "InvalidRequest", ""), 1},
		"page not found":     {s3test.HTML(404), 1},
		"an answer too late": {s3test.Hang(), 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, _, target := bucket(t)
			s := storage(t, Options{AnswerTimeout: 500 * time.Millisecond})
			for range attempts + 1 {
				server.Fault("docs", test.fault)
			}
			failed(t, s, target, object("k", content(1000)))
			if n := len(server.Requests()); n != test.want {
				t.Errorf("%d requests, want %d", n, test.want)
			}
		})
	}
}

func TestAWrongClockHealsItself(t *testing.T) {
	t.Parallel()
	server, s, target := bucket(t)
	server.SetClock(func() time.Time { return time.Now().Add(time.Hour) })
	server.Fault("docs", s3test.Serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
		w.WriteHeader(403)
		_, _ = io.WriteString(w, "<Error><Code>RequestTimeTooSkewed</Code></Error>")
	}))
	if _, err := s.Put(t.Context(), target, object("k", []byte("x"))); err != nil {
		t.Fatal(err)
	}
}

func TestOneTenantsFailuresCostAnotherNothing(t *testing.T) {
	t.Parallel()
	server, s, target := bucket(t)
	for range 300 { // the SDK's own quota of retries would be used up
		server.Fault("docs/bad", s3test.SlowDown())
	}
	for range 100 {
		failed(t, s, target, object("bad", []byte("x")))
	}
	server.Fault("docs/good", s3test.SlowDown(), s3test.SlowDown())
	if _, err := s.Put(t.Context(), target, object("good", []byte("x"))); err != nil {
		t.Fatal(err)
	}
}

func TestMemoryIsBoundedR58(t *testing.T) {
	// Not parallel: it counts the allocations of the whole process.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("ETag", `"x"`)
	}))
	defer server.Close()
	const size = 64 << 20
	sum := sha256.New()
	_, _ = io.Copy(sum, io.NewSectionReader(zeros{}, 0, size))
	o := Object{Body: io.NewSectionReader(zeros{}, 0, size), Size: size, SHA256: hex.EncodeToString(sum.Sum(nil)), Key: "k"}
	target := Target{AccessKeyID: "a", SecretAccessKey: platen.NewSecret("b"), Region: "auto", Bucket: "docs", Endpoint: server.URL, ForcePathStyle: true}
	s := storage(t, Options{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := s.Put(t.Context(), target, o); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 4<<20 {
		t.Errorf("%d KB allocated for a file of 64 MB", allocated>>10)
	}
}

// zeros is a file of zeros without an end.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

func TestAnEndlessAnswerIsNotReadToItsEnd(t *testing.T) {
	t.Parallel()
	server, s, target := bucket(t)
	server.Fault("docs", s3test.Serve(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(400)
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}))
	if failure := failed(t, s, target, object("k", []byte("x"))); failure.Code != platen.FailureNotAnS3Endpoint {
		t.Errorf("%+v", failure)
	}
}

func TestAServerThatStopsReadingTimesOut(t *testing.T) {
	t.Parallel()
	for kind, o := range map[string]Object{"memory": object("k", content(32<<20)), "file": inFile(t, object("k", content(32<<20)))} {
		server, _, target := bucket(t)
		s := storage(t, Options{AnswerTimeout: 300 * time.Millisecond})
		server.Fault("docs", s3test.StopReading())
		failure := failed(t, s, target, o)
		if failure.Code != platen.FailureTimeout || !failure.Retryable {
			t.Errorf("%s: %+v", kind, failure)
		}
	}
}

func TestASlowReaderIsWaitedFor(t *testing.T) {
	t.Parallel()
	for kind, o := range map[string]Object{"memory": object("k", content(4<<20)), "file": inFile(t, object("k", content(4<<20)))} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			waitsForASlowReader(t, o)
		})
	}
}

func waitsForASlowReader(t *testing.T, o Object) {
	t.Helper()
	server, _, target := bucket(t)
	const timeout = 2 * time.Second
	s := storage(t, Options{AnswerTimeout: timeout})
	// What the kernel holds back for the reader is no longer waited for in pieces: little.
	transport := s.http.Transport.(*transport)
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err == nil {
			err = conn.(*steadyConn).Conn.(*net.TCPConn).SetWriteBuffer(64 << 10)
		}
		return conn, err
	}
	server.Fault("docs", s3test.SlowReading(10*time.Millisecond))
	start := time.Now()
	if _, err := s.Put(t.Context(), target, o); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took < timeout {
		t.Errorf("it took %s: less than the timeout, so it shows nothing", took)
	}
}

func TestTheCallersCancellationIsNoFailureOfTheStorage(t *testing.T) {
	t.Parallel()
	server, s, target := bucket(t)
	release := server.Hold("docs")
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		_, err := s.Put(ctx, target, object("k", []byte("x")))
		if err != context.Canceled {
			t.Errorf("%v, want context.Canceled itself", err)
		}
	})
	server.WaitForRequest(t, func(r s3test.Request) bool { return r.Key == "k" })
	cancel()
	group.Wait()
	if _, err := s.Put(ctx, target, object("k", []byte("x"))); err != context.Canceled {
		t.Errorf("%v, want context.Canceled itself", err)
	}
}

func TestAPassedDeadlineIsATimeout(t *testing.T) {
	t.Parallel()
	server, s, target := bucket(t)
	defer server.Hold("docs")()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := s.Put(ctx, target, object("k", []byte("x")))
	var failure *platen.Failure
	if !errors.As(err, &failure) || failure.Code != platen.FailureTimeout || !failure.Retryable {
		t.Errorf("%v", err)
	}
	_, err = s.Put(ctx, target, object("k", []byte("x")))
	if !errors.As(err, &failure) || failure.Code != platen.FailureTimeout {
		t.Errorf("%v", err)
	}
}

func TestFilesLargerThanOnePutAreNotSentR58(t *testing.T) {
	t.Parallel()
	server, s, target := bucket(t)
	o := object("k", []byte("x"))
	o.Size = MaxObject + 1
	if failure := failed(t, s, target, o); failure.Code != platen.FailureFileTooLarge || failure.Retryable {
		t.Errorf("%+v", failure)
	}
	if len(server.Requests()) != 0 {
		t.Error("it was sent")
	}
}

// brokenCopy fails to read after so many bytes, the first times.
type brokenCopy struct {
	*bytes.Reader
	good, times int
}

func (b *brokenCopy) Read(p []byte) (int, error) {
	if at := b.Size() - int64(b.Len()); b.times > 0 && at >= int64(b.good) {
		b.times--
		return 0, errors.New("disk on fire at /secret/path")
	}
	return b.Reader.Read(p[:min(len(p), 1000)])
}

// WriteTo would go round Read.
func (b *brokenCopy) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{b})
}

func TestAnOwnCopyThatCannotBeReadIsNoFaultOfTheBucket(t *testing.T) {
	t.Parallel()
	server, s, target := bucket(t)
	o := object("k", content(5000))
	o.Body = &brokenCopy{bytes.NewReader(content(5000)), 2000, 1}
	failure := failed(t, s, target, o)
	if failure.Code != platen.FailureStorage || !failure.Retryable || strings.Contains(failure.Message, "fire") {
		t.Errorf("%+v", failure)
	}
	whole := func() io.ReadSeeker { return bytes.NewReader(content(5000)) }
	for name, o := range map[string]Object{
		"other bytes":        {Body: bytes.NewReader(content(5000)[1:]), Size: 4999, SHA256: o.SHA256},
		"cut off":            {Body: bytes.NewReader(content(5000)[:4000]), Size: 5000, SHA256: o.SHA256},
		"a sum that is none": {Body: whole(), Size: 5000, SHA256: o.SHA256, MD5: "xyz"},
		"no sum":             {Body: whole(), Size: 5000},
	} {
		if failure := failed(t, s, target, o); failure.Code != platen.FailureStorage || failure.Retryable {
			t.Errorf("%s: %+v", name, failure)
		}
	}
	withSum := target
	withSum.Checksum = platen.ChecksumSHA256
	if failure := failed(t, s, withSum, Object{Body: whole(), Size: 5000, SHA256: "xyz"}); failure.Code != platen.FailureStorage || failure.Retryable {
		t.Errorf("another sum that is none: %+v", failure)
	}
	if len(server.Keys("docs")) != 0 || len(server.Requests()) != 0 {
		t.Error("a damaged copy was sent")
	}
	// It breaks while it is sent: once, and then for good, as it is read at each fault to find out.
	for _, times := range []int{1, 2 * attempts} {
		reader := &brokenCopy{bytes.NewReader(content(5000)), 2000, 0}
		o.Body = &breaksLater{reader, times}
		_, err := s.Put(t.Context(), target, o)
		if times == 1 && err != nil {
			t.Errorf("it was not tried again: %v", err)
		}
		var failure *platen.Failure
		if times > 1 && (!errors.As(err, &failure) || failure.Code != platen.FailureStorage || !failure.Retryable) {
			t.Errorf("%v", err)
		}
	}
}

// breaksLater is whole until it was read to its end once.
type breaksLater struct {
	*brokenCopy
	later int
}

func (b *breaksLater) Read(p []byte) (int, error) {
	n, err := b.brokenCopy.Read(p)
	if err == io.EOF && b.later > 0 {
		b.times, b.later = b.later, 0
	}
	return n, err
}

func (b *breaksLater) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{b})
}

func TestTheGuardDecidesAndIsNotAskedTwice(t *testing.T) {
	t.Parallel()
	server, _, target := bucket(t)
	s := storage(t, Options{Guard: egress.New(egress.Options{Setting: "PLATEN_EGRESS_ALLOW"})})
	failure := failed(t, s, target, object("k", []byte("x")))
	if failure.Code != platen.FailureEgressDenied || failure.Retryable || !strings.Contains(failure.Message, "PLATEN_EGRESS_ALLOW") {
		t.Errorf("%+v", failure)
	}
	if len(server.Requests()) != 0 {
		t.Error("it was reached")
	}
}

func TestDestination(t *testing.T) {
	t.Parallel()
	if got := Destination(Target{Bucket: "docs", SecretAccessKey: platen.NewSecret(secret)}, "a/b c.pdf"); got != "s3://docs/a/b c.pdf" {
		t.Error(got)
	}
}

func TestR5_1OptionsAreSentWhenGivenAndInPlainHeaders(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		start, options := s3test.New, Options{Guard: loopback(t)}
		if secure {
			start = s3test.NewTLS
		}
		server := start(t)
		if secure {
			options.RootCAs = server.RootCAs()
		}
		server.CreateBucket("docs", "eu-west-3")
		server.AddKey("AKIAPLATEN", secret, s3test.PutOnly("docs"))
		s := NewS3(options)
		t.Cleanup(s.Close)
		body := content(100_000)
		sum := sha256.Sum256(body)
		crc := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(body))
		sum5 := md5.Sum(body)
		text := base64.StdEncoding.EncodeToString
		for checksum, want := range map[platen.S3Checksum]map[string]string{
			"":                    {"Content-Md5": text(sum5[:])},
			platen.ChecksumMD5:    {"Content-Md5": text(sum5[:])},
			platen.ChecksumCRC32:  {"X-Amz-Checksum-Crc32": text(crc)},
			platen.ChecksumSHA256: {"X-Amz-Checksum-Sha256": text(sum[:])},
			platen.ChecksumNone:   {},
		} {
			target := Target{AccessKeyID: "AKIAPLATEN", SecretAccessKey: platen.NewSecret(secret), Region: "eu-west-3", Bucket: "docs", Endpoint: server.URL, ForcePathStyle: true,
				Checksum: checksum, StorageClass: "STANDARD_IA", ServerSideEncryption: "aws:kms", KMSKeyID: "key-1"}
			if checksum == "" {
				target.StorageClass, target.ServerSideEncryption, target.KMSKeyID = "", "", ""
			}
			if _, err := s.Put(t.Context(), target, object("k", body)); err != nil {
				t.Fatalf("%s at %s: %v", checksum, server.URL, err)
			}
			stored, _ := server.Object("docs", "k")
			if !bytes.Equal(stored.Body, body) {
				t.Errorf("%s: the bucket holds other bytes", checksum)
			}
			for name, value := range map[string]string{"X-Amz-Storage-Class": target.StorageClass, "X-Amz-Server-Side-Encryption": target.ServerSideEncryption,
				"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": target.KMSKeyID, "Content-Encoding": "", "X-Amz-Trailer": "", "Content-Md5": want["Content-Md5"],
				"X-Amz-Checksum-Crc32": want["X-Amz-Checksum-Crc32"], "X-Amz-Checksum-Sha256": want["X-Amz-Checksum-Sha256"]} {
				if got := stored.Header.Get(name); got != value {
					t.Errorf("%s at %s: %s is %q, want %q", checksum, server.URL, name, got, value)
				}
			}
		}
	}
}

func TestAProbeIsASmallText(t *testing.T) {
	t.Parallel()
	server, s, target := bucket(t)
	if _, err := s.Put(t.Context(), target, ProbeObject("check.txt", time.Now())); err != nil {
		t.Fatal(err)
	}
	if stored, _ := server.Object("docs", "check.txt"); !strings.Contains(string(stored.Body), "may be deleted") {
		t.Errorf("%s", stored.Body)
	}
}

// countedCopy counts the bytes that are read of it.
type countedCopy struct {
	*bytes.Reader
	read int
}

func (c *countedCopy) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read += n
	return n, err
}

// WriteTo would go round Read.
func (c *countedCopy) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{c})
}

func TestACopyWhoseSumIsKnownIsReadOnceAndItsDamageNeverArrives(t *testing.T) {
	t.Parallel()
	body := content(300_000)
	sum := md5.Sum(body)
	for _, c := range []struct {
		checksum platen.S3Checksum
		md5      string
		times    int
	}{
		{platen.ChecksumMD5, hex.EncodeToString(sum[:]), 1}, {"", hex.EncodeToString(sum[:]), 1}, {platen.ChecksumMD5, "", 2}, {"", "", 2},
		{platen.ChecksumSHA256, "", 1}, {platen.ChecksumNone, "", 2}, {platen.ChecksumCRC32, hex.EncodeToString(sum[:]), 2},
	} {
		server, s, target := bucket(t)
		target.Checksum = c.checksum
		o := object("k", body)
		o.MD5 = c.md5
		copied := &countedCopy{Reader: bytes.NewReader(body)}
		o.Body = copied
		if _, err := s.Put(t.Context(), target, o); err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if stored, _ := server.Object("docs", "k"); !bytes.Equal(stored.Body, body) {
			t.Errorf("%+v: the bucket holds other bytes", c)
		}
		if copied.read != c.times*len(body) {
			t.Errorf("%+v: %d bytes were read of %d", c, copied.read, len(body))
		}
		// What is damaged meanwhile is refused by the bucket, which is told by its record what it should
		// be, or is not sent at all; it is no more than once.
		for name, damage := range map[string][]byte{
			"other bytes": append(bytes.Clone(body[:len(body)-1]), body[0]^1), "cut off": body[:200_000], "longer": append(bytes.Clone(body), 'x'),
		} {
			for kind, copied := range map[string]io.ReadSeeker{"memory": bytes.NewReader(damage), "file": inFile(t, object("", damage)).Body} {
				o.Body, o.Key = copied, name+" in "+kind
				failure := failed(t, s, target, o)
				if failure.Code != platen.FailureStorage || failure.Retryable || !strings.Contains(failure.Message, "damaged") {
					t.Errorf("%+v, %s: %+v", c, o.Key, failure)
				}
				sent := 0
				for _, request := range server.Requests() {
					if request.Key == o.Key {
						sent++
					}
				}
				if sent > 1 || sent == 1 && (name != "other bytes" || c.times > 1) {
					t.Errorf("%+v, %s: it was sent %d times", c, o.Key, sent)
				}
			}
		}
		if stored := server.Keys("docs"); len(stored) != 1 {
			t.Errorf("%+v: the bucket holds what is damaged: %q", c, stored)
		}
	}
}

func TestTheBucketRefusesWhatIsNotTheDocumentWhateverItsChecksum(t *testing.T) {
	t.Parallel()
	body := content(300_000)
	for _, checksum := range []platen.S3Checksum{platen.ChecksumMD5, platen.ChecksumCRC32, platen.ChecksumNone} { // for which it is read before it is sent
		server, s, target := bucket(t)
		target.Checksum = checksum
		o := object("k", body)
		o.Body = &s3test.Turning{Reader: bytes.NewReader(body), Into: content(300_001)[1:]}
		failure := failed(t, s, target, o)
		if failure.Code != platen.FailureStorage || failure.Retryable || failure.ProviderCode == "" || len(server.Keys("docs")) != 0 || len(server.Requests()) != 1 {
			t.Errorf("%s: %+v after %d requests", checksum, failure, len(server.Requests()))
		}
	}
}

// unreachable is a copy in a bucket of the operator's that nobody reaches once the first bytes are read.
type unreachable struct{ *bytes.Reader }

func (u unreachable) Read(p []byte) (int, error) {
	if u.Len() < int(u.Size()) {
		return 0, &net.DNSError{Err: "no such host", Name: "copies.test", IsNotFound: true}
	}
	return u.Reader.Read(p[:min(len(p), 1000)])
}

// WriteTo would go round Read.
func (u unreachable) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{u})
}

func TestTheNetworkOfTheOwnCopiesIsNotTheBuckets(t *testing.T) {
	t.Parallel()
	server, s, target := bucket(t)
	target.Checksum = platen.ChecksumSHA256 // so that it is not read before
	o := object("k", content(5000))
	o.Body = unreachable{bytes.NewReader(content(5000))}
	if failure := failed(t, s, target, o); failure.Code != platen.FailureStorage || !failure.Retryable {
		t.Errorf("%+v", failure)
	}
	if len(server.Keys("docs")) != 0 {
		t.Error("half of it was stored")
	}
}
