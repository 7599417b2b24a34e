package trial

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// By construction nothing is sent: there is nothing below this package to send with.
func TestCannotSend(t *testing.T) {
	if _, err := os.ReadFile("simulate.go"); err != nil { // so that the cached result ends when it changes
		t.Fatal(err)
	}
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, "github.com/rowbell/rowbell/engine/condition") {
		t.Fatalf("these are not its imports: %v", deps)
	}
	for _, dep := range deps {
		path := strings.TrimPrefix(dep, "github.com/rowbell/rowbell/")
		for _, never := range []string{"net/http", "net", "os/exec", "database/sql", "github.com/jackc/pgx/v5", "pkg/egress", "pkg/store", "engine/executor", "engine", "actions", "cdc"} {
			if path == never || strings.HasPrefix(path, never+"/") && slices.Contains([]string{"net/http", "actions", "cdc"}, never) {
				t.Errorf("it reaches %s", dep)
			}
		}
	}
}

func orders(identity byte) *change.Relation {
	rel := &change.Relation{OID: 1, Schema: "public", Name: "orders", ReplicaIdentity: identity, Fingerprint: uint64(identity), Columns: []change.Column{
		{Name: "id", Type: change.Type{Kind: change.Int, Name: "int8"}, Key: true},
		{Name: "tenant_id", Type: change.Type{Kind: change.Text, Name: "text"}},
		{Name: "status", Type: change.Type{Kind: change.Text, Name: "text"}},
		{Name: "total", Type: change.Type{Kind: change.Number, Name: "numeric"}},
		{Name: "note", Type: change.Type{Kind: change.Text, Name: "text"}},
		{Name: "hidden", Type: change.Type{Kind: change.Text, Name: "text"}},
	}}
	for i := range rel.Columns {
		rel.Columns[i].Key = rel.Columns[i].Key || identity == 'f'
	}
	return rel
}

func captured() *workflow.Table {
	return &workflow.Table{Schema: "public", Name: "orders", Version: 1, Label: "orders", TenantColumn: "tenant_id", KeyColumns: []string{"id"}, Hidden: []string{"hidden"}}
}

var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// row makes cells: nil is NULL, a byte stands for what is not in the WAL.
func row(values ...any) []Cell {
	cells := make([]Cell, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case nil:
			cells[i].State = change.Null
		case string:
			cells[i] = Cell{change.Present, []byte(v)}
		}
	}
	return cells
}

// document is a workflow of tenant a, active, with one log action.
func document(settings string, conditions []workflow.Condition, triggers ...workflow.Trigger) workflow.Version {
	tenant := "a"
	w := workflow.Workflow{
		ID: "w", TenantID: &tenant, Name: "W", Status: workflow.Active, Settings: json.RawMessage(settings), Triggers: triggers, Conditions: conditions,
		Actions: []workflow.Action{{ID: "1", Type: "log", Config: json.RawMessage(`{}`)}},
	}
	text, err := json.Marshal(w)
	if err != nil {
		panic(err)
	}
	return workflow.Version{WorkflowID: "w", Version: 3, TenantID: tenant, Status: workflow.Active, Document: text}
}

func on(operation, form string) workflow.Trigger {
	return workflow.Trigger{EntityType: "orders", Operation: operation, FieldConditions: json.RawMessage(form), Priority: 100}
}

func expression(text string) []workflow.Condition {
	config, err := json.Marshal(map[string]string{"expression": text})
	if err != nil {
		panic(err)
	}
	return []workflow.Condition{{Type: "expression", Config: config}}
}

// anyChange is a change of a row, as the stream would bring it.
func anyChange(r *rand.Rand, rel *change.Relation) *Change {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	value := func(toast bool) []any {
		list := []any{"7", pick("a", "a", "a", "b"), pick("x", "y"), pick("1", "1.0", "2"), pick("x", "y"), pick("p", "q")}
		for i := 2; i < 5; i++ {
			if r.IntN(6) == 0 {
				list[i] = nil
			} else if toast && i == 4 && r.IntN(3) == 0 {
				list[i] = 0 // not in the WAL
			}
		}
		return list
	}
	c := &Change{Table: captured(), Relation: rel, CommittedAt: at, Position: change.Position{Stream: 1, CommitLSN: 9}, Recorded: true, Actor: json.RawMessage(`{"id": "ann"}`)}
	before := value(false)
	if rel.ReplicaIdentity != 'f' {
		before = []any{"7", 0, 0, 0, 0, 0}
	}
	switch r.IntN(4) {
	case 0:
		c.Op, c.New = change.Create, row(value(false)...)
	case 1:
		c.Op, c.Old = change.Delete, row(before...)
	default:
		c.Op, c.New = change.Update, row(value(true)...)
		if rel.ReplicaIdentity == 'f' {
			after := value(true)
			if r.IntN(4) == 0 {
				after = slices.Clone(before)
				after[5] = "another"
			}
			c.New, c.Old = row(after...), row(before...)
		}
	}
	return c
}

// TestAgainstIndex: what a simulation comes to is what the stream would decide, and so it
// is once the event was recorded and read back.
func TestAgainstIndex(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	count := map[Answer]int{}
	again := 0
	for range 5000 {
		form := func(op string) string {
			var parts []string
			for _, column := range []string{"status", "total", "note"}[r.IntN(3):] {
				value := pick(`"x"`, `"y"`, `{"ne": "x"}`, "null", `{"not_null": true}`)
				if column == "total" {
					value = pick("1", `{"gt": 1}`, `{"between": [1, 2]}`, "null")
				}
				if op == "update" && r.IntN(5) == 0 {
					value = `{"changed": true}`
				}
				if r.IntN(3) == 0 {
					parts = append(parts, fmt.Sprintf("%q: %s", column, value))
				}
			}
			return "{" + strings.Join(parts, ",") + "}"
		}
		var triggers []workflow.Trigger
		for range 1 + r.IntN(2) {
			op := pick("create", "update", "update", "update", "delete")
			tr := on(op, form(op))
			tr.Priority = int32(r.IntN(3))
			triggers = append(triggers, tr)
		}
		var conditions []workflow.Condition
		if r.IntN(3) > 0 {
			conditions = expression(pick(`1 / (row.total - 1) > -5`, `1 / (row.total - 1) > -5`, `row.note == nil || row.total > 1`, `actor.id == "ann"`, `len(row.note) > 0`))
		}
		v := document(pick(`{}`, `{"firing": "becomes_true"}`, `{"firing": "once_per_row"}`), conditions, triggers...)
		rel := orders([]byte("ffd")[r.IntN(3)])
		c := anyChange(r, rel)
		ev := c.event()
		ix := match.New()
		ix.Capture(c.Table)
		ix.Apply(match.Compile(v, 1, nil))
		table := ix.Bind(rel)
		health := ix.TakeVerdicts()[0]
		matches := table.Match(ev, &condition.Context{Position: c.Position, CommittedAt: at, Actor: map[string]any{"id": "ann"}}, nil)

		got := Simulate(Input{Version: v, Change: c})
		count[got.Answer]++
		var want []Answer
		switch {
		case health.Verdict == workflow.Broken:
			want = []Answer{Broken}
		case len(matches) == 0:
			want = []Answer{DoesNot}
		case slices.ContainsFunc(matches, func(m match.Match) bool { return m.Err == nil }):
			want = []Answer{Fires, Depends}
		default:
			want = []Answer{WouldFail}
		}
		if !slices.Contains(want, got.Answer) {
			t.Fatalf("%s\n%s of %s: got %s (%s), want %s; %v", v.Document, c.Op, c.data(ev, c.Op), got.Answer, got.Reason, want, matches)
		}
		if got.Answer == Fires && len(got.Actions) != 1 {
			t.Fatalf("it runs %v", got.Actions)
		}

		if tenantChange(c, ev) {
			continue // recorded as two events
		}
		again++
		e := &workflow.Event{ID: "e", Op: c.Op, Position: c.Position, CommittedAt: at, Table: "orders", TenantID: c.tenant(c.Op), Data: c.data(ev, c.Op)}
		back, err := Recorded(e, c.Table, rel)
		if err != nil {
			t.Fatal(err)
		}
		second := Simulate(Input{Version: v, Change: back})
		if second.Answer != got.Answer || !reflect.DeepEqual(second.Triggers, got.Triggers) {
			t.Fatalf("%s\n%s\nfirst %s %s\n%+v\nread back %s %s\n%+v", v.Document, e.Data, got.Answer, got.Reason, got.Triggers, second.Answer, second.Reason, second.Triggers)
		}
		if data := back.data(back.event(), back.Op); string(data) != string(e.Data) {
			t.Fatalf("%s became\n%s", e.Data, data)
		}
	}
	t.Logf("%v, %d read back", count, again)
	for _, a := range []Answer{Fires, DoesNot, Depends, WouldFail, Broken} {
		if count[a] < 100 {
			t.Errorf("only %d are %s", count[a], a)
		}
	}
}

func TestSimulate(t *testing.T) {
	update := func() *Change {
		c := OfRow(change.Update, row("7", "a", "open", "10.00", nil, "p"), captured(), orders('f'))
		c.CommittedAt = at
		return c
	}
	yes, no := true, false
	for name, c := range map[string]struct {
		in       Input
		new, old string
		answer   Answer
		reason   string
	}{
		"begins to match":     {Input{Version: document(`{"firing": "becomes_true"}`, nil, on("update", `{"status": "paid"}`))}, `{"status": "paid"}`, ``, Fires, "trigger 1 (orders update) matches"},
		"matched before":      {Input{Version: document(`{"firing": "becomes_true"}`, nil, on("update", `{"status": "paid"}`))}, `{"status": "paid", "total": 3}`, `{"status": "paid"}`, DoesNot, "the row matched before this change already"},
		"once, not known":     {Input{Version: document(`{"firing": "once_per_row"}`, nil, on("update", `{}`))}, `{"total": 1}`, ``, Depends, "it fires if it hasn't for this row"},
		"once, the first":     {Input{Version: document(`{"firing": "once_per_row"}`, nil, on("update", `{}`)), Fired: &no}, `{"total": 1}`, ``, Fires, "matches"},
		"once, again":         {Input{Version: document(`{"firing": "once_per_row"}`, nil, on("update", `{}`)), Fired: &yes}, `{"total": 1}`, ``, DoesNot, "it has fired for this row already"},
		"roles by directory":  {Input{Version: document(`{}`, []workflow.Condition{{Type: "role_based", Config: json.RawMessage(`{"roles": ["x"], "by": "directory"}`)}}, on("update", `{}`))}, `{"total": 1}`, ``, Depends, "the directory decides about roles"},
		"nothing changes":     {Input{Version: document(`{}`, nil, on("update", `{}`))}, ``, ``, DoesNot, "the update changes nothing"},
		"written differently": {Input{Version: document(`{}`, nil, on("update", `{}`))}, `{"total": 10}`, ``, DoesNot, "the update changes nothing"},
		"becomes a tenant's":  {Input{Version: document(`{}`, nil, on("create", `{"status": "open"}`))}, ``, `{"tenant_id": "b"}`, Fires, "trigger 1 (orders create) matches"},
		"leaves the tenant":   {Input{Version: document(`{}`, nil, on("update", `{}`), on("delete", `{}`))}, `{"tenant_id": "b"}`, ``, Fires, "trigger 2 (orders delete) matches"},
		"another table":       {Input{Version: document(`{}`, nil, workflow.Trigger{EntityType: "things", Operation: "update"})}, `{"total": 1}`, ``, DoesNot, "it is on things, and the change is of orders"},
		"division by zero":    {Input{Version: document(`{}`, expression(`1 / new.total > 1`), on("update", `{}`))}, `{"total": 0}`, ``, WouldFail, "division by zero"},
		"an unknown column":   {Input{Version: document(`{}`, nil, on("update", `{"x": 1}`))}, `{"total": 1}`, ``, Broken, "table orders has no column x"},
		"a wrong firing":      {Input{Version: document(`{"firing": "twice"}`, nil, on("update", `{}`))}, `{"total": 1}`, ``, Broken, `firing is "twice"`},
		"a wrong operation":   {Input{Version: document(`{}`, nil, on("upsert", `{}`))}, `{"total": 1}`, ``, Broken, `there is no operation "upsert"`},
		"no trigger":          {Input{Version: document(`{}`, nil)}, `{"total": 1}`, ``, Broken, "the workflow has no trigger"},
		"actions judged": {Input{Version: document(`{}`, nil, on("update", `{}`)), Judge: func(*workflow.Workflow) (workflow.Judged, error) {
			return workflow.Judged{}, fmt.Errorf("action 1: no")
		}}, `{"total": 1}`, ``, Broken, "action 1: no"},
		"the lowest priority":   {Input{Version: document(`{}`, nil, on("update", `{}`), workflow.Trigger{EntityType: "public.orders", Operation: "update", Priority: 1})}, `{"total": 1}`, ``, Fires, "trigger 2 (public.orders update) matches"},
		"the actor is nobody":   {Input{Version: document(`{}`, []workflow.Condition{{Type: "role_based", Config: json.RawMessage(`{"roles": ["x"]}`)}}, on("update", `{}`))}, `{"total": 1}`, ``, DoesNot, "actor.roles"},
		"a Sunday, by the time": {Input{Version: document(`{}`, []workflow.Condition{{Type: "time_based", Config: json.RawMessage(`{"days": ["sun"]}`)}}, on("update", `{}`))}, `{"total": 1}`, ``, Fires, "matches"},
	} {
		t.Run(name, func(t *testing.T) {
			c.in.Change = update()
			if err := c.in.Change.Edit([]byte(c.new), []byte(c.old)); err != nil {
				t.Fatal(err)
			}
			r := Simulate(c.in)
			if r.Answer != c.answer || !strings.Contains(r.Reason, c.reason) {
				t.Errorf("got %s: %s", r.Answer, r.Reason)
			}
		})
	}
}

func TestDomain(t *testing.T) {
	v := document(`{}`, nil, workflow.Trigger{EntityType: "domain:order.shipped", Operation: "create", FieldConditions: json.RawMessage(`{"carrier": "dhl"}`)})
	for payload, want := range map[string]Answer{`{"carrier": "dhl"}`: Fires, `{"carrier": "ups"}`: DoesNot, `{}`: DoesNot} {
		c := Domain("order.shipped", nil, "a")
		c.CommittedAt = at
		if err := c.Edit([]byte(payload), nil); err != nil {
			t.Fatal(err)
		}
		r := Simulate(Input{Version: v, Change: c})
		if r.Answer != want {
			t.Errorf("%s: %s, %s", payload, r.Answer, r.Reason)
		}
		// As the stream decides.
		ix := match.New()
		ix.Apply(match.Compile(v, 1, nil))
		n := len(ix.Domain("order.shipped").Match(c.event(), &condition.Context{CommittedAt: at}, nil))
		if (n == 1) != (want == Fires) {
			t.Errorf("%s: the index finds %d", payload, n)
		}
	}
	if r := Simulate(Input{Version: v, Change: Domain("order.paid", nil, "a")}); r.Answer != DoesNot || !strings.Contains(r.Reason, "it is on domain:order.shipped") {
		t.Errorf("another event: %s, %s", r.Answer, r.Reason)
	}
	if r := Simulate(Input{Version: v, Change: Domain("order.shipped", json.RawMessage(`{"carrier": "dhl"}`), "b")}); r.Answer != DoesNot {
		t.Errorf("another tenant: %s, %s", r.Answer, r.Reason)
	}
}

// What an action would say is rendered from what the stream would record.
func TestActions(t *testing.T) {
	v := document(`{}`, nil, on("update", `{}`))
	w, err := workflow.Parse(v.Document)
	if err != nil {
		t.Fatal(err)
	}
	second := "n"
	w.Actions = []workflow.Action{
		{ID: "h", Type: "webhook", Config: json.RawMessage(`{"url": "https://user:hunter2@example.com/hunter2?x=hunter2", "secret": {"ref": "s"}}`), Order: 2},
		{ID: "n", Type: "notification", Config: json.RawMessage(`{"title": "{{ new.status }} for {{ recipient.id }}: {{ new.note }}", "body": "{% for %}"}`), Order: 1},
		{ID: "m", Type: "email", Config: json.RawMessage(`{"subject": {"de": "Auftrag", "en": "Order {{ new.status }}"}, "body": "**{{ new.status }}** {{ 'a_b' }}", "button": {"text": "Open", "url": "https://a.example/{{ new.status }}"}}`), Order: 3},
	}
	w.Recipients = []workflow.Recipient{{Type: "attribute", Value: "status", ActionID: &second}, {Type: "user", Value: "ann"}}
	if v.Document, err = json.Marshal(w); err != nil {
		t.Fatal(err)
	}
	table := captured()
	table.Redacted = []string{"note"}
	c := OfRow(change.Update, row("7", "a", "open", "10.00", "hunter2", "hunter2"), table, orders('f'))
	if err := c.Edit([]byte(`{"status": "paid"}`), nil); err != nil {
		t.Fatal(err)
	}
	r := Simulate(Input{Version: v, Change: c})
	got, err := json.Marshal(r.Actions)
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"number":2,"kind":"notification","order":1,` +
		`"texts":[{"name":"title","text":"paid for paid: ***"},{"name":"body","text":"","error":`
	if !strings.HasPrefix(string(got), want) || !strings.Contains(string(got), `{"number":1,"kind":"webhook","order":2,"to":"https://example.com","recipients":[{"type":"user","id":"ann"}]}`) ||
		!strings.Contains(string(got), `{"number":3,"kind":"email","order":3,"texts":[{"name":"subject","text":"Order paid"},{"name":"body","text":"**paid** a_b"},{"name":"button.text","text":"Open"},{"name":"button.url","text":"https://a.example/paid"}]`) ||
		!strings.Contains(string(got), `{"type":"attribute","id":"status","value":"paid"}`) {
		t.Errorf("got %s", got)
	}
	if all, _ := json.Marshal(r); strings.Contains(string(all), "hunter2") {
		t.Errorf("a secret is in %s", all)
	}
}

func TestExplain(t *testing.T) {
	e := &workflow.Event{
		ID: "e1", Op: change.Update, Table: "orders", TenantID: "a", CommittedAt: at, Position: change.Position{Stream: 2, CommitLSN: 100},
		Data: []byte(`{"new": {"id": 7, "tenant_id": "a", "status": "paid", "total": 10.00, "note": null}, "old": {"id": 7, "tenant_id": "a", "status": "open", "total": 10.00, "note": null}, "changed": ["status"], "unavailable": [], "actor": null}`),
	}
	c, err := Recorded(e, captured(), orders('f'))
	if err != nil {
		t.Fatal(err)
	}
	paid, shipped := document(`{}`, nil, on("update", `{"status": "paid"}`)), document(`{}`, nil, on("update", `{"status": "shipped"}`))
	of := func(v workflow.Version, number int32, status workflow.Status) Past {
		v.Version, v.Status = number, status
		if status == workflow.Deleted {
			v.Document = nil
		}
		return Past{Version: v}
	}
	from := func(p Past, stream int32, lsn change.LSN) Past {
		p.Known, p.Stream, p.CommitLSN = true, stream, lsn
		return p
	}
	created := func(p Past, ago time.Duration) Past {
		p.CreatedAt = at.Add(-ago)
		return p
	}
	theirs := shipped
	theirs.TenantID = "b"
	ran := func(status workflow.ExecutionStatus, problem string) []Execution {
		return []Execution{{ID: "e1-5", WorkflowID: "w", Version: 3, Name: "W", Status: status, Error: problem, Ready: 1}}
	}
	for name, tc := range map[string]struct {
		q       Question
		outcome Outcome
		version int32
		reason  string
	}{
		"the version before counts": {Question{Versions: []Past{from(of(shipped, 2, workflow.Active), 2, 101), from(of(paid, 1, workflow.Inactive), 2, 99)}}, WasInactive, 1, "it was inactive then (version 1)"},
		"the latest before counts":  {Question{Versions: []Past{from(of(paid, 1, workflow.Inactive), 2, 98), from(of(shipped, 2, workflow.Active), 2, 99)}}, NotMatched, 2, `status eq "shipped": new.status is "paid"`},
		"not its own transaction":   {Question{Versions: []Past{from(of(shipped, 1, workflow.Active), 2, 100)}}, CreatedLater, 0, "it was created later"},
		"an earlier stream":         {Question{Versions: []Past{from(of(shipped, 1, workflow.Draft), 1, 5000)}}, WasDraft, 1, "it was a draft then"},
		"a later stream":            {Question{Versions: []Past{of(shipped, 1, workflow.Active), from(of(paid, 2, workflow.Inactive), 3, 1)}}, NotMatched, 1, "new.status is"},
		"from the first load on":    {Question{Versions: []Past{created(of(shipped, 1, workflow.Active), time.Hour)}}, NotMatched, 1, "new.status is"},
		"deleted":                   {Question{Versions: []Past{created(of(shipped, 1, workflow.Active), time.Hour), from(of(shipped, 2, workflow.Deleted), 2, 50)}}, WasDeleted, 2, "it was deleted then"},
		"another tenant":            {Question{Versions: []Past{created(of(theirs, 1, workflow.Active), 0)}}, OtherTenant, 1, "it is of tenant b, and the row of a"},
		"no trigger then":           {Question{Versions: []Past{of(document(`{}`, nil, workflow.Trigger{EntityType: "things", Operation: "update"}), 1, workflow.Active)}}, NoTrigger, 1, "it had no trigger on orders then"},
		"incomplete then":           {Question{Versions: []Past{of(document(`{}`, nil), 1, workflow.Active)}}, WasIncomplete, 1, "it had no trigger or no action then"},
		"another operation":         {Question{Versions: []Past{of(document(`{}`, nil, on("delete", `{}`)), 1, workflow.Active)}}, OtherOperation, 1, "it is for a delete, and this is an update"},
		"broken":                    {Question{Versions: []Past{of(document(`{}`, nil, on("update", `{"x": 1}`)), 1, workflow.Active)}}, WasBroken, 1, "table orders has no column x"},
		"hidden":                    {Question{Versions: []Past{of(document(`{}`, expression(`1 / (new.total - 10) > 1`), on("update", `{}`)), 1, workflow.Active)}}, Failed, 1, "only counted"},
		"unexplained":               {Question{Versions: []Past{of(paid, 1, workflow.Active)}}, Unexplained, 1, "by what is recorded it matches"},
		"fired":                     {Question{Executions: ran(workflow.Success, "")}, Fired, 3, "all its actions succeeded"},
		"failed":                    {Question{Executions: ran(workflow.Failure, "410 Gone")}, Failed, 3, "410 Gone"},
		"cancelled by its gate":     {Question{Executions: ran(workflow.Cancelled, "it has fired for this row already")}, Cancelled, 3, "it has fired for this row already"},
		"on hold":                   {Question{Executions: ran(workflow.Pending, ""), Holding: true}, Fired, 3, "delivery is on hold"},
		"ready":                     {Question{Executions: ran(workflow.Pending, "")}, Fired, 3, "1 delivery is ready"},
		"held":                      {Question{Executions: ran(workflow.Pending, ""), Big: workflow.BigHeld}, Held, 3, "held until an operator decides"},
		"not released":              {Question{Executions: ran(workflow.Pending, ""), Big: workflow.BigOpen}, Held, 3, "is not released yet"},
		"skipped":                   {Question{Executions: ran(workflow.Pending, ""), Big: workflow.BigSkipped}, Skipped, 3, "the application said skip"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.q.Change = c
			list := Explain(tc.q)
			if len(list) != 1 || list[0].Outcome != tc.outcome || list[0].Version != tc.version || !strings.Contains(list[0].Reason, tc.reason) {
				t.Errorf("got %+v", list)
			}
		})
	}
}

func TestSplitKey(t *testing.T) {
	for _, parts := range [][]string{{"1"}, {"a,b"}, {"a", "b"}, {`a,\`, `,b\,`, ""}} {
		escaped := make([]string, len(parts))
		for i, p := range parts {
			escaped[i] = p
			if len(parts) > 1 {
				escaped[i] = keyEscapes.Replace(p)
			}
		}
		if got := SplitKey(strings.Join(escaped, ","), len(parts)); !slices.Equal(got, parts) {
			t.Errorf("%q became %q", parts, got)
		}
	}
}
