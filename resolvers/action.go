package resolvers

import (
	"context"
	"fmt"

	"platen"
	"platen/graph"
	"platen/storage"
)

func toAction(a *platen.Action) *graph.Action {
	g := &graph.Action{ID: a.ID, Type: a.Type, State: a.State, Destination: orNull(a.Destination), Attempts: a.Attempts,
		NextAttemptAt: a.NextAttemptAt, Failure: toFailure(a.Failure), CreatedAt: a.CreatedAt, UpdatedAt: a.UpdatedAt,
		Revision: a.Revision, Source: a}
	if r := a.Upload; r != nil {
		g.Result = &graph.UploadReceipt{Bucket: orNull(r.Bucket), Region: orNull(r.Region), Key: orNull(r.Key), URL: r.URL,
			Etag: orNull(r.ETag), VersionID: orNull(r.VersionID), ByteSize: r.ByteSize, Sha256: r.SHA256, UploadedAt: r.UploadedAt}
	}
	if r := a.Webhook; r != nil {
		g.Result = &graph.WebhookReceipt{URL: r.URL, HTTPStatus: r.HTTPStatus, DeliveredAt: r.DeliveredAt}
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

func (r query) Actions(ctx context.Context, first *int, after *string, last *int, before *string, filter *graph.ActionFilter) (*graph.ActionConnection, error) {
	chosen, err := fromActionFilter(filter)
	if err != nil {
		return nil, err
	}
	p, err := page(first, after, last, before)
	if err != nil {
		return nil, err
	}
	within := scope(ctx)
	c := &graph.ActionConnection{AccountID: within.AccountID, TestOnly: within.TestOnly, Filter: chosen}
	c.Edges, c.Nodes, c.PageInfo, err = list(ctx, p,
		func(ctx context.Context, p storage.Page) ([]*platen.Action, storage.PageInfo, error) {
			return r.DB.Actions(ctx, within, chosen, p)
		}, actionNode, actionEdge)
	return c, err
}

func fromActionFilter(filter *graph.ActionFilter) (platen.ActionFilter, error) {
	if filter == nil {
		return platen.ActionFilter{}, nil
	}
	f := platen.ActionFilter{Types: filter.Types.Value(), States: filter.States.Value(), IntegrationID: given(filter.IntegrationID),
		SubjectID: given(filter.SubjectID), Test: filter.Test.Value()}
	for id, kinds := range map[string][]platen.Kind{f.IntegrationID: {platen.KindIntegration}, f.SubjectID: {platen.KindSubmission, platen.KindCombined, platen.KindTemplateVersion}} {
		if id != "" && !isKind(id, kinds) {
			return f, badInput("The filter's id " + id + " is not of the kind that it asks for.")
		}
	}
	return f, nil
}

func actionNode(a *platen.Action) (*graph.Action, string) {
	return toAction(a), storage.Cursor(a.CreatedAt, a.ID)
}

func actionEdge(cursor string, a *graph.Action) *graph.ActionEdge {
	return &graph.ActionEdge{Cursor: cursor, Node: a}
}

// integrationActions answers the field actions of integrations of either type.
func integrationActions[O any](ctx context.Context, r *Root, obj *O, id func(*O) string, first *int, after *string, states []platen.ActionState) (*graph.ActionConnection, error) {
	p, err := page(first, after, nil, nil)
	if err != nil {
		return nil, err
	}
	within := scope(ctx)
	return together(ctx, obj, fmt.Sprintf("actions %#v %q", p, states), func(objs []*O) ([]*graph.ActionConnection, error) {
		actions, err := r.DB.ActionsOfIntegrations(ctx, within, ids(objs, id), platen.ActionFilter{States: states}, p)
		all := make([][]*graph.Action, 0, len(objs))
		defer func() { bring(ctx, all) }()
		return each(objs, listError(err), func(obj *O) *graph.ActionConnection {
			c := &graph.ActionConnection{AccountID: within.AccountID, TestOnly: within.TestOnly, Filter: platen.ActionFilter{IntegrationID: id(obj), States: states}}
			c.Edges, c.Nodes, c.PageInfo = connect(actions[id(obj)].Rows, actions[id(obj)].Info, actionNode, actionEdge)
			all = append(all, c.Nodes)
			return c
		})
	})
}

func isKind(id string, kinds []platen.Kind) bool {
	for _, kind := range kinds {
		if platen.KindOf(id) == kind {
			return true
		}
	}
	return false
}

func (r actionConnection) TotalCount(ctx context.Context, c *graph.ActionConnection) (int, error) {
	within := storage.Scope{AccountID: c.AccountID, TestOnly: c.TestOnly}
	return together(ctx, c, "totalCount", func(of []*graph.ActionConnection) ([]int, error) {
		if len(of) == 1 {
			n, err := r.DB.CountActions(ctx, within, c.Filter)
			return []int{n}, err
		}
		// Those of several integrations have the same filter otherwise.
		integration := func(c *graph.ActionConnection) string { return c.Filter.IntegrationID }
		counts, err := r.DB.CountActionsOfIntegrations(ctx, within, ids(of, integration), platen.ActionFilter{States: c.Filter.States})
		return each(of, err, func(c *graph.ActionConnection) int { return counts[integration(c)] })
	})
}

func (r action) Integration(ctx context.Context, a *graph.Action) (graph.Integration, error) {
	return together(ctx, a, "integration", func(objs []*graph.Action) ([]graph.Integration, error) {
		id := func(a *graph.Action) string { return a.Source.IntegrationID }
		integrations, err := r.DB.IntegrationsByID(ctx, caller(ctx).AccountID, ids(objs, id))
		return each(objs, err, func(a *graph.Action) graph.Integration {
			if i := integrations[id(a)]; i != nil {
				return toIntegration(i)
			}
			return nil
		})
	})
}

func (r action) Subject(ctx context.Context, a *graph.Action) (graph.ActionSubject, error) {
	return together(ctx, a, "subject", func(objs []*graph.Action) ([]graph.ActionSubject, error) {
		id := func(a *graph.Action) string { return a.Source.SubjectID }
		documents, err := r.DB.DocumentsByID(ctx, scope(ctx), ids(objs, id))
		if err != nil {
			return nil, err
		}
		versions, err := r.DB.TemplateVersionsByID(ctx, caller(ctx).AccountID, ids(objs, id))
		return each(objs, err, func(a *graph.Action) graph.ActionSubject {
			if document := documents[id(a)]; document != nil {
				return toDocument(document)
			}
			if v := versions[id(a)]; v != nil {
				return toTemplateVersion(v)
			}
			return nil
		})
	})
}

// fromPresignedUpload reads an address that was signed for one PUT; nil stays nil.
func fromPresignedUpload(input *graph.PresignedUploadInput) *platen.PresignedUpload {
	if input == nil {
		return nil
	}
	u := &platen.PresignedUpload{URL: input.URL}
	for _, header := range input.Headers.Value() {
		u.Headers = append(u.Headers, platen.Header{Name: header.Name, Value: header.Value})
	}
	return u
}

func (r mutation) RetryAction(ctx context.Context, id string, presigned *graph.PresignedUploadInput) (*graph.RetryActionPayload, error) {
	a, err := r.Pipeline.RetryAction(ctx, scope(ctx), id, fromPresignedUpload(presigned))
	shown, err := userErrors(err)
	if err != nil || len(shown) > 0 {
		return &graph.RetryActionPayload{UserErrors: shown}, err
	}
	return &graph.RetryActionPayload{Action: toAction(a), UserErrors: shown}, nil
}

func (r mutation) RetryFailedActions(ctx context.Context, integrationID string) (*graph.RetryFailedActionsPayload, error) {
	count, err := r.Pipeline.RetryFailedActions(ctx, scope(ctx), integrationID)
	shown, err := userErrors(err)
	if err != nil || len(shown) > 0 {
		return &graph.RetryFailedActionsPayload{UserErrors: shown}, err
	}
	return &graph.RetryFailedActionsPayload{Count: &count, UserErrors: shown}, nil
}
