package api

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/rowbell/rowbell/pkg/store"
)

// IdempotencyStore keeps what requests with an idempotency key were answered; store's Source
// is one.
type IdempotencyStore interface {
	// BeginRequest claims a key of a principal for a request, which may take so long. Where it
	// was claimed before, it returns what is known of that one.
	BeginRequest(ctx context.Context, k store.RequestKey, lease time.Duration) (*store.KnownRequest, error)
	// EndRequest keeps the answer. ForgetRequest lets the key be used again.
	EndRequest(ctx context.Context, k store.RequestKey, answer store.RequestAnswer) error
	ForgetRequest(ctx context.Context, k store.RequestKey) error
}

const (
	// requestLease is how long a request may take: after it, one that has no answer was cut off.
	requestLease = 2 * time.Minute
	// mostAnswer is how much of an answer is kept, in bytes; a longer one is not given again.
	mostAnswer = 64 << 10
	// shownOnce is the header of answers that hold what is shown once, as a new key: they are
	// not kept.
	shownOnce = "X-Rowbell-Shown-Once"
)

// keptHeaders are those that are given again with an answer.
var keptHeaders = []string{"Content-Type", "Location", "ETag"}

func idempotencyParameter() *huma.Param {
	one := 1
	most := 255
	return &huma.Param{
		Name: "Idempotency-Key", In: "header",
		Description: "Makes it safe to send the request again: within a day one with the same key is answered as the first was, and nothing is done twice. Nothing is kept of what changes nothing",
		Schema:      &huma.Schema{Type: huma.TypeString, MinLength: &one, MaxLength: &most},
	}
}

// idempotent does a POST with a key once, and answers it again as it was answered
// (draft-ietf-httpapi-idempotency-key-header).
func (a *API) idempotent(next *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := r.Header.Get("Idempotency-Key")
		q := requestOf(r.Context())
		if text == "" || q == nil || r.Method != http.MethodPost {
			next.ServeHTTP(w, r)
			return
		}
		refuse := func(status int, detail, mend string) {
			a.fail(w, r, &Problem{Status: status, Detail: detail, Mend: mend, Errors: []FieldError{{Parameter: "header.Idempotency-Key", Detail: detail}}})
		}
		if len(text) > 255 || a.cfg.Keys == nil {
			refuse(http.StatusBadRequest, "the idempotency key is longer than 255 characters", "take a random UUID")
			return
		}
		route := a.changes(next, r, q)
		if route == nil {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, cmp.Or(route.MaxBody, maxBody)))
		if err != nil {
			a.fail(w, r, &Problem{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("the body is longer than %d MiB", cmp.Or(route.MaxBody, maxBody)>>20)})
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		sum := sha256.New()
		_, _ = fmt.Fprintf(sum, "%s\n%s\n", r.URL.RequestURI(), r.Header.Get("Content-Type")) // never fails
		_, _ = sum.Write(body)
		key := store.RequestKey{Principal: q.caller(), Key: text, Hash: sum.Sum(nil)}
		known, err := a.cfg.Keys.BeginRequest(r.Context(), key, requestLease)
		switch {
		case err != nil:
			a.fail(w, r, a.problem(r.Context(), err))
			return
		case known == nil:
			a.once(w, r, next, key)
		case !bytes.Equal(known.Hash, key.Hash):
			refuse(http.StatusUnprocessableEntity, "this idempotency key was used for another request", "take a new key for each request")
		case known.CutOff:
			refuse(http.StatusConflict, "a request with this idempotency key was begun, and cut off before its answer was written: it may have been done or not",
				"look whether it was done; if not, send it with a new key")
		case known.Answer == nil:
			refuse(http.StatusConflict, "a request with this idempotency key is just being done", "wait for its answer")
		case known.Answer.Once:
			refuse(http.StatusConflict, "a request with this idempotency key was done, and its answer is shown only once", "see what it made in the list, and delete or revoke that if its answer is lost")
		default:
			for name, value := range known.Answer.Headers {
				w.Header().Set(name, value)
			}
			w.Header().Set("Idempotency-Replayed", "true")
			w.WriteHeader(known.Answer.Status)
			_, _ = w.Write(known.Answer.Body) // the client has gone away: nobody to tell
		}
	})
}

// changes is a request's operation if it changes something, and its caller may; else nil: what
// others send is nothing to keep an answer for.
func (a *API) changes(mux *http.ServeMux, r *http.Request, q *Request) *Route {
	_, pattern := mux.Handler(r)
	i := slices.IndexFunc(a.routes, func(route Route) bool { return route.Method+" "+Prefix+route.Path == pattern })
	if i < 0 {
		return nil
	}
	right := a.routes[i].Right
	if right == Anyone || !strings.HasSuffix(string(right), ".read") && q.Principal.Can(right) {
		return &a.routes[i]
	}
	return nil
}

// once does a request, and keeps the answer unless it failed for a reason that may pass.
func (a *API) once(w http.ResponseWriter, r *http.Request, next http.Handler, key store.RequestKey) {
	rec := &recorded{ResponseWriter: w, status: http.StatusOK}
	done := false
	// It is done, and what became of it written, even if the client goes away meanwhile; and
	// before the lease runs out, so that there is never another one.
	whole := context.WithoutCancel(r.Context())
	at := time.Now()
	defer func() {
		if !done {
			ctx, cancel := context.WithDeadline(whole, at.Add(requestLease))
			defer cancel()
			_ = a.cfg.Keys.ForgetRequest(ctx, key) // else it is taken for one that was cut off
		}
	}()
	doing, cancel := context.WithDeadline(whole, at.Add(requestLease/2))
	defer cancel()
	next.ServeHTTP(rec, r.WithContext(doing))
	ctx, cancel := context.WithDeadline(whole, at.Add(requestLease))
	defer cancel()
	if rec.status >= http.StatusInternalServerError || rec.status == http.StatusTooManyRequests {
		return
	}
	answer := store.RequestAnswer{Status: rec.status, Headers: map[string]string{}, Once: rec.Header().Get(shownOnce) != "" || rec.long}
	if !answer.Once {
		answer.Body = rec.body.Bytes()
		for _, name := range keptHeaders {
			if v := rec.Header().Get(name); v != "" {
				answer.Headers[name] = v
			}
		}
	}
	if err := a.cfg.Keys.EndRequest(ctx, key, answer); err != nil {
		a.cfg.Logger.WarnContext(r.Context(), "the answer to a request with an idempotency key could not be kept", "request_id", idOf(r.Context()), "err", err)
	}
	done = true // it may be done already: not again
}

// recorded keeps what is answered.
type recorded struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
	long   bool
}

func (r *recorded) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorded) Write(b []byte) (int, error) {
	if r.long = r.long || r.body.Len()+len(b) > mostAnswer; !r.long {
		_, _ = r.body.Write(b) // never fails
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (r *recorded) Unwrap() http.ResponseWriter { return r.ResponseWriter }
