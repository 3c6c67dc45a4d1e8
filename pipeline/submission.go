package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/riverqueue/river"

	"platen"
	"platen/storage"
)

// Request is what a caller wants rendered. Exactly one of TemplateID, HTML and URL is
// given. What is nil was not said, and is left out where calls are compared, so that a
// later release with a field more takes the same call for the same.
type Request struct {
	TemplateID *string `json:",omitzero"`
	Version    *int    `json:",omitzero"` // of the template; nil: its latest
	Draft      bool    `json:",omitzero"` // of the template, instead of a version
	HTML       *string `json:",omitzero"`
	CSS        *string `json:",omitzero"` // with HTML
	HeaderHTML *string `json:",omitzero"` // with HTML or URL
	FooterHTML *string `json:",omitzero"`
	URL        *string `json:",omitzero"`

	Page       platen.PageOverride `json:",omitzero"`
	Output     platen.OutputKind   `json:",omitzero"`
	Screenshot *platen.Screenshot  `json:",omitzero"`
	Data       json.RawMessage     `json:",omitzero"`
	Metadata   json.RawMessage     `json:",omitzero"`
	Test       *bool               `json:",omitzero"`
	Expiry     Expiry              `json:",omitzero"`
	Password   *string             `json:",omitzero"`
	// PresignedUpload is where the file goes besides the integrations.
	PresignedUpload *platen.PresignedUpload `json:",omitzero"`
}

// Expiry is after how many seconds a document expires. The zero value is what the
// template says; Set without Seconds is never.
type Expiry struct {
	Set     bool
	Seconds *int
}

// Submit accepts a document to be made: the submission and its job are committed
// together (R3.1). A call with a key that was used before returns what that call made
// (R3.9); "" is no key. The error is platen.Errors when the caller can mend it.
func (p *Pipeline) Submit(ctx context.Context, scope storage.Scope, key string, r Request) (*platen.Submission, error) {
	once, err := p.once(ctx, scope, "createSubmission", key, r)
	if err != nil {
		return nil, err
	}
	if once.ResultID != "" {
		return p.DB.Submission(ctx, scope, once.ResultID)
	}
	s, err := p.prepare(ctx, scope, r, versions{})
	if err != nil {
		return nil, err
	}
	ahead, err := p.admit(ctx, s.AccountID, 1)
	if err != nil {
		return nil, err
	}
	if err := p.accept(ctx, once, s.ID, nil, ahead, []*platen.Submission{s}); err != nil {
		return nil, err
	}
	if once.ResultID != "" {
		return p.DB.Submission(ctx, scope, once.ResultID)
	}
	p.Log.InfoContext(ctx, "document accepted", "submission", s.ID, "account", s.AccountID, "template", s.TemplateID, "test", s.Test)
	return s, nil
}

// admit lets an account have n documents more, or refuses them, and tells how many of it wait before
// them. What admission knows may be a second old; it is asked exactly where that decides the priority.
func (p *Pipeline) admit(ctx context.Context, accountID string, n int) (ahead int, err error) {
	most := priorities[len(priorities)-1]
	ahead, err = p.queue.admit(ctx, accountID, n)
	if err != nil || ahead == 0 || ahead >= 2*most {
		return ahead, err
	}
	return p.DB.CountWaiting(ctx, accountID, false, most)
}

// accept commits new submissions, and the batch that they are of if there is one, with
// their jobs, whose priority falls with how many of the account are ahead of them. If another call with the same key was first, nothing is made, and once
// says what that one made.
func (p *Pipeline) accept(ctx context.Context, once *once, resultID string, b *platen.Batch, ahead int, submissions []*platen.Submission) error {
	jobs := make([]river.InsertManyParams, len(submissions))
	for i, s := range submissions {
		jobs[i] = river.InsertManyParams{Args: renderArgs{AccountID: s.AccountID, SubmissionID: s.ID}, InsertOpts: &river.InsertOpts{Priority: priority(ahead + i)}}
	}
	err := p.DB.InTx(ctx, func(tx *storage.Tx) error {
		if err := once.claim(ctx, tx, resultID); err != nil || once.ResultID != "" {
			return err
		}
		if b != nil {
			if err := tx.CreateBatch(ctx, b); err != nil {
				return err
			}
		}
		if err := tx.CreateSubmissions(ctx, submissions); err != nil {
			return err
		}
		_, err := p.river.InsertManyFastTx(ctx, tx.SQL(), jobs)
		return err
	})
	if err == nil {
		p.Hub.Nudge()
	}
	return err
}

// priorities are how many documents of an account wait at least where a further one has
// the priority 2, 3 and 4. Only the first of an account is of the first: however much one
// account sends, the first of another is next but one at the latest.
var priorities = []int{1, 20, 400}

// priority of a document falls with the number of those of its account that wait
// already: a flood goes behind, and keeps no other account waiting.
func priority(waiting int) int {
	p := 1
	for _, limit := range priorities {
		if waiting >= limit {
			p++
		}
	}
	return p
}

// versions are the templates' versions and drafts that one call has read already: the
// submissions of a batch mostly have the same.
type versions map[string]*source

// source is a template as a submission uses it.
type source struct {
	template *platen.Template
	version  *platen.TemplateVersion // nil: the draft
	content  platen.TemplateContent  // of a version, its page settings alone
	mistake  *platen.Error           // why it cannot be used
}

// prepare makes a submission of a request, or says all that is wrong with it.
func (p *Pipeline) prepare(ctx context.Context, scope storage.Scope, r Request, known versions) (*platen.Submission, error) {
	s := &platen.Submission{Document: newDocument(scope, platen.KindSubmission), Output: r.Output, Screenshot: r.Screenshot, Data: r.Data}
	if s.Output != platen.OutputPDF && s.Screenshot == nil {
		s.Screenshot = new(platen.DefaultScreenshot())
	}
	errs := r.conflicts(scope)
	if r.Test != nil {
		s.Test = *r.Test
	}
	asked := wishes{metadata: r.Metadata, expireAfter: r.Expiry.Seconds, password: r.Password, presignedUpload: r.PresignedUpload}
	switch {
	case len(errs) > 0 && errs[0].Path == nil:
		return nil, errs // without one source, nothing else can be judged
	case r.TemplateID != nil:
		of, err := p.source(ctx, scope.AccountID, *r.TemplateID, r.Version, r.Draft, known)
		if err != nil {
			return nil, err
		}
		if of.mistake != nil {
			mistake := *of.mistake // its path is made longer for each that meets it
			return nil, append(errs, &mistake)
		}
		content := of.content
		s.Source, s.TemplateID, s.TemplateName = platen.SourceDraft, of.template.ID, of.template.Name
		if of.version != nil {
			s.Source, s.TemplateVersionID, s.TemplateVersionNumber = platen.SourceTemplate, of.version.ID, of.version.Number
		} else {
			s.Test = true
		}
		s.Content = &content
		if !r.Expiry.Set {
			asked.expireAfter = of.template.ExpireAfter
		}
	default:
		s.Source = platen.SourceHTML
		content := platen.TemplateContent{HTML: orZero(r.HTML), CSS: orZero(r.CSS), HeaderHTML: orZero(r.HeaderHTML),
			FooterHTML: orZero(r.FooterHTML), Page: platen.DefaultPageSettings()}
		if r.URL != nil {
			s.Source, s.URL = platen.SourceURL, *r.URL
		}
		s.Content = &content
		syntax, err := p.checkLiquid(ctx, content)
		if err != nil {
			return nil, err
		}
		errs = append(errs, syntax...)
	}
	s.Content.Page = r.Page.Over(s.Content.Page)
	errs = append(errs, asked.check(s, s.Output)...)
	errs = append(errs, s.Validate()...)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	return s, p.seal(s, asked)
}

// conflicts finds what cannot be given together. That there is not exactly one source
// comes first, without a path.
func (r Request) conflicts(scope storage.Scope) platen.Errors {
	var errs platen.Errors
	given := 0
	for _, source := range []*string{r.TemplateID, r.HTML, r.URL} {
		if source != nil {
			given++
		}
	}
	if given != 1 {
		errs.Add(platen.CodeInvalid, "Give exactly one of templateId, html and url.")
		return errs
	}
	refuse := func(wrong bool, field, message string) {
		if wrong {
			errs.Add(platen.CodeInvalid, message, field)
		}
	}
	const ofTemplates = "This goes with templateId: HTML and addresses have no versions."
	refuse(r.TemplateID == nil && r.Version != nil, "templateVersion", ofTemplates)
	refuse(r.TemplateID == nil && r.Draft, "draft", ofTemplates)
	refuse(r.Draft && r.Version != nil, "templateVersion", "Give either a version or the draft.")
	refuse(r.HTML == nil && r.CSS != nil, "css", "This goes with html; a template has its own.")
	const ownParts = "This goes with html or url; a template has its own."
	refuse(r.TemplateID != nil && r.HeaderHTML != nil, "headerHtml", ownParts)
	refuse(r.TemplateID != nil && r.FooterHTML != nil, "footerHtml", ownParts)
	switch {
	case r.Test == nil || *r.Test:
	case scope.TestOnly:
		errs.Add(platen.CodeForbidden, "A test token makes test documents only: leave test out, or use a live token.", "test")
	case r.Draft:
		errs.Add(platen.CodeInvalid, "A draft makes test documents only: say test: true, or publish the draft and use the version.", "test")
	}
	return errs
}

// source finds the version of a template that a submission uses, or its draft. What is
// no template's id is not asked for: it may hold what the database cannot even compare.
func (p *Pipeline) source(ctx context.Context, accountID, templateID string, number *int, draft bool, known versions) (*source, error) {
	name := fmt.Sprint(templateID, " ", orZero(number), " ", number == nil, draft)
	if of := known[name]; of != nil {
		return of, nil
	}
	of, err := p.findSource(ctx, accountID, templateID, number, draft)
	if err == nil {
		known[name] = of
	}
	return of, err
}

func (p *Pipeline) findSource(ctx context.Context, accountID, templateID string, number *int, draft bool) (*source, error) {
	mistake := func(code platen.ErrorCode, field, message string) (*source, error) {
		one := &platen.Error{Code: code, Path: []string{field}, Message: message}
		if code == platen.CodeNotFound {
			one.ID = templateID
		}
		return &source{mistake: one}, nil
	}
	missing := func() (*source, error) {
		return mistake(platen.CodeNotFound, "templateId", "There is no template with this id in this account.")
	}
	if platen.KindOf(templateID) != platen.KindTemplate {
		return missing()
	}
	read := p.DB.Template
	if draft {
		read = p.DB.TemplateWithDraft
	}
	template, err := read(ctx, accountID, templateID)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return missing()
	case err != nil:
		return nil, err
	case template.ArchivedAt != nil:
		return mistake(platen.CodeConflict, "templateId", "The template is archived and takes no new submissions. Use another, or unarchive it with updateTemplate.")
	case draft:
		return &source{template: template, content: *template.Draft}, nil
	case template.LatestVersion == 0:
		return mistake(platen.CodeConflict, "templateId", "The template was never published. Publish it with publishTemplate, or use its draft with draft: true.")
	}
	if number == nil {
		number = &template.LatestVersion
	}
	version, err := p.published(ctx, accountID, templateID, *number)
	if errors.Is(err, storage.ErrNotFound) {
		return mistake(platen.CodeNotFound, "templateVersion", fmt.Sprintf("The template has no version %d; the latest is %d.", *number, template.LatestVersion))
	}
	return &source{template: template, version: version.version, content: platen.TemplateContent{Page: version.page}}, err
}

// published is what accepting a document needs of a version of a template. It never changes.
type published struct {
	version *platen.TemplateVersion
	page    platen.PageSettings
}

// publishedKey names a version as callers do.
type publishedKey struct {
	accountID, templateID string
	number                int
}

// maxPublished versions are kept, each at about 1 KB; then all are read anew.
const maxPublished = 10_000

// published reads a version, once as long as it is kept.
func (p *Pipeline) published(ctx context.Context, accountID, templateID string, number int) (of published, err error) {
	key := publishedKey{accountID, templateID, number}
	p.mu.Lock()
	of, known := p.versions[key]
	p.mu.Unlock()
	if known {
		return of, nil
	}
	numbered, err := p.DB.TemplateVersionsByNumber(ctx, accountID, []string{templateID}, number)
	if err == nil && numbered[templateID] == nil {
		err = storage.ErrNotFound
	}
	if err != nil {
		return of, err
	}
	of.version = numbered[templateID]
	if of.page, err = p.DB.VersionPage(ctx, accountID, of.version.ID); err != nil {
		return of, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.versions) >= maxPublished {
		clear(p.versions)
	}
	p.versions[key] = of
	return of, nil
}
