package sentence

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rowbell/rowbell/pkg/workflow"
)

const maxActions = 6

// Action says one action in the infinitive, with those of the recipients that are its
// own or everybody's, and with the conditions that are its own: "notify maria and the row's
// account manager", "if its total is over 1000, notify maria".
func Action(a workflow.Action, recipients []workflow.Recipient) string {
	said := action(a, recipients, "row", nil)
	if only := onlyIf(a); only != "" {
		return "if " + only + ", " + said
	}
	return said
}

// onlyIf says what must hold for an action to be run: "its total is over 1000"; "" nothing.
func onlyIf(a workflow.Action) string {
	list, err := a.OnlyIf()
	if err != nil {
		return "something holds that can't be read"
	}
	all := conditions(list)
	var said []string
	if all.of != nil {
		said = append(said, all.of.String())
	}
	if all.when != "" {
		said = append(said, "it happens "+all.when)
	}
	if all.by != "" {
		said = append(said, "it is done "+all.by)
	}
	return join(said, "and")
}

// action speaks of the columns of what it is about by the noun given. settings are the
// workflow's.
func action(a workflow.Action, recipients []workflow.Recipient, of string, settings json.RawMessage) string {
	j, err := parse(a.Config)
	config, ok := j.(object)
	broken := ""
	if err != nil || !ok && j != nil {
		broken = " (its configuration can't be read)"
	}
	whom := audience(a, recipients, of)
	if whom != "" {
		whom += without(config, settings, of)
	}
	switch a.Type {
	case "webhook":
		return "send a webhook" + webhookTo(config, broken)
	case "log":
		return "record it" + broken
	case "notification":
		return "notify " + cmp.Or(whom, "nobody yet") + broken
	case "email":
		return "send an e-mail to " + cmp.Or(whom, "nobody yet") + broken
	case "chat":
		said := "post a chat message"
		if to := texts(config, "channel", "room"); to != "" {
			said += " to " + channel(values.ReplaceAllString(to, "…"))
		} else if host := host(config); host != "" {
			said += " to " + host
		}
		if service := chatServices[texts(config, "service")]; service != "" {
			said += " in " + service
		}
		return said + broken
	case "function":
		said := "call a function"
		if f := texts(config, "function", "name"); f != "" {
			said = "call the function " + channel(f)
		}
		return said + broken
	case "publish":
		said := "publish a message"
		if to := texts(config, "topic", "subject", "channel", "stream", "queue", "exchange"); to != "" {
			said += " to " + channel(values.ReplaceAllString(to, "…"))
		}
		return said + broken
	case "":
		return "run an action without a kind" + broken
	}
	said := "run the action " + word(a.Type)
	if whom != "" {
		said += " for " + whom
	}
	return said + broken
}

// values are where a template puts something of the event's: what that is, nobody knows yet.
var values = regexp.MustCompile(`(?s)\{\{.*?\}\}|\{%.*?%\}`)

// chatServices are the names of what a chat action's service may be.
var chatServices = map[string]string{
	"slack": "Slack", "slack_bot": "Slack", "teams": "Teams", "discord": "Discord", "mattermost": "Mattermost", "googlechat": "Google Chat",
	"telegram": "Telegram", "matrix": "Matrix",
}

func webhookTo(config object, broken string) string {
	if broken != "" {
		return broken
	}
	if h := host(config); h != "" {
		return " to " + h
	}
	switch v, _ := config.get("url"); v.(type) {
	case nil:
		return " (it has no URL yet)"
	case object:
		return " to a URL that is kept secret"
	}
	return " (its URL can't be read)"
}

// host is that of the configuration's url, without its path: that may hold a token.
func host(config object) string {
	v, _ := config.get("url")
	s, ok := v.(string)
	if !ok {
		return ""
	}
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil || u.Hostname() == "" {
		return ""
	}
	if !isPlainHost(u.Host) {
		return quote(u.Host, maxName)
	}
	return u.Host
}

// Their lengths are counted apart: in an expression they would take megabytes.
var (
	plainHost    = regexp.MustCompile(`^[\pL\pN.:\[\]_-]+$`)
	plainChannel = regexp.MustCompile(`^[#@]?[\pL\pN][\pL\pN._:/-]*$`)
)

func isPlainHost(s string) bool { return utf8.RuneCountInString(s) <= 100 && plainHost.MatchString(s) }

func isPlainChannel(s string) bool {
	return utf8.RuneCountInString(strings.TrimLeft(s, "#@")) <= 63 && plainChannel.MatchString(s)
}

// texts is the first of the keys that holds a text.
func texts(config object, keys ...string) string {
	for _, k := range keys {
		if v, ok := config.get(k); ok {
			if s, ok := v.(string); ok && s != "" {
				return s
			}
		}
	}
	return ""
}

func channel(s string) string {
	if isPlainChannel(s) {
		return s
	}
	return quote(s, maxName)
}

// audience says who gets an action's messages; "" nobody.
func audience(a workflow.Action, recipients []workflow.Recipient, of string) string {
	var list []string
	for _, r := range recipients {
		if r.ActionID != nil && *r.ActionID != a.ID {
			continue
		}
		if said := recipient(r, of); !slices.Contains(list, said) {
			list = append(list, said)
		}
	}
	return some(list, "and")
}

// without says who of an action's recipients doesn't get it, by its own configuration and
// the workflow's settings: ", but not whoever did it or the group board".
func without(config object, settings json.RawMessage, of string) string {
	var list []string
	all, _ := asObject(settings)
	for _, o := range []object{config, all} {
		v, _ := o.get("exclude")
		items, _ := v.([]any)
		for _, item := range items {
			said := "whoever did it"
			if item != "actor" {
				one, _ := item.(object)
				said = ""
				for _, t := range []string{"user", "role", "group", "attribute"} {
					if value := texts(one, t); value != "" {
						said = recipient(workflow.Recipient{Type: t, Value: value}, of)
					}
				}
			}
			if said != "" && !slices.Contains(list, said) {
				list = append(list, said)
			}
		}
	}
	if len(list) == 0 {
		return ""
	}
	return ", but not " + some(list, "or")
}

func recipient(r workflow.Recipient, of string) string {
	switch r.Type {
	case "user":
		return word(r.Value)
	case "role":
		return "everyone with role " + word(r.Value)
	case "group":
		return "the group " + word(r.Value)
	case "attribute":
		return "the " + of + "'s " + column(r.Value)
	}
	return "the " + word(cmp.Or(r.Type, "recipient")) + " " + word(r.Value)
}

// does says all actions in their order, in the infinitive: "send a webhook to
// hooks.example.com and record it, then notify maria". "" if there is none.
func does(w *workflow.Workflow, of string) string {
	list := slices.Clone(w.Actions)
	slices.SortStableFunc(list, func(a, b workflow.Action) int { return cmp.Compare(a.Order, b.Order) })
	var b strings.Builder
	previous := 0
	for start := 0; start < len(list); {
		if start >= maxActions {
			fmt.Fprintf(&b, ", then do %s", count(len(list)-start, "more thing"))
			break
		}
		end := start
		for end < len(list) && list[end].Order == list[start].Order {
			end++
		}
		if start > 0 {
			b.WriteString(", then" + evenIf(w, list[previous:start]))
		}
		var said []done
		for i, a := range list[start:end] {
			if start+i >= maxActions && end-start-i > 1 {
				said = append(said, done{does: fmt.Sprintf("do %s", count(end-start-i, "more thing"))})
				break
			}
			one := done{action(a, w.Recipients, of, w.Settings), onlyIf(a)}
			if slices.Contains(said, one) {
				one.does += " once more"
			}
			said = append(said, one)
		}
		besides(&b, said)
		previous, start = start, end
	}
	return strings.TrimLeft(b.String(), ", ")
}

// done is what an action does, and what must hold for it; "" nothing.
type done struct{ does, only string }

// besides writes what is done side by side: " notify ann and, if its total is over 1000, also
// send an e-mail to sales".
func besides(b *strings.Builder, list []done) {
	if !slices.ContainsFunc(list, func(d done) bool { return d.only != "" }) {
		said := make([]string, len(list))
		for i, d := range list {
			said[i] = d.does
		}
		b.WriteString(" " + join(said, "and"))
		return
	}
	for i, d := range list {
		switch {
		case i > 0 && i == len(list)-1:
			b.WriteString(" and")
		case i > 0:
			b.WriteByte(',')
		}
		if d.only != "" {
			if s := b.String(); !strings.HasSuffix(s, ",") {
				b.WriteByte(',')
			}
			b.WriteString(" if " + d.only + ",")
			if i > 0 {
				b.WriteString(" also")
			}
		}
		b.WriteString(" " + d.does)
	}
}

// evenIf says which of the actions may fail without an end to what comes after them:
// those whose on_failure is "continue", by their own or by the workflow's settings.
func evenIf(w *workflow.Workflow, before []workflow.Action) string {
	settings := onFailure(w.Settings)
	var may []string
	for _, a := range before {
		if kind := "the " + word(cmp.Or(a.Type, "action")); cmp.Or(onFailure(a.Config), settings) == "continue" {
			may = append(may, kind)
		}
	}
	switch len(may) {
	case 0:
		return ""
	case len(before):
		return ", even if that fails,"
	}
	return ", even if " + some(slices.Compact(may), "or") + " fails,"
}

func onFailure(raw []byte) string {
	j, err := parse(raw)
	o, ok := j.(object)
	if err != nil || !ok {
		return ""
	}
	return texts(o, "on_failure")
}
