package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"mime"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Object is a JSON object as it is, with all digits of its numbers.
type Object json.RawMessage

// Schema says that it is an object.
func (Object) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
}

// MarshalJSON gives it as it is.
func (o Object) MarshalJSON() ([]byte, error) { return json.RawMessage(o).MarshalJSON() }

// UnmarshalJSON keeps it as it is.
func (o *Object) UnmarshalJSON(b []byte) error { return (*json.RawMessage)(o).UnmarshalJSON(b) }

// Document is a workflow as people write it. The schema says its shape; what the server reads
// is the body itself, so that it can say where in it something is wrong.
type Document struct {
	Name        string `json:"name,omitempty" doc:"What people call it" example:"Order approved"`
	Description string `json:"description,omitempty" doc:"What it is for"`
	Settings    Object `json:"settings,omitempty" doc:"Options: firing, retry, on_failure, owners, critical, …"`
	Triggers    []Part `json:"triggers,omitempty" doc:"What sets it off: any one of them"`
	Conditions  []Part `json:"conditions,omitempty" doc:"What must hold besides: all of them"`
	Actions     []Part `json:"actions,omitempty" doc:"What it does"`
	Recipients  []Part `json:"recipients,omitempty" doc:"For whom"`
}

// Part is a trigger, a condition, an action or a recipient: docs/workflow.schema.json has
// their keys.
type Part map[string]any

// NewDocument is a document of a workflow that is to be made.
type NewDocument struct {
	ID       string  `json:"id,omitempty" maxLength:"64" doc:"Up to 64 characters without a dot; a ULID if not given"`
	TenantID *string `json:"tenant_id,omitempty" doc:"Its tenant; of a principal of one tenant, that one. Null: an operators' workflow"`
	Status   string  `json:"status,omitempty" enum:"draft,active,inactive" doc:"draft if not given; active needs the right workflow.publish"`
	Document
}

// DocumentInput is a document in a request, as JSON or as YAML.
type DocumentInput struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	RawBody     []byte
}

// bodyName is what a document that is the whole body is called in errors.
const bodyName = "body"

// name is what the document is called in errors: by its type it ends as a file's does.
func (in *DocumentInput) name() (string, error) {
	switch kind, _, err := mime.ParseMediaType(cmp.Or(in.ContentType, "application/json")); {
	case err == nil && kind == "application/json":
		return bodyName + ".json", nil
	case err == nil && (kind == "application/yaml" || kind == "text/yaml" || kind == "application/x-yaml"):
		return bodyName + ".yaml", nil
	}
	return "", &Problem{Status: http.StatusUnsupportedMediaType, Detail: "a document is application/json or application/yaml"}
}

// read reads the document strictly.
func (in *DocumentInput) read() (*definition.Document, error) {
	name, err := in.name()
	if err != nil {
		return nil, err
	}
	return definition.Read(name, in.RawBody)
}

// bundle reads several.
func (in *DocumentInput) bundle() (*definition.Bundle, error) {
	name, err := in.name()
	if err != nil {
		return nil, err
	}
	return definition.BundleOf(definition.File{Name: name, Text: string(in.RawBody)})
}

// TriggerOut is a trigger as it is stored.
type TriggerOut struct {
	ID              string `json:"id"`
	EntityType      string `json:"entity_type" doc:"Label of a captured table, or domain:<name>"`
	Operation       string `json:"operation" enum:"create,update,delete"`
	FieldConditions Object `json:"field_conditions"`
	Priority        int32  `json:"priority" doc:"Executions of one event run in this order, lower first"`
}

// ConditionOut is a condition as it is stored.
type ConditionOut struct {
	ID     string `json:"id"`
	Type   string `json:"condition_type" enum:"field_value,time_based,role_based,expression"`
	Config Object `json:"condition_config"`
}

// ActionOut is an action as it is stored.
type ActionOut struct {
	ID     string `json:"id"`
	Type   string `json:"action_type" doc:"The kind, as webhook"`
	Config Object `json:"action_config" doc:"Secrets stand in it by reference only"`
	Order  int32  `json:"order" doc:"Equal ones run side by side, lower ones first"`
}

// RecipientOut is a recipient as it is stored.
type RecipientOut struct {
	ID       string  `json:"id"`
	ActionID *string `json:"action_id" doc:"The action that it is for; null: all"`
	Type     string  `json:"recipient_type" enum:"user,role,group,attribute"`
	Value    string  `json:"recipient_id"`
}

// DocumentOut is a workflow as it is stored.
type DocumentOut struct {
	Name        string         `json:"name"`
	Description string         `json:"description"`
	Sentence    string         `json:"sentence" doc:"The whole of it in plain words"`
	Settings    Object         `json:"settings"`
	Triggers    []TriggerOut   `json:"triggers"`
	Conditions  []ConditionOut `json:"conditions"`
	Actions     []ActionOut    `json:"actions"`
	Recipients  []RecipientOut `json:"recipients"`
	// Templates are as they were when the version was written.
	Templates map[string]map[string]string `json:"templates,omitempty" doc:"Stored templates that it renders, as this version has them: by name and language, which is empty for everybody"`
}

func object(raw json.RawMessage) Object {
	if len(raw) == 0 || string(raw) == "null" {
		return Object("{}")
	}
	return Object(raw)
}

func documentOut(w *workflow.Workflow) *DocumentOut {
	d := &DocumentOut{
		Name: w.Name, Description: w.Description, Sentence: sentenceOf(w), Settings: object(w.Settings),
		Triggers: make([]TriggerOut, len(w.Triggers)), Conditions: make([]ConditionOut, len(w.Conditions)),
		Actions: make([]ActionOut, len(w.Actions)), Recipients: make([]RecipientOut, len(w.Recipients)), Templates: w.Templates,
	}
	for i, t := range w.Triggers {
		d.Triggers[i] = TriggerOut{t.ID, t.EntityType, t.Operation, object(t.FieldConditions), t.Priority}
	}
	for i, c := range w.Conditions {
		d.Conditions[i] = ConditionOut{c.ID, c.Type, object(c.Config)}
	}
	for i, a := range w.Actions {
		d.Actions[i] = ActionOut{a.ID, a.Type, object(a.Config), a.Order}
	}
	for i, r := range w.Recipients {
		d.Recipients[i] = RecipientOut{r.ID, r.ActionID, r.Type, r.Value}
	}
	return d
}

// HealthOut is what the worker says of an active workflow.
type HealthOut struct {
	Verdict  string   `json:"verdict" doc:"ok, broken, incomplete or waiting; empty: no worker has said yet"`
	Message  string   `json:"message,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// DraftOut is the draft beside the live version.
type DraftOut struct {
	Base int32  `json:"base,omitempty" doc:"The version that it was made from"`
	By   string `json:"by,omitempty" doc:"Who made it"`
	// Problem is why the draft can't be read; the document is missing then.
	Problem  string       `json:"problem,omitempty" doc:"Why it can't be read"`
	Document *DocumentOut `json:"document,omitempty"`
	Stored   Object       `json:"stored" doc:"As workflow_definition.draft holds it: with base and by, and with those keys only that it changes"`
}

// WorkflowOut is one workflow.
type WorkflowOut struct {
	ID        string    `json:"id"`
	TenantID  *string   `json:"tenant_id" doc:"Null: an operators' workflow"`
	Status    string    `json:"status" enum:"draft,active,inactive"`
	Version   int32     `json:"version"`
	Health    HealthOut `json:"health"`
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	DocumentOut
	Draft *DraftOut `json:"draft,omitempty" doc:"What an editor has not published yet; missing: nothing"`
}

func orNull(tenantID string) *string {
	if tenantID == "" {
		return nil
	}
	return &tenantID
}

// stored is a draft as it is, if it is an object: somebody may have written anything by SQL.
func stored(draft json.RawMessage) Object {
	if text := bytes.TrimSpace(draft); len(text) == 0 || text[0] != '{' {
		return Object("{}")
	}
	return Object(draft)
}

func workflowOut(s *definition.Shown, draftErr error) *WorkflowOut {
	out := &WorkflowOut{
		ID: s.ID, TenantID: orNull(s.TenantID), Status: string(s.Status), Version: s.Version,
		Health:    HealthOut{string(s.Verdict), s.Message, s.Warnings},
		CreatedBy: s.CreatedBy, CreatedAt: s.CreatedAt.UTC(), UpdatedAt: s.UpdatedAt.UTC(), DocumentOut: *documentOut(s.Workflow),
	}
	switch {
	case draftErr != nil:
		out.Draft = &DraftOut{Problem: draftErr.Error(), Stored: stored(s.DraftText)}
	case s.Next != nil:
		out.Draft = &DraftOut{Base: s.Base, By: s.By, Document: documentOut(s.Next), Stored: stored(s.DraftText)}
	}
	return out
}
