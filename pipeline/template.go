package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"

	"platen"
	"platen/jsonschema"
	"platen/liquid"
	"platen/storage"
)

// CreateTemplate saves a template and, if so asked, publishes it as version 1. What
// is broken is refused (R2.4). A call with a key that was used before returns what that
// call made (R3.9); "" is no key. The error is platen.Errors when the caller can mend it.
func (p *Pipeline) CreateTemplate(ctx context.Context, scope storage.Scope, key string, t *platen.Template, publish bool) (*platen.Template, error) {
	once, err := p.once(ctx, scope, "createTemplate", key, []any{t, publish})
	if err != nil {
		return nil, err
	}
	if once.ResultID == "" {
		t.AccountID = scope.AccountID
		if err := p.createTemplate(ctx, once, t, publish); err != nil {
			return nil, err
		}
	}
	if once.ResultID != "" {
		return p.DB.Template(ctx, scope.AccountID, once.ResultID)
	}
	return t, nil
}

func (p *Pipeline) createTemplate(ctx context.Context, once *once, t *platen.Template, publish bool) error {
	if err := p.checkTemplate(ctx, t); err != nil {
		return err
	}
	t.ID = platen.NewID(platen.KindTemplate)
	defer p.Hub.Nudge()
	return p.DB.InTx(ctx, func(tx *storage.Tx) error {
		if err := once.claim(ctx, tx, t.ID); err != nil || once.ResultID != "" {
			return err
		}
		if err := tx.CreateTemplate(ctx, t); err != nil || !publish {
			return err
		}
		version, _, err := tx.PublishTemplate(ctx, t.AccountID, t.ID)
		if err != nil {
			return err
		}
		t.LatestVersion = version.Number
		return p.publishVersion(ctx, tx, version)
	})
}

// UpdateTemplate changes a template and its draft by change. What is broken after it
// is refused (R2.4). The error is platen.Errors when the caller can mend it.
func (p *Pipeline) UpdateTemplate(ctx context.Context, accountID, id string, change func(*platen.Template)) (*platen.Template, error) {
	return p.editTemplate(ctx, accountID, id, func(t *platen.Template) error {
		change(t)
		return p.checkTemplate(ctx, t)
	}, func(tx *storage.Tx, t *platen.Template) error { return tx.UpdateTemplate(ctx, t) })
}

// PublishTemplate freezes a template's draft as its next version (R2.2), and copies
// it where versions are copied to (R5.3). Without unpublished changes it makes none
// and returns the latest. A draft that is broken is refused (R2.4): an earlier
// release may have let it pass. The error is platen.Errors when the caller can mend it.
func (p *Pipeline) PublishTemplate(ctx context.Context, accountID, id string) (v *platen.TemplateVersion, err error) {
	defer p.Hub.Nudge()
	var mistakes platen.Errors
	_, err = p.editTemplate(ctx, accountID, id, func(t *platen.Template) (err error) {
		mistakes, err = p.checkContent(ctx, *t.Draft)
		return err
	}, func(tx *storage.Tx, _ *platen.Template) (err error) {
		var fresh bool
		if v, fresh, err = tx.PublishTemplate(ctx, accountID, id); err != nil || !fresh {
			return err
		}
		if err := mistakes.At("draft").Err(); err != nil {
			return err
		}
		return p.publishVersion(ctx, tx, v)
	})
	return v, err
}

// RestoreTemplateVersion puts the content of a version back into its template's
// draft, as it is: publishing checks it. The error is a *platen.Error when there is
// no such version.
func (p *Pipeline) RestoreTemplateVersion(ctx context.Context, accountID, id string) (*platen.Template, error) {
	missing := &platen.Error{Code: platen.CodeNotFound, ID: id, Path: []string{"id"}, Message: "There is no version of a template with this id in this account."}
	if platen.KindOf(id) != platen.KindTemplateVersion {
		return nil, missing
	}
	v, err := p.DB.TemplateVersion(ctx, accountID, id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, missing
	}
	if err != nil {
		return nil, err
	}
	content, err := p.DB.VersionContent(ctx, accountID, id)
	if err != nil {
		return nil, err
	}
	return p.editTemplate(ctx, accountID, v.TemplateID, func(t *platen.Template) error {
		t.Draft = content
		return nil
	}, func(tx *storage.Tx, t *platen.Template) error { return tx.UpdateTemplate(ctx, t) })
}

// errEdited says that somebody else was faster.
var errEdited = errors.New("the template was edited meanwhile")

// editTemplate reads a template, has it changed and checked, and has it written in a
// transaction that holds its lock. A check can take seconds, so it holds neither a
// connection nor a lock; when another edit was written meanwhile, all is done again
// upon that. The error is a *platen.Error when there is no such template.
func (p *Pipeline) editTemplate(ctx context.Context, accountID, id string, change func(*platen.Template) error,
	write func(*storage.Tx, *platen.Template) error) (*platen.Template, error) {
	missing := &platen.Error{Code: platen.CodeNotFound, ID: id, Path: []string{"id"}, Message: "There is no template with this id in this account."}
	if platen.KindOf(id) != platen.KindTemplate {
		return nil, missing
	}
	for {
		t, err := p.DB.TemplateWithDraft(ctx, accountID, id)
		if errors.Is(err, storage.ErrNotFound) {
			return nil, missing
		}
		if err != nil {
			return nil, err
		}
		seen := t.UpdatedAt
		if err := change(t); err != nil {
			return nil, err
		}
		err = p.DB.InTx(ctx, func(tx *storage.Tx) error {
			editedAt, err := tx.LockTemplate(ctx, accountID, id)
			if err != nil {
				return err
			}
			if !editedAt.Equal(seen) {
				return errEdited
			}
			return write(tx, t)
		})
		if !errors.Is(err, errEdited) {
			return t, err
		}
	}
}

// checkTemplate finds all mistakes of a template.
func (p *Pipeline) checkTemplate(ctx context.Context, t *platen.Template) error {
	mistakes, err := p.checkContent(ctx, *t.Draft)
	if err != nil {
		return err
	}
	return append(t.Validate(), mistakes.At("content")...).Err()
}

// checkContent finds all mistakes of a content that is to be kept (R2.4).
func (p *Pipeline) checkContent(ctx context.Context, c platen.TemplateContent) (platen.Errors, error) {
	errs := c.Validate()
	syntax, err := p.checkLiquid(ctx, c)
	if err != nil {
		return nil, err
	}
	refused := slices.ContainsFunc(errs, func(e *platen.Error) bool { return slices.Equal(e.Path, []string{"schema"}) })
	if errs = append(errs, syntax...); c.Schema == nil || refused {
		return errs, nil
	}
	mistakes, err := p.checkSchema(ctx, c.Schema)
	return append(errs, mistakes...), err
}

// checkSchema finds the first mistake in a JSON Schema.
func (p *Pipeline) checkSchema(ctx context.Context, schema json.RawMessage) (platen.Errors, error) {
	err := p.Schemas.Check(ctx, schema)
	var mistake *jsonschema.Error
	if !errors.As(err, &mistake) {
		return nil, err
	}
	message := mistake.Message
	if mistake.Pointer != "" {
		message = "At " + mistake.Pointer + ": " + message
	}
	return platen.Errors{{Code: platen.CodeInvalid, Message: message, Path: []string{"schema"}}}, nil
}

// Variables are the names that the Liquid of a content reads from the data, such as
// customer.name.
func (p *Pipeline) Variables(ctx context.Context, c platen.TemplateContent) ([]string, error) {
	return p.Liquid.DataNames(ctx, sources(c), "data", "metadata", "submission_id", "template_id", "template_name", "template_version")
}

// versionFile is a published version as one HTML file: its HTML as it was written,
// and after it what else it has, where browsers find the styles and leave the rest
// alone.
func versionFile(c *platen.TemplateContent) []byte {
	var file bytes.Buffer
	file.WriteString(c.HTML)
	for _, part := range []struct{ begin, text, end string }{
		{"\n<style>", c.CSS, "</style>\n"},
		{"\n<template data-platen=\"header\">", c.HeaderHTML, "</template>\n"},
		{"\n<template data-platen=\"footer\">", c.FooterHTML, "</template>\n"},
	} {
		if part.text != "" {
			file.WriteString(part.begin + part.text + part.end)
		}
	}
	return file.Bytes()
}

// sources are the parts of a content that are Liquid, by the names of their fields.
func sources(c platen.TemplateContent) []liquid.Source {
	given := []liquid.Source{{Name: "html", Text: c.HTML}}
	if c.HeaderHTML != "" {
		given = append(given, liquid.Source{Name: "headerHtml", Text: c.HeaderHTML})
	}
	if c.FooterHTML != "" {
		given = append(given, liquid.Source{Name: "footerHtml", Text: c.FooterHTML})
	}
	return given
}

// checkLiquid finds the first mistake in each Liquid source of a content.
func (p *Pipeline) checkLiquid(ctx context.Context, c platen.TemplateContent) (platen.Errors, error) {
	var errs platen.Errors
	for _, source := range sources(c) {
		if len(source.Text) > platen.MaxSource {
			continue // refused for its size already
		}
		err := p.Liquid.Check(ctx, source)
		var mistake *liquid.Error
		switch {
		case err == nil:
		case errors.As(err, &mistake):
			errs = append(errs, &platen.Error{Code: platen.CodeTemplateInvalid, Message: mistake.Message,
				Path: []string{source.Name}, Line: max(mistake.Line, 1), Column: max(mistake.Column, 1)})
		default:
			return nil, err
		}
	}
	return errs, nil
}
