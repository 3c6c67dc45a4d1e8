package main

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

// realS3 is an S3 server of other people's making, with one bucket that keeps versions.
type realS3 struct {
	endpoint, bucket, accessKey, secret string
	objects                             string     // versitygw's folder where the bucket's objects are files
	owner                               *s3.Client // who may do everything, for the tests' own looks
	told                                *told      // nil where the server tells nothing
}

// told is what versitygw tells by webhook: which requests it got, refused ones too, and
// the notifications that a bucket of AWS sends.
type told struct {
	mu       sync.Mutex
	requests []loggedRequest
	events   []string // such as s3:ObjectCreated:Put and the key
	changed  chan struct{}
}

type loggedRequest struct{ Operation, Key, UserAgent string }

func newTold(t *testing.T) (watcher *told, address string) {
	t.Helper()
	w := &told{changed: make(chan struct{}, 1)}
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

// check waits for the notification of each key, and for the log of Platen's request for
// it: that has to be a PutObject, as everything that Platen asked of the server (R5.2).
func (w *told) check(t *testing.T, keys ...string) {
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

func (w *told) knows(t *testing.T, key string) bool {
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

func (r *realS3) create(t *testing.T) {
	t.Helper()
	if _, err := r.owner.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &r.bucket}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.owner.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: &r.bucket,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}}); err != nil {
		t.Fatal(err)
	}
}

// read is a version of an object as the bucket's owner sees it.
func (r *realS3) read(t *testing.T, key, version string) []byte {
	t.Helper()
	object, err := r.owner.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &r.bucket, Key: &key, VersionId: aws.String(version)})
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

// startVersitygw runs an S3 server with AWS's permissions, and a user who may PutObject
// in the bucket and nothing else: two processes, one that keeps users, and one that
// serves S3. Both end with the test.
func startVersitygw(t *testing.T) *realS3 {
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
	v := &realS3{bucket: "documents", objects: filepath.Join(dir, "objects", "documents")}
	watcher, hook := newTold(t)
	v.told = watcher
	v.endpoint = run("--keep-alive", "--event-webhook-url", hook, "--log-webhook-url", hook, "--iam-standalone-endpoint", socket, "posix", "--versioning-dir", filepath.Join(dir, "versions"), filepath.Join(dir, "objects"))

	ctx, owner := t.Context(), credentials.NewStaticCredentialsProvider("root", "rootsecret", "")
	v.owner = s3.New(s3.Options{Region: "us-east-1", BaseEndpoint: &v.endpoint, UsePathStyle: true, Credentials: owner})
	v.create(t)
	users := iam.New(iam.Options{Region: "us-east-1", BaseEndpoint: &iamEndpoint, Credentials: owner})
	user := aws.String("platen")
	if _, err := users.CreateUser(ctx, &iam.CreateUserInput{UserName: user}); err != nil {
		t.Fatal(err)
	}
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:PutObject"],"Resource":["arn:aws:s3:::%s/*"]}]}`, v.bucket)
	if _, err := users.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: user, PolicyName: aws.String("PutObject"), PolicyDocument: &policy}); err != nil {
		t.Fatal(err)
	}
	key, err := users.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: user})
	if err != nil {
		t.Fatal(err)
	}
	v.accessKey, v.secret = *key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey
	return v
}

// startMinIO runs MinIO, the second opinion on what S3 is. Its user may do everything.
func startMinIO(t *testing.T) *realS3 {
	t.Helper()
	dir, address := t.TempDir(), freeAddress(t)
	m := &realS3{bucket: "documents", accessKey: "minioroot", secret: "minio-root-secret"}
	m.endpoint = startServer(t, []string{"MINIO_ROOT_USER=" + m.accessKey, "MINIO_ROOT_PASSWORD=" + m.secret, "MINIO_BROWSER=off", "MINIO_UPDATE=off", "HOME=" + dir},
		"http://"+address, "/minio/health/live", tool(t, "TEST_MINIO"), "server", "--address", address, "--quiet", filepath.Join(dir, "data"))
	m.owner = s3.New(s3.Options{Region: "us-east-1", BaseEndpoint: &m.endpoint, UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(m.accessKey, m.secret, "")})
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

// presignJS signs a PUT with a JavaScript client, as docs/presigned.md shows.
func presignJS(t *testing.T, by string, r *realS3, key string, seconds int, contentType ...string) string {
	t.Helper()
	args := append([]string{"testdata/clients/presign.mjs", by, r.endpoint, r.accessKey, r.secret, r.bucket, key, fmt.Sprint(seconds)}, contentType...)
	cmd := exec.CommandContext(t.Context(), "node", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node %v: %v\n%s\nrun `make test`, which installs what it needs", args[:2], err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func TestRealServersTakeEveryKindOfUpload(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) *realS3{"versitygw": startVersitygw, "MinIO": startMinIO} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t)
			c := newClient(t)
			id := c.integrate(nil, r.bucket, vars{"endpoint": r.endpoint, "accessKeyId": r.accessKey, "secretAccessKey": r.secret, "region": "us-east-1",
				"pathTemplates": vars{"submission": "same/{{ metadata.customer }}.pdf"}})
			// R5.7: the second replaces the first, which the bucket keeps as an older version.
			var versions []string
			for n := range 2 {
				doc := c.final(c.submit(vars{"html": fmt.Sprintf("<p>document %d</p>", n), "metadata": vars{"customer": "Ünal & Söhne/1"}, "wait": 0}).ID)
				if len(doc.Actions) != 1 || doc.Actions[0].State != "PROCESSED" {
					t.Fatalf("%v", doc)
				}
				receipt := doc.Actions[0].Result
				if receipt.Key != "same/_nal___S_hne_1.pdf" || receipt.VersionID == "" || slices.Contains(versions, receipt.VersionID) {
					t.Errorf("%+v", receipt)
				}
				versions = append(versions, receipt.VersionID)
				_, own := c.download(doc.DownloadURL)
				if !bytes.Equal(r.read(t, receipt.Key, receipt.VersionID), own) {
					t.Errorf("version %d is not what Platen has", n)
				}
			}
			if !strings.Contains(text(t, r.read(t, "same/_nal___S_hne_1.pdf", versions[0])), "document 0") {
				t.Error("the older version is not the first document")
			}
			for _, checksum := range []string{"CRC32", "SHA256", "NONE"} {
				if errs := c.change(c.live, updateS3, vars{"id": id, "input": vars{"checksum": checksum}}, nil); len(errs) > 0 {
					t.Fatal(errs)
				}
				var tested struct{ Health health }
				if errs := c.change(c.live, testIntegration, vars{"id": id}, &tested); len(errs) > 0 || tested.Health.State != "HEALTHY" {
					t.Errorf("with the checksum %s: %+v %+v", checksum, tested.Health, tested.Health.Failure)
				}
			}
			if errs := c.change(c.live, deleteIntegration, vars{"id": id}, nil); len(errs) > 0 {
				t.Fatal(errs)
			}
			// R6.5: the addresses that people make.
			for name, test := range map[string]struct {
				address string
				headers []vars
				code    string
			}{
				"npm minio, five minutes":  {presignJS(t, "minio", r, "js/a b ü.pdf", 300), nil, ""},
				"the AWS SDK":              {presignJS(t, "aws", r, "js/aws.pdf", 300), nil, ""},
				"a signed content type":    {presignJS(t, "aws", r, "js/type.pdf", 300, "application/x-invoice"), []vars{{"name": "Content-Type", "value": "application/x-invoice"}}, ""},
				"without its content type": {presignJS(t, "aws", r, "js/no.pdf", 300, "application/x-invoice"), nil, "SIGNATURE_MISMATCH"},
				// The SDK signs the checksum of an empty file, for which neither server looks here.
				"the AWS SDK's own checksum": {presignJS(t, "aws-default", r, "js/crc.pdf", 300), nil, ""},
			} {
				doc := c.final(c.submit(vars{"html": "<p>" + name + "</p>", "wait": 0, "presignedUpload": vars{"url": test.address, "headers": test.headers}}).ID)
				a := doc.Actions[0]
				if test.code != "" {
					if a.State != "FAILED" || a.Failure.Code != test.code {
						t.Errorf("%s: %+v %+v", name, a, a.Failure)
					}
					continue
				}
				if a.State != "PROCESSED" {
					t.Errorf("%s: %+v %+v", name, a, a.Failure)
					continue
				}
				_, key, _ := strings.Cut(strings.TrimPrefix(a.Destination, r.endpoint+"/"), "/")
				if name == "npm minio, five minutes" {
					key = "js/a b ü.pdf"
				}
				_, own := c.download(doc.DownloadURL)
				if !bytes.Equal(r.read(t, key, a.Result.VersionID), own) || a.Result.VersionID == "" {
					t.Errorf("%s: the bucket has other bytes", name)
				}
			}
			if r.told != nil {
				r.told.check(t, "same/_nal___S_hne_1.pdf", "platen-connection-test.txt", "js/type.pdf", "js/aws.pdf") // R5.8
			}
			// Expired on the server's own clock, which a client cannot see before.
			expired := presignJS(t, "minio", r, "js/late.pdf", 1)
			time.Sleep(1100 * time.Millisecond)
			if errs := c.refused(c.live, vars{"html": "x", "presignedUpload": vars{"url": expired}}); len(errs) != 1 || !strings.Contains(errs[0].Message, "expired") {
				t.Errorf("%+v", errs)
			}
		})
	}
}
