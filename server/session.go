package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"platen"
	"platen/keyring"
	"platen/storage"
)

const (
	sessionCookie  = "platen_session"
	sessionPurpose = "sessions" // of the signature
	sessionVersion = "v1"
	// sessionTime is how long a session lasts, unless its API token ends before.
	sessionTime = 7 * 24 * time.Hour
	// startTime is how long a start key is good for.
	startTime = 10 * time.Minute
	// signInRate is how many sign-ins a second a node takes, and signInBurst how many at
	// once: more than people need, few enough to be looked up beside all else.
	signInRate, signInBurst = 10, 50
)

var (
	errSession = errors.New("the session has ended: sign in again")
	errSignIn  = errors.New("this API token is unknown, revoked or expired: check that it was copied whole, and nothing else with it")
	errStart   = errors.New("this start address was used already, is older than ten minutes, or is of an earlier start: sign in with an API token, or start Platen again")
)

// sessions sign the page in. A session is a cookie that says which API token is meant,
// signed; nothing is stored of it, so it works on every node, and each request looks its
// token up as if that had been sent itself. Who has the cookie does not have the token.
//
// A browser sends a cookie unasked, whatever page asked for the request. SameSite=Strict
// does not keep it to Platen's own page: other ports of a machine, and other hosts of a
// domain, are the same site. So the cookie does not count where the browser says that a
// page of another origin asks, as it does with each POST and each websocket.
type sessions struct {
	keys        *keyring.Keyring
	origin      string // of the address by which clients reach Platen
	secure      bool
	crossOrigin *http.CrossOriginProtection
	now         func() time.Time
	attempts    *rate.Limiter

	mu    sync.Mutex
	start *startKey // nil: none, or used
}

// startKey signs in once, the person who can read what the start printed.
type startKey struct {
	hash  [sha256.Size]byte
	until time.Time
}

// newSessions are those of a Platen that clients reach at baseURL.
func newSessions(keys *keyring.Keyring, baseURL string) *sessions {
	s := &sessions{keys: keys, crossOrigin: http.NewCrossOriginProtection(), now: time.Now, attempts: rate.NewLimiter(signInRate, signInBurst)}
	if u, err := url.Parse(baseURL); err == nil && u.Host != "" {
		// As browsers write it (https://www.rfc-editor.org/rfc/rfc6454#section-6.2).
		usual := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
		s.origin, s.secure = u.Scheme+"://"+strings.TrimSuffix(strings.ToLower(u.Host), usual), u.Scheme == "https"
		// A proxy may have passed on another Host than the browser's.
		if err := s.crossOrigin.AddTrustedOrigin(s.origin); err != nil {
			panic(err) // it has a scheme and a host, and nothing else
		}
	}
	return s
}

// cookie makes the cookie of a new session.
func (s *sessions) cookie(token *platen.APIToken) *http.Cookie {
	message := sessionVersion + "." + token.AccountID + "." + token.ID + "." + strconv.FormatInt(s.now().Add(sessionTime).Unix(), 10)
	return s.cookieOf(message+"."+s.keys.Sign(sessionPurpose, message), int(sessionTime/time.Second))
}

// cleared makes a browser forget its session.
func (s *sessions) cleared() *http.Cookie { return s.cookieOf("", -1) }

// cookieOf has the path of the API alone: it reaches no download address and no document.
func (s *sessions) cookieOf(value string, maxAge int) *http.Cookie {
	return &http.Cookie{Name: sessionCookie, Value: value, Path: "/graphql", MaxAge: maxAge, Secure: s.secure, HttpOnly: true, SameSite: http.SameSiteStrictMode}
}

// of is the session's cookie of a request, if it counts for it, or "". What GET asks for, a
// link or an image of any page can ask for.
func (s *sessions) of(r *http.Request) string {
	one, err := r.Cookie(sessionCookie)
	if err != nil {
		return ""
	}
	if websocket.IsWebSocketUpgrade(r) {
		if !s.ownPage(r) {
			return ""
		}
	} else if r.Method != http.MethodPost || s.crossOrigin.Check(r) != nil {
		return ""
	}
	return one.Value
}

// ownPage tells whether Platen's own page asks for a websocket. Browsers always say whose
// page does, and let pages of every origin (https://www.rfc-editor.org/rfc/rfc6455#section-10.2).
func (s *sessions) ownPage(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return origin == s.origin || err == nil && u.Host != "" && u.Host == r.Host
}

// read is what a cookie of ours says, or not ok.
func (s *sessions) read(value string) (accountID, tokenID string, ends time.Time, ok bool) {
	dot := strings.LastIndexByte(value, '.')
	if dot < 0 || !s.keys.Verify(sessionPurpose, value[:dot], value[dot+1:]) {
		return "", "", ends, false
	}
	fields := strings.Split(value[:dot], ".")
	if len(fields) != 4 || fields[0] != sessionVersion {
		return "", "", ends, false
	}
	seconds, err := strconv.ParseInt(fields[3], 10, 64)
	ends = time.Unix(seconds, 0)
	return fields[1], fields[2], ends, err == nil && s.now().Before(ends)
}

// session is what is known of the session of a request. One that is over gives no token.
type session struct {
	ends time.Time
	over bool
}

type sessionKey struct{}

// sessionOf is the session of the cookie that counts for a request, or nil.
func sessionOf(ctx context.Context) *session {
	one, _ := ctx.Value(sessionKey{}).(*session)
	return one
}

// sessionToken finds the API token of a session, which is no good without it.
func (s *Server) sessionToken(ctx context.Context, cookie string) (*platen.APIToken, *session, error) {
	accountID, id, ends, ok := s.sessions.read(cookie)
	if !ok {
		return nil, nil, errSession
	}
	token, err := s.DB.APITokenOfSession(ctx, accountID, id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil, errSession
	}
	return token, &session{ends: ends}, err
}

// signIn gives a cookie to who shows an API token or the start key.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if !s.sameOrigin(w, r) {
		return
	}
	if !isJSON(r.Header.Get("Content-Type")) {
		w.Header().Set("Accept-Post", typeJSON)
		answerRefusal(w, typeJSON, http.StatusUnsupportedMediaType, "The body has to be JSON in UTF-8, with Content-Type: "+typeJSON+".")
		return
	}
	text, status, why := body(w, r)
	if why != "" {
		answerRefusal(w, typeJSON, status, why)
		return
	}
	var shown struct{ Token, Start string }
	if err := json.Unmarshal(text, &shown); err != nil || (shown.Token == "") == (shown.Start == "") {
		answerRefusal(w, typeJSON, http.StatusBadRequest, `The body is {"token": "..."} with an API token, or {"start": "..."} with what the start address has after #start=.`)
		return
	}
	// All sign-ins of a node together, whoever sends them: behind a proxy all come from one
	// address, and in its headers anybody can claim another. So a flood of them holds up who
	// wants to sign in meanwhile; it ends no session, and the API takes tokens as before.
	if !s.sessions.attempts.AllowN(s.sessions.now(), 1) {
		w.Header().Set("Retry-After", strconv.Itoa(rateRetryAfter))
		refused := gqlError("RATE_LIMITED", fmt.Sprintf("This node takes %d sign-ins a second: try again in a second.", signInRate))
		refused.Extensions["retryAfter"] = rateRetryAfter
		answerErrors(w, typeJSON, http.StatusTooManyRequests, refused)
		return
	}
	token, err := s.shownToken(r.Context(), shown.Token, shown.Start)
	if err != nil {
		s.refuseToken(w, r, err)
		return
	}
	s.Log.InfoContext(r.Context(), "signed in to the page", "account", token.AccountID, "token", token.ID, "start", shown.Start != "")
	http.SetCookie(w, s.sessions.cookie(token))
	w.WriteHeader(http.StatusNoContent)
}

// shownToken finds the API token of who signs in.
func (s *Server) shownToken(ctx context.Context, secret, start string) (*platen.APIToken, error) {
	if start == "" {
		token, err := s.token(ctx, strings.TrimSpace(secret))
		if errors.Is(err, errToken) {
			err = errSignIn
		}
		return token, err
	}
	if !s.sessions.starts(start, false) {
		return nil, errStart
	}
	// The token before the key is used up: the database may be away for a moment.
	token, err := s.DB.NewestAdminToken(ctx)
	if errors.Is(err, storage.ErrNotFound) || err == nil && !s.sessions.starts(start, true) {
		return nil, errStart
	}
	return token, err
}

// signOut makes the browser forget the session. Nothing is stored of it that could end: a
// copy of the cookie is good until its time is over, or its API token revoked.
func (s *Server) signOut(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if !s.sameOrigin(w, r) {
		return
	}
	http.SetCookie(w, s.sessions.cleared())
	w.WriteHeader(http.StatusNoContent)
}

// sameOrigin refuses what another site's page sends: it could sign people in as somebody
// else, who then reads what they make.
func (s *Server) sameOrigin(w http.ResponseWriter, r *http.Request) bool {
	err := s.sessions.crossOrigin.Check(r)
	if err != nil {
		answerErrors(w, typeJSON, http.StatusForbidden, gqlError("FORBIDDEN", "Only Platen's own page signs in and out. If this is it, a proxy changes the Host header: pass it on, or set PLATEN_BASE_URL."))
	}
	return err == nil
}

// NewStartKey makes the key that signs in once within ten minutes, as the first account's
// newest live token of the scope ADMIN; the one before it is good no more. It is kept here
// alone, as a hash.
func (s *Server) NewStartKey() string {
	key := platen.RandomString(43)
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	s.sessions.start = &startKey{hash: sha256.Sum256([]byte(key)), until: s.sessions.now().Add(startTime)}
	return key
}

// starts tells whether a start key is good, and with use, uses it up.
func (s *sessions) starts(key string, use bool) bool {
	hash := sha256.Sum256([]byte(key))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.start == nil || !s.now().Before(s.start.until) || subtle.ConstantTimeCompare(hash[:], s.start.hash[:]) != 1 {
		return false
	}
	if use {
		s.start = nil
	}
	return true
}
