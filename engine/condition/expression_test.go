package condition

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/change"
)

func TestExpressions(t *testing.T) {
	now := values{
		"id": "7", "tenant_id": "a", "status": "approved", "qty": "3", "total": "10.50", "weight": "0.1", "paid": "t",
		"due": "2026-03-05", "created_at": "2026-02-28 12:00:00+00", "local_at": "2026-03-01 10:00:00", "opens": "09:30:00",
		"meta": `{"customer": {"tier": "gold", "age": 41, "score": 1.5}, "items": [{"sku": "a", "n": 2}, {"sku": "b", "n": 0}], "n": null}`,
		"tags": "{red,blue}", "scores": "{1,5,NULL}", "odd name": "x", "any": "y",
	}
	before := values{"id": "7", "tenant_id": "a", "status": "new", "qty": "2", "total": "10.5", "weight": "0.1", "due": "2026-03-05"}
	for _, c := range []struct {
		text string
		want bool
	}{
		{`true`, true},
		{`new.total > 10`, true},
		{`new.total > 10.5`, false},
		{`new.total >= 10.5`, true},
		{`10 < new.total`, true},
		{`10 < new.total < 11`, true},
		{`new.total == 10.50`, true},
		{`new.total * 2 == 21`, true},
		{`new.total * 0.1 == 1.05`, true},
		{`new.total + new.qty == 13.5`, true},
		{`new.total - old.total == 0`, true},
		{`new.total == old.total`, true},
		{`new.total > old.qty * 5`, true},
		{`new.total / 4 == 2.625`, true},
		{`new.qty / 2 == 1.5`, true},
		{`new.qty % 2 == 1`, true},
		{`new.qty - 1 == old.qty`, true},
		{`-new.qty == -3`, true},
		{`new.weight * 3 > 0.3`, true}, // floats are floats
		{`new.weight == 0.1`, true},
		{`new.total > new.weight`, true},
		{`abs(old.qty - new.qty) == 1`, true},
		{`new.id == 7 and new.status != "x" or false`, true},
		{`not (new.status == "approved")`, false},
		{`new.status not in ["x", "y"]`, true},
		{`new.status in ["x", "approved"]`, true},
		{`lower("ABC") == "abc" && upper(new.status) == "APPROVED"`, true},
		{`lower(new.status) in ["approved"]`, true},
		{`new.status + "!" == "approved!"`, true},
		{`new.status startsWith "app" && new.status endsWith "ved" && new.status contains "rov"`, true},
		{`new.status matches "^[a-z]+$"`, true},
		{`lower(new.status) matches "^x"`, false},
		{`len(new.status) == 8`, true},
		{`len("é") == 1`, true},
		{`len(new.tags) == 2`, true},
		{`trim("  x ") == "x"`, true},
		{`new.paid`, true},
		{`!new.paid`, false},
		{`old.paid`, false}, // NULL
		{`!old.paid`, true},
		{`new.paid == true`, true},
		{`new.paid && old.paid != true`, true},
		{`new.paid ? new.qty > 1 : false`, true},
		{`(new.paid ? new.qty : old.qty) == 3`, true},
		{`op == "update"`, true},
		{`event.op == "update" && event.table == "things" && event.lsn == "16/B374D848"`, true},
		{`event.id startsWith "01"`, true},
		{`event.committed_at == now()`, true},
		{`tenant == "a"`, true},
		{`actor.id == "u1"`, true},
		{`"boss" in actor.roles`, true},
		{`actor.name == nil && actor.name.first == nil`, true},
		{`changed("status")`, true},
		{`changed("total")`, false},
		{`changed("id") || changed("status") && old.status == "new"`, true},
		{`old.status != new.status`, true},
		{`now() == date("2026-03-01 12:00")`, true},
		{`new.due > now()`, true},
		{`new.due - now() < duration("4d")`, true},
		{`new.due - now() == duration("84h")`, true},
		{`now() - new.created_at == duration("24h")`, true},
		{`date("infinity") + duration("1h") == date("infinity") && duration("1h") + date("-infinity") - duration("2h") == date("-infinity")`, true},
		{`new.created_at + duration("1d") >= now()`, true},
		{`new.created_at > "2026-02-28"`, true},
		{`"2026-02-28" < new.created_at`, true},
		{`now() > "2026-03-01"`, true},
		{`new.local_at < date("2026-03-01 10:00:01")`, true},
		{`new.opens < "10:00"`, true},
		{`new.meta.customer.tier == "gold"`, true},
		{`new.meta.customer.age > 40`, true},
		{`new.meta.customer.score == 1.5`, true},
		{`new.meta["customer"]["tier"] in ["gold", "silver"]`, true},
		{`new.meta.nothing.there == nil`, true},
		{`new.meta?.nothing?.there == nil`, true},
		{`new.meta.nothing.there > 5`, false},
		{`new.meta.n == nil`, true},
		{`(new.meta.n ?? 5) == 5`, true},
		{`new.meta.items[0].sku == "a" && new.meta.items[-1].sku == "b" && new.meta.items[9] == nil`, true},
		{`any(new.meta.items, .n > 1)`, true},
		{`all(new.meta.items, #.n > 1)`, false},
		{`none(new.meta.items, .sku == "z")`, true},
		{`one(new.meta.items, .sku == "a")`, true},
		{`count(new.meta.items, .n >= 0) == 2`, true},
		{`len(filter(new.meta.items, .n > 0)) == 1`, true},
		{`map(new.meta.items, .sku) == ["a", "b"]`, true},
		{`any(new.meta.items, any(new.tags, # == "blue"))`, true},
		{`any(new.meta.nothing, true)`, false},
		{`"red" in new.tags`, true},
		{`new.tags contains "blue"`, true},
		{`new.tags[1] == "blue"`, true},
		{`5 in new.scores`, true},
		{`"customer" in new.meta`, true},
		{`let t = new.total; t > 10 && t < 11`, true},
		{`let p = new.paid; p`, true},
		{`min(new.qty, old.qty) == 2 && max(new.qty, 10) == 10`, true},
		{`int("12") + 1 == 13 && int(new.total) == 10`, true},
		{`float(new.total) == 10.5 && string(new.qty) == "3" && string(new.total) == "10.50"`, true},
		{`new["odd name"] == "x" && row["any"] == "y"`, true},
		{`row.status == "approved"`, true},
		{`new.status == nil || new.qty == nil`, false},
		{`old.meta == nil`, true},
		{`old.meta.customer == nil`, true},
		// NULL
		{`old.due > now()`, true},
		{`old.created_at > now()`, false},
		{`!(old.created_at > now())`, true},
		{`old.local_at + duration("1h") == nil`, true},
		{`old.paid == nil`, true},
		{`len(old.tags) == nil`, true},
		{`lower(old["odd name"]) == nil`, true},
		{`new.meta.n + 1 == nil`, true},
		{`new.meta.n * 2 > 1`, false},
		{`old.any in ["a"]`, false},
		{`old.any not in ["a"]`, true},
		{`old.any != "a"`, true},
		{`old.any == new.code`, true},
		{`(old.any ?? "none") == "none"`, true},
		{`min(old.opens, "10:00") == nil`, true},
		{`-new.meta.n == nil`, true},
		{`9223372036854775807 + new.qty > 9223372036854775807`, true},
	} {
		for _, pad := range []string{"%s", "%s || false", "!(!(%s))"} {
			text := fmt.Sprintf(pad, "("+c.text+")")
			b := bind(t, withExpression(text), relation('f'), change.Update)
			got, err := eval(t, b, change.Event{Op: change.Update, Relation: relation('f'), New: of(now), Old: of(before)})
			if err != nil || got != c.want {
				t.Errorf("%s: got %v, %v, want %v", text, got, err, c.want)
			}
		}
	}
}

func TestExpressionFailures(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`new.total / old.qty > 1`, "condition 1 (expression): division by zero"},
		{`new.qty % old.qty == 1`, "division by zero"},
		{`new.meta > 5`, `an object can't be compared with the number 5`},
		{`new.meta.a.b > 5`, `the text "x" can't be compared with the number 5`},
		{`new.meta.a.b.c == 5`, `the text "x" has no parts`},
		{`new.meta.a`, `true or false is needed, not an object`},
		{`lower(new.meta.list) == "x"`, `lower needs a text, not a list`},
		{`any(new.meta, true)`, `a list is needed, not an object`},
		{`any(new.meta.list, any(new.meta.list, any(new.meta.list, any(new.meta.list, any(new.meta.list, # == 2)))))`, `it looks at more than 100000 list elements`},
		{`int(new.status) == 1`, `not a number`},
		{`new.blob == nil || new.code matches "x"`, `new.code has 2000000 bytes, a condition reads at most 1048576`},
		{`lower(new.code) == "x"`, `new.code has 2000000 bytes, a condition reads at most 1048576`},
	} {
		b := bind(t, withExpression(c.text), relation('f'), change.Update)
		list := "[" + strings.Repeat("1,", 60) + "1]"
		ev := change.Event{
			Op: change.Update, Relation: relation('f'), Old: of(values{"qty": "0"}),
			New: of(values{"total": "1", "qty": "1", "status": "x", "meta": `{"a":{"b":"x"},"list":` + list + `}`, "blob": `\x`, "code": strings.Repeat("y", 2_000_000)}),
		}
		got, err := eval(t, b, ev)
		var e *EvalError
		if got || !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, %v, want %s", c.text, got, err, c.want)
		}
	}
}

// TestThreeStates goes through what the WAL can leave out.
func TestThreeStates(t *testing.T) {
	type event struct {
		op       change.Op
		new, old values
		keyOnly  bool
	}
	kept := values{"id": "1", "status": "x", "meta": unchanged{}}
	for _, c := range []struct {
		name     string
		src      Source
		identity byte
		event
		want    bool
		missing string
	}{
		{"unchanged value, no old row", withForm(`{"meta":{"contains":1}}`), 'd', event{op: change.Update, new: kept}, false, "new.meta"},
		{"the same in an expression", withExpression(`new.meta.a == 1`), 'd', event{op: change.Update, new: kept}, false, "new.meta"},
		{"the same negated", withExpression(`!(new.meta.a == 1)`), 'd', event{op: change.Update, new: kept}, false, "new.meta"},
		{"unchanged value in a full old row", withExpression(`new.meta.a == 1`), 'f', event{op: change.Update, new: kept, old: values{"id": "1", "meta": `{"a":1}`}}, true, ""},
		{"unchanged is not NULL", withForm(`{"meta":{"not_null":true}}`), 'd', event{op: change.Update, new: kept}, true, ""},
		{"unchanged is not NULL either way", withForm(`{"meta":null}`), 'd', event{op: change.Update, new: kept}, false, ""},
		{"not needed: and, before", withExpression(`new.status == "y" && new.meta.a == 1`), 'd', event{op: change.Update, new: kept}, false, ""},
		{"not needed: and, after", withExpression(`new.meta.a == 1 && new.status == "y"`), 'd', event{op: change.Update, new: kept}, false, ""},
		{"not needed: other clause", Source{Trigger: withForm(`{"meta":{"contains":1}}`).Trigger, Conditions: withExpression(`new.status == "y"`).Conditions}, 'd', event{op: change.Update, new: kept}, false, ""},
		{"not needed: or", withExpression(`new.status == "x" || new.meta.a == 1`), 'd', event{op: change.Update, new: kept}, true, ""},
		{"needed: or", withExpression(`new.status == "y" || new.meta.a == 1`), 'd', event{op: change.Update, new: kept}, false, "new.meta"},
		{"not needed: any", withForm(`{"any":[{"status":"x"},{"meta":5}]}`), 'd', event{op: change.Update, new: kept}, true, ""},
		{"key left alone", withExpression(`old.id == 1`), 'd', event{op: change.Update, new: kept}, true, ""},
		{"key left alone is unchanged", withForm(`{"id":{"changed":true}}`), 'd', event{op: change.Update, new: kept}, false, ""},
		{"key changed", withForm(`{"id":{"changed_from":2}}`), 'd', event{op: change.Update, new: kept, old: values{"id": "2"}, keyOnly: true}, true, ""},
		{"key of a delete", withForm(`{"id":2}`), 'd', event{op: change.Delete, old: values{"id": "2"}, keyOnly: true}, true, ""},
		{"full delete", withForm(`{"status":"x"}`), 'f', event{op: change.Delete, old: values{"status": "x"}}, true, ""},
		{"old is NULL in a create", withExpression(`old.status != "x" && new.status == "x"`), 'd', event{op: change.Create, new: kept}, true, ""},
		{"nothing changes in a create", withExpression(`changed("status") || new.status == "y"`), 'd', event{op: change.Create, new: kept}, false, ""},
		{"new is NULL in a delete", withExpression(`new.status == nil && old.id == 2`), 'd', event{op: change.Delete, old: values{"id": "2"}, keyOnly: true}, true, ""},
		{"no actor", withExpression(`op == "x" || new.status == "x"`), 'd', event{op: change.Create, new: kept}, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			rel := relation(c.identity)
			b := bind(t, c.src, rel, c.op)
			ev := change.Event{Op: c.op, Relation: rel, OldKeyOnly: c.keyOnly}
			if c.event.new != nil {
				ev.New = of(c.event.new)
			}
			if c.event.old != nil {
				ev.Old = of(c.event.old)
			}
			got, err := eval(t, b, ev)
			if c.missing == "" {
				if err != nil || got != c.want {
					t.Errorf("got %v, %v, want %v", got, err, c.want)
				}
				return
			}
			var m *MissingError
			if got || !errors.As(err, &m) || m.Column != c.missing || m.Mend == "" {
				t.Errorf("got %v, %v, want a MissingError on %s", got, err, c.missing)
			}
		})
	}
}

func TestColumns(t *testing.T) {
	b := bind(t, withExpression(`new.status == "x" && (old.total > 1 || changed("qty"))`), relation('f'), change.Update)
	if got, want := strings.Join(b.Columns(), " "), "new.status old.total new.qty old.qty"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	eq := b.Equalities()
	if len(eq) != 1 || columns[eq[0].Column].Name != "status" || string(eq[0].Values[0]) != "x" {
		t.Errorf("got equalities %v", eq)
	}
}

// TestEqualities: what an index may look up, in the bytes that Env.Text gives.
func TestEqualities(t *testing.T) {
	for _, c := range []struct {
		form, want string
	}{
		{
			`{"status":"x","total":1.50,"qty":{"in":[1,2]},"paid":false,"ref":"3F2504E0-4F89-11D3-9A0C-0305E82C3301","code":"a  "}`,
			"status=x total=1.5 qty=1|2 paid=f ref=3f2504e0-4f89-11d3-9a0c-0305e82c3301 code=a",
		},
		{`{"weight":1,"due":"2026-01-01","meta":1,"status":{"ne":"x"},"total":{"gt":1}}`, ""},
		{`{"any":[{"status":"x"}],"not":{"qty":1},"total":{"changed_to":5}}`, "status=x total=5"},
		{`{"all":[{"status":"x"},{"qty":1}]}`, "status=x qty=1"},
	} {
		rel := relation('f')
		var got []string
		for _, e := range bind(t, withForm(c.form), rel, change.Update).Equalities() {
			var v []string
			for _, b := range e.Values {
				v = append(v, string(b))
			}
			got = append(got, rel.Columns[e.Column].Name+"="+strings.Join(v, "|"))
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%s: got %q, want %q", c.form, g, c.want)
		}
	}
}

func TestCache(t *testing.T) {
	var cache Cache
	f, err := Parse(withExpression(`new.qty + 1 > 2`))
	if err != nil {
		t.Fatal(err)
	}
	rel := relation('f')
	a, err := cache.Bind(f, rel, things, change.Create)
	if err != nil {
		t.Fatal(err)
	}
	b, err := cache.Bind(f, rel, things, change.Create)
	if err != nil {
		t.Fatal(err)
	}
	if a.programs[0] != b.programs[0] || cache.Len() != 1 {
		t.Errorf("the program is not shared: %d entries", cache.Len())
	}
	runtime.KeepAlive(a)
	runtime.KeepAlive(b)
	a, b = nil, nil
	for range 100 {
		if runtime.GC(); cache.Len() == 0 {
			return
		}
		runtime.Gosched()
	}
	t.Errorf("the cache keeps %d entries that nobody uses", cache.Len())
}

func TestNoAllocation(t *testing.T) {
	rel := relation('f')
	ev := change.Event{Op: change.Update, Relation: rel, New: of(values{
		"id": "7", "status": "approved", "qty": "3", "total": "10.50", "weight": "0.25", "paid": "t", "code": "ab   ",
	}), Old: of(values{"id": "7", "status": "new", "qty": "2", "total": "10.5"})}
	for _, src := range []Source{
		withForm(`{"status":"x"}`),
		withForm(`{"total":{"gt":1000},"qty":{"lt":5}}`),
		withForm(`{"any":[{"status":"x"},{"total":{"between":[11,12]}},{"qty":{"in":[1,2]}},{"weight":{"gt":0.5}},{"code":"abc"}]}`),
		withForm(`{"status":{"matches":"^x"},"total":{"changed":true}}`),
		withExpression(`new.paid && !(new.status startsWith "app") || new.total < 5 && changed("qty")`),
	} {
		b := bind(t, src, rel, change.Update)
		var env Env
		run := func() {
			env.Load(&ev, testContext)
			if ok, err := b.Eval(&env); ok || err != nil {
				t.Fatalf("got %v, %v, want false", ok, err)
			}
		}
		run()
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%s: %v allocations", src.Trigger.FieldConditions, n)
		}
	}
}

func BenchmarkEval(b *testing.B) {
	rel := relation('f')
	ev := change.Event{Op: change.Update, Relation: rel, New: of(values{"id": "7", "tenant_id": "a", "status": "approved", "qty": "3", "total": "10.50"}), Old: of(values{"status": "new"})}
	for name, src := range map[string]Source{
		"equality":   withForm(`{"status":"approved"}`),
		"two":        withForm(`{"status":"approved","total":{"gt":10}}`),
		"any":        withForm(`{"any":[{"status":"x"},{"total":{"gt":10}}]}`),
		"changed":    withForm(`{"status":{"changed_to":"approved"}}`),
		"arithmetic": withExpression(`new.total * 2 > new.qty + 5`),
	} {
		b.Run(name, func(b *testing.B) {
			bound := bind(b, src, rel, change.Update)
			var env Env
			b.ReportAllocs()
			for b.Loop() {
				env.Load(&ev, testContext)
				if ok, err := bound.Eval(&env); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

func BenchmarkBind(b *testing.B) {
	rel := relation('f')
	for name, src := range map[string]Source{
		"equality":   withForm(`{"status":"approved"}`),
		"any":        withForm(`{"any":[{"status":"x"},{"total":{"gt":10}}]}`),
		"expression": withExpression(`new.total * 2 > new.qty + 5`),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f, err := Parse(src)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := f.Bind(rel, things, change.Update); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func FuzzForm(f *testing.F) {
	for _, s := range []string{
		`{"status":"x"}`, `{"total":{"gt":1000,"lte":5e3}}`, `{"any":[{"status":"x"},{"not":{"qty":{"in":[1,2]}}}]}`,
		`{"field":"any","operator":"contains","value":"x"}`, `{"status":{"changed_from":["a","b"]}}`, `{"meta":{"eq":{"a":[1,null]}}}`,
		`{"created_at":{"between":["2026-01-01","2026-12-31T23:59:59Z"]}}`, `{"tags":{"contains":"a"}}`, `{"ref":{"starts_with":"3"}}`,
	} {
		f.Add(s, "x", "12.50")
	}
	f.Fuzz(func(t *testing.T, form, status, total string) { fuzz(t, withForm(form), status, total) })
}

func FuzzExpression(f *testing.F) {
	for _, s := range []string{
		`new.total > 10 && old.status != "x"`, `any(new.meta.items, .n > 1)`, `let a = new.qty * 2; a % 3 == 1 ? true : new.paid`,
		`new.meta?.a[0].b ?? 5 > 4`, `lower(new.status) matches "^a"`, `now() - new.created_at > duration("3d")`, `changed("total") or actor.id in ["u1"]`,
		`count(filter(new.scores, # > 1), # < 5) == len(new.tags)`, `{"a": 1} == new.meta`, `new.status + "x" contains string(new.total)`,
	} {
		f.Add(s, "x", "12.50")
	}
	f.Fuzz(func(t *testing.T, text, status, total string) { fuzz(t, withExpression(text), status, total) })
}

// fuzz goes through parse, bind, eval and explain; nothing may panic, and the last two agree.
func fuzz(t *testing.T, src Source, status, total string) {
	form, err := Parse(src)
	if err != nil {
		return
	}
	for _, identity := range []byte{'d', 'f'} {
		rel := relation(identity)
		for _, op := range []change.Op{change.Create, change.Update, change.Delete} {
			b, err := form.Bind(rel, things, op)
			if err != nil {
				continue
			}
			v := values{"id": "1", "status": status, "total": total, "qty": total, "weight": total, "meta": status, "tags": status, "created_at": status, "paid": "t"}
			w := values{"id": "2", "status": total, "total": status, "meta": unchanged{}}
			for _, pair := range [][2]values{{v, w}, {w, v}, {{}, {}}} {
				ev := change.Event{Op: op, Relation: rel, OldKeyOnly: identity == 'd'}
				if op != change.Delete {
					ev.New = of(pair[0])
				}
				if op != change.Create {
					ev.Old = of(pair[1])
				}
				var env Env
				env.Load(&ev, testContext)
				ok, err := b.Eval(&env)
				if ok && err != nil {
					t.Errorf("holds, and fails with %v", err)
				}
				clauses, bindErr := form.Explain(rel, things, op, &env)
				if v := Decide(clauses); bindErr != nil || (v == True) != ok || (v == Failed) != (err != nil) {
					t.Errorf("explained as %s (%v), and is %t, %v\n%s", v, bindErr, ok, err, outline(clauses, ""))
				}
			}
		}
	}
}

func TestRestIsShared(t *testing.T) {
	var cache Cache
	rest := func(form string) *Bound {
		b := bind(t, withForm(form), relation('f'), change.Create)
		return cache.Rest(b, b.Equalities())
	}
	a, b := rest(`{"status":"x","total":{"gt":500}}`), rest(`{"status":"y","total":{"gt":500.0}}`)
	if a == nil || rest(`{"status":"x"}`) != nil {
		t.Fatal("what remains is wrong")
	}
	if c := rest(`{"status":"x","total":{"gt":500}}`); c != a {
		t.Error("the same remains, and is not shared")
	}
	for _, other := range []string{`{"total":{"gt":501}}`, `{"total":{"gte":500}}`, `{"qty":{"gt":500}}`, `{"total":{"gt":500},"qty":{"lt":1}}`, `{"not":{"total":{"gt":500}}}`, `{"weight":{"gt":500}}`} {
		if rest(other) == a {
			t.Errorf("%s is shared with something else", other)
		}
	}
	for total, want := range map[string]bool{"500.00": false, "500.01": true} {
		for _, r := range []*Bound{a, b} {
			got, err := eval(t, r, change.Event{Op: change.Create, Relation: relation('f'), New: of(values{"total": total})})
			if err != nil || got != want {
				t.Errorf("total %s: got %v, %v", total, got, err)
			}
		}
	}
}
