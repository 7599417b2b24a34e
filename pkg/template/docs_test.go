package template_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/template"
	"github.com/rowbell/rowbell/pkg/workflow"
)

const manual = "../../docs/templates.md"

var channels = map[string]template.Channel{"": template.Plain, "html": template.HTML, "markdown": template.Markdown, "chat": template.Chat}

// Every example of the manual gives what stands there.
func TestManual(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	blocks := regexp.MustCompile("(?s)```(\\w+)(?: (\\w+))?\n(.*?)\n```\n").FindAllStringSubmatchIndex(page, -1)
	var vars map[string]any
	stored := make(map[string]map[string]string)
	for _, b := range blocks { // what all examples need
		switch body := page[b[6]:b[7]]; kindOf(page, b) {
		case "json event":
			var e struct {
				Table       string    `json:"table"`
				CommittedAt time.Time `json:"committed_at"`
			}
			if err := json.Unmarshal([]byte(body), &e); err != nil {
				t.Fatal(err)
			}
			if vars, err = template.EventVariables(&workflow.Event{ID: "e", Table: e.Table, Op: change.Update, CommittedAt: e.CommittedAt, Data: []byte(body)}); err != nil {
				t.Fatal(err)
			}
			vars["workflow"] = map[string]any{"id": "large-order", "name": "Large order", "version": 3}
		case "sql template":
			for _, m := range regexp.MustCompile(`\(null, '(\w+)', +'(\w*)', +'(.*)'\)`).FindAllStringSubmatch(body, -1) {
				if stored[m[1]] == nil {
					stored[m[1]] = make(map[string]string)
				}
				stored[m[1]][m[2]] = m[3]
			}
		}
	}
	if vars == nil || len(stored) != 2 {
		t.Fatalf("the manual has the event %v and the templates %v", vars, stored)
	}
	spaces := strings.NewReplacer("\u00a0", " ", "\u202f", " ")
	examples := 0
	for _, b := range blocks {
		kind, body := kindOf(page, b), page[b[6]:b[7]]
		source := template.Text{"": body}
		channel := ""
		if kind == "json text" {
			if err := json.Unmarshal([]byte(body), &source); err != nil {
				t.Fatal(err)
			}
		} else if what, of, _ := strings.Cut(kind, " "); what == "liquid" {
			channel = of
		} else {
			continue
		}
		line := strings.Count(page[:b[0]], "\n") + 1
		tpl, err := source.Compile(template.Options{Channel: channels[channel], Partials: workflow.NewLibrary(stored)})
		if err != nil {
			t.Errorf("%s:%d: %v", manual, line, err)
			continue
		}
		says, _, _ := strings.Cut(page[b[1]:], "\n\n")
		results := regexp.MustCompile("(?:Gives|For `([\\w-]+)`(?: in `([\\w/]+)`)?:) `([^`]+)`").FindAllStringSubmatch(says, -1)
		if len(results) == 0 {
			t.Errorf("%s:%d: nothing says what it gives", manual, line)
		}
		for _, r := range results {
			examples++
			who := template.ReaderOf(&workflow.Person{Locale: r[1], Zone: r[2]})
			got, err := tpl.RenderFor(vars, who)
			if got = spaces.Replace(got); err != nil || got != r[3] {
				t.Errorf("%s:%d: for %q in %q it gives\n%s\nand the page says\n%s\n%v", manual, line, r[1], r[2], got, r[3], err)
			}
		}
	}
	if examples < 30 {
		t.Errorf("only %d examples were found", examples)
	}
}

func kindOf(page string, b []int) string {
	kind := page[b[2]:b[3]]
	if b[4] >= 0 {
		kind += " " + page[b[4]:b[5]]
	}
	return kind
}

// Every filter and tag stands in the manual.
func TestManualIsComplete(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	_, err = template.Compile("{{ a | nope }}")
	_, filters, _ := strings.Cut(err.Error(), "there are: ")
	_, err = template.Compile("{% nope %}")
	_, tags, _ := strings.Cut(err.Error(), "there are: ")
	names := append(strings.Split(filters, ", "), strings.Split(tags, ", ")...)
	for _, name := range names {
		if !regexp.MustCompile("[`%|] ?" + name + "[` :]").Match(text) {
			t.Errorf("%s says nothing of %s", manual, name)
		}
	}
	if len(names) < 55 {
		t.Errorf("only %d names", len(names))
	}
}
