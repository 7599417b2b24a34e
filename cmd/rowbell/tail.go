package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/admin/client"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/live"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// tails is what the command needs.
type tails interface {
	Tail(ctx context.Context, f live.Filter, since time.Duration, tell func(live.Event) error) error
}

// tails opens it for the length of f.
func (c *call) tails(f func(tails) error) error {
	return through(c, func(o *app.Operator) (tails, error) { return o, nil }, func(s *client.Client) tails {
		s.Note = func(text string) { fmt.Fprintln(c.stderr, "rowbell: "+text) }
		return s
	}, f)
}

const longestTail = 24 * time.Hour

var tailCommand = command{
	name:   "tail",
	server: true,
	short:  "Show executions as they end, a line each, until it is interrupted",
	long: `Whichever worker recorded and delivered them: it reads the database, once a second, or a
server's live stream, which it asks for again when that ends. A line has the time, how the
execution ended, its workflow, the row that changed, and what was done, or why not. An
execution that is tried again comes when that is over; --status pending shows them as they are
recorded. As JSON each is an object in one line, as YAML a document.`,
	group: groupDeliveries,
	examples: []example{
		{"rowbell tail --status failure --since 1h", ""},
		{"rowbell tail --workflow large-order --output json | jq -r .row_key", ""},
	},
	values: map[string][]string{"status": {"success", "failure", "cancelled", "pending"}},
	options: []option{
		{"tenant", "ID", "Of this tenant's workflows; none for operators' ones"},
		{"workflow", "ID", "Of this workflow"},
		{"status", "STATUS", "success, failure, cancelled or pending; several with commas between [all but pending]"},
		{"since", "DURATION", "Those first that ended in this time before: 5m, … to 24h"},
		jsonOption,
	},
	run: tail,
}

// tailStatuses are those of --status.
func (c *call) tailStatuses() ([]workflow.ExecutionStatus, error) {
	text, given := c.own["status"]
	if !given {
		return nil, nil
	}
	all := []workflow.ExecutionStatus{workflow.Success, workflow.Failure, workflow.Cancelled, workflow.Pending}
	var list []workflow.ExecutionStatus
	for word := range strings.SplitSeq(text, ",") {
		status := workflow.ExecutionStatus(strings.TrimSpace(word))
		if !slices.Contains(all, status) {
			words := make([]string, len(all))
			for i, s := range all {
				words[i] = string(s)
			}
			message := fmt.Sprintf("--status: there is no status %q; it is success, failure, cancelled or pending.", word)
			if near := app.Nearest(string(status), words); near != "" {
				message += " Did you mean " + near + "?"
			}
			return nil, usage{message, "rowbell tail --help"}
		}
		list = append(list, status)
	}
	return list, nil
}

func tail(ctx context.Context, c *call) error {
	const help = "rowbell tail --help"
	f := live.Filter{Tenant: c.chosenTenant(), WorkflowID: c.own["workflow"], Types: []live.Type{live.Execution}}
	var err error
	if f.Statuses, err = c.tailStatuses(); err != nil {
		return err
	}
	var since time.Duration
	if text, given := c.own["since"]; given {
		if since, err = time.ParseDuration(text); err != nil || since <= 0 || since > longestTail {
			return usage{fmt.Sprintf("--since: %q is not a duration of up to 24h, such as 5m", text), help}
		}
	}
	s, _ := c.stdout.(screen)
	write := func(x *store.LiveExecution) error {
		if c.asData() {
			return c.writeOneOf(x)
		}
		_, err := fmt.Fprintln(c.stdout, tailLine(x, s.colour))
		return err
	}
	return c.tails(func(o tails) error {
		err := o.Tail(ctx, f, since, func(e live.Event) error {
			if e.Type == live.Missed {
				_, err := fmt.Fprintln(c.stderr, missedLine(e.Missed))
				return err
			}
			return write(e.Execution)
		})
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil // that is how it ends
		}
		return err
	})
}

func missedLine(m *live.MissedEvents) string {
	if m.Count == 0 {
		return "rowbell: executions are missing here, since there were more than could be read"
	}
	return "rowbell: " + several(m.Count, "execution") + " missing here, since there were more than could be shown"
}

// tailLine is an execution in one line.
func tailLine(x *store.LiveExecution, colour bool) string {
	at := x.ExecutedAt
	if x.SettledAt != nil {
		at = *x.SettledAt
	}
	status := fmt.Sprintf("%-9s", x.Status)
	if colour {
		status = paint(colourOf[string(x.Status)], status)
	}
	row := x.Table
	if x.RowKey != "" {
		row += "." + x.RowKey
	}
	line := fmt.Sprintf("%s  %s  %s  %s", at.Local().Format("15:04:05.000"), status, x.WorkflowID, cmp.Or(row, "-"))
	if x.Operation != "" {
		line += " " + x.Operation
	}
	if what := tailWhat(x); what != "" {
		line += "  " + what
	}
	return line
}

// tailWhat says what was done, or why not.
func tailWhat(x *store.LiveExecution) string {
	var did []string
	for _, d := range x.Did {
		text := d.Kind
		switch {
		case d.Count > 1:
			text = fmt.Sprintf("%d %s", d.Count, d.Kind)
		case d.Recipient != "":
			text += " to " + d.Recipient
		}
		if d.Status != "succeeded" {
			text += " " + d.Status
			if d.Reason != "" && d.Reason != x.Error {
				text += " (" + firstLine(d.Reason) + ")"
			}
		}
		did = append(did, text)
	}
	if len(x.Did) == 1 && x.Did[0].Status == "succeeded" && x.Did[0].Attempts > 0 {
		d := &x.Did[0]
		if d.Code != 0 {
			did[0] += fmt.Sprintf(" %d", d.Code)
		}
		if d.DurationMS > 0 {
			did[0] += fmt.Sprintf(" in %s", time.Duration(d.DurationMS)*time.Millisecond)
		} else {
			did[0] += " in under 1ms"
		}
		if d.Attempts > 1 {
			did[0] += fmt.Sprintf(", at attempt %d", d.Attempts)
		}
	}
	what := strings.Join(did, ", ")
	if x.Error != "" {
		if what != "" {
			what += ": "
		}
		what += firstLine(x.Error)
	}
	return what
}
