package bench

import (
	"bufio"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// logWriter writes the log, transaction by transaction.
type logWriter struct {
	*filler
	out [5]*bufio.Writer
	row copyRow
	lsn change.LSN
	err error
}

// One transaction in so many is an import, of so many rows.
const (
	importEach = 250_000
	importRows = 5000
)

// transaction writes one transaction's events.
func (w *logWriter) transaction(at time.Time) error {
	w.lsn += 0x100 + change.LSN(w.random.IntN(0x100))
	tenant := w.pick(w.shares)
	for len(w.tenants[tenant].workflows) == 0 {
		tenant = w.pick(w.shares)
	}
	t := &w.tenants[tenant]
	first := t.workflows[w.pick(t.shares)]
	n := 1
	switch u := w.random.IntN(importEach); {
	case u == 0 && w.Rows > 100*importRows:
		n = importRows
	case u < importEach/20:
		n = 2 + w.random.IntN(8)
	}
	for seq := range n {
		w.event(at, int32(seq), t, first)
	}
	return w.err
}

func (w *logWriter) put(to int) {
	if _, err := w.out[to].Write(w.row.end()); err != nil && w.err == nil {
		w.err = err
	}
}

// event writes an event and its executions: the first workflow's, and often others'.
func (w *logWriter) event(at time.Time, seq int32, t *filledTenant, first int) {
	f := &w.workflows[first]
	id := eventID(at, w.lsn, seq)
	// Some rows change very often, and most once or twice.
	key := 1 + int64(float64(w.Rows/8+10)*math.Pow(w.random.Float64(), 3))
	if w.random.IntN(200) == 0 {
		key = 1 + int64(w.random.IntN(20))
	}
	data := fmt.Sprintf(`{"new":{"id":%d,"tenant_id":"%s","status":"%s","total":%d.50,"email":"customer%d@example.com","note":"a note of forty letters or a little more","updated_at":"%s"},"old":%s,"changed":%s,"unavailable":[],"actor":{"id":"user-%d","roles":["clerk"]}}`,
		key, t.id, stateOf(first), key%10_000, key%5000, at.Format(time.RFC3339Nano),
		map[bool]string{true: `{"status":"new"}`, false: "null"}[f.op == 'u'], map[bool]string{true: `["status"]`, false: "null"}[f.op == 'u'], key%300)
	w.row.text(id).text(w.lsn.String()).int(1).int(int64(seq)).int(0).time(at).int(int64(w.tableRefs[f.table])).text(string(f.op)).text(t.id).int(key).text(data)
	w.put(toEvents)
	w.events++
	w.execution(at, id, t, first)
	others := 0
	switch u := w.random.IntN(100); {
	case u < 3:
		others = 5
	case u < 18:
		others = 1
	}
	same := t.byTable[f.table]
	from := w.random.IntN(len(same))
	for i := range min(others, len(same)) {
		if other := same[(from+i)%len(same)]; other != first {
			w.execution(at, id, t, other)
		}
	}
	// An operators' workflow sees the rows of all tenants.
	operators := &w.tenants[w.Tenants]
	if list := operators.byTable[f.table]; len(list) > 0 && w.random.IntN(50) == 0 {
		w.execution(at, id, operators, list[w.random.IntN(len(list))])
	}
}

var causes = []string{
	"hooks%[1]d.example.com answered 503 Service Unavailable: upstream connect error or disconnect before headers, reset reason %[2]d",
	"hooks%[1]d.example.com answered 404 Not Found: no such endpoint",
	"dial tcp 203.0.113.%[2]d:443: i/o timeout",
	"hooks%[1]d.example.com answered 429 Too Many Requests: retry in %[2]d s",
	"550 5.1.1 <customer%[2]d@example.com>: recipient address rejected",
	"tls: failed to verify certificate: x509: certificate has expired %[2]d days ago",
	"hooks%[1]d.example.com answered 500 Internal Server Error: incident %[2]d",
	"the text needs column total%[1]d, which the row does not have",
}

func (w *logWriter) cause() string {
	return fmt.Sprintf(causes[min(w.random.IntN(len(causes)), w.random.IntN(len(causes)))], w.random.IntN(3), w.random.IntN(200))
}

// one is how a delivery went.
type one struct {
	status   string // of an execution
	reason   string
	attempts int64
	code     int64
	took     time.Duration // the last attempt
	all      time.Duration // from its recording to its end
}

// went throws dice for a delivery of a workflow.
func (w *logWriter) went(f *filledWorkflow) one {
	o := one{status: "success", attempts: 1, code: 200, took: time.Duration(math.Exp(3.5+w.random.NormFloat64()) * float64(time.Millisecond))}
	o.all = o.took + time.Duration(1+w.random.IntN(20))*time.Millisecond
	failing := 1
	if f.sick {
		failing = 25
	}
	switch u := w.random.IntN(100); {
	case u < failing:
		o.status, o.reason, o.attempts, o.code = "failure", w.cause(), int64(1+w.random.IntN(6)), 503
	case u == 99:
		return one{status: "cancelled", reason: "the workflow was turned off"}
	case u > 95:
		o.attempts += int64(1 + w.random.IntN(3))
	}
	for range o.attempts - 1 {
		o.all += time.Duration(5+w.random.IntN(1800)) * time.Second
	}
	return o
}

// tries writes the attempts before the last one.
func (w *logWriter) tries(at, began time.Time, execution, recipient string, n int64) {
	for i := range n {
		w.row.time(at).time(began.Add(time.Duration(i) * 5 * time.Minute)).int(20 + i).int(0).int(i + 1).int(503).text(execution).text(recipient).text(w.cause()).null()
		w.put(toAttempts)
		w.attempts++
	}
}

// lateShare is how many of a thousand deliveries wait for a retry, of the last hours'.
const lateShare = 15

// execution writes an execution and its deliveries.
func (w *logWriter) execution(at time.Time, event string, t *filledTenant, of int) {
	f := &w.workflows[of]
	share := at.Sub(w.now.AddDate(0, 0, -w.Days)).Seconds() / (time.Duration(w.Days) * 24 * time.Hour).Seconds()
	ref := f.refs[min(int(max(share, 0)*float64(len(f.refs))), len(f.refs)-1)]
	id := event + "-" + strconv.Itoa(int(ref))
	recorded := at.Add(time.Duration(2+w.random.IntN(30)) * time.Millisecond)
	w.rows++
	if f.kind == "log" {
		w.settled(at, recorded, recorded, ref, id, "success", "", nil)
		return
	}
	pending := w.now.Sub(at) < 20*time.Hour && w.random.IntN(1000) < lateShare
	if f.people() && w.random.IntN(6) == 0 {
		w.forSeveral(at, recorded, f, t, ref, id, pending)
		return
	}
	recipient := ""
	if f.people() {
		recipient = w.person(t, of, 0)
	}
	o := w.went(f)
	if pending {
		n := int64(1 + w.random.IntN(4))
		w.tries(at, recorded, id, recipient, n)
		w.row.time(at).time(recorded).time(w.now.Add(time.Duration(30+w.random.IntN(20*60)) * time.Minute)).int(int64(ref)).int(100).int(0).int(0).int(n).
			text("true").text("true").text(id).text(recipient).text(f.kind).text(w.cause())
		w.address(t, recipient)
		w.row.int(f.lane)
		w.waiting = append(w.waiting, slices.Clone(w.row.end()))
		return
	}
	w.tries(at, recorded, id, recipient, o.attempts-1)
	w.settled(at, recorded, recorded.Add(o.all), ref, id, o.status, o.reason, func() { w.sole(&o, f, t, recipient) })
	if f.kind == "notification" && o.status == "success" {
		w.notification(recorded.Add(o.all), t, recipient, workflow.DeliveryID(id, 0, recipient))
	}
}

// settled writes a row of execution; deliver writes the columns of its only delivery.
func (w *logWriter) settled(at, recorded, settled time.Time, ref int32, id, status, reason string, deliver func()) {
	w.row.time(at).time(recorded).time(settled).int(int64(ref)).int(100)
	if deliver == nil {
		w.row.null().null().null().null().text(id).text(status).null().null().orNull(reason).null().null()
		w.put(toExecutions)
		return
	}
	head := slices.Clone(w.row.b)
	w.row.b = w.row.b[:0]
	deliver() // duration_ms, action, attempts, code | kind, recipient | result, address
	parts := strings.Split(string(w.row.b), "\x00")
	w.row.b = append(w.row.b[:0], head...)
	w.row.b = append(w.row.b, parts[0]...)
	w.row.text(id).text(status)
	w.row.b = append(w.row.b, parts[1]...)
	w.row.orNull(reason)
	w.row.b = append(w.row.b, parts[2]...)
	w.put(toExecutions)
}

// sole writes the columns of an execution's only delivery, in three parts.
func (w *logWriter) sole(o *one, f *filledWorkflow, t *filledTenant, recipient string) {
	next := func() { w.row.b = append(w.row.b, 0) }
	ms := o.took.Milliseconds()
	if o.attempts == 0 {
		w.row.b = append(w.row.b, "\t\\N"...)
	} else {
		w.row.b = strconv.AppendInt(append(w.row.b, '\t'), ms, 10)
	}
	w.row.int(0).int(o.attempts).intOrNull(o.code)
	next()
	w.row.b = append(append(w.row.b, '\t'), f.kind...)
	w.row.orNull(recipient)
	next()
	if o.status == "success" && f.kind == "webhook" {
		w.row.b = append(w.row.b, "\t{\"response\": \"ok\"}"...)
	} else {
		w.row.b = append(w.row.b, "\t\\N"...)
	}
	w.address(t, recipient)
}

// person is one of a tenant's people: some get much.
func (w *logWriter) person(t *filledTenant, of, i int) string {
	n := (of*7 + i*13 + int(float64(t.people)*math.Pow(w.random.Float64(), 2))) % t.people
	return fmt.Sprintf("user-%d.%s", n, t.id)
}

func (w *logWriter) address(t *filledTenant, recipient string) {
	if recipient == "" {
		w.row.null()
		return
	}
	w.row.text(fmt.Sprintf(`{"id":"%[1]s","name":"Person %[1]s","email":"%[1]s@%[2]s.example.com","reasons":["column email"]}`, recipient, t.id))
}

// forSeveral writes an execution with several deliveries.
func (w *logWriter) forSeveral(at, recorded time.Time, f *filledWorkflow, t *filledTenant, ref int32, id string, pending bool) {
	n := 2 + w.random.IntN(5)
	status, reason := "success", ""
	settled := recorded
	open := 0
	var seen []string
	for i := range n {
		recipient := w.person(t, int(ref), i)
		if slices.Contains(seen, recipient) {
			continue
		}
		seen = append(seen, recipient)
		if pending && i == 0 {
			tries := int64(1 + w.random.IntN(4))
			w.tries(at, recorded, id, recipient, tries)
			w.row.time(at).time(recorded).time(w.now.Add(time.Duration(30+w.random.IntN(20*60)) * time.Minute)).int(int64(ref)).int(100).int(0).int(0).int(tries).
				text("false").text("true").text(id).text(recipient).text(f.kind).text(w.cause())
			w.address(t, recipient)
			w.row.int(f.lane)
			w.waiting = append(w.waiting, slices.Clone(w.row.end()))
			open++
			continue
		}
		o := w.went(f)
		w.tries(at, recorded, id, recipient, o.attempts-1)
		ended := recorded.Add(o.all)
		if ended.After(settled) {
			settled = ended
		}
		if o.status == "failure" {
			status, reason = o.status, o.reason
		}
		w.row.time(at).time(ended).int(int64(ref)).int(0)
		if o.attempts == 0 {
			w.row.null()
		} else {
			w.row.int(o.took.Milliseconds())
		}
		w.row.int(0).int(o.attempts).intOrNull(o.code).text(id).text(recipient).text(f.kind).
			text(map[string]string{"success": "succeeded", "failure": "dead", "cancelled": "cancelled"}[o.status]).orNull(o.reason)
		w.address(t, recipient)
		w.row.null()
		w.put(toEnded)
		w.several++
		if f.kind == "notification" && o.status == "success" {
			w.notification(ended, t, recipient, workflow.DeliveryID(id, 0, recipient))
		}
	}
	if open == 0 {
		w.settled(at, recorded, settled, ref, id, status, reason, nil)
		return
	}
	w.row.time(at).time(recorded).int(int64(ref)).int(100).int(int64(open)).text(id).orNull(reason)
	w.opened = append(w.opened, slices.Clone(w.row.end()))
}

// notification writes one into an inbox; older ones are read.
func (w *logWriter) notification(at time.Time, t *filledTenant, recipient, delivery string) {
	var id ulid.ULID
	_ = id.SetTime(ulid.Timestamp(at)) // fails from the year 10889 on
	for i := 6; i < len(id); i++ {
		id[i] = byte(w.random.Uint32())
	}
	w.row.text(id.String()).orNull(t.id).text(recipient).text(delivery).text("An order was approved").text("It can be shipped.").time(at)
	if w.now.Sub(at) < 48*time.Hour {
		w.row.null().null()
	} else {
		w.row.time(at.Add(time.Hour)).time(at.Add(2 * time.Hour))
	}
	w.put(toNotifications)
	w.notifications++
}
