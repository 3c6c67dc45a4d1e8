package server

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/99designs/gqlgen/graphql/handler/transport"
	"github.com/vektah/gqlparser/v2/ast"

	"platen/resolvers"
)

const (
	// parsedQueries is how many parsed documents are kept: clients send the same few.
	parsedQueries = 1000
	// initTimeout is how long a websocket may take to say who it is.
	initTimeout = 10 * time.Second
	// pingInterval finds out about clients that are gone without a word.
	pingInterval = 20 * time.Second
)

// graphql serves the API over HTTP and websockets.
func (s *Server) graphql() http.Handler {
	h := handler.New(s.Resolvers.Schema())
	h.AddTransport(websocketTransport{sockets: s.sockets, inner: transport.Websocket{
		InitFunc: s.initSocket, InitTimeout: initTimeout, PingPongInterval: pingInterval}})
	h.AddTransport(transport.Options{})
	h.AddTransport(transport.GET{})
	h.AddTransport(transport.POST{})
	h.SetQueryCache(lru.New[*ast.QueryDocument](parsedQueries))
	h.SetParserTokenLimit(defaultGuard.tokens)
	h.Use(defaultGuard)
	h.Use(extension.Introspection{})
	h.AroundOperations(func(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
		// Strangers get the published contract at /schema.graphql and nothing to probe.
		graphql.GetOperationContext(ctx).DisableIntrospection = !resolvers.Authenticated(ctx)
		return next(ctx)
	})
	h.AroundOperations(s.Resolvers.Around)
	h.SetErrorPresenter(s.Resolvers.Present)
	h.SetRecoverFunc(func(_ context.Context, p any) error { return fmt.Errorf("panic: %v\n%s", p, debug.Stack()) })
	return h
}

// initSocket authenticates a websocket by the payload of its connection_init, or by
// the header of its request.
func (s *Server) initSocket(ctx context.Context, payload transport.InitPayload) (context.Context, *transport.InitPayload, error) {
	if header := payload.Authorization(); header != "" {
		token, err := s.token(ctx, header)
		if err != nil {
			return transport.WithWebsocketCloseCode(ctx, closeForbidden), nil, err
		}
		ctx = resolvers.WithToken(ctx, token)
	}
	s.sockets.authenticated(ctx)
	return ctx, nil, nil
}

var (
	generatorDirectives = regexp.MustCompile(` @go[A-Z][A-Za-z]*\([^)]*\)`)
	generatorSection    = regexp.MustCompile(`(?s)# -+ gqlgen .*?(# -+ public)`)
)

// publicSDL is the schema without what only the code generator reads.
func publicSDL(sdl string) string {
	return strings.TrimSpace(generatorDirectives.ReplaceAllString(generatorSection.ReplaceAllString(sdl, "$1"), "")) + "\n"
}
