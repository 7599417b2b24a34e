package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/actions/webhook"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/directory"
	"github.com/rowbell/rowbell/pkg/egress"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// How owners are told. An alert is a row in state, which any process may find and any may
// tell: it is claimed, sent by the action kinds' own runners but as no execution, so that an
// alert that fails raises none, and then ended. A process that dies in between leaves it to
// the next one, which sends it with the same keys.
const (
	alertEach    = 15 * time.Second // how often failures are looked for, at most
	alertsAtOnce = 20
	alertLease   = 3 * time.Minute
	alertAttempt = 20 * time.Second // what one attempt to tell somebody may take
	alertWrite   = 2 * time.Second  // and what writing what came of it
	brokenAtOnce = 500
	mostAlertErr = 500 // characters of an error that is shown
)

// alertRetry are the waits after nobody, or not everybody, could be told.
var alertRetry = []time.Duration{time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 12 * time.Hour}

// alertConfigs say what of an alert a kind that reaches people takes.
var alertConfigs = map[string]string{
	"notification": `{"title": "{{ new.subject }}", "body": "{{ new.text }}"}`,
	"email":        `{"subject": "{{ new.subject }}", "body": "{{ new.line1 }}\n\n{{ new.line2 }}\n\n{{ new.line3 }}\n\n{{ new.line4 }}\n\n{{ new.line5 }}\n\n{{ new.line6 }}"}`,
}

const alertLines = 6

// alerter tells owners.
type alerter struct {
	app   *App
	ways  []alertWay       // to people, the one that is liked best first
	ops   []actions.Runner // of the setting alerts, in its order; nil for people
	http  *egress.Client   // for them; nil without any
	total *prometheus.CounterVec
	said  bool // that it doesn't work now
	// raised are alerts of this process's engine that are to be written.
	raised  chan workflow.Alert
	pending []workflow.Alert // taken from raised, and not yet written
}

// mostRaised is how many alerts of the engine wait to be written.
const mostRaised = 1000

type alertWay struct {
	kind   *actions.Kind
	runner actions.Runner
}

func newAlerter(a *App, version string) (*alerter, error) {
	t := &alerter{app: a, raised: make(chan workflow.Alert, mostRaised), total: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "rowbell_alerts_total", Help: "Alerts that ended, by kind and outcome: told, or failed (nobody, or not everybody, could be told).",
	}, []string{"kind", "outcome"})}
	a.reg.MustRegister(t.total)
	for _, kind := range []workflow.AlertKind{workflow.AlertFailing, workflow.AlertBroken, workflow.AlertEndpoint, workflow.AlertStorm, workflow.AlertLoop} {
		for _, outcome := range []string{"told", "failed"} {
			t.total.WithLabelValues(string(kind), outcome)
		}
	}
	for _, name := range []string{"email", "notification"} {
		if name == "email" && a.mailer == nil {
			continue
		}
		kind, err := a.registry.Kind(name)
		if err != nil {
			return nil, err
		}
		runner, err := kind.Parse(json.RawMessage(alertConfigs[name]), actions.Texts{})
		if err != nil {
			return nil, fmt.Errorf("alerts by %s: %w", name, err)
		}
		t.ways = append(t.ways, alertWay{kind, t.redirected(kind, runner)})
	}
	for _, to := range a.cfg.Alerts {
		var runner actions.Runner
		if strings.HasPrefix(to, "http") {
			if t.http == nil {
				// Where the operator wants to be told is the operator's to choose.
				client, err := egress.New(egress.Config{Allow: everywhere})
				if err != nil {
					return nil, err
				}
				t.http = client
			}
			kind := webhook.Kind(t.http, version)
			config, _ := json.Marshal(map[string]string{"url": to}) // never fails
			r, err := kind.Parse(config, actions.Texts{})
			if err != nil {
				return nil, fmt.Errorf("%s: an URL that can't be called: %s", named("alerts"), Redact(err.Error()))
			}
			runner = t.redirected(kind, r)
		}
		t.ops = append(t.ops, runner)
	}
	return t, nil
}

func (t *alerter) redirected(kind *actions.Kind, r actions.Runner) actions.Runner {
	if t.app.redirect != nil {
		return t.app.redirect(kind, r)
	}
	return r
}

func (t *alerter) close() {
	if t.http != nil {
		t.http.Close()
	}
}

// Raise notes what an owner is to be told, for whichever process comes to it. of alerts with
// one key only the first is told.
func (t *alerter) Raise(ctx context.Context, list ...workflow.Alert) error {
	_, err := t.app.state.RaiseAlerts(ctx, list)
	return err
}

// run looks for failures, and tells owners, until ctx ends.
func (t *alerter) run(ctx context.Context) error {
	tick := time.NewTicker(min(alertEach, max(t.app.cfg.AlertWindow/4, 100*time.Millisecond)))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := t.once(ctx); err != nil && ctx.Err() == nil {
			if !t.said {
				t.app.log.WarnContext(ctx, "owners can't be told of failures for a moment, will try again", "err", err)
			}
			t.said = true
			continue
		}
		t.said = false
	}
}

// once looks, and tells what is due.
func (t *alerter) once(ctx context.Context) error {
	look, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for n := len(t.raised); n > 0 && len(t.pending) < mostRaised; n-- {
		t.pending = append(t.pending, <-t.raised)
	}
	if len(t.pending) > 0 {
		if err := t.Raise(look, t.pending...); err != nil {
			return err
		}
		t.pending = nil
	}
	if _, err := t.app.state.SweepFailures(look, t.app.cfg.AlertWindow, wordFailures); err != nil {
		return err
	}
	broken, err := t.app.source.BrokenWorkflows(look, brokenAtOnce)
	if err != nil {
		return err
	}
	list := make([]workflow.Alert, len(broken))
	for i, b := range broken {
		list[i] = wordBroken(b)
	}
	if _, err := t.app.state.RaiseAlerts(look, list); err != nil {
		return err
	}
	if t.app.cfg.Delivery == DeliveryHold {
		return nil
	}
	for ctx.Err() == nil {
		due, err := t.app.state.ClaimAlerts(ctx, alertsAtOnce, alertLease)
		if err != nil {
			return err
		}
		for i := range due {
			if err := t.tell(ctx, &due[i]); err != nil {
				return err
			}
		}
		if len(due) < alertsAtOnce {
			break
		}
	}
	return nil
}

// wordFailures says that a workflow fails.
func wordFailures(f store.Failures) workflow.Alert {
	name := "Workflow " + quoted(f.Name, f.WorkflowID)
	a := workflow.Alert{
		Key:  fmt.Sprintf("failing/%s/%s", f.WorkflowID, f.Last.UTC().Format("2006-01-02T15:04:05.000000Z")),
		Kind: workflow.AlertFailing, TenantID: f.TenantID, WorkflowID: f.WorkflowID, At: f.Last, Subject: name + " fails",
	}
	how := "has begun to fail"
	if f.Digest {
		a.Subject = fmt.Sprintf("%s failed %s since %s", name, times(f.Count), when(f.Since))
		how = "still fails"
	}
	var b strings.Builder
	span := "between " + when(f.Since) + " and " + when(f.Last)
	if when(f.Since) == when(f.Last) {
		span = "at " + when(f.Last)
	}
	fmt.Fprintf(&b, "%s (%s) %s: %s %s.\n", name, f.WorkflowID, how, times(f.Count), span)
	if len(f.Through) > 0 {
		fmt.Fprintf(&b, "What gave up: %s.\n", strings.Join(f.Through, ", "))
	}
	fmt.Fprintf(&b, "The last one, execution %s: %s\n", f.ExampleID, excerpt(f.ExampleError))
	b.WriteString("To mend it, see what rowbell.failing has of it")
	if len(f.Through) > 0 {
		b.WriteString(", what gave up: rowbell delivery list --workflow " + f.WorkflowID)
	}
	b.WriteString(", and what it does: rowbell workflow show " + f.WorkflowID + "\n")
	b.WriteString("You are told again when it goes on.\n")
	a.Text = b.String()
	return a
}

// wordBroken says that a workflow doesn't run.
func wordBroken(b store.BrokenWorkflow) workflow.Alert {
	sum := sha256.Sum256([]byte(b.Message))
	name := "Workflow " + quoted(b.Name, b.WorkflowID)
	return workflow.Alert{
		Key:  fmt.Sprintf("broken/%s/%d/%s", b.WorkflowID, b.Version, hex.EncodeToString(sum[:8])),
		Kind: workflow.AlertBroken, TenantID: b.TenantID, WorkflowID: b.WorkflowID, At: b.Since, Subject: name + " is broken and does not run",
		Text: fmt.Sprintf("%s (%s), version %d, is active, but does not run since %s.\nThe reason: %s\nSee it with: rowbell workflow check %s\n",
			name, b.WorkflowID, b.Version, when(b.Since), excerpt(b.Message), b.WorkflowID),
	}
}

func quoted(name, id string) string {
	if name == "" {
		name = id
	}
	return "“" + excerpt(name) + "”"
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func when(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// excerpt is a text on one line, and not too long.
func excerpt(s string) string {
	line := []rune(strings.Join(strings.Fields(s), " "))
	if len(line) > mostAlertErr {
		return string(line[:mostAlertErr]) + "…"
	}
	return string(line)
}

// tell tells an alert to its owners, or, if none of them can be reached, to those of the
// setting alerts, and writes what came of it. The error is one of the database.
func (t *alerter) tell(ctx context.Context, a *store.StoredAlert) error {
	owners, err := t.owners(ctx, a)
	again := err != nil && !errors.Is(err, directory.ErrNever) || len(owners)+len(t.app.cfg.Alerts) > 0
	problems := []error{err}
	for _, p := range owners {
		problems = append(problems, t.person(ctx, a, p))
	}
	if !slices.ContainsFunc(a.Told, func(whom string) bool { return !strings.HasPrefix(whom, operatorPrefix) }) {
		var theirs []error
		for i := range t.app.cfg.Alerts {
			theirs = append(theirs, t.operator(ctx, a, i))
		}
		switch {
		case len(theirs) == 0:
			problems = append(problems, fmt.Errorf("there is nobody to tell: no owner of the workflow can be reached, and %s is not set", named("alerts")))
		case errors.Join(theirs...) == nil:
			problems = nil // they know, and the owners can't
		default:
			problems = append(problems, theirs...)
		}
	}
	why, retryIn := "", time.Duration(0)
	if err := errors.Join(problems...); err != nil {
		why = excerpt(Redact(err.Error()))
		switch {
		case ctx.Err() != nil: // the process ends, and has cut it off
			retryIn = time.Second
		case again && a.Attempts <= len(alertRetry):
			retryIn = alertRetry[a.Attempts-1]
		}
	}
	// Another process need not wait for the end of the lease.
	write, cancel := context.WithTimeout(context.WithoutCancel(ctx), alertWrite)
	defer cancel()
	if err := t.app.state.EndAlert(write, a.Key, a.Told, why, retryIn); err != nil {
		return err
	}
	switch {
	case why == "":
		t.total.WithLabelValues(string(a.Kind), "told").Inc()
	case retryIn == 0:
		t.total.WithLabelValues(string(a.Kind), "failed").Inc()
		t.app.log.WarnContext(ctx, "an owner could not be told", "alert", a.Subject, "workflow_id", a.WorkflowID, "err", why)
	}
	return nil
}

const operatorPrefix = "operator "

// owners are the people whose an alert is: those that the workflow's settings name, else who
// made it.
func (t *alerter) owners(ctx context.Context, a *store.StoredAlert) ([]workflow.Person, error) {
	if a.WorkflowID == "" {
		return nil, nil
	}
	o, err := t.app.source.Ownership(ctx, a.WorkflowID)
	switch {
	case errors.Is(err, workflow.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	list, err := (&workflow.Workflow{Settings: o.Settings}).Owners()
	if err != nil {
		list = nil // such a workflow is broken, and says so
	}
	if len(list) == 0 {
		if o.CreatedBy == "" {
			return nil, nil
		}
		list = []workflow.Recipient{{Type: "user", Value: o.CreatedBy}}
	}
	ask, cancel := context.WithTimeout(ctx, alertAttempt)
	defer cancel()
	people, err := t.app.directory.Resolve(ask, directory.Question{TenantID: o.TenantID, Recipients: list, What: "workflow " + a.WorkflowID})
	return people.To, err
}

// person tells one person, by a way that is not what fails, unless they were told before.
func (t *alerter) person(ctx context.Context, a *store.StoredAlert, p workflow.Person) error {
	for _, way := range t.ways {
		if slices.Contains(a.Told, way.kind.Name+":"+p.ID) {
			return nil
		}
	}
	p.Reasons = []string{workflow.ReasonOwner + " " + a.WorkflowID}
	var problems []error
	for _, way := range t.ways {
		if slices.Contains(a.Through, way.kind.Name) || !p.Has(way.kind.Address) {
			continue
		}
		whom := way.kind.Name + ":" + p.ID
		err := t.send(ctx, a, way.runner, whom, &p)
		if err == nil {
			a.Told = append(a.Told, whom)
			return nil
		}
		problems = append(problems, fmt.Errorf("%s by %s: %w", p.ID, way.kind.Name, err))
	}
	if len(problems) == 0 {
		return fmt.Errorf("there is no way to tell %s but by what fails", p.ID)
	}
	return errors.Join(problems...)
}

// operator tells one of the setting alerts, unless it was told before.
func (t *alerter) operator(ctx context.Context, a *store.StoredAlert, i int) error {
	whom := fmt.Sprintf("%s%d", operatorPrefix, i+1) // what the setting says may hold a token
	if slices.Contains(a.Told, whom) {
		return nil
	}
	scheme, id, _ := strings.Cut(t.app.cfg.Alerts[i], ":")
	runner, p := t.ops[i], (*workflow.Person)(nil)
	if runner == nil {
		name := "notification"
		if p = (&workflow.Person{ID: id, Reasons: []string{workflow.ReasonOperator}}); scheme == "mailto" {
			name, p.Email = "email", id
		}
		n := slices.IndexFunc(t.ways, func(w alertWay) bool { return w.kind.Name == name })
		if n < 0 {
			return fmt.Errorf("%s: this version sends no %s", whom, name)
		}
		runner = t.ways[n].runner
	}
	if err := t.send(ctx, a, runner, whom, p); err != nil {
		return fmt.Errorf("%s: %w", whom, err)
	}
	a.Told = append(a.Told, whom)
	return nil
}

// alertWorkflow stands for the workflow that would have sent it.
const alertWorkflow = "rowbell.alerts"

// send makes one attempt. Its key is the same each time.
func (t *alerter) send(ctx context.Context, a *store.StoredAlert, r actions.Runner, whom string, p *workflow.Person) (err error) {
	ctx, cancel := context.WithTimeout(ctx, alertAttempt)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the action panicked, which is a mistake in Rowbell: %v", p)
		}
	}()
	sum := sha256.Sum256([]byte(a.Key))
	id := hex.EncodeToString(sum[:13])
	content := map[string]any{
		"kind": a.Kind, "subject": a.Subject, "text": strings.TrimSpace(a.Text), "tenant_id": nil, "workflow_id": nil, "at": a.At.UTC().Format(time.RFC3339Nano),
	}
	if a.TenantID != "" {
		content["tenant_id"] = a.TenantID
	}
	if a.WorkflowID != "" {
		content["workflow_id"] = a.WorkflowID
	}
	lines := strings.SplitN(strings.TrimSpace(a.Text), "\n", alertLines)
	if p != nil { // a receiver of webhooks has the text
		for i := range alertLines {
			line := ""
			if i < len(lines) {
				line = lines[i]
			}
			content[fmt.Sprintf("line%d", i+1)] = line
		}
	}
	data, err := json.Marshal(map[string]any{"new": content, "old": nil, "changed": nil, "unavailable": []string{}, "actor": nil})
	if err != nil {
		return err
	}
	to := sha256.Sum256([]byte(whom))
	d := &actions.Delivery{
		ID: "alert_" + id + "_" + hex.EncodeToString(to[:8]), Attempt: a.Attempts,
		Event:    &workflow.Event{ID: id, Table: "rowbell.alert", Op: change.Emit, CommittedAt: a.At, TenantID: a.TenantID, Data: data},
		Workflow: actions.Workflow{ID: alertWorkflow, Name: "Rowbell", Version: 1, TenantID: a.TenantID, Critical: true},
		Person:   p,
		Secret: func(context.Context, string) (string, error) {
			return "", errors.New("an alert has no secrets")
		},
	}
	if p != nil {
		d.Recipient = p.ID
	}
	_, err = r.Run(ctx, d)
	return err
}
