package app

import "testing"

func TestEnvironment(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]Environment{
		"": {}, " ": {}, "production": {"production", "red"}, "Live shop": {"Live shop", "red"}, "preprod": {"preprod", "orange"}, "Staging": {"Staging", "orange"},
		"dev": {"dev", "green"}, "demo": {"demo", "green"}, "Vienna": {"Vienna", "blue"}, "production:green": {"production", "green"}, "eu-1 : Purple": {"eu-1", "purple"},
	} {
		if got, err := ParseEnvironment(s); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", s, got, err, want)
		}
	}
	for _, s := range []string{":red", "production:", "production:pink", "a name that is far too long to be shown", "two\nlines"} {
		if got, err := ParseEnvironment(s); err == nil {
			t.Errorf("%q is taken as %+v", s, got)
		}
	}
	if e := (Config{Instance: "shop-eu"}).WithDefaults().Environment; e != "shop-eu" {
		t.Errorf("the instance shop-eu is called %q", e)
	}
	if e := (Config{}).WithDefaults().Environment; e != "" {
		t.Errorf("an instance without a name is called %q", e)
	}
}
