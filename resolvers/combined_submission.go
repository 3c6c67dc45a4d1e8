package resolvers

import (
	"context"
	"iter"
	"time"

	"platen"
	"platen/feed"
	"platen/graph"
	"platen/pipeline"
	"platen/storage"
)

func toCombined(c *platen.CombinedSubmission) *graph.CombinedSubmission {
	return &graph.CombinedSubmission{ID: c.ID, State: c.State, Final: c.Final(), Test: c.Test, Metadata: c.Metadata, File: toFile(c.File),
		Failure: toFailure(c.Failure), CreatedAt: c.CreatedAt, ProcessedAt: c.ProcessedAt, ProcessingTimeMs: c.ProcessingTimeMS,
		ExpiresAt: c.ExpiresAt, Expired: c.ExpiredAt != nil, Revision: c.Revision, Source: c}
}

// anyDocument is a document wherever the schema has one of several kinds.
type anyDocument interface {
	graph.Document
	graph.CombinedSource
	graph.ActionSubject
}

func toDocument(document platen.AnyDocument) anyDocument {
	if c, ok := document.(*platen.CombinedSubmission); ok {
		return toCombined(c)
	}
	return toSubmission(document.(*platen.Submission))
}

func (r mutation) CreateCombinedSubmission(ctx context.Context, input graph.CreateCombinedSubmissionInput) (*graph.CreateCombinedSubmissionPayload, error) {
	key, errs := idempotencyKey(input.IdempotencyKey)
	wait, mistakes := patience(input.Wait)
	shown, err := userErrors(append(errs, mistakes...).Err(), "input")
	if err != nil || len(shown) > 0 {
		return &graph.CreateCombinedSubmissionPayload{UserErrors: shown}, err
	}
	request := pipeline.CombineRequest{Metadata: input.Metadata.Value(), Test: input.Test.Value(), ExpiresIn: input.ExpiresIn.Value(),
		Password: input.Password.Value(), PresignedUpload: fromPresignedUpload(input.PresignedUpload.Value())}
	for _, source := range input.Sources {
		one := pipeline.SourceRequest{SubmissionID: source.SubmissionID.Value(), CombinedSubmissionID: source.CombinedSubmissionID.Value(),
			UploadID: source.UploadID.Value(), URL: source.URL.Value()}
		if template := source.Template.Value(); template != nil {
			one.TemplateID, one.Version = &template.ID, template.Version.Value()
		}
		request.Sources = append(request.Sources, one)
	}
	c, err := r.Pipeline.Combine(ctx, scope(ctx), key, request)
	shown, err = userErrors(err, "input")
	if err != nil || len(shown) > 0 {
		return &graph.CreateCombinedSubmissionPayload{UserErrors: shown}, err
	}
	if c, err = pipeline.Await(ctx, r.Pipeline, c, wait); err != nil {
		return nil, err
	}
	return &graph.CreateCombinedSubmissionPayload{CombinedSubmission: toCombined(c), UserErrors: shown}, nil
}

func (r mutation) ExpireCombinedSubmission(ctx context.Context, id string) (*graph.ExpireCombinedSubmissionPayload, error) {
	c, err := r.Pipeline.ExpireCombinedSubmission(ctx, scope(ctx), id)
	shown, err := userErrors(err)
	if err != nil || len(shown) > 0 {
		return &graph.ExpireCombinedSubmissionPayload{UserErrors: shown}, err
	}
	return &graph.ExpireCombinedSubmissionPayload{CombinedSubmission: toCombined(c), UserErrors: shown}, nil
}

func (r query) CombinedSubmission(ctx context.Context, id string) (*graph.CombinedSubmission, error) {
	if platen.KindOf(id) != platen.KindCombined {
		return nil, nil
	}
	c, err := r.DB.CombinedSubmission(ctx, scope(ctx), id)
	return found(c, err, toCombined)
}

func (r query) CombinedSubmissions(ctx context.Context, first *int, after *string, last *int, before *string, filter *graph.CombinedSubmissionFilter) (*graph.CombinedSubmissionConnection, error) {
	p, err := page(first, after, last, before)
	if err != nil {
		return nil, err
	}
	var chosen platen.DocumentFilter
	if filter != nil {
		if chosen, err = fromDocumentFilter(filter.States.Value(), filter.Test.Value(), filter.CreatedAt.Value(), filter.Metadata.Value()); err != nil {
			return nil, err
		}
	}
	within := scope(ctx)
	c := &graph.CombinedSubmissionConnection{AccountID: within.AccountID, TestOnly: within.TestOnly, Filter: chosen}
	c.Edges, c.Nodes, c.PageInfo, err = list(ctx, p,
		func(ctx context.Context, p storage.Page) ([]*platen.CombinedSubmission, storage.PageInfo, error) {
			return r.DB.CombinedSubmissions(ctx, within, chosen, p)
		},
		func(c *platen.CombinedSubmission) (*graph.CombinedSubmission, string) {
			return toCombined(c), storage.Cursor(c.CreatedAt, c.ID)
		},
		func(cursor string, c *graph.CombinedSubmission) *graph.CombinedSubmissionEdge {
			return &graph.CombinedSubmissionEdge{Cursor: cursor, Node: c}
		})
	return c, err
}

func (r combinedConnection) TotalCount(ctx context.Context, c *graph.CombinedSubmissionConnection) (int, error) {
	return r.DB.CountCombinedSubmissions(ctx, storage.Scope{AccountID: c.AccountID, TestOnly: c.TestOnly}, c.Filter)
}

func (r combined) DownloadURL(_ context.Context, c *graph.CombinedSubmission, expiresIn int) (*string, error) {
	return r.downloadURL(c.Source, expiresIn)
}

func (r combined) Actions(ctx context.Context, c *graph.CombinedSubmission, only *platen.ActionType) ([]*graph.Action, error) {
	return actionsOf(ctx, r.Root, c, func(c *graph.CombinedSubmission) platen.AnyDocument { return c.Source }, only)
}

func (r combined) Sources(ctx context.Context, c *graph.CombinedSubmission) ([]graph.CombinedSource, error) {
	return together(ctx, c, "sources", func(objs []*graph.CombinedSubmission) ([][]graph.CombinedSource, error) { return r.sources(ctx, objs) })
}

// sources reads what combined submissions are merged from, all of each kind at once.
func (r combined) sources(ctx context.Context, objs []*graph.CombinedSubmission) ([][]graph.CombinedSource, error) {
	within := scope(ctx)
	sources, err := r.DB.CombinedSources(ctx, within.AccountID, ids(objs, func(c *graph.CombinedSubmission) string { return c.ID }))
	if err != nil {
		return nil, err
	}
	var documents, versions, uploads []string
	for _, of := range sources {
		for _, s := range of {
			switch {
			case s.TemplateVersionID != "":
				versions = append(versions, s.TemplateVersionID)
			case s.UploadID != "":
				uploads = append(uploads, s.UploadID)
			case s.DocumentID != "":
				documents = append(documents, s.DocumentID)
			}
		}
	}
	made, err := r.DB.DocumentsByID(ctx, within, documents)
	if err != nil {
		return nil, err
	}
	published, err := r.DB.TemplateVersionsByID(ctx, within.AccountID, versions)
	if err != nil {
		return nil, err
	}
	brought, err := r.DB.UploadsByID(ctx, within, uploads)
	return each(objs, err, func(c *graph.CombinedSubmission) []graph.CombinedSource {
		shown := []graph.CombinedSource{}
		for _, s := range sources[c.ID] {
			if s.URL != "" {
				shown = append(shown, &graph.RemotePDF{URL: s.URL})
			} else if v := published[s.TemplateVersionID]; v != nil {
				shown = append(shown, toTemplateVersion(v))
			} else if u := brought[s.UploadID]; u != nil {
				shown = append(shown, toUpload(u))
			} else if document := made[s.DocumentID]; document != nil {
				shown = append(shown, toDocument(document))
			}
		}
		return shown
	})
}

func (r subscription) CombinedSubmissionUpdated(ctx context.Context, id string) (<-chan *graph.CombinedSubmissionEvent, error) {
	return tell(ctx, func() (iter.Seq[*feed.Update], error) {
		if platen.KindOf(id) != platen.KindCombined {
			return nil, storage.ErrNotFound
		}
		return r.Hub.Document(ctx, scope(ctx), id)
	}, notFound("combined submission", id), updateName(id), func(u *feed.Update) *graph.CombinedSubmissionEvent {
		return &graph.CombinedSubmissionEvent{Cursor: u.Cursor, Kind: kind(u.Snapshot), At: u.At, CombinedSubmission: toCombined(u.Subject.(*platen.CombinedSubmission))}
	})
}

func toUpload(u *platen.Upload) *graph.Upload {
	return &graph.Upload{ID: u.ID, Filename: u.Filename, ContentType: u.ContentType, ByteSize: u.ByteSize, Sha256: orNull(u.SHA256),
		CreatedAt: u.CreatedAt, ReceivedAt: u.ReceivedAt, ExpiresAt: u.ExpiresAt, Source: u}
}

func (r mutation) CreateUpload(ctx context.Context, input graph.CreateUploadInput) (*graph.CreateUploadPayload, error) {
	u, err := r.Pipeline.CreateUpload(ctx, scope(ctx), &platen.Upload{Filename: input.Filename, ContentType: input.ContentType,
		ByteSize: input.ByteSize, SHA256: given(input.Sha256)})
	shown, err := userErrors(err, "input")
	if err != nil || len(shown) > 0 {
		return &graph.CreateUploadPayload{UserErrors: shown}, err
	}
	return &graph.CreateUploadPayload{Upload: toUpload(u), UserErrors: shown}, nil
}

// Request is shown to those who may write: whoever has it can.
func (r upload) Request(ctx context.Context, u *graph.Upload) (*graph.SignedRequest, error) {
	address := r.Pipeline.UploadURL(u.Source)
	if address == "" || !caller(ctx).Scope.Includes(platen.ScopeWrite) || time.Now().After(u.ExpiresAt) {
		return nil, nil
	}
	return &graph.SignedRequest{Method: "PUT", URL: address, ExpiresAt: u.ExpiresAt,
		Headers: []*graph.HTTPHeader{{Name: "Content-Type", Value: u.ContentType}}}, nil
}
