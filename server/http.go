package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"platen"
	"platen/resolvers"
)

// The media types of answers, and what can be asked
// (https://graphql.github.io/graphql-over-http/draft/).
const (
	typeJSON    = "application/json" // as servers before the specification answered: 200, whatever came of it
	typeGraphQL = "application/graphql-response+json"
	typeEvents  = "text/event-stream"

	allowed = "GET, HEAD, POST, OPTIONS"
)

// bodyTime is how long a client may take to send a request's body; an upload may take longer,
// if it does not pause.
const bodyTime = 30 * time.Second

// overHTTP answers one operation as GraphQL over HTTP says, or with a stream of events
// where the client asks for one.
func (s *Server) overHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept, Authorization")
	as := accepted(r.Header.Values("Accept"))
	if as == "" || as == typeEvents && r.Method == http.MethodHead { // a stream without a body would have no end
		answerRefusal(w, typeJSON, http.StatusNotAcceptable, "The answer can be "+typeGraphQL+", "+typeJSON+" or "+typeEvents+": name one of them in Accept.")
		return
	}
	if as != typeEvents {
		defer func() {
			if p := recover(); p != nil {
				s.Log.ErrorContext(r.Context(), "answering a request failed", "panic", p, "stack", string(debug.Stack()))
				answerErrors(w, as, http.StatusInternalServerError, gqlError("INTERNAL", "Something went wrong in Platen. The log has it under the request id "+platen.RequestID(r.Context())+"."))
			}
		}()
	}
	params, ok := readParameters(w, r, as)
	if !ok {
		return
	}
	operation, errs := s.prepare(r.Context(), params)
	if len(errs) == 0 && r.Method != http.MethodPost && operation.Operation.Operation == ast.Mutation {
		h.Set("Allow", http.MethodPost)
		answerRefusal(w, as, http.StatusMethodNotAllowed, "GET changes nothing: send a mutation with POST.")
		return
	}
	if as == typeEvents {
		s.stream(w, r, operation, errs)
		return
	}
	if len(errs) > 0 {
		status := requestError(as)
		if errs[0].Extensions["code"] == codeTooComplex {
			status = http.StatusBadRequest // whoever watches for abuse looks at the status
		}
		answerErrors(w, as, status, s.refuse(r.Context(), operation, errs)...)
		return
	}
	if operation.Operation.Operation == ast.Subscription {
		answerErrors(w, as, requestError(as), gqlError("BAD_USER_INPUT", "A subscription has many answers: use a websocket, or ask for "+typeEvents+" in Accept."))
		return
	}
	s.execute(r.Context(), operation, func(answer []byte) error {
		h.Set("Content-Type", as+"; charset=utf-8")
		h.Set("Content-Length", strconv.Itoa(len(answer)))
		return inPieces(w, answer, func() error {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime)) // not every connection has one
			return nil
		})
	})
}

// inPieces writes to a client that may take long, as long as it reads on: each piece may
// have a time of its own.
func inPieces(w io.Writer, text []byte, mayWrite func() error) error {
	for len(text) > 0 {
		if err := mayWrite(); err != nil {
			return err
		}
		n := min(len(text), pieceSize)
		if _, err := w.Write(text[:n]); err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}

// requestError is the status for a request that cannot be executed: the older media type
// says 200 to whatever is a well-formed request.
func requestError(as string) int {
	if as == typeGraphQL {
		return http.StatusBadRequest
	}
	return http.StatusOK
}

// accepted chooses the media type of an answer, "" if none of ours is wanted. Who wants
// anything gets what every client can read.
func accepted(headers []string) string {
	if len(headers) == 0 {
		return typeJSON
	}
	named, wildcard := map[string]float64{}, 0.0
	for _, one := range strings.Split(strings.Join(headers, ","), ",") {
		media, parameters, err := mime.ParseMediaType(strings.TrimSpace(one))
		if err != nil {
			continue
		}
		q := 1.0
		if text, ok := parameters["q"]; ok {
			if q, err = strconv.ParseFloat(text, 64); err != nil {
				continue
			}
		}
		if charset := parameters["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
			continue
		}
		switch media {
		case "*/*", "application/*":
			wildcard = max(wildcard, q)
		default:
			named[media] = q
		}
	}
	best, weight := "", 0.0
	for _, media := range []string{typeGraphQL, typeJSON, typeEvents} { // the first, among equals
		if q := named[media]; q > weight {
			best, weight = media, q
		}
	}
	for _, media := range []string{typeJSON, typeGraphQL} {
		if _, refused := named[media]; wildcard > weight && !refused {
			return media
		}
	}
	return best
}

// readParameters reads the parameters of a request, or refuses it.
func readParameters(w http.ResponseWriter, r *http.Request, as string) (*graphql.RawParams, bool) {
	fields := map[string]json.RawMessage{}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		fields = inQuery(r.URL.Query())
	case http.MethodPost:
		if !isJSON(r.Header.Get("Content-Type")) {
			w.Header().Set("Accept-Post", typeJSON)
			answerRefusal(w, as, http.StatusUnsupportedMediaType, "The body has to be JSON in UTF-8, with Content-Type: "+typeJSON+".")
			return nil, false
		}
		body, status, why := body(w, r)
		if why != "" {
			answerRefusal(w, as, status, why)
			return nil, false
		}
		if err := json.Unmarshal(body, &fields); err != nil || fields == nil {
			answerRefusal(w, as, http.StatusBadRequest, "The body is not a GraphQL request: a JSON object with query, and perhaps variables, operationName and extensions.")
			return nil, false
		}
	default:
		w.Header().Set("Allow", allowed)
		answerRefusal(w, as, http.StatusMethodNotAllowed, "Use GET or POST.")
		return nil, false
	}
	params, err := parameters(fields)
	if err == nil && params.Query == "" && params.Extensions["persistedQuery"] == nil {
		err = errNoQuery
	}
	if err != nil {
		answerRefusal(w, as, http.StatusBadRequest, "This is not a GraphQL request: "+err.Error()+".")
		return nil, false
	}
	params.Headers = r.Header
	return params, true
}

// isJSON tells whether a Content-Type is that of JSON in UTF-8.
func isJSON(contentType string) bool {
	media, parameters, err := mime.ParseMediaType(contentType)
	charset := parameters["charset"]
	return err == nil && media == typeJSON && (charset == "" || strings.EqualFold(charset, "utf-8"))
}

// inQuery reads the parameters of an address: text as it is, the others as JSON.
func inQuery(values url.Values) map[string]json.RawMessage {
	fields := map[string]json.RawMessage{}
	for name := range values {
		text := values.Get(name)
		if slices.Contains([]string{"query", "operationName"}, name) {
			quoted, err := json.Marshal(text)
			if err != nil {
				panic(err) // a string always can
			}
			text = string(quoted)
		}
		if text != "" {
			fields[name] = json.RawMessage(text)
		}
	}
	return fields
}

// body reads a request's body, which must not be larger than maxBody; that of a stranger,
// who can do nothing with it, not larger than a page of text. why says why not.
func body(w http.ResponseWriter, r *http.Request) (content []byte, status int, why string) {
	limit := int64(maxBody)
	if !resolvers.Authenticated(r.Context()) {
		limit = maxStrangersBody
	}
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return nil, http.StatusRequestEntityTooLarge, fmt.Sprintf("The request is larger than Platen accepts: its body has more than %d bytes. Give large images an address, or split the data.", limit)
	case err != nil:
		return nil, http.StatusRequestTimeout, "The request's body did not come in time."
	}
	return content, 0, ""
}

// answerRefusal answers a request that is not one of GraphQL over HTTP.
func answerRefusal(w http.ResponseWriter, as string, status int, message string) {
	if as == typeEvents {
		as = typeJSON // there is no stream yet
	}
	answerErrors(w, as, status, gqlError("BAD_USER_INPUT", message))
}

func answerErrors(w http.ResponseWriter, as string, status int, errs ...*gqlerror.Error) {
	w.Header().Set("Content-Type", as+"; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(encodeErrors(errs)) // or the client is gone
}
