package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	root "platen"
)

const combinedFragments = actionFragments + `fragment combined on CombinedSubmission { id state final test downloadUrl file { contentType byteSize pageCount sha256 passwordProtected }
	failure { ...failed } actions { ...done } processedAt revision metadata expired expiresAt
	sources { __typename ... on Submission { id } ... on CombinedSubmission { id } ... on TemplateVersion { id number } ... on Upload { id filename request { url } } ... on RemotePdf { url } } }`

// combined is a combined submission as the tests select it.
type combined struct {
	document
	Sources []struct {
		Typename          string `json:"__typename"`
		ID, URL, Filename string
		Number            int
		Request           *struct{ URL string }
	}
	Expired   bool
	ExpiresAt *string
}

// combines asks for a combined submission, and returns what was answered.
func (c *client) combines(token string, input vars) (*combined, []userError) {
	c.t.Helper()
	a := c.ask(token, `mutation ($input: CreateCombinedSubmissionInput!) { createCombinedSubmission(input: $input) { combinedSubmission { ...combined } `+userErrors+` } }`+combinedFragments,
		vars{"input": input})
	var got struct {
		CreateCombinedSubmission struct {
			CombinedSubmission *combined
			UserErrors         []userError
		}
	}
	if err := json.Unmarshal(a.Data, &got); err != nil || len(a.Errors) > 0 {
		c.t.Fatalf("%s %+v %v", a.Data, a.Errors, err)
	}
	return got.CreateCombinedSubmission.CombinedSubmission, got.CreateCombinedSubmission.UserErrors
}

// combine makes a combined submission that is accepted.
func (c *client) combine(token string, input vars) *combined {
	c.t.Helper()
	made, errs := c.combines(token, input)
	if made == nil {
		c.t.Fatalf("refused: %+v", errs)
	}
	return made
}

// finalCombined follows a combined submission until nothing more happens to it.
func (c *client) finalCombined(token, id string) (last combined) {
	c.t.Helper()
	s := c.subscribe(token, `subscription ($id: ID!) { combinedSubmissionUpdated(id: $id) { combinedSubmission { ...combined } } }`+combinedFragments, vars{"id": id})
	for {
		var event struct {
			CombinedSubmissionUpdated struct{ CombinedSubmission combined }
		}
		if !s.next(&event) {
			return last
		}
		last = event.CombinedSubmissionUpdated.CombinedSubmission
	}
}

// sourcesOf names submissions as sources.
func sourcesOf(ids ...string) []vars {
	sources := make([]vars, len(ids))
	for i, id := range ids {
		sources[i] = vars{"submissionId": id}
	}
	return sources
}

// put puts bytes to an address, as an upload does, and returns the answer.
func (c *client) put(address string, content []byte) (status int, said string) {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodPut, address, bytes.NewReader(content))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/pdf")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

type announced struct {
	ID      string
	SHA256  *string `json:"sha256"`
	Request *struct {
		Method, URL string
		Headers     []struct{ Name, Value string }
	}
	ReceivedAt *string
}

func (c *client) announce(token string, input vars) (*announced, []userError) {
	c.t.Helper()
	a := c.ask(token, `mutation ($input: CreateUploadInput!) { createUpload(input: $input) { upload { id sha256 request { method url headers { name value } } receivedAt } `+userErrors+` } }`, vars{"input": input})
	var got struct {
		CreateUpload struct {
			Upload     *announced
			UserErrors []userError
		}
	}
	if err := json.Unmarshal(a.Data, &got); err != nil || len(a.Errors) > 0 {
		c.t.Fatalf("%s %+v %v", a.Data, a.Errors, err)
	}
	return got.CreateUpload.Upload, got.CreateUpload.UserErrors
}

// uploaded brings a PDF and returns the upload's id.
func (c *client) uploaded(token, filename string, content []byte) string {
	c.t.Helper()
	u, errs := c.announce(token, vars{"filename": filename, "byteSize": len(content)})
	if u == nil {
		c.t.Fatalf("refused: %+v", errs)
	}
	if status, said := c.put(u.Request.URL, content); status != http.StatusOK {
		c.t.Fatalf("%d %s", status, said)
	}
	return u.ID
}

// pdfOf is the PDF of a document that is made for it.
func (c *client) pdfOf(html string) []byte {
	c.t.Helper()
	doc := c.submit(vars{"html": html})
	if doc.State != "PROCESSED" {
		c.t.Fatalf("%v", doc)
	}
	_, pdf := c.download(doc.DownloadURL)
	return pdf
}

// words are the first words of each page of a PDF.
func words(t *testing.T, pdf []byte) (first []string) {
	t.Helper()
	for page := range strings.SplitSeq(strings.TrimSuffix(pdfTool(t, pdf, "pdftotext", "FILE", "-"), "\f"), "\f") {
		line, _, _ := strings.Cut(strings.TrimSpace(page), "\n")
		first = append(first, line)
	}
	return first
}

func TestR4_1SourcesOfAllKindsAreMergedInTheirOrder(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "archive")
	c.integrate(server, "archive", vars{"pathTemplates": vars{"submission": "s/{{ submission_id }}.pdf", "combinedSubmission": "c/{{ metadata.order }}/{{ combined_submission_id }}.{{ extension }}"}})
	brought, remote := c.pdfOf("<title>Not shown</title><p>Brought</p>"), c.pdfOf("<p>Remote</p>")
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "key=hidden" || r.Header.Get("Authorization") != "" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		_, _ = w.Write(remote)
	}))
	t.Cleanup(web.Close)
	template := c.createTemplate(vars{"name": "Cover", "content": vars{"html": "<p>Cover of {{ name }}, order {{ metadata.order }}</p>", "sampleData": vars{"name": "Ada"}}})
	first := c.create(c.live, vars{"html": "<title>First letter</title><p>First</p><p style='break-before:page'>First, page two</p>"})
	inner := c.combine(c.live, vars{"sources": sourcesOf(first, first), "metadata": vars{"order": "inner"}})
	whole := c.combine(c.live, vars{"metadata": vars{"order": "4711"}, "sources": []vars{
		{"template": vars{"id": template.ID}}, {"submissionId": first}, {"uploadId": c.uploaded(c.live, "Terms of sale.pdf", brought)},
		{"url": web.URL + "/files/Data%20sheet.pdf?key=hidden"}, {"combinedSubmissionId": inner.ID},
	}})
	if whole.State == "FAILED" || whole.Test || string(whole.Metadata) != `{"order":"4711"}` {
		t.Errorf("accepted: %+v", whole)
	}
	end := c.finalCombined(c.live, whole.ID)
	if end.State != "PROCESSED" || end.File.PageCount != 9 || end.File.ContentType != "application/pdf" {
		t.Fatalf("%v", end)
	}
	var kinds []string
	for _, s := range end.Sources {
		kinds = append(kinds, s.Typename)
	}
	if !slices.Equal(kinds, []string{"TemplateVersion", "Submission", "Upload", "RemotePdf", "CombinedSubmission"}) ||
		end.Sources[3].URL != web.URL+"/files/Data%20sheet.pdf" || end.Sources[2].Request != nil || end.Sources[1].ID != first {
		t.Errorf("sources: %+v", end.Sources)
	}
	response, pdf := c.download(end.DownloadURL)
	if !strings.HasSuffix(strings.Split(end.DownloadURL, "?")[0], "/"+end.ID+".pdf") || response.Header.Get("Content-Type") != "application/pdf" {
		t.Errorf("%s: %v", end.DownloadURL, response.Header)
	}
	want := []string{"Cover of Ada, order 4711", "First", "First, page two", "Brought", "Remote", "First", "First, page two", "First", "First, page two"}
	if got := words(t, pdf); !slices.Equal(got, want) {
		t.Errorf("pages: %q", got)
	}
	pdfTool(t, pdf, "qpdf", "--check", "FILE")
	if got := bookmarks(t, pdf); !slices.Equal(got, []string{"Cover 1", "First letter 2", "Terms of sale 4", "Data sheet 5", "Part 5 6", "-First letter 6", "-First letter 8"}) {
		t.Errorf("bookmarks: %q", got)
	}
	if o, _ := server.Object("archive", "c/4711/"+end.ID+".pdf"); !bytes.Equal(o.Body, pdf) {
		t.Errorf("the bucket does not have what was merged")
	}
	if len(end.Actions) != 1 || end.Actions[0].State != "PROCESSED" || end.Actions[0].Result.SHA256 != end.File.SHA256 {
		t.Errorf("actions: %+v", end.Actions)
	}
	// What was made of the template is in no list and kept nowhere.
	var left int
	eventually(t, "the deletion of what was made of the template", func() bool {
		if err := shared.db.SQL().QueryRowContext(t.Context(), `select count(*) from submissions where account_id = $1 and preview`, c.account.ID).Scan(&left); err != nil {
			t.Fatal(err)
		}
		return left == 0
	})
	var addresses int
	if err := shared.db.SQL().QueryRowContext(t.Context(), `select count(*) from combined_sources where account_id = $1 and address is not null`, c.account.ID).Scan(&addresses); err != nil || addresses != 0 {
		t.Errorf("%d whole addresses are kept, %v", addresses, err)
	}
}

// bookmarks are the titles of a PDF's outline with the numbers of their pages; those
// below others begin with dashes.
func bookmarks(t *testing.T, pdf []byte) (all []string) {
	t.Helper()
	var file struct {
		Outlines []outline
		Pages    []struct {
			Object       string
			Pageposfrom1 int
		}
	}
	if err := json.Unmarshal([]byte(pdfTool(t, pdf, "qpdf", "--json=2", "--json-key=outlines", "--json-key=pages", "FILE")), &file); err != nil {
		t.Fatal(err)
	}
	var walk func(items []outline, dashes string)
	walk = func(items []outline, dashes string) {
		for _, item := range items {
			all = append(all, dashes+item.Title+" "+strconv.Itoa(item.Page))
			walk(item.Kids, dashes+"-")
		}
	}
	walk(file.Outlines, "")
	return all
}

type outline struct {
	Title string
	Page  int `json:"destpageposfrom1"`
	Kids  []outline
}

func TestR4_1TwoHundredPendingSubmissionsAreCombinedOnceTheLastIsThere(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "archive")
	c.integrate(server, "archive", vars{"pathTemplates": vars{"submission": "s/{{ submission_id }}.pdf", "combinedSubmission": "c/{{ combined_submission_id }}.pdf"}})
	gate := newGate(t, assets, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		_, _ = w.Write(logo())
	}))
	submissions := make([]vars, 200)
	for i := range submissions {
		submissions[i] = vars{"html": fmt.Sprintf(`<title>Letter {{ n }}</title><p>Letter {{ n }}</p>%s<img src="%s/logo.png?{{ n }}">`, strings.Repeat(`<p style="break-before:page">more</p>`, i%3), gate.URL), "data": vars{"n": i + 1}}
	}
	_, ids := c.batch(c.live, vars{"submissions": submissions})
	whole := c.combine(c.live, vars{"sources": sourcesOf(ids...)})
	if whole.State != "PENDING" {
		t.Fatalf("before anything is rendered: %+v", whole)
	}
	gate.open()
	end := c.finalCombined(c.live, whole.ID)
	if end.State != "PROCESSED" || len(end.Actions) != 1 || end.Actions[0].State != "PROCESSED" {
		t.Fatalf("%v", end)
	}
	o, there := server.Object("archive", "c/"+end.ID+".pdf")
	if !there {
		t.Fatal("it is not in the bucket")
	}
	pages, marks := words(t, o.Body), bookmarks(t, o.Body)
	if len(marks) != 200 {
		t.Fatalf("%d bookmarks", len(marks))
	}
	for i, mark := range marks {
		title, page := mark[:strings.LastIndex(mark, " ")], mark[strings.LastIndex(mark, " ")+1:]
		n, err := strconv.Atoi(page)
		if want := fmt.Sprintf("Letter %d", i+1); err != nil || title != want || pages[n-1] != want {
			t.Errorf("bookmark %d is %q, and leads to a page that begins %q", i, mark, pages[n-1])
		}
	}
	pdfTool(t, o.Body, "qpdf", "--check", "FILE")
}

// waiting is a submission that stays PENDING until its gate is opened.
func (c *client) waiting(token, text string) (id string, gate *gate) {
	c.t.Helper()
	gate = newGate(c.t, assets, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		_, _ = w.Write(logo())
	}))
	return c.create(token, vars{"html": "<p>" + text + "</p><img src='" + gate.URL + "/logo.png'>"}), gate
}

func TestR4_1WhatCannotBeASourceIsRefusedAndNothingIsMade(t *testing.T) {
	t.Parallel()
	c, other := newClient(t), newClient(t)
	good := c.submit(vars{"html": "<p>good</p>"}).ID
	failed := c.submit(vars{"html": "<img src='http://127.0.0.1:1/x.png'>"}).ID
	image := c.submit(vars{"html": "<p>", "output": "PNG"}).ID
	locked := c.submit(vars{"html": "<p>", "password": "secret"}).ID
	gone := c.submit(vars{"html": "<p>"}).ID
	if _, errs := c.expire(c.live, gone); len(errs) > 0 {
		t.Fatal(errs)
	}
	theirs := other.submit(vars{"html": "<p>theirs</p>"}).ID
	theirUpload := other.uploaded(other.live, "a.pdf", other.pdfOf("<p>theirs</p>"))
	announced, _ := c.announce(c.live, vars{"filename": "a.pdf", "byteSize": 10})
	draft := c.createTemplate(vars{"name": "Draft", "content": vars{"html": "<p>"}, "publish": false}).ID
	template := c.createTemplate(vars{"name": "Published", "content": vars{"html": "<p>"}}).ID
	thousandAndOne := make([]vars, root.MaxSources+1)
	for i := range thousandAndOne {
		thousandAndOne[i] = vars{"submissionId": good}
	}
	count := func() (n int) {
		if err := shared.db.SQL().QueryRowContext(t.Context(), `select (select count(*) from combined_submissions where account_id = $1)
			+ (select count(*) from submissions where account_id = $1 and preview)`, c.account.ID).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for name, test := range map[string]struct {
		token string
		input vars
		want  []string
	}{
		"nothing":                      {c.live, vars{"sources": []vars{}}, []string{"input.sources REQUIRED"}},
		"too many":                     {c.live, vars{"sources": thousandAndOne}, []string{"input.sources TOO_LARGE"}},
		"two in one":                   {c.live, vars{"sources": []vars{{"submissionId": good, "url": "https://example.com/a.pdf"}}}, []string{"input.sources.0 INVALID"}},
		"none in one":                  {c.live, vars{"sources": []vars{{"submissionId": good}, {}}}, []string{"input.sources.1 INVALID"}},
		"null":                         {c.live, vars{"sources": []vars{{"submissionId": nil}}}, []string{"input.sources.0 INVALID"}},
		"unknown ones":                 {c.live, vars{"sources": []vars{{"submissionId": "sub_000000000000000000"}, {"combinedSubmissionId": "com_000000000000000000"}}}, []string{"input.sources.0.submissionId NOT_FOUND", "input.sources.1.combinedSubmissionId NOT_FOUND"}},
		"unknown ones of other rooms":  {c.live, vars{"sources": []vars{{"template": vars{"id": "tpl_000000000000000000"}}, {"uploadId": "upl_000000000000000000"}}}, []string{"input.sources.0.template.id NOT_FOUND", "input.sources.1.uploadId NOT_FOUND"}},
		"no ids":                       {c.live, vars{"sources": []vars{{"submissionId": "x\x00"}, {"combinedSubmissionId": good}, {"uploadId": "1"}, {"template": vars{"id": ""}}}}, []string{"input.sources.0.submissionId NOT_FOUND", "input.sources.1.combinedSubmissionId NOT_FOUND", "input.sources.2.uploadId NOT_FOUND", "input.sources.3.template.id NOT_FOUND"}},
		"another account's":            {c.live, vars{"sources": []vars{{"submissionId": theirs}}}, []string{"input.sources.0.submissionId NOT_FOUND"}},
		"another account's upload":     {c.live, vars{"sources": []vars{{"uploadId": theirUpload}}}, []string{"input.sources.0.uploadId NOT_FOUND"}},
		"a failed one":                 {c.live, vars{"sources": []vars{{"submissionId": good}, {"submissionId": failed}}}, []string{"input.sources.1.submissionId CONFLICT"}},
		"an image":                     {c.live, vars{"sources": []vars{{"submissionId": image}}}, []string{"input.sources.0.submissionId INVALID"}},
		"one with a password":          {c.live, vars{"sources": []vars{{"submissionId": locked}}}, []string{"input.sources.0.submissionId INVALID"}},
		"an expired one":               {c.live, vars{"sources": []vars{{"submissionId": gone}}}, []string{"input.sources.0.submissionId CONFLICT"}},
		"an upload that has not come":  {c.live, vars{"sources": []vars{{"uploadId": announced.ID}}}, []string{"input.sources.0.uploadId CONFLICT"}},
		"a template never published":   {c.live, vars{"sources": []vars{{"template": vars{"id": draft}}}}, []string{"input.sources.0.template.id CONFLICT"}},
		"a version that is not there":  {c.live, vars{"sources": []vars{{"template": vars{"id": template, "version": 7}}}}, []string{"input.sources.0.template.version NOT_FOUND"}},
		"an address that is none":      {c.live, vars{"sources": []vars{{"url": "ftp://example.com/a.pdf"}}}, []string{"input.sources.0.url INVALID"}},
		"a live one of test documents": {c.live, vars{"test": false, "sources": []vars{{"submissionId": c.submit(vars{"html": "<p>", "test": true}).ID}}}, []string{"input.test INVALID"}},
		"a live one by a test token":   {c.test, vars{"test": false, "sources": []vars{{"url": "https://example.com/a.pdf"}}}, []string{"input.test FORBIDDEN"}},
		"a test token's live source":   {c.test, vars{"sources": []vars{{"submissionId": good}}}, []string{"input.sources.0.submissionId NOT_FOUND"}},
		"metadata":                     {c.live, vars{"metadata": []int{1}, "sources": sourcesOf(good)}, []string{"input.metadata INVALID"}},
		"expiry":                       {c.live, vars{"expiresIn": 0, "sources": sourcesOf(good)}, []string{"input.expiresIn INVALID"}},
		"password":                     {c.live, vars{"password": "", "sources": sourcesOf(good)}, []string{"input.password REQUIRED"}},
		"wait":                         {c.live, vars{"wait": 61, "sources": sourcesOf(good)}, []string{"input.wait INVALID"}},
		"presigned":                    {c.live, vars{"presignedUpload": vars{"url": "ftp://x"}, "sources": sourcesOf(good)}, []string{"input.presignedUpload.url INVALID"}},
	} {
		made, errs := c.combines(test.token, test.input)
		codes := codesOf(errs)
		slices.Sort(codes)
		if made != nil || !slices.Equal(codes, test.want) {
			t.Errorf("%s: %+v %v, want %v", name, made, codes, test.want)
		}
	}
	if n := count(); n != 0 {
		t.Errorf("%d rows were made of what was refused", n)
	}
}

func TestR4_1ASourceThatFailsEndsItAtOnceAndIsNamed(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	hook := newHook(t)
	c.hook(hook, nil)
	slow, gate := c.waiting(c.live, "slow")
	broken := newGate(t, assets, http.NotFoundHandler())
	failing := c.create(c.live, vars{"html": "<img src='" + broken.URL + "/missing.png'>"})
	inner := c.combine(c.live, vars{"sources": sourcesOf(slow, failing)})
	outer := c.combine(c.live, vars{"sources": []vars{{"combinedSubmissionId": inner.ID}}})
	broken.open()
	end := c.finalCombined(c.live, inner.ID)
	if end.State != "FAILED" || end.File != nil || end.Failure == nil || end.Failure.Stage != "COMBINE" || end.Failure.Code != "SOURCE_FAILED" ||
		!slices.Equal(end.Failure.Path, []string{"sources", "1"}) || !strings.Contains(end.Failure.Message, failing) || end.Failure.Retryable {
		t.Errorf("%v", end)
	}
	if doc := c.submission(slow); doc.State != "PENDING" {
		t.Errorf("it waited for the other source: %v", doc)
	}
	if end := c.finalCombined(c.live, outer.ID); end.State != "FAILED" || end.Failure.Code != "SOURCE_FAILED" || !strings.Contains(string(end.Failure.Details), inner.ID) {
		t.Errorf("what it was a source of: %v", end)
	}
	gate.open()
	if doc := c.final(slow); doc.State != "PROCESSED" {
		t.Errorf("the other source: %v", doc)
	}
}

func TestR4_1ASourceThatExpiresEndsItAndASetExpiryWaitsForIt(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	slow, gate := c.waiting(c.live, "slow")
	byHand := c.submit(vars{"html": "<p>by hand</p>"}).ID
	byTime := c.submit(vars{"html": "<p>by time</p>", "expiresIn": 1}).ID
	lost := c.combine(c.live, vars{"sources": sourcesOf(slow, byHand)})
	kept := c.combine(c.live, vars{"sources": sourcesOf(byTime, slow)})
	if _, errs := c.expire(c.live, byHand); len(errs) > 0 {
		t.Fatal(errs)
	}
	if end := c.finalCombined(c.live, lost.ID); end.State != "FAILED" || end.Failure.Code != "SOURCE_EXPIRED" || !slices.Equal(end.Failure.Path, []string{"sources", "1"}) {
		t.Errorf("%v", end)
	}
	// What expires later than this source, and is expired, shows that the other was passed over.
	later := c.create(c.live, vars{"html": "<p>later</p>", "expiresIn": 1})
	expired := func(id string) bool {
		var got struct{ Submission struct{ Expired bool } }
		c.do(`query ($id: ID!) { submission(id: $id) { expired } }`, vars{"id": id}, &got)
		return got.Submission.Expired
	}
	eventually(t, "the expiry of another document", func() bool { return expired(later) })
	if expired(byTime) {
		t.Error("a source expired while it was waited for")
	}
	gate.open()
	if end := c.finalCombined(c.live, kept.ID); end.State != "PROCESSED" || end.File.PageCount != 2 {
		t.Errorf("%v", end)
	}
	eventually(t, "the expiry of the source, afterwards", func() bool { return expired(byTime) })
}

func TestR4_2ATestSourceMakesATestAndEveryPageIsMarkedOnce(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	test := c.submit(vars{"html": "<p>marked</p>", "test": true}).ID
	live := c.submit(vars{"html": "<p>live</p>"}).ID
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(c.pdfOf("<p>fetched</p>")) }))
	t.Cleanup(web.Close)
	template := c.template("Cover", "<p>cover</p>")
	end := c.finalCombined(c.live, c.combine(c.live, vars{"sources": []vars{{"submissionId": live}, {"submissionId": test}, {"url": web.URL}, {"template": vars{"id": template}}}}).ID)
	if end.State != "PROCESSED" || !end.Test {
		t.Fatalf("%v", end)
	}
	_, pdf := c.download(end.DownloadURL)
	for i, page := range strings.Split(strings.TrimSuffix(text(t, pdf), "\f"), "\f") {
		if n := strings.Count(page, "TEST"); n != 1 {
			t.Errorf("page %d is marked %d times: %q", i+1, n, page)
		}
	}
	whole := c.finalCombined(c.live, c.combine(c.live, vars{"sources": sourcesOf(live)}).ID)
	if _, pdf := c.download(whole.DownloadURL); whole.Test || strings.Contains(text(t, pdf), "TEST") {
		t.Errorf("a live one: %v", whole)
	}
	// A test token sees test documents only, and of their sources those that are tests.
	seen := c.finalCombined(c.test, end.ID)
	if len(seen.Sources) != 3 || seen.Sources[0].ID != test {
		t.Errorf("a test token sees the sources %+v", seen.Sources)
	}
	a := c.ask(c.test, `query ($id: ID!) { combinedSubmission(id: $id) { id } combinedSubmissions(first: 10) { totalCount } node(id: $id) { id } }`, vars{"id": whole.ID})
	if string(a.Data) != `{"combinedSubmission":null,"combinedSubmissions":{"totalCount":1},"node":null}` {
		t.Errorf("a test token sees %s", a.Data)
	}
	if s := c.subscribe(c.test, `subscription ($id: ID!) { combinedSubmissionUpdated(id: $id) { kind } }`, vars{"id": whole.ID}); !strings.Contains(string(s.read().Payload), "NOT_FOUND") {
		t.Error("a test token follows a live document")
	}
}

func TestR4_2ItIsADocumentLikeAnyOther(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "archive", "other")
	c.integrate(server, "archive", vars{"pathTemplates": vars{"submission": "s/{{ submission_id }}.pdf"}}) // no path for combined ones
	hook := newHook(t)
	c.hook(hook, vars{"sendWhen": "DELIVERED"})
	c.hook(newHook(t), vars{"templateId": c.template("T", "<p>")}) // of one template: it gets no action
	one := c.create(c.live, vars{"html": "<p>one</p>"})
	c.final(one)
	hook.next(t)
	input := vars{"sources": sourcesOf(one), "metadata": vars{"customer": "acme"}, "password": "open sesame", "expiresIn": 3600, "wait": 60, "idempotencyKey": "k",
		"presignedUpload": vars{"url": presign(t, server, "own.pdf", time.Hour)}}
	whole := c.combine(c.live, input)
	if whole.State != "PROCESSED" || whole.ExpiresAt == nil || !strings.Contains(whole.String(), `"ByteSize"`) {
		t.Fatalf("waited for: %+v", whole)
	}
	delete(input, "wait")
	if again := c.combine(c.live, input); again.ID != whole.ID {
		t.Errorf("the same key made %s and %s", whole.ID, again.ID)
	}
	if _, errs := c.combines(c.live, vars{"sources": sourcesOf(one, one), "idempotencyKey": "k"}); !slices.Equal(codesOf(errs), []string{"input.idempotencyKey IDEMPOTENCY_KEY_REUSED"}) {
		t.Errorf("the same key with other arguments: %+v", errs)
	}
	end := c.finalCombined(c.live, whole.ID)
	if len(end.Actions) != 2 {
		t.Errorf("actions: %+v", end.Actions)
	}
	_, pdf := c.download(end.DownloadURL)
	if got := pdfTool(t, pdf, "pdftotext", "-upw", "open sesame", "FILE", "-"); !strings.Contains(got, "one") {
		t.Errorf("with its password it says %q", got)
	}
	if got := pdfTool(t, pdf, "qpdf", "--password=open sesame", "--show-encryption", "FILE"); !strings.Contains(got, "AESv3") {
		t.Error(got)
	}
	var posted struct {
		Combined struct {
			ID, State   string
			DownloadURL string `json:"download_url"`
			PageCount   int    `json:"page_count"`
			Metadata    json.RawMessage
			Sources     []map[string]string
			Actions     []struct{ State string }
		} `json:"combined_submission"`
	}
	if err := json.Unmarshal(hook.next(t).body, &posted); err != nil {
		t.Fatal(err)
	}
	if p := posted.Combined; p.ID != end.ID || p.State != "processed" || p.PageCount != 1 || string(p.Metadata) != `{"customer":"acme"}` || len(p.Sources) != 1 ||
		p.Sources[0]["submission_id"] != one || len(p.Actions) != 2 {
		t.Errorf("posted: %+v", p)
	}
	if _, content := c.download(posted.Combined.DownloadURL); !bytes.Equal(content, pdf) {
		t.Error("the webhook's address leads elsewhere")
	}
	var kept int
	if err := shared.db.SQL().QueryRowContext(t.Context(), `select count(*) from combined_submission_inputs where combined_submission_id = $1 and (password is not null or presigned_upload is not null)`, end.ID).Scan(&kept); err != nil || kept > 0 {
		t.Errorf("secrets are kept, %v", err)
	}
	// Actions know what they are of, and previews of keys know its values.
	var got struct {
		Actions struct {
			Nodes []struct {
				Subject struct {
					Typename string `json:"__typename"`
					ID       string
				}
			}
		}
		PathPreview struct{ Key string }
		Node        struct{ ID string }
	}
	c.do(`query ($id: ID!, $preview: PathPreviewInput!) { actions(first: 10, filter: {subjectId: $id}) { nodes { subject { __typename ... on CombinedSubmission { id } } } }
		pathPreview(input: $preview) { key } node(id: $id) { id } }`,
		vars{"id": end.ID, "preview": vars{"kind": "COMBINED_SUBMISSION", "pathTemplate": "{{ metadata.customer }}/{{ combined_submission_id }}.{{ extension }}", "subjectId": end.ID}}, &got)
	if len(got.Actions.Nodes) != 2 || got.Actions.Nodes[0].Subject.ID != end.ID || got.PathPreview.Key != "acme/"+end.ID+".pdf" || got.Node.ID != end.ID {
		t.Errorf("%+v", got)
	}
	// Expired by hand, its copy goes and its record stays; what it was merged from is left alone.
	a := c.ask(c.live, `mutation ($id: ID!) { expireCombinedSubmission(id: $id) { combinedSubmission { ...combined } `+userErrors+` } }`+combinedFragments, vars{"id": end.ID})
	var expiry struct {
		ExpireCombinedSubmission struct{ CombinedSubmission combined }
	}
	if err := json.Unmarshal(a.Data, &expiry); err != nil {
		t.Fatal(err)
	}
	if e := expiry.ExpireCombinedSubmission.CombinedSubmission; !e.Expired || e.DownloadURL != "" || e.File == nil || len(e.Sources) != 1 || len(copies(t, end.ID)) > 0 {
		t.Errorf("expired: %+v", e)
	}
	if len(copies(t, one)) != 1 {
		t.Error("its source lost its copy")
	}
	if a := c.ask(c.live, `mutation { expireCombinedSubmission(id: "com_000000000000000000") { userErrors { code path } } }`, nil); string(a.Data) != `{"expireCombinedSubmission":{"userErrors":[{"code":"NOT_FOUND","path":["id"]}]}}` {
		t.Errorf("%s", a.Data)
	}
}

func TestR4_2CombinedSubmissionsAreListedAndFiltered(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	one := c.submit(vars{"html": "<p>"}).ID
	var names []string
	ids := map[string]string{}
	make := func(name string, token string, input vars) {
		made := c.combine(token, input)
		c.finalCombined(token, made.ID)
		names, ids[made.ID] = append([]string{name}, names...), name
	}
	make("acme", c.live, vars{"sources": sourcesOf(one), "metadata": vars{"customer": "acme", "n": 1}})
	make("test", c.live, vars{"sources": sourcesOf(one), "test": true, "metadata": vars{"customer": "acme"}})
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	make("failed", c.live, vars{"sources": []vars{{"url": web.URL}}})
	for filter, want := range map[string][]string{
		`{}`:                 {"failed", "test", "acme"},
		`{test: true}`:       {"test"},
		`{states: [FAILED]}`: {"failed"},
		`{states: [PROCESSED, FAILED], test: false}`:   {"failed", "acme"},
		`{metadata: {customer: "acme"}}`:               {"test", "acme"},
		`{metadata: {customer: "acme", n: 1}}`:         {"acme"},
		`{createdAt: {until: "2020-01-01T00:00:00Z"}}`: nil,
	} {
		var got struct {
			CombinedSubmissions struct {
				Nodes      []struct{ ID string }
				TotalCount int
			}
		}
		c.do(`{ combinedSubmissions(filter: `+filter+`) { nodes { id } totalCount } }`, nil, &got)
		var found []string
		for _, node := range got.CombinedSubmissions.Nodes {
			found = append(found, ids[node.ID])
		}
		if !slices.Equal(found, want) || got.CombinedSubmissions.TotalCount != len(want) {
			t.Errorf("%s: %v (%d), want %v", filter, found, got.CombinedSubmissions.TotalCount, want)
		}
	}
	// A page at a time, from either end.
	var forward []string
	for after := ""; ; {
		var got struct {
			CombinedSubmissions struct {
				Edges    []struct{ Node struct{ ID string } }
				PageInfo struct {
					EndCursor   string
					HasNextPage bool
				}
			}
		}
		c.do(`query ($after: String) { combinedSubmissions(first: 1, after: $after) { edges { node { id } } pageInfo { endCursor hasNextPage } } }`, vars{"after": orNil(after)}, &got)
		forward = append(forward, ids[got.CombinedSubmissions.Edges[0].Node.ID])
		if after = got.CombinedSubmissions.PageInfo.EndCursor; !got.CombinedSubmissions.PageInfo.HasNextPage {
			break
		}
	}
	if !slices.Equal(forward, names) {
		t.Errorf("page by page: %v, want %v", forward, names)
	}
	if a := c.ask(c.live, `{ combinedSubmissions(filter: {metadata: [1]}) { nodes { id } } }`, nil); a.code() != "BAD_USER_INPUT" {
		t.Errorf("%s %+v", a.Data, a.Errors)
	}
	if a := newClient(t).ask(c.live, `{ combinedSubmissions { totalCount } }`, nil); string(a.Data) != `{"combinedSubmissions":{"totalCount":3}}` {
		t.Errorf("%s", a.Data)
	}
	if a := (&client{t: t, base: c.base}).ask(newClient(t).live, `query ($id: ID!) { combinedSubmission(id: $id) { id } combinedSubmissions { totalCount } }`, vars{"id": forward[0]}); string(a.Data) != `{"combinedSubmission":null,"combinedSubmissions":{"totalCount":0}}` {
		t.Errorf("another account sees %s", a.Data)
	}
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func TestR4_3ABadSourceEndsItWithAClearFailureThatNamesIt(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	good := c.pdfOf("<p>good</p>")
	locked := pdfEncrypted(t, good)
	web := httptest.NewServer(nil)
	t.Cleanup(web.Close)
	web.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good.pdf":
			_, _ = w.Write(good)
		case "/truncated.pdf":
			_, _ = w.Write(good[:len(good)/3])
		case "/page.html":
			fmt.Fprint(w, "<!doctype html><title>Sign in</title>")
		case "/locked.pdf":
			_, _ = w.Write(locked)
		case "/huge.pdf":
			w.Header().Set("Content-Length", strconv.Itoa(root.MaxPart+1))
			_, _ = w.Write(good)
		case "/endless.pdf":
			for _, err := w.Write(good); err == nil; _, err = w.Write(make([]byte, 1<<20)) {
			}
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		case "/moved.pdf":
			http.Redirect(w, r, "/good.pdf", http.StatusMovedPermanently)
		case "/inside":
			http.Redirect(w, r, "http://192.0.2.1/a.pdf", http.StatusFound)
		case "/file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	})
	for _, test := range []struct{ url, code string }{
		{web.URL + "/truncated.pdf", "SOURCE_DAMAGED"},
		{web.URL + "/page.html", "SOURCE_DAMAGED"},
		{web.URL + "/locked.pdf", "SOURCE_ENCRYPTED"},
		{web.URL + "/huge.pdf", "SOURCE_TOO_LARGE"},
		{web.URL + "/endless.pdf", "SOURCE_TOO_LARGE"},
		{web.URL + "/missing.pdf", "SOURCE_UNAVAILABLE"},
		{web.URL + "/round", "SOURCE_UNAVAILABLE"},
		{web.URL + "/file", "SOURCE_UNAVAILABLE"},
		{web.URL + "/inside", "EGRESS_DENIED"},
		{"http://10.0.0.1/a.pdf?key=hidden", "EGRESS_DENIED"},
		{strings.Replace(web.URL, "http://", "https://", 1) + "/good.pdf", "TLS_FAILED"},
	} {
		t.Run(test.code+" "+test.url[strings.LastIndex(test.url, "/"):], func(t *testing.T) {
			t.Parallel()
			c := *c
			c.t = t
			end := c.finalCombined(c.live, c.combine(c.live, vars{"sources": []vars{{"url": web.URL + "/moved.pdf"}, {"url": test.url}}}).ID)
			if f := end.Failure; end.State != "FAILED" || f == nil || f.Stage != "COMBINE" || f.Code != test.code || !slices.Equal(f.Path, []string{"sources", "1"}) ||
				!strings.HasPrefix(f.Message, "Source 1: ") || strings.Contains(end.String(), "hidden") || strings.Contains(f.Message, "action") {
				t.Errorf("%v", end)
			}
		})
	}
	t.Run("and disturbs no other", func(t *testing.T) {
		t.Parallel()
		c := *c
		c.t = t
		if end := c.finalCombined(c.live, c.combine(c.live, vars{"sources": []vars{{"url": web.URL + "/moved.pdf"}, {"url": web.URL + "/good.pdf"}}}).ID); end.State != "PROCESSED" || end.File.PageCount != 2 {
			t.Errorf("%v", end)
		}
	})
}

// pdfEncrypted is a PDF that a password opens.
func pdfEncrypted(t *testing.T, pdf []byte) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "locked.pdf")
	pdfTool(t, pdf, "qpdf", "--encrypt", "secret", "owner", "256", "--", "FILE", out)
	locked, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return locked
}

func TestR4_3AServerThatFailsForAMomentIsAskedAgain(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	good := c.pdfOf("<p>good</p>")
	var calls atomic.Int32
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(good)
	}))
	t.Cleanup(web.Close)
	if end := c.finalCombined(c.live, c.combine(c.live, vars{"sources": []vars{{"url": web.URL}}}).ID); end.State != "PROCESSED" || calls.Load() != 2 {
		t.Errorf("%d calls: %v", calls.Load(), end)
	}
}

func TestR4_1AnUploadIsTakenOnceAndOnlyAsItWasAnnounced(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	good := c.pdfOf("<p>good</p>")
	sum := fmt.Sprintf("%x", sha256.Sum256(good))
	for _, test := range []struct {
		input vars
		want  string
	}{
		{vars{"filename": "", "byteSize": 1}, "input.filename REQUIRED"},
		{vars{"filename": strings.Repeat("x", 256), "byteSize": 1}, "input.filename TOO_LONG"},
		{vars{"filename": "a.pdf", "byteSize": 0}, "input.byteSize INVALID"},
		{vars{"filename": "a.pdf", "byteSize": root.MaxPart + 1}, "input.byteSize TOO_LARGE"},
		{vars{"filename": "a.png", "contentType": "image/png", "byteSize": 1}, "input.contentType INVALID"},
		{vars{"filename": "a.pdf", "byteSize": 1, "sha256": "12"}, "input.sha256 INVALID"},
	} {
		if made, errs := c.announce(c.live, test.input); made != nil || !slices.Equal(codesOf(errs), []string{test.want}) {
			t.Errorf("%v: %+v %v", test.input, made, codesOf(errs))
		}
	}
	u, _ := c.announce(c.live, vars{"filename": "a.pdf", "byteSize": len(good), "sha256": strings.ToUpper(sum)})
	if u.Request.Method != "PUT" || len(u.Request.Headers) != 1 || u.ReceivedAt != nil {
		t.Fatalf("%+v", u)
	}
	address := u.Request.URL
	other := bytes.Clone(good)
	other[len(other)-1] ^= 1
	refusals := []struct {
		address string
		content []byte
		status  int
		says    string
	}{
		{address, good[1:], 422, "announced with"},
		{address, append(bytes.Clone(good), 'x'), 422, "announced with"},
		{address, other, 422, "SHA-256"},
		{strings.Replace(address, "signature=", "signature=1", 1), good, 403, "signed"},
		{strings.Replace(address, u.ID, root.NewID(root.KindUpload), 1), good, 403, "signed"},
		{c.submit(vars{"html": "<p>"}).DownloadURL, good, 403, "signed"}, // signed to be read
	}
	for _, r := range refusals {
		if status, said := c.put(r.address, r.content); status != r.status || !strings.Contains(said, r.says) {
			t.Errorf("%d %s, want %d %s", status, said, r.status, r.says)
		}
	}
	for name, content := range map[string][]byte{"no PDF": []byte("hello"), "a damaged one": good[:len(good)/2], "a locked one": pdfEncrypted(t, good)} {
		bad, _ := c.announce(c.live, vars{"filename": "a.pdf", "byteSize": len(content)})
		if status, said := c.put(bad.Request.URL, content); status != 422 || !strings.Contains(said, "cannot be combined") {
			t.Errorf("%s: %d %s", name, status, said)
		}
		if len(copies(t, bad.ID)) > 0 {
			t.Errorf("%s was kept", name)
		}
	}
	if response, _ := c.download(address); response.StatusCode != http.StatusForbidden {
		t.Errorf("its address gives what it takes: %d", response.StatusCode)
	}
	// Of several at once, one is taken.
	var taken atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			switch status, said := c.put(address, good); status {
			case http.StatusOK:
				taken.Add(1)
				if !strings.Contains(said, sum) || !strings.Contains(said, `"pageCount":1`) {
					t.Errorf("it says %s", said)
				}
			case http.StatusConflict:
			default:
				t.Errorf("%d %s", status, said)
			}
		})
	}
	wg.Wait()
	if taken.Load() != 1 || len(copies(t, u.ID)) != 1 {
		t.Errorf("taken %d times, copies %v", taken.Load(), copies(t, u.ID))
	}
	// Whoever may only read cannot write by it, and a test token sees its own alone.
	fresh, _ := c.announce(c.live, vars{"filename": "a.pdf", "byteSize": 1})
	var reader struct{ CreateAPIToken struct{ Secret string } }
	c.do(`mutation { createApiToken(input: {name: "reader", environment: LIVE, scope: READ}) { secret } }`, nil, &reader)
	const look = `query ($id: ID!) { node(id: $id) { ... on Upload { filename request { url } } } }`
	for token, want := range map[string]string{reader.CreateAPIToken.Secret: `{"node":{"filename":"a.pdf","request":null}}`, c.test: `{"node":null}`} {
		if a := c.ask(token, look, vars{"id": fresh.ID}); string(a.Data) != want {
			t.Errorf("%s, want %s", a.Data, want)
		}
	}
	// Its time over, the bytes are deleted.
	if _, err := shared.db.SQL().ExecContext(t.Context(), `update uploads set expires_at = now() - interval '1 second' where account_id = $1`, c.account.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the expiry of an upload", func() bool { return len(copies(t, u.ID)) == 0 })
	if _, errs := c.combines(c.live, vars{"sources": []vars{{"uploadId": u.ID}}}); !slices.Equal(codesOf(errs), []string{"input.sources.0.uploadId CONFLICT"}) {
		t.Errorf("%+v", errs)
	}
	if status, said := c.put(fresh.Request.URL, []byte("x")); status != http.StatusNotFound {
		t.Errorf("an expired upload: %d %s", status, said)
	}
}

func TestTheDocumentGuardCountsTheSourcesOfCombinedSubmissions(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	for query, want := range map[string]string{
		`{ combinedSubmissions(first: 50) { nodes { id state sources { ... on Submission { id state } ... on Upload { filename } } } } }`: "",
		`{ combinedSubmissions(first: 50) { nodes { sources { ... on CombinedSubmission { sources { ... on Submission { id } } } } } } }`: "DOCUMENT_TOO_COMPLEX",
		`{ combinedSubmission(id: "com_000000000000000000") { sources { ... on Submission { data } } } }`:                                 "DOCUMENT_TOO_COMPLEX",
	} {
		if a := c.ask(c.live, query, nil); a.code() != want {
			t.Errorf("%s: %q, want %q", query, a.code(), want)
		}
	}
}

// waitingTemplate is a published template whose documents stay PENDING until its gate is
// opened.
func (c *client) waitingTemplate() (id string, gate *gate) {
	c.t.Helper()
	gate = newGate(c.t, assets, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		_, _ = w.Write(logo())
	}))
	return c.template("Cover", "<img src='"+gate.URL+"/logo.png'>"), gate
}

// After days without workers, what is made of a template for a combined submission can be
// past its time before it is made.
func TestR4_1ATemplatesPartThatIsNeverMadeEndsIt(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	template, _ := c.waitingTemplate()
	whole := c.combine(c.live, vars{"sources": []vars{{"template": vars{"id": template}}}})
	if _, err := shared.db.SQL().ExecContext(t.Context(), `update submissions set expires_at = now() - interval '2 days' where account_id = $1 and preview`, c.account.ID); err != nil {
		t.Fatal(err)
	}
	if end := c.finalCombined(c.live, whole.ID); end.State != "FAILED" || end.Failure.Code != "SOURCE_EXPIRED" || !slices.Equal(end.Failure.Path, []string{"sources", "0"}) || strings.Contains(end.Failure.Message, "sub_") {
		t.Errorf("%v", end)
	}
}

func TestR3_8ACombinedSubmissionWhoseTimeIsOverLeavesNothingOfItsTemplates(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	template, _ := c.waitingTemplate()
	whole := c.combine(c.live, vars{"sources": []vars{{"template": vars{"id": template}}}, "metadata": vars{"name": "Ada"}, "expiresIn": 3600})
	if _, err := shared.db.SQL().ExecContext(t.Context(), `update combined_submissions set expires_at = now() - interval '2 days' where account_id = $1`, c.account.ID); err != nil {
		t.Fatal(err)
	}
	if end := c.finalCombined(c.live, whole.ID); end.State != "FAILED" || end.Failure.Code != "EXPIRED" {
		t.Errorf("%v", end)
	}
	eventually(t, "the deletion of what was made of the template", func() bool {
		var left int
		if err := shared.db.SQL().QueryRowContext(t.Context(), `select count(*) from submissions where account_id = $1 and preview`, c.account.ID).Scan(&left); err != nil {
			t.Fatal(err)
		}
		return left == 0
	})
}

// A short call must not become gigabytes: a thousand times four megabytes of sample data.
func TestSampleDataIsNotCopiedForEachPlaceOfATemplate(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	_, gate := c.waitingTemplate()
	template := c.createTemplate(vars{"name": "Cover", "content": vars{"html": "<p>{{ name }}</p><img src='" + gate.URL + "/logo.png'>",
		"sampleData": vars{"name": "Ada", "more": strings.Repeat("x", 1<<20)}}})
	sources := make([]vars, 20)
	for i := range sources {
		sources[i] = vars{"template": vars{"id": template.ID}}
	}
	whole := c.combine(c.live, vars{"sources": sources})
	var parts, size int
	if err := shared.db.SQL().QueryRowContext(t.Context(), `select count(*), coalesce(sum(length(data::text)), 0) from submission_inputs
		where account_id = $1`, c.account.ID).Scan(&parts, &size); err != nil || parts != len(sources) || size > 1<<20 {
		t.Errorf("%d parts keep %d bytes of data, %v", parts, size, err)
	}
	gate.open()
	end := c.finalCombined(c.live, whole.ID)
	if end.State != "PROCESSED" {
		t.Fatalf("%v", end)
	}
	if _, pdf := c.download(end.DownloadURL); strings.Count(text(t, pdf), "Ada") != len(sources) {
		t.Errorf("pages: %q", words(t, pdf))
	}
}

func TestAnAccountsFloodOfCombinedSubmissionsGoesBehind(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	ready := c.submit(vars{"html": "<p>ready</p>"}).ID
	slow, gate := c.waiting(c.live, "slow")
	priority := func(id string) (priority int) {
		t.Helper()
		if end := c.finalCombined(c.live, id); end.State != "PROCESSED" {
			t.Errorf("%v", end)
		}
		if err := shared.db.SQL().QueryRowContext(t.Context(), `select priority from river.river_job where kind = 'combine_submissions' and args->>'combined_submission_id' = $1`, id).Scan(&priority); err != nil {
			t.Fatal(err)
		}
		return priority
	}
	first := c.combine(c.live, vars{"sources": sourcesOf(ready)})
	if got := priority(first.ID); got != 1 {
		t.Errorf("the first has the priority %d", got)
	}
	if _, err := shared.db.SQL().ExecContext(t.Context(), `insert into combined_submissions (account_id, id, state, test, metadata, waiting)
		select $1, 'com_flood' || n, 'PENDING', false, '{}', 0 from generate_series(1, 20) as n`, c.account.ID); err != nil {
		t.Fatal(err)
	}
	atOnce, later := c.combine(c.live, vars{"sources": sourcesOf(ready)}), c.combine(c.live, vars{"sources": sourcesOf(slow)})
	gate.open()
	for _, whole := range []*combined{atOnce, later} {
		if got := priority(whole.ID); got != 3 {
			t.Errorf("behind twenty others, it has the priority %d", got)
		}
	}
}

// What is made of a template for a combined submission is nobody's to see, also when it fails.
func TestAFailureNamesTheTemplatesVersionAndNotWhatWasMadeOfIt(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	broken := newGate(t, assets, http.NotFoundHandler())
	template := c.template("Cover", "<img src='"+broken.URL+"/missing.png'>")
	whole := c.combine(c.live, vars{"sources": []vars{{"template": vars{"id": template}}}})
	broken.open()
	end := c.finalCombined(c.live, whole.ID)
	if end.State != "FAILED" || end.Failure.Code != "SOURCE_FAILED" || len(end.Sources) != 1 {
		t.Fatalf("%v", end)
	}
	var details struct{ SourceID string }
	if err := json.Unmarshal(end.Failure.Details, &details); err != nil || details.SourceID != end.Sources[0].ID {
		t.Errorf("details: %s, source: %+v, %v", end.Failure.Details, end.Sources[0], err)
	}
}

func TestR4_3SourcesThatAreTooLargeTogetherAreNotRead(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	one := c.submit(vars{"html": "<p>one</p>"}).ID
	if _, err := shared.db.SQL().ExecContext(t.Context(), `update submissions set byte_size = 130 << 20 where account_id = $1`, c.account.ID); err != nil {
		t.Fatal(err)
	}
	if end := c.finalCombined(c.live, c.combine(c.live, vars{"sources": sourcesOf(one, one)}).ID); end.State != "FAILED" || end.Failure.Code != "DOCUMENT_LIMIT" || end.Failure.Stage != "COMBINE" {
		t.Errorf("%v", end)
	}
}

func TestR4_1APreviewIsNoSource(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	template, gate := c.waitingTemplate()
	whole := c.combine(c.live, vars{"sources": []vars{{"template": vars{"id": template}}}})
	var part string
	if err := shared.db.SQL().QueryRowContext(t.Context(), `select id from submissions where account_id = $1 and preview`, c.account.ID).Scan(&part); err != nil {
		t.Fatal(err)
	}
	if made, errs := c.combines(c.live, vars{"sources": sourcesOf(part)}); made != nil || len(errs) != 1 || errs[0].Code != "NOT_FOUND" {
		t.Errorf("%+v %+v", made, errs)
	}
	gate.open()
	c.finalCombined(c.live, whole.ID)
}

func TestR4_3AMergeThatTakesTooLongEndsAndIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	p := startConfigured(t, emptyFolder(t), func(c *config) { c.mergeTime = time.Nanosecond }, testKey, "PLATEN_BOOTSTRAP_LIVE_TOKEN=live-token-of-slow-merges",
		"DATABASE_URL="+dsnIn(filepath.Join(shared.config.dataDir, "postgres"), newDatabase(t)), "PLATEN_BLOB_URL=file://"+emptyFolder(t))
	c := &client{t: t, base: p.baseURL, live: "live-token-of-slow-merges"}
	one := c.submit(vars{"html": "<p>one</p>"}).ID
	if end := c.finalCombined(c.live, c.combine(c.live, vars{"sources": sourcesOf(one)}).ID); end.State != "FAILED" || end.Failure.Code != "DOCUMENT_LIMIT" || end.Failure.Stage != "COMBINE" {
		t.Errorf("%v", end)
	}
}
