package sentence

import (
	"encoding/json"
	"strings"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// roles says a role_based condition: "by someone with role approver or admin".
func roles(raw json.RawMessage) string {
	r, err := workflow.ParseRoles(raw)
	if err != nil {
		return "by someone of whom a condition holds that can't be read"
	}
	return said(r)
}

func said(r workflow.Roles) string {
	by, not := "", ""
	if len(r.Actors) > 0 {
		by = some(named(r.Actors), "or")
	} else if len(r.Any)+len(r.All) > 0 || len(r.Attributes) > 0 {
		by = "someone"
	}
	if len(r.Any) > 0 {
		by += " with role " + some(named(r.Any), "or")
	}
	if len(r.All) > 0 {
		if len(r.Any) > 0 {
			by += " and"
		}
		switch len(r.All) {
		case 1:
			by += " with role " + word(r.All[0])
		case 2:
			by += " with both roles " + some(named(r.All), "and")
		default:
			by += " with all of the roles " + some(named(r.All), "and")
		}
	}
	if c := ofActor.form("attributes", r.Attributes); c != nil {
		if len(r.Any)+len(r.All) > 0 {
			by += " and"
		}
		by += " " + c.String()
	}
	var others []string
	if len(r.NotActors) > 0 {
		others = append(others, some(named(r.NotActors), "or"))
	}
	if len(r.None) > 0 {
		others = append(others, "someone with role "+some(named(r.None), "or"))
	}
	if len(others) > 0 {
		not = "not by " + join(others, "or")
	}
	text := not
	switch {
	case by != "" && not != "":
		text = "by " + by + ", but " + not
	case by != "":
		text = "by " + by
	}
	if r.By == workflow.ByDirectory {
		text += " (according to the directory)"
	}
	return strings.TrimSpace(text)
}

func named(list []string) []string {
	words := make([]string, len(list))
	for i, s := range list {
		words[i] = word(s)
	}
	return words
}
