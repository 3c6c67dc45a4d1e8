package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"platen"
	"platen/feed"
	"platen/keyring"
	"platen/pipeline"
	"platen/resolvers"
	"platen/server"
	"platen/storage"
	"platen/storage/storagetest"
)

// serve makes a server over a database that does no work besides answering. What it logs
// goes to log.
func serve(t testing.TB, db *storage.DB, log io.Writer) *server.Server {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(log, nil))
	hub, err := feed.New(t.Context(), db, logger)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keyring.Parse("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	if err != nil {
		t.Fatal(err)
	}
	p, err := pipeline.New(pipeline.Options{DB: db, Hub: hub, Keyring: keys, Log: logger, Metrics: prometheus.NewRegistry(), BaseURL: "http://platen.test"})
	if err != nil {
		t.Fatal(err)
	}
	return server.New(server.Options{Resolvers: &resolvers.Root{DB: db, Hub: hub, Pipeline: p, Log: logger}, DB: db, Pipeline: p,
		SDL: platen.SDL, Metrics: prometheus.NewRegistry(), Log: logger})
}

// request is a GraphQL request as clients send it.
func request(t testing.TB, token, query string, variables map[string]any) *http.Request {
	t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/graphql", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

// ask sends a query and expects no error.
func ask(t testing.TB, s http.Handler, token, query string, variables map[string]any) string {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, request(t, token, query, variables))
	if body := w.Body.String(); w.Code == http.StatusOK && !strings.Contains(body, `"errors"`) {
		return body
	}
	t.Fatalf("%s: status %d, %s", query, w.Code, w.Body)
	return ""
}

// crowd is an account with so many objects of every kind that lists show, each kind
// related to the others.
type crowd struct {
	token string
	ids   []string // a hundred at most, of all kinds
}

// populate makes an account with n templates with a version each, twice as many
// integrations, n batches of submissions of a template, of HTML and of an address, n
// uploads, and twice as many combined submissions. What is processed has its actions.
func populate(t testing.TB, db *storage.DB, n int) crowd {
	t.Helper()
	account, token, _ := storagetest.Account(t, db)
	ctx, made := t.Context(), map[platen.Kind][]string{platen.KindAccount: {account.ID}}
	id := func(kind platen.Kind) string {
		id := platen.NewID(kind)
		made[kind] = append(made[kind], id)
		return id
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	uploads := make([]*platen.Upload, n)
	for i := range uploads {
		uploads[i] = &platen.Upload{AccountID: account.ID, ID: id(platen.KindUpload), Filename: "a.pdf", ContentType: "application/pdf",
			ByteSize: 1, ExpiresAt: time.Now().Add(time.Hour)}
		must(db.CreateUpload(ctx, uploads[i]))
	}
	// In transactions of their own, so that each is newer than those before it.
	for i := range n {
		must(db.InTx(ctx, func(tx *storage.Tx) error {
			must(tx.CreateAPIToken(ctx, &platen.APIToken{AccountID: account.ID, Name: "t", Environment: platen.Live, Scope: platen.ScopeRead}, platen.NewTokenSecret(platen.Live)))
			template := &platen.Template{AccountID: account.ID, ID: id(platen.KindTemplate), Name: fmt.Sprint("Template ", i),
				Draft: &platen.TemplateContent{HTML: "<p>{{ n }}</p>", Page: platen.DefaultPageSettings()}}
			must(tx.CreateTemplate(ctx, template))
			version, _, err := tx.PublishTemplate(ctx, account.ID, template.ID)
			must(err)
			made[platen.KindTemplateVersion] = append(made[platen.KindTemplateVersion], version.ID)
			bucket := &platen.Integration{AccountID: account.ID, ID: id(platen.KindIntegration), Name: fmt.Sprint("Bucket ", i), Enabled: true, AppliesTo: platen.AppliesToLive,
				Secret: []byte("x"), S3: &platen.S3Settings{AccessKeyID: "k", Region: "eu-west-3", Bucket: "documents", Checksum: platen.ChecksumMD5, SubmissionPath: "{{ submission_id }}"}}
			hook := &platen.Integration{AccountID: account.ID, ID: id(platen.KindIntegration), Name: fmt.Sprint("Hook ", i), Enabled: true, AppliesTo: platen.AppliesToLive,
				Secret: []byte("x"), Webhook: &platen.WebhookSettings{URL: "https://example.com/", TemplateID: template.ID, SendWhen: platen.WhenProcessed}}
			must(tx.CreateIntegration(ctx, bucket))
			must(tx.CreateIntegration(ctx, hook))
			actions := func() []*platen.Action {
				return []*platen.Action{{ID: id(platen.KindAction), Type: platen.ActionAWSS3Upload, IntegrationID: bucket.ID, Destination: "s3://documents/a.pdf"},
					{ID: id(platen.KindAction), Type: platen.ActionWebhook, IntegrationID: hook.ID, Destination: "https://example.com/"}}
			}
			must(tx.AddVersionActions(ctx, version, actions()[:1]))
			batch := &platen.Batch{AccountID: account.ID, ID: id(platen.KindBatch), Metadata: []byte("{}")}
			must(tx.CreateBatch(ctx, batch))
			document := func(kind platen.Kind) platen.Document {
				return platen.Document{Record: platen.Record{AccountID: account.ID, ID: id(kind)}, Metadata: json.RawMessage(`{"customer":"acme"}`)}
			}
			finish := func(d platen.AnyDocument) {
				c := d.Common()
				c.State, c.ProcessedAt, c.ProcessingTimeMS = platen.DocumentProcessed, new(time.Now()), new(80)
				c.File = &platen.DocumentFile{ContentType: "application/pdf", ByteSize: 4321, PageCount: 2, SHA256: strings.Repeat("ab", 32), BlobKey: c.ID}
				must(tx.FinishDocument(ctx, d, actions()))
				upload := c.Actions[0]
				upload.State, upload.Attempts, upload.AttemptedAt = platen.ActionProcessed, 1, new(time.Now())
				upload.Upload = &platen.UploadReceipt{Bucket: "documents", Region: "eu-west-3", Key: "a.pdf", URL: "https://documents.s3.eu-west-3.amazonaws.com/a.pdf",
					ETag: "abc", ByteSize: 4321, SHA256: c.File.SHA256, UploadedAt: time.Now()}
				must(tx.UpdateAction(ctx, d, upload))
			}
			content := &platen.TemplateContent{HTML: "<p>Hello</p>", Page: platen.DefaultPageSettings()}
			submissions := []*platen.Submission{
				{Source: platen.SourceTemplate, TemplateID: template.ID, TemplateVersionID: version.ID, TemplateVersionNumber: 1, TemplateName: template.Name},
				{Source: platen.SourceHTML}, {Source: platen.SourceURL, URL: "https://example.com/"}}
			for place, s := range submissions {
				s.Document, s.Output, s.Content, s.BatchID, s.BatchIndex = document(platen.KindSubmission), platen.OutputPDF, content, batch.ID, place
				s.Data = json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))
			}
			must(tx.CreateSubmissions(ctx, submissions))
			for _, s := range submissions {
				finish(s)
			}
			part := &platen.CombinedSubmission{Document: document(platen.KindCombined), Sources: []*platen.CombinedSource{{DocumentID: submissions[0].ID},
				{DocumentID: submissions[1].ID, TemplateVersionID: version.ID}, {UploadID: uploads[i].ID}, {URL: "https://example.com/a.pdf"}}}
			whole := &platen.CombinedSubmission{Document: document(platen.KindCombined), Sources: []*platen.CombinedSource{{DocumentID: part.ID}}}
			for _, c := range []*platen.CombinedSubmission{part, whole} {
				must(tx.CreateCombinedSubmission(ctx, c))
				finish(c)
			}
			return nil
		}))
	}
	// The minute of a token's use is written once in that minute: not during the test.
	_, err := db.SQL().ExecContext(ctx, `update api_tokens set last_used_at = now() + interval '1 day' where account_id = $1`, account.ID)
	must(err)
	c := crowd{token: token}
	for _, ids := range made {
		c.ids = append(c.ids, ids[:min(len(ids), 12)]...)
	}
	return c
}

// pageOfSubmissions is the page that dashboards show.
const pageOfSubmissions = `query { submissions(first: 100) {
	totalCount pageInfo { hasNextPage endCursor }
	nodes { id state final test output metadata createdAt processedAt processingTimeMs expired revision
		file { contentType byteSize pageCount sha256 }
		failure { stage code message }
		template { id name }
		templateVersion { id number }
		batch { id state totalCount }
		actions { id type state destination attempts createdAt updatedAt revision
			integration { id name }
			result { ... on UploadReceipt { bucket key url etag byteSize } ... on WebhookReceipt { url httpStatus } } } } } }`

// lists are the lists of the contract, with every field that the database answers: how
// many statements each sends, of which one finds the token.
var lists = []struct {
	name       string
	query      string
	statements int
}{
	{"submissions", pageOfSubmissions, 8},
	{"submissions by edges", `{ submissions(first: 100) { edges { cursor node { id template { id } templateVersion { template { name } } batch { state }
		actions { id integration { id } } } } } }`, 8},
	{"submissions and around them", `{ submissions(first: 100) { nodes { template { latestVersion { template { name } } version(number: 1) { id } }
		actions(type: WEBHOOK) { subject { ... on Submission { batch { id } actions { integration { health { state } ... on WebhookIntegration { template { id } } } } } } } } } }`, 16},
	{"what submissions are made of", `{ submissions(first: 16) { nodes { data sourceHtml sourceUrl } } }`, 5},
	{"templates", `{ templates(first: 12) { totalCount nodes { draft { html } hasUnpublishedChanges latestVersion { id content { html } actions { integration { name } } }
		version(number: 1) { template { name } } versions(first: 2) { totalCount pageInfo { hasNextPage } nodes { template { name } actions { id } } } } } }`, 14},
	{"actions", `{ actions(first: 100) { totalCount nodes { integration { id health { state } ... on WebhookIntegration { template { name } } }
		subject { ... on Submission { template { name } } ... on CombinedSubmission { sources { __typename } } ... on TemplateVersion { template { name } } } } } }`, 17},
	{"integrations", `{ integrations(first: 100) { totalCount nodes { health { state } actions(first: 2, states: [PENDING, PROCESSED]) { totalCount nodes { integration { id } subject { __typename } } }
		... on WebhookIntegration { template { name } } } } }`, 18},
	{"combined submissions", `{ combinedSubmissions(first: 15) { totalCount nodes { actions { integration { id } } sources { ... on Submission { template { name } batch { id } }
		... on CombinedSubmission { state actions { id } } ... on TemplateVersion { template { name } actions { id } } ... on Upload { request { url } } } } } }`, 15},
	{"batches", `{ submissionBatches(first: 50) { totalCount nodes { id state submissions(first: 3, states: [PROCESSED]) { totalCount pageInfo { hasNextPage } nodes { template { name } actions { integration { id } } } } } } }`, 8},
	{"tokens", `{ apiTokens(first: 100) { totalCount nodes { id name lastUsedAt } } }`, 3},
	{"nodes", `query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on Submission { template { name } actions { integration { id } } } ... on CombinedSubmission { sources { __typename } }
		... on Template { latestVersion { id } } ... on TemplateVersion { template { name } } ... on Action { subject { __typename } integration { id } } ... on SubmissionBatch { state }
		... on WebhookIntegration { template { name } health { state } } ... on AwsS3Integration { health { state } } } }`, 29},
}

func TestAListSendsAFixedNumberOfStatements(t *testing.T) {
	t.Parallel()
	db, statements := storagetest.Counted(t)
	s := serve(t, db, io.Discard)
	few, many := populate(t, db, 1), populate(t, db, 100)
	for _, list := range lists {
		t.Run(list.name, func(t *testing.T) {
			send := func(of crowd) (answer string, sent []string) {
				answer = ask(t, s, of.token, list.query, map[string]any{"ids": of.ids})
				return answer, statements()
			}
			statements() // of a query that failed before
			small, one := send(few)
			large, hundred := send(many)
			if len(large) < 3*len(small) {
				t.Errorf("the page is no larger with a hundred: %s", large)
			}
			if len(one) != len(hundred) || len(hundred) != list.statements {
				t.Errorf("%d statements for one, %d for a hundred, want %d:\n%s", len(one), len(hundred), list.statements, counted(hundred))
			}
		})
	}
}

func TestAFailedReadIsLoggedOnceForAllWhoNeededIt(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	of := populate(t, db, 5)
	if _, err := db.SQL().ExecContext(t.Context(), "alter table integrations rename to lost"); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer // written to by one at a time: slog sees to that
	s := serve(t, db, &log)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, request(t, of.token, pageOfSubmissions, nil))
	if told, logged := strings.Count(w.Body.String(), `"INTERNAL"`), strings.Count(log.String(), "a request failed"); told != 30 || logged != 1 {
		t.Errorf("told %d, logged %d: %s", told, logged, log.String())
	}
}

// counted tells how often each statement was sent.
func counted(statements []string) string {
	times := map[string]int{}
	for _, statement := range statements {
		times[strings.Join(strings.Fields(statement), " ")]++
	}
	var lines []string
	for statement, n := range times {
		lines = append(lines, fmt.Sprintf("%4d  %.300s", n, statement))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
