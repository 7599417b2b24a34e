package api

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/live"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Feed sends what happens to a request's reader, until it goes away; live's Feed is one. It
// looks at no right: the filter says whose events they are.
type Feed interface {
	Serve(w http.ResponseWriter, r *http.Request, filter live.Filter) error
}

// mostStreams is how many streams one principal may read at once: each is a connection.
const mostStreams = 20

// longestStream is when a stream ends: its reader comes again, and whether it still may is
// looked at anew.
const longestStream = 5 * time.Minute

// longestAgo is how far back a stream may begin.
const longestAgo = 24 * time.Hour

const lastEventID = "Last-Event-ID"

// liveRights are what one must have to be told an event of a type.
var liveRights = map[live.Type]access.Right{
	live.Execution: access.ExecutionRead, live.Delivery: access.ExecutionRead, live.Destination: access.DestinationRead,
	live.Pause: access.StreamRead, live.Stream: access.StreamRead,
}

func liveRoutes(a *API) {
	const path = "/live"
	add(a, Route{
		Method: http.MethodGet, Path: path, ID: "streamLive", Tag: "Live", Right: access.ExecutionRead, Errors: []int{http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
		Summary: "What happens, as it happens: server-sent events",
		Description: "An event's type is its event, and its data an object of JSON. A reader that comes again with Last-Event-ID, as browsers do by " +
			"themselves, gets what has ended meanwhile. A stream ends after five minutes, and when what the reader has shown ends to count. " +
			"How the stream of changes stands is told to principals for all tenants.",
	}, a.streamLive)
	schema := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[live.Event](), true, "")
	a.huma.OpenAPI().Paths[path].Get.Responses["200"] = &huma.Response{
		Description: "Events, until the stream ends", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: schema}},
	}
}

// reads counts the streams that a request's principal reads; false: there would be too many.
func (a *API) reads(q *Request, more int) bool {
	a.streamsMu.Lock()
	defer a.streamsMu.Unlock()
	n := a.streams[q.caller()] + more
	switch {
	case n > mostStreams:
		return false
	case n == 0:
		delete(a.streams, q.caller())
	default:
		a.streams[q.caller()] = n
	}
	return true
}

func (a *API) streamLive(ctx context.Context, q *Request, in *struct {
	TenantFilter
	Type       []live.Type                `query:"type,explode" maxItems:"5" enum:"execution,delivery,destination,pause,stream" doc:"Only these; none: all"`
	WorkflowID string                     `query:"workflow_id" maxLength:"64" doc:"Executions and deliveries of this one"`
	Status     []workflow.ExecutionStatus `query:"status,explode" maxItems:"4" enum:"pending,success,failure,cancelled" doc:"Executions with one of these; none: all that have ended"`
	Ago        string                     `query:"ago" maxLength:"32" example:"5m" doc:"First what has ended in so long a time before, 24h at most. Last-Event-ID counts before it"`
},
) (*huma.StreamResponse, error) {
	if a.cfg.Feed == nil {
		return nil, &Problem{Status: http.StatusServiceUnavailable, Detail: "this worker has no live stream"}
	}
	tenant, ok := q.Filter(in.Tenant)
	if !ok {
		return nil, notFound("there is no tenant %q", in.Tenant.Value)
	}
	if in.WorkflowID != "" {
		if _, _, err := q.show(ctx, in.WorkflowID); err != nil {
			return nil, err
		}
	}
	f := live.Filter{Tenant: tenant, WorkflowID: in.WorkflowID, Statuses: in.Status, Types: in.Type, Sees: q.State.SeesTenant}
	if len(f.Types) == 0 {
		f.Types = live.Types
	}
	f.Types = slices.DeleteFunc(slices.Clone(f.Types), func(t live.Type) bool { return !q.Principal.Can(liveRights[t]) })
	if len(f.Types) == 0 {
		return nil, forbidden(liveRights[in.Type[0]])
	}
	after := ""
	if in.Ago != "" {
		ago, err := time.ParseDuration(in.Ago)
		if err != nil || ago <= 0 || ago > longestAgo {
			return nil, unprocessable("query.ago", "write a time as 5m or 2h, at most 24h", "%q is no such time", in.Ago)
		}
		at, err := q.State.LiveHorizon(ctx)
		if err != nil {
			return nil, err
		}
		after = live.IDAt(at.Add(-ago))
	}
	if !a.reads(q, 1) {
		return nil, &Problem{
			Status: http.StatusTooManyRequests, wait: 10, Detail: fmt.Sprintf("%s reads %d live streams already", q.Principal.ID, mostStreams), Mend: "end one of them, or wait until it has ended",
		}
	}
	return &huma.StreamResponse{Body: func(h huma.Context) {
		defer a.reads(q, -1)
		r, w := humago.Unwrap(h)
		if after != "" && r.Header.Get(lastEventID) == "" {
			r.Header.Set(lastEventID, after)
		}
		until := time.Now().Add(longestStream)
		if e := q.Principal.Expires; !e.IsZero() && e.Before(until) {
			until = e
		}
		ctx, cancel := context.WithDeadline(r.Context(), until)
		defer cancel()
		if err := a.cfg.Feed.Serve(w, r.WithContext(ctx), f); err != nil {
			a.fail(w, r, &Problem{Status: http.StatusServiceUnavailable, Detail: "there is no room for another reader of the live stream: " + err.Error(), Mend: "try again in 10 s", wait: 10})
		}
	}}, nil
}
