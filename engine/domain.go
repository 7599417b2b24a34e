package engine

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// maxDomainEvent is more than a message of rowbell.emit can have: a payload of 1 MiB, with
// name, tenant and session_user.
const maxDomainEvent = 1<<20 + 64<<10

// domainEvent is a message with the prefix rowbell.event.
type domainEvent struct {
	Name    string
	Payload json.RawMessage
	Tenant  *string // nil: of no tenant
}

// parseDomainEvent reads a message. Anyone may send one, so nothing of it is taken for
// granted: what is recorded of it must be JSON that a server takes.
func parseDomainEvent(content []byte) (domainEvent, error) {
	var d domainEvent
	switch {
	case len(content) > maxDomainEvent:
		return d, fmt.Errorf("it has %d bytes, more than %d", len(content), maxDomainEvent)
	case !utf8.Valid(content): // which Unmarshal lets pass
		return d, errors.New("it is not UTF-8")
	}
	if err := json.Unmarshal(content, &d); err != nil {
		return d, err
	}
	switch {
	case d.Name == "":
		return d, errors.New("it has no name")
	case len(d.Payload) == 0 || string(d.Payload) == "null":
		d.Payload = json.RawMessage("{}")
	case d.Payload[0] != '{':
		return d, errors.New("its payload is not a JSON object")
	}
	if d.Tenant != nil && *d.Tenant == "" {
		d.Tenant = nil
	}
	return d, nil
}

// takeDomainEvent takes a message of rowbell.emit. It has a seq whatever stands in it.
func (e *Engine) takeDomainEvent(ctx context.Context, content []byte) error {
	seq, err := e.takeSeq()
	if err != nil {
		return err
	}
	e.counts.events[change.Emit]++
	if e.txn.silent || e.tracker.Recorded(seq) {
		return e.taken(ctx, seq)
	}
	d, err := parseDomainEvent(content)
	if err != nil {
		e.cfg.Logger.WarnContext(ctx, "a domain event can't be read and was ignored; call rowbell.emit instead of writing it by hand",
			"lsn", e.txn.commitLSN, "seq", seq, "err", err)
		return e.taken(ctx, seq)
	}
	if b := e.bindDomain(d.Name); b != nil {
		e.row = appendDomainRow(e.row[:0], &d)
		e.match(b, &change.Event{Op: change.Emit, Relation: b.rel, New: change.NewRow(e.row)}, seq)
	}
	return e.taken(ctx, seq)
}

// bindDomain finds out who waits for domain events of a name; nil if nobody does.
func (e *Engine) bindDomain(name string) *binding {
	t := e.index.Domain(name)
	if t == nil {
		return nil
	}
	if b := e.domain; b != nil && b.table == t {
		return b
	}
	rel := t.Relation()
	e.domain = &binding{
		rel: rel, label: workflow.DomainPrefix + name, domain: name, table: t,
		layout: newLayout(rel, &workflow.Table{TenantColumn: rel.Columns[condition.DomainTenant].Name}),
	}
	return e.domain
}

// appendDomainRow appends the row that a domain event is matched as, as the stream would
// send it.
func appendDomainRow(dst []byte, d *domainEvent) []byte {
	dst = binary.BigEndian.AppendUint16(dst, 2)
	dst = append(dst, 't')
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(d.Payload)))
	dst = append(dst, d.Payload...)
	if d.Tenant == nil {
		return append(dst, 'n')
	}
	dst = append(dst, 't')
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(*d.Tenant)))
	return append(dst, *d.Tenant...)
}

// appendDomainData writes what is stored of a domain event: as of a row that was created,
// with the payload in the row's place.
func appendDomainData(dst []byte, ev *change.Event, actor []byte) []byte {
	payload, _ := ev.New.Column(condition.DomainPayload)
	dst = append(dst, `{"new":`...)
	dst = append(dst, payload...)
	dst = append(dst, `,"old":null,"changed":[],"unavailable":[],"actor":`...)
	if actor == nil {
		dst = append(dst, "null"...)
	} else {
		dst = append(dst, actor...)
	}
	return append(dst, '}')
}
