package delivery

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"platen"
)

// webhookPatience bounds one call of a webhook, its answer included. A receiver has
// to take the message, not to work on it.
const webhookPatience = 15 * time.Second

// Webhooks calls customers' webhooks. It is safe for concurrent use.
type Webhooks struct {
	http     *http.Client
	patience time.Duration
}

// NewWebhooks makes a Webhooks.
func NewWebhooks(o Options) *Webhooks {
	return &Webhooks{http: newClient(o), patience: webhookPatience}
}

// Close gives up idle connections.
func (w *Webhooks) Close() { w.http.CloseIdleConnections() }

// Webhook is one message.
type Webhook struct {
	URL    string
	Secret platen.Secret // whsec_...: what it is signed with
	ID     string        // the same at every attempt, so that its receiver can tell a repetition
	Body   []byte        // JSON
}

// LogValue keeps the secret, and secrets in the address, out of logs.
func (h Webhook) LogValue() slog.Value { return slog.StringValue(h.String()) }

func (h Webhook) String() string {
	return "webhook " + h.ID + " to " + platen.AddressWithoutSecrets(h.URL)
}

// GoString implements fmt.GoStringer.
func (h Webhook) GoString() string { return h.String() }

// NewWebhookSecret makes a secret of 32 random bytes in the form of Standard Webhooks.
func NewWebhookSecret() string {
	key := make([]byte, 32)
	rand.Read(key) // never fails since Go 1.24: it ends the program instead
	return "whsec_" + base64.StdEncoding.EncodeToString(key)
}

// Post sends the message once, signed as Standard Webhooks says
// (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
//
// The error is a *platen.Failure of the stage DELIVER, or ctx's own when the caller
// canceled. Every answer but 2xx is one; all are worth another attempt, as a receiver
// that is being deployed answers anything, but 410 (Gone) and redirects.
func (w *Webhooks) Post(ctx context.Context, h Webhook) (*platen.WebhookReceipt, error) {
	signer, err := standardwebhooks.NewWebhook(h.Secret.Reveal())
	if err != nil {
		return nil, fmt.Errorf("the secret of a webhook has not the form whsec_<base64>: %w", err)
	}
	at := time.Now()
	signature, err := signer.Sign(h.ID, at, h.Body)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, w.patience)
	defer cancel()
	request, err := http.NewRequestWithContext(bounded, http.MethodPost, h.URL, bytes.NewReader(h.Body))
	if err != nil {
		return nil, fail(platen.FailureRequestRejected, false, "The webhook's URL cannot be called. Correct it, then retry the action.")
	}
	request.Header = http.Header{
		"Content-Type":      {"application/json"},
		"User-Agent":        {"platen"},
		"Webhook-Id":        {h.ID},
		"Webhook-Timestamp": {strconv.FormatInt(at.Unix(), 10)},
		"Webhook-Signature": {signature},
	}
	response, err := w.http.Do(request)
	if ctx.Err() == context.Canceled {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, unheard(err, request.URL.Host)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer)) // the status counts, even if the text is cut off
	if response.StatusCode >= 200 && response.StatusCode < 300 {
		return &platen.WebhookReceipt{URL: platen.AddressWithoutSecrets(h.URL), HTTPStatus: response.StatusCode, DeliveredAt: time.Now().UTC()}, nil
	}
	return nil, refusedWebhook(response, text, request.URL.Host)
}

// unheard is about a webhook that nobody answered.
func unheard(err error, host string) *platen.Failure {
	failure := unanswered(err, host, deliveryAdvice("Correct the webhook's URL, then retry the action."))
	if failure.Code == platen.FailureNotAnS3Endpoint {
		failure.Code = platen.FailureWebhookRefused
	}
	return failure
}

func refusedWebhook(response *http.Response, text []byte, host string) *platen.Failure {
	status := response.StatusCode
	failure := fail(platen.FailureWebhookRefused, true, fmt.Sprintf("%s answered with HTTP %d instead of 2xx. It is tried again; have a look at the receiver's own log.", host, status))
	switch {
	case status >= 300 && status < 400:
		failure = fail(platen.FailureRedirected, false, fmt.Sprintf("%s redirects%s (HTTP %d). Redirects are not followed, so that no document reaches a host that nobody named. Give the webhook the right URL, then retry the action.", host, redirectTarget(response.Header.Get("Location")), status))
	case status == http.StatusGone:
		failure = fail(platen.FailureWebhookRefused, false, fmt.Sprintf("%s wants no more of these webhooks (HTTP 410). Delete or correct the integration.", host))
	}
	failure.Details, _ = json.Marshal(map[string]any{"httpStatus": status, "answer": printable(string(text), 300)})
	return failure
}

// redirectTarget names where a redirect leads, by its host alone.
func redirectTarget(location string) string {
	if u, err := url.Parse(location); err == nil && u.Host != "" {
		return " to " + printable(u.Scheme+"://"+u.Host, 200)
	}
	return ""
}
