package actions

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// Reader is a Runner that knows what of the event it reads by name. One that isn't takes
// the event as it is.
type Reader interface {
	// Reads lists it by key of action_config.
	Reads() []Read
}

// Read is something that an action reads of the event.
type Read struct {
	Key      string // of action_config: title
	Variable string // as template.Variables lists it: new.total, changed.status, actor.id
	// Where is the place in the key's text; "" if the text is one line.
	Where string // line 3; translation de, line 1, template "footer", line 2
}

// Column is the column that is read; "" if it is none.
func (r Read) Column() string {
	variable, column, ok := strings.Cut(r.Variable, ".")
	if ok && (variable == "new" || variable == "old" || variable == "changed") {
		return column
	}
	return ""
}

// Place names the key and the line for people: body, line 3.
func (r Read) Place() string {
	if r.Where == "" || r.Where == "line 1" {
		return r.Key
	}
	return r.Key + ", " + r.Where
}

// Columns lists the columns that the actions' texts name, variables that they name and no
// text has, and the columns that hold their recipients, in the order of the document.
func (p *Plan) Columns(w *workflow.Workflow) []workflow.ColumnUse {
	var list []workflow.ColumnUse
	for i, s := range p.Steps {
		if s.Kind == nil {
			continue
		}
		if r, ok := s.Runner.(Reader); ok {
			for _, read := range r.Reads() {
				base, _, _ := strings.Cut(read.Variable, ".")
				if c := read.Column(); c != "" || !slices.Contains(workflow.TextVariables, base) {
					list = append(list, workflow.ColumnUse{Action: i, Kind: s.Kind.Name, Where: read.Place(), Variable: read.Variable, Column: c})
				}
			}
		}
		if !s.Kind.Recipients {
			continue
		}
		for _, x := range s.Exclude {
			if x.Type == "attribute" {
				list = append(list, workflow.ColumnUse{Action: i, Kind: s.Kind.Name, Where: "exclude", Column: x.Value, Recipient: true})
			}
		}
		for n, r := range w.Recipients {
			if r.Type == "attribute" && (r.ActionID == nil || *r.ActionID == w.Actions[i].ID) {
				list = append(list, workflow.ColumnUse{
					Action: i, Kind: s.Kind.Name, Where: fmt.Sprintf("recipient %d", n+1), Column: r.Value, Recipient: true,
				})
			}
		}
	}
	return list
}
