package pipeline

import (
	"context"
	"errors"
	"strings"
	"time"

	"platen"
	"platen/delivery"
	"platen/storage"
)

// CreateIntegration saves an integration, its secret encrypted, and returns it with the
// secret: that of a webhook is made here. A path template that cannot work is refused
// (R5.6). A call with a key that was used before returns what that call made (R3.9);
// "" is no key. The error is platen.Errors when the caller can mend it.
func (p *Pipeline) CreateIntegration(ctx context.Context, scope storage.Scope, key string, i *platen.Integration, secret string) (*platen.Integration, string, error) {
	once, err := p.once(ctx, scope, "createIntegration", key, []any{i, secret})
	if err != nil {
		return nil, "", err
	}
	if once.ResultID == "" {
		i.AccountID = scope.AccountID
		if secret, err = p.createIntegration(ctx, once, i, secret); err != nil {
			return nil, "", err
		}
	}
	if once.ResultID == "" {
		return i, secret, nil
	}
	i, err = p.DB.Integration(ctx, scope.AccountID, once.ResultID)
	if errors.Is(err, storage.ErrNotFound) {
		err = &platen.Error{Code: platen.CodeConflict, Path: []string{"idempotencyKey"},
			Message: "The integration that the first call with this key made was deleted. Use a new key to make another."}
	}
	return i, secret, err
}

func (p *Pipeline) createIntegration(ctx context.Context, once *once, i *platen.Integration, secret string) (string, error) {
	i.ID = platen.NewID(platen.KindIntegration)
	if i.Webhook != nil {
		secret = delivery.NewWebhookSecret()
	}
	if err := p.checkIntegration(ctx, i, secret); err != nil {
		return "", err
	}
	if err := p.sealSecret(i, secret); err != nil {
		return "", err
	}
	return secret, p.DB.InTx(ctx, func(tx *storage.Tx) error {
		if err := once.claim(ctx, tx, i.ID); err != nil || once.ResultID != "" {
			return err
		}
		return tx.CreateIntegration(ctx, i)
	})
}

// UpdateIntegration changes an integration by change, which is given it with its
// secret in clear and returns the secret that it has from then on. The error is
// platen.Errors when the caller can mend it.
func (p *Pipeline) UpdateIntegration(ctx context.Context, accountID, id string, change func(i *platen.Integration, secret string) (string, error)) (i *platen.Integration, err error) {
	if platen.KindOf(id) != platen.KindIntegration {
		return nil, missingIntegration(storage.ErrNotFound, id, "id")
	}
	err = p.DB.InTx(ctx, func(tx *storage.Tx) error {
		if i, err = tx.LockIntegration(ctx, accountID, id); err != nil {
			return missingIntegration(err, id, "id")
		}
		secret, newSecret, err := p.changed(ctx, i, change)
		if err != nil {
			return err
		}
		if newSecret {
			if err := p.sealSecret(i, secret); err != nil {
				return err
			}
		}
		return tx.UpdateIntegration(ctx, i, newSecret)
	})
	return i, err
}

// changed applies a change and checks what came out of it. Its secret is the new one.
func (p *Pipeline) changed(ctx context.Context, i *platen.Integration, change func(*platen.Integration, string) (string, error)) (secret string, newSecret bool, err error) {
	known, err := p.Keyring.Decrypt(i.Secret, i.ID)
	unreadable := err != nil // a new secret is just what mends that
	secret, err = change(i, string(known))
	if err != nil {
		return "", false, err
	}
	newSecret = secret != string(known)
	if unreadable && !newSecret {
		// What is not touched is not judged either.
		return "", false, p.checkIntegration(ctx, i, "unreadable")
	}
	return secret, newSecret, p.checkIntegration(ctx, i, secret)
}

func (p *Pipeline) sealSecret(i *platen.Integration, secret string) (err error) {
	i.Secret, err = p.Keyring.Encrypt([]byte(secret), i.ID)
	return err
}

// checkIntegration finds all mistakes of an integration, and makes blank path
// templates empty.
func (p *Pipeline) checkIntegration(ctx context.Context, i *platen.Integration, secret string) error {
	errs := i.Validate(secret)
	if i.Webhook != nil && i.Webhook.TemplateID != "" {
		_, err := p.DB.Template(ctx, i.AccountID, i.Webhook.TemplateID)
		if errors.Is(err, storage.ErrNotFound) || platen.KindOf(i.Webhook.TemplateID) != platen.KindTemplate {
			errs = append(errs, &platen.Error{Code: platen.CodeNotFound, ID: i.Webhook.TemplateID, Path: []string{"templateId"}, Message: "There is no template with this id in this account."})
		} else if err != nil {
			return err
		}
	}
	if i.S3 != nil {
		for _, path := range i.S3.Paths() {
			mistakes, err := p.checkPath(ctx, path)
			if err != nil {
				return err
			}
			errs = append(errs, mistakes...)
		}
	}
	return errs.Err()
}

func (p *Pipeline) checkPath(ctx context.Context, path platen.S3Path) (errs platen.Errors, err error) {
	if strings.TrimSpace(*path.Template) == "" {
		*path.Template = ""
		if path.Field == "submission" {
			errs.Add(platen.CodeRequired, "The path of live submissions cannot be blank: every upload needs a key.", "pathTemplates", path.Field)
		}
		return errs, nil
	}
	if illegible := platen.ValidateText(*path.Template, "pathTemplates", path.Field); len(illegible) > 0 {
		return illegible, nil
	}
	_, err = p.Keys.Check(ctx, path.Kind, *path.Template)
	var mistake *platen.Error
	if errors.As(err, &mistake) {
		mistake.Path = []string{"pathTemplates", path.Field}
		return platen.Errors{mistake}, nil
	}
	return nil, err
}

// Warnings are what people should know about an integration's path templates.
func (p *Pipeline) Warnings(ctx context.Context, s *platen.S3Settings) ([]string, error) {
	warnings := []string{}
	for _, path := range s.Paths() {
		if *path.Template == "" {
			continue
		}
		found, err := p.Keys.Check(ctx, path.Kind, *path.Template)
		var mistake *platen.Error // what an older version of Platen did not refuse
		if errors.As(err, &mistake) {
			found = []string{mistake.Message}
		} else if err != nil {
			return nil, err
		}
		for _, warning := range found {
			warnings = append(warnings, path.Field+": "+warning)
		}
	}
	return warnings, nil
}

// DeleteIntegration takes an integration out of use. Its pending actions end as
// FAILED soon after, in a job; all of them stay readable (R5.1).
func (p *Pipeline) DeleteIntegration(ctx context.Context, accountID, id string, check func(*platen.Integration) error) error {
	if platen.KindOf(id) != platen.KindIntegration {
		return missingIntegration(storage.ErrNotFound, id, "id")
	}
	return p.DB.InTx(ctx, func(tx *storage.Tx) error {
		i, err := tx.LockIntegration(ctx, accountID, id)
		if err != nil {
			return missingIntegration(err, id, "id")
		}
		if err := check(i); err != nil {
			return err
		}
		if err := tx.DeleteIntegration(ctx, accountID, id); err != nil {
			return err
		}
		_, err = p.river.InsertTx(ctx, tx.SQL(), settleArgs{AccountID: accountID, IntegrationID: id}, nil)
		return err
	})
}

// Integration reads an integration that a caller named; the error is a *platen.Error
// when there is none.
func (p *Pipeline) Integration(ctx context.Context, accountID, id string) (*platen.Integration, error) {
	return p.integration(ctx, accountID, id, "id")
}

// integration reads an integration that a caller named in a field; the error is a
// *platen.Error when there is none.
func (p *Pipeline) integration(ctx context.Context, accountID, id, field string) (*platen.Integration, error) {
	if platen.KindOf(id) != platen.KindIntegration {
		return nil, missingIntegration(storage.ErrNotFound, id, field)
	}
	i, err := p.DB.Integration(ctx, accountID, id)
	return i, missingIntegration(err, id, field)
}

func missingIntegration(err error, id, field string) error {
	if errors.Is(err, storage.ErrNotFound) {
		return &platen.Error{Code: platen.CodeNotFound, ID: id, Path: []string{field}, Message: "There is no integration with this id in this account."}
	}
	return err
}

// testPatience bounds the test of an integration, while its caller waits.
const testPatience = 30 * time.Second

// TestIntegration puts one small object at key into the integration's bucket, or
// posts a ping to its webhook, and tells what came of it. The object stays there:
// PutObject is all that Platen may do (R5.2). The error is platen.Errors when the
// caller can mend it; that the other side refuses is no error.
func (p *Pipeline) TestIntegration(ctx context.Context, i *platen.Integration, key string) (platen.Health, error) {
	if i.S3 != nil {
		if mistake := delivery.CheckKey(key); mistake != nil {
			mistake.Path = []string{"key"}
			return platen.Health{}, mistake
		}
	}
	failure, err := p.probe(ctx, i, key)
	if err != nil {
		return platen.Health{}, err
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	if err := p.DB.InTx(ctx, func(tx *storage.Tx) error {
		return tx.RecordIntegrationTest(ctx, i.AccountID, i.ID, now, failure)
	}); err != nil {
		return platen.Health{}, err
	}
	health := platen.Health{State: platen.HealthHealthy, CheckedAt: &now}
	if failure != nil {
		health.State, health.Failure = platen.HealthFailing, failure
		p.Log.InfoContext(ctx, "an integration was tested and fails", "integration", i.ID, "code", failure.Code, "error", failure.Message)
	}
	return health, nil
}

func (p *Pipeline) probe(ctx context.Context, i *platen.Integration, key string) (failure *platen.Failure, err error) {
	secret, err := p.Keyring.Decrypt(i.Secret, i.ID)
	if err != nil {
		return secretUnreadable(), nil
	}
	deadline, cancel := context.WithTimeout(ctx, testPatience)
	defer cancel()
	if i.Webhook != nil {
		body, err := delivery.PingPayload(i.ID, time.Now())
		if err != nil {
			return nil, err
		}
		_, err = p.Webhooks.Post(deadline, delivery.Webhook{URL: i.Webhook.URL, Secret: platen.NewSecret(string(secret)), ID: "ping_" + platen.RandomString(18), Body: body})
		return failureOf(err)
	}
	_, err = p.S3.Put(deadline, s3Target(i.S3, string(secret)), delivery.ProbeObject(key, time.Now()))
	return failureOf(err)
}

func failureOf(err error) (*platen.Failure, error) {
	done, err := outcome{}.failed(err)
	return done.failure, err
}
