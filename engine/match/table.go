package match

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/fault"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Match is a workflow that an event concerns.
type Match struct {
	Compiled *Compiled
	Priority int32 // of the trigger that matched; the lowest of several
	// Err says that the condition could not be decided: a *condition.MissingError or a
	// *condition.EvalError. The execution fails with it.
	Err error
	// Side is SideSecond for the create half of a change of tenant.
	Side change.Side
}

// Table is what the rows of one relation are matched with.
type Table struct {
	ix       *Index
	rel      *change.Relation
	captured *workflow.Table
	renamed  map[string]string // columns that have other names than before, by the old one
	tenant   int               // column index; -1 none
	ops      [change.Emit + 1]opIndex
	rules    map[*Compiled][]*rule

	ctx condition.Context // of the present event, with its side

	// What groups ask of the present row is worked out once, by column.
	facts      []fact
	generation uint64   // of facts
	found      []uint32 // scratch
	evaluated  uint64   // rules looked at; for tests
}

// fact is what is known of a column of the present row.
type fact struct {
	numbered uint64 // generation of number and state
	compared uint64 // generation of changed
	number   float64
	state    change.State
	changed  bool // or it can't be known
}

// rule is one trigger of a workflow, bound to a table.
type rule struct {
	rest     *condition.Bound // what the key does not say; nil: nothing
	compiled *Compiled
	priority int32
	op       change.Op
	flags    flags
	full     *condition.Bound
	shape    *shape
	position int     // in shape.all
	places   []place // in shape.slots: several for in
}

// opIndex holds the rules of one operation.
type opIndex struct {
	shapes  []*shape
	scratch []byte
}

// shape holds the rules that ask for equality on the same columns.
type shape struct {
	tenant  bool // the tenant is a part of the key
	columns []int
	slots   slots // by hash of the key
	all     []*rule
}

// seed is for this process only: nothing that is kept depends on it.
var seed = maphash.MakeSeed()

const (
	// maxShapes bounds how often an event is looked up. Rules beyond it go into a shape
	// of fewer columns.
	maxShapes = 24
	// wideShapes is up to where there are shapes of several columns: the others are kept
	// for shapes of one, which serve more rules.
	wideShapes = 12
	// maxKeys bounds under how many keys one rule stands, for in.
	maxKeys = 64
)

func newTable(ix *Index, rel *change.Relation, captured *workflow.Table) *Table {
	t := &Table{ix: ix, rel: rel, captured: captured, tenant: -1, rules: make(map[*Compiled][]*rule), facts: make([]fact, len(rel.Columns))}
	if captured.TenantColumn != "" {
		t.tenant = rel.Column(captured.TenantColumn)
	}
	return t
}

// describe takes a relation that extends the one that the table is bound to.
func (t *Table) describe(rel *change.Relation) {
	t.rel = rel
	t.facts = append(t.facts, make([]fact, len(rel.Columns)-len(t.facts))...)
}

// Len is the number of workflows that can match here.
func (t *Table) Len() int { return len(t.rules) }

// compile binds the triggers of a workflow that are about this table, and returns what is
// worth knowing of them besides, each once.
func (t *Table) compile(c *Compiled, programs *condition.Cache) ([]*rule, []*condition.Error, error) {
	var rules []*rule
	var count [change.Emit + 1]int
	for _, tr := range c.triggers {
		if tr.label != t.captured.Label {
			continue
		}
		r, err := t.rule(c, tr, programs)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", triggerName(tr.index, c.Workflow.Triggers[tr.index]), t.hint(err))
		}
		rules = append(rules, r)
		count[r.op]++
	}
	for _, r := range rules {
		if count[r.op] > 1 {
			r.flags |= several
		}
	}
	list := warnings(rules)
	own, err := t.onlyIf(c, rules, programs)
	if err != nil {
		return nil, nil, t.hint(err)
	}
	lacks, err := t.lacks(c, rules)
	if err != nil {
		return nil, nil, err
	}
	return rules, slices.Concat(list, own, lacks), nil
}

// warnings returns what is worth knowing of the conditions of rules.
func warnings(rules []*rule) []*condition.Error {
	var list []*condition.Error
	for _, r := range rules {
		for _, w := range r.full.Warnings() {
			if !slices.ContainsFunc(list, func(x *condition.Error) bool { return *x == *w }) {
				list = append(list, w)
			}
		}
	}
	return list
}

func renamedMend(name string) string { return fmt.Sprintf("it was renamed to %s: write that", name) }

// hint says of a column that isn't there what it is called now.
func (t *Table) hint(err error) error {
	unknown, ok := errors.AsType[*condition.Error](err)
	if !ok || t.renamed[unknown.Unknown] == "" {
		return err
	}
	told := *unknown
	told.Mend = renamedMend(t.renamed[unknown.Unknown])
	return &told
}

func (t *Table) rule(c *Compiled, tr trigger, programs *condition.Cache) (*rule, error) {
	if c.TenantID != "" {
		if t.captured.TenantColumn == "" {
			return nil, fmt.Errorf("table %s has no tenant column, so it serves operators' workflows only; capture it with its tenant column, or make this a workflow without tenant", tr.label)
		}
		if t.tenant < 0 {
			return nil, fmt.Errorf("table %s has lost its tenant column %s; add it again, or capture the table anew", tr.label, t.captured.TenantColumn)
		}
		if tr.op == change.Delete && t.rel.ReplicaIdentity != 'f' && !t.rel.Columns[t.tenant].Key {
			return nil, fmt.Errorf("the tenant column %s of a deleted row is never in the WAL, since it is not part of the replica identity of table %s; run ALTER TABLE %s REPLICA IDENTITY FULL",
				t.captured.TenantColumn, tr.label, tr.label)
		}
	}
	if c.OncePerRow {
		if err := checkKey(t.rel, t.captured, tr.op); err != nil {
			return nil, err
		}
	}
	bound, err := programs.Bind(tr.form, t.rel, t.captured, tr.op)
	if err != nil {
		return nil, err
	}
	r := &rule{compiled: c, priority: tr.priority, op: tr.op, full: bound}
	if tr.becomes && tr.op == change.Update {
		r.flags |= becomes
	}
	return r, nil
}

// remove takes a workflow's rules out.
func (t *Table) remove(c *Compiled) {
	for _, r := range t.rules[c] {
		t.ops[r.op].remove(r)
	}
	delete(t.rules, c)
}

// insert puts a rule into the shape of its equalities.
func (t *Table) insert(r *rule, programs *condition.Cache) {
	o := &t.ops[r.op]
	equal := r.equalities()
	s := o.shapeFor(r.compiled.TenantID != "", equal)
	r.shape = s
	// Of two equalities on one column the key holds the first.
	equal = slices.DeleteFunc(equal, func(e condition.Equality) bool { return !slices.Contains(s.columns, e.Column) })
	slices.SortFunc(equal, func(a, b condition.Equality) int { return cmp.Compare(a.Column, b.Column) })
	r.rest = r.full
	if r.flags&becomes == 0 {
		r.rest = programs.Rest(r.full, equal)
	}
	var key []byte
	if s.tenant {
		key = appendKey(key, []byte(r.compiled.TenantID))
	}
	want := demandsOf(r, t.rel, s.columns)
	keys := product([][]byte{key}, equal)
	r.places = make([]place, len(keys))
	for i, k := range keys {
		r.places[i] = s.slots.insert(maphash.Bytes(seed, k), k, r, want)
	}
	r.position = len(s.all)
	s.all = append(s.all, r)
}

// equalities returns what must hold, once for each column, those with the fewest
// values first.
func (r *rule) equalities() []condition.Equality {
	list := r.full.Equalities()
	slices.SortFunc(list, func(a, b condition.Equality) int {
		return cmp.Or(cmp.Compare(len(a.Values), len(b.Values)), cmp.Compare(a.Column, b.Column))
	})
	n := 0
	for _, e := range list {
		if !slices.ContainsFunc(list[:n], func(x condition.Equality) bool { return x.Column == e.Column }) {
			list[n] = e
			n++
		}
	}
	return list[:n]
}

// product appends every combination of the values to the keys.
func product(keys [][]byte, equal []condition.Equality) [][]byte {
	for _, e := range equal {
		next := make([][]byte, 0, len(keys)*len(e.Values))
		for _, k := range keys {
			for _, v := range e.Values {
				next = append(next, appendKey(slices.Clip(k), v))
			}
		}
		keys = next
	}
	slices.SortFunc(keys, bytes.Compare)
	return slices.CompactFunc(keys, bytes.Equal)
}

// appendKey appends a value with its length, so that no two lists of values look alike.
func appendKey(key, v []byte) []byte {
	if !fault.On("key_without_length") {
		key = binary.AppendUvarint(key, uint64(len(v)))
	}
	return append(key, v...)
}

// shapeFor chooses the columns under which a rule is found: all that it asks equality
// of, unless that makes too many keys or shapes.
func (o *opIndex) shapeFor(tenant bool, equal []condition.Equality) *shape {
	tenant = tenant && !fault.On("tenant_out_of_key")
	keys, columns := 1, []int{}
	for _, e := range equal {
		if keys *= len(e.Values); keys > maxKeys {
			break
		}
		columns = append(columns, e.Column)
	}
	first := columns[:min(1, len(columns))]
	columns = slices.Sorted(slices.Values(columns))
	if s := o.find(tenant, columns); s != nil {
		return s
	}
	if len(o.shapes) >= wideShapes && len(columns) > 1 || len(o.shapes) >= maxShapes {
		var best *shape
		for _, s := range o.shapes {
			if s.tenant == tenant && subset(s.columns, columns) && (best == nil || len(s.columns) > len(best.columns)) {
				best = s
			}
		}
		switch {
		case best != nil && (len(best.columns) > 0 || len(o.shapes) >= maxShapes):
			return best
		case len(o.shapes) < maxShapes:
			columns = first
		default:
			columns = nil
		}
	}
	s := &shape{tenant: tenant, columns: columns}
	o.shapes = append(o.shapes, s)
	return s
}

func (o *opIndex) find(tenant bool, columns []int) *shape {
	for _, s := range o.shapes {
		if s.tenant == tenant && slices.Equal(s.columns, columns) {
			return s
		}
	}
	return nil
}

func subset(part, of []int) bool {
	for _, c := range part {
		if !slices.Contains(of, c) {
			return false
		}
	}
	return true
}

func (o *opIndex) remove(r *rule) {
	s := r.shape
	for _, p := range r.places {
		s.slots.remove(p)
	}
	last := len(s.all) - 1
	s.all[r.position] = s.all[last]
	s.all[r.position].position = r.position
	s.all[last] = nil
	s.all = s.all[:last]
	if len(s.all) == 0 {
		o.shapes = slices.DeleteFunc(o.shapes, func(x *shape) bool { return x == s })
	}
}

// TenantChange says that an update moved its row from one tenant to another: it is a
// delete for the one and a create for the other.
func (t *Table) TenantChange(ev *change.Event) bool {
	if t.tenant < 0 || ev.Op != change.Update || ev.Old.Empty() || ev.OldKeyOnly && !t.rel.Columns[t.tenant].Key {
		return false
	}
	now, s1 := ev.New.Column(t.tenant)
	before, s2 := ev.Old.Column(t.tenant)
	if s1 == change.NotInWAL || s2 == change.NotInWAL {
		return false
	}
	return s1 != s2 || !bytes.Equal(now, before)
}

// Match appends the workflows that ev concerns to dst, by side, priority and workflow
// id, each once for a side. ctx is read during the call only.
func (t *Table) Match(ev *change.Event, ctx *condition.Context, dst []Match) []Match {
	start := len(dst)
	if ev.Op < change.Create || ev.Op == change.Truncate {
		return dst
	}
	t.ctx = *ctx
	t.ctx.Side = change.SideFirst
	if len(t.rules) == 0 {
		return dst
	}
	if t.TenantChange(ev) {
		dst = t.match(ev, change.Delete, dst)
		t.ctx.Side = change.SideSecond
		dst = t.match(ev, change.Create, dst)
	} else {
		dst = t.match(ev, ev.Op, dst)
		if len(dst) > start && t.nothing(ev) {
			clear(dst[start:])
			dst = dst[:start]
		}
	}
	if len(dst)-start > 1 {
		slices.SortFunc(dst[start:], compareMatches)
	}
	return dst
}

// nothing says that an update left every column as it was that isn't hidden. The event
// is loaded.
func (t *Table) nothing(ev *change.Event) bool {
	if ev.Op != change.Update || ev.Old.Empty() || ev.OldKeyOnly {
		return false
	}
	same := true
	change.Differences(ev.Old, ev.New, func(i int) bool {
		if i >= len(t.rel.Columns) {
			same = false
			return false
		}
		c := &t.rel.Columns[i]
		if condition.ManySpellings(c.Type) {
			if changed, known := t.ix.env.Changed(i); !changed && known {
				return true
			}
		}
		same = slices.Contains(t.captured.Hidden, c.Name)
		return same
	})
	return same
}

func compareMatches(a, b Match) int {
	if c := cmp.Or(cmp.Compare(a.Side, b.Side), cmp.Compare(a.Priority, b.Priority)); c != 0 {
		return c
	}
	return cmp.Compare(a.Compiled.WorkflowID, b.Compiled.WorkflowID)
}

func (t *Table) match(ev *change.Event, op change.Op, dst []Match) []Match {
	o := &t.ops[op]
	if len(o.shapes) == 0 {
		return dst
	}
	env := &t.ix.env
	env.LoadAs(ev, op, &t.ctx)
	t.generation++
	start := len(dst)
	var tenant []byte
	hasTenant := false
	if t.tenant >= 0 {
		var state change.State
		tenant, state = env.Text(t.tenant)
		hasTenant = state == change.Present && len(tenant) > 0
	}
	for _, s := range o.shapes {
		if s.tenant && !hasTenant {
			continue
		}
		key := o.scratch[:0]
		if s.tenant {
			key = appendKey(key, tenant)
		}
		found, missing := true, false
		for _, c := range s.columns {
			text, state := env.Text(c)
			switch state {
			case change.Null:
				found = false
			case change.NotInWAL:
				missing = true
			default:
				key = appendKey(key, text)
			}
		}
		o.scratch = key
		switch {
		case !found:
		case missing:
			// Any of them may need the value that isn't there.
			for _, r := range s.all {
				if !s.tenant || r.compiled.TenantID == string(tenant) {
					dst = t.appendMatch(r.full, r.compiled, r.priority, r.flags, dst, start)
				}
			}
		default:
			for ref := s.slots.first(maphash.Bytes(seed, key)); ref != 0; {
				n := s.slots.at(ref)
				if s.slots.has(ref, n, key) {
					if n.flags&isGroup != 0 {
						dst = t.group(&s.slots, s.slots.groups.at(uint32(n.priority)), dst, start)
					} else {
						dst = t.appendMatch(n.rest, n.compiled, n.priority, n.flags, dst, start)
					}
				}
				ref = n.next
			}
		}
	}
	return dst
}

// group appends the matches of a group, of which only the rules are evaluated that the
// row can concern.
func (t *Table) group(s *slots, g *group, dst []Match, start int) []Match {
	if g.changed != nil && !t.changed(g.changed) {
		return dst
	}
	t.found = t.found[:0]
	if g.column < 0 {
		t.found = s.intervals.all(g.root, t.found)
	} else {
		switch x, state := t.number(g.column); state {
		case change.Null:
			return dst
		case change.Present:
			t.found = s.intervals.stab(g.root, x, t.found)
		default:
			// Any of them may need the value that isn't there.
			t.found = s.intervals.all(g.root, t.found)
		}
	}
	for _, ref := range t.found {
		n := s.intervals.at(ref)
		dst = t.appendMatch(n.rest, n.compiled, n.priority, n.flags, dst, start)
	}
	return dst
}

// changed says whether one of the columns has changed, or may have.
func (t *Table) changed(columns []int) bool {
	for _, c := range columns {
		f := &t.facts[c]
		if f.compared != t.generation {
			changed, known := t.ix.env.Changed(c)
			f.compared, f.changed = t.generation, changed || !known
		}
		if f.changed {
			return true
		}
	}
	return false
}

// number is Env.Number.
func (t *Table) number(column int) (float64, change.State) {
	f := &t.facts[column]
	if f.numbered != t.generation {
		f.numbered = t.generation
		f.number, f.state = t.ix.env.Number(column)
	}
	return f.number, f.state
}

// appendMatch evaluates a rule, and appends a match if it holds or can't be decided. Of
// several triggers of one workflow one that holds counts more than one that can't be
// decided, and the lower priority more than the higher.
func (t *Table) appendMatch(rest *condition.Bound, c *Compiled, priority int32, flags flags, dst []Match, start int) []Match {
	t.evaluated++
	env := &t.ix.env
	m := Match{Compiled: c, Priority: priority, Side: env.Side()}
	if rest != nil {
		ok, err := rest.Eval(env)
		if !ok && err == nil {
			return dst
		}
		if flags&becomes != 0 && err == nil {
			before, err := rest.EvalBefore(env)
			if before {
				return dst
			}
			m.Err = err
		} else {
			m.Err = err
		}
	}
	if flags&several != 0 {
		for i := start; i < len(dst); i++ {
			d := &dst[i]
			if d.Compiled != c {
				continue
			}
			if better(m, *d) {
				*d = m
			}
			return dst
		}
	}
	return append(dst, m)
}

func better(a, b Match) bool {
	if (a.Err == nil) != (b.Err == nil) {
		return a.Err == nil
	}
	if fault.On("priority_highest") {
		return a.Priority > b.Priority
	}
	if a.Priority != b.Priority || a.Err == nil {
		return a.Priority < b.Priority
	}
	// Which one was looked at first may be another after a restart.
	return a.Err.Error() < b.Err.Error()
}
