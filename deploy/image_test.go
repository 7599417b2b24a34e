package deploy_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// The image is built from scratch, and what is in it runs: as nobody, and against a
// database.
func TestImage(t *testing.T) {
	t.Parallel()
	program := needInCI(t, "buildah", "buildah")
	files, storage := t.TempDir(), t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(files, "rowbell"), "../cmd/rowbell")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	// Of the same name as the real ones, which a machine without HTTPS need not have.
	if err := os.WriteFile(filepath.Join(files, "ca-certificates.crt"), []byte("certificates\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	buildah := func(args ...string) string {
		t.Helper()
		all := append([]string{"--storage-driver", "vfs", "--root", filepath.Join(storage, "root"), "--runroot", filepath.Join(storage, "run")}, args...)
		cmd := exec.CommandContext(t.Context(), program, all...)
		cmd.Env = append(os.Environ(), "BUILDAH_ISOLATION=chroot")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("buildah %v: %v\n%s%s", args, err, out, &stderr)
		}
		return strings.TrimSpace(string(out))
	}
	buildah("bud", "-q", "-t", "rowbell", "--build-arg", "VERSION=1.2.3", "-f", "Containerfile", files)

	var image struct {
		OCIv1 struct {
			Config struct {
				User            string
				ExposedPorts    map[string]struct{}
				Env             []string
				Entrypoint, Cmd []string
				Labels          map[string]string
			} `json:"config"`
		}
	}
	if err := json.Unmarshal([]byte(buildah("inspect", "--type", "image", "rowbell")), &image); err != nil {
		t.Fatal(err)
	}
	c := image.OCIv1.Config
	_, api := c.ExposedPorts["8080/tcp"]
	_, ops := c.ExposedPorts["8081/tcp"]
	if c.User != "65532:65532" || !slices.Equal(c.Entrypoint, []string{"/rowbell"}) || !slices.Equal(c.Cmd, []string{"run"}) ||
		!api || !ops || c.Labels["org.opencontainers.image.version"] != "1.2.3" {
		t.Errorf("the image is configured as %+v", c)
	}
	for _, v := range c.Env {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "ROWBELL_") && !setting(name) {
			t.Errorf("the image sets %s, which is no setting", name)
		}
	}

	container := buildah("from", "--pull-never", "rowbell")
	if out := buildah("run", container, "--", "/rowbell", "version"); !strings.HasPrefix(out, "rowbell ") {
		t.Errorf("rowbell version says %q", out)
	}
	// With chroot isolation it has this machine's network.
	out := buildah("run", "--env", "ROWBELL_SOURCE_URL="+pgtest.DB(t).URL, container, "--", "/rowbell", "check")
	if !strings.Contains(out, "replication connection") {
		t.Errorf("rowbell check says\n%s", out)
	}
	root := filepath.Join(buildah("mount", container), "etc/ssl/certs/ca-certificates.crt")
	if text, err := os.ReadFile(root); err != nil || string(text) != "certificates\n" {
		t.Errorf("the certificates: %q, %v", text, err)
	}
	buildah("umount", container)
}
