package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2"
	gql "github.com/vektah/gqlparser/v2/ast"

	root "platen"
	"platen/storage"
)

// shortest writes the shortest operation that asks for a root field: with what its
// arguments need, and as little of the answer as can be.
func shortest(s *gql.Schema, operation gql.Operation, field *gql.FieldDefinition) string {
	var arguments []string
	for _, arg := range field.Arguments {
		if arg.Type.NonNull && arg.DefaultValue == nil {
			arguments = append(arguments, arg.Name+": "+literal(s, arg.Name, arg.Description, arg.Type))
		}
	}
	text := string(operation) + " { " + field.Name
	if len(arguments) > 0 {
		text += "(" + strings.Join(arguments, ", ") + ")"
	}
	if !s.Types[field.Type.Name()].IsLeafType() {
		text += " { __typename }"
	}
	return text + " }"
}

// literal is a value that may pass for one of an argument or a field of an input.
func literal(s *gql.Schema, name, description string, of *gql.Type) string {
	if of.Elem != nil {
		return "[" + literal(s, name, description, of.Elem) + "]"
	}
	def := s.Types[of.Name()]
	switch {
	case def.Kind == gql.Enum:
		return def.EnumValues[0].Name
	case def.Kind == gql.InputObject:
		var fields []string
		for _, field := range def.Fields {
			// One of several sources has to be given.
			if field.Type.NonNull && field.DefaultValue == nil || field.Name == "html" || field.Name == "submissionId" {
				fields = append(fields, field.Name+": "+literal(s, field.Name, field.Description, field.Type))
			}
		}
		return "{" + strings.Join(fields, ", ") + "}"
	case def.Name == "ID":
		prefix := "sub_"
		if of := regexp.MustCompile(`^[a-z]{3}_`).FindString(description); of != "" {
			prefix = of
		} else if name == "integrationId" {
			prefix = "int_"
		}
		return `"` + prefix + strings.Repeat("A", 18) + `"`
	case def.Name == "ByteSize":
		return "100"
	case def.Name == "URL":
		return `"https://example.com/a"`
	case name == "region":
		return `"eu-west-3"`
	}
	return `"documents.pdf"`
}

// betrayal is what only somebody says who knows the driver, the tables or the sources.
var betrayal = regexp.MustCompile(`(?i)pq:|pgx|sqlstate|42P01|relation|does not exist|driver|connection|socket|\bEOF\b|broken pipe|\.go:|goroutine|nil pointer|select |insert |river`)

var typeName = regexp.MustCompile(`"__typename":"\w+"`)

func TestNothingThatTheDatabaseSaysReachesAClient(t *testing.T) {
	t.Parallel()
	dir, database := emptyFolder(t), newDatabase(t)
	listener, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	away := false
	toDatabase := newLink(t, listener, func() (net.Conn, error) {
		if away {
			return nil, net.ErrClosed
		}
		return net.Dial("unix", filepath.Join(shared.config.dataDir, "postgres", ".s.PGSQL.5432"))
	})
	const token = "live-token-of-the-test-of-errors"
	p := startProgram(t, dir, testKey, "PLATEN_ROLES=api", "PLATEN_BLOB_URL=file://"+dir+"/documents", "PLATEN_BOOTSTRAP_LIVE_TOKEN="+token,
		"DATABASE_URL="+dsnIn(dir, database))
	c := &client{t: t, base: p.baseURL, live: token}

	// say sends an operation, and reads what is answered, whatever it is.
	say := func(operation, accept string) (status int, answer string) {
		body, err := json.Marshal(map[string]string{"query": operation})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/graphql", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{"Content-Type": "application/json", "Authorization": "Bearer " + token, "Accept": accept, "X-Request-Id": "the-id-of-it"} {
			request.Header.Set(name, value)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text := new(strings.Builder)
		for lines := bufio.NewScanner(response.Body); lines.Scan(); { // a stream that shows no error would not end
			text.WriteString(lines.Text())
			if strings.Contains(lines.Text(), `"data":{`) {
				break
			}
		}
		return response.StatusCode, text.String()
	}
	internal := 0
	innocent := func(operation, answer string) {
		t.Helper()
		if found := betrayal.FindString(typeName.ReplaceAllString(answer, "")); found != "" {
			t.Errorf("%s\nanswers %s\nwhich tells of %q", operation, answer, found)
		}
		if strings.Contains(answer, `"INTERNAL"`) {
			internal++
			if !strings.Contains(answer, "under the request id ") {
				t.Errorf("%s\nanswers %s\nwithout the request id", operation, answer)
			}
		}
	}

	var made struct {
		CreateTemplate struct{ Template struct{ ID string } }
	}
	c.do(`mutation { createTemplate(input: {name: "T", content: {html: "<p>Hello</p>"}}) { template { id } } }`, nil, &made)
	c.do(`mutation ($id: ID!) { createSubmissionBatch(input: {templateId: $id, submissions: [{}]}) { batch { id } } }`, vars{"id": made.CreateTemplate.Template.ID}, &struct{}{})
	var tables []string
	if err := p.db.SQL().QueryRowContext(t.Context(), `select array_to_json(array_agg(tablename)) from pg_tables where schemaname = 'public'`).Scan((*jsonStrings)(&tables)); err != nil {
		t.Fatal(err)
	}
	lose := func(lost func(table string) bool) {
		for _, table := range tables {
			if lost(table) {
				if _, err := p.db.SQL().ExecContext(t.Context(), "alter table if exists "+table+" rename to lost_"+table); err != nil {
					t.Fatal(err)
				}
			}
		}
	}

	// Fields of an object that is there: those of a list and those of one.
	lose(func(table string) bool { return table != "api_tokens" && table != "submissions" })
	for _, operation := range []string{`{ submissions(first: 10) { totalCount nodes { id template { id } templateVersion { id } batch { id } data } } }`,
		`{ submissions(first: 10) { edges { node { id template { id } } } } }`} {
		_, answer := say(operation, "application/json")
		if innocent(operation, answer); !strings.Contains(answer, `"id":"sub_`) || !strings.Contains(answer, `"INTERNAL"`) {
			t.Errorf("%s\nanswers %s", operation, answer)
		}
	}

	// Every root field, over HTTP, as events, and over a websocket.
	lose(func(table string) bool { return table == "submissions" })
	s := gqlparser.MustLoadSchema(&gql.Source{Name: "schema.graphqls", Input: root.SDL})
	socket := c.subscribe(token, "{ account { id } }", nil)
	innocent("the account", string(socket.read().Payload))
	var fields []string
	internal = 0
	for operation, def := range map[gql.Operation]*gql.Definition{gql.Query: s.Query, gql.Mutation: s.Mutation, gql.Subscription: s.Subscription} {
		for _, field := range def.Fields {
			if strings.HasPrefix(field.Name, "__") || strings.HasSuffix(field.Name, "Feed") {
				continue // a feed waits until the database is well again
			}
			fields = append(fields, field.Name)
			text, before := shortest(s, operation, field), internal
			_, asEvents := say(text, "text/event-stream")
			innocent(text, asEvents)
			if operation != gql.Subscription {
				_, asJSON := say(text, "application/json")
				innocent(text, asJSON)
			}
			payload, _ := json.Marshal(map[string]any{"query": text})
			if err := socket.conn.WriteJSON(frame{ID: field.Name, Type: "subscribe", Payload: payload}); err != nil {
				t.Fatal(err)
			}
			for done := false; !done; {
				f := socket.read()
				if f.ID != field.Name {
					continue
				}
				innocent(text, string(f.Payload))
				done = f.Type != "complete"
			}
			if internal == before && !slices.Contains(independent, field.Name) {
				t.Errorf("%s asks nothing of the database", text)
			}
		}
	}
	if len(fields) < 40 {
		t.Errorf("only %v were asked for", fields)
	}

	// And when there is no database at all.
	toDatabase.cut(func() { away = true })
	t.Cleanup(func() { toDatabase.cut(func() { away = false }) })
	status, answer := say("{ account { id } }", "application/json")
	if innocent("a request without a database", answer); status != http.StatusServiceUnavailable || !strings.Contains(answer, `"UNAVAILABLE"`) {
		t.Errorf("%d %s", status, answer)
	}
	payload, _ := json.Marshal(map[string]any{"query": "{ submissions { nodes { id } } }"})
	if err := socket.conn.WriteJSON(frame{ID: "last", Type: "subscribe", Payload: payload}); err != nil {
		t.Fatal(err)
	}
	for {
		f := socket.read()
		if f.ID != "last" {
			continue
		}
		if innocent("a websocket without a database", string(f.Payload)); !strings.Contains(string(f.Payload), `"UNAVAILABLE"`) {
			t.Errorf("%s", f.Payload)
		}
		break
	}
	toDatabase.cut(func() { away = false })
	if _, err := p.db.APITokenBySecret(t.Context(), root.HashTokenSecret(token)); storage.Unavailable(err) {
		t.Error("the database is there again, and stays away")
	}
}

// independent are the root fields whose shortest operation asks the database for no more
// than the token.
var independent = []string{"currentApiToken", "apiTokens", "createApiToken", "revokeApiToken", "awsRegions", "pathPreview"}

// jsonStrings is a list of strings that the database gives as JSON.
type jsonStrings []string

func (s *jsonStrings) Scan(text any) error { return json.Unmarshal(text.([]byte), s) }
