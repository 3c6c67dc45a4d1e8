package resolvers

import (
	"context"

	"platen/graph"
	"platen/pipeline"
)

func (r mutation) PreviewTemplate(ctx context.Context, input graph.PreviewTemplateInput) (*graph.PreviewTemplatePayload, error) {
	s, err := r.Pipeline.PreviewTemplate(ctx, caller(ctx).AccountID, pipeline.PreviewRequest{TemplateID: input.TemplateID.Value(),
		Content: fromContent(input.Content), Data: input.Data.Value(), Metadata: input.Metadata.Value(), Output: input.Output})
	shown, err := userErrors(err, "input")
	if err != nil || len(shown) > 0 {
		return &graph.PreviewTemplatePayload{UserErrors: shown}, err
	}
	return &graph.PreviewTemplatePayload{DownloadURL: orNull(r.Pipeline.DownloadURL(s, pipeline.PreviewLife)), File: toFile(s.File),
		Failure: toFailure(s.Failure), UserErrors: shown}, nil
}
