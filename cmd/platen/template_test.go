package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	root "platen"
)

// template is a template as the tests select it.
type template struct {
	ID, Name, Description string
	Draft                 content
	HasUnpublishedChanges bool
	LatestVersion         *version
	ExpireAfter           *int
	ArchivedAt            *time.Time
	CreatedAt, UpdatedAt  time.Time
}

type version struct {
	ID      string
	Number  int
	Content content
	Actions []action
}

// Failures of tests show them as JSON: in Go's form, raw JSON is numbers.
func (t template) String() string { return asJSON(t) }
func (v version) String() string  { return asJSON(v) }

func asJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

type content struct {
	HTML, CSS, HeaderHTML, FooterHTML string
	Page                              json.RawMessage
	Schema, SampleData                json.RawMessage
	Variables                         []string
}

const versionFragments = actionFragments + `
fragment content on TemplateContent { html css headerHtml footerHtml schema sampleData variables
	page { format width height orientation marginTop marginRight marginBottom marginLeft scale printBackground preferCssPageSize pageRanges
		outline tagged media javaScript network waitFor { networkIdle selector expression } timeout } }
fragment version on TemplateVersion { id number content { ...content } actions { ...done } }
`

const templateFragments = versionFragments + `
fragment whole on Template { id name description draft { ...content } hasUnpublishedChanges latestVersion { ...version } expireAfter archivedAt createdAt updatedAt }`

// templateMutations are those of templates.
var templateMutations = map[string]string{
	"create":  `mutation ($input: CreateTemplateInput!) { payload: createTemplate(input: $input) { template { ...whole } ` + userErrors + ` } }` + templateFragments,
	"update":  `mutation ($id: ID!, $input: UpdateTemplateInput!) { payload: updateTemplate(id: $id, input: $input) { template { ...whole } ` + userErrors + ` } }` + templateFragments,
	"publish": `mutation ($id: ID!) { payload: publishTemplate(id: $id) { templateVersion { ...version } ` + userErrors + ` } }` + versionFragments,
	"restore": `mutation ($id: ID!) { payload: restoreTemplateVersion(id: $id) { template { ...whole } ` + userErrors + ` } }` + templateFragments,
}

type templatePayload struct {
	Template        *template
	TemplateVersion *version
	UserErrors      []userError
}

// mutateTemplate calls a mutation of templates with the live token.
func (c *client) mutateTemplate(name string, variables vars) templatePayload {
	c.t.Helper()
	var got struct{ Payload templatePayload }
	c.do(templateMutations[name], variables, &got)
	return got.Payload
}

func (c *client) createTemplate(input vars) template {
	c.t.Helper()
	got := c.mutateTemplate("create", vars{"input": input})
	if got.Template == nil {
		c.t.Fatalf("refused: %+v", got.UserErrors)
	}
	return *got.Template
}

func (c *client) updateTemplate(id string, input vars) template {
	c.t.Helper()
	got := c.mutateTemplate("update", vars{"id": id, "input": input})
	if got.Template == nil {
		c.t.Fatalf("refused: %+v", got.UserErrors)
	}
	return *got.Template
}

func (c *client) publishTemplate(id string) version {
	c.t.Helper()
	got := c.mutateTemplate("publish", vars{"id": id})
	if got.TemplateVersion == nil {
		c.t.Fatalf("refused: %+v", got.UserErrors)
	}
	return *got.TemplateVersion
}

func (c *client) readTemplate(id string) template {
	c.t.Helper()
	var got struct{ Template *template }
	c.do(`query ($id: ID!) { template(id: $id) { ...whole } }`+templateFragments, vars{"id": id}, &got)
	if got.Template == nil {
		c.t.Fatalf("there is no template %s", id)
	}
	return *got.Template
}

// printed is the text of a document of a template.
func (c *client) printed(templateID string) string {
	c.t.Helper()
	doc := c.submit(vars{"templateId": templateID})
	_, body := c.download(doc.DownloadURL)
	return strings.TrimSpace(text(c.t, body))
}

// defaultPage is what a template prints with that says nothing.
const defaultPage = `{"format":"LETTER","width":null,"height":null,"orientation":"PORTRAIT","marginTop":"0.4in","marginRight":"0.4in",` +
	`"marginBottom":"0.4in","marginLeft":"0.4in","scale":1,"printBackground":true,"preferCssPageSize":false,"pageRanges":null,"outline":false,` +
	`"tagged":false,"media":"PRINT","javaScript":true,"network":true,"waitFor":null,"timeout":30}`

func TestR2_1ATemplateKeepsAllThatItIsMadeOf(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	made := c.createTemplate(vars{"name": "Invoice", "description": "For customers", "expireAfter": root.MaxExpireAfter, "content": vars{
		"html": "<p>{{ customer.name }} {{ data.total }} {{ metadata.m }} {{ template_name }}</p>", "css": "p { color: red }",
		"headerHtml": "<b>{{ number }}</b>", "footerHtml": "<i>{{ number }}</i>",
		"schema":     json.RawMessage(`{"required":["total"],"type":"object"}`),
		"sampleData": json.RawMessage(`{"total":1.10,"text":"<b>&"}`),
	}})
	read := c.readTemplate(made.ID)
	if made.Description != "For customers" || made.ExpireAfter == nil || *made.ExpireAfter != 315360000 || made.ArchivedAt != nil ||
		made.HasUnpublishedChanges || made.LatestVersion == nil || made.LatestVersion.Number != 1 {
		t.Errorf("%+v", made)
	}
	d := made.Draft
	if d.CSS != "p { color: red }" || d.HeaderHTML != "<b>{{ number }}</b>" || d.FooterHTML != "<i>{{ number }}</i>" || string(d.Page) != defaultPage ||
		string(d.Schema) != `{"required":["total"],"type":"object"}` || !strings.Contains(string(d.SampleData), `1.10`) {
		t.Errorf("%s", asJSON(d))
	}
	var sample struct{ Text string }
	if err := json.Unmarshal(d.SampleData, &sample); err != nil || sample.Text != "<b>&" {
		t.Errorf("the sample data came back as %s", d.SampleData)
	}
	if want := []string{"customer.name", "number", "total"}; !slices.Equal(d.Variables, want) {
		t.Errorf("variables %q, want %q", d.Variables, want)
	}
	if got, want := asJSON(read), asJSON(made); got != want {
		t.Errorf("read   %s\nmade   %s", got, want)
	}
	if got, want := asJSON(made.LatestVersion.Content), asJSON(made.Draft); got != want {
		t.Errorf("version %s\ndraft   %s", got, want)
	}

	// Absent stays, null is cleared.
	if same := c.updateTemplate(made.ID, vars{}); asJSON(same.Draft) != asJSON(made.Draft) || same.Name != made.Name ||
		same.Description != made.Description || *same.ExpireAfter != *made.ExpireAfter || same.HasUnpublishedChanges {
		t.Errorf("an update of nothing made %+v of %+v", same, made)
	}
	one := c.updateTemplate(made.ID, vars{"name": "Bill", "content": vars{"css": "p { color: blue }"}})
	if one.Name != "Bill" || one.Description != made.Description || one.Draft.CSS != "p { color: blue }" || one.Draft.HTML != made.Draft.HTML ||
		string(one.Draft.Schema) != string(made.Draft.Schema) || !one.HasUnpublishedChanges || !one.UpdatedAt.After(made.UpdatedAt) {
		t.Errorf("%+v", one)
	}
	cleared := c.updateTemplate(made.ID, vars{"description": nil, "expireAfter": nil, "content": vars{"css": nil, "headerHtml": nil, "footerHtml": nil,
		"schema": nil, "sampleData": nil, "page": nil}})
	if cleared.Description != "" || cleared.ExpireAfter != nil || asJSON(cleared.Draft) != asJSON(content{HTML: made.Draft.HTML,
		Page: json.RawMessage(defaultPage), Schema: json.RawMessage("null"), SampleData: json.RawMessage("null"), Variables: []string{"customer.name", "total"}}) {
		t.Errorf("%+v", cleared)
	}
	if after := c.readTemplate(made.ID); asJSON(after) != asJSON(cleared) {
		t.Errorf("%+v", after)
	}
}

func TestR2_2ADraftIsEditedAndPublishedAsVersions(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	made := c.createTemplate(vars{"name": "T", "publish": false, "content": vars{"html": "<p>first</p>"}})
	if made.LatestVersion != nil || !made.HasUnpublishedChanges {
		t.Errorf("unpublished: %+v", made)
	}
	if errs := c.refused(c.live, vars{"templateId": made.ID}); len(errs) != 1 || strings.Join(errs[0].Path, ".") != "input.templateId" {
		t.Errorf("a document of an unpublished template: %+v", errs)
	}
	first := c.publishTemplate(made.ID)
	if again := c.publishTemplate(made.ID); first.Number != 1 || again.ID != first.ID || again.Number != 1 {
		t.Errorf("published as %+v, and again as %+v", first, again)
	}
	published := c.readTemplate(made.ID)
	if published.HasUnpublishedChanges || published.LatestVersion.ID != first.ID || !published.UpdatedAt.Equal(made.UpdatedAt) {
		t.Errorf("published: %+v", published)
	}

	if edited := c.updateTemplate(made.ID, vars{"content": vars{"html": "<p>second</p>"}}); !edited.HasUnpublishedChanges || edited.LatestVersion.Number != 1 {
		t.Errorf("edited: %+v", edited)
	}
	if got := c.printed(made.ID); got != "first" {
		t.Errorf("before it is published, an edit prints %q", got)
	}
	if back := c.updateTemplate(made.ID, vars{"content": vars{"html": "<p>first</p>"}}); back.HasUnpublishedChanges {
		t.Error("a draft that was edited back to what is published has unpublished changes")
	}
	c.updateTemplate(made.ID, vars{"name": "U", "content": vars{"html": "<p>second</p>"}})
	second := c.publishTemplate(made.ID)
	if second.Number != 2 || second.Content.HTML != "<p>second</p>" {
		t.Errorf("%+v", second)
	}
	if got := c.printed(made.ID); got != "second" {
		t.Errorf("the second version prints %q", got)
	}

	got := c.mutateTemplate("restore", vars{"id": first.ID})
	if got.Template == nil || got.Template.Draft.HTML != "<p>first</p>" || got.Template.Name != "U" || !got.Template.HasUnpublishedChanges || got.Template.LatestVersion.ID != second.ID {
		t.Errorf("restored: %+v", got)
	}
	if got := c.printed(made.ID); got != "second" {
		t.Errorf("a version that was restored and not published prints %q", got)
	}
	if third := c.publishTemplate(made.ID); third.Number != 3 || third.Content.HTML != "<p>first</p>" || third.ID == first.ID {
		t.Errorf("%+v", third)
	}
	var old struct {
		Template struct{ One, Two, Four, Huge *version }
	}
	c.do(`query ($id: ID!) { template(id: $id) { one: version(number: 1) { ...version } two: version(number: 2) { ...version } four: version(number: 4) { id }
		huge: version(number: 9007199254740991) { id } } }`+versionFragments, vars{"id": made.ID}, &old)
	if v := old.Template; asJSON(v.One) != asJSON(first) || asJSON(v.Two) != asJSON(second) || v.Four != nil || v.Huge != nil {
		t.Errorf("versions by number: %s", asJSON(v))
	}
}

func TestR2_2VersionsArePagedNewestFirst(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	id := c.template("T", "<p>1</p>")
	for n := 2; n <= 5; n++ {
		c.updateTemplate(id, vars{"content": vars{"html": fmt.Sprintf("<p>%d</p>", n)}})
		c.publishTemplate(id)
	}
	c.template("Other", "<p>x</p>")
	read := func(args string) (numbers []int, end string, more bool) {
		t.Helper()
		var got struct {
			Template struct {
				Versions struct {
					Nodes    []struct{ Number int }
					Edges    []struct{ Cursor string }
					PageInfo struct {
						HasNextPage, HasPreviousPage bool
						EndCursor                    string
					}
					TotalCount int
				}
			}
		}
		c.do(`query ($id: ID!) { template(id: $id) { versions`+args+` { nodes { number } edges { cursor } pageInfo { hasNextPage hasPreviousPage endCursor } totalCount } } }`, vars{"id": id}, &got)
		v := got.Template.Versions
		for i, node := range v.Nodes {
			numbers = append(numbers, node.Number)
			end = v.Edges[i].Cursor
		}
		if v.TotalCount != 5 || end != v.PageInfo.EndCursor || v.PageInfo.HasPreviousPage != strings.Contains(args, "after") {
			t.Errorf("versions%s: %+v", args, v)
		}
		return numbers, end, v.PageInfo.HasNextPage
	}
	numbers, end, more := read("(first: 2)")
	if !slices.Equal(numbers, []int{5, 4}) || !more {
		t.Errorf("%v %v", numbers, more)
	}
	numbers, end, more = read(fmt.Sprintf("(first: 2, after: %q)", end))
	if !slices.Equal(numbers, []int{3, 2}) || !more {
		t.Errorf("%v %v", numbers, more)
	}
	if numbers, _, more = read(fmt.Sprintf("(first: 2, after: %q)", end)); !slices.Equal(numbers, []int{1}) || more {
		t.Errorf("%v %v", numbers, more)
	}
	if numbers, _, more = read(""); !slices.Equal(numbers, []int{5, 4, 3, 2, 1}) || more {
		t.Errorf("%v %v", numbers, more)
	}
	for _, args := range []string{`(first: 0)`, `(first: 101)`, `(after: "nonsense")`} {
		if a := c.ask(c.live, `query ($id: ID!) { template(id: $id) { versions`+args+` { totalCount } } }`, vars{"id": id}); a.code() != "BAD_USER_INPUT" {
			t.Errorf("%s: %+v", args, a.Errors)
		}
	}
	a := c.ask(c.live, `{ templates { nodes { name version(number: 2) { number } latestVersion { number template { name } } versions { totalCount } } } }`, nil)
	if want := `{"templates":{"nodes":[{"name":"Other","version":null,"latestVersion":{"number":1,"template":{"name":"Other"}},"versions":{"totalCount":1}},` +
		`{"name":"T","version":{"number":2},"latestVersion":{"number":5,"template":{"name":"T"}},"versions":{"totalCount":5}}]}}`; string(a.Data) != want {
		t.Errorf("several templates: %s %+v", a.Data, a.Errors)
	}
}

func TestR2_2PublishingAndEditingAtOnceLoseNothing(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	id := c.template("T", "<p>0</p>")
	atOnce := func(calls ...func(c *client)) {
		var all sync.WaitGroup
		for _, call := range calls {
			all.Go(func() { call(c) })
		}
		all.Wait()
	}
	for round := 1; round <= 5; round++ {
		c.updateTemplate(id, vars{"content": vars{"html": fmt.Sprintf("<p>%d</p>", round)}})
		versions := make([]version, 8)
		calls := make([]func(*client), len(versions))
		for i := range calls {
			calls[i] = func(c *client) { versions[i] = c.publishTemplate(id) }
		}
		atOnce(calls...)
		for _, v := range versions {
			if v.ID != versions[0].ID || v.Number != round+1 {
				t.Fatalf("round %d: %d %s and %d %s", round, versions[0].Number, versions[0].ID, v.Number, v.ID)
			}
		}
	}
	update := func(input vars) func(*client) { return func(c *client) { c.updateTemplate(id, input) } }
	publish := func(c *client) { c.publishTemplate(id) }
	for round := range 5 {
		sign := fmt.Sprintf("round %d", round)
		atOnce(update(vars{"name": sign}), update(vars{"description": sign}), publish, update(vars{"expireAfter": round + 1}),
			update(vars{"content": vars{"html": sign}}), update(vars{"content": vars{"css": sign}}), publish, update(vars{"content": vars{"headerHtml": sign}}),
			update(vars{"content": vars{"sampleData": sign}}), publish, update(vars{"content": vars{"page": vars{"timeout": round + 1}}}),
			update(vars{"content": vars{"page": vars{"pageRanges": fmt.Sprint(round + 1)}}}))
		after := c.readTemplate(id)
		if d := after.Draft; after.Name != sign || after.Description != sign || *after.ExpireAfter != round+1 || d.HTML != sign || d.CSS != sign ||
			d.HeaderHTML != sign || string(d.SampleData) != `"`+sign+`"` || !strings.Contains(string(d.Page), fmt.Sprintf(`"timeout":%d`, round+1)) ||
			!strings.Contains(string(d.Page), fmt.Sprintf(`"pageRanges":"%d"`, round+1)) {
			t.Fatalf("round %d: an edit was lost: %+v", round, after)
		}
		if v := c.publishTemplate(id); asJSON(v.Content) != asJSON(after.Draft) {
			t.Fatalf("round %d: what was published is not the draft: %+v", round, v)
		}
	}
	var count, latest int
	if err := shared.db.SQL().QueryRowContext(t.Context(), `select count(*), max(number) from template_versions where account_id = $1 and template_id = $2`,
		c.account.ID, id).Scan(&count, &latest); err != nil || count != latest {
		t.Errorf("%d versions, the latest is number %d, %v", count, latest, err)
	}
}

func TestR2_2ArchivedTemplatesAreLeftOutOfListsAndCanBeEdited(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	ids := map[string]string{}
	for _, name := range []string{"Überweisung", "Rechnung 1", "rechnung 2", "50% off_x"} {
		ids[name] = c.createTemplate(vars{"name": name, "content": vars{"html": "<p>" + name}}).ID
	}
	expect := func(filter any, want ...string) {
		t.Helper()
		var got struct {
			Templates struct {
				Nodes      []struct{ Name string }
				TotalCount int
			}
		}
		c.do(`query ($filter: TemplateFilter) { templates(filter: $filter) { nodes { name } totalCount } }`, vars{"filter": filter}, &got)
		var names []string
		for _, node := range got.Templates.Nodes {
			names = append(names, node.Name)
		}
		if !slices.Equal(names, want) || got.Templates.TotalCount != len(want) {
			t.Errorf("%v: %q, counted %d; want %q", filter, names, got.Templates.TotalCount, want)
		}
	}
	expect(nil, "50% off_x", "rechnung 2", "Rechnung 1", "Überweisung")
	archived := c.updateTemplate(ids["Rechnung 1"], vars{"archived": true})
	if archived.ArchivedAt == nil {
		t.Fatalf("%+v", archived)
	}
	expect(nil, "50% off_x", "rechnung 2", "Überweisung")
	expect(vars{}, "50% off_x", "rechnung 2", "Überweisung")
	expect(vars{"archived": false}, "50% off_x", "rechnung 2", "Überweisung")
	expect(vars{"archived": true}, "Rechnung 1")
	expect(vars{"nameContains": "RECHNUNG"}, "rechnung 2")
	expect(vars{"nameContains": "rechnung", "archived": true}, "Rechnung 1")
	expect(vars{"nameContains": "üBER"}, "Überweisung")
	expect(vars{"nameContains": "% O"}, "50% off_x")
	expect(vars{"nameContains": "f_"}, "50% off_x")
	expect(vars{"nameContains": "%"}, "50% off_x")
	expect(vars{"nameContains": `\`})
	expect(vars{"nameContains": nil, "archived": nil}, "50% off_x", "rechnung 2", "Überweisung")
	if a := c.ask(c.live, `{ templates(filter: {nameContains: "\u0000"}) { totalCount } }`, nil); a.code() != "BAD_USER_INPUT" {
		t.Errorf("U+0000: %s %+v", a.Data, a.Errors)
	}

	// It can be edited and published, and read by its id.
	edited := c.updateTemplate(archived.ID, vars{"content": vars{"html": "<p>new"}})
	again := c.updateTemplate(archived.ID, vars{"archived": true})
	if !edited.ArchivedAt.Equal(*archived.ArchivedAt) || !again.ArchivedAt.Equal(*archived.ArchivedAt) {
		t.Errorf("archived at %v, %v, %v", archived.ArchivedAt, edited.ArchivedAt, again.ArchivedAt)
	}
	if v := c.publishTemplate(archived.ID); v.Number != 2 {
		t.Errorf("%+v", v)
	}
	if got := c.mutateTemplate("restore", vars{"id": archived.LatestVersion.ID}); got.Template == nil || got.Template.Draft.HTML != "<p>Rechnung 1" || got.Template.ArchivedAt == nil {
		t.Errorf("%+v", got)
	}
	if back := c.updateTemplate(archived.ID, vars{"archived": nil}); back.ArchivedAt != nil {
		t.Errorf("%+v", back)
	}
	expect(nil, "50% off_x", "rechnung 2", "Rechnung 1", "Überweisung")
	if a := c.ask(c.live, `query ($name: String!) { templates(filter: {nameContains: $name}) { nodes { id } } }`, vars{"name": strings.Repeat("ü", root.MaxName+1)}); a.code() != "BAD_USER_INPUT" {
		t.Errorf("a part of a name that is longer than names are: %s", a.Data)
	}
}

func TestR2_3PageSettingsOfATemplateAreChangedFieldByField(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	all := vars{"format": "A5", "orientation": "LANDSCAPE", "marginTop": "1cm", "marginRight": "2cm", "marginBottom": "3cm", "marginLeft": "4cm",
		"scale": 0.5, "printBackground": false, "preferCssPageSize": true, "pageRanges": "1-2", "outline": true, "tagged": true, "media": "SCREEN",
		"javaScript": false, "network": false, "waitFor": vars{"networkIdle": true, "selector": "#done"}, "timeout": 7}
	// fields are page settings as they are shown, with some of them changed.
	fields := func(page string, changes vars) string {
		t.Helper()
		settings := map[string]any{}
		if err := json.Unmarshal([]byte(page), &settings); err != nil {
			t.Fatal(err)
		}
		for name, value := range changes {
			settings[name] = value
		}
		return asJSON(settings)
	}
	waitFor := vars{"waitFor": vars{"networkIdle": true, "selector": "#done", "expression": nil}}
	made := c.createTemplate(vars{"name": "T", "content": vars{"html": "<p>", "page": all}})
	whole := fields(fields(defaultPage, all), waitFor)
	if got := fields(string(made.Draft.Page), nil); got != whole {
		t.Errorf("made with   %s\nwant %s", got, whole)
	}
	change := func(page any) string {
		t.Helper()
		return fields(string(c.updateTemplate(made.ID, vars{"content": vars{"page": page}}).Draft.Page), nil)
	}
	// What was read can be sent again, and each null brings back its default alone.
	if got := change(made.Draft.Page); got != whole {
		t.Errorf("sent again: %s", got)
	}
	defaults := map[string]any{}
	if err := json.Unmarshal([]byte(defaultPage), &defaults); err != nil {
		t.Fatal(err)
	}
	for name := range all {
		if got, want := change(vars{name: nil}), fields(whole, vars{name: defaults[name]}); got != want {
			t.Errorf("%s: null\ngot  %s\nwant %s", name, got, want)
		}
		if got := change(vars{name: all[name]}); got != whole {
			t.Errorf("%s: %v\ngot  %s\nwant %s", name, all[name], got, whole)
		}
	}
	for _, test := range []struct {
		name       string
		page, want vars
	}{
		{"a waitFor is replaced as a whole", vars{"waitFor": vars{"selector": "#x"}}, vars{"waitFor": vars{"networkIdle": false, "selector": "#x", "expression": nil}}},
		{"width and height replace a format", vars{"width": "10cm", "height": "20cm"}, vars{"format": nil, "width": "10cm", "height": "20cm"}},
		{"one of them changes alone", vars{"width": "11cm"}, vars{"format": nil, "width": "11cm", "height": "20cm"}},
		{"a format replaces them", vars{"format": "A4"}, vars{"format": "A4", "width": nil, "height": nil}},
		{"they win over a format", vars{"format": "A3", "width": "10cm", "height": "20cm"}, vars{"format": nil, "width": "10cm", "height": "20cm"}},
		{"sent again, they stay", vars{"format": nil, "width": "10cm", "height": "20cm"}, vars{"format": nil, "width": "10cm", "height": "20cm"}},
		{"without them there is a format again", vars{"width": nil, "height": nil}, vars{"format": "LETTER", "width": nil, "height": nil}},
		{"sent again, a format stays", vars{"format": "A4", "width": nil, "height": nil}, vars{"format": "A4", "width": nil, "height": nil}},
	} {
		got := change(test.page)
		if want := fields(got, test.want); got != want {
			t.Errorf("%s: %v\ngot  %s\nwant %s", test.name, test.page, got, want)
		}
	}
	if got, want := change(nil), fields(defaultPage, nil); got != want {
		t.Errorf("null: %s", got)
	}
}

func TestR2_4WhatIsBrokenIsRefusedWhenSavedOrPublished(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	existing := c.createTemplate(vars{"name": "T", "content": vars{"html": "<p>"}})
	places := func(errs []userError) (all []string) {
		for _, e := range errs {
			place := strings.Join(e.Path, ".") + " " + e.Code
			if e.Line > 0 {
				place += fmt.Sprintf(" %d:%d", e.Line, e.Column)
			}
			if e.Message == "" {
				t.Error("an error without a message")
			}
			all = append(all, place)
		}
		slices.Sort(all)
		return all
	}
	long := json.RawMessage(`{"x":"` + strings.Repeat("x", root.MaxData) + `"}`)
	for name, test := range map[string]struct {
		input vars
		want  []string // path, code and position of each
	}{
		"html":                   {vars{"content": vars{"html": "<p>\n {{ name"}}, []string{"input.content.html TEMPLATE_INVALID 2:2"}},
		"header and footer":      {vars{"content": vars{"html": "<p>", "headerHtml": "{% nope %}", "footerHtml": "ä{{ a | nope }}"}}, []string{"input.content.footerHtml TEMPLATE_INVALID 1:9", "input.content.headerHtml TEMPLATE_INVALID 1:1"}},
		"all at once":            {vars{"name": " ", "description": strings.Repeat("x", 4001), "expireAfter": 0, "content": vars{"html": "{{", "page": vars{"scale": 3, "pageRanges": "x"}, "schema": 7}}, []string{"input.content.html TEMPLATE_INVALID 1:1", "input.content.page.pageRanges INVALID", "input.content.page.scale INVALID", "input.content.schema INVALID", "input.description TOO_LONG", "input.expireAfter INVALID", "input.name REQUIRED"}},
		"no html":                {vars{"content": vars{"html": ""}}, []string{"input.content.html REQUIRED"}},
		"a long name":            {vars{"name": strings.Repeat("ä", 201)}, []string{"input.name TOO_LONG"}},
		"U+0000 in texts":        {vars{"name": "a\x00", "content": vars{"html": "<p>", "css": "\x00"}}, []string{"input.content.css INVALID", "input.name INVALID"}},
		"U+0000 in JSON":         {vars{"content": vars{"html": "<p>", "schema": vars{"const": "\x00"}, "sampleData": vars{"\x00": 1}}}, []string{"input.content.sampleData INVALID", "input.content.schema INVALID"}},
		"a schema that is none":  {vars{"content": vars{"html": "<p>", "schema": []int{}}}, []string{"input.content.schema INVALID"}},
		"a schema that is text":  {vars{"content": vars{"html": "<p>", "schema": "true"}}, []string{"input.content.schema INVALID"}},
		"JSON that is too large": {vars{"content": vars{"html": "<p>", "schema": long, "sampleData": long}}, []string{"input.content.sampleData TOO_LARGE", "input.content.schema TOO_LARGE"}},
		"html that is too large": {vars{"content": vars{"html": strings.Repeat("x", root.MaxSource+1)}}, []string{"input.content.html TOO_LARGE"}},
		"expiry before its time": {vars{"expireAfter": -1}, []string{"input.expireAfter INVALID"}},
		"expiry too late":        {vars{"expireAfter": root.MaxExpireAfter + 1}, []string{"input.expireAfter INVALID"}},
		"expiry beyond numbers":  {vars{"expireAfter": 1 << 40}, []string{"input.expireAfter INVALID"}},
	} {
		created := vars{"name": "T", "content": vars{"html": "<p>"}}
		for field, value := range test.input {
			created[field] = value
		}
		got := c.mutateTemplate("create", vars{"input": created})
		if places := places(got.UserErrors); got.Template != nil || !slices.Equal(places, test.want) {
			t.Errorf("%s, created: %q, want %q", name, places, test.want)
		}
		got = c.mutateTemplate("update", vars{"id": existing.ID, "input": test.input})
		if places := places(got.UserErrors); got.Template != nil || !slices.Equal(places, test.want) {
			t.Errorf("%s, updated: %q, want %q", name, places, test.want)
		}
	}
	for name, test := range map[string]struct {
		input vars
		want  string
	}{
		"no name":    {vars{"name": nil}, "input.name REQUIRED"},
		"no html":    {vars{"content": vars{"html": nil}}, "input.content.html REQUIRED"},
		"no content": {vars{"content": nil}, "input.content.html REQUIRED"},
		"width":      {vars{"content": vars{"page": vars{"width": "1cm"}}}, "input.content.page.height REQUIRED"},
	} {
		if got := places(c.mutateTemplate("update", vars{"id": existing.ID, "input": test.input}).UserErrors); !slices.Equal(got, []string{test.want}) {
			t.Errorf("%s: %q, want %s", name, got, test.want)
		}
	}
	if after := c.readTemplate(existing.ID); asJSON(after) != asJSON(existing) {
		t.Errorf("refused updates made %+v of %+v", after, existing)
	}
	var list struct{ Templates struct{ TotalCount int } }
	if c.do(`{ templates { totalCount } }`, nil, &list); list.Templates.TotalCount != 1 {
		t.Errorf("refused templates were made: %d", list.Templates.TotalCount)
	}
	for _, schema := range []any{true, false, vars{}, vars{"type": "object"}} {
		if got := c.updateTemplate(existing.ID, vars{"content": vars{"schema": schema, "sampleData": 7}}); string(got.Draft.Schema) != asJSON(schema) || string(got.Draft.SampleData) != "7" {
			t.Errorf("%v: %+v", schema, got)
		}
	}

	// What an earlier release let pass is found when it is published.
	if _, err := shared.db.SQL().ExecContext(t.Context(), `update templates set draft = $3 where account_id = $1 and id = $2`, c.account.ID, existing.ID,
		`{"html":"\n{% broken","headerHtml":"{{","page":`+asJSON(root.DefaultPageSettings())+`}`); err != nil {
		t.Fatal(err)
	}
	got := c.mutateTemplate("publish", vars{"id": existing.ID})
	if places := places(got.UserErrors); got.TemplateVersion != nil || !slices.Equal(places, []string{"draft.headerHtml TEMPLATE_INVALID 1:1", "draft.html TEMPLATE_INVALID 2:1"}) {
		t.Errorf("a broken draft is published: %+v", got)
	}
	var versions struct {
		Template struct{ Versions struct{ TotalCount int } }
	}
	if c.do(`query ($id: ID!) { template(id: $id) { versions { totalCount } } }`, vars{"id": existing.ID}, &versions); versions.Template.Versions.TotalCount != 1 {
		t.Errorf("%d versions", versions.Template.Versions.TotalCount)
	}
}

func TestR1_2TemplatesAreSharedByBothEnvironmentsAndChangedWithScopeWrite(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	made := c.createTemplate(vars{"name": "T", "content": vars{"html": "<p>1"}})
	token := func(environment, scope string) string {
		var got struct {
			CreateAPIToken struct{ Secret string } `json:"createApiToken"`
		}
		c.do(`mutation ($environment: Environment!, $scope: TokenScope!) { createApiToken(input: {name: "t", environment: $environment, scope: $scope}) { secret } }`,
			vars{"environment": environment, "scope": scope}, &got)
		return got.CreateAPIToken.Secret
	}
	writer := &client{t: t, base: c.base, live: token("TEST", "WRITE"), account: c.account}
	writer.updateTemplate(made.ID, vars{"content": vars{"html": "<p>2"}})
	if v := writer.publishTemplate(made.ID); v.Number != 2 || c.readTemplate(made.ID).LatestVersion.ID != v.ID {
		t.Errorf("%+v", v)
	}
	if got := writer.mutateTemplate("restore", vars{"id": made.LatestVersion.ID}); got.Template == nil {
		t.Errorf("%+v", got)
	}
	writer.createTemplate(vars{"name": "U", "content": vars{"html": "<p>"}})

	before := c.readTemplate(made.ID)
	reader := token("LIVE", "READ")
	for name, variables := range map[string]vars{
		"create": {"input": vars{"name": "V", "content": vars{"html": "<p>"}}}, "update": {"id": made.ID, "input": vars{"name": "V"}},
		"publish": {"id": made.ID}, "restore": {"id": made.LatestVersion.ID},
	} {
		if a := c.ask(reader, templateMutations[name], variables); a.code() != "FORBIDDEN" {
			t.Errorf("%s with the scope READ: %s %+v", name, a.Data, a.Errors)
		}
	}
	if after := c.readTemplate(made.ID); asJSON(after) != asJSON(before) {
		t.Errorf("%+v", after)
	}
}

func TestR1_3AnotherAccountsTemplateCannotBeChanged(t *testing.T) {
	t.Parallel()
	owner, stranger := newClient(t), newClient(t)
	made := owner.createTemplate(vars{"name": "T", "content": vars{"html": "<p>1"}})
	draft := owner.updateTemplate(made.ID, vars{"content": vars{"html": "<p>2"}})
	version := made.LatestVersion.ID
	for _, test := range []struct {
		mutation string
		ids      []string
	}{
		{"update", []string{made.ID, "tpl_000000000000000000", version, "", "a\x00b", "tpl_\x00"}},
		{"publish", []string{made.ID, "tpl_000000000000000000", version, "", "a\x00b", "tpl_\x00"}},
		{"restore", []string{version, "tpv_000000000000000000", made.ID, "", "a\x00b", "tpv_\x00"}},
	} {
		for _, id := range test.ids {
			variables := vars{"id": id}
			if test.mutation == "update" {
				variables["input"] = vars{"name": "mine"}
			}
			got := stranger.mutateTemplate(test.mutation, variables)
			if errs := got.UserErrors; got.Template != nil || got.TemplateVersion != nil || len(errs) != 1 || errs[0].Code != "NOT_FOUND" || !slices.Equal(errs[0].Path, []string{"id"}) {
				t.Errorf("%s of %q: %+v", test.mutation, id, got)
			}
		}
	}
	if after := owner.readTemplate(made.ID); asJSON(after) != asJSON(draft) {
		t.Errorf("%+v", after)
	}
}

func TestR5_3EachPublishedVersionIsCopied(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	server := newS3(t, "archive")
	c.integrate(server, "archive", nil)
	made := c.createTemplate(vars{"name": "T", "publish": false, "content": vars{"html": "<p>1</p>"}})
	for n, html := range []string{"<p>1</p>", "<p>2</p>"} {
		c.updateTemplate(made.ID, vars{"content": vars{"html": html}})
		v := c.publishTemplate(made.ID)
		if len(v.Actions) != 1 || v.Actions[0].Type != "AWS_S3_UPLOAD" {
			t.Fatalf("version %d: %+v", n+1, v)
		}
		if last := c.ended(v.Actions[0].ID); last.State != "PROCESSED" {
			t.Errorf("version %d: %+v", n+1, last)
		}
		key := fmt.Sprintf("templates/%s/%d.html", made.ID, n+1)
		if stored := server.WaitForObject(t, "archive", key); string(stored.Body) != html {
			t.Errorf("%s is %s", key, stored.Body)
		}
		if again := c.publishTemplate(made.ID); len(again.Actions) != 1 || again.Actions[0].ID != v.Actions[0].ID {
			t.Errorf("without changes, version %d got further actions: %+v", n+1, again)
		}
	}
	if n := len(server.Requests()); n != 2 {
		t.Errorf("%d uploads", n)
	}
}

func TestTheDocumentGuardCountsWhatIsHeavyInATemplate(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	c.template("T", "<p>{{ a }}</p>")
	for _, field := range []string{"schema", "sampleData", "variables"} {
		if a := c.ask(c.live, `{ templates(first: 100) { nodes { draft { `+field+` } } } }`, nil); a.code() != "DOCUMENT_TOO_COMPLEX" {
			t.Errorf("%s of 100: %s %+v", field, a.Data, a.Errors)
		}
		if a := c.ask(c.live, `{ templates(first: 25) { nodes { versions(first: 2) { nodes { content { `+field+` } } } } } }`, nil); a.code() != "DOCUMENT_TOO_COMPLEX" {
			t.Errorf("%s of 25 times 2: %s %+v", field, a.Data, a.Errors)
		}
		if a := c.ask(c.live, `{ templates(first: 25) { nodes { draft { `+field+` } } } }`, nil); len(a.Errors) > 0 {
			t.Errorf("%s of 25: %+v", field, a.Errors)
		}
	}
}
