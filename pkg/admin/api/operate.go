package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

func operateRoutes(a *API) {
	const auditTag, pauseTag, streamTag = "Audit log", "Pauses", "Stream"
	add(a, Route{
		Method: http.MethodGet, Path: "/audit", ID: "listAudit", Tag: auditTag, Right: access.AuditRead, Errors: []int{http.StatusUnprocessableEntity},
		Summary: "Who has done what, the newest first; edits by SQL too",
	}, listAudit)
	add(a, Route{
		Method: http.MethodGet, Path: "/audit/{id}", ID: "getAudit", Tag: auditTag, Right: access.AuditRead,
		Summary: "One act, with what was before and after",
	}, getAudit)
	add(a, Route{
		Method: http.MethodGet, Path: "/tenants", ID: "listTenants", Tag: "Tenants", Right: access.WorkflowRead,
		Summary: "Tenants with what they have, the operators first", Description: "The log is not counted. Needs a principal for all tenants.",
	}, listTenants)
	add(a, Route{
		Method: http.MethodGet, Path: "/pauses", ID: "listPauses", Tag: pauseTag, Right: access.StreamRead,
		Summary: "Whose deliveries wait, the oldest pause first",
	}, listPauses)
	add(a, Route{
		Method: http.MethodPost, Path: "/pauses", ID: "createPause", Tag: pauseTag, Right: access.PauseWrite, Status: http.StatusCreated,
		Errors:  []int{http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity},
		Summary: "Let deliveries wait: all, or those of a tenant, a workflow or a kind", Description: "One of just the same deliveries is replaced. Recording goes on.",
	}, createPause)
	add(a, Route{
		Method: http.MethodDelete, Path: "/pauses/{id}", ID: "endPause", Tag: pauseTag, Right: access.PauseWrite, Status: http.StatusNoContent,
		Summary: "Let the deliveries go that wait for a pause",
	}, endPause)
	add(a, Route{
		Method: http.MethodGet, Path: "/health", ID: "getHealth", Tag: streamTag, Right: access.StreamRead,
		Summary: "How the stream and this worker do, each check with its mend", Description: "As /readyz of the ops listener. Needs a principal for all tenants.",
	}, getHealth)
}

func listAudit(ctx context.Context, q *Request, in *struct {
	TenantFilter
	Paging
	Actor      string    `query:"actor" maxLength:"200" doc:"Who, or the database user"`
	Action     string    `query:"action" maxLength:"100" doc:"workflow.activate, or workflow for all of its kind"`
	ObjectType string    `query:"object_type" maxLength:"64"`
	ObjectID   string    `query:"object_id" maxLength:"700"`
	Text       string    `query:"text" maxLength:"200" doc:"Stands in the action, the object, before, after or detail"`
	Since      time.Time `query:"since"`
	Until      time.Time `query:"until"`
},
) (*PageOf[definition.Audited], error) {
	tenant, ok := q.Filter(in.Tenant)
	if !ok {
		return page([]definition.Audited{}, ""), nil
	}
	list, next, err := q.Definitions.Audit(ctx, store.AuditFilter{
		Tenant: tenant, Actor: in.Actor, Action: in.Action, ObjectType: in.ObjectType, ObjectID: in.ObjectID, Since: in.Since, Until: in.Until, Text: in.Text,
	}, in.Cursor, in.Limit)
	if err != nil {
		return nil, cursorOr(err)
	}
	return page(list, next), nil
}

// cursorOr says that a cursor is none.
func cursorOr(err error) error {
	if errors.Is(err, store.ErrCursor) {
		return unprocessable("query.cursor", "give back next as it came, or leave it out for the first page", "%s", err.Error())
	}
	return err
}

func getAudit(ctx context.Context, q *Request, in *struct {
	ID string `path:"id" maxLength:"100" doc:"Id of the act"`
},
) (*struct{ Body definition.Audited }, error) {
	e, err := q.Definitions.AuditEntry(ctx, in.ID)
	if err == nil && !q.Sees(e.TenantID) {
		err = notFound("there is no entry %s in the audit log", in.ID)
	}
	if err != nil {
		return nil, err
	}
	return &struct{ Body definition.Audited }{e}, nil
}

func listTenants(ctx context.Context, q *Request, _ *struct{}) (*PageOf[TenantListed], error) {
	if !q.Principal.All {
		return nil, &Problem{Status: http.StatusForbidden, Detail: "which tenants there are concerns all of them", Mend: "use a principal for all tenants"}
	}
	list, err := q.Operations.Tenants(ctx)
	if err != nil {
		return nil, err
	}
	return page(list, ""), nil
}

// PauseOut is a pause.
type PauseOut struct {
	ID         string     `json:"id"`
	TenantID   string     `json:"tenant_id,omitempty"`
	WorkflowID string     `json:"workflow_id,omitempty"`
	Kind       string     `json:"kind,omitempty"`
	Reason     string     `json:"reason,omitempty"`
	Until      *time.Time `json:"until,omitempty" doc:"When it ends by itself; missing: not by itself"`
	CreatedBy  string     `json:"created_by"`
	CreatedAt  time.Time  `json:"created_at"`
}

func pauseOut(p *workflow.Pause) PauseOut {
	return PauseOut{p.ID, p.TenantID, p.WorkflowID, p.Kind, p.Reason, timeOrNull(p.Until), p.CreatedBy, p.CreatedAt.UTC()}
}

// touches says that deliveries of the caller's wait for a pause; own, that it is of nobody
// else's.
func (q *Request) touches(ctx context.Context, p *workflow.Pause) (touches, own bool, err error) {
	switch {
	case q.Principal.All:
		return true, true, nil
	case p.TenantID != "":
		own = q.Sees(p.TenantID)
		return own, own, nil
	case p.WorkflowID != "":
		v, err := q.Source.LatestVersion(ctx, p.WorkflowID, 0)
		if isNotFound(err) {
			return false, false, nil
		}
		own = err == nil && q.Sees(v.TenantID)
		return own, own, err
	}
	return true, false, nil // the operator's, which holds for all
}

func listPauses(ctx context.Context, q *Request, _ *struct{}) (*PageOf[PauseOut], error) {
	found, err := q.Operations.Pauses(ctx)
	if err != nil {
		return nil, err
	}
	var list []PauseOut
	for i := range found {
		touches, own, err := q.touches(ctx, &found[i])
		if err != nil {
			return nil, err
		}
		if !touches {
			continue
		}
		out := pauseOut(&found[i])
		if !own {
			out.CreatedBy, out.Reason = "an operator", "" // their words are for operators
		}
		list = append(list, out)
	}
	return page(list, ""), nil
}

func createPause(ctx context.Context, q *Request, in *struct {
	Body struct {
		TenantID   *string `json:"tenant_id,omitempty" nullable:"true" minLength:"1" doc:"Of this tenant (null: all); of a principal of one tenant, that one"`
		WorkflowID string  `json:"workflow_id,omitempty" maxLength:"64" doc:"Of this workflow"`
		Kind       string  `json:"kind,omitempty" maxLength:"64" doc:"Of this kind of action"`
		For        string  `json:"for,omitempty" example:"2h" doc:"For so long; until it is ended if not given"`
		Reason     string  `json:"reason,omitempty" maxLength:"500" doc:"Why, for people"`
	}
},
) (*struct{ Body PauseOut }, error) {
	p := workflow.Pause{WorkflowID: in.Body.WorkflowID, Kind: in.Body.Kind, Reason: in.Body.Reason}
	tenant, err := q.tenantIn(in.Body.TenantID, "/tenant_id")
	if err != nil {
		return nil, err
	}
	switch {
	case p.WorkflowID != "":
		if in.Body.TenantID != nil && q.Principal.All {
			return nil, unprocessable("/tenant_id", "leave it out", "a workflow has its tenant")
		}
		if _, _, err := q.show(ctx, p.WorkflowID); err != nil {
			return nil, err
		}
	default:
		p.TenantID = tenant
	}
	var long time.Duration
	if in.Body.For != "" {
		if long, err = time.ParseDuration(in.Body.For); err != nil || long < time.Second || long > 366*24*time.Hour {
			return nil, unprocessable("/for", "write a time as 30m or 2h, from 1s to 8784h", "%q is no such time", in.Body.For)
		}
	}
	made, err := q.Operations.Pause(ctx, p, long, q.Actor())
	if err != nil {
		return nil, err
	}
	return &struct{ Body PauseOut }{pauseOut(&made)}, nil
}

func endPause(ctx context.Context, q *Request, in *struct {
	ID string `path:"id" maxLength:"64" doc:"Id of the pause"`
},
) (*struct{}, error) {
	found, err := q.Operations.Pauses(ctx)
	if err != nil {
		return nil, err
	}
	for i := range found {
		if found[i].ID != in.ID {
			continue
		}
		switch touches, own, err := q.touches(ctx, &found[i]); {
		case err != nil:
			return nil, err
		case !touches:
		case !own:
			return nil, &Problem{Status: http.StatusForbidden, Detail: "an operator has paused this for everybody", Mend: "ask an operator to end it"}
		default:
			return nil, q.Operations.EndPause(ctx, in.ID, q.Actor())
		}
	}
	return nil, notFound("there is no pause %s", in.ID)
}

func getHealth(ctx context.Context, q *Request, _ *struct{}) (*struct{ Body StreamHealth }, error) {
	if !q.Principal.All {
		return nil, &Problem{Status: http.StatusForbidden, Detail: "how the stream does concerns all tenants", Mend: "use a principal for all tenants"}
	}
	return &struct{ Body StreamHealth }{q.Operations.Health(ctx)}, nil
}
