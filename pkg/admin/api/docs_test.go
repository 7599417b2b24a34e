package api

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the table in the manual")

const manual = "../../../docs/api.md"

// operationTables are what the manual has of operations, by group.
func operationTables(routes []Route) string {
	var tags []string
	rows := make(map[string]string)
	cell := strings.NewReplacer("|", `\|`)
	for _, r := range routes {
		if !slices.Contains(tags, r.Tag) {
			tags = append(tags, r.Tag)
		}
		rows[r.Tag] += fmt.Sprintf("| `%s %s` | `%s` | `%s` | %s |\n", r.Method, r.Path, r.ID, r.Right, cell.Replace(r.Summary))
	}
	var b strings.Builder
	for _, tag := range tags {
		b.WriteString("\n### " + tag + "\n\n| Request | Operation | Right | What it does |\n|---|---|---|---|\n" + rows[tag])
	}
	b.WriteString("\n")
	return b.String()
}

var inManual = regexp.MustCompile(`(?s)(<!-- operations: [^>]* -->\n)(.*)(<!-- end of operations -->)`)

// The manual has every operation with its right, and none that there isn't; what its
// examples ask for is there.
func TestManual(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	routes := newAPI(t).Routes()
	made := operationTables(routes)
	found := inManual.FindSubmatchIndex(text)
	if found == nil {
		t.Fatalf("%s has no place for the operations", manual)
	}
	before, was, after := string(text[:found[4]]), string(text[found[4]:found[5]]), string(text[found[5]:])
	switch {
	case was == made:
	case *update:
		if err := os.WriteFile(manual, []byte(before+made+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the operations in %s aren't those of the code (go test ./pkg/admin/api -run TestManual -update rewrites them):\n%s", manual, made)
	}
	asked := regexp.MustCompile(`(?m)\$API(/[^\s"'?]*)|[^/]\b(?:GET|POST|PUT|DELETE) (?:/api/v1)?(/[^\s"'?\x60]*)`).FindAllStringSubmatch(before+after, -1)
	if len(asked) < 10 {
		t.Errorf("%s has %d examples of requests", manual, len(asked))
	}
	param := regexp.MustCompile(`\{\w+\}`)
	for _, m := range asked {
		path := m[1] + m[2]
		if !strings.HasPrefix(path, "/openapi") && !slices.ContainsFunc(routes, func(r Route) bool {
			return r.Path == path || regexp.MustCompile("^"+param.ReplaceAllString(r.Path, `[^/]+`)+"$").MatchString(path)
		}) {
			t.Errorf("%s asks for %s, which no operation answers", manual, path)
		}
	}
}
