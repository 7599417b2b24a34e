package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rowbell/rowbell/pkg/live"
	"github.com/rowbell/rowbell/pkg/store"
)

const (
	silence   = time.Minute      // the server says something each 15 s
	firstAway = 2 * time.Second  // before it is asked again, if it doesn't say
	mostAway  = 30 * time.Second // the same, after it was asked in vain several times
	longestGo = 24 * time.Hour   // of what has been; the server's own limit
	mostEvent = 16 << 20         // bytes of an event
)

// stream reads the live stream, over all connections that it takes.
type stream struct {
	client *Client
	query  url.Values
	since  time.Duration // of what has been it is to tell so much first
	begun  time.Time
	last   string        // ID of the last event that was told; "" none yet
	wait   time.Duration // before the server is asked again
	open   bool          // the server has answered
	tell   func(live.Event) error
}

// toldError is one of the function that is told.
type toldError struct{ error }

// Tail tells what happens and passes the filter, until ctx ends: from so long ago on what has
// ended since, and from now on all. When the server ends a stream, or can't be reached any
// more, it asks again, and goes on where it was.
func (c *Client) Tail(ctx context.Context, f live.Filter, since time.Duration, tell func(live.Event) error) error {
	of := c.in(f.Tenant)
	if err := of.hasWorkflows(ctx, f.Tenant); err != nil {
		return err
	}
	q := ofTenant(f.Tenant)
	set(q, "workflow_id", f.WorkflowID)
	for _, t := range f.Types {
		q.Add("type", string(t))
	}
	for _, s := range f.Statuses {
		q.Add("status", string(s))
	}
	s := &stream{client: of, query: q, since: since, begun: time.Now(), wait: firstAway, tell: tell}
	away, noted := firstAway, false
	for {
		err := s.read(ctx)
		var told toldError
		var e *Error
		switch {
		case errors.As(err, &told):
			return told.error
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil: // it was read, and has ended
			away, noted = s.wait, false
		case !s.open || !errors.As(err, &e) || e.Status != 0 && e.Status != http.StatusTooManyRequests && e.Status < http.StatusInternalServerError:
			return err
		default:
			if !noted && c.Note != nil {
				c.Note(e.Error() + "; it is asked again until it answers")
			}
			noted, away = true, min(2*away, mostAway)
		}
		if err := c.sleep(ctx, away); err != nil {
			return err
		}
	}
}

// hasWorkflows is an error if a tenant is named that has none: somebody would wait for ever.
func (c *Client) hasWorkflows(ctx context.Context, tenant *string) error {
	if tenant == nil || *tenant == "" {
		return nil
	}
	q := ofTenant(tenant)
	q.Set("limit", "1")
	var p page[store.ListedWorkflow]
	err := c.get(ctx, "/workflows", q, &p)
	var e *Error
	switch {
	case errors.As(err, &e) && e.Status == http.StatusForbidden:
		return nil // who may not list workflows can't be told
	case err != nil:
		return err
	case len(p.Items) == 0:
		return &Error{Status: http.StatusNotFound, text: fmt.Sprintf("no workflow belongs to tenant %s; rowbell workflow list has all, with their tenants", *tenant)}
	}
	return nil
}

// read asks for the stream, and tells what it says until it ends. Its error is nil if it was
// answered.
func (s *stream) read(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := request{method: http.MethodGet, path: "/live", query: url.Values{}, header: http.Header{}, stream: true}
	for name, values := range s.query {
		r.query[name] = values
	}
	switch ago := s.since; {
	case s.last != "":
		r.header.Set("Last-Event-ID", s.last)
	default:
		if s.open { // nothing has come yet, and may have ended meanwhile
			ago += time.Since(s.begun)
		}
		if ago > 0 {
			r.query.Set("ago", min(ago, longestGo).String())
		}
	}
	resp, err := s.client.send(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	if err := s.client.is(resp, "text/event-stream"); err != nil {
		return err
	}
	s.open = true
	quiet := time.AfterFunc(silence, cancel) // a connection may go without a word
	defer quiet.Stop()
	return s.events(resp.Body, func() { quiet.Reset(silence) })
}

// events tells the events of one connection, until that ends. (HTML Living Standard, section
// 9.2.6.) heard is called for each line.
func (s *stream) events(body io.Reader, heard func()) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, mostEvent)
	var id, data string
	for lines.Scan() {
		heard()
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() == "":
			if data == "" {
				continue
			}
			var e live.Event
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				return toldError{&Error{text: fmt.Sprintf("an event of %s can't be read: %v", s.client.host(), err), mend: "Update the older of this rowbell and the server"}}
			}
			if e.Type == live.Execution && e.Execution != nil || e.Type == live.Missed && e.Missed != nil {
				if err := s.tell(e); err != nil {
					return toldError{err}
				}
			}
			if id != "" {
				s.last = id
			}
			id, data = "", ""
		case name == "id":
			id = value
		case name == "data" && data == "":
			data = value
		case name == "data":
			data += "\n" + value
		case name == "retry":
			if ms, err := strconv.Atoi(value); err == nil && ms >= 0 {
				s.wait = min(time.Duration(ms)*time.Millisecond, mostAway)
			}
		}
	}
	return nil // how it ended is no matter: it is asked for again
}
