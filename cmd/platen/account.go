package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	root "platen"
	"platen/storage"
)

// newTokens makes an account's first tokens; a secret that is given is used.
func newTokens(ctx context.Context, tx *storage.Tx, accountID string, live, test root.Secret) (liveSecret, testSecret string, err error) {
	liveSecret, testSecret = live.Reveal(), test.Reveal()
	if liveSecret == "" {
		liveSecret = root.NewTokenSecret(root.Live)
	}
	if testSecret == "" {
		testSecret = root.NewTokenSecret(root.Test)
	}
	for secret, token := range map[string]*root.APIToken{
		liveSecret: {AccountID: accountID, Name: "First live token", Environment: root.Live, Scope: root.ScopeAdmin},
		testSecret: {AccountID: accountID, Name: "First test token", Environment: root.Test, Scope: root.ScopeAdmin},
	} {
		if err := tx.CreateAPIToken(ctx, token, secret); err != nil {
			return "", "", err
		}
	}
	return liveSecret, testSecret, nil
}

// welcomeFirst makes the first account, if there is none (R1.1).
func (p *program) welcomeFirst(ctx context.Context) error {
	return p.db.InTx(ctx, func(tx *storage.Tx) error {
		if err := tx.LockInstallation(ctx); err != nil {
			return err
		}
		if any, err := tx.HasAccounts(ctx); err != nil || any {
			return err
		}
		account := &root.Account{ID: root.NewID(root.KindAccount), Name: "First account"}
		if err := tx.CreateAccount(ctx, account); err != nil {
			return err
		}
		live, test, err := newTokens(ctx, tx, account.ID, p.config.liveToken, p.config.testToken)
		if err != nil {
			return err
		}
		// A secret that the operator gave is not printed: it would end up in logs.
		shown := func(secret string, given bool) string {
			if given {
				return "(as given in the environment)"
			}
			return secret
		}
		p.welcome = fmt.Sprintf("Made the account %s. Its tokens are shown this once:\n  live  %s\n  test  %s\n",
			account.ID, shown(live, p.config.liveToken.Reveal() != ""), shown(test, p.config.testToken.Reveal() != ""))
		return nil
	})
}

// offerStart makes the address by which whoever starts an embedded Platen is signed in.
// With DATABASE_URL there are other nodes, which do not know its key, and terminals that
// others read. It stops no start: the tokens may have been made for this one showing.
func (p *program) offerStart(ctx context.Context) {
	if p.config.databaseURL.Reveal() != "" || !p.config.api {
		return
	}
	switch _, err := p.db.NewestAdminToken(ctx); {
	case errors.Is(err, storage.ErrNotFound):
		p.signIn = "The first account has no live token with the scope ADMIN to sign in to the page with: `platen token create` makes one.\n"
	case err != nil:
		p.log.WarnContext(ctx, "there is no start address: the tokens could not be read", "error", err)
	default:
		// What follows # is not sent: it gets into no log, and past no proxy.
		p.signIn = fmt.Sprintf("The page signs you in at this address, once and within ten minutes:\n  page  %s/sign-in#start=%s\n", p.baseURL, p.server.NewStartKey())
	}
}

// accountCreate is `platen account create NAME`.
func (p *program) accountCreate(ctx context.Context, out io.Writer, name string) error {
	if err := root.ValidateName(name).Err(); err != nil {
		return err
	}
	account := &root.Account{ID: root.NewID(root.KindAccount), Name: name}
	var live, test string
	if err := p.db.InTx(ctx, func(tx *storage.Tx) (err error) {
		if err := tx.CreateAccount(ctx, account); err != nil {
			return err
		}
		live, test, err = newTokens(ctx, tx, account.ID, root.Secret{}, root.Secret{})
		return err
	}); err != nil {
		return err
	}
	fmt.Fprintf(out, "account  %s\nlive     %s\ntest     %s\nThe tokens are shown this once.\n", account.ID, live, test)
	return nil
}

// tokenCreate is `platen token create`.
func (p *program) tokenCreate(ctx context.Context, out io.Writer, accountID, environment, scope, name string) error {
	token := &root.APIToken{AccountID: accountID, Name: name, Environment: root.Environment(strings.ToUpper(environment)), Scope: root.TokenScope(strings.ToUpper(scope))}
	errs := root.ValidateName(name, "--name")
	if token.Environment != root.Live && token.Environment != root.Test {
		errs.Add(root.CodeInvalid, "give live or test", "--environment")
	}
	if !token.Scope.Includes(root.ScopeRead) {
		errs.Add(root.CodeInvalid, "give read, write or admin", "--scope")
	}
	if err := errs.Err(); err != nil {
		return err
	}
	if accountID == "" {
		first, err := p.db.FirstAccount(ctx)
		if errors.Is(err, storage.ErrNotFound) {
			return errors.New("there is no account yet: start Platen once, or `platen account create NAME`")
		}
		if err != nil {
			return err
		}
		token.AccountID = first.ID
	} else if _, err := p.db.Account(ctx, accountID); err != nil {
		if errors.Is(err, storage.ErrNotFound) {
			return fmt.Errorf("there is no account %s", accountID)
		}
		return err
	}
	secret := root.NewTokenSecret(token.Environment)
	if err := p.db.InTx(ctx, func(tx *storage.Tx) error { return tx.CreateAPIToken(ctx, token, secret) }); err != nil {
		return err
	}
	fmt.Fprintf(out, "account  %s\ntoken    %s\nsecret   %s\nThe secret is shown this once.\n", token.AccountID, token.ID, secret)
	return nil
}

// tokenRevoke is `platen token revoke ID`.
func (p *program) tokenRevoke(ctx context.Context, out io.Writer, id string) error {
	err := p.db.InTx(ctx, func(tx *storage.Tx) error {
		_, err := tx.RevokeAPITokenByID(ctx, id)
		return err
	})
	if errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("there is no API token %s", id)
	}
	if err == nil {
		fmt.Fprintf(out, "revoked  %s\n", id)
	}
	return err
}
