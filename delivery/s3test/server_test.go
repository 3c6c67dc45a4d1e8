package s3test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// setup is a server with the bucket b in eu-west-3 and the pair id and secret, which
// may do everything there, and a client that tries once.
func setup(t *testing.T) (*Server, *s3.Client) {
	t.Helper()
	server := New(t).Own()
	server.CreateBucket("b", "eu-west-3")
	server.AddKey("id", "secret", FullAccess("b"))
	return server, client(server, "id", "secret")
}

func client(server *Server, id, secret string, change ...func(*s3.Options)) *s3.Client {
	return s3.New(s3.Options{
		Region: "eu-west-3", BaseEndpoint: &server.URL, UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials:                credentials.NewStaticCredentialsProvider(id, secret, ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
		DisableClockSkewCorrection: true,
	}, change...)
}

func put(c *s3.Client, key, body string) error {
	_, err := c.PutObject(context.Background(), &s3.PutObjectInput{Bucket: aws.String("b"), Key: &key, Body: strings.NewReader(body), ContentType: aws.String("text/plain")})
	return err
}

func code(err error) string {
	var refused smithy.APIError
	if errors.As(err, &refused) {
		return refused.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func TestSignaturesAreVerified(t *testing.T) {
	t.Parallel()
	server, good := setup(t)
	server.AddKey("putter", "secret", PutOnly("b"))
	for _, key := range []string{"a/b.txt", "sp ace+ü%25(1)!'*", "a//b/../c", "日本/😀", "~._-$&,;=:@"} {
		if err := put(good, key, key); err != nil {
			t.Errorf("%q: %v", key, err)
		}
		if stored, _ := server.Object("b", key); string(stored.Body) != key {
			t.Errorf("%q holds %q", key, stored.Body)
		}
	}
	header := func(name, value string) func(*s3.Options) {
		return func(o *s3.Options) {
			inner := o.HTTPClient
			o.HTTPClient = doer(func(r *http.Request) (*http.Response, error) {
				r.Header.Set(name, value)
				return inner.Do(r)
			})
		}
	}
	for name, test := range map[string]struct {
		client *s3.Client
		want   string
	}{
		"wrong secret":             {client(server, "id", "other"), "SignatureDoesNotMatch"},
		"unknown key":              {client(server, "other", "secret"), "InvalidAccessKeyId"},
		"wrong region":             {client(server, "id", "secret", func(o *s3.Options) { o.Region = "us-east-1" }), "AuthorizationHeaderMalformed"},
		"altered header":           {client(server, "id", "secret", plain, header("Content-Type", "text/html")), "SignatureDoesNotMatch"},
		"header that is no part":   {client(server, "id", "secret", plain, header("X-Amz-Acl", "public-read")), "AccessDenied"},
		"no signature":             {client(server, "id", "secret", plain, header("Authorization", "")), "AccessDenied"},
		"nonsense for a signature": {client(server, "id", "secret", plain, header("Authorization", "AWS4-HMAC-SHA256 x")), "AuthorizationHeaderMalformed"},
		"checksums in a trailer":   {client(server, "id", "secret", plain, header("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")), "SignatureDoesNotMatch"},
	} {
		if got := code(put(test.client, "k", "x")); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	if _, ok := server.Object("b", "k"); ok {
		t.Error("a refused object was stored")
	}
}

type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

func plain(o *s3.Options) { o.HTTPClient = http.DefaultClient }

func TestBodiesAndClocksAreChecked(t *testing.T) {
	t.Parallel()
	server, c := setup(t)
	server.Fault("b", Corrupt())
	if got := code(put(c, "k", "x")); got != "XAmzContentSHA256Mismatch" {
		t.Errorf("damaged: %s", got)
	}
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("b"), Key: aws.String("k"), Body: strings.NewReader("x"), ContentMD5: aws.String("AAAAAAAAAAAAAAAAAAAAAA==")})
	if got := code(err); got != "BadDigest" {
		t.Errorf("wrong MD5: %s", got)
	}
	_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("b"), Key: aws.String("k"), Body: strings.NewReader("x"), ContentMD5: aws.String("nonsense")})
	if got := code(err); got != "InvalidDigest" {
		t.Errorf("no MD5: %s", got)
	}
	if got := code(put(c, strings.Repeat("k", 1025), "x")); got != "KeyTooLongError" {
		t.Errorf("long key: %s", got)
	}
	for offset, want := range map[time.Duration]string{14 * time.Minute: "", -14 * time.Minute: "", 16 * time.Minute: "RequestTimeTooSkewed", -16 * time.Minute: "RequestTimeTooSkewed"} {
		server.SetClock(func() time.Time { return time.Now().Add(offset) })
		if got := code(put(c, "k", "x")); got != want {
			t.Errorf("clock off by %v: %q, want %q", offset, got, want)
		}
	}
}

func TestPoliciesAreKept(t *testing.T) {
	t.Parallel()
	server, _ := setup(t)
	server.CreateBucket("other", "")
	server.AddKey("putter", "secret", PutOnly("other"))
	c := client(server, "putter", "secret")
	bucket := aws.String("other")
	_, putError := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: aws.String("k"), Body: strings.NewReader("x")})
	_, getError := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: aws.String("k")})
	_, deleteError := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String("k")})
	_, listError := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: bucket})
	_, tagError := c.PutObjectTagging(t.Context(), &s3.PutObjectTaggingInput{Bucket: bucket, Key: aws.String("k"), Tagging: nil})
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"put": {putError, ""}, "get": {getError, "AccessDenied"}, "delete": {deleteError, "AccessDenied"}, "list": {listError, "AccessDenied"},
		"other bucket": {put(c, "k", "x"), "AccessDenied"},
	} {
		if got := code(test.err); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
	if tagError == nil {
		t.Error("tagging was allowed")
	}
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("none"), Key: aws.String("k"), Body: strings.NewReader("x")})
	if got := code(err); got != "NoSuchBucket" {
		t.Errorf("no bucket: %s", got)
	}
}

func TestPresignedPut(t *testing.T) {
	t.Parallel()
	server, c := setup(t)
	presign := func(expires time.Duration) string {
		request, err := s3.NewPresignClient(c).PresignPutObject(t.Context(), &s3.PutObjectInput{
			Bucket: aws.String("b"), Key: aws.String("p x.pdf"), ContentType: aws.String("application/pdf"),
		}, s3.WithPresignExpires(expires))
		if err != nil {
			t.Fatal(err)
		}
		return request.URL
	}
	send := func(url string, header map[string]string) int {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, url, strings.NewReader("body"))
		for name, value := range header {
			r.Header.Set(name, value)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	url := presign(time.Minute)
	right := map[string]string{"Content-Type": "application/pdf"}
	for name, test := range map[string]struct {
		url    string
		header map[string]string
		want   int
	}{
		"as signed":         {url, right, 200},
		"other type":        {url, map[string]string{"Content-Type": "text/plain"}, 403},
		"no type":           {url, nil, 403},
		"one header more":   {url, map[string]string{"Content-Type": "application/pdf", "X-Amz-Acl": "public-read"}, 403},
		"other key":         {strings.Replace(url, "p%20x", "q%20x", 1), right, 403},
		"other expiry":      {strings.Replace(url, "X-Amz-Expires=60", "X-Amz-Expires=600", 1), right, 403},
		"longer than legal": {strings.Replace(url, "X-Amz-Expires=60", "X-Amz-Expires=6000000", 1), right, 400},
		"harmless header":   {url, map[string]string{"Content-Type": "application/pdf", "X-Other": "x"}, 200},
	} {
		if got := send(test.url, test.header); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
	if stored, _ := server.Object("b", "p x.pdf"); string(stored.Body) != "body" {
		t.Errorf("%q", stored.Body)
	}
	server.SetClock(func() time.Time { return time.Now().Add(61 * time.Second) })
	if got := send(url, right); got != 403 {
		t.Errorf("expired: %d", got)
	}
	server.OnlyPuts(t)
}

func TestPresignedGetAndRanges(t *testing.T) {
	t.Parallel()
	server, c := setup(t)
	server.KeepVersions("b")
	for _, body := range []string{"old", "0123456789"} {
		if err := put(c, "k", body); err != nil {
			t.Fatal(err)
		}
	}
	key, bucket := aws.String("k"), aws.String("b")
	read := func(in *s3.GetObjectInput) string {
		in.Bucket, in.Key = bucket, key
		out, err := c.GetObject(t.Context(), in)
		if err != nil {
			return err.Error()
		}
		body, _ := io.ReadAll(out.Body)
		return string(body)
	}
	for want, in := range map[string]*s3.GetObjectInput{"0123456789": {}, "234": {Range: aws.String("bytes=2-4")}, "89": {Range: aws.String("bytes=-2")}, "old": {VersionId: aws.String("version-1")}} {
		if got := read(in); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	request, err := s3.NewPresignClient(c).PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: key, ResponseContentType: aws.String("text/html")})
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Get(request.URL)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if string(body) != "0123456789" || response.Header.Get("Content-Type") != "text/html" {
		t.Errorf("%d %s %v", response.StatusCode, body, response.Header)
	}
	head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: bucket, Key: key})
	if err != nil || *head.ContentLength != 10 || *head.ContentType != "text/plain" || *head.VersionId != "version-2" {
		t.Errorf("%+v, %v", head, err)
	}
	if _, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: key}); err != nil {
		t.Error(err)
	}
	if _, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: key}); code(err) != "NoSuchKey" {
		t.Errorf("%v", err)
	}
	if _, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: bucket, Key: key}); code(err) != "NotFound" {
		t.Errorf("%v", err)
	}
}

func TestListsAreReadInPages(t *testing.T) {
	t.Parallel()
	server, c := setup(t)
	for _, key := range []string{"a/1", "a/2", "a/3", "b/1"} {
		if err := put(c, key, key); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	pages := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{Bucket: aws.String("b"), Prefix: aws.String("a/"), MaxKeys: aws.Int32(2)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range page.Contents {
			if *object.Size != 3 || time.Since(*object.LastModified) > time.Hour {
				t.Errorf("%+v", object)
			}
			got = append(got, *object.Key)
		}
	}
	if strings.Join(got, " ") != "a/1 a/2 a/3" || len(server.Requests()) != 4+2 {
		t.Errorf("%q in %d requests", got, len(server.Requests()))
	}
}

func TestHoldAndWait(t *testing.T) {
	t.Parallel()
	server, c := setup(t)
	release := server.Hold("b")
	var group sync.WaitGroup
	group.Go(func() {
		if err := put(c, "k", "x"); err != nil {
			t.Error(err)
		}
	})
	server.WaitForRequest(t, func(r Request) bool { return r.Key == "k" && r.Status == 0 })
	if _, ok := server.Object("b", "k"); ok {
		t.Error("it was not held")
	}
	release()
	release()
	server.WaitForObject(t, "b", "k")
	group.Wait()
	if err := put(c, "k2", "x"); err != nil {
		t.Error(err)
	}
	server.WaitForRequest(t, func(r Request) bool { return r.Key == "k2" && r.Status == 200 })
}

// spy is a test that only notes whether it failed.
type spy struct {
	testing.TB
	failed  bool
	cleanup []func()
}

func (s *spy) Helper()               {}
func (s *spy) Cleanup(f func())      { s.cleanup = append(s.cleanup, f) }
func (s *spy) Errorf(string, ...any) { s.failed = true }

func TestR5_2EveryServerOfTheSuiteSeesToItThatOnlyPutObjectIsCalled(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		method, path string
		failed       bool
	}{
		"an object put":        {http.MethodPut, "/b/k", false},
		"an object read":       {http.MethodGet, "/b/k", true},
		"an object looked at":  {http.MethodHead, "/b/k", true},
		"a bucket listed":      {http.MethodGet, "/b?list-type=2", true},
		"a part of an upload":  {http.MethodPut, "/b/k?partNumber=1&uploadId=x", true},
		"an access list":       {http.MethodPut, "/b/k?acl", true},
		"a bucket made":        {http.MethodPut, "/b", true},
		"an object taken away": {http.MethodDelete, "/b/k", true},
	} {
		observed := &spy{TB: t}
		server := New(observed)
		request, err := http.NewRequestWithContext(t.Context(), test.method, server.URL+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		for _, end := range observed.cleanup {
			end()
		}
		if observed.failed != test.failed {
			t.Errorf("%s: the test failed: %v", name, observed.failed)
		}
	}
}

func TestFaultsComeOnceAndInOrder(t *testing.T) {
	t.Parallel()
	server, c := setup(t)
	release := make(chan struct{})
	close(release)
	server.Fault("b", SlowDown(), Pass(), InternalError(), HangUntil(release), SlowReading(time.Microsecond))
	server.Fault("b/special", Error(409, "OperationAborted", ""))
	for i, step := range []struct{ key, want string }{
		{"k", "SlowDown"}, {"special", "OperationAborted"}, {"special", ""}, {"k", "InternalError"}, {"k", ""}, {"k", ""}, {"k", ""},
	} {
		if got := code(put(c, step.key, "x")); got != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
	}
}

func TestFaultsOfTheConnectionOverTLS(t *testing.T) {
	t.Parallel()
	server := NewTLS(t).Own()
	server.CreateBucket("b", "")
	server.AddKey("id", "secret", PutOnly("*"))
	server.Fault("b", Reset(), Close())
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c := client(server, "id", "secret", func(o *s3.Options) {
		transport.TLSClientConfig = server.http.Client().Transport.(*http.Transport).TLSClientConfig
		o.HTTPClient = &http.Client{Transport: transport}
	})
	for range 2 {
		if err := put(c, "k", "x"); err == nil {
			t.Error("the fault did not happen")
		}
	}
	if err := put(c, "k", "x"); err != nil {
		t.Error(err)
	}
}

func TestBucketsInTheHostName(t *testing.T) {
	t.Parallel()
	server, _ := setup(t)
	_, port, _ := net.SplitHostPort(server.Addr)
	endpoint := "http://" + Domain + ":" + port
	c := client(server, "id", "secret", func(o *s3.Options) {
		o.BaseEndpoint, o.UsePathStyle = &endpoint, false
		o.HTTPClient = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, server.Addr)
		}}}
	})
	// The SDK puts a name of one character into the path.
	server.CreateBucket("docs", "")
	server.AddKey("id", "secret", PutOnly("docs"))
	if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("docs"), Key: aws.String("a/k"), Body: strings.NewReader("x")}); err != nil {
		t.Fatal(err)
	}
	if r := server.Requests()[0]; r.Bucket != "docs" || r.Key != "a/k" || r.Path != "/a/k" || !strings.HasPrefix(r.Host, "docs."+Domain) {
		t.Errorf("%+v", r)
	}
	if stored, _ := server.Object("docs", "a/k"); !bytes.Equal(stored.Body, []byte("x")) {
		t.Errorf("%q", stored.Body)
	}
}
