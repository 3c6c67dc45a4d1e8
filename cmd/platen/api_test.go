package main

import (
	"encoding/base64"
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

	root "platen"
	"platen/delivery/s3test"
	"platen/storage"
)

// integrate makes an S3 integration and returns its id.
func (c *client) integrate(server *s3test.Server, bucket string, more vars) string {
	c.t.Helper()
	input := vars{"name": "Archive", "accessKeyId": "AKTEST", "secretAccessKey": "secret-of-AKTEST", "region": "eu-west-3", "bucket": bucket,
		"forcePathStyle": true}
	if server != nil {
		input["endpoint"] = server.URL
	}
	for name, value := range more {
		input[name] = value
	}
	var got struct {
		CreateAwsS3Integration struct {
			Integration *struct{ ID string }
			UserErrors  []userError
		}
	}
	c.do(`mutation ($input: CreateAwsS3IntegrationInput!) { createAwsS3Integration(input: $input) { integration { id } `+userErrors+` } }`, vars{"input": input}, &got)
	if got.CreateAwsS3Integration.Integration == nil {
		c.t.Fatalf("refused: %+v", got.CreateAwsS3Integration.UserErrors)
	}
	return got.CreateAwsS3Integration.Integration.ID
}

// newS3 is a server with one bucket per name, and one key that may PutObject in all.
func newS3(t *testing.T, buckets ...string) *s3test.Server {
	t.Helper()
	server := s3test.New(t)
	for _, bucket := range buckets {
		server.CreateBucket(bucket, "eu-west-3")
	}
	server.AddKey("AKTEST", "secret-of-AKTEST", s3test.PutOnly(buckets...))
	return server
}

// template makes a template and returns its id.
func (c *client) template(name, html string) string {
	c.t.Helper()
	var got struct {
		CreateTemplate struct {
			Template   *struct{ ID string }
			UserErrors []userError
		}
	}
	c.do(`mutation ($input: CreateTemplateInput!) { createTemplate(input: $input) { template { id } `+userErrors+` } }`,
		vars{"input": vars{"name": name, "content": vars{"html": html}}}, &got)
	if got.CreateTemplate.Template == nil {
		c.t.Fatalf("refused: %+v", got.CreateTemplate.UserErrors)
	}
	return got.CreateTemplate.Template.ID
}

func TestR1_2TokensAreListedAndRevokedAndScopesNest(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	make := func(scope string) (id, secret string) {
		t.Helper()
		var got struct {
			CreateAPIToken struct {
				APIToken *struct{ ID, Hint, Scope string } `json:"apiToken"`
				Secret   string
			} `json:"createApiToken"`
		}
		c.do(`mutation ($scope: TokenScope!) { createApiToken(input: {name: "t", environment: LIVE, scope: $scope}) { apiToken { id hint scope } secret userErrors { code } } }`,
			vars{"scope": scope}, &got)
		token := got.CreateAPIToken
		if token.APIToken == nil || token.APIToken.Scope != scope || !strings.HasSuffix(token.Secret, token.APIToken.Hint) || len(token.Secret) < 43 {
			t.Fatalf("%+v", got)
		}
		return token.APIToken.ID, token.Secret
	}
	queries := []struct{ scope, query string }{
		{"READ", `{ account { id name } }`},
		{"READ", `{ submissions { nodes { id } } }`},
		{"WRITE", `mutation { createTemplate(input: {name: "", content: {html: ""}}) { userErrors { code } } }`},
		{"WRITE", `mutation { createSubmission(input: {html: "<p>"}) { submission { id } } }`},
		{"ADMIN", `{ apiTokens { nodes { id } } }`},
		{"ADMIN", `mutation { revokeApiToken(id: "tok_x") { userErrors { code } } }`},
	}
	rank := map[string]int{"": 0, "READ": 1, "WRITE": 2, "ADMIN": 3}
	for scope := range rank {
		secret, want := "", "UNAUTHENTICATED"
		if scope != "" {
			_, secret = make(scope)
			want = "FORBIDDEN"
		}
		for _, q := range queries {
			code := c.ask(secret, q.query, nil).code()
			if rank[scope] >= rank[q.scope] && code != "" {
				t.Errorf("%s with scope %q: %s", q.query, scope, code)
			}
			if rank[scope] < rank[q.scope] && code != want {
				t.Errorf("%s with scope %q: code %q, want %s", q.query, scope, code, want)
			}
		}
	}
	id, secret := make("READ")
	var tokens struct {
		APITokens struct {
			Nodes      []struct{ ID string }
			TotalCount int
		} `json:"apiTokens"`
	}
	c.do(`{ apiTokens(first: 100) { nodes { id } totalCount } }`, nil, &tokens)
	if n := len(tokens.APITokens.Nodes); n != 6 || tokens.APITokens.TotalCount != 6 {
		t.Errorf("%d tokens are listed, %d counted; want 6", n, tokens.APITokens.TotalCount)
	}
	c.do(`mutation ($id: ID!) { revokeApiToken(id: $id) { apiToken { revokedAt } } }`, vars{"id": id}, &struct{}{})
	a := c.ask(secret, `{ account { id } }`, nil)
	if a.Status != http.StatusUnauthorized || a.code() != "UNAUTHENTICATED" {
		t.Errorf("a revoked token: %d %s", a.Status, a.code())
	}
}

func TestR1_2ATestTokenSeesAndMakesTestDocumentsOnly(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	live := c.submit(vars{"html": "<p>live</p>"})
	a := c.ask(c.test, `mutation { createSubmission(input: {html: "<p>t</p>", wait: 60}) { submission { id test } userErrors { code } } }`, nil)
	var made struct {
		CreateSubmission struct {
			Submission struct {
				ID   string
				Test bool
			}
		}
	}
	if err := json.Unmarshal(a.Data, &made); err != nil || !made.CreateSubmission.Submission.Test {
		t.Fatalf("a test token made %s, %v", a.Data, err)
	}
	if errs := c.refused(c.test, vars{"html": "<p>", "test": false}); len(errs) != 1 || errs[0].Code != "FORBIDDEN" || !slices.Equal(errs[0].Path, []string{"input", "test"}) {
		t.Errorf("a live document by a test token: %+v", errs)
	}
	for _, applies := range []string{"LIVE", "LIVE_AND_TEST"} {
		a := c.ask(c.test, `mutation ($input: CreateAwsS3IntegrationInput!) { createAwsS3Integration(input: $input) { userErrors { code path } } }`, vars{"input": vars{
			"name": "Mine", "accessKeyId": "AK", "secretAccessKey": "SK", "region": "eu-west-3", "bucket": "mine", "appliesTo": applies}})
		if string(a.Data) != `{"createAwsS3Integration":{"userErrors":[{"code":"FORBIDDEN","path":["input","appliesTo"]}]}}` {
			t.Errorf("a test token's integration for %s documents: %s", applies, a.Data)
		}
	}
	a = c.ask(c.test, `query ($id: ID!) { submission(id: $id) { id } node(id: $id) { id } submissions { nodes { id } totalCount } }`, vars{"id": live.ID})
	want := fmt.Sprintf(`{"submission":null,"node":null,"submissions":{"nodes":[{"id":%q}],"totalCount":1}}`, made.CreateSubmission.Submission.ID)
	if string(a.Data) != want {
		t.Errorf("a test token sees %s, want %s", a.Data, want)
	}
}

func TestR1_3AnotherAccountsIDAnswersAsAMissingOne(t *testing.T) {
	t.Parallel()
	owner, stranger := newClient(t), newClient(t)
	server := newS3(t, "archive")
	integration := owner.integrate(server, "archive", nil)
	template := owner.template("T", "<p>x</p>")
	doc := owner.final(owner.submit(vars{"templateId": template, "wait": 0}).ID)
	var version struct {
		Template struct{ LatestVersion struct{ ID string } }
	}
	owner.do(`query ($id: ID!) { template(id: $id) { latestVersion { id } } }`, vars{"id": template}, &version)

	ids := map[string]string{"template": template, "submission": doc.ID, "action": doc.Actions[0].ID, "integration": integration}
	for field, id := range ids {
		query := fmt.Sprintf(`query ($id: ID!) { %s(id: $id) { id } node(id: $id) { id } nodes(ids: [$id]) { id } }`, field)
		missing := id[:4] + strings.Repeat("0", 18)
		if a := owner.ask(owner.live, query, vars{"id": id}); strings.Count(string(a.Data), id) != 3 {
			t.Errorf("%s, by its owner: %s %+v", field, a.Data, a.Errors)
		}
		theirs, none := stranger.ask(stranger.live, query, vars{"id": id}), stranger.ask(stranger.live, query, vars{"id": missing})
		if string(theirs.Data) != string(none.Data) || strings.Contains(string(theirs.Data), id) || len(theirs.Errors) != len(none.Errors) {
			t.Errorf("%s: another account's answers %s, a missing one %s", field, theirs.Data, none.Data)
		}
	}
	for _, id := range []string{version.Template.LatestVersion.ID, owner.account.ID} {
		if a := stranger.ask(stranger.live, `query ($id: ID!) { node(id: $id) { id } }`, vars{"id": id}); string(a.Data) != `{"node":null}` {
			t.Errorf("node(%s): %s", id, a.Data)
		}
	}
	errs := stranger.refused(stranger.live, vars{"templateId": template})
	if len(errs) != 1 || errs[0].Code != "NOT_FOUND" || !slices.Equal(errs[0].Path, []string{"input", "templateId"}) {
		t.Errorf("a submission of another account's template: %+v", errs)
	}
	for field, id := range map[string]string{"submissionUpdated": doc.ID, "actionUpdated": doc.Actions[0].ID} {
		s := stranger.subscribe(stranger.live, fmt.Sprintf(`subscription ($id: ID!) { %s(id: $id) { kind } }`, field), vars{"id": id})
		if f := s.read(); !strings.Contains(string(f.Payload), "NOT_FOUND") {
			t.Errorf("%s of another account's: %s %s", field, f.Type, f.Payload)
		}
	}
	if a := stranger.ask(stranger.live, `mutation ($id: ID!) { revokeApiToken(id: $id) { userErrors { code } } }`,
		vars{"id": tokenID(t, owner.live)}); !strings.Contains(string(a.Data), "NOT_FOUND") {
		t.Errorf("revoking another account's token: %s", a.Data)
	}
}

func tokenID(t *testing.T, secret string) string {
	t.Helper()
	token, err := shared.db.APITokenBySecret(t.Context(), root.HashTokenSecret(secret))
	if err != nil {
		t.Fatal(err)
	}
	return token.ID
}

func TestBadInputIsAUserErrorWithPathAndCode(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	long := strings.Repeat("x", root.MaxSource+1)
	for name, test := range map[string]struct {
		input vars
		want  []string // path, code and position of each
	}{
		"neither template nor html": {vars{"data": vars{}}, []string{"input INVALID"}},
		"both":                      {vars{"templateId": "tpl_x", "html": "<p>"}, []string{"input INVALID"}},
		"no such template":          {vars{"templateId": "tpl_x"}, []string{"input.templateId NOT_FOUND"}},
		"empty html":                {vars{"html": ""}, []string{"input.html REQUIRED"}},
		"html too large":            {vars{"html": long}, []string{"input.html TOO_LARGE"}},
		"css without html":          {vars{"templateId": "tpl_x", "css": "p{}"}, []string{"input.css INVALID", "input.templateId NOT_FOUND"}},
		"unclosed output":           {vars{"html": "<p>\n  {{ name </p>"}, []string{"input.html TEMPLATE_INVALID 2:3"}},
		"unclosed block":            {vars{"html": "ä{% if a %}b"}, []string{"input.html TEMPLATE_INVALID 1:2"}},
		"unknown tag in the footer": {vars{"html": "<p>", "footerHtml": "\n\n {% nope %}"}, []string{"input.footerHtml TEMPLATE_INVALID 3:2"}},
		"a bad margin and a scale":  {vars{"html": "<p>", "page": vars{"marginTop": "1parsec", "scale": 7}}, []string{"input.page.marginTop INVALID", "input.page.scale INVALID"}},
		"width alone":               {vars{"html": "<p>", "page": vars{"width": "10cm"}}, []string{"input.page.height REQUIRED"}},
		"no room":                   {vars{"html": "<p>", "page": vars{"format": "A6", "marginLeft": "6cm", "marginRight": "6cm"}}, []string{"input.page.marginTop INVALID"}},
		"timeout":                   {vars{"html": "<p>", "page": vars{"timeout": 121}}, []string{"input.page.timeout INVALID"}},
		"metadata that is a list":   {vars{"html": "<p>", "metadata": []int{1}}, []string{"input.metadata INVALID"}},
		"metadata too large":        {vars{"html": "<p>", "metadata": vars{"x": strings.Repeat("x", root.MaxMetadata)}}, []string{"input.metadata TOO_LARGE"}},
		"U+0000":                    {vars{"html": "<p>", "data": vars{"x": "a\x00b"}}, []string{"input.data INVALID"}},
		"waiting too long":          {vars{"html": "<p>", "wait": 61}, []string{"input.wait INVALID"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, e := range (&client{t: t, base: c.base, live: c.live}).refused(c.live, test.input) {
				line := strings.Join(e.Path, ".") + " " + e.Code
				if e.Line > 0 {
					line += fmt.Sprintf(" %d:%d", e.Line, e.Column)
				}
				if e.Message == "" {
					t.Error("an error without a message")
				}
				got = append(got, line)
			}
			slices.Sort(got)
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
	t.Cleanup(func() {
		list, _, err := shared.db.Submissions(t.Context(), storage.Scope{AccountID: c.account.ID}, root.SubmissionFilter{}, storage.Page{First: 10})
		if err == nil && len(list) != 0 {
			t.Errorf("refused requests left %d submissions", len(list))
		}
	})
}

func TestR5_6AnIntegrationIsCheckedWhenItIsSaved(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	good := vars{"name": "A", "accessKeyId": "AK", "secretAccessKey": "s3cr3t-of-this-test", "region": "eu-west-3", "bucket": "bucket-1"}
	save := func(change vars) (warnings, errs []string, whole string) {
		input := vars{}
		for name, value := range good {
			input[name] = value
		}
		for name, value := range change {
			input[name] = value
		}
		a := c.ask(c.live, `mutation ($input: CreateAwsS3IntegrationInput!) { createAwsS3Integration(input: $input) {
			integration { id name enabled appliesTo accessKeyId secretAccessKeySetAt region bucket endpoint forcePathStyle warnings pathTemplates { submission testSubmission } } `+userErrors+` } }`, vars{"input": input})
		var got struct {
			CreateAwsS3Integration struct {
				Integration *struct{ Warnings []string }
				UserErrors  []userError
			}
		}
		if err := json.Unmarshal(a.Data, &got); err != nil {
			t.Fatalf("%s %+v", a.Data, a.Errors)
		}
		for _, e := range got.CreateAwsS3Integration.UserErrors {
			errs = append(errs, fmt.Sprintf("%s %s %d:%d", strings.Join(e.Path, "."), e.Code, e.Line, e.Column))
		}
		if i := got.CreateAwsS3Integration.Integration; i != nil {
			warnings = i.Warnings
		}
		return warnings, errs, string(a.Data)
	}
	warnings, errs, whole := save(nil)
	if len(warnings)+len(errs) > 0 || !strings.Contains(whole, `"submission":"{{ template_id }}/{{ submission_id }}.{{ extension }}"`) || !strings.Contains(whole, `"appliesTo":"LIVE"`) {
		t.Errorf("the defaults: %v %v %s", warnings, errs, whole)
	}
	if strings.Contains(whole, "s3cr3t") {
		t.Error("R5.1: the secret is shown")
	}
	var stored []byte
	if err := shared.db.SQL().QueryRow(`select secret from integrations where account_id = $1`, c.account.ID).Scan(&stored); err != nil || strings.Contains(string(stored), "s3cr3t") {
		t.Errorf("R5.1: the secret is stored in clear, or not at all: %v", err)
	}
	if _, errs, whole := save(vars{"endpoint": ""}); len(errs) > 0 || !strings.Contains(whole, `"endpoint":null`) {
		t.Errorf("a blank endpoint is AWS, as an absent one is: %v %s", errs, whole)
	}
	if warnings, errs, _ := save(vars{"pathTemplates": vars{"submission": "all/{{ timestamp }}.pdf"}}); len(errs) > 0 || len(warnings) != 1 {
		t.Errorf("a path without a unique variable: %v %v; want it saved with a warning", warnings, errs)
	}
	// What an older Platen took and this one refuses is told by a warning.
	if _, err := shared.db.SQL().Exec(`update integrations set settings = jsonb_set(settings::jsonb, '{submissionPath}', '"/a"')::json where account_id = $1`, c.account.ID); err != nil {
		t.Fatal(err)
	}
	var old struct {
		Integrations struct{ Nodes []struct{ Warnings []string } }
	}
	c.do(`{ integrations { nodes { ... on AwsS3Integration { warnings } } } }`, nil, &old)
	if nodes := old.Integrations.Nodes; len(nodes) == 0 || len(nodes[0].Warnings) != 1 || !strings.Contains(nodes[0].Warnings[0], "submission: Every key") {
		t.Errorf("%+v", nodes)
	}
	for name, test := range map[string]struct {
		change vars
		want   string
	}{
		"blank path":       {vars{"pathTemplates": vars{"submission": " "}}, "input.pathTemplates.submission REQUIRED 0:0"},
		"null path":        {vars{"pathTemplates": vars{"submission": nil}}, "input.pathTemplates.submission REQUIRED 0:0"},
		"unknown variable": {vars{"pathTemplates": vars{"submission": "a/{{ submision_id }}.pdf"}}, "input.pathTemplates.submission PATH_TEMPLATE_INVALID 1:6"},
		"unclosed":         {vars{"pathTemplates": vars{"testSubmission": "a/{{ submission_id .pdf"}}, "input.pathTemplates.testSubmission PATH_TEMPLATE_INVALID 1:3"},
		"bucket":           {vars{"bucket": "s3://bucket"}, "input.bucket INVALID 0:0"},
		"region":           {vars{"region": "EU (Paris)"}, "input.region INVALID 0:0"},
		"endpoint":         {vars{"endpoint": "ftp://example.com"}, "input.endpoint INVALID 0:0"},
		"no address":       {vars{"endpoint": "minio.lan:9000"}, "input.endpoint INVALID 0:0"},
		"no such port":     {vars{"endpoint": "http://minio.lan:90000"}, "input.endpoint INVALID 0:0"},
		"a slash first":    {vars{"pathTemplates": vars{"submission": "/{{ submission_id }}"}}, "input.pathTemplates.submission PATH_TEMPLATE_INVALID 1:1"},
		"a line as a name": {vars{"name": "A\nB"}, "input.name INVALID 0:0"},
		"secret":           {vars{"secretAccessKey": "two words"}, "input.secretAccessKey INVALID 0:0"},
		"name":             {vars{"name": ""}, "input.name REQUIRED 0:0"},
		"U+0000 in a path": {vars{"pathTemplates": vars{"submission": "\x00{{ submission_id }}"}}, "input.pathTemplates.submission INVALID 0:0"},
	} {
		if _, errs, whole := save(test.change); !slices.Equal(errs, []string{test.want}) {
			t.Errorf("%s: %v, want %s\n%s", name, errs, test.want, whole)
		}
	}
}

func TestR6_1EachIntegrationThatAppliesHasOneAction(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "live", "test", "both", "off")
	c.integrate(server, "live", vars{"appliesTo": "LIVE"})
	c.integrate(server, "test", vars{"appliesTo": "TEST", "pathTemplates": vars{"testSubmission": "trial/{{ submission_id }}.pdf"}})
	c.integrate(server, "both", vars{"appliesTo": "LIVE_AND_TEST"})
	c.integrate(server, "off", vars{"enabled": false, "appliesTo": "LIVE_AND_TEST"})
	live := c.final(c.submit(vars{"html": "<p>live</p>", "wait": 0}).ID)
	test := c.final(c.submit(vars{"html": "<p>test</p>", "test": true, "wait": 0}).ID)
	destinations := func(d document) (all []string) {
		for _, a := range d.Actions {
			if a.State != "PROCESSED" {
				t.Errorf("%v", d)
			}
			all = append(all, a.Destination)
		}
		slices.Sort(all)
		return all
	}
	if got, want := destinations(live), []string{"s3://both/html/" + live.ID + ".pdf", "s3://live/html/" + live.ID + ".pdf"}; !slices.Equal(got, want) {
		t.Errorf("live: %v, want %v", got, want)
	}
	if got, want := destinations(test), []string{"s3://both/html/" + test.ID + ".pdf", "s3://test/trial/" + test.ID + ".pdf"}; !slices.Equal(got, want) {
		t.Errorf("test: %v, want %v", got, want)
	}
	server.OnlyPuts(t) // R5.2
}

func TestR6_3APermanentRefusalFailsAtOnceAndTheDocumentStays(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "archive", "web-page", "redirect")
	server.AddKey("AKREADER", "secret-of-AKREADER", s3test.Policy{})
	server.Fault("web-page", s3test.HTML(http.StatusOK))
	server.Fault("redirect", s3test.Redirect(http.StatusFound, "https://elsewhere.example.com/"))
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	t.Cleanup(untrusted.Close)
	for name, test := range map[string]struct {
		change         vars
		code, provider string
	}{
		"no right to put": {vars{"accessKeyId": "AKREADER", "secretAccessKey": "secret-of-AKREADER"}, "ACCESS_DENIED", "AccessDenied"},
		"wrong secret":    {vars{"secretAccessKey": "wrong"}, "SIGNATURE_MISMATCH", "SignatureDoesNotMatch"},
		"unknown key":     {vars{"accessKeyId": "AKNONE"}, "INVALID_ACCESS_KEY", "InvalidAccessKeyId"},
		"no such bucket":  {vars{"bucket": "no-such-bucket"}, "NO_SUCH_BUCKET", "NoSuchBucket"},
		"empty key":       {vars{"pathTemplates": vars{"submission": "{{ metadata.folder }}"}}, "KEY_INVALID", ""},
		"dots in a value": {vars{"pathTemplates": vars{"submission": "{{ metadata.up }}/x.pdf"}}, "KEY_INVALID", ""},
		"forbidden host":  {vars{"endpoint": "http://10.0.0.1:9000"}, "EGRESS_DENIED", ""},
		"a web page":      {vars{"bucket": "web-page"}, "NOT_AN_S3_ENDPOINT", ""},
		"a redirect":      {vars{"bucket": "redirect"}, "REDIRECTED", ""},
		"TLS unverified":  {vars{"endpoint": untrusted.URL}, "TLS_FAILED", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t)
			c.integrate(server, "archive", test.change)
			doc := c.final(c.submit(vars{"html": "<p>kept</p>", "metadata": vars{"up": ".."}, "wait": 0}).ID)
			if doc.State != "PROCESSED" || !doc.Final || len(doc.Actions) != 1 {
				t.Fatalf("%v", doc)
			}
			a := doc.Actions[0]
			if a.State != "FAILED" || a.Attempts != 1 || a.NextAttemptAt != nil || a.Failure == nil || a.Failure.Stage != "DELIVER" ||
				a.Failure.Code != test.code || a.Failure.ProviderCode != test.provider || a.Failure.Retryable || a.Failure.Message == "" {
				t.Errorf("action %+v, failure %+v", a, a.Failure)
			}
			if response, body := c.download(doc.DownloadURL); response.StatusCode != http.StatusOK || !strings.Contains(text(t, body), "kept") {
				t.Errorf("the document does not download: %d", response.StatusCode)
			}
		})
	}
	_ = c
}

func TestR6_3ATransientFaultIsRetriedUntilItPasses(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "archive")
	c.integrate(server, "archive", nil)
	// Each attempt of an action sends up to three times; two attempts fail.
	for range 6 {
		server.Fault("archive", s3test.SlowDown())
	}
	created := c.submit(vars{"html": "<p>x</p>", "wait": 0})
	s := c.subscribe(c.live, `subscription ($id: ID!) { submissionUpdated(id: $id) { submission { ...doc } } }`+fragments, vars{"id": created.ID})
	var trace []string
	for {
		var event struct{ SubmissionUpdated struct{ Submission document } }
		if !s.next(&event) {
			break
		}
		for _, a := range event.SubmissionUpdated.Submission.Actions {
			line := fmt.Sprintf("%s %d", a.State, a.Attempts)
			if a.Failure != nil {
				line += fmt.Sprintf(" %s next=%v", a.Failure.Code, a.NextAttemptAt != nil)
			}
			trace = append(trace, line)
		}
	}
	want := []string{"PENDING 0", "PENDING 1 STORAGE_UNAVAILABLE next=true", "PENDING 2 STORAGE_UNAVAILABLE next=true", "PROCESSED 3"}
	if !slices.Equal(trace, want) {
		t.Errorf("the action went through %q, want %q", trace, want)
	}
}

func TestAJobThatRunsTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "archive")
	c.integrate(server, "archive", nil)
	before := c.final(c.submit(vars{"html": "<p>once</p>", "wait": 0}).ID)
	// River promises at least once: both jobs of the document come again.
	rows, err := shared.db.SQL().QueryContext(t.Context(), `insert into river.river_job (kind, args, max_attempts, queue)
		select kind, args, max_attempts, queue from river.river_job where args->>'submission_id' = $1 or args->>'action_id' = $2 returning id`,
		before.ID, before.Actions[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil || len(ids) != 2 {
		t.Fatal(ids, err)
	}
	deadline := time.Now().Add(patience)
	for _, id := range ids {
		for state := ""; state != "completed"; {
			if err := shared.db.SQL().QueryRowContext(t.Context(), `select state from river.river_job where id = $1`, id).Scan(&state); err != nil {
				t.Fatal(err)
			}
			if time.Now().After(deadline) {
				t.Fatalf("job %d is %s", id, state)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	after := c.submission(before.ID)
	if after.Revision != before.Revision || after.Actions[0].Revision != before.Actions[0].Revision || after.File.SHA256 != before.File.SHA256 {
		t.Errorf("before %v\nafter %v", before, after)
	}
	if n := len(server.Requests()); n != 1 {
		t.Errorf("%d uploads", n)
	}
}

func TestAFailedRenderIsAFailedSubmissionWithItsFailure(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	closed := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a page reached 127.0.0.1") }))
	t.Cleanup(closed.Close)
	missing := newGate(t, assets, http.NotFoundHandler())
	missing.open()
	silent := newGate(t, assets, http.NotFoundHandler())
	c.integrate(newS3(t, "archive"), "archive", nil)
	for name, test := range map[string]struct {
		input       vars
		stage, code string
		retryable   bool
		path        string
		line        int
	}{
		"data that the Liquid cannot use": {vars{"html": "<p>\n{{ 'Liquid' | divided_by: 0 }}"}, "TEMPLATE", "TEMPLATE_RENDER", false, "html", 2},
		"endless Liquid":                  {vars{"html": "{% for i in (1..100000000) %}{% for j in (1..100000000) %}{% endfor %}{% endfor %}"}, "TEMPLATE", "TEMPLATE_LIMIT", false, "", 0},
		"an address that is closed":       {vars{"html": `<img src="` + closed.URL + `/x.png?sig=abc">`}, "ASSET", "EGRESS_DENIED", false, "", 0},
		"a picture that is not there":     {vars{"html": `<img src="` + missing.URL + `/x.png">`}, "ASSET", "ASSET_FAILED", false, "", 0},
		"a picture that never comes":      {vars{"html": `<img src="` + silent.URL + `/x.png">`, "page": vars{"timeout": 3}}, "RENDER", "RENDER_TIMEOUT", true, "", 0},
		"an endless script":               {vars{"html": `<script>while (true) {}</script>`, "page": vars{"timeout": 1}}, "RENDER", "RENDER_TIMEOUT", false, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc := (&client{t: t, base: c.base, live: c.live}).submit(test.input)
			f := doc.Failure
			if doc.State != "FAILED" || !doc.Final || doc.File != nil || doc.DownloadURL != "" || len(doc.Actions) != 0 || f == nil {
				t.Fatalf("%v", doc)
			}
			if f.Stage != test.stage || f.Code != test.code || f.Retryable != test.retryable || f.Message == "" || strings.Join(f.Path, ".") != test.path || f.Line != test.line {
				t.Errorf("failure %+v", f)
			}
			if strings.Contains(f.Message+string(f.Details), "sig=abc") {
				t.Errorf("the failure shows a query, which may be a signature: %+v %s", f, f.Details)
			}
		})
	}
}

func TestR2_1LiquidSeesDataMetadataAndNames(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	id := c.template("My template", `{{ data.a }}|{{ a }}|{{ metadata.m }}|{{ submission_id }}|{{ template_id }}|{{ template_name }}|{{ template_version }}|{{ data.submission_id }}`)
	doc := c.submit(vars{"templateId": id, "data": vars{"a": "A", "submission_id": "mine"}, "metadata": vars{"m": "M"}})
	_, body := c.download(doc.DownloadURL)
	got := strings.Join(strings.Fields(text(t, body)), "")
	if want := strings.ReplaceAll(fmt.Sprintf("A|A|M|%s|%s|My template|1|mine", doc.ID, id), " ", ""); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	html := c.submit(vars{"html": `{{ data[1] }}|{{ template_id }}|{{ template_version }}`, "data": []int{7, 8}})
	_, body = c.download(html.DownloadURL)
	if got := strings.TrimSpace(text(t, body)); got != "8|html|0" {
		t.Errorf("without a template: %q", got)
	}
}

func TestR2_3PageSettingsOfASubmissionGoOverTheTemplates(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	var got struct {
		CreateTemplate struct{ Template struct{ ID string } }
	}
	c.do(`mutation { createTemplate(input: {name: "T", content: {html: "<p>x</p>", page: {format: A5, orientation: LANDSCAPE}}}) { template { id } } }`, nil, &got)
	for _, test := range []struct {
		page vars
		want string
	}{
		{nil, "595.276 x 419.528"}, {vars{"orientation": "PORTRAIT"}, "419.528 x 595.276"}, {vars{"format": "A4"}, "841.89 x 595.276"},
		{vars{"width": "100mm", "height": "50mm", "orientation": "PORTRAIT"}, "283.465 x 141.732"},
	} {
		doc := c.submit(vars{"templateId": got.CreateTemplate.Template.ID, "page": test.page})
		_, body := c.download(doc.DownloadURL)
		var w, h, wantW, wantH float64
		info := pdfTool(t, body, "pdfinfo", "FILE")
		if _, err := fmt.Sscanf(info[strings.Index(info, "Page size:"):], "Page size: %f x %f", &w, &h); err != nil {
			t.Fatal(err)
		}
		fmt.Sscanf(test.want, "%f x %f", &wantW, &wantH)
		if w-wantW > 1 || wantW-w > 1 || h-wantH > 1 || wantH-h > 1 {
			t.Errorf("%v: %.1f x %.1f points, want %s", test.page, w, h, test.want)
		}
	}
}

func TestR3_4ADownloadIsSignedExpiresAndHasRanges(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	doc := c.submit(vars{"html": "<p>x</p>", "metadata": json.RawMessage(`{"n":1.10}`), "data": json.RawMessage(`{"big":12345678901234567890.10}`)})
	response, body := c.download(doc.DownloadURL)
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "application/pdf" || int64(len(body)) != doc.File.ByteSize ||
		response.Header.Get("ETag") != `"`+doc.File.SHA256+`"` || !strings.HasPrefix(string(body), "%PDF-") {
		t.Errorf("%d %v", response.StatusCode, response.Header)
	}
	if string(doc.Metadata) != `{"n":1.10}` || string(doc.Data) != `{"big":12345678901234567890.10}` {
		t.Errorf("numbers lost their digits: %s %s", doc.Metadata, doc.Data)
	}
	response, part := c.download(doc.DownloadURL, "Range", "bytes=5-9")
	if response.StatusCode != http.StatusPartialContent || string(part) != string(body[5:10]) {
		t.Errorf("a range: %d %q", response.StatusCode, part)
	}
	response, _ = c.download(doc.DownloadURL, "If-None-Match", `"`+doc.File.SHA256+`"`)
	if response.StatusCode != http.StatusNotModified {
		t.Errorf("a conditional request: %d", response.StatusCode)
	}
	other := c.submit(vars{"html": "<p>other</p>"})
	for name, address := range map[string]string{
		"another document": strings.Replace(doc.DownloadURL, doc.ID, other.ID, 1),
		"a later expiry":   strings.Replace(doc.DownloadURL, "signature=1", "signature=2", 1),
		"no signature":     doc.DownloadURL[:strings.Index(doc.DownloadURL, "?")],
		"another account":  strings.Replace(doc.DownloadURL, c.account.ID, root.NewID(root.KindAccount), 1),
	} {
		if response, _ := c.download(address); response.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d, want 403", name, response.StatusCode)
		}
	}
	expired := shared.pipeline.DownloadURL(&root.Submission{Document: root.Document{Record: root.Record{AccountID: c.account.ID, ID: doc.ID}, File: &root.DocumentFile{}}}, -time.Minute)
	if response, body := c.download(expired); response.StatusCode != http.StatusForbidden || !strings.Contains(string(body), "expired") {
		t.Errorf("an expired address: %d %s", response.StatusCode, body)
	}
	for _, life := range []int{0, -1, 604801} {
		if a := c.ask(c.live, `query ($id: ID!, $life: Int!) { submission(id: $id) { downloadUrl(expiresIn: $life) } }`, vars{"id": doc.ID, "life": life}); a.code() != "BAD_USER_INPUT" {
			t.Errorf("expiresIn %d: %s", life, a.code())
		}
	}
}

// deadlines is a connection that notes for when its writes are bounded.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetWriteDeadline(at time.Time) error {
	d.set = append(d.set, at)
	return nil
}

// T10: what a download's pause is bounded by, the server's own tests show; here, that it is.
func TestT10ADownloadHasHalfAMinuteForEachPiece(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	doc := c.submit(vars{"html": "<p>x</p>"})
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	before := time.Now()
	shared.server.ServeHTTP(w, httptest.NewRequest(http.MethodGet, doc.DownloadURL, nil))
	if w.Code != http.StatusOK || int64(w.Body.Len()) != doc.File.ByteSize {
		t.Fatalf("%d, %d bytes", w.Code, w.Body.Len())
	}
	if !slices.ContainsFunc(w.set, func(at time.Time) bool {
		return at.Sub(before) >= 30*time.Second && time.Until(at) <= 30*time.Second
	}) {
		t.Errorf("the writes are bounded by %v from %v on", w.set, before)
	}
}

func TestR3_7SubmissionsArePaged(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	var newest []string
	for range 5 {
		newest = append([]string{c.submit(vars{"html": "<p>x</p>", "wait": 0}).ID}, newest...)
	}
	type page struct {
		Submissions struct {
			Nodes      []struct{ ID string }
			Edges      []struct{ Cursor string }
			TotalCount int
			PageInfo   struct {
				HasNextPage, HasPreviousPage bool
				StartCursor, EndCursor       string
			}
		}
	}
	read := func(args string) (ids []string, p page) {
		t.Helper()
		c.do(`{ submissions`+args+` { nodes { id } edges { cursor } totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }`, nil, &p)
		for _, node := range p.Submissions.Nodes {
			ids = append(ids, node.ID)
		}
		return ids, p
	}
	ids, first := read("(first: 2)")
	if !slices.Equal(ids, newest[:2]) || !first.Submissions.PageInfo.HasNextPage || first.Submissions.TotalCount != 5 ||
		first.Submissions.Edges[1].Cursor != first.Submissions.PageInfo.EndCursor {
		t.Errorf("%v %+v", ids, first)
	}
	ids, second := read(fmt.Sprintf("(first: 2, after: %q)", first.Submissions.PageInfo.EndCursor))
	if !slices.Equal(ids, newest[2:4]) || !second.Submissions.PageInfo.HasPreviousPage {
		t.Errorf("%v %+v", ids, second)
	}
	if ids, _ = read(fmt.Sprintf("(last: 2, before: %q)", second.Submissions.PageInfo.StartCursor)); !slices.Equal(ids, newest[:2]) {
		t.Errorf("backward: %v", ids)
	}
	if ids, _ = read(""); !slices.Equal(ids, newest) {
		t.Errorf("without arguments: %v", ids)
	}
	for _, args := range []string{"(first: 0)", "(first: 101)", "(first: 1, last: 1)", `(after: "nonsense")`, `(before: "x")`} {
		if a := c.ask(c.live, `{ submissions`+args+` { nodes { id } } }`, nil); a.code() != "BAD_USER_INPUT" {
			t.Errorf("%s: %q", args, a.code())
		}
	}
}

func TestTheDocumentGuardRefusesWhatValidationWouldChokeOn(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	var doubling strings.Builder
	doubling.WriteString(`query { account { ...f0 } }`)
	for i := range 60 {
		fmt.Fprintf(&doubling, ` fragment f%d on Account { ...f%d ...f%d }`, i, i+1, i+1)
	}
	doubling.WriteString(` fragment f60 on Account { id }`)
	for name, refused := range map[string]struct{ query, reason string }{
		"fragments that double":    {doubling.String(), "more than 1000 fields"},
		"many aliases":             {`{` + strings.Repeat(` account { id }`, 200) + `}`, "more than 150 fields in one place"},
		"many fields":              {`{` + strings.Repeat(` account { id a: id b: id c: id d: id e: id f: id }`, 140) + `}`, "more than 1000 fields"},
		"many fragments":           {`{ account { id } }` + strings.Repeat(` fragment f on Account { id }`, 101), "more than 100 fragments"},
		"many directives":          {`{ account` + strings.Repeat(` @skip(if: false)`, 6) + ` { id } }`, "more than 5 directives"},
		"deep nesting":             {`{ submissions { nodes ` + strings.Repeat(`{ actions { subject { ... on Submission `, 8) + `{ id }` + strings.Repeat(`} } }`, 8) + ` } }`, "nests more than 15 levels"},
		"megabytes by the hundred": {`{` + strings.Repeat(` a: submissions(first: 100) { nodes { data } }`, 1) + `}`, "more than 20000 values"},
		"whole documents":          {`{ submissions(first: 100) { nodes {` + strings.Repeat(" a: sourceUrl", 150) + ` } } }`, "more than 20000 values"},
		"megabytes by default": {`{ a: submissions { nodes { data } } b: submissions { ...f } c: submissions { ...f } } fragment f on SubmissionConnection { ...g }
			fragment g on SubmissionConnection { nodes { data } }`, "more than 20000 values"},
		"a cycle": {`{ account { ...a } } fragment a on Account { ...b } fragment b on Account { ...a }`, "spreads itself"},
	} {
		start := time.Now()
		a := c.ask(c.live, refused.query, nil)
		if a.code() != "DOCUMENT_TOO_COMPLEX" || !strings.Contains(a.Errors[0].Message, refused.reason) {
			t.Errorf("%s: %+v", name, a.Errors)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
	if a := c.ask(c.live, `query ($n: Int) { submissions(first: $n) { nodes { data } } }`, vars{"n": 100}); a.code() != "DOCUMENT_TOO_COMPLEX" {
		t.Errorf("a page size in a variable: %+v", a.Errors)
	}
	if a := c.ask(c.live, `query ($n: Int) { submissions(first: $n) { nodes { ...doc } totalCount } }`+fragments, vars{"n": 25}); len(a.Errors) > 0 {
		t.Errorf("a page with everything: %+v", a.Errors)
	}
	if a := c.ask(c.live, introspection, nil); len(a.Errors) > 0 || !strings.Contains(string(a.Data), "AwsS3Integration") {
		t.Errorf("introspection with a token: %+v", a.Errors)
	}
	if a := c.ask("", introspection, nil); a.code() != "UNAUTHENTICATED" || strings.Contains(string(a.Data), "AwsS3Integration") {
		t.Errorf("introspection without a token: %+v", a.Errors)
	}
	big := c.ask(c.live, `query ($x: JSON) { account { id } }`, vars{"x": strings.Repeat("x", 18<<20)})
	if big.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("a body over the limit: %d", big.Status)
	}
	if a := c.ask("", `{ account { id } }`, vars{"x": strings.Repeat("x", 100<<10)}); a.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("a stranger's large body: %d", a.Status)
	}
	response, err := http.Post(c.base+"/graphql", "application/json", strings.NewReader(`{"query": 7, "x": "`+strings.Repeat("echo", 1000)+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusBadRequest || strings.Contains(string(body), "echo") {
		t.Errorf("a malformed body: %d %.100s", response.StatusCode, body)
	}
}

func TestIDsAndCursorsThatCannotBeAreNotFound(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	for _, id := range []string{"", "x", "a\x00b", "sub_\x00", "\xff\xfe", strings.Repeat("x", 100_000)} {
		a := c.ask(c.live, `query ($id: ID!) { submission(id: $id) { id } action(id: $id) { id } template(id: $id) { id } integration(id: $id) { id } node(id: $id) { id } nodes(ids: [$id]) { id } }`, vars{"id": id})
		if string(a.Data) != `{"submission":null,"action":null,"template":null,"integration":null,"node":null,"nodes":[null]}` || len(a.Errors) > 0 {
			t.Errorf("%.20q: %s %+v", id, a.Data, a.Errors)
		}
		if a := c.ask(c.live, `mutation ($id: ID!) { revokeApiToken(id: $id) { userErrors { code } } }`, vars{"id": id}); string(a.Data) != `{"revokeApiToken":{"userErrors":[{"code":"NOT_FOUND"}]}}` {
			t.Errorf("revoking %.20q: %s %+v", id, a.Data, a.Errors)
		}
		if errs := c.refused(c.live, vars{"templateId": id, "wait": 1}); id != "" && (len(errs) != 1 || errs[0].Code != "NOT_FOUND") {
			t.Errorf("a submission of %.20q: %+v", id, errs)
		}
		s := c.subscribe(c.live, `subscription ($id: ID!) { submissionUpdated(id: $id) { kind } }`, vars{"id": id})
		if f := s.read(); !strings.Contains(string(f.Payload), "NOT_FOUND") {
			t.Errorf("a subscription of %.20q: %s %.200s", id, f.Type, f.Payload)
		}
	}
	for _, position := range []string{"-9223372036854775808 x", "1 \xff", "999999999999999999 x", "1"} {
		cursor := base64.RawURLEncoding.EncodeToString([]byte(position))
		if a := c.ask(c.live, `query ($after: String) { submissions(after: $after) { nodes { id } } }`, vars{"after": cursor}); a.code() != "BAD_USER_INPUT" {
			t.Errorf("cursor %q: %+v", position, a.Errors)
		}
	}
}

const introspection = `{ __schema { queryType { name } types { kind name description fields(includeDeprecated: true) { name description
	args { name description type { ...t } defaultValue } type { ...t } } inputFields { name type { ...t } } interfaces { name } enumValues { name } possibleTypes { name } } } }
	fragment t on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } }`

func TestHealthFiguresAndContractAreServed(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	c.integrate(newS3(t, "archive"), "archive", nil)
	c.final(c.submit(vars{"html": "<p>x</p>", "wait": 0}).ID)
	get := func(path string) (int, string) {
		t.Helper()
		response, err := http.Get(c.base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil || response.Header.Get("X-Request-Id") == "" {
			t.Fatal(err, response.Header)
		}
		return response.StatusCode, string(body)
	}
	if status, body := get("/healthz"); status != 200 {
		t.Errorf("/healthz: %d %s", status, body)
	}
	if status, body := get("/readyz"); status != 200 || !strings.Contains(body, `"database":"ok"`) || !strings.Contains(body, `"browser":"ok"`) {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if _, body := get("/metrics"); !strings.Contains(body, `platen_render_seconds_count{outcome="PROCESSED"}`) ||
		!strings.Contains(body, `platen_delivery_seconds_count{outcome="PROCESSED"}`) || !strings.Contains(body, `platen_deliveries_total{state="PROCESSED"}`) {
		t.Errorf("/metrics lacks figures")
	}
	if _, body := get("/schema.graphql"); !strings.Contains(body, "type Submission implements Node & Document") || strings.Contains(body, "@go") {
		t.Error("/schema.graphql is not the contract alone")
	}
	if status, body := get("/"); status != 200 || !strings.Contains(body, "<html") {
		t.Errorf("/: %d %s", status, body)
	}
}
