package resolvers

import (
	"context"
	"encoding/json"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"platen"
	"platen/graph"
	"platen/pipeline"
	"platen/storage"
)

func toSubmission(s *platen.Submission) *graph.Submission {
	return &graph.Submission{ID: s.ID, State: s.State, Final: s.Final(), Test: s.Test, Output: s.Output, Metadata: s.Metadata, File: toFile(s.File),
		Failure: toFailure(s.Failure), CreatedAt: s.CreatedAt, ProcessedAt: s.ProcessedAt, ProcessingTimeMs: s.ProcessingTimeMS,
		ExpiresAt: s.ExpiresAt, Expired: s.ExpiredAt != nil, Revision: s.Revision, Source: s}
}

func toFile(f *platen.DocumentFile) *graph.DocumentFile {
	if f == nil {
		return nil
	}
	return &graph.DocumentFile{ContentType: f.ContentType, ByteSize: f.ByteSize, PageCount: orNull(f.PageCount), Sha256: f.SHA256,
		PasswordProtected: f.PasswordProtected}
}

func toFailure(f *platen.Failure) *graph.Failure {
	if f == nil {
		return nil
	}
	violations := make([]*graph.DataError, len(f.DataErrors))
	for i, v := range f.DataErrors {
		violations[i] = &graph.DataError{Pointer: v.Pointer, Keyword: v.Keyword, Message: v.Message}
	}
	return &graph.Failure{Stage: f.Stage, Code: string(f.Code), Message: f.Message, Retryable: f.Retryable, OccurredAt: f.OccurredAt, Path: f.Path,
		Line: orNull(f.Line), Column: orNull(f.Column), DataErrors: violations, ProviderCode: orNull(f.ProviderCode), Details: f.Details}
}

// maxWait is how long a call may be asked to wait for its document, in seconds.
const maxWait = 60

// patience reads for how long a call waits.
func patience(field graphql.Omittable[*int]) (time.Duration, platen.Errors) {
	var errs platen.Errors
	wait := given(field)
	if wait < 0 || wait > maxWait {
		errs.Add(platen.CodeInvalid, "wait is 0 to 60 seconds.", "wait")
	}
	return time.Duration(wait) * time.Second, errs
}

func (r mutation) CreateSubmission(ctx context.Context, input graph.CreateSubmissionInput) (*graph.CreateSubmissionPayload, error) {
	wait, errs := patience(input.Wait)
	key, mistakes := idempotencyKey(input.IdempotencyKey)
	shown, err := userErrors(append(errs, mistakes...).Err(), "input")
	if err != nil || len(shown) > 0 {
		return &graph.CreateSubmissionPayload{UserErrors: shown}, err
	}
	s, err := r.Pipeline.Submit(ctx, scope(ctx), key, fromSubmission(input))
	shown, err = userErrors(err, "input")
	if err != nil || len(shown) > 0 {
		return &graph.CreateSubmissionPayload{UserErrors: shown}, err
	}
	if s, err = pipeline.Await(ctx, r.Pipeline, s, wait); err != nil {
		return nil, err
	}
	return &graph.CreateSubmissionPayload{Submission: toSubmission(s), UserErrors: shown}, nil
}

// idempotencyKey reads a key; "" when there is none. A blank one is a mistake: whoever
// sends it thinks to be safe from doing things twice.
func idempotencyKey(field graphql.Omittable[*string]) (string, platen.Errors) {
	var errs platen.Errors
	key := field.Value()
	if key == nil {
		return "", nil
	}
	if *key == "" {
		errs.Add(platen.CodeRequired, "The idempotency key is empty: give one, or leave it out.", "idempotencyKey")
	}
	return *key, errs
}

func fromSubmission(input graph.CreateSubmissionInput) pipeline.Request {
	r := pipeline.Request{TemplateID: input.TemplateID.Value(), Version: input.TemplateVersion.Value(), Draft: input.Draft,
		HTML: input.HTML.Value(), CSS: input.CSS.Value(), HeaderHTML: input.HeaderHTML.Value(), FooterHTML: input.FooterHTML.Value(),
		URL: input.URL.Value(), Page: fromPage(input.Page.Value()), Output: input.Output, Data: input.Data.Value(), Metadata: input.Metadata.Value(),
		Test: input.Test.Value(), Expiry: expiry(input.ExpiresIn), Password: input.Password.Value(),
		PresignedUpload: fromPresignedUpload(input.PresignedUpload.Value())}
	if shot := input.Screenshot.Value(); shot != nil {
		r.Screenshot = &platen.Screenshot{Width: shot.Width, Height: shot.Height, DeviceScaleFactor: shot.DeviceScaleFactor,
			FullPage: shot.FullPage, Quality: given(shot.Quality), OmitBackground: shot.OmitBackground}
		if quality := shot.Quality.Value(); quality != nil && *quality == 0 {
			r.Screenshot.Quality = -1 // 0 is no quality: let it be refused
		}
	}
	return r
}

func expiry(field graphql.Omittable[*int]) pipeline.Expiry {
	return pipeline.Expiry{Set: field.IsSet(), Seconds: field.Value()}
}

func (r mutation) ExpireSubmission(ctx context.Context, id string) (*graph.ExpireSubmissionPayload, error) {
	s, err := r.Pipeline.ExpireSubmission(ctx, scope(ctx), id)
	shown, err := userErrors(err)
	if err != nil || len(shown) > 0 {
		return &graph.ExpireSubmissionPayload{UserErrors: shown}, err
	}
	return &graph.ExpireSubmissionPayload{Submission: toSubmission(s), UserErrors: shown}, nil
}

func (r query) Submission(ctx context.Context, id string) (*graph.Submission, error) {
	if platen.KindOf(id) != platen.KindSubmission {
		return nil, nil
	}
	s, err := r.DB.Submission(ctx, scope(ctx), id)
	return found(s, err, toSubmission)
}

func (r query) Submissions(ctx context.Context, first *int, after *string, last *int, before *string, filter *graph.SubmissionFilter) (*graph.SubmissionConnection, error) {
	p, err := page(first, after, last, before)
	if err != nil {
		return nil, err
	}
	chosen, err := fromSubmissionFilter(filter)
	if err != nil {
		return nil, err
	}
	within := scope(ctx)
	c := &graph.SubmissionConnection{AccountID: within.AccountID, TestOnly: within.TestOnly, Filter: chosen}
	c.Edges, c.Nodes, c.PageInfo, err = list(ctx, p,
		func(ctx context.Context, p storage.Page) ([]*platen.Submission, storage.PageInfo, error) {
			return r.DB.Submissions(ctx, within, chosen, p)
		},
		func(s *platen.Submission) (*graph.Submission, string) {
			return toSubmission(s), storage.Cursor(s.CreatedAt, s.ID)
		},
		func(cursor string, s *graph.Submission) *graph.SubmissionEdge {
			return &graph.SubmissionEdge{Cursor: cursor, Node: s}
		})
	return c, err
}

func fromSubmissionFilter(filter *graph.SubmissionFilter) (platen.SubmissionFilter, error) {
	if filter == nil {
		return platen.SubmissionFilter{}, nil
	}
	of, err := fromDocumentFilter(filter.States.Value(), filter.Test.Value(), filter.CreatedAt.Value(), filter.Metadata.Value())
	f := platen.SubmissionFilter{DocumentFilter: of, TemplateID: given(filter.TemplateID), BatchID: given(filter.BatchID)}
	for id, kind := range map[string]platen.Kind{f.TemplateID: platen.KindTemplate, f.BatchID: platen.KindBatch} {
		if id != "" && platen.KindOf(id) != kind {
			return f, badInput("The filter's id " + id + " is not of the kind that it asks for.")
		}
	}
	return f, err
}

// fromDocumentFilter reads what the filters of all documents have.
func fromDocumentFilter(states []platen.DocumentState, test *bool, within *graph.DateTimeRange, metadata json.RawMessage) (platen.DocumentFilter, error) {
	f := platen.DocumentFilter{States: states, Test: test, Metadata: metadata}
	if errs := platen.ValidateMetadata(f.Metadata); len(errs) > 0 && string(f.Metadata) != "null" {
		return f, badInput("The filter's metadata: " + errs[0].Message)
	}
	if within != nil {
		f.From, f.Until = within.From.Value(), within.Until.Value()
	}
	return f, nil
}

func (r submissionConnection) TotalCount(ctx context.Context, c *graph.SubmissionConnection) (int, error) {
	within := storage.Scope{AccountID: c.AccountID, TestOnly: c.TestOnly}
	return together(ctx, c, "totalCount", func(of []*graph.SubmissionConnection) ([]int, error) {
		if len(of) == 1 {
			n, err := r.DB.CountSubmissions(ctx, within, c.Filter)
			return []int{n}, err
		}
		// Those of several batches have the same filter otherwise.
		batch := func(c *graph.SubmissionConnection) string { return c.Filter.BatchID }
		counts, err := r.DB.CountSubmissionsOfBatches(ctx, within, ids(of, batch), c.Filter.States)
		return each(of, err, func(c *graph.SubmissionConnection) int { return counts[batch(c)] })
	})
}

func (r submission) Template(ctx context.Context, s *graph.Submission) (*graph.Template, error) {
	return templateOf(ctx, r.Root, s, func(s *graph.Submission) string { return s.Source.TemplateID })
}

func (r submission) TemplateVersion(ctx context.Context, s *graph.Submission) (*graph.TemplateVersion, error) {
	return related(ctx, s, "templateVersion", func(s *graph.Submission) string { return s.Source.TemplateVersionID },
		func(ids []string) (map[string]*platen.TemplateVersion, error) {
			return r.DB.TemplateVersionsByID(ctx, caller(ctx).AccountID, ids)
		}, toTemplateVersion)
}

func (r submission) Batch(ctx context.Context, s *graph.Submission) (*graph.SubmissionBatch, error) {
	return related(ctx, s, "batch", func(s *graph.Submission) string { return s.Source.BatchID },
		func(ids []string) (map[string]*platen.Batch, error) { return r.DB.BatchesByID(ctx, scope(ctx), ids) }, toBatch)
}

func (r submission) SourceHTML(ctx context.Context, s *graph.Submission) (*string, error) {
	return r.input(ctx, s, "sourceHtml", storage.InputHTML, func(s *platen.Submission) bool { return s.Source == platen.SourceHTML })
}

func (r submission) SourceURL(ctx context.Context, s *graph.Submission) (*string, error) {
	return r.input(ctx, s, "sourceUrl", storage.InputURL, func(s *platen.Submission) bool { return s.Source == platen.SourceURL })
}

func (r submission) Data(ctx context.Context, s *graph.Submission) (json.RawMessage, error) {
	data, err := r.input(ctx, s, "data", storage.InputData, func(*platen.Submission) bool { return true })
	if data == nil {
		return nil, err
	}
	return json.RawMessage(*data), err
}

// input reads a part of what those submissions are made of that have it.
func (r submission) input(ctx context.Context, s *graph.Submission, field string, part storage.SubmissionInput, has func(*platen.Submission) bool) (*string, error) {
	return related(ctx, s, field, func(s *graph.Submission) string {
		if !has(s.Source) {
			return ""
		}
		return s.ID
	}, func(ids []string) (map[string]*string, error) {
		return r.DB.SubmissionInputs(ctx, caller(ctx).AccountID, ids, part)
	}, func(text *string) *string { return text })
}

func (r submission) DownloadURL(_ context.Context, s *graph.Submission, expiresIn int) (*string, error) {
	return r.downloadURL(s.Source, expiresIn)
}

func (r *Root) downloadURL(document platen.AnyDocument, expiresIn int) (*string, error) {
	life := time.Duration(expiresIn) * time.Second
	if life < pipeline.MinDownloadLife || life > pipeline.MaxDownloadLife {
		return nil, badInput("expiresIn is 1 to 604800 seconds.")
	}
	return orNull(r.Pipeline.DownloadURL(document, life)), nil
}

func (r submission) Actions(ctx context.Context, s *graph.Submission, only *platen.ActionType) ([]*graph.Action, error) {
	return actionsOf(ctx, r.Root, s, func(s *graph.Submission) platen.AnyDocument { return s.Source }, only)
}

// actionsOf reads the actions of documents.
func actionsOf[O any](ctx context.Context, r *Root, obj *O, document func(*O) platen.AnyDocument, only *platen.ActionType) ([]*graph.Action, error) {
	return together(ctx, obj, "actions "+string(orZero(only)), func(objs []*O) ([][]*graph.Action, error) {
		// A PENDING document has none, whatever was committed since it was read; an
		// event, or a snapshot, brings its own.
		read := ids(objs, func(obj *O) string {
			d := document(obj).Common()
			if d.State == platen.DocumentPending || d.Actions != nil {
				return ""
			}
			return d.ID
		})
		actions := map[string][]*platen.Action{}
		var err error
		if len(read) > 0 {
			actions, err = r.DB.ActionsOf(ctx, caller(ctx).AccountID, read)
		}
		return each(objs, err, func(obj *O) []*graph.Action {
			d := document(obj).Common()
			of := d.Actions
			if of == nil {
				of = actions[d.ID]
			}
			return toActions(of, only)
		})
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
