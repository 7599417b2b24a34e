package condition

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// outline writes clauses as lines: verdict, text, and both sides.
func outline(list []Clause, indent string) string {
	var b strings.Builder
	for _, c := range list {
		fmt.Fprintf(&b, "%s%s %s %s", indent, c.Verdict, c.Kind, c.Text)
		for _, v := range []*Value{c.Left, c.Right} {
			if v != nil && !v.Constant {
				fmt.Fprintf(&b, " | %s is %s", v.Text, v.Shown)
			}
		}
		b.WriteByte('\n')
		b.WriteString(outline(c.Children, indent+"  "))
	}
	return b.String()
}

func explained(t *testing.T, src Source, table *workflow.Table, ev change.Event) []Clause {
	t.Helper()
	f, err := Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	var env Env
	env.Load(&ev, testContext)
	list, err := f.Explain(ev.Relation, table, ev.Op, &env)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestExplain(t *testing.T) {
	rel := relation('f')
	ev := change.Event{
		Op: change.Update, Relation: rel,
		Old: of(values{"id": "1", "status": "open", "total": "10.00", "due": "2026-03-01"}),
		New: of(values{"id": "1", "status": "approved", "total": "1000.00", "paid": "f", "tags": "{a,b}", "qty": "0", "odd name": "x", "due": "2026-03-02", "meta": `{"tier": "gold"}`}),
	}
	for _, c := range []struct {
		src  Source
		want string
	}{
		{withForm(`{"status": "approved", "total": {"gt": 1000, "lte": 5000}}`), `
false all row.status == "approved" && row.total > 1000 && row.total <= 5000
  true comparison status eq "approved" | new.status is "approved"
  false comparison total gt 1000 | new.total is 1000.00
  true comparison total lte 5000 | new.total is 1000.00
`},
		{withForm(`{"total": {"between": [10, 2000]}, "status": {"changed_to": "approved"}, "code": {"is_null": true}, "qty": {"not_in": [1, 2]}, "odd name": {"ne": "y"}, "due": {"changed": false}}`), `
false all row.total >= 10 && row.total <= 2000 && changed("status") && row.status == "approved" && row.code == nil && row.qty not in [1, 2] && row["odd name"] != "y" && !changed("due")
  true all total between [10, 2000]
    true comparison new.total >= 10 | new.total is 1000.00
    true comparison new.total <= 2000 | new.total is 1000.00
  true all status changed_to "approved"
    true changed changed("status") | old.status is "open" | new.status is "approved"
    true comparison new.status == "approved" | new.status is "approved"
  true comparison code is_null | new.code is NULL
  true comparison qty not_in [1, 2] | new.qty is 0
  true comparison "odd name" ne "y" | new["odd name"] is "x"
  false changed due changed false | old.due is 2026-03-01 | new.due is 2026-03-02
`},
		{withForm(`{"any": [{"paid": true}, {"status": "approved"}, {"qty": 5}], "not": {"total": {"gt": 5}}}`), `
false all ((row.paid == true) || (row.status == "approved") || (row.qty == 5)) && !(row.total > 5)
  true any (row.paid == true) || (row.status == "approved") || (row.qty == 5)
    false comparison paid eq true | new.paid is false
    true comparison status eq "approved" | new.status is "approved"
    not_evaluated comparison qty eq 5 | new.qty is 0
  false not !(row.total > 5)
    true comparison total gt 5 | new.total is 1000.00
`},
		{withExpression(`new.total / new.qty > 3 || new.paid`), `
failed all new.total / new.qty > 3 || new.paid
  failed any new.total / new.qty > 3 || new.paid
    failed comparison new.total / new.qty > 3 | new.total / new.qty is failed
    not_evaluated value new.paid | new.paid is false
`},
		{withExpression(`let big = (new.total - old.total) * 2; big > 100 ? any(new.tags, # == "b") : new.paid`), `
true all let big = (new.total - old.total) * 2; big > 100 ? any(new.tags, # == "b") : new.paid
  true let let big = (new.total - old.total) * 2 | big is 1980.00
    true choice big > 100 ? any(new.tags, # == "b") : new.paid
      true comparison big > 100 | big is 1980.00
      true value any(new.tags, # == "b") | new.tags is {a,b}
      not_evaluated value new.paid | new.paid is false
`},
		{withExpression(`changed("status") and new.meta.tier not in ["silver"] and event.committed_at < now() + duration("1h") and !(new.code == old.code)`), `
false all changed("status") and new.meta.tier not in ["silver"] and event.committed_at < now() + duration("1h") and !(new.code == old.code)
  true changed changed("status") | old.status is "open" | new.status is "approved"
  true comparison new.meta.tier not in ["silver"] | new.meta.tier is "gold"
  true comparison event.committed_at < now() + duration("1h") | event.committed_at is 2026-03-01T12:00:00Z | now() + duration("1h") is 2026-03-01T13:00:00Z
  false not !(new.code == old.code)
    true comparison new.code == old.code | new.code is NULL | old.code is NULL
`},
	} {
		got := outline(explained(t, c.src, things, ev), "")
		if got != c.want[1:] {
			t.Errorf("got\n%s\nwant%s", got, c.want)
		}
	}
}

// What is redacted stands nowhere in what is told, neither as a value nor in an error.
func TestExplainRedacted(t *testing.T) {
	table := *things
	table.Redacted = []string{"status", "meta", "total"}
	rel := relation('f')
	const secret = "hunter2"
	ev := change.Event{
		Op: change.Update, Relation: rel,
		Old: of(values{"id": "1", "status": secret, "meta": `{"a": "` + secret + `"}`, "total": "31337"}),
		New: of(values{"id": "1", "status": secret + "!", "meta": `{"a": "` + secret + `"}`, "total": "31337"}),
	}
	for _, text := range []string{
		`new.status == "x"`, `lower(new.status) + "a" == "b"`, `new.meta.a > 3`, `int(new.status) > 3`, `let s = new.status; s == "a" || len(s) > 3`,
		`new.total * 2 > 1`, `changed("status")`, `(new.status ?? "") == "a"`, `new.total > 1 ? new.status == "a" : false`,
	} {
		list := explained(t, withExpression(text), &table, ev)
		b, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{secret, "31337", "62674"} {
			if strings.Contains(string(b), s) {
				t.Errorf("%s: a redacted value stands in %s", text, b)
			}
		}
		if !strings.Contains(string(b), "***") {
			t.Errorf("%s: nothing is masked in %s", text, b)
		}
	}
}

func TestExplainMasked(t *testing.T) {
	rel := relation('f')
	ev := change.Event{Op: change.Update, Relation: rel, Old: of(values{"id": "1"}), New: of(values{"id": "1"})}
	for _, text := range []string{`new.status == nil`, `old.status == nil`, `changed("status")`, `new.status == "a"`, `new.status != "a"`, `lower(new.status) == "a"`} {
		f, err := Parse(withExpression(text))
		if err != nil {
			t.Fatal(err)
		}
		var env Env
		env.Load(&ev, testContext)
		env.Mask(map[int]string{rel.Column("status"): "nobody wrote it down"})
		list, err := f.Explain(rel, things, ev.Op, &env)
		if err != nil {
			t.Fatal(err)
		}
		if Decide(list) != Failed || !strings.Contains(list[0].Error, "not known here: nobody wrote it down") || !strings.Contains(outline(list, ""), "not known") {
			t.Errorf("%s: %s %s", text, outline(list, ""), list[0].Error)
		}
		env.Mask(nil)
		if list, _ = f.Explain(rel, things, ev.Op, &env); Decide(list) == Failed {
			t.Errorf("%s: it stays masked", text)
		}
	}
}

func randomExpression(r *rand.Rand, depth int) string {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	num := func() string {
		return pick("new.qty % 0", "new.qty", "new.total", "old.qty", "1", "2", "2.5", "new.weight", "len(new.tags)", "new.total * 2", "new.total / new.qty", "2 / (new.qty ?? 0)", "int(new.meta.t)", "new.qty % old.qty", "(new.qty ?? 2)", "new.meta.n", "max(new.qty, old.qty)")
	}
	text := func() string {
		return pick("new.status", "old.status", "new.code", `"a"`, `"b"`, "lower(new.status)", "new.meta.t", `(new.status ?? "b")`, "op", "string(new.qty)")
	}
	if depth > 3 || r.IntN(3) == 0 {
		switch r.IntN(9) {
		case 0:
			return num() + pick(" > ", " >= ", " < ", " <= ", " == ", " != ") + num()
		case 1:
			return text() + pick(" == ", " != ") + text()
		case 2:
			return text() + pick(" in ", " not in ") + `["a", "b"]`
		case 3:
			return text() + pick(" contains ", " startsWith ", " endsWith ") + pick(`"a"`, "new.code")
		case 4:
			return "new.paid"
		case 5:
			return `changed("` + pick("status", "qty", "tags") + `")`
		case 6:
			return pick("any", "all", "none") + `(new.tags, # == ` + pick(`"a"`, "new.status") + `)`
		case 7:
			return pick("new.status", "old.total", "new.meta.x", "new.note") + pick(" == nil", " != nil")
		}
		return "new.due > date(\"2026-01-01\")"
	}
	sub := func() string { return randomExpression(r, depth+1) }
	switch r.IntN(8) {
	case 0, 1:
		return "(" + sub() + pick(" && ", " and ") + sub() + ")"
	case 2, 3:
		return "(" + sub() + pick(" || ", " or ") + sub() + " || " + sub() + ")"
	case 4:
		return pick("!(", "not (") + sub() + ")"
	case 5:
		return "(" + sub() + " ? " + sub() + " : " + sub() + ")"
	case 6:
		v := "v" + strconv.Itoa(depth)
		return "(let " + v + " = " + pick(num(), text()) + "; " + v + pick(" == ", " != ") + pick("1", `"a"`, "new.qty") + " || " + sub() + ")"
	}
	return sub() + " && " + sub()
}

func randomThingsForm(r *rand.Rand, depth int) string {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	var parts []string
	for _, column := range []string{"qty", "status", "total", "paid", "any"}[r.IntN(4):] {
		one := func() string {
			switch column {
			case "qty", "total":
				return pick("0", "1", "2", "2.50", `"2.5"`)
			case "paid":
				return pick("true", "false")
			}
			return pick(`"a"`, `"b"`, `""`)
		}
		if column == "any" {
			if depth < 2 {
				parts = append(parts, `"`+pick("any", "all")+`":[`+randomThingsForm(r, depth+1)+","+randomThingsForm(r, depth+1)+`]`, `"not":`+randomThingsForm(r, depth+1))
			}
			continue
		}
		v := one()
		switch r.IntN(6) {
		case 0:
			v = `{"in":[` + one() + "," + one() + `]}`
		case 1:
			v = `{"` + pick("ne", "eq") + `":` + one() + `}`
		case 2:
			v = `{"` + pick("changed", "is_null", "not_null") + `":` + pick("true", "false") + `}`
		case 3:
			v = `{"` + pick("changed_to", "changed_from") + `":` + one() + `}`
		case 4:
			if column != "paid" {
				v = `{"between":[` + one() + "," + one() + `]}`
			}
		}
		parts = append(parts, strconv.Quote(column)+":"+v)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func randomThing(r *rand.Rand, toast bool) change.Row {
	v := values{"id": "1"}
	set := func(column string, list ...any) { v[column] = list[r.IntN(len(list))] }
	set("status", "a", "b", "", nil)
	set("code", "a  ", "b", nil)
	set("qty", "0", "1", "2", nil)
	set("total", "2.50", "1", "0", "NaN", nil)
	set("weight", "2.5", "NaN", nil)
	set("paid", "t", "f", nil)
	set("tags", "{a,b}", "{}", nil)
	set("due", "2026-02-01", "infinity", nil)
	set("meta", `{"n": 1, "t": "a"}`, `{"n": "x", "t": 3}`, "null", nil)
	if toast {
		for _, c := range []string{"status", "tags", "meta", "total"} {
			if r.IntN(2) == 0 {
				v[c] = unchanged{}
			}
		}
	}
	return of(v)
}

// TestExplainAgainstEval: what the clauses come to is what the stream decides, and so is
// each part of them.
func TestExplainAgainstEval(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	count := map[Verdict]int{}
	kinds := map[ClauseKind]int{}
	unbound, before := 0, 0
	for range 6000 {
		var src Source
		if r.IntN(3) > 0 {
			src = withExpression(randomExpression(r, 0))
		}
		if r.IntN(2) == 0 {
			src.Trigger.FieldConditions = json.RawMessage(randomThingsForm(r, 0))
		}
		if r.IntN(4) == 0 {
			src.Conditions = append(src.Conditions, withConfig("role_based", []string{
				`{"roles": ["boss"]}`, `{"all_roles": ["clerk", "x"]}`, `{"not_actors": ["u2"], "attributes": {"level": {"gte": 3}}}`,
			}[r.IntN(3)]).Conditions...)
		}
		if r.IntN(4) == 0 {
			src.Conditions = append(src.Conditions, withConfig("time_based", []string{
				`{"days": ["sun"], "zone": "Europe/Berlin"}`, `{"hours": [{"from": "09:00", "to": "13:30"}, {"from": "22:00", "to": "03:00"}], "holidays": ["12-25"]}`, `{"column": "due", "older_than": "3d"}`,
			}[r.IntN(3)]).Conditions...)
		}
		if r.IntN(4) == 0 {
			src.Firing = workflow.BecomesTrue
		}
		f, err := Parse(src)
		if err != nil {
			t.Fatalf("%s: %v", src.Conditions, err)
		}
		rel := relation([]byte("ffd")[r.IntN(3)])
		op := []change.Op{change.Create, change.Update, change.Update, change.Delete}[r.IntN(4)]
		bound, err := f.Bind(rel, things, op)
		var env Env
		if err != nil {
			unbound++
			ev := change.Event{Op: op, Relation: rel, New: randomThing(r, false)}
			env.Load(&ev, testContext)
			if _, other := f.Explain(rel, things, op, &env); other == nil || other.Error() != err.Error() {
				t.Fatalf("Explain says %v, Bind %v", other, err)
			}
			continue
		}
		for range 8 {
			ev := change.Event{Op: op, Relation: rel}
			if op != change.Delete {
				ev.New = randomThing(r, op == change.Update)
			}
			if op != change.Create && (rel.ReplicaIdentity == 'f' || op == change.Delete) {
				ev.Old = randomThing(r, r.IntN(4) > 0)
				ev.OldKeyOnly = rel.ReplicaIdentity != 'f'
			}
			env.Load(&ev, testContext)
			eval, explain := bound.Eval, f.Explain
			if src.Firing == workflow.BecomesTrue && op == change.Update && r.IntN(2) == 0 {
				before++
				eval, explain = bound.EvalBefore, f.ExplainBefore
			}
			ok, evalErr := eval(&env)
			list, err := explain(rel, things, op, &env)
			if err != nil {
				t.Fatal(err)
			}
			want := False
			if evalErr != nil {
				want = Failed
			} else if ok {
				want = True
			}
			got := Decide(list)
			count[got]++
			if got != want {
				t.Fatalf("%q %s: Eval says %s (%v), the clauses\n%s", f.Expressions(), op, want, evalErr, outline(list, ""))
			}
			checkClauses(t, list, kinds)
			if s := Stopper(list); (s == nil) != (got == True) {
				t.Fatalf("%s is stopped by %v", got, s)
			}
			var missing *MissingError
			if errors.As(evalErr, &missing) && !strings.Contains(outline(list, ""), shownMissing) && !strings.Contains(outline(list, ""), "failed") {
				t.Fatalf("nothing says what is missing:\n%s", outline(list, ""))
			}
		}
	}
	t.Logf("%v %v, %d can't be bound, %d are about the row before", count, kinds, unbound, before)
	if before < 500 {
		t.Errorf("only %d are about the row before", before)
	}
	for _, v := range []Verdict{True, False, Failed} {
		if count[v] < 500 {
			t.Errorf("only %d are %s", count[v], v)
		}
	}
	for _, k := range []ClauseKind{All, Any, Not, Choice, Let, Comparison, Changed, Single} {
		if kinds[k] < 500 {
			t.Errorf("only %d clauses are %s", kinds[k], k)
		}
	}
}

// checkClauses holds each group against its children.
func checkClauses(t *testing.T, list []Clause, kinds map[ClauseKind]int) {
	t.Helper()
	for i := range list {
		c := &list[i]
		kinds[c.Kind]++
		checkClauses(t, c.Children, kinds)
		if (c.Verdict == Failed) != (c.Error != "") || c.Where == "" || c.Text == "" {
			t.Fatalf("an odd clause: %+v", *c)
		}
		if c.Verdict == NotEvaluated || len(c.Children) == 0 {
			continue
		}
		var want Verdict
		switch c.Kind {
		case All:
			want = Decide(c.Children)
		case Any:
			want = False
			for _, child := range c.Children {
				if child.Verdict == True || child.Verdict == Failed {
					want = child.Verdict
					break
				}
			}
		case Not:
			want = map[Verdict]Verdict{True: False, False: True, Failed: Failed}[c.Children[0].Verdict]
		case Choice:
			want = c.Children[0].Verdict
			switch want {
			case True:
				want = c.Children[1].Verdict
			case False:
				want = c.Children[2].Verdict
			}
		case Let:
			want = c.Children[0].Verdict
		}
		if want != c.Verdict {
			t.Fatalf("%s is not what its parts say:\n%s", c.Verdict, outline(list[i:i+1], ""))
		}
	}
}
