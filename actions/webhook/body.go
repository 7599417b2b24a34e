package webhook

import (
	"fmt"
	"time"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/change"
)

// appendBody makes the body of a delivery, in one allocation. The event's Data is taken
// as it is: its members are the last ones of data.
func appendBody(d *actions.Delivery) ([]byte, error) {
	e, w := d.Event, &d.Workflow
	if len(e.Data) < len(`{"new":1}`) || e.Data[0] != '{' || e.Data[len(e.Data)-1] != '}' {
		return nil, fmt.Errorf("the recorded data of event %s is not a JSON object with members", e.ID)
	}
	const fixed = 240 // more than the texts below, with timestamp, LSN and version
	b := make([]byte, 0, fixed+2*len(e.Table)+len(e.ID)+len(e.TenantID)+len(w.ID)+len(w.Name)+len(e.Data))
	b = append(b, `{"type":`...)
	b = change.AppendJSONString(b, e.Table)
	b = b[:len(b)-1] // the quote
	b = append(b, '.')
	b = append(b, e.Op.String()...)
	b = append(b, `","timestamp":"`...)
	b = e.CommittedAt.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","data":{"event":{"id":`...)
	b = change.AppendJSONString(b, e.ID)
	b = append(b, `,"lsn":"`...)
	b = append(b, e.Position.CommitLSN.String()...)
	b = append(b, `","table":`...)
	b = change.AppendJSONString(b, e.Table)
	b = append(b, `,"operation":"`...)
	b = append(b, e.Op.String()...)
	b = append(b, `","tenant_id":`...)
	if e.TenantID == "" {
		b = append(b, "null"...)
	} else {
		b = change.AppendJSONString(b, e.TenantID)
	}
	b = append(b, `},"workflow":{"id":`...)
	b = change.AppendJSONString(b, w.ID)
	b = append(b, `,"name":`...)
	b = change.AppendJSONString(b, w.Name)
	b = append(b, `,"version":`...)
	b = appendInt(b, w.Version)
	b = append(b, "},"...)
	b = append(b, e.Data[1:]...)
	return append(b, '}'), nil
}
