// Package faulttest runs the rowbell binary as a process of its own, breaks it, its
// server and its network while an application writes, and compares the log with what
// it must hold.
//
// What it must hold is computed from the application's own audit table, from the rows
// of rowbell.workflow_version and rowbell.captured_table, and from the order of commits
// as an independent slot (plugin test_decoding) tells it. Nothing of it comes from the
// worker, but for one fact: the snapshot under which the definitions were first read.
//
// Every random choice comes from a seed that a failing test shows; ROWBELL_SEED repeats
// the choices, though not the moments at which processes get the CPU. ROWBELL_CHAOS=1
// runs ten times as long.
//
// A scenario returns an error for what is wrong with the log, and fails the test itself
// only for what is wrong with the test. So the tests of planted faults can run the same
// scenarios and insist on an error.
package faulttest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// TestMain runs two scenarios at once, whatever -parallel says: what they are about comes of
// workers, an application and an editor that get the CPU in time.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "2"); err != nil {
		panic(err)
	}
	pgtest.Main(m)
}

// chaos is how many times longer than in make test the scenarios run.
func chaos() int {
	if os.Getenv("ROWBELL_CHAOS") != "" {
		return 10
	}
	return 1
}

// binaries are built once for each set of build tags, beside the test binary, in a
// directory that the go command removes.
var binaries struct {
	mu    sync.Mutex
	built map[string]string
}

// binary returns the path of a rowbell built with these tags.
func binary(t testing.TB, tags string) string {
	t.Helper()
	binaries.mu.Lock()
	defer binaries.mu.Unlock()
	if path, ok := binaries.built[tags]; ok {
		return path
	}
	test, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(filepath.Dir(test), fmt.Sprintf("rowbell-%s-%d", tags, os.Getpid()))
	out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", tags, "-o", path, "github.com/rowbell/rowbell/cmd/rowbell").CombinedOutput()
	if err != nil {
		t.Fatalf("build rowbell: %v\n%s", err, out)
	}
	if binaries.built == nil {
		binaries.built = map[string]string{}
	}
	binaries.built[tags] = path
	return path
}
