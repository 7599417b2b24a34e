package ui

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/definition"
	"github.com/rowbell/rowbell/pkg/store"
)

var activityRoutes = []route{
	{"GET /activity", access.AuditRead, listActivity},
	{"GET /activity/{id}", access.AuditRead, showActivity},
	{"GET /activity/activity.csv", access.AuditRead, downloadActivity},
}

// activityData is who has done what, as it was filtered.
type activityData struct {
	Actor, Action, ObjectType, ObjectID, Text, Within string
	Filtered                                          bool
	Items                                             []definition.Audited
	Names                                             map[string]string
	More                                              string
	CSV                                               string
}

// names are what keys are called, by what the log calls them: where the visitor may know.
func (v *visit) names() (map[string]string, error) {
	names := make(map[string]string)
	if !v.can(access.KeyWrite) {
		return names, nil
	}
	var keys api.Page[store.APIKey]
	if err := v.get("/keys", map[string][]string{"revoked": {"true"}}, &keys); err != nil {
		return nil, err
	}
	for _, k := range keys.Items {
		names["key:"+k.ID], names[k.ID] = "key “"+k.Name+"”", k.Name
	}
	return names, nil
}

// who is the name of whom the log names by an id.
func who(names map[string]string, id string) string { return cmp.Or(names[id], id) }

var activityFilters = []string{"actor", "action", "object_type", "object_id", "text"}

func (v *visit) activity(more ...string) (q map[string][]string) {
	q = v.pass(append(activityFilters, more...)...)
	if long, ok := withins[v.query("within")]; ok {
		q["since"] = []string{now().Add(-long).UTC().Format(time.RFC3339)}
	}
	return q
}

func listActivity(v *visit) (*page, error) {
	d := &activityData{Actor: v.query("actor"), Action: v.query("action"), ObjectType: v.query("object_type"), ObjectID: v.query("object_id"), Text: v.query("text"), Within: v.query("within")}
	d.Filtered = len(v.pass(append(activityFilters, "within")...)) > 0
	var list api.Page[definition.Audited]
	if err := v.get("/audit", v.activity("cursor"), &list); err != nil {
		return nil, err
	}
	d.Items, d.More = list.Items, v.more(list.Next)
	var err error
	if d.Names, err = v.names(); err != nil {
		return nil, err
	}
	d.CSV = "/activity/activity.csv?" + v.pass(append(activityFilters, "within")...).Encode()
	return &page{template: "activity", title: "Activity", nav: "activity", data: d}, nil
}

// act is one entry of the log.
type act struct {
	definition.Audited
	Names  map[string]string
	Lines  []diffLine // what was before and what is after, side by side
	Detail [][2]string
}

func showActivity(v *visit) (*page, error) {
	d := &act{}
	if err := v.get(at("/audit/%s", v.r.PathValue("id")), nil, &d.Audited); err != nil {
		return nil, err
	}
	if len(d.Before) > 0 || len(d.After) > 0 {
		d.Lines = lineDiff(indented(d.Before), indented(d.After))
	}
	d.Detail = facts(d.Audited.Detail)
	var err error
	if d.Names, err = v.names(); err != nil {
		return nil, err
	}
	return &page{template: "act", title: actText(d.Action), nav: "activity", data: d}, nil
}

// facts are the members of an object, in their order.
func facts(raw json.RawMessage) (list [][2]string) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return list
		}
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			return list
		}
		if text := plain(value); text != "" {
			list = append(list, [2]string{fmt.Sprint(name), text})
		}
	}
	return list
}

func indented(raw json.RawMessage) []string {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return []string{string(raw)}
	}
	return strings.Split(b.String(), "\n")
}

// mostLines of each side are compared line by line; longer ones stand one below the other.
const mostLines = 1500

// lineDiff compares two texts by their longest common subsequence.
func lineDiff(before, after []string) []diffLine {
	var list []diffLine
	add := func(class, sign string, lines ...string) {
		for _, line := range lines {
			list = append(list, diffLine{class, sign + line})
		}
	}
	if len(before) > mostLines || len(after) > mostLines {
		add("old", "-", before...)
		add("new", "+", after...)
		return list
	}
	common := make([][]int, len(before)+1) // length of that of the rests
	for i := range common {
		common[i] = make([]int, len(after)+1)
	}
	for i := len(before) - 1; i >= 0; i-- {
		for j := len(after) - 1; j >= 0; j-- {
			if before[i] == after[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(before) && j < len(after) {
		switch {
		case before[i] == after[j]:
			add("", " ", before[i])
			i, j = i+1, j+1
		case common[i+1][j] >= common[i][j+1]:
			add("old", "-", before[i])
			i++
		default:
			add("new", "+", after[j])
			j++
		}
	}
	add("old", "-", before[i:]...)
	add("new", "+", after[j:]...)
	return list
}

// actText is what was done, in words: workflow.activate is "Workflow: activate".
func actText(action string) string {
	of, what, ok := strings.Cut(action, ".")
	if !ok {
		return upperFirst(action)
	}
	return upperFirst(of) + ": " + strings.ReplaceAll(what, "_", " ")
}

// mostDownloaded is how many entries a file has at most: a page of the log has 200.
const mostDownloaded = 10_000

func downloadActivity(v *visit) (*page, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write([]string{"at", "id", "tenant_id", "actor", "db_user", "via", "address", "request_id", "action", "object_type", "object_id", "changes"})
	q := v.activity()
	q["limit"] = []string{"200"}
	for n := 0; n < mostDownloaded; {
		var list api.Page[definition.Audited]
		if err := v.get("/audit", q, &list); err != nil {
			return nil, err
		}
		for _, e := range list.Items {
			record := []string{
				e.At.UTC().Format(time.RFC3339Nano), e.ID, e.TenantID, e.Actor, e.DBUser, e.Via, e.Address, e.RequestID, e.Action, e.ObjectType, e.ObjectID, strings.Join(e.Changes, "\n"),
			}
			for i := range record {
				record[i] = cell(record[i])
			}
			_ = w.Write(record) // into memory
		}
		n += len(list.Items)
		if list.Next == "" {
			break
		}
		q["cursor"] = []string{list.Next}
	}
	w.Flush()
	return &page{file: &file{"activity.csv", "text/csv; charset=utf-8", b.Bytes()}}, nil
}

// cell keeps a spreadsheet from taking a text for a formula.
func cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
