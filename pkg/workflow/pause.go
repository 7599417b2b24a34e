package workflow

import (
	"cmp"
	"time"
)

// Pause says that deliveries wait, untried, until it ends.
type Pause struct {
	ID string
	// TenantID, WorkflowID and Kind say whose deliveries; "" = any. At most one of the
	// first two is given. With none of them it is all.
	TenantID, WorkflowID, Kind string
	Reason                     string
	Until                      time.Time // when it ends by itself, by the source's clock; zero: not by itself
	// Left is how long it is until then, from when it was read; 0 if Until is zero.
	Left      time.Duration
	CreatedBy string
	CreatedAt time.Time
}

// Covers says whether a delivery waits for it.
func (p *Pause) Covers(tenantID, workflowID, kind string) bool {
	return (p.TenantID == "" || p.TenantID == tenantID) && (p.WorkflowID == "" || p.WorkflowID == workflowID) && (p.Kind == "" || p.Kind == kind)
}

// All says that every delivery waits for it.
func (p *Pause) All() bool { return p.TenantID == "" && p.WorkflowID == "" && p.Kind == "" }

// PauseScopes are what Scope may be.
var PauseScopes = []string{"all", "tenant", "workflow", "kind", "tenant_kind", "workflow_kind"}

// Scope is what kind of pause it is: one of PauseScopes.
func (p *Pause) Scope() string {
	of := ""
	switch {
	case p.TenantID != "":
		of = "tenant"
	case p.WorkflowID != "":
		of = "workflow"
	}
	switch {
	case p.Kind == "":
		return cmp.Or(of, "all")
	case of == "":
		return "kind"
	}
	return of + "_kind"
}

// String says whose deliveries wait: "tenant acme, kind email".
func (p *Pause) String() string {
	text := ""
	for _, part := range []struct{ name, value string }{{"tenant", p.TenantID}, {"workflow", p.WorkflowID}, {"kind", p.Kind}} {
		if part.value == "" {
			continue
		}
		if text != "" {
			text += ", "
		}
		text += part.name + " " + part.value
	}
	return cmp.Or(text, "everything")
}

// Paused says what a claim leaves out.
type Paused struct {
	// Refs are workflow versions, by their surrogates, and Kinds action kinds, of which
	// nothing is wanted.
	Refs  []int32
	Kinds []string
	// Of are versions and kinds of which nothing is wanted together.
	Of []RefKind
	// Behind are, by lane, the times of readiness behind which to look: before them there is
	// very much in the queue, and nothing that is wanted. Read only.
	Behind []Behind
}

// RefKind is an action kind of a workflow version.
type RefKind struct {
	Ref  int32
	Kind string
}

// Behind is a lane, and the time of readiness of what stands there behind what is paused.
type Behind struct {
	Lane int64
	At   time.Time
}
