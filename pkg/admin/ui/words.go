package ui

import (
	"cmp"
	"fmt"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// functions are what templates call.
func (u *UI) functions() template.FuncMap {
	return template.FuncMap{
		"url": u.url, "asset": u.assets.url, "dict": dict, "icon": u.icon, "version": func() string { return u.cfg.Version },
		"at": func(path string, ids ...string) string { return u.url(at(path, ids...)) }, "ago": ago, "iso": iso, "number": number,
		"plural": plural, "percent": percent, "took": took, "ms": func(n int64) string { return took(time.Duration(n) * time.Millisecond) },
		"statusText": statusText, "sentence": sentenceCase, "short": short, "has": strings.Contains, "escape": url.QueryEscape,
		"humane": humane, "formID": formID, "commas": func(list []string) string { return strings.Join(list, ", ") }, "joins": func() []choice { return joins }, "kindIcon": kindIcon, "kindText": kindText, "choiceText": choiceText,
		"plural64": func(n int, one, many string) string { return plural(int64(n), one, many) },
		"pick":     pick, "sum": func(a, b int64) int64 { return a + b }, "add": func(a, b int) int { return a + b }, "lower": strings.ToLower, "or2": func(a, b string) string { return cmp.Or(a, b) },
	}
}

// choice is one of a <select>.
type choice struct{ Value, Text string }

// pick makes choices of value, text pairs.
func pick(pairs ...string) []choice {
	var list []choice
	for i := 0; i+1 < len(pairs); i += 2 {
		list = append(list, choice{pairs[i], pairs[i+1]})
	}
	return list
}

// icon is one of assets/icons.svg; beside it there is text for who sees none.
func (u *UI) icon(name string) template.HTML {
	return template.HTML(`<svg class="icon" aria-hidden="true"><use href="` + template.HTMLEscapeString(u.assets.url("icons.svg")) + `#` + template.HTMLEscapeString(name) + `"/></svg>`) //nolint:gosec // both are the program's own
}

// iso is a time for <time datetime>, which a script shows in the browser's zone.
func iso(t any) string {
	if at, ok := timeOf(t); ok {
		return at.UTC().Format(time.RFC3339)
	}
	return ""
}

func timeOf(t any) (time.Time, bool) {
	switch at := t.(type) {
	case time.Time:
		return at, !at.IsZero()
	case *time.Time:
		if at != nil {
			return *at, !at.IsZero()
		}
	}
	return time.Time{}, false
}

// now is set by tests.
var now = time.Now

// ago is how long ago a time was, or how soon it comes, in words.
func ago(t any) string {
	at, ok := timeOf(t)
	if !ok {
		return "never"
	}
	d := now().Sub(at)
	if d < 0 {
		if d > -5*time.Second {
			return "now"
		}
		return "in " + span(-d)
	}
	if d < 5*time.Second {
		return "just now"
	}
	if d > 30*24*time.Hour {
		return "on " + at.UTC().Format("2 Jan 2006")
	}
	return span(d) + " ago"
}

func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return plural(int64(d.Seconds()), "second", "seconds")
	case d < time.Hour:
		return plural(int64(d.Minutes()), "minute", "minutes")
	case d < 36*time.Hour:
		return plural(int64(d.Hours()), "hour", "hours")
	}
	return plural(int64(d.Hours()/24), "day", "days")
}

// took is how long something took, for people: a time.Duration or a pointer to one.
func took(of any) string {
	var d time.Duration
	switch t := of.(type) {
	case time.Duration:
		d = t
	case *time.Duration:
		if t == nil {
			return "–"
		}
		d = *t
	}
	switch {
	case d < time.Millisecond:
		return "less than 1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	}
	return span(d)
}

var english = message.NewPrinter(language.English)

// number is an integer with a separator between thousands.
func number(n any) string { return english.Sprintf("%d", n) }

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

// percent is a part of a whole; "–" of nothing.
func percent(part, whole int64) string {
	switch {
	case whole == 0:
		return "–"
	case part == whole:
		return "100 %"
	}
	p := float64(part) / float64(whole) * 100
	if p > 99.9 {
		return "99.9 %" // all but a few is not all
	}
	return strconv.FormatFloat(p, 'f', 1, 64) + " %"
}

// short cuts a text to so many characters.
func short(n int, s string) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}

// statusTexts are the words for statuses of executions, deliveries and workflows.
var statusTexts = map[string]string{
	"success": "Done", "succeeded": "Delivered", "failure": "Failed", "dead": "Failed", "cancelled": "Cancelled", "pending": "Under way",
	"active": "On", "inactive": "Off", "draft": "Draft", "waiting": "Waiting", "ready": "Waiting", "leased": "Being sent",
}

func statusText(status any) string {
	s := fmt.Sprint(status)
	return cmp.Or(statusTexts[s], s)
}

// kindTexts are the kinds of actions in words.
var kindTexts = map[string]string{"notification": "Notification", "email": "E-mail", "chat": "Chat message", "webhook": "Webhook", "publish": "Message to a broker", "function": "Function", "log": "Entry in the log"}

func kindText(kind string) string { return cmp.Or(kindTexts[kind], kind) }

func kindIcon(kind string) string {
	if icon := map[string]string{"notification": "bell", "email": "mail", "chat": "chat", "webhook": "link", "publish": "flow", "log": "list"}[kind]; icon != "" {
		return icon
	}
	return "flow"
}

// choiceText is a choice of a schema's in words.
func choiceText(s string) string {
	return cmp.Or(map[string]string{
		"stop": "what comes after it is left out", "continue": "what comes after it goes on", "slack": "Slack", "slack_bot": "Slack, by a bot", "teams": "Microsoft Teams", "discord": "Discord",
		"mattermost": "Mattermost", "googlechat": "Google Chat", "telegram": "Telegram", "matrix": "Matrix",
	}[s], s)
}
