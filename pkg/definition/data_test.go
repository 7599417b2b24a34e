package definition

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// fromYAML reads YAML as JSON has it.
func fromYAML(t interface{ Fatalf(string, ...any) }, text []byte) any {
	n, err := parseYAML("", text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	var v any
	if err := json.Unmarshal(n.raw(), &v); err != nil {
		t.Fatalf("%v", err)
	}
	return v
}

func TestYAMLOf(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`[]`:       "[]\n",
		`{}`:       "{}\n",
		`null`:     "null\n",
		`"a"`:      "a\n",
		`[1, "1"]`: "- 1\n- \"1\"\n",
		`[{"a": 1, "b": {"c": []}}, [], [[2, 3]], {}]`: "- a: 1\n  b:\n    c: []\n- []\n-\n  - [2, 3]\n- {}\n",
		`{"num": 12345678901234567890.1234567890, "at": "2026-01-31T10:00:00Z", "no": "no", "zip": "0123", "two": "a\nb\n"}`: "num: 12345678901234567890.1234567890\nat: \"2026-01-31T10:00:00Z\"\n\"no\": \"no\"\nzip: \"0123\"\ntwo: |\n  a\n  b\n",
		`{"a": 1, "a": 2}`: `{"a": 1, "a": 2}`, // YAML can't say it
	} {
		if got := string(YAMLOf([]byte(in))); got != want {
			t.Errorf("%s becomes\n%s, want\n%s", in, got, want)
		}
	}
}

// What is written as YAML is read as what it was.
func TestYAMLOfComesBack(t *testing.T) {
	t.Parallel()
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"yes", "~", "1e3", "0x1", "- a", "a: b", "# x", "'", `"`, " x", "x ", "2026-01-31", "a\nb", "{", "<<", "漢字 🔔", "\u2028"})).Filter(func(s string) bool {
		return !strings.ContainsRune(s, 0)
	})
	var value *rapid.Generator[any]
	scalar := rapid.OneOf(rapid.Map(text, func(s string) any { return s }), rapid.Map(rapid.Int32(), func(n int32) any { return float64(n) }), rapid.Map(rapid.Bool(), func(b bool) any { return b }), rapid.Just[any](nil))
	value = rapid.OneOf(scalar, rapid.Deferred(func() *rapid.Generator[any] {
		return rapid.OneOf(
			rapid.Map(rapid.SliceOfN(value, 0, 4), func(list []any) any { return list }),
			rapid.Map(rapid.MapOfN(text, value, 0, 4), func(m map[string]any) any { return m }),
		)
	}))
	rapid.Check(t, func(t *rapid.T) {
		v := value.Draw(t, "value")
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var want any
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		text := YAMLOf(data)
		if got := fromYAML(t, text); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s comes back as %v from\n%s", data, got, text)
		}
	})
}
