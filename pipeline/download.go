package pipeline

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"platen"
	"platen/storage"
	"platen/storage/blob"
)

// Bounds of the life of a download URL.
const (
	MinDownloadLife = time.Second
	MaxDownloadLife = 7 * 24 * time.Hour
)

// downloadPurpose keeps the signatures of downloads apart from all others.
const downloadPurpose = "download"

// DownloadURL makes a signed address of Platen's own copy, good for life; "" while
// there is none (R3.4).
func (p *Pipeline) DownloadURL(document platen.AnyDocument, life time.Duration) string {
	d := document.Common()
	if d.File == nil || d.ExpiredAt != nil {
		return ""
	}
	return p.signedURL(downloadPurpose, "/files/"+d.AccountID+"/"+d.ID+"."+document.Extension(), life)
}

// signedURL makes an address of Platen's that is good for one purpose and for life.
func (p *Pipeline) signedURL(purpose, path string, life time.Duration) string {
	expires := strconv.FormatInt(time.Now().Add(life).Unix(), 10)
	// One parameter, so that there is no & in the address: JSON shows that as \u0026,
	// and people copy addresses out of JSON.
	return p.BaseURL + path + "?signature=" + expires + "." + p.Keyring.Sign(purpose, path+"?"+expires)
}

// checkSignature judges the path and signature of such an address, and returns the
// account and the id that it names.
func (p *Pipeline) checkSignature(purpose, path, signature string) (accountID, id string, err error) {
	expires, signature, _ := strings.Cut(signature, ".")
	if !p.Keyring.Verify(purpose, path+"?"+expires, signature) {
		return "", "", ErrSignature
	}
	until, err := strconv.ParseInt(expires, 10, 64)
	if err != nil || time.Now().Unix() > until {
		return "", "", ErrSignatureExpired
	}
	accountID, name, _ := strings.Cut(strings.TrimPrefix(path, "/files/"), "/")
	id, _, _ = strings.Cut(name, ".")
	return accountID, id, nil
}

// Errors of addresses. Which of them it was is told to the holder of a signed address
// only.
var (
	ErrSignature        = errors.New("the address is not one that Platen signed: ask for a new one")
	ErrSignatureExpired = errors.New("the address has expired: ask for a new one")
	ErrDownloadGone     = errors.New("the document is not there any more")
)

// Download opens Platen's own copy by the path and signature of an address. The
// row is read each time, so what was deleted is gone at once. The caller closes the
// content; ctx bounds the reading.
func (p *Pipeline) Download(ctx context.Context, path, signature string) (*platen.Document, io.ReadSeekCloser, error) {
	accountID, id, err := p.checkSignature(downloadPurpose, path, signature)
	if err != nil {
		return nil, nil, err
	}
	subject, err := p.DB.Subject(ctx, storage.Scope{AccountID: accountID}, id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil, ErrDownloadGone
	}
	if err != nil {
		return nil, nil, err
	}
	document, ok := subject.(platen.AnyDocument)
	if !ok || document.Common().File == nil || document.Common().ExpiredAt != nil {
		return nil, nil, ErrDownloadGone
	}
	d := document.Common()
	content, err := p.Blobs.Open(ctx, d.File.BlobKey)
	if errors.Is(err, blob.ErrNotFound) {
		p.Log.ErrorContext(ctx, "Platen's own copy is missing", "document", d.ID, "blob", d.File.BlobKey)
		return nil, nil, ErrDownloadGone
	}
	return d, content, err
}
