package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// The majors that Rowbell supports, and so the ones that are looked for.
const (
	minMajor = 14
	maxMajor = 18
)

// BinEnv names the environment variable with the directory of initdb and postgres
// that is used instead of a search.
const BinEnv = "ROWBELL_PG_BIN"

// Binaries are the programs of one PostgreSQL version.
type Binaries struct {
	Dir     string // holds initdb and postgres, and psql where it is installed
	Version string // as the server says it: 17.10
	Major   int
	Fetched bool // from the npm package: no client programs
}

// Program returns the path of a program such as psql or pg_recvlogical: from the same
// installation, else from PATH. Returns an error if neither has it.
func (b Binaries) Program(name string) (string, error) {
	if p := filepath.Join(b.Dir, name); executable(p) {
		return p, nil
	}
	p, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is neither in %s nor in PATH; install the client programs, e.g. apt-get install postgresql-client", name, b.Dir)
	}
	return p, nil
}

// Find returns binaries that can run here: those in the directory that ROWBELL_PG_BIN
// names, else the newest installed ones of PostgreSQL 14 to 18, else the npm package,
// fetched if the cache does not hold it. With Options.Version only that major is taken,
// and ROWBELL_PG_BIN counts only if it has it. Nothing is started.
func Find(ctx context.Context, o Options) (Binaries, error) {
	return find(ctx, o, installedDirs())
}

func find(ctx context.Context, o Options, installed []string) (Binaries, error) {
	want, err := parseMajor(o.Version)
	if err != nil {
		return Binaries{}, err
	}
	if o.BinDir != "" {
		b, err := inspect(ctx, o.BinDir)
		if err != nil {
			return Binaries{}, fmt.Errorf("PostgreSQL in %s: %w", o.BinDir, err)
		}
		return b, nil
	}
	if dir := os.Getenv(BinEnv); dir != "" {
		b, err := inspect(ctx, dir)
		if err != nil {
			return Binaries{}, fmt.Errorf("%s=%s: %w; point it to a directory that holds initdb and postgres, or unset it", BinEnv, dir, err)
		}
		if want == 0 || want == b.Major {
			return b, nil
		}
	}
	b, problems := pick(ctx, installed, want)
	if b.Dir != "" {
		return b, nil
	}
	if o.NoFetch {
		return Binaries{}, errors.Join(append([]error{ErrNotInstalled}, problems...)...)
	}
	major := want
	if major == 0 {
		major = defaultMajor
	}
	b, err = fetched(ctx, major, o.Log, o.Fetching)
	if err != nil {
		return Binaries{}, errors.Join(append([]error{fmt.Errorf("%w, and none could be fetched: %w", ErrNotInstalled, err)}, problems...)...)
	}
	return b, nil
}

// ErrNotInstalled is what Find returns when this machine has no PostgreSQL of the
// wanted version. Its text says how to mend that.
var ErrNotInstalled = errors.New("no usable PostgreSQL 14 to 18 is installed (apt-get install postgresql, dnf install postgresql-server, brew install postgresql@17, or set " + BinEnv + ")")

// parseMajor reads "" (any) or a supported major.
func parseMajor(version string) (int, error) {
	if version == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(version)
	if err != nil || n < minMajor || n > maxMajor {
		return 0, fmt.Errorf("PostgreSQL version %q: want a major version from %d to %d", version, minMajor, maxMajor)
	}
	return n, nil
}

// installedDirs lists the places where packages put server programs. They need not exist.
func installedDirs() []string {
	var dirs []string
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",          // Debian, Ubuntu
		"/usr/pgsql-*/bin",                   // PGDG on RHEL, Fedora
		"/usr/libexec/postgresql*",           // Alpine
		"/opt/homebrew/opt/postgresql@*/bin", // Homebrew, Apple silicon
		"/usr/local/opt/postgresql@*/bin",    // Homebrew, Intel
		"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
		"/usr/local/pgsql/bin", // make install
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			panic(err) // a malformed pattern of ours
		}
		dirs = append(dirs, found...)
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if executable(filepath.Join(dir, "initdb")) && executable(filepath.Join(dir, "postgres")) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// pick returns the newest usable binaries of dirs; the zero value if none is. The
// problems are of directories that have the wanted version and can't be used.
func pick(ctx context.Context, dirs []string, want int) (Binaries, []error) {
	var best Binaries
	var problems []error
	seen := map[string]bool{}
	for _, dir := range dirs {
		if real, err := filepath.EvalSymlinks(dir); err != nil || seen[real] {
			continue
		} else {
			seen[real] = true
		}
		if !executable(filepath.Join(dir, "postgres")) {
			continue // a client-only installation
		}
		b, err := inspect(ctx, dir)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", dir, err))
			continue
		}
		if b.Major < minMajor || b.Major > maxMajor || want != 0 && b.Major != want {
			continue
		}
		if b.Major > best.Major {
			best = b
		}
	}
	return best, problems
}

// inspect runs `postgres --version` and checks that the server's user can run it too.
func inspect(ctx context.Context, dir string) (Binaries, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Binaries{}, err
	}
	for _, name := range []string{"initdb", "postgres"} {
		if !executable(filepath.Join(dir, name)) {
			return Binaries{}, fmt.Errorf("holds no executable %s", name)
		}
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return Binaries{}, fmt.Errorf("postgres --version: %w", withStderr(err))
	}
	version, major, err := parseVersion(string(out))
	if err != nil {
		return Binaries{}, err
	}
	if err := reachable(dir); err != nil {
		return Binaries{}, err
	}
	return Binaries{Dir: dir, Version: version, Major: major}, nil
}

// parseVersion reads the answer of `postgres --version`:
// "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "… 18beta1", "… 17.10".
func parseVersion(out string) (version string, major int, err error) {
	_, rest, ok := strings.Cut(strings.TrimSpace(out), "(PostgreSQL) ")
	if ok {
		version, _, _ = strings.Cut(rest, " ")
		digits := version
		if i := strings.IndexFunc(version, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
			digits = version[:i]
		}
		major, err = strconv.Atoi(digits)
	}
	if !ok || err != nil {
		return "", 0, fmt.Errorf("%q is not what postgres --version says", out)
	}
	return version, major, nil
}

// executable reports whether path is a file that somebody may run.
func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && (runtime.GOOS == "windows" || info.Mode()&0o111 != 0)
}

// withStderr puts what the program said into the error of a failed exec.Cmd.Output.
func withStderr(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return err
}

// versions lists the majors that can be fetched for a platform, for error texts.
func versions(platform string) []string {
	var list []string
	for p := range packages {
		if p.platform == platform {
			list = append(list, strconv.Itoa(p.major))
		}
	}
	slices.Sort(list)
	return list
}
