package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// asProgram makes this test binary be the program, in a process of its own.
const asProgram = "BE_ROWBELL"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main() // never returns
	}
	flag.Parse()
	pgtest.Main(m)
}

// program is rowbell with these arguments, and with nothing of this process's settings.
func program(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(cleanEnv(), asProgram+"=1")
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

type result struct {
	code           int
	stdout, stderr string
}

// rowbell runs the program to its end.
func rowbell(t *testing.T, env []string, args ...string) result {
	t.Helper()
	cmd := program(t, env, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

func cleanEnv() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "ROWBELL_") && !strings.HasPrefix(v, "PG") {
			env = append(env, v)
		}
	}
	return env
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("it differs from %s (go test ./cmd/rowbell -update rewrites it):\n%s", path, got)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"--help"}, {"-h"}, {"help"}} {
		r := rowbell(t, nil, args...)
		if want := min(1-len(args), 1) * 2; len(args) == 0 && r.code != want || len(args) > 0 && r.code != 0 {
			t.Errorf("rowbell %v exits with %d", args, r.code)
		}
		golden(t, "help.txt", r.stdout)
	}
	for _, topic := range topics() {
		r := rowbell(t, nil, "help", topic.name)
		if r.code != 0 {
			t.Errorf("rowbell help %s exits with %d", topic.name, r.code)
		}
		golden(t, "topic-"+topic.name+".txt", r.stdout)
		fits(t, "rowbell help "+topic.name, r.stdout)
	}
	fits(t, "rowbell help", rowbell(t, nil, "help").stdout)
	var all [][]string
	for _, c := range commands() {
		all = append(all, []string{c.name})
		for _, s := range c.sub {
			all = append(all, []string{c.name, s.name})
		}
	}
	for _, words := range all {
		name := strings.Join(words, " ")
		r := rowbell(t, nil, append(words, "--help")...)
		if r.code != 0 {
			t.Errorf("rowbell %s --help exits with %d", name, r.code)
		}
		golden(t, "help-"+strings.Join(words, "-")+".txt", r.stdout)
		fits(t, "rowbell "+name+" --help", r.stdout)
	}
}

// fits says which lines are too wide for a terminal of 100 columns.
func fits(t *testing.T, what, text string) {
	t.Helper()
	for i, line := range strings.Split(text, "\n") {
		if columns.StringWidth(line) > 100 {
			t.Errorf("%s, line %d is wider than 100 columns", what, i+1)
		}
	}
}

func TestCalledWrongly(t *testing.T) {
	t.Parallel()
	const url = "ROWBELL_SOURCE_URL=postgres://rowbell:hunter2@127.0.0.1:1/shop"
	for name, c := range map[string]struct {
		env  []string
		args []string
		want string // the whole of stderr
	}{
		"unknown command": {nil, []string{"rum"}, "rowbell: \"rum\" is not a command. Did you mean run?\nSee rowbell --help\n"},
		"strange command": {nil, []string{"frobnicate"}, "rowbell: \"frobnicate\" is not a command.\nSee rowbell --help\n"},
		"option first":    {nil, []string{"--slot", "a", "run"}, "rowbell: a command must stand before --slot.\nSee rowbell --help\n"},
		"unknown option":  {nil, []string{"run", "--slto", "a"}, "rowbell: unknown option --slto. Did you mean --slot?\nSee rowbell run --help\n"},
		"one dash":        {nil, []string{"run", "-slot", "a"}, "rowbell: unknown option -slot. Options are written with two dashes\nSee rowbell run --help\n"},
		"no value":        {nil, []string{"run", "--slot"}, "rowbell: --slot wants a value: --slot NAME\nSee rowbell run --help\n"},
		"a flag instead":  {nil, []string{"run", "--slot", "--no-migrate"}, "rowbell: --slot wants a value: --slot NAME\nSee rowbell run --help\n"},
		"twice":           {nil, []string{"run", "--slot", "a", "--slot=b"}, "rowbell: --slot is given twice\nSee rowbell run --help\n"},
		"value too many":  {nil, []string{"check", "--json=yes"}, "rowbell: --json takes no value\nSee rowbell check --help\n"},
		"argument missing": {
			nil,
			[]string{"capture"},
			"rowbell: TABLE is missing. Write: rowbell capture TABLE…\nSee rowbell capture --help\n",
		},
		"argument too many": {
			nil,
			[]string{"delivery", "show", "a", "b"},
			"rowbell: \"b\" is one argument too many. Write: rowbell delivery show ID\nSee rowbell delivery show --help\n",
		},
		"not another's option": {nil, []string{"run", "--print"}, "rowbell: unknown option --print.\nSee rowbell run --help\n"},
		"no settings": {
			nil,
			[]string{"run"},
			"rowbell: ROWBELL_SOURCE_URL (--source-url): not set. Give the URL of the application's database, as postgres://rowbell:password@db.example.com:5432/shop\nSee rowbell help settings\n",
		},
		"several settings": {
			[]string{url},
			[]string{"run", "--slot", "A", "--capture", "b"},
			"rowbell: several things are wrong:\n" +
				"  - ROWBELL_SLOT (--slot): \"A\" can't be a slot's name. Use 1 to 63 lower-case letters, digits and underscores\n" +
				"  - ROWBELL_CAPTURE (--capture): \"b\" is not a mode. Use auto or manual\nSee rowbell help settings\n",
		},
		"nothing to retry":    {nil, []string{"delivery", "retry"}, "rowbell: ID is missing. Write: rowbell delivery retry ID…\nSee rowbell delivery retry --help\n"},
		"no such status":      {nil, []string{"delivery", "list", "--status", "ded"}, "rowbell: there is no status \"ded\"; it is dead, cancelled, retrying, pending, succeeded or all\nSee rowbell delivery list --help\n"},
		"row without key":     {nil, []string{"delivery", "list", "--row", "orders"}, "rowbell: the row's key is missing. Write: --row orders KEY\nSee rowbell delivery list --help\n"},
		"strange time":        {nil, []string{"delivery", "list", "--since", "yesterday"}, "rowbell: --since wants a time as 2026-01-31T10:00:00Z, or how long ago, as 90m, 12h or 7d, not \"yesterday\"\nSee rowbell delivery list --help\n"},
		"strange limit":       {nil, []string{"delivery", "list", "--limit", "0"}, "rowbell: --limit wants a number from 1 to 1000, not \"0\"\nSee rowbell delivery list --help\n"},
		"nothing to replay":   {nil, []string{"replay", "--since", "1h"}, "rowbell: nothing to replay. Give --workflow ID, or --tenant ID for all of a tenant's\nSee rowbell replay --help\n"},
		"replay of all times": {nil, []string{"replay", "--workflow", "a"}, "rowbell: from when on? Give --since TIME, as 2026-01-31T10:00:00Z or 24h\nSee rowbell replay --help\n"},
		"strange rate":        {nil, []string{"replay", "--workflow", "a", "--since", "1d", "--rate", "fast"}, "rowbell: --rate: \"fast\" is not a rate; write 50/s, 10/m or 600/h\nSee rowbell replay --help\n"},
		"strange version":     {nil, []string{"replay", "--workflow", "a", "--since", "1d", "--as", "new"}, "rowbell: --as is recorded (the version that applied) or current, not \"new\"\nSee rowbell replay --help\n"},
		"strange replay":      {nil, []string{"replay", "show", "x"}, "rowbell: \"x\" is not the number of a replay; see rowbell replay list\nSee rowbell replay --help\n"},
		"not of replay":       {nil, []string{"replay", "shwo"}, "rowbell: \"shwo\" is not a command of rowbell replay. Did you mean show?\nSee rowbell replay --help\n"},
		"adopt undecided":     {[]string{url}, []string{"adopt"}, "rowbell: say what becomes of pending deliveries: either --discard-pending or --keep\nSee rowbell adopt --help\n"},
		"uninstall unsure": {
			[]string{url},
			[]string{"uninstall"},
			"rowbell: this would drop slot rowbell, publications rowbell and rowbell_insert, and schema rowbell with all workflows and the log, in database shop at 127.0.0.1:1 as rowbell. Add --yes to do it\nSee rowbell uninstall --help\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rowbell(t, c.env, c.args...)
			if r.code != 2 || r.stderr != c.want || r.stdout != "" {
				t.Errorf("exit code %d, stderr\n%swant 2 and\n%sstdout %q", r.code, r.stderr, c.want, r.stdout)
			}
		})
	}
}

// A server that can't be reached is one clear message, whatever was to be done.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	env := []string{"ROWBELL_SOURCE_URL=postgres://rowbell:hunter2@" + closed + "/shop", "ROWBELL_LISTEN=127.0.0.1:0", "ROWBELL_OPS_LISTEN=127.0.0.1:0"}
	for _, args := range [][]string{{"run"}, {"migrate"}, {"capture", "orders"}, {"resync"}, {"adopt", "--keep"}, {"uninstall", "--yes"}, {"check"}} {
		t.Run(args[0], func(t *testing.T) {
			t.Parallel()
			r := rowbell(t, env, args...)
			all := r.stdout + r.stderr
			if r.code != 1 {
				t.Errorf("exit code %d, want 1", r.code)
			}
			if !strings.Contains(all, "nothing answers at "+closed) {
				t.Errorf("it doesn't say that nothing answers:\n%s", all)
			}
			for _, never := range []string{"hunter2", "dial tcp", "failed to connect", "goroutine ", "panic", "%!"} {
				if strings.Contains(all, never) {
					t.Errorf("%q is in the message:\n%s", never, all)
				}
			}
		})
	}
}

func TestCheckJSON(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	r := rowbell(t, []string{"ROWBELL_SOURCE_URL=" + db.URL}, "check", "--json")
	var report struct {
		Findings []struct {
			Check, Level, Message string
			Mend                  []string
		}
	}
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatalf("%v in\n%s%s", err, r.stdout, r.stderr)
	}
	levels := map[string]string{}
	for _, f := range report.Findings {
		levels[f.Check] = f.Level
	}
	if levels["wal_level"] != "ok" || levels["connection"] != "ok" {
		t.Errorf("found %v", levels)
	}
}

func TestMigrateAndVersion(t *testing.T) {
	t.Parallel()
	r := rowbell(t, nil, "migrate", "--print")
	if r.code != 0 || !strings.Contains(r.stdout, "create table rowbell.workflow_definition") || r.stderr != "" {
		t.Errorf("migrate --print exits with %d and stderr %q", r.code, r.stderr)
	}
	db := pgtest.DB(t)
	for range 2 {
		r = rowbell(t, []string{"ROWBELL_SOURCE_URL=" + db.URL}, "migrate")
		if r.code != 0 || r.stdout != "The schema is up to date.\n" {
			t.Errorf("migrate exits with %d, %q, %q", r.code, r.stdout, r.stderr)
		}
	}
	if r = rowbell(t, nil, "version"); r.code != 0 || !strings.HasPrefix(r.stdout, "rowbell ") {
		t.Errorf("version exits with %d, %q", r.code, r.stdout)
	}
}
