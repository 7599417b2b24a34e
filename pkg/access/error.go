package access

import (
	"errors"
	"net/http"
	"time"
)

// ErrUnauthenticated says that a request was not let in. Errors that are it are an Error,
// whose Reason may be shown to whoever asks.
var ErrUnauthenticated = errors.New("not authenticated")

// ErrUnavailable says that who asks could not be found out just now: the database or the
// identity provider doesn't answer.
var ErrUnavailable = errors.New("who asks can't be found out just now")

const (
	statusUnauthorized = http.StatusUnauthorized
	statusForbidden    = http.StatusForbidden
	statusLimited      = http.StatusTooManyRequests
	statusUnavailable  = http.StatusServiceUnavailable
)

// Error is why a request was not let in.
type Error struct {
	// Status is the answer that fits: 401; 403 if it is known who asks, who may nothing here;
	// 429 after too many failures from one address; 503 if it couldn't be found out.
	Status     int
	Reason     string        // with its mend; may be shown
	RetryAfter time.Duration // of 429 and 503
	Err        error         // for the log; nil if there is no more to say
	Tenants    []string      // of 403: those among which whoever asks has to choose, by TenantHeader
}

// Error implements error.
func (e *Error) Error() string { return e.Reason }

// Unwrap gives what is for the log.
func (e *Error) Unwrap() error { return e.Err }

// Is makes it ErrUnavailable or ErrUnauthenticated.
func (e *Error) Is(target error) bool {
	if e.Status == statusUnavailable {
		return target == ErrUnavailable
	}
	return target == ErrUnauthenticated
}

func refused(reason string) *Error { return &Error{Status: statusUnauthorized, Reason: reason} }

func unavailable(reason string, err error) *Error {
	return &Error{Status: statusUnavailable, Reason: reason, RetryAfter: 5 * time.Second, Err: err}
}
