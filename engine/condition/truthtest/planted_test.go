package truthtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// planted are the mistakes of package fault in conditions and index, by the test that
// finds them.
var planted = []struct {
	pkg, test string
	faults    []string
}{
	{"engine/condition/truthtest", "TestConditions", []string{
		"ne_skips_null", "numeric_as_float", "trailing_zeros_count", "char_padded", "between_open", "text_order_ignores_case", "nan_least", "changed_by_text",
		"in_drops_last", "toast_as_null", "before_reads_new", "delete_reads_new",
	}},
	{"engine/match", "TestIndexAgainstNaive", []string{"key_without_length", "tenant_out_of_key", "priority_highest"}},
}

// found is what a test says of a difference: a case is a condition of TestConditions, on
// all rows of a round, or an event of TestIndexAgainstNaive.
var found = regexp.MustCompile(`difference in (?:case|event) (\d+)`)

const mostCases = 2000

// TestPlantedFaults runs the comparisons with a mistake made on purpose: each is to be
// found, and soon.
func TestPlantedFaults(t *testing.T) {
	t.Parallel()
	if os.Getenv("ROWBELL_FAULT") != "" {
		t.Skip("this is such a run")
	}
	server := pgtest.DB(t).URL // one for all of them
	for _, p := range planted {
		binary := filepath.Join(t.TempDir(), "test")
		build := exec.CommandContext(t.Context(), "go", "test", "-c", "-tags", "faults", "-o", binary, "github.com/rowbell/rowbell/"+p.pkg)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, fault := range p.faults {
			t.Run(fault, func(t *testing.T) {
				run := exec.CommandContext(t.Context(), binary, "-test.run", "^"+p.test+"$", "-test.v")
				run.Env = append(os.Environ(), "ROWBELL_FAULT="+fault, "ROWBELL_TEST_URL="+server, "ROWBELL_TRUTH=", "ROWBELL_TRUTH_CASES="+strconv.Itoa(mostCases))
				out, err := run.CombinedOutput()
				if err == nil {
					t.Fatalf("%s has found nothing wrong:\n%s", p.test, out)
				}
				m := found.FindSubmatch(out)
				if m == nil {
					t.Fatalf("%s has failed, but found no difference:\n%s", p.test, out)
				}
				if n, err := strconv.Atoi(string(m[1])); err != nil || n > mostCases {
					t.Errorf("%s found it only in case %s:\n%s", p.test, m[1], out)
				}
				t.Logf("%s found it in case %s", p.test, m[1])
			})
		}
	}
}
