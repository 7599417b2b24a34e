package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/admin/client"
	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/store"
)

// auditCommand has the commands about who did what.
func auditCommand() command {
	return command{
		name:  "audit",
		args:  "COMMAND",
		short: "List who did what, and show it before and after",
		long: `What was done by the command line and the API, and edits that somebody made by SQL: those
have the database's user as actor, unless the transaction named another (rowbell.set_actor).`,
		group: groupAccess,
		examples: []example{
			{"rowbell audit list --tenant acme --since 7d", ""},
			{"rowbell audit show large-order@3", "an edit by SQL, by the version that came of it"},
		},
		sub: []command{auditListCommand, auditShowCommand},
	}
}

// audits is what these commands need.
type audits interface {
	Audit(ctx context.Context, f store.AuditFilter, cursor string, limit int) (list []definition.Audited, next string, err error)
	AuditEntry(ctx context.Context, id string) (definition.Audited, error)
}

// audits opens them for the length of f.
func (c *call) audits(f func(audits) error) error {
	return through(c, func(o *app.Operator) (audits, error) { return o.Workflows() }, func(s *client.Client) audits { return s }, f)
}

const auditListHelp = "rowbell audit list --help"

var auditListCommand = command{
	name:   "list",
	server: true,
	short:  "List what was done, the newest first",
	examples: []example{
		{"rowbell audit list --tenant acme --since 7d", ""},
		{"rowbell audit list --object workflow:large-order", ""},
		{"rowbell audit list --actor ann --action delivery --csv > ann.csv", "for a spreadsheet"},
	},
	options: []option{
		{"tenant", "ID", "Only what concerns this tenant; none for what concerns operators"},
		{"actor", "WHO", "Only what they did: the actor, or the database's user"},
		{"action", "ACTION", "Only this, as workflow.activate, or all of a kind, as workflow"},
		{"object", "TYPE[:ID]", "Only what was done to this, as destination, or workflow:large-order"},
		{"since", "TIME", "From then on: 2026-01-31T10:00:00Z, or how long ago: 90m, 12h, 7d"},
		{"until", "TIME", "Before then"},
		{"text", "TEXT", "Only where this stands in the action, the object, before, after or detail"},
		{"limit", "N", "At most so many, up to 1000 (100 if not given)"},
		{"after", "PLACE", "Go on there: what the list before said at its end"},
		{"csv", "", "As CSV, for spreadsheets"},
		jsonOption,
	},
	run: func(ctx context.Context, c *call) error {
		f := store.AuditFilter{Tenant: c.chosenTenant(), Actor: c.own["actor"], Action: c.own["action"], Text: c.own["text"]}
		if c.has("csv") && c.asData() {
			return usage{"either --csv or --output, not both", auditListHelp}
		}
		f.ObjectType, f.ObjectID, _ = strings.Cut(c.own["object"], ":")
		var err error
		if f.Since, err = c.chosenTime("since"); err != nil {
			return err
		}
		if f.Until, err = c.chosenTime("until"); err != nil {
			return err
		}
		limit, err := c.chosenNumber("limit", 1000)
		if err != nil {
			return err
		}
		return c.audits(func(o audits) error {
			list, next, err := o.Audit(ctx, f, c.own["after"], limit)
			if err != nil {
				return err
			}
			switch {
			case c.asData():
				if err := c.writeData(list); err != nil {
					return err
				}
			case c.has("csv"):
				if err := writeAuditCSV(c.stdout, list); err != nil {
					return err
				}
			case len(list) == 0:
				fmt.Fprintln(c.stdout, "Nothing of that kind was done.")
			default:
				rows := [][]string{{"AT", "ID", "TENANT", "WHO", "VIA", "ACTION", "OBJECT", "WHAT"}}
				for i := range list {
					e := &list[i]
					rows = append(rows, []string{when(e.At), e.ID, dash(e.TenantID), who(e), dash(e.Via), e.Action, dash(e.ObjectID), dash(firstLine(e.Line))})
				}
				writeTable(c.stdout, rows)
			}
			if next != "" {
				fmt.Fprintf(c.stderr, "There is more: --after %s\n", next)
			}
			return nil
		})
	},
}

// who names the actor, and the database's user where that is another.
func who(e *definition.Audited) string {
	if e.Actor == e.DBUser {
		return e.Actor
	}
	return fmt.Sprintf("%s (%s)", e.Actor, e.DBUser)
}

func writeAuditCSV(w io.Writer, list []definition.Audited) error {
	out := csv.NewWriter(w)
	rows := [][]string{{"at", "id", "tenant_id", "actor", "db_user", "via", "address", "request_id", "action", "object_type", "object_id", "version", "changes", "before", "after", "detail"}}
	for i := range list {
		e := &list[i]
		version := ""
		if e.Version > 0 {
			version = fmt.Sprint(e.Version)
		}
		rows = append(rows, []string{
			e.At.Format(time.RFC3339Nano), e.ID, e.TenantID, e.Actor, e.DBUser, e.Via, e.Address, e.RequestID, e.Action, e.ObjectType, e.ObjectID, version,
			strings.Join(e.Changes, "\n"), spaced(e.Before), spaced(e.After), spaced(e.Detail),
		})
	}
	for _, row := range rows {
		for i, cell := range row {
			row[i] = plainCell(cell)
		}
	}
	return out.WriteAll(rows)
}

// spaced writes JSON as SQL shows jsonb: in one line, with a space behind each comma and
// colon.
func spaced(raw json.RawMessage) string {
	var b bytes.Buffer
	if len(raw) == 0 || json.Indent(&b, raw, "", "") != nil {
		return string(raw)
	}
	return unbroken.Replace(b.String())
}

// unbroken takes out the line breaks of json.Indent. Texts in JSON have none.
var unbroken = strings.NewReplacer("{\n", "{", "[\n", "[", ",\n", ", ", "\n}", "}", "\n]", "]")

// plainCell keeps a spreadsheet from taking what somebody has typed for a formula.
func plainCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

var auditShowCommand = command{
	name:   "show",
	server: true,
	args:   "ID",
	short:  "Show what was done: who, when, from where, before and after",
	examples: []example{
		{"rowbell audit show 01M8ACT0GY5N3C8Q7V2T4B9D6E", ""},
		{"rowbell audit show large-order@3", "an edit by SQL, by the version that came of it"},
	},
	options: []option{jsonOption},
	run: func(ctx context.Context, c *call) error {
		return c.audits(func(o audits) error {
			e, err := o.AuditEntry(ctx, c.args[0])
			if err != nil {
				return err
			}
			if c.asData() {
				return c.writeData(e)
			}
			writeAudited(c.stdout, &e)
			return nil
		})
	},
}

func writeAudited(w io.Writer, e *definition.Audited) {
	object := strings.TrimSpace(e.ObjectType + " " + e.ObjectID)
	if e.Version > 0 {
		object += fmt.Sprintf(", version %d", e.Version)
	}
	rows := [][]string{
		{"entry", e.ID},
		{"at", when(e.At)},
		{"actor", e.Actor},
		{"database user", e.DBUser},
		{"via", e.Via},
		{"address", e.Address},
		{"request", e.RequestID},
		{"tenant", e.TenantID},
		{"action", e.Action},
		{"object", object},
		{"detail", spaced(e.Detail)},
	}
	var shown [][]string
	for _, r := range rows {
		if r[1] != "" {
			shown = append(shown, r)
		}
	}
	writeFields(w, shown)
	if len(e.Changes) > 0 {
		fmt.Fprintln(w)
	}
	for _, line := range e.Changes {
		fmt.Fprintln(w, "  "+strings.ReplaceAll(line, "\n", "\n  "))
	}
}
