package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	root "platen"
	"platen/delivery/s3test"
	"platen/storage"
)

// idPlaces are all places of a contract that take an id, as they are reached from a field:
// Query.submissions(filter).templateId. An input that refers to itself is followed once.
func idPlaces(schema *ast.Schema) (places []string) {
	var follow func(place string, t *ast.Type, above []string)
	follow = func(place string, t *ast.Type, above []string) {
		definition := schema.Types[t.Name()]
		switch {
		case t.Name() == "ID":
			places = append(places, place)
		case definition.Kind == ast.InputObject && !slices.Contains(above, t.Name()):
			for _, field := range definition.Fields {
				follow(place+"."+field.Name, field.Type, append(slices.Clip(above), t.Name()))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(schema.Types)) {
		definition := schema.Types[name]
		if definition.BuiltIn || definition.Kind != ast.Object && definition.Kind != ast.Interface {
			continue
		}
		for _, field := range definition.Fields {
			for _, argument := range field.Arguments {
				if !strings.HasPrefix(field.Name, "__") {
					follow(name+"."+field.Name+"("+argument.Name+")", argument.Type, nil)
				}
			}
		}
	}
	return places
}

// things are what an account has, by what they are called here.
type things map[string]string

// idCase is how a place that takes an id is asked.
type idCase struct {
	document string
	// variables fills an id in; "" where the id alone is the variable $id.
	variables func(id string) vars
	fits      []string // the things that the place is for: for these, the owner's answer is another one
	feed      bool     // what it tells comes when it happens
}

const noted = ` userErrors { __typename message path code ... on NotFoundError { id } } `

func in(path ...string) func(string) vars {
	return func(id string) vars {
		var value any = id
		for _, name := range slices.Backward(path) {
			value = vars{name: value}
		}
		return vars{"input": value}
	}
}

func source(name string) func(string) vars {
	return func(id string) vars {
		var value any = id
		if name == "template" {
			value = vars{"id": id}
		}
		return vars{"input": vars{"sources": []vars{{name: value}}}}
	}
}

// idCases has a case for each place. What changes or ends a thing comes after what only
// looks at it, as the owner asks in this order.
var idCases = []struct {
	place string
	idCase
}{
	{"Query.node(id)", idCase{document: `query ($id: ID!) { node(id: $id) { __typename id } }`,
		fits: []string{"account", "token", "template", "version", "submission", "batch", "combined", "upload", "action", "integration", "webhook"}}},
	{"Query.nodes(ids)", idCase{document: `query ($id: ID!) { nodes(ids: [$id, $id]) { __typename id } }`,
		fits: []string{"account", "token", "template", "version", "submission", "batch", "combined", "upload", "action", "integration", "webhook"}}},
	{"Query.template(id)", idCase{document: `query ($id: ID!) { template(id: $id) { id name draft { html } versions { totalCount } } }`, fits: []string{"template"}}},
	{"Query.submission(id)", idCase{document: `query ($id: ID!) { submission(id: $id) { id downloadUrl data actions { id } } }`, fits: []string{"submission"}}},
	{"Query.submissions(filter).templateId", idCase{document: `query ($id: ID!) { submissions(filter: {templateId: $id}) { nodes { id } totalCount } }`, fits: []string{"template"}}},
	{"Query.submissions(filter).batchId", idCase{document: `query ($id: ID!) { submissions(filter: {batchId: $id}) { nodes { id } totalCount } }`, fits: []string{"batch"}}},
	{"Query.submissionBatch(id)", idCase{document: `query ($id: ID!) { submissionBatch(id: $id) { id totalCount submissions { nodes { id } } } }`, fits: []string{"batch"}}},
	{"Query.combinedSubmission(id)", idCase{document: `query ($id: ID!) { combinedSubmission(id: $id) { id downloadUrl sources { __typename } } }`, fits: []string{"combined"}}},
	{"Query.action(id)", idCase{document: `query ($id: ID!) { action(id: $id) { id destination subject { __typename } integration { id } } }`, fits: []string{"action"}}},
	{"Query.actions(filter).integrationId", idCase{document: `query ($id: ID!) { actions(filter: {integrationId: $id}) { nodes { id } totalCount } }`, fits: []string{"integration"}}},
	{"Query.actions(filter).subjectId", idCase{document: `query ($id: ID!) { actions(filter: {subjectId: $id}) { nodes { id } totalCount } }`, fits: []string{"submission"}}},
	{"Query.integration(id)", idCase{document: `query ($id: ID!) { integration(id: $id) { id name actions { totalCount } health { state } } }`, fits: []string{"integration", "webhook"}}},
	{"Query.pathPreview(input).subjectId", idCase{document: `query ($input: PathPreviewInput!) { pathPreview(input: $input) { key failure { stage code message } warnings } }`,
		variables: func(id string) vars {
			return vars{"input": vars{"pathTemplate": "{{ submission_id }}.pdf", "kind": "SUBMISSION", "subjectId": id}}
		}, fits: []string{"submission"}}},

	{"Subscription.submissionUpdated(id)", idCase{document: `subscription ($id: ID!) { submissionUpdated(id: $id) { kind submission { id } } }`, fits: []string{"submission"}}},
	{"Subscription.combinedSubmissionUpdated(id)", idCase{document: `subscription ($id: ID!) { combinedSubmissionUpdated(id: $id) { kind combinedSubmission { id } } }`, fits: []string{"combined"}}},
	{"Subscription.submissionBatchUpdated(id)", idCase{document: `subscription ($id: ID!) { submissionBatchUpdated(id: $id) { kind batch { id } } }`, fits: []string{"batch"}}},
	{"Subscription.actionUpdated(id)", idCase{document: `subscription ($id: ID!) { actionUpdated(id: $id) { kind action { id } } }`, fits: []string{"action"}}},
	{"Subscription.documentFeed(filter).templateId", idCase{document: `subscription ($id: ID!, $after: String) { documentFeed(after: $after, filter: {templateId: $id}) { __typename } }`, fits: []string{"template"}, feed: true}},
	{"Subscription.documentFeed(filter).batchId", idCase{document: `subscription ($id: ID!, $after: String) { documentFeed(after: $after, filter: {batchId: $id}) { __typename } }`, fits: []string{"batch"}, feed: true}},
	{"Subscription.actionFeed(filter).integrationId", idCase{document: `subscription ($id: ID!, $after: String) { actionFeed(after: $after, filter: {integrationId: $id}) { __typename } }`, fits: []string{"integration"}, feed: true}},
	{"Subscription.actionFeed(filter).subjectId", idCase{document: `subscription ($id: ID!, $after: String) { actionFeed(after: $after, filter: {subjectId: $id}) { __typename } }`, fits: []string{"submission"}, feed: true}},

	{"Mutation.previewTemplate(input).templateId", idCase{document: `mutation ($input: PreviewTemplateInput!) { previewTemplate(input: $input) { failure { code } ` + noted + ` } }`,
		variables: func(id string) vars {
			return vars{"input": vars{"templateId": id, "content": vars{"html": "<p>x</p>"}}}
		}, fits: []string{"template"}}},
	{"Mutation.createSubmission(input).templateId", idCase{document: `mutation ($input: CreateSubmissionInput!) { createSubmission(input: $input) { submission { id } ` + noted + ` } }`,
		variables: in("templateId"), fits: []string{"template"}}},
	{"Mutation.createSubmissionBatch(input).templateId", idCase{document: `mutation ($input: CreateSubmissionBatchInput!) { createSubmissionBatch(input: $input) { batch { id } ` + noted + ` } }`,
		variables: func(id string) vars { return vars{"input": vars{"templateId": id, "submissions": []vars{{}}}} }, fits: []string{"template"}}},
	{"Mutation.createSubmissionBatch(input).submissions.templateId", idCase{document: `mutation ($input: CreateSubmissionBatchInput!) { createSubmissionBatch(input: $input) { batch { id } ` + noted + ` } }`,
		variables: func(id string) vars { return vars{"input": vars{"submissions": []vars{{"templateId": id}}}} }, fits: []string{"template"}}},
	{"Mutation.createCombinedSubmission(input).sources.submissionId", idCase{document: combineAny, variables: source("submissionId"), fits: []string{"submission"}}},
	{"Mutation.createCombinedSubmission(input).sources.combinedSubmissionId", idCase{document: combineAny, variables: source("combinedSubmissionId"), fits: []string{"combined"}}},
	{"Mutation.createCombinedSubmission(input).sources.template.id", idCase{document: combineAny, variables: source("template"), fits: []string{"template"}}},
	{"Mutation.createCombinedSubmission(input).sources.uploadId", idCase{document: combineAny, variables: source("uploadId"), fits: []string{"upload"}}},
	{"Mutation.createWebhookIntegration(input).templateId", idCase{document: `mutation ($input: CreateWebhookIntegrationInput!) { createWebhookIntegration(input: $input) { integration { id } ` + noted + ` } }`,
		variables: func(id string) vars {
			return vars{"input": vars{"name": "W", "url": "https://example.com/", "appliesTo": "TEST", "templateId": id}}
		}, fits: []string{"template"}}},
	{"Mutation.updateTemplate(id)", idCase{document: `mutation ($id: ID!) { updateTemplate(id: $id, input: {name: "Taken"}) { template { id name } ` + noted + ` } }`, fits: []string{"template"}}},
	{"Mutation.publishTemplate(id)", idCase{document: `mutation ($id: ID!) { publishTemplate(id: $id) { templateVersion { id } ` + noted + ` } }`, fits: []string{"template"}}},
	{"Mutation.restoreTemplateVersion(id)", idCase{document: `mutation ($id: ID!) { restoreTemplateVersion(id: $id) { template { id } ` + noted + ` } }`, fits: []string{"version"}}},
	{"Mutation.retryAction(id)", idCase{document: `mutation ($id: ID!) { retryAction(id: $id) { action { id } ` + noted + ` } }`, fits: []string{"action"}}},
	{"Mutation.retryFailedActions(integrationId)", idCase{document: `mutation ($id: ID!) { retryFailedActions(integrationId: $id) { count ` + noted + ` } }`, fits: []string{"integration", "webhook"}}},
	{"Mutation.updateAwsS3Integration(id)", idCase{document: `mutation ($id: ID!) { updateAwsS3Integration(id: $id, input: {name: "Taken"}) { integration { id } ` + noted + ` } }`, fits: []string{"integration"}}},
	{"Mutation.updateWebhookIntegration(id)", idCase{document: `mutation ($id: ID!) { updateWebhookIntegration(id: $id, input: {name: "Taken"}) { integration { id } ` + noted + ` } }`, fits: []string{"webhook"}}},
	{"Mutation.updateWebhookIntegration(input).templateId", idCase{document: `mutation ($own: ID!, $id: ID!) { updateWebhookIntegration(id: $own, input: {templateId: $id}) { integration { id } ` + noted + ` } }`,
		fits: []string{"template"}}},
	{"Mutation.testIntegration(id)", idCase{document: `mutation ($id: ID!) { testIntegration(id: $id) { health { state } ` + noted + ` } }`, fits: []string{"integration"}}},
	{"Mutation.expireSubmission(id)", idCase{document: `mutation ($id: ID!) { expireSubmission(id: $id) { submission { id } ` + noted + ` } }`, fits: []string{"submission"}}},
	{"Mutation.expireCombinedSubmission(id)", idCase{document: `mutation ($id: ID!) { expireCombinedSubmission(id: $id) { combinedSubmission { id } ` + noted + ` } }`, fits: []string{"combined"}}},
	{"Mutation.deleteIntegration(id)", idCase{document: `mutation ($id: ID!) { deleteIntegration(id: $id) { deletedId ` + noted + ` } }`, fits: []string{"integration", "webhook"}}},
	{"Mutation.revokeApiToken(id)", idCase{document: `mutation ($id: ID!) { revokeApiToken(id: $id) { apiToken { id } ` + noted + ` } }`, fits: []string{"token"}}},
}

const combineAny = `mutation ($input: CreateCombinedSubmissionInput!) { createCombinedSubmission(input: $input) { combinedSubmission { id } ` + noted + ` } }`

// kinds are what things of these names have ids of.
var kinds = map[string]root.Kind{"account": root.KindAccount, "token": root.KindAPIToken, "template": root.KindTemplate, "version": root.KindTemplateVersion,
	"submission": root.KindSubmission, "batch": root.KindBatch, "combined": root.KindCombined, "upload": root.KindUpload, "action": root.KindAction,
	"integration": root.KindIntegration, "webhook": root.KindIntegration}

// secretsOf makes new tokens of an account: each may send so many requests a second.
func (c *client) secretsOf() (live, test string) {
	c.t.Helper()
	if err := shared.db.InTx(c.t.Context(), func(tx *storage.Tx) (err error) {
		live, test, err = newTokens(c.t.Context(), tx, c.account.ID, root.Secret{}, root.Secret{})
		return err
	}); err != nil {
		c.t.Fatal(err)
	}
	return live, test
}

// things makes one live thing of each kind.
func (c *client) things(server *s3test.Server) things {
	c.t.Helper()
	own := things{"account": c.account.ID, "token": tokenID(c.t, c.live), "integration": c.integrate(server, "archive", nil), "template": c.template("T", "<p>x</p>")}
	var made struct {
		Template                 struct{ LatestVersion struct{ ID string } }
		CreateWebhookIntegration struct{ Integration struct{ ID string } }
	}
	c.do(`query ($id: ID!) { template(id: $id) { latestVersion { id } } }`, vars{"id": own["template"]}, &made)
	c.do(`mutation { createWebhookIntegration(input: {name: "W", url: "https://example.com/", appliesTo: TEST}) { integration { id } } }`, nil, &made)
	own["version"], own["webhook"] = made.Template.LatestVersion.ID, made.CreateWebhookIntegration.Integration.ID
	batch, ids := c.batch(c.live, vars{"templateId": own["template"], "submissions": []vars{{}}})
	doc := c.final(ids[0])
	own["batch"], own["submission"], own["action"] = batch.ID, doc.ID, doc.Actions[0].ID
	_, pdf := c.download(doc.DownloadURL)
	own["upload"] = c.uploaded(c.live, "terms.pdf", pdf)
	own["combined"] = c.combine(c.live, vars{"sources": []vars{{"submissionId": doc.ID}}}).ID
	c.finalCombined(c.live, own["combined"])
	return own
}

// asked is what a place answers to an id, which is taken out of it.
func (c *client) asked(token string, one idCase, own things, id string) string {
	c.t.Helper()
	variables := vars{"id": id}
	if one.variables != nil {
		variables = one.variables(id)
	}
	if strings.Contains(one.document, "$own") {
		variables["own"] = own["webhook"]
	}
	var text string
	if strings.HasPrefix(one.document, "subscription") {
		s := c.subscribe(token, one.document, variables)
		f := s.read()
		text = f.Type + " " + string(f.Payload)
		s.conn.Close()
	} else {
		body, err := json.Marshal(map[string]any{"query": one.document, "variables": variables})
		if err != nil {
			c.t.Fatal(err)
		}
		request, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.base+"/graphql", bytes.NewReader(body))
		if err != nil {
			c.t.Fatal(err)
		}
		request.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + token}}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			c.t.Fatal(err)
		}
		defer response.Body.Close()
		var answer bytes.Buffer
		if _, err := answer.ReadFrom(response.Body); err != nil {
			c.t.Fatal(err)
		}
		text = fmt.Sprint(response.StatusCode, " ", answer.String())
	}
	return strings.ReplaceAll(text, id, "ID")
}

// rowsOf are all rows of an account, table by table, as one hash each; of documents the
// live ones alone, if so asked.
func rowsOf(t *testing.T, accountID string, live bool) map[string]string {
	t.Helper()
	tables, err := shared.db.SQL().QueryContext(t.Context(), `select table_name, exists (select from information_schema.columns test
			where test.table_schema = of.table_schema and test.table_name = of.table_name and test.column_name = 'test')
		from information_schema.columns of where table_schema = 'public' and column_name = 'account_id'`)
	if err != nil {
		t.Fatal(err)
	}
	defer tables.Close()
	hashes := map[string]string{}
	for tables.Next() {
		var table, hash string
		var test bool
		if err := tables.Scan(&table, &test); err != nil {
			t.Fatal(err)
		}
		row, where := "r::text", ""
		switch {
		case table == "api_tokens":
			row = "(id, name, scope, revoked_at)::text" // when it was used is noted
		case live && test:
			where = " and not test"
		case live && table != "templates" && table != "template_versions" && table != "integrations":
			continue // inputs and the like of what the test environment makes
		}
		if err := shared.db.SQL().QueryRowContext(t.Context(), `select count(*) || ' ' || coalesce(md5(string_agg(`+row+`, ' ' order by `+row+`)), '')
			from `+table+` r where account_id = $1`+where, accountID).Scan(&hash); err != nil {
			t.Fatal(table, err)
		}
		hashes[table] = hash
	}
	if len(hashes) < 5 {
		t.Fatalf("only these tables have an account: %v", hashes)
	}
	return hashes
}

// T15: whatever takes an id, asked with that of another account's thing, or with that of
// a live thing by a test token, answers as if there were no such thing.
func TestT15AForeignIDAnswersAsAMissingOneWhereverAnIDIsTaken(t *testing.T) {
	t.Parallel()
	places := idPlaces(gqlparser.MustLoadSchema(&ast.Source{Name: "schema.graphqls", Input: root.SDL}))
	if len(places) < 40 {
		t.Fatalf("only these places take an id: %v", places)
	}
	cases := map[string]bool{}
	for _, one := range idCases {
		cases[one.place] = true
		if !slices.Contains(places, one.place) {
			t.Errorf("%s takes no id any more: its case can go", one.place)
		}
	}
	for _, place := range places {
		if !cases[place] {
			t.Errorf("%s takes an id: give it a case in idCases", place)
		}
	}

	server := newS3(t, "archive")
	owner, stranger := newClient(t), newClient(t)
	own := owner.things(server)
	strangersOwn := things{"webhook": stranger.things(newS3(t, "archive"))["webhook"]}
	ownersOwn := things{"webhook": own["webhook"]}

	before, live := rowsOf(t, owner.account.ID, false), rowsOf(t, owner.account.ID, true)
	for _, one := range idCases {
		if one.feed {
			continue
		}
		strangersLive, strangersTest := stranger.secretsOf()
		for _, token := range []string{strangersLive, strangersTest} {
			for name, kind := range kinds {
				theirs, none := stranger.asked(token, one.idCase, strangersOwn, own[name]), stranger.asked(token, one.idCase, strangersOwn, root.NewID(kind))
				if theirs != none {
					t.Errorf("%s, with the id of another account's %s (token %.12s): %s\na missing one: %s", one.place, name, token, theirs, none)
				}
			}
		}
	}
	if after := rowsOf(t, owner.account.ID, false); !maps.Equal(after, before) {
		t.Errorf("a stranger changed what an account has: %v, then %v", before, after)
	}
	// The live things of an account are missing for its own test tokens.
	for _, one := range idCases {
		if one.feed {
			continue
		}
		_, test := owner.secretsOf()
		for _, name := range []string{"submission", "batch", "combined", "upload", "action"} {
			theirs, none := owner.asked(test, one.idCase, ownersOwn, own[name]), owner.asked(test, one.idCase, ownersOwn, root.NewID(kinds[name]))
			if theirs != none {
				t.Errorf("%s, with the id of a live %s and a test token: %s\na missing one: %s", one.place, name, theirs, none)
			}
		}
	}
	for table, hash := range rowsOf(t, owner.account.ID, true) {
		if table != "api_tokens" && hash != live[table] {
			t.Errorf("a test token changed live rows of %s", table)
		}
	}
	// Each case sees a difference where there is one to see.
	for _, one := range idCases {
		for _, name := range one.fits {
			if one.feed {
				continue
			}
			token, _ := owner.secretsOf()
			if theirs, none := owner.asked(token, one.idCase, ownersOwn, own[name]), owner.asked(token, one.idCase, ownersOwn, root.NewID(kinds[name])); theirs == none {
				t.Errorf("%s answers its owner with the id of a %s as if it were missing: %s", one.place, name, none)
			}
		}
	}
}

// feedCursor is the present end of an account's history.
func (c *client) feedCursor() string {
	c.t.Helper()
	var got struct{ Account struct{ FeedCursor string } }
	c.do(`{ account { feedCursor } }`, nil, &got)
	return got.Account.FeedCursor
}

// T15, of feeds: asked for what belongs to another account, or for live things by a test
// token, they stand and tell nothing, as for an id that names nothing.
func TestT15AFeedTellsNothingOfAForeignID(t *testing.T) {
	t.Parallel()
	owner, stranger := newClient(t), newClient(t)
	ownersStart, strangersStart := owner.feedCursor(), stranger.feedCursor()
	own := owner.things(newS3(t, "archive"))
	for _, c := range []*client{owner, stranger} {
		for _, token := range []string{c.live, c.test} {
			if a := c.ask(token, `mutation { createSubmission(input: {html: "<p>"}) { submission { id } } }`, nil); len(a.Errors) > 0 {
				t.Fatal(a.Errors)
			}
		}
	}
	// told counts what each feed of the account's past tells, until each of wait has told
	// something. A feed without a filter is subscribed to last, as "all".
	told := func(c *client, token, after string, ids func(name string) string, wait ...string) map[string]int {
		t.Helper()
		conn := c.dial(token)
		s := &subscription{t, conn}
		if f := s.read(); f.Type != "connection_ack" {
			t.Fatalf("got %+v, want connection_ack", f)
		}
		subscribe := func(name, document, id string) {
			payload, _ := json.Marshal(map[string]any{"query": document, "variables": vars{"id": id, "after": after}})
			if err := conn.WriteJSON(frame{ID: name, Type: "subscribe", Payload: payload}); err != nil {
				t.Fatal(err)
			}
		}
		for _, one := range idCases {
			if one.feed {
				subscribe(one.place, one.document, ids(one.fits[0]))
			}
		}
		subscribe("all", `subscription ($after: String) { documentFeed(after: $after) { __typename } }`, "")
		counts, ready := map[string]int{}, map[string]bool{}
		for {
			if len(ready) == 5 && !slices.ContainsFunc(wait, func(name string) bool { return counts[name] == 0 }) {
				return counts
			}
			switch f := s.read(); {
			case f.Type != "next":
				t.Fatalf("%s: %s %s", f.ID, f.Type, f.Payload)
			case strings.Contains(string(f.Payload), "FeedReady"):
				ready[f.ID] = true
			default:
				counts[f.ID]++
			}
		}
	}
	owners := func(name string) string { return own[name] }
	// An integration is shared by both environments, and so is what it did with templates.
	ownersLive := func(name string) string {
		if name == "integration" {
			return root.NewID(root.KindIntegration)
		}
		return own[name]
	}
	for name, reader := range map[string]struct {
		c            *client
		token, start string
		ids          func(string) string
	}{"another account's live token": {stranger, stranger.live, strangersStart, owners}, "another account's test token": {stranger, stranger.test, strangersStart, owners},
		"a test token of the account": {owner, owner.test, ownersStart, ownersLive}} {
		if got := told(reader.c, reader.token, reader.start, reader.ids, "all"); len(got) != 1 {
			t.Errorf("feeds of what %s may not see told it %v", name, got)
		}
	}
	var feeds []string
	for _, one := range idCases {
		if one.feed {
			feeds = append(feeds, one.place)
		}
	}
	told(owner, owner.live, ownersStart, owners, feeds...) // each has something to tell
}
