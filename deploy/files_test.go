package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/rowbell/rowbell/pkg/app"
)

// setting says whether an environment variable is one of Rowbell's settings.
func setting(env string) bool {
	return slices.ContainsFunc(app.Settings(), func(s app.Setting) bool { return s.Env() == env })
}

// drainTimeout is how long an orderly stop takes at most, unless it was set otherwise.
var drainTimeout = app.Config{}.WithDefaults().DrainTimeout

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Whatever a file here calls ROWBELL_ something is a setting.
func TestSettingsExist(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, ".go") {
			continue
		}
		for _, env := range regexp.MustCompile(`ROWBELL_[A-Z_]+`).FindAllString(read(t, name), -1) {
			found++
			if !setting(env) {
				t.Errorf("%s: %s is no setting", name, env)
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d settings were found", found)
	}
}

func TestCompose(t *testing.T) {
	t.Parallel()
	text := read(t, "compose.yaml")
	var file struct {
		Services map[string]struct {
			Restart         string
			Build           struct{ Context, Dockerfile string }
			Command         []string
			Environment     map[string]string
			Volumes, Ports  []string
			StopGracePeriod string `yaml:"stop_grace_period"`
			Healthcheck     struct{ Test []string }
			DependsOn       map[string]struct{ Condition string } `yaml:"depends_on"`
		}
		Volumes map[string]any
	}
	if err := yaml.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	example := read(t, "compose.env.example")
	for _, m := range regexp.MustCompile(`\$\{(\w+)`).FindAllStringSubmatch(text, -1) {
		if !regexp.MustCompile(`(?m)^` + m[1] + `=`).MatchString(example) {
			t.Errorf("%s is not in compose.env.example", m[1])
		}
	}
	exists := func(path string) {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	for name, s := range file.Services {
		for key := range s.Environment {
			if strings.HasPrefix(key, "ROWBELL_") && !setting(key) {
				t.Errorf("%s: %s is no setting", name, key)
			}
		}
		for _, v := range s.Volumes {
			host, _, _ := strings.Cut(v, ":")
			if strings.HasPrefix(host, ".") {
				exists(host)
			} else if _, named := file.Volumes[host]; !named {
				t.Errorf("%s: there is no volume %s", name, host)
			}
		}
		if d := s.Build.Dockerfile; d != "" {
			exists(filepath.Join(s.Build.Context, d))
		}
		for other, d := range s.DependsOn {
			o, ok := file.Services[other]
			if !ok {
				t.Errorf("%s depends on %s, which is not there", name, other)
			}
			if d.Condition == "service_healthy" && len(o.Healthcheck.Test) == 0 {
				t.Errorf("%s waits for the health of %s, which has no check", name, other)
			}
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s: port %s is open to other machines", name, p)
			}
		}
	}
	worker, postgres := file.Services["rowbell"], file.Services["postgres"]
	if !slices.Contains(postgres.Command, "wal_level=logical") {
		t.Errorf("postgres runs with %v", postgres.Command)
	}
	if worker.Restart == "" || postgres.Restart == "" || worker.Environment["ROWBELL_SOURCE_URL"] == "" {
		t.Errorf("the worker is %+v", worker)
	}
	if grace, err := time.ParseDuration(worker.StopGracePeriod); err != nil || grace <= drainTimeout {
		t.Errorf("the worker has %s to stop, but may take %s", worker.StopGracePeriod, drainTimeout)
	}
	// As a shell would source it, its options would become the container's own.
	if info, err := os.Stat("passwords.sh"); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("passwords.sh can't be executed: %v, %v", info, err)
	}
}

func TestUnit(t *testing.T) {
	t.Parallel()
	text := read(t, "rowbell.service")
	values := make(map[string]string) // by section and key; the last one
	section := ""
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "", strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]"):
			section = strings.Trim(line, "[]")
		default:
			key, value, ok := strings.Cut(line, "=")
			if !ok || section == "" {
				t.Errorf("line %d is no setting of systemd's: %s", i+1, line)
			}
			values[section+" "+key] = value
		}
	}
	for key, want := range map[string]string{
		"Service ExecStart": "/usr/local/bin/rowbell run", "Service Type": "exec", "Service KillSignal": "SIGTERM", "Service Restart": "always",
		"Service RestartPreventExitStatus": "2", // as docs/operations.md has it
		"Service DynamicUser":              "yes", "Service EnvironmentFile": "/etc/rowbell/rowbell.env", "Install WantedBy": "multi-user.target",
	} {
		if values[key] != want {
			t.Errorf("%s is %q, want %q", key, values[key], want)
		}
	}
	if stop, err := time.ParseDuration(values["Service TimeoutStopSec"]); err != nil || stop <= drainTimeout {
		t.Errorf("it has %s to stop, but may take %s", values["Service TimeoutStopSec"], drainTimeout)
	}
	if _, err := time.ParseDuration(values["Service RestartSec"]); err != nil {
		t.Error(err)
	}

	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("systemd-analyze, of Debian's package systemd, would have checked more")
		return
	}
	// It wants to see the program that the unit starts.
	unit := filepath.Join(t.TempDir(), "rowbell.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(text, "/usr/local/bin/rowbell", "/bin/true")), 0o644); err != nil {
		t.Fatal(err)
	}
	// What it doesn't understand it only mentions.
	if out, err := exec.CommandContext(t.Context(), program, "verify", unit).CombinedOutput(); err != nil || strings.Contains(string(out), unit) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	if help, err := exec.CommandContext(t.Context(), program, "--help").Output(); err != nil || !strings.Contains(string(help), "--offline") {
		return // before 250
	}
	// At most 2.0 of 10, in tenths.
	if out, err := exec.CommandContext(t.Context(), program, "security", "--offline=true", "--threshold=20", "--no-pager", unit).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}

// The example of the environment is one that the worker takes, once it is filled in.
func TestEnvironmentExample(t *testing.T) {
	t.Parallel()
	env := make(map[string]string)
	for line := range strings.Lines(read(t, "rowbell.env.example")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "#ROWBELL_") {
			continue
		}
		key, value, ok := strings.Cut(strings.TrimPrefix(line, "#"), "=")
		if !ok {
			t.Errorf("%q sets nothing", line)
		}
		env[key] = value
	}
	cfg, err := app.Load(nil, func(key string) (string, bool) { v, ok := env[key]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	if !cfg.NoMigrate || cfg.Capture != app.CaptureManual {
		t.Errorf("it makes %+v", cfg)
	}
}
