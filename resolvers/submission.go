package resolvers

import (
	"context"
	"encoding/json"
	"time"

	"platen"
	"platen/graph"
	"platen/pipeline"
	"platen/storage"
)

func toSubmission(s *platen.Submission) *graph.Submission {
	g := &graph.Submission{ID: s.ID, State: s.State, Final: s.Final(), Test: s.Test, Metadata: s.Metadata, Failure: toFailure(s.Failure),
		CreatedAt: s.CreatedAt, ProcessedAt: s.ProcessedAt, ProcessingTimeMs: s.ProcessingTimeMS, Revision: s.Revision, Source: s}
	if f := s.File; f != nil {
		g.File = &graph.DocumentFile{ContentType: f.ContentType, ByteSize: f.ByteSize, PageCount: &f.PageCount, Sha256: f.SHA256}
	}
	return g
}

func toFailure(f *platen.Failure) *graph.Failure {
	if f == nil {
		return nil
	}
	return &graph.Failure{Stage: f.Stage, Code: string(f.Code), Message: f.Message, Retryable: f.Retryable, OccurredAt: f.OccurredAt,
		Path: f.Path, Line: orNull(f.Line), Column: orNull(f.Column), ProviderCode: orNull(f.ProviderCode), Details: f.Details}
}

// maxWait is how long createSubmission may be asked to wait, in seconds.
const maxWait = 60

func (r mutation) CreateSubmission(ctx context.Context, input graph.CreateSubmissionInput) (*graph.CreateSubmissionPayload, error) {
	token := caller(ctx)
	request := pipeline.Request{TemplateID: given(input.TemplateID), Page: fromPage(input.Page.Value()),
		Data: input.Data.Value(), Metadata: input.Metadata.Value(), Test: token.TestOnly(),
		PresignedUpload: fromPresignedUpload(input.PresignedUpload.Value())}
	var errs platen.Errors
	if test := input.Test.Value(); test != nil {
		if token.TestOnly() && !*test {
			errs.Add(platen.CodeForbidden, "A test token makes test documents only: leave test out, or use a live token.", "test")
		}
		request.Test = *test
	}
	if html := input.HTML.Value(); html != nil {
		request.Content = &platen.TemplateContent{HTML: *html, CSS: given(input.CSS), HeaderHTML: given(input.HeaderHTML),
			FooterHTML: given(input.FooterHTML), Page: platen.DefaultPageSettings()}
	} else {
		for _, part := range []struct {
			name  string
			value *string
		}{{"css", input.CSS.Value()}, {"headerHtml", input.HeaderHTML.Value()}, {"footerHtml", input.FooterHTML.Value()}} {
			if part.value != nil {
				errs.Add(platen.CodeInvalid, "This goes with html; a template has its own.", part.name)
			}
		}
	}
	wait := given(input.Wait)
	if wait < 0 || wait > maxWait {
		errs.Add(platen.CodeInvalid, "wait is 0 to 60 seconds.", "wait")
	}
	if shown, err := userErrors(errs.Err(), "input"); err != nil || len(shown) > 0 {
		return &graph.CreateSubmissionPayload{UserErrors: shown}, err
	}
	s, err := r.Pipeline.Submit(ctx, token.AccountID, request)
	shown, err := userErrors(err, "input")
	if err != nil || len(shown) > 0 {
		return &graph.CreateSubmissionPayload{UserErrors: shown}, err
	}
	if wait > 0 {
		if s, err = r.Pipeline.Await(ctx, s, time.Duration(wait)*time.Second); err != nil {
			return nil, err
		}
	}
	return &graph.CreateSubmissionPayload{Submission: toSubmission(s), UserErrors: shown}, nil
}

func (r query) Submission(ctx context.Context, id string) (*graph.Submission, error) {
	if platen.KindOf(id) != platen.KindSubmission {
		return nil, nil
	}
	s, err := r.DB.Submission(ctx, scope(ctx), id)
	return found(s, err, toSubmission)
}

func (r query) Submissions(ctx context.Context, first *int, after *string, last *int, before *string) (*graph.SubmissionConnection, error) {
	p, err := page(first, after, last, before)
	if err != nil {
		return nil, err
	}
	within := scope(ctx)
	c := &graph.SubmissionConnection{AccountID: within.AccountID, TestOnly: within.TestOnly}
	c.Edges, c.Nodes, c.PageInfo, err = list(ctx, p,
		func(ctx context.Context, p storage.Page) ([]*platen.Submission, storage.PageInfo, error) {
			return r.DB.Submissions(ctx, within, p)
		},
		func(s *platen.Submission) (*graph.Submission, string) {
			return toSubmission(s), storage.Cursor(s.CreatedAt, s.ID)
		},
		func(cursor string, s *graph.Submission) *graph.SubmissionEdge {
			return &graph.SubmissionEdge{Cursor: cursor, Node: s}
		})
	return c, err
}

func (r submissionConnection) TotalCount(ctx context.Context, c *graph.SubmissionConnection) (int, error) {
	return r.DB.CountSubmissions(ctx, storage.Scope{AccountID: c.AccountID, TestOnly: c.TestOnly})
}

// ids collects an id of each object, leaving out the empty ones.
func ids[T any](objs []T, id func(T) string) []string {
	var all []string
	for _, obj := range objs {
		if one := id(obj); one != "" {
			all = append(all, one)
		}
	}
	return all
}

func (r submission) Template(ctx context.Context, objs []*graph.Submission) ([]*graph.Template, error) {
	id := func(s *graph.Submission) string { return s.Source.TemplateID }
	templates, err := r.DB.TemplatesByID(ctx, caller(ctx).AccountID, ids(objs, id))
	return each(objs, err, func(s *graph.Submission) *graph.Template {
		if t := templates[id(s)]; t != nil {
			return toTemplate(t)
		}
		return nil
	})
}

func (r submission) TemplateVersion(ctx context.Context, objs []*graph.Submission) ([]*graph.TemplateVersion, error) {
	id := func(s *graph.Submission) string { return s.Source.TemplateVersionID }
	versions, err := r.DB.TemplateVersionsByID(ctx, caller(ctx).AccountID, ids(objs, id))
	return each(objs, err, func(s *graph.Submission) *graph.TemplateVersion {
		if v := versions[id(s)]; v != nil {
			return toTemplateVersion(v)
		}
		return nil
	})
}

// each makes a batch resolver's answer, one for each object.
func each[O, A any](objs []O, err error, answer func(O) A) ([]A, error) {
	if err != nil {
		return nil, err
	}
	answers := make([]A, len(objs))
	for i, obj := range objs {
		answers[i] = answer(obj)
	}
	return answers, nil
}

func (r submission) SourceHTML(ctx context.Context, s *graph.Submission) (*string, error) {
	if s.Source.TemplateID != "" {
		return nil, nil
	}
	whole, err := r.content(ctx, s)
	if err != nil {
		return nil, err
	}
	return &whole.Content.HTML, nil
}

func (r submission) Data(ctx context.Context, s *graph.Submission) (json.RawMessage, error) {
	whole, err := r.content(ctx, s)
	if err != nil {
		return nil, err
	}
	return whole.Data, nil
}

// content reads what a submission is made of into a copy: an event's submission is
// shared by all its subscribers.
func (r submission) content(ctx context.Context, s *graph.Submission) (*platen.Submission, error) {
	whole := *s.Source
	return &whole, r.DB.SubmissionContent(ctx, &whole)
}

func (r submission) DownloadURL(_ context.Context, s *graph.Submission, expiresIn int) (*string, error) {
	life := time.Duration(expiresIn) * time.Second
	if life < pipeline.MinDownloadLife || life > pipeline.MaxDownloadLife {
		return nil, badInput("expiresIn is 1 to 604800 seconds.")
	}
	return orNull(r.Pipeline.DownloadURL(s.Source, life)), nil
}

func (r submission) Actions(ctx context.Context, objs []*graph.Submission, only *platen.ActionType) ([][]*graph.Action, error) {
	// A PENDING document has none, whatever was committed since it was read; an
	// event, or a snapshot, brings its own.
	read := ids(objs, func(s *graph.Submission) string {
		if s.Source.State == platen.DocumentPending || s.Source.Actions != nil {
			return ""
		}
		return s.ID
	})
	actions := map[string][]*platen.Action{}
	var err error
	if len(read) > 0 {
		actions, err = r.DB.ActionsOf(ctx, caller(ctx).AccountID, read)
	}
	return each(objs, err, func(s *graph.Submission) []*graph.Action {
		of := s.Source.Actions
		if of == nil {
			of = actions[s.ID]
		}
		return toActions(of, only)
	})
}

// toActions translates actions of one type, or of all.
func toActions(actions []*platen.Action, only *platen.ActionType) []*graph.Action {
	shown := []*graph.Action{}
	for _, a := range actions {
		if only == nil || a.Type == *only {
			shown = append(shown, toAction(a))
		}
	}
	return shown
}
