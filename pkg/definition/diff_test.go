package definition

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rowbell/rowbell/pkg/workflow"
)

func TestUnified(t *testing.T) {
	t.Parallel()
	const from = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\nn\n"
	for name, c := range map[string]struct{ to, want string }{
		"same":    {from, ""},
		"changed": {strings.Replace(from, "h\n", "H\n", 1), "--- x\n+++ y\n@@ -5,7 +5,7 @@\n e\n f\n g\n-h\n+H\n i\n j\n k\n"},
		"far apart": {
			strings.Replace(strings.Replace(from, "a\n", "", 1), "n\n", "n\no\n", 1),
			"--- x\n+++ y\n@@ -1,4 +1,3 @@\n-a\n b\n c\n d\n@@ -12,3 +11,4 @@\n l\n m\n n\n+o\n",
		},
		"near": {
			strings.Replace(strings.Replace(from, "e\n", "", 1), "i\n", "I\n", 1),
			"--- x\n+++ y\n@@ -2,11 +2,10 @@\n b\n c\n d\n-e\n f\n g\n h\n-i\n+I\n j\n k\n l\n",
		},
		"nothing left": {"", "--- x\n+++ y\n@@ -1,14 +0,0 @@\n-" + strings.ReplaceAll(strings.TrimSuffix(from, "\n"), "\n", "\n-") + "\n"},
	} {
		if got := unified("x", "y", from, c.to); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

// What it writes is what patch takes: applied to the one text it gives the other.
func TestUnifiedApplies(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("patch"); err != nil {
		t.Skip("there is no patch here")
	}
	dir := t.TempDir()
	text := rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 1, 30), func(l []string) string { return strings.Join(l, "\n") + "\n" })
	rapid.Check(t, func(t *rapid.T) {
		from, to := text.Draw(t, "from"), text.Draw(t, "to")
		file := filepath.Join(dir, "file")
		if err := os.WriteFile(file, []byte(from), 0o600); err != nil {
			t.Fatal(err)
		}
		diff := unified("file", "file", from, to)
		if diff == "" {
			if from != to {
				t.Fatal("no difference was found")
			}
			return
		}
		cmd := exec.Command("patch", "-s", "-F0", file)
		cmd.Stdin = strings.NewReader(diff)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s\n%s", err, out, diff)
		}
		got, err := os.ReadFile(file)
		if err != nil || string(got) != to {
			t.Fatalf("patched it is %q, want %q (%v)\n%s", got, to, err, diff)
		}
	})
}

func TestSummary(t *testing.T) {
	t.Parallel()
	after := example()
	after.Status = workflow.Inactive
	after.Name = "x"
	after.Settings = json.RawMessage(`{"firing":   "becomes_true"}`) // as before
	after.Triggers = []workflow.Trigger{after.Triggers[1], {ID: "t3", EntityType: "a"}}
	after.Triggers[0].Priority = 6
	after.Conditions = nil
	if got, want := strings.Join(Summary(example(), after), "; "), "status active → inactive; name changed; trigger added; trigger changed; trigger removed; 2 conditions removed"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	if got := Summary(example(), example()); got != nil {
		t.Errorf("nothing changed, and it says %q", got)
	}
	if got := Summary(nil, example()); strings.Join(got, "") != "made, active" {
		t.Errorf("of a new one it says %q", got)
	}
}
