package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const cliPage = "../../docs/cli.md"

// The page about the command line has every command, with what it does and an example, and
// every exit code.
func TestCommandsPage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(cliPage)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for name, made := range map[string]string{"commands": commandTables(), "exit codes": exitCodeTable()} {
		before, rest, begins := strings.Cut(page, "<!-- "+name+": made by go test ./cmd/rowbell -run TestCommandsPage -update -->\n")
		was, _, ends := strings.Cut(rest, "<!-- end of "+name+" -->")
		if !begins || !ends {
			t.Fatalf("%s has no place for %s", cliPage, name)
		}
		if was != made {
			page = strings.Replace(page, was+"<!-- end of "+name, made+"<!-- end of "+name, 1)
			if !*update {
				t.Errorf("%s is stale (go test ./cmd/rowbell -run TestCommandsPage -update rewrites it): %s, behind\n%.200s", cliPage, name, before)
			}
		}
	}
	if *update {
		if err := os.WriteFile(cliPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func commandTables() string {
	var b strings.Builder
	row := func(name string, c command) {
		cell := strings.NewReplacer("|", `\|`)
		example := "" // TestExamples says so
		if len(c.examples) > 0 {
			example = "`" + cell.Replace(c.examples[0].line) + "`"
		}
		only := ""
		if !c.server && !c.noSettings {
			only = " *"
		}
		fmt.Fprintf(&b, "| `rowbell %s`"+only+" | %s | %s |\n", cell.Replace(strings.TrimSpace(name+" "+c.args)), cell.Replace(c.short), example)
	}
	for _, g := range groups {
		heading := "\n### " + string(g) + "\n\n| Command | What it does | For example |\n|---|---|---|\n"
		for _, c := range commands() {
			if !c.isIn(g) {
				continue
			}
			b.WriteString(heading)
			heading = ""
			if c.run != nil {
				row(c.name, c)
			}
			for _, s := range c.sub {
				row(c.name+" "+s.name, s)
			}
		}
	}
	b.WriteString("\n")
	return b.String()
}

func exitCodeTable() string {
	var b strings.Builder
	b.WriteString("\n| Code | Means |\n|---|---|\n")
	for _, c := range exitCodes {
		fmt.Fprintf(&b, "| %d | %s |\n", c.code, c.says)
	}
	b.WriteString("\n")
	return b.String()
}

// shellWords are the words of a command line up to its first pipe or redirection.
func shellWords(line string) []string {
	var words []string
	word, quote, in := "", rune(0), false
	for _, r := range line + " " {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word += string(r)
		case r == '\'' || r == '"':
			quote, in = r, true
		case r == '|' || r == '>':
			return words
		case r == ' ':
			if in || word != "" {
				words = append(words, word)
			}
			word, in = "", false
		default:
			word += string(r)
		}
	}
	return words
}

// Every command has an example, and every example is one that rowbell takes.
func TestExamples(t *testing.T) {
	t.Parallel()
	var all []command
	for _, c := range commands() {
		all = append(all, c)
		for _, s := range c.sub {
			s.name = c.name + " " + s.name
			all = append(all, s)
		}
	}
	for _, c := range all {
		if len(c.examples) == 0 {
			t.Errorf("rowbell %s has no example", c.name)
		}
		if c.sub == nil && c.group != "" && strings.Contains(c.name, " ") {
			t.Errorf("rowbell %s is listed below its command; it needs no group", c.name)
		}
		if c.group != "" && !slices.Contains(groups, c.group) {
			t.Errorf("rowbell %s is in the group %q, which is nowhere listed", c.name, c.group)
		}
		for _, e := range c.examples {
			if !strings.Contains(e.line, "rowbell "+c.name) {
				t.Errorf("rowbell %s: %q is an example of something else", c.name, e.line)
			}
			line := strings.TrimSuffix(strings.TrimPrefix(e.line, "source <("), ")")
			words := shellWords(line)
			if len(words) < 2 || words[0] != "rowbell" {
				t.Errorf("%q doesn't call rowbell", e.line)
				continue
			}
			called, err := find(commands(), "", words[1])
			rest := words[2:]
			if err == nil && called.sub != nil && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
				called, err = find(called.sub, called.name, rest[0])
				rest = rest[1:]
			}
			if err == nil {
				_, err = called.parse(rest)
			}
			if err != nil {
				t.Errorf("%q: %v", e.line, err)
			}
		}
	}
}

// The exit codes are what the help says.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	r := rowbell(t, nil, "help", "exit-codes")
	for _, c := range exitCodes {
		if !strings.Contains(r.stdout, "  "+strconv.Itoa(c.code)+"  ") {
			t.Errorf("%d isn't in\n%s", c.code, r.stdout)
		}
	}
	for want, args := range map[int][][]string{
		exitOK:    {{"version"}, {"help"}, {"run", "--help"}, {"help", "workflow", "list"}, {"completion", "bash"}},
		exitError: {{"workflow", "list", "--source-url", "postgres://rowbell@127.0.0.1:1/shop"}},
		exitUsage: {{}, {"nothing"}, {"workflow"}, {"version", "--nothing"}, {"workflow", "list"}, {"help", "nothing"}},
	} {
		for _, words := range args {
			if r := rowbell(t, nil, words...); r.code != want {
				t.Errorf("rowbell %v exits with %d, want %d: %s", words, r.code, want, r.stderr)
			}
		}
	}
}
