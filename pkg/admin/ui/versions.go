package ui

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/definition"
)

var versionRoutes = []route{
	{"GET /workflows/{id}/versions", access.WorkflowRead, showVersions},
	{"POST /workflows/{id}/versions/{version}/restore", access.WorkflowWrite, restoreVersion},
}

// versionsData are the versions of a workflow, and two of them side by side.
type versionsData struct {
	ID, Name, From, To string
	Live               int32 // the version that is live; 0: the workflow is deleted
	Draft              bool
	Items              []definition.Entry
	Diff               *definition.Diff
	Lines              []diffLine
	Choices            []choice
	Conflict           int32 // the version that was not restored, since somebody's draft is there
}

// diffLine is a line of a diff as diff -u has it.
type diffLine struct {
	Class, Text string
}

// diffLines reads a diff; what names its two sides is left out.
func diffLines(text string) []diffLine {
	var list []diffLine
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "+++"), strings.HasPrefix(line, "---"):
		case strings.HasPrefix(line, "@@"):
			list = append(list, diffLine{"at", "…"})
		case strings.HasPrefix(line, "+"):
			list = append(list, diffLine{"new", line})
		case strings.HasPrefix(line, "-"):
			list = append(list, diffLine{"old", line})
		default:
			list = append(list, diffLine{"", line})
		}
	}
	if len(list) > 0 && list[0].Class == "at" {
		list = list[1:]
	}
	return list
}

func (v *visit) versions() (*page, *versionsData, error) {
	d := &versionsData{ID: v.r.PathValue("id"), From: v.query("from"), To: v.query("to")}
	var list api.LogPage[definition.Entry]
	if err := v.get(at("/workflows/%s/versions", d.ID), nil, &list); err != nil {
		return nil, nil, err
	}
	d.Items, d.Name = list.Items, d.ID
	var of api.WorkflowOut
	switch err := v.get(at("/workflows/%s", d.ID), nil, &of); {
	case err == nil:
		d.Name, d.Live, d.Draft = of.Name, of.Version, of.Draft != nil
	case problemOf(err).Status != 404: // a deleted one has versions yet
		return nil, nil, err
	}
	if d.Draft {
		d.Choices = append(d.Choices, choice{"draft", "the draft"})
	}
	for _, e := range d.Items {
		text := fmt.Sprintf("version %d", e.Version)
		if e.Version == d.Live {
			text += " (live)"
		}
		d.Choices = append(d.Choices, choice{fmt.Sprint(e.Version), text})
	}
	return &page{template: "versions", title: "Versions of " + d.Name, nav: "workflows", data: d}, d, nil
}

func showVersions(v *visit) (*page, error) {
	p, d, err := v.versions()
	if err != nil {
		return nil, err
	}
	if d.From == "" && d.To == "" { // what is new, or else what came last
		switch {
		case d.Draft:
			d.From, d.To = fmt.Sprint(d.Live), "draft"
		case len(d.Items) > 1:
			d.From, d.To = fmt.Sprint(d.Items[1].Version), fmt.Sprint(d.Items[0].Version)
		default:
			return p, nil
		}
	}
	d.Diff = &definition.Diff{}
	if err := v.get(at("/workflows/%s/diff", d.ID), url.Values{"from": {d.From}, "to": {d.To}}, d.Diff); err != nil {
		d.Diff = nil
		return problemPage(p, err)
	}
	d.Lines = diffLines(d.Diff.YAML)
	return p, nil
}

func restoreVersion(v *visit) (*page, error) {
	id, version := v.r.PathValue("id"), v.r.PathValue("version")
	q := url.Values{}
	if v.form("force") != "" {
		q.Set("force", "true")
	}
	err := v.call("POST", at("/workflows/%s/versions/%s/restore", id, version), q, nil, nil)
	if err == nil {
		return redirect(at("/workflows/%s", id), "restored"), nil
	}
	p, d, again := v.versions()
	if again != nil {
		return nil, err
	}
	if problemOf(err).Status == 409 && d.Draft {
		_, _ = fmt.Sscan(version, &d.Conflict) // the path has a number
	}
	return problemPage(p, err)
}
