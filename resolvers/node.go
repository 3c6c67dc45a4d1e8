package resolvers

import (
	"context"

	"platen"
	"platen/graph"
)

// maxNodes is how many ids the field nodes takes.
const maxNodes = 100

func (r query) Node(ctx context.Context, id string) (graph.Node, error) {
	accountID := caller(ctx).AccountID
	switch platen.KindOf(id) {
	case platen.KindAccount:
		if id != accountID {
			return nil, nil
		}
		return r.Account(ctx)
	case platen.KindAPIToken:
		if !caller(ctx).Scope.Includes(platen.ScopeAdmin) {
			return nil, nil
		}
		token, err := r.DB.APIToken(ctx, accountID, id)
		return node(found(token, err, toAPIToken))
	case platen.KindTemplate:
		return node(r.Template(ctx, id))
	case platen.KindTemplateVersion:
		version, err := r.DB.TemplateVersion(ctx, accountID, id)
		return node(found(version, err, toTemplateVersion))
	case platen.KindSubmission:
		return node(r.Submission(ctx, id))
	case platen.KindCombined:
		return node(r.CombinedSubmission(ctx, id))
	case platen.KindUpload:
		u, err := r.DB.Upload(ctx, scope(ctx), id)
		return node(found(u, err, toUpload))
	case platen.KindBatch:
		return node(r.SubmissionBatch(ctx, id))
	case platen.KindAction:
		return node(r.Action(ctx, id))
	case platen.KindIntegration:
		i, err := r.Integration(ctx, id)
		if i == nil {
			return nil, err
		}
		return i, err
	}
	return nil, nil
}

// node makes a nil pointer a nil Node.
func node[T any, P interface {
	*T
	graph.Node
}](value P, err error) (graph.Node, error) {
	if value == nil || err != nil {
		return nil, err
	}
	return value, nil
}

func (r query) Nodes(ctx context.Context, ids []string) ([]graph.Node, error) {
	if len(ids) > maxNodes {
		return nil, badInput("nodes takes at most 100 ids.")
	}
	nodes := make([]graph.Node, len(ids))
	for i, id := range ids {
		var err error
		if nodes[i], err = r.Node(ctx, id); err != nil {
			return nil, err
		}
	}
	return nodes, nil
}
