package demo

import "testing"

func TestFetching(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		read, total int64
		want        string
	}{
		{0, 0, "Fetch PostgreSQL …"},
		{1_250_000, 0, "Fetch PostgreSQL: 1.2 MB"},
		{11_500_000, 23_000_000, "Fetch PostgreSQL ███████████████░░░░░░░░░░░░░░░ 11.5 of 23.0 MB"},
		{24_000_000, 23_000_000, "Fetch PostgreSQL ██████████████████████████████ 24.0 of 23.0 MB"},
	} {
		if got := fetching(c.read, c.total); got != c.want {
			t.Errorf("%d of %d: %q, want %q", c.read, c.total, got, c.want)
		}
	}
}
