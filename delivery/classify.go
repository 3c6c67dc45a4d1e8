package delivery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode"

	"platen"
	"platen/egress"
)

// answer is what a storage said to an upload that it did not take.
type answer struct {
	status    int
	code      string // of S3; "" if this is not an answer of S3
	message   string
	region    string // where the bucket is
	requestID string
	location  string // where a redirect leads
}

// expectedRegion reads the region from the text in which AWS and others name it.
var expectedRegion = regexp.MustCompile(`expecting '([a-z0-9-]{1,63})'`)

func readAnswer(r *http.Response, text []byte) *answer {
	// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
	var body struct {
		XMLName   xml.Name `xml:"Error"`
		Code      string
		Message   string
		Region    string
		RequestID string `xml:"RequestId"`
	}
	a := &answer{
		status: r.StatusCode, requestID: printable(r.Header.Get("X-Amz-Request-Id"), 100),
		region: printable(r.Header.Get("X-Amz-Bucket-Region"), 63), location: r.Header.Get("Location"),
	}
	if xml.Unmarshal(text, &body) != nil { // of 200 as well: some errors come to light after the status was sent
		return a
	}
	a.code, a.message = printable(body.Code, 100), printable(body.Message, 300)
	if a.requestID == "" {
		a.requestID = printable(body.RequestID, 100)
	}
	if a.region == "" {
		a.region = printable(body.Region, 63)
	}
	if match := expectedRegion.FindStringSubmatch(a.message); match != nil && a.region == "" {
		a.region = match[1]
	}
	return a
}

// printable makes the words of a stranger fit to be shown.
func printable(text string, most int) string {
	kept := []rune{}
	for _, r := range strings.TrimSpace(text) {
		if !unicode.IsPrint(r) {
			r = ' '
		}
		if len(kept) == most {
			return string(kept) + "…"
		}
		kept = append(kept, r)
	}
	return string(kept)
}

func fail(code platen.FailureCode, retryable bool, message string) *platen.Failure {
	return &platen.Failure{Stage: platen.StageDeliver, Code: code, Message: message, Retryable: retryable, OccurredAt: time.Now().UTC()}
}

// classify says what an error before there was an answer means, or, when that is nil,
// an answer that is none of an object that was stored.
func (e *exchange) classify(err error) *platen.Failure {
	var failure *platen.Failure
	switch {
	case e.answer == nil:
		failure = unanswered(err, e.url.Host, deliveryAdvice("Correct the integration's "+e.addressField()+", then retry the action."))
	case e.answer.code == "":
		failure = e.notS3()
	default:
		failure = e.refused()
	}
	if e.answer != nil {
		failure.ProviderCode = e.answer.code
		details := map[string]any{"httpStatus": e.answer.status}
		if e.answer.requestID != "" {
			details["requestId"] = e.answer.requestID
		}
		if e.answer.region != "" {
			details["region"] = e.answer.region
		}
		failure.Details, _ = json.Marshal(details)
	}
	return failure
}

// advice is what people can do about an error of the network.
type advice struct {
	remedy string // of a wrong address: a sentence
	then   string // once the other side is mended
	again  string // said of what can pass: "", or a sentence after a space
}

// deliveryAdvice is that about an action.
func deliveryAdvice(remedy string) advice {
	return advice{remedy, "retry the action", " It is tried again."}
}

// unanswered says what an error means when there was no answer of host, or not all of it.
func unanswered(err error, host string, can advice) *platen.Failure {
	var denied *egress.DeniedError
	var dns *net.DNSError
	var timeout net.Error
	text := err.Error()
	switch {
	case errors.As(err, &denied):
		return fail(platen.FailureEgressDenied, false, denied.Error()+".")
	case errors.As(err, &dns) && dns.IsNotFound:
		return fail(platen.FailureHostNotFound, false, fmt.Sprintf("There is no host named %s. %s", host, can.remedy))
	case errors.As(err, &dns):
		return fail(platen.FailureConnectionFailed, true, fmt.Sprintf("The name %s could not be looked up.%s", host, can.again))
	case isCertificateError(err):
		return fail(platen.FailureTLS, false, fmt.Sprintf("The certificate of %s is not valid: %s. Give the server a certificate that a known authority signed for this name, then %s.", host, certificateFault(err), can.then))
	case strings.Contains(text, "server gave HTTP response to HTTPS client"), errors.As(err, new(tls.RecordHeaderError)):
		return fail(platen.FailureTLS, false, fmt.Sprintf("%s does not speak TLS: the address says https:// where it should say http://, or has the wrong port. %s", host, can.remedy))
	case tlsFault(text) != "":
		return fail(platen.FailureTLS, false, fmt.Sprintf("No TLS connection to %s can be made: %s. Have its TLS settings checked, then %s.", host, tlsFault(text), can.then))
	case strings.Contains(text, "malformed HTTP"), strings.Contains(text, spokeFirst):
		return fail(platen.FailureNotAnS3Endpoint, false, fmt.Sprintf("%s answered, but not as a web server does. %s", host, can.remedy))
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fail(platen.FailureTimeout, true, fmt.Sprintf("%s did not answer in time.%s", host, can.again))
	}
	return fail(platen.FailureConnectionFailed, true, fmt.Sprintf("The connection to %s was refused or broke off.%s", host, can.again))
}

// spokeFirst is in net/http's error when the server said something before it was asked,
// as those of SSH, SMTP and databases do. Whether it is noticed before the request is
// under way, or read as a malformed answer, is left to chance. net/http has no type for
// it: the text is what became of an error that was nil (persistConn.readLoopPeekFailLocked).
const spokeFirst = "readLoopPeekFailLocked: %!w(<nil>)"

// addressField is the setting that the host's name comes from.
func (e *exchange) addressField() string {
	if e.target.Endpoint == "" {
		return "region"
	}
	return "endpoint, or let it put the bucket into the path"
}

func isCertificateError(err error) bool {
	return errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(x509.UnknownAuthorityError)) ||
		errors.As(err, new(x509.HostnameError)) || errors.As(err, new(x509.CertificateInvalidError))
}

func certificateFault(err error) string {
	var verification *tls.CertificateVerificationError
	if errors.As(err, &verification) {
		err = verification.Err
	}
	return printable(strings.TrimPrefix(err.Error(), "x509: "), 200)
}

// tlsFault is what two sides disagree on, or "". The alerts of RFC 8446 that a
// connection can end with by accident are not among them. crypto/tls has no types
// for these errors.
func tlsFault(text string) string {
	_, fault, found := strings.Cut(text, "tls: ")
	if !found || fault == "internal error" || fault == "user canceled" || fault == "bad record MAC" {
		return ""
	}
	return printable(fault, 100)
}

// notS3 is about an answer that S3 would not give.
func (e *exchange) notS3() *platen.Failure {
	host, status := e.url.Host, e.answer.status
	switch {
	case status >= 300 && status < 400 && e.answer.region != "" && e.answer.region != e.target.Region:
		return e.wrongRegion()
	case status >= 300 && status < 400:
		return fail(platen.FailureRedirected, false, fmt.Sprintf("%s redirects%s (HTTP %d). Redirects are not followed, so that no document reaches a host that nobody named. Give the right address as the integration's endpoint, then retry the action.", host, redirectTarget(e.answer.location), status))
	case isTransient(status):
		return fail(platen.FailureStorageUnavailable, true, fmt.Sprintf("%s is not available at the moment (HTTP %d). It is tried again.", host, status))
	case status == http.StatusRequestEntityTooLarge:
		return fail(platen.FailureFileTooLarge, false, fmt.Sprintf("%s takes no file of this size (HTTP 413). Raise the limit of the server, or of the proxy before it, then retry the action.", host))
	case status == http.StatusBadRequest && e.url.Scheme == "http":
		return fail(platen.FailureNotAnS3Endpoint, false, fmt.Sprintf("%s answered, but not as S3 does (HTTP 400). If it wants TLS, write the integration's endpoint with https://; then retry the action.", host))
	}
	return fail(platen.FailureNotAnS3Endpoint, false, fmt.Sprintf("%s answered, but not as S3 does (HTTP %d): nothing says that the file was stored. Correct the integration's endpoint, then retry the action.", host, status))
}

func isTransient(status int) bool {
	return status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= 500 && status != http.StatusNotImplemented
}

// refused is about an error of S3. Its codes are those of
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html and of the
// servers that speak S3.
func (e *exchange) refused() *platen.Failure {
	a, t := e.answer, e.target
	switch a.code {
	case "AccessDenied", "Forbidden", "AllAccessDisabled":
		return fail(platen.FailureAccessDenied, false, fmt.Sprintf("The bucket refused the upload: the access key may not s3:PutObject on %s.%s Allow it in the user's policy, then retry the action.", e.arn(), e.said("access denied.")))
	case "InvalidAccessKeyId":
		return fail(platen.FailureInvalidAccessKey, false, fmt.Sprintf("The storage does not know the access key id %s. Enter the keys of a user that exists, then retry the action.", printable(t.AccessKeyID, 128)))
	case "SignatureDoesNotMatch":
		return fail(platen.FailureSignatureMismatch, false, fmt.Sprintf("The secret access key does not belong to the access key id %s. Enter both again, then retry the action.", printable(t.AccessKeyID, 128)))
	case "ExpiredToken", "InvalidToken", "TokenRefreshRequired":
		return fail(platen.FailureCredentialsExpired, false, "The credentials are temporary ones and have expired. Enter the keys of an IAM user, which last, then retry the action.")
	case "NoSuchBucket", "InvalidBucketName":
		return fail(platen.FailureNoSuchBucket, false, fmt.Sprintf("There is no bucket named %s at %s. Correct the integration's bucket, region or endpoint, then retry the action.", t.Bucket, e.url.Host))
	case "PermanentRedirect", "MovedPermanently", "IllegalLocationConstraintException", "IncorrectEndpoint", "InvalidRegion":
		return e.wrongRegion()
	case "TemporaryRedirect", "AuthorizationHeaderMalformed":
		if a.region != "" && a.region != t.Region {
			return e.wrongRegion()
		}
		if a.code == "TemporaryRedirect" {
			return fail(platen.FailureStorageUnavailable, true, fmt.Sprintf("The bucket %s is new, and %s does not have it yet. It is tried again.", t.Bucket, e.url.Host))
		}
	case "KeyTooLongError", "InvalidObjectName", "InvalidURI", "XMinioInvalidObjectName", "XMinioInvalidResourceName":
		return fail(platen.FailureKeyInvalid, false, fmt.Sprintf("The storage takes no object key such as %s.%s Change the integration's path template, then retry the action.", shownKey(e.object.Key), e.said("")))
	case "EntityTooLarge":
		return fail(platen.FailureFileTooLarge, false, "The file is larger than the storage takes in one upload. Make the document smaller, or raise the storage's limit, then retry the action.")
	case "RequestTimeTooSkewed":
		return fail(platen.FailureStorageUnavailable, true, "The clocks of the storage and of this server differ by more than 15 minutes. It is tried again; the operator should set this server's clock.")
	case "BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody":
		return fail(platen.FailureStorageUnavailable, true, "The file arrived damaged or cut off, and was not stored. It is tried again.")
	case "RequestTimeout", "OperationAborted", "SlowDown", "ServiceUnavailable", "InternalError", "Throttling", "ThrottlingException",
		"TooManyRequests", "RequestLimitExceeded", "BandwidthLimitExceeded", "QuotaExceeded":
		return e.unavailable()
	case "NotImplemented", "MethodNotAllowed": // lasting, whatever their status
	default:
		if isTransient(a.status) {
			return e.unavailable()
		}
	}
	return fail(platen.FailureRequestRejected, false, fmt.Sprintf("The storage refused the upload with %s.%s Change the integration or the bucket's settings, then retry the action.", a.code, e.said("")))
}

func (e *exchange) unavailable() *platen.Failure {
	return fail(platen.FailureStorageUnavailable, true, fmt.Sprintf("The storage cannot take the file at the moment: %s (HTTP %d). It is tried again.", e.answer.code, e.answer.status))
}

func (e *exchange) wrongRegion() *platen.Failure {
	if e.answer.region == "" || e.answer.region == e.target.Region {
		return fail(platen.FailureWrongRegion, false, fmt.Sprintf("The bucket %s is not in the region %s. Enter the region in which it was made, then retry the action.", e.target.Bucket, e.target.Region))
	}
	return fail(platen.FailureWrongRegion, false, fmt.Sprintf("The bucket %s is in the region %s, not in %s. Change the integration's region to %s, then retry the action.", e.target.Bucket, e.answer.region, e.target.Region, e.answer.region))
}

// said repeats the storage's message where it says more than we did.
func (e *exchange) said(known string) string {
	message := strings.TrimSuffix(e.answer.message, ".") + "."
	if message == "." || strings.EqualFold(message, known) {
		return ""
	}
	return " It said: " + message
}

// arn names the object as policies do
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-arn-format.html).
func (e *exchange) arn() string {
	partition := "aws"
	switch {
	case strings.HasPrefix(e.target.Region, "cn-"):
		partition = "aws-cn"
	case strings.HasPrefix(e.target.Region, "us-gov-"):
		partition = "aws-us-gov"
	}
	return "arn:" + partition + ":s3:::" + e.target.Bucket + "/" + printable(e.object.Key, 200)
}
