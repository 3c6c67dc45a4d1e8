package resolvers

import (
	"context"
	"errors"
	"time"

	"platen"
	"platen/graph"
	"platen/storage"
)

func (r query) Account(ctx context.Context) (*graph.Account, error) {
	a, err := r.DB.Account(ctx, caller(ctx).AccountID)
	if err != nil {
		return nil, err
	}
	return &graph.Account{ID: a.ID, Name: a.Name, CreatedAt: a.CreatedAt}, nil
}

func toAPIToken(t *platen.APIToken) *graph.APIToken {
	return &graph.APIToken{ID: t.ID, Name: t.Name, Environment: t.Environment, Scope: t.Scope, Hint: t.Hint,
		CreatedAt: t.CreatedAt, LastUsedAt: t.LastUsedAt, ExpiresAt: t.ExpiresAt, RevokedAt: t.RevokedAt}
}

func (r query) CurrentAPIToken(ctx context.Context) (*graph.APIToken, error) {
	return toAPIToken(caller(ctx)), nil
}

func (r query) APITokens(ctx context.Context, first *int, after *string) (*graph.APITokenConnection, error) {
	p, err := page(first, after, nil, nil)
	if err != nil {
		return nil, err
	}
	accountID := caller(ctx).AccountID
	c := &graph.APITokenConnection{AccountID: accountID}
	c.Edges, c.Nodes, c.PageInfo, err = list(ctx, p,
		func(ctx context.Context, p storage.Page) ([]*platen.APIToken, storage.PageInfo, error) {
			return r.DB.APITokens(ctx, accountID, p)
		},
		func(t *platen.APIToken) (*graph.APIToken, string) {
			return toAPIToken(t), storage.Cursor(t.CreatedAt, t.ID)
		},
		func(cursor string, t *graph.APIToken) *graph.APITokenEdge {
			return &graph.APITokenEdge{Cursor: cursor, Node: t}
		})
	return c, err
}

func (r apiTokenConnection) TotalCount(ctx context.Context, c *graph.APITokenConnection) (int, error) {
	return r.DB.CountAPITokens(ctx, c.AccountID)
}

func (r mutation) CreateAPIToken(ctx context.Context, input graph.CreateAPITokenInput) (*graph.CreateAPITokenPayload, error) {
	token := caller(ctx)
	errs := platen.ValidateName(input.Name, "name")
	expires := input.ExpiresAt.Value()
	if expires != nil && !expires.After(time.Now()) {
		errs.Add(platen.CodeInvalid, "This lies in the past: the token would never work.", "expiresAt")
	}
	if token.TestOnly() && input.Environment == platen.Live {
		errs.Add(platen.CodeForbidden, "A test token makes test tokens only; use a live one.", "environment")
	}
	if shown, err := userErrors(errs.Err(), "input"); err != nil || len(shown) > 0 {
		return &graph.CreateAPITokenPayload{UserErrors: shown}, err
	}
	created := &platen.APIToken{AccountID: token.AccountID, Name: input.Name,
		Environment: input.Environment, Scope: input.Scope, ExpiresAt: expires}
	secret := platen.NewTokenSecret(input.Environment)
	if err := r.DB.InTx(ctx, func(tx *storage.Tx) error { return tx.CreateAPIToken(ctx, created, secret) }); err != nil {
		return nil, err
	}
	return &graph.CreateAPITokenPayload{APIToken: toAPIToken(created), Secret: &secret, UserErrors: []graph.UserError{}}, nil
}

func (r mutation) RevokeAPIToken(ctx context.Context, id string) (*graph.RevokeAPITokenPayload, error) {
	var revoked *platen.APIToken
	token := caller(ctx)
	err := r.DB.InTx(ctx, func(tx *storage.Tx) (err error) {
		if platen.KindOf(id) != platen.KindAPIToken {
			return storage.ErrNotFound
		}
		revoked, err = tx.RevokeAPIToken(ctx, token.AccountID, id)
		if err == nil && token.TestOnly() && revoked.Environment == platen.Live {
			return &platen.Error{Code: platen.CodeForbidden, Message: "A test token revokes test tokens only; use a live one.", Path: []string{"id"}}
		}
		return err
	})
	if errors.Is(err, storage.ErrNotFound) {
		err = &platen.Error{Code: platen.CodeNotFound, Message: "There is no API token with this id in this account.", Path: []string{"id"}, ID: id}
	}
	shown, err := userErrors(err)
	if err != nil || len(shown) > 0 {
		return &graph.RevokeAPITokenPayload{UserErrors: shown}, err
	}
	return &graph.RevokeAPITokenPayload{APIToken: toAPIToken(revoked), UserErrors: shown}, nil
}
