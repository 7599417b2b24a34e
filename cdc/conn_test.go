package cdc

import "testing"

func TestIsLoopback(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		network, address string
		want             bool
	}{
		{"tcp", "127.0.0.1:5432", true},
		{"tcp", "127.8.0.1:5432", true},
		{"tcp", "[::1]:5433", true},
		{"tcp", "localhost:5432", true},
		{"unix", "/var/run/postgresql/.s.PGSQL.5432", true},
		{"tcp", "10.0.0.4:5432", false},
		{"tcp", "[2001:db8::1]:5432", false},
		{"tcp", "db.example.com:5432", false},
		{"tcp", "127.0.0.1", false}, // no port: not what a dialer is given
	} {
		if got := isLoopback(c.network, c.address); got != c.want {
			t.Errorf("%s %s: got %v, want %v", c.network, c.address, got, c.want)
		}
	}
}
