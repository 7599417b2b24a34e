package app

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Environment is how the pages tell installations apart.
type Environment struct {
	Name   string // "" = they don't
	Colour string // one of EnvironmentColours
}

// EnvironmentColours are those there are.
var EnvironmentColours = []string{"red", "orange", "yellow", "green", "teal", "blue", "purple", "grey"}

// ParseEnvironment reads the setting environment: a name, or a name, a colon and a colour.
// Without a colour the name decides: what is live is red, what is on the way there orange, what
// people try things on green, and all else blue.
func ParseEnvironment(s string) (Environment, error) {
	name, colour, given := strings.Cut(strings.TrimSpace(s), ":")
	e := Environment{strings.TrimSpace(name), strings.ToLower(strings.TrimSpace(colour))}
	switch {
	case e.Name == "" && !given:
		return Environment{}, nil
	case e.Name == "" || utf8.RuneCountInString(e.Name) > 24 || !utf8.ValidString(e.Name) || strings.ContainsFunc(e.Name, unicode.IsControl):
		return e, fmt.Errorf("%.40q has no name that could be shown. Write 1 to 24 characters, as staging or production:red", s)
	case given && !slices.Contains(EnvironmentColours, e.Colour):
		return e, fmt.Errorf("%.20q is no colour. Use %s", colour, strings.Join(EnvironmentColours, ", "))
	case !given:
		e.Colour = colourOf(strings.ToLower(e.Name))
	}
	return e, nil
}

func colourOf(name string) string {
	for _, c := range []struct {
		colour string
		words  []string
	}{
		{"orange", []string{"stag", "preprod", "pre-prod", "uat", "accept"}},
		{"red", []string{"prod", "live"}},
		{"green", []string{"dev", "test", "local", "demo", "sandbox", "qa"}},
	} {
		if slices.ContainsFunc(c.words, func(w string) bool { return strings.Contains(name, w) }) {
			return c.colour
		}
	}
	return "blue"
}
