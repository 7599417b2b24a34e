package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/rowbell/rowbell/pkg/admin/client"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/workflow"
)

var pauseScope = []option{
	{"tenant", "ID", "Those of this tenant"},
	{"workflow", "ID", "Those of this workflow"},
	{"kind", "KIND", "Those of this action kind; of the tenant or the workflow, if one is given"},
}

const longestPause = 365 * 24 * time.Hour

// pauses is what these commands need.
type pauses interface {
	Pauses(ctx context.Context) ([]workflow.Pause, error)
	Pause(ctx context.Context, p workflow.Pause, long time.Duration, actor string) (workflow.Pause, error)
	Resume(ctx context.Context, ids []string, of *workflow.Pause, actor string) ([]workflow.Pause, error)
	ResumeAll(ctx context.Context, actor string) ([]workflow.Pause, error)
}

// pauses opens them for the length of f.
func (c *call) pauses(f func(pauses) error) error {
	return through(c, func(o *app.Operator) (pauses, error) { return o, nil }, func(s *client.Client) pauses { return s }, f)
}

// pauseCommand lets deliveries wait.
func pauseCommand() command {
	return command{
		name:   "pause",
		server: true,
		short:  "Let deliveries wait: all, or those of a tenant, a workflow or an action kind",
		long: `Within about a second no worker begins an attempt at them; what runs may end. Changes are
recorded as always, nothing is lost, and no attempt is counted. When the pause ends, by itself
or by rowbell resume, what has gathered goes in its order. Pausing the same deliveries again
replaces the pause.`,
		group: groupDeliveries,
		examples: []example{
			{`rowbell pause --kind email --for 2h --reason "the mail server moves"`, ""},
			{"rowbell pause --tenant acme", ""},
			{"rowbell pause --all", ""},
		},
		values: map[string][]string{"kind": kinds},
		options: append([]option{
			{"all", "", "All deliveries"},
		}, append(pauseScope, []option{
			{"for", "DURATION", "How long: 30s, 2h, … to 8760h; without it, until rowbell resume"},
			{"reason", "TEXT", "Why, for those who wonder"},
			actorOption,
		}...)...),
		run: pause,
		sub: []command{listPausesCommand},
	}
}

// scope is what --tenant, --workflow and --kind choose; none if none is given.
func (c *call) scope() (p workflow.Pause, some bool, err error) {
	help := "rowbell " + c.name + " --help"
	for _, o := range pauseScope {
		if value, given := c.own[o.name]; given && value == "" {
			return p, false, usage{"--" + o.name + " is empty", help}
		}
	}
	p = workflow.Pause{TenantID: c.own["tenant"], WorkflowID: c.own["workflow"], Kind: c.own["kind"]}
	if p.TenantID != "" && p.WorkflowID != "" {
		return p, false, usage{"a workflow belongs to one tenant: give --tenant or --workflow, not both", help}
	}
	return p, !p.All(), nil
}

func pause(ctx context.Context, c *call) error {
	const help = "rowbell pause --help"
	p, some, err := c.scope()
	switch {
	case err != nil:
		return err
	case some && c.has("all"):
		return usage{fmt.Sprintf("--all pauses more than %s: give one or the other", &p), help}
	case !some && !c.has("all"):
		return usage{"say what to pause: --all, or --tenant, --workflow or --kind", help}
	}
	var long time.Duration
	if text, given := c.own["for"]; given {
		if long, err = time.ParseDuration(text); err != nil || long < time.Second || long > longestPause {
			return usage{fmt.Sprintf("--for: %q is not a duration of 1s to 8760h", text), help}
		}
	}
	p.Reason = c.own["reason"]
	const most = 500
	if len(p.Reason) > most {
		return usage{fmt.Sprintf("--reason has %d bytes; the most are %d", len(p.Reason), most), help}
	}
	return c.pauses(func(o pauses) error {
		p, err := o.Pause(ctx, p, long, c.actor())
		if err != nil {
			return err
		}
		until := "it is resumed: rowbell resume " + p.ID
		if !p.Until.IsZero() {
			until = when(p.Until)
		}
		fmt.Fprintf(c.stdout, "Paused: %s, until %s\n", &p, until)
		return nil
	})
}

// shownPause is a pause in JSON; what it doesn't go by is "".
type shownPause struct {
	ID         string     `json:"id"`
	Scope      string     `json:"scope"`
	TenantID   string     `json:"tenant_id"`
	WorkflowID string     `json:"workflow_id"`
	Kind       string     `json:"kind"`
	Reason     string     `json:"reason"`
	Until      *time.Time `json:"until"` // null: until it is resumed
	CreatedBy  string     `json:"created_by"`
	CreatedAt  time.Time  `json:"created_at"`
}

func showPauses(list []workflow.Pause) []shownPause {
	shown := make([]shownPause, len(list))
	for i := range list {
		p := &list[i]
		shown[i] = shownPause{
			ID: p.ID, Scope: p.Scope(), TenantID: p.TenantID, WorkflowID: p.WorkflowID, Kind: p.Kind, Reason: p.Reason, CreatedBy: p.CreatedBy, CreatedAt: p.CreatedAt,
		}
		if !p.Until.IsZero() {
			shown[i].Until = &p.Until
		}
	}
	return shown
}

func writePauses(w io.Writer, list []workflow.Pause) {
	rows := [][]string{{"PAUSE", "OF", "SINCE", "UNTIL", "BY", "REASON"}}
	for i := range list {
		p := &list[i]
		until := "resumed"
		if !p.Until.IsZero() {
			until = when(p.Until)
		}
		rows = append(rows, []string{p.ID, p.String(), when(p.CreatedAt), until, dash(p.CreatedBy), dash(firstLine(p.Reason))})
	}
	writeTable(w, rows)
}

var listPausesCommand = command{
	name:   "list",
	server: true,
	short:  "List what is paused, the oldest first",
	examples: []example{
		{"rowbell pause list", ""},
	},
	options: []option{jsonOption},
	run: func(ctx context.Context, c *call) error {
		return c.pauses(func(o pauses) error {
			list, err := o.Pauses(ctx)
			switch {
			case err != nil:
				return err
			case c.asData():
				return c.writeData(showPauses(list))
			case len(list) == 0:
				fmt.Fprintln(c.stdout, "Nothing is paused.")
				return nil
			}
			writePauses(c.stdout, list)
			return nil
		})
	},
}

var resumeCommand = command{
	name:   "resume",
	server: true,
	args:   "[PAUSE…]",
	short:  "End pauses: those that are named, or all",
	long: `A pause is named by its id, or by what it pauses, in the words of rowbell pause. What is
covered by another pause too waits on.`,
	group: groupDeliveries,
	examples: []example{
		{"rowbell resume 01M8ACT0GY5N3C8Q7V2T4B9D6E", ""},
		{"rowbell resume --kind email", ""},
		{"rowbell resume --all", ""},
	},
	values:  map[string][]string{"kind": kinds},
	options: append([]option{{"all", "", "Every pause"}}, append(pauseScope, actorOption)...),
	run: func(ctx context.Context, c *call) error {
		const help = "rowbell resume --help"
		p, some, err := c.scope()
		switch {
		case err != nil:
			return err
		case c.has("all") && (some || len(c.args) > 0):
			return usage{"--all ends every pause: give nothing else", help}
		case !c.has("all") && !some && len(c.args) == 0:
			return usage{"say what to resume: ids of pauses, --tenant, --workflow or --kind, or --all for every pause", help}
		}
		return c.pauses(func(o pauses) error {
			var ended []workflow.Pause
			var err error
			if c.has("all") {
				ended, err = o.ResumeAll(ctx, c.actor())
			} else {
				of := &p
				if !some {
					of = nil
				}
				ended, err = o.Resume(ctx, c.args, of, c.actor())
			}
			if err == nil && len(ended) == 0 {
				fmt.Fprintln(c.stdout, "Nothing was paused.")
			}
			for i := range ended {
				fmt.Fprintf(c.stdout, "Resumed: %s\n", &ended[i])
			}
			return err
		})
	},
}
