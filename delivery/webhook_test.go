package delivery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"platen"
	"platen/egress"
)

// receiver keeps what was posted to it.
type receiver struct {
	*httptest.Server
	mu   sync.Mutex
	kept []received
}

// posts are the requests so far.
func (r *receiver) posts() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.kept)
}

type received struct {
	method string
	header http.Header
	body   []byte
}

func newReceiver(t *testing.T, answer http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		r.mu.Lock()
		r.kept = append(r.kept, received{request.Method, request.Header, body})
		r.mu.Unlock()
		answer(w, request)
	}))
	t.Cleanup(r.Close)
	return r
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func webhooks(t *testing.T) *Webhooks {
	t.Helper()
	w := NewWebhooks(Options{Guard: loopback(t)})
	t.Cleanup(w.Close)
	return w
}

func TestR6_6AWebhookIsSignedByTheStandard(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, status(http.StatusAccepted))
	secret := NewWebhookSecret()
	h := Webhook{URL: r.URL + "/hook?key=hidden", Secret: platen.NewSecret(secret), ID: "act_1", Body: []byte(`{"submission":{"id":"sub_ü"}}`)}
	receipt, err := webhooks(t).Post(t.Context(), h)
	if err != nil || receipt.HTTPStatus != http.StatusAccepted || receipt.URL != r.URL+"/hook" || receipt.DeliveredAt.IsZero() {
		t.Fatalf("%+v %v", receipt, err)
	}
	post := r.posts()[0]
	if post.method != http.MethodPost || !bytes.Equal(post.body, h.Body) || post.header.Get("Content-Type") != "application/json" || post.header.Get("webhook-id") != "act_1" {
		t.Errorf("%+v", post)
	}
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifier.Verify(post.body, post.header); err != nil {
		t.Error(err)
	}
	// The code that docs/webhooks.md shows comes to the same.
	genuine := func(secret string, header http.Header, body []byte) string {
		headers := map[string]string{}
		for name := range header {
			headers[strings.ToLower(name)] = header.Get(name)
		}
		given, _ := json.Marshal(map[string]any{"secret": secret, "headers": headers, "body": string(body)})
		return node(t, given, "-e", `const { isGenuine } = require("./testdata/verify.js"); const g = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
			console.log(isGenuine(g.secret, g.headers, Buffer.from(g.body)))`)
	}
	if got := genuine(secret, post.header, post.body); got != "true" {
		t.Errorf("the request is not genuine to the documented check: %s", got)
	}
	old := post.header.Clone()
	old.Set("webhook-timestamp", fmt.Sprint(time.Now().Add(-6*time.Minute).Unix()))
	other := post.header.Clone()
	other.Set("webhook-id", "act_2")
	for name, got := range map[string]string{
		"another secret": genuine(NewWebhookSecret(), post.header, post.body), "another body": genuine(secret, post.header, []byte("{}")),
		"an old time": genuine(secret, old, post.body), "another id": genuine(secret, other, post.body),
	} {
		if got != "false" {
			t.Errorf("with %s: %s", name, got)
		}
	}
}

// node runs JavaScript with the input and returns what it prints.
func node(t *testing.T, input []byte, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", args...)
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestR6_6WhatIsNot2xxIsAFailure(t *testing.T) {
	t.Parallel()
	var redirected atomic.Bool
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { redirected.Store(true) }))
	t.Cleanup(target.Close)
	for name, test := range map[string]struct {
		answer    http.HandlerFunc
		code      platen.FailureCode
		retryable bool
	}{
		"404":      {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no such\x00route", 404) }, platen.FailureWebhookRefused, true},
		"500":      {status(500), platen.FailureWebhookRefused, true},
		"429":      {status(429), platen.FailureWebhookRefused, true},
		"410":      {status(410), platen.FailureWebhookRefused, false},
		"302":      {http.RedirectHandler(target.URL+"/x?token=t", http.StatusFound).ServeHTTP, platen.FailureRedirected, false},
		"307":      {http.RedirectHandler(target.URL, http.StatusTemporaryRedirect).ServeHTTP, platen.FailureRedirected, false},
		"cut off":  {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, platen.FailureConnectionFailed, true},
		"no HTTP":  {func(w http.ResponseWriter, _ *http.Request) { say(w, "220 mail.example.com ESMTP\r\n") }, platen.FailureWebhookRefused, false},
		"too late": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, platen.FailureTimeout, true},
	} {
		r := newReceiver(t, test.answer)
		w := webhooks(t)
		if name == "too late" {
			w.patience = 50 * time.Millisecond
		}
		_, err := w.Post(t.Context(), Webhook{URL: r.URL + "/?key=hidden", Secret: platen.NewSecret(NewWebhookSecret()), ID: "act_1", Body: []byte("{}")})
		var failure *platen.Failure
		if !errors.As(err, &failure) || failure.Code != test.code || failure.Retryable != test.retryable || failure.Stage != platen.StageDeliver || failure.Message == "" {
			t.Errorf("%s: %+v", name, err)
			continue
		}
		if text, _ := json.Marshal(failure); strings.Contains(string(text), "hidden") || strings.Contains(string(text), "token=t") {
			t.Errorf("%s: a secret is shown: %s", name, text)
		}
		if len(r.posts()) != 1 {
			t.Errorf("%s: posted %d times", name, len(r.posts()))
		}
	}
	if redirected.Load() {
		t.Error("a redirect was followed")
	}
}

// say answers with bytes that are no HTTP.
func say(w http.ResponseWriter, text string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_, _ = io.WriteString(conn, text)
		conn.Close()
	}
}

func TestR6_6AWebhookReachesOnlyWhatItMay(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, status(200))
	secure := httptest.NewTLSServer(status(200))
	t.Cleanup(secure.Close)
	strict := NewWebhooks(Options{Guard: egress.New(egress.Options{Setting: "PLATEN_EGRESS_ALLOW"})})
	t.Cleanup(strict.Close)
	for _, test := range []struct {
		by   *Webhooks
		url  string
		code platen.FailureCode
	}{{strict, r.URL, platen.FailureEgressDenied}, {webhooks(t), secure.URL, platen.FailureTLS}} {
		_, err := test.by.Post(t.Context(), Webhook{URL: test.url, Secret: platen.NewSecret(NewWebhookSecret()), ID: "act_1"})
		var failure *platen.Failure
		if !errors.As(err, &failure) || failure.Code != test.code {
			t.Errorf("%s: %v, want %s", test.url, err, test.code)
		}
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := webhooks(t).Post(canceled, Webhook{URL: r.URL, Secret: platen.NewSecret(NewWebhookSecret()), ID: "act_1"}); err != context.Canceled {
		t.Errorf("canceled: %v", err)
	}
	h := Webhook{URL: "https://user:word@example.com/a?key=hidden", Secret: platen.NewSecret("whsec_hidden"), ID: "act_1"}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "webhook", h)
	if text := fmt.Sprintf("%v %+v %#v %s %s", h, h, h, h, log.String()); strings.Contains(text, "hidden") || strings.Contains(text, "word") {
		t.Error(text)
	}
}

func TestR6_6DocSpringsCheckRunsUnchanged(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 10, 0, 0, 5e6, time.FixedZone("", 3600))
	s := &platen.Submission{Document: platen.Document{Record: platen.Record{ID: "sub_1"}, State: platen.DocumentProcessed, Metadata: json.RawMessage(`{"a":1.50}`), CreatedAt: at}}
	check := func(want string, actions ...*platen.Action) []byte {
		t.Helper()
		s.Actions = actions
		body, err := DocumentPayload(s, "https://platen.example.com/files/x?signature=a&b")
		if err != nil {
			t.Fatal(err)
		}
		if got := node(t, body, "testdata/docspring-check.js"); got != want {
			t.Errorf("%s, want %s of %s", got, want, body)
		}
		return body
	}
	hook := &platen.Action{ID: "act_0", Type: platen.ActionWebhook, State: platen.ActionPending}
	upload := &platen.Action{ID: "act_1", Type: platen.ActionAWSS3Upload, State: platen.ActionPending, IntegrationID: "int_1"}
	check("false")
	check("false", hook)
	check("false", hook, upload)
	upload.State, upload.Failure = platen.ActionFailed, &platen.Failure{Stage: platen.StageDeliver, Code: platen.FailureNoSuchBucket, Message: "no <bucket>", OccurredAt: at}
	body := check("false", upload)
	for _, part := range []string{`"error_message":"no <bucket>"`, `"code":"NO_SUCH_BUCKET"`, `"stage":"deliver"`, `"action_category":"file_upload"`, `"result_data":null`,
		`"metadata":{"a":1.50}`, `"data":null`, `"template_id":null`, `"created_at":"2026-11-24T09:00:00.005Z"`, `"download_url":"https://platen.example.com/files/x?signature=a&b"`} {
		if !strings.Contains(string(body), part) {
			t.Errorf("%s is not in %s", part, body)
		}
	}
	upload.State, upload.Failure = platen.ActionProcessed, nil
	upload.Upload = &platen.UploadReceipt{Bucket: "b", Key: "k", Region: "eu-west-3", URL: "https://b.example.com/k", ETag: "e", ByteSize: 7, SHA256: "s", UploadedAt: at}
	s.File = &platen.DocumentFile{ContentType: "application/pdf", ByteSize: 7, PageCount: 2, SHA256: "s"}
	body = check("true", hook, upload)
	for _, part := range []string{`"s3_bucket":"b"`, `"s3_key":"k"`, `"s3_region":"eu-west-3"`, `"s3_url":"https://b.example.com/k"`, `"etag":"e"`, `"version_id":null`, `"page_count":2`, `"byte_size":7`} {
		if !strings.Contains(string(body), part) {
			t.Errorf("%s is not in %s", part, body)
		}
	}
	s.State, s.File, s.Actions = platen.DocumentFailed, nil, nil
	if body, err := DocumentPayload(s, ""); err != nil || !strings.Contains(string(body), `"actions":[]`) || !strings.Contains(string(body), `"download_url":null`) || !strings.Contains(string(body), `"state":"failed"`) {
		t.Errorf("%s %v", body, err)
	}
}
