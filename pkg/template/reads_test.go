package template

import (
	"slices"
	"strings"
	"testing"
)

func TestVariables(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		`no template`: "",
		`{{ new.total }} of {{ old.total | times: new.count }}`:                                         "new.total old.total new.count",
		`{{ new.meta.customer.tier }}, {{ new["odd name"] }}`:                                           "new.meta new.odd name",
		`{{ new }} {{ new[old.status] }} {{ changed | join: ", " }}`:                                    "new old.status changed",
		`{% if changed contains "status" and new.a == new.b %}x{% endif %}`:                             "changed.status new.a new.b",
		`{% unless new.a %}{{ new.b }}{% elsif old.c %}{{ old.d }}{% else %}{{ new.e }}{% endunless %}`: "new.a new.b old.c old.d new.e",
		`{% case new.status %}{% when "a", old.status %}{{ new.x }}{% else %}{{ new.y }}{% endcase %}`:  "new.status old.status new.x new.y",
		`{% assign t = new.total | plus: 1 %}{{ t }}{{ t.size }}{{ u }}`:                                "new.total u",
		`{% capture c %}{{ new.a }}{% assign b = 1 %}{% endcapture %}{{ c }}{{ b }}`:                    "new.a",
		`{% if new.a %}{% assign new = old %}{{ new.b }}{% endif %}{{ new.c }}`:                         "new.a old new.c",
		`{{ (new.a or old.b) | default: new.c, allow_false: new.d }}`:                                   "new.a old.b new.c new.d",
		`{% comment %}{{ new.a }}{% endcomment %}{% raw %}{{ new.b }}{% endraw %}{{ "new.c" }}{{ 1 }}`:  "",
		`{{ new.a }}{{ new.a }}{{ changed contains new.b }}`:                                            "new.a changed new.b",
	} {
		tpl, err := Compile(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got := strings.Join(tpl.Variables(), " "); got != want {
			t.Errorf("%s reads %q, want %q", source, got, want)
		}
	}
}

// What Variables says is enough: without the rest the output is the same.
func TestVariablesAreEnough(t *testing.T) {
	t.Parallel()
	vars := map[string]any{
		"new":     map[string]any{"a": "1", "b": map[string]any{"c": "2"}, "d": "3"},
		"old":     map[string]any{"a": "4", "d": "5"},
		"changed": []any{"a", "d"},
	}
	for _, source := range []string{
		`{{ new.a }}{{ new.b.c }}{% if old.d == "5" %}{{ old.a }}{% endif %}`,
		`{% assign x = new.b %}{{ x.c }}{% if changed contains "a" %}!{% endif %}`,
		`{{ new[old.none] | default: new.d }}`,
	} {
		tpl, err := Compile(source)
		if err != nil {
			t.Fatal(err)
		}
		reads := tpl.Variables()
		less := map[string]any{}
		for name, v := range vars {
			if m, ok := v.(map[string]any); ok && !slices.Contains(reads, name) {
				part := map[string]any{}
				for key, value := range m {
					if slices.Contains(reads, name+"."+key) {
						part[key] = value
					}
				}
				v = part
			}
			less[name] = v
		}
		want, err := tpl.Render(vars)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tpl.Render(less)
		if err != nil || got != want {
			t.Errorf("%s gives %q with what it reads (%q), and %q with all; %v", source, got, reads, want, err)
		}
	}
}
