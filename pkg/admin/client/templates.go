package client

import (
	"context"
	"fmt"
	"net/url"

	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/store"
)

// template is a template's path, and whose it is.
func (c *Client) template(tenant, name string) (of *Client, path string, q url.Values) {
	q = url.Values{}
	if tenant != "" {
		q.Set("tenant", tenant)
	}
	return c.in(&tenant), at("/templates/%s", name), q
}

// Templates lists a tenant's stored templates: nil those of all, "" the operators'. name "" is
// every name.
func (c *Client) Templates(ctx context.Context, tenant *string, name string) ([]store.Template, error) {
	if name != "" && tenant != nil {
		out, err := c.templateOf(ctx, *tenant, name)
		return out.Languages, err
	}
	q := ofTenant(tenant)
	q.Set("sources", "true")
	found, err := whole[api.ListedTemplate](ctx, c.in(tenant), "/templates", q)
	if err != nil {
		return nil, err
	}
	var list []store.Template
	for _, t := range found {
		if name != "" && t.Name != name {
			continue
		}
		of := store.Template{Name: t.Name, Locale: t.Locale, Source: t.Source, Description: t.Description, CreatedBy: t.CreatedBy, UpdatedAt: t.UpdatedAt}
		if t.TenantID != nil {
			of.TenantID = *t.TenantID
		}
		list = append(list, of)
	}
	return list, nil
}

func (c *Client) templateOf(ctx context.Context, tenant, name string) (api.TemplateOut, error) {
	var out api.TemplateOut
	of, path, q := c.template(tenant, name)
	err := of.get(ctx, path, q, &out)
	return out, err
}

// TemplateUsers lists the workflows that render a template.
func (c *Client) TemplateUsers(ctx context.Context, tenant, name string) ([]string, error) {
	out, err := c.templateOf(ctx, tenant, name)
	return out.Workflows, err
}

// SetTemplate stores a template if it can be compiled, and judges the workflows that render it.
func (c *Client) SetTemplate(ctx context.Context, t store.Template, _ string) (definition.TemplateSet, error) {
	var out api.StoredTemplate
	of, path, q := c.template(t.TenantID, t.Name)
	if err := of.put(ctx, path, q, map[string]any{"locale": t.Locale, "source": t.Source, "description": t.Description}, &out); err != nil {
		return definition.TemplateSet{}, err
	}
	set := definition.TemplateSet{Same: out.Same, Versions: out.Versions}
	for id, list := range out.Problems {
		if set.Problems == nil {
			set.Problems = make(map[string]match.Report)
		}
		var r match.Report
		for i, p := range problemsOf(list) {
			if list[i].Warning {
				r.Warnings = append(r.Warnings, p)
			} else {
				r.Errors = append(r.Errors, p)
			}
		}
		set.Problems[id] = r
	}
	return set, nil
}

// DeleteTemplate takes a template away: that of one locale, or, with nil, of all.
func (c *Client) DeleteTemplate(ctx context.Context, tenant, name string, locale *string, _ string) error {
	of, path, q := c.template(tenant, name)
	if locale != nil {
		q.Set("locale", *locale)
	}
	return of.remove(ctx, path, q, nil)
}

// Preview renders an action's texts, or a template, as one person would get it. It sends
// nothing.
func (c *Client) Preview(ctx context.Context, p definition.Preview) (definition.Previewed, error) {
	var out definition.Previewed
	person := map[string]any{"id": p.Person.ID, "name": p.Person.Name, "email": p.Person.Email, "phone": p.Person.Phone, "locale": p.Person.Locale, "zone": p.Person.Zone}
	if p.On.Workflow != "" || p.On.Document != nil {
		action := fmt.Sprint(p.Action)
		path, q, in, err := tried(&p.On, at("/workflows/%s/actions/%s/preview", p.On.Workflow, action), at("/files/preview/%s", action))
		if err == nil {
			in["person"] = person
			err = c.post(ctx, path, q, in, &out)
		}
		return out, err
	}
	in := map[string]any{"source": p.Source, "channel": p.Channel.String(), "person": person}
	if p.TenantID != "" {
		in["tenant_id"] = p.TenantID
	}
	if p.On.Event != "" || p.On.Table != "" || p.On.Domain != "" {
		_, _, on, err := tried(&p.On, "", "")
		if err != nil {
			return out, err
		}
		in["on"] = on
	}
	return out, c.post(ctx, "/templates/preview", nil, in, &out)
}
