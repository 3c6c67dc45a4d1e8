package resolvers

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"

	"platen"
	"platen/graph"
	"platen/storage"
)

func toTemplate(t *platen.Template) *graph.Template {
	return &graph.Template{ID: t.ID, Name: t.Name, Description: orNull(t.Description),
		ExpireAfter: t.ExpireAfter, ArchivedAt: t.ArchivedAt, CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt, Source: t}
}

func toTemplateVersion(v *platen.TemplateVersion) *graph.TemplateVersion {
	return &graph.TemplateVersion{ID: v.ID, Number: v.Number, PublishedAt: v.PublishedAt, Source: v}
}

func (r template) Draft(ctx context.Context, t *graph.Template) (*graph.TemplateContent, error) {
	if t.Source.Draft != nil {
		return toContent(t.Source.Draft), nil // what a mutation made brings its own, as it was then
	}
	return related(ctx, t, "draft", templateID, func(ids []string) (map[string]*platen.TemplateContent, error) {
		return r.DB.Drafts(ctx, caller(ctx).AccountID, ids)
	}, toContent)
}

func (r templateVersion) Content(ctx context.Context, v *graph.TemplateVersion) (*graph.TemplateContent, error) {
	return related(ctx, v, "content", versionID, func(ids []string) (map[string]*platen.TemplateContent, error) {
		return r.DB.VersionContents(ctx, caller(ctx).AccountID, ids)
	}, toContent)
}

func toContent(c *platen.TemplateContent) *graph.TemplateContent {
	return &graph.TemplateContent{HTML: c.HTML, CSS: orNull(c.CSS), HeaderHTML: orNull(c.HeaderHTML), FooterHTML: orNull(c.FooterHTML),
		Page: toPage(c.Page), Schema: c.Schema, SampleData: c.SampleData, Source: c}
}

func toPage(p platen.PageSettings) *graph.PageSettings {
	shown := &graph.PageSettings{Format: orNull(p.Format), Width: orNull(p.Width), Height: orNull(p.Height), Orientation: p.Orientation,
		MarginTop: p.MarginTop, MarginRight: p.MarginRight, MarginBottom: p.MarginBottom, MarginLeft: p.MarginLeft,
		Scale: p.Scale, PrintBackground: p.PrintBackground, PreferCSSPageSize: p.PreferCSSPageSize, PageRanges: orNull(p.PageRanges),
		Outline: p.Outline, Tagged: p.Tagged, Media: p.Media, JavaScript: !p.NoJavaScript, Network: !p.NoNetwork, Timeout: p.Timeout}
	if w := p.WaitFor; w != nil {
		shown.WaitFor = &graph.WaitFor{NetworkIdle: w.NetworkIdle, Selector: orNull(w.Selector), Expression: orNull(w.Expression)}
	}
	return shown
}

// fromPage reads page settings of a submission: null, like what is absent, stays as
// it is elsewhere.
func fromPage(input *graph.PageSettingsInput) platen.PageOverride { return pageOverride(input, false) }

// pageOverride reads page settings. What is absent stays as it is elsewhere; so does
// null, unless it means the default.
func pageOverride(input *graph.PageSettingsInput, nullIsDefault bool) platen.PageOverride {
	if input == nil {
		return platen.PageOverride{}
	}
	d, n := platen.DefaultPageSettings(), nullIsDefault
	o := platen.PageOverride{Format: setting(input.Format, d.Format, n), Width: setting(input.Width, d.Width, n), Height: setting(input.Height, d.Height, n),
		Orientation: setting(input.Orientation, d.Orientation, n), MarginTop: setting(input.MarginTop, d.MarginTop, n),
		MarginRight: setting(input.MarginRight, d.MarginRight, n), MarginBottom: setting(input.MarginBottom, d.MarginBottom, n),
		MarginLeft: setting(input.MarginLeft, d.MarginLeft, n), Scale: setting(input.Scale, d.Scale, n),
		PrintBackground: setting(input.PrintBackground, d.PrintBackground, n), PreferCSSPageSize: setting(input.PreferCSSPageSize, d.PreferCSSPageSize, n),
		PageRanges: setting(input.PageRanges, d.PageRanges, n), Outline: setting(input.Outline, d.Outline, n), Tagged: setting(input.Tagged, d.Tagged, n),
		Media: setting(input.Media, d.Media, n), Timeout: setting(input.Timeout, d.Timeout, n)}
	o.NoJavaScript = opposite(setting(input.JavaScript, !d.NoJavaScript, n))
	o.NoNetwork = opposite(setting(input.Network, !d.NoNetwork, n))
	if w := setting(input.WaitFor, graph.WaitForInput{}, n); w != nil {
		o.WaitFor = &platen.WaitFor{NetworkIdle: w.NetworkIdle, Selector: given(w.Selector), Expression: given(w.Expression)}
	}
	return o
}

// setting is what a field overrides: nil, nothing.
func setting[T any](field graphql.Omittable[*T], blank T, nullIsDefault bool) *T {
	value, given := field.ValueOK()
	if given && value == nil && nullIsDefault {
		return &blank
	}
	return value
}

// opposite turns what is allowed into what is refused.
func opposite(allowed *bool) *bool {
	if allowed == nil {
		return nil
	}
	refused := !*allowed
	return &refused
}

// setContent takes over what an update says of a draft; see set.
func setContent(input *graph.UpdateTemplateContentInput, c *platen.TemplateContent) {
	if input == nil {
		*c = platen.TemplateContent{Page: platen.DefaultPageSettings()}
		return
	}
	set(input.HTML, &c.HTML, "")
	set(input.CSS, &c.CSS, "")
	set(input.HeaderHTML, &c.HeaderHTML, "")
	set(input.FooterHTML, &c.FooterHTML, "")
	if page, given := input.Page.ValueOK(); given {
		if page == nil {
			c.Page = platen.DefaultPageSettings()
		}
		c.Page = pageOverride(page, true).Over(c.Page)
	}
	if schema, given := input.Schema.ValueOK(); given {
		c.Schema = schema
	}
	if data, given := input.SampleData.ValueOK(); given {
		c.SampleData = data
	}
}

func fromContent(c *graph.TemplateContentInput) platen.TemplateContent {
	return platen.TemplateContent{HTML: c.HTML, CSS: given(c.CSS), HeaderHTML: given(c.HeaderHTML), FooterHTML: given(c.FooterHTML),
		Page: fromPage(c.Page.Value()).Over(platen.DefaultPageSettings()), Schema: c.Schema.Value(), SampleData: c.SampleData.Value()}
}

func (r mutation) CreateTemplate(ctx context.Context, input graph.CreateTemplateInput) (*graph.CreateTemplatePayload, error) {
	key, mistakes := idempotencyKey(input.IdempotencyKey)
	if shown, err := userErrors(mistakes.Err(), "input"); err != nil || len(shown) > 0 {
		return &graph.CreateTemplatePayload{UserErrors: shown}, err
	}
	t, err := r.Pipeline.CreateTemplate(ctx, scope(ctx), key, &platen.Template{Name: input.Name, Description: given(input.Description),
		ExpireAfter: input.ExpireAfter.Value(), Draft: new(fromContent(input.Content))}, input.Publish)
	shown, err := userErrors(err, "input")
	if err != nil || len(shown) > 0 {
		return &graph.CreateTemplatePayload{UserErrors: shown}, err
	}
	return &graph.CreateTemplatePayload{Template: toTemplate(t), UserErrors: shown}, nil
}

func (r mutation) UpdateTemplate(ctx context.Context, id string, input graph.UpdateTemplateInput) (*graph.UpdateTemplatePayload, error) {
	t, err := r.Pipeline.UpdateTemplate(ctx, caller(ctx).AccountID, id, func(t *platen.Template) {
		set(input.Name, &t.Name, "")
		set(input.Description, &t.Description, "")
		if content, given := input.Content.ValueOK(); given {
			setContent(content, t.Draft)
		}
		if seconds, given := input.ExpireAfter.ValueOK(); given {
			t.ExpireAfter = seconds
		}
		archived := t.ArchivedAt != nil
		set(input.Archived, &archived, false)
		t.Archive(archived, time.Now())
	})
	shown, err := updateErrors(err)
	if err != nil || len(shown) > 0 {
		return &graph.UpdateTemplatePayload{UserErrors: shown}, err
	}
	return &graph.UpdateTemplatePayload{Template: toTemplate(t), UserErrors: shown}, nil
}

func (r mutation) PublishTemplate(ctx context.Context, id string) (*graph.PublishTemplatePayload, error) {
	v, err := r.Pipeline.PublishTemplate(ctx, caller(ctx).AccountID, id)
	shown, err := userErrors(err)
	if err != nil || len(shown) > 0 {
		return &graph.PublishTemplatePayload{UserErrors: shown}, err
	}
	return &graph.PublishTemplatePayload{TemplateVersion: toTemplateVersion(v), UserErrors: shown}, nil
}

func (r mutation) RestoreTemplateVersion(ctx context.Context, id string) (*graph.RestoreTemplateVersionPayload, error) {
	t, err := r.Pipeline.RestoreTemplateVersion(ctx, caller(ctx).AccountID, id)
	shown, err := userErrors(err)
	if err != nil || len(shown) > 0 {
		return &graph.RestoreTemplateVersionPayload{UserErrors: shown}, err
	}
	return &graph.RestoreTemplateVersionPayload{Template: toTemplate(t), UserErrors: shown}, nil
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

func (r query) Templates(ctx context.Context, first *int, after *string, last *int, before *string, filter *graph.TemplateFilter) (*graph.TemplateConnection, error) {
	p, err := page(first, after, last, before)
	if err != nil {
		return nil, err
	}
	var chosen platen.TemplateFilter
	if filter != nil {
		chosen = platen.TemplateFilter{NameContains: given(filter.NameContains), Archived: given(filter.Archived)}
	}
	if mistakes := platen.ValidateText(chosen.NameContains, "filter", "nameContains"); len(mistakes) > 0 {
		return nil, badInput(mistakes.Error())
	}
	if utf8.RuneCountInString(chosen.NameContains) > platen.MaxName {
		return nil, badInput(fmt.Sprintf("nameContains has at most %d characters, as names have.", platen.MaxName))
	}
	accountID := caller(ctx).AccountID
	c := &graph.TemplateConnection{AccountID: accountID, Filter: chosen}
	c.Edges, c.Nodes, c.PageInfo, err = list(ctx, p,
		func(ctx context.Context, p storage.Page) ([]*platen.Template, storage.PageInfo, error) {
			return r.DB.Templates(ctx, accountID, chosen, p)
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
	return r.DB.CountTemplates(ctx, c.AccountID, c.Filter)
}

func templateID(t *graph.Template) string { return t.ID }

func versionID(v *graph.TemplateVersion) string { return v.ID }

// templateOf answers the field template of objects that name one.
func templateOf[O any](ctx context.Context, r *Root, obj *O, id func(*O) string) (*graph.Template, error) {
	return related(ctx, obj, "template", id, func(ids []string) (map[string]*platen.Template, error) {
		return r.DB.TemplatesByID(ctx, caller(ctx).AccountID, ids)
	}, toTemplate)
}

func (r template) HasUnpublishedChanges(ctx context.Context, t *graph.Template) (bool, error) {
	return together(ctx, t, "hasUnpublishedChanges", func(objs []*graph.Template) ([]bool, error) {
		changed, err := r.DB.UnpublishedTemplates(ctx, caller(ctx).AccountID, ids(objs, templateID))
		return each(objs, err, func(t *graph.Template) bool { return changed[t.ID] })
	})
}

func (r template) LatestVersion(ctx context.Context, t *graph.Template) (*graph.TemplateVersion, error) {
	return related(ctx, t, "latestVersion", templateID, func(ids []string) (map[string]*platen.TemplateVersion, error) {
		return r.DB.LatestTemplateVersions(ctx, caller(ctx).AccountID, ids)
	}, toTemplateVersion)
}

func (r template) Version(ctx context.Context, t *graph.Template, number int) (*graph.TemplateVersion, error) {
	return related(ctx, t, fmt.Sprint("version ", number), templateID, func(ids []string) (map[string]*platen.TemplateVersion, error) {
		return r.DB.TemplateVersionsByNumber(ctx, caller(ctx).AccountID, ids, number)
	}, toTemplateVersion)
}

func (r template) Versions(ctx context.Context, t *graph.Template, first *int, after *string) (*graph.TemplateVersionConnection, error) {
	p, err := page(first, after, nil, nil)
	if err != nil {
		return nil, err
	}
	return together(ctx, t, fmt.Sprintf("versions %#v", p), func(objs []*graph.Template) ([]*graph.TemplateVersionConnection, error) {
		versions, err := r.DB.TemplateVersions(ctx, caller(ctx).AccountID, ids(objs, templateID), p)
		all := make([][]*graph.TemplateVersion, 0, len(objs))
		defer func() { bring(ctx, all) }()
		return each(objs, listError(err), func(t *graph.Template) *graph.TemplateVersionConnection {
			// Numbers leave none out, so the latest is the count.
			c := &graph.TemplateVersionConnection{TotalCount: min(t.Source.LatestVersion, storage.CountLimit)}
			c.Edges, c.Nodes, c.PageInfo = connect(versions[t.ID].Rows, versions[t.ID].Info,
				func(v *platen.TemplateVersion) (*graph.TemplateVersion, string) {
					return toTemplateVersion(v), storage.Cursor(v.PublishedAt, v.ID)
				},
				func(cursor string, v *graph.TemplateVersion) *graph.TemplateVersionEdge {
					return &graph.TemplateVersionEdge{Cursor: cursor, Node: v}
				})
			all = append(all, c.Nodes)
			return c
		})
	})
}

func (r templateContent) Variables(ctx context.Context, c *graph.TemplateContent) ([]string, error) {
	return r.Pipeline.Variables(ctx, *c.Source)
}

func (r templateVersion) Template(ctx context.Context, v *graph.TemplateVersion) (*graph.Template, error) {
	return templateOf(ctx, r.Root, v, func(v *graph.TemplateVersion) string { return v.Source.TemplateID })
}

func (r templateVersion) Actions(ctx context.Context, v *graph.TemplateVersion, only *platen.ActionType) ([]*graph.Action, error) {
	return together(ctx, v, "actions "+string(orZero(only)), func(objs []*graph.TemplateVersion) ([][]*graph.Action, error) {
		actions, err := r.DB.ActionsOf(ctx, caller(ctx).AccountID, ids(objs, versionID))
		return each(objs, err, func(v *graph.TemplateVersion) []*graph.Action { return toActions(actions[v.ID], only) })
	})
}
