package faulttest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// hookSecret is what the scenarios' webhooks are signed with.
const hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// receiver is a receiver of webhooks as the world has them: it loses one answer in
// twenty, fails now and then, is slow at times, and goes away when it is told to.
type receiver struct {
	addr   string
	verify *standardwebhooks.Webhook

	mu        sync.Mutex
	rng       *rand.Rand
	kind      bool          // it is never slow, and asks for no less
	slow      time.Duration // what each answer takes, unless it is kind
	server    *http.Server
	got       map[string]*receipt
	wrong     []string // what it must never get, or not in this way
	requests  int
	lost      int // answers
	next      func()
	nextAfter bool // next is called when the answer has been sent, not before
	broken    []interval
	cuts      []time.Time // when all connections were cut
	resumed   []time.Time // when a worker went on that had stood still
	begun     int         // requests that it had begun before, and made then
}

// receipt is what came under one webhook-id.
type receipt struct {
	hash [32]byte
	body []byte
	came []*arrival
}

// arrival is one request.
type arrival struct {
	at, ended time.Time // ended is zero as long as it waits for its answer
	code      int       // what it was answered; 0 if it wasn't
	overtaken bool      // another request with the same id came while this one waited
}

// interval is a time in which outcomes may have been lost: a worker was ended, or its
// database was away.
type interval struct{ from, to time.Time }

func newReceiver(w *world) (*receiver, error) {
	verify, err := standardwebhooks.NewWebhook(hookSecret)
	if err != nil {
		return nil, err
	}
	r := &receiver{verify: verify, rng: rand.New(rand.NewPCG(w.rng.Uint64(), 7)), got: make(map[string]*receipt), addr: "127.0.0.1:0"}
	w.t.Cleanup(r.away)
	return r, r.back()
}

func (r *receiver) url() string { return "http://" + r.addr + "/hook" }

// back begins to listen, at the address that it had before.
func (r *receiver) back() error {
	var l net.Listener
	err := poll(5*time.Second, func() (err error) { l, err = net.Listen("tcp", r.addr); return err })
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addr = l.Addr().String()
	r.server = &http.Server{Handler: r}
	go func(s *http.Server) { _ = s.Serve(l) }(r.server)
	return nil
}

// away cuts all connections, and lets nobody in.
func (r *receiver) away() {
	r.mu.Lock()
	s := r.server
	r.cuts = append(r.cuts, time.Now())
	r.mu.Unlock()
	_ = s.Close()
}

// calm makes it answer at once from now on, though not always well.
func (r *receiver) calm() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kind = true
}

// takes makes each answer take so long.
func (r *receiver) takes(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slow = d
}

// onNext calls f once, while the next request waits for its answer, or when it has it.
func (r *receiver) onNext(after bool, f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next, r.nextAfter = f, after
}

// breaks notes that outcomes of attempts may be lost from now on until end is called.
func (r *receiver) breaks() (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := len(r.broken)
	r.broken = append(r.broken, interval{from: time.Now()})
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.broken[i].to = time.Now()
	}
}

// resumes notes that a worker goes on that stood still. What it had begun is tried by it
// too, although another one has taken it over.
func (r *receiver) resumes() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resumed = append(r.resumed, time.Now())
}

// afterResume says that an attempt may be one that a worker had begun before it stood
// still.
func (r *receiver) afterResume(a *arrival) bool {
	return slices.ContainsFunc(r.resumed, func(at time.Time) bool { return !a.ended.Before(at) && a.at.Sub(at) < time.Second })
}

// came says how many requests have come.
func (r *receiver) came() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests
}

// ServeHTTP takes a webhook.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the worker was killed while it sent
	}
	a, answer := r.take(req, body)
	if answer.before != nil {
		answer.before()
	}
	code := answer.code
	if answer.slow > 0 {
		select {
		case <-time.After(answer.slow):
		case <-req.Context().Done():
			code = 0
		}
	}
	r.answered(req.Context(), a, req.Header.Get("webhook-id"), code)
	if code == 0 {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.Close()
		}
		return
	}
	if code == http.StatusTooManyRequests {
		w.Header().Set("retry-after", "1")
	}
	w.WriteHeader(code)
	if answer.after != nil {
		_ = http.NewResponseController(w).Flush() // who waits for it may be gone
		answer.after()
	}
}

// answer is how a request is answered.
type answer struct {
	code          int // 0: not
	slow          time.Duration
	before, after func()
}

func (r *receiver) bad(format string, args ...any) {
	if len(r.wrong) < 10 {
		r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
	}
}

// take writes a request down, and says how it is to be answered.
func (r *receiver) take(req *http.Request, body []byte) (*arrival, answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests++
	id := req.Header.Get("webhook-id")
	if err := r.verify.Verify(body, req.Header); err != nil {
		r.bad("webhook %s is not verified: %v", id, err)
	}
	hash := sha256.Sum256(body)
	got := r.got[id]
	if got == nil {
		got = &receipt{hash: hash, body: body}
		r.got[id] = got
	}
	if got.hash != hash {
		r.bad("webhook %s came with two bodies:\n%s\n%s", id, got.body, body)
	}
	for _, other := range got.came {
		other.overtaken = other.overtaken || other.ended.IsZero()
	}
	a := &arrival{at: time.Now()}
	got.came = append(got.came, a)
	var how answer
	if r.nextAfter {
		how.after = r.next
	} else {
		how.before = r.next
	}
	r.next = nil
	how.slow = r.slow
	switch n := r.rng.IntN(100); {
	case n < 5:
		r.lost++
		how.code = 0
	case n < 8:
		how.code = http.StatusInternalServerError
	case n < 9:
		how.code = http.StatusTooManyRequests
	case n < 11:
		how.code = http.StatusServiceUnavailable
	case n < 16:
		how.code = http.StatusOK
		how.slow += time.Duration(r.rng.IntN(40)) * time.Millisecond
	default:
		how.code = http.StatusNoContent
	}
	if r.kind {
		how.slow = 0
		if how.code == http.StatusTooManyRequests {
			how.code = http.StatusNoContent
		}
	}
	return a, how
}

// answered notes what a request is being answered. A delivery is one worker's at a time:
// no other request with its id may have come while this one's sender waited.
func (r *receiver) answered(ctx context.Context, a *arrival, id string, code int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a.ended, a.code = time.Now(), code
	if a.overtaken && ctx.Err() == nil && !r.afterResume(a) {
		r.bad("webhook %s came again while the request of %s waited for its answer", id, a.at.Format(time.StampMicro))
	}
}

// done is how a delivery ended, as the log has it.
type done struct {
	ID, Execution, Workflow, Event, Table, Operation, Status, Reason string
	Version, Attempts                                                int32
	// Tried are the numbers of its attempts, and Codes what they were answered; 0 nothing.
	Tried, Codes []int32
}

// Outcomes are written within this time, on a machine that has much to do.
const settleTime = 3 * time.Second

// explains says that a request may be one more than was written down as an attempt: its
// outcome may have been lost, or its answer, and then the worker's transport has sent it
// once more within the attempt.
func (r *receiver) explains(a *arrival) bool {
	if a.code == 0 || slices.ContainsFunc(r.cuts, func(at time.Time) bool { return at.Sub(a.ended).Abs() < 200*time.Millisecond }) {
		return true
	}
	return slices.ContainsFunc(r.broken, func(b interval) bool {
		to := b.to
		if to.IsZero() {
			to = b.from
		}
		// What was sent just before may be read just after.
		return a.at.After(b.from.Add(-settleTime)) && a.at.Before(to.Add(time.Second))
	})
}

// tally is how many requests there were, for which attempts.
type tally struct{ attempts, unheard, extra int }

// compare says what is wrong with what came, given how each delivery of a webhook ended.
func (r *receiver) compare(all []*done) (t tally, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	problems := make([]error, 0, len(r.wrong))
	for _, s := range r.wrong {
		problems = append(problems, errors.New(s))
	}
	bad := func(format string, args ...any) {
		if len(problems) < 20 {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	known := make(map[string]bool, len(all))
	for _, d := range all {
		known[d.ID] = true
		got := r.got[d.ID]
		if got == nil {
			got = &receipt{}
		}
		codes := make(map[int]int) // how often each was the answer
		explained, begun := 0, 0
		for _, a := range got.came {
			codes[a.code]++
			switch {
			case r.explains(a):
				explained++
			case r.afterResume(a):
				begun++
			}
		}
		if well := codes[http.StatusOK] + codes[http.StatusNoContent]; d.Status == "succeeded" && well == 0 {
			bad("delivery %s has succeeded, and was never answered well, in %d requests", d.ID, len(got.came))
		}
		for _, code := range d.Codes {
			if codes[int(code)]--; code != 0 && codes[int(code)] < 0 {
				bad("delivery %s has more attempts with answer %d than there were such answers", d.ID, code)
			}
		}
		// Some attempts reach nobody: the receiver is away.
		switch more := len(got.came) - int(d.Attempts); {
		case more > explained && more <= explained+begun:
			r.begun += more - explained
			t.extra += more
		case more > explained:
			bad("delivery %s came %d times, in %d attempts, and only %d times when a worker, its database or the answer was lost: %s",
				d.ID, len(got.came), d.Attempts, explained, got.times())
		case more > 0:
			t.extra += more
		default:
			t.unheard -= more
		}
		t.attempts += int(d.Attempts)
		if len(got.came) == 0 {
			continue
		}
		var body struct {
			Type string
			Data struct {
				Event    struct{ ID, Table, Operation string }
				Workflow struct {
					ID      string
					Version int32
				}
			}
		}
		if err := json.Unmarshal(got.body, &body); err != nil {
			bad("webhook %s: %v", d.ID, err)
			continue
		}
		e, w := body.Data.Event, body.Data.Workflow
		if e.ID != d.Event || w.ID != d.Workflow || w.Version != d.Version || e.Table != d.Table || e.Operation != d.Operation || body.Type != d.Table+"."+d.Operation {
			bad("webhook %s is %s, of event %s (%s of %s) and version %d of %s; the log says event %s (%s of %s), version %d of %s",
				d.ID, body.Type, e.ID, e.Operation, e.Table, w.Version, w.ID, d.Event, d.Operation, d.Table, d.Version, d.Workflow)
		}
	}
	if most := pausedConcurrency * len(r.resumed); r.begun > most {
		bad("%d requests came again right after a worker that stood still went on, and it can't have begun more than %d", r.begun, most)
	}
	for id := range r.got {
		if !known[id] {
			bad("webhook %s came, and there is no such delivery", id)
		}
	}
	return t, errors.Join(problems...)
}

// times tells when it came, and what it was answered.
func (g *receipt) times() string {
	var s string
	for _, a := range g.came {
		s += fmt.Sprintf(" %s (%d)", a.at.Format("15:04:05.000"), a.code)
	}
	return s
}

// inOrder says what is wrong with the order in which two deliveries of an execution
// came: the later one may come when the earlier one has been answered well.
func (r *receiver) inOrder(earlier, later string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	a, b := r.got[earlier], r.got[later]
	if b == nil {
		return nil
	}
	if a != nil {
		for _, x := range a.came {
			if (x.code == http.StatusOK || x.code == http.StatusNoContent) && !x.ended.After(b.came[0].at) {
				return nil
			}
		}
	}
	return fmt.Errorf("webhook %s came before %s, which has a lower order, was answered well", later, earlier)
}
