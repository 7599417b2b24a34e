package app

import (
	"context"

	"github.com/rowbell/rowbell/pkg/store"
)

// SavedViews lists the views that somebody has in a tenant ("" = in all), and those that are
// shared there.
func (o *Operator) SavedViews(ctx context.Context, tenantID, owner string) ([]store.SavedView, error) {
	return o.app.state.SavedViews(ctx, tenantID, owner)
}

// SaveView keeps a view under its name, which it replaces.
func (o *Operator) SaveView(ctx context.Context, v store.SavedView) (store.SavedView, error) {
	v, err := o.app.state.SaveView(ctx, v)
	if err != nil {
		return v, err
	}
	return v, o.note(ctx, viewAct(&v, v.Owner, "view.save"))
}

// DeleteView removes a view. Returns ErrNotFound.
func (o *Operator) DeleteView(ctx context.Context, id, actor string) error {
	v, err := o.app.state.SavedView(ctx, id)
	if err != nil {
		return err
	}
	if err := o.app.state.DeleteView(ctx, id); err != nil {
		return err
	}
	return o.note(ctx, viewAct(&v, actor, "view.delete"))
}

// viewAct is what audit_log has of a view: not by what it filters, which may be a person.
func viewAct(v *store.SavedView, actor, action string) store.Act {
	return store.Act{
		Actor: actor, TenantID: v.TenantID, Action: action, ObjectType: "view", ObjectID: v.ID, Detail: map[string]any{"name": v.Name, "owner": v.Owner, "shared": v.Shared},
	}
}
