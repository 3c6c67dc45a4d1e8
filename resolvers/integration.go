package resolvers

import (
	"context"

	"platen"
	"platen/graph"
	"platen/storage"
)

func toAWSS3Integration(i *platen.AWSS3Integration) *graph.AWSS3Integration {
	return &graph.AWSS3Integration{ID: i.ID, Name: i.Name, Enabled: i.Enabled, AppliesTo: i.AppliesTo, AccessKeyID: i.AccessKeyID,
		SecretAccessKeySetAt: i.SecretSetAt, Region: i.Region, Bucket: i.Bucket, Endpoint: orNull(i.Endpoint), ForcePathStyle: i.ForcePathStyle,
		PathTemplates: &graph.S3PathTemplates{Submission: i.SubmissionPath, TestSubmission: orNull(i.TestSubmissionPath)},
		CreatedAt:     i.CreatedAt, UpdatedAt: i.UpdatedAt, Source: i}
}

func (r mutation) CreateAWSS3Integration(ctx context.Context, input graph.CreateAWSS3IntegrationInput) (*graph.CreateAWSS3IntegrationPayload, error) {
	i := &platen.AWSS3Integration{AccountID: caller(ctx).AccountID, Name: input.Name, Enabled: input.Enabled, AppliesTo: input.AppliesTo,
		AccessKeyID: input.AccessKeyID, Region: input.Region, Bucket: input.Bucket, Endpoint: given(input.Endpoint),
		ForcePathStyle: input.ForcePathStyle, SubmissionPath: platen.DefaultSubmissionPath}
	if paths := input.PathTemplates.Value(); paths != nil {
		// Null is refused as blank is: only an absent path is the default.
		if live, set := paths.Submission.ValueOK(); set {
			i.SubmissionPath = ""
			if live != nil {
				i.SubmissionPath = *live
			}
		}
		i.TestSubmissionPath = given(paths.TestSubmission)
	}
	if caller(ctx).TestOnly() && i.AppliesTo != platen.AppliesToTest {
		shown, err := userErrors(&platen.Error{Code: platen.CodeForbidden, Path: []string{"appliesTo"},
			Message: "A test token makes integrations for test documents only: give TEST, or use a live token."}, "input")
		return &graph.CreateAWSS3IntegrationPayload{UserErrors: shown}, err
	}
	shown, err := userErrors(r.Pipeline.CreateAWSS3Integration(ctx, i, input.SecretAccessKey), "input")
	if err != nil || len(shown) > 0 {
		return &graph.CreateAWSS3IntegrationPayload{UserErrors: shown}, err
	}
	return &graph.CreateAWSS3IntegrationPayload{Integration: toAWSS3Integration(i), UserErrors: shown}, nil
}

func (r integration) Warnings(ctx context.Context, i *graph.AWSS3Integration) ([]string, error) {
	return r.Pipeline.Warnings(ctx, i.Source)
}

func (r query) Integration(ctx context.Context, id string) (graph.Integration, error) {
	if platen.KindOf(id) != platen.KindIntegration {
		return nil, nil
	}
	i, err := r.DB.Integration(ctx, caller(ctx).AccountID, id)
	if shown, err := found(i, err, toAWSS3Integration); err != nil || shown != nil {
		return shown, err
	}
	return nil, nil // a nil of the interface, not of the type in it
}

func (r query) Integrations(ctx context.Context, first *int, after *string) (*graph.IntegrationConnection, error) {
	p, err := page(first, after, nil, nil)
	if err != nil {
		return nil, err
	}
	accountID := caller(ctx).AccountID
	c := &graph.IntegrationConnection{AccountID: accountID}
	c.Edges, c.Nodes, c.PageInfo, err = list(ctx, p,
		func(ctx context.Context, p storage.Page) ([]*platen.AWSS3Integration, storage.PageInfo, error) {
			return r.DB.Integrations(ctx, accountID, p)
		},
		func(i *platen.AWSS3Integration) (graph.Integration, string) {
			return toAWSS3Integration(i), storage.Cursor(i.CreatedAt, i.ID)
		},
		func(cursor string, i graph.Integration) *graph.IntegrationEdge {
			return &graph.IntegrationEdge{Cursor: cursor, Node: i}
		})
	return c, err
}

func (r integrationConnection) TotalCount(ctx context.Context, c *graph.IntegrationConnection) (int, error) {
	return r.DB.CountIntegrations(ctx, c.AccountID)
}
