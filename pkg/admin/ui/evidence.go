package ui

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// mostEvidence is how many changes are tried beside the form.
const mostEvidence = 5

// candidate is something real to try a workflow on.
type candidate struct {
	ID        string // event:01…, or row:table:42
	Title     string // Order 42
	What      string // created 3 minutes ago; as it is now
	At        time.Time
	Operation string
	Chosen    bool
	Result    *trial.Result
	Problem   string

	table string
	data  json.RawMessage // of a recorded change
}

// subject is what the API tries a workflow on.
type subject struct {
	EventID   string          `json:"event_id,omitempty"`
	Table     string          `json:"table,omitempty"`
	Key       string          `json:"key,omitempty"`
	Domain    string          `json:"domain,omitempty"`
	Operation string          `json:"operation,omitempty"`
	New       json.RawMessage `json:"new,omitempty"`
	Old       json.RawMessage `json:"old,omitempty"`
}

func changeOf(id, operation string) subject {
	kind, rest, _ := strings.Cut(id, ":")
	if kind == "event" {
		return subject{EventID: rest}
	}
	table, key, _ := strings.Cut(rest, "|")
	return subject{Table: table, Key: key, Operation: operation}
}

// candidates are recent changes of a workflow's tables, or rows where none are recorded.
func (v *visit) candidates(d *document, most int) ([]candidate, string, error) {
	var list []candidate
	missing := ""
	seen := make(map[string]bool)
	for _, t := range d.Triggers {
		label := strings.TrimPrefix(t.EntityType, "public.")
		if label == "" || seen[label] {
			continue
		}
		seen[label] = true
		if v.can(access.ExecutionRead) {
			var events api.LogPage[store.ListedEvent]
			if err := v.get("/events", url.Values{"table": {label}, "limit": {fmt.Sprint(most)}, "data": {"true"}}, &events); err != nil {
				return nil, "", err
			}
			for _, e := range events.Items {
				list = append(list, candidate{ID: "event:" + e.ID, Title: rowTitle(label, e.RowKey), What: operationPast(e.Operation), At: e.CommittedAt, Operation: e.Operation, table: label, data: e.Data})
			}
		}
		if strings.HasPrefix(label, workflow.DomainPrefix) || len(list) >= most {
			continue
		}
		var rows api.RowsOut
		err := v.get(at("/tables/%s/rows", label), url.Values{"limit": {fmt.Sprint(most)}}, &rows)
		if p := problemOf(err); err != nil {
			if p.Status >= 500 {
				return nil, "", err
			}
			missing = p.Detail
			continue
		}
		missing = rows.Missing
		for _, r := range rows.Items {
			title := rowTitle(label, r.Key)
			if slices.ContainsFunc(list, func(c candidate) bool { return c.Title == title }) {
				continue // it has changed just now
			}
			list = append(list, candidate{ID: "row:" + label + "|" + r.Key, Title: title, What: "as it is now, if it " + operationFuture(t.Operation), Operation: t.Operation})
		}
	}
	return list[:min(most, len(list))], missing, nil
}

func rowTitle(label, key string) string {
	if name, ok := strings.CutPrefix(label, workflow.DomainPrefix); ok {
		return name
	}
	return strings.TrimSpace(singular(humane(label)) + " " + short(30, key))
}

// singular is what one of them is called, as far as that is plain.
func singular(s string) string {
	switch {
	case strings.HasSuffix(s, "ies"):
		return strings.TrimSuffix(s, "ies") + "y"
	case strings.HasSuffix(s, "ses"), strings.HasSuffix(s, "xes"), strings.HasSuffix(s, "ches"):
		return strings.TrimSuffix(s, "es")
	case strings.HasSuffix(s, "s") && !strings.HasSuffix(s, "ss") && !strings.HasSuffix(s, "us"):
		return strings.TrimSuffix(s, "s")
	}
	return s
}

func operationPast(op string) string {
	return cmp.Or(map[string]string{"create": "created", "update": "changed", "delete": "deleted", "emit": "happened"}[op], op)
}

func operationFuture(op string) string {
	return map[string]string{"create": "were created", "update": "were changed", "delete": "were deleted"}[op]
}

// evidenceData is what real changes say of a workflow.
type evidenceData struct {
	*loaded
	List    []candidate
	Chosen  *candidate
	Clauses []clauseVerdict
	Actions []rendered
	Matched int
	Missing string
	Reached string // how often it fired in a week, and whom that reached
	Broken  bool   // it can't run yet
	Pick    string
}

// clauseVerdict is a part of the conditions, with what became of it.
type clauseVerdict struct {
	Depth   int
	Text    string
	Verdict string
	Values  string
}

// rendered is an action as one person would get it.
type rendered struct {
	ID         string
	Kind       string
	To         string
	Texts      []definition.Previewed
	Recipients []string
	People     []api.PersonOut
	LeftOut    []api.PersonOut
	Problem    string
	Out        string          // why it would not run: "" it would; else what is said before OnlyIf
	OnlyIf     []clauseVerdict // of them
}

func showEvidence(v *visit) (*page, error) {
	if v.r.Header.Get("HX-Request") != "true" { // it is a part of the designer
		return redirect(at("/workflows/%s/try", v.r.PathValue("id")), ""), nil
	}
	l, err := v.load(v.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	d := &evidenceData{loaded: l, Pick: v.query("pick")}
	if d.List, d.Missing, err = v.candidates(l.document, mostEvidence); err != nil {
		return nil, err
	}
	for i := range d.List {
		c := &d.List[i]
		if err := v.simulate(l, c, changeOf(c.ID, c.Operation)); err != nil {
			return nil, err
		}
		if c.Result != nil && fires(c.Result) {
			d.Matched++
		}
	}
	if i := slices.IndexFunc(d.List, func(c candidate) bool { return c.ID == d.Pick }); i >= 0 {
		d.Chosen = &d.List[i]
	} else if i := slices.IndexFunc(d.List, func(c candidate) bool { return c.Result != nil && fires(c.Result) }); i >= 0 {
		d.Chosen = &d.List[i]
	} else if len(d.List) > 0 {
		d.Chosen = &d.List[0]
	}
	if d.Chosen != nil {
		d.Chosen.Chosen = true
		d.Pick = d.Chosen.ID
		d.Clauses = verdicts(d.Chosen.Result)
		if d.Actions, err = v.render(l, changeOf(d.Chosen.ID, d.Chosen.Operation), true); err != nil {
			return nil, err
		}
		l.leaveOut(d.Actions, d.Chosen.Result)
		if r := d.Chosen.Result; r != nil && r.Answer == trial.Broken { // the form says what, at its place
			d.Broken = true
			for i := range d.Actions {
				if a := &d.Actions[i]; a.Problem != "" {
					a.Problem = "It can’t be shown before what is missing is filled in"
				}
			}
		}
	}
	if d.Reached, err = v.reached(l, d.List); err != nil {
		return nil, err
	}
	return &page{template: "designer", title: "What it would do", nav: "workflows", data: d}, nil
}

func fires(r *trial.Result) bool { return r.Acts() }

// simulate tries a workflow; what can't be tried says why.
func (v *visit) simulate(l *loaded, c *candidate, on subject) error {
	var r trial.Result
	err := v.call(http.MethodPost, at("/workflows/%s/simulate", l.ID), l.draftQuery(), on, &r)
	if p := problemOf(err); err != nil {
		if p.Status >= 500 || p.Status == http.StatusTooManyRequests {
			return err
		}
		c.Problem = p.Detail
		if len(p.Errors) > 0 {
			c.Problem = p.Errors[0].Detail
		}
		return nil
	}
	c.Result = &r
	return nil
}

// verdicts are the clauses of the trigger that says most.
func verdicts(r *trial.Result) []clauseVerdict {
	if r == nil {
		return nil
	}
	var best *trial.Trigger
	for i := range r.Triggers {
		if t := &r.Triggers[i]; len(t.Clauses) > 0 && (best == nil || t.Verdict == condition.True && best.Verdict != condition.True) {
			best = t
		}
	}
	if best == nil {
		return nil
	}
	return verdictsOf(best.Clauses)
}

// verdictsOf are clauses as they are shown, one below the other.
func verdictsOf(clauses []condition.Clause) []clauseVerdict {
	var list []clauseVerdict
	var walk func(clauses []condition.Clause, depth int)
	walk = func(clauses []condition.Clause, depth int) {
		for i := range clauses {
			c := &clauses[i]
			one := clauseVerdict{Depth: min(depth, 4), Text: c.Text, Verdict: string(c.Verdict), Values: valuesShown(c)}
			switch c.Kind {
			case condition.All:
				one.Text = "All of these"
			case condition.Any:
				one.Text = "One of these"
			case condition.Not:
				one.Text = "Not this"
			}
			if len(c.Children) > 0 && depth == 0 && c.Kind == condition.All {
				walk(c.Children, 0)
				continue
			}
			if c.Kind == condition.Comparison || c.Kind == condition.Changed || c.Kind == condition.Single {
				one.Text = saysClause(c)
			}
			list = append(list, one)
			if len(c.Children) > 0 {
				walk(c.Children, depth+1)
			}
		}
	}
	walk(clauses, 0)
	return list
}

// leaveOut says of each action with conditions of its own whether it would run.
func (l *loaded) leaveOut(list []rendered, r *trial.Result) {
	if r == nil {
		return
	}
	for i := range list {
		one := &list[i]
		number := l.stored(one.ID)
		for _, a := range r.Actions {
			if fmt.Sprint(a.Number) == number && len(a.OnlyIf) > 0 {
				one.OnlyIf = verdictsOf(a.OnlyIf)
			}
		}
		for _, a := range r.LeftOut {
			if fmt.Sprint(a.Number) != number {
				continue
			}
			one.Out, one.OnlyIf = "Left out, because this doesn’t hold:", verdictsOf(a.OnlyIf)
			if a.Verdict == condition.Failed {
				one.Out = "It would fail, because this can’t be decided:"
			}
		}
	}
}

// saysClause is a clause of a form in the form's words: total gte 1000 is Total is at least 1000.
func saysClause(c *condition.Clause) string {
	column, rest, ok := strings.Cut(c.Text, " ")
	if strings.Contains(c.Where, "(time_based)") || strings.Contains(c.Where, "(role_based)") {
		return cmp.Or(saysKey(column, rest), c.Text)
	}
	op, value, _ := strings.Cut(rest, " ")
	text := operatorText(op, "")
	if !ok || text == "" || !strings.HasPrefix(c.Where, "field_conditions") && !strings.Contains(c.Where, "field_value") {
		return c.Text
	}
	if op == "changed" || op == "is_null" || op == "not_null" {
		if value == "false" {
			text = operatorText(map[string]string{"changed": "unchanged", "is_null": "not_null", "not_null": "is_null"}[op], "")
		}
		value = ""
	}
	return strings.TrimSpace(humane(column) + " " + text + " " + value)
}

// saysKey is a key of a condition on time or roles in words; "" if there are none for it.
func saysKey(key, value string) string {
	var list []string
	var hours struct{ From, To string }
	switch {
	case key == "hours" && json.Unmarshal([]byte(value), &hours) == nil:
		return "From " + hours.From + " to " + hours.To
	case json.Unmarshal([]byte(value), &list) != nil:
		return ""
	}
	if key == "days" {
		for i, d := range list {
			list[i] = humane(d)
		}
	}
	words := map[string]string{
		"days": "On ", "holidays": "Not on ", "roles": "Whoever did it has one of the roles ", "all_roles": "Whoever did it has the roles ",
		"not_roles": "Whoever did it has none of the roles ", "actors": "It was done by ", "not_actors": "It was not done by ",
	}[key]
	if words == "" {
		return ""
	}
	if len(list) == 1 {
		words = strings.Replace(words, "one of the roles", "the role", 1)
		words = strings.Replace(words, "none of the roles", "not the role", 1)
	}
	return words + strings.Join(list, ", ")
}

func valuesShown(c *condition.Clause) string {
	if c.Verdict == condition.NotEvaluated || len(c.Children) > 0 {
		return ""
	}
	if c.Kind == condition.Changed && c.Left != nil && c.Right != nil {
		return c.Left.Shown + " → " + c.Right.Shown
	}
	var values []string
	for _, one := range []*condition.Value{c.Left, c.Right} {
		if one != nil && !one.Constant {
			values = append(values, one.Shown)
		}
	}
	s := strings.Join(values, ", ")
	if c.Error != "" {
		s = strings.TrimPrefix(s+": "+c.Error, ": ")
	} else if s != "" {
		s = "it is " + s
	}
	return s
}

// reaches says that a kind of action reaches people.
func reaches(kind string) bool { return kind == "notification" || kind == "email" }

// render shows each action's texts for a change, as one person would get them, and who does.
func (v *visit) render(l *loaded, on subject, few bool) ([]rendered, error) {
	var list []rendered
	for _, a := range l.document.Actions {
		one := rendered{ID: a.ID, Kind: a.Type}
		if a.Type == "log" { // it says nothing to anybody
			list = append(list, one)
			continue
		}
		var out definition.Previewed
		err := v.call(http.MethodPost, at("/workflows/%s/actions/%s/preview", l.ID, l.stored(a.ID)), l.draftQuery(), on, &out)
		switch p := problemOf(err); {
		case err == nil:
			one.Texts = []definition.Previewed{out}
			one.Problem = out.Problem
		case p.Status >= 500 || p.Status == http.StatusTooManyRequests:
			return nil, err
		default:
			one.Problem = p.Detail
			if len(p.Errors) > 0 {
				one.Problem = p.Errors[0].Detail
			}
		}
		for _, r := range l.document.Recipients {
			if reaches(a.Type) && (r.ActionID == nil || *r.ActionID == a.ID) {
				one.Recipients = append(one.Recipients, recipientText(r))
			}
		}
		list = append(list, one)
		if few && len(list) == 4 {
			break
		}
	}
	return list, nil
}

// stored is the number by which the API knows an action: as it is stored.
func (l *loaded) stored(id string) string {
	list := l.DocumentOut.Actions
	if l.Draft != nil && l.Draft.Document != nil {
		list = l.Draft.Document.Actions
	}
	return fmt.Sprint(slices.IndexFunc(list, func(a api.ActionOut) bool { return a.ID == id }) + 1)
}

func recipientText(r docRecipient) string {
	switch r.Type {
	case "role":
		return "everybody with the role " + r.Value
	case "group":
		return "the group " + r.Value
	case "attribute":
		return "whoever " + strings.ToLower(humane(r.Value)) + " names"
	}
	return r.Value
}

// tryData is a change that a workflow is tried on.
type tryData struct {
	*loaded
	List      []candidate
	Missing   string
	On        candidate
	Columns   []tryColumn
	Operation string
	Edited    bool
	Clauses   []clauseVerdict
	Actions   []rendered
	Sent      string
	SentBad   bool
	CanSend   bool
}

type tryColumn struct {
	columnView
	New, Old string
}

func showTry(v *visit) (*page, error) {
	d, err := v.try()
	if err != nil {
		return nil, err
	}
	return &page{template: "try", title: "Try " + d.document.Name, nav: "workflows", data: d}, nil
}

func (v *visit) param(name string) string {
	if v.r.Method == http.MethodPost {
		return v.form(name)
	}
	return v.query(name)
}

// try tries a workflow on what the form says.
func (v *visit) try() (*tryData, error) {
	l, err := v.load(v.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	d := &tryData{loaded: l, Operation: v.param("operation"), CanSend: v.can(access.WorkflowWrite) && v.me.Kind != "key"}
	if d.List, d.Missing, err = v.candidates(l.document, 12); err != nil {
		return nil, err
	}
	pick := v.param("pick")
	i := slices.IndexFunc(d.List, func(c candidate) bool { return c.ID == pick })
	if i < 0 && pick != "" { // an older one, from elsewhere
		d.List = append(d.List, candidate{ID: pick, Title: "The one that you came with"})
		i = len(d.List) - 1
	}
	if len(d.List) == 0 {
		return d, nil
	}
	if pick == "" { // rather one that it acts on
		for j := range d.List[:min(mostEvidence, len(d.List))] {
			if err := v.simulate(l, &d.List[j], changeOf(d.List[j].ID, cmp.Or(d.Operation, d.List[j].Operation))); err != nil {
				return nil, err
			}
			if r := d.List[j].Result; r != nil && fires(r) {
				i = j
				break
			}
		}
	}
	d.List[max(i, 0)].Chosen = true
	d.On = d.List[max(i, 0)]
	on, err := v.tried(d)
	if err != nil {
		return nil, err
	}
	if err := v.simulate(l, &d.On, on); err != nil {
		return nil, err
	}
	d.Clauses = verdicts(d.On.Result)
	if d.Actions, err = v.render(l, on, false); err != nil {
		return nil, err
	}
	l.leaveOut(d.Actions, d.On.Result)
	return d, v.resolve(d)
}

// tried is the change that the form says, with what was edited of it.
func (v *visit) tried(d *tryData) (subject, error) {
	isRow := strings.HasPrefix(d.On.ID, "row:")
	if isRow {
		d.Operation = cmp.Or(d.Operation, d.On.Operation, "update")
	} else {
		d.Operation = d.On.Operation
	}
	on := changeOf(d.On.ID, d.Operation)
	before, after, columns, err := v.values(d.On, on)
	if err != nil {
		return on, err
	}
	types := make(map[string]string)
	var fresh, old members
	f := fields(v.r.PostForm)
	same := v.form("pick") == v.form("before") // another row has other values
	for _, c := range columns {
		one := tryColumn{columnView: c}
		if s := after[c.Name]; s != nil {
			one.New = *s
		}
		if s := before[c.Name]; s != nil {
			one.Old = *s
		}
		if c.Kind != "" {
			types[c.Name] = map[string]string{"number": "numeric", "bool": "bool"}[c.Kind]
		}
		for _, side := range []struct {
			name  string
			value *string
			list  *members
		}{{"new." + c.Name, &one.New, &fresh}, {"old." + c.Name, &one.Old, &old}} {
			if v.r.Method != http.MethodPost || !f.has(side.name) || !same {
				continue
			}
			s := f.get(side.name)
			if s == *side.value {
				continue
			}
			*side.value, d.Edited = s, true
			raw := (&clause{Column: c.Name}).value(types, s)
			if s == "" {
				raw = json.RawMessage("null")
			}
			side.list.set(c.Name, raw)
		}
		d.Columns = append(d.Columns, one)
	}
	if fresh != nil && d.Operation != "delete" {
		on.New = fresh.raw()
	}
	if old != nil && d.Operation != "create" && d.Operation != "emit" {
		on.Old = old.raw()
	}
	return on, nil
}

// values are what a change has before and after it, and the columns of its table.
func (v *visit) values(c candidate, on subject) (before, after map[string]*string, columns []columnView, err error) {
	before, after = make(map[string]*string), make(map[string]*string)
	table := cmp.Or(on.Table, c.table)
	if table != "" && !strings.HasPrefix(table, workflow.DomainPrefix) {
		var t api.TableDetail
		if err := v.get(at("/tables/%s", table), nil, &t); err != nil {
			return nil, nil, nil, err
		}
		columns = columnsOf(&t)
	}
	if on.EventID == "" {
		var rows api.RowsOut
		if err := v.get(at("/tables/%s/rows", on.Table), url.Values{"limit": {"20"}}, &rows); err != nil {
			return nil, nil, nil, err
		}
		if i := slices.IndexFunc(rows.Items, func(r api.RowOut) bool { return r.Key == on.Key }); i >= 0 {
			after = rows.Items[i].Values
		}
		return after, after, columns, nil
	}
	for _, one := range changesOf(c.data) {
		one.Old = cmp.Or(one.Old, one.New) // of what didn't change, one is kept
		after[one.Column], before[one.Column] = &one.New, &one.Old
		if strings.HasPrefix(table, workflow.DomainPrefix) {
			columns = append(columns, columnView{Name: one.Column, Title: humane(one.Column)})
		}
	}
	if len(c.data) == 0 {
		columns = nil
	}
	return before, after, columns, nil
}

// resolve finds out who the recipients are now.
func (v *visit) resolve(d *tryData) error {
	if !v.can(access.PersonRead) || d.On.Result == nil {
		return nil
	}
	for i := range d.Actions {
		a := &d.Actions[i]
		var ask []api.RecipientIn
		for _, done := range d.On.Result.Actions {
			if done.Kind != a.Kind || fmt.Sprint(done.Number) != d.stored(a.ID) {
				continue
			}
			a.To = done.To
			if !reaches(a.Kind) {
				break // the workflow's recipients are not its
			}
			for _, r := range done.Recipients {
				one := api.RecipientIn{Type: r.Type, Value: r.ID}
				if r.Type == "attribute" {
					one = api.RecipientIn{Type: "user", Value: r.Value}
				}
				if one.Value != "" {
					ask = append(ask, one)
				}
			}
		}
		if len(ask) == 0 {
			continue
		}
		var out api.ResolvedOut
		in := map[string]any{"recipients": ask}
		if v.me.Tenant == nil && d.TenantID != nil {
			in["tenant_id"] = *d.TenantID
		}
		if err := v.call(http.MethodPost, "/recipients/resolve", nil, in, &out); err != nil {
			if problemOf(err).Status >= 500 {
				return err
			}
			a.Problem = cmp.Or(a.Problem, problemOf(err).Detail)
			continue
		}
		a.People, a.LeftOut = out.People, out.LeftOut
	}
	return nil
}

// sendToMe sends one action to the visitor alone.
func sendToMe(v *visit) (*page, error) {
	d, err := v.try()
	if err != nil {
		return nil, err
	}
	on, err := v.tried(&tryData{loaded: d.loaded, On: d.On, Operation: v.form("operation")})
	if err != nil {
		return nil, err
	}
	var out api.TestResult
	err = v.call(http.MethodPost, at("/workflows/%s/actions/%s/test-send", d.ID, d.stored(v.form("action"))), d.draftQuery(), on, &out)
	switch p := problemOf(err); {
	case err != nil && (p.Status >= 500 || p.Status == http.StatusForbidden):
		return nil, err
	case err != nil:
		d.Sent, d.SentBad = p.Detail, true
	case out.Sent:
		d.Sent = "Sent to " + cmp.Or(out.Recipient, "you") + ", and to nobody else."
	default:
		d.Sent, d.SentBad = cmp.Or(out.Error, "it was not taken"), true
	}
	return &page{template: "try", title: "Try " + d.document.Name, nav: "workflows", data: d}, nil
}

// publishData is what turning a workflow on means.
type publishData struct {
	*loaded
	Report  api.ReportOut
	Changes *definition.Diff
	Tests   *api.TestedOut
	Tried   int // recent changes that it was tried on
	Matched int
	People  []string
	Kinds   []string
	Live    bool // it is on already
	Waits   *waiting
	Comment string // what was written before it was refused
	Problem *api.Problem
}

// waiting are runs of a workflow that have not ended.
type waiting struct {
	Count int
	More  bool // there are more than that
	Held  int  // of them, those that the storm guard holds
}

// mostEstimate is how many recent changes the estimate tries; mostWaiting is how many runs
// that have not ended are counted.
const (
	mostEstimate = 15
	mostWaiting  = 200
)

// waits counts the runs of a workflow that have not ended; nil if the visitor may not see runs.
func (v *visit) waits(id string) (*waiting, error) {
	if !v.can(access.ExecutionRead) {
		return nil, nil
	}
	var runs api.LogPage[store.ListedExecution]
	if err := searched(v, url.Values{"workflow_id": {id}, "status": {string(workflow.Pending)}, "limit": {fmt.Sprint(mostWaiting)}}, true, &runs); err != nil {
		return nil, err
	}
	w := &waiting{Count: len(runs.Items), More: runs.Next != ""}
	if w.Count == 0 {
		return w, nil
	}
	var storms api.LogPage[store.Storm]
	if err := v.get("/storms", nil, &storms); err != nil {
		return nil, err
	}
	for _, s := range storms.Items {
		if s.WorkflowID == id {
			w.Held += s.Executions
		}
	}
	w.Count = max(w.Count, w.Held)
	return w, nil
}

func showPublish(v *visit) (*page, error) { return v.publishing(nil) }

func (v *visit) publishing(refused *api.Problem) (*page, error) {
	l, err := v.load(v.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	d := &publishData{loaded: l, Live: l.Status == string(workflow.Active), Comment: v.form("comment"), Problem: refused}
	if d.Waits, err = v.waits(l.ID); err != nil {
		return nil, err
	}
	if d.Report, err = v.validate(l, l.document); err != nil {
		return nil, err
	}
	if l.Draft != nil && l.Status != string(workflow.Draft) {
		d.Changes = &definition.Diff{}
		if err := v.get(at("/workflows/%s/diff", l.ID), url.Values{"from": {"live"}, "to": {"draft"}}, d.Changes); err != nil {
			return nil, err
		}
	}
	var s struct{ Tests []json.RawMessage }
	_ = json.Unmarshal(l.document.Settings, &s) // without tests there is nothing to run
	if len(s.Tests) > 0 {
		d.Tests = &api.TestedOut{}
		if err := v.call(http.MethodPost, at("/workflows/%s/test", l.ID), nil, nil, d.Tests); err != nil {
			return nil, err
		}
	}
	list, _, err := v.candidates(l.document, mostEstimate)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if !strings.HasPrefix(list[i].ID, "event:") {
			continue
		}
		if err := v.simulate(l, &list[i], changeOf(list[i].ID, "")); err != nil {
			return nil, err
		}
		d.Tried++
		if list[i].Result != nil && fires(list[i].Result) {
			d.Matched++
		}
	}
	for _, r := range l.document.Recipients {
		if s := recipientText(r); !slices.Contains(d.People, s) {
			d.People = append(d.People, s)
		}
	}
	p := &page{template: "publish", title: "Turn on " + l.document.Name, nav: "workflows", data: d}
	if refused != nil {
		p.status, p.problem = refused.Status, refused
	}
	return p, nil
}

func publish(v *visit) (*page, error) {
	id := v.r.PathValue("id")
	q := url.Values{}
	if comment := v.said("comment"); comment != "" {
		q.Set("comment", comment)
	}
	_, err := v.send(http.MethodPost, at("/workflows/%s/activate", id), q, nil, map[string]string{"If-Match": v.form("etag")})
	if err != nil {
		p := problemOf(err)
		if p.Status == http.StatusConflict || p.Status == http.StatusPreconditionFailed || p.Status == http.StatusUnprocessableEntity {
			return v.publishing(p)
		}
		return nil, err
	}
	return redirect(at("/workflows/%s", id), "activated"), nil
}
