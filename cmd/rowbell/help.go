package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/rowbell/rowbell/pkg/app"
)

// writeHelp is what rowbell says without arguments.
func writeHelp(w io.Writer) {
	var b strings.Builder
	b.WriteString("Rowbell rings when a row changes: it reads a PostgreSQL database's changes, matches\nthem against workflows written as SQL rows, and records each execution exactly once.\n\n")
	b.WriteString("Usage: rowbell COMMAND [OPTIONS]\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-20s %s\n", strings.TrimSpace(c.name+" "+c.args), c.short)
	}
	b.WriteString("\nrowbell COMMAND --help tells more. New here? Try: rowbell demo\n")
	b.WriteString("\nSettings, as an option, in the environment (ROWBELL_SOURCE_URL), or in the YAML file that\n--config or ROWBELL_CONFIG names (source_url); the first that has one counts:\n")
	writeSettings(&b)
	b.WriteString("\nA password on a command line is seen by everyone on the machine: give URLs and keys in the\nenvironment or in the file.\n\n")
	b.WriteString("Exit codes: 0 done, or stopped in order; 1 an error; 2 called wrongly; 3 there are differences\n(rowbell workflow diff FILE, and apply --dry-run).\n")
	_, _ = io.WriteString(w, b.String())
}

func writeSettings(b *strings.Builder) {
	for _, s := range app.Settings() {
		name := "--" + s.Flag
		if s.Placeholder != "" {
			name += " " + s.Placeholder
		}
		help := s.Help
		if s.Default != "" && s.Placeholder != "" {
			help += " [" + s.Default + "]"
		}
		writeEntry(b, name, help)
	}
}

// writeEntry aligns the help of an option, and breaks it at 94 columns.
func writeEntry(b *strings.Builder, name, help string) {
	const indent, width = 32, 94
	line := fmt.Sprintf("  %-*s", indent-2, name)
	if len(name) > indent-3 {
		b.WriteString("  " + name + "\n")
		line = strings.Repeat(" ", indent)
	}
	used := indent
	for i, word := range strings.Fields(help) {
		if i > 0 && used+1+len(word) > width {
			b.WriteString(line + "\n")
			line, used = strings.Repeat(" ", indent), indent
		} else if i > 0 {
			line += " "
			used++
		}
		line += word
		used += len(word)
	}
	b.WriteString(line + "\n")
}

func (c command) writeHelp(w io.Writer) {
	var b strings.Builder
	words := c.name + " " + c.args + " [OPTIONS]"
	if c.sub != nil {
		words = c.name + " COMMAND [OPTIONS]"
		if c.run != nil {
			words = c.name + " [COMMAND] [OPTIONS]"
		}
	}
	fmt.Fprintf(&b, "%s\n\nUsage: rowbell %s\n", c.short, strings.Join(strings.Fields(words), " "))
	if c.long != "" {
		b.WriteString("\n" + c.long + "\n")
	}
	if c.sub != nil {
		b.WriteString("\nCommands:\n")
		for _, s := range c.sub {
			writeEntry(&b, strings.TrimSpace(s.name+" "+s.args), s.short)
		}
		fmt.Fprintf(&b, "\nrowbell %s COMMAND --help tells more.\n", c.name)
	}
	if len(c.options) > 0 {
		b.WriteString("\nOptions:\n")
		for _, o := range c.options {
			writeEntry(&b, strings.TrimSpace("--"+o.name+" "+o.placeholder), o.help)
		}
	}
	if !c.noSettings {
		b.WriteString("\nAll settings count here too; see rowbell --help.\n")
	}
	_, _ = io.WriteString(w, b.String())
}
