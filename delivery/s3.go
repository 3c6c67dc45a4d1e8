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
	"hash/crc32"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/auth"
	"github.com/aws/smithy-go/encoding/httpbinding"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"platen"
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
	call := &exchange{http: s.http, target: t, object: o}
	if err := call.address(ctx); err != nil {
		return nil, fail(platen.FailureRequestRejected, false, fmt.Sprintf("The upload could not be put together from the integration's bucket, region and endpoint: %s. Correct them, then retry the action.", printable(err.Error(), 300)))
	}
	if failure := call.describe(ctx); failure != nil {
		return nil, canceledOr(ctx, failure)
	}
	return o.upload(ctx, s.maxPause, call.send)
}

// exchange is one upload with its attempts. It shares nothing with others but connections.
type exchange struct {
	http   *http.Client
	target Target
	object Object

	url             *url.URL
	service, region string // that the signature is for
	header          http.Header
	skew            time.Duration // of the storage's clock, where it took ours for wrong
	answer          *answer       // to the latest attempt; nil where there was none
}

// address finds out by the SDK's rules where the object goes and for what it is signed.
func (e *exchange) address(ctx context.Context) error {
	t := e.target
	switch {
	case t.AccessKeyID == "" || t.SecretAccessKey.Reveal() == "":
		return errors.New("there is no access key")
	case !smithyhttp.ValidHostLabel(t.Region): // it becomes a part of names, and of what is signed
		return errors.New("the region is none")
	}
	where := s3.EndpointParameters{Bucket: &t.Bucket, Region: &t.Region, ForcePathStyle: &t.ForcePathStyle,
		DisableS3ExpressSessionAuth: aws.Bool(true)} // directory buckets want a session first, which is another call
	if t.Endpoint != "" {
		// A second slash at its end would become a part of the key.
		where.Endpoint = aws.String(strings.TrimRight(t.Endpoint, "/"))
	}
	endpoint, err := s3.NewDefaultEndpointResolverV2().ResolveEndpoint(ctx, where)
	if err != nil {
		return err
	}
	e.url = &endpoint.URI
	e.url.RawPath = strings.TrimSuffix(e.url.EscapedPath(), "/") + "/" + httpbinding.EscapePath(e.object.Key, false)
	e.url.Path = strings.TrimSuffix(e.url.Path, "/") + "/" + e.object.Key
	schemes, _ := auth.GetAuthOptions(&endpoint.Properties)
	for _, scheme := range schemes {
		if scheme.SchemeID == "sigv4" {
			var named, placed bool
			e.service, named = smithyhttp.GetSigV4SigningName(&scheme.SignerProperties)
			e.region, placed = smithyhttp.GetSigV4SigningRegion(&scheme.SignerProperties)
			if named && placed {
				return nil
			}
		}
	}
	return errors.New("nothing is known of its signature")
}

// describe sets the headers. What they say of the content comes from the record; where that does not say
// enough, the copy is read for it.
func (e *exchange) describe(ctx context.Context) *platen.Failure {
	t, o := e.target, e.object
	e.header = http.Header{}
	set := func(name, value string) {
		if value != "" {
			e.header.Set(name, value)
		}
	}
	// With it a bucket takes nothing but the document, and Platen need not compute it once more.
	set("X-Amz-Content-Sha256", strings.ToLower(o.SHA256))
	set("User-Agent", "platen")
	set("Content-Type", o.ContentType)
	set("Content-Disposition", disposition(o.Filename))
	set("X-Amz-Storage-Class", t.StorageClass)
	set("X-Amz-Server-Side-Encryption", t.ServerSideEncryption)
	set("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", t.KMSKeyID)
	if o.Size >= 2<<20 {
		set("Expect", "100-continue") // a refusal comes before the bytes have gone
	}
	text := base64.StdEncoding.EncodeToString
	switch {
	case t.Checksum == platen.ChecksumNone:
		return o.read(ctx, io.Discard) // a server that takes no heed of the payload's hash would notice nothing
	case t.Checksum == platen.ChecksumCRC32:
		crc := crc32.NewIEEE()
		if failure := o.read(ctx, crc); failure != nil {
			return failure
		}
		set("X-Amz-Checksum-Crc32", text(crc.Sum(nil)))
	case t.Checksum == platen.ChecksumSHA256:
		sum, err := hex.DecodeString(o.SHA256)
		if err != nil {
			return damaged() // the record is
		}
		set("X-Amz-Checksum-Sha256", text(sum))
	case o.MD5 == "":
		sum := md5.New()
		if failure := o.read(ctx, sum); failure != nil {
			return failure
		}
		set("Content-Md5", text(sum.Sum(nil)))
	default:
		sum, err := hex.DecodeString(o.MD5)
		if err != nil {
			return damaged()
		}
		set("Content-Md5", text(sum))
	}
	return nil
}

// send makes one attempt.
func (e *exchange) send(ctx context.Context) (*platen.UploadReceipt, *platen.Failure) {
	e.answer = nil
	request := (&http.Request{Method: http.MethodPut, URL: e.url, Header: e.header.Clone(), ContentLength: e.object.Size}).WithContext(ctx)
	keys := aws.Credentials{AccessKeyID: e.target.AccessKeyID, SecretAccessKey: e.target.SecretAccessKey.Reveal()}
	signer := v4.NewSigner(func(o *v4.SignerOptions) {
		o.DisableURIPathEscaping = true // S3 signs the path as it is sent
	})
	if err := signer.SignHTTP(ctx, keys, request, request.Header.Get("X-Amz-Content-Sha256"), e.service, e.region, time.Now().Add(e.skew)); err != nil {
		return nil, e.classify(err)
	}
	// Not signed: proxies, that of Google Cloud Storage among them, change it on the way
	// (https://github.com/aws/aws-sdk-go-v2/issues/1816).
	request.Header.Set("Accept-Encoding", "identity")
	back, failure := e.object.lend(request)
	if failure != nil {
		return nil, failure
	}
	defer back()
	response, err := e.http.Do(request)
	if err != nil {
		return nil, e.classify(err)
	}
	defer response.Body.Close()
	text, err := readText(response)
	etag := strings.Trim(response.Header.Get("ETag"), `"`)
	if err != nil && (response.StatusCode >= 300 || etag == "") {
		return nil, e.classify(err)
	}
	e.answer = readAnswer(response, text)
	if response.StatusCode >= 300 || e.answer.code != "" || etag == "" {
		if at, err := http.ParseTime(response.Header.Get("Date")); err == nil && e.answer.code == "RequestTimeTooSkewed" {
			e.skew = time.Until(at) // the next attempt is signed by the storage's clock
		}
		return nil, e.classify(nil)
	}
	return &platen.UploadReceipt{
		Bucket:     e.target.Bucket,
		Region:     e.target.Region,
		Key:        e.object.Key,
		URL:        e.url.String(),
		ETag:       etag,
		VersionID:  response.Header.Get("X-Amz-Version-Id"),
		ByteSize:   e.object.Size,
		SHA256:     e.object.SHA256,
		UploadedAt: time.Now().UTC(),
	}, nil
}

// disposition lets browsers show the object, and save it under a name
// (https://datatracker.ietf.org/doc/html/rfc6266).
func disposition(filename string) string {
	if filename == "" {
		return ""
	}
	return mime.FormatMediaType("inline", map[string]string{"filename": filename})
}
