package actiontest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/rowbell/rowbell/actions"
)

var _ T = testing.TB(nil)

// report keeps what a run of the suite says.
type report struct {
	mu     sync.Mutex
	errors []string
	logs   []string
}

func (r *report) Helper() {}

func (r *report) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *report) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *report) Logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs = append(r.logs, fmt.Sprintf(format, args...))
}

// check runs the suite as a test that may fail.
func check(s Subject) *report {
	r := new(report)
	done := make(chan struct{})
	go func() {
		defer close(done)
		Run(r, s)
	}()
	<-done
	return r
}

// bell is a counterpart in memory.
type bell struct {
	mu      sync.Mutex
	answer  error
	hang    chan struct{}
	reached chan struct{}
	seen    []Effect
}

var (
	errNever = errors.New("never")
	errLater = errors.New("later")
	errAway  = errors.New("away")
)

// ring is one request.
func (b *bell) ring(ctx context.Context, key, content string) error {
	b.mu.Lock()
	if !errors.Is(b.answer, errAway) {
		b.seen = append(b.seen, Effect{key, content})
	}
	answer, hang, reached := b.answer, b.hang, b.reached
	b.mu.Unlock()
	if hang == nil {
		return answer
	}
	close(reached)
	select {
	case <-hang:
		return answer
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *bell) set(answer error) func() {
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.answer, b.hang = answer, nil
	}
}

const schema = `{"type": "object", "properties": {"url": {"type": "string"}, "secret": {"type": "string"}, "volume": {"type": "number", "default": 5}}, "required": ["url"], "additionalProperties": false}`

type ringConfig struct{ URL, Secret string }

// ringer is a kind that does all right, but for what a test changes.
type ringer struct {
	ringConfig
	run         func(ctx context.Context, r *ringer, d *actions.Delivery) (actions.Result, error)
	destination func(r *ringer) string
}

func (r *ringer) Destination() string {
	if r.destination != nil {
		return r.destination(r)
	}
	url, _, _ := strings.Cut(r.URL, "?")
	return url
}
func (r *ringer) Secrets() []string { return []string{r.Secret} }
func (r *ringer) Run(ctx context.Context, d *actions.Delivery) (actions.Result, error) {
	return r.run(ctx, r, d)
}

func judge(err error) error {
	if err == nil {
		return nil
	}
	return &actions.Error{Permanent: errors.Is(err, errNever), Err: err}
}

func subject(b *bell, change func(*ringer)) Subject {
	good := func(ctx context.Context, r *ringer, d *actions.Delivery) (actions.Result, error) {
		if _, err := d.Secret(ctx, r.Secret); err != nil {
			return actions.Result{}, err
		}
		return actions.Result{Code: 200}, judge(b.ring(ctx, d.ID, string(d.Event.Data)))
	}
	return Subject{
		Kind: &actions.Kind{Name: "ring", Schema: schema, Parse: func(config json.RawMessage, _ actions.Texts) (actions.Runner, error) {
			r := &ringer{run: good}
			if err := json.Unmarshal(config, &r.ringConfig); err != nil {
				return nil, err
			}
			if r.URL == "" {
				return nil, errors.New("url: it is missing")
			}
			if change != nil {
				change(r)
			}
			return r, nil
		}},
		Valid:        []string{`{"url": "ring:a?planted-token", "secret": "s"}`, `{"url": "ring:b", "volume": 2.5}`},
		Invalid:      map[string][]string{`{"url": 3}`: {"url", "number"}},
		Secrets:      map[string]string{"s": "Bearer hunter2hunter2"},
		Planted:      []string{"planted-token"},
		OK:           b.set(nil),
		Refuse:       b.set(errNever),
		RefuseForNow: b.set(errLater),
		Away:         b.set(errAway),
		Hang: func() (<-chan struct{}, func()) {
			b.mu.Lock()
			defer b.mu.Unlock()
			hang := make(chan struct{})
			b.answer, b.hang, b.reached = nil, hang, make(chan struct{})
			return b.reached, func() {
				b.set(nil)()
				close(hang)
			}
		},
		Effects: func() []Effect {
			b.mu.Lock()
			defer b.mu.Unlock()
			return append([]Effect(nil), b.seen...)
		},
	}
}

func TestRightKind(t *testing.T) {
	t.Parallel()
	b := new(bell)
	r := check(subject(b, nil))
	if len(r.errors) > 0 || len(r.logs) > 0 {
		t.Errorf("%q, %q", r.errors, r.logs)
	}
	s := subject(b, nil)
	s.OK, s.Refuse, s.RefuseForNow, s.Away, s.Hang, s.Effects = nil, nil, nil, nil, nil, nil
	b.set(nil)()
	if r := check(s); len(r.errors) > 0 || len(r.logs) != 6 {
		t.Errorf("without hooks: %q, %q", r.errors, r.logs)
	}
}

func TestWrongKinds(t *testing.T) {
	t.Parallel()
	type run = func(context.Context, *ringer, *actions.Delivery) (actions.Result, error)
	for name, c := range map[string]struct {
		wrong func(b *bell, r *ringer, good run) // changes a right one
		kind  func(*Subject)
		want  string
	}{
		"retries inside": {wrong: func(_ *bell, r *ringer, good run) {
			r.run = func(ctx context.Context, r *ringer, d *actions.Delivery) (actions.Result, error) {
				if res, err := good(ctx, r, d); err == nil || ctx.Err() != nil {
					return res, err
				}
				return good(ctx, r, d)
			}
		}, want: "a Runner never retries"},
		"secret in an error": {wrong: func(_ *bell, r *ringer, good run) {
			r.run = func(ctx context.Context, r *ringer, d *actions.Delivery) (actions.Result, error) {
				res, err := good(ctx, r, d)
				if secret, _ := d.Secret(ctx, r.Secret); errors.Is(err, errLater) {
					return res, fmt.Errorf("%q: %w", strings.TrimPrefix(secret, "Bearer "), err)
				}
				return res, err
			}
		}, want: "error: it shows a secret"},
		"a changed secret in an error": {wrong: func(_ *bell, r *ringer, good run) {
			r.run = func(ctx context.Context, r *ringer, d *actions.Delivery) (actions.Result, error) {
				if secret, _ := d.Secret(ctx, r.Secret); strings.Contains(secret, "\n") {
					return actions.Result{}, fmt.Errorf("%q is no secret", secret)
				}
				return good(ctx, r, d)
			}
		}, want: "the error quotes"},
		"token in the destination": {wrong: func(_ *bell, r *ringer, _ run) {
			r.destination = func(r *ringer) string { return r.URL }
		}, want: "destination: it shows a secret"},
		"token in the response": {wrong: func(_ *bell, r *ringer, good run) {
			r.run = func(ctx context.Context, r *ringer, d *actions.Delivery) (actions.Result, error) {
				res, err := good(ctx, r, d)
				res.Response = "no " + r.URL
				return res, err
			}
		}, want: "response: it shows a secret"},
		"ignores ctx": {wrong: func(_ *bell, r *ringer, good run) {
			r.run = func(ctx context.Context, r *ringer, d *actions.Delivery) (actions.Result, error) {
				return good(context.WithoutCancel(ctx), r, d)
			}
		}, want: "cancelled: the attempt went on for 1s after its context"},
		"a new key per attempt": {wrong: func(b *bell, r *ringer, _ run) {
			r.run = func(ctx context.Context, _ *ringer, d *actions.Delivery) (actions.Result, error) {
				return actions.Result{}, judge(b.ring(ctx, fmt.Sprint(d.ID, d.Attempt), "x"))
			}
		}, want: "attempts at one delivery have the keys"},
		"other content per attempt": {wrong: func(b *bell, r *ringer, _ run) {
			r.run = func(ctx context.Context, _ *ringer, d *actions.Delivery) (actions.Result, error) {
				return actions.Result{}, judge(b.ring(ctx, d.ID, fmt.Sprint(d.Attempt)))
			}
		}, want: "attempts at one delivery differ"},
		"one key for all": {wrong: func(b *bell, r *ringer, _ run) {
			r.run = func(ctx context.Context, _ *ringer, _ *actions.Delivery) (actions.Result, error) {
				return actions.Result{}, judge(b.ring(ctx, "k", "x"))
			}
		}, want: "16 deliveries have 1 keys"},
		"no effect": {wrong: func(_ *bell, r *ringer, _ run) {
			r.run = func(context.Context, *ringer, *actions.Delivery) (actions.Result, error) {
				return actions.Result{}, nil
			}
		}, want: "4 attempts were seen as 0"},
		"all is permanent": {wrong: func(_ *bell, r *ringer, good run) {
			r.run = func(ctx context.Context, r *ringer, d *actions.Delivery) (actions.Result, error) {
				res, err := good(ctx, r, d)
				if err != nil {
					err = &actions.Error{Permanent: true, Err: err}
				}
				return res, err
			}
		}, want: "the counterpart refuses for now: permanent is true"},
		"nothing is permanent": {wrong: func(_ *bell, r *ringer, good run) {
			r.run = func(ctx context.Context, r *ringer, d *actions.Delivery) (actions.Result, error) {
				res, err := good(ctx, r, d)
				if err != nil {
					err = errors.New(err.Error())
				}
				return res, err
			}
		}, want: "the counterpart refuses for good: permanent is false"},
		"gives up when cancelled": {wrong: func(_ *bell, r *ringer, good run) {
			r.run = func(ctx context.Context, r *ringer, d *actions.Delivery) (actions.Result, error) {
				if ctx.Err() != nil {
					return actions.Result{}, &actions.Error{Permanent: true, Err: ctx.Err()}
				}
				return good(ctx, r, d)
			}
		}, want: "cancelled before: it is permanent"},
		"gives up without its secret": {wrong: func(_ *bell, r *ringer, good run) {
			r.run = func(ctx context.Context, r *ringer, d *actions.Delivery) (actions.Result, error) {
				if _, err := d.Secret(ctx, r.Secret); err != nil {
					return actions.Result{}, &actions.Error{Permanent: true, Err: err}
				}
				return good(ctx, r, d)
			}
		}, want: "gives up over"},
		"asks for another secret": {wrong: func(_ *bell, r *ringer, good run) {
			r.run = func(ctx context.Context, r *ringer, d *actions.Delivery) (actions.Result, error) {
				_, _ = d.Secret(ctx, "other")
				return good(ctx, r, d)
			}
		}, want: `asks for the secret "other"`},
		"writes to the event": {wrong: func(_ *bell, r *ringer, good run) {
			r.run = func(ctx context.Context, r *ringer, d *actions.Delivery) (actions.Result, error) {
				if d.Attempt == 3 { // where no other goroutine has it
					d.Event.Data[1] = ' '
				}
				return good(ctx, r, d)
			}
		}, want: "wrote to the event"},
		"another destination each time": {wrong: func(_ *bell, r *ringer, _ run) {
			n := new(int)
			r.destination = func(*ringer) string { *n++; return fmt.Sprint(*n) }
		}, want: "destination: it was"},
		"allows extra keys": {kind: func(s *Subject) {
			s.Kind.Schema = strings.Replace(schema, `"additionalProperties": false`, `"additionalProperties": true`, 1)
		}, want: `schema: action kind ring: schema: it must have "type": "object" and "additionalProperties": false`},
		"allows extra keys inside": {kind: func(s *Subject) {
			s.Kind.Schema = strings.Replace(schema, `"url":`, `"in": {"type": "object", "properties": {"a": {}}}, "url":`, 1)
		}, want: `schema.properties.in: it has properties and allows others`},
		"is no schema": {kind: func(s *Subject) { s.Kind.Schema = `{` }, want: "schema: "},
		"a default that is refused": {kind: func(s *Subject) {
			s.Kind.Schema = strings.Replace(schema, `"default": 5`, `"default": "5"`, 1)
		}, want: "the default of volume is refused"},
		"refuses what is valid": {kind: func(s *Subject) { s.Valid = append(s.Valid, `{}`) }, want: "config {} is refused"},
		"takes what is invalid": {kind: func(s *Subject) { s.Invalid[`{"url": "x"}`] = nil }, want: `config {"url": "x"} is taken`},
		"says it badly":         {kind: func(s *Subject) { s.Invalid[`{"url": 3}`] = []string{"mend"} }, want: `it should have "mend"`},
		"is nothing":            {kind: func(s *Subject) { s.Kind = nil }, want: "a subject needs a kind"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := new(bell)
			s := subject(b, func(r *ringer) {
				if c.wrong != nil {
					c.wrong(b, r, r.run)
				}
			})
			if c.kind != nil {
				c.kind(&s)
			}
			r := check(s)
			if !strings.Contains(strings.Join(r.errors, "\n"), c.want) {
				t.Errorf("the suite says %q, want something with %q", r.errors, c.want)
			}
		})
	}
}
