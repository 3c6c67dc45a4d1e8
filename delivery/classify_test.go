package delivery

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"platen"
	"platen/delivery/s3test"
	"platen/egress"
)

// TestStorageAnswersR63 goes through every answer of a storage that is known to
// happen: what it is called, and whether trying again can help.
func TestStorageAnswersR63(t *testing.T) {
	t.Parallel()
	const permanent, transient = false, true
	for _, test := range []struct {
		status    int
		code      string
		want      platen.FailureCode
		retryable bool
	}{
		{403, "AccessDenied", platen.FailureAccessDenied, permanent},
		{403, "Forbidden", platen.FailureAccessDenied, permanent},
		{403, "AllAccessDisabled", platen.FailureAccessDenied, permanent},
		{200, "AccessDenied", platen.FailureAccessDenied, permanent},
		{200, "InternalError", platen.FailureStorageUnavailable, transient},
		{403, "InvalidAccessKeyId", platen.FailureInvalidAccessKey, permanent},
		{403, "SignatureDoesNotMatch", platen.FailureSignatureMismatch, permanent},
		{400, "ExpiredToken", platen.FailureCredentialsExpired, permanent},
		{400, "InvalidToken", platen.FailureCredentialsExpired, permanent},
		{404, "NoSuchBucket", platen.FailureNoSuchBucket, permanent},
		{400, "InvalidBucketName", platen.FailureNoSuchBucket, permanent},
		{301, "PermanentRedirect", platen.FailureWrongRegion, permanent},
		{400, "IllegalLocationConstraintException", platen.FailureWrongRegion, permanent},
		{400, "AuthorizationHeaderMalformed", platen.FailureRequestRejected, permanent},
		{307, "TemporaryRedirect", platen.FailureStorageUnavailable, transient},
		{400, "KeyTooLongError", platen.FailureKeyInvalid, permanent},
		{400, "InvalidObjectName", platen.FailureKeyInvalid, permanent},
		{400, "XMinioInvalidObjectName", platen.FailureKeyInvalid, permanent},
		{400, "XMinioInvalidResourceName", platen.FailureKeyInvalid, permanent},
		{400, "EntityTooLarge", platen.FailureFileTooLarge, permanent},
		{400, "InvalidStorageClass", platen.FailureRequestRejected, permanent},
		{400, "InvalidArgument", platen.FailureRequestRejected, permanent},
		{400, "InvalidRequest", platen.FailureRequestRejected, permanent},
		{400, "KMS.DisabledException", platen.FailureRequestRejected, permanent},
		{400, "KMS.NotFoundException", platen.FailureRequestRejected, permanent},
		{400, "AccessControlListNotSupported", platen.FailureRequestRejected, permanent},
		{501, "NotImplemented", platen.FailureRequestRejected, permanent},
		{405, "MethodNotAllowed", platen.FailureRequestRejected, permanent},
		{411, "MissingContentLength", platen.FailureRequestRejected, permanent},
		{409, "InvalidBucketState", platen.FailureRequestRejected, permanent},
		{412, "PreconditionFailed", platen.FailureRequestRejected, permanent},
		{400, "SomethingNew", platen.FailureRequestRejected, permanent},

		{503, "SlowDown", platen.FailureStorageUnavailable, transient},
		{503, "ServiceUnavailable", platen.FailureStorageUnavailable, transient},
		{500, "InternalError", platen.FailureStorageUnavailable, transient},
		{400, "RequestTimeout", platen.FailureStorageUnavailable, transient},
		{403, "RequestTimeTooSkewed", platen.FailureStorageUnavailable, transient},
		{409, "OperationAborted", platen.FailureStorageUnavailable, transient},
		{400, "BadDigest", platen.FailureStorageUnavailable, transient},
		{400, "XAmzContentSHA256Mismatch", platen.FailureStorageUnavailable, transient}, // as the own copy is good
		{400, "XAmzContentChecksumMismatch", platen.FailureStorageUnavailable, transient},
		{400, "IncompleteBody", platen.FailureStorageUnavailable, transient},
		{403, "QuotaExceeded", platen.FailureStorageUnavailable, transient},
		{400, "ThrottlingException", platen.FailureStorageUnavailable, transient},
		{429, "TooManyRequests", platen.FailureStorageUnavailable, transient},
		{507, "XMinioStorageFull", platen.FailureStorageUnavailable, transient},
		{500, "SomethingNew", platen.FailureStorageUnavailable, transient},
	} {
		t.Run(fmt.Sprint(test.status, " ", test.code), func(t *testing.T) {
			t.Parallel()
			server, s, target := bucket(t)
			fault := s3test.Error(test.status, test.code, "What the storage says about it.")
			server.Fault("docs", fault, fault, fault)
			failure := failed(t, s, target, object("k", []byte("x")))
			if failure.Code != test.want || failure.Retryable != test.retryable {
				t.Errorf("%s retryable %t, want %s %t", failure.Code, failure.Retryable, test.want, test.retryable)
			}
			if want := fmt.Sprintf(`{"httpStatus":%d,"requestId":"S3TESTREQUEST0001"}`, test.status); failure.ProviderCode != test.code || string(failure.Details) != want {
				t.Errorf("provider code %s, details %s; want %s", failure.ProviderCode, failure.Details, want)
			}
			advice := "tried again"
			if !test.retryable {
				advice = "then retry the action"
			}
			if !strings.Contains(failure.Message, advice) {
				t.Errorf("the message says nothing to do: %s", failure.Message)
			}
		})
	}
}

// TestAnswersThatAreNotOfS3 has what proxies, web servers and firewalls answer.
func TestAnswersThatAreNotOfS3(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status    int
		want      platen.FailureCode
		retryable bool
		says      string
	}{
		{200, platen.FailureNotAnS3Endpoint, false, "not as S3 does (HTTP 200)"},
		{204, platen.FailureNotAnS3Endpoint, false, "HTTP 204"},
		{400, platen.FailureNotAnS3Endpoint, false, "https://"},
		{401, platen.FailureNotAnS3Endpoint, false, "HTTP 401"},
		{403, platen.FailureNotAnS3Endpoint, false, "HTTP 403"},
		{404, platen.FailureNotAnS3Endpoint, false, "HTTP 404"},
		{405, platen.FailureNotAnS3Endpoint, false, "HTTP 405"},
		{408, platen.FailureStorageUnavailable, true, "HTTP 408"},
		{411, platen.FailureNotAnS3Endpoint, false, "HTTP 411"},
		{413, platen.FailureFileTooLarge, false, "HTTP 413"},
		{429, platen.FailureStorageUnavailable, true, "HTTP 429"},
		{500, platen.FailureStorageUnavailable, true, "HTTP 500"},
		{501, platen.FailureNotAnS3Endpoint, false, "HTTP 501"},
		{502, platen.FailureStorageUnavailable, true, "HTTP 502"},
		{503, platen.FailureStorageUnavailable, true, "HTTP 503"},
		{504, platen.FailureStorageUnavailable, true, "HTTP 504"},
	} {
		for kind, answer := range map[string]string{"page": "<html><body>no</body></html>", "nothing": "", "JSON": `{"error":"no"}`, "half an answer": "<Error><Code>Acc"} {
			t.Run(fmt.Sprint(test.status, " ", kind), func(t *testing.T) {
				t.Parallel()
				server, s, target := bucket(t)
				fault := s3test.Serve(func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(test.status)
					_, _ = io.WriteString(w, answer)
				})
				server.Fault("docs", fault, fault, fault)
				failure := failed(t, s, target, object("k", []byte("x")))
				if failure.Code != test.want || failure.Retryable != test.retryable || !strings.Contains(failure.Message, test.says) {
					t.Errorf("%s retryable %t: %s", failure.Code, failure.Retryable, failure.Message)
				}
				if want := fmt.Sprintf(`{"httpStatus":%d}`, test.status); string(failure.Details) != want || failure.ProviderCode != "" {
					t.Errorf("details %s, provider code %q", failure.Details, failure.ProviderCode)
				}
			})
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere := s3test.New(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		server, s, target := bucket(t)
		server.Fault("docs", s3test.Redirect(status, elsewhere.URL+"/docs/k?token=x"))
		failure := failed(t, s, target, object("k", []byte("x")))
		if failure.Code != platen.FailureRedirected || failure.Retryable || !strings.Contains(failure.Message, "redirects to "+elsewhere.URL+" ") {
			t.Errorf("%d: %+v", status, failure)
		}
	}
	if len(elsewhere.Requests()) != 0 {
		t.Error("the document went to another host")
	}
}

func TestTheRealRegionIsPassedOn(t *testing.T) {
	t.Parallel()
	header := func(status int, body string) s3test.Fault {
		return s3test.Serve(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amz-Bucket-Region", "us-east-2")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
	for name, fault := range map[string]s3test.Fault{
		"redirect with XML":      s3test.PermanentRedirect("us-east-2"),
		"redirect without XML":   header(301, ""),
		"temporary redirect":     header(307, "<Error><Code>TemporaryRedirect</Code></Error>"),
		"malformed, in a header": header(400, "<Error><Code>AuthorizationHeaderMalformed</Code></Error>"),
		"malformed, in a field": s3test.Serve(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			_, _ = io.WriteString(w, "<Error><Code>AuthorizationHeaderMalformed</Code><Region>us-east-2</Region></Error>")
		}),
		"malformed, in a message": s3test.Error(400, "AuthorizationHeaderMalformed", "The authorization header is malformed; the region 'eu-west-3' is wrong; expecting 'us-east-2'"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, s, target := bucket(t)
			server.Fault("docs", fault)
			failure := failed(t, s, target, object("k", []byte("x")))
			if failure.Code != platen.FailureWrongRegion || failure.Retryable || !strings.Contains(string(failure.Details), `"region":"us-east-2"`) ||
				!strings.Contains(failure.Message, "is in the region us-east-2, not in eu-west-3") {
				t.Errorf("%+v %s", failure, failure.Details)
			}
		})
	}
}

// TestRealRefusals lets the server judge wrong settings itself.
func TestRealRefusals(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		spoil func(*s3test.Server, *Target, *Object)
		want  platen.FailureCode
		code  string
		says  string
	}{
		{"no permission", func(s *s3test.Server, _ *Target, _ *Object) {
			s.AddKey("AKIAPLATEN", secret, s3test.Policy{Get: []string{"docs"}})
		},
			platen.FailureAccessDenied, "AccessDenied", "The bucket refused the upload: the access key may not s3:PutObject on arn:aws:s3:::docs/a/k.pdf. Allow it in the user's policy, then retry the action."},
		{"unknown key id", func(_ *s3test.Server, t *Target, _ *Object) { t.AccessKeyID = "AKIAOTHER" },
			platen.FailureInvalidAccessKey, "InvalidAccessKeyId", "AKIAOTHER"},
		{"wrong secret", func(_ *s3test.Server, t *Target, _ *Object) { t.SecretAccessKey = platen.NewSecret("x" + secret) },
			platen.FailureSignatureMismatch, "SignatureDoesNotMatch", "AKIAPLATEN"},
		{"no bucket", func(_ *s3test.Server, t *Target, _ *Object) { t.Bucket = "nothing" },
			platen.FailureNoSuchBucket, "NoSuchBucket", "no bucket named nothing at 127.0.0.1:"},
		{"wrong region", func(_ *s3test.Server, t *Target, _ *Object) { t.Region = "us-east-1" },
			platen.FailureWrongRegion, "AuthorizationHeaderMalformed", "eu-west-3"},
		{"a key that is too long", func(_ *s3test.Server, _ *Target, o *Object) { o.Key = strings.Repeat("k", 1025) },
			platen.FailureKeyInvalid, "KeyTooLongError", `"kkk`},
		{"a region that is none", func(_ *s3test.Server, t *Target, _ *Object) { t.Region = "a/b" },
			platen.FailureRequestRejected, "", "bucket, region and endpoint"},
		{"no key id", func(_ *s3test.Server, t *Target, _ *Object) { t.AccessKeyID = "" },
			platen.FailureRequestRejected, "", "Correct them"},
		{"an endpoint that is none", func(_ *s3test.Server, t *Target, _ *Object) { t.Endpoint = "ftp://127.0.0.1" },
			platen.FailureRequestRejected, "", "Correct them"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server, s, target := bucket(t)
			o := object("a/k.pdf", []byte("x"))
			test.spoil(server, &target, &o)
			failure := failed(t, s, target, o)
			if failure.Code != test.want || failure.ProviderCode != test.code || failure.Retryable || !strings.Contains(failure.Message, test.says) {
				t.Errorf("%+v", failure)
			}
			if len(server.Keys("docs")) != 0 {
				t.Error("stored all the same")
			}
		})
	}
}

func TestTheStoragesReasonIsShownAndTamed(t *testing.T) {
	t.Parallel()
	server, s, target := bucket(t)
	target.Region = "eu-west-3"
	server.Fault("docs", s3test.Error(403, "AccessDenied", "User: x is not authorized to perform: kms:GenerateDataKey\x1b[31m\n"+strings.Repeat("long ", 1000)))
	failure := failed(t, s, target, object("k", []byte("x")))
	if !strings.Contains(failure.Message, "It said: User: x is not authorized to perform: kms:GenerateDataKey") || len(failure.Message) > 600 || strings.ContainsAny(failure.Message, "\x1b\n") {
		t.Errorf("%q", failure.Message)
	}
}

// TestConnectionFaultsR63 has what goes wrong before there is an answer.
func TestConnectionFaultsR63(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	secure := s3test.NewTLS(t)
	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.Config.ErrorLog = nil
	old.StartTLS()
	t.Cleanup(old.Close)
	allow, err := egress.ParseAllow("127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	resolving := func(err error) *egress.Guard {
		return egress.New(egress.Options{Allow: allow, Resolver: func(context.Context, string) ([]netip.Addr, error) { return nil, err }})
	}
	for _, test := range []struct {
		name      string
		endpoint  string
		guard     *egress.Guard
		faults    []s3test.Fault
		want      platen.FailureCode
		retryable bool
		says      string
	}{
		{"refused", "http://" + unusedAddress(t), nil, nil, platen.FailureConnectionFailed, true, "refused"},
		{"reset", "", nil, []s3test.Fault{s3test.Reset(), s3test.Reset(), s3test.Reset()}, platen.FailureConnectionFailed, true, "broke off"},
		{"closed without an answer", "", nil, []s3test.Fault{s3test.Close(), s3test.Close(), s3test.Close()}, platen.FailureConnectionFailed, true, "broke off"},
		{"an answer that breaks off", "", nil, []s3test.Fault{broken(403, false), broken(403, false), broken(403, false)}, platen.FailureConnectionFailed, true, "broke off"},
		{"an answer that stops", "", nil, []s3test.Fault{broken(403, true)}, platen.FailureTimeout, true, "in time"},
		{"no ETag, and breaks off", "", nil, []s3test.Fault{broken(200, false), broken(200, false), broken(200, false)}, platen.FailureConnectionFailed, true, "broke off"},
		{"no answer", "", nil, []s3test.Fault{s3test.Hang()}, platen.FailureTimeout, true, "in time"},
		{"no such host", "http://no-such-host.test", resolving(nil), nil, platen.FailureHostNotFound, false, "no-such-host.test"},
		{"DNS does not answer", "http://no-dns.test", resolving(&net.DNSError{Err: "server misbehaving", Name: "no-dns.test", IsTemporary: true}), nil, platen.FailureConnectionFailed, true, "no-dns.test"},
		{"DNS times out", "http://no-dns.test", resolving(&net.DNSError{Err: "i/o timeout", Name: "no-dns.test", IsTimeout: true}), nil, platen.FailureConnectionFailed, true, "looked up"},
		{"metadata of the cloud", "http://169.254.169.254", nil, nil, platen.FailureEgressDenied, false, "169.254.169.254"},
		{"private network", "https://10.0.0.1:9000", nil, nil, platen.FailureEgressDenied, false, "10.0.0.1:9000"},
		{"unknown authority", secure.URL, nil, nil, platen.FailureTLS, false, "certificate signed by unknown authority"},
		{"TLS where there is none", strings.Replace(plain.URL, "http:", "https:", 1), nil, nil, platen.FailureTLS, false, "http://"},
		{"TLS of long ago", old.URL, nil, nil, platen.FailureTLS, false, "protocol version"},
		{"no TLS where there is some", strings.Replace(secure.URL, "https:", "http:", 1), nil, nil, platen.FailureNotAnS3Endpoint, false, "https://"},
		{"no HTTP at all", "http://" + speaking(t, "SSH-2.0-OpenSSH_9.2\r\n"), nil, nil, platen.FailureNotAnS3Endpoint, false, "not as a web server does"},
		{"TLS to something else", "https://" + speaking(t, "SSH-2.0-OpenSSH_9.2\r\n"), nil, nil, platen.FailureTLS, false, "TLS"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server, _, target := bucket(t)
			s := storage(t, Options{Guard: test.guard, AnswerTimeout: time.Second})
			if test.endpoint != "" {
				target.Endpoint = test.endpoint
			}
			server.Fault("docs", test.faults...)
			failure := failed(t, s, target, object("k", content(1000)))
			if failure.Code != test.want || failure.Retryable != test.retryable || !strings.Contains(failure.Message, test.says) {
				t.Errorf("%s retryable %t: %s", failure.Code, failure.Retryable, failure.Message)
			}
		})
	}
}

// broken answers with a status and the beginning of a body; then it says nothing more,
// or hangs up. What an answer of 2xx has to say is in its headers.
func broken(status int, stops bool, headers ...string) s3test.Fault {
	return s3test.Serve(breaking(status, stops, headers...))
}

func breaking(status int, stops bool, headers ...string) http.HandlerFunc {
	text := "<Error><Code>AccessDenied</Code>"
	if status < 300 {
		text = "stored"
	}
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Length", "1000")
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
		_ = http.NewResponseController(w).Flush()
		if stops {
			<-r.Context().Done()
		}
		panic(http.ErrAbortHandler)
	}
}

func TestAnAcknowledgementIsOneHoweverItsBodyEnds(t *testing.T) {
	t.Parallel()
	for _, stops := range []bool{false, true} {
		server, _, target := bucket(t)
		s := storage(t, Options{AnswerTimeout: time.Second})
		server.Fault("docs", broken(200, stops, "ETag", `"x"`))
		if receipt, err := s.Put(t.Context(), target, object("k", content(1000))); err != nil || receipt.ETag != "x" {
			t.Errorf("stops %t: %+v %v", stops, receipt, err)
		}
		other := answering(t, breaking(200, stops))
		if _, err := presigned(t, Options{AnswerTimeout: time.Second}).Put(t.Context(), platen.PresignedUpload{URL: other.URL}, object("", content(1000))); err != nil || len(other.posts()) != 1 {
			t.Errorf("presigned, stops %t: %v after %d requests", stops, err, len(other.posts()))
		}
	}
}

func TestAnErrorBehindAnAcknowledgementIsOne(t *testing.T) {
	t.Parallel()
	server, s, target := bucket(t)
	late := s3test.Serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"x"`)
		_, _ = io.WriteString(w, "<Error><Code>InternalError</Code></Error>")
	})
	server.Fault("docs", late, late, late)
	if failure := failed(t, s, target, object("k", []byte("x"))); failure.ProviderCode != "InternalError" || !failure.Retryable {
		t.Errorf("%+v", failure)
	}
}

// unusedAddress is a port at which nothing listens.
func unusedAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// speaking is the address of a server that says the same to everybody.
func speaking(t *testing.T, text string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				go func() {
					_, _ = io.WriteString(conn, text)
					_, _ = io.Copy(io.Discard, conn)
					_ = conn.Close()
				}()
			}
		}
	}()
	return listener.Addr().String()
}

func TestARNsOfAllPartitions(t *testing.T) {
	t.Parallel()
	for region, want := range map[string]string{"eu-west-3": "arn:aws:s3:::docs/k", "cn-north-1": "arn:aws-cn:s3:::docs/k", "us-gov-west-1": "arn:aws-us-gov:s3:::docs/k", "auto": "arn:aws:s3:::docs/k"} {
		e := &exchange{target: Target{Region: region, Bucket: "docs"}, object: Object{Key: "k"}}
		if got := e.arn(); got != want {
			t.Errorf("%s: %s, want %s", region, got, want)
		}
	}
}
