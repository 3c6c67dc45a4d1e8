package platen

import "context"

type requestKey struct{}

// WithRequestID puts the id of the request that is being answered into a context,
// so that every line of the log about it can be found by it.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestKey{}, id)
}

// RequestID is the id of the request that is being answered, or "".
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}
