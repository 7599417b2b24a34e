package main

import (
	"bufio"
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

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
	pgtest.Eventually(t, 10*time.Second, "the demo's files and processes to be gone", func() bool {
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
		"order 1 of acme: status new → approved", "→ Order approved", "success",
		"workflow_id        order-approved", "From nothing to here: ",
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("%q is not in\n%s", want, r.stdout)
		}
	}
	if strings.ContainsAny(r.stdout, "\x1b\r") {
		t.Errorf("there are control characters where there is no terminal:\n%q", r.stdout)
	}
	nothingLeft(t, dir)
	t.Log("\n" + r.stdout)
}

// The demo runs, shows executions of both tenants, and ends in order by a signal,
// leaving no process, no file and no open port.
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
			address := regexp.MustCompile(`postgres://[^@]*@([0-9.:]+)/shop`)
			var text strings.Builder
			server, stopped := "", false
			executions := 0
			for lines := bufio.NewScanner(stdout); lines.Scan(); {
				text.WriteString(lines.Text() + "\n")
				if m := address.FindStringSubmatch(lines.Text()); m != nil {
					server = m[1]
				}
				if strings.Contains(lines.Text(), "success") {
					executions++
				}
				if executions >= 3 && !stopped {
					stopped = true
					if err := cmd.Process.Signal(signal); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("it ends with %v", err)
			}
			if !strings.HasSuffix(text.String(), "Stopped. Nothing is left behind.\n") {
				t.Errorf("it ends without saying so:\n%s", text.String())
			}
			nothingLeft(t, dir)
			if server == "" {
				t.Fatalf("it doesn't say where its server is:\n%s", text.String())
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if conn, err := new(net.Dialer).DialContext(ctx, "tcp", server); err == nil {
				_ = conn.Close()
				t.Errorf("something still listens at %s", server)
			}
		})
	}
}
