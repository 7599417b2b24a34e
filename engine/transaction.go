package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Prefixes of logical messages that mean something here. Others were dropped by cdc.
const (
	prefixHeartbeat = "rowbell.heartbeat"
	prefixContext   = "rowbell.context"
	prefixChain     = "rowbell.chain"
	prefixEvent     = "rowbell.event"
)

// transaction is the one that is being taken.
type transaction struct {
	xid         uint64
	commitLSN   change.LSN
	committedAt time.Time
	skip        bool // seen by the first load, or recorded whole
	big         bool // went beyond what is held: recorded in parts
	begun       bool // its first event was taken
	bytes       int
	held        []heldPart
	seq         int32           // of the next event
	actor       []byte          // JSON of the context message
	actorValue  any             // the same, decoded
	silent      bool            // a context said skip: counted, never matched
	chain       *workflow.Chain // that led to it, as rowbell.set_chain said; nil: nobody did
	listed      *workflow.Chain // the same of rowbell.set_actor
	tables      []workflow.Table
	versions    []workflow.Version
}

// eventBytes is what an event takes in memory besides its bytes; a transaction of very
// many small rows would be held at twenty times its size without it. It decides what is
// big, and so is never changed.
const eventBytes = 256

// heldPart is a part whose memory is kept until the transaction's end is seen.
type heldPart struct {
	part  change.Part
	owner *change.Parts
}

// takePart takes one part, or holds it. held says that owner's memory is still used.
func (e *Engine) takePart(ctx context.Context, p *change.Part, owner *change.Parts) (held bool, err error) {
	if p.First {
		if err := e.begin(p); err != nil {
			return false, err
		}
	}
	t := &e.txn
	t.bytes += p.Bytes + eventBytes*len(p.Events)
	e.unmoved += p.Bytes
	if t.skip || t.big {
		return false, e.takeEvents(ctx, p)
	}
	// What a transaction is must not depend on the pieces that it comes in: its size
	// alone makes it big, and only in one that isn't a context is looked for ahead.
	switch {
	case t.bytes > e.cfg.HoldBytes || e.opened(t.commitLSN):
		t.big = true
		e.openBigTransaction()
	case p.Last():
		for i := range t.held {
			e.readContext(&t.held[i].part)
		}
		e.readContext(p)
	default:
		t.held = append(t.held, heldPart{part: *p, owner: owner})
		return true, nil
	}
	if err := e.takeHeld(ctx, owner); err != nil {
		return false, err
	}
	return false, e.takeEvents(ctx, p)
}

// opened says that an earlier holder of the slot found the transaction big. It is to
// stay so, though a connection may send less of one that overlaps a capture.
func (e *Engine) opened(commitLSN change.LSN) bool {
	return e.openBig != nil && e.openBig.Stream == e.tracker.Stream() && e.openBig.CommitLSN == commitLSN
}

// takeHeld takes the parts that were held, and gives their memory back but for that
// of current, whose list the caller is still going through.
func (e *Engine) takeHeld(ctx context.Context, current *change.Parts) error {
	t := &e.txn
	for i := range t.held {
		h := &t.held[i]
		if err := e.takeEvents(ctx, &h.part); err != nil {
			return err
		}
		shared := i+1 < len(t.held) && t.held[i+1].owner == h.owner
		if h.owner != current && !shared {
			h.owner.Release()
		}
		*h = heldPart{}
	}
	t.held = t.held[:0]
	return nil
}

func (e *Engine) begin(p *change.Part) error {
	if err := e.tracker.Begin(p.CommitLSN); err != nil {
		return err
	}
	xid := widen(p.XID, e.lastXID)
	e.lastXID = xid
	e.txn = transaction{
		xid:         xid,
		commitLSN:   p.CommitLSN,
		committedAt: p.CommitTime,
		skip:        e.tracker.Skip() || e.snapshot.Sees(xid), // the first load has what it did
		held:        e.txn.held[:0],
		tables:      e.txn.tables[:0],
		versions:    e.txn.versions[:0],
	}
	return nil
}

// readContext looks for messages of context and chain: wherever they stand in a transaction
// that is held whole, they apply to all of it. The last one of each counts.
func (e *Engine) readContext(p *change.Part) {
	for i := range p.Events {
		ev := &p.Events[i]
		if ev.Op != change.Emit {
			continue
		}
		switch ev.Message.Prefix {
		case prefixContext:
			e.setContext(ev.Message.Content)
		case prefixChain:
			e.setChain(ev.Message.Content)
		}
	}
}

// maxContext is what rowbell.set_actor lets through.
const maxContext = 64 << 10

// setContext takes a context message. Anyone may send one, and it is stored with every
// event of the transaction: what the server would not take as JSON must not get there.
func (e *Engine) setContext(content []byte) {
	var c map[string]any
	var err error
	switch {
	case len(content) > maxContext:
		err = fmt.Errorf("it has %d bytes, more than %d", len(content), maxContext)
	case !utf8.Valid(content): // which Unmarshal lets pass
		err = errors.New("it is not UTF-8")
	default:
		err = json.Unmarshal(content, &c)
	}
	if err != nil {
		e.cfg.Logger.Warn("a context message can't be read and was ignored; call rowbell.set_actor instead of writing it by hand",
			"lsn", e.txn.commitLSN, "err", err)
		return
	}
	e.txn.actor = append([]byte(nil), content...)
	e.txn.actorValue = c
	e.txn.silent = c["skip"] == true
	e.txn.listed = listedChain(c["chain"])
}

// listedChain is the chain of a context, which lists executions; nil if it has none.
func listedChain(v any) *workflow.Chain {
	list, _ := v.([]any)
	if len(list) == 0 {
		return nil
	}
	id, _ := list[0].(string)
	c, err := workflow.ParseChain((&workflow.Chain{ID: id, Depth: int32(min(len(list), maxContext))}).JSON())
	if err != nil {
		return nil
	}
	return &c
}

// setChain takes a message of rowbell.set_chain.
func (e *Engine) setChain(content []byte) {
	c, err := workflow.ParseChain(content)
	if err != nil {
		e.cfg.Logger.Warn("a chain can't be read and was ignored; call rowbell.set_chain instead of writing it by hand",
			"lsn", e.txn.commitLSN, "err", err)
		return
	}
	e.txn.chain = &c
}

// chain is what led to the transaction; nil: nobody said. What rowbell.set_chain said counts
// before what rowbell.set_actor listed.
func (e *Engine) chain() *workflow.Chain {
	if e.txn.chain != nil {
		return e.txn.chain
	}
	return e.txn.listed
}

// takeEvents takes the events of a part in order, and the Commit if it is there.
func (e *Engine) takeEvents(ctx context.Context, p *change.Part) error {
	for i := range p.Events {
		ev := &p.Events[i]
		var err error
		switch ev.Op {
		case change.Emit:
			err = e.takeMessage(ctx, ev)
		case change.Truncate:
			e.truncated(ctx, ev)
		default:
			err = e.takeChange(ctx, ev)
		}
		if err != nil {
			return fmt.Errorf("event %d of the transaction at %s: %w", i, e.txn.commitLSN, err)
		}
	}
	if p.Last() {
		return e.commit(ctx, p)
	}
	return nil
}

// takeSeq gives the event its seq: they count over everything that is captured, and
// over domain events, matched or not. Sequence numbers are never given differently.
func (e *Engine) takeSeq() (int32, error) {
	t := &e.txn
	seq := t.seq
	if seq < 0 {
		return 0, fmt.Errorf("the transaction has more than 2147483648 captured changes, which can't be numbered; split it, or release the table: CALL rowbell.release(…)")
	}
	t.seq++
	t.begun = true
	return seq, nil
}

func (e *Engine) takeMessage(ctx context.Context, ev *change.Event) error {
	t := &e.txn
	switch ev.Message.Prefix {
	case prefixHeartbeat:
		e.heartbeat(ev.Message.Content)
	case prefixContext:
		if t.big && t.begun {
			e.cfg.Logger.WarnContext(ctx, "a context message after the first change of a big transaction has no effect; call rowbell.set_actor before the first change",
				"lsn", t.commitLSN, "hold_bytes", e.cfg.HoldBytes)
		} else if t.big {
			e.setContext(ev.Message.Content)
		}
	case prefixChain:
		if t.big && t.begun {
			e.cfg.Logger.WarnContext(ctx, "a chain after the first change of a big transaction has no effect; call rowbell.set_chain before the first change",
				"lsn", t.commitLSN, "hold_bytes", e.cfg.HoldBytes)
		} else if t.big {
			e.setChain(ev.Message.Content)
		}
	case prefixEvent:
		if !t.skip {
			return e.takeDomainEvent(ctx, ev.Message.Content)
		}
	}
	return nil
}

// heartbeat notes the xmin that was current when it was sent: near it are the xids that
// come, also for who takes the slot next. Anyone may send such a message, so no more of
// it is believed than can be, an xmin is not beyond the xid of the transaction that has
// seen it, and nothing else is decided by it.
func (e *Engine) heartbeat(content []byte) {
	if e.hooks.Heartbeat != nil {
		e.hooks.Heartbeat(string(content))
	}
	xmin, _, _ := strings.Cut(string(content), ":")
	if x, err := strconv.ParseUint(xmin, 10, 64); err == nil {
		e.tracker.Floor(min(x, e.txn.xid))
	}
}

func (e *Engine) truncated(ctx context.Context, ev *change.Event) {
	if e.txn.skip {
		return
	}
	if b := e.bind(ev.Relation); b.table != nil {
		e.counts.truncates++
		e.cfg.Logger.WarnContext(ctx, "a captured table was truncated: its rows are gone without an event", "table", b.label, "lsn", e.txn.commitLSN)
	}
}

// takeChange takes an insert, update or delete.
func (e *Engine) takeChange(ctx context.Context, ev *change.Event) error {
	t := &e.txn
	b := e.last
	if b == nil || b.rel != ev.Relation {
		b = e.bind(ev.Relation)
	}
	switch {
	case b.definition != notDefinition:
		return e.takeDefinition(b, ev)
	case t.skip || b.table == nil || t.xid < b.fromXID:
		return nil
	}
	seq, err := e.takeSeq()
	if err != nil {
		return err
	}
	e.counts.events[ev.Op]++
	if !t.silent && !e.tracker.Recorded(seq) {
		e.match(b, ev, seq)
	}
	return e.taken(ctx, seq)
}

// match matches an event, and gathers what it sets off.
func (e *Engine) match(b *binding, ev *change.Event, seq int32) {
	t := &e.txn
	pos := change.Position{Stream: e.tracker.Stream(), CommitLSN: t.commitLSN, Seq: seq}
	e.cctx = condition.Context{Position: pos, CommittedAt: t.committedAt, Actor: t.actorValue}
	e.matches = b.table.Match(ev, &e.cctx, e.matches[:0])
	if len(e.matches) > 0 {
		e.gather(b, ev, pos)
	}
}

// taken ends the taking of an event.
func (e *Engine) taken(ctx context.Context, seq int32) error {
	e.tracker.Event(seq)
	if e.batch.full(&e.cfg) {
		return e.flush(ctx)
	}
	return nil
}

// takeDefinition keeps a row of our own tables until its transaction's Commit.
func (e *Engine) takeDefinition(b *binding, ev *change.Event) error {
	if e.txn.skip || ev.Op != change.Create {
		return nil
	}
	switch b.definition {
	case versionRow:
		v, err := e.cfg.ReadVersion(ev.Relation, ev.New)
		if err != nil {
			return err
		}
		e.txn.versions = append(e.txn.versions, v)
	case tableRow:
		t, err := e.cfg.ReadTable(ev.Relation, ev.New)
		if err != nil {
			return err
		}
		e.txn.tables = append(e.txn.tables, t)
	}
	return nil
}

// commit ends the transaction: what it did to definitions counts from here on.
func (e *Engine) commit(ctx context.Context, p *change.Part) error {
	t := &e.txn
	if !t.skip {
		for _, tab := range t.tables {
			e.changeTable(tab)
		}
		for _, v := range t.versions {
			e.changeVersion(v)
		}
		if len(t.tables)+len(t.versions) > 0 {
			e.tellVerdicts()
			e.tellUncaptured()
		}
		if t.big {
			status := workflow.BigReleased
			if t.silent {
				status = workflow.BigSkipped
			}
			e.batch.Big = append(e.batch.Big, workflow.Big{
				Stream: e.tracker.Stream(), CommitLSN: t.commitLSN, CommittedAt: t.committedAt, Status: status,
			})
		}
	}
	e.tracker.Commit(p.EndLSN)
	if e.batch.full(&e.cfg) {
		return e.flush(ctx)
	}
	return nil
}

// openBigTransaction writes the row that executions of a transaction refer to which is
// recorded in parts, unless an earlier holder of the slot has written it.
func (e *Engine) openBigTransaction() {
	t := &e.txn
	e.counts.bigTransactions++
	if e.opened(t.commitLSN) {
		return
	}
	e.batch.Big = append(e.batch.Big, workflow.Big{
		Stream: e.tracker.Stream(), CommitLSN: t.commitLSN, CommittedAt: t.committedAt, Status: workflow.BigOpen,
	})
}
