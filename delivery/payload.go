package delivery

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"platen"
)

// DocumentPayload is the body of a webhook about a document with its actions, under
// submission or combined_submission: keys in snake_case, values of enumerations in lower
// case, as clients of DocSpring expect them (R6.6). docs/webhooks.md describes it. Of a
// combined submission, downloadURL and sources are those of now.
func DocumentPayload(document platen.AnyDocument, downloadURL string) ([]byte, error) {
	d := document.Common()
	body := documentBody{
		ID: d.ID, State: strings.ToLower(string(d.State)), Test: d.Test, ExpiresAt: instantOf(d.ExpiresAt), Expired: d.ExpiredAt != nil,
		Metadata: d.Metadata, DownloadURL: orNull(downloadURL), Failure: failureOf(d.Failure), CreatedAt: instant(d.CreatedAt),
		ProcessedAt: instantOf(d.ProcessedAt), ProcessingTimeMS: d.ProcessingTimeMS, Revision: d.Revision, Actions: []actionBody{},
	}
	if f := d.File; f != nil {
		body.ContentType, body.ByteSize, body.PageCount, body.SHA256 = orNull(f.ContentType), orNull(f.ByteSize), orNull(f.PageCount), orNull(f.SHA256)
	}
	for _, a := range d.Actions {
		body.Actions = append(body.Actions, bodyOf(a))
	}
	switch of := document.(type) {
	case *platen.Submission:
		return encode(map[string]any{"submission": submissionBody{documentBody: body, TemplateID: orNull(of.TemplateID),
			TemplateVersion: orNull(of.TemplateVersionNumber), BatchID: orNull(of.BatchID), Output: strings.ToLower(string(of.Output)), Data: of.Data}})
	case *platen.CombinedSubmission:
		combined := combinedBody{documentBody: body, Sources: []sourceBody{}}
		for _, s := range of.Sources {
			combined.Sources = append(combined.Sources, bodyOfSource(s))
		}
		return encode(map[string]any{"combined_submission": combined})
	}
	return nil, fmt.Errorf("%T is a document of no kind that webhooks know", document)
}

// PingPayload is the body of the webhook that tests an integration.
func PingPayload(integrationID string, at time.Time) ([]byte, error) {
	return encode(map[string]any{"ping": struct {
		IntegrationID string `json:"integration_id"`
		SentAt        string `json:"sent_at"`
	}{integrationID, instant(at)}})
}

type documentBody struct {
	ID               string          `json:"id"`
	State            string          `json:"state"`
	Test             bool            `json:"test"`
	Metadata         json.RawMessage `json:"metadata"`
	DownloadURL      *string         `json:"download_url"`
	ContentType      *string         `json:"content_type"`
	ByteSize         *int64          `json:"byte_size"`
	PageCount        *int            `json:"page_count"`
	SHA256           *string         `json:"sha256"`
	Failure          *failureBody    `json:"failure"`
	CreatedAt        string          `json:"created_at"`
	ProcessedAt      *string         `json:"processed_at"`
	ProcessingTimeMS *int            `json:"processing_time_ms"`
	ExpiresAt        *string         `json:"expires_at"`
	Expired          bool            `json:"expired"`
	Revision         int             `json:"revision"`
	Actions          []actionBody    `json:"actions"`
}

type submissionBody struct {
	documentBody
	TemplateID      *string         `json:"template_id"`
	TemplateVersion *int            `json:"template_version"`
	BatchID         *string         `json:"batch_id"`
	Output          string          `json:"output"`
	Data            json.RawMessage `json:"data"`
}

type combinedBody struct {
	documentBody
	Sources []sourceBody `json:"sources"`
}

// sourceBody is one source of a combined submission; only what it is is set.
type sourceBody struct {
	SubmissionID         string `json:"submission_id,omitempty"`
	CombinedSubmissionID string `json:"combined_submission_id,omitempty"`
	TemplateVersionID    string `json:"template_version_id,omitempty"`
	UploadID             string `json:"upload_id,omitempty"`
	URL                  string `json:"url,omitempty"` // without its query
}

func bodyOfSource(s *platen.CombinedSource) sourceBody {
	body := sourceBody{TemplateVersionID: s.TemplateVersionID, UploadID: s.UploadID, URL: s.URL}
	switch {
	case s.TemplateVersionID != "": // what was made of it is nobody's to see
	case platen.KindOf(s.DocumentID) == platen.KindCombined:
		body.CombinedSubmissionID = s.DocumentID
	default:
		body.SubmissionID = s.DocumentID
	}
	return body
}

type actionBody struct {
	ID             string       `json:"id"`
	IntegrationID  *string      `json:"integration_id"`
	ActionType     string       `json:"action_type"`
	ActionCategory string       `json:"action_category"`
	State          string       `json:"state"`
	Attempts       int          `json:"attempts"`
	NextAttemptAt  *string      `json:"next_attempt_at"`
	Destination    *string      `json:"destination"`
	ResultData     any          `json:"result_data"`
	Failure        *failureBody `json:"failure"`
	ErrorMessage   *string      `json:"error_message"`
	CreatedAt      string       `json:"created_at"`
	UpdatedAt      string       `json:"updated_at"`
}

type uploadBody struct {
	Bucket     *string `json:"s3_bucket"`
	Key        *string `json:"s3_key"`
	Region     *string `json:"s3_region"`
	URL        string  `json:"s3_url"`
	ETag       *string `json:"etag"`
	VersionID  *string `json:"version_id"`
	ByteSize   int64   `json:"byte_size"`
	SHA256     string  `json:"sha256"`
	UploadedAt string  `json:"uploaded_at"`
}

type webhookBody struct {
	URL         string `json:"url"`
	HTTPStatus  int    `json:"http_status"`
	DeliveredAt string `json:"delivered_at"`
}

// failureBody keeps the code as docs/failures.md lists it.
type failureBody struct {
	Stage        string          `json:"stage"`
	Code         string          `json:"code"`
	Message      string          `json:"message"`
	Retryable    bool            `json:"retryable"`
	OccurredAt   string          `json:"occurred_at"`
	Path         []string        `json:"path"`
	Line         *int            `json:"line"`
	Column       *int            `json:"column"`
	ProviderCode *string         `json:"provider_code"`
	Details      json.RawMessage `json:"details"`
	// DataErrors have keys of one word each, which are snake_case as they are.
	DataErrors []platen.DataError `json:"data_errors"`
}

func bodyOf(a *platen.Action) actionBody {
	body := actionBody{
		ID: a.ID, IntegrationID: orNull(a.IntegrationID), ActionType: strings.ToLower(string(a.Type)), ActionCategory: "file_upload",
		State: strings.ToLower(string(a.State)), Attempts: a.Attempts, NextAttemptAt: instantOf(a.NextAttemptAt), Destination: orNull(a.Destination),
		Failure: failureOf(a.Failure), CreatedAt: instant(a.CreatedAt), UpdatedAt: instant(a.UpdatedAt),
	}
	if a.Type == platen.ActionWebhook {
		body.ActionCategory = "notification"
	}
	if r := a.Upload; r != nil {
		body.ResultData = uploadBody{orNull(r.Bucket), orNull(r.Key), orNull(r.Region), r.URL, orNull(r.ETag), orNull(r.VersionID), r.ByteSize, r.SHA256, instant(r.UploadedAt)}
	}
	if r := a.Webhook; r != nil {
		body.ResultData = webhookBody{r.URL, r.HTTPStatus, instant(r.DeliveredAt)}
	}
	if a.Failure != nil {
		body.ErrorMessage = &a.Failure.Message
	}
	return body
}

func failureOf(f *platen.Failure) *failureBody {
	if f == nil {
		return nil
	}
	return &failureBody{strings.ToLower(string(f.Stage)), string(f.Code), f.Message, f.Retryable, instant(f.OccurredAt), f.Path, orNull(f.Line), orNull(f.Column), orNull(f.ProviderCode), f.Details, f.DataErrors}
}

// instant is a time as the API shows it: RFC 3339 with milliseconds, in UTC.
func instant(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z") }

func instantOf(at *time.Time) *string {
	if at == nil {
		return nil
	}
	text := instant(*at)
	return &text
}

// orNull is nil for the zero value, which JSON shows as null.
func orNull[T comparable](value T) *T {
	var zero T
	if value == zero {
		return nil
	}
	return &value
}

// encode leaves < and & as they are: a body is no part of a web page.
func encode(body any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(body)
	return bytes.TrimRight(text.Bytes(), "\n"), err
}
