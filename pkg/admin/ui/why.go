package ui

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/store"
)

var whyRoutes = []route{
	{"GET /why", access.ExecutionRead, why},
}

// whyData answers: why did this row set nothing off?
type whyData struct {
	Table, RowKey string
	Tables        []string // to choose from; none: the visitor may not see which there are
	Asked         bool
	Events        []store.ListedEvent
	More          string
	Event         string // the one that is explained
	Explained     *definition.Explanation
	Accounts      []account
	Others        []account // those that could have had nothing to do with it
	// Now is what would happen if the row changed just as it is: where no change of it is
	// recorded.
	Now     []account
	Missing string // why there is no Now
}

// account is what a workflow did about a change, or would do, in words.
type account struct {
	WorkflowID, Name, Outcome, Class string
	Version                          int32
	Reason                           string
	Stopped                          string // the first clause that did not hold, with its values
	ExecutionID                      string
	Triggers                         []trial.Trigger
}

// outcomeTexts are the words for what became of a workflow for a change.
var outcomeTexts = map[trial.Outcome]choice{
	trial.Fired: {"success", "Ran"}, trial.Failed: {"failure", "Ran and failed"}, trial.Cancelled: {"cancelled", "Cancelled"}, trial.Held: {"pending", "Held back"},
	trial.Skipped: {"cancelled", "Skipped"}, trial.NotMatched: {"", "Didn’t match"}, trial.ChangedNothing: {"", "Nothing it watches changed"},
	trial.OtherOperation: {"", "Another kind of change"}, trial.OtherTenant: {"", "Another tenant’s row"}, trial.NoTrigger: {"", "Didn’t watch this table then"},
	trial.WasInactive: {"", "Was off"}, trial.WasDraft: {"", "Was a draft"}, trial.WasDeleted: {"", "Was deleted"}, trial.CreatedLater: {"", "Didn’t exist yet"},
	trial.WasBroken: {"broken", "Was broken"}, trial.WasIncomplete: {"broken", "Was incomplete"}, trial.Unknown: {"", "Can’t be told"}, trial.Unexplained: {"broken", "Not explained"},
}

// answerTexts are the same for what would become of it.
var answerTexts = map[trial.Answer]choice{
	trial.Fires: {"success", "Would run"}, trial.DoesNot: {"", "Would not run"}, trial.Depends: {"pending", "It depends"}, trial.WouldFail: {"failure", "Would fail"},
	trial.NotDecided: {"", "Can’t be told"}, trial.Broken: {"broken", "Is broken"},
}

// mostTried is how many workflows are tried on a row of which nothing is recorded.
const mostTried = 12

// mostOthers is how many workflows of other tenants are named, of those that are on the table.
const mostOthers = 20

func why(v *visit) (*page, error) {
	d := &whyData{Table: v.query("table"), RowKey: strings.TrimSpace(v.query("row_key")), Event: v.query("event")}
	p := &page{template: "why", title: "Why not?", nav: "why", data: d}
	if v.can(access.CatalogueRead) {
		var tables api.LogPage[api.TableOut]
		if err := v.get("/tables", nil, &tables); err != nil {
			return nil, err
		}
		for _, t := range tables.Items {
			d.Tables = append(d.Tables, t.Label)
		}
		slices.Sort(d.Tables)
	}
	if d.Asked = d.Table != "" && d.RowKey != ""; !d.Asked {
		return p, nil
	}
	q := v.pass("table", "cursor")
	q.Set("row_key", d.RowKey)
	q.Set("limit", "20")
	q.Set("data", "true")
	var events api.LogPage[store.ListedEvent]
	if err := v.get("/events", q, &events); err != nil {
		return problemPage(p, err)
	}
	d.Events, d.More = events.Items, v.more(events.Next)
	if d.Event == "" && len(d.Events) > 0 {
		d.Event = d.Events[0].ID
	}
	if !v.can(access.WorkflowRead) {
		d.Missing = "to see what each workflow did about it, you need the right workflow.read; ask an administrator"
		return p, nil
	}
	if d.Event == "" {
		return p, v.tryRow(d)
	}
	d.Explained = &definition.Explanation{}
	if err := v.get(at("/events/%s/explain", d.Event), url.Values{"others": {fmt.Sprint(mostOthers)}}, d.Explained); err != nil {
		return problemPage(p, err)
	}
	for i := range d.Explained.Workflows {
		a := &d.Explained.Workflows[i]
		words := outcomeTexts[a.Outcome]
		one := account{
			WorkflowID: a.WorkflowID, Name: cmp.Or(a.Name, a.WorkflowID), Version: a.Version, Outcome: cmp.Or(words.Text, string(a.Outcome)), Class: words.Value,
			Reason: a.Reason, Stopped: stopped(a.Triggers), ExecutionID: a.ExecutionID, Triggers: evaluated(a.Triggers),
		}
		switch a.Outcome {
		case trial.OtherTenant, trial.CreatedLater, trial.WasDeleted, trial.NoTrigger:
			d.Others = append(d.Others, one)
		default:
			d.Accounts = append(d.Accounts, one)
		}
	}
	return p, nil
}

// tryRow says what workflows would do if a row changed just as it is.
func (v *visit) tryRow(d *whyData) error {
	var list api.LogPage[store.ListedWorkflow]
	if err := v.get("/workflows", url.Values{"table": {d.Table}, "limit": {fmt.Sprint(mostTried)}}, &list); err != nil {
		return err
	}
	for _, w := range list.Items {
		var r trial.Result
		// As the kind of change that it watches, which the first that has clauses to judge is.
		for _, operation := range []string{"update", "create"} {
			var tried trial.Result
			err := v.call("POST", at("/workflows/%s/simulate", w.ID), nil, map[string]string{"table": d.Table, "key": d.RowKey, "operation": operation}, &tried)
			if err != nil {
				if p := problemOf(err); p.Status < 500 {
					d.Missing = p.Detail
					return nil
				}
				return err
			}
			if r.WorkflowID == "" || len(evaluated(tried.Triggers)) > 0 {
				r = tried
			}
			if len(evaluated(r.Triggers)) > 0 {
				break
			}
		}
		words := answerTexts[r.Answer]
		a := account{WorkflowID: w.ID, Name: w.Name, Version: r.Version, Outcome: cmp.Or(words.Text, string(r.Answer)), Class: words.Value, Reason: r.Reason, Stopped: stopped(r.Triggers), Triggers: evaluated(r.Triggers)}
		if string(w.Status) != "active" {
			a.Outcome, a.Class, a.Reason, a.Stopped = "Is off", "", "it is not turned on, so that nothing sets it off", ""
		}
		d.Now = append(d.Now, a)
	}
	return nil
}

// evaluated are the triggers that have something to show.
func evaluated(list []trial.Trigger) []trial.Trigger {
	return slices.DeleteFunc(slices.Clone(list), func(t trial.Trigger) bool { return len(t.Clauses) == 0 })
}

// stopped is the first clause that kept a workflow from firing, with its values; "" none did.
func stopped(list []trial.Trigger) string {
	for _, t := range list {
		if t.Verdict != condition.False && t.Verdict != condition.Failed {
			continue
		}
		if c := firstStop(t.Clauses); c != nil {
			return withValues(*c)
		}
	}
	return ""
}

// withValues is a clause with what it was judged by.
func withValues(c condition.Clause) string {
	text := clauseText(c)
	if len(c.Children) > 0 {
		var parts []string
		for _, child := range flat(c.Children) {
			parts = append(parts, withValues(child))
		}
		text += " " + strings.Join(parts, "; ")
	}
	if values := clauseValues(c); values != "" {
		text += " – " + values
	}
	if c.Error != "" {
		text += " – " + c.Error
	}
	return text
}

func firstStop(list []condition.Clause) *condition.Clause {
	for i := range list {
		c := &list[i]
		if c.Verdict != condition.False && c.Verdict != condition.Failed {
			continue
		}
		if c.Kind == condition.All {
			if inner := firstStop(c.Children); inner != nil {
				return inner
			}
		}
		return c
	}
	return nil
}

// flat takes away what only holds clauses together that all must hold: a list says so too.
func flat(list []condition.Clause) []condition.Clause {
	var out []condition.Clause
	for _, c := range list {
		if c.Kind == condition.All && len(c.Children) > 0 {
			out = append(out, flat(c.Children)...)
			continue
		}
		out = append(out, c)
	}
	return out
}

// comparisonTexts are words for operators of conditions, as they stand in a clause's text.
var comparisonTexts = strings.NewReplacer(
	" gte ", " is at least ", " lte ", " is at most ", " gt ", " is more than ", " lt ", " is less than ", " eq ", " is ", " ne ", " is not ", " neq ", " is not ", " in ", " is one of ", " not_in ", " is none of ",
	" changed_from ", " changed from ", " changed_to ", " changed to ", " starts_with ", " starts with ", " ends_with ", " ends with ", " is_null", " is empty", " is_not_null", " is not empty",
	" >= ", " is at least ", " <= ", " is at most ", " > ", " is more than ", " < ", " is less than ", " == ", " is ", " != ", " is not ", "new.", "", "old.", "former ",
)

// clauseText is a clause in words.
func clauseText(c condition.Clause) string {
	switch c.Kind {
	case condition.All:
		if len(c.Children) > 0 {
			return "All of these:"
		}
	case condition.Any:
		if len(c.Children) > 0 {
			return "At least one of these:"
		}
	case condition.Not:
		if len(c.Children) > 0 {
			return "Not this:"
		}
	}
	return comparisonTexts.Replace(changedCall.ReplaceAllString(c.Text, "$1 changed"))
}

// changedCall is how an expression asks whether a column has changed.
var changedCall = regexp.MustCompile(`\bchanged\("([^"]+)"\)`)

// clauseValues are the values that a clause was judged by.
func clauseValues(c condition.Clause) string {
	if len(c.Children) > 0 {
		return ""
	}
	if c.Kind == condition.Changed && c.Left != nil && c.Right != nil {
		if c.Left.Shown == c.Right.Shown {
			return "it stayed " + c.Left.Shown
		}
		return "it went from " + c.Left.Shown + " to " + c.Right.Shown
	}
	var parts []string
	for _, side := range []*condition.Value{c.Left, c.Right} {
		if side != nil && !side.Constant {
			parts = append(parts, comparisonTexts.Replace(side.Text)+" was "+side.Shown)
		}
	}
	return strings.Join(parts, ", ")
}
