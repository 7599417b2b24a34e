package sentence

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// model is a clause that can be evaluated: a leaf is one of eight facts.
type model struct {
	join string
	kids []*model
	fact int
	not  bool
}

func (m *model) holds(facts int) bool {
	result := m.join != "or"
	switch m.join {
	case "":
		result = facts>>m.fact&1 == 1
	case "and":
		for _, k := range m.kids {
			result = result && k.holds(facts)
		}
	default:
		for _, k := range m.kids {
			result = result || k.holds(facts)
		}
	}
	return result != m.not
}

func (m *model) clause() *clause {
	var c *clause
	if m.join == "" {
		name := string(rune('P' + m.fact))
		c = leaf("", name+" holds", name+" fails")
	} else {
		var kids []*clause
		for _, k := range m.kids {
			kids = append(kids, k.clause())
		}
		c = group(m.join, kids)
	}
	if m.not {
		return c.not()
	}
	return c
}

func drawModel(t *rapid.T, depth int) *model {
	m := &model{not: rapid.Bool().Draw(t, "not")}
	kinds := []string{"", "and", "or"}
	if depth == 0 {
		kinds = kinds[:1]
	}
	m.join = rapid.SampledFrom(kinds).Draw(t, "join")
	if m.join == "" {
		m.fact = rapid.IntRange(0, 7).Draw(t, "fact")
		return m
	}
	for range rapid.IntRange(1, 3).Draw(t, "kids") {
		m.kids = append(m.kids, drawModel(t, depth-1))
	}
	return m
}

// read evaluates a sentence as a person who knows but this: "either" begins alternatives,
// which go on to the next ", and"; what stands in parentheses is one thing.
func read(t *rapid.T, text string, facts int) bool {
	for _, part := range split(text, ", and ") {
		alternatives, ok := strings.CutPrefix(part, "either ")
		if !ok {
			if !readList(t, part, facts) {
				return false
			}
			continue
		}
		if len(split(alternatives, " or ")) == 1 {
			t.Fatalf("%q has no alternatives", part)
		}
		if !readList(t, alternatives, facts) {
			return false
		}
	}
	return true
}

// readList reads "P holds, Q holds and R holds", or the same with "or".
func readList(t *rapid.T, text string, facts int) bool {
	alternatives := len(split(text, " or ")) > 1
	if alternatives && len(split(text, " and ")) > 1 {
		t.Fatalf("%q can be read in two ways", text)
	}
	result := !alternatives
	for _, part := range split(text, ", or ", ", and ", " or ", " and ", ", ") {
		var holds bool
		switch {
		case strings.HasPrefix(part, "("):
			holds = readList(t, strings.TrimSuffix(strings.TrimPrefix(part, "("), ")"), facts)
		case len(part) == len("P holds"):
			holds = facts>>(part[0]-'P')&1 == 1
			if strings.HasSuffix(part, " fails") {
				holds = !holds
			}
		default:
			t.Fatalf("%q is no fact, in %q", part, text)
		}
		if alternatives {
			result = result || holds
		} else {
			result = result && holds
		}
	}
	return result
}

// split splits outside parentheses, at the first separator that is there.
func split(text string, separators ...string) []string {
	var parts []string
	depth, start := 0, 0
next:
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '(':
			depth++
		case ')':
			depth--
		}
		for _, s := range separators {
			if depth == 0 && strings.HasPrefix(text[i:], s) {
				parts = append(parts, text[start:i])
				start = i + len(s)
				i = start - 1
				continue next
			}
		}
	}
	return append(parts, text[start:])
}

// A sentence says what the condition means, and can be read in one way only.
func TestOneReading(t *testing.T) {
	long := 0
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t, 3)
		text := m.clause().String()
		if strings.Contains(text, "other condition") || strings.Contains(text, "conditions hold") {
			long++
			t.Skip("too long to be said")
		}
		for facts := range 1 << 8 {
			if got, want := read(t, text, facts), m.holds(facts); got != want {
				t.Fatalf("with facts %08b %q reads as %t, and is %t", facts, text, got, want)
			}
		}
	})
	t.Logf("%d were too long", long)
}
