package api

import (
	"context"
	"net/http"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

const destinationTag = "Destinations"

func destinationRoutes(a *API) {
	add(a, Route{
		Method: http.MethodGet, Path: "/destinations", ID: "listDestinations", Tag: destinationTag, Right: access.DestinationRead,
		Summary: "Where deliveries go, and how it stands there; those that take nothing first",
	}, listDestinations)
	add(a, Route{
		Method: http.MethodGet, Path: "/destinations/{id}", ID: "getDestination", Tag: destinationTag, Right: access.DestinationRead,
		Summary: "A destination: its breaker, its last failure and success, and what waits for it",
	}, getDestination)
	add(a, Route{
		Method: http.MethodPost, Path: "/destinations/{id}/enable", ID: "enableDestination", Tag: destinationTag, Right: access.DestinationWrite,
		Summary: "Let deliveries go again, and forget what failed; it closes a breaker too",
	}, enableDestination)
	add(a, Route{
		Method: http.MethodPost, Path: "/destinations/{id}/disable", ID: "disableDestination", Tag: destinationTag, Right: access.DestinationWrite, Errors: []int{http.StatusUnprocessableEntity},
		Summary: "Let nothing go any more: what waits is cancelled, and what comes",
	}, disableDestination)
	add(a, Route{
		Method: http.MethodPost, Path: "/destinations/{id}/rotate-secret", ID: "rotateDestinationSecret", Tag: destinationTag, Right: access.DestinationWrite,
		Errors:      []int{http.StatusConflict, http.StatusUnprocessableEntity},
		Summary:     "Change the secrets with which webhooks that go there are signed",
		Description: "The new ones are shown once. The old ones sign as well for a while, so that the receiver can be changed in between.",
	}, a.rotateSecret)
	add(a, Route{
		Method: http.MethodPost, Path: "/destinations/{id}/test", ID: "testDestination", Tag: destinationTag, Right: access.DestinationWrite, Errors: []int{http.StatusConflict, http.StatusUnprocessableEntity},
		Summary: "Send a test event there, once, as an active workflow's webhook would", Description: "Its type is rowbell.test.emit. It is no execution, and counts for no breaker.",
	}, testDestination)
}

// DestinationOut is a destination.
type DestinationOut struct {
	ID             string     `json:"id" doc:"16 hexadecimal digits"`
	TenantID       *string    `json:"tenant_id" doc:"Null: of operators' workflows"`
	Kind           string     `json:"kind"`
	Destination    string     `json:"destination" doc:"A URL without its query, or as the kind names it"`
	State          string     `json:"state" enum:"closed,open,half_open,disabled" doc:"Of its breaker: closed lets deliveries go"`
	WorkflowID     string     `json:"workflow_id,omitempty" doc:"Of the last attempt that was noted"`
	Failures       int        `json:"failures" doc:"In a row"`
	FirstFailureAt *time.Time `json:"first_failure_at,omitempty" doc:"Of these"`
	OpenedAt       *time.Time `json:"opened_at,omitempty"`
	ProbeAt        *time.Time `json:"probe_at,omitempty" doc:"While it is open: when one is tried"`
	DisabledAt     *time.Time `json:"disabled_at,omitempty"`
	DisabledBy     string     `json:"disabled_by,omitempty" doc:"Missing: Rowbell"`
	DisabledReason string     `json:"disabled_reason,omitempty"`
	LastError      string     `json:"last_error,omitempty"`
	LastErrorAt    *time.Time `json:"last_error_at,omitempty"`
	LastSuccessAt  *time.Time `json:"last_success_at,omitempty" doc:"To the minute"`
	Rate           string     `json:"rate,omitempty"`
	Concurrency    int        `json:"concurrency,omitempty"`
	Waiting        *int64     `json:"waiting,omitempty" doc:"Deliveries in the queue that go there; of one destination only"`
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func destinationOut(d *workflow.Destination) DestinationOut {
	out := DestinationOut{
		ID: workflow.LaneID(d.Lane), TenantID: orNull(d.TenantID), Kind: d.Kind, Destination: d.Destination, State: string(d.State), WorkflowID: d.WorkflowID,
		Failures: d.Failures, FirstFailureAt: timeOrNull(d.FirstFailureAt), DisabledAt: timeOrNull(d.DisabledAt),
		DisabledBy: d.DisabledBy, DisabledReason: d.DisabledReason, LastError: d.LastError, LastErrorAt: timeOrNull(d.LastErrorAt),
		LastSuccessAt: timeOrNull(d.LastSuccessAt), Rate: d.Rate, Concurrency: d.Concurrency,
	}
	if d.State != workflow.Closed {
		out.OpenedAt, out.ProbeAt = timeOrNull(d.OpenedAt), timeOrNull(d.ProbeAt)
	}
	return out
}

func listDestinations(ctx context.Context, q *Request, in *struct {
	TenantFilter
	Paging
	State string `query:"state" enum:"closed,open,half_open,disabled"`
	Kind  string `query:"kind" maxLength:"64"`
	Name  string `query:"destination" maxLength:"2000" doc:"In full"`
},
) (*struct {
	Body LogPage[DestinationOut]
}, error,
) {
	tenant, ok := q.Filter(in.Tenant)
	if !ok {
		return nothing[DestinationOut]()
	}
	found, err := q.State.DestinationPage(ctx, store.DestinationFilter{
		Tenant: tenant, State: workflow.DestinationState(in.State), Kind: in.Kind, Name: in.Name, Cursor: in.Cursor, Limit: in.Limit,
	})
	list := make([]DestinationOut, len(found.Items))
	for i := range found.Items {
		list[i] = destinationOut(&found.Items[i])
	}
	return logPage(store.Page[DestinationOut]{Items: list, Next: found.Next}, err)
}

// DestinationPath names a destination.
type DestinationPath struct {
	ID string `path:"id" pattern:"^[0-9a-f]{16}$" doc:"16 hexadecimal digits"`
}

// destination reads one that the caller may see.
func (q *Request) destination(ctx context.Context, id string) (workflow.Destination, error) {
	lane, ok := workflow.ParseLaneID(id)
	if !ok {
		return workflow.Destination{}, notFound("there is no destination %s", id)
	}
	d, err := q.State.Destination(ctx, lane)
	if err == nil && !q.Sees(d.TenantID) {
		err = notFound("there is no destination %s", id)
	}
	return d, err
}

func (q *Request) showDestination(ctx context.Context, id string) (*struct{ Body DestinationOut }, error) {
	d, err := q.destination(ctx, id)
	if err != nil {
		return nil, err
	}
	out := destinationOut(&d)
	n, err := q.State.WaitingFor(ctx, d.Lane)
	if err != nil {
		return nil, err
	}
	out.Waiting = &n
	return &struct{ Body DestinationOut }{out}, nil
}

func getDestination(ctx context.Context, q *Request, in *DestinationPath) (*struct{ Body DestinationOut }, error) {
	return q.showDestination(ctx, in.ID)
}

func enableDestination(ctx context.Context, q *Request, in *DestinationPath) (*struct{ Body DestinationOut }, error) {
	d, err := q.destination(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := q.Operations.EnableDestination(ctx, d.Lane, q.Actor()); err != nil {
		return nil, err
	}
	return q.showDestination(ctx, in.ID)
}

func disableDestination(ctx context.Context, q *Request, in *struct {
	DestinationPath
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"Why, for whoever asks later"`
	}
},
) (*struct{ Body DestinationOut }, error) {
	d, err := q.destination(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := q.Operations.DisableDestination(ctx, d.Lane, q.Actor(), in.Body.Reason); err != nil {
		return nil, err
	}
	return q.showDestination(ctx, in.ID)
}

// RotatedOut are the secrets that were changed.
type RotatedOut struct {
	Secrets []RotatedSecret `json:"secrets"`
	Stopped *Problem        `json:"stopped,omitempty" doc:"Why it went no further, where not all were changed"`
}

func (a *API) rotateSecret(ctx context.Context, q *Request, in *struct {
	DestinationPath
	Body struct {
		Keep string `json:"keep,omitempty" example:"24h" default:"24h" doc:"For how long the old secrets sign as well"`
	}
},
) (*struct {
	Once string `header:"X-Rowbell-Shown-Once"`
	Body RotatedOut
}, error,
) {
	d, err := q.destination(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	keep, err := time.ParseDuration(in.Body.Keep)
	if err != nil || keep < 0 || keep > 90*24*time.Hour {
		return nil, unprocessable("/keep", "write a time as 24h, at most 2160h", "%q is no such time", in.Body.Keep)
	}
	done, err := q.Operations.RotateSecret(ctx, d.Lane, keep, q.Actor())
	out := RotatedOut{Secrets: done}
	switch {
	case err != nil && len(done) == 0:
		return nil, err
	case err != nil: // what was changed is shown all the same: nobody can look it up
		out.Stopped = a.problem(ctx, err)
	}
	return &struct {
		Once string `header:"X-Rowbell-Shown-Once"`
		Body RotatedOut
	}{"true", out}, nil
}

func testDestination(ctx context.Context, q *Request, in *DestinationPath) (*struct{ Body TestResult }, error) {
	d, err := q.destination(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	r, err := q.Operations.TestDestination(ctx, d.Lane, q.Actor())
	if err != nil {
		return nil, err
	}
	return &struct{ Body TestResult }{r}, nil
}
