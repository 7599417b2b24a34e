package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/pkg/app"
)

// group is a heading in the list of commands.
type group string

const (
	groupRun        group = "Run"
	groupWorkflows  group = "Workflows"
	groupDeliveries group = "Deliveries"
	groupOperate    group = "Operate"
	groupAccess     group = "Access"
	groupMore       group = "More"
)

// groups are in the order of the help text. A command without one is in the last.
var groups = []group{groupRun, groupWorkflows, groupDeliveries, groupOperate, groupAccess, groupMore}

func (c command) isIn(g group) bool { return c.group == g || c.group == "" && g == groupMore }

// exitCodes says what each code means, for people and for the manual.
var exitCodes = []struct {
	code int
	says string
}{
	{exitOK, "done, or stopped in order by SIGTERM or Ctrl-C"},
	{exitError, "an error; check, workflow check or workflow validate found something that must be mended; a test of workflow test failed; or the answer to a question was no"},
	{exitUsage, "called wrongly: an unknown command or option, a setting that can't be, or a question that nobody was there to answer. Nothing was done"},
	{exitDifferent, "there are differences: with workflow diff FILE, and with workflow apply or import --dry-run"},
}

// topic is a help text that is not about one command.
type topic struct {
	name, short string
	text        func(b *strings.Builder)
}

// topics are in the order of the help text.
func topics() []topic {
	return []topic{
		{"settings", "All settings, and where they are read from", writeSettingsTopic},
		{"output", "Tables, JSON and YAML; colours; how programs read errors", writeOutputTopic},
		{"exit-codes", "What rowbell's exit codes mean", writeExitCodes},
	}
}

func topicNamed(name string) (topic, bool) {
	list := topics()
	if i := slices.IndexFunc(list, func(t topic) bool { return t.name == name }); i >= 0 {
		return list[i], true
	}
	return topic{}, false
}

func (t topic) write(w io.Writer) {
	var b strings.Builder
	t.text(&b)
	_, _ = io.WriteString(w, b.String())
}

// writeHelp is what rowbell says without arguments.
func writeHelp(w io.Writer) {
	var b strings.Builder
	b.WriteString("Rowbell rings when a row changes: it reads a PostgreSQL database's changes, matches\nthem against workflows written as SQL rows, and records each execution exactly once.\n\n")
	b.WriteString("Usage: rowbell COMMAND [OPTIONS]\n")
	for _, g := range groups {
		heading := "\n" + string(g) + ":\n"
		for _, c := range commands() {
			if c.isIn(g) {
				b.WriteString(heading)
				writeWrapped(&b, fmt.Sprintf("  %-20s ", strings.TrimSpace(c.name+" "+c.args)), c.short)
				heading = ""
			}
		}
	}
	b.WriteString("\nHelp:\n")
	for _, t := range topics() {
		writeWrapped(&b, fmt.Sprintf("  %-20s ", "help "+t.name), t.short)
	}
	b.WriteString("\nrowbell COMMAND --help tells more. New here? Try: rowbell demo\n")
	b.WriteString("\nThe database is named by ROWBELL_SOURCE_URL, or --source-url:\n  export ROWBELL_SOURCE_URL=postgres://rowbell:password@db.example.com:5432/shop\n")
	_, _ = io.WriteString(w, b.String())
}

func writeSettingsTopic(b *strings.Builder) {
	b.WriteString("Settings, as an option of any command, in the environment (ROWBELL_SOURCE_URL), or in the YAML\nfile that --config or ROWBELL_CONFIG names (source_url); the first that has one counts:\n")
	for _, s := range app.Settings() {
		name := "--" + s.Flag
		if !s.IsOption() {
			name = s.Env()
		}
		if s.Placeholder != "" {
			name += " " + s.Placeholder
		}
		help := s.Help
		if s.Default != "" && s.Placeholder != "" {
			help += " [" + s.Default + "]"
		}
		writeEntry(b, name, help)
	}
	b.WriteString("\nA password on a command line is seen by everyone on the machine: give URLs and keys in the\nenvironment or in the file.\n")
}

func writeOutputTopic(b *strings.Builder) {
	b.WriteString(`Every command that lists or shows something has --output:
  table   for people (if not given). It may change at any time, and on a terminal rows are cut to
          its width; in a file or a pipe everything is there.
  json    for programs; --json is the same. A list is an array, [] if there is nothing.
  yaml    the same as YAML.

Fields of JSON and YAML are called as the columns in SQL (docs/cli.md), and stay so: new ones may
come. Ids are texts, times are RFC 3339 in UTC; what there is none of is null or left out.
  rowbell delivery list --output json | jq -r '.[] | select(.attempts > 5) | .id'

Errors go to standard error. With --output json they are an object, too:
  {"error": "unknown option --statsu. Did you mean --status?",
   "mend": "See rowbell delivery list --help"}

Colours are used on terminals, but not if NO_COLOR is set or TERM is dumb. --color always and
--color never say otherwise.
`)
}

func writeExitCodes(b *strings.Builder) {
	b.WriteString("Exit codes:\n")
	for _, c := range exitCodes {
		writeWrapped(b, fmt.Sprintf("  %d  ", c.code), c.says)
	}
	b.WriteString("\nA second SIGTERM or Ctrl-C ends rowbell at once; the shell then shows 143 or 130.\n")
}

const helpWidth = 94

// writeEntry aligns the help of an option, and breaks it at helpWidth.
func writeEntry(b *strings.Builder, name, help string) {
	const indent = 32
	if len(name) > indent-3 {
		b.WriteString("  " + name + "\n")
		writeWrapped(b, strings.Repeat(" ", indent), help)
		return
	}
	writeWrapped(b, fmt.Sprintf("  %-*s", indent-2, name), help)
}

// writeWrapped writes a text behind what begins its first line, and the other lines below it.
func writeWrapped(b *strings.Builder, first, text string) {
	line, indent := first, columns.StringWidth(first)
	used := indent
	for i, word := range strings.Fields(text) {
		width := columns.StringWidth(word)
		if i > 0 && used+1+width > helpWidth {
			b.WriteString(line + "\n")
			line, used = strings.Repeat(" ", indent), indent
		} else if i > 0 {
			line += " "
			used++
		}
		line += word
		used += width
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
	if len(c.examples) > 0 {
		b.WriteString("\nExamples:\n")
		for _, e := range c.examples {
			if e.says != "" {
				b.WriteString("  # " + e.says + "\n")
			}
			b.WriteString("  " + e.line + "\n")
		}
	}
	if c.sub != nil {
		b.WriteString("\nCommands:\n")
		for _, s := range c.sub {
			writeEntry(&b, strings.TrimSpace(s.name+" "+s.args), s.short)
		}
		fmt.Fprintf(&b, "\nrowbell %s COMMAND --help tells more.\n", c.name)
	}
	if list := c.ownOptions(); len(list) > 0 {
		b.WriteString("\nOptions:\n")
		for _, o := range list {
			writeEntry(&b, strings.TrimSpace("--"+o.name+" "+o.placeholder), o.help)
		}
	}
	switch {
	case c.noSettings:
	case c.server:
		b.WriteString("\nWorks on the databases, or by a server: --server URL, or ROWBELL_SERVER. All settings count\nhere too; see rowbell help settings.\n")
	case c.sub == nil || c.run != nil:
		b.WriteString("\nWorks on the databases themselves, not by a server. All settings count here too; see rowbell\nhelp settings.\n")
	default:
		b.WriteString("\nAll settings count here too; see rowbell help settings.\n")
	}
	_, _ = io.WriteString(w, b.String())
}
