package resolvers

import (
	"context"

	"platen"
	"platen/graph"
)

func toAction(a *platen.Action) *graph.Action {
	g := &graph.Action{ID: a.ID, Type: a.Type, State: a.State, Destination: orNull(a.Destination), Attempts: a.Attempts,
		NextAttemptAt: a.NextAttemptAt, Failure: toFailure(a.Failure), CreatedAt: a.CreatedAt, UpdatedAt: a.UpdatedAt,
		Revision: a.Revision, Source: a}
	if r := a.Receipt; r != nil {
		g.Result = &graph.UploadReceipt{Bucket: orNull(r.Bucket), Region: orNull(r.Region), Key: orNull(r.Key), URL: r.URL,
			Etag: orNull(r.ETag), VersionID: orNull(r.VersionID), ByteSize: r.ByteSize, Sha256: r.SHA256, UploadedAt: r.UploadedAt}
	}
	return g
}

func (r query) Action(ctx context.Context, id string) (*graph.Action, error) {
	if platen.KindOf(id) != platen.KindAction {
		return nil, nil
	}
	a, err := r.DB.Action(ctx, scope(ctx), id)
	return found(a, err, toAction)
}

func (r action) Integration(ctx context.Context, objs []*graph.Action) ([]graph.Integration, error) {
	id := func(a *graph.Action) string { return a.Source.IntegrationID }
	integrations, err := r.DB.IntegrationsByID(ctx, caller(ctx).AccountID, ids(objs, id))
	return each(objs, err, func(a *graph.Action) graph.Integration {
		if i := integrations[id(a)]; i != nil {
			return toAWSS3Integration(i)
		}
		return nil
	})
}

func (r action) Subject(ctx context.Context, objs []*graph.Action) ([]graph.ActionSubject, error) {
	id := func(a *graph.Action) string { return a.Source.SubmissionID }
	submissions, err := r.DB.SubmissionsByID(ctx, scope(ctx), ids(objs, id))
	return each(objs, err, func(a *graph.Action) graph.ActionSubject {
		if s := submissions[id(a)]; s != nil {
			return toSubmission(s)
		}
		return nil
	})
}
