package resolvers

import (
	"context"
	"errors"

	"platen"
	"platen/graph"
	"platen/storage"
)

func toTemplate(t *platen.Template) *graph.Template {
	return &graph.Template{ID: t.ID, Name: t.Name, Description: orNull(t.Description), Draft: toContent(t.Draft),
		CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt, Source: t}
}

func toTemplateVersion(v *platen.TemplateVersion) *graph.TemplateVersion {
	return &graph.TemplateVersion{ID: v.ID, Number: v.Number, Content: toContent(v.Content), PublishedAt: v.PublishedAt, Source: v}
}

func toContent(c platen.TemplateContent) *graph.TemplateContent {
	p := c.Page
	return &graph.TemplateContent{HTML: c.HTML, CSS: orNull(c.CSS), HeaderHTML: orNull(c.HeaderHTML), FooterHTML: orNull(c.FooterHTML),
		Page: &graph.PageSettings{Format: orNull(p.Format), Width: orNull(p.Width), Height: orNull(p.Height), Orientation: p.Orientation,
			MarginTop: p.MarginTop, MarginRight: p.MarginRight, MarginBottom: p.MarginBottom, MarginLeft: p.MarginLeft,
			Scale: p.Scale, PrintBackground: p.PrintBackground, Media: p.Media, Timeout: p.Timeout}}
}

// fromPage reads page settings; what is absent or null stays as it is elsewhere.
func fromPage(input *graph.PageSettingsInput) platen.PageOverride {
	if input == nil {
		return platen.PageOverride{}
	}
	return platen.PageOverride{Format: input.Format.Value(), Width: input.Width.Value(), Height: input.Height.Value(),
		Orientation: input.Orientation.Value(), MarginTop: input.MarginTop.Value(), MarginRight: input.MarginRight.Value(),
		MarginBottom: input.MarginBottom.Value(), MarginLeft: input.MarginLeft.Value(), Scale: input.Scale.Value(),
		PrintBackground: input.PrintBackground.Value(), Media: input.Media.Value(), Timeout: input.Timeout.Value()}
}

func (r mutation) CreateTemplate(ctx context.Context, input graph.CreateTemplateInput) (*graph.CreateTemplatePayload, error) {
	c := input.Content
	t := &platen.Template{AccountID: caller(ctx).AccountID, Name: input.Name, Description: given(input.Description),
		Draft: platen.TemplateContent{HTML: c.HTML, CSS: given(c.CSS), HeaderHTML: given(c.HeaderHTML), FooterHTML: given(c.FooterHTML),
			Page: fromPage(c.Page.Value()).Over(platen.DefaultPageSettings())}}
	shown, err := userErrors(r.Pipeline.CreateTemplate(ctx, t), "input")
	if err != nil || len(shown) > 0 {
		return &graph.CreateTemplatePayload{UserErrors: shown}, err
	}
	return &graph.CreateTemplatePayload{Template: toTemplate(t), UserErrors: shown}, nil
}

func (r query) Template(ctx context.Context, id string) (*graph.Template, error) {
	if platen.KindOf(id) != platen.KindTemplate {
		return nil, nil
	}
	t, err := r.DB.Template(ctx, caller(ctx).AccountID, id)
	return found(t, err, toTemplate)
}

// found translates what was read; what is not there is null.
func found[D, G any](value *D, err error, to func(*D) *G) (*G, error) {
	if missing, err := absent(err); missing || err != nil {
		return nil, err
	}
	return to(value), nil
}

// absent sorts the error of a read: that there is nothing is none.
func absent(err error) (bool, error) {
	if errors.Is(err, storage.ErrNotFound) {
		return true, nil
	}
	return false, err
}

func (r query) Templates(ctx context.Context, first *int, after *string, last *int, before *string) (*graph.TemplateConnection, error) {
	p, err := page(first, after, last, before)
	if err != nil {
		return nil, err
	}
	accountID := caller(ctx).AccountID
	c := &graph.TemplateConnection{AccountID: accountID}
	c.Edges, c.Nodes, c.PageInfo, err = list(ctx, p,
		func(ctx context.Context, p storage.Page) ([]*platen.Template, storage.PageInfo, error) {
			return r.DB.Templates(ctx, accountID, p)
		},
		func(t *platen.Template) (*graph.Template, string) {
			return toTemplate(t), storage.Cursor(t.CreatedAt, t.ID)
		},
		func(cursor string, t *graph.Template) *graph.TemplateEdge {
			return &graph.TemplateEdge{Cursor: cursor, Node: t}
		})
	return c, err
}

func (r templateConnection) TotalCount(ctx context.Context, c *graph.TemplateConnection) (int, error) {
	return r.DB.CountTemplates(ctx, c.AccountID)
}

func (r template) LatestVersion(ctx context.Context, objs []*graph.Template) ([]*graph.TemplateVersion, error) {
	versions, err := r.DB.LatestTemplateVersions(ctx, caller(ctx).AccountID, ids(objs, func(t *graph.Template) string { return t.ID }))
	return each(objs, err, func(t *graph.Template) *graph.TemplateVersion {
		if v := versions[t.ID]; v != nil {
			return toTemplateVersion(v)
		}
		return nil
	})
}

func (r templateVersion) Template(ctx context.Context, v *graph.TemplateVersion) (*graph.Template, error) {
	t, err := r.DB.Template(ctx, v.Source.AccountID, v.Source.TemplateID)
	return found(t, err, toTemplate)
}

func (r templateVersion) Actions(ctx context.Context, objs []*graph.TemplateVersion, only *platen.ActionType) ([][]*graph.Action, error) {
	actions, err := r.DB.ActionsOf(ctx, caller(ctx).AccountID, ids(objs, func(v *graph.TemplateVersion) string { return v.ID }))
	return each(objs, err, func(v *graph.TemplateVersion) []*graph.Action { return toActions(actions[v.ID], only) })
}
