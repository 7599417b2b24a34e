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
	for _, c := range []struct {
		runs, failed int64
		sent         []store.ListedDelivery
		more         bool
		want         string
	}{
		{37, 0, sent(37, 3), false, "Last 7 days: 37 firings, 111 messages to 3 people."},
		{1, 1, sent(1, 1), false, "Last 7 days: 1 firing (1 failed), 1 message to 1 person."},
		{2, 0, sent(2, 0), false, "Last 7 days: 2 firings, 2 messages."},
		{5, 0, nil, false, "Last 7 days: 5 firings, which only wrote into the log."},
		{12000, 0, sent(50, 4), true, "Last 7 days: 12,000 firings, about 48,000 messages to about 4 people."},
	} {
		if got := weekText(c.runs, c.failed, c.sent, c.more); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
