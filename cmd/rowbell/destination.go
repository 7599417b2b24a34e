package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/admin/client"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// destinationCommand has the commands about where deliveries go.
func destinationCommand() command {
	return command{
		name:  "destination",
		args:  "COMMAND",
		short: "List destinations, turn them off and on, and change their signing secrets",
		long: `A destination is where deliveries of one tenant go: a URL without its query. It is named by
its id, or by the URL as rowbell destination list has it.`,
		group: groupDeliveries,
		examples: []example{
			{"rowbell destination list --state open", ""},
		},
		sub: []command{listDestinationsCommand, showDestinationCommand, enableDestinationCommand, disableDestinationCommand, rotateSecretCommand},
	}
}

// destinations is what these commands need.
type destinations interface {
	Destinations(ctx context.Context, f store.DestinationFilter) ([]workflow.Destination, error)
	Destination(ctx context.Context, idOrName string, tenant *string) (d workflow.Destination, waiting int64, err error)
	EnableDestination(ctx context.Context, idOrName string, tenant *string, actor string) (workflow.Destination, error)
	DisableDestination(ctx context.Context, idOrName string, tenant *string, actor, reason string) (workflow.Destination, error)
	RotateSecret(ctx context.Context, idOrName string, tenant *string, keep time.Duration, actor string) ([]api.RotatedSecret, error)
}

// destinations opens them for the length of f.
func (c *call) destinations(f func(destinations) error) error {
	return through(c, func(o *app.Operator) (destinations, error) { return o, nil }, func(s *client.Client) destinations { return s }, f)
}

var tenantOption = option{"tenant", "ID", "Of this tenant; none for operators' workflows"}

// tenant is what --tenant chooses: nil for any.
func (c *call) tenant() *string {
	tenant, given := c.own["tenant"]
	if !given {
		return nil
	}
	if tenant == "none" {
		tenant = ""
	}
	return &tenant
}

var listDestinationsCommand = command{
	name:   "list",
	server: true,
	short:  "List destinations, those first to which nothing is sent",
	long: `At most 1000 are listed. closed: deliveries are tried; open: none is, since attempts failed;
half_open: one is, to see; disabled: none is, and they are cancelled.`,
	examples: []example{
		{"rowbell destination list", ""},
		{"rowbell destination list --state disabled --tenant acme", ""},
	},
	values: map[string][]string{"state": {"closed", "open", "half_open", "disabled"}, "kind": kinds},
	options: []option{
		tenantOption,
		{"state", "STATE", "Only those that are closed, open, half_open or disabled"},
		{"kind", "KIND", "Only those of this action kind"},
		jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		f := store.DestinationFilter{Tenant: c.tenant(), State: workflow.DestinationState(c.own["state"]), Kind: c.own["kind"]}
		switch f.State {
		case "", workflow.Closed, workflow.Open, workflow.HalfOpen, workflow.Disabled:
		default:
			return usage{fmt.Sprintf("there is no state %q; it is closed, open, half_open or disabled", f.State), "rowbell destination list --help"}
		}
		return c.destinations(func(o destinations) error {
			list, err := o.Destinations(ctx, f)
			if err != nil {
				return err
			}
			if c.asData() {
				shown := make([]shownDestination, len(list))
				for i, d := range list {
					shown[i] = show(d)
				}
				return c.writeData(shown)
			}
			if len(list) == 0 {
				fmt.Fprintln(c.stdout, "There are no such destinations.")
				return nil
			}
			rows := [][]string{{"ID", "TENANT", "KIND", "STATE", "LAST SUCCESS", "DESTINATION"}}
			for _, d := range list {
				rows = append(rows, []string{workflow.LaneID(d.Lane), dash(d.TenantID), d.Kind, string(d.State), whenOrNever(d.LastSuccessAt), d.Destination})
			}
			writeTable(c.stdout, rows)
			return nil
		})
	},
}

func whenOrNever(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return when(t)
}

// shownDestination is a destination in JSON; times that there are none of are null.
type shownDestination struct {
	ID             string     `json:"id"`
	TenantID       string     `json:"tenant_id"` // "" = operators'
	Kind           string     `json:"kind"`
	Destination    string     `json:"destination"`
	State          string     `json:"state"`
	Failures       int        `json:"failures"` // in a row
	FirstFailureAt *time.Time `json:"first_failure_at"`
	OpenedAt       *time.Time `json:"opened_at"`
	ProbeAt        *time.Time `json:"probe_at"`
	DisabledAt     *time.Time `json:"disabled_at"`
	DisabledBy     string     `json:"disabled_by,omitempty"`
	DisabledReason string     `json:"disabled_reason,omitempty"`
	LastError      string     `json:"last_error,omitempty"`
	LastErrorAt    *time.Time `json:"last_error_at"`
	LastSuccessAt  *time.Time `json:"last_success_at"`
	Rate           string     `json:"rate,omitempty"`
	Concurrency    int        `json:"concurrency,omitempty"`
	Waiting        *int64     `json:"waiting,omitempty"` // deliveries in the queue; of show
}

func show(d workflow.Destination) shownDestination {
	at := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	return shownDestination{
		ID: workflow.LaneID(d.Lane), TenantID: d.TenantID, Kind: d.Kind, Destination: d.Destination, State: string(d.State),
		Failures: d.Failures, FirstFailureAt: at(d.FirstFailureAt), OpenedAt: at(d.OpenedAt), ProbeAt: at(d.ProbeAt),
		DisabledAt: at(d.DisabledAt), DisabledBy: d.DisabledBy, DisabledReason: d.DisabledReason,
		LastError: d.LastError, LastErrorAt: at(d.LastErrorAt), LastSuccessAt: at(d.LastSuccessAt), Rate: d.Rate, Concurrency: d.Concurrency,
	}
}

var showDestinationCommand = command{
	name:   "show",
	server: true,
	args:   "ID|URL",
	short:  "Show how a destination stands, and why",
	examples: []example{
		{"rowbell destination show https://example.com/hook", ""},
	},
	options: []option{tenantOption, jsonOption},
	run: func(ctx context.Context, c *call) error {
		return c.destinations(func(o destinations) error {
			d, waiting, err := o.Destination(ctx, c.args[0], c.tenant())
			if err != nil {
				return err
			}
			if c.asData() {
				shown := show(d)
				shown.Waiting = &waiting
				return c.writeData(shown)
			}
			writeDestination(c.stdout, d, waiting)
			return nil
		})
	},
}

func writeDestination(w io.Writer, d workflow.Destination, waiting int64) {
	of := "operators"
	if d.TenantID != "" {
		of = "tenant " + d.TenantID
	}
	rows := [][]string{{"Destination", d.Destination}, {"Id", workflow.LaneID(d.Lane)}, {"Kind", d.Kind}, {"Of", of}}
	state := string(d.State)
	switch d.State {
	case workflow.Open:
		state += " since " + when(d.OpenedAt) + "; one delivery is tried from " + when(d.ProbeAt) + " on"
	case workflow.HalfOpen:
		state += ": one delivery is tried"
	case workflow.Disabled:
		state += " since " + when(d.DisabledAt)
		if d.DisabledBy != "" {
			state += " by " + d.DisabledBy
		}
		state += ": " + firstLine(d.DisabledReason)
	case workflow.Closed:
	}
	rows = append(rows, []string{"State", state}, []string{"Waiting", several(int(waiting), "delivery in the queue")})
	if waiting != 1 {
		rows[len(rows)-1][1] = fmt.Sprintf("%d deliveries in the queue", waiting)
	}
	if d.Failures > 0 {
		rows = append(rows, []string{"Failing", fmt.Sprintf("%s in a row, since %s", several(d.Failures, "attempt"), when(d.FirstFailureAt))})
	}
	if d.LastError != "" {
		rows = append(rows, []string{"Last error", when(d.LastErrorAt) + ": " + firstLine(d.LastError)})
	}
	rows = append(rows, []string{"Last success", whenOrNever(d.LastSuccessAt)})
	if d.Rate != "" {
		rows = append(rows, []string{"Rate", d.Rate})
	}
	if d.Concurrency > 0 {
		rows = append(rows, []string{"At once", fmt.Sprint(d.Concurrency)})
	}
	writeFields(w, rows)
}

var enableDestinationCommand = command{
	name:   "enable",
	server: true,
	args:   "ID|URL",
	short:  "Try deliveries to a destination again, at once",
	long: `It closes a breaker too. What was cancelled while the destination was disabled stays so: it can
be replayed.`,
	examples: []example{
		{"rowbell destination enable https://example.com/hook --tenant acme", ""},
	},
	options: []option{tenantOption, actorOption},
	run: func(ctx context.Context, c *call) error {
		return c.destinations(func(o destinations) error {
			d, err := o.EnableDestination(ctx, c.args[0], c.tenant(), c.actor())
			if err != nil {
				return err
			}
			fmt.Fprintf(c.stdout, "Deliveries to %s are tried from now on.\n", d.Destination)
			return nil
		})
	},
}

var disableDestinationCommand = command{
	name:   "disable",
	server: true,
	args:   "ID|URL",
	short:  "Send nothing to a destination: what waits for it is cancelled, and what comes",
	examples: []example{
		{"rowbell destination disable https://example.com/hook --reason 'moves house until Monday'", ""},
	},
	options: []option{{"reason", "TEXT", "Why, for those who wonder"}, tenantOption, actorOption},
	run: func(ctx context.Context, c *call) error {
		reason := c.own["reason"]
		if reason == "" {
			reason = "no reason was given"
		}
		const most = 500
		if len(reason) > most {
			return usage{fmt.Sprintf("--reason has %d bytes; the most are %d", len(reason), most), "rowbell destination disable --help"}
		}
		return c.destinations(func(o destinations) error {
			d, err := o.DisableDestination(ctx, c.args[0], c.tenant(), c.actor(), reason)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.stdout, "Nothing is sent to %s any more. rowbell destination enable %s undoes that.\n", d.Destination, workflow.LaneID(d.Lane))
			return nil
		})
	},
}

const (
	rotateKeep = 24 * time.Hour
	rotateMost = 90 * 24 * time.Hour
)

var rotateSecretCommand = command{
	name:   "rotate-secret",
	server: true,
	args:   "ID|URL",
	short:  "Make a new signing secret for a destination; the old one signs too for a while",
	long: `It prints the new secret, once. Until the time that it says each webhook has a signature by
either, so that the receiver can move to the new one when it likes. It changes the secret that
the webhooks name in action_config, and says which workflows that concerns. It needs
ROWBELL_SECRET_KEY where secrets are sealed.`,
	examples: []example{
		{"rowbell destination rotate-secret https://example.com/hook --keep 48h", ""},
	},
	options: []option{{"keep", "DURATION", "How long the old one signs too: 0s to 2160h [24h]"}, tenantOption, actorOption, jsonOption},
	run: func(ctx context.Context, c *call) error {
		keep := rotateKeep
		if text, given := c.own["keep"]; given {
			var err error
			if keep, err = time.ParseDuration(text); err != nil || keep < 0 || keep > rotateMost {
				return usage{fmt.Sprintf("--keep: %q is not a duration of 0s to 2160h", text), "rowbell destination rotate-secret --help"}
			}
		}
		return c.destinations(func(o destinations) error {
			// What was changed is shown, whatever failed then: nobody can look it up.
			list, err := o.RotateSecret(ctx, c.args[0], c.tenant(), keep, c.actor())
			if c.asData() && len(list) > 0 {
				if writeErr := c.writeData(list); writeErr != nil {
					return writeErr
				}
				return err
			}
			for _, r := range list {
				fmt.Fprintf(c.stdout, "%s\n", r.Secret)
				fmt.Fprintf(c.stderr, "That is secret %s of %s from now on; the one before signs too until %s. It signs for: %s.\n",
					r.Name, tenantWords(r.TenantID), when(r.Until), joined(r.Workflows))
			}
			return err
		})
	},
}

func tenantWords(id string) string {
	if id == "" {
		return "the operators"
	}
	return "tenant " + id
}

// joined lists ids, not very many.
func joined(ids []string) string {
	const most = 20
	text := ""
	for i, id := range ids[:min(len(ids), most)] {
		if i > 0 {
			text += ", "
		}
		text += id
	}
	if len(ids) > most {
		text += fmt.Sprintf(" and %d more", len(ids)-most)
	}
	return text
}
