package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// completions is what a shell is told, without what each word means, and how it is to take
// it.
func completions(t *testing.T, env []string, words ...string) (list []string, directive string) {
	t.Helper()
	r := rowbell(t, env, append([]string{completeWord}, words...)...)
	if r.code != 0 || r.stderr != "" {
		t.Errorf("%v: exit code %d, %s", words, r.code, r.stderr)
	}
	for line := range strings.Lines(r.stdout) {
		word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if strings.HasPrefix(word, ":") {
			return list, word[1:]
		}
		list = append(list, word)
	}
	t.Errorf("%v: it doesn't end with a directive: %q", words, r.stdout)
	return nil, ""
}

func TestCompletions(t *testing.T) {
	t.Parallel()
	db, _ := shop(t)
	db.Exec(t, `create table suppliers (id int primary key); insert into rowbell.template (name, source) values ('footer', 'x')`)
	db.Exec(t, `insert into rowbell.workflow_definition (id, name, tenant_id) values ('big one', 'With a space', 'globex'), ('small', E'two\nlines', null)`)
	const id, revoked = "01M8ACT0GY5N3C8Q7V2T4B9D6E", "01M8ACT0GY5N3C8Q7V2T4B9D6F"
	db.Exec(t, `insert into rowbell.pause (id, kind) values ('`+id+`', 'email');
		insert into rowbell.api_key (id, hash, roles, revoked_at, revoked_by) values ('`+id+`', sha256('x'), '{viewer}', null, null), ('`+revoked+`', sha256('y'), '{viewer}', now(), 'ann');
		insert into rowbell.link_key (id, public_key, roles) values ('`+id+`', 'x', '{viewer}');
		insert into rowbell.member (id, issuer, subject, roles) values ('`+id+`', 'https://login.example.com', 'ann', '{viewer}')`)
	env := []string{"ROWBELL_SOURCE_URL=" + db.URL}
	for line, want := range map[string]string{
		"":                                    "help run demo check migrate capture workflow",
		"wo":                                  "workflow",
		"--":                                  "--help --version",
		"help e":                              "exit-codes erase",
		"help workflow sh":                    "show",
		"workflow ":                           "list show statistics",
		"workflow d":                          "diff draft deactivate discard depends",
		"workflow show ":                      "big|big one|small",
		"workflow show b":                     "big|big one",
		"workflow show nothing":               "",
		"workflow check ":                     "big|big one|small", // and files
		"workflow show big ":                  "",
		"workflow list --t":                   "--tenant",
		"workflow list --tenant ":             "acme globex none",
		"workflow list --status ":             "draft active inactive",
		"workflow list --status=a":            "active",
		"workflow list --status a --":         "--tenant --output --json --color --help",
		"workflow list --output ":             "table json yaml",
		"workflow list --color=n":             "never",
		"workflow list --log-level ":          "debug info warn error",
		"workflow list --read":                "--read-coalescing",
		"run --delivery r":                    "redirect:",
		"workflow depends o":                  "orders",
		"workflow explain ":                   "orders",
		"capture s":                           "suppliers",
		"capture orders ":                     "customers suppliers",
		"template show ":                      "footer",
		"template set footer ":                "", // files
		"template preview x --as ":            "create update delete",
		"template preview x --channel=h":      "html",
		"preference set ann ":                 "on off default",
		"preference set ann on --channel ":    "email notification",
		"delivery list --workflow s":          "small",
		"replay --workflow small,b":           "small,big|small,big one",
		"replay --status ":                    "failure cancelled success all",
		"replay ":                             "list show cancel",
		"completion ":                         "bash zsh fish powershell",
		"version --":                          "--output --json --color --help",
		"workflow nothing ":                   "",
		"nothing ":                            "",
		"workflow list --nothing ":            "",
		"workflow show -- ":                   "big|big one|small",
		"storm release ":                      "big|big one|small",
		"workflow export ":                    "big|big one|small",
		"workflow export --in":                "--into",
		"workflow apply x --tenant g":         "globex",
		"pause --kind e":                      "email",
		"pause --workflow s":                  "small",
		"resume ":                             id,
		"tail --status f":                     "failure",
		"tail --output y":                     "yaml",
		"key revoke ":                         id,
		"link revoke ":                        id,
		"member remove ":                      id,
		"tenant delete g":                     "globex",
		"erase row o":                         "orders",
		"audit list --tenant n":               "none",
		"workflow show --source-url nowhere ": "", // the URL on the line counts
	} {
		words := strings.Split(line, " ")
		got, _ := completions(t, env, words...)
		wanted := strings.Fields(want)
		if strings.Contains(want, "|") {
			wanted = strings.Split(want, "|")
		}
		if line == "" || line == "workflow " {
			got = got[:min(len(got), len(wanted))]
		}
		if strings.Join(got, "|") != strings.Join(wanted, "|") {
			t.Errorf("rowbell %s offers %q, want %q", line, got, wanted)
		}
	}
	for line, want := range map[string]string{"workflow check x": "0", "template set footer ": "0", "run --config ": "0", "run --delivery redi": "38", "workflow show ": "36"} {
		if _, directive := completions(t, env, strings.Split(line, " ")...); directive != want {
			t.Errorf("rowbell %s: directive %s, want %s", line, directive, want)
		}
	}
	// Every option of every command that takes few words says which.
	for _, c := range every() {
		for name, values := range c.values {
			line := append(strings.Fields(c.name), "--"+name, "")
			if strings.ToUpper(name) == name {
				line = append(strings.Fields(c.name), "")
			}
			if got, _ := completions(t, nil, line...); strings.Join(got, " ") != strings.Join(values, " ") {
				t.Errorf("rowbell %s offers %q, want %q", strings.Join(line, " "), got, values)
			}
		}
	}
}

// Without a database, or with one that doesn't answer, there are no names, quickly and
// without a word.
func TestCompletionsWithoutDatabase(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // it takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	for name, env := range map[string][]string{
		"no URL":      nil,
		"a wrong URL": {"ROWBELL_SOURCE_URL=nonsense"},
		"nobody":      {"ROWBELL_SOURCE_URL=postgres://rowbell@127.0.0.1:1/shop"},
		"no answer":   {"ROWBELL_SOURCE_URL=postgres://rowbell@" + l.Addr().String() + "/shop"},
	} {
		began := time.Now()
		if got, _ := completions(t, env, "workflow", "show", ""); len(got) > 0 {
			t.Errorf("%s: %q", name, got)
		}
		if took := time.Since(began); took > completeWithin+5*time.Second {
			t.Errorf("%s: it took %s", name, took)
		}
	}
}

// shell is a real shell on a terminal of its own.
type shell struct {
	t   *testing.T
	dir string // in which it is
	tty *os.File
	out chan string
}

// startShell starts a shell that has rowbell in its path, and bound Ctrl-G to show what
// stands on its line between « and ».
func startShell(t *testing.T, env []string, path string, args ...string) *shell {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := "#!/bin/sh\n" + asProgram + "=1 exec '" + self + "' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "rowbell"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	cmd.Env = append(cleanEnv(), "HOME="+dir, "ZDOTDIR="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir, "TERM=xterm", "HISTFILE=/dev/null", "LANG=C.UTF-8", "PATH="+dir+":"+os.Getenv("PATH"))
	cmd.Env = append(cmd.Env, env...)
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: 200})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	s := &shell{t, dir, tty, make(chan string, 1000)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		b := make([]byte, 4096)
		for {
			n, err := tty.Read(b)
			if n > 0 {
				s.out <- string(b[:n])
			}
			if err != nil { // it has ended
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		_ = tty.Close()
		<-read
	})
	return s
}

func (s *shell) write(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.tty, text); err != nil {
		s.t.Fatal(err)
	}
}

// until reads what the shell writes until a text comes, and returns all of it.
func (s *shell) until(text string) string {
	s.t.Helper()
	got := ""
	timeout := time.After(pgtest.Patience)
	for !strings.Contains(got, text) {
		select {
		case more := <-s.out:
			got += more
		case <-timeout:
			s.t.Fatalf("%q doesn't come; the shell wrote\n%q", text, got)
		}
	}
	return got
}

// completes types a line and a tab, and returns what stands there then.
func (s *shell) completes(line string) string {
	s.t.Helper()
	s.write("\x15" + line + "\t") // Ctrl-U: from an empty line
	s.write("\x07")
	got := s.until("»")
	i := strings.LastIndex(got, "«")
	if i < 0 {
		s.t.Fatalf("the line isn't in %q", got)
	}
	got, _, _ = strings.Cut(got[i+len("«"):], "»")
	return got
}

func TestShells(t *testing.T) {
	t.Parallel()
	db, _ := shop(t)
	const evil = "x'\"`touch hacked`$(touch hacked);touch hacked"
	db.Exec(t, `insert into rowbell.workflow_definition (id, name) values ($1, $1)`, evil)
	env := []string{"ROWBELL_SOURCE_URL=" + db.URL}
	want := map[string]string{
		"rowbell workfl":                                  "rowbell workflow ",
		"rowbell delivery list --stat":                    "rowbell delivery list --status ",
		"rowbell delivery list --status ret":              "rowbell delivery list --status retrying ",
		"rowbell delivery list --status=ret":              "rowbell delivery list --status=retrying ",
		"rowbell delivery list --status ret --workflow=b": "rowbell delivery list --status ret --workflow=big ",
		"rowbell workflow show b":                         "rowbell workflow show big ",
		"rowbell run --delivery=redi":                     "rowbell run --delivery=redirect:",
		"rowbell template set footer foot":                "rowbell template set footer footer.liquid ",
	}
	for name, c := range map[string]struct {
		program string
		args    []string
		setUp   string
	}{
		"bash": {
			"bash",
			[]string{"--norc", "--noprofile", "-i"},
			`bind -x '"\C-g": printf "«%s»" "$READLINE_LINE"'; source <(rowbell completion bash)`,
		},
		"zsh": {
			"zsh",
			[]string{"-f", "-i"},
			`autoload -Uz compinit; compinit -u -D; source <(rowbell completion zsh); line() { print -rn -- "«$BUFFER»" }; zle -N line; bindkey -e; bindkey '^G' line; bindkey '^U' kill-whole-line`,
		},
		"fish": {
			"fish",
			[]string{"--no-config", "-i"},
			`rowbell completion fish | source; bind \cg 'printf "«%s»" (commandline -b)'; bind \cu 'commandline ""'`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, err := exec.LookPath(c.program)
			if err != nil {
				t.Fatalf("%v; apt-get install %s", err, name)
			}
			s := startShell(t, env, path, c.args...)
			s.write("touch footer.liquid; " + c.setUp + "; echo re''ady\r")
			s.until("ready")
			for line, want := range want {
				if got := s.completes(line); got != want {
					t.Errorf("%s\\t becomes %s, want %s", strconv.Quote(line), strconv.Quote(got), strconv.Quote(want))
				}
			}
			// What a tenant has named is one word, whatever it says.
			if got := s.completes("rowbell workflow show x"); !strings.Contains(got, "hacked") {
				t.Errorf("the name becomes %s", strconv.Quote(got))
			}
			s.write("--output json\recho do''ne\r")
			if got := s.until("done"); !strings.Contains(got, `"id": "x'\"`+"`touch hacked`$(touch hacked);touch hacked"+`"`) {
				t.Errorf("the completed line shows\n%s", got)
			}
			if _, err := os.Stat(filepath.Join(s.dir, "hacked")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the shell has obeyed a name: %v", err)
			}
		})
	}
}

// PowerShell's script is at least one that names what it completes by.
func TestPowerShellCompletion(t *testing.T) {
	t.Parallel()
	wants(t, rowbell(t, nil, "completion", "powershell"), 0, "Register-ArgumentCompleter -CommandName 'rowbell'", completeWord)
	wants(t, rowbell(t, nil, "completion", "csh"), 2, `there is no completion for "csh"; there is for bash, zsh, fish, powershell`)
}
