package storage

import (
	"context"
	"time"

	"github.com/lib/pq"

	"platen"
)

// CreateAccount inserts an account.
func (t *Tx) CreateAccount(ctx context.Context, a *platen.Account) error {
	return t.tx.GetContext(ctx, &a.CreatedAt, `insert into accounts (id, name) values ($1, $2) returning created_at`, a.ID, a.Name)
}

// LockInstallation makes concurrent first starts wait for one another.
func (t *Tx) LockInstallation(ctx context.Context) error {
	_, err := t.tx.ExecContext(ctx, `select 1 from installation for update`)
	return err
}

// HasAccounts tells whether there is any account yet.
func (t *Tx) HasAccounts(ctx context.Context) (bool, error) {
	var any bool
	err := t.tx.GetContext(ctx, &any, `select exists (select 1 from accounts)`)
	return any, err
}

// Account reads one account.
func (d *DB) Account(ctx context.Context, id string) (*platen.Account, error) {
	var a platen.Account
	err := d.db.GetContext(ctx, &a, `select id, name, created_at from accounts where id = $1`, id)
	return &a, notFound(err)
}

// FirstAccount reads the oldest account: the one that the first start made.
func (d *DB) FirstAccount(ctx context.Context) (*platen.Account, error) {
	var a platen.Account
	err := d.db.GetContext(ctx, &a, `select id, name, created_at from accounts order by created_at, id limit 1`)
	return &a, notFound(err)
}

const tokenColumns = `account_id, id, name, environment, scope, hint, created_at, last_used_at, expires_at, revoked_at`

// CreateAPIToken inserts a token under a new id, and of its secret the hash and the hint.
func (t *Tx) CreateAPIToken(ctx context.Context, token *platen.APIToken, secret string) error {
	token.ID, token.Hint = platen.NewID(platen.KindAPIToken), platen.TokenHint(secret)
	return t.tx.GetContext(ctx, token, `insert into api_tokens (account_id, id, name, environment, scope, secret_hash, hint, expires_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8) returning `+tokenColumns,
		token.AccountID, token.ID, token.Name, token.Environment, token.Scope, platen.HashTokenSecret(secret), token.Hint, token.ExpiresAt)
}

// usable is what a token is that is neither revoked nor expired.
const usable = ` revoked_at is null and (expires_at is null or expires_at > now())`

// APITokenBySecret finds the token that a secret's hash belongs to, if it is
// neither revoked nor expired, and notes its use, to the minute.
func (d *DB) APITokenBySecret(ctx context.Context, secretHash []byte) (*platen.APIToken, error) {
	return d.useAPIToken(ctx, `secret_hash = $1`, secretHash)
}

// APITokenOfSession finds the token with an id, if it is neither revoked nor expired, and
// notes its use, to the minute.
func (d *DB) APITokenOfSession(ctx context.Context, accountID, id string) (*platen.APIToken, error) {
	return d.useAPIToken(ctx, `account_id = $1 and id = $2`, accountID, id)
}

func (d *DB) useAPIToken(ctx context.Context, which string, args ...any) (*platen.APIToken, error) {
	var token platen.APIToken
	if err := d.db.GetContext(ctx, &token, `select `+tokenColumns+` from api_tokens where `+which+` and`+usable, args...); err != nil {
		return nil, notFound(err)
	}
	if token.LastUsedAt == nil || time.Since(*token.LastUsedAt) > time.Minute {
		if _, err := d.db.ExecContext(ctx, `update api_tokens set last_used_at = date_trunc('minute', now())
			where account_id = $1 and id = $2`, token.AccountID, token.ID); err != nil {
			return nil, err
		}
	}
	return &token, nil
}

// NewestAdminToken reads the newest live token of the scope ADMIN that the oldest account
// has and that is neither revoked nor expired.
func (d *DB) NewestAdminToken(ctx context.Context) (*platen.APIToken, error) {
	var token platen.APIToken
	err := d.db.GetContext(ctx, &token, `select `+tokenColumns+` from api_tokens
		where account_id = (select id from accounts order by created_at, id limit 1) and environment = $1 and scope = $2 and`+usable+`
		order by created_at desc, id desc limit 1`, platen.Live, platen.ScopeAdmin)
	return &token, notFound(err)
}

// APITokensByID reads those of these tokens that the account has.
func (d *DB) APITokensByID(ctx context.Context, accountID string, ids []string) (map[string]*platen.APIToken, error) {
	var tokens []*platen.APIToken
	err := d.db.SelectContext(ctx, &tokens, `select `+tokenColumns+` from api_tokens where account_id = $1 and id = any($2)`, accountID, pq.Array(ids))
	byID := make(map[string]*platen.APIToken, len(tokens))
	for _, token := range tokens {
		byID[token.ID] = token
	}
	return byID, err
}

// APITokens reads a part of an account's tokens, revoked ones included.
func (d *DB) APITokens(ctx context.Context, accountID string, page Page) ([]*platen.APIToken, PageInfo, error) {
	tail, args, err := page.clause([]any{accountID}, "created_at", "id")
	if err != nil {
		return nil, PageInfo{}, err
	}
	var tokens []*platen.APIToken
	if err := d.db.SelectContext(ctx, &tokens, `select `+tokenColumns+` from api_tokens where account_id = $1`+tail, args...); err != nil {
		return nil, PageInfo{}, err
	}
	tokens, info := trim(page, tokens)
	return tokens, info, nil
}

// CountAPITokens counts an account's tokens, up to CountLimit.
func (d *DB) CountAPITokens(ctx context.Context, accountID string) (int, error) {
	return d.count(ctx, `select 1 from api_tokens where account_id = $1`, accountID)
}

func (d *DB) count(ctx context.Context, rows string, args ...any) (n int, err error) {
	err = d.db.GetContext(ctx, &n, `select count(*) from (`+rows+` limit 10000) counted`, args...)
	return n, err
}

// counts reads numbers by ids.
func (d *DB) counts(ctx context.Context, query string, args ...any) (map[string]int, error) {
	var rows []struct {
		ID string
		N  int
	}
	if err := d.db.SelectContext(ctx, &rows, query, args...); err != nil {
		return nil, err
	}
	by := make(map[string]int, len(rows))
	for _, row := range rows {
		by[row.ID] = row.N
	}
	return by, nil
}

// RevokeAPIToken ends a token; one that is revoked already stays as it is.
func (t *Tx) RevokeAPIToken(ctx context.Context, accountID, id string) (*platen.APIToken, error) {
	var token platen.APIToken
	err := t.tx.GetContext(ctx, &token, `update api_tokens set revoked_at = coalesce(revoked_at, now())
		where account_id = $1 and id = $2 returning `+tokenColumns, accountID, id)
	return &token, notFound(err)
}

// RevokeAPITokenByID ends a token of whatever account, for operators.
func (t *Tx) RevokeAPITokenByID(ctx context.Context, id string) (*platen.APIToken, error) {
	var token platen.APIToken
	err := t.tx.GetContext(ctx, &token, `update api_tokens set revoked_at = coalesce(revoked_at, now())
		where id = $1 returning `+tokenColumns, id)
	return &token, notFound(err)
}

// EndedAPITokens tells which of these tokens are no longer good: revoked, expired or gone.
func (d *DB) EndedAPITokens(ctx context.Context, ids []string) (ended []string, err error) {
	err = d.db.SelectContext(ctx, &ended, `select asked.id from unnest($1::text[]) as asked (id)
		where not exists (select 1 from api_tokens t where t.id = asked.id
			and t.revoked_at is null and (t.expires_at is null or t.expires_at > now()))`, pq.Array(ids))
	return ended, err
}
