package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"platen"
)

// Presigned uploads to presigned addresses. It is safe for concurrent use.
type Presigned struct {
	http     *http.Client
	maxPause time.Duration
}

// NewPresigned makes a Presigned.
func NewPresigned(o Options) *Presigned {
	if o.MaxPause == 0 {
		o.MaxPause = 2 * time.Second
	}
	client := newClient(o)
	client.Transport.(*transport).DisableCompression = true // or it would send a header of its own
	return &Presigned{http: client, maxPause: o.MaxPause}
}

// Close gives up idle connections.
func (p *Presigned) Close() { p.http.CloseIdleConnections() }

// Put sends exactly the object's bytes with one PUT to the address, with the headers
// that came with it and no other that could break the signature, and returns what the
// storage acknowledged (R6.5). The object's key and file name do not matter: both are
// in what was signed. Transient faults are tried again at once, some seconds long.
//
// The error is a *platen.Failure, or ctx's own when the caller canceled. None says
// more of the address than its host and path.
func (p *Presigned) Put(ctx context.Context, u platen.PresignedUpload, o Object) (*platen.UploadReceipt, error) {
	call := &presignedCall{upload: u, object: o}
	if o.Size == 0 {
		return nil, fail(platen.FailureStorage, false, "The document has no bytes. It was not sent.")
	}
	if o.Size > MaxObject {
		return nil, fail(platen.FailureFileTooLarge, false, fmt.Sprintf("The file has %d bytes; S3 takes at most %d (5 GB) in one upload. It was not sent.", o.Size, int64(MaxObject)))
	}
	if failure := o.read(ctx, io.Discard); failure != nil { // nothing tells the storage what it should be
		return nil, canceledOr(ctx, failure)
	}
	return o.upload(ctx, p.maxPause, func(ctx context.Context) (*platen.UploadReceipt, *platen.Failure) { return p.send(ctx, call) })
}

// presignedCall is one upload with its attempts.
type presignedCall struct {
	upload platen.PresignedUpload
	object Object
}

// send makes one attempt.
func (p *Presigned) send(ctx context.Context, call *presignedCall) (*platen.UploadReceipt, *platen.Failure) {
	if expires, known := call.upload.Expires(); known && !time.Now().Before(expires) {
		return nil, call.expired("Nothing was sent.")
	}
	request, err := call.request(ctx)
	if err != nil {
		return nil, fail(platen.FailureRequestRejected, false, "The presigned URL is no address that can be called. Retry the action with another.")
	}
	back, failure := call.object.lend(request)
	if failure != nil {
		return nil, failure
	}
	defer back()
	response, err := p.http.Do(request)
	if err != nil {
		return nil, call.unanswered(err)
	}
	defer response.Body.Close()
	text, err := readText(response)
	if err != nil && response.StatusCode >= 300 {
		return nil, call.unanswered(err)
	}
	return call.receipt(response, text)
}

// request is the PUT. Its address goes out byte for byte as it was signed.
func (c *presignedCall) request(ctx context.Context) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, c.upload.URL, nil)
	if err != nil {
		return nil, err
	}
	request.ContentLength = c.object.Size // without it the body would be sent in chunks, which S3 refuses
	request.Header.Set("User-Agent", "platen")
	request.Header.Set("Content-Type", c.object.ContentType)
	if isAzure(request.URL) {
		// https://learn.microsoft.com/en-us/rest/api/storageservices/put-blob
		request.Header.Set("X-Ms-Blob-Type", "BlockBlob")
	}
	for _, header := range c.upload.Headers {
		if header.Value == "" {
			request.Header.Del(header.Name) // an empty value asks for none
			continue
		}
		request.Header.Set(header.Name, header.Value)
	}
	return request, nil
}

func isAzure(u *url.URL) bool {
	query := u.Query()
	return strings.HasSuffix(u.Hostname(), ".blob.core.windows.net") || query.Has("sv") && query.Has("sig")
}

// receipt judges an answer.
func (c *presignedCall) receipt(response *http.Response, text []byte) (*platen.UploadReceipt, *platen.Failure) {
	etag := strings.Trim(response.Header.Get("ETag"), `"`)
	switch response.StatusCode {
	case http.StatusOK, http.StatusCreated, http.StatusNoContent: // 201 is Azure's
		if a := readAnswer(response, text); a.code != "" {
			return nil, c.detailed(c.refused(a), a)
		}
		if etag == "" && len(text) > 0 && strings.HasPrefix(response.Header.Get("Content-Type"), "text/html") {
			return nil, c.detailed(fail(platen.FailureNotAnS3Endpoint, false, fmt.Sprintf("%s answered with a web page: nothing says that the file was stored. Retry the action with a URL that a storage signed.", c.host())), readAnswer(response, text))
		}
	default:
		a := readAnswer(response, text)
		return nil, c.detailed(c.refused(a), a)
	}
	receipt := &platen.UploadReceipt{URL: c.upload.Destination(), ETag: etag, VersionID: response.Header.Get("X-Amz-Version-Id"),
		ByteSize: c.object.Size, SHA256: c.object.SHA256, UploadedAt: time.Now().UTC()}
	receipt.Bucket, receipt.Key, receipt.Region = c.place()
	return receipt, nil
}

var (
	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
	awsHost        = regexp.MustCompile(`^(?:(.+)\.)?s3[.-](?:dualstack\.)?([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?$`)
	awsGlobalHost  = regexp.MustCompile(`^(?:(.+)\.)?s3\.amazonaws\.com$`)
	googleHost     = regexp.MustCompile(`^(?:(.+)\.)?storage\.googleapis\.com$`)
	credentialSite = regexp.MustCompile(`^[^/]+/\d{8}/([^/]+)/s3/`)
)

// place is where the object is, as far as the address tells.
func (c *presignedCall) place() (bucket, key, region string) {
	u, err := url.Parse(c.upload.URL)
	if err != nil {
		return "", "", ""
	}
	if match := credentialSite.FindStringSubmatch(u.Query().Get("X-Amz-Credential")); match != nil {
		region = match[1]
	}
	host := u.Hostname()
	path := strings.TrimPrefix(u.Path, "/")
	for _, form := range []*regexp.Regexp{awsGlobalHost, awsHost, googleHost} {
		match := form.FindStringSubmatch(host)
		if match == nil {
			continue
		}
		if form == awsHost && region == "" {
			region = match[2]
		}
		if match[1] != "" {
			return match[1], path, region
		}
		bucket, key, _ = strings.Cut(path, "/")
		return bucket, key, region
	}
	return "", "", region
}

func (c *presignedCall) host() string {
	if u, err := url.Parse(c.upload.URL); err == nil {
		return u.Host
	}
	return "the storage"
}

func (c *presignedCall) unanswered(err error) *platen.Failure {
	var wrapped *url.Error // its text has the whole address
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return unanswered(err, c.host(), deliveryAdvice("Retry the action with a presigned URL of the right host."))
}

func (c *presignedCall) detailed(f *platen.Failure, a *answer) *platen.Failure {
	details := map[string]any{"httpStatus": a.status}
	if a.requestID != "" {
		details["requestId"] = a.requestID
	}
	f.ProviderCode = a.code
	f.Details, _ = json.Marshal(details)
	return f
}

func (c *presignedCall) expired(outcome string) *platen.Failure {
	when := ""
	if expires, known := c.upload.Expires(); known {
		when = " at " + expires.UTC().Format(time.RFC3339)
	}
	return fail(platen.FailurePresignedExpired, false, fmt.Sprintf("The presigned URL expired%s. %s Make a new one, and retry the action with it.", when, outcome))
}

// saysExpired tells whether a refusal is because of the time. No storage has a code of
// its own for that: S3 and its like say AccessDenied "Request has expired", Azure
// AuthenticationFailed "Signature not valid in the specified time frame".
func (c *presignedCall) saysExpired(a *answer) bool {
	if a.status != http.StatusForbidden && a.status != http.StatusBadRequest && a.status != http.StatusUnauthorized {
		return false
	}
	said := strings.ToLower(a.code + " " + a.message)
	if strings.Contains(said, "expired") || strings.Contains(said, "specified time frame") {
		return true
	}
	expires, known := c.upload.Expires()
	return known && !time.Now().Before(expires)
}

// refused says what an answer means that is no success.
func (c *presignedCall) refused(a *answer) *platen.Failure {
	host := c.host()
	switch {
	case a.status >= 300 && a.status < 400:
		return fail(platen.FailureRedirected, false, fmt.Sprintf("%s redirects%s (HTTP %d). Redirects are not followed, so that no document reaches a host that nobody named. Sign the URL for the bucket's own region, and retry the action with it.", host, redirectTarget(a.location), a.status))
	case c.saysExpired(a):
		return c.expired("The storage refused it.")
	case a.status == http.StatusRequestEntityTooLarge || a.code == "EntityTooLarge":
		return fail(platen.FailureFileTooLarge, false, fmt.Sprintf("%s takes no file of %d bytes.", host, c.object.Size))
	}
	switch a.code {
	case "SignatureDoesNotMatch", "AuthorizationQueryParametersError":
		return fail(platen.FailureSignatureMismatch, false, "The storage says that the request is not what was signed. Was the URL signed for PUT?"+c.unsentHeaders()+said(a)+" Sign it anew, and retry the action with it.")
	case "InvalidAccessKeyId":
		return fail(platen.FailureInvalidAccessKey, false, "The storage does not know the access key that signed the URL. Sign it anew with one that exists, and retry the action with it.")
	case "NoSuchBucket", "InvalidBucketName":
		return fail(platen.FailureNoSuchBucket, false, fmt.Sprintf("There is no such bucket at %s. Sign a URL for one that exists, and retry the action with it.", host))
	case "BadDigest", "XAmzContentChecksumMismatch", "InvalidDigest":
		if name := c.signedChecksum(); name != "" {
			return fail(platen.FailureRequestRejected, false, fmt.Sprintf("The URL has %s in it, the checksum of another file: newer AWS SDKs sign that of an empty one unless requestChecksumCalculation is WHEN_REQUIRED. Sign it without, and retry the action with it.", name))
		}
		return fail(platen.FailureStorageUnavailable, true, "The file arrived damaged, and was not stored. It is tried again.")
	case "AccessDenied", "Forbidden", "AllAccessDisabled", "AuthenticationFailed", "AuthorizationFailure":
		return fail(platen.FailureAccessDenied, false, "The storage refused the upload: whoever signed the URL may not put this object, or not by this URL."+c.unsentHeaders()+said(a)+" Sign it with rights to s3:PutObject, and retry the action with it.")
	}
	if slices.Contains([]string{"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "OperationAborted", "IncompleteBody"}, a.code) || isTransient(a.status) {
		return fail(platen.FailureStorageUnavailable, true, fmt.Sprintf("%s cannot take the file at the moment (HTTP %d). It is tried again.", host, a.status))
	}
	code := ""
	if a.code != "" {
		code = ", " + a.code
	}
	return fail(platen.FailureRequestRejected, false, fmt.Sprintf("%s refused the upload (HTTP %d%s).%s Retry the action with another URL.", host, a.status, code, said(a)))
}

// said repeats the storage's message, unless it could repeat the address in turn.
func said(a *answer) string {
	message := strings.TrimSuffix(strings.TrimSpace(a.message), ".")
	if message == "" || strings.ContainsAny(message, "?=&%") {
		return ""
	}
	return " It said: " + message + "."
}

// unsentHeaders names the headers that the signature wants and nobody gave.
func (c *presignedCall) unsentHeaders() string {
	u, err := url.Parse(c.upload.URL)
	if err != nil {
		return ""
	}
	signed := u.Query().Get("X-Amz-SignedHeaders") + u.Query().Get("X-Goog-SignedHeaders")
	var unsent []string
	for name := range strings.SplitSeq(signed, ";") {
		known := slices.ContainsFunc(c.upload.Headers, func(h platen.Header) bool { return strings.EqualFold(h.Name, name) })
		if name != "" && name != "host" && name != "content-length" && !known {
			unsent = append(unsent, printable(name, 100))
		}
	}
	if len(unsent) == 0 {
		return ""
	}
	return " It was signed with the headers " + strings.Join(unsent, ", ") + ", which were not given with it: give them in headers, with the values that were signed."
}

// signedChecksum is the name of a checksum that the address itself carries, or "".
func (c *presignedCall) signedChecksum() string {
	u, err := url.Parse(c.upload.URL)
	if err != nil {
		return ""
	}
	for name := range u.Query() {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-checksum-") || lower == "content-md5" {
			return printable(name, 100)
		}
	}
	return ""
}
