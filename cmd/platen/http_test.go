package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// request sends any request to /graphql.
func (c *client) request(method, query, body string, headers ...string) (*http.Response, answer) {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), method, c.base+"/graphql"+query, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	a := answer{Status: response.StatusCode}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &a); err != nil {
			c.t.Fatalf("%s %s: %d %q", method, query, response.StatusCode, text)
		}
	}
	return response, a
}

// The audit of graphql-http, in clients_test.go, has most of the specification. This is
// what it leaves out.
func TestR7_4RequestsAreRefusedWithTheStatusThatBelongsToThem(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	const (
		typename    = `{"query":"{ __typename }"}`
		revoke      = `mutation { revokeApiToken(id: "tok_xxxxxxxxxxxxxxxxxx") { apiToken { id } } }`
		jsonType    = "application/json"
		graphqlType = "application/graphql-response+json"
	)
	q := func(document string) string { return "?query=" + url.QueryEscape(document) }
	for name, test := range map[string]struct {
		method, query, body string
		headers             []string
		status              int
		code, header, value string // header: one of the answer's
	}{
		"POST":                           {http.MethodPost, "", typename, []string{"Content-Type", jsonType}, 200, "", "Content-Type", jsonType + "; charset=utf-8"},
		"POST in UTF-8":                  {http.MethodPost, "", typename, []string{"Content-Type", `application/json; charset="UTF-8"`}, 200, "", "Vary", "Accept, Authorization"},
		"the clearer type, among equals": {http.MethodPost, "", typename, []string{"Content-Type", jsonType, "Accept", jsonType + ", " + graphqlType}, 200, "", "Content-Type", graphqlType + "; charset=utf-8"},
		"the type that is wanted more":   {http.MethodPost, "", typename, []string{"Content-Type", jsonType, "Accept", graphqlType + ";q=0.5, " + jsonType + ";q=0.9, text/html"}, 200, "", "Content-Type", jsonType + "; charset=utf-8"},
		"a type that is refused":         {http.MethodPost, "", typename, []string{"Content-Type", jsonType, "Accept", "*/*, " + jsonType + ";q=0"}, 200, "", "Content-Type", graphqlType + "; charset=utf-8"},
		"a stream, among equals":         {http.MethodPost, "", typename, []string{"Content-Type", jsonType, "Accept", "text/event-stream, " + jsonType}, 200, "", "Content-Type", jsonType + "; charset=utf-8"},
		"HEAD of a stream":               {http.MethodHead, q("{ __typename }"), "", []string{"Accept", "text/event-stream"}, 406, "", "", ""},
		"GET with variables and more":    {http.MethodGet, q("{ __typename }") + "&variables=" + url.QueryEscape(`{"a":1}x`), "", nil, 400, "BAD_USER_INPUT", "", ""},
		"any type":                       {http.MethodPost, "", typename, []string{"Content-Type", jsonType, "Accept", "text/html, */*;q=0.1"}, 200, "", "Content-Type", jsonType + "; charset=utf-8"},
		"GET":                            {http.MethodGet, q("{ __typename }"), "", nil, 200, "", "Cache-Control", "no-store"},
		"HEAD":                           {http.MethodHead, q("{ __typename }"), "", nil, 200, "", "Content-Length", "31"},
		"OPTIONS":                        {http.MethodOptions, "", "", nil, 204, "", "Allow", "GET, HEAD, POST, OPTIONS"},

		"no content type":                {http.MethodPost, "", typename, nil, 415, "BAD_USER_INPUT", "Accept-Post", jsonType},
		"a form":                         {http.MethodPost, "", "query=x", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "BAD_USER_INPUT", "Accept-Post", jsonType},
		"a multipart form":               {http.MethodPost, "", typename, []string{"Content-Type", "multipart/form-data; boundary=x"}, 415, "BAD_USER_INPUT", "Accept-Post", jsonType},
		"text":                           {http.MethodPost, "", typename, []string{"Content-Type", "text/plain"}, 415, "BAD_USER_INPUT", "Accept-Post", jsonType},
		"another charset":                {http.MethodPost, "", typename, []string{"Content-Type", "application/json; charset=utf-16"}, 415, "BAD_USER_INPUT", "Accept-Post", jsonType},
		"another answer":                 {http.MethodPost, "", typename, []string{"Content-Type", jsonType, "Accept", "text/html"}, 406, "BAD_USER_INPUT", "Content-Type", jsonType + "; charset=utf-8"},
		"an answer that is refused":      {http.MethodPost, "", typename, []string{"Content-Type", jsonType, "Accept", jsonType + ";q=0"}, 406, "BAD_USER_INPUT", "", ""},
		"PUT":                            {http.MethodPut, "", typename, []string{"Content-Type", jsonType}, 405, "BAD_USER_INPUT", "Allow", "GET, HEAD, POST, OPTIONS"},
		"DELETE":                         {http.MethodDelete, q("{ __typename }"), "", nil, 405, "BAD_USER_INPUT", "Allow", "GET, HEAD, POST, OPTIONS"},
		"GET of a mutation":              {http.MethodGet, q(revoke), "", nil, 405, "BAD_USER_INPUT", "Allow", "POST"},
		"HEAD of a mutation":             {http.MethodHead, q(revoke), "", nil, 405, "", "Allow", "POST"},
		"GET of a mutation, as a stream": {http.MethodGet, q(revoke), "", []string{"Accept", "text/event-stream"}, 405, "BAD_USER_INPUT", "Content-Type", jsonType + "; charset=utf-8"},
		"a body that is too large":       {http.MethodPost, "", `{"query":"` + strings.Repeat(" ", 100<<10) + `"}`, []string{"Content-Type", jsonType}, 413, "BAD_USER_INPUT", "", ""},

		"no query":               {http.MethodPost, "", `{}`, []string{"Content-Type", jsonType}, 400, "BAD_USER_INPUT", "", ""},
		"null":                   {http.MethodPost, "", `null`, []string{"Content-Type", jsonType}, 400, "BAD_USER_INPUT", "", ""},
		"a batch":                {http.MethodPost, "", `[` + typename + `]`, []string{"Content-Type", jsonType}, 400, "BAD_USER_INPUT", "", ""},
		"GET without a query":    {http.MethodGet, "", "", nil, 400, "BAD_USER_INPUT", "", ""},
		"GET with bad variables": {http.MethodGet, q("{ __typename }") + "&variables=x", "", nil, 400, "BAD_USER_INPUT", "", ""},

		"an unknown field, the old way":  {http.MethodPost, "", `{"query":"{ x }"}`, []string{"Content-Type", jsonType}, 200, "GRAPHQL_VALIDATION_FAILED", "", ""},
		"an unknown field":               {http.MethodPost, "", `{"query":"{ x }"}`, []string{"Content-Type", jsonType, "Accept", graphqlType}, 400, "GRAPHQL_VALIDATION_FAILED", "", ""},
		"no document":                    {http.MethodPost, "", `{"query":"{"}`, []string{"Content-Type", jsonType, "Accept", graphqlType}, 400, "GRAPHQL_PARSE_FAILED", "", ""},
		"too complex":                    {http.MethodPost, "", `{"query":"{` + strings.Repeat(" __typename", 1001) + ` }"}`, []string{"Content-Type", jsonType, "Accept", graphqlType}, 400, "DOCUMENT_TOO_COMPLEX", "", ""},
		"a subscription":                 {http.MethodPost, "", `{"query":"subscription { documentFeed { __typename } }"}`, []string{"Content-Type", jsonType, "Accept", graphqlType}, 400, "BAD_USER_INPUT", "", ""},
		"without a token":                {http.MethodPost, "", `{"query":"{ account { id } }"}`, []string{"Content-Type", jsonType, "Accept", graphqlType}, 200, "UNAUTHENTICATED", "", ""},
		"with a token that is none":      {http.MethodPost, "", typename, []string{"Content-Type", jsonType, "Authorization", "Bearer x"}, 401, "UNAUTHENTICATED", "WWW-Authenticate", "Bearer"},
		"introspection without a token":  {http.MethodPost, "", `{"query":"{ __schema { queryType { name } } }"}`, []string{"Content-Type", jsonType}, 200, "UNAUTHENTICATED", "", ""},
		"an operation that is not there": {http.MethodPost, "", `{"query":"{ __typename }","operationName":"x"}`, []string{"Content-Type", jsonType, "Accept", graphqlType}, 400, "GRAPHQL_VALIDATION_FAILED", "", ""},
		"a variable that is not given":   {http.MethodPost, "", `{"query":"query ($id: ID!) { node(id: $id) { id } }"}`, []string{"Content-Type", jsonType, "Accept", graphqlType}, 400, "GRAPHQL_VALIDATION_FAILED", "", ""},
		"a parameter of another type":    {http.MethodPost, "", `{"query":"{ __typename }","variables":"x"}`, []string{"Content-Type", jsonType}, 400, "BAD_USER_INPUT", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &client{t: t, base: c.base}
			response, a := c.request(test.method, test.query, test.body, test.headers...)
			if a.Status != test.status || a.code() != test.code {
				t.Errorf("%d %s, want %d %s; %+v", a.Status, a.code(), test.status, test.code, a.Errors)
			}
			if got := strings.Join(response.Header.Values(test.header), ", "); got != test.value {
				t.Errorf("%s: %q, want %q", test.header, got, test.value)
			}
			if test.status >= 400 && a.Data != nil {
				t.Errorf("a request error has data: %s", a.Data)
			}
		})
	}
	// A client that has shown a token may send more.
	if _, a := c.request(http.MethodPost, "", `{"query":"{ account { id } }`+strings.Repeat(" ", 100<<10)+`"}`, "Content-Type", jsonType, "Authorization", "Bearer "+c.live); a.code() != "DOCUMENT_TOO_COMPLEX" {
		t.Errorf("100 KiB with a token: %d %s", a.Status, a.code())
	}
}

func TestR7_4ADocumentThatWasSentOnceIsKnownByItsHash(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	document := `query { account { id } } # ` + c.account.ID // nobody has sent it before
	sum := sha256.Sum256([]byte(document))
	hash := hex.EncodeToString(sum[:])
	extensions := `{"persistedQuery":{"version":1,"sha256Hash":"` + hash + `"}}`
	byHash := `{"extensions":` + extensions + `}`
	whole := func(document string) string {
		text, _ := json.Marshal(map[string]any{"query": document, "extensions": json.RawMessage(extensions)})
		return string(text)
	}
	post := func(token, body string) answer {
		t.Helper()
		headers := []string{"Content-Type", "application/json"}
		if token != "" {
			headers = append(headers, "Authorization", "Bearer "+token)
		}
		_, a := c.request(http.MethodPost, "", body, headers...)
		return a
	}
	if a := post(c.live, byHash); a.Status != http.StatusOK || a.code() != "PERSISTED_QUERY_NOT_FOUND" || a.Errors[0].Message != "PersistedQueryNotFound" {
		t.Errorf("a hash that nobody sent before: %d %+v", a.Status, a.Errors)
	}
	if a := post(c.live, whole(document+" ")); a.code() != "BAD_USER_INPUT" {
		t.Errorf("a hash of something else: %+v", a)
	}
	// Strangers could fill what is kept.
	post("", whole(document))
	if a := post(c.live, byHash); a.code() != "PERSISTED_QUERY_NOT_FOUND" {
		t.Errorf("a stranger's document is kept: %+v", a)
	}
	want := `{"account":{"id":"` + c.account.ID + `"}}`
	if a := post(c.live, whole(document)); string(a.Data) != want {
		t.Errorf("%s %+v", a.Data, a.Errors)
	}
	if a := post(c.live, byHash); string(a.Data) != want {
		t.Errorf("by its hash: %s %+v", a.Data, a.Errors)
	}
	if _, a := c.request(http.MethodGet, "?extensions="+url.QueryEscape(extensions), "", "Authorization", "Bearer "+c.live); string(a.Data) != want {
		t.Errorf("by its hash, with GET: %s %+v", a.Data, a.Errors)
	}
	// The hash names a document, and gives nobody any right.
	if a := post("", byHash); a.code() != "UNAUTHENTICATED" {
		t.Errorf("a stranger, by its hash: %+v", a)
	}
	if other := newClient(t); !strings.Contains(string(post(other.live, byHash).Data), other.account.ID) {
		t.Error("another account sees the first one's answer")
	}
}
