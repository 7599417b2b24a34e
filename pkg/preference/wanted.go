package preference

import (
	"fmt"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// Wanted says whether somebody wants what a workflow tells through a channel, and by which
// of their preferences; nil if by none, for then it is wanted.
func Wanted(list []workflow.Preference, workflowID, channel string) (wanted bool, by *workflow.Preference) {
	best := -1
	for i, p := range list {
		if p.WorkflowID != "" && p.WorkflowID != workflowID || p.Channel != "" && p.Channel != channel {
			continue
		}
		if n := specific(p); n > best {
			best, by = n, &list[i]
		}
	}
	return by == nil || by.Wanted, by
}

// specific orders preferences: the workflow weighs more than the channel.
func specific(p workflow.Preference) int {
	n := 0
	if p.WorkflowID != "" {
		n += 2
	}
	if p.Channel != "" {
		n++
	}
	return n
}

// Describe says what a preference is about: "this workflow by email".
func Describe(p workflow.Preference) string {
	switch {
	case p.WorkflowID != "" && p.Channel != "":
		return "this workflow by " + p.Channel
	case p.WorkflowID != "":
		return "this workflow"
	case p.Channel != "":
		return "anything by " + p.Channel
	}
	return "anything"
}

// optedOut is why a delivery to somebody is cancelled.
func optedOut(p workflow.Preference) string {
	return workflow.Why(workflow.WhyOptedOut, fmt.Sprintf("they don't want %s", Describe(p)))
}
