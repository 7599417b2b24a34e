package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestSummary(t *testing.T) {
	t.Parallel()
	const passing = `{"Action":"start","Package":"a"}
{"Action":"run","Package":"a","Test":"TestX"}
{"Action":"output","Package":"a","Test":"TestX","Output":"noise\n"}
{"Action":"run","Package":"a","Test":"TestX/sub"}
{"Action":"pass","Package":"a","Test":"TestX/sub"}
{"Action":"pass","Package":"a","Test":"TestX"}
{"Action":"output","Package":"a","Output":"PASS\n"}
{"Action":"pass","Package":"a","Elapsed":1.25}
`
	for _, c := range []struct {
		name, stream string
		err          error
		want         []string // in this order
		not          string
		ok           bool
	}{
		{"all pass", passing, nil, []string{"ok    a  2 passed, 1.2 s", "2 passed, 0 failed\n"}, "noise", true},
		{"a test fails", passing + `{"Action":"run","Package":"b","Test":"TestY"}
{"Action":"output","Package":"b","Test":"TestY","Output":"=== RUN   TestY (noise)\n"}
{"Action":"output","Package":"b","Test":"TestY","Output":"y.go:1: why\n"}
{"Action":"fail","Package":"b","Test":"TestY"}
{"Action":"output","Package":"b","Output":"FAIL\n"}
{"Action":"fail","Package":"b","Elapsed":0.5}
`, errors.New("exit status 1"), []string{"y.go:1: why", "FAIL  b  0 passed, 1 failed", "2 passed, 1 failed\n"}, "noise", false},
		{"a package does not compile", `{"ImportPath":"b","Action":"build-output","Output":"b.go:1: undefined: x\n"}
{"ImportPath":"b","Action":"build-fail"}
{"Action":"start","Package":"b"}
{"Action":"output","Package":"b","Output":"FAIL\tb [build failed]\n"}
{"Action":"fail","Package":"b","Elapsed":0,"FailedBuild":"b"}
`, errors.New("exit status 1"), []string{"undefined: x", "[build failed]", "0 passed, 1 failed\n"}, "", false},
		{"a package runs into the timeout", `{"Action":"run","Package":"b","Test":"TestY"}
{"Action":"output","Package":"b","Test":"TestY","Output":"panic: test timed out\n"}
{"Action":"fail","Package":"b","Elapsed":10}
`, errors.New("exit status 1"), []string{"panic: test timed out", "0 passed, 1 failed\n"}, "", false},
		{"TestMain finds a leak after the tests passed", `{"Action":"pass","Package":"b","Test":"TestY"}
{"Action":"output","Package":"b","Output":"goroutines leaked\n"}
{"Action":"fail","Package":"b","Elapsed":1}
`, errors.New("exit status 1"), []string{"goroutines leaked", "1 passed, 1 failed\n"}, "", false},
		{"a skip is shown", `{"Action":"output","Package":"b","Test":"TestY","Output":"not here\n"}
{"Action":"skip","Package":"b","Test":"TestY"}
{"Action":"pass","Package":"b"}
`, nil, []string{"not here", "1 skipped", "0 passed, 0 failed\n"}, "", true},
		{"go test itself fails", "no such package\n", errors.New("exit status 1"), []string{"no such package", "exit status 1", "0 passed, 1 failed\n"}, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			s := newSummary(&out)
			if err := s.read(strings.NewReader(c.stream)); err != nil {
				t.Fatal(err)
			}
			if ok := s.finish(c.err, time.Second); ok != c.ok {
				t.Errorf("finish says %t", ok)
			}
			rest := out.String()
			for _, want := range c.want {
				_, after, found := strings.Cut(rest, want)
				if !found {
					t.Fatalf("no %q where it should be in\n%s", want, out.String())
				}
				rest = after
			}
			if rest != "" {
				t.Errorf("after the summary comes %q", rest)
			}
			if c.not != "" && strings.Contains(out.String(), c.not) {
				t.Errorf("%q is shown", c.not)
			}
		})
	}
}
