package ui

import (
	"fmt"
	"testing"

	"github.com/rowbell/rowbell/pkg/store"
)

// What a week's deliveries came to is said exactly where all were looked at, and else about.
func TestWeekText(t *testing.T) {
	t.Parallel()
	sent := func(executions, people int) (list []store.ListedDelivery) {
		for e := range executions {
			for p := range max(people, 1) {
				d := store.ListedDelivery{ExecutionID: fmt.Sprint("e", e), TenantID: "acme"}
				if people > 0 {
					d.Recipient = fmt.Sprint("p", p)
				}
				list = append(list, d)
			}
		}
		return list
	}
	logged := []store.ListedDelivery{{ExecutionID: "e0", TenantID: "acme", Kind: "log"}, {ExecutionID: "e1", TenantID: "acme", Kind: "log"}}
	for _, c := range []struct {
		runs, failed int64
		sent         []store.ListedDelivery
		more, logs   bool
		want         string
	}{
		{37, 0, sent(37, 3), false, false, "Last 7 days: 37 firings, 111 messages to 3 people."},
		{1, 1, sent(1, 1), false, false, "Last 7 days: 1 firing (1 failed), 1 message to 1 person."},
		{2, 0, sent(2, 0), false, false, "Last 7 days: 2 firings, 2 messages."},
		{5, 0, nil, false, true, "Last 7 days: 5 firings, which only wrote into the log."},
		{12000, 0, sent(50, 4), true, false, "Last 7 days: 12,000 firings, about 48,000 messages to about 4 people."},
		{5, 1, logged, false, true, "Last 7 days: 5 firings (1 failed), which only wrote into the log."},
		{5, 0, nil, false, false, "Last 7 days: 5 firings, and no message was sent."},
		{3, 3, nil, false, false, "Last 7 days: 3 firings (3 failed), and no message was sent."},
		{5, 0, nil, true, true, "Last 7 days: 5 firings."},
		{2, 0, append(sent(2, 2), logged...), false, false, "Last 7 days: 2 firings, 4 messages to 2 people."},
		{1000, 500, append(sent(2, 2), logged...), true, false, "Last 7 days: 1,000 firings (500 failed), about 1,000 messages to about 2 people."},
	} {
		if got := weekText(c.runs, c.failed, c.sent, c.more, c.logs); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
