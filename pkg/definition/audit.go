package definition

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/engine/sentence"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Audited is an entry of the audit log, in words.
type Audited struct {
	store.AuditEntry
	Changes []string `json:"changes"` // from before to after
	Line    string   `json:"line" doc:"The same in one line"`
}

// Audit lists what was done, the newest first, as store.AuditLog has it.
func (s *Service) Audit(ctx context.Context, f store.AuditFilter, cursor string, limit int) (list []Audited, next string, err error) {
	f.Documents = true
	entries, next, err := s.Source.AuditLog(ctx, f, cursor, limit)
	if err != nil {
		return nil, "", err
	}
	list = make([]Audited, len(entries))
	for i := range entries {
		list[i] = audited(entries[i])
	}
	return list, next, nil
}

// AuditEntry reads one entry. Returns workflow.ErrNotFound.
func (s *Service) AuditEntry(ctx context.Context, id string) (Audited, error) {
	e, err := s.Source.AuditEntry(ctx, id)
	if err != nil {
		return Audited{}, err
	}
	return audited(e), nil
}

// audited says in words what an entry changed. Documents that can't be read any more are
// no reason not to show who did it.
func audited(e store.AuditEntry) Audited {
	a := Audited{AuditEntry: e}
	switch {
	case e.Is != nil:
		before, after := readable(e.Was), readable(e.Is)
		a.Changes, a.Line = sentence.Changes(before, after), sentence.Line(before, after)
	case e.ObjectType == "workflow":
		live := readable(e.Live)
		before, after := draftIn(e.Before, live), draftIn(e.After, live)
		if before == nil {
			before = live
		}
		if after != nil {
			a.Changes, a.Line = sentence.Changes(before, after), sentence.Line(before, after)
		}
	default:
		a.Changes = keysChanged(e.Before, e.After)
	}
	if a.Line == "" {
		a.Line = strings.Join(a.Changes, "; ")
	}
	if a.Line == "" {
		a.Line = strings.Join(detailWords(e.Detail), ", ")
	}
	if r := []rune(a.Line); len(r) > mostLine {
		a.Line = string(r[:mostLine]) + "…"
	}
	return a
}

// mostLine bounds what a list has of an entry.
const mostLine = 120

// readable reads a version's document; nil if there is none, or it can't be read.
func readable(v *workflow.Version) *workflow.Workflow {
	if v == nil {
		return nil
	}
	w, err := documentOf(*v)
	if err != nil {
		return nil
	}
	return w
}

// draftIn reads the draft of what audit_log has of a workflow; nil if there is none. What a
// draft doesn't have is as it is live.
func draftIn(raw json.RawMessage, live *workflow.Workflow) *workflow.Workflow {
	var of struct {
		Draft json.RawMessage `json:"draft"`
	}
	if json.Unmarshal(raw, &of) != nil || len(of.Draft) == 0 || string(of.Draft) == "null" {
		return nil
	}
	w, err := workflow.Parse(of.Draft)
	if err != nil {
		return nil
	}
	if live != nil {
		w.ID, w.TenantID, w.Status, w.Templates = live.ID, live.TenantID, live.Status, live.Templates
	}
	return w
}

// keysChanged says which members of two JSON objects are different: state: closed → disabled.
func keysChanged(before, after json.RawMessage) []string {
	was, is := members(before), members(after)
	if was == nil && is == nil {
		return nil
	}
	keys := slices.Collect(maps.Keys(was))
	for k := range is {
		if _, known := was[k]; !known {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	var list []string
	for _, k := range keys {
		from, to := was[k], is[k]
		if from != nil && to != nil && sameJSON(from, to) {
			continue
		}
		list = append(list, fmt.Sprintf("%s: %s → %s", k, shortJSON(from), shortJSON(to)))
	}
	return list
}

func members(raw json.RawMessage) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m
}

// detailWords says what else is known: executions: 12.
func detailWords(raw json.RawMessage) []string {
	m := members(raw)
	var list []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, k+": "+shortJSON(m[k]))
	}
	return list
}

// shortJSON is a value as people read it, not very much of it.
func shortJSON(raw json.RawMessage) string {
	const most = 200
	var text string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return "-"
	case json.Unmarshal(raw, &text) != nil:
		text = string(raw)
	}
	if text == "" {
		return `""`
	}
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	return text
}
