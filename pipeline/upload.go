package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"platen"
	"platen/delivery"
	"platen/pdf"
	"platen/storage"
)

// uploadPurpose keeps the signatures of uploads apart from all others.
const uploadPurpose = "upload"

// receipts is how many uploads a node checks at a time: each is in memory meanwhile.
const receipts = 2

// CreateUpload announces a PDF that is going to be put to its UploadURL. The error is
// platen.Errors when the caller can mend it.
func (p *Pipeline) CreateUpload(ctx context.Context, scope storage.Scope, u *platen.Upload) (*platen.Upload, error) {
	u.AccountID, u.ID, u.Test = scope.AccountID, platen.NewID(platen.KindUpload), scope.TestOnly
	u.SHA256 = strings.ToLower(u.SHA256)
	u.ExpiresAt = time.Now().Add(platen.UploadLife).UTC().Truncate(time.Microsecond)
	if errs := u.Validate(); len(errs) > 0 {
		return nil, errs
	}
	return u, p.DB.CreateUpload(ctx, u)
}

// UploadURL is where the bytes of an upload are to be put, until it expires; "" once they
// have arrived.
func (p *Pipeline) UploadURL(u *platen.Upload) string {
	if u.ReceivedAt != nil || u.ExpiredAt != nil {
		return ""
	}
	return p.signedURL(uploadPurpose, "/files/"+u.AccountID+"/"+u.ID+".pdf", time.Until(u.ExpiresAt))
}

// ErrUploadGone says that an upload's time is over.
var ErrUploadGone = errors.New("the upload is not there any more: create a new one")

// Receive takes the bytes of an upload, by the path and signature of its address; length
// is what the request says, or -1. Nothing is kept of what is refused, and it can be put
// again. The error is a *platen.Error when the bytes are not what was announced, or no
// PDF that can be combined.
func (p *Pipeline) Receive(ctx context.Context, path, signature string, length int64, body io.Reader) (*platen.Upload, error) {
	accountID, id, err := p.checkSignature(uploadPurpose, path, signature)
	if err != nil {
		return nil, err
	}
	u, err := p.DB.Upload(ctx, storage.Scope{AccountID: accountID}, id)
	switch {
	case errors.Is(err, storage.ErrNotFound), err == nil && u.ExpiredAt != nil:
		return nil, ErrUploadGone
	case err != nil:
		return nil, err
	case u.ReceivedAt != nil:
		return nil, received()
	case length >= 0 && length != u.ByteSize:
		return nil, wrongSize(u, fmt.Sprint(length))
	}
	arrived, err := receive(u, body)
	if err != nil {
		return nil, err
	}
	defer arrived.Close()
	select {
	case p.receiving <- struct{}{}:
		defer func() { <-p.receiving }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	content := make([]byte, u.ByteSize)
	if _, err := arrived.ReadAt(content, 0); err != nil {
		return nil, err
	}
	info, err := p.PDF.CheckPart(ctx, content)
	var mistake *pdf.Error
	if errors.As(err, &mistake) {
		return nil, &platen.Error{Code: platen.CodeInvalid, Message: "The file cannot be combined: " + mistake.Message + "."}
	}
	if err != nil {
		return nil, err
	}
	file := &platen.DocumentFile{ContentType: u.ContentType, BlobKey: blobKey(u.ID, 1, "pdf")}
	if err := p.keep(ctx, u.ID, file, content); err != nil {
		return nil, err
	}
	u.PageCount, u.BlobKey, u.SHA256 = info.Pages, file.BlobKey, file.SHA256
	err = p.DB.ReceiveUpload(ctx, u)
	if errors.Is(err, storage.ErrNotFound) {
		// Surely nobody names this copy. After any other error it may be named all the
		// same, and the sweep decides.
		p.deleteCopies(context.WithoutCancel(ctx), file.BlobKey)
		return nil, received()
	}
	if err != nil {
		return nil, err
	}
	p.Log.InfoContext(ctx, "upload received", "upload", u.ID, "account", u.AccountID, "bytes", u.ByteSize, "pages", u.PageCount)
	return u, nil
}

func received() error {
	return &platen.Error{Code: platen.CodeConflict, Message: "The bytes of this upload have arrived already. For another file, create another upload."}
}

func wrongSize(u *platen.Upload, actual string) error {
	return &platen.Error{Code: platen.CodeInvalid, Message: fmt.Sprintf("The upload was announced with %d bytes, but there are %s.", u.ByteSize, actual)}
}

// receive keeps the bytes of an upload on the disk, where those of slow callers take no
// memory.
func receive(u *platen.Upload, body io.Reader) (*os.File, error) {
	file, err := unnamedFile()
	if err != nil {
		return nil, err
	}
	if err := take(u, body, file); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// take copies the bytes of an upload while it counts and hashes them. The error is a
// *platen.Error when they are not those that were announced, or do not come.
func take(u *platen.Upload, body io.Reader, into io.Writer) error {
	sum := sha256.New()
	size, broken, err := delivery.Take(io.MultiWriter(into, sum), io.LimitReader(body, u.ByteSize+1))
	switch {
	case broken != nil:
		return &platen.Error{Code: platen.CodeInvalid, Message: "The bytes broke off, or came too slowly: put them again."}
	case err != nil:
		return err
	case size > u.ByteSize:
		return wrongSize(u, "more")
	case size < u.ByteSize:
		return wrongSize(u, fmt.Sprint(size))
	case u.SHA256 != "" && u.SHA256 != hex.EncodeToString(sum.Sum(nil)):
		return &platen.Error{Code: platen.CodeInvalid, Message: "The bytes are not those that were announced: their SHA-256 is " + hex.EncodeToString(sum.Sum(nil)) + "."}
	}
	return nil
}
