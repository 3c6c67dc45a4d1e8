package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"

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

// Object is what is uploaded.
type Object struct {
	Body        io.ReadSeeker // Platen's own copy, read from its start once for each attempt at least
	Size        int64         // bytes
	SHA256      string        // hex; what arrives must have it
	MD5         string        // hex; "": not known, so that Body is read once more where it is needed
	ContentType string
	Key         string
	Filename    string // under which browsers save the object; "" leaves it to the key
}

// upload makes attempts, until the storage has the object, will not have it, or was unwell too often.
//
// A fault that can pass may be the own copy's: one that cannot be read, ends too early or is not
// the document any more shows as a connection that broke off, or as a refusal. So it is read once then.
func (o Object) upload(ctx context.Context, longest time.Duration, send func(context.Context) (*platen.UploadReceipt, *platen.Failure)) (*platen.UploadReceipt, error) {
	blameless := false
	for attempt := 1; ; attempt++ {
		receipt, failure := send(ctx)
		if failure == nil {
			return receipt, nil
		}
		if failure.Retryable && !blameless && ctx.Err() == nil {
			own := o.read(ctx, io.Discard)
			if blameless = own == nil; !blameless {
				own.ProviderCode, own.Details = failure.ProviderCode, failure.Details
				failure = own
			}
		}
		// A storage that does not answer keeps a worker busy long enough once.
		again := failure.Retryable && failure.Code != platen.FailureTimeout && attempt < attempts
		if !again || !pause(ctx, longest, attempt) {
			return nil, canceledOr(ctx, failure)
		}
	}
}

// pause waits before another attempt, and tells whether the time was there.
func pause(ctx context.Context, longest time.Duration, attempt int) bool {
	length, err := retry.NewExponentialJitterBackoff(longest).BackoffDelay(attempt, nil)
	if err != nil {
		return false
	}
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// canceledOr prefers the caller's cancelation to what it looked like.
func canceledOr(ctx context.Context, err error) error {
	if ctx.Err() == context.Canceled {
		return ctx.Err()
	}
	return err
}

// read reads the copy once, into something that computes another sum of it perhaps, and tells
// whether it is the document.
func (o Object) read(ctx context.Context, into io.Writer) *platen.Failure {
	sum := sha256.New()
	_, err := o.Body.Seek(0, io.SeekStart)
	var size int64
	if err == nil {
		size, err = io.Copy(io.MultiWriter(sum, into), readerContext{ctx, o.Body})
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fail(platen.FailureTimeout, true, "The time for the upload was over before Platen's own copy was read. It is tried again.")
	case err != nil:
		return unreadable()
	case size != o.Size || !strings.EqualFold(hex.EncodeToString(sum.Sum(nil)), o.SHA256):
		return damaged()
	}
	return nil
}

// readerContext stops a copy when the caller has given up.
type readerContext struct {
	ctx context.Context
	io.Reader
}

func (r readerContext) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// lend gives the copy to a request. Its transport may go on reading after it has answered, and
// closes what it is done with (https://pkg.go.dev/net/http#RoundTripper): back waits for that, so
// that whoever reads the copy next has it to himself.
func (o Object) lend(request *http.Request) (back func(), failure *platen.Failure) {
	if o.Size == 0 {
		return func() {}, nil // a body would be sent in chunks
	}
	size, err := o.Body.Seek(0, io.SeekEnd)
	if err == nil && size != o.Size {
		return nil, damaged()
	}
	if err == nil {
		_, err = o.Body.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, unreadable()
	}
	closed, close := context.WithCancel(context.Background())
	request.Body = body{o.Body, close}
	if file, ok := o.Body.(syscall.Conn); ok { // so that the kernel can send it
		request.Body = fileBody{body{o.Body, close}, file}
	}
	return func() { <-closed.Done() }, nil
}

type body struct {
	io.Reader
	close func()
}

type fileBody struct {
	body
	syscall.Conn
}

// Read hides why the copy cannot be read: the error of another storage's network would be taken
// for one of this.
func (b body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = errors.New("Platen's own copy cannot be read")
	}
	return n, err
}

func (b body) Close() error {
	b.close()
	return nil
}

func damaged() *platen.Failure {
	return fail(platen.FailureStorage, false, "Platen's own copy of the document is not what was stored: it is damaged. It was not delivered. Make the document again, and have the operator check Platen's storage.")
}

func unreadable() *platen.Failure {
	return fail(platen.FailureStorage, true, "Platen's own copy of the document could not be read. It is tried again.")
}
