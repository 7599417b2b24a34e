package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/definition"
)

const codePage = "../../docs/workflows-as-code.md"

// What the manual of files shows is what the commands print, on the files that it shows.
func TestWorkflowsAsCodeManual(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(codePage)
	if err != nil {
		t.Fatal(err)
	}
	db, _ := shop(t)
	db.Exec(t, `delete from rowbell.workflow_definition`)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "workflows"), 0o700); err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```(\\w+)([^\n]*)\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	named := regexp.MustCompile(`file=(\S+)( change)?`)
	file := func(info string) (path string, change bool) {
		m := named.FindStringSubmatch(info)
		if m == nil {
			return "", false
		}
		return filepath.Join(dir, m[1]), m[2] != ""
	}
	for _, b := range blocks {
		if path, change := file(b[2]); path != "" && !change {
			if err := os.WriteFile(path, []byte(b[3]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	env := []string{"ROWBELL_SOURCE_URL=" + db.URL, "TZ=UTC"}
	masked := func(s string) string {
		return strings.TrimSpace(regexp.MustCompile(`"01[0-9A-Z]{24}"`).ReplaceAllString(s, `"…"`))
	}
	commands := 0
	for _, b := range blocks {
		if path, change := file(b[2]); change {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			key, _, _ := strings.Cut(b[3], ":")
			line := regexp.MustCompile(`(?m)^` + key + `:.*\n`)
			if !line.Match(text) {
				t.Errorf("%s: %s has no line %q", codePage, path, key)
			}
			if err := os.WriteFile(path, line.ReplaceAll(text, []byte(b[3])), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if b[1] != "console" {
			continue
		}
		for shot := range strings.SplitSeq(strings.TrimPrefix("\n"+b[3], "\n$ rowbell "), "\n$ rowbell ") {
			command, want, _ := strings.Cut(shot, "\n")
			commands++
			cmd := program(t, env, strings.Fields(command)...)
			cmd.Dir = dir
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			_ = cmd.Run() // some of them find differences
			if got := masked(out.String()); got != masked(want) {
				t.Errorf("rowbell %s gives\n%s\nand %s shows\n%s", command, got, codePage, want)
			}
		}
	}
	if commands < 6 {
		t.Errorf("%s shows %d commands", codePage, commands)
	}

	// Every key has its line.
	for _, key := range slices.Concat(definition.Keys()...) {
		if !strings.Contains(string(page), "| `"+key+"`") && !strings.Contains(string(page), ", `"+key+"`") {
			t.Errorf("%s doesn't tell of key %s", codePage, key)
		}
	}
}
