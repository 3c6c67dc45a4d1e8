package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"platen"
	"platen/storage"
)

// PreviewLife is how long a preview can be looked at.
const PreviewLife = 10 * time.Minute

// previewTurn is how long a preview waits for its turn among documents, beside the
// timeout of its page settings.
const previewTurn = 30 * time.Second

// PreviewRequest is a content to look at.
type PreviewRequest struct {
	TemplateID *string // whose id and name the Liquid sees
	Content    platen.TemplateContent
	Data       json.RawMessage // nil: the content's sample data
	Metadata   json.RawMessage
	Output     platen.OutputKind
}

// PreviewTemplate renders a content that need not be saved, and waits for it. The
// submission that it returns is in no list, has no actions, and is removed after
// PreviewLife. The error is platen.Errors when the caller can mend it.
func (p *Pipeline) PreviewTemplate(ctx context.Context, accountID string, r PreviewRequest) (*platen.Submission, error) {
	s := &platen.Submission{Document: newDocument(storage.Scope{AccountID: accountID, TestOnly: true}, platen.KindSubmission), Preview: true,
		Source: platen.SourceHTML, Output: r.Output, Content: &r.Content, Data: r.Data}
	s.Metadata, s.ExpiresAt = orEmpty(r.Metadata), new(time.Now().Add(PreviewLife).UTC().Truncate(time.Microsecond))
	if s.Data == nil {
		s.Data = r.Content.SampleData
	}
	if s.Output != platen.OutputPDF {
		s.Screenshot = new(platen.DefaultScreenshot())
	}
	errs, err := p.checkContent(ctx, r.Content)
	if err != nil {
		return nil, err
	}
	errs = errs.At("content")
	inputs := *s
	inputs.Content = nil // judged already, by its own paths
	errs = append(errs, inputs.Validate()...)
	if r.TemplateID != nil {
		template, err := p.previewed(ctx, accountID, *r.TemplateID)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			errs = append(errs, &platen.Error{Code: platen.CodeNotFound, ID: *r.TemplateID, Path: []string{"templateId"}, Message: "There is no template with this id in this account."})
		case err != nil:
			return nil, err
		default:
			s.Source, s.TemplateID, s.TemplateName = platen.SourceDraft, template.ID, template.Name
		}
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	ahead, err := p.DB.CountWaiting(ctx, accountID, true, priorities[len(priorities)-1])
	if err != nil {
		return nil, err
	}
	if err := p.accept(ctx, &once{}, s.ID, nil, ahead, []*platen.Submission{s}); err != nil {
		return nil, err
	}
	if s, err = Await(ctx, p, s, time.Duration(s.Content.Page.Timeout)*time.Second+previewTurn); err != nil {
		return nil, err
	}
	if s.State == platen.DocumentPending {
		s.Failure = &platen.Failure{Stage: platen.StageRender, Code: platen.FailureRenderTimeout, Retryable: true, OccurredAt: time.Now(),
			Message: "The preview did not get its turn in time: the workers are busy with other documents. Try again soon."}
	}
	return s, nil
}

func (p *Pipeline) previewed(ctx context.Context, accountID, templateID string) (*platen.Template, error) {
	if platen.KindOf(templateID) != platen.KindTemplate {
		return nil, storage.ErrNotFound
	}
	return p.DB.Template(ctx, accountID, templateID)
}
