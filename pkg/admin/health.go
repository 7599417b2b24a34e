package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Check is one thing that must hold for the worker to be healthy. Checks run at each
// probe, side by side, so they are cheap: they read what the parts of the worker know
// already, or ask a server one question.
type Check struct {
	Name string // stable, lower-case, as "slot" or "heartbeat"
	// Live says that a failure also fails /healthz, which makes a supervisor restart
	// the process. Set it only where a restart can help: no progress although there
	// is something to do. What needs an operator fails /readyz alone.
	Live bool
	// Run returns what is so, in one sentence, and nil; or a *Problem; or another
	// error, which counts as a Problem without a mend.
	Run func(ctx context.Context) (message string, err error)
}

// Problem says what doesn't hold, and how to mend it.
type Problem struct {
	Message string
	Mend    string // what to do or to run; "" if there is nothing to do but wait
	Warning bool   // shown, but fails nothing
}

func (p *Problem) Error() string {
	if p.Mend == "" {
		return p.Message
	}
	return p.Message + ". " + p.Mend
}

// Health is the body of /healthz and /readyz.
type Health struct {
	Status string   `json:"status"` // ok or failing
	Checks []Result `json:"checks"`
}

// Result is what one check found.
type Result struct {
	Name    string `json:"name"`
	State   string `json:"state"` // ok, warning or failing
	Message string `json:"message,omitempty"`
	Mend    string `json:"mend,omitempty"`
}

const (
	stateOK      = "ok"
	stateWarning = "warning"
	stateFailing = "failing"
)

// checkTimeout is shorter than what probes usually wait, so that the answer says
// which check hangs.
const checkTimeout = 2 * time.Second

// RunChecks runs checks as /readyz does.
func RunChecks(ctx context.Context, checks []Check) Health {
	return runChecks(ctx, checks, checkTimeout)
}

// runChecks runs the checks side by side and keeps their order.
func runChecks(ctx context.Context, checks []Check, timeout time.Duration) Health {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	h := Health{Status: stateOK, Checks: make([]Result, len(checks))}
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { h.Checks[i] = runCheck(ctx, c, timeout) })
	}
	wg.Wait()
	for _, r := range h.Checks {
		if r.State == stateFailing {
			h.Status = stateFailing
		}
	}
	return h
}

func runCheck(ctx context.Context, c Check, timeout time.Duration) Result {
	type answer struct {
		message string
		err     error
	}
	answers := make(chan answer, 1) // buffered: a check that is too late still ends
	go func() {
		message, err := c.Run(ctx)
		answers <- answer{message, err}
	}()
	var a answer
	select {
	case a = <-answers:
	case <-ctx.Done():
		a.err = fmt.Errorf("no answer within %v", timeout)
	}
	r := Result{Name: c.Name, State: stateOK, Message: a.message}
	if a.err == nil {
		return r
	}
	r.State, r.Message = stateFailing, a.err.Error()
	var p *Problem
	if errors.As(a.err, &p) {
		r.Message, r.Mend = p.Message, p.Mend
		if p.Warning {
			r.State = stateWarning
		}
	}
	return r
}

// healthHandler answers 200 while no check fails, else 503, and the same body both ways.
func healthHandler(checks []Check) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := runChecks(r.Context(), checks, checkTimeout)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if h.Status != stateOK {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		_ = enc.Encode(h) // the prober has gone away: nobody to tell
	})
}
