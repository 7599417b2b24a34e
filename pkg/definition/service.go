package definition

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/engine/match"
	"github.com/rowbell/rowbell/engine/sentence"
	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// ErrBlocked says that a workflow was not activated since the worker would find it
// broken. It comes as a *BlockedError.
var ErrBlocked = errors.New("not activated")

// said is an error of package workflow whose text says it all.
type said struct {
	text string
	kind error
}

func (s said) Error() string        { return s.text }
func (s said) Is(target error) bool { return target == s.kind }

func notFound(format string, args ...any) error {
	return said{fmt.Sprintf(format, args...), workflow.ErrNotFound}
}

func conflict(format string, args ...any) error {
	return said{fmt.Sprintf(format, args...), workflow.ErrConflict}
}

func refused(format string, args ...any) error {
	return said{fmt.Sprintf(format, args...), workflow.ErrRefused}
}

// BlockedError has what keeps a workflow from being activated.
type BlockedError struct {
	WorkflowID string
	Report     match.Report
}

func (e *BlockedError) Error() string {
	return fmt.Sprintf("workflow %s is not activated: %s to mend first", e.WorkflowID, counted(len(e.Report.Errors), "error is", "errors are"))
}

// Is makes it ErrBlocked.
func (e *BlockedError) Is(target error) bool { return target == ErrBlocked }

func counted(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + several
}

// Service does what the command line and the API ask for. Its methods may be called from
// any goroutine.
type Service struct {
	Source *store.Source
	State  *store.State // for what is tried on recorded events
	// Rows reads rows of the application's tables, to try something on. nil: Source.
	Rows *store.Source
	// Holding says that this installation records, and delivers nothing.
	Holding bool
	// Registry plans the actions, to find what they read.
	Registry *actions.Registry
	// Judge is the worker's, but for what depends on its own environment.
	Judge match.Judge
	// Describe looks a table up in the catalog; nil if there is none.
	Describe func(ctx context.Context, schema, name string) (*change.Relation, error)
	// Secret opens a stored secret of a tenant, to see whether a file has the same; nil if
	// that can't be done.
	Secret func(ctx context.Context, tenantID, name string) (string, error)
}

// Shown is one workflow.
type Shown struct {
	store.Definition
	Workflow *workflow.Workflow // as it is live
	Next     *workflow.Workflow // as it would be with the draft; nil without one
	Base     int32              // the version that the draft was made from; 0 unknown
	By       string             // who made the draft; "" unknown
}

// List lists workflows by tenant and id.
func (s *Service) List(ctx context.Context, f store.WorkflowFilter) ([]store.ListedWorkflow, error) {
	return s.Source.Workflows(ctx, f)
}

// Show reads a workflow with its draft. Returns workflow.ErrNotFound. A draft that can't
// be read is an error that says why; with it comes the rest.
func (s *Service) Show(ctx context.Context, id string) (*Shown, error) {
	d, err := s.current(ctx, id)
	if err != nil {
		return nil, err
	}
	return shown(d)
}

func shown(d store.Definition) (*Shown, error) {
	w, err := workflow.Parse(d.Document)
	if err != nil {
		return nil, fmt.Errorf("workflow %s, version %d: %w", d.ID, d.Version, err)
	}
	show := &Shown{Definition: d, Workflow: w}
	if d.DraftText == nil {
		return show, nil
	}
	draft, err := readDraft(d.ID, d.DraftText)
	if err != nil {
		return show, err
	}
	show.Base, show.By = draft.base, draft.by
	show.Next = draft.over(w)
	return show, nil
}

// over is the live workflow with what the document has in its place.
func (d *Document) over(live *workflow.Workflow) *workflow.Workflow {
	w, from := *live, &d.Workflow
	if d.Has["name"] {
		w.Name = from.Name
	}
	if d.Has["description"] {
		w.Description = from.Description
	}
	if d.Has["settings"] {
		w.Settings = from.Settings
	}
	if d.Has["triggers"] {
		w.Triggers = from.Triggers
	}
	if d.Has["conditions"] {
		w.Conditions = from.Conditions
	}
	if d.Has["actions"] {
		w.Actions = from.Actions
	}
	if d.Has["recipients"] {
		w.Recipients = from.Recipients
	}
	return &w
}

// Entry is a version in the history of a workflow.
type Entry struct {
	Version   int32           `json:"version"`
	Status    workflow.Status `json:"status"`
	At        time.Time       `json:"created_at"`
	CreatedBy string          `json:"created_by"`
	DBUser    string          `json:"db_user"`
	Comment   string          `json:"comment" doc:"What changed, and why, as who changed it put it; empty: nothing was said"`
	Changes   []string        `json:"changes"` // against the version before, in words
	Line      string          `json:"-"`       // the same in one line
}

// mostEntries is how many versions a history has.
const mostEntries = 200

// History lists the latest versions of a workflow, at most mostEntries, the latest first.
// Returns workflow.ErrNotFound if there never was one.
func (s *Service) History(ctx context.Context, id string) ([]Entry, error) {
	versions, err := s.Source.History(ctx, id, mostEntries+1) // the last says what the one after it changed
	if err != nil {
		return nil, err
	}
	list := make([]Entry, min(len(versions), mostEntries))
	var before *workflow.Workflow
	for i, v := range slices.Backward(versions) {
		after, err := documentOf(v.Version)
		if err != nil {
			return nil, err
		}
		if i == mostEntries {
			before = after
			continue
		}
		list[i] = Entry{Version: v.Version.Version, Status: v.Status, At: v.CreatedAt, CreatedBy: v.CreatedBy, DBUser: v.DBUser, Comment: v.Comment, Changes: sentence.Changes(before, after), Line: sentence.Line(before, after)}
		before = after
	}
	return list, nil
}

// documentOf reads a version's document; nil for one that says it was deleted.
func documentOf(v workflow.Version) (*workflow.Workflow, error) {
	if v.Status == workflow.Deleted {
		return nil, nil
	}
	w, err := workflow.Parse(v.Document)
	if err != nil {
		return nil, fmt.Errorf("workflow %s, version %d: %w", v.WorkflowID, v.Version, err)
	}
	return w, nil
}

// Diff is what is different between two states of a workflow.
type Diff struct {
	From  string   `json:"from"` // version 3; draft
	To    string   `json:"to"`
	Words []string `json:"words"`
	YAML  string   `json:"yaml"` // as diff -u has it; "" if nothing is different
}

// Diff compares two states of a workflow: numbers of versions, live, or draft. Both "" are
// the live version with the draft if there is one, else with the version before it; only
// to "" is the live version. Returns workflow.ErrNotFound.
func (s *Service) Diff(ctx context.Context, id, from, to string) (*Diff, error) {
	last, err := s.Source.LatestVersion(ctx, id, 0)
	if err != nil {
		return nil, err
	}
	var show *Shown
	d, err := s.current(ctx, id)
	if err == nil {
		show, err = shown(d)
		if show != nil && from != "draft" && to != "draft" && from != "" {
			err = nil // a draft that can't be read is not asked for
		}
	} else if errors.Is(err, workflow.ErrNotFound) {
		err = nil // deleted: its versions can be compared
	}
	if err != nil {
		return nil, err
	}
	latest := last.Version
	if from == "" && to == "" {
		switch {
		case show != nil && show.Next != nil:
			from, to = "live", "draft"
		case latest > 1:
			from, to = strconv.Itoa(int(latest-1)), strconv.Itoa(int(latest))
		default:
			return nil, notFound("workflow %s has one version and no draft, so there is nothing to compare", id)
		}
	}
	to = cmp.Or(to, "live")
	state := func(ref string) (name string, w *workflow.Workflow, err error) {
		switch ref {
		case "draft":
			if show == nil || show.Next == nil {
				return "", nil, notFound("workflow %s has no draft", id)
			}
			return "draft", show.Next, nil
		case "live":
			ref = strconv.Itoa(int(latest))
		}
		n, err := ParseVersion(ref)
		if err != nil {
			return "", nil, err
		}
		v, err := s.Source.LatestVersion(ctx, id, n)
		if errors.Is(err, workflow.ErrNotFound) {
			err = noVersion(id, n, latest)
		}
		if err != nil {
			return "", nil, err
		}
		w, err = documentOf(v)
		return fmt.Sprintf("version %d", n), w, err
	}
	diff := &Diff{}
	var before, after *workflow.Workflow
	if diff.From, before, err = state(from); err != nil {
		return nil, err
	}
	if diff.To, after, err = state(to); err != nil {
		return nil, err
	}
	diff.Words = sentence.Changes(before, after)
	var texts [2]string
	for i, w := range []*workflow.Workflow{before, after} {
		if w == nil {
			continue
		}
		text, err := YAML(w)
		if err != nil {
			return nil, err
		}
		texts[i] = string(text)
	}
	diff.YAML = unified(diff.From, diff.To, texts[0], texts[1])
	return diff, nil
}

func noVersion(id string, n, latest int32) error {
	return notFound("workflow %s has no version %d; it has 1 to %d", id, n, latest)
}

// ParseVersion reads the number of a version.
func ParseVersion(s string) (int32, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 1 {
		return 0, refused("%q is no version; give its number, live, or draft", s)
	}
	return int32(n), nil
}

// Restore makes an earlier version the draft. Unless force, it returns
// workflow.ErrConflict if there is another draft already. same says that there was
// nothing to do.
func (s *Service) Restore(ctx context.Context, id string, version int32, actor string, force bool) (same bool, err error) {
	d, err := s.current(ctx, id)
	if err != nil {
		return false, err
	}
	versions, err := s.Source.Versions(ctx, []store.VersionRef{{ID: id, Version: version}})
	if errors.Is(err, workflow.ErrNotFound) {
		err = noVersion(id, version, d.Version)
	}
	if err != nil {
		return false, err
	}
	w, err := documentOf(versions[0])
	if err != nil {
		return false, err
	}
	if w == nil {
		return false, notFound("version %d says that workflow %s was deleted; restore an earlier one", version, id)
	}
	draft, err := draftJSON(w, d.Version, actor)
	if err != nil {
		return false, err
	}
	if d.DraftText != nil {
		if sameDraft(d.DraftText, draft) {
			return true, nil
		}
		if !force {
			return false, conflict("workflow %s has a draft%s, which this would overwrite; look at it (rowbell workflow diff %[1]s live draft), then discard it, or say --force", id, madeBy(d))
		}
	}
	return false, s.Source.SetDraft(ctx, s.edit(d, "workflow.restore", actor, map[string]any{"version": version}), draft)
}

// madeBy names who made the draft, if that is known.
func madeBy(d store.Definition) string {
	var draft struct {
		By string `json:"by"`
	}
	if json.Unmarshal(d.DraftText, &draft) != nil || draft.By == "" {
		return ""
	}
	return " of " + draft.By
}

func (s *Service) edit(d store.Definition, action, actor string, detail map[string]any) store.Edit {
	return store.Edit{WorkflowID: d.ID, Actor: actor, Action: action, Detail: detail, Version: d.Version, Draft: d.DraftText}
}

// draftJSON is what workflow_definition.draft holds.
func draftJSON(w *workflow.Workflow, base int32, by string) (json.RawMessage, error) {
	settings, err := draftSettings(w.Settings)
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Base        int32                `json:"base"`
		By          string               `json:"by,omitempty"`
		Name        string               `json:"name"`
		Description string               `json:"description"`
		Settings    json.RawMessage      `json:"settings"`
		Triggers    []workflow.Trigger   `json:"triggers"`
		Conditions  []workflow.Condition `json:"conditions"`
		Actions     []workflow.Action    `json:"actions"`
		Recipients  []workflow.Recipient `json:"recipients"`
	}{base, by, w.Name, w.Description, settings, some(w.Triggers), some(w.Conditions), some(w.Actions), some(w.Recipients)})
}

func some[P any](list []P) []P {
	if list == nil {
		return []P{}
	}
	return list
}

// sameDraft compares drafts whoever made them, from whatever.
func sameDraft(a, b json.RawMessage) bool {
	var x, y map[string]json.RawMessage
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	for _, m := range []map[string]json.RawMessage{x, y} {
		delete(m, "base")
		delete(m, "by")
	}
	if len(x) != len(y) {
		return false
	}
	for key, v := range x {
		if other, ok := y[key]; !ok || !samePart(v, other) {
			return false
		}
	}
	return true
}

// PutDraft makes a document the draft of a workflow. Unless force, it returns
// workflow.ErrConflict if the draft that is there is somebody else's.
func (s *Service) PutDraft(ctx context.Context, id string, doc *Document, actor string, force bool) error {
	d, err := s.current(ctx, id)
	if err != nil {
		return err
	}
	show, err := shown(d)
	if show == nil {
		return err // of the draft that is overwritten it doesn't matter
	}
	w := doc.Workflow
	switch {
	case w.ID != "" && w.ID != id:
		return &Problem{File: doc.file, Line: doc.places["id"].line, Column: doc.places["id"].column, Message: fmt.Sprintf("it is workflow %s, not %s", w.ID, id), Pointer: "#/id"}
	case doc.Has["tenant_id"] && value(w.TenantID) != d.TenantID:
		return &Problem{
			File: doc.file, Line: doc.places["tenant_id"].line, Column: doc.places["tenant_id"].column, Pointer: "#/tenant_id",
			Message: fmt.Sprintf("the tenant of workflow %s is %q and can't be changed; leave tenant_id out, or make another workflow", id, d.TenantID),
		}
	}
	if d.DraftText != nil && !force {
		var draft struct {
			By string `json:"by"`
		}
		if err := json.Unmarshal(d.DraftText, &draft); err != nil || draft.By != actor {
			return conflict("workflow %s has a draft%s, which this would overwrite; look at it (rowbell workflow diff %[1]s live draft), then discard it, or say --force", id, madeBy(d))
		}
	}
	next := doc.whole()
	keepIDs(next, show, newULID)
	draft, err := draftJSON(next, d.Version, actor)
	if err != nil {
		return err
	}
	return s.Source.SetDraft(ctx, s.edit(d, "workflow.draft", actor, nil), draft)
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// whole is a copy of the document's workflow.
func (d *Document) whole() *workflow.Workflow {
	w := d.Workflow
	w.Triggers, w.Conditions = slices.Clone(w.Triggers), slices.Clone(w.Conditions)
	w.Actions, w.Recipients = slices.Clone(w.Actions), slices.Clone(w.Recipients)
	return &w
}

// keepIDs gives parts without an id that of the part which they stand for, or a new one.
func keepIDs(w *workflow.Workflow, show *Shown, newID func() string) {
	live := show.Workflow
	if show.Next != nil { // what was put before may have given new parts their ids
		live = show.Next
	}
	keep(newID, w.Triggers, live.Triggers, func(t *workflow.Trigger) *string { return &t.ID },
		func(a, b *workflow.Trigger) bool {
			return a.EntityLabel() == b.EntityLabel() && a.Operation == b.Operation
		})
	keep(newID, w.Conditions, live.Conditions, func(c *workflow.Condition) *string { return &c.ID },
		func(a, b *workflow.Condition) bool { return a.Type == b.Type })
	keep(newID, w.Actions, live.Actions, func(a *workflow.Action) *string { return &a.ID },
		func(a, b *workflow.Action) bool { return a.Type == b.Type })
	keep(newID, w.Recipients, live.Recipients, func(r *workflow.Recipient) *string { return &r.ID },
		func(a, b *workflow.Recipient) bool { return a.Type == b.Type && a.Value == b.Value })
}

func newULID() string { return ulid.Make().String() }

func keep[P any](newID func() string, list, live []P, id func(*P) *string, like func(a, b *P) bool) {
	taken := make(map[string]bool)
	for i := range list {
		taken[*id(&list[i])] = true
	}
	equal := func(a, b *P) bool {
		c := *b
		*id(&c) = ""
		return samePart(*a, c)
	}
	for _, matches := range []func(a, b *P) bool{equal, like} {
		for i := range list {
			for k := range live {
				if candidate := *id(&live[k]); *id(&list[i]) == "" && !taken[candidate] && matches(&list[i], &live[k]) {
					*id(&list[i]), taken[candidate] = candidate, true
				}
			}
		}
	}
	for i := range list {
		if p := id(&list[i]); *p == "" {
			*p = newID()
		}
	}
}

// Discard takes the draft away. Returns workflow.ErrNotFound if there is none.
func (s *Service) Discard(ctx context.Context, id, actor string) error {
	d, err := s.current(ctx, id)
	if err != nil {
		return err
	}
	if d.DraftText == nil {
		return notFound("workflow %s has no draft", id)
	}
	var of struct {
		Base int32  `json:"base"`
		By   string `json:"by"`
	}
	_ = json.Unmarshal(d.DraftText, &of) // whatever it was, it goes
	return s.Source.SetDraft(ctx, s.edit(d, "workflow.discard", actor, map[string]any{"base": of.Base, "by": of.By}), nil)
}

// Activated is what came of an activation.
type Activated struct {
	Version int32        `json:"version"`
	Draft   bool         `json:"draft"` // a draft was published
	Same    bool         `json:"same"`  // it was active already, and had no draft
	Report  match.Report `json:"-"`     // warnings, which don't block
	// Tests are its saved ones, as they came out. Those that fail were overridden.
	Tests []trial.Tested `json:"tests,omitempty"`
}

// mostComment is how many characters a comment of a version has at most.
const mostComment = 1000

// commentOf is a comment as it is kept. One that is too long is refused: what the database
// keeps of it would end in the middle.
func commentOf(said string) (string, error) {
	said = strings.TrimSpace(said)
	if n := utf8.RuneCountInString(said); n > mostComment {
		return "", refused("the comment is %d characters long; shorten it to %d", n, mostComment)
	}
	return said, nil
}

// Activate publishes the draft, if there is one, and makes the workflow active: one
// version, with which the comment is kept. Returns a *BlockedError if the worker would find it broken, and, unless force,
// workflow.ErrConflict if the live workflow has changed since the draft was made and a
// *TestsError if saved tests fail.
func (s *Service) Activate(ctx context.Context, id, actor, comment string, force bool) (*Activated, error) {
	comment, err := commentOf(comment)
	if err != nil {
		return nil, err
	}
	show, err := s.Show(ctx, id)
	if err != nil {
		return nil, err
	}
	w, draft := show.Workflow, show.Next != nil
	if draft {
		w = show.Next
		if err := s.sinceBase(ctx, show, force); err != nil {
			return nil, err
		}
	}
	c, err := s.catalog(ctx)
	if err != nil {
		return nil, err
	}
	report, err := c.check(ctx, w)
	if err != nil {
		return nil, err
	}
	if len(report.Errors) > 0 {
		return nil, &BlockedError{id, report}
	}
	result := &Activated{Version: show.Version, Draft: draft, Report: report}
	if !draft && show.Status == workflow.Active {
		result.Same = true
		return result, nil
	}
	if result.Tests, err = c.test(ctx, w); err != nil {
		return nil, err
	}
	if bad := failed(result.Tests); len(bad) > 0 && !force {
		return nil, &TestsError{id, bad}
	}
	e := s.edit(show.Definition, "workflow.activate", actor, map[string]any{"draft": draft})
	e.Comment = comment
	if draft {
		next := *w
		next.Status = workflow.Active
		keepIDs(&next, show, newULID) // a draft that was written by SQL may lack some
		result.Version, err = s.Source.Publish(ctx, e, &next)
	} else {
		result.Version, err = s.Source.SetStatus(ctx, e, workflow.Active)
	}
	if err != nil {
		return nil, err
	}
	return result, nil
}

// sinceBase refuses a draft if what it was made from is not what is live, whatever the
// status.
func (s *Service) sinceBase(ctx context.Context, show *Shown, force bool) error {
	if force || show.Base == 0 || show.Base == show.Version {
		return nil
	}
	changed := conflict("the draft of workflow %s was made from version %d, and version %d is live: somebody has changed it since. See rowbell workflow diff %[1]s %[2]d %[3]d and take over what you want; --force replaces it by the draft as it is",
		show.ID, show.Base, show.Version)
	versions, err := s.Source.Versions(ctx, []store.VersionRef{{ID: show.ID, Version: show.Base}})
	if errors.Is(err, workflow.ErrNotFound) {
		return changed
	}
	if err != nil {
		return err
	}
	base, err := documentOf(versions[0])
	if err != nil {
		return err
	}
	if base == nil {
		return changed
	}
	base.Status = show.Workflow.Status
	base.Templates = show.Workflow.Templates // which no draft changes
	if !samePart(base, show.Workflow) {
		return changed
	}
	return nil
}

// Deactivate turns a workflow off, and keeps the comment with the version. same says that it
// was.
func (s *Service) Deactivate(ctx context.Context, id, actor, comment string) (version int32, same bool, err error) {
	if comment, err = commentOf(comment); err != nil {
		return 0, false, err
	}
	d, err := s.current(ctx, id)
	if err != nil {
		return 0, false, err
	}
	if d.Status == workflow.Inactive {
		return d.Version, true, nil
	}
	e := s.edit(d, "workflow.deactivate", actor, nil)
	e.Comment = comment
	version, err = s.Source.SetStatus(ctx, e, workflow.Inactive)
	return version, false, err
}
