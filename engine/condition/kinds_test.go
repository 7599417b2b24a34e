package condition

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// evaluate binds one condition to things, for an insert, and evaluates it.
func evaluate(t *testing.T, kind, config string, r values, ctx *Context) (bool, error) {
	t.Helper()
	f, err := Parse(withConfig(kind, config))
	if err != nil {
		t.Fatalf("%s: %v", config, err)
	}
	rel := relation('d')
	b, err := f.Bind(rel, things, change.Create)
	if err != nil {
		t.Fatalf("%s: %v", config, err)
	}
	var env Env
	env.Load(&change.Event{Op: change.Create, Relation: rel, New: of(r)}, ctx)
	return b.Eval(&env)
}

func TestTimeBased(t *testing.T) {
	const berlin = `"zone":"Europe/Berlin",`
	for _, c := range []struct {
		config, now string
		row         values
		want        bool
	}{
		{`{"days":["wed"]}`, "2026-11-25T23:30:00Z", nil, true},
		{`{` + berlin + `"days":["wed"]}`, "2026-11-25T23:30:00Z", nil, false}, // Thursday there
		{`{` + berlin + `"days":["mon","thu"]}`, "2026-11-25T23:30:00Z", nil, true},
		{`{"hours":{"from":"09:00","to":"17:30"}}`, "2026-11-25T09:00:00Z", nil, true},
		{`{"hours":{"from":"09:00","to":"17:30"}}`, "2026-11-25T08:59:59.999999Z", nil, false},
		{`{"hours":{"from":"09:00","to":"17:30"}}`, "2026-11-25T17:29:59.999999Z", nil, true},
		{`{"hours":{"from":"09:00","to":"17:30"}}`, "2026-11-25T17:30:00Z", nil, false},
		{`{` + berlin + `"hours":{"from":"09:00","to":"17:30"}}`, "2026-11-25T08:00:00Z", nil, true},
		{`{` + berlin + `"hours":{"from":"09:00","to":"17:30"}}`, "2026-07-25T07:00:00Z", nil, true}, // summer time
		{`{` + berlin + `"hours":{"from":"09:00","to":"17:30"}}`, "2026-11-25T07:00:00Z", nil, false},
		{`{"hours":{"from":"22:00","to":"06:00"}}`, "2026-11-25T23:00:00Z", nil, true},
		{`{"hours":{"from":"22:00","to":"06:00"}}`, "2026-11-25T05:59:00Z", nil, true},
		{`{"hours":{"from":"22:00","to":"06:00"}}`, "2026-11-25T06:00:00Z", nil, false},
		{`{"hours":{"from":"12:00","to":"24:00"}}`, "2026-11-25T23:59:59.5Z", nil, true},
		{`{"hours":[{"from":"08:00","to":"12:00"},{"from":"13:00","to":"17:00"}]}`, "2026-11-25T12:30:00Z", nil, false},
		{`{"hours":[{"from":"08:00","to":"12:00"},{"from":"13:00","to":"17:00"}]}`, "2026-11-25T13:00:00Z", nil, true},
		{`{"dates":{"from":"2026-11-25","to":"2026-11-25"}}`, "2026-11-25T23:59:59Z", nil, true},
		{`{"dates":{"from":"2026-11-26"}}`, "2026-11-25T23:59:59Z", nil, false},
		{`{` + berlin + `"dates":{"from":"2026-11-26"}}`, "2026-11-25T23:59:59Z", nil, true},
		{`{"dates":[{"to":"2026-01-01"},{"from":"2026-11-01","to":"2026-11-30"}]}`, "2026-11-25T00:00:00Z", nil, true},
		{`{"holidays":["2026-11-25"]}`, "2026-11-25T00:00:00Z", nil, false},
		{`{"holidays":["11-25"]}`, "2027-11-25T00:00:00Z", nil, false},
		{`{"holidays":["11-25","2026-11-26"]}`, "2027-11-26T00:00:00Z", nil, true},
		{`{"holidays":["11-25"],"on_holidays":true}`, "2027-11-25T00:00:00Z", nil, true},
		{`{"holidays":["11-25"],"on_holidays":true}`, "2027-11-26T00:00:00Z", nil, false},
		{`{"days":["wed"],"hours":{"from":"09:00","to":"10:00"},"holidays":["12-25"]}`, "2026-11-25T09:30:00Z", nil, true},
		{`{"days":["wed"],"hours":{"from":"09:00","to":"10:00"},"holidays":["11-25"]}`, "2026-11-25T09:30:00Z", nil, false},

		// a date: days of the calendar
		{`{"column":"due","within":"3d"}`, "2026-11-25T23:00:00Z", values{"due": "2026-11-28"}, true},
		{`{"column":"due","within":"3d"}`, "2026-11-25T23:00:00Z", values{"due": "2026-11-29"}, false},
		{`{"column":"due","within":"3d"}`, "2026-11-25T23:00:00Z", values{"due": "2026-11-25"}, true},
		{`{"column":"due","within":"3d"}`, "2026-11-25T23:00:00Z", values{"due": "2026-11-24"}, false},
		{`{"column":"due","within":"3d"}`, "2026-11-25T23:00:00Z", values{"due": nil}, false},
		{`{` + berlin + `"column":"due","within":"3d"}`, "2026-11-25T23:00:00Z", values{"due": "2026-11-29"}, true}, // the 26th there
		{`{"column":"due","within":"2w"}`, "2026-11-25T23:00:00Z", values{"due": "2026-12-09"}, true},
		{`{"column":"due","within_last":"1d"}`, "2026-11-25T01:00:00Z", values{"due": "2026-11-24"}, true},
		{`{"column":"due","within_last":"1d"}`, "2026-11-25T01:00:00Z", values{"due": "2026-11-23"}, false},
		{`{"column":"due","within_last":"1d"}`, "2026-11-25T01:00:00Z", values{"due": "2026-11-26"}, false},
		{`{"column":"due","older_than":"30d"}`, "2026-11-25T01:00:00Z", values{"due": "2026-10-25"}, true},
		{`{"column":"due","older_than":"30d"}`, "2026-11-25T01:00:00Z", values{"due": "2026-10-26"}, false},
		{`{"column":"due","further_than":"1w"}`, "2026-11-25T01:00:00Z", values{"due": "2026-12-03"}, true},
		{`{"column":"due","further_than":"1w"}`, "2026-11-25T01:00:00Z", values{"due": "2026-12-02"}, false},
		{`{"column":"due","further_than":"1w"}`, "2026-11-25T01:00:00Z", values{"due": "infinity"}, true},
		{`{"column":"due","older_than":"1w"}`, "2026-11-25T01:00:00Z", values{"due": "-infinity"}, true},
		{`{"column":"due","within":"99999d"}`, "2026-11-25T01:00:00Z", values{"due": "infinity"}, false},
		// an instant: hours are exact, days are of the calendar
		{`{"column":"created_at","within_last":"90m"}`, "2026-11-25T10:00:00Z", values{"created_at": "2026-11-25 08:30:00+00"}, true},
		{`{"column":"created_at","within_last":"90m"}`, "2026-11-25T10:00:00Z", values{"created_at": "2026-11-25 08:29:59+00"}, false},
		{`{"column":"created_at","within":"36h"}`, "2026-11-25T10:00:00Z", values{"created_at": "2026-11-26 22:00:00+00"}, true},
		{`{"column":"created_at","further_than":"36h"}`, "2026-11-25T10:00:00Z", values{"created_at": "2026-11-26 22:00:00+00"}, false},
		{`{"column":"created_at","older_than":"1h"}`, "2026-11-25T10:00:00Z", values{"created_at": "2026-11-25 08:59:59+00"}, true},
		{`{"column":"created_at","within":"1d"}`, "2026-11-25T10:00:00Z", values{"created_at": "2026-11-26 23:59:00+00"}, true},
		// without zone: what stands there is meant in the condition's
		{`{` + berlin + `"column":"local_at","within":"1h"}`, "2026-11-25T10:00:00Z", values{"local_at": "2026-11-25 11:30:00"}, true},
		{`{"column":"local_at","within":"1h"}`, "2026-11-25T10:00:00Z", values{"local_at": "2026-11-25 11:30:00"}, false},
	} {
		ctx := &Context{CommittedAt: at(t, c.now)}
		got, err := evaluate(t, "time_based", c.config, c.row, ctx)
		if err != nil || got != c.want {
			t.Errorf("%s at %s, %v: got %v, %v", c.config, c.now, c.row, got, err)
		}
	}
}

// A time without zone is meant in the zone that it is looked at in, whatever was done to it.
func TestLocalTimes(t *testing.T) {
	r := values{"due": "2026-11-28", "local_at": "2026-11-28 23:30:00", "created_at": "2026-11-28 23:30:00+00", "status": "infinity"}
	ctx := &Context{CommittedAt: at(t, "2026-11-25T10:00:00Z")}
	for _, text := range []string{
		`day(new.due, "America/New_York") == "2026-11-28"`,
		`let d = new.due; day(d, "America/New_York") == "2026-11-28"`,
		`day(new.due ?? now(), "America/New_York") == "2026-11-28"`,
		`day(max(new.due, new.due), "America/New_York") == "2026-11-28"`,
		`day(new.due + duration("1d"), "America/New_York") == "2026-11-29"`,
		`day(true ? new.due : new.due, "America/New_York") == "2026-11-28"`,
		`clock(new.local_at, "Asia/Tokyo") == "23:30:00"`,
		`day(new.created_at, "Asia/Tokyo") == "2026-11-29"`,
		`day(new.status) == "infinity" && daysUntil(new.status) > 99999`,
	} {
		b, _ := json.Marshal(map[string]string{"expression": text})
		if got, err := evaluate(t, "expression", string(b), r, ctx); err != nil || !got {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
}

func TestRoleBased(t *testing.T) {
	ann := map[string]any{
		"id": "ann", "roles": []any{"staff", "approver"},
		"attributes": map[string]any{"level": 3.0, "department": "sales", "vip": true},
	}
	for _, c := range []struct {
		config string
		actor  any
		want   bool
	}{
		{`{"roles":["approver","admin"]}`, ann, true},
		{`{"roles":["admin"]}`, ann, false},
		{`{"roles":["admin"]}`, nil, false},
		{`{"all_roles":["staff","approver"]}`, ann, true},
		{`{"all_roles":["staff","admin"]}`, ann, false},
		{`{"all_roles":["staff"]}`, nil, false},
		{`{"not_roles":["robot"]}`, ann, true},
		{`{"not_roles":["robot","staff"]}`, ann, false},
		{`{"not_roles":["robot"]}`, nil, true},
		{`{"actors":["ann","ben"]}`, ann, true},
		{`{"actors":["ben"]}`, ann, false},
		{`{"actors":["ben"]}`, nil, false},
		{`{"not_actors":["ben"]}`, ann, true},
		{`{"not_actors":["ann"]}`, ann, false},
		{`{"not_actors":["ann"]}`, nil, true},
		{`{"attributes":{"level":{"gte":3},"department":"sales"}}`, ann, true},
		{`{"attributes":{"level":{"gt":3}}}`, ann, false},
		{`{"attributes":{"level":{"between":[1,3.0]}}}`, ann, true},
		{`{"attributes":{"vip":true}}`, ann, true},
		{`{"attributes":{"department":{"in":["it","sales"]}}}`, ann, true},
		{`{"attributes":{"department":{"starts_with":"sa"}}}`, ann, true},
		{`{"attributes":{"department":{"contains":"x"}}}`, ann, false},
		{`{"attributes":{"any":[{"level":9},{"vip":true}]}}`, ann, true},
		{`{"attributes":{"not":{"level":3}}}`, ann, false},
		{`{"attributes":{"team":null}}`, ann, true},
		{`{"attributes":{"level":3}}`, nil, false},
		{`{"roles":["staff"],"not_roles":["robot"],"attributes":{"level":3}}`, ann, true},
		{`{"roles":["staff"],"not_roles":["approver"],"attributes":{"level":3}}`, ann, false},
		{`{"roles":["nobody"],"by":"directory"}`, ann, true}, // the executor decides
	} {
		got, err := evaluate(t, "role_based", c.config, nil, &Context{Actor: c.actor})
		if err != nil || got != c.want {
			t.Errorf("%s of %v: got %v, %v", c.config, c.actor, got, err)
		}
	}
	// What is of another type is not false, it fails.
	_, err := evaluate(t, "role_based", `{"attributes":{"department":{"gt":3}}}`, nil, &Context{Actor: ann})
	if err == nil || !strings.Contains(err.Error(), "condition 1 (role_based).attributes.department.gt: ") {
		t.Errorf("got %v", err)
	}
}

func TestAnyChanged(t *testing.T) {
	for _, c := range []struct {
		old, new values
		want     bool
	}{
		{values{"status": "a", "total": "1"}, values{"status": "a", "total": "1.0"}, false},
		{values{"status": "a", "total": "1"}, values{"status": "b", "total": "1"}, true},
		{values{"status": "a", "total": "1"}, values{"status": "a", "total": "2"}, true},
		{values{"status": "a", "code": "1"}, values{"status": "a", "qty": "2"}, true},
		{values{"paid": "t"}, values{"paid": "f"}, false},
	} {
		f, err := Parse(Source{Trigger: workflow.Trigger{FieldConditions: json.RawMessage(`{"any_changed":["status","total","qty"]}`)}})
		if err != nil {
			t.Fatal(err)
		}
		rel := relation('f')
		b, err := f.Bind(rel, things, change.Update)
		if err != nil {
			t.Fatal(err)
		}
		if len(b.leaves) != 1 || len(b.programs) != 0 {
			t.Fatalf("it is %d leaves and %d programs", len(b.leaves), len(b.programs))
		}
		var env Env
		env.Load(&change.Event{Op: change.Update, Relation: rel, Old: of(c.old), New: of(c.new)}, &Context{})
		if got, err := b.Eval(&env); err != nil || got != c.want {
			t.Errorf("%v to %v: got %v, %v", c.old, c.new, got, err)
		}
	}
}

// TestBecomesTrue evaluates conditions for both rows of an update.
func TestBecomesTrue(t *testing.T) {
	bind := func(form string, identity byte, op change.Op) (*Bound, error) {
		f, err := Parse(Source{Trigger: workflow.Trigger{FieldConditions: json.RawMessage(form)}, Firing: workflow.BecomesTrue})
		if err != nil {
			t.Fatal(err)
		}
		return f.Bind(relation(identity), things, op)
	}
	for _, c := range []struct {
		form          string
		old, new      values
		before, after bool
	}{
		{`{"total":{"gt":10}}`, values{"total": "9"}, values{"total": "11"}, false, true},
		{`{"total":{"gt":10}}`, values{"total": "11"}, values{"total": "12"}, true, true},
		{`{"total":{"gt":10},"status":"x"}`, values{"total": "11", "status": "y"}, values{"total": "11", "status": "x"}, false, true},
		{`{"status":null}`, values{"status": "y"}, values{"status": nil}, false, true},
		{`{"status":null}`, values{"status": nil}, values{"status": "y"}, true, false},
		{`{"any":[{"status":"a"},{"meta":{"contains":"x"}}]}`, values{"status": "a"}, values{"meta": `["x"]`}, true, true},
	} {
		b, err := bind(c.form, 'f', change.Update)
		if err != nil {
			t.Fatal(err)
		}
		var env Env
		env.Load(&change.Event{Op: change.Update, Relation: relation('f'), Old: of(c.old), New: of(c.new)}, &Context{})
		after, err1 := b.Eval(&env)
		before, err2 := b.EvalBefore(&env)
		again, err3 := b.Eval(&env)
		if after != c.after || before != c.before || again != after || err1 != nil || err2 != nil || err3 != nil {
			t.Errorf("%s: got %v after %v, and %v again; %v %v %v", c.form, after, before, again, err1, err2, err3)
		}
	}
	b, err := bind(`{}`, 'f', change.Update)
	if err != nil || len(b.Warnings()) != 1 || !strings.Contains(b.Warnings()[0].Error(), "never fires for an update") {
		t.Errorf("without conditions: got %v, %v", b, err)
	}
	for _, c := range []struct {
		form     string
		identity byte
		op       change.Op
		want     string
	}{
		{`{"status":"x"}`, 'd', change.Update, "field_conditions: firing mode becomes_true needs the old value of status in an update, which is never in the WAL: it is not part of the replica identity of table things; run ALTER TABLE public.things REPLICA IDENTITY FULL"},
		{`{"status":{"changed_to":"x"}}`, 'f', change.Update, "becomes_true looks at the old row by itself, and its conditions can't: this one reads the old value of status"},
		{`{"status":"x"}`, 'f', change.Delete, "nothing becomes true of a row by deleting it"},
		{`{"id":5}`, 'd', change.Update, ""},
		{`{"status":"x"}`, 'd', change.Create, ""},
	} {
		_, err := bind(c.form, c.identity, c.op)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s, identity %c, %s: got %v, want %q", c.form, c.identity, c.op, err, c.want)
		}
	}
}

func TestDomainEvents(t *testing.T) {
	rel := DomainRelation("order.paid")
	table := &workflow.Table{Schema: rel.Schema, Name: rel.Name, Label: "domain:order.paid", TenantColumn: "tenant"}
	bind := func(src Source) (*Bound, error) {
		f, err := Parse(src)
		if err != nil {
			return nil, err
		}
		return f.Bind(rel, table, change.Emit)
	}
	ev := &change.Event{Op: change.Emit, Relation: rel, New: row(`{"order_id": 42, "total": 99.50, "who": {"name": "ann"}, "tags": ["a"], "due": "2026-11-26", "odd name": null}`, "acme")}
	ctx := &Context{CommittedAt: at(t, "2026-11-25T10:00:00Z")}
	for _, c := range []struct {
		src  Source
		want bool
	}{
		{withExpression(`new.order_id == 42 && tenant == "acme" && op == "emit" && event.table == "domain:order.paid"`), true},
		{withExpression(`new.total >= 99.5 && new.who.name startsWith "a" && "a" in new.tags`), true},
		{withExpression(`new["odd name"] == nil && new.nothing == nil`), true},
		{withConfig("field_value", `{"order_id":{"in":[41,42]},"total":{"between":[99.5,100]},"tags":{"contains":"a"},"nothing":null}`), true},
		{withConfig("field_value", `{"order_id":{"ne":42}}`), false},
		{withConfig("time_based", `{"column":"due","within":"1d"}`), true},
		{withConfig("time_based", `{"column":"due","older_than":"1d"}`), false},
	} {
		b, err := bind(c.src)
		if err != nil {
			t.Errorf("%v: %v", c.src, err)
			continue
		}
		var env Env
		env.Load(ev, ctx)
		if got, err := b.Eval(&env); err != nil || got != c.want {
			t.Errorf("%s: got %v, %v", c.src.Conditions[0].Config, got, err)
		}
	}
	for _, c := range []struct{ text, want string }{
		{`old.total > 1`, "a domain event has no old row; write new.total"},
		{`changed("total")`, "a domain event changes no column"},
		{`total > 1`, `unknown name "total"; a column is written new.total`},
	} {
		if _, err := bind(withExpression(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.text, err, c.want)
		}
	}
}

func TestWarnings(t *testing.T) {
	form := func(text string) Source {
		return Source{Trigger: workflow.Trigger{FieldConditions: json.RawMessage(text)}}
	}
	for _, c := range []struct {
		src      Source
		identity byte
		op       change.Op
		want     string // "" none
	}{
		{form(`{"status":"a"}`), 'd', change.Update, ""},
		{form(`{}`), 'd', change.Update, ""},
		{form(`{"total":{"gt":5,"lt":6}}`), 'd', change.Create, ""},
		{form(`{"total":{"gt":6,"lt":5}}`), 'd', change.Create, "field_conditions.total.lt: this and field_conditions.total.gt never hold together, so the trigger never fires for a create"},
		{form(`{"total":{"between":[200,100]}}`), 'd', change.Create, "never hold together"},
		{form(`{"total":{"gte":5,"lt":5}}`), 'd', change.Create, "never hold together"},
		{form(`{"total":{"gte":5,"lte":5}}`), 'd', change.Create, ""},
		{form(`{"total":{"gt":100,"lt":99.5}}`), 'd', change.Create, "never hold together"},
		{form(`{"total":{"eq":5,"gt":7}}`), 'd', change.Create, "never hold together"},
		{form(`{"status":{"eq":"a","ne":"a"}}`), 'd', change.Create, "never hold together"},
		{form(`{"status":{"in":["a","b"],"not_in":["b","a","c"]}}`), 'd', change.Create, "never hold together"},
		{form(`{"status":{"in":["a","b"],"not_in":["b","c"]}}`), 'd', change.Create, ""},
		{form(`{"due":{"gt":"2026-02-01","lt":"2026-01-01"}}`), 'd', change.Create, "never hold together"},
		{form(`{"weight":{"gt":2,"lt":1}}`), 'd', change.Create, "never hold together"},
		{form(`{"status":{"is_null":true,"eq":"a"}}`), 'd', change.Create, "never hold together"},
		{form(`{"any":[{"status":{"ne":"a"}},{"status":{"ne":"b"}}]}`), 'd', change.Create, `field_conditions.any: one of the two about status always holds, so this says nothing; for "neither of them"`},
		{form(`{"any":[{"status":{"ne":"a"}},{"status":"a"}]}`), 'd', change.Create, "always holds"},
		{form(`{"any":[{"status":null},{"status":{"not_null":true}}]}`), 'd', change.Create, "always holds"},
		{form(`{"any":[{"total":{"gt":1}},{"total":{"lt":5}}]}`), 'd', change.Create, ""}, // NULL is neither
		{form(`{"any":[{"total":{"gt":9,"lt":5}},{"status":"a"}]}`), 'd', change.Create, "field_conditions.any[0].total: the two about total never hold together"},
		{form(`{"not":{"any":[{"status":{"ne":"a"}},{"status":{"ne":"b"}}]}}`), 'd', change.Create, "always holds, so this says nothing"},
		{form(`{"qty":1.5}`), 'd', change.Create, "column qty is int4 and never equals what it is compared with"},
		{form(`{"qty":{"in":[1.5,2]}}`), 'd', change.Create, ""},
		{withExpression(`1 > 2`), 'd', change.Create, "condition 1 (expression), line 1, column 1: this can never hold for a create"},
		{withExpression(`2 > 1`), 'd', change.Create, "this always holds, so it says nothing"},
		{withExpression(`op == "delete"`), 'd', change.Create, "this can never hold for a create"},
		{withExpression(`op == "create" || new.status == "a"`), 'd', change.Update, ""},
		{withExpression(`changed("status")`), 'd', change.Create, "this can never hold for a create"},
		{withExpression(`new.status == "a" and new.status == "b"`), 'd', change.Create, "never hold together"},
		{withExpression(`!(new.status == "a" or new.status != "a")`), 'd', change.Create, "always holds"},
		{withExpression(`changed("status") && !changed("status")`), 'f', change.Update, "never hold together"},
		{form(`{"meta":{"contains":"x"}}`), 'd', change.Update, "a large value of meta that an update leaves alone is not in the WAL: then this can't be decided, and the execution fails; run ALTER TABLE public.things REPLICA IDENTITY FULL"},
		{form(`{"meta":{"contains":"x"}}`), 'f', change.Update, ""},
		{form(`{"meta":{"contains":"x"}}`), 'd', change.Create, ""},
		{form(`{"status":{"contains":"x"}}`), 'd', change.Update, "a large value of status"},
		{form(`{"status":{"matches":"x"}}`), 'd', change.Update, "a large value of status"},
		{form(`{"status":{"gt":"x"}}`), 'd', change.Update, "a large value of status"},
		{form(`{"total":{"gt":5}}`), 'd', change.Update, ""},
		{withExpression(`len(new.tags) > 3`), 'd', change.Update, "a large value of tags"},
	} {
		f, err := Parse(c.src)
		if err != nil {
			t.Fatal(err)
		}
		b, err := f.Bind(relation(c.identity), things, c.op)
		if err != nil {
			t.Errorf("%s %s: %v", c.src.Trigger.FieldConditions, c.src.Conditions, err)
			continue
		}
		var got []string
		for _, w := range b.Warnings() {
			got = append(got, w.Error())
		}
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s %s for %s: got %q, want %q", c.src.Trigger.FieldConditions, c.src.Conditions, c.op, got, c.want)
		}
	}
}

// What a machine's files have besides the zones of the IANA database isn't one: its own zone,
// zones with leap seconds, the same zone by other paths.
func TestZonesAreThoseOfTheDatabase(t *testing.T) {
	for _, zone := range []string{"./UTC", "Europe//Berlin", "Europe/./Berlin", "localtime", "posixrules", "posix/UTC", "right/UTC", "Local", "."} {
		_, err := Parse(withConfig("time_based", `{"days": ["mon"], "zone": "`+zone+`"}`))
		if err == nil || !strings.Contains(err.Error(), "there is no time zone") {
			t.Errorf("%s: %v", zone, err)
		}
	}
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "EST5EDT"} {
		if _, err := Parse(withConfig("time_based", `{"days": ["mon"], "zone": "`+zone+`"}`)); err != nil {
			t.Error(err)
		}
	}
}

// A workflow for several operations may ask which one it is.
func TestAskingForTheOperationIsNoMistake(t *testing.T) {
	for _, text := range []string{`op == "create" || changed("status")`, `event.op != "update" || changed("status")`, `!changed("status")`} {
		if w := bind(t, withExpression(text), relation('f'), change.Create).Warnings(); len(w) > 0 {
			t.Errorf("%s: %v", text, w)
		}
	}
}

func TestTheEnvironmentIsNoVariable(t *testing.T) {
	f, err := Parse(withExpression(`let $env = 1; int(new.qty) > $env`))
	if err == nil {
		_, err = f.Bind(relation('f'), things, change.Create)
	}
	if err == nil || !strings.Contains(err.Error(), "$env has a meaning already") {
		t.Error(err)
	}
}
