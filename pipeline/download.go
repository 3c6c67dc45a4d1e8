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
func (p *Pipeline) DownloadURL(s *platen.Submission, life time.Duration) string {
	if s.File == nil || s.ExpiredAt != nil {
		return ""
	}
	path := "/files/" + s.AccountID + "/" + s.ID + "." + s.Output.Extension()
	expires := strconv.FormatInt(time.Now().Add(life).Unix(), 10)
	// One parameter, so that there is no & in the address: JSON shows that as \u0026,
	// and people copy addresses out of JSON.
	return p.BaseURL + path + "?signature=" + expires + "." + p.Keyring.Sign(downloadPurpose, path+"?"+expires)
}

// Errors of a download. Which of them it was is told to the holder of a signed
// address only.
var (
	ErrDownloadSignature = errors.New("the address is not one that Platen signed: ask for a new downloadUrl")
	ErrDownloadExpired   = errors.New("the address has expired: ask for a new downloadUrl")
	ErrDownloadGone      = errors.New("the document is not there any more")
)

// Download opens Platen's own copy by the path and signature of an address. The
// row is read each time, so what was deleted is gone at once. The caller closes the
// content; ctx bounds the reading.
func (p *Pipeline) Download(ctx context.Context, path, signature string) (*platen.Submission, io.ReadSeekCloser, error) {
	expires, signature, _ := strings.Cut(signature, ".")
	if !p.Keyring.Verify(downloadPurpose, path+"?"+expires, signature) {
		return nil, nil, ErrDownloadSignature
	}
	until, err := strconv.ParseInt(expires, 10, 64)
	if err != nil || time.Now().Unix() > until {
		return nil, nil, ErrDownloadExpired
	}
	accountID, name, _ := strings.Cut(strings.TrimPrefix(path, "/files/"), "/")
	id, _, _ := strings.Cut(name, ".")
	s, err := p.DB.Submission(ctx, storage.Scope{AccountID: accountID}, id)
	if errors.Is(err, storage.ErrNotFound) || err == nil && (s.File == nil || s.ExpiredAt != nil) {
		return nil, nil, ErrDownloadGone
	}
	if err != nil {
		return nil, nil, err
	}
	content, err := p.Blobs.Open(ctx, s.File.BlobKey)
	if errors.Is(err, blob.ErrNotFound) {
		p.Log.ErrorContext(ctx, "Platen's own copy is missing", "submission", s.ID, "blob", s.File.BlobKey)
		return nil, nil, ErrDownloadGone
	}
	return s, content, err
}
