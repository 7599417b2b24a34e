package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/rowbell/rowbell/pkg/app"
)

// eraseCommand has the commands that erase what the log knows of a row or a person.
func eraseCommand() command {
	return command{
		name:  "erase",
		args:  "COMMAND",
		short: "Erase what the log has of one row, or of one person",
		long: `Erase the row or the person in the application first, and what the directory's queries
return: Rowbell records what changes, and erasing may be such a change. It may be interrupted
and run again. It is for the role that owns schema rowbell.`,
		group: groupAccess,
		examples: []example{
			{"rowbell erase row orders 42 --tenant acme", ""},
			{"rowbell erase person ann ann@example.com", ""},
		},
		sub: []command{eraseRowCommand, erasePersonCommand},
	}
}

var erasureOptions = []option{
	{"tenant", "ID", "Only of this tenant; none for rows and workflows without one"},
	yesOption,
	actorOption, jsonOption,
}

var eraseRowCommand = command{
	name:  "row",
	args:  "TABLE KEY",
	short: "Erase all that the log has of one row",
	long: `KEY is as the log has it: several key columns with commas between. Deliveries about it that
are in the queue are cancelled. Its events go, with what was delivered, answered and put into
inboxes because of them. Executions stay, as facts that can be counted: which workflow, when,
and how they ended. Workflows that fire once per row forget that they did. Texts that quote
errors go as well: what owners were told of these workflows since the first of the events,
and the last errors of the tenant's destinations.`,
	examples: []example{
		{"rowbell erase row orders 42 --tenant acme", ""},
	},
	options: erasureOptions,
	run: func(ctx context.Context, c *call) error {
		table, key := c.args[0], c.args[1]
		return c.erase(table+" "+key, func(o *app.Operator, tell func(string)) (*app.Erasure, error) {
			return o.EraseRow(ctx, table, key, c.chosenTenant(), tell)
		})
	},
}

var erasePersonCommand = command{
	name:  "person",
	args:  "ID…",
	short: "Erase what the log, the inbox and preferences have of one person",
	long: `ID is what the directory calls them; give their addresses too, if workflows address people by
a column. Deliveries to them that are in the queue are cancelled. Past ones stay, without whom
they were to, where, and what was answered; changes that they made stay without who made
them. Inbox, preferences and quiet hours go. No index finds people: all of the log is read.
What is left in values of rows is listed, to be erased by rowbell erase row. What they did in
Rowbell itself (the audit log's actor, who made a workflow) is kept.`,
	examples: []example{
		{"rowbell erase person ann ann@example.com", ""},
		{"rowbell erase person ann --tenant acme --yes --json > ann-is-erased.json", "with the proof in a file"},
	},
	options: erasureOptions,
	run: func(ctx context.Context, c *call) error {
		return c.erase(strings.Join(c.args, ", "), func(o *app.Operator, tell func(string)) (*app.Erasure, error) {
			return o.ErasePerson(ctx, c.args, c.chosenTenant(), tell)
		})
	},
}

// erase asks, does it, and prints the proof; of says of whom or of what.
func (c *call) erase(of string, do func(o *app.Operator, tell func(string)) (*app.Erasure, error)) error {
	if err := c.confirm("erase for ever what there is of " + of); err != nil {
		return err
	}
	return c.operate(func(o *app.Operator) error {
		progress := c.progress("Erasing", 0)
		defer progress.end()
		done, err := do(o, progress.step)
		progress.end()
		if writeErr := c.writeErased(done, &done.Erased); writeErr != nil {
			return writeErr
		}
		if c.asData() {
			return err
		}
		if len(done.Mentions) > 0 {
			fmt.Fprintln(c.stdout, "\nRows whose events still have the person among their values; erase those that are about them:")
			for _, m := range done.Mentions {
				fmt.Fprintf(c.stdout, "  rowbell erase row %s %s\n", m.Table, m.RowKey)
			}
		}
		if len(done.NamedBy) > 0 {
			fmt.Fprintf(c.stdout, "\nWorkflows that name the person as a recipient or an owner; edit them: %s\n", joined(done.NamedBy))
		}
		if err == nil {
			fmt.Fprintln(c.stdout, "Erased. Backups, and the WAL that the server still has, are not changed by this.")
		}
		return err
	})
}
