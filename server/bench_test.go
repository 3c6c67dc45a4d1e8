package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"platen"
	"platen/bench"
	"platen/storage"
	"platen/storage/storagetest"
)

// instant is a time as the contract writes it.
type instant time.Time

func (i instant) MarshalText() ([]byte, error) {
	return time.Time(i).UTC().AppendFormat(nil, "2006-01-02T15:04:05.000Z"), nil
}

// The answer to pageOfSubmissions.
type (
	handPage struct {
		Data struct {
			Submissions struct {
				TotalCount int              `json:"totalCount"`
				PageInfo   handPageInfo     `json:"pageInfo"`
				Nodes      []handSubmission `json:"nodes"`
			} `json:"submissions"`
		} `json:"data"`
	}
	handPageInfo struct {
		HasNextPage bool    `json:"hasNextPage"`
		EndCursor   *string `json:"endCursor"`
	}
	handSubmission struct {
		ID               string               `json:"id"`
		State            platen.DocumentState `json:"state"`
		Final            bool                 `json:"final"`
		Test             bool                 `json:"test"`
		Output           platen.OutputKind    `json:"output"`
		Metadata         json.RawMessage      `json:"metadata"`
		CreatedAt        instant              `json:"createdAt"`
		ProcessedAt      *instant             `json:"processedAt"`
		ProcessingTimeMS *int                 `json:"processingTimeMs"`
		Expired          bool                 `json:"expired"`
		Revision         int                  `json:"revision"`
		File             *handFile            `json:"file"`
		Failure          *handFailure         `json:"failure"`
		Template         *handTemplate        `json:"template"`
		TemplateVersion  *handVersion         `json:"templateVersion"`
		Batch            *handBatch           `json:"batch"`
		Actions          []handAction         `json:"actions"`
	}
	handFile struct {
		ContentType string `json:"contentType"`
		ByteSize    int64  `json:"byteSize"`
		PageCount   *int   `json:"pageCount"`
		SHA256      string `json:"sha256"`
	}
	handFailure struct {
		Stage   platen.FailureStage `json:"stage"`
		Code    platen.FailureCode  `json:"code"`
		Message string              `json:"message"`
	}
	handTemplate struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	handVersion struct {
		ID     string `json:"id"`
		Number int    `json:"number"`
	}
	handBatch struct {
		ID         string            `json:"id"`
		State      platen.BatchState `json:"state"`
		TotalCount int               `json:"totalCount"`
	}
	handAction struct {
		ID          string             `json:"id"`
		Type        platen.ActionType  `json:"type"`
		State       platen.ActionState `json:"state"`
		Destination *string            `json:"destination"`
		Attempts    int                `json:"attempts"`
		CreatedAt   instant            `json:"createdAt"`
		UpdatedAt   instant            `json:"updatedAt"`
		Revision    int                `json:"revision"`
		Integration *handTemplate      `json:"integration"`
		Result      any                `json:"result"`
	}
	handUpload struct {
		Bucket   *string `json:"bucket"`
		Key      *string `json:"key"`
		URL      string  `json:"url"`
		ETag     *string `json:"etag"`
		ByteSize int64   `json:"byteSize"`
	}
	handWebhook struct {
		URL        string `json:"url"`
		HTTPStatus int    `json:"httpStatus"`
	}
)

// handwritten answers pageOfSubmissions as somebody would who had to answer nothing else:
// with the same statements, one after the other, and encoding/json.
type handwritten struct{ db *storage.DB }

func (h handwritten) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := h.answer(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

func (h handwritten) answer(r *http.Request) (*handPage, error) {
	ctx := r.Context()
	token, err := h.db.APITokenBySecret(ctx, platen.HashTokenSecret(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")))
	if err != nil {
		return nil, err
	}
	scope := storage.Scope{AccountID: token.AccountID, TestOnly: token.TestOnly()}
	rows, info, err := h.db.Submissions(ctx, scope, platen.SubmissionFilter{}, storage.Page{First: 100})
	if err != nil {
		return nil, err
	}
	page := new(handPage)
	shown := &page.Data.Submissions
	if shown.TotalCount, err = h.db.CountSubmissions(ctx, scope, platen.SubmissionFilter{}); err != nil {
		return nil, err
	}
	var all, templateIDs, versionIDs, batchIDs, integrationIDs []string
	for _, s := range rows {
		all, templateIDs, versionIDs, batchIDs = append(all, s.ID), append(templateIDs, s.TemplateID), append(versionIDs, s.TemplateVersionID), append(batchIDs, s.BatchID)
	}
	templates, err := h.db.TemplatesByID(ctx, scope.AccountID, templateIDs)
	if err != nil {
		return nil, err
	}
	versions, err := h.db.TemplateVersionsByID(ctx, scope.AccountID, versionIDs)
	if err != nil {
		return nil, err
	}
	batches, err := h.db.BatchesByID(ctx, scope, batchIDs)
	if err != nil {
		return nil, err
	}
	actions, err := h.db.ActionsOf(ctx, scope.AccountID, all)
	if err != nil {
		return nil, err
	}
	for _, of := range actions {
		for _, a := range of {
			integrationIDs = append(integrationIDs, a.IntegrationID)
		}
	}
	integrations, err := h.db.IntegrationsByID(ctx, scope.AccountID, integrationIDs)
	if err != nil {
		return nil, err
	}
	orNull := func(text string) *string {
		if text == "" {
			return nil
		}
		return &text
	}
	shown.PageInfo.HasNextPage = info.HasNext
	shown.Nodes = make([]handSubmission, len(rows))
	for i, s := range rows {
		n := &shown.Nodes[i]
		*n = handSubmission{ID: s.ID, State: s.State, Final: s.Final(), Test: s.Test, Output: s.Output, Metadata: s.Metadata, CreatedAt: instant(s.CreatedAt),
			ProcessedAt: (*instant)(s.ProcessedAt), ProcessingTimeMS: s.ProcessingTimeMS, Expired: s.ExpiredAt != nil, Revision: s.Revision}
		if f := s.File; f != nil {
			n.File = &handFile{ContentType: f.ContentType, ByteSize: f.ByteSize, PageCount: &f.PageCount, SHA256: f.SHA256}
		}
		if f := s.Failure; f != nil {
			n.Failure = &handFailure{Stage: f.Stage, Code: f.Code, Message: f.Message}
		}
		if t := templates[s.TemplateID]; t != nil {
			n.Template = &handTemplate{ID: t.ID, Name: t.Name}
		}
		if v := versions[s.TemplateVersionID]; v != nil {
			n.TemplateVersion = &handVersion{ID: v.ID, Number: v.Number}
		}
		if b := batches[s.BatchID]; b != nil {
			n.Batch = &handBatch{ID: b.ID, State: b.State(), TotalCount: b.Total}
		}
		n.Actions = make([]handAction, len(actions[s.ID]))
		for j, a := range actions[s.ID] {
			n.Actions[j] = handAction{ID: a.ID, Type: a.Type, State: a.State, Destination: orNull(a.Destination), Attempts: a.Attempts,
				CreatedAt: instant(a.CreatedAt), UpdatedAt: instant(a.UpdatedAt), Revision: a.Revision}
			if of := integrations[a.IntegrationID]; of != nil {
				n.Actions[j].Integration = &handTemplate{ID: of.ID, Name: of.Name}
			}
			switch {
			case a.Upload != nil:
				n.Actions[j].Result = handUpload{Bucket: orNull(a.Upload.Bucket), Key: orNull(a.Upload.Key), URL: a.Upload.URL, ETag: orNull(a.Upload.ETag), ByteSize: a.Upload.ByteSize}
			case a.Webhook != nil:
				n.Actions[j].Result = handWebhook{URL: a.Webhook.URL, HTTPStatus: a.Webhook.HTTPStatus}
			}
		}
		shown.PageInfo.EndCursor = new(storage.Cursor(s.CreatedAt, s.ID))
	}
	return page, nil
}

// It is compared by TestBenchAPageOf100Submissions: that is worth something while it does
// the same.
func TestTheHandwrittenPageIsThatOfGraphQL(t *testing.T) {
	t.Parallel()
	db, statements := storagetest.Counted(t)
	of := populate(t, db, 40)
	var values []any
	for _, handler := range []http.Handler{serve(t, db, io.Discard), handwritten{db}} {
		statements()
		text := ask(t, handler, of.token, pageOfSubmissions, nil)
		if sent := statements(); len(sent) != lists[0].statements {
			t.Errorf("%T sends %d statements:\n%s", handler, len(sent), counted(sent))
		}
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		values = append(values, value)
	}
	if !reflect.DeepEqual(values[0], values[1]) {
		t.Errorf("the answers are not the same:\n%v\n%v", values[0], values[1])
	}
}

// What it costs that GraphQL answers the page of a dashboard, and not a handler for it.
func BenchmarkAPageOf100Submissions(b *testing.B) {
	db := storagetest.New(b)
	of := populate(b, db, 40)
	handlers := map[string]http.Handler{"graphql": serve(b, db, io.Discard), "handwritten": handwritten{db}}
	for _, name := range []string{"graphql", "handwritten"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				handlers[name].ServeHTTP(w, request(b, of.token, pageOfSubmissions, nil))
				if w.Code != http.StatusOK {
					b.Fatal(w.Body)
				}
			}
		})
	}
}

// The same in the table of `make bench`: what this process computes for a page, the driver of the database included.
func TestBenchAPageOf100Submissions(t *testing.T) {
	bench.Alone(t)
	db := storagetest.New(t)
	of := populate(t, db, 40)
	computing := func(handler http.Handler) func() float64 {
		pages := bench.Pick(2, 60)
		return func() float64 {
			before := computed(t)
			for range pages {
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, request(t, of.token, pageOfSubmissions, nil))
				if w.Code != http.StatusOK {
					t.Fatal(w.Body)
				}
			}
			return (computed(t) - before).Seconds() * 1000 / float64(pages)
		}
	}
	ours, floor := computing(serve(t, db, io.Discard)), computing(handwritten{db})
	bench.Interleave(1, ours, floor) // warm
	measured := bench.Interleave(bench.Pick(1, 11), ours, floor)
	bench.Row{Name: "(f) page of 100 submissions with actions over a handler written for it", Unit: "CPU ms", Ours: measured[0], Floor: measured[1], Goal: "5"}.Print(t)
}

// computed is for how long this process has computed.
func computed(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
