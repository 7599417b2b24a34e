package main

import (
	"os"
	"strings"
	"testing"
)

// What tenants and receivers wrote doesn't steer the terminal of whoever looks at it.
func TestTame(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Order 7\tpaid\n":                       "Order 7\tpaid\n",
		"größer → 🔔":                            "größer → 🔔",
		"\x1b[32m✓\x1b[0m  wal_level\n":         "\x1b[32m✓\x1b[0m  wal_level\n",
		"\x1b[1;31mred\x1b[m":                   "\x1b[1;31mred\x1b[m",
		"a\r\nb\rc":                             "a\nb␍c",
		"\x1b]0;title\x07":                      "␛]0;title␇",
		"\x1b]52;c;cm0gLXJmIC8=\x07":            "␛]52;c;cm0gLXJmIC8=␇",
		"\x1b[2J\x1b[1;1H":                      "␛[2J␛[1;1H",
		"\x1b[31":                               "␛[31",
		"\x1b":                                  "␛",
		"\u009b2J\u009d0;x\u009c":               "\uFFFD2J\uFFFD0;x\uFFFD",
		"a\b\x7fb":                              "a␈\uFFFDb",
		"cut \xe2\x86":                          "cut \xe2\x86",
		"\x1bP+q544e\x1b\\" + "\x1b_x\x1b\\end": "␛P+q544e␛\\␛_x␛\\end",
	} {
		var b strings.Builder
		n, err := tame{&b}.Write([]byte(in))
		if err != nil || n != len(in) || b.String() != want {
			t.Errorf("%q shows as %q (%d bytes of %d, %v), want %q", in, b.String(), n, len(in), err, want)
		}
	}
	_, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pipe.Close() })
	if w := printer(pipe, false); w != pipe {
		t.Errorf("a pipe is written to through %T", w)
	}
}
