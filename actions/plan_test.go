package actions

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/workflow"
)

func flow(settings string, configs ...string) *workflow.Workflow {
	w := &workflow.Workflow{Settings: json.RawMessage(settings)}
	for i, config := range configs {
		kind, config, _ := strings.Cut(config, " ")
		w.Actions = append(w.Actions, workflow.Action{ID: string(rune('a' + i)), Type: kind, Config: json.RawMessage(config), Order: int32(i)})
	}
	return w
}

func TestPlanSchedules(t *testing.T) {
	t.Parallel()
	r := registry(t)
	user := workflow.Recipient{Type: "user", Value: "7"}
	const s, m = time.Second, time.Minute
	for _, c := range []struct {
		name, settings, action string
		want                   Schedule
		stop                   bool
	}{
		{"the kind's own", ``, `ring {"to": "a"}`, StandardWebhooks, true},
		{"another kind's own", `{}`, `tell {}`, Messages, true},
		{"no config at all", `{}`, `tell `, Messages, true},
		{"config null", `{}`, `tell null`, Messages, true},
		{"settings for all", `{"retry": ["5s", 90]}`, `tell {}`, Schedule{5 * s, 90 * s}, true},
		{"settings of null", `{"retry": null, "on_failure": null}`, `tell {}`, Messages, true},
		{"settings for the kind", `{"retry": {"ring": ["1m"]}}`, `ring {"to": "a"}`, Schedule{m}, true},
		{"settings for another kind", `{"retry": {"ring": ["1m"]}}`, `tell {}`, Messages, true},
		{"settings for a single attempt", `{"retry": []}`, `tell {}`, Schedule{}, true},
		{"the action's", `{"retry": ["1m"]}`, `ring {"to": "a", "retry": ["1d", "2h", 0.5]}`, Schedule{24 * time.Hour, 2 * time.Hour, s / 2}, true},
		{"the action's single attempt", `{"retry": {"ring": ["1m"]}}`, `ring {"retry": [], "to": "a"}`, Schedule{}, true},
		{"settings continue", `{"on_failure": "continue"}`, `tell {}`, Messages, false},
		{"the action continues", `{}`, `tell {"on_failure": "continue"}`, Messages, false},
		{"the action stops", `{"on_failure": "continue"}`, `tell {"on_failure": "stop"}`, Messages, true},
		{"no wait is too short", `{}`, `tell {"retry": ["0s", 0]}`, Schedule{0, 0}, true},
		{"the longest wait", `{}`, `tell {"retry": ["7d", 604800]}`, Schedule{maxRetryWait, maxRetryWait}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := flow(c.settings, c.action)
			w.Recipients = []workflow.Recipient{user}
			p, err := r.Plan(w)
			if err != nil {
				t.Fatal(err)
			}
			got := p.Steps[0]
			if !slices.Equal(got.Retry, c.want) || got.StopOnFailure != c.stop {
				t.Errorf("retry %v, stop %t; want %v, %t", got.Retry, got.StopOnFailure, c.want, c.stop)
			}
		})
	}
}

func TestPlanSteps(t *testing.T) {
	t.Parallel()
	w := flow(``, `ring {"to": "x", "retry": []}`, `tell {}`, `ring {"to": "y"}`)
	w.Actions[2].Order = 7
	w.Recipients = []workflow.Recipient{{Type: "user", Value: "1"}}
	p, err := registry(t).Plan(w)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range p.Steps {
		got = append(got, s.Kind.Name+" "+s.Runner.Destination())
		if (len(s.Recipients) > 0) != s.Kind.Recipients {
			t.Errorf("%s has recipients %v", s.Kind.Name, s.Recipients)
		}
	}
	if !slices.Equal(got, []string{"ring x", "tell ", "ring y"}) || p.Steps[2].Order != 7 || p.Steps[1].Order != 1 {
		t.Errorf("steps are %v", got)
	}
	if p, err := registry(t).Plan(flow(`{}`)); err != nil || len(p.Steps) != 0 {
		t.Errorf("without actions: %v, %v", p, err)
	}
}

func TestPlanProblems(t *testing.T) {
	t.Parallel()
	r := registry(t)
	const schedule = `; write a list of the waits after each failed attempt, as ["5s", "5m", "2h", "1d"]; [] for a single attempt`
	const onFailure = ` is not an answer; write "stop" (actions with a higher order are cancelled) or "continue"`
	for _, c := range []struct {
		settings string
		actions  []string
		want     string
	}{
		{``, []string{`rung {}`}, `action 1 (rung): unknown action kind "rung"; did you mean "ring"?`},
		{``, []string{`ring []`}, `action 1 (ring): action_config is not a JSON object; write {} if there is nothing to configure`},
		{``, []string{`ring {"to": 1, "x": 1}`}, "action 1 (ring): to: it is a number, where a string belongs; write it as \"a/b\"\naction 1 (ring): x: there is no such key; the keys are: exact, flag, headers, named, pin, secret, times, to, tone, unique; and those of every kind, exclude, on_failure, only_if and retry"},
		{``, []string{`ring {"to": "a"}`, `ring {"to": "bad"}`}, `action 2 (ring): to: nobody is called bad; write another name`},
		{``, []string{`ring {"to": "bad"}`, `rung {}`}, "action 1 (ring): to: nobody is called bad; write another name\naction 2 (rung): unknown action kind \"rung\"; did you mean \"ring\"?"},
		{``, []string{`tell {}`}, `action 1 (tell): it needs a recipient; add a row to workflow_recipient: a user's id, a role, a group, or attribute with the name of a column that holds an id`},
		{``, []string{`ring {"to": "a", "retry": "5s"}`}, `action 1 (ring): retry: "5s" is no list` + schedule},
		{``, []string{`ring {"to": "a", "retry": null}`}, `action 1 (ring): retry: null is no list` + schedule},
		{``, []string{`ring {"to": "a", "retry": ["soon"]}`}, `action 1 (ring): retry: "soon" is not a duration, as 90s, 5m, 2h or 1d` + schedule},
		{``, []string{`ring {"to": "a", "retry": [true]}`}, `action 1 (ring): retry: true is not a duration, as 90s, 5m, 2h or 1d` + schedule},
		{``, []string{`ring {"to": "a", "retry": [-5]}`}, `action 1 (ring): retry: -5 is not a duration, as 90s, 5m, 2h or 1d` + schedule},
		{``, []string{`ring {"to": "a", "retry": ["-5s"]}`}, `action 1 (ring): retry: a wait of -5s is out of range; use 0s to 7d`},
		{``, []string{`ring {"to": "a", "retry": ["8d"]}`}, `action 1 (ring): retry: a wait of 8d is out of range; use 0s to 7d`},
		{``, []string{`ring {"to": "a", "retry": [604801]}`}, `action 1 (ring): retry: a wait of 604801 is out of range; use 0s to 7d`},
		{``, []string{`ring {"to": "a", "retry": [1` + strings.Repeat(",1", 50) + `]}`}, `action 1 (ring): retry: 51 waits are too many; the most are 50`},
		{``, []string{`ring {"to": "a", "on_failure": "skip"}`}, `action 1 (ring): on_failure: "skip"` + onFailure},
		{`{"on_failure": 1}`, nil, `settings: on_failure: 1` + onFailure},
		{`{"retry": "5s"}`, nil, `settings: retry: "5s" is no list` + schedule},
		{`{"retry": {"ring": "5s"}}`, nil, `settings: retry: ring: "5s" is no list` + schedule},
		{`{"retry": {"rung": ["5s"], "ring": ["x"]}}`, nil, `settings: retry: ring: "x" is not a duration, as 90s, 5m, 2h or 1d` + schedule + "\n" + `settings: retry: rung: unknown action kind "rung"; did you mean "ring"?`},
		{`[]`, nil, `settings are not a JSON object; write them as {"retry": ["5s", "5m"], "on_failure": "continue"}`},
	} {
		_, err := r.Plan(flow(c.settings, c.actions...))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s %s\n got %v\nwant %s", c.settings, c.actions, err, c.want)
		}
	}
}

func TestPlanRecipients(t *testing.T) {
	t.Parallel()
	r := registry(t)
	a, b := "a", "b"
	w := flow(``, `tell {}`, `tell {}`)
	w.Recipients = []workflow.Recipient{
		{ID: "1", Type: "user", Value: "ada"},
		{ID: "2", ActionID: &a, Type: "user", Value: "ada"}, // a second time
		{ID: "3", ActionID: &b, Type: "attribute", Value: "owner"},
		{ID: "4", Type: "attribute", Value: "ada"}, // a column of the same name
	}
	p, err := r.Plan(w)
	if err != nil {
		t.Fatal(err)
	}
	ids := func(s Step) (ids []string) {
		for _, r := range s.Recipients {
			ids = append(ids, r.ID)
		}
		return ids
	}
	if one, two := ids(p.Steps[0]), ids(p.Steps[1]); !slices.Equal(one, []string{"1", "4"}) || !slices.Equal(two, []string{"1", "3", "4"}) {
		t.Errorf("recipients are %v and %v", one, two)
	}
	w.Recipients = append(w.Recipients, workflow.Recipient{ActionID: &a, Type: "role", Value: "clerk"})
	w.Actions[1].Config = []byte(`{"exclude": ["actor", {"role": "intern"}]}`)
	w.Settings = []byte(`{"exclude": [{"attribute": "created_by"}]}`)
	if p, err = r.Plan(w); err != nil || len(ids(p.Steps[0])) != 3 {
		t.Fatalf("%v, %v", p, err)
	}
	if got := fmt.Sprint(p.Steps[0].Exclude, p.Steps[1].Exclude); got != "[{attribute created_by}] [{actor } {role intern} {attribute created_by}]" {
		t.Errorf("excluded are %s", got)
	}
	for text, want := range map[string]string{
		`{}`:                        `{} is no list`,
		`["me"]`:                    `"me" excludes nobody`,
		`[{"user": ""}]`:            `{"user": ""} excludes nobody`,
		`[{"a":"b"}]`:               `{"a":"b"} excludes nobody`,
		`[{"user":"a","role":"b"}]`: `excludes nobody; write a list, as ["actor", {"user": "bob"}`,
	} {
		w.Actions[0].Config = []byte(`{"exclude": ` + text + `}`)
		if _, err := r.Plan(w); err == nil || !strings.Contains(err.Error(), "action 1 (tell): exclude: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	w.Actions[0].Config = []byte(`{}`)
	w.Recipients = append(w.Recipients, workflow.Recipient{ActionID: &a, Type: "club", Value: "clerk"})
	const want = "action 1 (tell): club is no type of recipient; use user (an id), role, group, or attribute (a column that holds an id or an address)"
	if _, err := r.Plan(w); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestPlanLanes(t *testing.T) {
	t.Parallel()
	r := registry(t)
	lanes := func(tenant *string, configs ...string) []int64 {
		w := flow(``, configs...)
		w.TenantID = tenant
		w.Recipients = []workflow.Recipient{{Type: "user", Value: "1"}}
		p, err := r.Plan(w)
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for _, s := range p.Steps {
			got = append(got, s.Lane)
		}
		return got
	}
	acme, other := "acme", "acm"
	got := lanes(&acme, `ring {"to": "x"}`, `ring {"to": "x", "retry": []}`, `ring {"to": "y"}`, `tell {}`)
	if got[0] != got[1] || got[0] == got[2] || got[0] == got[3] {
		t.Errorf("lanes are %v", got)
	}
	if again := lanes(&acme, `ring {"to": "x"}`); again[0] != got[0] {
		t.Error("another workflow of the tenant has another lane to the same destination")
	}
	if l := lanes(&other, `ring {"to": "ex"}`); l[0] == got[0] { // "acm"+"ex" reads as "acme"+"x"
		t.Error("two tenants have one lane")
	}
	if l := lanes(nil, `ring {"to": "x"}`, `tell {}`); l[0] == got[0] || l[1] == got[3] {
		t.Error("operators and a tenant have one lane")
	}
	if workflow.Lane("acme", "x") != got[0] {
		t.Error("Lane is not the lane")
	}
}

func TestError(t *testing.T) {
	t.Parallel()
	cause := errors.New("no")
	e := &Error{Err: cause}
	if e.Error() != "no" || !errors.Is(e, cause) {
		t.Errorf("%v does not show its cause", e)
	}
}
