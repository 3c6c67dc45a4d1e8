package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// signIn posts what somebody shows to the page, and is the status and the cookie.
func (c *client) signIn(name, secret string) (status int, cookie string) {
	c.t.Helper()
	body, err := json.Marshal(map[string]string{name: secret})
	if err != nil {
		c.t.Fatal(err)
	}
	response, err := http.Post(c.base+"/session", "application/json", bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	response.Body.Close()
	for _, one := range response.Cookies() {
		cookie = one.Name + "=" + one.Value
	}
	return response.StatusCode, cookie
}

// byCookie asks as the page does.
func (c *client) byCookie(cookie, query string) answer {
	c.t.Helper()
	body, err := json.Marshal(vars{"query": query})
	if err != nil {
		c.t.Fatal(err)
	}
	_, a := c.request(http.MethodPost, "", string(body), "Content-Type", "application/json", "Cookie", cookie, "Origin", c.base, "Sec-Fetch-Site", "same-origin")
	return a
}

// "A revoked token stops working at once, open websockets included (5 s at most)": a session
// of it too.
func TestR1_2ARevokedTokensSessionsAndTheirWebsocketsEnd(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	status, cookie := c.signIn("token", c.test)
	if a := c.byCookie(cookie, `{ currentApiToken { name } }`); status != http.StatusNoContent || string(a.Data) != `{"currentApiToken":{"name":"First test token"}}` {
		t.Fatalf("%d, %s %+v", status, a.Data, a.Errors)
	}
	header := http.Header{"Cookie": {cookie}, "Origin": {c.base}}
	open := func() *socket {
		t.Helper()
		return c.upgrade([]string{"graphql-transport-ws"}, header)
	}
	idle, busy := open(), open()
	busy.say(`{"type":"connection_init"}`)
	busy.hear(`{"type":"connection_ack"}`)
	busy.ask("1", quietFeed)
	busy.hear(`{"id":"1","type":"next",...`)
	start := time.Now()
	c.do(`mutation ($id: ID!) { revokeApiToken(id: $id) { apiToken { id } } }`, vars{"id": tokenID(t, c.test)}, &struct{}{})
	if a := c.byCookie(cookie, `{ currentApiToken { name } }`); a.Status != http.StatusUnauthorized || a.code() != "UNAUTHENTICATED" {
		t.Errorf("after it was revoked: %d %s %+v", a.Status, a.Data, a.Errors)
	}
	for _, s := range []*socket{busy, idle} {
		s.closedWith(4403, "the API token was revoked or has expired")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("closed after %v, want 5 s at most", took)
	}
	late := open()
	late.say(`{"type":"connection_init"}`)
	late.closedWith(4403, "Forbidden: the session has ended: sign in again")
}

var printedStart = regexp.MustCompile(`(?m)^  page  (http://\S+)/sign-in#start=(\w{43})$`)

// startKey is the key of the address that a start prints.
func (p *process) startKey() string {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if match := printedStart.FindStringSubmatch(p.out.String()); match != nil && match[1] == p.base {
			return match[2]
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("it printed no start address:\n%s", p.out)
		}
	}
}

func TestR8_1EachEmbeddedStartPrintsAnAddressThatSignsInOnce(t *testing.T) {
	t.Parallel()
	dir := emptyFolder(t)
	first := serveProcess(t, dir)
	key := first.startKey()
	c := &client{t: t, base: first.base}
	if response, body := c.download(first.base + "/sign-in"); response.StatusCode != http.StatusOK || !strings.Contains(string(body), "<html") {
		t.Errorf("/sign-in: %d %s", response.StatusCode, body)
	}
	status, cookie := c.signIn("start", key)
	const query = `{ currentApiToken { id name environment scope } }`
	a := c.byCookie(cookie, query)
	if status != http.StatusNoContent || !strings.Contains(string(a.Data), `"name":"First live token","environment":"LIVE","scope":"ADMIN"`) {
		t.Errorf("%d, %s %+v", status, a.Data, a.Errors)
	}
	if status, cookie := c.signIn("start", key); status != http.StatusUnauthorized || cookie != "" {
		t.Errorf("once more: %d %q", status, cookie)
	}
	first.stop(syscall.SIGINT)
	log := first.log.String()
	if _, value, _ := strings.Cut(cookie, "="); strings.Contains(log, key) || strings.Contains(log, value) || !strings.Contains(log, "signed in to the page") {
		t.Errorf("the log has a secret, or nothing:\n%s", log)
	}

	second := serveProcess(t, dir)
	if c.base = second.base; second.startKey() == key {
		t.Error("two starts print the same address")
	}
	if a := c.byCookie(cookie, query); !strings.Contains(string(a.Data), "First live token") {
		t.Errorf("the session did not outlive the node: %d %s", a.Status, a.Data)
	}
	second.stop(syscall.SIGINT)
	var got struct{ CurrentAPIToken struct{ ID string } }
	if err := json.Unmarshal(a.Data, &got); err != nil {
		t.Fatal(err)
	}
	if err := platen(t, dir, "token", "revoke", got.CurrentAPIToken.ID).Run(); err != nil {
		t.Fatal(err)
	}
	third := serveProcess(t, dir)
	third.stop(syscall.SIGINT)
	if out := third.out.String(); printedStart.MatchString(out) || !strings.Contains(out, "`platen token create`") {
		t.Errorf("without a token to sign in with, a start printed\n%s", out)
	}
}

func TestR8_1ANodeOfACommonDatabasePrintsNoStartAddress(t *testing.T) {
	t.Parallel()
	p := startProgram(t, emptyFolder(t), "DATABASE_URL="+dsnIn(filepath.Join(shared.config.dataDir, "postgres"), newDatabase(t)), testKey,
		"PLATEN_BLOB_URL=file://"+emptyFolder(t), "PLATEN_ROLES=api")
	if out := p.greeting(); !strings.Contains(out, "shown this once") || strings.Contains(out, "#start=") || strings.Contains(out, "token create") {
		t.Errorf("it printed\n%s", out)
	}
	if out := shared.greeting(); strings.Count(out, shared.baseURL+"/sign-in#start=") != 1 {
		t.Errorf("an embedded one printed\n%s", out)
	}
}

// The page shows documents in frames, from its own origin: what they are made of must be
// able to do nothing there.
func TestR8_1ADocumentIsShownInAFrameOfThePageAndCanDoNothing(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	for _, output := range []string{"PDF", "PNG"} {
		doc := c.submit(vars{"html": "<p>x</p>", "output": output})
		response, _ := c.download(doc.DownloadURL)
		header := response.Header
		if response.StatusCode != http.StatusOK || header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Content-Type") != doc.File.ContentType {
			t.Errorf("%s: %d %v", output, response.StatusCode, header)
		}
		policy := header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "sandbox;") || !strings.Contains(policy, "default-src 'none'") {
			t.Errorf("%s: Content-Security-Policy: %q", output, policy)
		}
		if got, want := header.Get("Content-Disposition"), `inline; filename="`+path.Base(response.Request.URL.Path)+`"`; got != want {
			t.Errorf("%s: Content-Disposition: %q, want %q", output, got, want)
		}
	}
}
