package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/store"
)

const viewTag = "Views"

func viewRoutes(a *API) {
	add(a, Route{
		Method: http.MethodGet, Path: "/views", ID: "listViews", Tag: viewTag, Right: access.ExecutionRead,
		Summary: "Filters of the log that you keep under a name, and those that are shared with you",
	}, listViews)
	add(a, Route{
		Method: http.MethodPut, Path: "/views", ID: "saveView", Tag: viewTag, Right: access.ExecutionRead,
		Summary:     "Keep a filter under a name",
		Description: "One of yours of this name it replaces. It is yours in the tenant in which you act; to share it with all who act there needs the right delivery.write.",
	}, saveView)
	add(a, Route{
		Method: http.MethodDelete, Path: "/views/{id}", ID: "deleteView", Tag: viewTag, Right: access.ExecutionRead, Status: http.StatusNoContent,
		Summary: "Remove a view", Description: "One that is shared, and isn't yours, needs the right delivery.write.",
	}, deleteView)
}

// ViewFilterIn is what a view shows. Its fields are store.ViewFilter's.
type ViewFilterIn struct {
	Status     string `json:"status,omitempty" enum:"pending,success,failure,cancelled"`
	Within     string `json:"within,omitempty" enum:"hour,day,week" doc:"The last hour, 24 hours or 7 days, up to when one looks"`
	WorkflowID string `json:"workflow_id,omitempty" maxLength:"64"`
	Table      string `json:"table,omitempty" maxLength:"130"`
	RowKey     string `json:"row_key,omitempty" maxLength:"1000"`
	Recipient  string `json:"recipient,omitempty" maxLength:"500"`
	Error      string `json:"error,omitempty" maxLength:"200" doc:"A part of it"`
}

func listViews(ctx context.Context, q *Request, _ *struct{}) (*PageOf[store.SavedView], error) {
	list, err := q.State.SavedViews(ctx, q.Principal.Tenant, q.Actor())
	if err != nil {
		return nil, err
	}
	return page(list, ""), nil
}

func saveView(ctx context.Context, q *Request, in *struct {
	Body struct {
		Name   string       `json:"name" minLength:"1" maxLength:"80" doc:"What you call it"`
		Shared bool         `json:"shared,omitempty" doc:"All who act in the tenant see it"`
		Filter ViewFilterIn `json:"filter"`
	}
},
) (*struct{ Body store.SavedView }, error) {
	v := store.SavedView{TenantID: q.Principal.Tenant, Owner: q.Actor(), Name: strings.TrimSpace(in.Body.Name), Shared: in.Body.Shared, Filter: store.ViewFilter(in.Body.Filter)}
	switch {
	case v.Name == "":
		return nil, unprocessable("/name", "give it a name, as Failed today", "the name is empty")
	case v.Filter == store.ViewFilter{}:
		return nil, unprocessable("/filter", "say what it is to show", "it would show everything")
	case v.Shared && !q.Principal.Can(access.DeliveryWrite):
		return nil, forbidden(access.DeliveryWrite)
	}
	v, err := q.Operations.SaveView(ctx, v)
	if err != nil {
		return nil, err
	}
	return &struct{ Body store.SavedView }{v}, nil
}

func deleteView(ctx context.Context, q *Request, in *struct {
	ID string `path:"id" maxLength:"64" doc:"Id of the view"`
},
) (*struct{}, error) {
	v, err := q.State.SavedView(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	mine := v.Owner == q.Actor()
	switch {
	case !q.Sees(v.TenantID) || !mine && !v.Shared: // as one that there isn't
		return nil, notFound("there is no view %q", in.ID)
	case !mine && !q.Principal.Can(access.DeliveryWrite):
		return nil, forbidden(access.DeliveryWrite)
	}
	return nil, q.Operations.DeleteView(ctx, in.ID, q.Actor())
}
