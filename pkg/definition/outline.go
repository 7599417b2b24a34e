package definition

import (
	"context"
	"encoding/json"
	"time"

	"github.com/rowbell/rowbell/engine/sentence"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Outline is what a list says of a workflow beside its name and how it stands.
type Outline struct {
	Sentence string   // the whole of it in plain words; "" its document can't be read
	Owners   []string // who is told when it fails, as user:ann; none: nobody was named
	Priority *int32   // the lowest of its triggers', which goes first; nil: it has no trigger
}

// Outlines reads outlines of workflows, by their ids. One that there isn't is missing. Of a
// workflow that was never turned on it is what its draft would make it.
func (s *Service) Outlines(ctx context.Context, ids []string) (map[string]Outline, error) {
	defs, err := s.Source.DefinitionsOf(ctx, ids)
	if err != nil {
		return nil, err
	}
	list := make(map[string]Outline, len(defs))
	for _, d := range defs {
		list[d.ID] = outline(d)
	}
	return list, nil
}

// outline says nothing of what can't be read: that is told where the workflow itself is shown.
func outline(d store.Definition) Outline {
	show, err := shown(d)
	if show == nil {
		return Outline{}
	}
	w := show.Workflow
	if err == nil && show.Next != nil && d.Status == workflow.Draft {
		w = show.Next
	}
	o := Outline{Sentence: sentence.Of(w), Owners: owners(w.Settings)}
	for _, t := range w.Triggers {
		if o.Priority == nil || t.Priority < *o.Priority {
			o.Priority = &t.Priority
		}
	}
	return o
}

// Runs says how the executions of workflows ended from a time on, by day of UTC, with the last one
// of each. One of which none has ended is missing.
func (s *Service) Runs(ctx context.Context, ids []string, since time.Time) ([]store.WorkflowRuns, error) {
	return s.State.WorkflowRuns(ctx, ids, store.StatisticFilter{Since: since, Days: true})
}

// owners are those that settings name, as they are written.
func owners(settings json.RawMessage) []string {
	var of struct {
		Owners []string `json:"owners"`
	}
	if json.Unmarshal(settings, &of) != nil {
		return nil
	}
	return of.Owners
}
