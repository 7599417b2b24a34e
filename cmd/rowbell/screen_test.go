package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// onTerminal runs the program on a terminal of so many columns, answers what it asks, and
// returns all that stood on it.
func onTerminal(t *testing.T, columns uint16, env []string, answer string, args ...string) (code int, shown string) {
	t.Helper()
	cmd := program(t, append([]string{"TERM=xterm", "NO_COLOR="}, env...), args...)
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: columns})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tty.Close() }()
	if answer != "" {
		if _, err := io.WriteString(tty, answer); err != nil {
			t.Fatal(err)
		}
	}
	all, _ := io.ReadAll(tty) // Linux says EIO when the program has ended
	_ = cmd.Wait()            // its code tells
	return cmd.ProcessState.ExitCode(), strings.ReplaceAll(string(all), "\r\n", "\n")
}

var sgr = regexp.MustCompile("\x1b\\[[0-9;]*m")

// Tables are cut to a terminal's width, and aligned there whatever characters they have;
// in a pipe everything is in them.
func TestTableWidth(t *testing.T) {
	t.Parallel()
	db := migrated(t)
	env := []string{"ROWBELL_SOURCE_URL=" + db.URL, "TZ=UTC"}
	wants(t, rowbell(t, env, "migrate"), 0)
	long := strings.Repeat("far too long a name ", 20)
	db.Exec(t, `insert into rowbell.workflow_definition (id, tenant_id, name) values
		('a-rather-long-id-that-somebody-will-want-to-copy', 'acme', $1), ('wide', '漢字', '注文が承認された 🔔'), ('e', 'acme', E'cafe\u0301\ttab')`, long)
	for _, width := range []uint16{200, 120, 100, 80} {
		code, shown := onTerminal(t, width, env, "", "workflow", "list")
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, shown)
		}
		lines := strings.Split(strings.TrimSuffix(sgr.ReplaceAllString(shown, ""), "\n"), "\n")
		if len(lines) != 4 {
			t.Errorf("at %d columns it has %d lines:\n%s", width, len(lines), shown)
		}
		at := strings.Index(lines[0], "STATUS")
		for _, line := range lines[1:] {
			const least = 102 // with an id of 48, and the name as narrow as it may be
			if w := columns.StringWidth(line); w > max(int(width), least) {
				t.Errorf("at %d columns a line has %d:\n%s", width, w, line)
			}
			before, _, _ := strings.Cut(line, "draft ")
			if columns.StringWidth(before) != at {
				t.Errorf("at %d columns draft stands in column %d, and its header in %d:\n%s", width, columns.StringWidth(before), at, shown)
			}
		}
		if !strings.Contains(shown, "a-rather-long-id-that-somebody-will-want-to-copy") || !strings.Contains(shown, "…") {
			t.Errorf("at %d columns:\n%s", width, shown)
		}
	}
	if r := rowbell(t, env, "workflow", "list"); !strings.Contains(r.stdout, strings.TrimSpace(long)) || strings.Contains(r.stdout, "…") {
		t.Errorf("in a pipe it is\n%s", r.stdout)
	}
}

func TestFit(t *testing.T) {
	t.Parallel()
	const when = "2026-11-26 15:35:51"
	rows := [][]string{{"ID", "NAME", "WHEN", "A HEADER THAT IS LONG"}, {"a", "b", when, "c"}, {"aa", "bb", when, "cc"}}
	first, then := leasts(rows, widthsOf(rows))
	if fmt.Sprint(first, then) != "[12 12 19 21] [12 12 12 21]" {
		t.Errorf("columns may become as narrow as %v, then %v", first, then)
	}
	for _, c := range []struct {
		widths []int
		width  int
		want   []int
	}{
		{[]int{10, 20, 30}, 80, []int{10, 20, 30}},
		{[]int{10, 20, 30}, 60, []int{10, 20, 26}},
		{[]int{10, 40, 40}, 74, []int{10, 30, 30}},
		{[]int{10, 40, 40}, 40, []int{10, 12, 21}},
		{[]int{99, 14, 21}, 40, []int{99, 12, 21}},
		{[]int{99}, 40, []int{99}},
	} {
		got := append([]int{}, c.widths...)
		fit(got, []int{0, 12, 21}, c.width)
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%v in %d columns become %v, want %v", c.widths, c.width, got, c.want)
		}
	}
}

// Colours are for terminals, unless somebody has said otherwise.
func TestColours(t *testing.T) {
	t.Parallel()
	db, _ := shop(t)
	url := "ROWBELL_SOURCE_URL=" + db.URL
	for _, c := range []struct {
		env  []string
		args []string
		want bool
	}{
		{nil, nil, true},
		{[]string{"NO_COLOR=1"}, nil, false},
		{[]string{"TERM=dumb"}, nil, false},
		{nil, []string{"--color", "never"}, false},
		{[]string{"NO_COLOR=1"}, []string{"--color=always"}, true},
		{nil, []string{"--color", "auto"}, true},
		{nil, []string{"--output", "json"}, false},
		{nil, []string{"--output", "yaml", "--color", "always"}, false},
	} {
		code, shown := onTerminal(t, 120, append(c.env, url), "", append([]string{"workflow", "list"}, c.args...)...)
		if code != 0 || strings.Contains(shown, "\x1b[32mactive\x1b[0m") != c.want || sgr.MatchString(shown) != c.want {
			t.Errorf("%v %v: exit code %d\n%q", c.env, c.args, code, shown)
		}
	}
	for _, args := range [][]string{{"workflow", "list"}, {"check"}, {"workflow", "show", "big"}} {
		if r := rowbell(t, []string{url}, args...); sgr.MatchString(r.stdout + r.stderr) {
			t.Errorf("in a pipe rowbell %v has colours", args)
		}
		if r := rowbell(t, []string{url}, append(args, "--color", "always")...); !sgr.MatchString(r.stdout) {
			t.Errorf("rowbell %v --color always has none", args)
		}
	}
}

// What can't be taken back is asked for on a terminal, and needs --yes elsewhere.
func TestConfirm(t *testing.T) {
	t.Parallel()
	db, _ := shop(t)
	env := []string{"ROWBELL_SOURCE_URL=" + db.URL}
	footer := write(t, "footer.liquid", "Bye.")
	wants(t, rowbell(t, env, "template", "set", "footer", footer), 0)
	left := func() int { return pgtest.One[int](t, db, `select count(*)::int from rowbell.template`) }
	for _, answer := range []string{"n\n", "\n", "nyet\n", "\x04"} { // Ctrl-D: no answer
		code, shown := onTerminal(t, 100, env, answer, "template", "delete", "footer")
		if code != exitError || !strings.Contains(shown, "This would delete template footer, all languages.\nGo on? [y/N] ") || !strings.Contains(shown, "rowbell: nothing was done\n") || left() != 1 {
			t.Errorf("%q: exit code %d, %d templates\n%s", answer, code, left(), shown)
		}
	}
	wants(t, rowbell(t, env, "template", "delete", "footer"), exitUsage, "this would delete template footer, all languages. Add --yes to do it")
	if code, shown := onTerminal(t, 100, env, "y\n", "template", "delete", "footer"); code != 0 || left() != 0 {
		t.Errorf("exit code %d, %d templates\n%s", code, left(), shown)
	}
	wants(t, rowbell(t, env, "template", "set", "footer", footer), 0)
	wants(t, rowbell(t, env, "template", "delete", "footer", "--yes"), 0)
	// Deployments run these two without a terminal, by the manual's advice.
	if code, shown := onTerminal(t, 100, env, "n\n", "resync"); code != exitError || !strings.Contains(shown, "This would give up all changes that have not been read yet.") {
		t.Errorf("resync: exit code %d\n%s", code, shown)
	}
	if code, shown := onTerminal(t, 100, env, "n\n", "adopt", "--discard-pending"); code != exitError || !strings.Contains(shown, "This would cancel all deliveries that are pending.") {
		t.Errorf("adopt: exit code %d\n%s", code, shown)
	}
	// What it would do is shown before it is asked, also to who keeps the data that is written.
	small := write(t, "small.yaml", "id: small\ntenant_id: acme\nname: Small orders\n")
	for _, args := range [][]string{{"workflow", "apply", small}, {"workflow", "apply", small, "--json"}} {
		code, shown := onTerminal(t, 100, env, "n\n", args...)
		if code != exitError || !strings.Contains(shown, "create workflow small (Small orders) of tenant acme") || !strings.Contains(shown, "This would do the above.\nGo on? [y/N] ") || strings.Contains(shown, "created") {
			t.Errorf("%v: exit code %d\n%s", args, code, shown)
		}
	}
	if code, shown := onTerminal(t, 100, env, "y\n", "workflow", "apply", small); code != 0 || !strings.Contains(shown, "created workflow small") {
		t.Errorf("workflow apply: exit code %d\n%s", code, shown)
	}
	if code, shown := onTerminal(t, 100, env, "", "workflow", "apply", small); code != 0 || strings.Contains(shown, "Go on?") {
		t.Errorf("with nothing to do: exit code %d\n%s", code, shown)
	}
	if code, shown := onTerminal(t, 100, env, "n\n", "tenant", "delete", "acme"); code != exitError || !regexp.MustCompile(`workflows +2, of them active: 1`).MatchString(sgr.ReplaceAllString(shown, "")) || !strings.Contains(shown, "This would delete tenant acme for ever") {
		t.Errorf("tenant delete: exit code %d\n%s", code, shown)
	}
	if code, shown := onTerminal(t, 100, env, "n\n", "erase", "row", "orders", "1"); code != exitError || !strings.Contains(shown, "This would erase for ever what there is of orders 1.") {
		t.Errorf("erase: exit code %d\n%s", code, shown)
	}
	if n := pgtest.One[int](t, db, `select count(*)::int from rowbell.workflow_definition`); n != 2 {
		t.Errorf("%d workflows are left", n)
	}
	if code, shown := onTerminal(t, 100, env, "n\n", "uninstall"); code != exitError || !strings.Contains(shown, "This would drop slot rowbell") {
		t.Errorf("uninstall: exit code %d\n%s", code, shown)
	}
}

// Long work shows how far it is: as a bar on a terminal, and in words elsewhere.
func TestProgress(t *testing.T) {
	t.Parallel()
	db, _ := shop(t)
	env := []string{"ROWBELL_SOURCE_URL=" + db.URL, "ROWBELL_SLOT=" + pgtest.Slot(t, db)}
	db.Exec(t, `create table one (id int primary key); create table two (id int primary key)`)
	code, shown := onTerminal(t, 100, env, "", "capture", "one", "two", "none")
	for _, want := range []string{"one is captured.\n", "two is captured.\n", "Capturing", "none"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q isn't in %q", want, shown)
		}
	}
	if code != exitError || !regexp.MustCompile(`Capturing +\d+% `).MatchString(shown) {
		t.Errorf("exit code %d, %q", code, shown)
	}
	r := rowbell(t, env, "capture", "one", "two")
	if r.code != 0 || r.stdout != "one is captured.\ntwo is captured.\n" || r.stderr != "" {
		t.Errorf("in a pipe: %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	if r = rowbell(t, env, "resync"); r.code != 0 || !strings.Contains(r.stderr, "Capturing tables again: 3 of 3, two …\n") || !strings.Contains(r.stderr, "Making the slot anew") || !strings.HasPrefix(r.stdout, "Reading goes on from ") {
		t.Errorf("in a pipe: %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	code, shown = onTerminal(t, 100, env, "y\n", "uninstall")
	if code != 0 || !strings.Contains(shown, "Nothing of Rowbell's is left.") {
		t.Errorf("exit code %d, %q", code, shown)
	}
	// What stands there at the end is what was said, without a bar.
	last := shown[strings.LastIndex(shown, "\r")+1:]
	if last = strings.TrimPrefix(last, "\x1b[2K"); !strings.HasPrefix(last, "Nothing of Rowbell's is left.") {
		t.Errorf("at the end stands %q", last)
	}
}

// Somebody waits for a replay, and sees how far it is.
func TestReplayWait(t *testing.T) {
	t.Parallel()
	_, env := busyShop(t)
	code, shown := onTerminal(t, 120, env, "", "replay", "--workflow", "hook", "--since", "1h", "--yes", "--wait", "--rate", "1/s")
	if code != 0 || !strings.Contains(shown, "Replay 1") || !regexp.MustCompile(`done +2 of 2`).MatchString(sgr.ReplaceAllString(shown, "")) || !strings.Contains(shown, "%") {
		t.Errorf("exit code %d, %q", code, shown)
	}
	// Who leaves is told that it goes on.
	cmd := program(t, env, "replay", "--workflow", "restocked", "--since", "1h", "--status", "all", "--yes", "--wait", "--rate", "1/h")
	var b lockedBuffer
	cmd.Stderr = &b
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, pgtest.Patience, "the replay to be there", func() bool {
		return strings.Contains(rowbell(t, env, "replay", "list").stdout, "running")
	})
	time.Sleep(time.Second) // it hasn't noted the start in the audit log yet, maybe
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait() // its code tells
	if cmd.ProcessState.ExitCode() != exitError || !regexp.MustCompile(`replay 2 goes on, at [01] of 2; see rowbell replay show 2`).MatchString(b.String()) {
		t.Errorf("exit code %d, %q", cmd.ProcessState.ExitCode(), b.String())
	}
}
