package demo

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/rowbell/rowbell/pkg/workflow"
)

// teller writes news as lines: a change and the workflow that it matched, and below it
// what was delivered.
//
//	16:05:22  order 19 of acme: status new → approved          → Order approved
//	          ✓ webhook 127.0.0.1:41234/webhook                200, signature verified       4.1 ms
//	          ✓ inbox of maria                                 Order 19 is approved          6.3 ms
type teller struct {
	screen *screen
	// receipt is what the receiver knows of a delivery.
	receipt func(id string) (receipt, bool)

	mu   sync.Mutex
	last string          // the execution of the last line
	seen map[string]bool // executions that were shown
}

func newTeller(s *screen, receipt func(string) (receipt, bool)) *teller {
	return &teller{screen: s, receipt: receipt, seen: make(map[string]bool)}
}

// The columns: time; change or destination; workflow or outcome; latency.
const (
	timeWidth     = 8
	indent        = timeWidth + 2
	workflowWidth = 26 // → Invoice needs attention
	latencyWidth  = 8
	widest        = 116 // beyond, the eye loses the line
	narrow        = 100 // below, words are saved
)

// columns are the widths of change, destination and outcome.
func columns(width int) (change, destination, outcome int) {
	width = min(width, widest)
	change = max(30, width-indent-2-workflowWidth)
	if width >= narrow {
		change = min(change, width-indent-2-44)
		destination = change - 2 // behind the mark: outcomes stand below workflows
	} else {
		destination = 31 // webhook 127.0.0.1:41234/webhook
	}
	outcome = max(12, width-indent-2-destination-2-1-latencyWidth)
	return change, destination, outcome
}

// other is something that isn't of an execution.
func (t *teller) other(colour, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = ""
	t.screen.line("%s%s", strings.Repeat(" ", indent), t.screen.paint(colour, fmt.Sprintf(format, args...)))
}

// tell shows one piece of news.
func (t *teller) tell(n *news) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, e := t.screen, n.Execution
	width := s.columns()
	changeWidth, destinationWidth, outcomeWidth := columns(width)
	if t.last != e.ExecutionID {
		t.last = e.ExecutionID
		at, colour := e.CommittedAt, ""
		if t.seen[e.ExecutionID] { // again, later
			at, colour = n.at(), dim
		}
		if len(t.seen) > 10*mostOpen {
			clear(t.seen)
		}
		t.seen[e.ExecutionID] = true
		name := cut("→ "+clean(e.WorkflowName), workflowWidth)
		text := cut(clean(sayChange(e)), max(changeWidth, width-indent-2-utf8.RuneCountInString(name)))
		s.line("%s  %s  %s",
			s.paint(dim, at.Local().Format("15:04:05")),
			s.paint(colour, pad(text, max(changeWidth, utf8.RuneCountInString(text)))),
			s.paint(cyan, name))
	}
	destination := clean(n.destination())
	mark, colour, outcome := t.outcome(n, width < narrow)
	latency := since(n.latency())
	room := outcomeWidth
	if mark == again { // it isn't there yet
		latency = ""
		room += 1 + latencyWidth
	}
	text := ""
	for _, part := range outcome { // as many as there is room for
		if longer := strings.TrimPrefix(text+", "+part, ", "); text == "" || utf8.RuneCountInString(longer) <= room {
			text = longer
		} else {
			break
		}
	}
	if latency != "" {
		text = pad(text, outcomeWidth)
		latency = fmt.Sprintf(" %*s", latencyWidth, latency)
	}
	s.line("%s%s %s  %s%s", strings.Repeat(" ", indent),
		s.paint(colour, mark), pad(destination, destinationWidth), s.paint(colour, text), latency)
	if why := clean(n.why()); why != "" && mark != again {
		for _, line := range wrap(why, width-indent-2, 2) {
			s.line("%s%s", strings.Repeat(" ", indent+2), s.paint(colour, line))
		}
	}
}

// The marks of outcomes.
const (
	delivered = "✓"
	again     = "↻"
	gaveUp    = "✗"
	nothing   = "·"
)

// at is when it happened.
func (n *news) at() time.Time {
	if !n.Delivery.StartedAt.IsZero() {
		return n.Delivery.StartedAt.Add(n.Delivery.Duration)
	}
	if !n.Delivery.At.IsZero() {
		return n.Delivery.At
	}
	return n.Execution.ExecutedAt
}

// destination says what goes where.
func (n *news) destination() string {
	switch d := &n.Delivery; d.Kind {
	case "":
		if n.Status == workflow.Success {
			return "log"
		}
		return "execution"
	case "webhook":
		text := n.URL
		if u, err := url.Parse(n.URL); err == nil {
			text = u.Host + u.Path
		}
		return "webhook " + text
	case "notification":
		if d.Recipient == "" {
			return "inbox"
		}
		return "inbox of " + d.Recipient
	case "email":
		if d.Recipient == "" {
			return "mail"
		}
		return "mail to " + d.Recipient
	default:
		return strings.TrimSpace(d.Kind + " " + d.Recipient)
	}
}

// outcome says what came of it, the most important part first.
func (t *teller) outcome(n *news, short bool) (mark, colour string, parts []string) {
	d := &n.Delivery
	if d.DeliveryID == "" {
		switch n.Status {
		case workflow.Success:
			return delivered, green, []string{"recorded"}
		case workflow.Cancelled:
			return nothing, yellow, []string{"cancelled"}
		}
		return gaveUp, red, []string{"failed"}
	}
	code := "no answer"
	if d.Code != 0 {
		code = fmt.Sprint(d.Code)
	} else if d.Kind != "webhook" {
		code = "failed"
	}
	attempt := fmt.Sprintf("attempt %d", d.Attempt)
	switch d.Outcome {
	case "succeeded":
		repeats := 0
		if d.Kind != "webhook" {
			parts = []string{cmp.Or(clean(d.Title), "delivered")}
		} else {
			parts = []string{code}
			r, ok := t.receipt(d.DeliveryID)
			switch {
			case ok && short:
				parts = append(parts, "verified")
			case ok:
				parts = append(parts, "signature verified")
			}
			repeats = r.Requests
		}
		if d.Attempt > 1 {
			parts = append(parts, attempt)
		}
		if repeats > int(d.Attempt) {
			parts = append(parts, fmt.Sprintf("came %d times", repeats))
		}
		return delivered, green, parts
	case "retry":
		parts = []string{code}
		if wait := d.At.Sub(n.at()); wait > 0 && (d.State == "ready" || d.State == "leased") {
			parts = append(parts, "again in "+since(wait))
		}
		if d.Attempt > 1 {
			parts = append(parts, attempt)
		}
		return again, yellow, parts
	case "dead":
		parts = []string{"gave up", code}
		if d.Attempt == 0 {
			parts = parts[:1]
		}
		if d.Attempt > 1 {
			parts = append(parts, attempt)
		}
		return gaveUp, red, parts
	}
	return nothing, yellow, []string{"cancelled"}
}

// why says why it failed or was cancelled; "" if it wasn't.
func (n *news) why() string {
	switch {
	case n.Delivery.DeliveryID == "":
		return n.ExecutionError
	case n.Delivery.Outcome == "succeeded":
		return ""
	}
	return n.Delivery.Error
}
