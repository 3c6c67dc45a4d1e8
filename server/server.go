// Package server is Platen's HTTP: routes, GraphQL's transports, authentication,
// limits, downloads and health.
package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"platen"
	"platen/keyring"
	"platen/pipeline"
	"platen/resolvers"
	"platen/storage"
	"platen/web"
)

// Options are what the server serves.
type Options struct {
	Resolvers *resolvers.Root
	DB        *storage.DB
	Pipeline  *pipeline.Pipeline
	SDL       string               // the schema's text, as in schema.graphqls
	Metrics   *prometheus.Registry // the figures of /metrics
	Page      *web.Page            // nil: none is served
	Keys      *keyring.Keyring     // sign sessions
	BaseURL   string               // how clients reach Platen, without a slash at its end
	// RateLimit is how many requests a second each API token may send, on average; 0: any number.
	RateLimit int
	// Checks say whether the parts that this node needs work, by name.
	Checks map[string]func(context.Context) error
	Log    *slog.Logger
}

// Server answers all of Platen's addresses.
type Server struct {
	Options
	handler     http.Handler
	exec        *executor.Executor
	answers     *answers
	connections *connections
	rates       *rates
	sessions    *sessions
	bodyTime    time.Duration
	checks      map[string]func(context.Context) error // Options.Checks, bounded
	draining    atomic.Bool
}

// maxBody is the largest request body, in bytes: room for a template's HTML, CSS,
// header, footer, schema and sample data, or for a submission's data and metadata with
// such sources, each at its limit.
const maxBody = 4*platen.MaxSource + 2*platen.MaxData + platen.MaxMetadata + 1<<20

// maxStrangersBody is the same for requests without a token.
const maxStrangersBody = 64 << 10

// New makes the server.
func New(o Options) *Server {
	s := &Server{Options: o, answers: newAnswers(defaultAnswerBounds, o.Metrics), connections: newConnections(o.DB, o.Log, o.Metrics), rates: newRates(o.RateLimit),
		sessions: newSessions(o.Keys, o.BaseURL), bodyTime: bodyTime,
		checks: map[string]func(context.Context) error{}}
	s.exec = s.executor()
	for name, check := range o.Checks {
		s.checks[name] = bounded(check)
	}
	mux := http.NewServeMux()
	mux.Handle("/graphql", s.authenticate(http.HandlerFunc(s.graphql)))
	mux.HandleFunc("POST /session", s.signIn)
	mux.HandleFunc("DELETE /session", s.signOut)
	mux.HandleFunc("GET /schema.graphql", s.schema)
	mux.HandleFunc("GET /files/{account}/{name}", s.file)
	mux.HandleFunc("PUT /files/{account}/{name}", s.upload)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, http.StatusOK, map[string]string{"status": "alive"})
	})
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{}))
	for _, pattern := range o.Page.Patterns() {
		mux.Handle("GET "+pattern, o.Page)
	}
	s.handler = s.logged(mux)
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Run ends the subscriptions of tokens that are revoked, until ctx ends.
func (s *Server) Run(ctx context.Context) { s.connections.watch(ctx) }

// Drain makes the node unready and sends the clients of subscriptions elsewhere.
func (s *Server) Drain() {
	s.draining.Store(true)
	s.connections.closeAll()
}

// logged gives each request an id and writes one line about it when it is over.
func (s *Server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-Id")
		if id == "" || len(id) > 64 || strings.Trim(id, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._-") != "" {
			id = platen.RandomString(16)
		}
		w.Header().Set("X-Request-Id", id)
		if s.draining.Load() {
			// Who asks again comes to another node. http.Server.SetKeepAlivesEnabled would close
			// the idle connections as well, under the requests that are on their way.
			w.Header().Set("Connection", "close")
		}
		ctx := platen.WithRequestID(r.Context(), id)
		start, seen := time.Now(), &recorder{ResponseWriter: w, status: http.StatusOK}
		connection := http.NewResponseController(w)
		_ = connection.SetWriteDeadline(time.Time{}) // that of the request before; not every connection has one
		if r.Body != nil && r.Body != http.NoBody {
			// Also of a request that is refused: net/http waits for the body before it answers.
			// It clears the deadline itself, once the body has come to its end.
			_ = connection.SetReadDeadline(time.Now().Add(s.bodyTime))
		}
		defer func() { // a stream that is cut off panics
			if seen.status != http.StatusSwitchingProtocols {
				_ = connection.SetWriteDeadline(time.Now().Add(writeTime)) // what is not sent yet
			}
			level := slog.LevelInfo
			if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" || r.URL.Path == "/metrics" {
				level = slog.LevelDebug // probes come every few seconds
			}
			// The query is left out: it may hold a signature.
			s.Log.Log(ctx, level, "request", "method", r.Method, "path", r.URL.Path, "status", seen.status,
				"bytes", seen.bytes, "ms", time.Since(start).Milliseconds())
		}()
		next.ServeHTTP(seen, r.WithContext(ctx))
	})
}

// recorder notes what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Hijack implements http.Hijacker, for websockets.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	r.status = http.StatusSwitchingProtocols
	return http.NewResponseController(r.ResponseWriter).Hijack()
}

// authenticate finds the API token of a request: in its header, or else by the cookie of a
// session. A token that is no good is refused here; a request without one goes on, and the
// schema's @auth says what needs one.
func (s *Server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, upgrade := r.Context(), websocket.IsWebSocketUpgrade(r)
		var token *platen.APIToken
		var err error
		if header := r.Header.Get("Authorization"); header != "" {
			token, err = s.bearer(ctx, header)
		} else if cookie := s.sessions.of(r); cookie != "" {
			var found *session
			token, found, err = s.sessionToken(ctx, cookie)
			switch {
			case err == nil:
				var cancel context.CancelFunc // a stream of events ends with its session
				ctx, cancel = context.WithTimeout(ctx, found.ends.Sub(s.sessions.now()))
				defer cancel()
			case errors.Is(err, errSession) && upgrade:
				// No page is shown the answer to an upgrade, and connection_init may bring a
				// token yet: if it does not, the websocket says so.
				found, err = &session{over: true}, nil
			}
			ctx = context.WithValue(ctx, sessionKey{}, found)
		}
		if err != nil {
			s.refuseToken(w, r, err)
			return
		}
		if token != nil {
			if !upgrade && !s.rates.take(token.ID, time.Now()) {
				w.Header().Set("Retry-After", strconv.Itoa(rateRetryAfter))
				answerErrors(w, typeJSON, http.StatusTooManyRequests, s.rates.refusal())
				return
			}
			ctx = resolvers.WithToken(ctx, token)
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// refuseToken says why no API token was found.
func (s *Server) refuseToken(w http.ResponseWriter, r *http.Request, err error) {
	if !slices.ContainsFunc([]error{errToken, errSession, errSignIn, errStart}, func(one error) bool { return errors.Is(err, one) }) {
		s.unchecked(r.Context(), err)
		answerErrors(w, typeJSON, http.StatusServiceUnavailable, gqlError("UNAVAILABLE", "the database does not answer at the moment; try again soon"))
		return
	}
	if errors.Is(err, errSession) {
		http.SetCookie(w, s.sessions.cleared())
	}
	w.Header().Set("WWW-Authenticate", "Bearer")
	answerErrors(w, typeJSON, http.StatusUnauthorized, gqlError("UNAUTHENTICATED", err.Error()))
}

// unchecked logs that a token could not be checked. That the database is away is said once,
// by whoever watches it, and not for each request.
func (s *Server) unchecked(ctx context.Context, err error) {
	level := slog.LevelError
	if storage.Unavailable(err) {
		level = slog.LevelDebug
	}
	s.Log.Log(ctx, level, "a token could not be checked", "error", err)
}

var errToken = errors.New("this API token is unknown, revoked or expired: check that it was copied whole, and sent as `Bearer ...`")

// bearer finds the token that an Authorization header names.
func (s *Server) bearer(ctx context.Context, header string) (*platen.APIToken, error) {
	scheme, secret, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil, errToken
	}
	return s.token(ctx, strings.TrimSpace(secret))
}

// token finds the token of a secret.
func (s *Server) token(ctx context.Context, secret string) (*platen.APIToken, error) {
	if secret == "" {
		return nil, errToken
	}
	token, err := s.DB.APITokenBySecret(ctx, platen.HashTokenSecret(secret))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, errToken
	}
	return token, err
}

// answerJSON answers with a value as JSON.
func answerJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the client may be gone
}

// schema serves the contract, without the directives that only the generator reads.
func (s *Server) schema(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, publicSDL(s.SDL))
}

// file serves Platen's own copy of a document, to whoever holds a signed address of
// it; ranges and conditional requests work.
func (s *Server) file(w http.ResponseWriter, r *http.Request) {
	document, content, err := s.Pipeline.Download(r.Context(), r.URL.Path, r.URL.Query().Get("signature"))
	switch {
	case errors.Is(err, pipeline.ErrSignature), errors.Is(err, pipeline.ErrSignatureExpired):
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	case errors.Is(err, pipeline.ErrDownloadGone):
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	case err != nil:
		s.Log.ErrorContext(r.Context(), "a download failed", "path", r.URL.Path, "error", err)
		http.Error(w, "The document cannot be read at the moment; try again soon.", http.StatusServiceUnavailable)
		return
	}
	defer content.Close()
	h := w.Header()
	h.Set("Content-Type", document.File.ContentType)
	h.Set("Content-Disposition", `inline; filename="`+url.PathEscape(r.PathValue("name"))+`"`)
	h.Set("ETag", `"`+document.File.SHA256+`"`)
	h.Set("Cache-Control", "private, no-cache") // the row decides each time
	h.Set("Referrer-Policy", "no-referrer")     // the address is a key
	h.Set("Content-Security-Policy", filePolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", *document.ProcessedAt, &taken{content, http.NewResponseController(w), filePause})
}

// filePause is for how long a client may take nothing of a file that it gets.
const filePause = 30 * time.Second

// taken is a file that is sent for as long as somebody takes it: each piece that is read,
// to be sent, gives the connection so much time again.
type taken struct {
	io.ReadSeeker
	connection *http.ResponseController
	longest    time.Duration // of a pause
}

func (t *taken) Read(into []byte) (int, error) {
	if err := t.connection.SetWriteDeadline(time.Now().Add(t.longest)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return t.ReadSeeker.Read(into)
}

// filePolicy keeps what somebody made of strangers' data from doing anything here: it has
// no origin and loads nothing. Whoever has the address may frame it: people show documents in
// programs of their own. Chromium's viewer of PDFs works with it, in a frame and on its own:
// 156.0.8078.108 showed the same with and without, with its older viewer
// (--disable-features=PdfOopif) too. What it refuses is an iframe that has the attribute sandbox.
const filePolicy = "sandbox; default-src 'none'"

// uploadPause is for how long the bytes of an upload may pause.
const uploadPause = 30 * time.Second

// upload takes the bytes of an upload from whoever holds its signed address.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	body := &pausing{r.Body, http.NewResponseController(w), uploadPause}
	u, err := s.Pipeline.Receive(r.Context(), r.URL.Path, r.URL.Query().Get("signature"), r.ContentLength, body)
	var mistake *platen.Error
	switch {
	case errors.Is(err, pipeline.ErrSignature), errors.Is(err, pipeline.ErrSignatureExpired):
		http.Error(w, err.Error(), http.StatusForbidden)
	case errors.Is(err, pipeline.ErrUploadGone):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.As(err, &mistake) && mistake.Code == platen.CodeConflict:
		http.Error(w, mistake.Message, http.StatusConflict)
	case errors.As(err, &mistake):
		http.Error(w, mistake.Message, http.StatusUnprocessableEntity)
	case err != nil:
		s.Log.ErrorContext(r.Context(), "an upload failed", "path", r.URL.Path, "error", err)
		http.Error(w, "The upload cannot be taken at the moment; put it again soon.", http.StatusServiceUnavailable)
	default:
		answerJSON(w, http.StatusOK, map[string]any{"id": u.ID, "byteSize": u.ByteSize, "pageCount": u.PageCount, "sha256": u.SHA256})
	}
}

// pausing is a body that may be as long as it says, but not stop for long.
type pausing struct {
	io.Reader
	connection *http.ResponseController
	longest    time.Duration // of a pause
}

func (p *pausing) Read(into []byte) (int, error) {
	if err := p.connection.SetReadDeadline(time.Now().Add(p.longest)); err != nil {
		return 0, err
	}
	return p.Reader.Read(into)
}
