// Package actiontest is what every action kind must pass. A kind's own tests call Run
// with a counterpart that does what it is told; what is only true of one kind they check
// themselves.
package actiontest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/workflow"
)

// T is what Run needs of a *testing.T. Fatalf must not return.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
}

// Subject is a kind and the world that it acts on. A hook that is nil does not apply to
// the kind, which Run logs.
type Subject struct {
	Kind *actions.Kind
	// Valid are configurations that are taken, of the kind's own keys. The first one is
	// run: it should have all secrets and tokens that a configuration can have.
	Valid []string
	// Invalid are configurations that are refused, with words that the error must have.
	Invalid map[string][]string
	// Secrets are what is stored, by name. No text of theirs may be shown.
	Secrets map[string]string
	// Planted are other texts that may not be shown, as a token in a URL.
	Planted []string
	// Recipient is whose the deliveries are; of kinds with Recipients.
	Recipient string

	// What the counterpart does from now on.
	OK           func() // takes what comes; nil: there is no counterpart
	Refuse       func() // refuses for good
	RefuseForNow func() // refuses, and another attempt could help
	Away         func() // is not to be reached
	// Hang makes it take an attempt and not answer. Reached is closed when one has come;
	// release lets the attempt go on and makes the counterpart take what comes.
	Hang func() (reached <-chan struct{}, release func())

	// Call is what a delivery's Call does; of kinds InTransaction. What it does for one that
	// has ended must not happen again.
	Call func(ctx context.Context, d *actions.Delivery, c workflow.FunctionCall) (string, error)

	// Effects are what the counterpart has seen so far, oldest first, also what it refused.
	// One that keeps the first of several attempts shows that one alone.
	Effects func() []Effect
}

// Effect is what the counterpart saw of an attempt.
type Effect struct {
	Key     string // by which it knows other attempts at the same delivery
	Content string // what came, without what may differ between attempts
}

// soon is how long an attempt may take to end after its context, and patience how long
// the suite waits for what has no limit of its own.
const (
	soon     = time.Second
	patience = 20 * time.Second
)

// Run checks the kind, and reports all that is wrong.
func Run(t T, s Subject) {
	t.Helper()
	if s.Kind == nil || len(s.Valid) == 0 {
		t.Fatalf("actiontest: a subject needs a kind, and a valid configuration")
	}
	if s.Kind.InTransaction != (s.Call != nil) {
		t.Fatalf("actiontest: a kind in transaction needs Call, and no other has it")
	}
	c := &checker{T: t, Subject: s, hidden: slices.Clone(s.Planted)}
	for _, text := range s.Secrets {
		c.hidden = append(c.hidden, text)
	}
	r, err := actions.NewRegistry(s.Kind)
	if err != nil {
		t.Fatalf("schema: %v", err)
	}
	c.registry = r
	c.checkSchema()
	c.checkInvalid()
	c.runner = c.parse(s.Valid[0])
	c.destination = c.runner.Destination()
	c.shown("destination", c.destination)
	for name, hook := range map[string]bool{
		"OK": s.OK == nil, "Refuse": s.Refuse == nil, "RefuseForNow": s.RefuseForNow == nil,
		"Away": s.Away == nil, "Hang": s.Hang == nil, "Effects": s.Effects == nil,
	} {
		if hook {
			t.Logf("%s does not apply to %s", name, s.Kind.Name)
		}
	}
	c.checkRepetition()
	c.checkGoroutines()
	c.checkRefusal("refuses for good", s.Refuse, true)
	c.checkRefusal("refuses for now", s.RefuseForNow, false)
	c.checkRefusal("is away", s.Away, false)
	c.checkSecrets()
	c.checkCancelledBefore()
	c.checkCancelledDuring()
	if again := c.parse(s.Valid[0]).Destination(); again != c.destination || c.runner.Destination() != c.destination {
		t.Errorf("destination: it was %q, and became %q and %q", c.destination, c.runner.Destination(), again)
	}
}

type checker struct {
	T
	Subject
	registry    *actions.Registry
	runner      actions.Runner
	destination string
	hidden      []string
	ids         int // of deliveries so far
}

// plan reads a configuration as a worker does: by the schema, then by Parse.
func (c *checker) plan(config string) (actions.Runner, error) {
	w := &workflow.Workflow{
		Actions:    []workflow.Action{{ID: "a", Type: c.Kind.Name, Config: json.RawMessage(config)}},
		Recipients: []workflow.Recipient{{ID: "r", Type: "user", Value: "ann"}},
	}
	p, err := c.registry.Plan(w)
	if err != nil {
		c.shown("config", err.Error())
		return nil, err
	}
	return p.Steps[0].Runner, nil
}

func (c *checker) parse(config string) actions.Runner {
	r, err := c.plan(config)
	if err != nil {
		c.Fatalf("config %s is refused: %v", config, err)
	}
	return r
}

// checkSchema sees that the schema has a word on each key, refuses others at every depth,
// and that Parse takes what it gives as defaults.
func (c *checker) checkSchema() {
	var doc map[string]any
	if err := json.Unmarshal([]byte(c.Kind.Schema), &doc); err != nil {
		c.Fatalf("schema: %v", err)
	}
	c.walk("schema", doc)
	for _, config := range c.Valid {
		c.parse(config)
		with := func(key string, value any) string {
			var all map[string]any
			dec := json.NewDecoder(strings.NewReader(config))
			dec.UseNumber()
			if err := dec.Decode(&all); err != nil {
				c.Fatalf("config %s: %v", config, err)
			}
			all[key] = value
			text, err := json.Marshal(all)
			if err != nil {
				c.Fatalf("config %s: %v", config, err)
			}
			return string(text)
		}
		const unknown = "no_such_key"
		if _, err := c.plan(with(unknown, 1)); err == nil || !strings.Contains(err.Error(), unknown) {
			c.Errorf("schema: a key that it doesn't have is not refused by its name: %v", err)
		}
		properties, _ := doc["properties"].(map[string]any)
		for key, p := range properties {
			property, _ := p.(map[string]any)
			if value, ok := property["default"]; ok {
				if _, err := c.plan(with(key, value)); err != nil {
					c.Errorf("schema: the default of %s is refused: %v", key, err)
				}
			}
		}
	}
}

// walk finds objects inside of which any key goes.
func (c *checker) walk(at string, part any) {
	switch part := part.(type) {
	case map[string]any:
		if _, ok := part["properties"].(map[string]any); ok && part["type"] == "object" && part["additionalProperties"] != false {
			c.Errorf("%s: it has properties and allows others; add \"additionalProperties\": false", at)
		}
		for key, p := range part {
			if key != "examples" && key != "default" && key != "const" && key != "enum" {
				c.walk(at+"."+key, p)
			}
		}
	case []any:
		for i, p := range part {
			c.walk(fmt.Sprintf("%s[%d]", at, i), p)
		}
	}
}

func (c *checker) checkInvalid() {
	for _, config := range slices.Sorted(maps.Keys(c.Invalid)) {
		_, err := c.plan(config)
		if err == nil {
			c.Errorf("config %s is taken", config)
			continue
		}
		for _, word := range c.Invalid[config] {
			if !strings.Contains(err.Error(), word) {
				c.Errorf("config %s: %v; it should have %q", config, err, word)
			}
		}
	}
}

// attempt is one attempt, and what it came to.
type attempt struct {
	result actions.Result
	err    error
}

func (a attempt) permanent() bool {
	e, ok := errors.AsType[*actions.Error](a.err)
	return ok && e.Permanent
}

// delivery makes one that there has not been. Its event is its own.
func (c *checker) delivery() *actions.Delivery {
	c.ids++
	id := fmt.Sprintf("01M84JMESM%016d", c.ids)
	d := &actions.Delivery{
		Attempt: 1,
		Event: &workflow.Event{
			ID: id, Position: change.Position{Stream: 1, CommitLSN: 0x1A2B3C8, Seq: int32(c.ids)},
			CommittedAt: time.Date(2026, 11, 23, 16, 8, 12, 340577000, time.UTC), TableRef: 1, Table: "orders",
			Op: change.Update, TenantID: "acme", RowKey: "42",
			Data: []byte(`{"new": {"id": 42, "status": "approved", "total": 1200.50}, "old": null, "changed": ["status"], "unavailable": [], "actor": null}`),
		},
		Workflow: actions.Workflow{ID: "order-approved", Name: "Order approved", Version: 3, TenantID: "acme"},
	}
	if c.Kind.Recipients {
		d.Recipient = c.Recipient
		d.Person = &workflow.Person{
			ID: c.Recipient, Name: "Ann Lee", Email: "ann@example.com", Phone: "+4312345678", Locale: "en", Zone: "Europe/Vienna",
			Reasons: []string{"user " + c.Recipient},
		}
	}
	d.ID = workflow.DeliveryID(id+"-12", 0, d.Recipient)
	d.Secret = func(_ context.Context, name string) (string, error) {
		if text, ok := c.Secrets[name]; ok {
			return text, nil
		}
		return "", fmt.Errorf("there is no secret %q", name)
	}
	return d
}

// try makes an attempt, and checks what holds for all of them. It may be called from any
// goroutine.
func (c *checker) try(ctx context.Context, what string, r actions.Runner, d *actions.Delivery) attempt {
	before := *d.Event
	before.Data = bytes.Clone(d.Event.Data)
	mine := *d
	mine.Secret = func(ctx context.Context, name string) (string, error) {
		if !slices.Contains(r.Secrets(), name) {
			c.Errorf("%s: Run asks for the secret %q, which is not among Secrets", what, name)
		}
		return d.Secret(ctx, name)
	}
	calls := 0
	if c.Call != nil {
		mine.Call = func(ctx context.Context, f workflow.FunctionCall) (string, error) {
			if calls++; f.Key != mine.ID || f.TenantID != mine.Workflow.TenantID || !json.Valid(f.Payload) {
				c.Errorf("%s: Call of %s with the key %q for %q and payload %s", what, f.Function, f.Key, f.TenantID, f.Payload)
			}
			return c.Call(ctx, d, f)
		}
	}
	var a attempt
	a.result, a.err = r.Run(ctx, &mine)
	if calls > 1 || calls == 0 && a.err == nil && c.Kind.InTransaction {
		c.Errorf("%s: an attempt called %d functions; it must call one", what, calls)
	}
	if !reflect.DeepEqual(before, *d.Event) {
		c.Errorf("%s: Run wrote to the event", what)
	}
	if a.err != nil {
		c.shown(what+": error", a.err.Error())
	}
	c.shown(what+": response", a.result.Response)
	return a
}

// shown checks a text that is stored and shown.
func (c *checker) shown(what, text string) {
	for _, hidden := range c.hidden {
		// Also without a first word, as Bearer, and whatever stands round it.
		for _, part := range append(strings.Fields(hidden), hidden) {
			if len(part) >= 8 && strings.Contains(text, part) {
				c.Errorf("%s: it shows a secret: %s", what, strings.ReplaceAll(text, part, "<SECRET>"))
				return
			}
		}
	}
}

// seen are the effects since there were n of them.
func (c *checker) seen(n int) []Effect {
	if c.Effects == nil {
		return nil
	}
	return c.Effects()[n:]
}

func (c *checker) ok() {
	if c.OK != nil {
		c.OK()
	}
}

// checkRepetition tries a delivery several times, as other workers would, and another one.
func (c *checker) checkRepetition() {
	c.ok()
	n := len(c.seen(0))
	d := c.delivery()
	numbers := []int{1, 1, 2, 3} // the same attempt twice: its worker was killed before it noted the end
	for _, number := range numbers {
		again := *d
		again.Attempt = number
		runner := c.runner
		if number == 2 {
			runner = c.parse(c.Valid[0]) // another process
		}
		if a := c.try(context.Background(), "ok", runner, &again); a.err != nil {
			c.Errorf("ok: attempt %d: %v", number, a.err)
			return
		}
	}
	if c.Effects == nil {
		return
	}
	got := c.seen(n)
	if len(got) == 0 || len(got) > len(numbers) {
		c.Errorf("repetition: %d attempts were seen as %d", len(numbers), len(got))
		return
	}
	for _, e := range got[1:] {
		if e.Key != got[0].Key {
			c.Errorf("repetition: attempts at one delivery have the keys %q and %q", got[0].Key, e.Key)
		}
		if e.Content != got[0].Content {
			c.Errorf("repetition: attempts at one delivery differ:\n%s\n%s", got[0].Content, e.Content)
		}
	}
	n += len(got)
	if a := c.try(context.Background(), "ok", c.runner, c.delivery()); a.err != nil {
		c.Errorf("ok: %v", a.err)
	}
	if other := c.seen(n); len(other) != 1 || other[0].Key == got[0].Key || other[0].Key == "" {
		c.Errorf("repetition: another delivery is seen as %v, the first had the key %q", other, got[0].Key)
	}
}

// checkGoroutines tries many deliveries at once, each of them twice.
func (c *checker) checkGoroutines() {
	const deliveries = 16
	c.ok()
	n := len(c.seen(0))
	var wg sync.WaitGroup
	for range deliveries {
		d := c.delivery()
		for range 2 {
			wg.Go(func() {
				if a := c.try(context.Background(), "at once", c.runner, d); a.err != nil {
					c.Errorf("at once: %v", a.err)
				}
			})
		}
	}
	wg.Wait()
	if c.Effects == nil {
		return
	}
	contents := make(map[string]string)
	for _, e := range c.seen(n) {
		if had, ok := contents[e.Key]; ok && had != e.Content {
			c.Errorf("at once: attempts with the key %q differ:\n%s\n%s", e.Key, had, e.Content)
		}
		contents[e.Key] = e.Content
	}
	if len(contents) != deliveries {
		c.Errorf("at once: %d deliveries have %d keys", deliveries, len(contents))
	}
}

func (c *checker) checkRefusal(what string, hook func(), permanent bool) {
	if hook == nil {
		return
	}
	hook()
	defer c.ok()
	n := len(c.seen(0))
	a := c.try(context.Background(), what, c.runner, c.delivery())
	switch {
	case a.err == nil:
		c.Errorf("the counterpart %s: the attempt succeeded", what)
	case a.permanent() != permanent:
		c.Errorf("the counterpart %s: permanent is %t: %v", what, a.permanent(), a.err)
	}
	most := 1
	if a.result.Code == 0 {
		most = 2 // a transport may try once more where an idle connection broke
	}
	if got := c.seen(n); len(got) > most {
		c.Errorf("the counterpart %s: one attempt was seen %d times; a Runner never retries", what, len(got))
	}
}

// checkSecrets takes each secret away, and puts nonsense in its place.
func (c *checker) checkSecrets() {
	c.ok()
	for _, name := range c.runner.Secrets() {
		if _, ok := c.Secrets[name]; !ok {
			c.Errorf("secrets: %q is not among the subject's", name)
			continue
		}
		for _, value := range []string{"", "planted-nonsense\r\nX-Planted: planted-nonsense"} {
			d := c.delivery()
			read := d.Secret
			d.Secret = func(ctx context.Context, of string) (string, error) {
				switch {
				case of != name:
					return read(ctx, of)
				case value == "":
					return "", errors.New("it is not there")
				}
				return value, nil
			}
			a := c.try(context.Background(), "secrets", c.runner, d)
			switch {
			case value == "" && a.err == nil:
				c.Errorf("secrets: the attempt succeeded without %q", name)
			case a.err == nil:
			case a.permanent():
				c.Errorf("secrets: it gives up over %q, which can be stored again: %v", name, a.err)
			case strings.Contains(a.err.Error(), "planted-nonsense"):
				c.Errorf("secrets: the error quotes %q", name)
			}
		}
	}
}

// checkCancelledBefore tries under a context that has ended.
func (c *checker) checkCancelledBefore() {
	c.ok()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	done := make(chan attempt, 1)
	d := c.delivery()
	go func() { done <- c.try(ctx, "cancelled before", c.runner, d) }()
	c.ends("cancelled before", done, func() {})
}

// checkCancelledDuring ends the context while the counterpart has the attempt.
func (c *checker) checkCancelledDuring() {
	if c.Hang == nil {
		return
	}
	reached, release := c.Hang()
	release = sync.OnceFunc(release)
	defer release()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan attempt, 1)
	d := c.delivery()
	go func() { done <- c.try(ctx, "cancelled", c.runner, d) }()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-reached:
	case a := <-done:
		c.Errorf("cancelled: the attempt ended before it reached a counterpart that hangs: %v", a.err)
		return
	case <-late.C:
		c.Errorf("cancelled: the attempt did not reach the counterpart within %s", patience)
	}
	cancel()
	if a, ok := c.ends("cancelled", done, release); ok && a.err == nil {
		c.Errorf("cancelled: the attempt succeeded, and the counterpart had not answered")
	}
}

// ends waits for an attempt whose context has ended.
func (c *checker) ends(what string, done <-chan attempt, release func()) (a attempt, ok bool) {
	late := time.NewTimer(soon)
	defer late.Stop()
	select {
	case a = <-done:
	case <-late.C:
		c.Errorf("%s: the attempt went on for %s after its context", what, soon)
		release()
		late.Reset(patience)
		select {
		case a = <-done:
		case <-late.C:
			c.Fatalf("%s: the attempt never ended", what)
		}
		return a, false
	}
	if a.permanent() {
		c.Errorf("%s: it is permanent: %v", what, a.err)
	}
	return a, true
}
