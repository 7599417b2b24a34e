// Package rowbell_test checks what concerns the repository as a whole.
package rowbell_test

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/rowbell/rowbell/"

// vocabulary may be imported by every package. (fault names the points where tests let a
// worker fail; spelling finds what a misspelt word was meant to be.)
var vocabulary = []string{"pkg/change", "pkg/workflow", "pkg/fault", "pkg/spelling"}

// directions says what else of Rowbell a package's non-test files may import. The first
// pattern that matches a package is its rule; patterns are of package path, where /...
// matches the package and all below it. .golangci.yml says the same to depguard.
var directions = []struct {
	pkg string
	may []string
}{
	{"pkg/change", nil},
	{"pkg/fault", nil},
	{"pkg/spelling", nil},
	{"pkg/workflow", nil},

	{"cdc/pgoutput", nil},
	{"cdc", []string{"cdc/pgoutput"}}, // never engine: app hands the channel over

	{"engine/checkpoint", nil},
	{"engine/condition", nil},
	{"engine/condition/truthtest", nil}, // tests only
	{"engine/match", []string{"engine/condition"}},
	{"engine/sentence", []string{"engine/condition"}},
	{"engine/executor", []string{"actions", "pkg/directory", "pkg/preference"}},
	// What would happen: it cannot send, for it has neither egress nor executor.
	{"engine/trial", []string{"engine/match", "engine/condition", "engine/sentence", "pkg/template", "pkg/directory"}},
	{"engine", []string{"engine/match", "engine/condition", "engine/executor", "engine/checkpoint"}},

	{"actions", nil},
	{"actions/...", []string{"actions", "pkg/template", "pkg/egress"}},

	{"migrations/...", nil},
	{"pkg/store", []string{"migrations"}},
	// Versions, drafts, documents and their tests, and what depends on a column: it judges and
	// tries, and cannot send.
	{"pkg/definition", []string{"pkg/store", "engine/condition", "engine/match", "engine/sentence", "engine/trial", "pkg/template", "actions"}},
	{"pkg/access", []string{"pkg/store"}},
	// What happens, for whoever listens: from state alone.
	{"pkg/live", []string{"pkg/store"}},
	{"pkg/directory", nil},
	{"pkg/preference", nil},
	{"pkg/template", nil},
	{"pkg/egress", nil},
	{"pkg/admin/...", []string{"examples", "pkg/access", "pkg/admin/...", "pkg/definition", "pkg/live", "pkg/store", "engine/trial", "engine/sentence", "engine/match", "engine/condition", "actions", "pkg/template", "pkg/directory", "pkg/preference"}},

	{"pkg/localpg", nil},
	{"pkg/secret", nil},
	{"pkg/pgtest/...", []string{"pkg/localpg"}},
	{"examples/...", nil},
	{"deploy", nil},

	{"pkg/app", everything},
	{"pkg/app/faulttest", nil}, // tests only
	{"pkg/app/pagestest", nil}, // tests only
	{"pkg/bench", everything},
	{"pkg/demo", everything},
	{"cmd/...", everything},
}

// everything excludes what is for tests only.
var everything = []string{
	"actions/...", "cdc/...", "deploy", "engine/...", "examples/...", "migrations/...", "pkg/access", "pkg/admin/...", "pkg/app", "pkg/bench", "pkg/demo",
	"pkg/definition", "pkg/directory", "pkg/egress", "pkg/live", "pkg/localpg", "pkg/preference", "pkg/secret", "pkg/store", "pkg/template",
}

func matches(pattern, pkg string) bool {
	if below, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == below || strings.HasPrefix(pkg, below+"/")
	}
	return pattern == pkg
}

// allowed returns "" or what is wrong with an import.
func allowed(pkg, imported string) string {
	for _, d := range directions {
		if !matches(d.pkg, pkg) {
			continue
		}
		ok := func(p string) bool { return matches(p, imported) }
		if slices.ContainsFunc(d.may, ok) {
			return ""
		}
		// The vocabulary itself imports nothing but change.
		if slices.ContainsFunc(vocabulary, ok) && (!slices.Contains(vocabulary, pkg) || pkg == "pkg/workflow" && imported == "pkg/change") {
			return ""
		}
		return pkg + " must not import " + imported
	}
	return pkg + " has no rule: say in imports_test.go (and .golangci.yml) what it may import"
}

func TestImportDirections(t *testing.T) {
	t.Parallel()
	readSources(t)
	out, err := exec.Command("go", "list", "-e", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	packages := 0
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		pkg, ours := strings.CutPrefix(p.ImportPath, module)
		if !ours {
			continue // the root, which holds this test alone
		}
		packages++
		for _, word := range []string{"util", "utils", "common", "types", "models", "base"} {
			if path.Base(pkg) == word {
				t.Errorf("%s: the name says nothing about what it holds", pkg)
			}
		}
		if len(p.Imports) == 0 {
			p.Imports = []string{module + "pkg/change"} // to see that there is a rule
			if slices.Contains(vocabulary, pkg) {
				continue
			}
		}
		for _, imported := range p.Imports {
			if imported, ours := strings.CutPrefix(imported, module); ours {
				if problem := allowed(pkg, imported); problem != "" {
					t.Error(problem)
				}
			}
		}
	}
	if packages < 10 {
		t.Errorf("go list found %d packages", packages)
	}
}

// readSources looks at every Go file, so that a cached result of this test ends when one
// changes: of what go list reads, go test knows nothing.
func readSources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) == ".go" {
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The rules themselves: what they are for is refused.
func TestDirectionsRefuse(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{
		{"cdc", "engine"},
		{"engine", "cdc"},
		{"engine", "pkg/store"},
		{"engine/trial", "pkg/egress"},
		{"engine/trial", "engine/executor"},
		{"pkg/definition", "pkg/egress"},
		{"engine/sentence", "pkg/store"},
		{"pkg/change", "pkg/workflow"},
		{"pkg/store", "engine"},
		{"actions/webhook", "pkg/store"},
		{"actions/webhook", "actions/email"},
		{"pkg/app", "pkg/pgtest"},
		{"pkg/app", "cmd/rowbell"},
		{"pkg/new", "pkg/change"},
	} {
		if allowed(c[0], c[1]) == "" {
			t.Errorf("%s may import %s", c[0], c[1])
		}
	}
	for _, c := range [][2]string{
		{"cdc", "cdc/pgoutput"},
		{"actions/webhook", "pkg/egress"},
		{"pkg/workflow", "pkg/change"},
		{"cmd/rowbell", "pkg/app"},
	} {
		if problem := allowed(c[0], c[1]); problem != "" {
			t.Error(problem)
		}
	}
}
