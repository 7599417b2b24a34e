package spelling_test

import (
	"testing"

	"github.com/rowbell/rowbell/pkg/spelling"
)

func TestMend(t *testing.T) {
	for _, c := range []struct{ word, want string }{
		{"timeuot", `did you mean "timeout"?`},
		{"TIMEOUT", `did you mean "timeout"?`},
		{"ulr", ""},
		{"u", ""},
		{"recipient", ""},
		{"", ""},
	} {
		if got := spelling.Mend(c.word, []string{"url", "timeout", "headers"}); got != c.want {
			t.Errorf("Mend(%q) = %q, want %q", c.word, got, c.want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"same", "same", 0}} {
		if got := spelling.Distance(c.a, c.b); got != c.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := spelling.Distance(c.b, c.a); got != c.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", c.b, c.a, got, c.want)
		}
	}
}
