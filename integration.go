package platen

import (
	"net/url"
	"regexp"
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

// DefaultSubmissionPath is the path template of a submission when none is given (R5.4).
const DefaultSubmissionPath = "{{ template_id }}/{{ submission_id }}.{{ extension }}"

// AWSS3Integration copies documents into a bucket with PutObject (R5.1).
type AWSS3Integration struct {
	AccountID      string    `db:"account_id"`
	ID             string    `db:"id"`
	Name           string    `db:"name"`
	Enabled        bool      `db:"enabled"`
	AppliesTo      AppliesTo `db:"applies_to"`
	AccessKeyID    string    `db:"access_key_id"`
	Secret         []byte    `db:"secret"` // the secret access key, encrypted
	SecretSetAt    time.Time `db:"secret_set_at"`
	Region         string    `db:"region"`
	Bucket         string    `db:"bucket"`
	Endpoint       string    `db:"endpoint"` // "": AWS
	ForcePathStyle bool      `db:"force_path_style"`
	// Path templates. A blank test path falls back to the live one (R5.3).
	SubmissionPath     string    `db:"submission_path"`
	TestSubmissionPath string    `db:"test_submission_path"`
	CreatedAt          time.Time `db:"created_at"`
	UpdatedAt          time.Time `db:"updated_at"`
}

// PathTemplate is the one that a document's key is made from.
func (i *AWSS3Integration) PathTemplate(test bool) string {
	if test && i.TestSubmissionPath != "" {
		return i.TestSubmissionPath
	}
	return i.SubmissionPath
}

var (
	// S3's rules for names, without those that only AWS itself can check
	// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html);
	// other servers allow upper case and underscores, so we do.
	bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$`)
	regionName = regexp.MustCompile(`^[A-Za-z0-9-]{1,63}$`)
)

// Validate says what is wrong with the integration's fields; secret is the secret
// access key in clear. The path templates are the delivery room's to check.
func (i *AWSS3Integration) Validate(secret string) Errors {
	errs := ValidateName(i.Name, "name")
	for _, key := range []struct{ name, text string }{{"accessKeyId", i.AccessKeyID}, {"secretAccessKey", secret}} {
		switch {
		case key.text == "":
			errs.Add(CodeRequired, "It is required: the storage knows Platen by it.", key.name)
		case len(key.text) > 256:
			errs.Add(CodeTooLong, "It has at most 256 characters.", key.name)
		case !printableASCII(key.text):
			errs.Add(CodeInvalid, "It has spaces, line breaks or other characters that keys never have: was it copied whole, and alone?", key.name)
		}
	}
	if !bucketName.MatchString(i.Bucket) {
		errs.Add(CodeInvalid, "A bucket's name has 3 to 63 letters, digits, dots, hyphens or underscores. Give the name alone, without s3:// or a path.", "bucket")
	}
	if !regionName.MatchString(i.Region) {
		errs.Add(CodeInvalid, "Give the region's code, such as eu-west-3; us-east-1 or auto for servers without regions.", "region")
	}
	if i.Endpoint != "" {
		if message := checkEndpoint(i.Endpoint); message != "" {
			errs.Add(CodeInvalid, message, "endpoint")
		}
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

func checkEndpoint(endpoint string) string {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		return "An endpoint is an http or https address, such as https://s3.example.com:9000."
	case u.User != nil:
		return "An endpoint has no user name and password in it: they have fields of their own."
	case u.RawQuery != "" || u.Fragment != "":
		return "An endpoint has no query and no fragment."
	case len(endpoint) > 2000:
		return "An endpoint has at most 2,000 characters."
	}
	return ""
}
