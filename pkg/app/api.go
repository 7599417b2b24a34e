package app

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/engine/executor"
	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/directory"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// apiConnections is how many connections to each database the API has: its own, so that who
// asks much keeps no worker waiting.
const apiConnections = 8

// accessConnections are those by which it is found out who asks: others than those for what
// is asked.
const accessConnections = 2

// apiTimeout is how long a statement of the API may take.
const apiTimeout = 20 * time.Second

// openAPI makes the API.
func (a *App) openAPI(version string) error {
	var err error
	if a.apiSourcePool, err = openPool(a.cfg.SourceURL, a.applicationName()+"/api", apiConnections, apiTimeout); err != nil {
		return err
	}
	a.apiStatePool = a.apiSourcePool
	if !a.cfg.stateInSource() {
		if a.apiStatePool, err = openPool(a.cfg.StateURL, a.applicationName()+"/api", apiConnections, apiTimeout); err != nil {
			return err
		}
	}
	source, state := store.OpenSource(a.apiSourcePool), store.OpenState(a.apiStatePool)
	if a.accessPool, err = openPool(a.cfg.SourceURL, a.applicationName()+"/access", accessConnections, apiTimeout); err != nil {
		return err
	}
	a.openAccess(store.OpenSource(a.accessPool))
	a.feed = a.on(source, state).newFeed()
	a.api = api.New(api.Config{
		Version: version, Auth: a.authenticator(), Keys: source, Feed: a.feed, Services: a.servicesOn(source, state), TrustedProxies: a.cfg.TrustedProxies, Logger: a.log,
		Rate: float64(a.cfg.apiTest.rate), Burst: a.cfg.apiTest.rate,
	})
	return nil
}

type authenticator interface {
	Authenticate(ctx context.Context, r *http.Request) (*access.Principal, error)
}

// withoutCode is set by tests.
var withoutCode func(authenticator) authenticator

func (a *App) authenticator() authenticator {
	if a.cfg.apiTest.noCode {
		return withoutCode(a.access)
	}
	return a.access
}

// servicesOn gives what operations work with, for one principal: they see what it may.
func (a *App) servicesOn(source *store.Source, state *store.State) func(*access.Principal) api.Services {
	whole := a.on(source, state)
	return func(p *access.Principal) api.Services {
		mine := whole
		if !a.cfg.apiTest.noRowSecurity {
			as := store.Tenant{ID: p.Tenant, All: p.Tenant == "", Actor: p.ID}
			mine = whole.on(source.As(as), state.As(as))
		}
		definitions := mine.definitions()
		definitions.Rows = source
		if p.Tenant != "" { // whose role may not read secrets; they are compared, and not shown
			definitions.Secret = func(ctx context.Context, tenantID, name string) (string, error) {
				if tenantID != p.Tenant {
					return "", workflow.ErrNotFound
				}
				return newSecrets(source, a.key).get(ctx, tenantID, name)
			}
		}
		return api.Services{
			Definitions: definitions, Source: mine.source, State: mine.state, Application: source,
			Operations: apiOperations{&Operator{app: mine}, &Operator{app: whole}, a, p.Tenant}, Access: access.NewService(mine.source), Issuer: a.cfg.OIDCIssuer, Instance: a.cfg.Instance,
		}
	}
}

// on is what operations need of a worker, with other ways to its databases.
func (a *App) on(source *store.Source, state *store.State) *App {
	return &App{
		cfg: a.cfg, id: a.id, log: a.log, sourcePool: a.apiSourcePool, statePool: a.apiStatePool, apiSourcePool: a.apiSourcePool, apiStatePool: a.apiStatePool,
		source: source, state: state, directory: a.directory, key: a.key, egress: a.egress, redirectEgress: a.redirectEgress, redirect: a.redirect,
		access: a.access, mailer: a.mailer, mailEgress: a.mailEgress, broker: a.broker, registry: a.registry, signer: a.signer, inbox: a.inbox,
	}
}

// apiOperations are the Operator's, as the API has them.
type apiOperations struct {
	*Operator           // that sees what the principal may
	whole     *Operator // that sees everything: for what the principal was found to see
	worker    *App      // that answers
	only      string    // the tenant of the principal, for what whole does; "" = all
}

// of is a tenant that was asked for: the principal's own, if it has one.
func (o apiOperations) of(tenant *string) *string {
	if o.only != "" {
		return &o.only
	}
	return tenant
}

var _ api.Operations = apiOperations{}

func (o apiOperations) CancelReplay(ctx context.Context, id int32, _ string) (store.Replay, error) {
	return o.Operator.CancelReplay(ctx, id) // who asks is in ctx
}

func (o apiOperations) DecideStorm(ctx context.Context, id string, to workflow.BigStatus, by string) ([]store.Storm, error) {
	if to == workflow.BigReleased {
		return o.ReleaseStorm(ctx, id, by)
	}
	return o.DiscardStorm(ctx, id, by)
}

func (o apiOperations) EnableDestination(ctx context.Context, lane int64, by string) error {
	_, err := o.Operator.EnableDestination(ctx, workflow.LaneID(lane), nil, by)
	return err
}

func (o apiOperations) DisableDestination(ctx context.Context, lane int64, by, reason string) error {
	_, err := o.Operator.DisableDestination(ctx, workflow.LaneID(lane), nil, by, reason)
	return err
}

func (o apiOperations) RotateSecret(ctx context.Context, lane int64, keep time.Duration, by string) ([]api.RotatedSecret, error) {
	d, err := o.whole.app.state.Destination(ctx, lane)
	if err != nil {
		return nil, err
	}
	return o.whole.RotateSecret(ctx, workflow.LaneID(lane), &d.TenantID, keep, by)
}

// testTable is what a test event seems to be of.
const testTable = "rowbell.test"

func (o apiOperations) TestDestination(ctx context.Context, lane int64, by string) (api.TestResult, error) {
	a := o.whole.app
	d, err := a.state.Destination(ctx, lane)
	if err != nil {
		return api.TestResult{}, err
	}
	if err := a.maySend(); err != nil {
		return api.TestResult{}, err
	}
	list, err := a.source.Definitions(ctx, store.WorkflowFilter{Tenant: &d.TenantID, Status: workflow.Active})
	if err != nil {
		return api.TestResult{}, err
	}
	for _, def := range list {
		w, err := workflow.Parse(def.Document)
		if err != nil {
			continue // it is broken, and sends nothing
		}
		plan, err := a.plan(w)
		if err != nil {
			continue
		}
		i := slices.IndexFunc(plan.Steps, func(s actions.Step) bool { return s.Lane == lane && !s.Kind.Recipients && !s.Kind.InTransaction })
		if i < 0 {
			continue
		}
		now := time.Now()
		id := ulid.Make().String()
		data, _ := json.Marshal(map[string]any{ // never fails
			"new": map[string]any{"test": true, "by": by}, "old": nil, "changed": nil, "unavailable": []string{}, "actor": nil,
		})
		r := a.try(ctx, d.TenantID, &plan.Steps[i], &actions.Delivery{
			ID: "test_" + id, Attempt: 1,
			Event:    &workflow.Event{ID: id, Table: testTable, Op: change.Emit, CommittedAt: now, TenantID: d.TenantID, Data: data},
			Workflow: actions.Workflow{ID: def.ID, Name: w.Name, Version: def.Version, TenantID: d.TenantID},
		})
		return r, o.whole.note(ctx, store.Act{
			Actor: by, TenantID: d.TenantID, Action: "destination.test", ObjectType: "destination", ObjectID: workflow.LaneID(lane),
			Detail: map[string]any{"destination": d.Destination, "sent": r.Sent, "code": r.Code},
		})
	}
	return api.TestResult{}, said{"no active workflow has an action that goes there and can be tried without a recipient", workflow.ErrConflict}
}

// maySend refuses tests where nothing is sent.
func (a *App) maySend() error {
	if a.cfg.Delivery == DeliveryHold {
		return said{"this installation records and sends nothing (" + named("delivery") + " is hold)", workflow.ErrConflict}
	}
	return nil
}

// try makes one attempt for people to see.
func (a *App) try(ctx context.Context, tenantID string, step *actions.Step, d *actions.Delivery) api.TestResult {
	t := executor.Try(ctx, deliveryStore{store.Definitions{State: a.state, Source: a.source}, newSecrets(a.source, a.key)}, tenantID, step.Runner, d)
	r := api.TestResult{Sent: t.Err == nil, Code: t.Result.Code, Duration: t.Duration.Milliseconds(), Response: t.Result.Response, Recipient: d.Recipient}
	if t.Err != nil {
		r.Error = t.Err.Error()
	}
	return r
}

func (o apiOperations) TestSend(ctx context.Context, p definition.Preview, sees func(tenantID string) bool, to *workflow.Person, by string) (api.TestResult, error) {
	a := o.whole.app
	if err := a.maySend(); err != nil {
		return api.TestResult{}, err
	}
	mine := o.app.definitions()
	mine.Rows = a.source
	c, err := mine.Change(ctx, p.On)
	if err != nil {
		return api.TestResult{}, err
	}
	v, w, err := mine.Resolved(ctx, p.On)
	if err != nil {
		return api.TestResult{}, err
	}
	if !sees(v.TenantID) { // the id was another tenant's before
		return api.TestResult{}, said{fmt.Sprintf("there is no version %d of workflow %s", v.Version, v.WorkflowID), workflow.ErrNotFound}
	}
	if p.Action < 1 || p.Action > len(w.Actions) {
		return api.TestResult{}, said{fmt.Sprintf("the workflow has no action %d; it has %d", p.Action, len(w.Actions)), workflow.ErrRefused}
	}
	one := *w
	one.Actions = w.Actions[p.Action-1 : p.Action]
	plan, err := a.plan(&one)
	if err != nil {
		return api.TestResult{}, err
	}
	step := &plan.Steps[0]
	switch {
	case !step.Kind.Recipients:
		return api.TestResult{}, said{fmt.Sprintf("action %d is of kind %s, which reaches no people; POST /destinations/{id}/test tries where it goes", p.Action, step.Kind.Name), workflow.ErrRefused}
	case !to.Has(step.Kind.Address):
		return api.TestResult{}, said{fmt.Sprintf("there is no verified %s address of yours in what you have shown", step.Kind.Address), workflow.ErrRefused}
	}
	if to.ID == "" {
		if step.Kind.Address == workflow.NoAddress {
			return api.TestResult{}, said{fmt.Sprintf("action %d is of kind %s, and you have no inbox in this tenant: who comes by a link of the tenant's application has one", p.Action, step.Kind.Name), workflow.ErrRefused}
		}
		to.ID = by
	}
	r := a.try(ctx, v.TenantID, step, &actions.Delivery{
		ID: "test_" + ulid.Make().String(), Attempt: 1, Event: c.AsEvent(), Recipient: to.ID, Person: to,
		Workflow: actions.Workflow{ID: v.WorkflowID, Name: w.Name, Version: v.Version, TenantID: v.TenantID},
	})
	return r, o.whole.note(ctx, store.Act{
		Actor: by, TenantID: v.TenantID, Action: "workflow.test-send", ObjectType: "workflow", ObjectID: v.WorkflowID,
		Detail: map[string]any{"action": p.Action, "kind": step.Kind.Name, "sent": r.Sent, "code": r.Code},
	})
}

func (o apiOperations) Resolve(ctx context.Context, q directory.Question) (directory.People, error) {
	return o.worker.directory.Resolve(ctx, q)
}

// How much a report on missing addresses looks at.
const (
	mostReported       = 500 // workflows
	mostReportProblems = 20
)

func (o apiOperations) MissingAddresses(ctx context.Context, tenant *string) (api.MissingReport, error) {
	a := o.app
	r := api.MissingReport{People: []api.MissingPerson{}, Problems: []string{}}
	var kinds []string // those that reach people at an address
	for _, k := range a.registry.Kinds() {
		if k.Recipients && k.Address != workflow.NoAddress {
			kinds = append(kinds, k.Name)
		}
	}
	list, err := a.source.Definitions(ctx, store.WorkflowFilter{Tenant: tenant, Status: workflow.Active, Kinds: kinds, Limit: mostReported + 1})
	if err != nil {
		return r, err
	}
	if len(list) > mostReported {
		list, r.More = list[:mostReported], true
	}
	type missing struct {
		tenantID, id string
		address      workflow.Address
	}
	found := make(map[missing]int)
	for _, def := range list {
		w, err := workflow.Parse(def.Document)
		if err != nil {
			continue
		}
		plan, err := a.registry.Plan(w)
		if err != nil {
			continue
		}
		for _, s := range plan.Steps {
			if !s.Kind.Recipients || s.Kind.Address == workflow.NoAddress {
				continue
			}
			// Who a column names is known only when a row changes.
			to := slices.DeleteFunc(slices.Clone(s.Recipients), func(r workflow.Recipient) bool { return r.Type == "attribute" })
			if len(to) == 0 {
				continue
			}
			people, err := a.directory.Resolve(ctx, directory.Question{TenantID: def.TenantID, Recipients: to, What: "a report on workflow " + def.ID})
			if err != nil {
				if ctx.Err() != nil {
					return r, err
				}
				if len(r.Problems) < mostReportProblems {
					r.Problems = append(r.Problems, "workflow "+def.ID+": "+Message(err))
				}
				continue
			}
			for i := range people.To {
				p := &people.To[i]
				if p.Has(s.Kind.Address) {
					continue
				}
				key := missing{def.TenantID, p.ID, s.Kind.Address}
				n, known := found[key]
				if !known {
					n = len(r.People)
					found[key] = n
					r.People = append(r.People, api.MissingPerson{ID: p.ID, Name: p.Name, Address: string(s.Kind.Address)})
				}
				if !slices.Contains(r.People[n].Workflows, def.ID) {
					r.People[n].Workflows = append(r.People[n].Workflows, def.ID)
				}
			}
		}
	}
	slices.SortFunc(r.People, func(x, y api.MissingPerson) int { return cmp.Compare(x.ID, y.ID) })
	return r, nil
}

// VerifyConnection is of the worker that answers: what it is set up with.
func (o apiOperations) VerifyConnection(ctx context.Context, name string, tenant *string, by string) (api.VerifiedOut, error) {
	return o.whole.VerifyConnection(ctx, name, o.of(tenant), by)
}

// Settings has what all share, which a tenant's role may not read; its own workflows
// are chosen by tenant.
func (o apiOperations) Settings(ctx context.Context, tenant *string, workflows bool) (api.SettingsOut, error) {
	s, err := o.whole.sharedSettings(ctx)
	if err == nil {
		s.Weights, err = o.whole.weights(ctx, o.of(tenant))
	}
	if err == nil && workflows {
		s.Workflows, s.More, err = o.exceptions(ctx, tenant)
	}
	return s, err
}

func (o apiOperations) SetWeight(ctx context.Context, tenantID string, weight int, by string) error {
	if o.only != "" {
		return &api.Problem{Status: http.StatusForbidden, Detail: "how many turns a tenant gets concerns all of them"}
	}
	return o.whole.SetWeight(ctx, tenantID, weight, by)
}

func (o apiOperations) CancelDelivery(ctx context.Context, id, by string) error {
	return o.whole.CancelDelivery(ctx, id, by) // through the queue, which is a worker's
}

func (o apiOperations) CancelExecution(ctx context.Context, id, by string) ([]string, error) {
	return o.whole.CancelExecution(ctx, id, by)
}

// Pauses are the principal's, and those that an operator has made for everybody.
func (o apiOperations) Pauses(ctx context.Context) ([]workflow.Pause, error) {
	list, err := o.Operator.Pauses(ctx)
	if err != nil {
		return list, err
	}
	all, err := o.whole.Pauses(ctx)
	for _, p := range all {
		if p.TenantID == "" && p.WorkflowID == "" && !slices.ContainsFunc(list, func(own workflow.Pause) bool { return own.ID == p.ID }) {
			list = append(list, p)
		}
	}
	return list, err
}

func (o apiOperations) EndPause(ctx context.Context, id, by string) error {
	_, err := o.Resume(ctx, []string{id}, nil, by)
	return err
}

func (o apiOperations) Health(ctx context.Context) api.StreamHealth {
	h := admin.RunChecks(ctx, o.worker.checks())
	out := api.StreamHealth{Status: h.Status, Checks: make([]api.HealthCheck, len(h.Checks))}
	for i, c := range h.Checks {
		out.Checks[i] = api.HealthCheck{Name: c.Name, State: c.State, Message: c.Message, Mend: c.Mend}
	}
	if h.Status != "ok" {
		out.Status = "failing"
	}
	return out
}
