package localpg

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// CacheDir returns the directory, made if need be, where fetched binaries and the data
// templates are kept: rowbell in the user's cache directory. Root's is usually closed
// to the user that runs the server, so root falls back to /var/cache/rowbell and then to
// the temporary directory.
func CacheDir() (string, error) {
	var candidates []string
	if dir, err := os.UserCacheDir(); err == nil {
		candidates = append(candidates, filepath.Join(dir, "rowbell"))
	}
	if isRoot() {
		candidates = append(candidates, "/var/cache/rowbell")
	}
	candidates = append(candidates, filepath.Join(os.TempDir(), fmt.Sprintf("rowbell-cache-%d", os.Getuid())))
	var problems []error
	for _, dir := range candidates {
		err := usableCache(dir)
		if err == nil {
			return dir, nil
		}
		problems = append(problems, err)
	}
	return "", fmt.Errorf("no directory to cache PostgreSQL in: %w; set XDG_CACHE_HOME to a writable one", errors.Join(problems...))
}

// usableCache makes dir and checks that it is ours alone to write (programs are run from
// it) and that the server's user can reach it.
func usableCache(dir string) error {
	for _, d := range []string{dir, filepath.Join(dir, "postgres"), filepath.Join(dir, "template")} {
		if _, err := os.Stat(filepath.Dir(d)); err == nil {
			if err := reachable(filepath.Dir(d)); err != nil {
				return err // before anything is made where it would be of no use
			}
		}
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
		if err := ownedByUs(d); err != nil {
			return err
		}
		if isRoot() {
			if err := os.Chmod(d, 0o755); err != nil { // the umask may have closed it
				return err
			}
		}
	}
	return reachable(filepath.Join(dir, "postgres"))
}

// reachable checks, for root, that the unprivileged user can enter dir: every directory
// on the way must be open to others. For other users the answer is always yes, because
// the server runs as they do.
func reachable(dir string) error {
	if !isRoot() {
		return nil
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	for d := dir; ; d = filepath.Dir(d) {
		info, err := os.Stat(d)
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o001 == 0 {
			return fmt.Errorf("%s is closed to the unprivileged user that the server runs as (chmod a+x %s, or use another directory)", d, d)
		}
		if d == filepath.Dir(d) {
			return nil
		}
	}
}

// tempRoot is where data directories are made: the temporary directory, or for root /tmp
// where that one is closed to the server's user.
func tempRoot() string {
	dir := os.TempDir()
	if reachable(dir) != nil {
		return "/tmp"
	}
	return dir
}

// lock takes an exclusive lock on a file, made if need be, and waits for it until ctx
// ends. The lock ends with the process.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := tryLock(f)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		if ok {
			return func() { _ = f.Close() }, nil // closing releases; nothing was written
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for %s, which another process holds: %w", path, context.Cause(ctx)), f.Close())
		case <-tick.C:
		}
	}
}

// redact drops the user part of a URL, for error texts.
func redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "an unreadable URL"
	}
	return u.Redacted()
}
