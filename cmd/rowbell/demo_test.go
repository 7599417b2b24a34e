package main

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// tempDir is a directory that the server's unprivileged user can reach too.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "rowbell-demo-") //nolint:usetesting // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// nothingLeft fails if there are files in the directory, or processes that name it.
// The watchdog of the server ends a moment after it.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	pgtest.Eventually(t, pgtest.Patience, "the demo's files and processes to be gone", func() bool {
		files, err := os.ReadDir(dir)
		return err == nil && len(files) == 0 && len(processesNaming(dir)) == 0
	})
}

func processesNaming(dir string) []string {
	var list []string
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil
	}
	for _, path := range lines {
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), dir) {
			list = append(list, path)
		}
	}
	return list
}

func TestDemoOnce(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	r := rowbell(t, []string{"TMPDIR=" + dir}, "demo", "--once")
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	for _, want := range []string{
		`order 1 of acme: status new → approved +→ Order approved\n`,
		`✓ webhook 127\.0\.0\.1:\d+/webhook +200, signature verified +[\d.]+ m?s\n`,
		`✓ inbox of maria +Order 1 is approved +[\d.]+ m?s\n`,
		`POST +/webhook\n`, `webhook-id +01[0-9A-Z]{24}-\d+_\d\n`, `webhook-timestamp +\d{10}\n`, `webhook-signature +v1,\S+=\n`,
		`✓ verified by the Standard Webhooks library\n`, `body +{"type": ?"orders.update"`,
		`recipient_id +maria\n`, `title +Order 1 is approved\n`,
		`workflow_id +order-approved\n`, `status +success\n`, `From nothing to here: \d+`,
	} {
		if !regexp.MustCompile(want).MatchString(r.stdout) {
			t.Errorf("%q is not in\n%s", want, r.stdout)
		}
	}
	if strings.ContainsAny(r.stdout, "\x1b\r") {
		t.Errorf("there are control characters where there is no terminal:\n%q", r.stdout)
	}
	nothingLeft(t, dir)
	t.Log("\n" + r.stdout)
}

// shown is what the demo must have shown before it is stopped.
var shown = map[string]*regexp.Regexp{
	"a webhook":         regexp.MustCompile(`^ +✓ webhook \S+ +200, signature verified +[\d.]+ m?s$`),
	"a failed attempt":  regexp.MustCompile(`^ +↻ webhook \S+ +503, again in [\d.]+ s$`),
	"its retry":         regexp.MustCompile(`^ +✓ webhook \S+ +200, signature verified, attempt 2 +[\d.]+ s$`),
	"a notification":    regexp.MustCompile(`^ +✓ inbox of (karl|lena) +Order \d+ over \d+\.\d\d +[\d.]+ m?s$`),
	"an execution":      regexp.MustCompile(`^ +✓ log +recorded +[\d.]+ m?s$`),
	"acme's change":     regexp.MustCompile(`^\d\d:\d\d:\d\d  .* of acme: .* → `),
	"globex's change":   regexp.MustCompile(`^\d\d:\d\d:\d\d  .* of globex: .* → `),
	"the server":        regexp.MustCompile(`postgres://[^@]*@([0-9.:]+)/shop`),
	"the receiver":      regexp.MustCompile(`http://([0-9.:]+)/webhook`),
	"the dashboard":     regexp.MustCompile(`^Watch it in the browser:  (http://[0-9.:]+/[A-Z2-7]{26})$`),
	"the worker's port": regexp.MustCompile(`http://([0-9.:]+)/metrics`),
}

// The demo runs, shows deliveries of both tenants and a retry, and ends in order by a
// signal, leaving no process, no file and no open port.
func TestDemoEndsBySignal(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			dir := tempDir(t)
			cmd := program(t, []string{"TMPDIR=" + dir}, "demo")
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var stopped atomic.Bool
			stop := func() {
				if !stopped.Swap(true) {
					if err := cmd.Process.Signal(signal); err != nil {
						t.Error(err)
					}
				}
			}
			impatient := time.AfterFunc(90*time.Second, stop)
			defer impatient.Stop()
			var text strings.Builder
			seen := make(map[string][]string)
			for lines := bufio.NewScanner(stdout); lines.Scan(); {
				text.WriteString(lines.Text() + "\n")
				for what, pattern := range shown {
					if m := pattern.FindStringSubmatch(lines.Text()); m != nil {
						seen[what] = m
					}
				}
				if len(seen) == len(shown) {
					stop()
				}
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("it ends with %v", err)
			}
			for what := range shown {
				if seen[what] == nil {
					t.Errorf("it doesn't show %s", what)
				}
			}
			summary := regexp.MustCompile(`\nThe receiver got \d+ webhooks, \d+ with a right signature, \d+ of them again\. The mail server has \d+ mails\.\nStopped\. Nothing is left behind\.\n$`)
			if !summary.MatchString(text.String()) {
				t.Error("it ends without saying so")
			}
			nothingLeft(t, dir)
			for _, what := range []string{"the server", "the receiver", "the worker's port"} {
				if m := seen[what]; m != nil {
					closed(t, what, m[1])
				}
			}
			if t.Failed() {
				t.Log("\n" + text.String())
			}
		})
	}
}

// closed fails if something still listens there.
func closed(t *testing.T, what, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if conn, err := new(net.Dialer).DialContext(ctx, "tcp", address); err == nil {
		_ = conn.Close()
		t.Errorf("%s still listens at %s", what, address)
	}
}

// On a terminal of a desktop the demo opens its dashboard in the browser, by an address that
// signs in; told not to, it doesn't.
func TestDemoOpensBrowser(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want bool
	}{"opens": {nil, true}, "told not to": {[]string{"--no-browser"}, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, bin := tempDir(t), t.TempDir()
			opened := filepath.Join(bin, "opened")
			// The name is written last, so that what is read is whole.
			script := "#!/bin/sh\necho \"$1\" > " + opened + ".new && mv " + opened + ".new " + opened + "\n"
			if err := os.WriteFile(filepath.Join(bin, "xdg-open"), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := program(t, []string{
				"TMPDIR=" + dir, "TERM=xterm", "DISPLAY=:99", "CI=", "SSH_CONNECTION=", "SSH_TTY=", "PATH=" + bin + ":" + os.Getenv("PATH"),
			}, append([]string{"demo"}, c.args...)...)
			tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 200})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tty.Close() }()
			stop := func() { _ = cmd.Process.Signal(syscall.SIGINT) } // it may have ended
			impatient := time.AfterFunc(90*time.Second, stop)
			defer impatient.Stop()
			var printed string
			looked := false // it may say more until it has ended
			address := regexp.MustCompile(`^http://[0-9.:]+/[A-Z2-7]{26}$`)
			for lines := bufio.NewScanner(tty); lines.Scan(); {
				if _, found, is := strings.Cut(lines.Text(), "Watch it in the browser:"); is && printed == "" {
					printed = strings.TrimSpace(escapes.ReplaceAllString(found, ""))
				}
				got, err := os.ReadFile(opened)
				if looked || printed == "" || err != nil && c.want || !strings.Contains(lines.Text(), " → ") {
					continue // until it shows changes, which comes after
				}
				looked = true
				// Whoever sees the list of processes sees what it opens: it holds no key, and serves once.
				if shown := strings.TrimSpace(string(got)); c.want && (!address.MatchString(shown) || !address.MatchString(printed) || shown == printed) {
					t.Errorf("it opens %q, and prints %q", shown, printed)
				} else if c.want {
					for _, want := range []string{"/enter#token=rbk_", "/signin"} {
						if to := redirected(t, shown); !strings.Contains(to, want) {
							t.Errorf("%s leads to %q, want %s", shown, to, want)
						}
					}
				}
				stop()
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("it ends with %v", err)
			}
			if _, err := os.Stat(opened); c.want == (err != nil) {
				t.Errorf("a browser was opened: %v", err == nil)
			}
			if printed == "" {
				t.Error("it prints no address of the dashboard")
			}
			nothingLeft(t, dir)
		})
	}
}

// escapes are what gives a terminal colours and places.
var escapes = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]")

// redirected is where an address leads.
func redirected(t *testing.T, address string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Error(err)
		return ""
	}
	_ = resp.Body.Close()
	return resp.Header.Get("Location")
}
