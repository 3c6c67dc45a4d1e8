package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	root "platen"
	"platen/delivery"
	"platen/delivery/s3test"
	"platen/egress"
)

// presignJS signs a PUT with a JavaScript client, as docs/presigned.md shows.
func presignJS(t *testing.T, by string, r *s3test.Real, key string, seconds int, contentType ...string) string {
	t.Helper()
	args := append([]string{"testdata/clients/presign.mjs", by, r.Endpoint, r.AccessKey, r.Secret, r.Bucket, key, fmt.Sprint(seconds)}, contentType...)
	cmd := exec.CommandContext(t.Context(), "node", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node %v: %v\n%s\nrun `make test`, which installs what it needs", args[:2], err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func TestRealServersTakeEveryKindOfUpload(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) *s3test.Real{"versitygw": func(t *testing.T) *s3test.Real { return s3test.StartVersitygw(t, "s3:PutObject") }, "MinIO": s3test.StartMinIO} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t)
			c := newClient(t)
			id := c.integrate(nil, r.Bucket, vars{"endpoint": r.Endpoint, "accessKeyId": r.AccessKey, "secretAccessKey": r.Secret, "region": "us-east-1",
				"pathTemplates": vars{"submission": "same/{{ metadata.customer }}.pdf"}})
			// R5.7: the second replaces the first, which the bucket keeps as an older version.
			var versions []string
			for n := range 2 {
				doc := c.final(c.submit(vars{"html": fmt.Sprintf("<p>document %d</p>", n), "metadata": vars{"customer": "Ünal & Söhne/1"}, "wait": 0}).ID)
				if len(doc.Actions) != 1 || doc.Actions[0].State != "PROCESSED" {
					t.Fatalf("%v", doc)
				}
				receipt := doc.Actions[0].Result
				if receipt.Key != "same/_nal___S_hne_1.pdf" || receipt.VersionID == "" || slices.Contains(versions, receipt.VersionID) {
					t.Errorf("%+v", receipt)
				}
				versions = append(versions, receipt.VersionID)
				_, own := c.download(doc.DownloadURL)
				if !bytes.Equal(r.Read(t, receipt.Key, receipt.VersionID), own) {
					t.Errorf("version %d is not what Platen has", n)
				}
			}
			if !strings.Contains(text(t, r.Read(t, "same/_nal___S_hne_1.pdf", versions[0])), "document 0") {
				t.Error("the older version is not the first document")
			}
			for _, checksum := range []string{"CRC32", "SHA256", "NONE"} {
				if errs := c.change(c.live, updateS3, vars{"id": id, "input": vars{"checksum": checksum}}, nil); len(errs) > 0 {
					t.Fatal(errs)
				}
				var tested struct{ Health health }
				if errs := c.change(c.live, testIntegration, vars{"id": id}, &tested); len(errs) > 0 || tested.Health.State != "HEALTHY" {
					t.Errorf("with the checksum %s: %+v %+v", checksum, tested.Health, tested.Health.Failure)
				}
			}
			if errs := c.change(c.live, deleteIntegration, vars{"id": id}, nil); len(errs) > 0 {
				t.Fatal(errs)
			}
			refusesAnotherPayload(t, r)
			// R6.5: the addresses that people make.
			for name, test := range map[string]struct {
				address string
				headers []vars
				code    string
			}{
				"npm minio, five minutes":  {presignJS(t, "minio", r, "js/a b ü.pdf", 300), nil, ""},
				"the AWS SDK":              {presignJS(t, "aws", r, "js/aws.pdf", 300), nil, ""},
				"a signed content type":    {presignJS(t, "aws", r, "js/type.pdf", 300, "application/x-invoice"), []vars{{"name": "Content-Type", "value": "application/x-invoice"}}, ""},
				"without its content type": {presignJS(t, "aws", r, "js/no.pdf", 300, "application/x-invoice"), nil, "SIGNATURE_MISMATCH"},
				// The SDK signs the checksum of an empty file, for which neither server looks here.
				"the AWS SDK's own checksum": {presignJS(t, "aws-default", r, "js/crc.pdf", 300), nil, ""},
			} {
				doc := c.final(c.submit(vars{"html": "<p>" + name + "</p>", "wait": 0, "presignedUpload": vars{"url": test.address, "headers": test.headers}}).ID)
				a := doc.Actions[0]
				if test.code != "" {
					if a.State != "FAILED" || a.Failure.Code != test.code {
						t.Errorf("%s: %+v %+v", name, a, a.Failure)
					}
					continue
				}
				if a.State != "PROCESSED" {
					t.Errorf("%s: %+v %+v", name, a, a.Failure)
					continue
				}
				_, key, _ := strings.Cut(strings.TrimPrefix(a.Destination, r.Endpoint+"/"), "/")
				if name == "npm minio, five minutes" {
					key = "js/a b ü.pdf"
				}
				_, own := c.download(doc.DownloadURL)
				if !bytes.Equal(r.Read(t, key, a.Result.VersionID), own) || a.Result.VersionID == "" {
					t.Errorf("%s: the bucket has other bytes", name)
				}
			}
			if r.Told != nil {
				r.Told.Check(t, "same/_nal___S_hne_1.pdf", "platen-connection-test.txt", "js/type.pdf", "js/aws.pdf") // R5.8
			}
			// Expired on the server's own clock, which a client cannot see before.
			expired := presignJS(t, "minio", r, "js/late.pdf", 1)
			time.Sleep(1100 * time.Millisecond)
			if errs := c.refused(c.live, vars{"html": "x", "presignedUpload": vars{"url": expired}}); len(errs) != 1 || !strings.Contains(errs[0].Message, "expired") {
				t.Errorf("%+v", errs)
			}
		})
	}
}

// refusesAnotherPayload sends what is not the document any more, under the document's SHA-256: that is
// all that a bucket is told of the content with the checksum NONE.
func refusesAnotherPayload(t *testing.T, r *s3test.Real) {
	t.Helper()
	allow, err := egress.ParseAllow("127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	uploads := delivery.NewS3(delivery.Options{Guard: egress.New(egress.Options{Allow: allow})})
	defer uploads.Close()
	document, damaged := []byte("the document"), []byte("the d0cument")
	sum := sha256.Sum256(document)
	body := &s3test.Turning{Reader: bytes.NewReader(document), Into: damaged}
	receipt, err := uploads.Put(t.Context(), delivery.Target{AccessKeyID: r.AccessKey, SecretAccessKey: root.NewSecret(r.Secret), Region: "us-east-1", Bucket: r.Bucket,
		Endpoint: r.Endpoint, ForcePathStyle: true, Checksum: root.ChecksumNone},
		delivery.Object{Body: body, Size: int64(len(document)), SHA256: hex.EncodeToString(sum[:]), Key: "damaged"})
	var failure *root.Failure
	if !errors.As(err, &failure) || failure.Code != root.FailureStorage || failure.Retryable || failure.ProviderCode != "XAmzContentSHA256Mismatch" {
		t.Errorf("%+v %v", receipt, err)
	}
}
