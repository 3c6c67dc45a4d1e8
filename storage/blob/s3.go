package blob

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"platen"
)

// S3Options name the operator's bucket.
type S3Options struct {
	Bucket, Prefix, Region, Endpoint string
	PathStyle                        bool
	AccessKeyID                      string
	SecretAccessKey, SessionToken    platen.Secret
}

// S3 keeps blobs in a bucket of the operator's.
type S3 struct {
	client         *s3.Client
	bucket, prefix string
	patience       time.Duration
}

// patience is how long a server may take to answer a request, and then to take or to send
// any more bytes of an object. How long the whole takes is for the caller to bound.
const patience = 30 * time.Second

// OpenS3 makes a store of a bucket. It needs s3:PutObject, s3:GetObject and
// s3:DeleteObject on the objects and s3:ListBucket on the bucket.
func OpenS3(o S3Options) *S3 {
	options := s3.Options{
		Region:       o.Region,
		UsePathStyle: o.PathStyle,
		Credentials:  credentials.NewStaticCredentialsProvider(o.AccessKeyID, o.SecretAccessKey.Reveal(), o.SessionToken.Reveal()),
		HTTPClient: awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConnsPerHost = 100
			t.ResponseHeaderTimeout = patience
		}),
		// Servers other than AWS refuse the SDK's newer trailing checksums; Content-MD5
		// guards the bytes everywhere.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	}
	if o.Endpoint != "" {
		options.BaseEndpoint = aws.String(o.Endpoint)
	}
	prefix := strings.Trim(o.Prefix, "/")
	if prefix != "" {
		prefix += "/"
	}
	return &S3{client: s3.New(options), bucket: o.Bucket, prefix: prefix, patience: patience}
}

func (s *S3) object(key string) *string { return aws.String(s.prefix + key) }

// Put implements Store.
func (s *S3) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, contentType string) error {
	sum := md5.New()
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if n, err := io.Copy(sum, body); err != nil {
		return err
	} else if n != size {
		return fmt.Errorf("%d bytes were announced and %d came", size, n)
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return err
	}
	watch := s.watch(ctx)
	defer watch.end()
	_, err := s.client.PutObject(watch.ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: s.object(key), Body: &watchedBody{body, watch},
		ContentLength: aws.Int64(size), ContentType: aws.String(contentType),
		ContentMD5: aws.String(base64.StdEncoding.EncodeToString(sum.Sum(nil)))})
	return watch.why(err)
}

// errStalled says that a server stopped in the middle of an object.
var errStalled = errors.New("the server takes or sends nothing more")

// watch ends a request on which nothing moves: no timeout of net/http does so while a
// body is on its way.
type watch struct {
	ctx   context.Context
	end   func()
	timer *time.Timer
	limit time.Duration
}

func (s *S3) watch(ctx context.Context) *watch {
	ctx, cancel := context.WithCancelCause(ctx)
	// Twice, so that it is the header's own timeout that tells of a server without an answer.
	limit := 2 * s.patience
	timer := time.AfterFunc(limit, func() { cancel(errStalled) })
	return &watch{ctx: ctx, end: func() { timer.Stop(); cancel(nil) }, timer: timer, limit: limit}
}

// moved says that something has moved just now; rest, that nothing has to until then.
func (w *watch) moved() { w.timer.Reset(w.limit) }
func (w *watch) rest()  { w.timer.Stop() }

// why replaces the word for a request that was cancelled by the reason.
func (w *watch) why(err error) error {
	if err != nil && errors.Is(context.Cause(w.ctx), errStalled) {
		return fmt.Errorf("%w: %v", errStalled, err) // not as a cancellation, which is for the caller to make
	}
	return err
}

// watchedBody tells of each piece that the server took.
type watchedBody struct {
	io.ReadSeeker
	watch *watch
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.watch.moved()
	return b.ReadSeeker.Read(p)
}

// Open implements Store. It asks for the whole object and not for its head: only an answer
// with a body tells a key that is not there from a bucket that is not.
func (s *S3) Open(ctx context.Context, key string) (io.ReadSeekCloser, error) {
	r := &s3Reader{ctx: ctx, store: s, key: key}
	if err := r.get(0); err != nil {
		return nil, err
	}
	return r, nil
}

// missing tells whether the store says that there is no object under a key. A bucket
// that is not there is another matter, with the same status.
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList
func missing(err error) bool {
	var answer interface{ ErrorCode() string }
	return errors.As(err, &answer) && answer.ErrorCode() == "NoSuchKey"
}

// s3Reader reads an object from wherever it was sought to, by one request for each
// stretch that is read.
type s3Reader struct {
	ctx   context.Context
	store *S3
	key   string
	size  int64
	at    int64 // where the next byte is read from

	// The stretch that is being read; nil where none is.
	body  io.ReadCloser
	from  int64 // where it has got to
	watch *watch
}

// get asks for a stretch from an offset to the end.
func (r *s3Reader) get(from int64) error {
	input := &s3.GetObjectInput{Bucket: &r.store.bucket, Key: r.store.object(r.key)}
	if from > 0 {
		input.Range = aws.String(fmt.Sprintf("bytes=%d-", from))
	}
	watch := r.store.watch(r.ctx)
	object, err := r.store.client.GetObject(watch.ctx, input)
	if err != nil {
		watch.end()
		if missing(err) {
			return ErrNotFound
		}
		return watch.why(err)
	}
	watch.rest() // until somebody reads
	size := from + aws.ToInt64(object.ContentLength)
	if object.ContentLength == nil || from > 0 && size != r.size {
		watch.end()
		return errors.Join(errors.New("the server does not say how long the object is, or gives another part of it than was asked for"), object.Body.Close())
	}
	r.size, r.body, r.from, r.watch = size, object.Body, from, watch
	return nil
}

func (r *s3Reader) Read(p []byte) (int, error) {
	if r.at >= r.size {
		return 0, io.EOF
	}
	if r.body != nil && r.from != r.at {
		r.Close()
	}
	if r.body == nil {
		if err := r.get(r.at); err != nil {
			return 0, err
		}
	}
	r.watch.moved()
	n, err := r.body.Read(p)
	r.watch.rest()
	r.at += int64(n)
	r.from = r.at
	if err == io.EOF && r.at < r.size {
		err = io.ErrUnexpectedEOF
	}
	if err != io.EOF {
		err = r.watch.why(err)
	}
	return n, err
}

func (r *s3Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, errors.New("seeking before the start")
	}
	r.at = offset // the next Read asks anew, if it has to
	return offset, nil
}

func (r *s3Reader) Close() error {
	if r.body == nil {
		return nil
	}
	r.watch.end() // before the body, which would be read to its end otherwise
	err := r.body.Close()
	r.body = nil
	return err
}

// Delete implements Store.
func (s *S3) Delete(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*s.patience)
	defer cancel()
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: s.object(key)})
	if err != nil && missing(err) {
		return nil
	}
	return err
}

// List implements Store.
func (s *S3) List(ctx context.Context, before time.Time, each func(key string) error) error {
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: &s.prefix})
	for pages.HasMorePages() {
		asking, cancel := context.WithTimeout(ctx, 2*s.patience)
		page, err := pages.NextPage(asking)
		cancel()
		if err != nil {
			return err
		}
		for _, object := range page.Contents {
			if object.LastModified == nil || !object.LastModified.Before(before) {
				continue
			}
			if err := each(strings.TrimPrefix(aws.ToString(object.Key), s.prefix)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Check implements Store: it asks for one key of the bucket.
func (s *S3) Check(ctx context.Context) error {
	_, err := s.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: &s.prefix, MaxKeys: aws.Int32(1)})
	return err
}
