package pipeline

import (
	"context"
	"errors"
	"strings"

	"platen"
	"platen/storage"
)

// CreateAWSS3Integration saves an integration, its secret access key encrypted. A
// path template that cannot work is refused (R5.6).
func (p *Pipeline) CreateAWSS3Integration(ctx context.Context, i *platen.AWSS3Integration, secretAccessKey string) error {
	errs := i.Validate(secretAccessKey)
	for _, path := range []struct {
		field, template string
		blank           bool // may be blank
	}{{"submission", i.SubmissionPath, false}, {"testSubmission", i.TestSubmissionPath, true}} {
		if strings.TrimSpace(path.template) == "" {
			if !path.blank {
				errs.Add(platen.CodeRequired, "The path of live submissions cannot be blank: every upload needs a key.", "pathTemplates", path.field)
			}
			continue
		}
		if illegible := platen.ValidateText(path.template, "pathTemplates", path.field); len(illegible) > 0 {
			errs = append(errs, illegible...)
			continue
		}
		_, err := p.Keys.Check(ctx, path.template)
		var mistake *platen.Error
		switch {
		case err == nil:
		case errors.As(err, &mistake):
			mistake.Path = []string{"pathTemplates", path.field}
			errs = append(errs, mistake)
		default:
			return err
		}
	}
	if err := errs.Err(); err != nil {
		return err
	}
	if strings.TrimSpace(i.TestSubmissionPath) == "" {
		i.TestSubmissionPath = ""
	}
	i.ID = platen.NewID(platen.KindIntegration)
	var err error
	if i.Secret, err = p.Keyring.Encrypt([]byte(secretAccessKey), i.ID); err != nil {
		return err
	}
	return p.DB.InTx(ctx, func(tx *storage.Tx) error { return tx.CreateAWSS3Integration(ctx, i) })
}

// Warnings are what people should know about an integration's path templates.
func (p *Pipeline) Warnings(ctx context.Context, i *platen.AWSS3Integration) ([]string, error) {
	warnings := []string{}
	for _, path := range []struct{ field, template string }{{"submission", i.SubmissionPath}, {"testSubmission", i.TestSubmissionPath}} {
		if path.template == "" {
			continue
		}
		found, err := p.Keys.Check(ctx, path.template)
		if err != nil {
			return nil, err
		}
		for _, warning := range found {
			warnings = append(warnings, path.field+": "+warning)
		}
	}
	return warnings, nil
}
