package delivery

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"

	"platen"
)

// MaxObject is the largest object that one PutObject may make, in bytes
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/upload-objects.html).
const MaxObject = 5 << 30

const (
	// attempts is how often one Put sends the object when the storage is unwell:
	// enough for a hiccup. What lasts longer is for the job's own schedule, which
	// holds no worker while it waits.
	attempts = 3
	// maxAnswer is how much of an answer is read: an error is a few hundred bytes,
	// and the endpoint is the customer's choice, so it could be endless.
	maxAnswer = 64 << 10
)

// S3 uploads objects into customers' buckets. It is safe for concurrent use; its
// connections are shared by all integrations, nothing else is.
type S3 struct {
	http     *http.Client
	maxPause time.Duration
}

// NewS3 makes an S3.
func NewS3(o Options) *S3 {
	if o.MaxPause == 0 {
		o.MaxPause = 2 * time.Second
	}
	return &S3{maxPause: o.MaxPause, http: newClient(o)}
}

// Close gives up idle connections.
func (s *S3) Close() { s.http.CloseIdleConnections() }

// Target is a bucket, and the keys with which to write into it.
type Target struct {
	AccessKeyID     string
	SecretAccessKey platen.Secret
	Region          string
	Bucket          string
	Endpoint        string // "": AWS
	ForcePathStyle  bool   // the bucket in the path instead of in the host name
	// What is empty is left to the bucket.
	StorageClass         string
	ServerSideEncryption string
	KMSKeyID             string
	Checksum             platen.S3Checksum // "": MD5
}

// Object is what is uploaded.
type Object struct {
	Body        io.ReadSeeker // read from its start, once for each attempt at least
	Size        int64         // bytes
	SHA256      string        // hex; what is read must have it
	MD5         string        // hex; "": not known, so that Body is read once more where it is needed
	ContentType string
	Key         string
	Filename    string // under which browsers save the object; "" leaves it to the key
}

// ProbeObject is the small object that tests a connection.
func ProbeObject(key string, at time.Time) Object {
	text := fmt.Appendf(nil, "Platen wrote this to test the connection on %s. It may be deleted.\n", at.UTC().Format(time.RFC3339))
	sum := sha256.Sum256(text)
	return Object{Body: bytes.NewReader(text), Size: int64(len(text)), SHA256: hex.EncodeToString(sum[:]), ContentType: "text/plain; charset=utf-8", Key: key}
}

// Destination is the name of an object for people, such as s3://bucket/key.
func Destination(t Target, key string) string { return "s3://" + t.Bucket + "/" + key }

// Put uploads the object with one PutObject and no other call (R5.2, R5.8), and
// returns what the bucket acknowledged. A few bytes of the object are in memory at
// a time. Transient faults are tried again at once, some seconds long.
//
// The error is a *platen.Failure of the stage DELIVER, or ctx's own when the
// caller canceled; a deadline that passes is a failure of the storage.
func (s *S3) Put(ctx context.Context, t Target, o Object) (*platen.UploadReceipt, error) {
	if o.Size > MaxObject {
		return nil, fail(platen.FailureFileTooLarge, false, fmt.Sprintf(
			"The file has %d bytes; S3 takes at most %d (5 GB) in one upload. It was not sent. Make the document smaller, or download it from Platen.", o.Size, int64(MaxObject)))
	}
	body := &ownCopy{ctx: ctx, ReadSeeker: o.Body}
	sums, err := body.sums(o, t.Checksum)
	if err != nil {
		return nil, canceledOr(ctx, err)
	}
	call := &exchange{http: s.http, target: t, key: o.Key, body: body}
	input := &s3.PutObjectInput{
		Bucket:               &t.Bucket,
		Key:                  &o.Key,
		Body:                 body,
		ContentLength:        &o.Size,
		ContentType:          optional(o.ContentType),
		ContentDisposition:   optional(disposition(o.Filename)),
		StorageClass:         types.StorageClass(t.StorageClass),
		ServerSideEncryption: types.ServerSideEncryption(t.ServerSideEncryption),
		SSEKMSKeyId:          optional(t.KMSKeyID),
	}
	// As plain headers: the SDK's own way is a trailer in a form that older servers take
	// for a part of the object or refuse.
	switch t.Checksum {
	case platen.ChecksumNone:
	case platen.ChecksumCRC32:
		input.ChecksumCRC32 = &sums.crc32
	case platen.ChecksumSHA256:
		input.ChecksumSHA256 = &sums.sha256
	default:
		input.ContentMD5 = &sums.md5
	}
	out, err := s.client(t, call).PutObject(ctx, input, func(options *s3.Options) {
		if strings.HasPrefix(strings.ToLower(t.Endpoint), "http:") { // over https the payload is not signed
			options.APIOptions = append(options.APIOptions, signedAs(strings.ToLower(o.SHA256)))
		}
	})
	switch {
	case ctx.Err() == context.Canceled && err != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, call.classify(err)
	case aws.ToString(out.ETag) == "":
		return nil, call.classify(nil)
	}
	return &platen.UploadReceipt{
		Bucket:     t.Bucket,
		Region:     t.Region,
		Key:        o.Key,
		URL:        call.url,
		ETag:       strings.Trim(*out.ETag, `"`),
		VersionID:  aws.ToString(out.VersionId),
		ByteSize:   o.Size,
		SHA256:     o.SHA256,
		UploadedAt: time.Now().UTC(),
	}, nil
}

// client makes the client of one call. It costs some 20 microseconds, and shares
// no retry quota, clock correction or credentials with other integrations.
func (s *S3) client(t Target, call *exchange) *s3.Client {
	options := s3.Options{
		Region:       t.Region,
		UsePathStyle: t.ForcePathStyle,
		Credentials:  credentials.NewStaticCredentialsProvider(t.AccessKeyID, t.SecretAccessKey.Reveal(), ""),
		HTTPClient:   call,
		AppID:        "platen",
		// The SDK's own checksums come in a form that older servers take for a part of
		// the object or refuse; Content-MD5 protects the bytes everywhere.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
		// For a directory bucket the SDK would call CreateSession first.
		DisableS3ExpressSessionAuth: aws.Bool(true),
		HTTPSignerV4: portableSigner{v4.NewSigner(func(o *v4.SignerOptions) {
			o.DisableURIPathEscaping = true // S3 signs the path as it is sent
		})},
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = attempts
			o.MaxBackoff = s.maxPause
			o.RateLimiter = ratelimit.None
			o.Retryables = []retry.IsErrorRetryable{retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
				failure := call.classify(err)
				// A storage that does not answer keeps a worker busy long enough once.
				return aws.BoolTernary(failure.Retryable && failure.Code != platen.FailureTimeout)
			})}
		}),
	}
	if t.Endpoint != "" {
		// A second slash at its end would become a part of the key.
		options.BaseEndpoint = aws.String(strings.TrimRight(t.Endpoint, "/"))
	}
	return s3.New(options)
}

// signedAs gives the signature the payload's hash, for which the SDK would read the body once more.
func signedAs(payloadSHA256 string) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("platen:PayloadHash", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			return next.HandleInitialize(v4.SetPayloadHash(ctx, payloadSHA256), in)
		}), middleware.Before)
	}
}

// portableSigner leaves Accept-Encoding out of the signature: proxies, that of
// Google Cloud Storage among them, change it on the way
// (https://github.com/aws/aws-sdk-go-v2/issues/1816).
type portableSigner struct{ *v4.Signer }

func (s portableSigner) SignHTTP(ctx context.Context, c aws.Credentials, r *http.Request, payloadHash, service, region string, at time.Time, o ...func(*v4.SignerOptions)) error {
	const name = "Accept-Encoding"
	values, set := r.Header[name]
	delete(r.Header, name)
	err := s.Signer.SignHTTP(ctx, c, r, payloadHash, service, region, at, o...)
	if set {
		r.Header[name] = values
	}
	return err
}

// exchange is the HTTP client of one call. It keeps what the storage answered last,
// as the SDK drops most of it and would read an endless answer to its end.
type exchange struct {
	http   *http.Client
	target Target
	key    string
	body   *ownCopy

	url    string // of the latest request, without its query
	answer *answer
}

// Do sends one attempt.
func (e *exchange) Do(r *http.Request) (*http.Response, error) {
	address := *r.URL
	address.RawQuery = ""
	e.url, e.answer = address.String(), nil
	e.body.failed.Store(false)
	e.body.damaged.Store(false)
	response, err := e.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := readText(response)
	if err != nil && (response.StatusCode >= 300 || response.Header.Get("ETag") == "") {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(text))
	e.answer = readAnswer(response, text)
	return response, nil
}

// ownCopy is Platen's copy of the document while it is read. It remembers that
// reading failed, so that this is not mistaken for a fault of the storage.
type ownCopy struct {
	io.ReadSeeker
	ctx    context.Context
	failed atomic.Bool

	// watched checks while it is sent that the copy is the document, whose end is kept back
	// until that is known: a bucket stores nothing of a body that ends before its length.
	watched *Object
	sum     hash.Hash
	at      int64
	damaged atomic.Bool
}

func (c *ownCopy) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.ReadSeeker.Read(p)
	if err != nil && err != io.EOF {
		c.failed.Store(true)
	}
	if c.watched == nil {
		return n, err
	}
	c.sum.Write(p[:n])
	c.at += int64(n)
	if c.at >= c.watched.Size || err == io.EOF {
		if c.at != c.watched.Size || !strings.EqualFold(hex.EncodeToString(c.sum.Sum(nil)), c.watched.SHA256) {
			c.damaged.Store(true)
			return 0, damaged()
		}
	}
	return n, err
}

func (c *ownCopy) Seek(offset int64, whence int) (int64, error) {
	at, err := c.ReadSeeker.Seek(offset, whence)
	if err != nil {
		c.failed.Store(true)
	}
	if c.watched != nil {
		c.at = at
		c.sum.Reset() // it is read on from the start
	}
	return at, err
}

// sums are those that the bucket is told before it gets the copy. Where they are not known, the copy is
// read for them and verified at once; else it is as it is sent.
func (c *ownCopy) sums(o Object, of platen.S3Checksum) (known checksums, err error) {
	switch {
	case of == platen.ChecksumCRC32, (of == "" || of == platen.ChecksumMD5) && o.MD5 == "":
		return c.verify(o)
	case of == platen.ChecksumSHA256:
		known.sha256, err = base64OfHex(o.SHA256)
	case of != platen.ChecksumNone:
		known.md5, err = base64OfHex(o.MD5)
	}
	if err != nil {
		return known, damaged()
	}
	c.watched, c.sum = &o, sha256.New()
	if _, err := c.Seek(0, io.SeekStart); err != nil {
		return known, unreadable()
	}
	return known, nil
}

// checksums of an object, in base64 as headers have them.
type checksums struct{ md5, crc32, sha256 string }

// verify reads the copy once: for its checksums, and to deliver nothing but what the
// document's record says. It leaves the copy at its start.
func (c *ownCopy) verify(o Object) (sums checksums, err error) {
	md5Hash, sha, crc := md5.New(), sha256.New(), crc32.NewIEEE()
	if _, err := c.Seek(0, io.SeekStart); err != nil {
		return sums, unreadable()
	}
	size, err := io.Copy(io.MultiWriter(md5Hash, sha, crc), struct{ io.Reader }{c})
	if errors.Is(err, context.DeadlineExceeded) {
		return sums, fail(platen.FailureTimeout, true, "The time for the upload was over before Platen's own copy was read. It is tried again.")
	}
	if err != nil {
		return sums, unreadable()
	}
	if size != o.Size || !strings.EqualFold(hex.EncodeToString(sha.Sum(nil)), o.SHA256) {
		return sums, damaged()
	}
	if _, err := c.Seek(0, io.SeekStart); err != nil {
		return sums, unreadable()
	}
	text := base64.StdEncoding.EncodeToString
	return checksums{text(md5Hash.Sum(nil)), text(crc.Sum(nil)), text(sha.Sum(nil))}, nil
}

func base64OfHex(text string) (string, error) {
	raw, err := hex.DecodeString(text)
	return base64.StdEncoding.EncodeToString(raw), err
}

func damaged() *platen.Failure {
	return fail(platen.FailureStorage, false, "Platen's own copy of the document is not what was stored: it is damaged. It was not delivered. Make the document again, and have the operator check Platen's storage.")
}

func unreadable() *platen.Failure {
	return fail(platen.FailureStorage, true, "Platen's own copy of the document could not be read. It is tried again.")
}

// disposition lets browsers show the object, and save it under a name
// (https://datatracker.ietf.org/doc/html/rfc6266).
func disposition(filename string) string {
	if filename == "" {
		return ""
	}
	return mime.FormatMediaType("inline", map[string]string{"filename": filename})
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
