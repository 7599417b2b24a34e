// Command client uses a client that is generated from the document of Rowbell's API; the
// test that builds it generates that. It makes a workflow and turns it on, or reads what has
// become of it.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	api, err := NewClientWithResponses(os.Getenv("ROWBELL_API"), WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+os.Getenv("ROWBELL_KEY"))
		return nil
	}))
	if err == nil {
		switch do := os.Args[1]; do {
		case "write":
			err = write(ctx, api)
		case "read":
			err = read(ctx, api)
		default:
			err = fmt.Errorf("there is no %s", do)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const id = "generated"

func write(ctx context.Context, api *ClientWithResponses) error {
	key := "once"
	made, err := api.CreateWorkflowWithResponse(ctx, &CreateWorkflowParams{IdempotencyKey: &key}, NewDocument{
		Id: to(id), Name: to("Big order"),
		Triggers: &[]map[string]any{{
			"entity_type": "orders", "operation": "create", "field_conditions": map[string]any{"total": map[string]any{"gt": 1000}},
		}},
		Actions:    &[]map[string]any{{"action_type": "notification", "action_config": map[string]any{"title": "Order {{ new.id }}"}}},
		Recipients: &[]map[string]any{{"recipient_type": "user", "recipient_id": "ann"}},
	})
	if err != nil {
		return err
	}
	if made.JSON201 == nil || made.JSON201.Status != WorkflowOutStatusDraft || made.JSON201.Draft != nil {
		return fmt.Errorf("made is %s: %s", made.Status(), made.Body)
	}
	second, err := api.CreateWorkflowWithResponse(ctx, nil, NewDocument{Id: to(id), Name: to("Second")})
	if err != nil {
		return err
	}
	if p := second.ApplicationproblemJSON409; p == nil || p.Status != http.StatusConflict || p.Detail == "" {
		return fmt.Errorf("a second one is answered by %s: %s", second.Status(), second.Body)
	}
	active, err := api.ActivateWorkflowWithResponse(ctx, id, nil)
	if err != nil {
		return err
	}
	if active.JSON200 == nil || active.JSON200.Warnings == nil {
		return fmt.Errorf("it is not turned on: %s: %s", active.Status(), active.Body)
	}
	return nil
}

func read(ctx context.Context, api *ClientWithResponses) error {
	list, err := api.ListExecutionsWithResponse(ctx, &ListExecutionsParams{WorkflowId: &[]string{id, "another"}, Status: &[]ListExecutionsParamsStatus{"success", "failure"}})
	if err != nil {
		return err
	}
	if list.JSON200 == nil || len(list.JSON200.Items) != 1 {
		return fmt.Errorf("executions are %s: %s", list.Status(), list.Body)
	}
	x, err := api.GetExecutionWithResponse(ctx, list.JSON200.Items[0].Id)
	if err != nil {
		return err
	}
	if x.JSON200 == nil || len(x.JSON200.Deliveries) != 1 || x.JSON200.Deliveries[0].Status != "succeeded" || *x.JSON200.Deliveries[0].Recipient != "ann" {
		return fmt.Errorf("the execution is %s: %s", x.Status(), x.Body)
	}
	audit, err := api.ListAuditWithResponse(ctx, &ListAuditParams{ObjectId: to(id), Since: to(time.Now().Add(-time.Hour))})
	if err != nil {
		return err
	}
	if audit.JSON200 == nil || len(audit.JSON200.Items) != 2 || audit.JSON200.Items[0].Action != "workflow.activate" || audit.JSON200.Items[1].Action != "workflow.create" {
		return fmt.Errorf("the audit log is %s: %s", audit.Status(), audit.Body)
	}
	yaml, err := api.ExportWorkflowsWithResponse(ctx, &ExportWorkflowsParams{WorkflowId: &[]string{id}})
	if err != nil {
		return err
	}
	if yaml.StatusCode() != http.StatusOK || len(yaml.Body) == 0 {
		return fmt.Errorf("the export is %s: %s", yaml.Status(), yaml.Body)
	}
	return nil
}

func to[T any](v T) *T { return &v }
