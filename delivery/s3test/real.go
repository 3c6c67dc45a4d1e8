package s3test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Real is an S3 server of other people's making, with one bucket that keeps versions.
type Real struct {
	Endpoint, Bucket, AccessKey, Secret string
	Objects                             string     // versitygw's folder where the bucket's objects are files
	Told                                *Told      // nil where the server tells nothing
	owner                               *s3.Client // who may do everything, for the tests' own looks
}

// Told is what versitygw tells by webhook: which requests it got, refused ones too, and
// the notifications that a bucket of AWS sends.
type Told struct {
	mu       sync.Mutex
	requests []loggedRequest
	events   []string // such as s3:ObjectCreated:Put and the key
	changed  chan struct{}
}

type loggedRequest struct{ Operation, Key, UserAgent string }

func newTold(t *testing.T) (watcher *Told, address string) {
	t.Helper()
	w := &Told{changed: make(chan struct{}, 1)}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct {
			loggedRequest
			Records []struct {
				EventName string
				S3        struct{ Object struct{ Key string } }
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil && err != io.EOF { // an empty one says hello
			t.Error(err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if body.Operation != "" {
			w.requests = append(w.requests, body.loggedRequest)
		}
		for _, record := range body.Records {
			w.events = append(w.events, record.EventName+" "+record.S3.Object.Key)
		}
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}))
	t.Cleanup(server.Close)
	return w, server.URL
}

// Check waits for the notification of each key, and for the log of Platen's request for
// it: that has to be a PutObject, as everything that Platen asked of the server (R5.2).
func (w *Told) Check(t *testing.T, keys ...string) {
	t.Helper()
	deadline := time.After(patience)
	for _, key := range keys {
		for !w.knows(t, key) {
			select {
			case <-w.changed:
			case <-deadline:
				t.Fatalf("nothing tells of the upload of %s: %q", key, w.events)
			}
		}
	}
}

func (w *Told) knows(t *testing.T, key string) bool {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	logged := false
	for _, r := range w.requests {
		if strings.Contains(r.UserAgent, "platen") {
			logged = logged || r.Key == key
			if r.Operation != "s3_PutObject" {
				t.Errorf("R5.2: %s of %s is no PutObject", r.Operation, r.Key)
			}
		}
	}
	return logged && slices.Contains(w.events, "s3:ObjectCreated:Put "+key)
}

func (r *Real) create(t *testing.T) {
	t.Helper()
	if _, err := r.owner.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &r.Bucket}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.owner.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: &r.Bucket,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}}); err != nil {
		t.Fatal(err)
	}
}

// Read is a version of an object as the bucket's owner sees it.
func (r *Real) Read(t *testing.T, key, version string) []byte {
	t.Helper()
	object, err := r.owner.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &r.Bucket, Key: &key, VersionId: aws.String(version)})
	if err != nil {
		t.Fatal(err)
	}
	defer object.Body.Close()
	body, err := io.ReadAll(object.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// tool is the path of a program that make test builds.
func tool(t *testing.T, variable string) string {
	t.Helper()
	binary := os.Getenv(variable)
	if binary == "" {
		t.Fatalf("%s does not name one of the S3 servers of the tests: run `make test`, which builds them", variable)
	}
	return binary
}

// startServer runs a program until the test ends, and waits until it answers.
func startServer(t *testing.T, env []string, address, health, binary string, args ...string) string {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = env
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	deadline := time.Now().Add(patience)
	for {
		response, err := http.Get(address + health)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return address
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s %v does not answer: %v\n%s", binary, args, err, log.String())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// StartVersitygw runs an S3 server with AWS's permissions, and a user who may do these
// things, such as s3:PutObject, in the bucket and nothing else: two processes, one that
// keeps users, and one that serves S3. Both end with the test.
func StartVersitygw(t *testing.T, actions ...string) *Real {
	t.Helper()
	binary := tool(t, "TEST_VERSITYGW")
	dir := t.TempDir()
	for _, sub := range []string{"iam", "objects", "versions"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"ROOT_ACCESS_KEY_ID=root", "ROOT_SECRET_ACCESS_KEY=rootsecret", "PATH=/usr/bin:/bin", "HOME=" + dir}
	run := func(args ...string) string {
		// It changes its working directory, so every path is absolute.
		address := freeAddress(t)
		return startServer(t, env, "http://"+address, "/healthz", binary, append([]string{"--port", address, "--quiet", "--health", "/healthz"}, args...)...)
	}
	socket := filepath.Join(dir, "iam.sock")
	iamEndpoint := run("iam", "--dir", filepath.Join(dir, "iam"), "--private-ports", socket)
	v := &Real{Bucket: "documents", Objects: filepath.Join(dir, "objects", "documents")}
	watcher, hook := newTold(t)
	v.Told = watcher
	v.Endpoint = run("--keep-alive", "--event-webhook-url", hook, "--log-webhook-url", hook, "--iam-standalone-endpoint", socket, "posix", "--versioning-dir", filepath.Join(dir, "versions"), filepath.Join(dir, "objects"))

	ctx, owner := t.Context(), credentials.NewStaticCredentialsProvider("root", "rootsecret", "")
	v.owner = s3.New(s3.Options{Region: "us-east-1", BaseEndpoint: &v.Endpoint, UsePathStyle: true, Credentials: owner})
	v.create(t)
	users := iam.New(iam.Options{Region: "us-east-1", BaseEndpoint: &iamEndpoint, Credentials: owner})
	user := aws.String("platen")
	if _, err := users.CreateUser(ctx, &iam.CreateUserInput{UserName: user}); err != nil {
		t.Fatal(err)
	}
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["%s"],"Resource":["arn:aws:s3:::%[2]s","arn:aws:s3:::%[2]s/*"]}]}`,
		strings.Join(actions, `","`), v.Bucket)
	if _, err := users.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: user, PolicyName: aws.String("PutObject"), PolicyDocument: &policy}); err != nil {
		t.Fatal(err)
	}
	key, err := users.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: user})
	if err != nil {
		t.Fatal(err)
	}
	v.AccessKey, v.Secret = *key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey
	return v
}

// StartMinIO runs MinIO, the second opinion on what S3 is. Its user may do everything.
func StartMinIO(t *testing.T) *Real {
	t.Helper()
	dir, address := t.TempDir(), freeAddress(t)
	m := &Real{Bucket: "documents", AccessKey: "minioroot", Secret: "minio-root-secret"}
	m.Endpoint = startServer(t, []string{"MINIO_ROOT_USER=" + m.AccessKey, "MINIO_ROOT_PASSWORD=" + m.Secret, "MINIO_BROWSER=off", "MINIO_UPDATE=off", "HOME=" + dir},
		"http://"+address, "/minio/health/live", tool(t, "TEST_MINIO"), "server", "--address", address, "--quiet", filepath.Join(dir, "data"))
	m.owner = s3.New(s3.Options{Region: "us-east-1", BaseEndpoint: &m.Endpoint, UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(m.AccessKey, m.Secret, "")})
	m.create(t)
	return m
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
