package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

const logTag = "Log"

func logRoutes(a *API) {
	add(a, Route{
		Method: http.MethodGet, Path: "/executions", ID: "listExecutions", Tag: logTag, Right: access.ExecutionRead, Errors: []int{http.StatusUnprocessableEntity},
		Summary: "The log: executions, those of the newest changes first",
	}, listExecutions)
	add(a, Route{
		Method: http.MethodGet, Path: "/executions/{id}", ID: "getExecution", Tag: logTag, Right: access.ExecutionRead,
		Summary: "An execution with its event, deliveries and attempts",
	}, getExecution)
	add(a, Route{
		Method: http.MethodPost, Path: "/executions/{id}/cancel", ID: "cancelExecution", Tag: logTag, Right: access.DeliveryWrite, Errors: []int{http.StatusConflict},
		Summary: "Cancel what has not ended of an execution", Description: "An attempt that runs just now may still arrive.",
	}, cancelExecution)
	add(a, Route{
		Method: http.MethodGet, Path: "/deliveries", ID: "listDeliveries", Tag: logTag, Right: access.ExecutionRead, Errors: []int{http.StatusUnprocessableEntity},
		Summary: "Deliveries, ended or not, those of the newest changes first",
	}, listDeliveries)
	add(a, Route{
		Method: http.MethodGet, Path: "/deliveries/{id}", ID: "getDelivery", Tag: logTag, Right: access.ExecutionRead,
		Summary: "A delivery with its attempts",
	}, getDelivery)
	add(a, Route{
		Method: http.MethodPost, Path: "/deliveries/{id}/retry", ID: "retryDelivery", Tag: logTag, Right: access.DeliveryWrite, Errors: []int{http.StatusConflict},
		Summary: "Put a delivery back that has ended: it is tried again under the same key", Description: "What was cancelled because it had given up comes back with it.",
	}, retryDelivery)
	add(a, Route{
		Method: http.MethodPost, Path: "/deliveries/{id}/cancel", ID: "cancelDelivery", Tag: logTag, Right: access.DeliveryWrite, Errors: []int{http.StatusConflict},
		Summary: "Cancel a delivery that waits", Description: "One that is just being tried may still arrive. Actions that come after it go on.",
	}, cancelDelivery)
	add(a, Route{
		Method: http.MethodGet, Path: "/events", ID: "listEvents", Tag: "Events", Right: access.ExecutionRead, Errors: []int{http.StatusUnprocessableEntity},
		Summary: "Changes that a workflow matched, the newest first; with table and row_key: what happened to a row",
	}, listEvents)
	add(a, Route{
		Method: http.MethodGet, Path: "/failures", ID: "listFailures", Tag: logTag, Right: access.ExecutionRead, Errors: []int{http.StatusUnprocessableEntity},
		Summary:     "What fails, by workflow and cause, the most frequent first",
		Description: "What is dismissed is left out, unless an execution has failed for it since: then it has dismissed. With dismissed=true it is what is left out, the last dismissed first.",
	}, listFailures)
	add(a, Route{
		Method: http.MethodPost, Path: "/failures/dismissals", ID: "dismissFailure", Tag: logTag, Right: access.DeliveryWrite, Status: http.StatusCreated, Errors: []int{http.StatusNotFound},
		Summary: "Dismiss a cause with a note: it is listed again when another execution fails for it", Description: "Dismissing it once more replaces the note.",
	}, dismissFailure)
	add(a, Route{
		Method: http.MethodDelete, Path: "/failures/dismissals/{id}", ID: "restoreFailure", Tag: logTag, Right: access.DeliveryWrite, Status: http.StatusNoContent,
		Summary: "Bring a dismissed cause back",
	}, restoreFailure)
	add(a, Route{
		Method: http.MethodGet, Path: "/statistics", ID: "getStatistics", Tag: logTag, Right: access.ExecutionRead, Errors: []int{http.StatusNotFound},
		Summary: "How executions ended, by hour or by day, of a tenant or of all",
	}, getStatistics)
	add(a, Route{
		Method: http.MethodGet, Path: "/workflows/{id}/statistics", ID: "getWorkflowStatistics", Tag: workflowTag, Right: access.WorkflowRead, Errors: []int{http.StatusUnprocessableEntity},
		Summary: "How a workflow's executions ended, by hour or by day",
	}, getWorkflowStatistics)
	add(a, Route{
		Method: http.MethodGet, Path: "/statistics/workflows", ID: "listWorkflowStatistics", Tag: workflowTag, Right: access.WorkflowRead, Errors: []int{http.StatusUnprocessableEntity},
		Summary:     "The same of several workflows at once, with the last execution of each",
		Description: "In the order in which they are named. One of which no execution has ended is missing, as one that there isn't.",
	}, listWorkflowStatistics)
}

// Window is a time in which changes committed.
type Window struct {
	Since time.Time `query:"since" doc:"Commit time of the change: not before"`
	Until time.Time `query:"until" doc:"And before"`
}

// LogPage is one page of the log.
type LogPage[T any] struct {
	Items      []T        `json:"items"`
	Next       string     `json:"next,omitempty" doc:"What to give as cursor for the next page; not there on the last one"`
	SearchedTo *time.Time `json:"searched_to,omitempty" doc:"The page stopped here, by commit time, before it was full: there may be more, and next goes on"`
}

func logPage[T any](p store.Page[T], err error) (*struct{ Body LogPage[T] }, error) {
	if errors.Is(err, store.ErrCursor) {
		return nil, unprocessable("query.cursor", "give back next as it came, or leave it out for the first page", "%s", err.Error())
	}
	if err != nil {
		return nil, err
	}
	if p.Items == nil {
		p.Items = []T{}
	}
	return &struct{ Body LogPage[T] }{LogPage[T]{p.Items, p.Next, p.SearchedTo}}, nil
}

func nothing[T any]() (*struct{ Body LogPage[T] }, error) { return logPage(store.Page[T]{}, nil) }

func listExecutions(ctx context.Context, q *Request, in *struct {
	TenantFilter
	Window
	Paging
	WorkflowID []string `query:"workflow_id,explode" maxItems:"100" doc:"Of these workflows"`
	Status     []string `query:"status,explode" maxItems:"4" enum:"pending,success,failure,cancelled"`
	Table      string   `query:"table" maxLength:"130" doc:"Label of the changed table, or domain:<name>"`
	RowKey     string   `query:"row_key" maxLength:"1000" doc:"Key of the changed row; with table"`
	Recipient  string   `query:"recipient" maxLength:"500" doc:"Who has, or had, a delivery of it"`
	EventID    string   `query:"event_id" maxLength:"64"`
	Error      string   `query:"error" maxLength:"200" doc:"A part of the error"`
},
) (*struct {
	Body LogPage[store.ListedExecution]
}, error,
) {
	tenant, ok := q.Filter(in.Tenant)
	if !ok {
		return nothing[store.ListedExecution]()
	}
	f := store.ExecutionFilter{
		TenantID: tenant, WorkflowIDs: in.WorkflowID, Table: in.Table, RowKey: in.RowKey, Recipient: in.Recipient, EventID: in.EventID, Error: in.Error,
		Since: in.Since, Until: in.Until, Cursor: in.Cursor, Limit: in.Limit,
	}
	for _, s := range in.Status {
		f.Statuses = append(f.Statuses, workflow.ExecutionStatus(s))
	}
	return logPage(q.State.SearchExecutions(ctx, f))
}

// seen restricts what is read by id to the caller's tenant.
func (q *Request) seen() *string {
	if q.Principal.All {
		return nil
	}
	return &q.Principal.Tenant
}

// ExecutionPath names an execution.
type ExecutionPath struct {
	ID string `path:"id" maxLength:"100" doc:"Id of the execution"`
}

// execution reads one that the caller may see.
func (q *Request) execution(ctx context.Context, id string) (store.ShownExecution, error) {
	x, err := q.State.Execution(ctx, id, q.seen())
	if err == nil && !q.Sees(x.TenantID) {
		err = notFound("there is no execution %s in the log", id)
	}
	return x, err
}

// CancelledOut says what was cancelled.
type CancelledOut struct {
	Cancelled []string `json:"cancelled" doc:"Ids of the deliveries that had not ended"`
}

func cancelExecution(ctx context.Context, q *Request, in *ExecutionPath) (*struct{ Body CancelledOut }, error) {
	if _, err := q.execution(ctx, in.ID); err != nil {
		return nil, err
	}
	done, err := q.Operations.CancelExecution(ctx, in.ID, q.Actor())
	if err != nil {
		return nil, err
	}
	return &struct{ Body CancelledOut }{CancelledOut{done}}, nil
}

func getExecution(ctx context.Context, q *Request, in *ExecutionPath) (*struct{ Body store.ShownExecution }, error) {
	x, err := q.execution(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	for i := range x.Deliveries {
		q.mask(&x.Deliveries[i])
	}
	return &struct{ Body store.ShownExecution }{x}, nil
}

// mask takes out what the caller may not see of a person: their addresses.
func (q *Request) mask(d *store.ShownDelivery) {
	if d.Person == nil || q.Principal.Can(access.PersonRead) {
		return
	}
	p := *d.Person
	for _, field := range []*string{&p.Email, &p.Phone} {
		if *field != "" {
			*field = "***"
		}
	}
	d.Person = &p
}

func listDeliveries(ctx context.Context, q *Request, in *struct {
	TenantFilter
	Window
	Paging
	WorkflowID  []string `query:"workflow_id,explode" maxItems:"100" doc:"Of these workflows"`
	Status      []string `query:"status,explode" maxItems:"5" enum:"pending,retrying,succeeded,dead,cancelled"`
	Kind        string   `query:"kind" maxLength:"64" doc:"Kind of action"`
	Recipient   string   `query:"recipient" maxLength:"500"`
	Table       string   `query:"table" maxLength:"130" doc:"Label of the changed table, or domain:<name>"`
	RowKey      string   `query:"row_key" maxLength:"1000" doc:"Key of the changed row; with table"`
	ExecutionID string   `query:"execution_id" maxLength:"100"`
	Cause       string   `query:"cause" maxLength:"200" doc:"A part of the reason"`
	Before      string   `query:"before" maxLength:"700" doc:"Id of a delivery: what comes behind it. A cursor counts before it"`
},
) (*struct {
	Body LogPage[store.ListedDelivery]
}, error,
) {
	tenant, ok := q.Filter(in.Tenant)
	if !ok {
		return nothing[store.ListedDelivery]()
	}
	f := store.DeliverySearch{
		TenantID: tenant, WorkflowIDs: in.WorkflowID, Kind: in.Kind, Recipient: in.Recipient, Table: in.Table, RowKey: in.RowKey, ExecutionID: in.ExecutionID,
		Cause: in.Cause, Since: in.Since, Until: in.Until, Cursor: in.Cursor, Limit: in.Limit,
	}
	for _, s := range in.Status {
		f.Statuses = append(f.Statuses, store.DeliveryStatus(s))
	}
	if in.Before != "" && in.Cursor == "" {
		d, err := q.delivery(ctx, in.Before)
		var p *Problem
		if isNotFound(err) || errors.As(err, &p) {
			return nil, unprocessable("query.before", "give the id of a delivery in the list", "%s", err.Error())
		}
		if err != nil {
			return nil, err
		}
		f.Cursor = d.Cursor()
	}
	return logPage(q.State.SearchDeliveries(ctx, f))
}

// DeliveryPath names a delivery.
type DeliveryPath struct {
	ID string `path:"id" maxLength:"700" doc:"Id of the delivery: its idempotency key"`
}

// delivery reads one that the caller may see.
func (q *Request) delivery(ctx context.Context, id string) (store.ShownDelivery, error) {
	if _, _, _, ok := workflow.ParseDeliveryID(id); !ok {
		return store.ShownDelivery{}, notFound("there is no delivery %s in the queue or in the log", id)
	}
	d, err := q.State.Delivery(ctx, id)
	if err == nil && !q.Sees(d.TenantID) {
		err = notFound("there is no delivery %s in the queue or in the log", id)
	}
	q.mask(&d)
	return d, err
}

func getDelivery(ctx context.Context, q *Request, in *DeliveryPath) (*struct{ Body store.ShownDelivery }, error) {
	d, err := q.delivery(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &struct{ Body store.ShownDelivery }{d}, nil
}

// RetriedOut says what came back.
type RetriedOut struct {
	Back []string `json:"back" doc:"Ids of the deliveries that are in the queue again"`
}

func retryDelivery(ctx context.Context, q *Request, in *DeliveryPath) (*struct{ Body RetriedOut }, error) {
	if _, err := q.delivery(ctx, in.ID); err != nil {
		return nil, err
	}
	back, err := q.Operations.RetryDelivery(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &struct{ Body RetriedOut }{RetriedOut{back}}, nil
}

func cancelDelivery(ctx context.Context, q *Request, in *DeliveryPath) (*struct{ Body store.ShownDelivery }, error) {
	if _, err := q.delivery(ctx, in.ID); err != nil {
		return nil, err
	}
	if err := q.Operations.CancelDelivery(ctx, in.ID, q.Actor()); err != nil {
		return nil, err
	}
	d, err := q.delivery(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &struct{ Body store.ShownDelivery }{d}, nil
}

func listEvents(ctx context.Context, q *Request, in *struct {
	TenantFilter
	Window
	Paging
	Table      string `query:"table" maxLength:"130" doc:"Label of the table, or domain:<name>"`
	RowKey     string `query:"row_key" maxLength:"1000" doc:"Key of the row; with table"`
	Executions bool   `query:"executions" doc:"With the executions of each"`
	Data       bool   `query:"data" doc:"With what was recorded of the row"`
},
) (*struct {
	Body LogPage[store.ListedEvent]
}, error,
) {
	tenant, ok := q.Filter(in.Tenant)
	switch {
	case !ok:
		return nothing[store.ListedEvent]()
	case in.RowKey != "" && in.Table == "":
		return nil, unprocessable("query.table", "give both", "a row's key goes with its table")
	}
	return logPage(q.State.SearchEvents(ctx, store.EventFilter{
		TenantID: tenant, Table: in.Table, RowKey: in.RowKey, Since: in.Since, Until: in.Until, Cursor: in.Cursor, Limit: in.Limit, Executions: in.Executions, Data: in.Data,
	}))
}

func listFailures(ctx context.Context, q *Request, in *struct {
	TenantFilter
	WorkflowID string    `query:"workflow_id" maxLength:"64"`
	Since      time.Time `query:"since" doc:"Commit time of the change; 24 hours ago if not given"`
	Limit      int       `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many causes"`
	Dismissed  bool      `query:"dismissed" doc:"Those that are dismissed, whenever that was"`
},
) (*struct{ Body store.Causes }, error) {
	tenant, ok := q.Filter(in.Tenant)
	if !ok {
		return &struct{ Body store.Causes }{store.Causes{Causes: []store.Cause{}, All: true}}, nil
	}
	c, err := q.State.FailureCauses(ctx, store.CauseFilter{TenantID: tenant, WorkflowID: in.WorkflowID, Since: in.Since, Limit: in.Limit, Dismissed: in.Dismissed})
	if err != nil {
		return nil, err
	}
	if c.Causes == nil {
		c.Causes = []store.Cause{}
	}
	return &struct{ Body store.Causes }{c}, nil
}

type dismissalAnswer struct {
	Location string `header:"Location"`
	Body     store.Dismissal
}

func dismissFailure(ctx context.Context, q *Request, in *struct {
	Body struct {
		WorkflowID string `json:"workflow_id" minLength:"1" maxLength:"64" doc:"Whose executions failed"`
		Cause      string `json:"cause" minLength:"1" maxLength:"20000" doc:"As listFailures has it"`
		Note       string `json:"note" minLength:"1" maxLength:"1000" doc:"Why it needs nobody any more"`
	}
},
) (*dismissalAnswer, error) {
	note := strings.TrimSpace(in.Body.Note)
	if note == "" {
		return nil, unprocessable("/note", "say in a few words why it needs nobody any more", "the note is empty")
	}
	d, err := q.Operations.DismissFailure(ctx, in.Body.WorkflowID, in.Body.Cause, note, q.seen(), q.Actor())
	if err != nil {
		return nil, err
	}
	return &dismissalAnswer{Prefix + "/failures/dismissals/" + d.ID, d}, nil
}

func restoreFailure(ctx context.Context, q *Request, in *struct {
	ID string `path:"id" maxLength:"64" doc:"Id of the cause"`
},
) (*struct{}, error) {
	d, err := q.State.Dismissal(ctx, in.ID)
	if err == nil && !q.Sees(d.TenantID) {
		err = notFound("no cause of failures is dismissed under %q", in.ID)
	}
	if err != nil {
		return nil, err
	}
	return nil, q.Operations.RestoreFailure(ctx, in.ID, q.Actor())
}

// StatisticWindow says over what statistics are.
type StatisticWindow struct {
	Window
	By   string `query:"by" enum:"hour,day" default:"hour"`
	Zone string `query:"zone" maxLength:"64" default:"UTC" doc:"IANA time zone in which days begin"`
}

// mostBuckets bounds an answer.
const mostBuckets = 800

func (w *StatisticWindow) filter() (store.StatisticFilter, error) {
	f := store.StatisticFilter{Since: w.Since, Until: w.Until, Days: w.By == "day"}
	zone, err := time.LoadLocation(w.Zone)
	if err != nil || w.Zone == "Local" {
		return f, unprocessable("query.zone", "write one as Europe/Vienna", "%q is no time zone", w.Zone)
	}
	f.Zone = zone
	until := f.Until
	if until.IsZero() {
		until = time.Now()
	}
	switch {
	case !f.Since.IsZero() && !f.Since.Before(until):
		return f, unprocessable("query.since", "give an earlier one", "since is not before until")
	case !f.Since.IsZero() && until.Sub(f.Since) > 92*24*time.Hour:
		return f, unprocessable("query.since", "ask for at most 92 days", "the time from since to until is too long")
	case !f.Since.IsZero() && !f.Days && until.Sub(f.Since) > mostBuckets*time.Hour:
		return f, unprocessable("query.by", "ask by day, or for less", "that is more than %d hours", mostBuckets)
	}
	return f, nil
}

func getStatistics(ctx context.Context, q *Request, in *struct {
	TenantFilter
	StatisticWindow
	Live bool `query:"live" doc:"With what has ended since its hour was counted, in the last five minutes and of 50,000 executions at most: about as it is now; as_of says if so"`
},
) (*struct{ Body store.Statistics }, error) {
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	f.Live = in.Live
	ok := false
	if f.TenantID, ok = q.Filter(in.Tenant); !ok {
		return nil, notFound("there is no tenant %s here", in.Tenant.Value)
	}
	s, err := q.State.Statistics(ctx, f)
	if err != nil {
		return nil, err
	}
	return &struct{ Body store.Statistics }{s}, nil
}

func getWorkflowStatistics(ctx context.Context, q *Request, in *struct {
	WorkflowPath
	StatisticWindow
},
) (*struct{ Body store.Statistics }, error) {
	if err := q.seesVersions(ctx, in.ID); err != nil {
		return nil, err
	}
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	f.WorkflowID = in.ID
	s, err := q.State.Statistics(ctx, f)
	if errors.Is(err, workflow.ErrNotFound) { // it has never run
		f.WorkflowID, s, err = "", store.Statistics{Buckets: []store.Bucket{}}, nil
	}
	if err != nil {
		return nil, err
	}
	return &struct{ Body store.Statistics }{s}, nil
}

func listWorkflowStatistics(ctx context.Context, q *Request, in *struct {
	StatisticWindow
	WorkflowID []string `query:"workflow_id,explode" required:"true" minItems:"1" maxItems:"100" doc:"Of these workflows"`
},
) (*PageOf[store.WorkflowRuns], error) {
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	f.TenantID = q.seen()
	list, err := q.State.WorkflowRuns(ctx, in.WorkflowID, f)
	if err != nil {
		return nil, err
	}
	return page(list, ""), nil
}

const replayTag = "Replays"

func replayRoutes(a *API) {
	add(a, Route{
		Method: http.MethodPost, Path: "/replays/plan", ID: "planReplay", Tag: replayTag, Right: access.ExecutionRead, Errors: []int{http.StatusNotFound},
		Summary: "What a replay would run again; nothing is done",
	}, planReplay)
	add(a, Route{
		Method: http.MethodPost, Path: "/replays", ID: "startReplay", Tag: replayTag, Right: access.DeliveryWrite, Status: http.StatusCreated,
		Errors:  []int{http.StatusNotFound, http.StatusConflict},
		Summary: "Run ended executions again, in the background", Description: "It is worked off by the workers at its rate; GET says how far it is.",
	}, startReplay)
	add(a, Route{
		Method: http.MethodGet, Path: "/replays", ID: "listReplays", Tag: replayTag, Right: access.ExecutionRead,
		Summary: "Replays, the newest first",
	}, listReplays)
	add(a, Route{
		Method: http.MethodGet, Path: "/replays/{id}", ID: "getReplay", Tag: replayTag, Right: access.ExecutionRead,
		Summary: "A replay, and how far it is",
	}, getReplay)
	add(a, Route{
		Method: http.MethodPost, Path: "/replays/{id}/cancel", ID: "cancelReplay", Tag: replayTag, Right: access.DeliveryWrite, Errors: []int{http.StatusConflict},
		Summary: "End a replay: what it has not made yet it won't",
	}, cancelReplay)
	add(a, Route{
		Method: http.MethodGet, Path: "/storms", ID: "listStorms", Tag: "Storms", Right: access.ExecutionRead,
		Summary: "What the storm guard holds, the newest first",
	}, listStorms)
	add(a, Route{
		Method: http.MethodPost, Path: "/storms/{id}/release", ID: "releaseStorm", Tag: "Storms", Right: access.DeliveryWrite, Errors: []int{http.StatusConflict},
		Summary: "Let the executions go that a storm holds",
	}, func(ctx context.Context, q *Request, in *StormPath) (*PageOf[store.Storm], error) {
		return decideStorm(ctx, q, in, workflow.BigReleased)
	})
	add(a, Route{
		Method: http.MethodPost, Path: "/storms/{id}/discard", ID: "discardStorm", Tag: "Storms", Right: access.DeliveryWrite, Errors: []int{http.StatusConflict},
		Summary: "Cancel the executions that a storm holds",
	}, func(ctx context.Context, q *Request, in *StormPath) (*PageOf[store.Storm], error) {
		return decideStorm(ctx, q, in, workflow.BigDiscarded)
	})
}

// ReplayIn says what is to be run again.
type ReplayIn struct {
	TenantID  *string    `json:"tenant_id,omitempty" doc:"Of this tenant; of a principal of one tenant, that one"`
	Workflows []string   `json:"workflow_ids,omitempty" maxItems:"100" doc:"Of these workflows; of all the tenant's if not given"`
	Statuses  []string   `json:"statuses,omitempty" maxItems:"3" enum:"success,failure,cancelled" doc:"Of executions that ended so; failure if not given"`
	Cause     string     `json:"cause,omitempty" maxLength:"500" doc:"With this in the reason; a cause as listFailures has it will do"`
	Only      []string   `json:"execution_ids,omitempty" maxItems:"100" doc:"Only these of them"`
	Since     time.Time  `json:"since" doc:"Commit time of the change: not before"`
	Until     *time.Time `json:"until,omitempty" doc:"And before; now if not given"`
	Limit     int        `json:"limit,omitempty" minimum:"1" maximum:"1000000" default:"100000" doc:"The oldest so many"`
	Current   bool       `json:"current,omitempty" doc:"With the current version, and only what it matches; as recorded if not"`
	Rate      float64    `json:"rate,omitempty" exclusiveMinimum:"0" maximum:"10000" default:"10" doc:"Executions a second"`
}

func (q *Request) replayRequest(in *ReplayIn) (ReplayRequest, error) {
	if in.Since.IsZero() {
		return ReplayRequest{}, unprocessable("/since", "give a commit time", "it says nothing of from when on")
	}
	r := ReplayRequest{Current: in.Current, Rate: in.Rate, By: q.Actor()}
	r.Workflows, r.Cause, r.Executions, r.Since, r.Limit = in.Workflows, in.Cause, in.Only, in.Since, in.Limit
	r.Until = time.Now()
	if in.Until != nil {
		r.Until = *in.Until
	}
	if !r.Since.Before(r.Until) {
		return r, unprocessable("/since", "give an earlier one", "since is not before until")
	}
	for _, s := range in.Statuses {
		r.Statuses = append(r.Statuses, workflow.ExecutionStatus(s))
	}
	if r.Statuses == nil {
		r.Statuses = []workflow.ExecutionStatus{workflow.Failure}
	}
	if !q.Principal.All {
		tenant, err := q.tenantIn(in.TenantID, "/tenant_id")
		r.TenantID = &tenant
		return r, err
	}
	r.TenantID = in.TenantID
	if r.TenantID == nil && len(r.Workflows) == 0 {
		return r, unprocessable("/workflow_ids", "name the workflows, or a tenant", "it says of whom nothing")
	}
	return r, nil
}

func planReplay(ctx context.Context, q *Request, in *struct{ Body ReplayIn }) (*struct{ Body ReplayPlan }, error) {
	r, err := q.replayRequest(&in.Body)
	if err != nil {
		return nil, err
	}
	p, err := q.Operations.PlanReplay(ctx, r)
	if err != nil {
		return nil, err
	}
	return &struct{ Body ReplayPlan }{p}, nil
}

type replayAnswer struct {
	Location string `header:"Location"`
	Body     store.Replay
}

func startReplay(ctx context.Context, q *Request, in *struct{ Body ReplayIn }) (*replayAnswer, error) {
	r, err := q.replayRequest(&in.Body)
	if err != nil {
		return nil, err
	}
	p, err := q.Operations.PlanReplay(ctx, r)
	if err != nil {
		return nil, err
	}
	if len(p.Problems) > 0 {
		problem := &Problem{Status: http.StatusConflict, Detail: strings.Join(p.Problems, "; ")}
		for _, why := range p.Problems {
			problem.Errors = append(problem.Errors, FieldError{Detail: why})
		}
		return nil, problem
	}
	replay, err := q.Operations.StartReplay(ctx, r)
	if err != nil {
		return nil, err
	}
	return &replayAnswer{Prefix + "/replays/" + itoa(replay.ID), replay}, nil
}

// seesReplay says that a replay is of the caller's tenant, as its filter has it.
func (q *Request) seesReplay(r *store.Replay) bool {
	if q.Principal.All {
		return true
	}
	return r.Filter.TenantID != nil && q.Sees(*r.Filter.TenantID)
}

const mostReplays = 1000

func listReplays(ctx context.Context, q *Request, _ *struct{}) (*PageOf[store.Replay], error) {
	list, err := q.State.Replays(ctx, mostReplays)
	if err != nil {
		return nil, err
	}
	return page(slices.DeleteFunc(list, func(r store.Replay) bool { return !q.seesReplay(&r) }), ""), nil
}

// ReplayPath names a replay.
type ReplayPath struct {
	ID int32 `path:"id" minimum:"1" doc:"Number of the replay"`
}

func (q *Request) replay(ctx context.Context, id int32) (store.Replay, error) {
	r, err := q.State.Replay(ctx, id)
	if err == nil && !q.seesReplay(&r) {
		err = notFound("there is no replay %d", id)
	}
	return r, err
}

func getReplay(ctx context.Context, q *Request, in *ReplayPath) (*struct{ Body store.Replay }, error) {
	r, err := q.replay(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &struct{ Body store.Replay }{r}, nil
}

func cancelReplay(ctx context.Context, q *Request, in *ReplayPath) (*struct{ Body store.Replay }, error) {
	if _, err := q.replay(ctx, in.ID); err != nil {
		return nil, err
	}
	r, err := q.Operations.CancelReplay(ctx, in.ID, q.Actor())
	if err != nil {
		return nil, err
	}
	return &struct{ Body store.Replay }{r}, nil
}

// StormPath names a storm.
type StormPath struct {
	ID string `path:"id" maxLength:"64" doc:"Id of the storm, or of a workflow for all that is held of it"`
}

func (q *Request) storms(ctx context.Context, all bool) ([]store.Storm, error) {
	list, err := q.State.Storms(ctx, all, mostReplays)
	return slices.DeleteFunc(list, func(s store.Storm) bool { return !q.Sees(s.TenantID) }), err
}

func listStorms(ctx context.Context, q *Request, in *struct {
	All bool `query:"all" doc:"Those that hold nothing any more as well"`
},
) (*PageOf[store.Storm], error) {
	list, err := q.storms(ctx, in.All)
	if err != nil {
		return nil, err
	}
	return page(list, ""), nil
}

func decideStorm(ctx context.Context, q *Request, in *StormPath, to workflow.BigStatus) (*PageOf[store.Storm], error) {
	list, err := q.storms(ctx, false)
	if err != nil {
		return nil, err
	}
	var decided []store.Storm
	for _, s := range slices.Backward(list) { // the oldest first
		if s.ID != in.ID && s.WorkflowID != in.ID {
			continue
		}
		// By its own id: the workflow's may have been another tenant's.
		one, err := q.Operations.DecideStorm(ctx, s.ID, to, q.Actor())
		if err != nil && !isNotFound(err) { // somebody else has decided meanwhile
			return nil, err
		}
		decided = append(decided, one...)
	}
	if len(decided) == 0 {
		return nil, notFound("nothing is held under %q; give the id of a storm, or a workflow's: rowbell storm list has what is held, with --all what was decided too", in.ID)
	}
	return page(decided, ""), nil
}

func itoa(n int32) string { return strconv.FormatInt(int64(n), 10) }
