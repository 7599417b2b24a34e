package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	beatEvery  = 15 * time.Second // proxies end what is silent for a minute, mostly
	writeMost  = 10 * time.Second // what a reader may take to accept what is written
	retryAfter = 2 * time.Second  // when a reader is to come again that was cut off
)

// Serve sends a request's reader what happens and passes the filter, as server-sent events,
// until it goes away or the feed ends. (HTML Living Standard, section 9.2.) Whose events a
// request may see is its caller's to decide: it looks at nothing of it but Last-Event-ID. A
// reader that comes with an ID gets what it has missed; one that the feed doesn't know
// begins anew, and is told that events are missing. Returns ErrReaders or ErrEnded; then
// nothing was answered.
func (f *Feed) Serve(w http.ResponseWriter, r *http.Request, filter Filter) error {
	return f.serve(w, r, filter, beatEvery)
}

func (f *Feed) serve(w http.ResponseWriter, r *http.Request, filter Filter, beatEvery time.Duration) error {
	after, unknown := r.Header.Get("Last-Event-ID"), false
	if after != "" {
		if _, err := parsePlace(after); err != nil {
			after, unknown = "", true
		}
	}
	ctx, cancel := context.WithCancel(r.Context())
	events, err := f.Subscribe(ctx, filter, after)
	if err != nil {
		cancel()
		return err
	}
	defer func() {
		cancel()
		for range events { // so that nothing of it is left when this has returned
		}
	}()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store, no-transform") // a proxy that compresses keeps events back
	h.Set("X-Accel-Buffering", "no")                 // nginx
	if r.Method == http.MethodHead {
		return nil
	}
	to := &stream{w: w, rc: http.NewResponseController(w)}
	_ = to.rc.SetReadDeadline(time.Time{}) // the listener's own would end the stream, as if its reader had gone
	to.write(fmt.Sprintf("retry: %d\n\n", retryAfter.Milliseconds()))
	if unknown {
		to.event(Event{Type: Missed, At: time.Now(), Missed: &MissedEvents{}})
	}
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for to.err == nil {
		to.flush()
		select {
		case e, ok := <-events:
			if !ok {
				return nil
			}
			to.event(e)
			// What waits goes along: each flush is a packet.
			for more := true; more && to.err == nil; {
				select {
				case e, ok := <-events:
					if !ok {
						to.flush()
						return nil
					}
					to.event(e)
				default:
					more = false
				}
			}
		case <-beat.C:
			to.write(": beat\n\n")
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// stream writes to a reader until that fails.
type stream struct {
	w   http.ResponseWriter
	rc  *http.ResponseController
	err error
}

func (s *stream) write(text string) {
	if s.err != nil {
		return
	}
	// The listener's own limit is one of whole answers, which this is never.
	if err := s.rc.SetWriteDeadline(time.Now().Add(writeMost)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		s.err = err
		return
	}
	_, s.err = s.w.Write([]byte(text))
}

func (s *stream) flush() {
	if s.err == nil {
		s.err = s.rc.Flush()
	}
}

func (s *stream) event(e Event) {
	data, err := json.Marshal(e)
	if err != nil {
		s.err = err
		return
	}
	var b strings.Builder
	if e.ID != "" {
		b.WriteString("id: " + e.ID + "\n")
	}
	b.WriteString("event: " + string(e.Type) + "\n")
	b.WriteString("data: ") // JSON has no line breaks
	b.Write(data)
	b.WriteString("\n\n")
	s.write(b.String())
}
