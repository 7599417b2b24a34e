package api

import (
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limits are how many requests principals may send yet, in this process.
type limits struct {
	rate  rate.Limit
	burst int

	mu    sync.Mutex
	known map[string]*limited
	swept time.Time
}

type limited struct {
	*rate.Limiter
	used time.Time
}

// limitKept is after how long without a request a principal's limit is as it was at first.
const limitKept = 5 * time.Minute

func newLimits(perSecond float64, burst int) *limits {
	return &limits{rate: rate.Limit(perSecond), burst: burst, known: make(map[string]*limited)}
}

func (l *limits) of(id string, now time.Time) *limited {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.swept) > limitKept {
		for id, k := range l.known {
			if now.Sub(k.used) > limitKept {
				delete(l.known, id)
			}
		}
		l.swept = now
	}
	k := l.known[id]
	if k == nil {
		k = &limited{Limiter: rate.NewLimiter(l.rate, l.burst)}
		l.known[id] = k
	}
	k.used = now
	return k
}

// limit answers 429 to a principal that sends too much. RateLimit headers say how much is
// left (draft-ietf-httpapi-ratelimit-headers).
func (a *API) limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := requestOf(r.Context())
		if q == nil {
			next.ServeHTTP(w, r)
			return
		}
		now := time.Now()
		l := a.limits.of(q.caller(), now)
		ok := l.AllowN(now, 1)
		left := max(0, int(l.TokensAt(now)))
		h := w.Header()
		h.Set("RateLimit-Policy", fmt.Sprintf(`"requests";q=%d;w=%d`, a.cfg.Burst, int(math.Ceil(float64(a.cfg.Burst)/a.cfg.Rate))))
		h.Set("RateLimit", fmt.Sprintf(`"requests";r=%d;t=%d`, left, int(math.Ceil(float64(a.cfg.Burst-left)/a.cfg.Rate))))
		if !ok {
			wait := max(1, int(math.Ceil((1-l.TokensAt(now))/a.cfg.Rate)))
			a.fail(w, r, &Problem{
				Status: http.StatusTooManyRequests, wait: wait,
				Detail: fmt.Sprintf("more than %g requests a second came from %s", a.cfg.Rate, q.Principal.ID), Mend: fmt.Sprintf("wait for %d s", wait),
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}
