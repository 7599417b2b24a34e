package definition

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
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
