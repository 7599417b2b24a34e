package faulttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rowbell/rowbell/pkg/pgtest"
)

// TestTakeover runs two workers on one slot, and takes the one that holds it away in
// every way there is.
func TestTakeover(t *testing.T) {
	t.Parallel()
	w := newWorld(t, migrated(t), binary(t, ""))
	var ways []way
	for range chaos() {
		ways = append(ways, killed, stopped, killed, stopped, killed, cut, frozen, stalled, overtaken, overtaken, overtaken, cut)
	}
	w.rng.Shuffle(len(ways), func(i, j int) { ways[i], ways[j] = ways[j], ways[i] })
	o, times, err := takeoverScenario(w, ways, 12000*chaos())
	t.Logf("takeover after kill or stop:  p50 %s of %v", median(times.quick), times.quick)
	t.Logf("takeover after cut or pause:  p50 %s of %v", median(times.slow), times.slow)
	report(t, w)(o, err)
	if p50 := median(times.quick); p50 >= 2*time.Second {
		t.Errorf("takeover after kill or stop: p50 %s, want under 2 s", p50)
	}
	if p50 := median(times.slow); p50 >= 10*time.Second {
		t.Errorf("takeover after cut or pause: p50 %s, want under 10 s", p50)
	}
}

// TestStartedAtOnce starts three workers side by side where nothing of Rowbell's is yet:
// they must agree on who migrates, who makes the slot, and who reads the definitions.
func TestStartedAtOnce(t *testing.T) {
	t.Parallel()
	for n := range 3 * chaos() {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			w := bareWorld(t, pgtest.DB(t), binary(t, ""))
			var three []*worker
			for i := range 3 {
				k, err := w.start(strconv.Itoa(i))
				if err != nil {
					t.Fatal(err)
				}
				three = append(three, k)
			}
			for _, k := range three {
				if _, err := k.waitFor(msgRuns, 1, patience); err != nil {
					t.Fatal(err)
				}
			}
			w.defineMarker()
			if err := w.drain(t.Context(), patience); err != nil {
				t.Fatal(err)
			}
			for _, k := range three {
				if err := k.stop(patience); err != nil {
					t.Error(err)
				}
			}
			if _, err := w.verify(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// way is how the holder is taken away.
type way string

const (
	killed  way = "SIGKILL"
	stopped way = "SIGTERM"
	cut     way = "connections reset and refused"
	stalled way = "connections silent"
	frozen  way = "SIGSTOP past its lease"
	// The takeover is as from frozen, without the wait; and when it is resumed, the old
	// holder certainly has something to record that the new one records too.
	overtaken way = "SIGSTOP while it can't record, and its walsender ended"
)

type takeoverTimes struct{ quick, slow []time.Duration }

// contender is one of the two workers, with a network of its own.
type contender struct {
	*worker
	proxy    *pgtest.TCPProxy
	url      string
	holdings int // how often it has held the slot
}

func takeoverScenario(w *world, ways []way, rows int) (o outcome, times takeoverTimes, err error) {
	ctx := w.t.Context()
	var two [2]*contender
	start := func(c *contender, n int) error {
		k, err := w.start(fmt.Sprint("contender-", n), "ROWBELL_SOURCE_URL="+c.url)
		c.worker, c.holdings = k, 0
		return err
	}
	for i := range two {
		c := &contender{}
		c.proxy, c.url = pgtest.ProxyURL(w.t, w.db.URL)
		two[i] = c
		if err := start(c, i); err != nil { // both at once
			return o, times, err
		}
	}
	l := startLoad(ctx, w, rows, false)
	defer l.abandon()

	holder, other, err := whoHolds(two)
	if err != nil {
		return o, times, err
	}
	for n, how := range ways {
		if _, err := other.waitFor(msgRuns, 1, patience); err != nil {
			return o, times, err
		}
		if err := w.ready(other, "waits to take over"); err != nil {
			return o, times, err
		}
		if err := l.during(ctx, w.upTo(600*time.Millisecond), rows/len(ways)*3/4); err != nil {
			return o, times, err
		}
		// The rest comes at once, so that the holder is in the middle of it.
		l.app.allow(rows / len(ways) / 4)
		if err := pause(ctx, w.upTo(50*time.Millisecond)); err != nil {
			return o, times, err
		}
		begin := time.Now()
		switch how {
		case killed:
			holder.kill()
		case stopped:
			if err := holder.stop(patience); err != nil {
				return o, times, err
			}
		case cut:
			holder.proxy.Refuse()
		case stalled:
			holder.proxy.Pause()
		case frozen:
			holder.signal(syscall.SIGSTOP)
		case overtaken:
			if err := w.overtake(l, holder); err != nil {
				return o, times, err
			}
		}
		if _, err := other.waitFor(msgHolding, other.holdings+1, patience); err != nil {
			return o, times, fmt.Errorf("%s: %w\n%s", how, err, w.situation())
		}
		other.holdings++
		took := time.Since(begin).Round(time.Millisecond)
		switch how {
		case killed, stopped:
			times.quick = append(times.quick, took)
			if err := start(holder, n+2); err != nil {
				return o, times, err
			}
		case overtaken: // hurried on by the test
		default:
			times.slow = append(times.slow, took)
		}
		holder.proxy.Resume()
		holder.signal(syscall.SIGCONT)
		holder, other = other, holder
		if err := w.alarm(); err != nil {
			return o, times, fmt.Errorf("%s: %w", how, err)
		}
	}
	if !other.running() {
		return o, times, other.endedByItself()
	}
	if err := w.ready(other, "waits to take over"); err != nil {
		return o, times, err
	}
	o, err = w.drainAndStop(l, other.worker, holder.worker)
	return o, times, err
}

// whoHolds waits until one of the two holds the slot.
func whoHolds(two [2]*contender) (holder, other *contender, err error) {
	deadline := time.After(patience)
	for {
		line, changed0 := two[0].log.find(msgHolding, 1)
		if line != nil {
			two[0].holdings = 1
			return two[0], two[1], nil
		}
		line, changed1 := two[1].log.find(msgHolding, 1)
		if line != nil {
			two[1].holdings = 1
			return two[1], two[0], nil
		}
		if err := errors.Join(two[0].alarm(), two[1].alarm()); err != nil {
			return nil, nil, err
		}
		select {
		case <-changed0:
		case <-changed1:
		case <-deadline:
			return nil, nil, fmt.Errorf("neither worker holds the slot after %s\n%s\n%s", patience, two[0].log.tail(20), two[1].log.tail(20))
		}
	}
}

// overtake stops the holder while one statement of it waits, and more is gathered
// behind; then it sees to it that the other worker needs to wait for nothing.
func (w *world) overtake(l *load, holder *contender) error {
	ctx := w.t.Context()
	release, err := w.stall(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := l.during(ctx, 200*time.Millisecond+w.upTo(200*time.Millisecond), 400); err != nil {
		return err
	}
	holder.signal(syscall.SIGSTOP)
	return w.endWalsender()
}

// endWalsender ends the backend that holds the slot.
func (w *world) endWalsender() error {
	ctx := w.t.Context()
	conn, err := connect(ctx, w.db.URL)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	_, err = conn.Exec(ctx, "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1", w.slot)
	return err
}

// ready waits until /readyz says that all is well, and says this of the stream.
func (w *world) ready(c *contender, says string) error {
	line, err := c.waitFor(msgRuns, 1, patience)
	if err != nil {
		return err
	}
	return poll(patience/4, func() error {
		if err := w.alarm(); err != nil {
			return stopPolling{err}
		}
		health, err := readyz(line)
		if err != nil {
			return fmt.Errorf("worker %s: %w\n%s", c.name, err, c.log.tail(12))
		}
		if health.Status != "ok" || !strings.Contains(health.message("stream"), says) {
			return fmt.Errorf("worker %s: /readyz says %+v, want ok and %q\n%s", c.name, health, says, c.log.tail(12))
		}
		return nil
	})
}

// health is the body of /readyz.
type health struct {
	Status string
	Checks []struct{ Name, State, Message, Mend string }
}

func (h health) message(check string) string {
	for _, c := range h.Checks {
		if c.Name == check {
			return c.Message
		}
	}
	return ""
}

// readyz asks the worker that logged this line when it started.
func readyz(runs map[string]any) (health, error) {
	var h health
	client := http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Get(fmt.Sprintf("http://%s/readyz", runs["ops"]))
	if err != nil {
		return h, err
	}
	defer resp.Body.Close() //nolint:errcheck // it is read to its end, or not wanted
	if err := json.NewDecoder(resp.Body).Decode(&h); err != nil {
		return h, fmt.Errorf("/readyz: %w", err)
	}
	if (resp.StatusCode == http.StatusOK) != (h.Status == "ok") {
		return h, fmt.Errorf("/readyz answers %s with %+v", resp.Status, h)
	}
	return h, nil
}

// stopPolling is an error that further tries can't mend.
type stopPolling struct{ error }

// poll tries until there is no error, and returns the last one when the time is over.
func poll(within time.Duration, try func() error) error {
	deadline := time.Now().Add(within)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		if stop, ok := errors.AsType[stopPolling](err); ok {
			return stop.error
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("not within %s", within), err)
		}
		<-tick.C
	}
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}
