package workflow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrNotFound says that what was asked for does not exist.
	ErrNotFound = errors.New("not found")
	// ErrNotYet says that what was asked for has come through the slot, and isn't visible to
	// readers of the source: its transaction is just about to end, or waits for a standby.
	ErrNotYet = errors.New("not yet visible to readers of the source")
	// ErrConflict says that something else stands where this was to be written.
	ErrConflict = errors.New("conflict")
	// ErrRefused says that what was asked for makes no sense, or that the database can't
	// hold what was to be written: another try fails too.
	ErrRefused = errors.New("refused by the database")
	// ErrUnavailable says that the database could not be reached, or broke off.
	ErrUnavailable = errors.New("the database can't be reached")
	// ErrFenced says that another worker has taken the slot's epoch, or has moved the
	// checkpoint: nothing was written, and the worker must stop reading.
	ErrFenced = errors.New("fenced: the checkpoint was moved by another worker")
)

// Status is where a definition stands.
type Status string

const (
	Draft    Status = "draft"
	Active   Status = "active"
	Inactive Status = "inactive"
	Deleted  Status = "deleted" // in versions only: the definition is gone
)

// Version is one row of workflow_version: what a workflow was from one commit on.
type Version struct {
	WorkflowID string
	Version    int32
	TenantID   string // "" = an operators' workflow, which sees the rows of all tenants
	Status     Status
	Document   json.RawMessage // null for Deleted
}

// Workflow is the document of a version, as people wrote it. It is not checked
// beyond its JSON shape: what is wrong inside is found when it is compiled.
type Workflow struct {
	ID          string          `json:"id"`
	TenantID    *string         `json:"tenant_id"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Status      Status          `json:"status"`
	Settings    json.RawMessage `json:"settings"`
	Triggers    []Trigger       `json:"triggers"`
	Conditions  []Condition     `json:"conditions"`
	Actions     []Action        `json:"actions"`
	Recipients  []Recipient     `json:"recipients"`
	// Templates are the stored templates that the actions' texts render, as they were when
	// the version was written: name → locale ("" = for everybody) → source.
	Templates map[string]map[string]string `json:"templates,omitempty"`
}

// Trigger is one row of workflow_trigger.
type Trigger struct {
	ID              string          `json:"id"`
	EntityType      string          `json:"entity_type"` // a captured table's label, or domain:<name>
	Operation       string          `json:"operation"`   // create, update, delete
	FieldConditions json.RawMessage `json:"field_conditions"`
	Priority        int32           `json:"priority"` // lower runs first
}

// Condition is one row of workflow_condition.
type Condition struct {
	ID     string          `json:"id"`
	Type   string          `json:"condition_type"` // field_value, time_based, role_based, expression
	Config json.RawMessage `json:"condition_config"`
}

// Action is one row of workflow_action.
type Action struct {
	ID     string          `json:"id"`
	Type   string          `json:"action_type"`
	Config json.RawMessage `json:"action_config"`
	Order  int32           `json:"order"` // equal ones run side by side, lower ones first
}

// Route is what recording must know of an action of a version.
type Route struct {
	Lane      int64 // the same for one tenant's deliveries to one destination
	Addressed bool  // it has no recipients that are to be resolved first
}

// TextVariables are what every text of an action knows.
var TextVariables = []string{"new", "old", "changed", "event", "actor", "workflow", "recipient"}

// ColumnUse is a column that an action needs of the rows that it is run for, or, without
// Column, a variable that no text has.
type ColumnUse struct {
	Action    int    // index in the document
	Kind      string // of the action
	Where     string // title; recipient 2
	Variable  string // new.total, old.total, changed.total; "" for a recipient
	Column    string // "" if Variable is none of TextVariables
	Recipient bool   // it holds who is told
}

// Judged is what must be known of a version's actions to match and record for them.
type Judged struct {
	Routes  []Route     // of the actions, in their order
	Columns []ColumnUse // that the actions' texts name, and that hold their recipients
}

// Recipient is one row of workflow_recipient.
type Recipient struct {
	ID       string  `json:"id"`
	ActionID *string `json:"action_id"` // nil = all actions
	Type     string  `json:"recipient_type"`
	Value    string  `json:"recipient_id"`
}

// Parse reads a version's document. The document's arrays come in the order that
// the version trigger gave them: triggers by priority and id, actions by order and id.
func Parse(document []byte) (*Workflow, error) {
	dec := json.NewDecoder(bytes.NewReader(document))
	var w Workflow
	if err := dec.Decode(&w); err != nil {
		return nil, fmt.Errorf("read the workflow document: %w", err)
	}
	return &w, nil
}

// DomainPrefix starts the entity_type of a trigger on domain events.
const DomainPrefix = "domain:"

// Domain says that the trigger is on domain events, not on a table.
func (t Trigger) Domain() bool { return strings.HasPrefix(t.EntityType, DomainPrefix) }

// EntityLabel is the trigger's entity as tables are labelled: "public.orders" and
// "orders" are the same table.
func (t Trigger) EntityLabel() string { return strings.TrimPrefix(t.EntityType, "public.") }

// Table is one row of captured_table: what is captured of a table from one commit on.
type Table struct {
	Schema       string
	Name         string
	Version      int32
	Label        string // what workflows call it; see change.TableLabel
	TenantColumn string // "" = the table has none, and serves operators' workflows only
	KeyColumns   []string
	Hidden       []string // never leave the decoder
	Redacted     []string // masked wherever they are stored or shown
	InsertOnly   bool     // no replica identity: published for inserts only
	Released     bool     // no longer captured
	// FromXID: changes count only from transactions whose 64-bit xid is at least
	// this, since an overlapping one is sent or not sent by chance.
	FromXID uint64
}
