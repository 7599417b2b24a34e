package function_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/actions/function"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func delivery() *actions.Delivery {
	return &actions.Delivery{
		ID: "01JX-2_0", Attempt: 1,
		Event: &workflow.Event{
			ID: "01JX", Table: "orders", Op: change.Update, TenantID: "acme", Position: change.Position{Stream: 1, CommitLSN: 0x1A2B3C8},
			CommittedAt: time.Date(2026, 11, 5, 9, 7, 3, 0, time.UTC),
			Data:        []byte(`{"new": {"id": 7, "total": 19.90, "name": "<a> \"b\"\u0001"}, "old": null, "changed": ["total"], "unavailable": [], "actor": null}`),
		},
		Workflow: actions.Workflow{ID: "wf", Name: "Big orders", Version: 3, TenantID: "acme"},
	}
}

func runner(t *testing.T, config string) actions.Runner {
	t.Helper()
	r, err := function.Kind(true).Parse(json.RawMessage(config), actions.Texts{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPayload(t *testing.T) {
	t.Parallel()
	r := runner(t, `{"function": "credit", "arguments": {"text": "{{ new.name }} {{ new.total }}", "n": 12345678901234567890.10, "deep": {"list": ["{{ event.table }}", false, null]}}}`)
	var got workflow.FunctionCall
	d := delivery()
	d.Call = func(_ context.Context, c workflow.FunctionCall) (string, error) {
		got = c
		return `{"a": 1}`, nil
	}
	res, err := r.Run(t.Context(), d)
	if err != nil || res != (actions.Result{Response: `{"a": 1}`}) {
		t.Errorf("Run = %+v, %v", res, err)
	}
	if got.Function != "credit" || got.Key != d.ID || got.TenantID != "acme" {
		t.Errorf("called %+v", got)
	}
	want := `{"event":{"id":"01JX","lsn":"0/1A2B3C8","table":"orders","operation":"update","tenant_id":"acme"},"workflow":{"id":"wf","name":"Big orders","version":3},"chain":{"id":"01JX","depth":1,"workflows":["wf"]},` +
		string(d.Event.Data[1:len(d.Event.Data)-1]) + `,"committed_at":"2026-11-05T09:07:03Z","arguments":` +
		`{"deep":{"list":["orders",false,null]},"n":12345678901234567890.10,"text":"\u003ca\u003e \"b\"\u0001 19.90"}}`
	if string(got.Payload) != want {
		t.Errorf("the payload is\n%s, want\n%s", got.Payload, want)
	}
	if r.Destination() != "function credit" || len(r.Secrets()) != 0 {
		t.Errorf("destination %q, secrets %q", r.Destination(), r.Secrets())
	}
	reads := r.(actions.Reader).Reads()
	var read []string
	for _, r := range reads {
		read = append(read, r.Key+"="+r.Variable)
	}
	if got := strings.Join(read, " "); got != "arguments.deep.list[0]=event.table arguments.text=new.name arguments.text=new.total" {
		t.Errorf("it reads %s", got)
	}
}

// What the event makes of templates is the same at each attempt; what the database says
// is not for the kind to judge.
func TestErrors(t *testing.T) {
	t.Parallel()
	how := func(config string, d *actions.Delivery) (permanent bool, text string) {
		_, err := runner(t, config).Run(t.Context(), d)
		if err == nil {
			t.Fatalf("%s succeeds", config)
		}
		e, ok := errors.AsType[*actions.Error](err)
		return ok && e.Permanent, err.Error()
	}
	called := false
	d := delivery()
	d.Call = func(context.Context, workflow.FunctionCall) (string, error) { called = true; return "", nil }
	if p, text := how(`{"function": "f", "arguments": {"a": ["{{ 1 | divided_by: 0 }}"]}}`, d); !p || called || !strings.HasPrefix(text, "arguments.a[0]: line 1: divided_by: division by zero") {
		t.Errorf("a template that fails: called %v, permanent %v, %s", called, p, text)
	}
	long := `"` + strings.Repeat("{{ new.name }}", 1000) + `"`
	if p, text := how(`{"function": "f", "arguments": {"a": `+long+`,"b": `+long+`,"c": `+long+`,"d": `+long+`}}`, d); !p || called || !strings.Contains(text, "bytes; the most are 65536") {
		t.Errorf("long arguments: called %v, permanent %v, %s", called, p, text)
	}
	for _, permanent := range []bool{true, false} {
		d.Call = func(context.Context, workflow.FunctionCall) (string, error) {
			return "", &workflow.CallError{Permanent: permanent, Err: errors.New("said so")}
		}
		if p, text := how(`{"function": "f"}`, d); p != permanent || text != "said so" {
			t.Errorf("permanent %v, %s", p, text)
		}
	}
	d.Call = func(context.Context, workflow.FunctionCall) (string, error) { return "", errors.New("broken pipe") }
	if p, text := how(`{"function": "f"}`, d); p || text != "broken pipe" {
		t.Errorf("permanent %v, %s", p, text)
	}
	if _, err := function.Kind(false).Parse(json.RawMessage(`{"function": "f"}`), actions.Texts{}); err == nil || !strings.Contains(err.Error(), "ROWBELL_STATE_URL") {
		t.Errorf("with state elsewhere: %v", err)
	}
	if _, err := function.Kind(true).Parse(json.RawMessage(`{"function": "f", "arguments": {"a": "`+strings.Repeat("x", 70_000)+`"}}`), actions.Texts{}); err == nil || !strings.Contains(err.Error(), "arguments: they have 70003 bytes") {
		t.Errorf("long arguments: %v", err)
	}
}
