package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/admin/client"
	"github.com/rowbell/rowbell/pkg/app"
)

// connectionCommand has the commands about the services that Rowbell goes out to.
func connectionCommand() command {
	return command{
		name:  "connection",
		args:  "COMMAND",
		short: "List the services that Rowbell goes out to, and try them",
		long: `They are the mail server, chat, NATS, the directory's SQL, the provider with which people sign
in, and functions of the application.`,
		group: groupOperate,
		examples: []example{
			{"rowbell connection verify mail", ""},
		},
		sub: []command{connectionListCommand, connectionVerifyCommand},
	}
}

// connections is what these commands need.
type connections interface {
	Connections(ctx context.Context, tenant *string) ([]api.ConnectionOut, error)
	VerifyConnection(ctx context.Context, name string, tenant *string, by string) (api.VerifiedOut, error)
	Settings(ctx context.Context, tenant *string) (api.SettingsOut, error)
	SetWeight(ctx context.Context, tenantID string, weight int, by string) error
}

// connections opens them for the length of f.
func (c *call) connections(f func(connections) error) error {
	return through(c, func(o *app.Operator) (connections, error) { return o, nil }, func(s *client.Client) connections { return s }, f)
}

var connectionListCommand = command{
	name:   "list",
	server: true,
	short:  "List the services, whether each is set up, and how it was last",
	long: `That one is set up doesn't say that it works, which rowbell connection verify tries. When the
directory and the provider of sign-ins were used is known to a server alone.`,
	examples: []example{
		{"rowbell connection list", ""},
	},
	options: []option{tenantOption, jsonOption},
	run: func(ctx context.Context, c *call) error {
		return c.connections(func(o connections) error {
			list, err := o.Connections(ctx, c.tenant())
			if err != nil {
				return err
			}
			if c.asData() {
				return c.writeData(list)
			}
			rows := [][]string{{"CONNECTION", "STATE", "LAST USED", "LAST ERROR", "ABOUT"}}
			for i := range list {
				x := &list[i]
				about := x.About
				if x.Mend != "" {
					about = strings.TrimPrefix(about+"; "+x.Mend, "; ")
				}
				rows = append(rows, []string{x.Name, string(x.State), lastOf(x.LastUsedAt), lastOf(x.LastErrorAt), about})
			}
			writeTable(c.stdout, rows)
			return nil
		})
	},
}

func lastOf(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return when(*t)
}

// errNotWorking is said after what was found.
var errNotWorking = errors.New("it doesn't work as it is set up")

var connectionVerifyCommand = command{
	name:   "verify",
	server: true,
	args:   "CONNECTION",
	short:  "Try a service now; nothing is sent to anybody",
	long: `It connects, and signs in where a sign-in is set up. Of chat, the services are tried that
active workflows name, as their deliveries reach them. Exits with 1 if something fails.`,
	examples: []example{
		{"rowbell connection verify mail", ""},
		{"rowbell connection verify directory", ""},
	},
	values:  map[string][]string{"CONNECTION": api.Connections},
	options: []option{actorOption, jsonOption},
	run: func(ctx context.Context, c *call) error {
		return c.connections(func(o connections) error {
			v, err := o.VerifyConnection(ctx, c.args[0], nil, c.actor())
			if err != nil {
				return err
			}
			if c.asData() {
				err = c.writeData(v)
			} else {
				for _, f := range v.Findings {
					fmt.Fprintf(c.stdout, "%-8s %s\n", f.Level, f.Message)
					for _, m := range f.Mend {
						fmt.Fprintf(c.stdout, "         %s\n", m)
					}
				}
			}
			if err == nil && !v.Works {
				err = errNotWorking
			}
			return err
		})
	},
}

var limitsCommand = command{
	name:   "limits",
	server: true,
	short:  "Show the limits in force, and where each is changed",
	long: `What the installation sets for all, the workflows that say otherwise, what is masked of tables,
and who is told of failures. The settings are those of the worker that answers, or of this
command where it works on the database.`,
	group: groupOperate,
	examples: []example{
		{"rowbell limits", ""},
		{"rowbell limits --tenant acme", "the same for all, with the tenant's own workflows"},
	},
	options: []option{tenantOption, jsonOption},
	run: func(ctx context.Context, c *call) error {
		return c.connections(func(o connections) error {
			s, err := o.Settings(ctx, c.tenant())
			if err != nil {
				return err
			}
			if c.asData() {
				return c.writeData(s)
			}
			rows := [][]string{{"SETTING", "VALUE", "WHAT IT IS"}}
			for _, l := range s.Limits {
				rows = append(rows, []string{l.Setting, dash(l.Value), l.Text})
			}
			writeTable(c.stdout, rows)
			if len(s.Alerts) > 0 {
				fmt.Fprintf(c.stdout, "\nFailures that have no owner are told to %s.\n", strings.Join(s.Alerts, ", "))
			}
			rows = [][]string{{"TABLE", "TENANT COLUMN", "REDACTED", "HIDDEN"}}
			for _, t := range s.Tables {
				rows = append(rows, []string{t.Label, dash(t.TenantColumn), dash(strings.Join(t.Redacted, ",")), dash(strings.Join(t.Hidden, ","))})
			}
			c.writeMore(rows)
			rows = [][]string{{"WORKFLOW", "TENANT", "STORM", "A MINUTE", "DEPTH", "CRITICAL", "OWNERS"}}
			for i := range s.Workflows {
				w := &s.Workflows[i]
				depth, critical := "", ""
				if w.MaxDepth > 0 {
					depth = fmt.Sprint(w.MaxDepth)
				}
				if w.Critical {
					critical = "yes"
				}
				rows = append(rows, []string{w.ID, dash(w.TenantID), dash(w.StormTransaction), dash(w.StormMinute), dash(depth), dash(critical), dash(strings.Join(w.Owners, ","))})
			}
			c.writeMore(rows)
			rows = [][]string{{"TENANT", "TURNS"}}
			for _, w := range s.Weights {
				rows = append(rows, []string{dash(w.TenantID), fmt.Sprint(w.Weight)})
			}
			c.writeMore(rows)
			return nil
		})
	},
}

// writeMore writes a further table, if it has more than its head.
func (c *call) writeMore(rows [][]string) {
	if len(rows) > 1 {
		fmt.Fprintln(c.stdout)
		writeTable(c.stdout, rows)
	}
}

var tenantWeightCommand = command{
	name:   "weight",
	server: true,
	args:   "TENANT TURNS",
	short:  "Say how many turns a tenant's deliveries get while others get one",
	long: `It counts within ten seconds. 1 is what all have that have no other. none stands for operators'
workflows.`,
	examples: []example{
		{"rowbell tenant weight acme 3", ""},
	},
	options: []option{actorOption},
	run: func(ctx context.Context, c *call) error {
		tenant := c.args[0]
		n, err := strconv.Atoi(c.args[1])
		if err != nil || n < 1 || n > 100 {
			return usage{fmt.Sprintf("%q is no number of turns; it is 1 to 100", c.args[1]), "rowbell tenant weight --help"}
		}
		id := tenant
		if id == "none" {
			id = ""
		}
		return c.connections(func(o connections) error {
			if err := o.SetWeight(ctx, id, n, c.actor()); err != nil {
				return err
			}
			turns := "turns"
			if n == 1 {
				turns = "turn"
			}
			_, err := fmt.Fprintf(c.stdout, "Tenant %s gets %d %s while others get one.\n", tenant, n, turns)
			return err
		})
	},
}
