// Testsum runs go test with its arguments, shows a line for each package and the output
// of what failed, and ends with "N passed, N failed". Tests and subtests are counted; a
// package that fails by itself (it does not compile, its TestMain finds a leak, it runs
// into the timeout) counts as one failure. Its exit code is 1 if anything failed.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

func main() {
	start := time.Now()
	cmd := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...) //nolint:noctx // it ends with us, at a Ctrl-C too
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "run go test:", err)
		os.Exit(1)
	}
	s := newSummary(os.Stdout)
	readErr := s.read(out)
	err = errors.Join(readErr, cmd.Wait())
	if !s.finish(err, time.Since(start)) {
		os.Exit(1)
	}
}

// event is a line of go test -json. (go doc test2json, go help buildjson.)
type event struct {
	Action     string
	Package    string
	ImportPath string // of build events
	Test       string // empty: the package
	Output     string
	Elapsed    float64 // seconds
}

// name is a test in its package.
type name struct{ pkg, test string }

type summary struct {
	w       io.Writer
	output  map[name]*strings.Builder
	running map[name]bool
	counts  map[string]*count // of a package
	passed  int
	failed  int
	skipped int
}

type count struct{ passed, failed int }

func newSummary(w io.Writer) *summary {
	return &summary{w: w, output: map[name]*strings.Builder{}, running: map[name]bool{}, counts: map[string]*count{}}
}

func (s *summary) read(r io.Reader) error {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				fmt.Fprintf(s.w, "%s", line) // not from a test: shown as it is
			} else {
				s.event(e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *summary) event(e event) {
	n := name{e.Package, e.Test}
	c := s.counts[e.Package]
	if c == nil {
		c = &count{}
		s.counts[e.Package] = c
	}
	switch e.Action {
	case "build-output":
		fmt.Fprint(s.w, e.Output)
	case "run":
		s.running[n] = true
	case "output":
		if strings.HasPrefix(e.Output, "=== ") {
			return // that a test runs, pauses, goes on
		}
		if s.output[n] == nil {
			s.output[n] = &strings.Builder{}
		}
		s.output[n].WriteString(e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.pkg(e, c)
			return
		}
		delete(s.running, n)
		switch e.Action {
		case "pass":
			c.passed++
			s.passed++
		case "fail":
			c.failed++
			s.failed++
			s.show(n)
		case "skip":
			s.skipped++
			s.show(n)
		}
		delete(s.output, n)
	}
}

// pkg ends a package.
func (s *summary) pkg(e event, c *count) {
	switch {
	case e.Action == "pass" && c.passed > 0:
		fmt.Fprintf(s.w, "ok    %s  %d passed, %.1f s\n", e.Package, c.passed, e.Elapsed)
	case e.Action == "fail":
		if c.failed == 0 {
			// It failed by itself; the tests that were running say where.
			c.failed++
			s.failed++
			for n := range s.running {
				if n.pkg == e.Package {
					s.show(n)
				}
			}
		}
		s.show(name{pkg: e.Package})
		fmt.Fprintf(s.w, "FAIL  %s  %d passed, %d failed, %.1f s\n", e.Package, c.passed, c.failed, e.Elapsed)
	}
	for n := range s.output {
		if n.pkg == e.Package {
			delete(s.output, n)
		}
	}
}

func (s *summary) show(n name) {
	if out := s.output[n]; out != nil {
		fmt.Fprint(s.w, out.String())
	}
}

// finish writes the summary; false if anything failed. err is how go test ended.
func (s *summary) finish(err error, took time.Duration) bool {
	if err != nil && s.failed == 0 {
		fmt.Fprintln(s.w, "go test:", err)
		s.failed++
	}
	if s.skipped > 0 {
		fmt.Fprintf(s.w, "%d skipped\n", s.skipped)
	}
	fmt.Fprintf(s.w, "in %s\n%d passed, %d failed\n", took.Round(100*time.Millisecond), s.passed, s.failed)
	return s.failed == 0
}
