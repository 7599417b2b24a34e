package condition

import (
	"strings"
	"testing"

	"github.com/rowbell/rowbell/pkg/change"
)

func TestOperatorsOfTypes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		t    change.Type
		want string
	}{
		{change.Type{Name: "text"}, "eq ne gt gte lt lte in not_in contains starts_with matches is_null not_null between changed changed_from changed_to"},
		{change.Type{Name: "bool", Kind: change.Bool}, "eq ne in not_in is_null not_null changed changed_from changed_to"},
		{change.Type{Name: "int4", Kind: change.Int}, "eq ne gt gte lt lte in not_in is_null not_null between changed changed_from changed_to"},
		{change.Type{Name: "numeric", Kind: change.Number}, "eq ne gt gte lt lte in not_in is_null not_null between changed changed_from changed_to"},
		{change.Type{Name: "timestamptz", Kind: change.TimestampTZ}, "eq ne gt gte lt lte in not_in is_null not_null between changed changed_from changed_to"},
		{change.Type{Name: "_text", Kind: change.Array, Elem: change.Text}, "eq ne in not_in contains is_null not_null changed changed_from changed_to"},
	} {
		if got := strings.Join(Operators(c.t), " "); got != c.want {
			t.Errorf("type %s: %s, want %s", c.t.Name, got, c.want)
		}
	}
}
