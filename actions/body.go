package actions

import (
	"fmt"
	"strconv"
	"time"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// bodyFixed is more than the fixed texts of a body, with timestamp, LSN and version.
const bodyFixed = 320

// Body is what receivers get of a delivery, as a webhook does, in one allocation:
//
//	{"type": "orders.update", "timestamp": "…", "data": {"event": {…}, "workflow": {…}, "new": {…}, …}}
func Body(d *Delivery) ([]byte, error) {
	e := d.Event
	b := make([]byte, 0, sizeOfData(d))
	b = append(b, `{"type":`...)
	b = change.AppendJSONString(b, e.Table)
	b = b[:len(b)-1] // the quote
	b = append(b, '.')
	b = append(b, e.Op.String()...)
	b = append(b, `","timestamp":"`...)
	b = e.CommittedAt.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","data":`...)
	b, err := AppendData(b, d)
	if err != nil {
		return nil, err
	}
	return append(b, '}'), nil
}

func sizeOfData(d *Delivery) int {
	e, w := d.Event, &d.Workflow
	return bodyFixed + 2*len(e.Table) + 2*len(e.ID) + len(e.TenantID) + 2*len(w.ID) + len(w.Name) + len(e.Data)
}

// AppendData appends what happened as a JSON object: event, workflow, chain, and the members
// of the event's Data, which is taken as it is.
func AppendData(b []byte, d *Delivery) ([]byte, error) {
	e, w := d.Event, &d.Workflow
	if len(e.Data) < len(`{"new":1}`) || e.Data[0] != '{' || e.Data[len(e.Data)-1] != '}' {
		return nil, fmt.Errorf("the recorded data of event %s is not a JSON object with members", e.ID)
	}
	b = append(b, `{"event":{"id":`...)
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
	b = strconv.AppendInt(b, int64(w.Version), 10)
	b = append(b, `},"chain":`...)
	b = appendChain(b, e, w.ID)
	b = append(b, ',')
	return append(b, e.Data[1:]...), nil
}

// appendChain appends what the receiver is to hand back (rowbell.set_chain) with what it
// writes because of the delivery.
func appendChain(b []byte, e *workflow.Event, workflowID string) []byte {
	if e.Chain != nil {
		c := e.Next(workflowID)
		return append(b, c.JSON()...)
	}
	b = append(b, `{"id":`...)
	b = change.AppendJSONString(b, e.ID)
	b = append(b, `,"depth":1,"workflows":[`...)
	b = change.AppendJSONString(b, workflowID)
	return append(b, `]}`...)
}
