package match

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestLacks(t *testing.T) {
	rel := func(identity byte) *change.Relation {
		r := &change.Relation{Schema: "public", Name: "orders", ReplicaIdentity: identity}
		for _, name := range []string{"id", "total", "owner", "pass", "mail"} {
			r.Columns = append(r.Columns, change.Column{Name: name, Key: name == "id" || identity == 'f'})
		}
		return r
	}
	captured := &workflow.Table{Schema: "public", Name: "orders", Version: 1, Label: "orders", Hidden: []string{"pass"}, Redacted: []string{"mail"}}
	for _, c := range []struct {
		ops               string
		identity          byte
		reads, recipients string
		want              string // the verdict, and what is said
	}{
		{"update", 'f', "new.total old.total changed.owner", "owner", "ok"},
		{"update", 'f', "new.totl", "", `ok; action 1 (mail), text: table orders has no column totl; did you mean "total"?`},
		{"update", 'f', "olds.total", "", `ok; action 1 (mail), text: there is no variable olds; did you mean "old"?`},
		{"update", 'f', "changed.pass", "", "ok; action 1 (mail), text: table orders has no column pass; it has id, total, owner, mail"},
		{"update", 'f', "", "pass", "broken: action 1 (mail), recipient 1: table orders has no column pass; it has id, total, owner, mail"},
		{"update", 'f', "new.mail", "mail", "broken: action 1 (mail), recipient 1: column mail of table orders is redacted, so nobody can be found by it; name another column, or capture the table without redacting it"},
		{"create", 'f', "new.total old.total", "owner", "ok; action 1 (mail), text: old.total is nothing for a new row; use new.total"},
		{"create update", 'f', "new.total old.total", "owner", "ok"},
		{"delete", 'f', "new.total old.total", "owner", "ok; action 1 (mail), text: new.total is nothing for a deleted row; use old.total"},
		{"update", 'd', "old.id old.total", "owner", "ok; action 1 (mail), text: the old value of total is not in the WAL, since it is not part of the replica identity of table orders; run ALTER TABLE orders REPLICA IDENTITY FULL"},
		{"delete", 'd', "old.id", "owner id", "broken: action 1 (mail), recipient 1: column owner of a deleted row is not in the WAL, since it is not part of the replica identity of table orders; run ALTER TABLE orders REPLICA IDENTITY FULL"},
	} {
		judged := workflow.Judged{Routes: make([]workflow.Route, 1)}
		for _, v := range strings.Fields(c.reads) {
			base, column, _ := strings.Cut(v, ".")
			if !slices.Contains(workflow.TextVariables, base) {
				column = ""
			}
			judged.Columns = append(judged.Columns, workflow.ColumnUse{Kind: "mail", Where: "text", Variable: v, Column: column})
		}
		for i, column := range strings.Fields(c.recipients) {
			judged.Columns = append(judged.Columns, workflow.ColumnUse{Kind: "mail", Where: fmt.Sprintf("recipient %d", i+1), Column: column, Recipient: true})
		}
		var triggers []workflow.Trigger
		for op := range strings.FieldsSeq(c.ops) {
			triggers = append(triggers, on(op, ""))
		}
		v := version("w", "", 1, triggers, nil)
		judge := func(*workflow.Workflow) (workflow.Judged, error) { return judged, nil }
		ix := New()
		ix.Capture(captured)
		ix.Apply(Compile(v, 1, judge))
		ix.Bind(rel(c.identity))
		said := func(verdict workflow.Verdict, message string, warnings []string) string {
			s := string(verdict)
			if message != "" {
				s += ": " + message
			}
			for _, w := range warnings {
				s += "; " + w
			}
			return s
		}
		h := ix.TakeVerdicts()[0]
		if got := said(h.Verdict, h.Message, h.Warnings); got != c.want {
			t.Errorf("%s with identity %c, reading %s, to %s:\n%s\nwant\n%s", c.ops, c.identity, c.reads, c.recipients, got, c.want)
		}
		// Check says the same.
		w, err := workflow.Parse(v.Document)
		if err != nil {
			t.Fatal(err)
		}
		r := Check(w, func(string) (*workflow.Table, *change.Relation, error) { return captured, rel(c.identity), nil }, judge)
		var message string
		if len(r.Errors) > 0 {
			message = r.Errors[0].String()
		}
		var warnings []string
		for _, p := range r.Warnings {
			warnings = append(warnings, p.String())
		}
		if got := said(r.Verdict, message, warnings); got != c.want {
			t.Errorf("%s with identity %c, reading %s, to %s: Check says\n%s\nwant\n%s", c.ops, c.identity, c.reads, c.recipients, got, c.want)
		}
	}
}
