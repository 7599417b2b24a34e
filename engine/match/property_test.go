package match

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seedOf prints the seed of a random test, or takes it from SEED.
func seedOf(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// ledger is orders with columns of more types: what follows are score, due, seen, n and
// hint, which is hidden.
func ledger(identity byte) *change.Relation {
	rel := orders(identity)
	full := identity == 'f'
	rel.Columns = append(rel.Columns,
		change.Column{Name: "score", Type: change.Type{OID: 701, Kind: change.Float, Name: "float8"}, Key: full},
		change.Column{Name: "due", Type: change.Type{OID: 1082, Kind: change.Date, Name: "date"}, Key: full},
		change.Column{Name: "seen", Type: change.Type{OID: 1184, Kind: change.TimestampTZ, Name: "timestamptz"}, Key: full},
		change.Column{Name: "n", Type: change.Type{OID: 23, Kind: change.Int, Name: "int4"}, Key: full},
		change.Column{Name: "hint", Type: change.Type{OID: 25, Kind: change.Text, Name: "text"}, Key: full},
	)
	return rel
}

func capturedLedger() *workflow.Table {
	t := capturedOrders()
	t.Hidden = []string{"hint"}
	return t
}

// constants are written in conditions, values in rows.
var constants = map[string][]string{
	"id":        {"1", "2", "3", "1.0", "2.50", `"2.5"`, "1e0"},
	"total":     {"1", "2", "3", "1.0", "2.50", `"2.5"`, "1e0", `"NaN"`, "12345678901234567890.000000001", "-1", "1e320"},
	"n":         {"1", "2", "-3", "1.5"},
	"tenant_id": {`"a"`, `"b"`, `"c"`, `"aa"`, `""`},
	"status":    {`"a"`, `"b"`, `"c"`, `"aa"`, `""`, `"aaaaaaaaaaaaaaaa"`},
	"note":      {`"a"`, `"b"`, `"c"`, `"aa"`, `""`, `"aaaaaaaaaaaaaaab"`, `"ä"`},
	"score":     {"1", "2.5", "-1e300", `"NaN"`, "0"},
	"due":       {`"2026-01-01"`, `"2026-01-02"`, `"infinity"`, `"-infinity"`, `"1999-12-31"`},
	"seen":      {`"2026-01-01"`, `"2026-01-01T10:00:00.000001Z"`, `"2026-01-01T10:00:00Z"`, `"infinity"`},
}

var values = map[string][]string{
	"total":  {"1", "1.00", "2.5", "2.50", "3", "NaN", "12345678901234567890.000000002", "-0.5", "Infinity"},
	"n":      {"1", "2", "-3", "1000"},
	"status": {"a", "b", "c", "aa", "", "aaaaaaaaaaaaaaab"},
	"note":   {"a", "b", "c", "aa", "", "aaaaaaaaaaaaaaab", "ä"},
	"score":  {"1", "2.5", "-1e+300", "NaN", "Infinity", "-Infinity", "-0", "0"},
	"due":    {"2026-01-01", "2026-01-02", "infinity", "-infinity", "0044-03-15 BC", "5874897-12-31"},
	"seen":   {"2026-01-01 00:00:00+00", "2026-01-01 10:00:00.000001+00", "2026-01-01 12:00:00+02", "infinity", "1800-01-01 00:00:00+00:53:28"},
}

// short are texts that rows and conditions often have in two columns side by side.
var short = []string{"", "a", "aa", "aaa"}

// taste says which conditions a round prefers.
type taste struct {
	columns, equal, ranges, changes int
}

// randomForm writes a condition on the columns of ledger.
func randomForm(r *rand.Rand, depth int, changes bool, like taste) string {
	if depth == 0 && r.IntN(6) == 0 {
		// Texts of which several pairs are the same one after the other.
		return fmt.Sprintf(`{"status":%q,"note":%q}`, pick(r, short...), pick(r, short...))
	}
	var parts []string
	seen := map[string]bool{}
	for range r.IntN(like.columns) {
		column := pick(r, "id", "tenant_id", "status", "total", "note", "score", "due", "seen", "n")
		if seen[column] {
			continue
		}
		seen[column] = true
		one := func() string { return pick(r, constants[column]...) }
		var value string
		switch n := r.IntN(8 + like.equal + like.ranges + like.changes); {
		case n == 0:
			value = fmt.Sprintf(`{"ne":%s}`, one())
		case n == 1:
			value = fmt.Sprintf(`{"not_in":[%s,%s]}`, one(), one())
		case n == 2:
			value = pick(r, "null", `{"not_null":true}`)
		case n < 5:
			value = fmt.Sprintf(`{"in":[%s,%s]}`, one(), one())
		case n < 8:
			value = fmt.Sprintf(`{"eq":%s}`, one())
		case n < 8+like.equal:
			value = one()
		case n < 8+like.equal+like.ranges:
			value = fmt.Sprintf(`{%q:%s}`, pick(r, "gt", "gte", "lt", "lte"), one())
			if r.IntN(2) == 0 {
				value = pick(r, fmt.Sprintf(`{"between":[%s,%s]}`, one(), one()), fmt.Sprintf(`{"gt":%s,"lt":%s}`, one(), one()))
			}
		case changes:
			value = pick(r, `{"changed":true}`, `{"changed":true}`, fmt.Sprintf(`{"changed_to":%s}`, one()), fmt.Sprintf(`{"changed_from":%s}`, one()))
		default:
			value = one()
		}
		parts = append(parts, fmt.Sprintf("%q:%s", column, value))
	}
	if depth < 2 && r.IntN(8) == 0 {
		parts = append(parts, fmt.Sprintf(`"any":[%s,%s]`, randomForm(r, depth+1, changes, like), randomForm(r, depth+1, changes, like)))
	}
	if depth < 2 && r.IntN(10) == 0 {
		parts = append(parts, fmt.Sprintf(`"not":%s`, randomForm(r, depth+1, changes, like)))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func randomRow(r *rand.Rand, rel *change.Relation) []any {
	v := make([]any, len(rel.Columns))
	for i, c := range rel.Columns {
		switch {
		case c.Name == "id":
			v[i] = pick(r, "1", "2", "3")
		case c.Name == "tenant_id":
			v[i] = pick(r, "a", "b", "c", "aa", "")
		case c.Name == "hint":
			v[i] = pick(r, "x", "y")
		case r.IntN(8) > 0:
			v[i] = pick(r, values[c.Name]...)
		}
	}
	if r.IntN(4) == 0 {
		for i, c := range rel.Columns {
			if c.Name == "status" || c.Name == "note" {
				v[i] = pick(r, short...)
			}
		}
	}
	if r.IntN(8) == 0 {
		v[1] = nil
	}
	return v
}

func randomEvent(r *rand.Rand, rel *change.Relation) change.Event {
	ev := change.Event{Op: pick(r, change.Create, change.Update, change.Update, change.Update, change.Delete), Relation: rel}
	full := rel.ReplicaIdentity == 'f'
	before := randomRow(r, rel)
	after := slices.Clone(before)
	if ev.Op == change.Update {
		// Some columns change, or none.
		fresh := randomRow(r, rel)
		for range pick(r, 0, 0, 1, 2, 5, 20) {
			i := r.IntN(len(after))
			if i != 1 || r.IntN(3) == 0 {
				after[i] = fresh[i]
			}
		}
		for i := range after {
			if r.IntN(8) > 0 {
				continue
			}
			switch {
			case after[i] == "1" && rel.Columns[i].Type.Kind == change.Number:
				after[i] = "1.00"
			case i > 1 && after[i] != nil && (after[i] == before[i] || !full):
				after[i] = unchanged{}
			}
		}
	}
	if !full {
		for i := 1; i < len(before); i++ {
			before[i] = nil
		}
		ev.OldKeyOnly = true
	}
	switch ev.Op {
	case change.Create:
		ev.New = row(before...)
		if !full {
			ev.New = row(randomRow(r, rel)...)
		}
	case change.Delete:
		ev.Old = row(before...)
	default:
		ev.New = row(after...)
		if full || r.IntN(2) == 0 {
			ev.Old = row(before...)
		}
	}
	return ev
}

// same says for itself that an update with a full old row changed nothing but hidden
// columns: it decodes every value.
func same(t testing.TB, ev *change.Event, hidden []string) bool {
	if ev.Old.Empty() || ev.OldKeyOnly {
		return false
	}
	for i, c := range ev.Relation.Columns {
		if slices.Contains(hidden, c.Name) {
			continue
		}
		now, state := ev.New.Column(i)
		before, old := ev.Old.Column(i)
		if state == change.NotInWAL {
			continue
		}
		if state != old {
			return false
		}
		if state == change.Null {
			continue
		}
		a, err1 := c.Type.Decode(now)
		b, err2 := c.Type.Decode(before)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		switch a := a.(type) {
		case change.Numeric:
			if a.Cmp(b.(change.Numeric)) != 0 {
				return false
			}
		default:
			if string(now) != string(before) {
				return false
			}
		}
	}
	return true
}

// naive evaluates every trigger of every workflow one by one. It remembers what it has
// bound, to be faster.
type naive map[naiveKey]naiveBound

type naiveKey struct {
	form        *condition.Form
	fingerprint uint64
}

type naiveBound struct {
	bound *condition.Bound
	err   error
}

func (n naive) bind(tr trigger, rel *change.Relation, captured *workflow.Table) (*condition.Bound, error) {
	key := naiveKey{tr.form, rel.Fingerprint}
	b, ok := n[key]
	if !ok {
		b.bound, b.err = tr.form.Bind(rel, captured, tr.op)
		n[key] = b
	}
	return b.bound, b.err
}

func (n naive) match(t testing.TB, list map[string]*Compiled, rel *change.Relation, captured *workflow.Table, ev *change.Event) []Match {
	type side struct {
		op   change.Op
		side change.Side
	}
	sides := []side{{ev.Op, change.SideFirst}}
	oldTenant, oldState := ev.Old.Column(1)
	newTenant, newState := ev.New.Column(1)
	known := !ev.Old.Empty() && !ev.OldKeyOnly
	if ev.Op == change.Update && known && (string(oldTenant) != string(newTenant) || oldState != newState) {
		sides = []side{{change.Delete, change.SideFirst}, {change.Create, change.SideSecond}}
	}
	if ev.Op == change.Update && len(sides) == 1 && same(t, ev, captured.Hidden) {
		return nil
	}
	var all []Match
	for _, s := range sides {
		for _, c := range list {
			tenant := newTenant
			if s.op == change.Delete {
				tenant = oldTenant
			}
			if c.TenantID != "" && c.TenantID != string(tenant) {
				continue
			}
			var bounds []*condition.Bound
			var priorities []int32
			broken := false
			for _, tr := range c.triggers {
				if c.TenantID != "" && tr.op == change.Delete && rel.ReplicaIdentity != 'f' {
					broken = true
					break
				}
				b, err := n.bind(tr, rel, captured)
				if err != nil {
					broken = true
					break
				}
				if tr.op == s.op {
					bounds = append(bounds, b)
					priorities = append(priorities, tr.priority)
				}
			}
			if broken {
				continue
			}
			var ok, failed *Match
			for i, b := range bounds {
				var env condition.Env
				env.LoadAs(ev, s.op, testContext)
				holds, err := b.Eval(&env)
				if holds && c.triggers[0].becomes && s.op == change.Update {
					var before bool
					before, err = b.EvalBefore(&env)
					holds = !before && err == nil
				}
				m := &Match{Compiled: c, Priority: priorities[i], Err: err, Side: s.side}
				switch {
				case holds && (ok == nil || m.Priority < ok.Priority):
					ok = m
				case err != nil && (failed == nil || m.Priority < failed.Priority || m.Priority == failed.Priority && err.Error() < failed.Err.Error()):
					failed = m
				}
			}
			if ok != nil {
				all = append(all, *ok)
			} else if failed != nil {
				all = append(all, *failed)
			}
		}
	}
	slices.SortFunc(all, compareMatches)
	return all
}

func describe(list []Match) string {
	var b strings.Builder
	for _, m := range list {
		fmt.Fprintf(&b, "%s v%d side %d priority %d %v\n", m.Compiled.WorkflowID, m.Compiled.Version, m.Side, m.Priority, m.Err)
	}
	return b.String()
}

// long is how long ROWBELL_TRUTH wants the comparison to go on, as in
// engine/condition/truthtest; 0 for 60 rounds.
func long(t *testing.T) time.Duration {
	s := os.Getenv("ROWBELL_TRUTH")
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("ROWBELL_TRUTH=%q: want a duration, as 20m", s)
	}
	return d
}

// TestIndexAgainstNaive lets random edits and random rows come, and compares what the
// index finds with what every workflow says for itself.
func TestIndexAgainstNaive(t *testing.T) {
	r, until := seedOf(t), time.Now().Add(long(t))
	events, matches, failures, idle, groups, looked, rules := 0, 0, 0, 0, 0, uint64(0), 0
	for round := 0; round < 60 || time.Now().Before(until); round++ {
		like := pick(r, taste{4, 5, 3, 1}, taste{6, 8, 3, 1}, taste{3, 0, 30, 2}, taste{4, 0, 10, 20})
		identity := pick(r, byte('d'), byte('f'))
		rel, captured := ledger(identity), capturedLedger()
		ix := New()
		live, each := map[string]*Compiled{}, naive{}
		if round%2 == 0 {
			ix.Capture(captured)
		}
		table := ix.Bind(rel)
		for step := range 150 {
			id := fmt.Sprintf("w%d", r.IntN(60))
			switch n := r.IntN(10); {
			case n == 0:
				ix.Apply(&Compiled{WorkflowID: id, Status: workflow.Deleted})
				delete(live, id)
			case n == 1:
				ix.Apply(&Compiled{WorkflowID: id, Status: workflow.Inactive})
				delete(live, id)
			default:
				var triggers []workflow.Trigger
				edge := r.IntN(5) == 0 // firing mode becomes_true
				for range 1 + r.IntN(3) {
					op := pick(r, "create", "update", "update", "delete")
					if edge && op == "delete" {
						op = "update"
					}
					tr := on(op, randomForm(r, 0, op == "update" && !edge, like))
					tr.Priority = int32(r.IntN(3))
					triggers = append(triggers, tr)
				}
				var conditions []workflow.Condition
				if r.IntN(4) == 0 {
					form := `[` + randomForm(r, 0, false, like) + `]`
					conditions = append(conditions, workflow.Condition{Type: "field_value", Config: json.RawMessage(form)})
				}
				v := version(id, pick(r, "", "a", "b"), int32(step), triggers, conditions)
				if edge {
					v.Document = settings(v.Document, `{"firing":"becomes_true"}`)
				}
				c := Compile(v, int32(step), nil)
				if c.Health.Verdict != workflow.OK {
					t.Fatalf("%s: %s", c.Health.Verdict, c.Health.Message)
				}
				ix.Apply(c)
				live[id] = c
			}
			switch r.IntN(40) {
			case 0: // another connection: the same table under another pointer
				rel = ledger(identity)
				table = ix.Bind(rel)
			case 1: // the table is altered
				identity = pick(r, byte('d'), byte('f'))
				rel = ledger(identity)
				table = ix.Bind(rel)
			case 2:
				ix.Capture(captured)
				table = ix.Bind(rel)
			}
			if table == nil {
				if round%2 == 0 {
					t.Fatal("a captured table isn't bound")
				}
				continue
			}
			for range 5 {
				ev := randomEvent(r, rel)
				before := table.evaluated
				got, want := table.Match(&ev, testContext, nil), each.match(t, live, rel, captured, &ev)
				if describe(got) != describe(want) {
					t.Fatalf("difference in event %d, %s:\ngot\n%swant\n%s", events+1, ev.Op, describe(got), describe(want))
				}
				looked += table.evaluated - before
				events++
				rules += table.Len()
				if ev.Op == change.Update && same(t, &ev, captured.Hidden) {
					idle++
				}
				matches += len(got)
				for _, m := range got {
					if m.Err != nil {
						failures++
					}
				}
			}
		}
		if table != nil {
			for op := range table.ops {
				if n := len(table.ops[op].shapes); n > maxShapes+2 {
					t.Errorf("%d shapes", n)
				}
				for _, s := range table.ops[op].shapes {
					groups += int(s.slots.groups.placed)
				}
			}
			for id := range live {
				ix.Apply(&Compiled{WorkflowID: id, Status: workflow.Deleted})
			}
			if ix.Len() != 0 || table.Len() != 0 {
				t.Errorf("%d workflows are left, %d in the table", ix.Len(), table.Len())
			}
			for op := range table.ops {
				if n := len(table.ops[op].shapes); n != 0 {
					t.Errorf("%d shapes are left", n)
				}
			}
		}
	}
	t.Logf("%d events, %d of them idle, %d matches, %d of them failed; %d groups; %d rules looked at, of %d workflows", events, idle, matches, failures, groups, looked, rules)
	if matches < events/10 || failures < 100 || idle < 200 || groups < 100 {
		t.Errorf("the test compares too little")
	}
}

func TestNoAllocationUnmatched(t *testing.T) {
	var list []*Compiled
	for i := range 1000 {
		tenant := fmt.Sprintf("t%d", i%50)
		list = append(list, simple(fmt.Sprintf("w%d", i), tenant, "update", fmt.Sprintf(`{"status":"s%d"}`, i)))
	}
	list = append(list,
		simple("idle", "t3", "update", ``),
		simple("big", "t1", "update", `{"total":{"gt":100000}}`),
		simple("ops", "", "update", `{"any":[{"status":"none"},{"total":{"lt":0}}]}`),
		simple("in", "", "update", `{"status":{"in":["p","q"]},"total":5}`),
	)
	for i := range 200 {
		list = append(list,
			simple(fmt.Sprintf("r%d", i), "", "update", fmt.Sprintf(`{"total":{"between":[%d,%d]}}`, 2000+i, 4000+i)),
			simple(fmt.Sprintf("c%d", i), "", "update", fmt.Sprintf(`{"note":{"changed":true},"status":{"starts_with":"q%d"}}`, i)),
			simple(fmt.Sprintf("b%d", i), "", "update", fmt.Sprintf(`{"id":{"gt":%d},"note":{"changed":true}}`, 1000+i)),
		)
	}
	_, rel, table := index(t, 'f', list...)
	for name, ev := range map[string]change.Event{
		"ranges":     {Op: change.Update, New: row("1005", "t1", "nothing", "1999.99", "n"), Old: row("1005", "t1", "s1", "9.00", "n")},
		"changes":    {Op: change.Update, New: row("1", "t1", "nothing", "1999.99", "n"), Old: row("1", "t1", "s1", "9.00", "m")},
		"idle":       {Op: change.Update, New: row("1", "t3", "nothing", "10.00", "n"), Old: row("1", "t3", "nothing", "10.0", "n")},
		"update":     {Op: change.Update, New: row("1", "t1", "nothing", "10.00", "n"), Old: row("1", "t1", "s1", "9.00", "n")},
		"create":     {Op: change.Create, New: row("1", "t1", "nothing", "10.00", "n")},
		"big number": {Op: change.Update, New: row("1", "t1", "nothing", "1000.000000000000000", "n"), Old: row("1", "t1", "s1", "9.00", "n")},
		"tenant":     {Op: change.Update, New: row("1", "t1", "nothing", "10.00", "n"), Old: row("1", "t2", "s1", "9.00", "n")},
	} {
		ev.Relation = rel
		dst := make([]Match, 0, 8)
		run := func() {
			if dst = table.Match(&ev, testContext, dst[:0]); len(dst) != 0 {
				t.Fatalf("%s: matched %s", name, names(dst))
			}
		}
		run()
		if n := testing.AllocsPerRun(200, run); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
