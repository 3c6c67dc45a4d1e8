package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"platen"
	"platen/storage"
)

// Request is what a caller wants rendered: of a template, by its id, or of HTML.
type Request struct {
	TemplateID string
	Content    *platen.TemplateContent // of HTML; its page settings are the defaults
	Page       platen.PageOverride
	Data       json.RawMessage
	Metadata   json.RawMessage
	Test       bool
	// PresignedUpload is where the file goes besides the integrations; nil: nowhere.
	PresignedUpload *platen.PresignedUpload
}

// Submit accepts a document to be made: the submission and its job are committed
// together (R3.1). The error is platen.Errors when the caller can mend it.
func (p *Pipeline) Submit(ctx context.Context, accountID string, r Request) (*platen.Submission, error) {
	s := &platen.Submission{Record: platen.Record{AccountID: accountID, Test: r.Test}, Data: r.Data, Metadata: r.Metadata}
	if len(s.Metadata) == 0 || string(s.Metadata) == "null" {
		s.Metadata = json.RawMessage("{}")
	}
	var errs platen.Errors
	switch {
	case (r.TemplateID == "") == (r.Content == nil):
		errs.Add(platen.CodeInvalid, "Give exactly one of templateId and html.")
		return nil, errs
	case r.TemplateID != "":
		version, err := p.latestVersion(ctx, accountID, r.TemplateID)
		if errors.Is(err, storage.ErrNotFound) {
			errs = append(errs, &platen.Error{Code: platen.CodeNotFound, ID: r.TemplateID, Path: []string{"templateId"},
				Message: "There is no published template with this id in this account."})
			return nil, errs
		}
		if err != nil {
			return nil, err
		}
		s.TemplateID, s.TemplateName = version.TemplateID, version.TemplateName
		s.TemplateVersionID, s.TemplateVersionNumber = version.ID, version.Number
		s.Content = &version.Content
	default:
		s.Content = r.Content
		syntax, err := p.checkLiquid(ctx, *s.Content)
		if err != nil {
			return nil, err
		}
		errs = syntax
	}
	s.Content.Page = r.Page.Over(s.Content.Page)
	if r.PresignedUpload != nil {
		errs = append(errs, r.PresignedUpload.Validate(time.Now()).At("presignedUpload")...)
	}
	if err := append(s.Validate(), errs...).Err(); err != nil {
		return nil, err
	}
	s.ID = platen.NewID(platen.KindSubmission)
	if r.PresignedUpload != nil {
		var err error
		if s.PresignedUpload, err = p.sealPresignedUpload(s.ID, *r.PresignedUpload); err != nil {
			return nil, err
		}
	}
	err := p.DB.InTx(ctx, func(tx *storage.Tx) error {
		if err := tx.CreateSubmission(ctx, s); err != nil {
			return err
		}
		_, err := p.river.InsertTx(ctx, tx.SQL(), renderArgs{AccountID: accountID, SubmissionID: s.ID}, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	p.Hub.Nudge()
	p.Log.InfoContext(ctx, "document accepted", "submission", s.ID, "account", accountID, "template", s.TemplateID, "test", s.Test)
	return s, nil
}

// latestVersion reads the version that a submission uses. What is no template's id
// is not asked for: it may hold what the database cannot even compare.
func (p *Pipeline) latestVersion(ctx context.Context, accountID, templateID string) (*platen.TemplateVersion, error) {
	if platen.KindOf(templateID) != platen.KindTemplate {
		return nil, storage.ErrNotFound
	}
	return p.DB.LatestTemplateVersion(ctx, accountID, templateID)
}

// Await returns the submission when it has left PENDING, or as it is after the
// patience is over; the work goes on after that.
func (p *Pipeline) Await(ctx context.Context, s *platen.Submission, patience time.Duration) (*platen.Submission, error) {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	scope := storage.Scope{AccountID: s.AccountID}
	seen, err := p.Hub.Await(waiting, scope, s.ID)
	if waiting.Err() != nil && ctx.Err() == nil {
		// The history can lag behind the rows: what counts is how it is now.
		return p.DB.Submission(ctx, scope, s.ID)
	}
	if err != nil || seen == nil {
		return s, err
	}
	return seen, nil
}
