package s3test

import (
	"bytes"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Domain is the host under which buckets are addressed by name, as in
// bucket.s3.test. It resolves nowhere: a test's resolver has to say 127.0.0.1.
const Domain = "s3.test"

// patience is how long the helpers that wait do so before they fail the test.
const patience = 90 * time.Second

// Server is an S3 server on a free port of loopback. It is safe for concurrent use
// and ends with the test, hanging requests included.
type Server struct {
	URL  string // http://127.0.0.1:port, or https
	Addr string // 127.0.0.1:port

	http   *httptest.Server
	closed chan struct{}

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at each change of what follows
	now      func() time.Time
	keys     map[string]key
	buckets  map[string]*bucket
	faults   map[string][]Fault // by bucket, or bucket/key
	gates    map[string][]chan struct{}
	requests []Request
	own      bool // see Own
}

type key struct {
	secret string
	policy Policy
}

// Policy names the buckets in which a key may do something; "*" is all of them.
type Policy struct {
	Put, Get, Delete, List []string
}

// PutOnly is the policy that Platen asks its customers for.
func PutOnly(buckets ...string) Policy { return Policy{Put: buckets} }

// FullAccess is the policy of an operator's own bucket.
func FullAccess(buckets ...string) Policy {
	return Policy{Put: buckets, Get: buckets, Delete: buckets, List: buckets}
}

type bucket struct {
	region    string
	versioned bool
	objects   map[string][]Object // versions by key, oldest first; none after a delete
}

// Object is one version of an object as it was stored.
type Object struct {
	Key       string
	Body      []byte
	Header    http.Header // of the request that stored it
	ETag      string      // in its quotes
	VersionID string      // "" in a bucket without versions
	StoredAt  time.Time
}

// Request is one request as it arrived.
type Request struct {
	Method string
	Host   string
	Path   string // escaped, as it was on the wire
	Query  string
	Header http.Header
	Bucket string
	Key    string
	Status int // of the answer; 0 while there is none, or when there was none
}

// New starts a server without buckets and keys.
func New(t testing.TB) *Server { return start(t, (*httptest.Server).Start) }

// NewTLS is New over https, with a certificate for 127.0.0.1 that only RootCAs signs.
func NewTLS(t testing.TB) *Server { return start(t, (*httptest.Server).StartTLS) }

func start(t testing.TB, listen func(*httptest.Server)) *Server {
	t.Helper()
	s := &Server{
		closed: make(chan struct{}), changed: make(chan struct{}), now: time.Now, keys: map[string]key{},
		buckets: map[string]*bucket{}, faults: map[string][]Fault{}, gates: map[string][]chan struct{}{},
	}
	s.http = httptest.NewUnstartedServer(s)
	s.http.Config.ErrorLog = quiet
	listen(s.http)
	s.URL, s.Addr = s.http.URL, s.http.Listener.Addr().String()
	t.Cleanup(func() {
		close(s.closed)
		s.http.CloseClientConnections()
		s.http.Close()
		if !s.own {
			s.OnlyPuts(t)
		}
	})
	return s
}

// Own says that the server holds no customer's bucket but the caller's own, which may
// be read and listed as well. Of all others it is checked at the end of the test that
// nothing but PutObject was asked of them, over the whole suite (R5.2).
func (s *Server) Own() *Server {
	s.own = true
	return s
}

// RootCAs trusts the certificate of a server made by NewTLS.
func (s *Server) RootCAs() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.http.Certificate())
	return pool
}

// AddKey makes a pair of keys known, or replaces its secret and policy.
func (s *Server) AddKey(id, secret string, policy Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[id] = key{secret, policy}
}

// CreateBucket makes a bucket. Requests signed for another region are refused,
// unless region is "".
func (s *Server) CreateBucket(name, region string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets[name] = &bucket{region: region, objects: map[string][]Object{}}
}

// KeepVersions switches versioning on in a bucket: answers then carry version ids.
func (s *Server) KeepVersions(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets[name].versioned = true
}

// SetClock replaces the server's clock, by which it judges signatures.
func (s *Server) SetClock(now func() time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = now
}

// Object returns the newest version of an object.
func (s *Server) Object(bucket, key string) (Object, bool) {
	versions := s.Versions(bucket, key)
	if len(versions) == 0 {
		return Object{}, false
	}
	return versions[len(versions)-1], true
}

// Versions returns all that was stored under a key, oldest first.
func (s *Server) Versions(bucket, key string) []Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.buckets[bucket]; b != nil {
		return slices.Clone(b.objects[key])
	}
	return nil
}

// Keys returns the keys of a bucket's objects in order.
func (s *Server) Keys(bucket string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buckets[bucket].keys()
}

func (b *bucket) keys() []string {
	keys := []string{}
	if b != nil {
		for key := range b.objects {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// Requests returns all requests in the order in which they arrived.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Fault makes the next requests misbehave, each fault once, in order. target is a
// bucket, or bucket/key for one object; the faults of a key go before those of its bucket.
func (s *Server) Fault(target string, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[target] = append(s.faults[target], faults...)
}

// Hold makes every request to a bucket wait until release is called.
func (s *Server) Hold(bucket string) (release func()) {
	gate := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gates[bucket] = append(s.gates[bucket], gate)
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.gates[bucket] = slices.DeleteFunc(s.gates[bucket], func(one chan struct{}) bool { return one == gate })
		close(gate)
	})
}

// WaitForRequest waits for a request that matches and returns the first. It fails the
// test when none comes. A held request counts as soon as it has arrived.
func (s *Server) WaitForRequest(t testing.TB, match func(Request) bool) (found Request) {
	t.Helper()
	s.wait(t, "no such request arrived", func() bool {
		i := slices.IndexFunc(s.requests, match)
		if i >= 0 {
			found = s.requests[i]
		}
		return i >= 0
	})
	return found
}

// WaitForObject waits for an object to be stored and returns it. It fails the test
// when it is not.
func (s *Server) WaitForObject(t testing.TB, bucket, key string) (found Object) {
	t.Helper()
	s.wait(t, bucket+"/"+key+" was not stored", func() bool {
		if b := s.buckets[bucket]; b != nil && len(b.objects[key]) > 0 {
			found = b.objects[key][len(b.objects[key])-1]
			return true
		}
		return false
	})
	return found
}

// wait evaluates the condition, under the lock, at each change.
func (s *Server) wait(t testing.TB, failure string, condition func() bool) {
	t.Helper()
	timeout := time.After(patience)
	for {
		s.mu.Lock()
		done, changed := condition(), s.changed
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("s3test: %s within %v", failure, patience)
		}
	}
}

// update changes the state under the lock and wakes those who wait for a change.
func (s *Server) update(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.changed)
	s.changed = make(chan struct{})
}

// address splits what a request names into bucket and key: by host for
// bucket.s3.test and for AWS's own names, by path otherwise.
func address(r *http.Request) (bucket, key string) {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	path := strings.TrimPrefix(r.URL.Path, "/")
	if bucket, ok := strings.CutSuffix(host, "."+Domain); ok {
		return bucket, path
	}
	if rest, ok := strings.CutSuffix(host, ".amazonaws.com"); ok {
		if i := strings.LastIndex(rest, ".s3."); i >= 0 {
			return rest[:i], path
		}
	}
	bucket, key, _ = strings.Cut(path, "/")
	return bucket, key
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bucketName, objectKey := address(r)
	var index int
	var gates []chan struct{}
	s.update(func() {
		index = len(s.requests)
		s.requests = append(s.requests, Request{
			Method: r.Method, Host: r.Host, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery,
			Header: r.Header.Clone(), Bucket: bucketName, Key: objectKey,
		})
		gates = slices.Clone(s.gates[bucketName])
	})
	recorder := &statusRecorder{ResponseWriter: w}
	defer func() { s.update(func() { s.requests[index].Status = recorder.status }) }()
	for _, gate := range gates {
		select {
		case <-gate:
		case <-s.closed:
			panic(http.ErrAbortHandler)
		case <-r.Context().Done():
			return
		}
	}
	if fault := s.nextFault(bucketName, objectKey); fault != nil {
		if done := fault(s, recorder, r); done {
			return
		}
	}
	s.serve(recorder, r, bucketName, objectKey)
}

func (s *Server) nextFault(bucket, key string) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, target := range []string{bucket + "/" + key, bucket} {
		if queue := s.faults[target]; len(queue) > 0 {
			s.faults[target] = queue[1:]
			return queue[0]
		}
	}
	return nil
}

// statusRecorder remembers the status; Unwrap keeps hijacking possible.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (r *statusRecorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *statusRecorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Decoded is the path without its escapes, for comparing with a key.
func (r Request) Decoded() string {
	path, err := url.PathUnescape(r.Path)
	if err != nil {
		return r.Path
	}
	return path
}

// OnlyPuts fails the test if the server was asked for anything but PutObject: the
// whole of what Platen may do with a customer's bucket (R5.2).
func (s *Server) OnlyPuts(t testing.TB) {
	t.Helper()
	for _, r := range s.Requests() {
		query, _ := url.ParseQuery(r.Query)
		query.Del("x-id") // the SDK's own note of the operation's name
		for name := range query {
			if strings.HasPrefix(name, "X-Amz-") {
				query.Del(name)
			}
		}
		if r.Method != http.MethodPut || r.Key == "" || len(query) > 0 || r.Header.Get("X-Amz-Copy-Source") != "" {
			t.Errorf("s3test: %s %s?%s is not a PutObject", r.Method, r.Path, r.Query)
		}
	}
}

// Contains tells whether any request carried the text, in its address or headers.
func (s *Server) Contains(text string) bool {
	for _, r := range s.Requests() {
		var all bytes.Buffer
		all.WriteString(r.Host + r.Path + "?" + r.Query + "\n")
		_ = r.Header.Write(&all)
		if strings.Contains(all.String(), text) {
			return true
		}
	}
	return false
}
