package template

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// EventVariables are what templates know of an event: new and old (objects; nil where
// there is no such row), changed (an array; nil if unknown), actor (an object or nil), and
// event, with id, table, operation, committed_at and tenant_id (nil without one). A column
// whose value is not in the WAL isn't there.
func EventVariables(e *workflow.Event) (map[string]any, error) {
	var data struct {
		New     any `json:"new"`
		Old     any `json:"old"`
		Changed any `json:"changed"`
		Actor   any `json:"actor"`
	}
	dec := json.NewDecoder(bytes.NewReader(e.Data))
	dec.UseNumber()
	if err := dec.Decode(&data); err != nil {
		return nil, fmt.Errorf("the recorded data of event %s: %w", e.ID, err)
	}
	event := map[string]any{
		"id": e.ID, "table": e.Table, "operation": e.Op.String(),
		"committed_at": e.CommittedAt.UTC().Format(time.RFC3339Nano), "tenant_id": nil,
	}
	if e.TenantID != "" {
		event["tenant_id"] = e.TenantID
	}
	return map[string]any{
		"new": data.New, "old": data.Old, "changed": data.Changed, "actor": data.Actor, "event": event,
	}, nil
}

// PersonVariables are what templates know of the recipient whose share it is: id, name,
// email, phone, locale and zone, nil where the directory doesn't know them. nil for nobody.
func PersonVariables(p *workflow.Person) any {
	if p == nil {
		return nil
	}
	vars := map[string]any{"id": p.ID}
	for name, v := range map[string]string{"name": p.Name, "email": p.Email, "phone": p.Phone, "locale": p.Locale, "zone": p.Zone} {
		vars[name] = nil
		if v != "" {
			vars[name] = v
		}
	}
	return vars
}
