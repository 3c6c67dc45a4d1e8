package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	root "platen"
	"platen/delivery/s3test"
)

// canaries are secrets that a test plants, by what they are secrets of.
type canaries struct {
	mu sync.Mutex
	of map[string]string
}

// plant makes one that nothing else looks like.
func (c *canaries) plant(what string) string {
	return c.add(what, "canary"+root.RandomString(26))
}

func (c *canaries) add(what, secret string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of[what] = secret
	return secret
}

// found are the secrets that a text shows, as they are or encoded.
func (c *canaries) found(text string) (shown []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for what, secret := range c.of {
		forms := []string{secret, url.QueryEscape(secret), hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret)))}
		// In base64 a text has three forms, by where it begins; their inner parts are its own.
		for before := range 3 {
			encoded := base64.StdEncoding.EncodeToString(append(make([]byte, before), secret...))
			forms = append(forms, encoded[4:len(encoded)-4])
		}
		if slices.ContainsFunc(forms, func(form string) bool { return strings.Contains(text, form) }) {
			shown = append(shown, what)
		}
	}
	slices.Sort(shown)
	return shown
}

// canaryClient keeps what the API answers, secrets that it shows once apart.
type canaryClient struct {
	*client
	answers *syncBuffer
}

// say sends an operation and reads its data.
func (s canaryClient) say(token, query string, variables vars) answer {
	s.t.Helper()
	a := s.ask(token, query, variables)
	_, _ = fmt.Fprintf(s.answers, "%s %+v\n", a.Data, a.Errors)
	return a
}

// made sends a mutation and returns the id of what it made, and a secret that it shows.
func (s canaryClient) made(mutation string, input vars) (id, secret string) {
	s.t.Helper()
	kind := strings.ToUpper(mutation[:1]) + mutation[1:]
	field := map[string]string{"createAwsS3Integration": "integration { id }", "createWebhookIntegration": "integration { id } secret", "createSubmission": "submission { id }",
		"createCombinedSubmission": "combinedSubmission { id }", "createApiToken": "apiToken { id } secret"}[mutation]
	query := fmt.Sprintf(`mutation ($input: %sInput!) { made: %s(input: $input) { %s userErrors { message path code } } }`, kind, mutation, field)
	a := s.ask(s.live, query, vars{"input": input})
	var got struct {
		Made struct {
			Integration, Submission, CombinedSubmission, APIToken *struct{ ID string }
			Secret                                                string
			UserErrors                                            json.RawMessage
		}
	}
	if err := json.Unmarshal(a.Data, &got); err != nil && len(a.Errors) == 0 {
		s.t.Fatalf("%s: %v", a.Data, err)
	}
	_, _ = fmt.Fprintf(s.answers, "%s: %s %+v\n", mutation, got.Made.UserErrors, a.Errors)
	for _, made := range []*struct{ ID string }{got.Made.Integration, got.Made.Submission, got.Made.CombinedSubmission, got.Made.APIToken} {
		if made != nil {
			id = made.ID
		}
	}
	return id, got.Made.Secret
}

// secretsGoThrough plants secrets of all kinds through the API, in what goes well and in
// what fails, and waits for the end of it.
func secretsGoThrough(t *testing.T, s canaryClient, planted *canaries) {
	t.Helper()
	// Servers that tell what they were asked: whoever repeats their answers repeats secrets.
	parrot := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Request-Id", r.URL.RawQuery)
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "<Error><Code>SignatureDoesNotMatch</Code><Message>%s</Message><RequestId>%s</RequestId></Error>", r.URL, r.URL.RawQuery)
	}))
	t.Cleanup(parrot.Close)
	gone := httptest.NewServer(nil)
	gone.Close() // nobody listens there
	wander := httptest.NewServer(http.RedirectHandler(parrot.URL+"/elsewhere?key="+planted.plant("a redirect's query"), http.StatusFound))
	t.Cleanup(wander.Close)

	bucket := newS3(t, "archive")
	right := planted.plant("an S3 secret access key")
	bucket.AddKey("AKCANARY", right, s3test.PutOnly("archive"))
	s3 := func(secret string, more vars) vars {
		input := vars{"name": "S3", "accessKeyId": "AKCANARY", "secretAccessKey": secret, "region": "eu-west-3", "bucket": "archive", "endpoint": bucket.URL, "forcePathStyle": true}
		for name, value := range more {
			input[name] = value
		}
		return input
	}
	var integrations []string
	for _, input := range []vars{s3(right, nil), s3(planted.plant("a wrong S3 secret access key"), nil),
		s3(planted.plant("an S3 secret access key for nobody"), vars{"endpoint": gone.URL}),
		s3(planted.plant("an S3 secret access key for a parrot"), vars{"endpoint": parrot.URL})} {
		id, _ := s.made("createAwsS3Integration", input)
		if id == "" {
			t.Fatalf("refused: %s", s.answers)
		}
		integrations = append(integrations, id)
	}
	s.made("createAwsS3Integration", s3(planted.plant("a refused S3 secret access key")+" "+planted.plant("its second word"), vars{"bucket": "?"}))
	s.say(s.live, `mutation ($id: ID!, $input: UpdateAwsS3IntegrationInput!) { updateAwsS3Integration(id: $id, input: $input) { integration { id } userErrors { message } } }`,
		vars{"id": integrations[2], "input": vars{"secretAccessKey": planted.plant("a changed S3 secret access key")}})
	s.say(s.live, `mutation ($id: ID!, $input: UpdateAwsS3IntegrationInput!) { updateAwsS3Integration(id: $id, input: $input) { integration { id } userErrors { message } } }`,
		vars{"id": integrations[2], "input": vars{"secretAccessKey": []string{planted.plant("an S3 secret access key in a list")}}})
	for _, address := range []string{newHook(t).URL, parrot.URL, gone.URL, wander.URL} {
		id, secret := s.made("createWebhookIntegration", vars{"name": "Hook", "url": address + "/hook"})
		if secret == "" {
			t.Fatalf("no secret: %s", s.answers)
		}
		planted.add("the secret of the webhook at "+address, strings.TrimPrefix(secret, "whsec_"))
		integrations = append(integrations, id)
	}
	_, token := s.made("createApiToken", vars{"name": "t", "environment": "LIVE"})
	planted.add("a new API token", token)
	s.say(token, `{ currentApiToken { name } nothing }`, nil)
	s.say(planted.plant("an unknown API token"), `{ account { id } }`, nil)

	address := presign(t, bucket, "own/a.pdf", 5*time.Minute)
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	planted.add("the signature of a presigned URL", parsed.Query().Get("X-Amz-Signature"))
	signed := func(base, what string) vars {
		return vars{"url": base + "/archive/own/b.pdf?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=" + planted.plant("the signature of "+what),
			"headers": []vars{{"name": "X-Secret", "value": planted.plant("a header of " + what)}}}
	}
	password := func(what string) string { return planted.plant("the password of " + what) }
	var documents []string
	for _, input := range []vars{
		{"html": "<p>well</p>", "password": password("a PDF"), "metadata": vars{"note": "not-a-secret-of-metadata"}},
		{"html": "<p>well</p>", "presignedUpload": vars{"url": address}},
		{"html": `<img src="` + gone.URL + `/x.png">`, "password": password("a PDF that fails"), "presignedUpload": signed(bucket.URL, "a presigned URL that is not needed")},
		{"html": "<p>well</p>", "presignedUpload": signed(bucket.URL, "a presigned URL that is wrong"), "idempotencyKey": "k"},
		{"html": "<p>well</p>", "presignedUpload": signed(parrot.URL, "a presigned URL of a parrot")},
		{"html": "<p>well</p>", "presignedUpload": signed(gone.URL, "a presigned URL of nobody")},
		{"html": "<p>well</p>", "presignedUpload": signed(wander.URL, "a presigned URL that leads elsewhere")},
		{"html": "<p>well</p>", "presignedUpload": signed("http://192.0.2.1", "a presigned URL that is forbidden")},
		{"html": "{{ 'x' | nothing }}", "password": password("a PDF without sources")},
		{"html": "<p>refused</p>", "password": strings.Repeat(password("a PDF that is refused"), 10)},
		{"html": "<p>refused</p>", "output": "PNG", "password": password("an image")},
		{"html": "<p>refused</p>", "presignedUpload": signed("ftp://example.com", "a presigned URL that is refused")},
		{"html": "<p>refused</p>", "presignedUpload": signed("http://user:"+planted.plant("a presigned URL's user")+"@example.com", "a presigned URL with a user")},
		{"html": "<p>refused</p>", "presignedUpload": vars{"url": "http://[" + planted.plant("an address that cannot be parsed")}},
		{"html": "<p>refused</p>", "password": []string{password("a list")}},
		{"html": "<p>other</p>", "presignedUpload": signed(bucket.URL, "a presigned URL of a used key"), "idempotencyKey": "k"},
	} {
		if id, _ := s.made("createSubmission", input); id != "" {
			documents = append(documents, id)
		}
	}
	if len(documents) < 8 {
		t.Fatalf("only %v were accepted: %s", documents, s.answers)
	}
	for _, sources := range [][]vars{
		{{"url": gone.URL + "/a.pdf?sig=" + planted.plant("a source's address of nobody")}},
		{{"url": parrot.URL + "/a.pdf?sig=" + planted.plant("a source's address of a parrot")}},
		{{"url": wander.URL + "/a.pdf?sig=" + planted.plant("a source's address that leads elsewhere")}},
		{{"url": "http://192.0.2.1/a.pdf?sig=" + planted.plant("a source's address that is forbidden")}},
		{{"url": "file:///a.pdf?sig=" + planted.plant("a source's address that is refused")}},
	} {
		if id, _ := s.made("createCombinedSubmission", vars{"sources": sources, "password": password("a combination")}); id != "" {
			documents = append(documents, id)
		}
	}
	for _, id := range integrations {
		s.say(s.live, `mutation ($id: ID!) { testIntegration(id: $id) { health { state failure { code message providerCode details } } userErrors { message } } }`, vars{"id": id})
	}
	// Until all documents are over, and each presigned upload was tried. Of integrations that
	// fail, some actions wait for the end of a pause.
	tried := func() bool {
		a := s.ask(s.live, `{ submissions(first: 50) { nodes { state actions(type: PRESIGNED_UPLOAD) { attempts } } }
			combined: combinedSubmissions { nodes { state } }
			delivered: actions(filter: {states: [PROCESSED], types: [AWS_S3_UPLOAD]}) { totalCount } }`, nil)
		documents, combined, _ := strings.Cut(string(a.Data), `"combined"`) // of which one asks nobody again and again
		return !strings.Contains(documents, `"attempts":0`) && !strings.Contains(documents, `"state":"PENDING"`) &&
			strings.Count(combined, `"state":"PENDING"`) <= 1 && !strings.Contains(combined, `"totalCount":0`)
	}
	for deadline := time.Now().Add(patience); !tried(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come to an end")
		}
	}
	for _, id := range documents {
		s.say(s.live, `query ($id: ID!) { node(id: $id) { ... on Document { id state metadata failure { code message providerCode details }
			actions { id destination state failure { code message providerCode details } result { ... on UploadReceipt { url key etag } } } } } }`, vars{"id": id})
	}
	for _, id := range integrations {
		s.say(s.live, `query ($id: ID!) { integration(id: $id) { id name health { state failure { code message providerCode details } } ... on AwsS3Integration { accessKeyId endpoint } ... on WebhookIntegration { url } } }`, vars{"id": id})
	}
}

// dump is the whole database as text, table by table.
func dump(t *testing.T, p *program) map[string]string {
	t.Helper()
	names, err := p.db.SQL().QueryContext(t.Context(), `select quote_ident(table_schema) || '.' || quote_ident(table_name) from information_schema.tables
		where table_schema not in ('pg_catalog', 'information_schema') and table_type = 'BASE TABLE'`)
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()
	tables := map[string]string{}
	for names.Next() {
		var name, text string
		if err := names.Scan(&name); err != nil {
			t.Fatal(err)
		}
		if err := p.db.SQL().QueryRowContext(t.Context(), `select coalesce(string_agg(row_to_json(r)::text, E'\n'), '') from `+name+` r`).Scan(&text); err != nil {
			t.Fatal(name, err)
		}
		tables[name] = text
	}
	return tables
}

// T14: what is planted through the API, or in the configuration, is found in no log (of any
// level), no table, no argument of a job, no figure and no answer.
func TestT14NoPlantedSecretIsFoundInLogsTablesJobsFiguresOrAnswers(t *testing.T) {
	t.Parallel()
	planted := &canaries{of: map[string]string{}}
	master := []byte(planted.plant("the master key"))
	dir := filepath.Join(shared.config.dataDir, "postgres")
	config, err := load([]string{"PLATEN_DATA_DIR=" + emptyFolder(t), "PLATEN_LISTEN=127.0.0.1:0", "PLATEN_EGRESS_ALLOW=127.0.0.0/8",
		"DATABASE_URL=" + dsnIn(dir, newDatabase(t)) + " password=" + planted.plant("the database's password"),
		"PLATEN_BLOB_URL=file://" + emptyFolder(t), "PLATEN_SECRET_KEY=" + planted.add("the master key as it is given", base64.StdEncoding.EncodeToString(master)),
		"PLATEN_BOOTSTRAP_LIVE_TOKEN=" + planted.plant("the first live token"), "PLATEN_BOOTSTRAP_TEST_TOKEN=" + planted.plant("the first test token")})
	if err != nil {
		t.Fatal(err)
	}
	config.retryBase = time.Millisecond
	var log syncBuffer
	logger := slog.New(requestHandler{slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})})
	logger.Debug("configuration", "config", fmt.Sprintf("%+v", config), "json", config)
	p, err := open(t.Context(), config, logger)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		p.close()
	})
	t.Cleanup(stop)

	c := &client{t: t, base: p.baseURL, live: config.liveToken.Reveal(), test: config.testToken.Reveal()}
	s := canaryClient{c, &syncBuffer{}}
	secretsGoThrough(t, s, planted)
	for _, token := range []string{c.live, c.test} {
		s.say(token, `query ($x: JSON) { account { id name } }`, vars{"x": planted.plant("a variable of " + token[:10])})
	}
	response, err := http.Get(p.baseURL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	figures, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	tables := dump(t, p)
	stop()

	texts := map[string]string{"the log": log.String(), "the answers": s.answers.String(), "the figures": string(figures), "what a panic prints of the program": fmt.Sprintf("%+v %#v", *p.db, config)}
	for name, text := range tables {
		texts["table "+name] = text
	}
	for where, text := range texts {
		if shown := planted.found(text); len(shown) > 0 {
			t.Errorf("%s shows %v\n%.3000s", where, shown, text)
		}
	}
	// What is no secret is found: these are the places where it would be.
	for where, known := range map[string]string{"the log": `"path":"/graphql"`, "the answers": "not-a-secret-of-metadata", "the figures": "platen_deliveries_total",
		"table public.submissions": "not-a-secret-of-metadata", "table public.events": "not-a-secret-of-metadata", "table public.integrations": "AKCANARY",
		"table river.river_job": `"submission`, "table public.actions": "archive/own/b.pdf"} {
		if !strings.Contains(texts[where], known) {
			t.Errorf("%s does not show %s: nothing is looked for in it\n%.2000s", where, known, texts[where])
		}
	}
	for _, of := range []string{"an S3 secret access key", "the master key"} {
		secret := planted.of[of]
		for _, text := range []string{"a" + secret + "b", `"\x` + hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte("x" + secret + "yz"))} {
			if shown := planted.found(text); !slices.Contains(shown, of) {
				t.Errorf("%s is not found in %s", of, text)
			}
		}
	}
}

// T14: a crash prints what every goroutine did, and none of its secrets.
func TestT14NoPlantedSecretIsFoundInWhatACrashPrints(t *testing.T) {
	t.Parallel()
	planted := &canaries{of: map[string]string{}}
	master := []byte(planted.plant("the master key"))
	live := planted.plant("the first live token")
	p := serveProcess(t, emptyFolder(t), "PLATEN_EGRESS_ALLOW=127.0.0.0/8", "PLATEN_BOOTSTRAP_LIVE_TOKEN="+live,
		"PLATEN_SECRET_KEY="+planted.add("the master key as it is given", base64.StdEncoding.EncodeToString(master)))
	ready(t, p)
	c := &client{t: t, base: p.base, live: live}
	s := canaryClient{c, &syncBuffer{}}
	stuck := make(chan struct{})
	reached := make(chan struct{}, 10)
	holding := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		reached <- struct{}{}
		<-stuck
	}))
	t.Cleanup(holding.Close)
	t.Cleanup(func() { close(stuck) })
	id, _ := s.made("createAwsS3Integration", vars{"name": "S3", "accessKeyId": "AK", "secretAccessKey": planted.plant("an S3 secret access key"), "region": "eu-west-3", "bucket": "archive",
		"endpoint": holding.URL, "forcePathStyle": true})
	_, secret := s.made("createWebhookIntegration", vars{"name": "Hook", "url": holding.URL})
	planted.add("a webhook's secret", strings.TrimPrefix(secret, "whsec_"))
	s.made("createSubmission", vars{"html": "<p>x</p>", "password": planted.plant("a PDF's password"),
		"presignedUpload": vars{"url": holding.URL + "/k?X-Amz-Signature=" + planted.plant("a presigned URL's signature")}})
	if id == "" || secret == "" {
		t.Fatalf("refused: %s", s.answers)
	}
	for range 3 { // all three are on their way when it dies
		select {
		case <-reached:
		case <-time.After(patience):
			t.Fatalf("the document is not delivered: %s\n%s", s.answers, p.log)
		}
	}
	p.stop(syscall.SIGQUIT)
	text := p.log.String() + p.out.String() + s.answers.String()
	if shown := planted.found(text); len(shown) > 0 {
		t.Errorf("it shows %v\n%s", shown, text)
	}
	if !strings.Contains(text, "SIGQUIT") || strings.Count(text, "goroutine ") < 20 || !strings.Contains(text, "platen/delivery") {
		t.Errorf("that is no crash:\n%.3000s", text)
	}
}
