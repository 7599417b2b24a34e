package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rowbell/rowbell/pkg/app"
)

// option is an option of one command, beside the settings that all have.
type option struct {
	name        string // without dashes
	placeholder string // of its value; "" = takes none
	help        string
}

// parsed is a command line, taken apart.
type parsed struct {
	args     []string          // what isn't an option
	own      map[string]string // the command's options; "" for those without value
	settings map[string]string // settings by flag name
	help     bool
}

// find finds a command by its name: one of list, which are commands of another one if of
// isn't "". Its name comes back with that before it.
func find(list []command, of, name string) (command, error) {
	what, help := "a command", "rowbell --help"
	if of != "" {
		what, help = "a command of rowbell "+of, "rowbell "+of+" --help"
	}
	var names []string
	for _, c := range list {
		if c.name == name {
			c.name = strings.TrimSpace(of + " " + name)
			return c, nil
		}
		names = append(names, c.name)
	}
	message := fmt.Sprintf("%q is not %s.", name, what)
	if strings.HasPrefix(name, "-") {
		message = fmt.Sprintf("a command must stand before %s.", name)
	} else if near := app.Nearest(name, names); near != "" {
		message += " Did you mean " + near + "?"
	}
	return command{}, usage{message, help}
}

// parse reads options in any order with arguments between them: --name value or
// --name=value, and after -- nothing is an option.
func (c command) parse(words []string) (parsed, error) {
	p := parsed{own: map[string]string{}, settings: map[string]string{}}
	bad := func(format string, args ...any) (parsed, error) {
		return p, usage{fmt.Sprintf(format, args...), "rowbell " + c.name + " --help"}
	}
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		if word == "--" {
			p.args = append(p.args, words...)
			break
		}
		if word == "-h" || word == "--help" {
			p.help = true
			continue
		}
		if len(word) < 2 || word[0] != '-' {
			p.args = append(p.args, word)
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimPrefix(word, "--"), "=")
		if !strings.HasPrefix(word, "--") {
			return bad("unknown option %s. Options are written with two dashes", word)
		}
		into, o, known := c.lookup(name, &p)
		if !known {
			message := "unknown option --" + name + "."
			if near := app.Nearest(name, c.optionNames()); near != "" {
				message += " Did you mean --" + near + "?"
			}
			return bad("%s", message)
		}
		_, isSetting := settingNamed(name)
		switch {
		case o.placeholder == "" && !hasValue && isSetting:
			value = "true"
		case o.placeholder == "" && hasValue && !isSetting:
			return bad("--%s takes no value", name)
		case o.placeholder != "" && !hasValue:
			if len(words) == 0 || strings.HasPrefix(words[0], "--") {
				return bad("--%s wants a value: --%s %s", name, name, o.placeholder)
			}
			value, words = words[0], words[1:]
		}
		if _, twice := into[name]; twice {
			return bad("--%s is given twice", name)
		}
		into[name] = value
	}
	if p.help {
		return p, nil
	}
	most, least := strings.Fields(c.args), 0
	for _, arg := range most {
		if !strings.HasPrefix(arg, "[") { // those in brackets come last, and may be left out
			least++
		}
	}
	endless := strings.HasSuffix(strings.TrimRight(c.args, "]"), "…") // the last one may come again
	if len(p.args) > len(most) && !endless {
		return bad("%q is one argument too many. Write: rowbell %s", p.args[len(most)], strings.TrimSpace(c.name+" "+c.args))
	} else if len(p.args) < least {
		return bad("%s is missing. Write: rowbell %s %s", most[len(p.args)], c.name, c.args)
	}
	return p, nil
}

// arg is an argument by its place, "" if it was left out.
func (p parsed) arg(i int) string {
	if i < len(p.args) {
		return p.args[i]
	}
	return ""
}

// lookup finds an option of the command, or a setting, and where its value belongs. A
// command's option hides a setting of the same name.
func (c command) lookup(name string, p *parsed) (into map[string]string, o option, ok bool) {
	if i := slices.IndexFunc(c.options, func(o option) bool { return o.name == name }); i >= 0 {
		return p.own, c.options[i], true
	}
	if s, found := settingNamed(name); found && !c.noSettings {
		return p.settings, option{name, s.Placeholder, s.Help}, true
	}
	return nil, option{}, false
}

func settingNamed(name string) (app.Setting, bool) {
	for _, s := range app.Settings() {
		if s.Flag == name {
			return s, true
		}
	}
	return app.Setting{}, false
}

func (c command) optionNames() []string {
	names := []string{"help"}
	for _, o := range c.options {
		names = append(names, o.name)
	}
	if !c.noSettings {
		for _, s := range app.Settings() {
			names = append(names, s.Flag)
		}
	}
	return names
}
