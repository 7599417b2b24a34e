package ui

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/rowbell/rowbell/pkg/access"
	"github.com/rowbell/rowbell/pkg/admin/api"
	"github.com/rowbell/rowbell/pkg/store"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// How many deliveries are looked at for how many people they were for, and in how many pages:
// one of a long log may end before it is full.
const (
	mostReached = 200
	mostPages   = 5
)

// reached says how often a workflow has fired in a week, and how many people that reached; of
// one that hasn't, how many it would reach by the changes that stand beside it.
func (v *visit) reached(l *loaded, list []candidate) (string, error) {
	if v.can(access.ExecutionRead) && l.Status != string(workflow.Draft) {
		since := now().AddDate(0, 0, -7).UTC().Format(time.RFC3339)
		var week store.Statistics
		if err := v.get(at("/workflows/%s/statistics", l.ID), url.Values{"since": {since}, "by": {"day"}}, &week); err != nil {
			return "", err
		}
		if runs := week.Total.Success + week.Total.Failure; runs > 0 {
			var sent []store.ListedDelivery
			q := url.Values{"workflow_id": {l.ID}, "since": {since}, "status": {string(store.DeliverySucceeded)}, "limit": {fmt.Sprint(mostReached)}}
			more := true
			for page := 0; more && len(sent) < mostReached && page < mostPages; page++ {
				var some api.LogPage[store.ListedDelivery]
				if err := v.get("/deliveries", q, &some); err != nil {
					return "", err
				}
				sent, more = append(sent, some.Items...), some.Next != ""
				q.Set("cursor", some.Next)
			}
			onlyLogs := !slices.ContainsFunc(documentOf(&l.DocumentOut).Actions, func(a docAction) bool { return a.Type != "log" })
			return weekText(runs, week.Total.Failure, sent, more, onlyLogs), nil
		}
	}
	return v.wouldReach(l, list)
}

// weekText says what the deliveries of a week that succeeded came to; with more, they are the
// last of them. What wrote into the log is no message.
func weekText(runs, failed int64, sent []store.ListedDelivery, more, onlyLogs bool) string {
	people, executions := make(map[string]bool), make(map[string]bool)
	messages := int64(0)
	for i := range sent {
		executions[sent[i].ExecutionID] = true
		if sent[i].Kind == "log" {
			continue
		}
		messages++
		if sent[i].Recipient != "" {
			people[sent[i].TenantID+"\x00"+sent[i].Recipient] = true
		}
	}
	text := "Last 7 days: " + plural(runs, "firing", "firings")
	if failed > 0 {
		text += fmt.Sprintf(" (%s failed)", number(failed))
	}
	switch {
	case messages > 0:
	case more: // those that were looked at say nothing of the others
		return text + "."
	case onlyLogs:
		return text + ", which only wrote into the log."
	default:
		return text + ", and no message was sent."
	}
	about := ""
	if more { // as many for each firing as of those that were looked at
		about, messages = "about ", max(messages, (runs-failed)*messages/int64(len(executions)))
	}
	text += ", " + about + plural(messages, "message", "messages")
	if len(people) > 0 {
		text += " to " + about + plural(int64(len(people)), "person", "people")
	}
	return text + "."
}

// wouldReach finds out who the recipients of these changes are now.
func (v *visit) wouldReach(l *loaded, list []candidate) (string, error) {
	if !v.can(access.PersonRead) {
		return "", nil
	}
	var ask []api.RecipientIn
	fired := 0
	for i := range list {
		if list[i].Result == nil || !fires(list[i].Result) {
			continue
		}
		fired++
		for _, a := range list[i].Result.Actions {
			for _, r := range a.Recipients {
				one := api.RecipientIn{Type: r.Type, Value: r.ID}
				if r.Type == "attribute" {
					one = api.RecipientIn{Type: "user", Value: r.Value}
				}
				if one.Value != "" && !slices.Contains(ask, one) && len(ask) < 100 {
					ask = append(ask, one)
				}
			}
		}
	}
	if len(ask) == 0 {
		return "", nil
	}
	in := map[string]any{"recipients": ask}
	if v.me.Tenant == nil && l.TenantID != nil {
		in["tenant_id"] = *l.TenantID
	}
	var out api.ResolvedOut
	err := v.call(http.MethodPost, "/recipients/resolve", nil, in, &out)
	switch p := problemOf(err); {
	case err == nil:
	case p.Status >= 500 || p.Status == http.StatusTooManyRequests:
		return "", err
	default: // which the action says at its place
		return "", nil
	}
	ids := make(map[string]bool)
	for i := range out.People {
		ids[out.People[i].ID] = true
	}
	return fmt.Sprintf("By the %s above it would reach %s.", plural(int64(fired), "firing", "firings"), plural(int64(len(ids)), "person", "people")), nil
}
