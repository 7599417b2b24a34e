package trial

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// withActions is a workflow on updates of orders with these actions.
func withActions(settings string, actions ...workflow.Action) workflow.Version {
	v := document(settings, nil, on("update", `{}`))
	w, err := workflow.Parse(v.Document)
	if err != nil {
		panic(err)
	}
	w.Actions = actions
	if v.Document, err = json.Marshal(w); err != nil {
		panic(err)
	}
	return v
}

func onlyIf(conditions ...workflow.Condition) json.RawMessage {
	config, err := json.Marshal(map[string]any{"only_if": conditions})
	if err != nil {
		panic(err)
	}
	return config
}

func form(text string) workflow.Condition {
	return workflow.Condition{Type: "field_value", Config: json.RawMessage(text)}
}

// TestOnlyIfAgainstIndex: an action's own conditions hold for the change as it is recorded
// exactly if the same conditions of the workflow's hold in the stream.
func TestOnlyIfAgainstIndex(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	count := map[condition.Verdict]int{}
	var programs Programs
	for range 5000 {
		rel := orders([]byte("ffd")[r.IntN(3)])
		c := anyChange(r, rel)
		var list []workflow.Condition
		for range 1 + r.IntN(2) {
			list = append(list, []workflow.Condition{
				form(pick(`{"status": "x"}`, `{"total": {"gt": 1}}`, `{"note": null}`, `{"any": [{"status": "y"}, {"total": 1}]}`, `{"status": {"changed": true}}`, `{"total": {"changed_from": 2}}`)),
				expression(pick(`1 / (row.total - 1) > -5`, `row.note == nil || row.total > 1`, `len(row.note) > 0`, `op != "update" || old.total != new.total`))[0],
				{Type: "role_based", Config: json.RawMessage(pick(`{"actors": ["ann"]}`, `{"actors": ["bob"]}`))},
				{Type: "time_based", Config: json.RawMessage(pick(`{"days": ["sun"]}`, `{"days": ["mon"]}`))},
			}[r.IntN(4)])
		}
		v := document(`{}`, list, on(c.Op.String(), `{}`))
		ev := c.event()
		ix := match.New()
		ix.Capture(c.Table)
		ix.Apply(match.Compile(v, 1, nil))
		table := ix.Bind(rel)
		if tenantChange(c, ev) || c.tenant(c.Op) != "a" || c.unchanged(ev) {
			continue // recorded as two events, of another tenant, or not at all
		}
		want := condition.False
		if ix.TakeVerdicts()[0].Verdict == workflow.Broken {
			want = condition.Failed
		} else if matches := table.Match(ev, &condition.Context{Position: c.Position, CommittedAt: at, Actor: map[string]any{"id": "ann"}}, nil); len(matches) == 1 && matches[0].Err != nil {
			want = condition.Failed
		} else if len(matches) == 1 {
			want = condition.True
		}
		count[want]++
		e := &workflow.Event{ID: "e", Op: c.Op, Position: c.Position, CommittedAt: at, Table: "orders", TenantID: "a", Data: c.data(ev, c.Op)}
		back, err := Recorded(e, c.Table, rel)
		if err != nil {
			t.Fatal(err)
		}
		own := back.OnlyIf(0, "log", list)
		if own.Verdict != want || (own.Reason == "") != (want == condition.True) {
			t.Fatalf("%s\n%s of %s: got %s (%s), want %s", v.Document, c.Op, e.Data, own.Verdict, own.Reason, want)
		}
		for range 2 { // bound, and found bound
			if quick := programs.OnlyIf(back, 0, "log", list); quick.Verdict != own.Verdict || quick.Reason != own.Reason {
				t.Fatalf("%s\n%s of %s: got %+v, and with what was bound %+v", v.Document, c.Op, e.Data, own, quick)
			}
		}
		if again := back.OnlyIf(0, "log", list); !reflect.DeepEqual(again, own) {
			t.Fatalf("first %+v, then %+v", own, again)
		}
	}
	t.Log(count)
	for _, verdict := range []condition.Verdict{condition.True, condition.False, condition.Failed} {
		if count[verdict] < 100 {
			t.Errorf("only %d are %s", count[verdict], verdict)
		}
	}
}

func TestLeftOut(t *testing.T) {
	all := workflow.Action{ID: "1", Type: "log", Config: json.RawMessage(`{}`)}
	big := workflow.Action{ID: "2", Type: "email", Order: 1, Config: onlyIf(form(`{"total": {"gt": 100}}`))}
	long := workflow.Action{ID: "3", Type: "chat", Order: 2, Config: onlyIf(form(`{"status": "paid"}`), expression("len(new.note) > 3")[0])}
	for name, c := range map[string]struct {
		actions []workflow.Action
		new     string
		answer  Answer
		reason  string // how it ends
		runs    []int
		out     []string
	}{
		"all run":     {[]workflow.Action{all, big, long}, `{"total": 101, "status": "paid", "note": "long"}`, Fires, "matches", []int{1, 2, 3}, nil},
		"one doesn't": {[]workflow.Action{all, big}, `{"total": 100}`, Fires, "matches", []int{1}, []string{"2 email false its condition was not met: total gt 100: new.total is 100"}},
		"several": {[]workflow.Action{long, big, all}, `{"status": "paid", "note": "abc"}`, Fires, "matches", []int{3}, []string{
			"2 email false its condition was not met: total gt 100: new.total is 10.00",
			"1 chat false its condition was not met: len(new.note) > 3: len(new.note) is 3",
		}},
		"nothing is left": {[]workflow.Action{big}, `{"status": "paid"}`, Fires, "; but nothing is done: action 1 (email): its condition was not met: total gt 100: new.total is 10.00", nil, []string{"1 email false its condition was not met: total gt 100: new.total is 10.00"}},
		"it fails":        {[]workflow.Action{{Type: "log", Config: onlyIf(expression("1 / new.total > 1")[0])}, all}, `{"total": 0}`, Fires, "matches", []int{2}, []string{"1 log failed its condition can't be decided: action 1 (log), only_if, condition 1 (expression): division by zero"}},
		"broken":          {[]workflow.Action{all, {Type: "log", Config: onlyIf(form(`{"totl": 1}`))}}, `{"total": 0}`, Broken, "", nil, nil},
		"not its shape":   {[]workflow.Action{{Type: "log", Config: json.RawMessage(`{"only_if": {"total": 1}}`)}}, `{"total": 0}`, Broken, "", nil, nil},
		"by directory":    {[]workflow.Action{{Type: "log", Config: onlyIf(workflow.Condition{Type: "role_based", Config: json.RawMessage(`{"roles": ["x"], "by": "directory"}`)})}}, `{"total": 0}`, Broken, "", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			change := OfRow(change.Update, row("7", "a", "open", "10.00", nil, "p"), captured(), orders('f'))
			change.CommittedAt = at
			if err := change.Edit([]byte(c.new), nil); err != nil {
				t.Fatal(err)
			}
			r := Simulate(Input{Version: withActions(`{}`, c.actions...), Change: change})
			if r.Answer != c.answer || !strings.HasSuffix(r.Reason, c.reason) {
				t.Errorf("%s: %s", r.Answer, r.Reason)
			}
			var runs []int
			for _, a := range r.Actions {
				runs = append(runs, a.Number)
				if own, _ := c.actions[a.Number-1].OnlyIf(); len(a.OnlyIf) != len(own) {
					t.Errorf("action %d says %v of %d conditions", a.Number, a.OnlyIf, len(own))
				}
			}
			var out []string
			for _, l := range r.LeftOut {
				out = append(out, strings.Join([]string{strconv.Itoa(l.Number), l.Kind, string(l.Verdict), l.Reason}, " "))
				if len(l.OnlyIf) == 0 {
					t.Errorf("action %d has no clauses", l.Number)
				}
			}
			if !slices.Equal(runs, c.runs) || !slices.Equal(out, c.out) {
				t.Errorf("it runs %v and leaves out\n%s", runs, strings.Join(out, "\n"))
			}
		})
	}
}

// A value that isn't in the WAL is no reason to leave an action out: it fails, and the message
// names column and mend.
func TestOnlyIfNotInTheWAL(t *testing.T) {
	c := &Change{Op: change.Update, Table: captured(), Relation: orders('d'), CommittedAt: at, Recorded: true, New: row("7", "a", "x", "1", 0, "p")}
	own := c.OnlyIf(1, "email", []workflow.Condition{form(`{"note": "x"}`)})
	if own.Verdict != condition.Failed || !strings.Contains(own.Reason, "new.note") || !strings.Contains(own.Reason, "REPLICA IDENTITY FULL") {
		t.Errorf("%s: %s", own.Verdict, own.Reason)
	}
	// Unless another of them doesn't hold anyway.
	own = c.OnlyIf(1, "email", []workflow.Condition{form(`{"note": "x"}`), form(`{"status": "y"}`)})
	if own.Verdict != condition.False || own.Reason != `its condition was not met: status eq "y": new.status is "x"` {
		t.Errorf("%s: %s", own.Verdict, own.Reason)
	}
}

// What became of an event says which actions were left out.
func TestExplainLeftOut(t *testing.T) {
	v := withActions(`{}`, workflow.Action{Type: "log"}, workflow.Action{Type: "email", Config: onlyIf(form(`{"total": {"gt": 100}}`))})
	c := &Change{Op: change.Update, Table: captured(), Relation: orders('f'), CommittedAt: at, Recorded: true, New: row("7", "a", "x", "1", "n", "p"), Old: row("7", "a", "y", "1", "n", "p")}
	q := Question{Change: c, Versions: []Past{{Version: v, CreatedAt: at.Add(-time.Hour)}}, Executions: []Execution{{ID: "e", WorkflowID: "w", Version: v.Version, Status: workflow.Success}}}
	list := Explain(q)
	if len(list) != 1 || len(list[0].LeftOut) != 1 || list[0].LeftOut[0].Number != 2 ||
		list[0].Reason != "it fired, and all its other actions succeeded; action 2 (email) was left out: its condition was not met: total gt 100: new.total is 1" {
		t.Errorf("got %+v", list)
	}
	// But not where nothing was decided: what waits, or was cancelled for another reason.
	for name, tc := range map[string]struct {
		x    Execution
		left int
	}{
		"it waits":            {Execution{Status: workflow.Pending, Ready: 1}, 0},
		"a storm holds it":    {Execution{Status: workflow.Pending, Storm: "s"}, 0},
		"its gate cancelled":  {Execution{Status: workflow.Cancelled, Error: "it has fired for this row already"}, 0},
		"none of it was done": {Execution{Status: workflow.Cancelled, Error: workflow.NotMet + "total gt 100: new.total is 1"}, 1},
		"an action failed":    {Execution{Status: workflow.Failure, Error: "410 Gone"}, 1},
	} {
		tc.x.ID, tc.x.WorkflowID, tc.x.Version = "e", "w", v.Version
		q.Executions = []Execution{tc.x}
		if list := Explain(q); len(list) != 1 || len(list[0].LeftOut) != tc.left || strings.Contains(list[0].Reason, "was left out") {
			t.Errorf("%s: got %+v", name, list)
		}
	}
}

// An action that comes behind a failed one was never begun: it is not said what its conditions
// would have come to.
func TestExplainNotReached(t *testing.T) {
	v := withActions(`{}`, workflow.Action{Type: "log"}, workflow.Action{Type: "email", Order: 1, Config: onlyIf(form(`{"total": {"gt": 100}}`))}, workflow.Action{Type: "chat", Order: 1, Config: onlyIf(form(`{"total": {"lt": 100}}`))})
	c := &Change{Op: change.Update, Table: captured(), Relation: orders('f'), CommittedAt: at, Recorded: true, New: row("7", "a", "x", "1", "n", "p"), Old: row("7", "a", "y", "1", "n", "p")}
	why := "action 1 (log) failed" + workflow.StoppedSuffix
	q := Question{Change: c, Versions: []Past{{Version: v, CreatedAt: at.Add(-time.Hour)}}, Executions: []Execution{{ID: "e", WorkflowID: "w", Version: v.Version, Status: workflow.Failure, Error: "410 Gone", Stopped: map[int]string{1: why, 2: why}}}}
	list := Explain(q)
	if len(list) != 1 || len(list[0].LeftOut) != 2 {
		t.Fatalf("got %+v", list)
	}
	for _, l := range list[0].LeftOut {
		if l.Verdict != condition.NotEvaluated || l.Reason != "it was not asked, since action 1 (log) failed, and its on_failure is stop" || l.OnlyIf != nil {
			t.Errorf("got %+v", l)
		}
	}
}

// What the executor pays for an action with a condition of its own, from the event's data on.
func BenchmarkOnlyIf(b *testing.B) {
	rel, table := orders('f'), captured()
	c := &Change{Op: change.Update, Table: table, Relation: rel, CommittedAt: at, Recorded: true, New: row("7", "a", "x", "1", "n", "p"), Old: row("7", "a", "y", "1", "n", "p")}
	e := &workflow.Event{ID: "e", Op: c.Op, CommittedAt: at, Table: "orders", TenantID: "a", Data: c.data(c.event(), c.Op)}
	list := []workflow.Condition{form(`{"total": {"lt": 100}}`), expression(`lower(new.status) == "x"`)[0]}
	var programs Programs
	for b.Loop() {
		back, err := Recorded(e, table, rel)
		if err != nil {
			b.Fatal(err)
		}
		if own := programs.OnlyIf(back, 0, "log", list); own.Verdict != condition.True {
			b.Fatal(own)
		}
	}
}
