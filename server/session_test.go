package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"platen"
	"platen/feed"
	"platen/keyring"
	"platen/pipeline"
	"platen/resolvers"
	"platen/storage"
	"platen/storage/storagetest"
	"platen/web"
)

// site is a server over a database, at whose page people sign in.
type site struct {
	*Server
	t          *testing.T
	account    *platen.Account
	live, test string
	later      atomic.Int64 // by how much its clock is ahead
	log        *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const (
	oneKey     = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	anotherKey = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
	ownHost    = "platen.test:8080"
	ownOrigin  = "http://" + ownHost
	whoAmI     = `{ currentApiToken { name } }`
)

func newSite(t *testing.T) *site {
	t.Helper()
	db := storagetest.New(t)
	s := siteOf(t, db, ownOrigin, oneKey)
	s.account, s.live, s.test = storagetest.Account(t, db)
	return s
}

// siteOf is one node of a site with these keys.
func siteOf(t *testing.T, db *storage.DB, baseURL, keys string) *site {
	t.Helper()
	s := &site{t: t, log: &lockedBuffer{}}
	logger := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ring, err := keyring.Parse(keys)
	if err != nil {
		t.Fatal(err)
	}
	hub, err := feed.New(t.Context(), db, logger)
	if err != nil {
		t.Fatal(err)
	}
	p, err := pipeline.New(pipeline.Options{DB: db, Hub: hub, Keyring: ring, Log: logger, Metrics: prometheus.NewRegistry(), BaseURL: baseURL})
	if err != nil {
		t.Fatal(err)
	}
	page, err := web.New(web.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.Server = New(Options{Resolvers: &resolvers.Root{DB: db, Hub: hub, Pipeline: p, Log: logger}, DB: db, Pipeline: p, SDL: platen.SDL,
		Metrics: prometheus.NewRegistry(), Page: page, Keys: ring, BaseURL: baseURL, Log: logger})
	s.sessions.now = func() time.Time { return time.Now().Add(time.Duration(s.later.Load())) }
	return s
}

// send sends a request to the site, with headers given as names and values: the last of a
// name counts, and is left out if it is empty.
func (s *site) send(method, address, body string, headers ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(s.t.Context(), method, address, strings.NewReader(body))
	r.Host = ownHost
	for i := 0; i < len(headers); i += 2 {
		if r.Header.Del(headers[i]); headers[i+1] != "" {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	s.ServeHTTP(w, r)
	return w
}

// signInWith posts what somebody shows.
func (s *site) signInWith(name, secret string, headers ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	text, _ := json.Marshal(map[string]string{name: secret})
	return s.send(http.MethodPost, "/session", string(text), append([]string{"Content-Type", "application/json"}, headers...)...)
}

// cookie signs in with a token, and is what the browser sends from then on.
func (s *site) cookie(token string) string {
	s.t.Helper()
	w := s.signInWith("token", token)
	cookies := w.Result().Cookies()
	if w.Code != http.StatusNoContent || len(cookies) != 1 {
		s.t.Fatalf("signing in: %d %s %v", w.Code, w.Body, w.Header())
	}
	return sessionCookie + "=" + cookies[0].Value
}

// query asks as the page does.
func (s *site) query(document, cookie string, headers ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	body, _ := json.Marshal(map[string]string{"query": document})
	return s.send(http.MethodPost, "/graphql", string(body), append([]string{"Content-Type", "application/json", "Cookie", cookie, "Origin", ownOrigin, "Sec-Fetch-Site", "same-origin"}, headers...)...)
}

// isSignedInAs expects the token's name in the answer; "" expects a request without token.
func (s *site) isSignedInAs(name string, w *httptest.ResponseRecorder) {
	s.t.Helper()
	want := `{"data":{"currentApiToken":{"name":"` + name + `"}}}`
	if name == "" {
		want = `"code":"UNAUTHENTICATED"`
	}
	if !strings.Contains(w.Body.String(), want) {
		s.t.Errorf("%d %s, want %s", w.Code, w.Body, want)
	}
}

// isOver expects the answer to a session that is no good, which ends it in the browser.
func (s *site) isOver(what string, w *httptest.ResponseRecorder) {
	s.t.Helper()
	cookies := w.Result().Cookies()
	if w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), `"code":"UNAUTHENTICATED"`) || len(cookies) != 1 ||
		cookies[0].Name != sessionCookie || cookies[0].Value != "" || cookies[0].MaxAge >= 0 || cookies[0].Path != "/graphql" {
		s.t.Errorf("%s: %d %s %v", what, w.Code, w.Body, w.Header())
	}
}

func TestR8_1SigningInGivesACookieThatTheAPIAloneGets(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for baseURL, secure := range map[string]bool{ownOrigin: false, "https://platen.test": true} {
		node := siteOf(t, s.DB, baseURL, oneKey)
		w := node.signInWith("token", " "+s.live+"\n") // as it is copied
		if w.Code != http.StatusNoContent || w.Body.Len() > 0 || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s %v", baseURL, w.Code, w.Body, w.Header())
		}
		one := w.Result().Cookies()[0]
		if one.Name != "platen_session" || one.Path != "/graphql" || one.Domain != "" || !one.HttpOnly || one.SameSite != http.SameSiteStrictMode ||
			one.Secure != secure || one.MaxAge != 7*24*60*60 {
			t.Errorf("%s: %v", baseURL, one)
		}
		if strings.Contains(one.Value, s.live[len(s.live)-6:]) || strings.Contains(one.Value, string(platen.HashTokenSecret(s.live))) {
			t.Errorf("the cookie shows the token: %s", one.Value)
		}
		s.isSignedInAs("LIVE", s.query(whoAmI, "other=1; "+sessionCookie+"="+one.Value)) // on another node
	}
	s.isSignedInAs("TEST", s.query(whoAmI, s.cookie(s.test)))
	s.isSignedInAs("", s.query(whoAmI, ""))
	w := s.send(http.MethodDelete, "/session", "", "Origin", ownOrigin)
	if one := w.Result().Cookies(); w.Code != http.StatusNoContent || len(one) != 1 || one[0].MaxAge >= 0 || one[0].Path != "/graphql" || one[0].Value != "" {
		t.Errorf("signing out: %d %v", w.Code, w.Header())
	}
	if log := s.log.String(); !strings.Contains(log, "signed in to the page") || strings.Contains(log, s.test) || strings.Contains(log, sessionVersion+"."+s.account.ID) {
		t.Errorf("the log has a secret, or nothing:\n%s", log)
	}
}

func TestR8_1WhoShowsNoTokenIsNotSignedIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const jsonType = "application/json"
	for name, test := range map[string]struct {
		method, mediaType, body string
		status                  int
		code                    string
	}{
		"an unknown token":   {http.MethodPost, jsonType, `{"token":"platen_live_x"}`, 401, "UNAUTHENTICATED"},
		"a header's value":   {http.MethodPost, jsonType, `{"token":"Bearer ` + s.live + `"}`, 401, "UNAUTHENTICATED"},
		"a start key":        {http.MethodPost, jsonType, `{"start":"x"}`, 401, "UNAUTHENTICATED"},
		"nothing":            {http.MethodPost, jsonType, `{}`, 400, "BAD_USER_INPUT"},
		"null":               {http.MethodPost, jsonType, `null`, 400, "BAD_USER_INPUT"},
		"an empty token":     {http.MethodPost, jsonType, `{"token":""}`, 400, "BAD_USER_INPUT"},
		"both":               {http.MethodPost, jsonType, `{"token":"` + s.live + `","start":"x"}`, 400, "BAD_USER_INPUT"},
		"a number":           {http.MethodPost, jsonType, `{"token":1}`, 400, "BAD_USER_INPUT"},
		"no JSON":            {http.MethodPost, jsonType, `token=` + s.live, 400, "BAD_USER_INPUT"},
		"a form":             {http.MethodPost, "application/x-www-form-urlencoded", `{"token":"` + s.live + `"}`, 415, "BAD_USER_INPUT"},
		"text":               {http.MethodPost, "text/plain", `{"token":"` + s.live + `"}`, 415, "BAD_USER_INPUT"},
		"no type":            {http.MethodPost, "", `{"token":"` + s.live + `"}`, 415, "BAD_USER_INPUT"},
		"a body that is big": {http.MethodPost, jsonType, `{"token":"` + strings.Repeat("x", maxStrangersBody) + `"}`, 413, "BAD_USER_INPUT"},
		"GET":                {http.MethodGet, "", "", 405, ""},
		"PUT":                {http.MethodPut, jsonType, `{"token":"` + s.live + `"}`, 405, ""},
	} {
		w := s.send(test.method, "/session", test.body, "Content-Type", test.mediaType)
		if w.Code != test.status || test.code != "" && !strings.Contains(w.Body.String(), `{"errors":[{`) || !strings.Contains(w.Body.String(), test.code) {
			t.Errorf("%s: %d %s, want %d %s", name, w.Code, w.Body, test.status, test.code)
		}
		if len(w.Result().Cookies()) > 0 {
			t.Errorf("%s: got a cookie", name)
		}
	}
	// Whatever the browser still has is no hindrance.
	if w := s.signInWith("token", s.live, "Cookie", sessionCookie+"=v1.stale"); w.Code != http.StatusNoContent {
		t.Errorf("with a stale cookie: %d %s", w.Code, w.Body)
	}
}

// The Host that a proxy passes on may be another than the one in the browser's Origin.
func TestR8_1BehindAProxyTheBaseURLSaysWhichPageIsOurs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	cookie := s.cookie(s.live)
	for _, baseURL := range []string{"https://pages.example", "https://Pages.Example:443", "https://pages.example/"} {
		node := siteOf(t, s.DB, baseURL, oneKey)
		s.isSignedInAs("LIVE", node.query(whoAmI, cookie, "Origin", "https://pages.example", "Sec-Fetch-Site", ""))
		s.isSignedInAs("", node.query(whoAmI, cookie, "Origin", "http://pages.example", "Sec-Fetch-Site", ""))
		s.isSignedInAs("", node.query(whoAmI, cookie, "Origin", "https://pages.example:8443", "Sec-Fetch-Site", ""))
	}
}

// Every way in which a page of another site, or of another port of the same machine, whose
// requests have the cookie, can ask: none changes anything, and none is answered.
func TestR8_1APageOfAnotherSiteCanDoNothingWithTheCookie(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	cookie := s.cookie(s.live)
	const mutation = `mutation { createApiToken(input: {name: "x", environment: TEST, scope: READ}) { apiToken { id } } }`
	text, _ := json.Marshal(map[string]string{"query": mutation})
	made := 2 // with those of the account
	for _, mediaType := range []string{"application/json", "application/json; charset=utf-8", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""} {
		for _, origin := range []string{"", "null", ownOrigin, "http://platen.test:9999", "http://evil.test", "https://platen.test.evil.test", ownOrigin + ".evil.test"} {
			for _, site := range []string{"", "same-origin", "same-site", "cross-site", "none"} {
				// What no browser sends of a foreign page: it says where it comes from, in
				// one header of the two at least.
				own := site == "same-origin" || site == "none" || site == "" && (origin == "" || origin == ownOrigin) || origin == ownOrigin
				headers := []string{"Content-Type", mediaType, "Origin", origin, "Sec-Fetch-Site", site, "Cookie", cookie}
				w := s.send(http.MethodPost, "/graphql", string(text), headers...)
				done := strings.Contains(w.Body.String(), `"apiToken":{"id"`)
				if done {
					made++
				}
				if want := own && strings.HasPrefix(mediaType, "application/json"); done != want {
					t.Errorf("%q of %q, %q: done is %v: %d %s", mediaType, origin, site, done, w.Code, w.Body)
				}
				query := s.send(http.MethodGet, "/graphql?query="+url.QueryEscape(whoAmI), "", headers...)
				if strings.Contains(query.Body.String(), `"name"`) {
					t.Errorf("GET of %q, %q is answered: %s", origin, site, query.Body)
				}
				if own {
					continue
				}
				for _, method := range []string{http.MethodPost, http.MethodDelete} {
					w := s.send(method, "/session", `{"token":"`+s.test+`"}`, headers...)
					if w.Code != http.StatusForbidden || len(w.Result().Cookies()) > 0 || !strings.Contains(w.Body.String(), `"code":"FORBIDDEN"`) {
						t.Errorf("%s /session, %q of %q, %q: %d %v", method, mediaType, origin, site, w.Code, w.Header())
					}
				}
			}
		}
	}
	w := s.query(`{ apiTokens { totalCount } }`, cookie)
	if want := fmt.Sprintf(`"totalCount":%d}`, made); made == 2 || !strings.Contains(w.Body.String(), want) {
		t.Errorf("%s, want %s", w.Body, want)
	}
}

func TestR8_1ACookieCountsForPOSTAloneAndWithoutAHeader(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	cookie := s.cookie(s.live)
	address := "/graphql?query=" + url.QueryEscape(whoAmI)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		for _, accept := range []string{"application/json", "text/event-stream"} {
			w := s.send(method, address, "", "Cookie", cookie, "Origin", ownOrigin, "Sec-Fetch-Site", "same-origin", "Accept", accept)
			if strings.Contains(w.Body.String(), `"name"`) {
				t.Errorf("%s, %s: %s", method, accept, w.Body)
			}
		}
	}
	s.isSignedInAs("TEST", s.query(whoAmI, cookie, "Authorization", "Bearer "+s.test))
	w := s.query(whoAmI, cookie, "Authorization", "Bearer x")
	if s.isSignedInAs("", w); w.Code != http.StatusUnauthorized || len(w.Result().Cookies()) > 0 {
		t.Errorf("a bad token beside a good session: %d %v", w.Code, w.Header())
	}
	// A download needs its signature, whoever asks.
	if w := s.send(http.MethodGet, "/files/"+s.account.ID+"/sub_x.pdf", "", "Cookie", cookie); w.Code != http.StatusForbidden {
		t.Errorf("a download: %d", w.Code)
	}
}

func TestR8_1ACookieThatPlatenDidNotMakeOrThatIsTooOldIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	cookie := s.cookie(s.live)
	value := strings.TrimPrefix(cookie, sessionCookie+"=")
	other := strings.TrimPrefix(s.cookie(s.test), sessionCookie+"=")
	signature := func(value string) string { return value[strings.LastIndexByte(value, '.'):] }
	message := strings.TrimSuffix(value, signature(value))
	fields := strings.Split(message, ".")
	signed := func(keys, purpose, message string) string {
		ring, err := keyring.Parse(keys)
		if err != nil {
			t.Fatal(err)
		}
		return message + "." + ring.Sign(purpose, message)
	}
	if signed(oneKey, sessionPurpose, message) != value {
		t.Fatal("the test does not know how a session is signed")
	}
	for name, forged := range map[string]string{
		"another's signature": message + signature(other),
		"another token":       strings.TrimSuffix(other, signature(other)) + signature(value),
		"a later end":         strings.Join(fields[:3], ".") + ".99999999999" + signature(value),
		"another purpose":     signed(oneKey, "download", message),
		"another key":         signed(anotherKey, sessionPurpose, message),
		"another version":     signed(oneKey, sessionPurpose, "v0"+strings.TrimPrefix(message, "v1")),
		"a field more":        signed(oneKey, sessionPurpose, message+".1"),
		"no time":             signed(oneKey, sessionPurpose, strings.Join(fields[:3], ".")+".x"),
		"nobody's token":      signed(oneKey, sessionPurpose, strings.Join([]string{fields[0], fields[1], platen.NewID(platen.KindAPIToken), fields[3]}, ".")),
		"another account":     signed(oneKey, sessionPurpose, strings.Join([]string{fields[0], platen.NewID(platen.KindAccount), fields[2], fields[3]}, ".")),
		"no signature":        message + ".",
		"no dot":              "x",
		"the token itself":    s.live,
	} {
		s.isOver(name, s.query(whoAmI, sessionCookie+"="+forged))
	}
	s.isSignedInAs("LIVE", s.query(whoAmI, cookie))

	// A new key in front does not sign people out; one that took its place does.
	siteOf(t, s.DB, ownOrigin, anotherKey+","+oneKey).isSignedInAs("LIVE", s.query(whoAmI, cookie))
	rotated, replaced := siteOf(t, s.DB, ownOrigin, anotherKey+","+oneKey), siteOf(t, s.DB, ownOrigin, anotherKey)
	rotated.isSignedInAs("LIVE", rotated.query(whoAmI, cookie))
	replaced.isOver("after the key was replaced", replaced.query(whoAmI, cookie))

	s.later.Store(int64(sessionTime - time.Minute))
	s.isSignedInAs("LIVE", s.query(whoAmI, cookie))
	s.later.Store(int64(sessionTime + time.Second))
	s.isOver("after a week", s.query(whoAmI, cookie))
}

func TestR1_2ASessionEndsAtOnceWithItsToken(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	live, test := s.cookie(s.live), s.cookie(s.test)
	end := func(cookie, statement string) {
		t.Helper()
		if _, err := s.DB.SQL().ExecContext(t.Context(), statement, strings.Split(cookie, ".")[2]); err != nil {
			t.Fatal(err)
		}
	}
	end(live, `update api_tokens set revoked_at = now() where id = $1`)
	s.isOver("of a token that was revoked", s.query(whoAmI, live))
	s.isSignedInAs("TEST", s.query(whoAmI, test))
	end(test, `update api_tokens set expires_at = now() where id = $1`)
	s.isOver("of a token that expired", s.query(whoAmI, test))
	if w := s.signInWith("token", s.live); w.Code != http.StatusUnauthorized {
		t.Errorf("signing in with a revoked token: %d", w.Code)
	}
}

func TestR8_1AStartKeySignsInOnceAndForTenMinutes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	refused := func(what, key string) {
		t.Helper()
		if w := s.signInWith("start", key); w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), `"code":"UNAUTHENTICATED"`) || len(w.Result().Cookies()) > 0 {
			t.Errorf("%s: %d %s %v", what, w.Code, w.Body, w.Header())
		}
	}
	refused("before there is one", "x")
	old := s.NewStartKey()
	key := s.NewStartKey()
	refused("the one before", old)
	refused("a wrong one", key+"x")
	var signedIn atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			switch w := s.signInWith("start", key); w.Code {
			case http.StatusNoContent:
				signedIn.Add(1)
				s.isSignedInAs("LIVE", s.query(whoAmI, sessionCookie+"="+w.Result().Cookies()[0].Value))
			case http.StatusUnauthorized:
			default:
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	if all.Wait(); signedIn.Load() != 1 {
		t.Errorf("one key signed in %d times", signedIn.Load())
	}
	refused("once more", key)

	key = s.NewStartKey()
	s.later.Store(int64(startTime))
	refused("after ten minutes", key)

	newest := &platen.APIToken{AccountID: s.account.ID, Name: "Newest", Environment: platen.Live, Scope: platen.ScopeAdmin}
	if err := s.DB.InTx(t.Context(), func(tx *storage.Tx) error { return tx.CreateAPIToken(t.Context(), newest, "its secret") }); err != nil {
		t.Fatal(err)
	}
	storagetest.Account(t, s.DB) // a later one
	s.isSignedInAs("Newest", s.query(whoAmI, sessionCookie+"="+s.signInWith("start", s.NewStartKey()).Result().Cookies()[0].Value))

	key = s.NewStartKey()
	if w := s.signInWith("start", key, "Origin", "http://evil.test"); w.Code != http.StatusForbidden {
		t.Errorf("of another site's page: %d", w.Code)
	}
	if _, err := s.DB.SQL().ExecContext(t.Context(), `update api_tokens set scope = 'WRITE' where environment = 'LIVE'`); err != nil {
		t.Fatal(err)
	}
	refused("when there is no live token of the scope ADMIN", key)
	if log := s.log.String(); strings.Contains(log, key) || !strings.Contains(log, "start=true") {
		t.Errorf("the log has the key, or nothing:\n%s", log)
	}
}

func TestSignInsAreBoundedAndSayWhenToComeBack(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	cookie := s.cookie(s.live)
	now := time.Now()
	s.sessions.now = func() time.Time { return now }
	refused := 0
	for range signInBurst + 1 {
		w := s.signInWith("token", "wrong")
		if w.Code != http.StatusTooManyRequests {
			continue
		}
		refused++
		if w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), `"code":"RATE_LIMITED"`) || !strings.Contains(w.Body.String(), `"retryAfter":1`) {
			t.Errorf("%v %s", w.Header(), w.Body)
		}
	}
	if refused == 0 {
		t.Error("there is no end of them")
	}
	s.isSignedInAs("LIVE", s.query(whoAmI, cookie)) // who is signed in notices nothing
	now = now.Add(rateRetryAfter * time.Second)
	s.cookie(s.live)
}

// upgrade opens a websocket as a page does.
func (s *site) upgrade(address, origin, cookie string) (*websocket.Conn, *http.Response) {
	s.t.Helper()
	header := http.Header{}
	for name, value := range map[string]string{"Origin": origin, "Cookie": cookie} {
		if value != "" {
			header.Set(name, value)
		}
	}
	dialer := websocket.Dialer{Subprotocols: []string{subprotocol}}
	conn, response, err := dialer.DialContext(s.t.Context(), "ws"+strings.TrimPrefix(address, "http")+"/graphql", header)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return conn, response
}

func TestR8_1AWebsocketOfThePageNeedsNoTokenAndOneOfAnotherPageDoes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	cookie, stale := s.cookie(s.live), sessionCookie+"=v1.stale"
	const (
		plain   = `{"type":"connection_init"}`
		needs   = `Forbidden: send {"authorization": "Bearer ..."} in the payload of connection_init`
		refused = "Forbidden: the API token is unknown, revoked or expired"
	)
	with := func(token string) string {
		return `{"type":"connection_init","payload":{"authorization":"Bearer ` + token + `"}}`
	}
	for name, test := range map[string]struct {
		origin, cookie, init string
		as, reason           string // "": closed with a reason
		cleared              bool
	}{
		"the page":                            {server.URL, cookie, plain, "LIVE", "", false},
		"the page, by PLATEN_BASE_URL":        {ownOrigin, cookie, plain, "LIVE", "", false},
		"the page, with a token":              {server.URL, cookie, with(s.test), "TEST", "", false},
		"the page, with a bad token":          {server.URL, cookie, with("x"), "", refused, false},
		"the page, signed out":                {server.URL, "", plain, "", needs, false},
		"the page, when its session is over":  {server.URL, stale, plain, "", sessionOver, true},
		"a token, when the session is over":   {server.URL, stale, with(s.test), "TEST", "", true},
		"another site":                        {"http://evil.test", cookie, plain, "", needs, false},
		"another port":                        {"http://127.0.0.1:1", cookie, plain, "", needs, false},
		"a name that begins like ours":        {server.URL + ".evil.test", cookie, plain, "", needs, false},
		"a page without an origin":            {"null", cookie, plain, "", needs, false},
		"no browser":                          {"", cookie, plain, "", needs, false},
		"another site, which knows a token":   {"http://evil.test", cookie, with(s.test), "TEST", "", false},
		"another site, with a cookie of ours": {"http://evil.test", stale, plain, "", needs, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, response := (&site{t: t, Server: s.Server}).upgrade(server.URL, test.origin, test.cookie)
			if cookies := response.Cookies(); (len(cookies) == 1 && cookies[0].MaxAge < 0) != test.cleared {
				t.Errorf("Set-Cookie: %v", cookies)
			}
			say(t, conn, test.init)
			if test.as == "" {
				closed(t, conn, closeForbidden, test.reason)
				return
			}
			hear(t, conn, `{"type":"connection_ack"}`)
			say(t, conn, `{"id":"1","type":"subscribe","payload":{"query":"`+whoAmI+`"}}`)
			hear(t, conn, `{"id":"1","type":"next","payload":{"data":{"currentApiToken":{"name":"`+test.as+`"}}}}`)
		})
	}
}

// What was opened within a session does not outlive it, unless it brought a token.
func TestR8_1AWebsocketAndAStreamEndWithTheirSession(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	cookie := s.cookie(s.live)
	s.later.Store(int64(sessionTime - 3*time.Second))
	conn, _ := s.upgrade(server.URL, server.URL, cookie)
	say(t, conn, `{"type":"connection_init"}`)
	hear(t, conn, `{"type":"connection_ack"}`)
	other, _ := s.upgrade(server.URL, server.URL, cookie)
	say(t, other, `{"type":"connection_init","payload":{"authorization":"Bearer `+s.live+`"}}`)
	hear(t, other, `{"type":"connection_ack"}`)

	body := `{"query":"subscription { documentFeed { __typename } }"}`
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/graphql", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Content-Type": "application/json", "Accept": typeEvents, "Cookie": cookie, "Origin": server.URL} {
		request.Header.Set(name, value)
	}
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, err := io.ReadAll(response.Body); err == nil || response.StatusCode != http.StatusOK || strings.Contains(string(text), "complete") {
		t.Errorf("the stream: %d %q, %v; want it to be cut off", response.StatusCode, text, err)
	}
	closed(t, conn, closeForbidden, sessionOver)
	say(t, other, `{"type":"ping"}`)
	hear(t, other, `{"type":"pong"}`)
}

// The node cannot know whether a session is good while its database is away.
func TestR9_2ASessionThatCannotBeLookedUpIsNotEnded(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	cookie := s.cookie(s.live)
	key := s.NewStartKey()
	gone := siteOf(t, s.DB, ownOrigin, oneKey)
	gone.sessions.start = s.sessions.start
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for what, send := range map[string]func(r *http.Request) *http.Request{
		"a query": func(r *http.Request) *http.Request {
			r.URL.Path, r.Body = "/graphql", io.NopCloser(strings.NewReader(`{"query":"`+whoAmI+`"}`))
			r.Header.Set("Cookie", cookie)
			return r
		},
		"a sign-in": func(r *http.Request) *http.Request {
			r.URL.Path, r.Body = "/session", io.NopCloser(strings.NewReader(`{"start":"`+key+`"}`))
			return r
		},
	} {
		r := httptest.NewRequestWithContext(ended, http.MethodPost, "/", nil)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		gone.ServeHTTP(w, send(r))
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"code":"UNAVAILABLE"`) || len(w.Result().Cookies()) > 0 {
			t.Errorf("%s: %d %s %v", what, w.Code, w.Body, w.Header())
		}
	}
	if w := gone.signInWith("start", key); w.Code != http.StatusNoContent {
		t.Errorf("the start key was used up in vain: %d %s", w.Code, w.Body)
	}
}
