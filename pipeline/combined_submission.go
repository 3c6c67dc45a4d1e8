package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/riverqueue/river"

	"platen"
	"platen/storage"
)

// CombineRequest is what a caller wants merged. What is nil was not said.
type CombineRequest struct {
	Sources         []SourceRequest
	Metadata        json.RawMessage         `json:",omitzero"`
	Test            *bool                   `json:",omitzero"`
	ExpiresIn       *int                    `json:",omitzero"` // seconds; nil: never
	Password        *string                 `json:",omitzero"`
	PresignedUpload *platen.PresignedUpload `json:",omitzero"`
}

// SourceRequest is one source. Exactly one of the ids and URL is given; Version goes
// with TemplateID, nil being the latest.
type SourceRequest struct {
	SubmissionID         *string `json:",omitzero"`
	CombinedSubmissionID *string `json:",omitzero"`
	TemplateID           *string `json:",omitzero"`
	Version              *int    `json:",omitzero"`
	UploadID             *string `json:",omitzero"`
	URL                  *string `json:",omitzero"`
}

// partLife bounds the life of what is made of a template's version for one combined
// submission. Mostly it ends much sooner: with the merge.
const partLife = 7 * 24 * time.Hour

// Combine accepts documents to be merged into one, as soon as all of them are there
// (R4.1). A call with a key that was used before returns what that call made (R3.9); ""
// is no key. The error is platen.Errors when the caller can mend it.
func (p *Pipeline) Combine(ctx context.Context, scope storage.Scope, key string, r CombineRequest) (*platen.CombinedSubmission, error) {
	once, err := p.once(ctx, scope, "createCombinedSubmission", key, r)
	if err != nil {
		return nil, err
	}
	var c *platen.CombinedSubmission
	if once.ResultID == "" {
		if c, err = p.combine(ctx, scope, once, r); err != nil {
			return nil, err
		}
	}
	if once.ResultID != "" {
		return p.DB.CombinedSubmission(ctx, scope, once.ResultID)
	}
	p.Hub.Nudge()
	p.Log.InfoContext(ctx, "combined document accepted", "document", c.ID, "account", c.AccountID, "sources", len(c.Sources), "waiting", c.Waiting, "test", c.Test)
	return c, nil
}

// combine accepts a combined submission: it judges its sources, some of them locked, and
// commits it with what is made for it alone and with its job, if it need not wait. If
// another call with the same key was first, once says what that one made.
func (p *Pipeline) combine(ctx context.Context, scope storage.Scope, once *once, r CombineRequest) (*platen.CombinedSubmission, error) {
	c := &platen.CombinedSubmission{Document: newDocument(scope, platen.KindCombined)}
	asked := wishes{metadata: r.Metadata, expireAfter: r.ExpiresIn, password: r.Password, presignedUpload: r.PresignedUpload}
	errs := asked.check(c, platen.OutputPDF)
	errs = append(errs, platen.ValidateMetadata(c.Metadata)...)
	switch {
	case len(r.Sources) == 0:
		errs.Add(platen.CodeRequired, "Give one source at least.", "sources")
	case len(r.Sources) > platen.MaxSources:
		errs.Add(platen.CodeTooLarge, fmt.Sprintf("A combined submission has at most %d sources; these are %d.", platen.MaxSources, len(r.Sources)), "sources")
	}
	if scope.TestOnly && r.Test != nil && !*r.Test {
		errs.Add(platen.CodeForbidden, "A test token makes test documents only: leave test out, or use a live token.", "test")
	}
	if len(errs) > 0 {
		return nil, errs
	}
	c.Test = scope.TestOnly || orZero(r.Test)
	parts, errs, err := p.sources(ctx, scope, c, r)
	if err != nil {
		return nil, err
	}
	if len(errs) > 0 {
		return nil, errs
	}
	if err := p.seal(c, asked); err != nil {
		return nil, err
	}
	if _, err := p.queue.admit(ctx, c.AccountID, 1+len(parts)); err != nil {
		return nil, err
	}
	waiting := 0
	if len(parts) > 0 {
		if waiting, err = p.DB.CountWaiting(ctx, c.AccountID, true, priorities[len(priorities)-1]); err != nil {
			return nil, err
		}
	}
	err = p.DB.InTx(ctx, func(tx *storage.Tx) error {
		if err := once.claim(ctx, tx, c.ID); err != nil || once.ResultID != "" {
			return err
		}
		if err := p.lockSources(ctx, tx, scope, c, r); err != nil {
			return err
		}
		c.Waiting += len(parts)
		if len(parts) > 0 {
			jobs := make([]river.InsertManyParams, len(parts))
			for i, s := range parts {
				s.Test = c.Test
				jobs[i] = river.InsertManyParams{Args: renderArgs{AccountID: s.AccountID, SubmissionID: s.ID}, InsertOpts: &river.InsertOpts{Priority: priority(waiting + i)}}
			}
			if err := tx.CreateSubmissions(ctx, parts); err != nil {
				return err
			}
			if _, err := p.river.InsertManyFastTx(ctx, tx.SQL(), jobs); err != nil {
				return err
			}
		}
		if err := tx.CreateCombinedSubmission(ctx, c); err != nil {
			return err
		}
		if c.Waiting > 0 {
			return nil // whoever finishes the last of them inserts the job
		}
		return p.insertCombines(ctx, tx, c.AccountID, []string{c.ID})
	})
	return c, err
}

// sources fills in the sources of a combined submission, and judges all that need not be
// locked. It returns the submissions that have to be made of templates' versions for it.
func (p *Pipeline) sources(ctx context.Context, scope storage.Scope, c *platen.CombinedSubmission, r CombineRequest) (parts []*platen.Submission, errs platen.Errors, err error) {
	var uploadIDs []string
	for _, one := range r.Sources {
		if one.UploadID != nil && platen.KindOf(*one.UploadID) == platen.KindUpload {
			uploadIDs = append(uploadIDs, *one.UploadID)
		}
	}
	uploads, err := p.DB.UploadsByID(ctx, scope, uploadIDs)
	if err != nil {
		return nil, nil, err
	}
	known := versions{}
	for i, one := range r.Sources {
		if len(errs) >= maxMistakes {
			break
		}
		source := &platen.CombinedSource{}
		c.Sources = append(c.Sources, source)
		add := func(code platen.ErrorCode, id, message string, path ...string) {
			errs = append(errs, &platen.Error{Code: code, ID: id, Path: append([]string{"sources", strconv.Itoa(i)}, path...), Message: message})
		}
		switch {
		case one.given() != 1:
			add(platen.CodeInvalid, "", "Give exactly one of submissionId, combinedSubmissionId, template, uploadId and url.")
		case one.SubmissionID != nil:
			if source.DocumentID = *one.SubmissionID; platen.KindOf(source.DocumentID) != platen.KindSubmission {
				add(platen.CodeNotFound, source.DocumentID, "There is no submission with this id in this account.", "submissionId")
			}
		case one.CombinedSubmissionID != nil:
			if source.DocumentID = *one.CombinedSubmissionID; platen.KindOf(source.DocumentID) != platen.KindCombined {
				add(platen.CodeNotFound, source.DocumentID, "There is no combined submission with this id in this account.", "combinedSubmissionId")
			}
		case one.UploadID != nil:
			source.UploadID = *one.UploadID
			switch u := uploads[source.UploadID]; {
			case u == nil:
				add(platen.CodeNotFound, source.UploadID, "There is no upload with this id in this account.", "uploadId")
			case u.ExpiredAt != nil:
				add(platen.CodeConflict, "", "The upload has expired and its bytes are deleted: upload the file again.", "uploadId")
			case u.ReceivedAt == nil:
				add(platen.CodeConflict, "", "The bytes of the upload have not arrived yet: PUT them to its request.url first.", "uploadId")
			}
		case one.URL != nil:
			if mistakes := platen.ValidateAddress(*one.URL); len(mistakes) > 0 {
				errs = append(errs, mistakes.At("sources", strconv.Itoa(i))...)
				continue
			}
			source.URL = platen.AddressWithoutSecrets(*one.URL)
			if source.Address, err = p.Keyring.Encrypt([]byte(*one.URL), addressContext(c, i)); err != nil {
				return nil, nil, err
			}
		default:
			of, err := p.source(ctx, scope.AccountID, *one.TemplateID, one.Version, false, known)
			if err != nil {
				return nil, nil, err
			}
			if of.mistake != nil {
				field := map[string]string{"templateId": "id", "templateVersion": "version"}[of.mistake.Path[0]]
				add(of.mistake.Code, of.mistake.ID, of.mistake.Message, "template", field)
				continue
			}
			content := of.content
			s := &platen.Submission{Document: newDocument(scope, platen.KindSubmission), Preview: true, Source: platen.SourceTemplate, Output: platen.OutputPDF,
				TemplateID: of.template.ID, TemplateName: of.template.Name, TemplateVersionID: of.version.ID, TemplateVersionNumber: of.version.Number,
				Content: &content} // and the version's sample data
			s.Metadata, s.ExpiresAt = c.Metadata, new(time.Now().Add(partLife).UTC().Truncate(time.Microsecond))
			source.DocumentID, source.TemplateVersionID = s.ID, of.version.ID
			parts = append(parts, s)
		}
	}
	return parts, errs, nil
}

func (r SourceRequest) given() (n int) {
	for _, one := range []*string{r.SubmissionID, r.CombinedSubmissionID, r.TemplateID, r.UploadID, r.URL} {
		if one != nil {
			n++
		}
	}
	return n
}

// lockSources judges the documents among the sources while none of them can change, and
// counts those that have to be waited for. One test document makes the whole a test.
func (p *Pipeline) lockSources(ctx context.Context, tx *storage.Tx, scope storage.Scope, c *platen.CombinedSubmission, r CombineRequest) error {
	var ids []string
	for _, source := range c.Sources {
		if source.DocumentID != "" && source.TemplateVersionID == "" {
			ids = append(ids, source.DocumentID)
		}
	}
	documents := map[string]platen.AnyDocument{}
	if len(ids) > 0 {
		var err error
		if documents, err = tx.LockParts(ctx, scope, ids); err != nil {
			return err
		}
	}
	var errs platen.Errors
	pending := map[string]bool{}
	for i, source := range c.Sources {
		if len(errs) >= maxMistakes {
			break
		}
		if source.DocumentID == "" || source.TemplateVersionID != "" {
			continue
		}
		field, name := "submissionId", "submission"
		if platen.KindOf(source.DocumentID) == platen.KindCombined {
			field, name = "combinedSubmissionId", "combined submission"
		}
		add := func(code platen.ErrorCode, id, message string) {
			errs = append(errs, &platen.Error{Code: code, ID: id, Path: []string{"sources", strconv.Itoa(i), field}, Message: message})
		}
		document := documents[source.DocumentID]
		s, isSubmission := document.(*platen.Submission)
		if document == nil || isSubmission && s.Preview {
			add(platen.CodeNotFound, source.DocumentID, "There is no "+name+" with this id in this account.")
			continue
		}
		d := document.Common()
		switch {
		case isSubmission && s.Output != platen.OutputPDF:
			add(platen.CodeInvalid, "", fmt.Sprintf("Only PDFs can be combined; this submission is a %s.", s.Output))
		case d.State == platen.DocumentFailed, d.State == platen.DocumentInvalidData:
			add(platen.CodeConflict, "", fmt.Sprintf("The %s is %s, so there is nothing to combine: see its failure.", name, d.State))
		case d.ExpiredAt != nil:
			add(platen.CodeConflict, "", "The "+name+" has expired, so its copy is deleted: make it again.")
		case d.File != nil && d.File.PasswordProtected:
			add(platen.CodeInvalid, "", "The "+name+" has a password, which nobody knows any more but its readers. Make it without, and give the password to the combined submission.")
		}
		if d.Test && !c.Test {
			if r.Test != nil {
				errs.Add(platen.CodeInvalid, fmt.Sprintf("Source %d is a test document, so this cannot be a live one: leave test out, or take live sources.", i), "test")
				return errs
			}
			c.Test = true
		}
		if d.State == platen.DocumentPending {
			pending[d.ID] = true
		}
	}
	c.Waiting = len(pending)
	return errs.Err()
}

// addressContext binds the encrypted address of a source to its place.
func addressContext(c *platen.CombinedSubmission, index int) string {
	return fmt.Sprint(c.ID, " source ", index)
}
