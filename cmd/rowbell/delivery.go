package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/admin/client"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// deliveryCommand has the commands about single deliveries.
func deliveryCommand() command {
	return command{
		name:  "delivery",
		args:  "COMMAND",
		short: "List, show, retry or cancel deliveries",
		long: `A delivery is dead when it gave up: its receiver refused it for good, or all its attempts
failed. To run many again, or with another version of their workflow: rowbell replay.`,
		group: groupDeliveries,
		examples: []example{
			{"rowbell delivery list", "what gave up"},
			{"rowbell delivery list --status retrying", ""},
		},
		sub: []command{deliveryListCommand, deliveryShowCommand, deliveryRetryCommand, deliveryCancelCommand},
	}
}

// deliveries is what these commands need.
type deliveries interface {
	Deliveries(ctx context.Context, f store.DeliveryFilter) ([]store.ListedDelivery, error)
	Delivery(ctx context.Context, id string) (store.ShownDelivery, error)
	RetryDelivery(ctx context.Context, id string) (back []string, err error)
	CancelDelivery(ctx context.Context, id, actor string) error
	CancelExecution(ctx context.Context, id, actor string) (cancelled []string, err error)
}

// deliveries opens them for the length of f.
func (c *call) deliveries(f func(deliveries) error) error {
	return through(c, func(o *app.Operator) (deliveries, error) { return o, nil }, func(s *client.Client) deliveries { return s }, f)
}

var (
	sinceOption = option{"since", "TIME", "Of changes committed from then on: 2026-01-31T10:00:00Z, or how long ago: 90m, 12h, 7d"}
	untilOption = option{"until", "TIME", "Of changes committed before then"}
)

// chosenTime reads a time as sinceOption has it; zero if it isn't given.
func (c *call) chosenTime(name string) (time.Time, error) {
	text, given := c.own[name]
	if !given {
		return time.Time{}, nil
	}
	if t, err := readTime(text); err == nil {
		return t, nil
	}
	ago, err := time.ParseDuration(text)
	if days, isDays := strings.CutSuffix(text, "d"); isDays {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		ago = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || ago < 0 {
		return time.Time{}, usage{fmt.Sprintf("--%s wants a time as 2026-01-31T10:00:00Z, or how long ago, as 90m, 12h or 7d, not %q", name, text), "rowbell " + c.name + " --help"}
	}
	return time.Now().Add(-ago), nil
}

// chosenNumber reads a whole number from 1 to most; 0 if it isn't given.
func (c *call) chosenNumber(name string, most int) (int, error) {
	text, given := c.own[name]
	if !given {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, usage{fmt.Sprintf("--%s wants a number from 1 to %d, not %q", name, most, text), "rowbell " + c.name + " --help"}
	}
	return n, nil
}

// chosenTenant is the tenant of --tenant; nil if it isn't given.
func (c *call) chosenTenant() *string {
	tenant, given := c.own["tenant"]
	if !given {
		return nil
	}
	if tenant == "none" {
		tenant = ""
	}
	return &tenant
}

var deliveryListCommand = command{
	name:   "list",
	server: true,
	args:   "[KEY]",
	short:  "List dead deliveries, or others, those of the newest changes first",
	examples: []example{
		{"rowbell delivery list --workflow large-order --since 24h", ""},
		{"rowbell delivery list --status retrying --cause 'connection refused'", ""},
		{"rowbell delivery list --status all --row orders 42", ""},
	},
	values: map[string][]string{"status": {"dead", "cancelled", "retrying", "pending", "succeeded", "all"}, "kind": kinds},
	options: []option{
		{"workflow", "ID", "Only of this workflow"},
		{"tenant", "ID", "Only of this tenant's workflows; none for operators' workflows"},
		{"status", "STATUS", "dead (if not given), cancelled, retrying, pending, succeeded or all"},
		{"kind", "KIND", "Only of this action kind"},
		sinceOption, untilOption,
		{"row", "TABLE", "Only for changes of the row with this KEY"},
		{"recipient", "ID", "Only this recipient's"},
		{"cause", "TEXT", "Only those whose reason has this text in it"},
		{"limit", "N", "At most so many, up to 1000 (100 if not given)"},
		{"before", "ID", "Go on behind this delivery, the last one of the list before"},
		jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		f, err := c.deliveryFilter()
		if err != nil {
			return err
		}
		return c.deliveries(func(o deliveries) error {
			list, err := o.Deliveries(ctx, f)
			if err != nil {
				return err
			}
			if c.asData() {
				return c.writeData(list)
			}
			if len(list) == 0 {
				_, err := fmt.Fprintln(c.stdout, "There are no such deliveries.")
				return err
			}
			rows := [][]string{{"ID", "STATUS", "WORKFLOW", "KIND", "ROW", "COMMITTED", "ATTEMPTS", "REASON"}}
			for i := range list {
				l := &list[i]
				rows = append(rows, []string{l.ID, string(l.Status), l.WorkflowID, l.Kind, rowOf(l), when(l.CommittedAt), fmt.Sprint(l.Attempts), dash(l.Reason)})
			}
			writeTable(c.stdout, rows)
			return nil
		})
	},
}

func rowOf(l *store.ListedDelivery) string {
	return dash(strings.TrimSpace(l.Table + " " + l.RowKey))
}

func (c *call) deliveryFilter() (store.DeliveryFilter, error) {
	f := store.DeliveryFilter{
		WorkflowID: c.own["workflow"], TenantID: c.chosenTenant(), Kind: c.own["kind"], Recipient: c.own["recipient"],
		Table: c.own["row"], RowKey: c.arg(0), Cause: c.own["cause"], Before: c.own["before"],
	}
	const help = "rowbell delivery list --help"
	switch {
	case c.has("row") && len(c.args) == 0:
		return f, usage{"the row's key is missing. Write: --row " + f.Table + " KEY", help}
	case !c.has("row") && len(c.args) > 0:
		return f, usage{strconv.Quote(f.RowKey) + " is one argument too many; a key belongs to --row TABLE KEY", help}
	}
	all := []store.DeliveryStatus{store.DeliveryDead, store.DeliveryCancelled, store.DeliveryRetrying, store.DeliveryPending, store.DeliverySucceeded}
	switch status := cmp.Or(c.own["status"], string(store.DeliveryDead)); status {
	case "all":
		f.Statuses = all
	default:
		for _, s := range all {
			if status == string(s) {
				f.Statuses = []store.DeliveryStatus{s}
			}
		}
		if f.Statuses == nil {
			return f, usage{fmt.Sprintf("there is no status %q; it is dead, cancelled, retrying, pending, succeeded or all", status), help}
		}
	}
	var err error
	if f.Since, err = c.chosenTime("since"); err != nil {
		return f, err
	}
	if f.Until, err = c.chosenTime("until"); err != nil {
		return f, err
	}
	f.Limit, err = c.chosenNumber("limit", 1000)
	return f, err
}

var deliveryShowCommand = command{
	name:   "show",
	server: true,
	args:   "ID",
	short:  "Show a delivery: its attempts, what was answered, and the change that it is about",
	examples: []example{
		{"rowbell delivery show 01M8ACT0GY00003H4CB0000000-7_0", ""},
	},
	options: []option{jsonOption},
	run: func(ctx context.Context, c *call) error {
		return c.deliveries(func(o deliveries) error {
			d, err := o.Delivery(ctx, c.args[0])
			if err != nil {
				return err
			}
			if c.asData() {
				return c.writeData(d)
			}
			writeDelivery(c.stdout, &d)
			return nil
		})
	},
}

func writeDelivery(w io.Writer, d *store.ShownDelivery) {
	action := fmt.Sprintf("action %d (%s)", d.Action+1, d.Kind)
	if d.Action == workflow.GateAction {
		action = "the gate, before the actions"
	}
	rows := [][]string{
		{"delivery", d.ID},
		{"status", string(d.Status)},
		{"reason", d.Reason},
		{"workflow", fmt.Sprintf("%s %q, version %d", d.WorkflowID, d.WorkflowName, d.Version)},
		{"tenant", d.TenantID},
		{"action", action},
		{"recipient", d.Recipient},
		{"row", strings.TrimSpace(d.Table + " " + d.RowKey)},
		{"committed", when(d.CommittedAt)},
		{"execution", d.ExecutionID},
		{"event", d.EventID},
	}
	if d.Person != nil {
		rows[6][1] = strings.TrimSpace(d.Recipient + " " + d.Person.Name)
		if len(d.Person.Reasons) > 0 {
			rows[6][1] += ": " + strings.Join(d.Person.Reasons, ", ")
		}
	}
	if d.EndedAt != nil {
		rows = append(rows, []string{"ended", when(*d.EndedAt)})
	} else if d.NextAt != nil {
		rows = append(rows, []string{"next try", when(*d.NextAt)})
	}
	var shown [][]string
	for _, r := range rows {
		if r[1] != "" {
			shown = append(shown, []string{r[0], strings.ReplaceAll(r[1], "\n", "\n  ")})
		}
	}
	writeFields(w, shown)
	for _, a := range d.Tries {
		_, _ = fmt.Fprintf(w, "\nattempt %d, %s, %s", a.Attempt, when(a.StartedAt), time.Duration(a.DurationMS)*time.Millisecond)
		if a.Code != 0 {
			_, _ = fmt.Fprintf(w, ", code %d", a.Code)
		}
		_, _ = fmt.Fprintln(w)
		for _, part := range [][2]string{{"", a.Error}, {"answer: ", a.Response}} {
			if part[1] != "" {
				_, _ = fmt.Fprintln(w, "  "+part[0]+strings.ReplaceAll(part[1], "\n", "\n  "))
			}
		}
	}
	if len(d.Data) > 0 {
		_, _ = fmt.Fprintf(w, "\n%s\n", d.Data)
	} else {
		_, _ = fmt.Fprintln(w, "\nThe change is no longer in the log.")
	}
}

var deliveryRetryCommand = command{
	name:   "retry",
	server: true,
	args:   "ID…",
	short:  "Put ended deliveries back into the queue, under the ids that they had",
	long: `Each is tried again, with its schedule from the beginning. Its id, which is the idempotency
key, stays: a receiver that keeps keys and has seen it does nothing twice. Its execution is
pending again. Actions that were cancelled because it had given up come back with it.`,
	options: []option{actorOption},
	examples: []example{
		{"rowbell delivery retry 01M8ACT0GY00003H4CB0000000-7_0", ""},
		{"rowbell delivery list --json | jq -r '.[].id' | xargs rowbell delivery retry", "all that gave up"},
	},
	run: func(ctx context.Context, c *call) error {
		return c.deliveries(func(o deliveries) error {
			return c.each(func(id string) error {
				back, err := o.RetryDelivery(ctx, id)
				if err == nil {
					_, _ = fmt.Fprintf(c.stdout, "%s is in the queue again\n", id)
					for _, more := range back[min(1, len(back)):] {
						_, _ = fmt.Fprintf(c.stdout, "%s comes back with it\n", more)
					}
				}
				return err
			})
		})
	},
}

// each does the same with each argument, whatever becomes of the others.
func (c *call) each(do func(string) error) error {
	var problems []error
	shown := false
	for _, arg := range c.args {
		switch err := do(arg); {
		case errors.Is(err, errShown):
			shown = true
		case err != nil:
			problems = append(problems, err)
		}
	}
	if shown && problems == nil {
		return errShown
	}
	return errors.Join(problems...)
}

var deliveryCancelCommand = command{
	name:   "cancel",
	server: true,
	args:   "ID…",
	short:  "End deliveries that are in the queue",
	long: `They become cancelled, and can be retried. An attempt that runs just now may still arrive.
Actions that come after it go on, as if it had ended otherwise; with --execution nothing of it
goes on.`,
	examples: []example{
		{"rowbell delivery cancel 01M8ACT0GY00003H4CB0000000-7_0", ""},
		{"rowbell delivery cancel --execution 01M8ACT0GY00003H4CB0000000-7", "all that is left of an execution"},
	},
	options: []option{{"execution", "", "The ids are of executions: cancel all that has not ended of each"}, actorOption},
	run: func(ctx context.Context, c *call) error {
		return c.deliveries(func(o deliveries) error {
			return c.each(func(id string) error {
				if c.has("execution") {
					list, err := o.CancelExecution(ctx, id, c.actor())
					for _, one := range list {
						_, _ = fmt.Fprintf(c.stdout, "%s is cancelled\n", one)
					}
					return err
				}
				err := o.CancelDelivery(ctx, id, c.actor())
				if err == nil {
					_, _ = fmt.Fprintf(c.stdout, "%s is cancelled\n", id)
				}
				return err
			})
		})
	},
}
