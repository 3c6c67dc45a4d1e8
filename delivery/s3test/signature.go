package s3test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// The signature's clock may be off by this much
// (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, RequestTimeTooSkewed).
const maxSkew = 15 * time.Minute

const amzTime = "20060102T150405Z"

// signature is what a request says about its signature, in either form.
type signature struct {
	presigned     bool
	keyID         string
	region        string
	service       string
	signedAt      time.Time
	signedHeaders []string // lower case
	value         string
	payload       string // x-amz-content-sha256
}

func readSignature(r *http.Request) (signature, *answer) {
	malformed := &answer{status: http.StatusBadRequest, code: "AuthorizationHeaderMalformed", message: "The authorization header is malformed."}
	query := r.URL.Query()
	s := signature{presigned: query.Has("X-Amz-Signature")}
	var credential, signedHeaders, signedAt string
	if s.presigned {
		malformed.code, malformed.message = "AuthorizationQueryParametersError", "The query's signature parameters are malformed."
		if query.Get("X-Amz-Algorithm") != "AWS4-HMAC-SHA256" {
			return s, malformed
		}
		credential, signedHeaders = query.Get("X-Amz-Credential"), query.Get("X-Amz-SignedHeaders")
		s.value, signedAt, s.payload = query.Get("X-Amz-Signature"), query.Get("X-Amz-Date"), "UNSIGNED-PAYLOAD"
	} else {
		fields, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
		if !ok {
			return s, &answer{status: http.StatusForbidden, code: "AccessDenied", message: "Access Denied"}
		}
		for field := range strings.SplitSeq(fields, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
			switch name {
			case "Credential":
				credential = value
			case "SignedHeaders":
				signedHeaders = value
			case "Signature":
				s.value = value
			}
		}
		signedAt, s.payload = r.Header.Get("X-Amz-Date"), r.Header.Get("X-Amz-Content-Sha256")
		if s.payload == "" {
			return s, &answer{status: http.StatusBadRequest, code: "InvalidRequest", message: "Missing required header for this request: x-amz-content-sha256"}
		}
	}
	scope := strings.Split(credential, "/") // id/date/region/service/aws4_request
	at, err := time.Parse(amzTime, signedAt)
	if len(scope) != 5 || err != nil || s.value == "" || signedHeaders == "" {
		return s, malformed
	}
	s.keyID, s.region, s.service, s.signedAt = scope[0], scope[2], scope[3], at
	s.signedHeaders = strings.Split(signedHeaders, ";")
	return s, nil
}

// verify judges the signature itself: who signed, when, and whether it is right.
func (s signature) verify(r *http.Request, secret string, now time.Time) *answer {
	denied := func(message string) *answer {
		return &answer{status: http.StatusForbidden, code: "AccessDenied", message: message}
	}
	if s.presigned {
		seconds, err := strconv.Atoi(r.URL.Query().Get("X-Amz-Expires"))
		if err != nil || seconds < 1 || seconds > 7*24*3600 {
			return &answer{status: http.StatusBadRequest, code: "AuthorizationQueryParametersError", message: "X-Amz-Expires must be a number of seconds up to a week"}
		}
		if now.After(s.signedAt.Add(time.Duration(seconds) * time.Second)) {
			return denied("Request has expired")
		}
		if s.signedAt.Sub(now) > maxSkew {
			return denied("Request is not valid yet")
		}
	} else if skew := now.Sub(s.signedAt).Abs(); skew > maxSkew {
		return &answer{status: http.StatusForbidden, code: "RequestTimeTooSkewed", message: "The difference between the request time and the current time is too large."}
	}
	if !slices.Contains(s.signedHeaders, "host") {
		return denied("The host header was not signed")
	}
	for name := range r.Header {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, "x-amz-") && !slices.Contains(s.signedHeaders, name) {
			return denied("There were headers present in the request which were not signed")
		}
	}
	if s.again(r, secret) != s.value {
		return &answer{status: http.StatusForbidden, code: "SignatureDoesNotMatch", message: "The request signature we calculated does not match the signature you provided. Check your key and signing method."}
	}
	return nil
}

// again signs what was signed once more, with the secret that the server knows.
func (s signature) again(r *http.Request, secret string) string {
	address := *r.URL
	address.Scheme, address.Host = "http", r.Host
	copied := &http.Request{Method: r.Method, URL: &address, Host: r.Host, Header: http.Header{}}
	for _, name := range s.signedHeaders {
		switch name {
		case "host":
		case "content-length":
			copied.ContentLength = r.ContentLength
		default:
			copied.Header[http.CanonicalHeaderKey(name)] = slices.Clone(r.Header.Values(name))
		}
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) {
		o.DisableURIPathEscaping = true
		o.DisableHeaderHoisting = true
	})
	credentials := aws.Credentials{SecretAccessKey: secret, AccessKeyID: s.keyID}
	if !s.presigned {
		if signer.SignHTTP(context.Background(), credentials, copied, s.payload, s.service, s.region, s.signedAt) != nil {
			return ""
		}
		_, value, _ := strings.Cut(copied.Header.Get("Authorization"), "Signature=")
		return value
	}
	query := address.Query()
	for _, name := range []string{"X-Amz-Signature", "X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Algorithm"} {
		query.Del(name)
	}
	address.RawQuery = query.Encode()
	signed, _, err := signer.PresignHTTP(context.Background(), credentials, copied, s.payload, s.service, s.region, s.signedAt)
	if err != nil {
		return ""
	}
	result, err := url.Parse(signed)
	if err != nil {
		return ""
	}
	return result.Query().Get("X-Amz-Signature")
}
