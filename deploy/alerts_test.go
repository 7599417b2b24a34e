package deploy_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// Prometheus itself takes the rules, and fires them when it should and no sooner.
func TestAlertsFire(t *testing.T) {
	t.Parallel()
	promtool := need(t, "promtool", "prometheus")
	for _, args := range [][]string{{"check", "rules", "alerts.yaml"}, {"test", "rules", "alerts_test.yaml"}} {
		if out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

// Each rule says how bad it is, what it means and what to do, is tested, and looks at
// metrics that there are.
func TestAlerts(t *testing.T) {
	t.Parallel()
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "alerts.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	tests, manual := read(t, "alerts_test.yaml"), read(t, "../docs/operations.md")
	documented := func(metric string) bool {
		return strings.Contains(manual, "`"+metric+"`")
	}
	metric := regexp.MustCompile(`\browbell_[a-z0-9_]+`)
	seen := make(map[string]bool)
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if seen[r.Alert] {
				t.Errorf("%s is there twice", r.Alert)
			}
			seen[r.Alert] = true
			if !strings.HasPrefix(r.Alert, "Rowbell") || !strings.Contains(tests, "alertname=\""+r.Alert+"\"") {
				t.Errorf("%s is not tested in alerts_test.yaml", r.Alert)
			}
			if _, err := time.ParseDuration(r.For); err != nil {
				t.Errorf("%s: for: %v", r.Alert, err)
			}
			if s := r.Labels["severity"]; s != "critical" && s != "warning" {
				t.Errorf("%s has severity %q", r.Alert, s)
			}
			if r.Annotations["summary"] == "" || len(r.Annotations["description"]) < 80 {
				t.Errorf("%s doesn't say what to do: %v", r.Alert, r.Annotations)
			}
			names := metric.FindAllString(r.Expr, -1)
			if len(names) == 0 {
				t.Errorf("%s looks at no metric of Rowbell's", r.Alert)
			}
			for _, name := range names {
				if !documented(name) {
					t.Errorf("%s: there is no metric %s", r.Alert, name)
				}
			}
		}
	}
	if len(seen) < 20 {
		t.Errorf("%d alerts were found", len(seen))
	}
	for _, name := range metric.FindAllString(tests, -1) {
		if !documented(name) {
			t.Errorf("alerts_test.yaml: there is no metric %s", name)
		}
	}
}
