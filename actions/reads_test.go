package actions

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

type reading struct{ Text []string }

func (reading) Destination() string                            { return "" }
func (reading) Secrets() []string                              { return nil }
func (reading) Run(context.Context, *Delivery) (Result, error) { return Result{}, nil }

func (r reading) Reads() []Read {
	var reads []Read
	for _, v := range r.Text {
		reads = append(reads, Read{"text", v})
	}
	return reads
}

func TestLacking(t *testing.T) {
	t.Parallel()
	kind := &Kind{
		Name: "mail", Recipients: true, Schema: `{"type": "object", "properties": {"text": {"type": "array"}}, "additionalProperties": false}`,
	}
	kind.Parse = func(config json.RawMessage) (Runner, error) {
		var r reading
		err := json.Unmarshal(config, &r)
		return r, err
	}
	registry, err := NewRegistry(kind)
	if err != nil {
		t.Fatal(err)
	}
	rel := func(identity byte) *change.Relation {
		r := &change.Relation{Schema: "public", Name: "orders", ReplicaIdentity: identity}
		for _, name := range []string{"id", "total", "owner", "pass", "mail"} {
			r.Columns = append(r.Columns, change.Column{Name: name, Key: name == "id" || identity == 'f'})
		}
		return r
	}
	table := &workflow.Table{Label: "orders", Hidden: []string{"pass"}, Redacted: []string{"mail"}}
	for _, c := range []struct {
		op                change.Op
		identity          byte
		reads, recipients string
		want              string // of each, block or gap, unknown, and how it begins
	}{
		{change.Update, 'f', "new.total old.total changed.owner actor.id event.total recipient.id new", "owner", ""},
		{change.Update, 'f', "new.totl", "", `gap unknown text new.totl: table orders has no column totl; did you mean "total"?`},
		{change.Update, 'f', "changed.pass", "pass", "gap unknown text changed.pass: table orders has no column pass; it has id, total, owner, mail\nblock unknown recipient 1 : table orders has no column pass; it has id, total, owner, mail"},
		{change.Update, 'f', "new.mail", "mail", "block recipient 1 : column mail of table orders is redacted, so nobody can be found by it; name another column, or capture the table without redacting it"},
		{change.Create, 'f', "new.total old.total", "owner", "gap text old.total: old.total is nothing for a new row; use new.total"},
		{change.Delete, 'f', "new.total old.total", "owner", "gap text new.total: new.total is nothing for a deleted row; use old.total"},
		{change.Update, 'd', "old.id old.total", "owner", "gap text old.total: the old value of total is not in the WAL, since it is not part of the replica identity of table orders; run ALTER TABLE orders REPLICA IDENTITY FULL"},
		{change.Delete, 'd', "old.id", "owner id", "block recipient 1 : column owner of a deleted row is not in the WAL, since it is not part of the replica identity of table orders; run ALTER TABLE orders REPLICA IDENTITY FULL"},
	} {
		config, err := json.Marshal(map[string]any{"text": strings.Fields(c.reads)})
		if err != nil {
			t.Fatal(err)
		}
		w := &workflow.Workflow{Actions: []workflow.Action{{ID: "a", Type: "mail", Config: config}}}
		other := "b"
		for _, r := range strings.Fields(c.recipients) {
			w.Recipients = append(w.Recipients, workflow.Recipient{Type: "attribute", Value: r})
		}
		w.Recipients = append(w.Recipients, workflow.Recipient{Type: "user", Value: "nobody"}, workflow.Recipient{Type: "attribute", Value: "nothing", ActionID: &other})
		plan, err := registry.Plan(w)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range plan.Lacking(w, rel(c.identity), table, c.op) {
			s := "gap "
			if l.Blocks {
				s = "block "
			}
			if l.Unknown {
				s += "unknown "
			}
			got = append(got, fmt.Sprintf("%s%s %s: %s; %s", s, l.Where, l.Variable, l.Message, l.Mend))
		}
		if strings.Join(got, "\n") != c.want {
			t.Errorf("%s with identity %c, reading %s, to %s:\n%s\nwant\n%s", c.op, c.identity, c.reads, c.recipients, strings.Join(got, "\n"), c.want)
		}
	}
}
