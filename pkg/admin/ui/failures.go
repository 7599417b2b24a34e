package ui

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/store"
)

var failureRoutes = []route{
	{"GET /failures", access.ExecutionRead, listFailures},
	{"POST /failures/dismiss", access.DeliveryWrite, dismissFailure},
	{"POST /failures/restore", access.DeliveryWrite, restoreFailure},
}

// failuresData is what fails, by cause.
type failuresData struct {
	Within, WorkflowID string
	Gone               bool // those are shown that are dismissed
	Query              string
	Counted, Dismissed int
	All                bool
	From               time.Time
	Causes             []failure
	More               int    // causes that are not shown
	MorePath           string // where they are
	Picker             picker
}

// failure is a cause with what to do about it.
type failure struct {
	store.Cause
	Advice advice
	Again  string // where it is run again
	Runs   string // where all of them stand
	By     string // who has dismissed it
	Note   string // the note to dismiss it with; "" none yet
	Typed  bool   // somebody has just written that
}

// Quoted is the cause as JSON: a form would change the ends of its lines.
func (f failure) Quoted() (string, error) {
	text, err := json.Marshal(f.Cause.Cause)
	return string(text), err
}

// filteredFailures are the parameters of the list.
var filteredFailures = []string{"within", "workflow_id", "show", "causes"}

// How many causes the list shows at first, and with causes=all.
const (
	fewCauses  = 25
	mostCauses = 100
)

// goneFailures is the parameter show of those that are dismissed.
const goneFailures = "dismissed"

func listFailures(v *visit) (*page, error) {
	d := &failuresData{Within: cmp.Or(v.query("within"), "day"), WorkflowID: v.query("workflow_id"), Gone: v.query("show") == goneFailures, Query: v.pass(filteredFailures...).Encode()}
	long, ok := withins[d.Within]
	if !ok {
		d.Within, long = "day", withins["day"]
	}
	until := now().UTC().Truncate(time.Second).Add(time.Second)
	since := until.Add(-long)
	q := v.pass("workflow_id")
	q.Set("since", since.Format(time.RFC3339))
	q.Set("limit", fmt.Sprint(mostCauses))
	q.Set("dismissed", fmt.Sprint(d.Gone))
	var found store.Causes
	if err := v.get("/failures", q, &found); err != nil {
		return nil, err
	}
	d.Counted, d.Dismissed, d.All, d.From = found.Counted, found.Dismissed, found.All, found.From
	if n := len(found.Causes); n > fewCauses && v.query("causes") != "all" && v.r.Method == http.MethodGet { // a form that is refused was below one of them
		found.Causes, d.More = found.Causes[:fewCauses], n-fewCauses
		all := v.pass(filteredFailures...)
		all.Set("causes", "all")
		d.MorePath = "/failures?" + all.Encode()
	}
	var names map[string]string
	for _, c := range found.Causes {
		f := failure{Cause: c, Advice: adviceOn(cmp.Or(c.ExampleError, c.Cause), c.WorkflowID)}
		if c.Dismissed != nil {
			if names == nil {
				var err error
				if names, err = v.names(); err != nil {
					return nil, err
				}
			}
			if f.By = who(names, c.Dismissed.By); c.Dismissed.By == v.me.ID {
				f.By = "you"
			}
			f.By = strings.TrimPrefix(strings.TrimPrefix(f.By, "user:"), "link:")
			f.Note = c.Dismissed.Note
		}
		again := url.Values{"workflow_id": {c.WorkflowID}, "status": {"failure"}, "cause": {c.Cause}, "since": {since.Format(time.RFC3339)}, "until": {until.Format(time.RFC3339)}}
		if f.Advice.Current {
			again.Set("version", "current")
		}
		f.Again = "/replays/new?" + again.Encode()
		f.Runs = "/runs?" + url.Values{"workflow_id": {c.WorkflowID}, "status": {"failure"}, "error": {longestPart(c.Cause)}, "within": {d.Within}}.Encode()
		d.Causes = append(d.Causes, f)
	}
	var err error
	if d.Picker, err = v.picks(d.WorkflowID); err != nil {
		return nil, err
	}
	return &page{template: "failures", title: "Failures", nav: "failures", data: d}, nil
}

// ofFailures goes back to the list after a form, or shows there what is wrong.
func (v *visit) ofFailures(wrong error, done string) (*page, error) {
	if wrong == nil {
		path := "/failures"
		if q := v.pass(filteredFailures...); len(q) > 0 {
			path += "?" + q.Encode()
		}
		return redirect(path, done), nil
	}
	p, err := listFailures(v)
	if err != nil {
		return nil, err
	}
	return problemPage(p, wrong)
}

func dismissFailure(v *visit) (*page, error) {
	cause := ""
	if err := json.Unmarshal([]byte(v.form("cause")), &cause); err != nil {
		return nil, &api.Problem{Status: http.StatusBadRequest, Detail: "the form can't be read", Mend: "open the list anew"}
	}
	in := map[string]string{"workflow_id": v.form("workflow_id"), "cause": cause, "note": v.said("note")}
	var wrong error
	if in["note"] == "" {
		wrong = &api.Problem{Status: http.StatusUnprocessableEntity, Detail: "the note is missing", Mend: "say in a few words why this needs nobody any more"}
	} else {
		wrong = v.call("POST", "/failures/dismissals", nil, in, nil)
	}
	p, err := v.ofFailures(wrong, "dismissed")
	if p != nil && wrong != nil { // what was written stays
		if d, ok := p.data.(*failuresData); ok {
			for i := range d.Causes {
				if f := &d.Causes[i]; f.WorkflowID == in["workflow_id"] && f.Cause.Cause == cause {
					f.Note, f.Typed = in["note"], true
				}
			}
		}
	}
	return p, err
}

func restoreFailure(v *visit) (*page, error) {
	return v.ofFailures(v.call("DELETE", at("/failures/dismissals/%s", v.form("id")), nil, nil, nil), "listed")
}

// longestPart is the longest part of a cause that stands in the errors themselves: a cause has
// # in place of numbers.
func longestPart(cause string) string {
	longest := ""
	for part := range strings.SplitSeq(cause, "#") {
		if part = strings.TrimSpace(part); len(part) > len(longest) {
			longest = part
		}
	}
	if r := []rune(longest); len(r) > 150 {
		return string(r[:150])
	}
	return longest
}

// numbers are the # of a cause, and what joins them in addresses and times.
var numbers = regexp.MustCompile(`#([.:/-]#)*`)

// causeText is a cause for people, with … in place of numbers.
func causeText(cause string) string { return numbers.ReplaceAllString(cause, "…") }

// advice is what to do about a failure, and where.
type advice struct {
	Text, Action, Path string
	Current            bool // it is to be run again with the current version
}

// adviceOn says what to do about an error. Texts of errors are for people, and may change: a
// text that is none of these gets the advice to look at an example.
func adviceOn(text, workflowID string) advice {
	lower := strings.ToLower(text)
	says := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(lower, p) {
				return true
			}
		}
		return false
	}
	flow := at("/workflows/%s", workflowID)
	switch {
	case says("answered 401", "answered 403", "authentication", "unauthorized", "forbidden"):
		return advice{"The receiver doesn't accept who we say we are. Put the right secret or token in place, then run these again.", "Open the workflow", flow, false}
	case says("answered 404", "answered 410", "answered 405"):
		return advice{"The receiver has nothing at this address. Correct the address in the workflow, then run these again with the current version.", "Open the workflow", flow, true}
	case says("answered 429", "too many"):
		return advice{"The receiver gets too much at once. Wait a little, then run these again slowly.", "See the destination", "/destinations", false}
	case says("answered 5"):
		return advice{"The receiver had trouble of its own. Ask whoever runs it; once it is well, run these again.", "See the destination", "/destinations", false}
	case says("answered 4"):
		return advice{"The receiver doesn't want what it was sent. Compare it with what the receiver asks for, then run these again with the current version.", "Open the workflow", flow, true}
	case says("no answer", "timeout", "timed out", "deadline", "connection refused", "no such host", "connection reset", "unreachable", "network", "dial tcp", "certificate", "tls"):
		return advice{"The receiver can't be reached. Check that it runs, and that its address is right; then run these again.", "See the destination", "/destinations", false}
	case says("no e-mail address", "no email", "no phone", "no address", "has no recipient", "no recipients", "there is nobody"):
		return advice{"Somebody has no address, or there is nobody to tell. Complete the people's addresses, then run these again.", "Who has no address", "/recipients", false}
	case says("secret"):
		return advice{"A secret is missing, or isn't right. Store it under the name that the workflow uses, then run these again.", "Open the workflow", flow, false}
	case says("template", "liquid", "render"):
		return advice{"The text can't be made of this row. Correct it, then run these again with the current version.", "Open the workflow", flow, true}
	case says("condition", "expression", "field_conditions", "can't be decided", "can't be compared"):
		return advice{"A condition can't be decided for these rows. Correct it, then run these again with the current version.", "Open the workflow", flow, true}
	}
	return advice{"Look at the example: its attempts have what was answered.", "", "", false}
}
