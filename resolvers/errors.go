package resolvers

import (
	"context"
	"errors"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"platen"
	"platen/graph"
	"platen/resolvers/scalar"
	"platen/storage"
)

// topLevelError is an error of the request as a whole, with its extensions.code.
type topLevelError struct{ code, message string }

func (e *topLevelError) Error() string { return e.message }

func notFound(what, id string) error {
	return &topLevelError{"NOT_FOUND", "There is no " + what + " " + id + " in this account."}
}

func badInput(message string) error { return &topLevelError{"BAD_USER_INPUT", message} }

// Present translates an error for the client, once, at the edge. What is not meant
// for clients is logged here and nowhere else, and shown as INTERNAL.
func (r *Root) Present(ctx context.Context, err error) *gqlerror.Error {
	var shown *gqlerror.Error
	var ours *topLevelError
	var value *scalar.Error
	switch {
	case errors.As(err, &ours):
		return gqlError(ctx, ours.code, ours.message)
	case errors.As(err, &value):
		return gqlError(ctx, "BAD_USER_INPUT", value.Error())
	case errors.Is(err, context.Canceled):
		return gqlError(ctx, "UNAVAILABLE", "The request was cancelled.")
	case errors.As(err, &shown) && shown.Err == nil: // gqlgen's own: parsing, validation, input
		if shown.Extensions["code"] == nil {
			shown.Extensions = map[string]any{"code": "BAD_USER_INPUT"}
		}
		return shown
	case strings.HasSuffix(err.Error(), "introspection disabled"): // gqlgen has no type for it
		return gqlError(ctx, "UNAUTHENTICATED", "Introspection needs an API token; the contract is at /schema.graphql for everyone.")
	case storage.Unavailable(err):
		once(err, func() { r.Log.DebugContext(ctx, "a request failed because the database is away", "error", err) })
		return gqlError(ctx, "UNAVAILABLE", "The database does not answer at the moment; try again soon.")
	}
	once(err, func() {
		r.Log.ErrorContext(ctx, "a request failed", "path", graphql.GetPath(ctx).String(), "error", err)
	})
	return gqlError(ctx, "INTERNAL", "Something went wrong in Platen. The log has it under the request id "+platen.RequestID(ctx)+".")
}

func gqlError(ctx context.Context, code, message string) *gqlerror.Error {
	return &gqlerror.Error{Message: message, Path: graphql.GetPath(ctx), Extensions: map[string]any{"code": code}}
}

// userErrors turns the mistakes in an error into userErrors below prefix. Any other
// error is returned as it is.
func userErrors(err error, prefix ...string) ([]graph.UserError, error) {
	var mistakes platen.Errors
	var one *platen.Error
	switch {
	case err == nil:
		return []graph.UserError{}, nil
	case errors.As(err, &mistakes):
	case errors.As(err, &one):
		mistakes = platen.Errors{one}
	default:
		return nil, err
	}
	shown := make([]graph.UserError, len(mistakes))
	for i, m := range mistakes.At(prefix...) {
		switch m.Code {
		case platen.CodeNotFound:
			shown[i] = &graph.NotFoundError{Message: m.Message, Path: m.Path, Code: m.Code, ID: m.ID}
		case platen.CodePathTemplateInvalid:
			shown[i] = &graph.PathTemplateError{Message: m.Message, Path: m.Path, Code: m.Code, Line: m.Line, Column: m.Column}
		case platen.CodeTemplateInvalid:
			shown[i] = &graph.TemplateSyntaxError{Message: m.Message, Path: m.Path, Code: m.Code, Line: m.Line, Column: m.Column}
		case platen.CodeQueueFull:
			shown[i] = &graph.QueueFullError{Message: m.Message, Code: m.Code, RetryAfter: m.RetryAfter}
		default:
			shown[i] = &graph.InvalidInputError{Message: m.Message, Path: m.Path, Code: m.Code}
		}
	}
	return shown, nil
}
