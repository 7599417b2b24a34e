package faulttest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// worker is one process of rowbell run.
type worker struct {
	name string
	cmd  *exec.Cmd
	log  *lines
	done chan struct{} // closed when it has ended and was waited for
	err  error         // how it ended; read after done
}

// startWorker starts rowbell with an argument list and settings in its environment.
// The process starts from an OS thread that lives as long as it does: the parent-death
// signal comes when the thread dies.
func startWorker(name, binary string, args, env []string) (*worker, error) {
	w := &worker{name: name, log: newLines(), done: make(chan struct{})}
	w.cmd = exec.Command(binary, args...)
	w.cmd.Env = append(cleanEnv(), env...)
	w.cmd.Stdout, w.cmd.Stderr = w.log, w.log
	w.cmd.SysProcAttr = dieWithParent()
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(w.done)
		err := w.cmd.Start()
		started <- err
		if err == nil {
			w.err = w.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start worker %s: %w", name, err)
	}
	return w, nil
}

// cleanEnv is the environment without settings of ours or of libpq.
func cleanEnv() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "ROWBELL_") && !strings.HasPrefix(e, "PG") {
			env = append(env, e)
		}
	}
	return env
}

func (w *worker) running() bool {
	select {
	case <-w.done:
		return false
	default:
		return true
	}
}

// endedByItself is the error that a worker is which should still run.
func (w *worker) endedByItself() error {
	how := w.err
	if how == nil {
		how = errors.New("exit status 0")
	}
	return fmt.Errorf("worker %s ended by itself: %w\n%s", w.name, how, w.log.tail(30))
}

// kill ends it by SIGKILL and waits until it is gone.
func (w *worker) kill() {
	_ = w.cmd.Process.Kill() // if it has ended already, done is closed
	<-w.done
}

// signal sends a signal; to a process that has ended it does nothing.
func (w *worker) signal(sig syscall.Signal) { _ = w.cmd.Process.Signal(sig) }

// stop asks for an orderly end by SIGTERM, and says whether it was one.
func (w *worker) stop(within time.Duration) error {
	w.signal(syscall.SIGTERM)
	select {
	case <-w.done:
	case <-time.After(within):
		w.kill()
		return fmt.Errorf("worker %s had not ended %s after SIGTERM\n%s", w.name, within, w.log.tail(30))
	}
	if w.err != nil {
		return fmt.Errorf("worker %s ended with %w after SIGTERM, not with exit code 0\n%s", w.name, w.err, w.log.tail(30))
	}
	return nil
}

// exitCode waits for the end of a process that is to end by itself.
func (w *worker) exitCode(within time.Duration) (int, error) {
	select {
	case <-w.done:
		return w.cmd.ProcessState.ExitCode(), nil
	case <-time.After(within):
		w.kill()
		return 0, fmt.Errorf("worker %s still ran after %s\n%s", w.name, within, w.log.tail(30))
	}
}

// Log messages that scenarios wait for.
const (
	msgRuns    = "rowbell runs"     // with the address of the ops listener, and the worker's id
	msgHolding = "holding the slot" // reads and records from now on
)

// waitFor waits until the n-th line (from 1) with this message was logged.
func (w *worker) waitFor(msg string, n int, within time.Duration) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for {
		line, changed := w.log.find(msg, n)
		if line != nil {
			return line, nil
		}
		if err := w.alarm(); err != nil {
			return nil, err
		}
		select {
		case <-changed:
		case <-w.done:
			if line, _ := w.log.find(msg, n); line != nil {
				return line, nil
			}
			return nil, fmt.Errorf("%w before it logged %q", w.endedByItself(), msg)
		case <-ctx.Done():
			return nil, fmt.Errorf("worker %s did not log %q within %s\n%s", w.name, msg, within, w.log.tail(30))
		}
	}
}

func (w *worker) logged(msg string) bool {
	line, _ := w.log.find(msg, 1)
	return line != nil
}

// alarm says what the worker reported that must not happen in any scenario: a key
// violation means that the fence did not hold, a deadlock that rows are not locked in one
// order, and none of them loses WAL.
func (w *worker) alarm() error {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	if w.log.alarm != "" {
		return fmt.Errorf("worker %s reported: %s", w.name, w.log.alarm)
	}
	return nil
}

// lines collects what a process writes. Messages of JSON lines can be waited for.
type lines struct {
	mu      sync.Mutex
	partial []byte
	last    []string // the last of them, for people
	found   map[string][]map[string]any
	alarm   string
	changed chan struct{} // closed and replaced at each line
}

func newLines() *lines {
	return &lines{found: map[string][]map[string]any{}, changed: make(chan struct{})}
}

var alarms = []string{"SQLSTATE 23505", "SQLSTATE 40P01", "key violation", "duplicate key", "broken fence", "WAL is lost", "panic:", "fatal error:", "out of order"}

// Write takes what the process wrote.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, p...)
	for {
		i := bytes.IndexByte(l.partial, '\n')
		if i < 0 {
			break
		}
		l.add(string(l.partial[:i]))
		l.partial = l.partial[i+1:]
	}
	close(l.changed)
	l.changed = make(chan struct{})
	return len(p), nil
}

func (l *lines) add(s string) {
	if l.last = append(l.last, s); len(l.last) > 400 {
		l.last = l.last[200:]
	}
	for _, a := range alarms {
		if l.alarm == "" && strings.Contains(s, a) {
			l.alarm = s
		}
	}
	var fields map[string]any
	if json.Unmarshal([]byte(s), &fields) != nil {
		return // not a log line
	}
	if msg, ok := fields["msg"].(string); ok {
		l.found[msg] = append(l.found[msg], fields)
	}
}

// find returns the n-th line with the message, or nil and what is closed at the next.
func (l *lines) find(msg string, n int) (map[string]any, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.found[msg]; len(f) >= n {
		return f[n-1], nil
	}
	return nil, l.changed
}

func (l *lines) tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.last[max(0, len(l.last)-n):], "\n")
}
