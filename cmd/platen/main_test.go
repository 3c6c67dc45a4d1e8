package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	root "platen"
	"platen/sandbox"
	"platen/storage"
)

// asProgram makes the test binary be platen itself, for tests of real processes.
const asProgram = "TEST_AS_PROGRAM"

// shared is one whole program for the tests that need no other: each makes an
// account of its own in it.
var shared *program

func TestMain(m *testing.M) {
	sandbox.Main()
	if os.Getenv(asProgram) != "" {
		os.Unsetenv(asProgram)
		main()
		return
	}
	flag.Parse() // for -v, before m.Run would
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(m.Run()) // each of many processes would start the program, which no fuzz test needs
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := dataFolder()
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	// Deliveries may reach this machine, where the tests' buckets are; pages may
	// load from one of its addresses only.
	stop, err := start(dir, "PLATEN_EGRESS_ALLOW=127.0.0.0/8", "PLATEN_RENDER_ALLOW="+assets)
	if err != nil {
		log.Print(err)
		return 1
	}
	code := m.Run()
	if err := stop(); err != nil {
		log.Print(err)
		return 1
	}
	return code
}

// start opens and runs the shared program on a free port.
func start(dir string, environ ...string) (stop func() error, err error) {
	config, err := load(append(environ, "PLATEN_DATA_DIR="+dir, "PLATEN_LISTEN=127.0.0.1:0"))
	if err != nil {
		return nil, err
	}
	config.retryBase, config.expireEvery = time.Millisecond, time.Second
	config.postgres = map[string]string{"max_connections": "400"} // for the clusters of all tests
	out := io.Discard
	if testing.Verbose() {
		out = os.Stderr
	}
	if shared, err = open(context.Background(), config, newLog(out)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- shared.run(ctx) }()
	return func() error {
		cancel()
		err := <-done
		shared.close()
		return err
	}, nil
}

// startProgram runs a program of the test's own on a free port, until it ends.
func startProgram(t *testing.T, dir string, environ ...string) *program {
	t.Helper()
	return startConfigured(t, dir, func(*config) {}, environ...)
}

// startConfigured is startProgram for a test that is in a hurry of its own.
func startConfigured(t *testing.T, dir string, change func(*config), environ ...string) *program {
	t.Helper()
	config, err := load(append(environ, "PLATEN_DATA_DIR="+dir, "PLATEN_LISTEN=127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	change(&config)
	p, err := open(t.Context(), config, newLog(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		p.close()
	})
	return p
}

// testKey is a master key for nodes that share a database.
const testKey = "PLATEN_SECRET_KEY=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

// newDatabase makes an empty database on the shared program's PostgreSQL.
func newDatabase(t *testing.T) string {
	t.Helper()
	name := strings.ToLower("test_" + root.RandomString(12))
	if _, err := shared.db.SQL().ExecContext(t.Context(), "create database "+name); err != nil {
		t.Fatal(err)
	}
	return name
}

// dsnIn is the address of a database whose server's socket is in a folder.
func dsnIn(dir, database string) string {
	return "host=" + dir + " port=5432 user=platen dbname=" + database + " sslmode=disable"
}

// dataFolder makes an empty folder that PostgreSQL, as another user, can enter.
func dataFolder() (string, error) {
	dir, err := os.MkdirTemp("", "platen-test-*")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711)
}

// client is a caller of the API.
type client struct {
	t          *testing.T
	base       string
	live, test string
	account    *root.Account
	readers    []string // tokens of readerToken, the last of which is lent to so many
	lent       int
}

// newClient makes an account in the shared program and calls it with its live token.
func newClient(t *testing.T) *client {
	t.Helper()
	return newClientOf(t, shared)
}

// newClientOf makes an account in a program of the test's own.
func newClientOf(t *testing.T, p *program) *client {
	t.Helper()
	c := &client{t: t, base: p.baseURL, account: &root.Account{ID: root.NewID(root.KindAccount), Name: t.Name()}}
	if err := p.db.InTx(t.Context(), func(tx *storage.Tx) (err error) {
		if err := tx.CreateAccount(t.Context(), c.account); err != nil {
			return err
		}
		c.live, c.test, err = newTokens(t.Context(), tx, c.account.ID, root.Secret{}, root.Secret{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return c
}

type vars map[string]any

// answer is what GraphQL answered.
type answer struct {
	Status int             `json:"-"`
	Data   json.RawMessage `json:"data"`
	Errors []struct {
		Message    string
		Path       []any
		Extensions struct{ Code string }
	} `json:"errors"`
}

// code is the code of the first top-level error, or "".
func (a answer) code() string {
	if len(a.Errors) == 0 {
		return ""
	}
	return a.Errors[0].Extensions.Code
}

// ask sends a query with a token ("" for none).
func (c *client) ask(token, query string, variables vars) answer {
	c.t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		c.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.base+"/graphql", bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	a := answer{Status: response.StatusCode}
	if err := json.NewDecoder(response.Body).Decode(&a); err != nil {
		c.t.Fatalf("status %d: %v", response.StatusCode, err)
	}
	return a
}

// do sends a query with the live token, expects no error, and reads its data.
func (c *client) do(query string, variables vars, into any) {
	c.t.Helper()
	a := c.ask(c.live, query, variables)
	if len(a.Errors) > 0 {
		c.t.Fatalf("%s\nerrors: %+v", query, a.Errors)
	}
	if err := json.Unmarshal(a.Data, into); err != nil {
		c.t.Fatalf("%s: %v", a.Data, err)
	}
}

type userError struct {
	Message      string
	Path         []string
	Code         string
	Line, Column int
}

const userErrors = `userErrors { message path code ... on TemplateSyntaxError { line column } ... on PathTemplateError { line column } }`

// document is a submission as the tests select it.
type document struct {
	ID          string
	State       string
	Final, Test bool
	DownloadURL string
	File        *struct {
		ContentType string
		ByteSize    int64
		PageCount   int
		SHA256      string `json:"sha256"`
	}
	Failure          *failure
	Actions          []action
	ProcessingTimeMS *int `json:"processingTimeMs"`
	ProcessedAt      *time.Time
	Revision         int
	Metadata, Data   json.RawMessage
}

type failure struct {
	Stage, Code, Message, ProviderCode string
	Retryable                          bool
	Path                               []string
	Line, Column                       int
	Details                            json.RawMessage
}

type action struct {
	ID, Type, State, Destination string
	Attempts, Revision           int
	NextAttemptAt                *time.Time
	Integration                  *struct{ ID, Name string }
	Result                       *struct {
		Bucket, Region, Key, URL, Etag, VersionID, SHA256 string
		ByteSize                                          int64
	}
	Failure *failure
}

const actionFragments = `
fragment failed on Failure { stage code message retryable path line column providerCode details }
fragment done on Action { id type state destination attempts revision nextAttemptAt integration { id name } failure { ...failed }
	result { ... on UploadReceipt { bucket region key url etag versionId byteSize sha256 } } }
`

const fragments = actionFragments + `fragment doc on Submission { id state final test downloadUrl file { contentType byteSize pageCount sha256 } failure { ...failed }
	actions { ...done } processingTimeMs processedAt revision metadata data }`

// submit creates a submission with the live token and waits for it.
func (c *client) submit(input vars) document {
	c.t.Helper()
	if _, given := input["wait"]; !given {
		input["wait"] = 60
	}
	var got struct {
		CreateSubmission struct {
			Submission *document
			UserErrors []userError
		}
	}
	c.do(`mutation ($input: CreateSubmissionInput!) { createSubmission(input: $input) { submission { ...doc } `+userErrors+` } }`+fragments, vars{"input": input}, &got)
	if got.CreateSubmission.Submission == nil {
		c.t.Fatalf("refused: %+v", got.CreateSubmission.UserErrors)
	}
	return *got.CreateSubmission.Submission
}

// refused creates a submission that is refused and returns why.
func (c *client) refused(token string, input vars) []userError {
	c.t.Helper()
	a := c.ask(token, `mutation ($input: CreateSubmissionInput!) { createSubmission(input: $input) { submission { id } `+userErrors+` } }`, vars{"input": input})
	var got struct {
		CreateSubmission struct {
			Submission *document
			UserErrors []userError
		}
	}
	if err := json.Unmarshal(a.Data, &got); err != nil || got.CreateSubmission.Submission != nil || len(a.Errors) > 0 {
		c.t.Fatalf("not refused: %s %+v %v", a.Data, a.Errors, err)
	}
	return got.CreateSubmission.UserErrors
}

// submission reads one.
func (c *client) submission(id string) document {
	c.t.Helper()
	var got struct{ Submission *document }
	c.do(`query ($id: ID!) { submission(id: $id) { ...doc } }`+fragments, vars{"id": id}, &got)
	if got.Submission == nil {
		c.t.Fatalf("there is no submission %s", id)
	}
	return *got.Submission
}

// final follows a submission until nothing more happens to it.
func (c *client) final(id string) document {
	c.t.Helper()
	s := c.subscribe(c.live, `subscription ($id: ID!) { submissionUpdated(id: $id) { submission { ...doc } } }`+fragments, vars{"id": id})
	var last document
	for {
		var event struct {
			SubmissionUpdated struct{ Submission document }
		}
		if !s.next(&event) {
			return last
		}
		last = event.SubmissionUpdated.Submission
	}
}

// download fetches an address.
func (c *client) download(address string, headers ...string) (*http.Response, []byte) {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return response, body
}

// subscription is one operation on a websocket of its own.
type subscription struct {
	t    *testing.T
	conn *websocket.Conn
}

type frame struct {
	ID      string          `json:"id,omitempty"`
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// dial opens a websocket and authenticates it.
func (c *client) dial(token string) *websocket.Conn {
	c.t.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}}
	conn, _, err := dialer.DialContext(c.t.Context(), "ws"+strings.TrimPrefix(c.base, "http")+"/graphql", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	payload, _ := json.Marshal(map[string]string{"authorization": "Bearer " + token})
	if err := conn.WriteJSON(frame{Type: "connection_init", Payload: payload}); err != nil {
		c.t.Fatal(err)
	}
	return conn
}

func (c *client) subscribe(token, query string, variables vars) *subscription {
	c.t.Helper()
	conn := c.dial(token)
	s := &subscription{c.t, conn}
	if f := s.read(); f.Type != "connection_ack" {
		c.t.Fatalf("got %+v, want connection_ack", f)
	}
	payload, _ := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err := conn.WriteJSON(frame{ID: "1", Type: "subscribe", Payload: payload}); err != nil {
		c.t.Fatal(err)
	}
	return s
}

// patience bounds what a test waits for; nothing takes nearly as long.
const patience = 90 * time.Second

func (s *subscription) read() frame {
	s.t.Helper()
	if err := s.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	for {
		var f frame
		if err := s.conn.ReadJSON(&f); err != nil {
			s.t.Fatal(err)
		}
		if f.Type == "ping" {
			if err := s.conn.WriteJSON(frame{Type: "pong"}); err != nil {
				s.t.Fatal(err)
			}
			continue
		}
		return f
	}
}

// next reads the next event; it tells whether there was one more.
func (s *subscription) next(into any) bool {
	s.t.Helper()
	f := s.read()
	switch f.Type {
	case "complete":
		return false
	case "next":
		var a answer
		if err := json.Unmarshal(f.Payload, &a); err != nil || len(a.Errors) > 0 {
			s.t.Fatalf("%s: %v", f.Payload, err)
		}
		if err := json.Unmarshal(a.Data, into); err != nil {
			s.t.Fatal(err)
		}
		return true
	}
	s.t.Fatalf("got %s %s", f.Type, f.Payload)
	return false
}

// pdfTool runs one of poppler's tools, or qpdf, on a PDF, which it names FILE.
func pdfTool(t *testing.T, pdf []byte, name string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "document.pdf")
	if err := os.WriteFile(path, pdf, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, arg := range args {
		if arg == "FILE" {
			args[i] = path
		}
	}
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// text is the text of a PDF.
func text(t *testing.T, pdf []byte) string {
	t.Helper()
	return pdfTool(t, pdf, "pdftotext", "-layout", "FILE", "-")
}

func (d document) String() string {
	text, err := json.Marshal(d)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
