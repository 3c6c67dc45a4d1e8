package platen

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Header is one HTTP header.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// PresignedUpload is an address that somebody signed for one PUT, with the headers
// that the signature, or the storage, wants. Whoever has it can write there, so it is
// never shown whole: it prints without its query.
type PresignedUpload struct {
	URL     string   `json:"url"`
	Headers []Header `json:"headers,omitempty"`
}

// LogValue keeps the signature out of logs.
func (u PresignedUpload) LogValue() slog.Value { return slog.StringValue(u.String()) }

func (u PresignedUpload) String() string { return "presigned upload to " + u.Destination() }

// Format implements fmt.Formatter, for all verbs.
func (u PresignedUpload) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, u.String()) }

// Destination is the address without its query, and so without its signature.
func (u PresignedUpload) Destination() string { return AddressWithoutSecrets(u.URL) }

// AddressWithoutSecrets is an address for people: without user, password, query and
// fragment.
func AddressWithoutSecrets(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
	return u.String()
}

const (
	maxPresignedURL     = 16 << 10 // bytes
	maxPresignedHeaders = 32
	maxHeaderBytes      = 8 << 10 // of names and values, all together
)

// headerName is the form of a header's name
// (https://datatracker.ietf.org/doc/html/rfc9110#name-tokens).
var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// hopHeaders are those that belong to the connection and not to the request
// (https://datatracker.ietf.org/doc/html/rfc9110#section-7.6.1), and those that say
// where the request goes and how long it is.
var hopHeaders = []string{
	"Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Host", "Content-Length", "Expect",
}

// Validate says what is wrong with the upload at a time: its form, and whether the
// address has expired.
func (u PresignedUpload) Validate(now time.Time) Errors {
	var errs Errors
	parsed, err := url.Parse(u.URL)
	switch {
	case len(u.URL) > maxPresignedURL:
		errs.Add(CodeTooLong, fmt.Sprintf("A presigned URL has at most %d bytes.", maxPresignedURL), "url")
	case err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Hostname() == "":
		errs.Add(CodeInvalid, "A presigned URL is a whole http or https address, as the storage's SDK gives it.", "url")
	case parsed.User != nil || parsed.Fragment != "" || strings.Contains(u.URL, "#"):
		errs.Add(CodeInvalid, "A presigned URL has no user name, no password and no fragment.", "url")
	case !isPort(parsed.Port()):
		errs.Add(CodeInvalid, "A presigned URL has a port from 1 to 65535.", "url")
	case !printableASCII(u.URL):
		errs.Add(CodeInvalid, "A presigned URL has no spaces, line breaks or letters outside ASCII: was it copied whole, and alone?", "url")
	default:
		if expires, known := u.Expires(); known && !now.Before(expires) {
			errs.Add(CodeInvalid, "This presigned URL expired at "+expires.UTC().Format(time.RFC3339)+". Make a new one, and sign it for long enough.", "url")
		}
	}
	return append(errs, u.validateHeaders()...)
}

func (u PresignedUpload) validateHeaders() (errs Errors) {
	if len(u.Headers) > maxPresignedHeaders {
		errs.Add(CodeTooLong, fmt.Sprintf("At most %d headers.", maxPresignedHeaders), "headers")
		return errs
	}
	size, seen := 0, map[string]bool{}
	for i, header := range u.Headers {
		at := strconv.Itoa(i)
		name := http.CanonicalHeaderKey(header.Name)
		size += len(header.Name) + len(header.Value)
		switch {
		case !headerName.MatchString(header.Name):
			errs.Add(CodeInvalid, "A header's name has letters, digits and hyphens only.", "headers", at, "name")
		case slices.Contains(hopHeaders, name) || strings.HasPrefix(name, "Proxy-"):
			errs.Add(CodeInvalid, "Platen sets this header itself, or it belongs to the connection: leave it out.", "headers", at, "name")
		case seen[name]:
			errs.Add(CodeInvalid, "This header is given twice.", "headers", at, "name")
		case strings.ContainsFunc(header.Value, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }):
			errs.Add(CodeInvalid, "A header's value has no line breaks or control characters.", "headers", at, "value")
		}
		seen[name] = true
	}
	if size > maxHeaderBytes {
		errs.Add(CodeTooLarge, fmt.Sprintf("The headers have at most %d bytes together.", maxHeaderBytes), "headers")
	}
	return errs
}

// Expires is when the address stops working, if it says so: by version 4 or 2 of S3's
// signature (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html),
// Google's, or as a shared access signature of Azure.
func (u PresignedUpload) Expires() (time.Time, bool) {
	parsed, err := url.Parse(u.URL)
	if err != nil {
		return time.Time{}, false
	}
	query := parsed.Query()
	for _, prefix := range []string{"X-Amz-", "X-Goog-"} {
		from, err := time.Parse("20060102T150405Z", query.Get(prefix+"Date"))
		seconds, invalid := strconv.ParseInt(query.Get(prefix+"Expires"), 10, 32)
		if err == nil && invalid == nil {
			return from.Add(time.Duration(seconds) * time.Second), true
		}
	}
	if seconds, err := strconv.ParseInt(query.Get("Expires"), 10, 64); err == nil && query.Get("Signature") != "" && seconds > 0 && seconds < 1<<40 {
		return time.Unix(seconds, 0).UTC(), true
	}
	if query.Get("sig") != "" {
		// https://learn.microsoft.com/en-us/rest/api/storageservices/create-service-sas
		for _, form := range []string{time.RFC3339, "2006-01-02T15:04Z", time.DateOnly} {
			if until, err := time.Parse(form, query.Get("se")); err == nil {
				return until, true
			}
		}
	}
	return time.Time{}, false
}
