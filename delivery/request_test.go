package delivery

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"platen"
)

// recorder keeps the request that was sent, and answers as S3 does.
type recorder struct{ sent *http.Request }

func (r *recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	r.sent = request
	if request.Body != nil {
		request.Body.Close()
	}
	return &http.Response{StatusCode: 200, Header: http.Header{"Etag": {`"x"`}}, Body: http.NoBody, Request: request}, nil
}

// ofPlaten is the request that Platen makes, or why it makes none.
func ofPlaten(t *testing.T, target Target, o Object) (*http.Request, error) {
	t.Helper()
	sent := &recorder{}
	_, err := (&S3{http: &http.Client{Transport: sent}}).Put(t.Context(), target, o)
	return sent.sent, err
}

// ofTheSDK is the request that the SDK's own client makes.
func ofTheSDK(t *testing.T, target Target, o Object) (*http.Request, error) {
	t.Helper()
	sent := &recorder{}
	options := s3.Options{
		Region: target.Region, UsePathStyle: target.ForcePathStyle, HTTPClient: &http.Client{Transport: sent}, AppID: "platen",
		Credentials:                 credentials.NewStaticCredentialsProvider(target.AccessKeyID, target.SecretAccessKey.Reveal(), ""),
		RequestChecksumCalculation:  aws.RequestChecksumCalculationWhenRequired,
		DisableS3ExpressSessionAuth: aws.Bool(true),
	}
	if target.Endpoint != "" {
		options.BaseEndpoint = aws.String(strings.TrimRight(target.Endpoint, "/"))
	}
	input := &s3.PutObjectInput{Bucket: &target.Bucket, Key: &o.Key, Body: o.Body, ContentLength: &o.Size, ContentType: &o.ContentType,
		ContentDisposition: aws.String(disposition(o.Filename)), StorageClass: types.StorageClass(target.StorageClass),
		ServerSideEncryption: types.ServerSideEncryption(target.ServerSideEncryption)}
	if target.KMSKeyID != "" {
		input.SSEKMSKeyId = &target.KMSKeyID
	}
	body, err := io.ReadAll(o.Body)
	if _, again := o.Body.Seek(0, io.SeekStart); err != nil || again != nil {
		t.Fatal(err, again)
	}
	text := base64.StdEncoding.EncodeToString
	switch target.Checksum {
	case platen.ChecksumNone:
	case platen.ChecksumCRC32:
		crc := crc32.NewIEEE()
		crc.Write(body)
		input.ChecksumCRC32 = aws.String(text(crc.Sum(nil)))
	case platen.ChecksumSHA256:
		sum, _ := hex.DecodeString(o.SHA256)
		input.ChecksumSHA256 = aws.String(text(sum))
	default:
		sum := md5.Sum(body)
		input.ContentMD5 = aws.String(text(sum[:]))
	}
	_, err = s3.New(options).PutObject(t.Context(), input)
	return sent.sent, err
}

var scope = regexp.MustCompile(`Credential=[^/]+/\d+(/[^,]+), SignedHeaders=([^,]+), `)

// different says in what Platen's request is another one than the SDK's: but for its payload, which
// the SDK does not sign over https, and for what the SDK says of itself.
func different(ours, theirs *http.Request) string {
	var out []string
	compare := func(what string, ours, theirs any) {
		if fmt.Sprint(ours) != fmt.Sprint(theirs) {
			out = append(out, fmt.Sprintf("%s: %v, the SDK's %v", what, ours, theirs))
		}
	}
	compare("address", ours.Method+" "+ours.URL.String(), theirs.Method+" "+strings.TrimSuffix(theirs.URL.String(), "?x-id=PutObject"))
	compare("host", ours.Host, theirs.Host)
	compare("length", ours.ContentLength, theirs.ContentLength)
	own := func(name string, _ []string) bool {
		return strings.HasPrefix(name, "Amz-Sdk-") || slices.Contains([]string{"User-Agent", "Authorization", "X-Amz-Date", "X-Amz-Content-Sha256"}, name)
	}
	a, b := ours.Header.Clone(), theirs.Header.Clone()
	maps.DeleteFunc(a, own)
	maps.DeleteFunc(b, own)
	compare("headers", a, b)
	for _, name := range []string{"X-Amz-Date", "X-Amz-Content-Sha256", "User-Agent"} {
		compare(name, len(ours.Header[name]), len(theirs.Header[name]))
	}
	signed := func(r *http.Request) (scopes, headers string) {
		match := scope.FindStringSubmatch(r.Header.Get("Authorization"))
		if match == nil {
			return r.Header.Get("Authorization"), ""
		}
		return match[1], strings.NewReplacer("accept-encoding;", "", "amz-sdk-invocation-id;", "", "amz-sdk-request;", "").Replace(match[2])
	}
	ourScope, ourHeaders := signed(ours)
	theirScope, theirHeaders := signed(theirs)
	compare("what the signature is for", ourScope, theirScope)
	compare("what is signed", ourHeaders, theirHeaders)
	return strings.Join(out, "\n")
}

func TestEveryAddressIsThatOfTheSDK(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewChaCha8([32]byte{}))
	keys := []string{"a/b.pdf", "/a", "a/", "//", "a//b", "./a", "../a", "a/./b", "a/../b", ".", "..", " ", "sp ace+ü%25(1)!'*.pdf", "%", "%2F", "%zz", "a?b=c#d&e", "~._-", "日本語/😀.pdf",
		"a\\b:c@d;e,f=g$h", `"quoted"`, "e\u0301", "\x01\x7f\n", "\xff\xfe", "{Key+}", "?x-id=PutObject", strings.Repeat("k", 1024)}
	letters := []rune("ab/.%+ ?#&=;:@,$!'()*~_-{}[]|^`\"<>\\ü日😀\t\x00")
	key := func() string {
		if i := random.IntN(2 * len(keys)); i < len(keys) {
			return keys[i]
		}
		text := make([]rune, 1+random.IntN(12))
		for i := range text {
			text[i] = letters[random.IntN(len(letters))]
		}
		return string(text)
	}
	regions := []string{"auto", "aws-global", "nonsense", "us-iso-east-1", "eu-isoe-west-1", "US-EAST-1", "", "a/b", "a b"}
	for _, region := range platen.Regions() {
		regions = append(regions, region.Code)
	}
	made := 0
	for _, region := range regions {
		for _, bucket := range []string{"docs", "with.dots", "Upper_Case", "docs--euw3-az1--x-s3", "ap-hrzrlukc5m36ft7okagglf3gmwluquse1b-s3alias", "x", "-docs"} {
			for _, endpoint := range []string{"", "http://127.0.0.1:9000", "https://127.0.0.1", "http://[::1]:9000", "https://s3.example.com", "https://s3.example.com/base//", "https://s3.example.com:443/",
				"https://s3.eu-west-3.amazonaws.com", "ftp://s3.example.com", "s3.example.com", "https://"} {
				for _, pathStyle := range []bool{false, true} {
					target := Target{AccessKeyID: "AKIAPLATEN", SecretAccessKey: platen.NewSecret(secret), Region: region, Bucket: bucket, Endpoint: endpoint, ForcePathStyle: pathStyle}
					o := object(key(), []byte("x"))
					ours, ourErr := ofPlaten(t, target, o)
					theirs, theirErr := ofTheSDK(t, target, o)
					if (ourErr == nil) != (theirErr == nil) {
						t.Errorf("%+v %q: error %v, the SDK's %v", target, o.Key, ourErr, theirErr)
					} else if ourErr == nil {
						made++
						if text := different(ours, theirs); text != "" {
							t.Errorf("%+v %q: %s", target, o.Key, text)
						}
					}
				}
			}
		}
	}
	if made < 1000 {
		t.Errorf("%d requests were compared", made)
	}
}

func TestEveryHeaderIsThatOfTheSDK(t *testing.T) {
	t.Parallel()
	for _, endpoint := range []string{"", "http://127.0.0.1:9000"} {
		for _, checksum := range []platen.S3Checksum{"", platen.ChecksumMD5, platen.ChecksumCRC32, platen.ChecksumSHA256, platen.ChecksumNone} {
			for _, size := range []int{0, 1, 2<<20 - 1, 2 << 20, 3 << 20} {
				for _, with := range []Target{{}, {StorageClass: "STANDARD_IA", ServerSideEncryption: "aws:kms", KMSKeyID: "key-1"}} {
					with.AccessKeyID, with.SecretAccessKey, with.Region, with.Bucket, with.Endpoint, with.Checksum = "AKIAPLATEN", platen.NewSecret(secret), "eu-west-3", "docs", endpoint, checksum
					o := object("a/b.pdf", bytes.Repeat([]byte("x"), size))
					ours, err := ofPlaten(t, with, o)
					if err != nil {
						t.Fatal(err)
					}
					theirs, err := ofTheSDK(t, with, o)
					if err != nil {
						t.Fatal(err)
					}
					if text := different(ours, theirs); text != "" {
						t.Errorf("%+v, %d bytes: %s", with, size, text)
					}
					if ours.Header.Get("X-Amz-Content-Sha256") != o.SHA256 || ours.Header.Get("User-Agent") != "platen" {
						t.Errorf("%v", ours.Header)
					}
				}
			}
		}
	}
}
