package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseVersion(t *testing.T) {
	t.Parallel()
	for out, want := range map[string]string{
		"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n": "15.18 15",
		"postgres (PostgreSQL) 17.10\n":                          "17.10 17",
		"postgres (PostgreSQL) 18beta1\n":                        "18beta1 18",
		"postgres (PostgreSQL) 9.6.24":                           "9.6.24 9",
	} {
		version, major, err := parseVersion(out)
		if got := fmt.Sprint(version, " ", major); got != want || err != nil {
			t.Errorf("%q: %s, %v; want %s", out, got, err, want)
		}
	}
	for _, out := range []string{"", "psql 15", "postgres (PostgreSQL) ", "postgres (PostgreSQL) devel"} {
		if version, major, err := parseVersion(out); err == nil {
			t.Errorf("%q: %s %d, want an error", out, version, major)
		}
	}
}

func TestParseMajor(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]int{"": 0, "14": 14, "18": 18} {
		if got, err := parseMajor(version); got != want || err != nil {
			t.Errorf("%q: %d, %v", version, got, err)
		}
	}
	for _, version := range []string{"13", "19", "17.10", "x"} {
		if _, err := parseMajor(version); err == nil {
			t.Errorf("%q is taken", version)
		}
	}
}

// fakeInstall writes an initdb and a postgres that answers --version.
func fakeInstall(t *testing.T, answer string) string {
	t.Helper()
	dir, err := os.MkdirTemp(tempRoot(), "localpg-test-") //nolint:usetesting // t.TempDir is closed to the server's user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"initdb":   "#!/bin/sh\n",
		"postgres": "#!/bin/sh\necho '" + answer + "'\n",
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return bin
}

func TestPickTakesTheNewestSupported(t *testing.T) {
	t.Parallel()
	old := fakeInstall(t, "postgres (PostgreSQL) 13.9")
	pg14 := fakeInstall(t, "postgres (PostgreSQL) 14.23")
	pg16 := fakeInstall(t, "postgres (PostgreSQL) 16.14")
	future := fakeInstall(t, "postgres (PostgreSQL) 19.1")
	broken := fakeInstall(t, "exec format error")
	clientOnly := fakeInstall(t, "")
	if err := os.Remove(filepath.Join(clientOnly, "postgres")); err != nil {
		t.Fatal(err)
	}
	all := []string{old, pg14, broken, pg16, clientOnly, future, pg16, "/nonexistent"}

	got, problems := pick(t.Context(), all, 0)
	if got.Dir != pg16 || got.Major != 16 || got.Version != "16.14" {
		t.Errorf("any: %+v", got)
	}
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), broken) {
		t.Errorf("problems: %v", problems)
	}
	if got, _ := pick(t.Context(), all, 14); got.Dir != pg14 {
		t.Errorf("14: %+v", got)
	}
	if got, _ := pick(t.Context(), all, 15); got.Dir != "" {
		t.Errorf("15: %+v", got)
	}
}

func TestFindHeedsTheEnvironment(t *testing.T) {
	pg16 := fakeInstall(t, "postgres (PostgreSQL) 16.14")
	t.Setenv(BinEnv, pg16)
	for _, o := range []Options{{}, {Version: "16"}} {
		if got, err := Find(t.Context(), o); got.Dir != pg16 || err != nil {
			t.Errorf("%+v: %+v, %v", o, got, err)
		}
	}
	other := fakeInstall(t, "postgres (PostgreSQL) 14.1")
	if got, err := Find(t.Context(), Options{BinDir: other}); got.Dir != other || err != nil {
		t.Errorf("BinDir: %+v, %v", got, err)
	}
	t.Setenv(BinEnv, "/nonexistent")
	_, err := Find(t.Context(), Options{})
	if err == nil || !strings.Contains(err.Error(), BinEnv+"=/nonexistent") {
		t.Errorf("wrong directory: %v", err)
	}
}

func TestFindSaysWhatToInstall(t *testing.T) {
	t.Setenv(BinEnv, fakeInstall(t, "postgres (PostgreSQL) 16.14"))
	installed := []string{fakeInstall(t, "postgres (PostgreSQL) 15.1")}
	_, err := find(t.Context(), Options{Version: "14", NoFetch: true}, installed)
	if !errors.Is(err, ErrNotInstalled) || !strings.Contains(err.Error(), "apt-get install postgresql") {
		t.Errorf("got %v", err)
	}
	if got, err := find(t.Context(), Options{Version: "15", NoFetch: true}, installed); got.Dir != installed[0] || err != nil {
		t.Errorf("another version than the environment's: %+v, %v", got, err)
	}
}

func TestProgram(t *testing.T) {
	t.Parallel()
	b := Binaries{Dir: fakeInstall(t, "")}
	if got, err := b.Program("initdb"); got != filepath.Join(b.Dir, "initdb") || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := b.Program("sh"); got == "" || err != nil {
		t.Errorf("from PATH: %s, %v", got, err)
	}
	if _, err := b.Program("no-such-program"); err == nil || !strings.Contains(err.Error(), "postgresql-client") {
		t.Errorf("missing: %v", err)
	}
}

func TestReachable(t *testing.T) {
	t.Parallel()
	dir := filepath.Dir(fakeInstall(t, ""))
	if err := reachable(filepath.Join(dir, "bin")); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	err := reachable(filepath.Join(dir, "bin"))
	if isRoot() != (err != nil) {
		t.Errorf("root %t: %v", isRoot(), err)
	}
}

func TestLockExcludes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lock(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("taken twice: %v", err)
	}
	unlock()
	unlock, err = lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}
