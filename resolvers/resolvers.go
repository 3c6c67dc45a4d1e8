// Package resolvers says GraphQL in domain words and back: a resolver translates
// its input, calls one use case or one read, and translates what came of it.
package resolvers

import (
	"context"
	"log/slog"

	"github.com/99designs/gqlgen/graphql"

	"platen"
	"platen/feed"
	"platen/graph"
	"platen/pipeline"
	"platen/storage"
)

// Root is the root of all resolvers.
type Root struct {
	DB       *storage.DB
	Hub      *feed.Hub
	Pipeline *pipeline.Pipeline
	Log      *slog.Logger
}

// Schema is the executable schema over these resolvers.
func (r *Root) Schema() graphql.ExecutableSchema {
	return graph.NewExecutableSchema(graph.Config{Resolvers: r, Directives: graph.DirectiveRoot{Auth: auth}})
}

type (
	query        struct{ *Root }
	mutation     struct{ *Root }
	subscription struct{ *Root }

	action                struct{ *Root }
	actionConnection      struct{ *Root }
	apiTokenConnection    struct{ *Root }
	integration           struct{ *Root }
	integrationConnection struct{ *Root }
	submission            struct{ *Root }
	submissionConnection  struct{ *Root }
	account               struct{ *Root }
	combined              struct{ *Root }
	combinedConnection    struct{ *Root }
	upload                struct{ *Root }
	batch                 struct{ *Root }
	batchConnection       struct{ *Root }
	template              struct{ *Root }
	templateConnection    struct{ *Root }
	templateContent       struct{ *Root }
	templateVersion       struct{ *Root }
	webhookIntegration    struct{ *Root }
)

var _ graph.ResolverRoot = (*Root)(nil)

// The resolvers of each type that has any.
func (r *Root) Query() graph.QueryResolver                       { return query{r} }
func (r *Root) Mutation() graph.MutationResolver                 { return mutation{r} }
func (r *Root) Subscription() graph.SubscriptionResolver         { return subscription{r} }
func (r *Root) Action() graph.ActionResolver                     { return action{r} }
func (r *Root) ActionConnection() graph.ActionConnectionResolver { return actionConnection{r} }
func (r *Root) ApiTokenConnection() graph.ApiTokenConnectionResolver { //nolint:revive,staticcheck // gqlgen's name
	return apiTokenConnection{r}
}
func (r *Root) AwsS3Integration() graph.AwsS3IntegrationResolver { return integration{r} }
func (r *Root) IntegrationConnection() graph.IntegrationConnectionResolver {
	return integrationConnection{r}
}
func (r *Root) CombinedSubmission() graph.CombinedSubmissionResolver { return combined{r} }
func (r *Root) CombinedSubmissionConnection() graph.CombinedSubmissionConnectionResolver {
	return combinedConnection{r}
}
func (r *Root) Upload() graph.UploadResolver                   { return upload{r} }
func (r *Root) Account() graph.AccountResolver                 { return account{r} }
func (r *Root) SubmissionBatch() graph.SubmissionBatchResolver { return batch{r} }
func (r *Root) SubmissionBatchConnection() graph.SubmissionBatchConnectionResolver {
	return batchConnection{r}
}
func (r *Root) Submission() graph.SubmissionResolver { return submission{r} }
func (r *Root) SubmissionConnection() graph.SubmissionConnectionResolver {
	return submissionConnection{r}
}
func (r *Root) Template() graph.TemplateResolver                     { return template{r} }
func (r *Root) TemplateConnection() graph.TemplateConnectionResolver { return templateConnection{r} }
func (r *Root) TemplateContent() graph.TemplateContentResolver       { return templateContent{r} }
func (r *Root) TemplateVersion() graph.TemplateVersionResolver       { return templateVersion{r} }
func (r *Root) WebhookIntegration() graph.WebhookIntegrationResolver { return webhookIntegration{r} }

type tokenKey struct{}

// WithToken puts the caller's API token into a context.
func WithToken(ctx context.Context, token *platen.APIToken) context.Context {
	return context.WithValue(ctx, tokenKey{}, token)
}

// caller is the token of the request, or nil. The @auth directive on every root
// field sees to it that a resolver has one.
func caller(ctx context.Context) *platen.APIToken {
	token, _ := ctx.Value(tokenKey{}).(*platen.APIToken)
	return token
}

// scope is what the caller may see (R1.2, R1.3).
func scope(ctx context.Context) storage.Scope {
	token := caller(ctx)
	return storage.Scope{AccountID: token.AccountID, TestOnly: token.TestOnly()}
}

// auth is the @auth directive.
func auth(ctx context.Context, _ any, next graphql.Resolver, need platen.TokenScope) (any, error) {
	token := caller(ctx)
	switch {
	case token == nil:
		return nil, &topLevelError{"UNAUTHENTICATED", "An API token is needed: send it as `Authorization: Bearer ...`, on a websocket as {\"authorization\": \"Bearer ...\"} in the payload of connection_init."}
	case !token.Scope.Includes(need):
		return nil, &topLevelError{"FORBIDDEN", "This needs an API token with the scope " + string(need) + "; this one has " + string(token.Scope) + "."}
	}
	return next(ctx)
}

// orNull is nil for the zero value: the vocabulary's way of saying nothing is an
// empty string or 0, GraphQL's is null.
func orNull[T comparable](value T) *T {
	var zero T
	if value == zero {
		return nil
	}
	return &value
}

// given is what an optional input field holds, or the zero value.
func given[T any](field graphql.Omittable[*T]) (value T) {
	if p := field.Value(); p != nil {
		value = *p
	}
	return value
}

// Authenticated tells whether the caller has shown an API token.
func Authenticated(ctx context.Context) bool { return caller(ctx) != nil }

// Token is the API token that the caller has shown, or nil.
func Token(ctx context.Context) *platen.APIToken { return caller(ctx) }

// Audience names those who are shown the same: the tokens of one account, scope and
// environment.
func Audience(ctx context.Context) string {
	token := caller(ctx)
	if token == nil {
		return ""
	}
	return token.AccountID + " " + string(token.Scope) + " " + string(token.Environment)
}
