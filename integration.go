package platen

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// AppliesTo says which documents an integration is for.
type AppliesTo string

// Which documents: R5.1.
const (
	AppliesToLive        AppliesTo = "LIVE"
	AppliesToTest        AppliesTo = "TEST"
	AppliesToLiveAndTest AppliesTo = "LIVE_AND_TEST"
)

// Covers tells whether the integration is for a document of this environment.
func (a AppliesTo) Covers(test bool) bool {
	return a == AppliesToLiveAndTest || (a == AppliesToTest) == test
}

// Integration is something that is done with every document it applies to. Exactly
// one of S3 and Webhook says what.
type Integration struct {
	AccountID   string
	ID          string
	Name        string
	Enabled     bool
	AppliesTo   AppliesTo
	Secret      []byte // the secret access key, or the key of signatures; encrypted
	SecretSetAt time.Time
	S3          *S3Settings
	Webhook     *WebhookSettings
	TestedAt    *time.Time // when testIntegration was last called
	TestFailure *Failure   // what came of it; nil: it went well
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// ActionType is that of the integration's actions.
func (i *Integration) ActionType() ActionType {
	if i.Webhook != nil {
		return ActionWebhook
	}
	return ActionAWSS3Upload
}

// Wants tells whether a document gets an action of the integration. A document that
// failed has those of webhooks only (R6.1).
func (i *Integration) Wants(d AnyDocument) bool {
	switch {
	case !i.Enabled || !i.AppliesTo.Covers(d.Common().Test):
		return false
	case i.Webhook != nil:
		s, ok := d.(*Submission)
		return i.Webhook.TemplateID == "" || ok && i.Webhook.TemplateID == s.TemplateID
	}
	return d.Common().State == DocumentProcessed && i.S3.Path(d.PathKind(), d.Common().Test) != ""
}

// WantsVersions tells whether published versions of templates are copied. They are
// neither live nor test, so the choice between those does not matter (R5.3).
func (i *Integration) WantsVersions() bool {
	return i.Enabled && i.S3 != nil && i.S3.TemplateVersionPath != ""
}

// S3Settings are those of an integration that copies documents into a bucket with
// PutObject (R5.1).
type S3Settings struct {
	AccessKeyID          string     `json:"accessKeyId"`
	Region               string     `json:"region"`
	Bucket               string     `json:"bucket"`
	Endpoint             string     `json:"endpoint,omitempty"` // "": AWS
	ForcePathStyle       bool       `json:"forcePathStyle,omitempty"`
	StorageClass         string     `json:"storageClass,omitempty"`         // "": the bucket's default
	ServerSideEncryption string     `json:"serverSideEncryption,omitempty"` // "": the bucket's default
	KMSKeyID             string     `json:"kmsKeyId,omitempty"`
	Checksum             S3Checksum `json:"checksum"`
	// Path templates (R5.3). Of the test ones, "" falls back to the live one; of the
	// others, "" means that such documents are not copied.
	SubmissionPath             string `json:"submissionPath"`
	TestSubmissionPath         string `json:"testSubmissionPath,omitempty"`
	CombinedSubmissionPath     string `json:"combinedSubmissionPath,omitempty"`
	TestCombinedSubmissionPath string `json:"testCombinedSubmissionPath,omitempty"`
	TemplateVersionPath        string `json:"templateVersionPath,omitempty"`
}

// S3Checksum is how the bucket can tell that the bytes arrived as they were sent.
type S3Checksum string

// The checksums. MD5 is understood by every server; the others are for buckets that
// demand them.
const (
	ChecksumMD5    S3Checksum = "MD5"
	ChecksumCRC32  S3Checksum = "CRC32"
	ChecksumSHA256 S3Checksum = "SHA256"
	ChecksumNone   S3Checksum = "NONE"
)

// PathKind is what a path template is for.
type PathKind string

// The kinds of path templates, each with variables of its own (R5.4).
const (
	PathSubmission         PathKind = "SUBMISSION"
	PathCombinedSubmission PathKind = "COMBINED_SUBMISSION"
	PathTemplateVersion    PathKind = "TEMPLATE_VERSION"
)

// The path templates when none is given (R5.3, R5.4).
const (
	DefaultSubmissionPath      = "{{ template_id }}/{{ submission_id }}.{{ extension }}"
	DefaultTemplateVersionPath = "templates/{{ template_id }}/{{ template_version }}.html"
)

// Path is the path template of a document, or "" when it is not copied.
func (s *S3Settings) Path(kind PathKind, test bool) string {
	live, own := s.SubmissionPath, s.TestSubmissionPath
	switch kind {
	case PathTemplateVersion:
		return s.TemplateVersionPath
	case PathCombinedSubmission:
		live, own = s.CombinedSubmissionPath, s.TestCombinedSubmissionPath
	}
	if test && own != "" {
		return own
	}
	return live
}

// S3Path is one of the path templates of an integration.
type S3Path struct {
	Field    string // its name in the API
	Kind     PathKind
	Template *string
}

// Paths are all path templates, for what is done with each of them.
func (s *S3Settings) Paths() []S3Path {
	return []S3Path{
		{"submission", PathSubmission, &s.SubmissionPath},
		{"testSubmission", PathSubmission, &s.TestSubmissionPath},
		{"combinedSubmission", PathCombinedSubmission, &s.CombinedSubmissionPath},
		{"testCombinedSubmission", PathCombinedSubmission, &s.TestCombinedSubmissionPath},
		{"templateVersion", PathTemplateVersion, &s.TemplateVersionPath},
	}
}

// WebhookSettings are those of an integration that posts documents as JSON (R6.6).
type WebhookSettings struct {
	URL        string        `json:"url"`
	TemplateID string        `json:"templateId,omitempty"` // "": documents of every kind
	SendWhen   WebhookMoment `json:"sendWhen"`
}

// WebhookMoment is when a webhook is sent.
type WebhookMoment string

// The moments.
const (
	WhenProcessed WebhookMoment = "PROCESSED" // as soon as the document has left PENDING
	WhenDelivered WebhookMoment = "DELIVERED" // when its uploads have ended as well
)

// HealthState is what the newest test or delivery says of an integration.
type HealthState string

// The states of health.
const (
	HealthUnknown HealthState = "UNKNOWN" // nothing was tried yet
	HealthHealthy HealthState = "HEALTHY"
	HealthFailing HealthState = "FAILING"
)

// Health is what the newest test or delivery of an integration came to.
type Health struct {
	State     HealthState
	Failure   *Failure // nil unless FAILING
	CheckedAt *time.Time
}

// Limits of an integration, in characters.
const (
	maxAccessKey     = 256  // an access key's id, and its secret
	maxKMSKey        = 2048 // the id or ARN of a KMS key
	maxStoredAddress = 2000 // an endpoint, or a webhook's URL
)

var (
	// S3's rules for names, without those that only AWS itself can check
	// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html);
	// other servers allow upper case and underscores, so we do.
	bucketName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$`)
	regionName   = regexp.MustCompile(`^[A-Za-z0-9-]{1,63}$`)
	storageClass = regexp.MustCompile(`^[A-Z0-9_]{1,64}$`)
)

// Validate says what is wrong with the integration's fields; secret is its secret in
// clear. The path templates are the delivery room's to check.
func (i *Integration) Validate(secret string) Errors {
	errs := ValidateName(i.Name, "name")
	if i.Webhook != nil {
		return append(errs, i.Webhook.Validate()...)
	}
	return append(errs, i.S3.Validate(secret)...)
}

// Validate says what is wrong with the settings; secret is the secret access key in
// clear.
func (s *S3Settings) Validate(secret string) Errors {
	var errs Errors
	for _, key := range []struct{ name, text string }{{"accessKeyId", s.AccessKeyID}, {"secretAccessKey", secret}} {
		switch {
		case key.text == "":
			errs.Add(CodeRequired, "It is required: the storage knows Platen by it.", key.name)
		case len(key.text) > maxAccessKey:
			errs.Add(CodeTooLong, fmt.Sprintf("It has at most %d characters.", maxAccessKey), key.name)
		case !printableASCII(key.text):
			errs.Add(CodeInvalid, "It has spaces, line breaks or other characters that keys never have: was it copied whole, and alone?", key.name)
		}
	}
	if !bucketName.MatchString(s.Bucket) {
		errs.Add(CodeInvalid, "A bucket's name has 3 to 63 letters, digits, dots, hyphens or underscores. Give the name alone, without s3:// or a path.", "bucket")
	}
	if !regionName.MatchString(s.Region) {
		errs.Add(CodeInvalid, "Give the region's code, such as eu-west-3; us-east-1 or auto for servers without regions.", "region")
	}
	if s.Endpoint != "" {
		if message := s.checkEndpoint(); message != "" {
			errs.Add(CodeInvalid, message, "endpoint")
		}
	}
	if s.StorageClass != "" && !storageClass.MatchString(s.StorageClass) {
		errs.Add(CodeInvalid, "A storage class is written in capital letters, such as STANDARD_IA or GLACIER_IR.", "storageClass")
	}
	// https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html#AmazonS3-PutObject-request-header-ServerSideEncryption
	switch s.ServerSideEncryption {
	case "", "AES256", "aws:kms", "aws:kms:dsse":
	default:
		errs.Add(CodeInvalid, "It is AES256, aws:kms or aws:kms:dsse; leave it out for the bucket's own default.", "serverSideEncryption")
	}
	switch {
	case s.KMSKeyID == "":
	case !strings.HasPrefix(s.ServerSideEncryption, "aws:kms"):
		errs.Add(CodeInvalid, "A KMS key goes with the serverSideEncryption aws:kms or aws:kms:dsse.", "kmsKeyId")
	case len(s.KMSKeyID) > maxKMSKey || !printableASCII(s.KMSKeyID):
		errs.Add(CodeInvalid, fmt.Sprintf("Give the key's id or its ARN: at most %d characters, without spaces.", maxKMSKey), "kmsKeyId")
	}
	return errs
}

// Validate says what is wrong with the settings.
func (w *WebhookSettings) Validate() Errors {
	var errs Errors
	if message := checkAddress(w.URL, "A webhook's URL", "https://example.com/hooks/platen"); message != "" {
		errs.Add(CodeInvalid, message, "url")
	}
	return errs
}

func printableASCII(text string) bool {
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// checkEndpoint says what is wrong with the endpoint. One with the bucket in it would
// be taken: objects would then arrive under other keys than were asked for.
func (s *S3Settings) checkEndpoint() string {
	if message := checkAddress(s.Endpoint, "An endpoint", "https://s3.example.com:9000"); message != "" {
		return message
	}
	u, err := url.Parse(s.Endpoint)
	if err != nil || strings.ContainsAny(s.Endpoint, "?#") {
		return "An endpoint has no query and no fragment."
	}
	path := strings.Trim(u.Path, "/")
	switch {
	case path == s.Bucket && path != "", strings.HasPrefix(u.Host, s.Bucket+".s3.") || strings.HasPrefix(u.Host, s.Bucket+".s3-"):
		return "An endpoint is the server's address without the bucket, which has a field of its own: leave it out here."
	case path != "" && !s.ForcePathStyle:
		return "An endpoint with a path needs forcePathStyle: true; else the path would become a part of every key."
	}
	return ""
}

// isPort tells whether a connection can be made to the port of an address; "" is its
// scheme's own.
func isPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

// checkAddress says what is wrong with an http or https address that is stored with
// an integration and shown.
func checkAddress(address, what, example string) string {
	u, err := url.Parse(address)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		return fmt.Sprintf("%s is an http or https address, such as %s.", what, example)
	case u.User != nil:
		return what + " has no user name and password in it."
	case !isPort(u.Port()):
		return what + " has a port from 1 to 65535."
	case len(address) > maxStoredAddress:
		return fmt.Sprintf("%s has at most %d characters.", what, maxStoredAddress)
	case !printableASCII(address):
		return what + " has no spaces, line breaks or letters outside ASCII: percent-encode them."
	}
	return ""
}
