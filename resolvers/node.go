package resolvers

import (
	"context"
	"slices"

	"platen"
	"platen/graph"
)

// maxNodes is how many ids the field nodes takes.
const maxNodes = 100

func (r query) Node(ctx context.Context, id string) (graph.Node, error) {
	nodes, err := r.Nodes(ctx, []string{id})
	if err != nil {
		return nil, err
	}
	return nodes[0], nil
}

func (r query) Nodes(ctx context.Context, ids []string) ([]graph.Node, error) {
	if len(ids) > maxNodes {
		return nil, badInput("nodes takes at most 100 ids.")
	}
	kinds, found := map[platen.Kind][]string{}, map[string]graph.Node{}
	for _, id := range ids {
		kinds[platen.KindOf(id)] = append(kinds[platen.KindOf(id)], id)
	}
	for kind, of := range kinds {
		if err := r.find(ctx, found, kind, of); err != nil {
			return nil, err
		}
	}
	nodes := make([]graph.Node, len(ids))
	for i, id := range ids {
		nodes[i] = found[id]
	}
	bring(ctx, nodes)
	return nodes, nil
}

// find adds what there is of these ids, which are of one kind, to found.
func (r query) find(ctx context.Context, found map[string]graph.Node, kind platen.Kind, ids []string) error {
	accountID := caller(ctx).AccountID
	switch kind {
	case platen.KindAccount:
		if !slices.Contains(ids, accountID) {
			return nil
		}
		account, err := r.Account(ctx)
		if err == nil {
			found[accountID] = account
		}
		return err
	case platen.KindAPIToken:
		if !caller(ctx).Scope.Includes(platen.ScopeAdmin) {
			return nil
		}
		return add(found, toAPIToken)(r.DB.APITokensByID(ctx, accountID, ids))
	case platen.KindTemplate:
		return add(found, toTemplate)(r.DB.TemplatesByID(ctx, accountID, ids))
	case platen.KindTemplateVersion:
		return add(found, toTemplateVersion)(r.DB.TemplateVersionsByID(ctx, accountID, ids))
	case platen.KindSubmission, platen.KindCombined:
		return add(found, toDocument)(r.DB.DocumentsByID(ctx, scope(ctx), ids))
	case platen.KindUpload:
		return add(found, toUpload)(r.DB.UploadsByID(ctx, scope(ctx), ids))
	case platen.KindBatch:
		return add(found, toBatch)(r.DB.BatchesByID(ctx, scope(ctx), ids))
	case platen.KindAction:
		return add(found, toAction)(r.DB.ActionsByID(ctx, scope(ctx), ids))
	case platen.KindIntegration:
		return add(found, toIntegration)(r.DB.IntegrationsByID(ctx, accountID, ids))
	}
	return nil
}

// add adds what was read to found.
func add[D any, N graph.Node](found map[string]graph.Node, to func(D) N) func(map[string]D, error) error {
	return func(read map[string]D, err error) error {
		for id, one := range read {
			found[id] = to(one)
		}
		return err
	}
}
