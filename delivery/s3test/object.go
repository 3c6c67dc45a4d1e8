package s3test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// answer is an error as S3 gives it
// (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).
type answer struct {
	status        int
	code, message string
	region        string // of the bucket, where the answer names it
}

func (a *answer) write(w http.ResponseWriter) {
	body := struct {
		XMLName   xml.Name `xml:"Error"`
		Code      string
		Message   string
		Region    string `xml:",omitempty"`
		RequestID string `xml:"RequestId"`
	}{Code: a.code, Message: a.message, Region: a.region, RequestID: requestID}
	text, _ := xml.Marshal(body)
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("X-Amz-Request-Id", requestID)
	if a.region != "" {
		w.Header().Set("X-Amz-Bucket-Region", a.region)
	}
	w.WriteHeader(a.status)
	_, _ = w.Write([]byte(xml.Header))
	_, _ = w.Write(text)
}

const requestID = "S3TESTREQUEST0001"

// serve answers a request that no fault has answered.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, bucketName, objectKey string) {
	// A small body is read before anything is refused, as a client that does not
	// ask with Expect would take the answer's early end for a broken connection.
	var body []byte
	if r.Header.Get("Expect") == "" {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			(&answer{status: http.StatusBadRequest, code: "IncompleteBody", message: "The body is shorter than Content-Length says."}).write(w)
			return
		}
	}
	b, payload, refused := s.authorize(r, bucketName)
	if refused != nil {
		refused.write(w)
		return
	}
	switch {
	case r.Method == http.MethodGet && objectKey == "" && r.URL.Query().Get("list-type") == "2":
		s.list(w, r, b, bucketName)
	case objectKey == "" || unknownQuery(r):
		(&answer{status: http.StatusNotImplemented, code: "NotImplemented", message: "s3test does not know this operation."}).write(w)
	case r.Method == http.MethodPut:
		if body == nil {
			var err error
			if body, err = io.ReadAll(r.Body); err != nil {
				return
			}
		}
		s.put(w, r, b, objectKey, body, payload)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		s.get(w, r, b, objectKey)
	case r.Method == http.MethodDelete:
		s.update(func() { delete(b.objects, objectKey) })
		w.WriteHeader(http.StatusNoContent)
	}
}

func unknownQuery(r *http.Request) bool {
	for name := range r.URL.Query() {
		known := name == "x-id" || name == "versionId" || strings.HasPrefix(name, "X-Amz-") || strings.HasPrefix(name, "response-")
		if !known {
			return true
		}
	}
	return false
}

// authorize says who asks, whether the bucket is there, and whether they may.
func (s *Server) authorize(r *http.Request, bucketName string) (b *bucket, payload string, refused *answer) {
	signed, refused := readSignature(r)
	if refused != nil {
		return nil, "", refused
	}
	s.mu.Lock()
	now := s.now()
	known, ok := s.keys[signed.keyID]
	b = s.buckets[bucketName]
	s.mu.Unlock()
	if !ok {
		return nil, "", &answer{status: http.StatusForbidden, code: "InvalidAccessKeyId", message: "The AWS Access Key Id you provided does not exist in our records."}
	}
	if b != nil && b.region != "" && signed.region != b.region {
		return nil, "", &answer{
			status: http.StatusBadRequest, code: "AuthorizationHeaderMalformed", region: b.region,
			message: fmt.Sprintf("The authorization header is malformed; the region '%s' is wrong; expecting '%s'", signed.region, b.region),
		}
	}
	if refused := signed.verify(r, known.secret, now); refused != nil {
		return nil, "", refused
	}
	if b == nil {
		return nil, "", &answer{status: http.StatusNotFound, code: "NoSuchBucket", message: "The specified bucket does not exist"}
	}
	list := r.URL.Query().Has("list-type")
	allowed := map[string][]string{http.MethodPut: known.policy.Put, http.MethodGet: known.policy.Get, http.MethodHead: known.policy.Get, http.MethodDelete: known.policy.Delete}[r.Method]
	if list {
		allowed = known.policy.List
	}
	if !slices.Contains(allowed, bucketName) && !slices.Contains(allowed, "*") {
		return nil, "", &answer{status: http.StatusForbidden, code: "AccessDenied", message: "Access Denied"}
	}
	return b, signed.payload, nil
}

func (s *Server) put(w http.ResponseWriter, r *http.Request, b *bucket, objectKey string, body []byte, payload string) {
	sum := md5.Sum(body)
	if refused := checkPut(r, objectKey, body, payload, sum); refused != nil {
		refused.write(w)
		return
	}
	object := Object{Key: objectKey, Body: body, Header: r.Header.Clone(), ETag: `"` + hex.EncodeToString(sum[:]) + `"`}
	s.update(func() {
		object.StoredAt = s.now()
		if b.versioned {
			object.VersionID = "version-" + strconv.Itoa(len(b.objects[objectKey])+1)
		}
		kept := b.objects[objectKey]
		if !b.versioned {
			kept = nil
		}
		b.objects[objectKey] = append(kept, object)
	})
	if object.VersionID != "" {
		w.Header().Set("X-Amz-Version-Id", object.VersionID)
	}
	w.Header().Set("X-Amz-Request-Id", requestID)
	w.Header().Set("ETag", object.ETag)
	w.WriteHeader(http.StatusOK)
}

func checkPut(r *http.Request, objectKey string, body []byte, payload string, sum [md5.Size]byte) *answer {
	bad := func(code, message string) *answer {
		return &answer{status: http.StatusBadRequest, code: code, message: message}
	}
	if len(objectKey) > 1024 {
		return bad("KeyTooLongError", "Your key is too long")
	}
	if !utf8.ValidString(objectKey) {
		return bad("InvalidURI", "Couldn't parse the specified URI.")
	}
	if r.ContentLength < 0 {
		return &answer{status: http.StatusLengthRequired, code: "MissingContentLength", message: "You must provide the Content-Length HTTP header."}
	}
	if given := r.Header.Get("Content-Md5"); given != "" {
		want, err := base64.StdEncoding.DecodeString(given)
		if err != nil || len(want) != md5.Size {
			return bad("InvalidDigest", "The Content-MD5 you specified is not valid.")
		}
		if !bytes.Equal(want, sum[:]) {
			return bad("BadDigest", "The Content-MD5 you specified did not match what we received.")
		}
	}
	if strings.HasPrefix(payload, "STREAMING-") {
		// What servers older than 2021 answer to the SDK's default checksums.
		return bad("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	if hash := sha256.Sum256(body); payload != "UNSIGNED-PAYLOAD" && payload != hex.EncodeToString(hash[:]) {
		return bad("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	return nil
}

func (s *Server) get(w http.ResponseWriter, r *http.Request, b *bucket, objectKey string) {
	s.mu.Lock()
	versions := slices.Clone(b.objects[objectKey])
	s.mu.Unlock()
	if id := r.URL.Query().Get("versionId"); id != "" {
		versions = slices.DeleteFunc(versions, func(o Object) bool { return o.VersionID != id })
	}
	if len(versions) == 0 {
		if r.Method == http.MethodHead { // has no body to name the key in
			w.WriteHeader(http.StatusNotFound)
			return
		}
		(&answer{status: http.StatusNotFound, code: "NoSuchKey", message: "The specified key does not exist."}).write(w)
		return
	}
	object := versions[len(versions)-1]
	for name, values := range object.Header {
		if strings.HasPrefix(name, "X-Amz-Meta-") || slices.Contains([]string{"Content-Type", "Content-Disposition", "Cache-Control"}, name) {
			w.Header()[name] = values
		}
	}
	for name, values := range r.URL.Query() {
		if name, ok := strings.CutPrefix(name, "response-"); ok {
			w.Header()[http.CanonicalHeaderKey(name)] = values
		}
	}
	if object.VersionID != "" {
		w.Header().Set("X-Amz-Version-Id", object.VersionID)
	}
	w.Header().Set("ETag", object.ETag)
	http.ServeContent(w, r, "", object.StoredAt, bytes.NewReader(object.Body))
}

// list answers ListObjectsV2 with prefix, start-after and max-keys; its
// continuation token is the last key.
func (s *Server) list(w http.ResponseWriter, r *http.Request, b *bucket, bucketName string) {
	type entry struct {
		Key          string
		LastModified string
		ETag         string
		Size         int
	}
	result := struct {
		XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
		Name, Prefix          string
		KeyCount, MaxKeys     int
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
		Contents              []entry
	}{Name: bucketName, Prefix: r.URL.Query().Get("prefix"), MaxKeys: 1000}
	if most, err := strconv.Atoi(r.URL.Query().Get("max-keys")); err == nil && most < result.MaxKeys {
		result.MaxKeys = most
	}
	after := max(r.URL.Query().Get("start-after"), r.URL.Query().Get("continuation-token"))
	s.mu.Lock()
	for _, key := range b.keys() {
		if key <= after || !strings.HasPrefix(key, result.Prefix) {
			continue
		}
		if len(result.Contents) == result.MaxKeys {
			result.IsTruncated = true
			break
		}
		object := b.objects[key][len(b.objects[key])-1]
		result.Contents = append(result.Contents, entry{key, object.StoredAt.UTC().Format(time.RFC3339), object.ETag, len(object.Body)})
	}
	s.mu.Unlock()
	if result.KeyCount = len(result.Contents); result.IsTruncated && result.KeyCount > 0 {
		result.NextContinuationToken = result.Contents[result.KeyCount-1].Key
	}
	text, _ := xml.Marshal(result)
	w.Header().Set("Content-Type", "application/xml")
	_, _ = w.Write([]byte(xml.Header))
	_, _ = w.Write(text)
}
