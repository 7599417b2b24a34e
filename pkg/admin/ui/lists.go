package ui

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// listRoutes are the pages of lists, and of what one does about what stands in them.
var listRoutes = concat(
	failureRoutes, replayRoutes, whyRoutes, destinationRoutes, versionRoutes, transferRoutes, templateRoutes,
	recipientRoutes, activityRoutes, accessRoutes, streamRoutes,
)

// listFunctions are what their templates call besides.
var listFunctions = template.FuncMap{
	"spark": spark, "runName": func(x store.ListedExecution) string { return runName(&x) }, "ownersText": ownersText, "tookShort": func(d *time.Duration) string { return strings.Replace(took(*d), "less than ", "< ", 1) },
	"replayOf":     workflow.RunOf,
	"int64":        func(n int) int64 { return int64(n) },
	"sentenceWord": upperFirst, "did": did, "flat": flat, "who": who, "pause": pauseText, "check": checkText, "act": actText, "via": viaText, "cause": causeText, "before": func(n int32) int32 { return n - 1 }, "changed": changedText, "clauseText": clauseText, "clauseValues": clauseValues,
}

// mostPicked is from how many workflows on one types a part of the id instead of choosing.
const mostPicked = 200

// picker is a field in which one chooses a workflow by its name.
type picker struct {
	ID      string // of the one that is chosen; "" any
	Choices []choice
	Whole   bool // the choices are all there are
	Known   bool // the one that is chosen is among them
}

// picks reads the workflows to choose from. A part of a page that has no such field reads none.
func (v *visit) picks(id string) (picker, error) {
	p := picker{ID: id, Known: id == ""}
	if v.r.Header.Get("HX-Target") == "list" || !v.can(access.WorkflowRead) {
		return p, nil
	}
	var list api.LogPage[api.WorkflowListed]
	if err := v.get("/workflows", url.Values{"limit": {fmt.Sprint(mostPicked)}}, &list); err != nil {
		return p, err
	}
	for _, w := range list.Items {
		p.Choices = append(p.Choices, choice{w.ID, cmp.Or(w.Name, w.ID)})
		p.Known = p.Known || w.ID == id
	}
	p.Whole = list.Next == ""
	return p, nil
}

// upperFirst begins a name of the API's with a capital, as words.
func upperFirst(s string) string {
	return strings.TrimSuffix(sentenceCase(strings.ReplaceAll(s, "_", " ")), ".")
}

// changedText says in a few words what an event changed.
func changedText(data json.RawMessage) string {
	var parts []string
	for _, c := range changesOf(data) {
		if !c.Changed {
			continue
		}
		text := c.Column + ": "
		if c.HasOld {
			text += short(30, cmp.Or(c.Old, "nothing")) + " → "
		}
		parts = append(parts, text+short(30, cmp.Or(c.New, "nothing")))
		if len(parts) == 3 {
			break
		}
	}
	return strings.Join(parts, ", ")
}

// ownersText names who is told when a workflow fails: ann, role support.
func ownersText(owners []string) string {
	said := make([]string, len(owners))
	for i, o := range owners {
		kind, name, ok := strings.Cut(o, ":")
		switch said[i] = o; {
		case ok && kind == "user":
			said[i] = name
		case ok:
			said[i] = kind + " " + name
		}
	}
	return strings.Join(said, ", ")
}

// did is what happened to a row, by the operation's name.
func did(operation string) string {
	if operation == "emit" {
		return "emitted"
	}
	return operation + "d"
}

// viaText is by what way something was done.
func viaText(via string) string {
	switch via {
	case "cli":
		return "on the command line"
	case "api":
		return "here or by the API"
	case "sql":
		return "by SQL"
	case "worker":
		return "Rowbell itself"
	}
	return via
}
