package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"platen"
	"platen/delivery"
	"platen/storage"
)

// PathPreview is the key that a path template gives, and what it may be made of.
type PathPreview struct {
	Key       string
	Failure   *platen.Failure // why there is no key
	Variables []delivery.VariableValue
	Warnings  []string
}

// PreviewPath renders a path template with the values of a subject, or of samples and
// the given metadata when subjectID is "". Nothing is uploaded. It returns
// storage.ErrNotFound when there is no such subject of that kind in the scope, and
// platen.Errors for metadata that is none.
func (p *Pipeline) PreviewPath(ctx context.Context, scope storage.Scope, kind platen.PathKind, pathTemplate, subjectID string, metadata json.RawMessage) (*PathPreview, error) {
	values := delivery.Sample(kind, scope.AccountID, metadata, time.Now())
	if subjectID != "" {
		subject, err := p.DB.Subject(ctx, scope, subjectID)
		if err != nil {
			return nil, err
		}
		values = keyDocument(subject)
		if values.Kind != kind {
			return nil, storage.ErrNotFound
		}
	} else if errs := platen.ValidateMetadata(metadata); len(errs) > 0 {
		return nil, errs
	}
	preview := &PathPreview{Warnings: []string{}}
	var err error
	if preview.Variables, err = p.Keys.Values(ctx, values); err != nil {
		return nil, err
	}
	warnings, err := p.Keys.Check(ctx, kind, pathTemplate)
	var mistake *platen.Error
	if errors.As(err, &mistake) {
		preview.Failure = deliveryFailure(platen.FailureKeyInvalid, mistake.Message)
		preview.Failure.Line, preview.Failure.Column = mistake.Line, mistake.Column
		return preview, nil
	}
	if err != nil {
		return nil, err
	}
	replaced, err := p.Keys.Replaced(ctx, pathTemplate, values)
	if err != nil {
		return nil, err
	}
	preview.Warnings = append(append(preview.Warnings, warnings...), replaced...)
	if preview.Key, err = p.Keys.Key(ctx, pathTemplate, values); err != nil {
		preview.Failure, err = failureOf(err)
	}
	return preview, err
}
