package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/rowbell/rowbell/pkg/app"
	"github.com/rowbell/rowbell/pkg/store"
)

// completeWord is the command by which a shell's script asks what could stand where the
// cursor is. It is in no list.
const completeWord = cobra.ShellCompRequestCmd

// completeWithin is how long the database may take: somebody waits with a finger on a key.
const completeWithin = time.Second

// offer is what could be written in one place.
type offer struct {
	words   []word
	files   bool // names of files, which the shell knows
	noSpace bool // more belongs to the word
}

// word is one of the words that could be written, and what it means.
type word struct{ text, says string }

// complete writes what could stand in the place of the last of words, one a line with what
// it means behind a tab, and then how the shell is to take it. It says nothing of problems:
// a message would stand in the middle of what somebody writes.
func complete(ctx context.Context, w io.Writer, words []string) int {
	ctx, cancel := context.WithTimeout(ctx, completeWithin)
	defer cancel()
	if len(words) == 0 {
		words = []string{""}
	}
	o := offered(ctx, words[:len(words)-1], words[len(words)-1])
	directive := cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	if o.files {
		directive = cobra.ShellCompDirectiveDefault
	}
	if o.noSpace {
		directive |= cobra.ShellCompDirectiveNoSpace
	}
	var b strings.Builder
	for _, one := range o.words {
		if strings.ContainsFunc(one.text, unicode.IsControl) {
			continue // no shell could insert it
		}
		b.WriteString(one.text)
		if one.says != "" {
			b.WriteString("\t" + oneLine(one.says))
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, ":%d\n", directive)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return exitError
	}
	return exitOK
}

// offered says what could stand behind the words before.
func offered(ctx context.Context, before []string, begun string) offer {
	if len(before) == 0 {
		if strings.HasPrefix(begun, "-") {
			return starting(begun, offer{words: []word{{"--help", ""}, {"--version", ""}}})
		}
		o := offer{words: []word{{"help", "Tell more of a command, or of settings, output or exit-codes"}}}
		for _, c := range commands() {
			o.words = append(o.words, word{c.name, c.short})
		}
		return starting(begun, o)
	}
	if before[0] == "help" {
		return starting(begun, helpOffer(before[1:]))
	}
	c, err := find(commands(), "", before[0])
	if err != nil {
		return offer{}
	}
	before = before[1:]
	if len(c.sub) > 0 {
		if len(before) == 0 && !strings.HasPrefix(begun, "-") {
			return starting(begun, subOffer(c))
		}
		if len(before) > 0 && !strings.HasPrefix(before[0], "-") {
			if c, err = find(c.sub, c.name, before[0]); err != nil {
				return offer{}
			}
			before = before[1:]
		}
	}
	return c.offered(ctx, before, begun)
}

func subOffer(c command) offer {
	var o offer
	for _, s := range c.sub {
		o.words = append(o.words, word{s.name, s.short})
	}
	return o
}

// helpOffer is what could stand behind help and these words.
func helpOffer(before []string) offer {
	var o offer
	switch len(before) {
	case 0:
		for _, t := range topics() {
			o.words = append(o.words, word{t.name, t.short})
		}
		for _, c := range commands() {
			o.words = append(o.words, word{c.name, c.short})
		}
	case 1:
		if c, err := find(commands(), "", before[0]); err == nil {
			return subOffer(c)
		}
	}
	return o
}

// starting leaves those that start with what is written already.
func starting(begun string, o offer) offer {
	o.words = slices.DeleteFunc(o.words, func(w word) bool { return !strings.HasPrefix(w.text, begun) })
	return o
}

// offered says what could stand behind a command's words.
func (c command) offered(ctx context.Context, before []string, begun string) offer {
	p := parsed{own: map[string]string{}, settings: map[string]string{}, general: map[string]string{}}
	onlyArgs, waiting := false, "" // waiting: the option whose value comes next
	for _, w := range before {
		name, value, hasValue := strings.Cut(strings.TrimPrefix(w, "--"), "=")
		switch {
		case waiting != "":
			into, _, _ := c.lookup(waiting, &p)
			into[waiting], waiting = w, ""
		case onlyArgs || !strings.HasPrefix(w, "-"):
			p.args = append(p.args, w)
		case w == "--":
			onlyArgs = true
		default:
			into, o, known := c.lookup(name, &p)
			switch {
			case !known:
			case o.placeholder != "" && !hasValue:
				waiting = name
			default:
				into[name] = value
			}
		}
	}
	if waiting != "" {
		return c.valueOffer(ctx, &p, waiting, begun)
	}
	if name, value, is := strings.Cut(strings.TrimPrefix(begun, "--"), "="); is && !onlyArgs && strings.HasPrefix(begun, "--") {
		return c.valueOffer(ctx, &p, name, value)
	}
	if strings.HasPrefix(begun, "-") && !onlyArgs {
		return c.optionOffer(&p, begun)
	}
	names := strings.Fields(c.args)
	if len(names) == 0 {
		return offer{}
	}
	at := len(p.args)
	if at >= len(names) {
		if !c.endless() {
			return offer{}
		}
		at = len(names) - 1
	}
	name := strings.Trim(names[at], "[]…")
	o := c.wordOffer(ctx, &p, name, name, begun)
	o.words = slices.DeleteFunc(o.words, func(w word) bool { return slices.Contains(p.args, w.text) })
	return o
}

// optionOffer are the options that aren't given yet. Settings come only where no other option
// begins so: there are many, and few are given like this.
func (c command) optionOffer(p *parsed, begun string) offer {
	var o offer
	add := func(given map[string]string, name, help string) {
		if _, is := given[name]; !is {
			o.words = append(o.words, word{"--" + name, help})
		}
	}
	for _, own := range c.ownOptions() {
		given := p.own
		if own.name == outputOption.name {
			given = p.general
		}
		add(given, own.name, own.help)
	}
	add(p.general, colourOption.name, colourOption.help)
	o.words = append(o.words, word{"--help", ""})
	if o = starting(begun, o); c.noSettings || len(o.words) > 0 {
		return o
	}
	for _, s := range app.Settings() {
		if s.IsOption() && !slices.ContainsFunc(c.options, func(o option) bool { return o.name == s.Flag }) {
			add(p.settings, s.Flag, s.Help)
		}
	}
	return starting(begun, o)
}

// valueOffer is what the value of an option could be.
func (c command) valueOffer(ctx context.Context, p *parsed, name, begun string) offer {
	_, o, known := c.lookup(name, p)
	if !known {
		return offer{}
	}
	if s, is := settingNamed(name); is && !slices.ContainsFunc(c.options, func(o option) bool { return o.name == name }) {
		if s.Placeholder == "FILE" {
			return offer{files: true}
		}
		return fixed(begun, s.Values())
	}
	switch name {
	case outputOption.name:
		return fixed(begun, outputFormats)
	case colourOption.name:
		return fixed(begun, colourModes)
	}
	return c.wordOffer(ctx, p, name, o.placeholder, begun)
}

func fixed(begun string, texts []string) offer {
	var o offer
	for _, t := range texts {
		o.words = append(o.words, word{t, ""})
	}
	if o = starting(begun, o); len(o.words) == 1 {
		o.noSpace = strings.HasSuffix(o.words[0].text, ":") // redirect:<url>
	}
	return o
}

// wordOffer is what an argument or an option's value could be: name is the option's, or the
// argument's as in args; placeholder says what is meant, as ID|FILE.
func (c command) wordOffer(ctx context.Context, p *parsed, name, placeholder, begun string) offer {
	if values, is := c.values[name]; is {
		return fixed(begun, values)
	}
	var o offer
	for kind := range strings.SplitSeq(placeholder, "|") {
		switch {
		case kind == "FILE":
			o.files = true
		case kind != "" && strings.ToLower(kind) == kind: // a word that is to be written so
			o.words = append(o.words, starting(begun, offer{words: []word{{kind, ""}}}).words...)
		default:
			o.words = append(o.words, c.namesOffer(ctx, p, name, kind, begun)...)
		}
	}
	if name == "tenant" && strings.HasPrefix("none", begun) && slices.ContainsFunc(c.options, func(o option) bool {
		return o.name == name && strings.Contains(o.help, "none")
	}) {
		o.words = append(o.words, word{"none", "what has no tenant"})
	}
	return o
}

// namesOffer are names that stand in the database, or at the server. None if it can't be reached, or nobody
// knows what is meant.
func (c command) namesOffer(ctx context.Context, p *parsed, name, placeholder, begun string) []word {
	what, ok := c.named(name, placeholder)
	if !ok || c.noSettings {
		return nil
	}
	before := "" // of several names with commas between, the last one is begun
	if strings.HasSuffix(placeholder, ",…") {
		if i := strings.LastIndexByte(begun, ','); i >= 0 {
			before, begun = begun[:i+1], begun[i+1:]
		}
	}
	list, err := c.names(ctx, p, what, begun)
	if err != nil {
		return nil
	}
	words := make([]word, len(list))
	for i, n := range list {
		words[i] = word{before + n.Name, n.Says}
	}
	return words
}

// names asks the server, if the settings name one and the command works by it, or else the
// databases.
func (c command) names(ctx context.Context, p *parsed, of app.NamesOf, begun string) ([]store.Named, error) {
	s, err := app.LoadServer(p.settings, os.LookupEnv)
	switch {
	case c.server && err != nil:
		return nil, err
	case c.server && s != nil:
		cl := clientOf(s)
		defer cl.Close()
		return cl.Names(ctx, string(of), begun)
	}
	cfg, err := app.Load(p.settings, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	o, err := app.NewOperator(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer o.Close()
	return o.Names(ctx, of, begun)
}

// named says which names an option or an argument of a command takes.
func (c command) named(name, placeholder string) (app.NamesOf, bool) {
	of, _, _ := strings.Cut(c.name, " ")
	switch name {
	case "workflow":
		return app.NamesOfWorkflows, true
	case "tenant":
		return app.NamesOfTenants, true
	case "row":
		return app.NamesOfTables, true
	}
	switch kind := strings.TrimSuffix(placeholder, ",…"); {
	case kind == "TABLE" && of == "capture":
		return app.NamesOfAllTables, true
	case strings.HasPrefix(kind, "TABLE"):
		return app.NamesOfTables, true
	case kind == "ID" && of == "workflow", kind == "WORKFLOW":
		return app.NamesOfWorkflows, true
	case of == "view":
		return app.NamesOfViews, true
	case c.name == "failure dismiss":
		return app.NamesOfCauses, true
	case c.name == "failure restore":
		return app.NamesOfDismissed, true
	case c.name == "delivery cancel":
		return app.NamesOfQueued, true
	case kind == "ID" && of == "delivery":
		return app.NamesOfEnded, true
	case kind == "ID" && of == "destination":
		return app.NamesOfDestinations, true
	case kind == "NAME" && of == "template":
		return app.NamesOfTemplates, true
	case kind == "NUMBER" && c.name != "replay" && of == "replay":
		return app.NamesOfReplays, true
	case kind == "STORM":
		return app.NamesOfStorms, true
	case kind == "PAUSE":
		return app.NamesOfPauses, true
	case kind == "ID" && of == "key":
		return app.NamesOfKeys, true
	case kind == "ID" && of == "link":
		return app.NamesOfLinkKeys, true
	case kind == "ID" && of == "member":
		return app.NamesOfMembers, true
	case c.name == "tenant delete", c.name == "tenant weight" && placeholder == "TENANT":
		return app.NamesOfTenants, true
	}
	return "", false
}

// Words that options of several commands may be.
var (
	kinds        = []string{"webhook", "email", "notification", "chat", "function", "publish", "log"}
	operations   = []string{"create", "update", "delete"}
	statusValues = map[string][]string{"status": {"draft", "active", "inactive"}}
)
