package pipeline

import (
	"bytes"
	"context"
	"errors"

	"platen"
	"platen/liquid"
	"platen/storage"
)

// CreateTemplate saves a template and publishes it as version 1. Liquid that does
// not parse is refused with line and column (R2.4). The error is platen.Errors when
// the caller can mend it.
func (p *Pipeline) CreateTemplate(ctx context.Context, t *platen.Template) error {
	errs := t.Validate()
	syntax, err := p.checkLiquid(ctx, t.Draft)
	if err != nil {
		return err
	}
	if err := append(errs, syntax.At("content")...).Err(); err != nil {
		return err
	}
	t.ID = platen.NewID(platen.KindTemplate)
	defer p.Hub.Nudge()
	return p.DB.InTx(ctx, func(tx *storage.Tx) error {
		if err := tx.CreateTemplate(ctx, t); err != nil {
			return err
		}
		version, err := tx.PublishTemplate(ctx, t.AccountID, t.ID)
		if err != nil {
			return err
		}
		t.LatestVersion = version.Number
		return p.publishVersion(ctx, tx, version)
	})
}

// versionFile is a published version as one HTML file: its HTML as it was written,
// and after it what else it has, where browsers find the styles and leave the rest
// alone.
func versionFile(v *platen.TemplateVersion) []byte {
	var file bytes.Buffer
	file.WriteString(v.Content.HTML)
	for _, part := range []struct{ begin, text, end string }{
		{"\n<style>", v.Content.CSS, "</style>\n"},
		{"\n<template data-platen=\"header\">", v.Content.HeaderHTML, "</template>\n"},
		{"\n<template data-platen=\"footer\">", v.Content.FooterHTML, "</template>\n"},
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
