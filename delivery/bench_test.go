package delivery

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"platen/bench"
)

// TestBenchUploads compares an upload with the least that a bucket takes: one signed PUT whose sums are known,
// from the same file by a client of net/http. The bucket checks signature, SHA-256 and MD5 in this process, on the same cores.
func TestBenchUploads(t *testing.T) {
	bench.Alone(t)
	for _, row := range []struct {
		name, goal           string
		size, count, callers int
	}{
		{"(c) uploads of 60 KB", "0.8", 60 << 10, bench.Pick(20, 2000), 8},
		{"(c) uploads of 200 MB", "0.95", bench.Pick(2<<20, 200<<20), bench.Pick(1, 4), 1},
	} {
		server, s, target := bucket(t)
		body := content(row.size)
		path := filepath.Join(t.TempDir(), "document.pdf")
		if err := os.WriteFile(path, body, 0o600); err != nil {
			t.Fatal(err)
		}
		o := object("a/b.pdf", body)
		sum := md5.Sum(body)
		o.MD5 = hex.EncodeToString(sum[:]) // as the pipeline knows it
		raw := &rawPut{target: target, sha256: o.SHA256, md5: base64.StdEncoding.EncodeToString(sum[:]), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: row.callers, WriteBufferSize: 64 << 10}}}
		perSecond := func(put func(file *os.File) error) func() float64 {
			return func() float64 { return timesPerSecond(t, path, row.callers, row.count, put) }
		}
		ours := perSecond(func(file *os.File) error {
			one := o
			one.Body = file
			_, err := s.Put(t.Context(), target, one)
			return err
		})
		floor := perSecond(func(file *os.File) error { return raw.put(file, int64(row.size)) })
		bench.Interleave(1, ours, floor) // warm
		measured := bench.Interleave(bench.Pick(1, 9), ours, floor)
		bench.Row{Name: row.name, Unit: "uploads/s", Ours: measured[0], Floor: measured[1], Goal: row.goal, Note: fmt.Sprintf("%d at a time", row.callers)}.Print(t)
		if stored, _ := server.Object("docs", "a/b.pdf"); !bytes.Equal(stored.Body, body) {
			t.Error("the bucket holds other bytes")
		}
	}
}

// timesPerSecond does something with a file of its own, so many times in all.
func timesPerSecond(t *testing.T, path string, callers, count int, put func(*os.File) error) float64 {
	t.Helper()
	var left atomic.Int64
	left.Store(int64(count))
	var all sync.WaitGroup
	start := time.Now()
	for range callers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				file, err := os.Open(path)
				if err == nil {
					err = put(file)
					file.Close()
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	return float64(count) / time.Since(start).Seconds()
}

// rawPut is a client that does nothing but what S3 asks for.
type rawPut struct {
	target      Target
	sha256, md5 string
	client      *http.Client
}

func (r *rawPut) put(file *os.File, size int64) error {
	request, err := http.NewRequest(http.MethodPut, r.target.Endpoint+"/"+r.target.Bucket+"/a/b.pdf", file)
	if err != nil {
		return err
	}
	request.ContentLength = size
	request.Header.Set("Content-Type", "application/pdf")
	request.Header.Set("Content-MD5", r.md5)
	request.Header.Set("X-Amz-Content-Sha256", r.sha256)
	keys := aws.Credentials{AccessKeyID: r.target.AccessKeyID, SecretAccessKey: r.target.SecretAccessKey.Reveal()}
	if err := v4.NewSigner().SignHTTP(request.Context(), keys, request, r.sha256, "s3", r.target.Region, time.Now()); err != nil {
		return err
	}
	response, err := r.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, answer)
	}
	return err
}
