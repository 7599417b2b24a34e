package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/spelling"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// Tenants lists tenants that have workflows, templates, secrets or destinations, the
// operators first, as "". It doesn't look into the log.
func (o *Operator) Tenants(ctx context.Context) ([]api.TenantListed, error) {
	counts, err := o.app.source.Tenants(ctx, nil)
	if err != nil {
		return nil, err
	}
	destinations, err := o.app.state.TenantDestinations(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]api.TenantListed, 0, len(counts))
	for _, c := range counts {
		list = append(list, api.TenantListed{TenantCounts: c, Destinations: destinations[c.TenantID]})
		delete(destinations, c.TenantID)
	}
	for id, n := range destinations {
		list = append(list, api.TenantListed{TenantCounts: store.TenantCounts{TenantID: id}, Destinations: n})
	}
	slices.SortFunc(list, func(a, b api.TenantListed) int { return strings.Compare(a.TenantID, b.TenantID) })
	return list, nil
}

// TenantPlan is what the deletion of a tenant would delete.
type TenantPlan struct {
	store.TenantCounts
	store.TenantCount
	Versions int `json:"workflow_ids"` // workflows that it has or had
}

// PlanTenant counts what there is of a tenant. Returns ErrNotFound if there is nothing.
func (o *Operator) PlanTenant(ctx context.Context, id string) (TenantPlan, error) {
	var p TenantPlan
	if id == "" {
		return p, errors.New("operators are no tenant that could be deleted; give a tenant's id")
	}
	counts, err := o.app.source.Tenants(ctx, &id)
	if err != nil {
		return p, err
	}
	p.TenantID = id
	if len(counts) > 0 {
		p.TenantCounts = counts[0]
	}
	own, err := store.OwnWorkflows(ctx, o.app.source, o.app.state, id)
	if err != nil {
		return p, err
	}
	p.Versions = len(own)
	if p.TenantCount, err = o.app.state.CountTenant(ctx, id); err != nil {
		return p, err
	}
	some, err := o.app.source.AnyOfTenant(ctx, id)
	if err != nil {
		return p, err
	}
	if len(counts) > 0 || len(own) > 0 || p.Anything || some {
		return p, nil
	}
	return p, o.noTenant(ctx, id)
}

// noTenant is the error for a tenant of which there is nothing, with a name that is near.
func (o *Operator) noTenant(ctx context.Context, id string) error {
	list, err := o.Tenants(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, t := range list {
		if t.TenantID != "" {
			names = append(names, t.TenantID)
		}
	}
	mend := spelling.Mend(id, names)
	if mend == "" {
		mend = "see rowbell tenant list"
	}
	return said{fmt.Sprintf("there is nothing of tenant %s here; %s", id, mend), workflow.ErrNotFound}
}

// sweeps is how often what is left is looked for: a worker may have been about to write
// something.
const sweeps = 3

// DeleteTenant deletes a tenant with all that there is of it: its workflows, which workers
// stop at once, and then everything else. It may be interrupted and repeated. wait is how
// long a worker may take to read as far; tell is told how far it is. What was erased comes
// back with an error too, and is in audit_log.
func (o *Operator) DeleteTenant(ctx context.Context, id string, wait time.Duration, tell func(string)) (*store.Erased, error) {
	done := &store.Erased{}
	if err := o.app.source.MayErase(ctx); err != nil {
		return done, err
	}
	if _, err := o.PlanTenant(ctx, id); err != nil {
		return done, err
	}
	err := o.deleteTenant(ctx, id, wait, tell, done)
	detail := map[string]any{"tables": done.Counts(), "cancelled": done.Cancelled, "complete": err == nil && done.Left() == 0}
	noted := o.audit(context.WithoutCancel(ctx), "", id, "tenant.delete", "tenant", id, detail)
	if err == nil && done.Left() > 0 {
		err = said{fmt.Sprintf("something of tenant %s is left, since it was written meanwhile; run it again", id), workflow.ErrConflict}
	}
	return done, errors.Join(err, noted)
}

func (o *Operator) deleteTenant(ctx context.Context, id string, wait time.Duration, tell func(string), done *store.Erased) error {
	a := o.app
	before := time.Now()
	own, err := store.OwnWorkflows(ctx, a.source, a.state, id)
	if err != nil {
		return err
	}
	tell("deleting workflows")
	n, passed, err := a.source.DeleteWorkflows(ctx, id)
	done.Join(&store.Erased{Tables: []store.ErasedTable{{Table: "workflow_definition", Deleted: n}}})
	if err != nil {
		return err
	}
	if err := o.waitUntilRead(ctx, id, passed, wait, tell); err != nil {
		return err
	}
	tenant := store.TenantSweep{ID: id, Workflows: own, Before: before}
	for try := range sweeps {
		left, err := o.sweepTenant(ctx, tenant, try == sweeps-1, tell, done)
		if err != nil || left == 0 {
			return err
		}
	}
	return nil
}

// sweepTenant deletes what there is, and says how much is left. What is left counts in the
// last sweep only.
func (o *Operator) sweepTenant(ctx context.Context, t store.TenantSweep, last bool, tell func(string), done *store.Erased) (int64, error) {
	e, err := o.app.state.Eraser(ctx, o.app.id, o.app.cfg.DeliveryLease, tell)
	if err != nil {
		return 0, err
	}
	defer closeEraser(ctx, e)
	join := func(left bool, e *store.Erased) {
		if !left {
			for i := range e.Tables {
				e.Tables[i].Left = 0
			}
		}
		done.Join(e)
	}
	if err := e.EraseTenant(ctx, t); err != nil {
		join(false, &e.Erased)
		return 0, err
	}
	source, err := o.app.source.EraseTenant(ctx, t)
	if err == nil {
		err = e.TenantLeft(ctx, t)
	}
	left := source.Left() + e.Erased.Left()
	if err == nil && left == 0 {
		err = e.ForgetTenant(ctx, t)
	}
	join(last || left == 0, &e.Erased)
	join(last || left == 0, &source)
	return left, err
}

func closeEraser(ctx context.Context, e *store.Eraser) {
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = e.Close(closing) // what it did has been answered
}

// waitUntilRead waits until a worker has read that a tenant's workflows were deleted: until
// then it may record executions of them, and needs their versions to start again.
func (o *Operator) waitUntilRead(ctx context.Context, id string, passed change.LSN, wait time.Duration, tell func(string)) error {
	deadline := time.Now().Add(wait)
	told := false
	for {
		applied, err := o.app.state.AppliedOf(ctx, id)
		if err != nil {
			return err
		}
		at, err := o.app.state.Checkpoint(ctx, o.app.cfg.Slot)
		switch {
		case errors.Is(err, workflow.ErrNotFound):
			if applied == 0 {
				return nil // no worker has ever read here
			}
		case err != nil:
			return err
		case applied == 0 && (passed == 0 || max(at.EndLSN, at.Position.CommitLSN) >= passed):
			return nil
		}
		if time.Now().After(deadline) {
			return said{fmt.Sprintf("the workflows of tenant %s are deleted, but within %s no worker has read as far, and it may need their versions. See that one runs (rowbell check), then run this again: it goes on from here", id, wait), workflow.ErrConflict}
		}
		if !told {
			tell("waiting until a worker has read that they were deleted")
			told = true
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Erasure is what was erased of a row or a person.
type Erasure struct {
	store.Erased
	// NamedBy are workflows that name the person as a recipient or an owner.
	NamedBy []string `json:"named_by,omitempty"`
}

// EraseRow erases all that the log has of one row of a table: its key is written as the log
// has it. tenant nil: whatever the tenant. It may be interrupted and repeated. Returns
// ErrNotFound if there is nothing.
func (o *Operator) EraseRow(ctx context.Context, table, key string, tenant *string, tell func(string)) (*Erasure, error) {
	done := &Erasure{}
	if err := o.app.source.MayErase(ctx); err != nil {
		return done, err
	}
	e, err := o.app.state.Eraser(ctx, o.app.id, o.app.cfg.DeliveryLease, tell)
	if err != nil {
		return done, err
	}
	defer closeEraser(ctx, e)
	err = e.EraseRow(ctx, table, key, tenant, func(ctx context.Context, eventIDs []string) error {
		source, err := o.app.source.EraseRow(ctx, eventIDs)
		done.Join(&source)
		return err
	})
	done.Join(&e.Erased)
	if err == nil && nothing(&done.Erased) {
		return done, said{fmt.Sprintf("the log has nothing of %s %s; a key of several columns is written with commas between, as rowbell delivery list has it", table, key), workflow.ErrNotFound}
	}
	return done, o.erased(ctx, done, "row.erase", "row", tenant, table, table+"\x00"+key, err)
}

// ErasePerson erases what the log, the inbox and preferences have of somebody, whom they
// know by these ids: that of the directory, and addresses. tenant nil: whatever the tenant.
// It may be interrupted and repeated. Returns ErrNotFound if there is nothing.
func (o *Operator) ErasePerson(ctx context.Context, ids []string, tenant *string, tell func(string)) (*Erasure, error) {
	done := &Erasure{}
	if err := o.app.source.MayErase(ctx); err != nil {
		return done, err
	}
	p := store.Person{IDs: ids, TenantID: tenant, Token: "erased:" + strings.ToLower(rand.Text()[:16])}
	e, err := o.app.state.Eraser(ctx, o.app.id, o.app.cfg.DeliveryLease, tell)
	if err != nil {
		return done, err
	}
	defer closeEraser(ctx, e)
	err = e.ErasePerson(ctx, p)
	done.Join(&e.Erased)
	if err == nil {
		var source store.Erased
		source, err = o.app.source.ErasePerson(ctx, p)
		done.Join(&source)
	}
	if err == nil {
		done.NamedBy, err = o.app.source.NamesPerson(ctx, ids, tenant)
	}
	if err == nil && nothing(&done.Erased) && len(done.NamedBy) == 0 && len(done.Mentions) == 0 {
		return done, said{fmt.Sprintf("there is nothing of %s here; people are known by the id that the directory gives, or by their address", strings.Join(ids, ", ")), workflow.ErrNotFound}
	}
	return done, o.erased(ctx, done, "person.erase", "person", tenant, "", strings.Join(ids, "\x00"), err)
}

func nothing(e *store.Erased) bool {
	for _, t := range e.Tables {
		if t.Deleted+t.Emptied+t.Left > 0 {
			return false
		}
	}
	return e.Cancelled == 0
}

// erased notes an erasure, with a mark of what it was about that tells nothing of it, and
// returns the error that there is to tell.
func (o *Operator) erased(ctx context.Context, done *Erasure, action, objectType string, tenant *string, table, what string, err error) error {
	detail := map[string]any{"tables": done.Counts(), "cancelled": done.Cancelled, "complete": err == nil && done.Left() == 0}
	if table != "" {
		detail["table"] = table
	}
	mark := ""
	if keyErr := o.app.prepareJudging(); keyErr != nil {
		err = errors.Join(err, keyErr)
	} else if o.app.key != nil {
		mark = o.app.key.Mark(objectType + "\x00" + what)
	}
	tenantID := ""
	if tenant != nil {
		tenantID = *tenant
	}
	noted := o.audit(context.WithoutCancel(ctx), "", tenantID, action, objectType, mark, detail)
	if err == nil && done.Left() > 0 {
		err = said{"something is left, since it was written meanwhile; run it again", workflow.ErrConflict}
	}
	return errors.Join(err, noted)
}
