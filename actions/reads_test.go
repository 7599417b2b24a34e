package actions

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/workflow"
)

type reading struct{ Text []string }

func (reading) Destination() string                            { return "" }
func (reading) Secrets() []string                              { return nil }
func (reading) Run(context.Context, *Delivery) (Result, error) { return Result{}, nil }

func (r reading) Reads() []Read {
	var reads []Read
	for _, v := range r.Text {
		reads = append(reads, Read{Key: "text", Variable: v})
	}
	return reads
}

func TestColumns(t *testing.T) {
	t.Parallel()
	kind := &Kind{
		Name: "mail", Recipients: true, Schema: `{"type": "object", "properties": {"text": {"type": "array"}}, "additionalProperties": false}`,
	}
	kind.Parse = func(config json.RawMessage, _ Texts) (Runner, error) {
		var r reading
		err := json.Unmarshal(config, &r)
		return r, err
	}
	registry, err := NewRegistry(kind)
	if err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{"text": strings.Fields("new.total old.id changed.owner actor.id event.total recipient.id new")})
	if err != nil {
		t.Fatal(err)
	}
	other := "b"
	w := &workflow.Workflow{
		Actions: []workflow.Action{{ID: "a", Type: "mail", Config: config}},
		Recipients: []workflow.Recipient{
			{Type: "user", Value: "nobody"}, {Type: "attribute", Value: "owner"}, {Type: "attribute", Value: "nothing", ActionID: &other},
		},
	}
	plan, err := registry.Plan(w)
	if err != nil {
		t.Fatal(err)
	}
	want := []workflow.ColumnUse{
		{Kind: "mail", Where: "text", Variable: "new.total", Column: "total"},
		{Kind: "mail", Where: "text", Variable: "old.id", Column: "id"},
		{Kind: "mail", Where: "text", Variable: "changed.owner", Column: "owner"},
		{Kind: "mail", Where: "recipient 2", Column: "owner", Recipient: true},
	}
	if got := plan.Columns(w); !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
}
