package app

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rowbell/rowbell/engine/condition"
	"github.com/rowbell/rowbell/engine/trial"
	"github.com/rowbell/rowbell/pkg/definition"
)

// WriteSimulation writes a simulation for people.
func WriteSimulation(w io.Writer, r *trial.Result) error {
	var b strings.Builder
	name := "workflow " + cmp.Or(r.WorkflowID, "without id")
	if r.Name != "" {
		name += " " + strconv.Quote(r.Name)
	}
	if r.Version > 0 {
		name += fmt.Sprintf(", version %d", r.Version)
	}
	if r.Status != "" {
		name += ", " + string(r.Status)
	}
	fmt.Fprintf(&b, "%s\n%s\n\n", name, onWhat(r.Table, r.RowKey, r.Operation, r.RowTenant, r.EventID))
	fmt.Fprintf(&b, "%s: %s\n", answers[r.Answer], indented(r.Reason, "  "))
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	for _, n := range r.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", n)
	}
	for i := range r.Triggers {
		b.WriteByte('\n')
		writeTrigger(&b, &r.Triggers[i], "")
	}
	if len(r.Gates) > 0 {
		b.WriteString("\nDecided after recording:\n")
		for _, g := range r.Gates {
			fmt.Fprintf(&b, "  %s\n", g)
		}
	}
	if len(r.Actions) > 0 {
		b.WriteString("\nActions that would run, in this order (nothing was sent):\n")
	}
	for _, a := range r.Actions {
		fmt.Fprintf(&b, "  action %d, %s", a.Number, a.Kind)
		if a.Order != 0 {
			fmt.Fprintf(&b, ", order %d", a.Order)
		}
		if a.To != "" {
			fmt.Fprintf(&b, ", to %s", a.To)
		}
		b.WriteByte('\n')
		for _, to := range a.Recipients {
			if to.Type == "attribute" {
				fmt.Fprintf(&b, "    to         attribute %s: %s\n", to.ID, to.Value)
			} else {
				fmt.Fprintf(&b, "    to         %s %s\n", to.Type, to.ID)
			}
		}
		for _, t := range a.Texts {
			text := t.Text
			if t.Error != "" {
				text = "! " + t.Error
			}
			fmt.Fprintf(&b, "    %-10s %s\n", t.Name, indented(text, strings.Repeat(" ", 15)))
		}
		writeClauses(&b, a.OnlyIf, "    ")
	}
	if len(r.LeftOut) > 0 {
		b.WriteString("\nActions that are left out, by conditions of their own:\n")
		writeLeftOut(&b, r.LeftOut, "  ")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeLeftOut says which actions would be left out, and for what.
func writeLeftOut(b *strings.Builder, list []trial.LeftOut, indent string) {
	for _, l := range list {
		fmt.Fprintf(b, "%saction %d, %s\n", indent, l.Number, l.Kind)
		if len(l.OnlyIf) == 0 {
			fmt.Fprintf(b, "%s  %s\n", indent, indented(l.Reason, indent+"  "))
		}
		writeClauses(b, l.OnlyIf, indent+"  ")
	}
}

var answers = map[trial.Answer]string{
	trial.Fires:      "✓ It fires",
	trial.DoesNot:    "✗ It doesn't fire",
	trial.Depends:    "? It depends",
	trial.WouldFail:  "! It fails, and is recorded so",
	trial.NotDecided: "? It can't be told from what is recorded",
	trial.Broken:     "! The workflow is broken",
}

func onWhat(table, key, operation, tenant, event string) string {
	s := "on " + operation + " of " + table
	if key != "" {
		s += " " + key
	}
	if tenant != "" {
		s += ", tenant " + tenant
	}
	if event != "" {
		s += ", event " + event
	}
	return s
}

func indented(text, by string) string { return strings.ReplaceAll(text, "\n", "\n"+by) }

func writeTrigger(b *strings.Builder, t *trial.Trigger, indent string) {
	fmt.Fprintf(b, "%s%s, priority %d: %s\n", indent, t.Name, t.Priority, mark(t.Verdict))
	if t.Reason != "" && (len(t.Clauses) == 0 || condition.Decide(t.Clauses) != t.Verdict) { // else a clause says it
		fmt.Fprintf(b, "%s  %s\n", indent, indented(t.Reason, indent+"  "))
	}
	if t.Clauses != nil && len(t.Clauses) == 0 {
		fmt.Fprintf(b, "%s  it has no conditions\n", indent)
	}
	writeClauses(b, t.Clauses, indent+"  ")
	if t.BeforeClauses != nil {
		fmt.Fprintf(b, "%s  the row before: %s\n", indent, mark(t.Before))
		writeClauses(b, t.BeforeClauses, indent+"    ")
	}
}

// line is one clause as it is printed.
type line struct{ mark, text, values string }

// writeClauses writes one line for each clause, with the values aligned.
func writeClauses(b *strings.Builder, list []condition.Clause, indent string) {
	var lines []line
	gather(&lines, list, "")
	widest, marks := 0, 0
	for _, l := range lines {
		marks = max(marks, utf8.RuneCountInString(l.mark))
		if l.values != "" {
			widest = max(widest, min(utf8.RuneCountInString(l.text), 60))
		}
	}
	for _, l := range lines {
		s := indent + pad(l.mark, marks) + "  " + l.text
		if l.values != "" {
			s = indent + pad(l.mark, marks) + "  " + pad(l.text, widest) + "  " + l.values
		}
		b.WriteString(s + "\n")
	}
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(width-utf8.RuneCountInString(s), 0))
}

func gather(lines *[]line, list []condition.Clause, indent string) {
	for i := range list {
		c := &list[i]
		l := line{mark: mark(c.Verdict), text: indent + c.Text, values: values(c)}
		switch {
		case c.Kind == condition.All && indent == "" && strings.HasPrefix(c.Where, "field_conditions"),
			c.Kind == condition.All && indent == "" && strings.HasPrefix(c.Where, "condition "):
			l.text = c.Where // the whole of one condition
		case c.Kind == condition.All && indent == "" && strings.HasPrefix(c.Where, "action "):
			_, l.text, _ = strings.Cut(c.Where, ", ") // only_if, condition 1 (field_value)
		case c.Kind == condition.Any:
			l.text = indent + "any of:"
		case c.Kind == condition.Not:
			l.text = indent + "not:"
		case c.Kind == condition.Choice:
			l.text = indent + "either, or:"
		}
		if c.Verdict == condition.Failed && len(c.Children) == 0 && l.values == "" {
			l.values = c.Error
		}
		*lines = append(*lines, l)
		gather(lines, c.Children, indent+"  ")
	}
}

// values are what both sides of a clause were.
func values(c *condition.Clause) string {
	if c.Kind == condition.Changed && c.Left != nil && c.Right != nil {
		return c.Left.Shown + " → " + c.Right.Shown
	}
	var parts []string
	for _, v := range []*condition.Value{c.Left, c.Right} {
		if v != nil && !v.Constant {
			parts = append(parts, v.Text+" is "+v.Shown)
		}
	}
	s := strings.Join(parts, ", ")
	if c.Verdict == condition.Failed && len(c.Children) == 0 && s != "" {
		s += "; " + c.Error
	}
	return s
}

// WriteExplanation writes for people what became of an event. all says to show clauses of
// those that did not match, too.
func WriteExplanation(w io.Writer, x *definition.Explanation, all bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\ncommitted %s at %s\n\n", onWhat(x.Table, x.RowKey, x.Operation, x.TenantID, x.EventID),
		x.CommittedAt.Format("2006-01-02 15:04:05.999999 UTC"), x.Position)
	widest := 0
	for _, a := range x.Workflows {
		widest = max(widest, utf8.RuneCountInString(accountName(&a)))
	}
	for i := range x.Workflows {
		a := &x.Workflows[i]
		sign := "✗"
		switch a.Outcome {
		case trial.Fired:
			sign = "✓"
		case trial.Failed, trial.WasBroken:
			sign = "!"
		case trial.Held, trial.Unknown, trial.Unexplained:
			sign = "?"
		}
		word := strings.ReplaceAll(string(a.Outcome), "_", " ")
		if a.Status != "" {
			word += ", " + string(a.Status)
		}
		fmt.Fprintf(&b, "%s %s  %-16s  %s\n", sign, pad(accountName(a), widest), word, indented(a.Reason, strings.Repeat(" ", 6)))
		if a.ExecutionID != "" {
			fmt.Fprintf(&b, "    execution %s\n", a.ExecutionID)
		}
		if !all {
			continue
		}
		for j := range a.Triggers {
			writeTrigger(&b, &a.Triggers[j], "    ")
		}
		if len(a.LeftOut) > 0 {
			b.WriteString("    left out, by conditions of their own:\n")
			writeLeftOut(&b, a.LeftOut, "      ")
		}
	}
	if len(x.Workflows) == 0 {
		b.WriteString("No workflow has or had a trigger on it.\n")
	}
	if x.More {
		fmt.Fprintf(&b, "There are more workflows on %s; these are the first %d.\n", x.Table, definition.MostExplained)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func accountName(a *trial.Account) string {
	s := a.WorkflowID
	if a.Name != "" {
		s += " " + strconv.Quote(a.Name)
	}
	if a.Version > 0 {
		s += fmt.Sprintf(" v%d", a.Version)
	}
	return s
}
