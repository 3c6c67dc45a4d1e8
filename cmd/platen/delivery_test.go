package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"platen/delivery/s3test"
)

// change calls a mutation of one object with the live token, and returns its payload
// and its userErrors.
func (c *client) change(token, mutation string, variables vars, into any) []userError {
	c.t.Helper()
	a := c.ask(token, mutation, variables)
	if len(a.Errors) > 0 {
		c.t.Fatalf("%s\nerrors: %+v", mutation, a.Errors)
	}
	var payload map[string]json.RawMessage
	if err := json.Unmarshal(a.Data, &payload); err != nil {
		c.t.Fatal(err)
	}
	var refused struct{ UserErrors []userError }
	for _, raw := range payload {
		if err := json.Unmarshal(raw, &refused); err != nil {
			c.t.Fatal(err)
		}
		if into != nil {
			if err := json.Unmarshal(raw, into); err != nil {
				c.t.Fatal(err)
			}
		}
	}
	return refused.UserErrors
}

const updateS3 = `mutation ($id: ID!, $input: UpdateAwsS3IntegrationInput!) { updateAwsS3Integration(id: $id, input: $input) { integration { ...s3 } ` + userErrors + ` } }
fragment s3 on AwsS3Integration { id name enabled appliesTo accessKeyId secretAccessKeySetAt region bucket endpoint forcePathStyle storageClass
	serverSideEncryption kmsKeyId checksum warnings pathTemplates { submission testSubmission combinedSubmission testCombinedSubmission templateVersion } }`

type s3Integration struct {
	Integration *struct {
		ID, Name, AppliesTo, AccessKeyID, Region, Bucket, Endpoint string
		StorageClass, ServerSideEncryption, KmsKeyID, Checksum     string
		Enabled, ForcePathStyle                                    bool
		SecretAccessKeySetAt                                       time.Time
		Warnings                                                   []string
		PathTemplates                                              struct{ Submission, TestSubmission, CombinedSubmission, TestCombinedSubmission, TemplateVersion *string }
	}
}

func TestR5_1AnIntegrationIsChangedFieldByField(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "archive", "second")
	id := c.integrate(server, "archive", vars{"storageClass": "STANDARD_IA", "serverSideEncryption": "aws:kms", "kmsKeyId": "alias/documents", "checksum": "SHA256"})
	doc := c.final(c.submit(vars{"html": "<p>x</p>", "wait": 0}).ID)
	stored, ok := server.Object("archive", "html/"+doc.ID+".pdf")
	if !ok {
		t.Fatalf("%v", doc)
	}
	for name, want := range map[string]string{"X-Amz-Storage-Class": "STANDARD_IA", "X-Amz-Server-Side-Encryption": "aws:kms",
		"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "alias/documents", "Content-Md5": ""} {
		if got := stored.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if stored.Header.Get("X-Amz-Checksum-Sha256") == "" {
		t.Error("there is no SHA-256 checksum")
	}
	var got s3Integration
	if errs := c.change(c.live, updateS3, vars{"id": id, "input": vars{"bucket": "second", "storageClass": nil, "serverSideEncryption": nil, "kmsKeyId": nil, "checksum": nil,
		"pathTemplates": vars{"templateVersion": "", "testSubmission": "t/{{ submission_id }}"}}}, &got); len(errs) > 0 {
		t.Fatalf("%+v", errs)
	}
	i := got.Integration
	if i.Bucket != "second" || i.Name != "Archive" || i.StorageClass != "" || i.KmsKeyID != "" || i.Checksum != "MD5" || i.PathTemplates.TemplateVersion != nil ||
		*i.PathTemplates.TestSubmission != "t/{{ submission_id }}" || *i.PathTemplates.Submission != "{{ template_id }}/{{ submission_id }}.{{ extension }}" {
		t.Errorf("%+v", i)
	}
	set := i.SecretAccessKeySetAt
	doc = c.final(c.submit(vars{"html": "<p>x</p>", "wait": 0}).ID)
	if stored, ok = server.Object("second", "html/"+doc.ID+".pdf"); !ok || stored.Header.Get("Content-Md5") == "" || stored.Header.Get("X-Amz-Storage-Class") != "" {
		t.Errorf("%v %v", ok, stored.Header)
	}
	// Another key id without its secret is refused; both together are taken.
	server.AddKey("AKSECOND", "another-secret", s3test.PutOnly("second"))
	if errs := c.change(c.live, updateS3, vars{"id": id, "input": vars{"accessKeyId": "AKSECOND"}}, nil); len(errs) != 1 || errs[0].Code != "REQUIRED" || !slices.Equal(errs[0].Path, []string{"input", "secretAccessKey"}) {
		t.Errorf("%+v", errs)
	}
	if errs := c.change(c.live, updateS3, vars{"id": id, "input": vars{"accessKeyId": "AKSECOND", "secretAccessKey": "another-secret"}}, &got); len(errs) > 0 || !got.Integration.SecretAccessKeySetAt.After(set) {
		t.Errorf("%+v %v", errs, got.Integration.SecretAccessKeySetAt)
	}
	if doc = c.final(c.submit(vars{"html": "<p>x</p>", "wait": 0}).ID); doc.Actions[0].State != "PROCESSED" {
		t.Errorf("%v", doc)
	}
	for name, input := range map[string]vars{
		"name": {"name": nil}, "bucket": {"bucket": "s3://x"}, "secretAccessKey": {"secretAccessKey": ""},
		"pathTemplates": {"pathTemplates": vars{"submission": nil}}, "kmsKeyId": {"kmsKeyId": "x"},
	} {
		if errs := c.change(c.live, updateS3, vars{"id": id, "input": input}, nil); len(errs) != 1 || errs[0].Path[1] != name {
			t.Errorf("%v: %+v", input, errs)
		}
	}
	if errs := c.change(c.live, updateS3, vars{"id": id, "input": vars{"pathTemplates": nil}}, &got); len(errs) > 0 || *got.Integration.PathTemplates.TemplateVersion != "templates/{{ template_id }}/{{ template_version }}.html" {
		t.Errorf("null is not the default again: %+v", got.Integration.PathTemplates)
	}
	if errs := c.change(c.live, updateS3, vars{"id": "int_000000000000000000", "input": vars{}}, nil); len(errs) != 1 || errs[0].Code != "NOT_FOUND" {
		t.Errorf("%+v", errs)
	}
	// A test token has to do with integrations for test documents only.
	for name, errs := range map[string][]userError{
		"update": c.change(c.test, updateS3, vars{"id": id, "input": vars{"name": "mine"}}, nil),
		"delete": c.change(c.test, deleteIntegration, vars{"id": id}, nil),
		"test":   c.change(c.test, testIntegration, vars{"id": id}, nil),
	} {
		if len(errs) != 1 || errs[0].Code != "FORBIDDEN" {
			t.Errorf("%s with a test token: %+v", name, errs)
		}
	}
	server.OnlyPuts(t)
}

const (
	deleteIntegration = `mutation ($id: ID!) { deleteIntegration(id: $id) { deletedId ` + userErrors + ` } }`
	testIntegration   = `mutation ($id: ID!, $key: String! = "platen-connection-test.txt") { testIntegration(id: $id, key: $key) { health { ...h } ` + userErrors + ` } }` + healthFragment
	retryAction       = `mutation ($id: ID!, $presignedUpload: PresignedUploadInput) { retryAction(id: $id, presignedUpload: $presignedUpload) { action { ...done } ` + userErrors + ` } }` + actionFragments
	retryFailed       = `mutation ($id: ID!) { retryFailedActions(integrationId: $id) { count ` + userErrors + ` } }`
	healthFragment    = ` fragment h on IntegrationHealth { state checkedAt failure { code message providerCode } }`
)

type health struct {
	State     string
	CheckedAt *time.Time
	Failure   *failure
}

// health reads that of an integration.
func (c *client) health(id string) health {
	c.t.Helper()
	var got struct{ Integration struct{ Health health } }
	c.do(`query ($id: ID!) { integration(id: $id) { health { ...h } } }`+healthFragment, vars{"id": id}, &got)
	return got.Integration.Health
}

// action reads one action.
func (c *client) action(id string) action {
	c.t.Helper()
	var got struct{ Action *action }
	c.do(`query ($id: ID!) { action(id: $id) { ...done } }`+actionFragments, vars{"id": id}, &got)
	if got.Action == nil {
		c.t.Fatalf("there is no action %s", id)
	}
	return *got.Action
}

// ended follows an action until it is over.
func (c *client) ended(id string) (last action) {
	c.t.Helper()
	s := c.subscribe(c.live, `subscription ($id: ID!) { actionUpdated(id: $id) { action { ...done } } }`+actionFragments, vars{"id": id})
	for {
		var event struct{ ActionUpdated struct{ Action action } }
		if !s.next(&event) {
			return last
		}
		last = event.ActionUpdated.Action
	}
}

func TestR5_1DisablingStopsNewActionsOnlyAndDeletingFailsThePendingOnes(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "archive", "kept")
	id := c.integrate(server, "archive", nil)
	c.integrate(server, "kept", nil)
	release := server.Hold("archive")
	defer release()
	doc := c.submit(vars{"html": "<p>x</p>"})
	pending := doc.Actions[slices.IndexFunc(doc.Actions, func(a action) bool { return a.Integration.ID == id })]
	server.WaitForRequest(t, func(r s3test.Request) bool { return strings.Contains(r.Path, "/archive/") })
	if errs := c.change(c.live, updateS3, vars{"id": id, "input": vars{"enabled": false}}, nil); len(errs) > 0 {
		t.Fatal(errs)
	}
	if other := c.submit(vars{"html": "<p>y</p>"}); len(other.Actions) != 1 || other.Actions[0].Integration.ID == id {
		t.Errorf("a disabled integration has an action: %v", other)
	}
	if a := c.action(pending.ID); a.State != "PENDING" {
		t.Errorf("disabling ended an action: %+v", a)
	}
	if errs := c.change(c.live, updateS3, vars{"id": id, "input": vars{"enabled": true}}, nil); len(errs) > 0 {
		t.Fatal(errs)
	}
	if other := c.submit(vars{"html": "<p>z</p>"}); len(other.Actions) != 2 {
		t.Errorf("an integration that is enabled again has no action: %v", other)
	}
	var deleted struct{ DeletedID string }
	if errs := c.change(c.live, deleteIntegration, vars{"id": id}, &deleted); len(errs) > 0 || deleted.DeletedID != id {
		t.Fatalf("%+v %+v", errs, deleted)
	}
	a := c.ended(pending.ID)
	// At once, and not only when the hanging upload has come to an end.
	if a.State != "FAILED" || a.Failure == nil || a.Failure.Code != "INTEGRATION_DELETED" || a.Integration != nil || a.Attempts != 0 {
		t.Errorf("%+v %+v", a, a.Failure)
	}
	release()
	if whole := c.final(doc.ID); !whole.Final || len(whole.Actions) != 2 {
		t.Errorf("%v", whole)
	}
	if errs := c.change(c.live, retryAction, vars{"id": pending.ID}, nil); len(errs) != 1 || errs[0].Code != "CONFLICT" {
		t.Errorf("%+v", errs)
	}
	if errs := c.change(c.live, deleteIntegration, vars{"id": id}, nil); len(errs) != 1 || errs[0].Code != "NOT_FOUND" {
		t.Errorf("twice: %+v", errs)
	}
	var got struct {
		Integration  *struct{ ID string }
		Integrations struct {
			Nodes      []struct{ ID string }
			TotalCount int
		}
	}
	c.do(`query ($id: ID!) { integration(id: $id) { id } integrations { nodes { id } totalCount } }`, vars{"id": id}, &got)
	if got.Integration != nil || len(got.Integrations.Nodes) != 1 || got.Integrations.TotalCount != 1 {
		t.Errorf("%+v", got)
	}
}

func TestR5_1PendingActionsOfADisabledIntegrationGoOn(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "archive")
	id := c.integrate(server, "archive", nil)
	release := server.Hold("archive")
	defer release()
	doc := c.submit(vars{"html": "<p>x</p>"})
	server.WaitForRequest(t, func(r s3test.Request) bool { return strings.Contains(r.Path, "/archive/") })
	if errs := c.change(c.live, updateS3, vars{"id": id, "input": vars{"enabled": false}}, nil); len(errs) > 0 {
		t.Fatal(errs)
	}
	// The attempt that runs fails; the next begins when the integration is long disabled.
	server.Fault("archive", s3test.SlowDown(), s3test.SlowDown(), s3test.SlowDown())
	release()
	if a := c.ended(doc.Actions[0].ID); a.State != "PROCESSED" || a.Attempts != 2 {
		t.Errorf("%+v %+v", a, a.Failure)
	}
}

func TestR5_3TemplateVersionsAreCopiedWhenPublished(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "live", "test", "none", "off")
	live := c.integrate(server, "live", nil)
	c.integrate(server, "test", vars{"appliesTo": "TEST", "pathTemplates": vars{"templateVersion": "{{ account_id }}/{{ template_name }}-{{ template_version }}-{{ year }}.html"}})
	c.integrate(server, "none", vars{"pathTemplates": vars{"templateVersion": nil}})
	c.integrate(server, "off", vars{"enabled": false})
	var got struct {
		CreateTemplate struct {
			Template struct {
				ID            string
				LatestVersion struct{ ID string }
			}
		}
	}
	c.do(`mutation ($input: CreateTemplateInput!) { createTemplate(input: $input) { template { id latestVersion { id } } } }`,
		vars{"input": vars{"name": "Invoice/1", "content": vars{"html": "<h1>{{ title }}</h1>", "css": "h1 { color: red }", "headerHtml": "<b>{{ title }}</b>"}}}, &got)
	template := got.CreateTemplate.Template
	stored := server.WaitForObject(t, "live", "templates/"+template.ID+"/1.html")
	for _, part := range []string{"<h1>{{ title }}</h1>", "h1 { color: red }", "<b>{{ title }}</b>"} {
		if !strings.Contains(string(stored.Body), part) {
			t.Errorf("%s is not in the copy: %s", part, stored.Body)
		}
	}
	if stored.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Error(stored.Header)
	}
	server.WaitForObject(t, "test", fmt.Sprintf("%s/Invoice_1-1-%d.html", c.account.ID, time.Now().UTC().Year()))
	var version struct {
		Node struct {
			Actions []struct {
				action
				Subject struct{ ID string }
			}
		}
		Actions struct{ TotalCount int }
	}
	c.do(`query ($id: ID!, $integration: ID!) { node(id: $id) { ... on TemplateVersion { actions { ...done subject { ... on TemplateVersion { id } } } } }
		actions(filter: {subjectId: $id, integrationId: $integration}) { totalCount } }`+actionFragments,
		vars{"id": template.LatestVersion.ID, "integration": live}, &version)
	if len(version.Node.Actions) != 2 || version.Actions.TotalCount != 1 {
		t.Fatalf("%+v", version)
	}
	for _, a := range version.Node.Actions {
		if last := c.ended(a.ID); last.State != "PROCESSED" || last.Type != "AWS_S3_UPLOAD" || last.Result.ByteSize == 0 || a.Subject.ID != template.LatestVersion.ID {
			t.Errorf("%+v %+v", a, last)
		}
	}
	server.OnlyPuts(t)
}

// presigner signs PUTs as a customer does, with the AWS SDK.
func presigner(server *s3test.Server) *s3.PresignClient {
	return s3.NewPresignClient(s3.New(s3.Options{Region: "eu-west-3", BaseEndpoint: &server.URL, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider("AKTEST", "secret-of-AKTEST", "")}))
}

// presign signs a PUT of one key.
func presign(t *testing.T, server *s3test.Server, key string, life time.Duration) string {
	t.Helper()
	signed, err := presigner(server).PresignPutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("archive"), Key: &key}, s3.WithPresignExpires(life))
	if err != nil {
		t.Fatal(err)
	}
	return signed.URL
}

func TestR6_5ADocumentGoesToItsPresignedURL(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "archive")
	address := presign(t, server, "own/invoice 1.pdf", 5*time.Minute)
	doc := c.final(c.submit(vars{"html": "<p>x</p>", "wait": 0, "presignedUpload": vars{"url": address}}).ID)
	if len(doc.Actions) != 1 {
		t.Fatalf("%v", doc)
	}
	a := doc.Actions[0]
	stored, ok := server.Object("archive", "own/invoice 1.pdf")
	_, own := c.download(doc.DownloadURL)
	if !ok || string(stored.Body) != string(own) {
		t.Fatalf("the bucket has other bytes than Platen: %v", doc)
	}
	if a.Type != "PRESIGNED_UPLOAD" || a.State != "PROCESSED" || a.Integration != nil || a.Result.SHA256 != doc.File.SHA256 || a.Result.Etag == "" ||
		a.Destination != strings.Split(address, "?")[0] || a.Result.URL != a.Destination {
		t.Errorf("%+v %+v", a, a.Result)
	}
	requests := server.Requests()
	if len(requests) != 1 || requests[0].Method != http.MethodPut {
		t.Errorf("%+v", requests)
	}
	// It is never sent when the render failed.
	failed := c.final(c.submit(vars{"html": `<img src="http://` + assets + `:1/none.png">`, "wait": 0, "presignedUpload": vars{"url": presign(t, server, "never.pdf", time.Minute)}}).ID)
	if failed.State != "FAILED" || len(failed.Actions) != 0 || !failed.Final || len(server.Requests()) != 1 {
		t.Errorf("%v", failed)
	}
	// The address is in no answer, and in no table in clear.
	var rows int
	if err := shared.db.SQL().QueryRowContext(t.Context(), `select count(*) from (select body::text as t from events union all select row_to_json(a)::text from actions a
		union all select row_to_json(s)::text from submissions s union all select args::text from river.river_job) as all_text where t like '%X-Amz-Signature%'`).Scan(&rows); err != nil || rows > 0 {
		t.Errorf("%d rows show a signature, %v", rows, err)
	}
	// Nor is it kept, encrypted, when nothing more is to be sent there.
	if err := shared.db.SQL().QueryRowContext(t.Context(), `select (select count(*) from submission_inputs where account_id = $1 and presigned_upload is not null)
		+ (select count(*) from actions where account_id = $1 and presigned_upload is not null)`, c.account.ID).Scan(&rows); err != nil || rows > 0 {
		t.Errorf("%d rows keep a presigned URL that was used or never will be, %v", rows, err)
	}
	for name, input := range map[string]vars{
		"expired":       {"url": strings.Replace(presign(t, server, "k", time.Minute), "X-Amz-Date=20", "X-Amz-Date=19", 1)},
		"a bad header":  {"url": address, "headers": []vars{{"name": "Host", "value": "x"}}},
		"a line break":  {"url": address, "headers": []vars{{"name": "X-Note", "value": "a\r\nb"}}},
		"user and word": {"url": "http://user:word@example.com/"},
	} {
		if errs := c.refused(c.live, vars{"html": "<p>x</p>", "presignedUpload": input}); len(errs) != 1 || errs[0].Code != "INVALID" || errs[0].Path[1] != "presignedUpload" || strings.Contains(errs[0].Message, "Signature=") {
			t.Errorf("%s: %+v", name, errs)
		}
	}
}

func TestR6_5AnExpiredPresignedURLIsRetriedWithANewOne(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "archive")
	// It is still good when it comes, and is not when the document is ready.
	gate := newGate(t, assets, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(logo()) }))
	created := c.submit(vars{"html": `<img src="` + gate.URL + `">x`, "wait": 0, "presignedUpload": vars{"url": presign(t, server, "late.pdf", 2*time.Second)}})
	time.Sleep(2100 * time.Millisecond) // the address's own clock is what is awaited
	gate.open()
	doc := c.final(created.ID)
	a := doc.Actions[0]
	if doc.State != "PROCESSED" || a.State != "FAILED" || a.Failure.Code != "PRESIGNED_URL_EXPIRED" || a.Failure.Retryable || len(server.Requests()) != 0 {
		t.Fatalf("%v %+v", doc, a.Failure)
	}
	if errs := c.change(c.live, retryAction, vars{"id": a.ID}, nil); len(errs) != 1 || errs[0].Code != "INVALID" || !slices.Equal(errs[0].Path, []string{"presignedUpload"}) {
		t.Errorf("without a new address: %+v", errs)
	}
	var retried struct{ Action *action }
	if errs := c.change(c.live, retryAction, vars{"id": a.ID, "presignedUpload": vars{"url": presign(t, server, "new.pdf", time.Minute)}}, &retried); len(errs) > 0 || retried.Action.State != "PENDING" {
		t.Fatalf("%+v", errs)
	}
	if last := c.ended(a.ID); last.State != "PROCESSED" || last.Attempts != 2 || !strings.HasSuffix(last.Destination, "/archive/new.pdf") {
		t.Errorf("%+v", last)
	}
	if _, ok := server.Object("archive", "new.pdf"); !ok {
		t.Error("the bucket does not have it")
	}
	if errs := c.change(c.live, retryAction, vars{"id": a.ID}, nil); len(errs) != 1 || errs[0].Code != "CONFLICT" {
		t.Errorf("a PROCESSED one: %+v", errs)
	}
}

// hook is a receiver of webhooks.
type hook struct {
	*httptest.Server
	mu       sync.Mutex
	statuses []int // of the answers to come; 200 after them
	posts    chan post
}

type post struct {
	header http.Header
	body   []byte
}

func newHook(t *testing.T, statuses ...int) *hook {
	t.Helper()
	h := &hook{statuses: statuses, posts: make(chan post, 100)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		status := http.StatusOK
		if len(h.statuses) > 0 {
			status, h.statuses = h.statuses[0], h.statuses[1:]
		}
		h.mu.Unlock()
		w.WriteHeader(status)
		h.posts <- post{r.Header, body}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) next(t *testing.T) post {
	t.Helper()
	select {
	case p := <-h.posts:
		return p
	case <-time.After(patience):
		t.Fatal("no webhook came")
	}
	return post{}
}

// hooked is the part of a webhook's body that the tests look at.
type hooked struct {
	Submission struct {
		ID, State, DownloadURL string
		Data                   json.RawMessage
		Failure                *struct{ Code string }
		Actions                []struct {
			ID         string
			ActionType string `json:"action_type"`
			State      string
			ResultData map[string]any `json:"result_data"`
		}
	}
}

func (p post) read(t *testing.T) (h hooked) {
	t.Helper()
	if err := json.Unmarshal(p.body, &h); err != nil {
		t.Fatalf("%s: %v", p.body, err)
	}
	return h
}

// hook makes a webhook integration and returns its id and secret.
func (c *client) hook(h *hook, more vars) (id, secret string) {
	c.t.Helper()
	input := vars{"name": "Orders", "url": h.URL + "/hook?key=hidden"}
	for name, value := range more {
		input[name] = value
	}
	var got struct {
		Integration *struct{ ID string }
		Secret      string
	}
	if errs := c.change(c.live, `mutation ($input: CreateWebhookIntegrationInput!) { createWebhookIntegration(input: $input) { integration { id } secret `+userErrors+` } }`,
		vars{"input": input}, &got); len(errs) > 0 {
		c.t.Fatalf("%+v", errs)
	}
	return got.Integration.ID, got.Secret
}

func TestR6_6AWebhookIsPostedSignedAndRetried(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	h := newHook(t, http.StatusNotFound, http.StatusInternalServerError)
	id, secret := c.hook(h, nil)
	doc := c.final(c.submit(vars{"html": "<p>{{ a }}</p>", "data": vars{"a": 1}, "wait": 0}).ID)
	a := doc.Actions[0]
	if len(doc.Actions) != 1 || a.Type != "WEBHOOK" || a.State != "PROCESSED" || a.Attempts != 3 || a.Integration.ID != id || a.Destination != h.URL+"/hook" {
		t.Fatalf("%v", doc)
	}
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		p := h.next(t)
		if err := verifier.Verify(p.body, p.header); err != nil {
			t.Error(err)
		}
		if p.header.Get("webhook-id") != a.ID {
			t.Errorf("the id is %s at one attempt", p.header.Get("webhook-id"))
		}
		got := p.read(t).Submission
		if got.ID != doc.ID || got.State != "processed" || string(got.Data) != `{"a":1}` || len(got.Actions) != 1 || got.Actions[0].ActionType != "webhook" {
			t.Errorf("%s", p.body)
		}
	}
	if got := c.health(id); got.State != "HEALTHY" {
		t.Errorf("%+v", got)
	}
	// A document that failed has the actions of webhooks, and of nothing else.
	c.integrate(newS3(t, "archive"), "archive", vars{"appliesTo": "LIVE_AND_TEST"})
	failed := c.final(c.submit(vars{"html": `<img src="http://` + assets + `:1/none.png">`, "wait": 0, "test": true}).ID)
	if failed.State != "FAILED" || len(failed.Actions) != 1 || failed.Actions[0].Type != "WEBHOOK" || failed.Actions[0].State != "PROCESSED" {
		t.Errorf("%v", failed)
	}
	if got := h.next(t).read(t).Submission; got.State != "failed" || got.Failure == nil || got.Failure.Code != "ASSET_FAILED" {
		t.Errorf("%+v", got)
	}
	// The secret is not shown again, and a webhook is tested as every integration is.
	var tested struct{ Health health }
	if errs := c.change(c.live, testIntegration, vars{"id": id}, &tested); len(errs) > 0 || tested.Health.State != "HEALTHY" {
		t.Errorf("%+v %+v", errs, tested)
	}
	if p := h.next(t); verifier.Verify(p.body, p.header) != nil || !strings.Contains(string(p.body), `"ping"`) {
		t.Errorf("%s", p.body)
	}
}

func TestR6_6AWebhookCanWaitForTheUploads(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	h, soon := newHook(t), newHook(t)
	server := newS3(t, "archive")
	c.integrate(server, "archive", nil)
	c.hook(h, vars{"sendWhen": "DELIVERED"})
	c.hook(soon, nil)
	release := server.Hold("archive")
	defer release()
	created := c.submit(vars{"html": "<p>x</p>"})
	upload := func(p post) string {
		// DocSpring's documented check says the same of the very bytes.
		check := exec.CommandContext(t.Context(), "node", "../../delivery/testdata/docspring-check.js")
		check.Stdin = bytes.NewReader(p.body)
		uploaded, err := check.Output()
		if err != nil {
			t.Fatal(err)
		}
		want := "false\n"
		defer func() {
			if string(uploaded) != want {
				t.Errorf("the documented check says %s of %s", uploaded, p.body)
			}
		}()
		for _, a := range p.read(t).Submission.Actions {
			if a.ActionType == "aws_s3_upload" {
				if a.State == "processed" {
					want = "true\n"
				}
				return a.State
			}
		}
		return "none"
	}
	if got := upload(soon.next(t)); got != "pending" {
		t.Errorf("sent at once, the upload is %s", got)
	}
	select {
	case p := <-h.posts:
		t.Fatalf("it did not wait: %s", p.body)
	default:
	}
	release()
	if got := upload(h.next(t)); got != "processed" {
		t.Errorf("sent after the uploads, the upload is %s", got)
	}
	doc := c.final(created.ID)
	for _, a := range doc.Actions {
		if a.State != "PROCESSED" {
			t.Errorf("%v", doc)
		}
	}
	// Without an upload there is nothing to wait for; a failed upload is an end, too.
	if c.final(c.submit(vars{"html": "<p>y</p>", "test": true, "wait": 0}).ID); upload(h.next(t)) != "none" {
		t.Error("a document without uploads")
	}
	soon.next(t)
	server.Fault("archive", s3test.Error(http.StatusForbidden, "AccessDenied", "Access Denied"))
	c.final(c.submit(vars{"html": "<p>z</p>", "wait": 0}).ID)
	if got := upload(h.next(t)); got != "failed" {
		t.Errorf("after a failed upload: %s", got)
	}
	// Only documents of its template, if it names one.
	only := newHook(t)
	template := c.template("Chosen", "<p>t</p>")
	c.hook(only, vars{"templateId": template})
	c.final(c.submit(vars{"html": "<p>other</p>", "test": true, "wait": 0}).ID)
	chosen := c.final(c.submit(vars{"templateId": template, "test": true, "wait": 0}).ID)
	if got := only.next(t).read(t).Submission.ID; got != chosen.ID {
		t.Errorf("the webhook of one template is about %s", got)
	}
}

func TestR6_3FailedActionsAreRetriedOneOrAll(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "archive")
	id := c.integrate(server, "archive", vars{"bucket": "misspelt", "appliesTo": "LIVE_AND_TEST"})
	var failed []action
	for n := range 3 {
		doc := c.final(c.submit(vars{"html": "<p>x</p>", "wait": 0, "test": n == 2}).ID)
		failed = append(failed, doc.Actions[0])
	}
	if got := c.health(id); got.State != "FAILING" || got.Failure.Code != "NO_SUCH_BUCKET" || got.CheckedAt == nil {
		t.Errorf("%+v %+v", got, got.Failure)
	}
	if a := c.ask(c.test, `query ($id: ID!) { integration(id: $id) { health { state failure { message } } } }`, vars{"id": id}); strings.Contains(string(a.Data), failed[0].ID) || !strings.Contains(string(a.Data), "FAILING") {
		t.Errorf("a test token sees %s", a.Data)
	}
	if errs := c.change(c.test, retryAction, vars{"id": failed[0].ID}, nil); len(errs) != 1 || errs[0].Code != "NOT_FOUND" {
		t.Errorf("a test token retries a live document's action: %+v", errs)
	}
	if errs := c.change(c.live, updateS3, vars{"id": id, "input": vars{"bucket": "archive"}}, nil); len(errs) > 0 {
		t.Fatal(errs)
	}
	if errs := c.change(c.live, retryAction, vars{"id": failed[0].ID}, nil); len(errs) > 0 {
		t.Fatal(errs)
	}
	if a := c.ended(failed[0].ID); a.State != "PROCESSED" || a.Attempts != 2 || a.Failure != nil {
		t.Errorf("%+v", a)
	}
	if got := c.health(id); got.State != "HEALTHY" {
		t.Errorf("%+v", got)
	}
	// It ran although the integration had not answered; a retry of all knocks more gently.
	forced := func(id string) (all string) {
		if err := shared.db.SQL().QueryRowContext(t.Context(), `select string_agg(coalesce(args->>'force', 'no'), ' ' order by id)
			from river.river_job where args->>'action_id' = $1`, id).Scan(&all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	if got := forced(failed[0].ID); got != "no true" {
		t.Errorf("were the jobs of a retried action forced? %s", got)
	}
	// A test token retries the actions of test documents alone.
	var count struct{ Count int }
	if errs := c.change(c.test, retryFailed, vars{"id": id}, &count); len(errs) > 0 || count.Count != 1 {
		t.Errorf("%+v %d", errs, count.Count)
	}
	c.ended(failed[2].ID)
	if errs := c.change(c.live, retryFailed, vars{"id": id}, &count); len(errs) > 0 || count.Count != 1 {
		t.Errorf("%+v %d", errs, count.Count)
	}
	if a := c.ended(failed[1].ID); a.State != "PROCESSED" {
		t.Errorf("%+v", a)
	}
	if got := forced(failed[1].ID); got != "no no" {
		t.Errorf("were the jobs of actions that are retried together forced? %s", got)
	}
	if errs := c.change(c.live, retryFailed, vars{"id": id}, &count); len(errs) > 0 || count.Count != 0 {
		t.Errorf("%+v %d", errs, count.Count)
	}
	var list struct {
		Integration struct{ Actions struct{ Nodes []action } }
	}
	c.do(`query ($id: ID!) { integration(id: $id) { actions(states: [PROCESSED]) { nodes { ...done } } } }`+actionFragments, vars{"id": id}, &list)
	if len(list.Integration.Actions.Nodes) != 3 {
		t.Errorf("%+v", list)
	}
}

func TestR6_3AllFailedActionsOfAnIntegrationAreRetriedHoweverMany(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	const many = 260 // more than one transaction takes
	for n := range many {
		c.template(fmt.Sprint("Template ", n), "<p>x</p>")
	}
	// As after a day without the bucket; it is spared the uploads, which are not the matter.
	server := newS3(t, "archive")
	defer server.Hold("archive")()
	id := c.integrate(server, "archive", nil)
	if _, err := shared.db.SQL().ExecContext(t.Context(), `insert into actions (account_id, id, type, state, integration_id, template_version_id, test, destination)
		select account_id, 'act_' || substr(id, 5), 'AWS_S3_UPLOAD', 'FAILED', $2, id, false, '' from template_versions where account_id = $1`, c.account.ID, id); err != nil {
		t.Fatal(err)
	}
	var count struct{ Count int }
	if errs := c.change(c.live, retryFailed, vars{"id": id}, &count); len(errs) > 0 || count.Count != many {
		t.Errorf("%+v %d", errs, count.Count)
	}
	var pending, jobs int
	if err := shared.db.SQL().QueryRowContext(t.Context(), `select (select count(*) from actions where account_id = $1 and state = 'PENDING'),
		(select count(*) from river.river_job where kind = 'deliver_action' and args->>'account_id' = $1)`, c.account.ID).Scan(&pending, &jobs); err != nil || pending != many || jobs != many {
		t.Errorf("%d pending actions with %d jobs, %v", pending, jobs, err)
	}
	if errs := c.change(c.live, deleteIntegration, vars{"id": id}, nil); len(errs) > 0 {
		t.Error(errs)
	}
}

func TestR6_4OneDeadBucketDelaysNobodyElse(t *testing.T) {
	t.Parallel()
	// Both accounts share the node's workers; the first has more uploads hanging than there are.
	first, second := newClient(t), newClient(t)
	server := newS3(t, "dead", "alive")
	release := server.Hold("dead")
	defer release()
	first.integrate(server, "dead", vars{"pathTemplates": vars{"templateVersion": "{{ template_id }}.html"}})
	for n := range deliveries + 10 {
		first.template(fmt.Sprint("Template ", n), "<p>x</p>") // each a copy, without a render
	}
	second.integrate(server, "alive", nil)
	doc := second.final(second.submit(vars{"html": "<p>x</p>", "wait": 0}).ID)
	if len(doc.Actions) != 1 || doc.Actions[0].State != "PROCESSED" {
		t.Fatalf("%v", doc)
	}
	hanging := 0
	for _, r := range server.Requests() {
		if strings.HasPrefix(r.Path, "/dead/") {
			hanging++
		}
	}
	if hanging == 0 || hanging > 8 {
		t.Errorf("%d uploads to the dead bucket hang, want 1 to 8", hanging)
	}
	release()
	var got struct{ Actions struct{ TotalCount int } }
	deadline := time.Now().Add(patience)
	for got.Actions.TotalCount < deliveries+10 {
		first.do(`{ actions(filter: {states: [PROCESSED]}) { totalCount } }`, nil, &got)
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d copies are done after the bucket is back", got.Actions.TotalCount, deliveries+10)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestR5_2ATestIsOnePutObject(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "archive")
	id := c.integrate(server, "archive", nil)
	if got := c.health(id); got.State != "UNKNOWN" || got.CheckedAt != nil || got.Failure != nil {
		t.Errorf("before: %+v", got)
	}
	var tested struct{ Health health }
	if errs := c.change(c.live, testIntegration, vars{"id": id, "key": "checks/platen.txt"}, &tested); len(errs) > 0 || tested.Health.State != "HEALTHY" {
		t.Fatalf("%+v %+v", errs, tested)
	}
	if stored, ok := server.Object("archive", "checks/platen.txt"); !ok || !strings.Contains(string(stored.Body), "Platen") {
		t.Errorf("%v %s", ok, stored.Body)
	}
	if requests := server.Requests(); len(requests) != 1 {
		t.Errorf("%d requests", len(requests))
	}
	server.OnlyPuts(t)
	if errs := c.change(c.live, testIntegration, vars{"id": id, "key": "/up/../k"}, nil); len(errs) != 1 || errs[0].Code != "INVALID" || !slices.Equal(errs[0].Path, []string{"key"}) {
		t.Errorf("%+v", errs)
	}
	if errs := c.change(c.live, updateS3, vars{"id": id, "input": vars{"secretAccessKey": "wrong"}}, nil); len(errs) > 0 {
		t.Fatal(errs)
	}
	if errs := c.change(c.live, testIntegration, vars{"id": id}, &tested); len(errs) > 0 || tested.Health.State != "FAILING" || tested.Health.Failure.Code != "SIGNATURE_MISMATCH" {
		t.Errorf("%+v %+v", errs, tested)
	}
	if got := c.health(id); got.State != "FAILING" || got.Failure.ProviderCode != "SignatureDoesNotMatch" {
		t.Errorf("%+v", got)
	}
}

func TestR5_4AKeyIsPreviewed(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	type preview struct {
		PathPreview struct {
			Key       string
			Failure   *failure
			Warnings  []string
			Variables []struct{ Name, Description, Value string }
		}
	}
	show := func(input vars) preview {
		t.Helper()
		var got preview
		c.do(`query ($input: PathPreviewInput!) { pathPreview(input: $input) { key failure { ...failed } warnings variables { name description value } } }
			fragment failed on Failure { code message line column }`, vars{"input": input}, &got)
		return got
	}
	template := c.template("Invoice & Co", "<p>x</p>")
	doc := c.submit(vars{"templateId": template, "metadata": vars{"customer": "Ünï/1", "n": 7}})
	got := show(vars{"kind": "SUBMISSION", "pathTemplate": "{{ metadata.customer }}/{{ template_name }}/{{ year }}/{{ submission_id }}.{{ extension }}", "subjectId": doc.ID}).PathPreview
	if want := fmt.Sprintf("_n__1/Invoice___Co/%d/%s.pdf", doc.ProcessedAt.Year(), doc.ID); got.Key != want || got.Failure != nil {
		t.Errorf("%q, want %q", got.Key, want)
	}
	if len(got.Warnings) == 0 || !strings.Contains(strings.Join(got.Warnings, " "), "metadata.customer") {
		t.Errorf("nothing says that characters were replaced: %q", got.Warnings)
	}
	values := map[string]string{}
	for _, v := range got.Variables {
		values[v.Name] = v.Value
		if v.Description == "" {
			t.Errorf("%s is not explained", v.Name)
		}
	}
	if values["submission_id"] != doc.ID || values["metadata.customer"] != "_n__1" || values["metadata.n"] != "7" || values["template_version"] != "1" {
		t.Errorf("%v", values)
	}
	if got := show(vars{"kind": "SUBMISSION", "pathTemplate": "{{ metadata.a }}/{{ timestamp }}.pdf", "metadata": vars{"a": "b"}}).PathPreview; !strings.HasPrefix(got.Key, "b/2") || len(got.Warnings) != 1 {
		t.Errorf("%+v", got)
	}
	if got := show(vars{"kind": "TEMPLATE_VERSION", "pathTemplate": "{{ submission_id }}"}).PathPreview; got.Key != "" || got.Failure == nil || got.Failure.Column == 0 {
		t.Errorf("%+v", got)
	}
	if got := show(vars{"kind": "COMBINED_SUBMISSION", "pathTemplate": "c/{{ combined_submission_id }}.pdf"}).PathPreview; !strings.HasPrefix(got.Key, "c/com_") {
		t.Errorf("%+v", got)
	}
	if got := show(vars{"kind": "SUBMISSION", "pathTemplate": "a//b"}).PathPreview; got.Failure == nil || got.Failure.Code != "KEY_INVALID" {
		t.Errorf("%+v", got)
	}
	if a := c.ask(newClient(t).live, `query ($input: PathPreviewInput!) { pathPreview(input: $input) { key } }`, vars{"input": vars{"kind": "SUBMISSION", "pathTemplate": "x", "subjectId": doc.ID}}); a.code() != "BAD_USER_INPUT" {
		t.Errorf("R1.3: another account's document: %s", a.code())
	}
	var regions struct{ AwsRegions []struct{ Code, Name string } }
	c.do(`{ awsRegions { code name } }`, nil, &regions)
	if !slices.ContainsFunc(regions.AwsRegions, func(r struct{ Code, Name string }) bool { return r.Code == "eu-west-3" && r.Name == "Europe (Paris)" }) {
		t.Errorf("%v", regions)
	}
}

func TestR5_4AKeyHasTheTimeOfProcessingWheneverItIsMade(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "archive")
	id := c.integrate(server, "archive", vars{"bucket": "misspelt", "pathTemplates": vars{"submission": "{{ year }}/{{ month }}/{{ day }}/{{ timestamp }}-{{ submission_id }}.pdf"}})
	doc := c.final(c.submit(vars{"html": "<p>x</p>", "wait": 0}).ID)
	// The upload succeeds in another month than that of the document.
	if _, err := shared.db.SQL().ExecContext(t.Context(), `update submissions set processed_at = '2024-02-29T23:04:05+00' where id = $1`, doc.ID); err != nil {
		t.Fatal(err)
	}
	if errs := c.change(c.live, updateS3, vars{"id": id, "input": vars{"bucket": "archive"}}, nil); len(errs) > 0 {
		t.Fatal(errs)
	}
	if errs := c.change(c.live, retryAction, vars{"id": doc.Actions[0].ID}, nil); len(errs) > 0 {
		t.Fatal(errs)
	}
	if a := c.ended(doc.Actions[0].ID); a.State != "PROCESSED" || a.Result.Key != "2024/2/29/20240229230405-"+doc.ID+".pdf" {
		t.Errorf("%+v %+v", a, a.Result)
	}
}

func TestASecretThatCannotBeReadIsAFailureThatNamesTheRemedy(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "archive")
	id := c.integrate(server, "archive", nil)
	// As with a master key that is not the one they were encrypted with.
	spoil := func(statement, id string) {
		t.Helper()
		if _, err := shared.db.SQL().ExecContext(t.Context(), statement, id); err != nil {
			t.Fatal(err)
		}
	}
	spoil(`update integrations set secret = '\x00' where id = $1`, id)
	doc := c.final(c.submit(vars{"html": "<p>x</p>", "wait": 0}).ID)
	a := doc.Actions[0]
	if doc.State != "PROCESSED" || a.State != "FAILED" || a.Failure.Code != "SECRET_UNREADABLE" || a.Failure.Retryable {
		t.Fatalf("%v", doc)
	}
	if got := c.health(id); got.State != "FAILING" || got.Failure.Code != "SECRET_UNREADABLE" {
		t.Errorf("%+v", got)
	}
	var tested struct{ Health health }
	if errs := c.change(c.live, testIntegration, vars{"id": id}, &tested); len(errs) > 0 || tested.Health.Failure == nil || tested.Health.Failure.Code != "SECRET_UNREADABLE" {
		t.Errorf("%+v %+v", errs, tested)
	}
	// All else of it can be changed meanwhile, and its secret entered anew.
	if errs := c.change(c.live, updateS3, vars{"id": id, "input": vars{"name": "Renamed"}}, nil); len(errs) > 0 {
		t.Error(errs)
	}
	if errs := c.change(c.live, updateS3, vars{"id": id, "input": vars{"secretAccessKey": "secret-of-AKTEST"}}, nil); len(errs) > 0 {
		t.Error(errs)
	}
	if errs := c.change(c.live, retryAction, vars{"id": a.ID}, nil); len(errs) > 0 {
		t.Error(errs)
	}
	if a := c.ended(a.ID); a.State != "PROCESSED" {
		t.Errorf("%+v", a)
	}
	// A presigned URL is the same kind of secret; it needs to be given anew.
	if errs := c.change(c.live, deleteIntegration, vars{"id": id}, nil); len(errs) > 0 {
		t.Fatal(errs)
	}
	doc = c.final(c.submit(vars{"html": "<p>x</p>", "wait": 0, "presignedUpload": vars{"url": presign(t, server, "refused.pdf", time.Minute) + "0"}}).ID)
	a = doc.Actions[0]
	if a.State != "FAILED" || a.Failure.Code != "SIGNATURE_MISMATCH" {
		t.Fatalf("%v", doc)
	}
	spoil(`update actions set presigned_upload = '\x00' where id = $1`, a.ID)
	if errs := c.change(c.live, retryAction, vars{"id": a.ID}, nil); len(errs) != 1 || errs[0].Code != "INVALID" || !slices.Equal(errs[0].Path, []string{"presignedUpload"}) {
		t.Errorf("without a new address: %+v", errs)
	}
	if errs := c.change(c.live, retryAction, vars{"id": a.ID, "presignedUpload": vars{"url": presign(t, server, "new.pdf", time.Minute)}}, nil); len(errs) > 0 {
		t.Error(errs)
	}
	if a := c.ended(a.ID); a.State != "PROCESSED" {
		t.Errorf("%+v", a)
	}
}

func TestR6_3AnActionIsGivenUpAfterADayAndARetryBeginsAnew(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "archive")
	c.integrate(server, "archive", nil)
	set := func(statement, id string) {
		t.Helper()
		if _, err := shared.db.SQL().ExecContext(t.Context(), statement, id); err != nil {
			t.Fatal(err)
		}
	}
	release := server.Hold("archive")
	defer release()
	doc := c.submit(vars{"html": "<p>x</p>"})
	id := doc.Actions[0].ID
	server.WaitForRequest(t, func(r s3test.Request) bool { return strings.Contains(r.Path, "/archive/") })
	set(`update actions set tried_since = now() - interval '24 hours 1 second' where id = $1`, id)
	slow := s3test.SlowDown()
	server.Fault("archive", slow, slow, slow)
	release()
	a := c.ended(id)
	if a.State != "FAILED" || a.Attempts != 1 || a.NextAttemptAt != nil || a.Failure.Code != "STORAGE_UNAVAILABLE" || !a.Failure.Retryable {
		t.Fatalf("after a day: %+v %+v", a, a.Failure)
	}
	if strings.Contains(a.Failure.Message, "is tried again") || !strings.Contains(a.Failure.Message, "retry the action") {
		t.Errorf("given up, it says: %s", a.Failure.Message)
	}
	// The next run has its own day and short pauses at first, whatever was before it:
	// the pause after 20 attempts of one run is too long for this test.
	set(`update actions set attempts = 20 where id = $1`, id)
	server.Fault("archive", slow, slow, slow)
	if errs := c.change(c.live, retryAction, vars{"id": id}, nil); len(errs) > 0 {
		t.Fatal(errs)
	}
	if a := c.ended(id); a.State != "PROCESSED" || a.Attempts != 22 {
		t.Errorf("%+v %+v", a, a.Failure)
	}
}
