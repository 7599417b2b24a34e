package actions_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/actions"
)

func TestParseRate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text      string
		perSecond float64
		problem   string
	}{
		{"10/s", 10, ""},
		{"600/m", 10, ""},
		{" 36 / h ", 0.01, ""},
		{"100000/s", 100_000, ""},
		{"0/s", 0, "out of range"},
		{"-1/s", 0, "out of range"},
		{"100001/s", 0, "out of range"},
		{"1.5/s", 0, `"1.5/s" is no rate`},
		{"10", 0, `"10" is no rate`},
		{"", 0, `write a whole number and its time, as "10/s"`},
		{"10/d", 0, "has no time that is known"},
		{"10/" + strings.Repeat("s", 1000), 0, "…"},
	} {
		r, err := actions.ParseRate(c.text)
		if c.problem != "" {
			if err == nil || !strings.Contains(err.Error(), c.problem) || len(err.Error()) > 250 {
				t.Errorf("%.20q: got %v, want %q", c.text, err, c.problem)
			}
			continue
		}
		if err != nil || r.PerSecond() != c.perSecond {
			t.Errorf("%q: got %v, %v, want %v a second", c.text, r.PerSecond(), err, c.perSecond)
		}
		if again, err := actions.ParseRate(r.String()); err != nil || again != r {
			t.Errorf("%q: written as %q it is %v, %v", c.text, r, again, err)
		}
	}
}

func TestLowerLimits(t *testing.T) {
	t.Parallel()
	none := actions.Limits{}
	some := actions.Limits{Rate: actions.Rate{N: 10, Per: time.Second}, Concurrency: 4}
	other := actions.Limits{Rate: actions.Rate{N: 60, Per: time.Minute}, Concurrency: 8}
	want := actions.Limits{Rate: other.Rate, Concurrency: 4}
	if got := some.Lower(other); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := other.Lower(some); got != want {
		t.Errorf("the other way round: got %v, want %v", got, want)
	}
	if none.Lower(some) != some || some.Lower(none) != some || none.Lower(none) != none {
		t.Error("no limit is not the highest")
	}
}
