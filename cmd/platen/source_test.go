package main

import (
	"bytes"
	"fmt"
	"image"
	_ "image/jpeg"
	_ "image/png"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	root "platen"
)

// made is what a submission was made of, as the tests ask for it.
type made struct {
	Output                string
	Test                  bool
	Template              *struct{ ID string }
	TemplateVersion       *struct{ Number int }
	SourceHTML, SourceURL *string
	File                  struct {
		ContentType       string
		PageCount         *int
		PasswordProtected bool
	}
}

func (c *client) made(id string) made {
	c.t.Helper()
	var got struct{ Submission made }
	c.do(`query ($id: ID!) { submission(id: $id) { output test template { id } templateVersion { number } sourceHtml sourceUrl file { contentType pageCount passwordProtected } } }`,
		vars{"id": id}, &got)
	return got.Submission
}

func (c *client) textOf(doc document) string {
	c.t.Helper()
	if doc.State != "PROCESSED" {
		c.t.Fatalf("not processed: %v", doc)
	}
	_, pdf := c.download(doc.DownloadURL)
	return strings.TrimSpace(text(c.t, pdf))
}

func TestR2_2ASubmissionUsesTheLatestVersionTheNamedOneOrTheDraft(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "archive")
	c.integrate(server, "archive", vars{"appliesTo": "LIVE_AND_TEST", "pathTemplates": vars{"submission": "{{ template_id }}/{{ template_version }}/{{ submission_id }}.{{ extension }}"}})
	template := c.createTemplate(vars{"name": "Letter", "content": vars{"html": "<p>first {{ n }} {{ template_version }}</p>"}}).ID
	c.updateTemplate(template, vars{"content": vars{"html": "<p>second {{ n }} {{ template_version }}</p>"}})
	c.publishTemplate(template)
	c.updateTemplate(template, vars{"content": vars{"html": "<p>third {{ n }} {{ template_version }}</p>"}})
	for name, test := range map[string]struct {
		more    vars
		text    string
		version int // 0: the draft
	}{
		"latest": {vars{}, "second 1 2", 2},
		"named":  {vars{"templateVersion": 1}, "first 1 1", 1},
		"draft":  {vars{"draft": true}, "third 1 draft", 0},
	} {
		input := vars{"templateId": template, "data": vars{"n": 1}}
		for field, value := range test.more {
			input[field] = value
		}
		doc := c.final(c.submit(input).ID)
		got := c.made(doc.ID)
		if text := c.textOf(doc); !strings.Contains(text, test.text) {
			t.Errorf("%s: says %q, want %q", name, text, test.text)
		}
		number := "draft"
		if test.version > 0 {
			number = fmt.Sprint(test.version)
		}
		if (got.TemplateVersion == nil) != (test.version == 0) || got.TemplateVersion != nil && got.TemplateVersion.Number != test.version ||
			got.Template == nil || got.Template.ID != template || got.Test != (test.version == 0) || got.SourceHTML != nil {
			t.Errorf("%s: %+v", name, got)
		}
		if key := doc.Actions[0].Result.Key; key != template+"/"+number+"/"+doc.ID+".pdf" {
			t.Errorf("%s: its key is %q", name, key)
		}
	}
	// A draft is used as it stood: what is edited while it waits does not matter.
	blocked := newGate(t, assets, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(logo()) }))
	c.updateTemplate(template, vars{"content": vars{"html": `<p>as it stood</p><img src="` + blocked.URL + `">`}})
	waiting := c.create(c.live, vars{"templateId": template, "draft": true})
	c.updateTemplate(template, vars{"content": vars{"html": "<p>as it became</p>"}})
	blocked.open()
	if text := c.textOf(c.final(waiting)); !strings.Contains(text, "as it stood") {
		t.Errorf("the draft says %q", text)
	}
}

func TestR3_1ConflictingOrMissingSourcesAreRefused(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	published := c.createTemplate(vars{"name": "P", "content": vars{"html": "<p>"}}).ID
	draft := c.createTemplate(vars{"name": "D", "publish": false, "content": vars{"html": "<p>"}}).ID
	archived := c.createTemplate(vars{"name": "A", "content": vars{"html": "<p>"}}).ID
	c.updateTemplate(archived, vars{"archived": true})
	html := func(more vars) vars { more["html"] = "<p>"; return more }
	address := func(more vars) vars { more["url"] = "https://example.com/"; return more }
	of := func(more vars) vars { more["templateId"] = published; return more }
	for name, test := range map[string]struct {
		input vars
		want  []string
	}{
		"html and url":                             {address(html(vars{})), []string{"input INVALID"}},
		"template and url":                         {address(of(vars{})), []string{"input INVALID"}},
		"a version that does not exist":            {of(vars{"templateVersion": 2}), []string{"input.templateVersion NOT_FOUND"}},
		"version 0":                                {of(vars{"templateVersion": 0}), []string{"input.templateVersion NOT_FOUND"}},
		"version and draft":                        {of(vars{"templateVersion": 1, "draft": true}), []string{"input.templateVersion INVALID"}},
		"a version of HTML":                        {html(vars{"templateVersion": 1}), []string{"input.templateVersion INVALID"}},
		"a draft of an address":                    {address(vars{"draft": true}), []string{"input.draft INVALID"}},
		"a live draft":                             {of(vars{"draft": true, "test": false}), []string{"input.test INVALID"}},
		"never published":                          {vars{"templateId": draft}, []string{"input.templateId CONFLICT"}},
		"archived":                                 {vars{"templateId": archived}, []string{"input.templateId CONFLICT"}},
		"an archived draft":                        {vars{"templateId": archived, "draft": true}, []string{"input.templateId CONFLICT"}},
		"css of an address":                        {address(vars{"css": "p{}"}), []string{"input.css INVALID"}},
		"a header of a template":                   {of(vars{"headerHtml": "x", "footerHtml": "y"}), []string{"input.footerHtml INVALID", "input.headerHtml INVALID"}},
		"a header that does not parse":             {address(vars{"headerHtml": "{{"}), []string{"input.headerHtml TEMPLATE_INVALID"}},
		"an address that is none":                  {vars{"url": "ftp://example.com/x"}, []string{"input.url INVALID"}},
		"a long address":                           {vars{"url": "https://example.com/" + strings.Repeat("x", root.MaxAddress)}, []string{"input.url TOO_LONG"}},
		"a screenshot of a PDF":                    {html(vars{"screenshot": vars{"width": 100}}), []string{"input.screenshot INVALID"}},
		"the quality of a PNG":                     {html(vars{"output": "PNG", "screenshot": vars{"quality": 80}}), []string{"input.screenshot.quality INVALID"}},
		"quality 0":                                {html(vars{"output": "JPEG", "screenshot": vars{"quality": 0}}), []string{"input.screenshot.quality INVALID"}},
		"a window that is too large":               {html(vars{"output": "PNG", "screenshot": vars{"width": 4097, "deviceScaleFactor": 5}}), []string{"input.screenshot.deviceScaleFactor INVALID", "input.screenshot.width INVALID"}},
		"a transparent JPEG":                       {html(vars{"output": "JPEG", "screenshot": vars{"omitBackground": true}}), []string{"input.screenshot.omitBackground INVALID"}},
		"the password of an image":                 {html(vars{"output": "WEBP", "password": "x"}), []string{"input.password INVALID"}},
		"an empty password":                        {html(vars{"password": ""}), []string{"input.password REQUIRED"}},
		"a long password":                          {html(vars{"password": strings.Repeat("x", 128)}), []string{"input.password TOO_LONG"}},
		"a password that readers read differently": {html(vars{"password": "e\u0301tude"}), []string{"input.password INVALID"}},
		"too many names in the metadata":           {html(vars{"metadata": names(root.MaxMetadataKeys + 1)}), []string{"input.metadata TOO_LARGE"}},
		"several":                                  {html(vars{"css": strings.Repeat("x", root.MaxSource+1), "expiresIn": -5, "page": vars{"pageRanges": "x"}}), []string{"input.css TOO_LARGE", "input.expiresIn INVALID", "input.page.pageRanges INVALID"}},
	} {
		if codes := codesOf(c.refused(c.live, test.input)); !slices.Equal(codes, test.want) {
			t.Errorf("%s: %v, want %v", name, codes, test.want)
		}
	}
	var left struct{ Submissions struct{ TotalCount int } }
	if c.do(`{ submissions { totalCount } }`, nil, &left); left.Submissions.TotalCount != 0 {
		t.Errorf("refused requests left %d submissions", left.Submissions.TotalCount)
	}
}

// names is an object of so many names.
func names(n int) vars {
	object := vars{}
	for i := range n {
		object[fmt.Sprint("n", i)] = i
	}
	return object
}

func TestR3_1AnAddressIsPrintedWithHeaderAndFooter(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	page := newGate(t, assets, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/page":
			fmt.Fprint(w, "<h1>The page at its address</h1>", r.URL.RawQuery)
		case "/moved":
			http.Redirect(w, r, "/page?moved", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	page.open()
	doc := c.submit(vars{"url": page.URL + "/moved", "headerHtml": "<p>About {{ data.what }} {{ template_id }}</p>", "footerHtml": "<span class=pageNumber></span> of <span class=totalPages></span>",
		"data": vars{"what": "printing"}, "page": vars{"marginTop": "2cm", "marginBottom": "2cm"}})
	got := c.textOf(doc)
	for _, want := range []string{"The page at its address", "moved", "About printing url", "1 of 1"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in %q", want, got)
		}
	}
	if of := c.made(doc.ID); of.SourceURL == nil || *of.SourceURL != page.URL+"/moved" || of.SourceHTML != nil || of.Template != nil {
		t.Errorf("%+v", of)
	}
	missing := c.submit(vars{"url": page.URL + "/nothing?token=secret"})
	if missing.State != "FAILED" || missing.Failure.Stage != "ASSET" || missing.Failure.Code != "ASSET_FAILED" || !strings.Contains(missing.Failure.Message, "404") ||
		strings.Contains(missing.Failure.Message+string(missing.Failure.Details), "secret") {
		t.Errorf("a page that is not there: %v", missing)
	}
	if denied := c.submit(vars{"url": "http://127.0.0.1/"}); denied.State != "FAILED" || denied.Failure.Code != "EGRESS_DENIED" {
		t.Errorf("an address that may not be reached: %v", denied)
	}
}

func TestR3_1TheOutputIsAPDFOrAnImage(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "archive")
	c.integrate(server, "archive", vars{"pathTemplates": vars{"submission": "{{ submission_id }}.{{ extension }}"}})
	for kind, contentType := range map[string]string{"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"} {
		doc := c.final(c.submit(vars{"html": "<body style='margin:0'><div style='width:300px;height:900px;background:teal'></div>", "output": kind,
			"screenshot": vars{"width": 300, "height": 200, "deviceScaleFactor": 2}}).ID)
		if doc.State != "PROCESSED" {
			t.Fatalf("%s: %v", kind, doc)
		}
		got := c.made(doc.ID)
		response, body := c.download(doc.DownloadURL)
		if got.Output != kind || got.File.ContentType != contentType || got.File.PageCount != nil || response.Header.Get("Content-Type") != contentType ||
			!strings.Contains(doc.DownloadURL, doc.ID+"."+strings.ToLower(kind)) {
			t.Errorf("%s: %+v %s %s", kind, got, response.Header.Get("Content-Type"), doc.DownloadURL)
		}
		if width, height := size(t, body); width != 600 || height != 1800 {
			t.Errorf("%s is %d by %d pixels, want 600 by 1800", kind, width, height)
		}
		if object, there := server.Object("archive", doc.ID+"."+strings.ToLower(kind)); !there || !bytes.Equal(object.Body, body) || object.Header.Get("Content-Type") != contentType {
			t.Errorf("%s: the bucket has %v", kind, server.Keys("archive"))
		}
	}
}

// size is an image's width and height in pixels.
func size(t *testing.T, content []byte) (width, height int) {
	t.Helper()
	// RIFF....WEBP: what Go's own decoders do not read (RFC 9649).
	if len(content) > 30 && string(content[8:12]) == "WEBP" {
		switch string(content[12:16]) {
		case "VP8X":
			return 1 + int(content[24]) + int(content[25])<<8, 1 + int(content[27]) + int(content[28])<<8
		case "VP8 ":
			return (int(content[26]) + int(content[27])<<8) & 0x3fff, (int(content[28]) + int(content[29])<<8) & 0x3fff
		case "VP8L":
			bits := int(content[21]) | int(content[22])<<8 | int(content[23])<<16 | int(content[24])<<24
			return 1 + bits&0x3fff, 1 + bits>>14&0x3fff
		}
	}
	config, _, err := image.DecodeConfig(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return config.Width, config.Height
}

func TestR3_5ImagesOfTestDocumentsAreMarked(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	colours := func(token string, html string) map[any]bool {
		t.Helper()
		doc := c.final(c.create(token, vars{"html": html, "output": "PNG", "screenshot": vars{"width": 400, "height": 300}}))
		_, body := c.download(doc.DownloadURL)
		img, _, err := image.Decode(bytes.NewReader(body))
		if err != nil {
			t.Fatalf("%v: %v", doc, err)
		}
		found := map[any]bool{}
		for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y++ {
			for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x++ {
				found[img.At(x, y)] = true
			}
		}
		return found
	}
	// Nothing that the page says can take the mark away.
	const html = "<style>*, *::before, *::after { visibility: hidden !important; opacity: 0 !important }</style><body style='background: white'>"
	if live := colours(c.live, html); len(live) != 1 {
		t.Errorf("a live image of nothing has %d colours", len(live))
	}
	if test := colours(c.test, html); len(test) < 3 {
		t.Errorf("a test image of nothing has %d colours: it is not marked", len(test))
	}
}

func TestR3_1APasswordOpensThePDF(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	const password = "correct horse"
	doc := c.final(c.submit(vars{"html": "<p>for your eyes</p>", "password": password}).ID)
	marked := c.final(c.create(c.test, vars{"html": "<p>for your eyes</p>", "password": password}))
	for name, doc := range map[string]document{"live": doc, "test": marked} {
		got := c.made(doc.ID)
		if doc.State != "PROCESSED" || !got.File.PasswordProtected || got.File.PageCount == nil || *got.File.PageCount != 1 {
			t.Fatalf("%s: %v %+v", name, doc, got)
		}
		_, pdf := c.download(doc.DownloadURL)
		path := filepath.Join(t.TempDir(), "locked.pdf")
		if err := os.WriteFile(path, pdf, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), "pdftotext", path, "-").CombinedOutput(); err == nil {
			t.Errorf("%s: it opens without its password: %s", name, out)
		}
		if out := pdfTool(t, pdf, "pdftotext", "-upw", password, "FILE", "-"); !strings.Contains(out, "for your eyes") {
			t.Errorf("%s: it says %q", name, out)
		}
		if out := pdfTool(t, pdf, "qpdf", "--password="+password, "--show-encryption", "FILE"); !strings.Contains(out, "AESv3") {
			t.Errorf("%s: not AES-256: %s", name, out)
		}
	}
	// It is stored nowhere in clear, and once it has done its work nowhere at all.
	var kept int
	if err := shared.db.SQL().QueryRowContext(t.Context(), `select count(*) from submission_inputs where account_id = $1 and password is not null`, c.account.ID).Scan(&kept); err != nil || kept > 0 {
		t.Errorf("%d documents keep their password, %v", kept, err)
	}
	var clear int
	if err := shared.db.SQL().QueryRowContext(t.Context(), `select count(*) from submission_inputs, idempotency_keys
		where submission_inputs.account_id = $1 and position($2 in submission_inputs::text) > 0`, c.account.ID, password).Scan(&clear); err != nil || clear > 0 {
		t.Errorf("the password stands in %d rows, %v", clear, err)
	}
}

func TestR2_4DataThatFailsTheSchemaEndsTheSubmissionBeforeTheBrowser(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	hook := newHook(t)
	c.hook(hook, nil)
	untouched := newGate(t, assets, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the browser was asked to work") }))
	untouched.open()
	template := c.createTemplate(vars{"name": "Invoice", "content": vars{"html": `<p>{{ total }}</p><img src="` + untouched.URL + `">`,
		"schema": vars{"type": "object", "required": []string{"total", "lines"}, "properties": vars{"total": vars{"type": "number"},
			"lines": vars{"type": "array", "items": vars{"required": []string{"price"}}}}}}}).ID
	bad := vars{"total": "12", "lines": []vars{{"price": 1}, {}}}
	doc := c.final(c.create(c.live, vars{"templateId": template, "data": bad}))
	var got struct {
		Submission struct {
			Failure struct {
				Stage, Code string
				Retryable   bool
				DataErrors  []struct{ Pointer, Keyword, Message string }
			}
		}
	}
	c.do(`query ($id: ID!) { submission(id: $id) { failure { stage code retryable dataErrors { pointer keyword message } } } }`, vars{"id": doc.ID}, &got)
	f := got.Submission.Failure
	var violations []string
	for _, v := range f.DataErrors {
		violations = append(violations, v.Pointer+" "+v.Keyword)
		if v.Message == "" {
			t.Error("a violation without a message")
		}
	}
	slices.Sort(violations)
	if doc.State != "INVALID_DATA" || f.Stage != "VALIDATE" || f.Code != "DATA_INVALID" || f.Retryable || !slices.Equal(violations, []string{"/lines/1 required", "/total type"}) {
		t.Errorf("%v %+v", doc, f)
	}
	if len(doc.Actions) != 1 || doc.Actions[0].Type != "WEBHOOK" {
		t.Errorf("its actions: %+v", doc.Actions)
	}
	// In a batch, it ends alone.
	batch, ids := c.batch(c.live, vars{"templateId": template, "submissions": []vars{{"data": bad}, {"html": "<p>good</p>"}}})
	seen := c.finalBatch(c.live, batch.ID)
	if last := seen[len(seen)-1]; last.ProcessedCount != 1 || last.FailedCount != 1 || c.submission(ids[0]).State != "INVALID_DATA" || c.submission(ids[1]).State != "PROCESSED" {
		t.Errorf("%+v", last)
	}
	// A draft is held to the schema as it stands.
	c.updateTemplate(template, vars{"content": vars{"html": "<p>{{ total }}</p>", "schema": vars{"required": []string{"other"}}}})
	if doc := c.submit(vars{"templateId": template, "draft": true, "data": vars{"total": 1}}); doc.State != "INVALID_DATA" {
		t.Errorf("%v", doc)
	}
	if doc := c.submit(vars{"templateId": template, "draft": true, "data": vars{"other": 1}}); doc.State != "PROCESSED" {
		t.Errorf("%v", doc)
	}
}

func TestR2_4ASchemaThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	for name, schema := range map[string]any{"a type that is none": vars{"type": "text"}, "a reference outside": vars{"$ref": "https://example.com/schema.json"}, "a text": "x"} {
		got := c.mutateTemplate("create", vars{"input": vars{"name": "T", "content": vars{"html": "<p>", "schema": schema}}})
		if codes := codesOf(got.UserErrors); !slices.Equal(codes, []string{"input.content.schema INVALID"}) {
			t.Errorf("%s: %v", name, got.UserErrors)
		}
	}
}

func TestAPreviewIsATestDocumentInNoList(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "archive")
	c.integrate(server, "archive", vars{"appliesTo": "LIVE_AND_TEST"})
	template := c.template("Letter", "<p>x</p>")
	type previewed struct {
		PreviewTemplate struct {
			DownloadURL *string
			File        *struct{ ContentType string }
			Failure     *struct {
				Stage, Code string
				Line        int
			}
			UserErrors []userError
		}
	}
	preview := func(input vars) (got previewed) {
		t.Helper()
		c.do(`mutation ($input: PreviewTemplateInput!) { previewTemplate(input: $input) { downloadUrl file { contentType } failure { stage code line } `+userErrors+` } }`, vars{"input": input}, &got)
		return got
	}
	content := vars{"html": "<p>Dear {{ name }}, {{ template_name }} {{ template_version }} {{ metadata.m }}</p>", "sampleData": vars{"name": "Sample"}}
	got := preview(vars{"templateId": template, "content": content, "metadata": vars{"m": "meta"}}).PreviewTemplate
	if got.DownloadURL == nil || got.Failure != nil || len(got.UserErrors) > 0 {
		t.Fatalf("%+v", got)
	}
	_, pdf := c.download(*got.DownloadURL)
	if said := text(t, pdf); !strings.Contains(said, "Dear Sample, Letter draft meta") || !strings.Contains(said, "TEST") {
		t.Errorf("it says %q", said)
	}
	image := preview(vars{"content": content, "data": vars{"name": "Other"}, "output": "PNG"}).PreviewTemplate
	if image.File == nil || image.File.ContentType != "image/png" {
		t.Errorf("%+v", image)
	}
	if failed := preview(vars{"content": vars{"html": "a\n{{ 1 | divided_by: 0 }}"}}).PreviewTemplate; failed.Failure == nil || failed.Failure.Stage != "TEMPLATE" || failed.Failure.Line != 2 || failed.DownloadURL != nil {
		t.Errorf("%+v", failed)
	}
	for name, test := range map[string]struct {
		input vars
		want  []string
	}{
		"Liquid":     {vars{"content": vars{"html": "{{"}}, []string{"input.content.html TEMPLATE_INVALID"}},
		"settings":   {vars{"content": vars{"html": "<p>", "page": vars{"scale": 9}}}, []string{"input.content.page.scale INVALID"}},
		"template":   {vars{"templateId": "tpl_000000000000000000", "content": content}, []string{"input.templateId NOT_FOUND"}},
		"metadata":   {vars{"content": content, "metadata": 1}, []string{"input.metadata INVALID"}},
		"everything": {vars{"templateId": "x", "content": vars{"html": ""}, "metadata": 1}, []string{"input.content.html REQUIRED", "input.metadata INVALID", "input.templateId NOT_FOUND"}},
	} {
		if codes := codesOf(preview(test.input).PreviewTemplate.UserErrors); !slices.Equal(codes, test.want) {
			t.Errorf("%s: %v, want %v", name, codes, test.want)
		}
	}
	var lists struct {
		Submissions, Actions struct{ TotalCount int }
	}
	c.do(`{ submissions { totalCount } actions { totalCount } }`, nil, &lists)
	if lists.Submissions.TotalCount != 0 || server.Keys("archive") != nil && len(server.Keys("archive")) > 1 {
		t.Errorf("%+v, the bucket has %v", lists, server.Keys("archive"))
	}
	// Expired by hand, it is gone at once.
	of := *preview(vars{"content": content}).PreviewTemplate.DownloadURL
	of = of[strings.Index(of, "sub_"):][:len("sub_")+18]
	if ended, errs := c.expire(c.test, of); len(errs) > 0 || !ended.Expired || ended.DownloadURL != nil || len(copies(t, of)) > 0 {
		t.Errorf("%+v %+v", ended, errs)
	}
	// After ten minutes nothing is left of it.
	var id string
	if err := shared.db.SQL().QueryRowContext(t.Context(), `update submissions set expires_at = now() - interval '1 second'
		where account_id = $1 and expires_at between now() + interval '8 minutes' and now() + interval '10 minutes' returning id`, c.account.ID).Scan(&id); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the previews", func() bool {
		var rows int
		if err := shared.db.SQL().QueryRowContext(t.Context(), `select count(*) from submissions where account_id = $1`, c.account.ID).Scan(&rows); err != nil {
			t.Fatal(err)
		}
		return rows == 0
	})
	if files := copies(t, id); len(files) > 0 {
		t.Errorf("still there: %v", files)
	}
	if response, _ := c.download(*got.DownloadURL); response.StatusCode != http.StatusNotFound {
		t.Errorf("its address answers %d", response.StatusCode)
	}
}
