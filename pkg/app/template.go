package app

import (
	"context"

	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/store"
)

// Templates lists a tenant's stored templates: nil those of all, "" the operators'. name
// "" is every name. Returns workflow.ErrNotFound if there is none of a name.
func (o *Operator) Templates(ctx context.Context, tenant *string, name string) ([]store.Template, error) {
	list, err := o.app.source.Templates(ctx, tenant, name)
	if err == nil && len(list) == 0 && name != "" && tenant != nil {
		err = o.app.source.NoTemplate(ctx, *tenant, name, nil)
	}
	return list, err
}

// TemplateUsers lists the workflows that render a template.
func (o *Operator) TemplateUsers(ctx context.Context, tenantID, name string) ([]string, error) {
	return o.app.source.RenderedBy(ctx, tenantID, name)
}

// SetTemplate stores a template if it can be compiled, and judges the workflows that
// render it.
func (o *Operator) SetTemplate(ctx context.Context, t store.Template, actor string) (definition.TemplateSet, error) {
	if err := o.app.prepareJudging(); err != nil {
		return definition.TemplateSet{}, err
	}
	return o.app.definitions().SetTemplate(ctx, t, actor)
}

// DeleteTemplate takes a template away: that of one locale, or, with nil, of all. It is
// refused, with their names, while workflows render it.
func (o *Operator) DeleteTemplate(ctx context.Context, tenantID, name string, locale *string, actor string) error {
	return o.app.source.DeleteTemplate(ctx, tenantID, name, locale, actor)
}

// Preview renders an action's texts, or a template, as one person would get it. It
// sends nothing.
func (o *Operator) Preview(ctx context.Context, p definition.Preview) (definition.Previewed, error) {
	if err := o.app.prepareJudging(); err != nil {
		return definition.Previewed{}, err
	}
	return o.app.definitions().Preview(ctx, p)
}
