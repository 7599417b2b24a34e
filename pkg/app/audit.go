package app

import (
	"context"
	"fmt"

	"github.com/rowbell/rowbell/pkg/store"
)

// note writes into audit_log what was done in state, right behind it: state may be another
// database.
func (o *Operator) note(ctx context.Context, a store.Act) error {
	if err := o.app.source.Note(ctx, a); err != nil {
		return fmt.Errorf("it is done, but could not be noted in rowbell.audit_log: %w", err)
	}
	return nil
}

func (o *Operator) audit(ctx context.Context, actor, tenantID, action, objectType, objectID string, detail map[string]any) error {
	return o.note(ctx, store.Act{Actor: actor, TenantID: tenantID, Action: action, ObjectType: objectType, ObjectID: objectID, Detail: detail})
}
