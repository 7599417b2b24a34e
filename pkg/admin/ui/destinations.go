package ui

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/workflow"
)

var destinationRoutes = []route{
	{"GET /destinations", access.DestinationRead, listDestinations},
	{"GET /destinations/{id}", access.DestinationRead, showDestination},
	{"GET /destinations/{id}/{deed}", access.DestinationRead, backToDestination},
	{"POST /destinations/{id}/enable", access.DestinationWrite, enableDestination},
	{"POST /destinations/{id}/disable", access.DestinationWrite, disableDestination},
	{"POST /destinations/{id}/rotate", access.DestinationWrite, rotateDestination},
	{"POST /destinations/{id}/test", access.DestinationWrite, testDestination},
}

// destinationsData is where deliveries go.
type destinationsData struct {
	State, Kind string
	Filtered    bool
	Items       []destination
	More        string // address of the next page; "" this is the last
}

// destination is one with its state in words.
type destination struct {
	api.DestinationOut
	Word, Class string
	Account     string
}

// destinationOf says how it stands.
func destinationOf(d api.DestinationOut) destination {
	out := destination{DestinationOut: d}
	switch workflow.DestinationState(d.State) {
	case workflow.Open:
		out.Word, out.Class = "Not reachable", "failure"
		out.Account = "Nothing is sent there since " + ago(d.OpenedAt) + ": " + plural(int64(d.Failures), "attempt", "attempts") + " in a row failed. What comes waits. "
		if d.ProbeAt != nil && d.ProbeAt.After(now()) {
			out.Account += "One delivery is tried " + ago(d.ProbeAt) + "; if it arrives, the others follow."
		} else {
			out.Account += "The next delivery is tried; if it arrives, the others follow."
		}
	case workflow.HalfOpen:
		out.Word, out.Class = "Being tried", "pending"
		out.Account = "One delivery is being tried. If it arrives, the others follow."
	case workflow.Disabled:
		out.Word, out.Class = "Turned off", "cancelled"
		out.Account = "Turned off " + ago(d.DisabledAt) + " by " + cmp.Or(strings.TrimPrefix(d.DisabledBy, "user:"), "Rowbell itself") + ". Nothing is sent there; what comes is cancelled."
	default:
		out.Word, out.Class, out.Account = "Takes deliveries", "success", "Deliveries go there as they come."
		if d.Failures > 0 {
			out.Word, out.Class = "Unsteady", "pending"
			out.Account = "Deliveries go there, but the last " + plural(int64(d.Failures), "attempt", "attempts") + " failed. After some more in a row, the others wait until one arrives."
		}
	}
	return out
}

func listDestinations(v *visit) (*page, error) {
	d := &destinationsData{State: v.query("state"), Kind: v.query("kind")}
	d.Filtered = d.State != "" || d.Kind != ""
	var list api.LogPage[api.DestinationOut]
	if err := v.get("/destinations", v.pass("state", "kind", "cursor"), &list); err != nil {
		return nil, err
	}
	d.More = v.more(list.Next)
	for _, one := range list.Items {
		d.Items = append(d.Items, destinationOf(one))
	}
	return &page{template: "destinations", title: "Destinations", nav: "destinations", data: d}, nil
}

// destinationData is one destination, and what a form has just done with it.
type destinationData struct {
	destination
	Signs   bool // it has secrets, and takes test events
	Rotated *api.RotatedOut
	Tested  *api.TestResult
}

func (v *visit) destination() (*page, *destinationData, error) {
	d := &destinationData{}
	var one api.DestinationOut
	if err := v.get(at("/destinations/%s", v.r.PathValue("id")), nil, &one); err != nil {
		return nil, nil, err
	}
	d.destination = destinationOf(one)
	d.Signs = one.Kind == "webhook"
	return &page{template: "destination", title: short(60, one.Destination), nav: "destinations", data: d}, d, nil
}

func showDestination(v *visit) (*page, error) {
	p, _, err := v.destination()
	return p, err
}

func enableDestination(v *visit) (*page, error) {
	id := v.r.PathValue("id")
	if err := v.call("POST", at("/destinations/%s/enable", id), nil, nil, nil); err != nil {
		return nil, err
	}
	return redirect(at("/destinations/%s", id), "enabled"), nil
}

func disableDestination(v *visit) (*page, error) {
	id := v.r.PathValue("id")
	if err := v.call("POST", at("/destinations/%s/disable", id), nil, map[string]string{"reason": v.form("reason")}, nil); err != nil {
		return v.destinationProblem(err)
	}
	return redirect(at("/destinations/%s", id), "disabled"), nil
}

// backToDestination is where one comes who loads again what a form has shown.
func backToDestination(v *visit) (*page, error) {
	return redirect(at("/destinations/%s", v.r.PathValue("id")), ""), nil
}

// destinationProblem shows the page again, with what is wrong.
func (v *visit) destinationProblem(wrong error) (*page, error) {
	p, _, err := v.destination()
	if err != nil {
		return nil, err
	}
	return problemPage(p, wrong)
}

func rotateDestination(v *visit) (*page, error) {
	var done api.RotatedOut
	if err := v.call("POST", at("/destinations/%s/rotate-secret", v.r.PathValue("id")), nil, map[string]string{"keep": cmp.Or(v.form("keep"), "24h")}, &done); err != nil {
		return v.destinationProblem(err)
	}
	p, d, err := v.destination()
	if err != nil {
		return nil, err
	}
	d.Rotated = &done
	return p, nil
}

func testDestination(v *visit) (*page, error) {
	var done api.TestResult
	if err := v.call("POST", at("/destinations/%s/test", v.r.PathValue("id")), nil, nil, &done); err != nil {
		return v.destinationProblem(err)
	}
	p, d, err := v.destination()
	if err != nil {
		return nil, err
	}
	d.Tested = &done
	return p, nil
}

// Answered says what a test came to.
func (d *destinationData) Answered() string {
	if d.Tested == nil {
		return ""
	}
	text := "after " + fmt.Sprint(d.Tested.Duration) + " ms"
	if d.Tested.Code > 0 {
		text = fmt.Sprintf("answered %d %s", d.Tested.Code, text)
	}
	return text
}

// FailedRuns is where the failed runs of the workflow that last went there stand.
func (d *destinationData) FailedRuns() string {
	q := url.Values{"status": {"failure"}}
	if d.WorkflowID != "" {
		q.Set("workflow_id", d.WorkflowID)
	}
	return "/runs?" + q.Encode()
}
