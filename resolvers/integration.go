package resolvers

import (
	"context"

	"github.com/99designs/gqlgen/graphql"

	"platen"
	"platen/graph"
	"platen/storage"
)

func toIntegration(i *platen.Integration) graph.Integration {
	if i.Webhook != nil {
		return toWebhookIntegration(i)
	}
	return toAWSS3Integration(i)
}

func toAWSS3Integration(i *platen.Integration) *graph.AWSS3Integration {
	s := i.S3
	return &graph.AWSS3Integration{ID: i.ID, Name: i.Name, Enabled: i.Enabled, AppliesTo: i.AppliesTo, AccessKeyID: s.AccessKeyID,
		SecretAccessKeySetAt: i.SecretSetAt, Region: s.Region, Bucket: s.Bucket, Endpoint: orNull(s.Endpoint), ForcePathStyle: s.ForcePathStyle,
		StorageClass: orNull(s.StorageClass), ServerSideEncryption: orNull(s.ServerSideEncryption), KmsKeyID: orNull(s.KMSKeyID), Checksum: s.Checksum,
		PathTemplates: &graph.S3PathTemplates{Submission: s.SubmissionPath, TestSubmission: orNull(s.TestSubmissionPath),
			CombinedSubmission: orNull(s.CombinedSubmissionPath), TestCombinedSubmission: orNull(s.TestCombinedSubmissionPath),
			TemplateVersion: orNull(s.TemplateVersionPath)},
		CreatedAt: i.CreatedAt, UpdatedAt: i.UpdatedAt, Source: i}
}

func toWebhookIntegration(i *platen.Integration) *graph.WebhookIntegration {
	return &graph.WebhookIntegration{ID: i.ID, Name: i.Name, Enabled: i.Enabled, AppliesTo: i.AppliesTo, URL: i.Webhook.URL,
		SendWhen: i.Webhook.SendWhen, CreatedAt: i.CreatedAt, UpdatedAt: i.UpdatedAt, Source: i}
}

// set takes over what an update says of a field: an absent one stays, null is blank.
func set[T any](field graphql.Omittable[*T], into *T, blank T) {
	value, given := field.ValueOK()
	switch {
	case given && value != nil:
		*into = *value
	case given:
		*into = blank
	}
}

// setPaths takes over path templates. Null is blank and not the default: only an
// absent path is left as it is.
func setPaths(input *graph.S3PathTemplatesInput, s *platen.S3Settings) {
	if input == nil {
		s.SubmissionPath, s.TemplateVersionPath = platen.DefaultSubmissionPath, platen.DefaultTemplateVersionPath
		s.TestSubmissionPath, s.CombinedSubmissionPath, s.TestCombinedSubmissionPath = "", "", ""
		return
	}
	set(input.Submission, &s.SubmissionPath, "")
	set(input.TestSubmission, &s.TestSubmissionPath, "")
	set(input.CombinedSubmission, &s.CombinedSubmissionPath, "")
	set(input.TestCombinedSubmission, &s.TestCombinedSubmissionPath, "")
	set(input.TemplateVersion, &s.TemplateVersionPath, "")
}

// onlyTest refuses what a test token must not touch: integrations for live documents.
func onlyTest(ctx context.Context, i *platen.Integration, path ...string) error {
	if caller(ctx).TestOnly() && i.AppliesTo != platen.AppliesToTest {
		return &platen.Error{Code: platen.CodeForbidden, Path: path,
			Message: "A test token has to do with integrations for test documents (TEST) only; use a live token."}
	}
	return nil
}

func (r mutation) CreateAWSS3Integration(ctx context.Context, input graph.CreateAWSS3IntegrationInput) (*graph.CreateAWSS3IntegrationPayload, error) {
	s := &platen.S3Settings{AccessKeyID: input.AccessKeyID, Region: input.Region, Bucket: input.Bucket, Endpoint: given(input.Endpoint),
		ForcePathStyle: input.ForcePathStyle, StorageClass: given(input.StorageClass), ServerSideEncryption: given(input.ServerSideEncryption),
		KMSKeyID: given(input.KmsKeyID), Checksum: input.Checksum}
	setPaths(nil, s)
	if paths := input.PathTemplates.Value(); paths != nil {
		setPaths(paths, s)
	}
	i := &platen.Integration{Name: input.Name, Enabled: input.Enabled, AppliesTo: input.AppliesTo, S3: s}
	key, mistakes := idempotencyKey(input.IdempotencyKey)
	err := mistakes.Err()
	if err == nil {
		err = onlyTest(ctx, i, "appliesTo")
	}
	if err == nil {
		i, _, err = r.Pipeline.CreateIntegration(ctx, scope(ctx), key, i, input.SecretAccessKey)
	}
	shown, err := userErrors(err, "input")
	if err != nil || len(shown) > 0 {
		return &graph.CreateAWSS3IntegrationPayload{UserErrors: shown}, err
	}
	return &graph.CreateAWSS3IntegrationPayload{Integration: toAWSS3Integration(i), UserErrors: shown}, nil
}

func (r mutation) UpdateAWSS3Integration(ctx context.Context, id string, input graph.UpdateAWSS3IntegrationInput) (*graph.UpdateAWSS3IntegrationPayload, error) {
	i, err := r.Pipeline.UpdateIntegration(ctx, caller(ctx).AccountID, id, func(i *platen.Integration, secret string) (string, error) {
		if err := onlyTest(ctx, i, "id"); err != nil {
			return "", err
		}
		s := i.S3
		if s == nil {
			return "", &platen.Error{Code: platen.CodeInvalid, Path: []string{"id"}, Message: "This integration is a webhook: change it with updateWebhookIntegration."}
		}
		known := s.AccessKeyID
		set(input.AccessKeyID, &s.AccessKeyID, "")
		if _, given := input.SecretAccessKey.ValueOK(); s.AccessKeyID != known && !given {
			return "", &platen.Error{Code: platen.CodeRequired, Path: []string{"input", "secretAccessKey"}, Message: "Another access key id has another secret: give the one that belongs to it."}
		}
		set(input.SecretAccessKey, &secret, "")
		set(input.Name, &i.Name, "")
		set(input.Enabled, &i.Enabled, true)
		set(input.AppliesTo, &i.AppliesTo, platen.AppliesToLive)
		set(input.Region, &s.Region, "")
		set(input.Bucket, &s.Bucket, "")
		set(input.Endpoint, &s.Endpoint, "")
		set(input.ForcePathStyle, &s.ForcePathStyle, false)
		set(input.StorageClass, &s.StorageClass, "")
		set(input.ServerSideEncryption, &s.ServerSideEncryption, "")
		set(input.KmsKeyID, &s.KMSKeyID, "")
		set(input.Checksum, &s.Checksum, platen.ChecksumMD5)
		if paths, given := input.PathTemplates.ValueOK(); given {
			setPaths(paths, s)
		}
		return secret, onlyTest(ctx, i, "input", "appliesTo")
	})
	shown, err := updateErrors(err)
	if err != nil || len(shown) > 0 {
		return &graph.UpdateAWSS3IntegrationPayload{UserErrors: shown}, err
	}
	return &graph.UpdateAWSS3IntegrationPayload{Integration: toAWSS3Integration(i), UserErrors: shown}, nil
}

func (r mutation) CreateWebhookIntegration(ctx context.Context, input graph.CreateWebhookIntegrationInput) (*graph.CreateWebhookIntegrationPayload, error) {
	i := &platen.Integration{Name: input.Name, Enabled: input.Enabled, AppliesTo: input.AppliesTo,
		Webhook: &platen.WebhookSettings{URL: input.URL, TemplateID: given(input.TemplateID), SendWhen: input.SendWhen}}
	secret := ""
	err := onlyTest(ctx, i, "appliesTo")
	if err == nil {
		i, secret, err = r.Pipeline.CreateIntegration(ctx, scope(ctx), "", i, "")
	}
	shown, err := userErrors(err, "input")
	if err != nil || len(shown) > 0 {
		return &graph.CreateWebhookIntegrationPayload{UserErrors: shown}, err
	}
	return &graph.CreateWebhookIntegrationPayload{Integration: toWebhookIntegration(i), Secret: &secret, UserErrors: shown}, nil
}

func (r mutation) UpdateWebhookIntegration(ctx context.Context, id string, input graph.UpdateWebhookIntegrationInput) (*graph.UpdateWebhookIntegrationPayload, error) {
	i, err := r.Pipeline.UpdateIntegration(ctx, caller(ctx).AccountID, id, func(i *platen.Integration, secret string) (string, error) {
		if err := onlyTest(ctx, i, "id"); err != nil {
			return "", err
		}
		if i.Webhook == nil {
			return "", &platen.Error{Code: platen.CodeInvalid, Path: []string{"id"}, Message: "This integration copies into a bucket: change it with updateAwsS3Integration."}
		}
		set(input.Name, &i.Name, "")
		set(input.Enabled, &i.Enabled, true)
		set(input.AppliesTo, &i.AppliesTo, platen.AppliesToLiveAndTest)
		set(input.URL, &i.Webhook.URL, "")
		set(input.TemplateID, &i.Webhook.TemplateID, "")
		set(input.SendWhen, &i.Webhook.SendWhen, platen.WhenProcessed)
		return secret, onlyTest(ctx, i, "input", "appliesTo")
	})
	shown, err := updateErrors(err)
	if err != nil || len(shown) > 0 {
		return &graph.UpdateWebhookIntegrationPayload{UserErrors: shown}, err
	}
	return &graph.UpdateWebhookIntegrationPayload{Integration: toWebhookIntegration(i), UserErrors: shown}, nil
}

// updateErrors are those of an update: what the vocabulary found is in its input, and
// what names its place is there.
func updateErrors(err error) ([]graph.UserError, error) {
	if mistakes, ok := err.(platen.Errors); ok { //nolint:errorlint // an error around them would be another
		return userErrors(mistakes, "input")
	}
	return userErrors(err)
}

func (r mutation) TestIntegration(ctx context.Context, id string, key string) (*graph.TestIntegrationPayload, error) {
	i, err := r.Pipeline.Integration(ctx, caller(ctx).AccountID, id)
	if err == nil {
		err = onlyTest(ctx, i, "id")
	}
	var health platen.Health
	if err == nil {
		health, err = r.Pipeline.TestIntegration(ctx, i, key)
	}
	shown, err := userErrors(err)
	if err != nil || len(shown) > 0 {
		return &graph.TestIntegrationPayload{UserErrors: shown}, err
	}
	return &graph.TestIntegrationPayload{Health: toHealth(health), UserErrors: shown}, nil
}

func (r mutation) DeleteIntegration(ctx context.Context, id string) (*graph.DeleteIntegrationPayload, error) {
	shown, err := userErrors(r.Pipeline.DeleteIntegration(ctx, caller(ctx).AccountID, id, func(i *platen.Integration) error { return onlyTest(ctx, i, "id") }))
	if err != nil || len(shown) > 0 {
		return &graph.DeleteIntegrationPayload{UserErrors: shown}, err
	}
	return &graph.DeleteIntegrationPayload{DeletedID: &id, UserErrors: shown}, nil
}

func toHealth(h platen.Health) *graph.IntegrationHealth {
	return &graph.IntegrationHealth{State: h.State, Failure: toFailure(h.Failure), CheckedAt: h.CheckedAt}
}

// health answers for integrations of either type.
func health[O any](ctx context.Context, r *Root, obj *O, id func(*O) string) (*graph.IntegrationHealth, error) {
	return together(ctx, obj, "health", func(objs []*O) ([]*graph.IntegrationHealth, error) {
		found, err := r.DB.IntegrationHealth(ctx, scope(ctx), ids(objs, id))
		return each(objs, err, func(obj *O) *graph.IntegrationHealth { return toHealth(found[id(obj)]) })
	})
}

func bucketID(i *graph.AWSS3Integration) string { return i.ID }

func webhookID(i *graph.WebhookIntegration) string { return i.ID }

func (r integration) Health(ctx context.Context, i *graph.AWSS3Integration) (*graph.IntegrationHealth, error) {
	return health(ctx, r.Root, i, bucketID)
}

func (r webhookIntegration) Health(ctx context.Context, i *graph.WebhookIntegration) (*graph.IntegrationHealth, error) {
	return health(ctx, r.Root, i, webhookID)
}

func (r integration) Actions(ctx context.Context, i *graph.AWSS3Integration, first *int, after *string, states []platen.ActionState) (*graph.ActionConnection, error) {
	return integrationActions(ctx, r.Root, i, bucketID, first, after, states)
}

func (r webhookIntegration) Actions(ctx context.Context, i *graph.WebhookIntegration, first *int, after *string, states []platen.ActionState) (*graph.ActionConnection, error) {
	return integrationActions(ctx, r.Root, i, webhookID, first, after, states)
}

func (r webhookIntegration) Template(ctx context.Context, i *graph.WebhookIntegration) (*graph.Template, error) {
	return templateOf(ctx, r.Root, i, func(i *graph.WebhookIntegration) string { return i.Source.Webhook.TemplateID })
}

func (r integration) Warnings(ctx context.Context, i *graph.AWSS3Integration) ([]string, error) {
	return r.Pipeline.Warnings(ctx, i.Source.S3)
}

func (r query) Integration(ctx context.Context, id string) (graph.Integration, error) {
	if platen.KindOf(id) != platen.KindIntegration {
		return nil, nil
	}
	i, err := r.DB.Integration(ctx, caller(ctx).AccountID, id)
	if missing, err := absent(err); missing || err != nil {
		return nil, err
	}
	return toIntegration(i), nil
}

func (r query) Integrations(ctx context.Context, first *int, after *string) (*graph.IntegrationConnection, error) {
	p, err := page(first, after, nil, nil)
	if err != nil {
		return nil, err
	}
	accountID := caller(ctx).AccountID
	c := &graph.IntegrationConnection{AccountID: accountID}
	c.Edges, c.Nodes, c.PageInfo, err = list(ctx, p,
		func(ctx context.Context, p storage.Page) ([]*platen.Integration, storage.PageInfo, error) {
			return r.DB.Integrations(ctx, accountID, p)
		},
		func(i *platen.Integration) (graph.Integration, string) {
			return toIntegration(i), storage.Cursor(i.CreatedAt, i.ID)
		},
		func(cursor string, i graph.Integration) *graph.IntegrationEdge {
			return &graph.IntegrationEdge{Cursor: cursor, Node: i}
		})
	return c, err
}

func (r integrationConnection) TotalCount(ctx context.Context, c *graph.IntegrationConnection) (int, error) {
	return r.DB.CountIntegrations(ctx, c.AccountID)
}

func (r query) AWSRegions(context.Context) ([]*graph.AWSRegion, error) {
	regions := []*graph.AWSRegion{}
	for _, region := range platen.Regions() {
		regions = append(regions, &graph.AWSRegion{Code: region.Code, Name: region.Name})
	}
	return regions, nil
}

func (r query) PathPreview(ctx context.Context, input graph.PathPreviewInput) (*graph.PathPreview, error) {
	subject := given(input.SubjectID)
	preview, err := r.Pipeline.PreviewPath(ctx, scope(ctx), input.Kind, input.PathTemplate, subject, input.Metadata.Value())
	if missing, err := absent(err); missing || err != nil {
		if mistakes, ok := err.(platen.Errors); ok { //nolint:errorlint // an error around them would be another
			return nil, badInput(mistakes.Error())
		}
		if missing {
			return nil, badInput("There is nothing of this kind with the id " + subject + " in this account.")
		}
		return nil, err
	}
	shown := &graph.PathPreview{Key: orNull(preview.Key), Failure: toFailure(preview.Failure), Warnings: preview.Warnings, Variables: []*graph.PathVariable{}}
	for _, v := range preview.Variables {
		shown.Variables = append(shown.Variables, &graph.PathVariable{Name: v.Name, Description: v.Description, Value: v.Value})
	}
	return shown, nil
}
