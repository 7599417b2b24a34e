package condition

import (
	"encoding/json"
	"strings"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// addRoles adds a role_based condition. By directory it adds nothing: the executor
// decides that after recording, since nothing in a condition reads a database.
func (f *Form) addRoles(where string, raw json.RawMessage) error {
	v, err := readConfig(where, raw) // which refuses what json.Decoder lets pass
	if err != nil {
		return err
	}
	r, err := workflow.ParseRoles(raw)
	if err != nil {
		return &Error{Where: where, Message: strings.TrimPrefix(err.Error(), "json: ")}
	}
	if r.By == workflow.ByDirectory {
		return nil
	}
	w := &formWriter{row: "actor.attributes"}
	parts := 0
	part := func(key, text string) {
		if text == "" {
			return
		}
		if parts++; parts > 1 {
			w.write(" && ")
		}
		start := w.runes
		w.write(text)
		given, _ := v.(object).get(key)
		label := key + " " + string(appendConfig(nil, given))
		w.spans = append(w.spans, span{from: start, to: w.runes, path: where + "." + key, label: label})
	}
	among := func(before string, list []string, after string) string {
		if list == nil {
			return ""
		}
		return before + "[" + quoteAll(list) + "]" + after
	}
	part("roles", among("any(actor.roles, # in ", r.Any, ")"))
	if r.All != nil {
		each := make([]string, len(r.All))
		for i, role := range r.All {
			each[i] = quoteText(role) + " in actor.roles"
		}
		part("all_roles", strings.Join(each, " && "))
	}
	part("not_roles", among("!any(actor.roles, # in ", r.None, ")"))
	part("actors", among("actor.id in ", r.Actors, ""))
	part("not_actors", among("!(actor.id in ", r.NotActors, ")"))
	if len(r.Attributes) > 0 {
		attributes, _ := v.(object).get("attributes")
		if parts++; parts > 1 {
			w.write(" && ")
		}
		if err := w.condition(where+".attributes", attributes, 0); err != nil {
			return err
		}
	}
	f.addWritten(where, w, false)
	return nil
}

func quoteAll(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = quoteText(s)
	}
	return strings.Join(quoted, ", ")
}
