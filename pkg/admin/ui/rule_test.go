package ui

import (
	"bytes"
	"encoding/json"
	"net/url"
	"reflect"
	"testing"

	"github.com/rowbell/rowbell/examples"
	"github.com/rowbell/rowbell/pkg/definition"
)

var ruleTypes = map[string]string{"status": "text", "total": "numeric", "paid": "bool", "due": "date", "any": "text", "code": "text"}

// What the form reads and writes again says the same, and what it can't hold stays as it is.
func TestRuleRoundTrip(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, out string }{
		{`{}`, `{}`},
		{`{"status":"approved"}`, ``},
		{`{"status":{"eq":"approved"}}`, `{"status":"approved"}`},
		{`{"code":"12"}`, ``}, // a text, by the column's type
		{`{"total":{"gte":1000.00}}`, ``},
		{`{"total":{"gte":1000,"lt":5000}}`, ``},
		{`{"total":{"between":[100,200.50]},"paid":true}`, ``},
		{`{"status":{"in":["new","approved"]},"due":{"lte":"2026-12-31"}}`, ``},
		{`{"status":{"changed_to":"approved"}}`, ``},
		{`{"status":{"changed_to":["approved"]}}`, `{"status":{"changed_to":"approved"}}`},
		{`{"status":{"changed":false},"due":null}`, `{"status":{"changed":false},"due":{"is_null":true}}`},
		{`{"status":"open","any":[{"total":{"gte":2000}},{"paid":true}]}`, ``},
		{`{"any":[{"status":"a"},{"status":"b","paid":false}]}`, ``},
		{`{"not":{"status":"open","paid":true}}`, ``},
		{`{"not":{"any":[{"status":"a"},{"status":"b"}]}}`, ``},
		{`{"status":"a","not":{"any":[{"paid":true}]}}`, ``},
		{`{"all":[{"status":"open"},{"any":[{"paid":true},{"total":{"lt":10}}]}]}`, `{"status":"open","any":[{"paid":true},{"total":{"lt":10}}]}`},
		{`{"field":"any","operator":"eq","value":"x"}`, `{"all":[{"field":"any","operator":"eq","value":"x"}]}`},
		{`{"total":{"gt":1},"all":[{"total":{"gt":2}}]}`, ``},
		{`{"any_changed":["status","total"]}`, ``},
		{`{"status":{"odd":1}}`, ``},
		{`{"meta":{"eq":{"a":1}}}`, ``},
		{`{"other":7}`, ``},
		{`{"other":"7"}`, ``},
	} {
		out := c.out
		if out == "" {
			out = c.in
		}
		g := readRule(json.RawMessage(c.in))
		if got := string(g.json(ruleTypes)); got != out {
			t.Errorf("%s is written as %s, want %s", c.in, got, out)
		}
		// What a browser would send of it is the same again.
		sent := url.Values{}
		sendRule(sent, "r", g)
		again := fields(sent).rule("r", 0)
		if got := string(again.json(ruleTypes)); got != out {
			t.Errorf("%s comes back from its form as %s, want %s\n%v", c.in, got, out, sent)
		}
	}
}

// sendRule fills in what a form would.
func sendRule(v url.Values, path string, g *group) {
	v.Set(path+".join", g.Join)
	for i, it := range g.Items {
		n := string(rune('0' + i))
		at := path + "." + n
		v.Add(path+".item", n)
		switch {
		case it.Raw != nil:
			v.Set(at+".raw", string(it.Raw))
		case it.Group != nil:
			sendRule(v, at, it.Group)
		default:
			v.Set(at+".col", it.Clause.Column)
			v.Set(at+".op", it.Clause.Op)
			v[at+".val"] = append([]string(nil), it.Clause.Values...)
			if it.Clause.Text {
				v.Set(at+".text", "1")
			}
		}
	}
}

// A clause without a value doesn't count yet, and so doesn't a group of such.
func TestRuleIncomplete(t *testing.T) {
	t.Parallel()
	g := &group{Join: "all", Items: []*item{
		{Clause: &clause{Column: "status", Op: "eq", Values: []string{""}}},
		{Group: &group{Join: "any", Items: []*item{{Clause: &clause{Column: "total", Op: "in"}}}}},
		{Clause: &clause{Column: "paid", Op: "eq", Values: []string{"true"}}},
	}}
	if got := string(g.json(ruleTypes)); got != `{"paid":true}` {
		t.Errorf("it is written as %s", got)
	}
	g.remove("1.0")
	if len(g.Items) != 2 || g.Items[1].Clause == nil {
		t.Errorf("the empty group is still there: %v", g.Items)
	}
}

// Each example has a place in the gallery, can be mapped to tables of other names, and comes out
// as a document that can be read.
func TestGalleryMapsExamples(t *testing.T) {
	t.Parallel()
	list := gallery()
	if len(list) < 15 {
		t.Fatalf("there are %d examples", len(list))
	}
	for _, e := range list {
		answer := &mapping{Tables: make(map[string]string), Columns: make(map[string]map[string]string)}
		for _, of := range e.Needs {
			answer.Tables[of.Table] = "my_" + of.Table
			answer.Columns[of.Table] = make(map[string]string)
			for _, c := range of.Columns {
				answer.Columns[of.Table][c] = "my_" + c
			}
		}
		doc := e.mapped(answer)
		raw, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		read, err := definition.Read("mapped.json", raw)
		if err != nil {
			t.Errorf("%s: %v\n%s", e.Name, err, raw)
			continue
		}
		for _, of := range e.Needs {
			for _, c := range of.Columns {
				if c != "id" && bytes.Contains(raw, []byte("new."+c)) {
					t.Errorf("%s still reads new.%s", e.Name, c)
				}
			}
		}
		if len(read.Workflow.Actions) == 0 {
			t.Errorf("%s does nothing", e.Name)
		}
	}
	if len(examples.Documents()) <= len(list) {
		t.Error("the stored template is taken for a workflow")
	}
}

func TestSimilar(t *testing.T) {
	t.Parallel()
	columns := []string{"id", "tenant_id", "state", "due_date", "amount", "customer_name", "owner"}
	got := make(map[string]string)
	for _, c := range []string{"id", "due_on", "amount", "name", "status"} {
		got[c] = nearest(c, columns)
	}
	want := map[string]string{"id": "id", "due_on": "due_date", "amount": "amount", "name": "customer_name", "status": "state"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("near are %v, want %v", got, want)
	}
	if n := nearest("credit_limit", columns); n != "" {
		t.Errorf("credit_limit is taken for %s", n)
	}
}
