package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/gorilla/websocket"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"platen/resolvers"
)

const (
	// keptDocuments is how many documents are kept parsed, and how many can be named by
	// their hash: clients send the same few.
	keptDocuments = 500
	// parsedLength bounds the length of one that is kept parsed, in bytes: the tree of one
	// can be more than a hundred times as large.
	parsedLength = 4 << 10
	// persistedLength bounds the length of one that is named by its hash.
	persistedLength = 16 << 10
)

// executor is gqlgen's, with Platen's guard, errors and caches.
func (s *Server) executor() *executor.Executor {
	e := executor.New(s.Resolvers.Schema())
	e.SetQueryCache(parsed{lru.New[*ast.QueryDocument](keptDocuments)})
	e.SetParserTokenLimit(defaultGuard.tokens)
	e.Use(extension.AutomaticPersistedQuery{Cache: persisted{lru.New[string](keptDocuments)}}) // first: it finds the document
	e.Use(defaultGuard)
	e.Use(extension.Introspection{})
	e.AroundOperations(func(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
		// Strangers get the published contract at /schema.graphql and nothing to probe.
		graphql.GetOperationContext(ctx).DisableIntrospection = !resolvers.Authenticated(ctx)
		return next(ctx)
	})
	e.AroundOperations(s.Resolvers.Around)
	e.SetErrorPresenter(s.Resolvers.Present)
	e.SetRecoverFunc(func(_ context.Context, p any) error { return fmt.Errorf("panic: %v\n%s", p, debug.Stack()) })
	return e
}

// parsed and persisted keep what those send who are known: strangers could fill them.
type (
	parsed    struct{ *lru.LRU[*ast.QueryDocument] }
	persisted struct{ *lru.LRU[string] }
)

func (c parsed) Add(ctx context.Context, document string, tree *ast.QueryDocument) {
	if resolvers.Authenticated(ctx) && len(document) <= parsedLength {
		c.LRU.Add(ctx, strings.Clone(document), tree)
	}
}

func (c persisted) Add(ctx context.Context, hash, document string) {
	if resolvers.Authenticated(ctx) && len(document) <= persistedLength {
		c.LRU.Add(ctx, hash, document)
	}
}

// graphql serves the API over HTTP, Server-Sent Events and websockets.
func (s *Server) graphql(w http.ResponseWriter, r *http.Request) {
	switch {
	case websocket.IsWebSocketUpgrade(r):
		s.websocket(w, r)
	case r.Method == http.MethodOptions:
		w.Header().Set("Allow", allowed)
		w.WriteHeader(http.StatusNoContent)
	default:
		s.overHTTP(w, r)
	}
}

// parameters reads the parameters of a GraphQL request, each as JSON
// (https://graphql.github.io/graphql-over-http/draft/#sec-Request-Parameters). What is
// null is absent.
func parameters(of map[string]json.RawMessage) (*graphql.RawParams, error) {
	p := &graphql.RawParams{}
	for name, raw := range of {
		var into any
		must := "an object"
		switch name {
		case "query":
			into, must = &p.Query, "a string"
		case "operationName":
			into, must = &p.OperationName, "a string"
		case "variables":
			into = &p.Variables
		case "extensions":
			into = &p.Extensions
		default:
			continue // "may be ignored"
		}
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber() // a number is a number: as long as it was sent
		if err := decoder.Decode(into); err != nil || decoder.InputOffset() < int64(len(bytes.TrimRight(raw, " \t\r\n"))) {
			return nil, fmt.Errorf("%s must be %s", name, must)
		}
	}
	return p, nil
}

// errNoQuery is about a request that says nothing.
var errNoQuery = errors.New("query is missing: the GraphQL document, as a string")

// toldErrors is how many mistakes of a document are told: four kilobytes can have so many
// that telling them all takes two megabytes.
const toldErrors = 20

// prepare parses and validates an operation.
func (s *Server) prepare(ctx context.Context, params *graphql.RawParams) (*graphql.OperationContext, gqlerror.List) {
	operation, errs := s.exec.CreateOperationContext(graphql.StartOperationTrace(ctx), params)
	errs = errs[:min(len(errs), toldErrors)]
	if !resolvers.Authenticated(ctx) {
		for _, err := range errs {
			// Names that might be meant help those who write clients, and those who probe.
			err.Message, _, _ = strings.Cut(err.Message, " Did you mean")
		}
	}
	return operation, errs
}

// showTime bounds the execution for one event of a subscription.
const showTime = 30 * time.Second

// execute answers an operation: a query or mutation once, a subscription until it ends, or
// until ctx does, or emit fails. Each answer is the JSON of an execution result.
func (s *Server) execute(ctx context.Context, operation *graphql.OperationContext, emit func(answer []byte) error) {
	if operation.Operation.Operation != ast.Subscription {
		responses, ctx := s.exec.DispatchOperation(ctx, operation)
		if response := responses(ctx); response != nil { // nil: ctx has ended
			_ = emit(encode(response)) // or the client is gone
		}
		return
	}
	var told resolvers.Subscription
	responses, found := s.exec.DispatchOperation(resolvers.WithSubscription(ctx, &told), operation)
	refused := responses(found)
	if told.Events == nil {
		if refused != nil {
			_ = emit(encode(refused))
		}
		return
	}
	words := wordsOf(ctx, operation)
	for event := range told.Events {
		if ctx.Err() != nil {
			return // also one who reads the history is told nothing more
		}
		answer := s.answers.get(answerKey{words, event.Name}, func() ([]byte, bool) { return s.show(ctx, operation, event) })
		if ctx.Err() != nil || emit(answer) != nil {
			return
		}
	}
}

// show executes a subscription for one event. The answer may be others' as well, if nothing
// went wrong, so it is made even when the one who is first to need it has left.
func (s *Server) show(ctx context.Context, operation *graphql.OperationContext, event *resolvers.Event) (answer []byte, whole bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), showTime)
	defer cancel()
	responses, ctx := s.exec.DispatchOperation(resolvers.WithEvent(ctx, event), operation)
	response := responses(ctx)
	if response == nil {
		response = &graphql.Response{Errors: gqlerror.List{gqlError("UNAVAILABLE", "This event could not be shown in time; its object can be read with a query.")}}
	}
	return encode(response), len(response.Errors) == 0
}

// encode is the JSON of an execution result.
func encode(response *graphql.Response) []byte {
	if len(response.Errors) == 0 && len(response.Extensions) == 0 && len(response.Data) > 0 {
		// Data is JSON already: json.Marshal would read and copy it once more.
		return append(append(append(make([]byte, 0, len(response.Data)+9), `{"data":`...), response.Data...), '}')
	}
	text, err := json.Marshal(response)
	if err != nil {
		panic(err) // data that gqlgen wrote is JSON
	}
	return text
}

// encodeErrors is the JSON of a result without data: a request error
// (https://spec.graphql.org/October2021/#sec-Errors).
func encodeErrors(list gqlerror.List) []byte {
	return append(append([]byte(`{"errors":`), encodeList(list...)...), '}')
}

// refuse presents errors that were found before an operation began.
func (s *Server) refuse(ctx context.Context, operation *graphql.OperationContext, errs gqlerror.List) gqlerror.List {
	return s.exec.DispatchError(graphql.WithOperationContext(ctx, operation), errs).Errors
}

// encodeList is the JSON of a list of errors.
func encodeList(list ...*gqlerror.Error) []byte {
	text, err := json.Marshal(list)
	if err != nil {
		panic(err)
	}
	return text
}

func gqlError(code, message string) *gqlerror.Error {
	return &gqlerror.Error{Message: message, Extensions: map[string]any{"code": code}}
}

var (
	generatorDirectives = regexp.MustCompile(` @go[A-Z][A-Za-z]*\([^)]*\)`)
	generatorSection    = regexp.MustCompile(`(?s)# -+ gqlgen .*?(# -+ public)`)
)

// publicSDL is the schema without what only the code generator reads.
func publicSDL(sdl string) string {
	return strings.TrimSpace(generatorDirectives.ReplaceAllString(generatorSection.ReplaceAllString(sdl, "$1"), "")) + "\n"
}
