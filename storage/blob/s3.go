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
)

// S3Options name the operator's bucket.
type S3Options struct {
	Bucket, Prefix, Region, Endpoint           string
	PathStyle                                  bool
	AccessKeyID, SecretAccessKey, SessionToken string
}

// S3 keeps blobs in a bucket of the operator's.
type S3 struct {
	client         *s3.Client
	bucket, prefix string
}

// OpenS3 makes a store of a bucket. It needs s3:PutObject, s3:GetObject and
// s3:DeleteObject on the objects and s3:ListBucket on the bucket.
func OpenS3(o S3Options) *S3 {
	options := s3.Options{
		Region:       o.Region,
		UsePathStyle: o.PathStyle,
		Credentials:  credentials.NewStaticCredentialsProvider(o.AccessKeyID, o.SecretAccessKey, o.SessionToken),
		HTTPClient: awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConnsPerHost = 100
			t.ResponseHeaderTimeout = 30 * time.Second
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
	return &S3{client: s3.New(options), bucket: o.Bucket, prefix: prefix}
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
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: s.object(key), Body: body,
		ContentLength: aws.Int64(size), ContentType: aws.String(contentType),
		ContentMD5: aws.String(base64.StdEncoding.EncodeToString(sum.Sum(nil)))})
	return err
}

// Open implements Store.
func (s *S3) Open(ctx context.Context, key string) (io.ReadSeekCloser, error) {
	head, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: s.object(key)})
	if err != nil {
		if missing(err) {
			return nil, ErrNotFound
		}
		return nil, err
	}
	return &s3Reader{ctx: ctx, store: s, key: key, size: aws.ToInt64(head.ContentLength)}, nil
}

func missing(err error) bool {
	var response *awshttp.ResponseError
	return errors.As(err, &response) && response.HTTPStatusCode() == http.StatusNotFound
}

// s3Reader reads an object from wherever it was sought to, by one request for each
// stretch that is read.
type s3Reader struct {
	ctx    context.Context
	store  *S3
	key    string
	size   int64
	offset int64
	body   io.ReadCloser // of the object from offset on; nil before the first read
}

func (r *s3Reader) Read(p []byte) (int, error) {
	if r.offset >= r.size {
		return 0, io.EOF
	}
	if r.body == nil {
		object, err := r.store.client.GetObject(r.ctx, &s3.GetObjectInput{Bucket: &r.store.bucket, Key: r.store.object(r.key),
			Range: aws.String(fmt.Sprintf("bytes=%d-", r.offset))})
		if err != nil {
			return 0, err
		}
		r.body = object.Body
	}
	n, err := r.body.Read(p)
	r.offset += int64(n)
	if err == io.EOF && r.offset < r.size {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (r *s3Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.offset
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, errors.New("seeking before the start")
	}
	if offset != r.offset {
		r.Close()
		r.offset = offset
	}
	return offset, nil
}

func (r *s3Reader) Close() error {
	if r.body == nil {
		return nil
	}
	err := r.body.Close()
	r.body = nil
	return err
}

// Delete implements Store.
func (s *S3) Delete(ctx context.Context, key string) error {
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
		page, err := pages.NextPage(ctx)
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
