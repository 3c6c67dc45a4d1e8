package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"platen/delivery/s3test"
)

// gate is a web server that lets requests wait until it is opened.
type gate struct {
	*httptest.Server
	opened chan struct{}
	once   sync.Once
}

// assets is the loopback address that pages of the tests may load from; 127.0.0.1
// is closed to them.
const assets = "127.0.0.2"

// listen starts a server at an address of this machine.
func listen(t *testing.T, server *httptest.Server, host string) {
	t.Helper()
	listener, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	server.Listener.Close()
	server.Listener = listener
	server.Start()
}

func newGate(t *testing.T, host string, next http.Handler) *gate {
	g := &gate{opened: make(chan struct{})}
	g.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-g.opened:
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}))
	listen(t, g.Server, host)
	t.Cleanup(func() { g.open(); g.Close() })
	return g
}

func (g *gate) open() { g.once.Do(func() { close(g.opened) }) }

// logo is a picture with colours that the tests can find again.
func logo() []byte {
	img := image.NewRGBA(image.Rect(0, 0, 120, 120))
	for y := range 120 {
		for x := range 120 {
			c := color.RGBA{47, 111, 176, 255}
			if (x-60)*(x-60)+(y-60)*(y-60) < 45*45 {
				c = color.RGBA{242, 183, 5, 255}
			}
			img.Set(x, y, c)
		}
	}
	var b bytes.Buffer
	_ = png.Encode(&b, img) // writing to memory does not fail
	return b.Bytes()
}

func invoiceData(logo string, lines int) vars {
	rows := make([]vars, lines)
	for i := range rows {
		rows[i] = vars{"text": fmt.Sprintf("Item number %d <with care>", i+1), "qty": i%7 + 1, "price": 4.5}
	}
	return vars{"number": "R-4711", "logo": logo, "seller": vars{"name": "Platen Works", "address": "1 Press Street"},
		"customer": vars{"name": "Ünal & Söhne", "address": "Straße 5"}, "lines": rows, "paid": false}
}

// TestTheMainJob is the main job end to end on real parts: a template and data
// become a PDF of three pages with an image, a table and page numbers, which lands
// in a bucket whose user may only PutObject, while a subscriber sees each state.
func TestTheMainJob(t *testing.T) {
	t.Parallel()
	p := startProgram(t, emptyFolder(t), "PLATEN_EGRESS_ALLOW=127.0.0.1", "PLATEN_RENDER_ALLOW="+assets,
		"PLATEN_BOOTSTRAP_LIVE_TOKEN=live-token-of-the-main-job", "PLATEN_BOOTSTRAP_TEST_TOKEN=test-token-of-the-main-job")
	c := &client{t: t, base: p.baseURL, live: "live-token-of-the-main-job", test: "test-token-of-the-main-job"}

	v := s3test.StartVersitygw(t, "s3:PutObject")
	target, err := url.Parse(v.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	// The host that was signed is the gate's: the proxy passes it on as it came.
	bucket := newGate(t, "127.0.0.1", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host }})
	picture := newGate(t, assets, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		_, _ = w.Write(logo())
	}))

	var integration struct {
		CreateAwsS3Integration struct {
			Integration *struct {
				ID       string
				Warnings []string
			}
			UserErrors []userError
		}
	}
	c.do(`mutation ($input: CreateAwsS3IntegrationInput!) { createAwsS3Integration(input: $input) { integration { id warnings } `+userErrors+` } }`,
		vars{"input": vars{"name": "Archive", "accessKeyId": v.AccessKey, "secretAccessKey": v.Secret, "region": "us-east-1", "bucket": v.Bucket,
			"endpoint": bucket.URL, "forcePathStyle": true,
			"pathTemplates": vars{"submission": "invoices/{{ metadata.customer }}/{{ year }}/{{ template_name }}/{{ submission_id }}.{{ extension }}"}}}, &integration)
	if integration.CreateAwsS3Integration.Integration == nil || len(integration.CreateAwsS3Integration.Integration.Warnings) != 0 {
		t.Fatalf("%+v", integration)
	}

	html, err := os.ReadFile("testdata/invoice.html")
	if err != nil {
		t.Fatal(err)
	}
	css, err := os.ReadFile("testdata/invoice.css")
	if err != nil {
		t.Fatal(err)
	}
	var template struct {
		CreateTemplate struct {
			Template *struct {
				ID            string
				LatestVersion struct{ Number int }
			}
			UserErrors []userError
		}
	}
	c.do(`mutation ($input: CreateTemplateInput!) { createTemplate(input: $input) { template { id latestVersion { number } } `+userErrors+` } }`,
		vars{"input": vars{"name": "Invoice, A4", "content": vars{"html": string(html), "css": string(css),
			"headerHtml": `<div style="text-align:right">{{ seller.name }}</div>`,
			"footerHtml": `<div style="text-align:center">Page <span class="pageNumber"></span> of <span class="totalPages"></span></div>`,
			"page":       vars{"format": "A4", "marginTop": "20mm", "marginBottom": "20mm", "marginLeft": "18mm", "marginRight": "18mm"}}}}, &template)
	if template.CreateTemplate.Template == nil || template.CreateTemplate.Template.LatestVersion.Number != 1 {
		t.Fatalf("%+v", template)
	}

	created := c.submit(vars{"templateId": template.CreateTemplate.Template.ID, "data": invoiceData(picture.URL+"/logo.png", 75),
		"metadata": vars{"customer": "Ünal & Söhne/HQ", "order": "4711"}, "wait": 0})
	if created.State != "PENDING" || len(created.Actions) != 0 || created.DownloadURL != "" || created.Final {
		t.Fatalf("accepted as %v", created)
	}

	// The subscriber sees each state while picture and bucket are held back in turn.
	s := c.subscribe(c.live, `subscription ($id: ID!) { submissionUpdated(id: $id) { kind cursor submission { ...doc } } }`+fragments, vars{"id": created.ID})
	type event struct {
		SubmissionUpdated struct {
			Kind, Cursor string
			Submission   document
		}
	}
	var pending, processed, delivered event
	if !s.next(&pending) || pending.SubmissionUpdated.Kind != "SNAPSHOT" || pending.SubmissionUpdated.Submission.State != "PENDING" ||
		len(pending.SubmissionUpdated.Submission.Actions) != 0 {
		t.Fatalf("first: %+v", pending)
	}
	picture.open()
	if !s.next(&processed) || processed.SubmissionUpdated.Kind != "CHANGED" {
		t.Fatalf("second: %+v", processed)
	}
	doc := processed.SubmissionUpdated.Submission
	if doc.State != "PROCESSED" || doc.Final || len(doc.Actions) != 1 || doc.Actions[0].State != "PENDING" || doc.Actions[0].Type != "AWS_S3_UPLOAD" ||
		doc.Actions[0].Result != nil || doc.DownloadURL == "" {
		t.Fatalf("processed: %v", doc)
	}
	// R3.3: the own copy is there, and downloads, before any upload has ended.
	_, copied := c.download(doc.DownloadURL)
	actions := c.subscribe(c.live, `subscription ($id: ID!) { actionUpdated(id: $id) { kind action { ...done } } }`+actionFragments, vars{"id": doc.Actions[0].ID})
	type actionEvent struct {
		ActionUpdated struct {
			Kind   string
			Action action
		}
	}
	var first, second actionEvent
	if !actions.next(&first) || first.ActionUpdated.Kind != "SNAPSHOT" || first.ActionUpdated.Action.State != "PENDING" {
		t.Fatalf("the action first: %+v", first)
	}
	bucket.open()
	if !s.next(&delivered) {
		t.Fatal("the subscription ended before the upload was shown")
	}
	doc = delivered.SubmissionUpdated.Submission
	if doc.State != "PROCESSED" || !doc.Final || len(doc.Actions) != 1 || doc.Actions[0].State != "PROCESSED" || doc.Actions[0].Attempts != 1 {
		t.Fatalf("delivered: %v", doc)
	}
	if s.next(&delivered) {
		t.Error("the subscription goes on after the last state")
	}
	if !actions.next(&second) || second.ActionUpdated.Action.State != "PROCESSED" || actions.next(&second) {
		t.Fatalf("the action last: %+v", second)
	}

	// The upload is in the bucket byte for byte, under the key that the path gives.
	key := fmt.Sprintf("invoices/_nal___S_hne_HQ/%d/Invoice__A4/%s.pdf", doc.ProcessedAt.Year(), doc.ID)
	receipt := doc.Actions[0].Result
	if receipt == nil || receipt.Bucket != v.Bucket || receipt.Key != key || receipt.Etag == "" || receipt.SHA256 != doc.File.SHA256 || receipt.ByteSize != doc.File.ByteSize {
		t.Errorf("receipt %+v, want the key %s", receipt, key)
	}
	uploaded, err := os.ReadFile(filepath.Join(v.Objects, key))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(uploaded)
	if !bytes.Equal(uploaded, copied) || hex.EncodeToString(sum[:]) != doc.File.SHA256 || int64(len(uploaded)) != doc.File.ByteSize {
		t.Error("the bucket, the download and the recorded hash differ")
	}
	if out := os.Getenv("TEST_KEEP"); out != "" {
		if err := os.WriteFile(out, uploaded, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	// Three pages, A4, with the image, the table and the page numbers.
	info := pdfTool(t, uploaded, "pdfinfo", "FILE")
	if doc.File.PageCount != 3 || !strings.Contains(info, "Pages:           3") || !strings.Contains(info, "(A4)") {
		t.Errorf("%d pages recorded; pdfinfo says\n%s", doc.File.PageCount, info)
	}
	words := text(t, uploaded)
	for _, want := range []string{"Invoice R-4711", "Ünal & Söhne", "Item number 75 <with care>", "Page 1 of 3", "Page 2 of 3", "Page 3 of 3", "Platen Works", "Reference 4711"} {
		if !strings.Contains(words, want) {
			t.Errorf("the text lacks %q", want)
		}
	}
	if strings.Contains(words, "TEST") {
		t.Error("R3.5: a live document carries a watermark")
	}
	if images := pdfTool(t, uploaded, "pdfimages", "-list", "FILE"); !regexp.MustCompile(`(?m)^\s+1\s.*image\s+120\s+120`).MatchString(images) {
		t.Errorf("the picture is not on page 1:\n%s", images)
	}

	// R3.5, R6.1: a test document carries a watermark and is left alone.
	trial := c.submit(vars{"html": "<h1>Offer</h1><p>Nothing to deliver.</p>", "test": true})
	if trial.State != "PROCESSED" || !trial.Final || !trial.Test || len(trial.Actions) != 0 {
		t.Fatalf("test document: %v", trial)
	}
	_, marked := c.download(trial.DownloadURL)
	if words := text(t, marked); !strings.Contains(words, "TEST") || !strings.Contains(words, "Offer") {
		t.Errorf("the test document says %q", words)
	}
	pdfTool(t, marked, "qpdf", "--check", "FILE")
	files, err := filepath.Glob(filepath.Join(v.Objects, "[^.]*")) // versitygw has a folder of its own, .sgwtmp
	if err != nil || !slices.Equal(files, []string{filepath.Join(v.Objects, "invoices"), filepath.Join(v.Objects, "templates")}) {
		t.Errorf("the bucket holds %v, %v; want the live document and its template's version alone", files, err)
	}
}
