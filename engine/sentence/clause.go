package sentence

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// clause is a condition on its way into words: a leaf, or an "and" or "or" of others. It
// is not changed once it is made.
type clause struct {
	join string // "and" or "or"; "" for a leaf
	kids []*clause

	// A leaf is subject + " " + is: "its status" "is approved"; is alone if there is no
	// subject. isnt is the exact opposite, NULL included.
	subject, is, isnt string
	column            string // as it is written; "" if it is about none
	kind              kind
	value             string // for those kinds that have one
}

// kind is what merge must know of a leaf. A negated one is never more than plain.
type kind int

const (
	plain   kind = iota
	changes      // its status changes
	equals       // its status is value
	was          // its previous status is value
	becomes      // its status becomes value
	leaves       // its status changes from value
	moves        // its total increases
)

func leaf(subject, is, isnt string) *clause { return &clause{subject: subject, is: is, isnt: isnt} }

func group(join string, kids []*clause) *clause {
	if len(kids) == 1 {
		return kids[0]
	}
	return &clause{join: join, kids: kids}
}

// unreadable stands for a condition that makes no sense.
func unreadable(what string) *clause {
	return leaf("", "a condition holds that can't be read ("+what+")", "a condition doesn't hold that can't be read ("+what+")")
}

// not is the opposite: De Morgan's laws hold, since the logic is two-valued.
func (c *clause) not() *clause {
	if c.join == "" {
		return &clause{subject: c.subject, is: c.isnt, isnt: c.is, column: c.column}
	}
	n := &clause{join: "and"}
	if c.join == "and" {
		n.join = "or"
	}
	for _, k := range c.kids {
		n.kids = append(n.kids, k.not())
	}
	return n
}

// leafCount counts the leaves below.
func (c *clause) leafCount() int {
	if c.join == "" {
		return 1
	}
	n := 0
	for _, k := range c.kids {
		n += k.leafCount()
	}
	return n
}

// simple flattens groups of the same kind and says what belongs together in one leaf.
func (c *clause) simple() *clause {
	if c.join == "" {
		return c
	}
	var kids []*clause
	for _, k := range c.flat(nil) {
		k = k.simple()
		if k.join != "" || !slices.ContainsFunc(kids, k.same) {
			kids = append(kids, k)
		}
	}
	if c.join == "and" {
		return group("and", mergeSubjects(mergeChanges(kids)))
	}
	return group("or", mergeAlternatives(kids))
}

// flat appends the kids, and those of kids that are groups of the same kind.
func (c *clause) flat(list []*clause) []*clause {
	for _, k := range c.kids {
		if k.join == c.join {
			list = k.flat(list)
		} else {
			list = append(list, k)
		}
	}
	return list
}

func (c *clause) same(d *clause) bool {
	return d.join == "" && c.subject == d.subject && c.is == d.is
}

// mergeChanges puts a column's change and what it is before and after into one leaf:
// "its status changes from new to approved".
func mergeChanges(kids []*clause) []*clause {
	of := map[string][]*clause{} // by column: the leaves that are more than plain
	for _, k := range kids {
		if k.column != "" && k.kind != plain {
			of[k.column] = append(of[k.column], k)
		}
	}
	done := map[string]bool{}
	var merged []*clause
	for _, k := range kids {
		if k.column == "" || k.kind == plain {
			merged = append(merged, k)
			continue
		}
		if !done[k.column] {
			done[k.column] = true
			merged = append(merged, change(of[k.column])...)
		}
	}
	return merged
}

// change merges leaves about one column.
func change(list []*clause) []*clause {
	first := func(kinds ...kind) (found *clause, n int) {
		for _, k := range list {
			if slices.Contains(kinds, k.kind) {
				n++
				if found == nil {
					found = k
				}
			}
		}
		return found, n
	}
	changed, _ := first(changes, becomes, leaves)
	moved, _ := first(moves)
	if changed == nil {
		return list
	}
	after, afters := first(becomes, equals)
	before, befores := first(leaves, was)
	subject := ofRow.col(changed.column).subject
	var made *clause
	switch {
	case afters > 1 || befores > 1:
		return list
	case after != nil && before != nil:
		made = leaf(subject, "changes from "+before.value+" to "+after.value, "does not change from "+before.value+" to "+after.value)
	case after != nil && before == nil && after.kind == becomes:
		made = after
	case after != nil:
		made = leaf(subject, "becomes "+after.value, "does not become "+after.value)
	case before != nil:
		made = leaf(subject, "changes from "+before.value, "does not change from "+before.value)
	case moved == nil:
		made = changed
	}
	var result []*clause
	if made != nil {
		result = append(result, made)
	}
	for _, k := range list {
		if k.kind == moves {
			result = append(result, k)
		}
	}
	return result
}

// mergeSubjects says of neighbours what they have in common once: "its total is at least
// 1000 and under 5000".
func mergeSubjects(kids []*clause) []*clause {
	var merged []*clause
	for i := 0; i < len(kids); {
		k := kids[i]
		j := i + 1
		for k.join == "" && k.subject != "" && !k.several() && j < len(kids) && kids[j].join == "" && kids[j].subject == k.subject {
			j++
		}
		if j-i > 1 && j-i <= 4 {
			said := []string{k.is}
			for _, other := range kids[i+1 : j] {
				next := other.is
				if strings.HasPrefix(k.is, "is ") {
					next = strings.TrimPrefix(next, "is ")
				}
				said = append(said, next)
			}
			merged = append(merged, leaf(k.subject, join(said, "and"), ""))
		} else {
			merged = append(merged, kids[i:j]...)
		}
		i = j
	}
	return merged
}

// mergeAlternatives does the same for an "or", where all of it is about one subject.
func mergeAlternatives(kids []*clause) []*clause {
	if len(kids) < 2 || len(kids) > maxClauses {
		return kids
	}
	changing, about := true, true
	var alternatives, columns []string
	for _, k := range kids {
		changing = changing && k.join == "" && k.kind == changes
		about = about && k.join == "" && k.subject != "" && k.subject == kids[0].subject && strings.HasPrefix(k.is, "is ")
		alternatives = append(alternatives, strings.TrimPrefix(k.is, "is "))
		columns = append(columns, k.column)
	}
	switch {
	case changing:
		return []*clause{anyChanges(kids[0].its(), columns)}
	case about && len(kids) == 2:
		return []*clause{leaf(kids[0].subject, "is either "+join(alternatives, "or"), "")}
	case about:
		return []*clause{leaf(kids[0].subject, "is "+join(alternatives, "or"), "")}
	}
	return kids
}

// its is the first word of the subject.
func (c *clause) its() string {
	its, _, _ := strings.Cut(c.subject, " ")
	return its
}

// anyChanges: "its status or total changes".
func anyChanges(its string, columns []string) *clause {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = column(c)
	}
	if len(list) == 1 {
		c := leaf(its+" "+list[0], "changes", "does not change")
		c.column, c.kind = columns[0], changes
		return c
	}
	any := "one of " + its + " " + some(list, "or")
	none := "none of " + its + " " + some(list, "and")
	if len(list) <= 3 {
		any = its + " " + join(list, "or")
		none = "neither " + its + " " + join(list, "nor "+its)
		if len(list) == 3 {
			none = "none of " + its + " " + join(list, "and")
		}
	}
	return leaf("", any+" changes", none+" changes")
}

// String says the clause: "its status is open and its total is over 10, and either its
// note contains “x” or its city is Porto".
func (c *clause) String() string {
	c = c.simple()
	for _, most := range []int{maxClauses, fewListed} {
		if text := c.top(most); utf8.RuneCountInString(text) <= 600 {
			return text
		}
	}
	return c.counted()
}

func (c *clause) counted() string {
	return fmt.Sprintf("%d conditions hold, which are too many to say here", c.leafCount())
}

func (c *clause) top(most int) string {
	switch c.join {
	case "":
		return c.said()
	case "or":
		return "either " + c.list(most)
	}
	// What is plain comes first, so that each "either" stands by itself.
	var facts, groups []string
	for i, k := range c.kids {
		if i == most-1 && len(c.kids) > most {
			facts = append(facts, count(len(c.kids)-i, "other condition")+" "+hold(len(c.kids)-i))
			break
		}
		if k.join == "" {
			facts = append(facts, k.said())
		} else {
			groups = append(groups, k.top(most))
		}
	}
	slices.SortStableFunc(facts, func(a, b string) int { return either(a) - either(b) })
	if len(facts) > 0 {
		groups = slices.Insert(groups, 0, join(facts, "and"))
	}
	return strings.Join(groups, ", and ")
}

// either is 1 for a fact that is an alternative.
func either(fact string) int {
	if strings.Contains(fact, " is either ") {
		return 1
	}
	return 0
}

func hold(n int) string {
	if n == 1 {
		return "holds"
	}
	return "hold"
}

func (c *clause) said() string {
	switch {
	case c.subject == "":
		return c.is
	case c.several():
		verb, rest, _ := strings.Cut(c.is, " ")
		return strings.TrimSpace(c.subject + " " + ofSeveral(verb) + " " + rest)
	}
	return c.subject + " " + c.is
}

// several says that the subject is a column whose name is plural: its tags.
func (c *clause) several() bool {
	if !strings.HasPrefix(c.subject, "its ") && !strings.HasPrefix(c.subject, "whose ") && !strings.HasPrefix(c.subject, "the actor's ") {
		return false
	}
	last := c.subject[strings.LastIndexByte(c.subject, ' ')+1:]
	one, ok := singular(last)
	return ok && one != last && strings.ToLower(last) == last
}

// ofSeveral is the verb of several things: they are, contain, change.
func ofSeveral(verb string) string {
	switch verb {
	case "is":
		return "are"
	case "does":
		return "do"
	case "has":
		return "have"
	case "matches":
		return "match"
	}
	return strings.TrimSuffix(verb, "s")
}

// list joins the kids; groups among them stand in parentheses.
func (c *clause) list(most int) string {
	var parts []string
	for i, k := range c.kids {
		if i == most-1 && len(c.kids) > most {
			parts = append(parts, "one of "+count(len(c.kids)-i, "other condition")+" holds")
			if c.join == "and" {
				parts[i] = count(len(c.kids)-i, "other condition") + " hold"
			}
			break
		}
		if k.join == "" {
			parts = append(parts, k.said())
		} else {
			parts = append(parts, "("+k.list(most)+")")
		}
	}
	return join(parts, c.join)
}
