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

// ownOptions are the options that only this command and some others have.
func (c command) ownOptions() []option {
	var list []option
	for _, o := range c.options {
		if o.name == jsonOption.name {
			list = append(list, outputOption)
			o = jsonOption
		}
		list = append(list, o)
	}
	return list
}

// parsed is a command line, taken apart.
type parsed struct {
	args     []string          // what isn't an option
	own      map[string]string // the command's options; "" for those without value
	settings map[string]string // settings by flag name
	general  map[string]string // outputOption and colourOption
	help     bool
	output   outputFormat
	colour   colourMode
}

// jsonOption marks a command that shows something: it has outputOption too.
var jsonOption = option{"json", "", "The same as --output json"}

var (
	outputOption = option{"output", "FORMAT", "How it is shown: table (if not given), json or yaml"}
	colourOption = option{"color", "WHEN", "Colours: always, never or auto (if not given), which is on terminals"}
)

// shows says that the command shows something, and so has --output.
func (c command) shows() bool {
	return slices.ContainsFunc(c.options, func(o option) bool { return o.name == jsonOption.name })
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
//
// It is our own and not a library's (cobra and kong were looked at): each setting is an option
// of each command, a command's option may hide one, every message says how the command is
// written, and an option given twice is an error. With a library each of these is a hook
// that is longer than what it saves. What writing scripts for four shells takes is cobra's
// (completion.go).
func (c command) parse(words []string) (parsed, error) {
	p := parsed{own: map[string]string{}, settings: map[string]string{}, general: map[string]string{}}
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
		if !known && name == "key" {
			return bad("a key on a command line is seen by everyone on the machine. Give it in ROWBELL_KEY, or by --key-file FILE")
		}
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
	if message := p.readGeneral(); message != "" {
		return bad("%s", message)
	}
	most, least := strings.Fields(c.args), 0
	for _, arg := range most {
		if !strings.HasPrefix(arg, "[") { // those in brackets come last, and may be left out
			least++
		}
	}
	if len(p.args) > len(most) && !c.endless() {
		return bad("%q is one argument too many. Write: rowbell %s", p.args[len(most)], strings.TrimSpace(c.name+" "+c.args))
	} else if len(p.args) < least {
		return bad("%s is missing. Write: rowbell %s %s", strings.TrimSuffix(most[len(p.args)], "…"), c.name, c.args)
	}
	return p, nil
}

// endless says that the last argument may come again.
func (c command) endless() bool { return strings.HasSuffix(strings.TrimRight(c.args, "]"), "…") }

// readGeneral reads --output and --color, and returns what is wrong with them.
func (p *parsed) readGeneral() (problem string) {
	output, given := p.general[outputOption.name]
	_, asJSON := p.own[jsonOption.name]
	switch {
	case given && !slices.Contains(outputFormats, output):
		return fmt.Sprintf("there is no output %q; it is table, json or yaml", output)
	case given && asJSON && output != string(outputJSON):
		return "either --json or --output " + output + ", not both"
	case asJSON:
		output = string(outputJSON)
	}
	p.output = outputFormat(output)
	if p.output == outputJSON || p.output == outputYAML {
		p.own[jsonOption.name] = "" // what is not for people is the same but for how it is written
	}
	colour, given := p.general[colourOption.name]
	if given && !slices.Contains(colourModes, colour) {
		return fmt.Sprintf("--color is always, never or auto, not %q", colour)
	}
	p.colour = colourMode(colour)
	return ""
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
	switch {
	case name == outputOption.name && c.shows():
		return p.general, outputOption, true
	case name == colourOption.name:
		return p.general, colourOption, true
	}
	if s, found := settingNamed(name); found && !c.noSettings {
		return p.settings, option{name, s.Placeholder, s.Help}, true
	}
	return nil, option{}, false
}

func settingNamed(name string) (app.Setting, bool) {
	for _, s := range app.Settings() {
		if s.Flag == name && s.IsOption() {
			return s, true
		}
	}
	return app.Setting{}, false
}

func (c command) optionNames() []string {
	names := []string{"help", colourOption.name}
	for _, o := range c.ownOptions() {
		names = append(names, o.name)
	}
	if !c.noSettings {
		for _, s := range app.Settings() {
			if s.IsOption() {
				names = append(names, s.Flag)
			}
		}
	}
	return names
}
