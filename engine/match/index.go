package match

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Index holds the active workflows by the tables that they are about. One goroutine
// owns it, and the Tables that it gives out.
type Index struct {
	workflows map[string]*entry      // by id; the active ones
	tables    map[string]*tableState // by label; captured, or named by a workflow
	labels    map[string]string      // of captured tables, by change.TableLabel
	programs  condition.Cache
	env       condition.Env

	verdicts map[string]workflow.Health // changed since TakeVerdicts, by workflow id
}

// entry is an active workflow in the index.
type entry struct {
	compiled *Compiled
	problems map[string]string   // by label: why it can't be bound to that table
	warnings map[string][]string // by label
	told     workflow.Health     // the last verdict told
	known    bool                // told is set
}

// tableState is a table by its label.
type tableState struct {
	label    string
	captured *workflow.Table   // nil: not captured
	domain   bool              // domain events: captured and bound from the beginning
	lost     bool              // captured, but not published any more: see Lost
	members  map[string]*entry // workflows with a trigger on it, by id
	bound    *Table            // to the last relation seen; nil none
}

// New returns an empty index.
func New() *Index {
	return &Index{
		workflows: make(map[string]*entry),
		tables:    make(map[string]*tableState),
		labels:    make(map[string]string),
		verdicts:  make(map[string]workflow.Health),
	}
}

// Len is the number of active workflows, broken ones included.
func (ix *Index) Len() int { return len(ix.workflows) }

// Apply makes a version the one that counts for its workflow: an active one takes the
// place of the earlier one, any other removes it.
func (ix *Index) Apply(c *Compiled) {
	var told workflow.Health
	known := false
	if e := ix.workflows[c.WorkflowID]; e != nil {
		told, known = e.told, e.known
		ix.drop(e)
	}
	delete(ix.verdicts, c.WorkflowID)
	if c.Status != workflow.Active {
		return
	}
	e := &entry{compiled: c, told: told, known: known}
	ix.workflows[c.WorkflowID] = e
	for _, label := range c.labels() {
		s := ix.state(label)
		s.members[c.WorkflowID] = e
		if s.bound != nil {
			ix.bind(s.bound, e)
		}
	}
	ix.judge(e)
}

func (ix *Index) drop(e *entry) {
	delete(ix.workflows, e.compiled.WorkflowID)
	for _, label := range e.compiled.labels() {
		s := ix.tables[label]
		delete(s.members, e.compiled.WorkflowID)
		if s.bound != nil {
			s.bound.remove(e.compiled)
		}
		ix.forget(s)
	}
}

func (ix *Index) state(label string) *tableState {
	s := ix.tables[label]
	if s == nil {
		s = &tableState{label: label, members: make(map[string]*entry)}
		if name, ok := strings.CutPrefix(label, workflow.DomainPrefix); ok {
			s.domain, s.captured = true, domainTable(name)
			s.bound = newTable(ix, condition.DomainRelation(name), s.captured)
		}
		ix.tables[label] = s
	}
	return s
}

func (ix *Index) forget(s *tableState) {
	if len(s.members) == 0 && (s.captured == nil || s.domain) {
		delete(ix.tables, s.label)
	}
}

// Capture takes in a captured table, its change or its release. Tables that Bind gave
// out for it before are not to be used any more: bind again.
func (ix *Index) Capture(t *workflow.Table) {
	s := ix.state(t.Label)
	s.captured, s.bound, s.lost = t, nil, false
	name := change.TableLabel(t.Schema, t.Name)
	ix.labels[name] = t.Label
	if t.Released {
		s.captured = nil
		delete(ix.labels, name)
	}
	for _, e := range s.members {
		delete(e.problems, s.label)
		delete(e.warnings, s.label)
		ix.judge(e)
	}
	ix.forget(s)
}

// Lost says which captured tables are not published any more: dropped, made again or
// renamed. Nothing of them comes, so it is for the verdicts only.
func (ix *Index) Lost(labels []string) {
	for label, s := range ix.tables {
		lost := s.captured != nil && slices.Contains(labels, label)
		if lost == s.lost {
			continue
		}
		s.lost = lost
		for _, e := range s.members {
			ix.judge(e)
		}
	}
}

// Uncaptured returns the labels that active workflows name and that nothing comes of,
// in order: tables that aren't captured, or are lost.
func (ix *Index) Uncaptured() []string {
	var list []string
	for label, s := range ix.tables {
		if len(s.members) > 0 && (s.captured == nil || s.lost) {
			list = append(list, label)
		}
	}
	slices.Sort(list)
	return list
}

// Bind returns what to match the rows of rel with; nil if the table isn't captured. It
// is cheap for a relation that was bound before, also under another pointer: keep the
// result beside the pointer, until Capture.
func (ix *Index) Bind(rel *change.Relation) *Table {
	s := ix.tables[ix.labels[rel.Label()]]
	if s == nil || s.captured == nil {
		return nil
	}
	if s.bound != nil && (s.bound.rel == rel || s.bound.rel.Fingerprint == rel.Fingerprint && rel.Fingerprint != 0) {
		return s.bound
	}
	if s.bound != nil && extends(rel, s.bound.rel) {
		// Columns were added: what is bound stays as it is.
		s.bound.describe(rel)
		for _, e := range s.members {
			if e.problems[s.label] == "" && len(e.warnings[s.label]) == 0 {
				continue // it can only be better now
			}
			s.bound.remove(e.compiled)
			delete(e.problems, s.label)
			ix.bind(s.bound, e)
			ix.judge(e)
		}
		return s.bound
	}
	before := s.bound
	s.bound = newTable(ix, rel, s.captured)
	if before != nil {
		s.bound.renamed = renames(before, rel)
	}
	for _, e := range s.members {
		delete(e.problems, s.label)
		ix.bind(s.bound, e)
		ix.judge(e)
	}
	return s.bound
}

// extends says that rel is old with columns added behind, and so that whatever was bound
// to old can go on.
func extends(rel, old *change.Relation) bool {
	return len(rel.Columns) > len(old.Columns) && rel.ReplicaIdentity == old.ReplicaIdentity &&
		slices.Equal(rel.Columns[:len(old.Columns)], old.Columns)
}

// renames finds the columns that have another name than before: the one name is gone, the
// other new, in the same place and of the same type. It is for error messages.
func renames(before *Table, rel *change.Relation) map[string]string {
	names := before.renamed
	for i, old := range before.rel.Columns {
		if i >= len(rel.Columns) || rel.Column(old.Name) >= 0 {
			continue
		}
		if c := rel.Columns[i]; before.rel.Column(c.Name) < 0 && c.Type == old.Type && c.Modifier == old.Modifier {
			names = maps.Clone(names)
			if names == nil {
				names = make(map[string]string)
			}
			names[old.Name] = c.Name
		}
	}
	return names
}

// bind puts a workflow's triggers into a table, all or none.
func (ix *Index) bind(t *Table, e *entry) {
	delete(e.warnings, t.captured.Label)
	rules, warnings, err := t.compile(e.compiled, &ix.programs)
	if err != nil {
		if e.problems == nil {
			e.problems = make(map[string]string)
		}
		e.problems[t.captured.Label] = err.Error()
		return
	}
	for _, w := range warnings {
		if e.warnings == nil {
			e.warnings = make(map[string][]string)
		}
		e.warnings[t.captured.Label] = append(e.warnings[t.captured.Label], w.Error())
	}
	for _, r := range rules {
		t.insert(r, &ix.programs)
	}
	t.rules[e.compiled] = rules
}

// judge tells a workflow's verdict if it is another than the last one told.
func (ix *Index) judge(e *entry) {
	h := e.compiled.Health
	if h.Verdict == workflow.OK {
		h.Verdict, h.Message = ix.verdict(e)
		h.Warnings = append(slices.Clip(h.Warnings), e.allWarnings()...)
	}
	if e.known && equalHealth(h, e.told) {
		return
	}
	e.told, e.known = h, true
	ix.verdicts[h.WorkflowID] = h
}

// allWarnings returns those of all tables, in the order of their labels.
func (e *entry) allWarnings() []string {
	var list []string
	for _, label := range slices.Sorted(maps.Keys(e.warnings)) {
		list = append(list, e.warnings[label]...)
	}
	return list
}

func equalHealth(a, b workflow.Health) bool {
	return a.WorkflowID == b.WorkflowID && a.Version == b.Version && a.TenantID == b.TenantID &&
		a.Verdict == b.Verdict && a.Message == b.Message && slices.Equal(a.Warnings, b.Warnings)
}

func (ix *Index) verdict(e *entry) (workflow.Verdict, string) {
	var problems, missing, lost []string
	for _, label := range e.compiled.labels() {
		s := ix.tables[label]
		if s.captured == nil {
			missing = append(missing, label)
		} else if s.lost {
			lost = append(lost, label)
		} else if p, ok := e.problems[label]; ok {
			problems = append(problems, p)
		}
	}
	switch {
	case len(problems) > 0:
		return workflow.Broken, strings.Join(problems, "\n")
	case len(missing) > 0:
		return workflow.NotCaptured, notCaptured(missing, "isn't captured", "aren't captured")
	case len(lost) > 0:
		return workflow.NotCaptured, notCaptured(lost, "was captured, and then dropped, made again or renamed", "were captured, and then dropped, made again or renamed")
	}
	return workflow.OK, ""
}

func notCaptured(labels []string, one, several string) string {
	calls := make([]string, len(labels))
	for i, l := range labels {
		calls[i] = "CALL rowbell.capture('" + strings.ReplaceAll(l, "'", "''") + "')"
	}
	what := "table " + labels[0] + " " + one
	if len(labels) > 1 {
		what = "tables " + strings.Join(labels, ", ") + " " + several
	}
	return fmt.Sprintf("%s; run %s", what, strings.Join(calls, "; "))
}

// TakeVerdicts returns the verdicts that changed since the last call, by workflow id.
// The first verdict of a version counts as a change.
func (ix *Index) TakeVerdicts() []workflow.Health {
	if len(ix.verdicts) == 0 {
		return nil
	}
	list := make([]workflow.Health, 0, len(ix.verdicts))
	for _, h := range ix.verdicts {
		list = append(list, h)
	}
	clear(ix.verdicts)
	slices.SortFunc(list, func(a, b workflow.Health) int { return cmp.Compare(a.WorkflowID, b.WorkflowID) })
	return list
}
