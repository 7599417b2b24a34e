package demo

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// receiver takes the webhooks of the demo, as somebody else's service would: it verifies
// each signature with the reference library, keeps ids, and has bad days. It knows
// nothing of Rowbell but the secret. Whoever writes a receiver takes one of
// examples/receivers as a model, which keeps ids in a database, and not this.
type receiver struct {
	secret   string // whsec_…, made for this run
	verifier *standardwebhooks.Webhook
	server   *http.Server
	listener net.Listener
	served   chan struct{} // closed when the server has ended
	faults   faults

	mu        sync.Mutex
	receipts  map[string]*receipt
	ids       []string // of receipts, oldest first
	fresh     int      // ids so far
	counts    counts
	awayUntil time.Time
}

// receipt is what the receiver knows of one id. There is none without a request whose
// signature was right.
type receipt struct {
	Path      string
	Timestamp string // header webhook-timestamp of the last request
	Signature string // header webhook-signature of the last request
	Body      []byte
	Requests  int  // with this id and a right signature
	Done      bool // it was answered with 2xx
}

// counts are over all requests.
type counts struct {
	Requests int // all
	Verified int // with a right signature
	Repeats  int // of ids that came before
}

// faults say how the receiver fails. The zero value never does.
type faults struct {
	// Refuse says why a body is refused for good; "" takes it.
	Refuse func(body []byte) string
	// Of so many new ids one is answered with 503 at first, beginning with the third:
	// nobody waits long to see it.
	Fail int
	// Of so many new ids one is answered after SlowFor.
	Slow    int
	SlowFor time.Duration
	// Every so often the receiver goes away: it hangs up, for AwayFor.
	AwayEvery, AwayFor time.Duration
	// AwaySoon is when it first does. Defaults to AwayEvery.
	AwaySoon time.Duration
	// Away is told when it begins.
	Away func()
}

// mostReceipts is how many ids are kept.
const mostReceipts = 10000

// startReceiver listens on a free port of this machine. It must be closed.
func startReceiver(ctx context.Context, f faults) (*receiver, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	r := &receiver{
		secret: "whsec_" + base64.StdEncoding.EncodeToString(key),
		faults: f, receipts: make(map[string]*receipt), served: make(chan struct{}),
	}
	var err error
	if r.verifier, err = standardwebhooks.NewWebhook(r.secret); err != nil {
		return nil, fmt.Errorf("make a secret for the receiver: %w", err)
	}
	if r.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("start the receiver of webhooks: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("POST /webhook", r)
	r.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(r.served)
		_ = r.server.Serve(r.listener) // http.ErrServerClosed
	}()
	return r, nil
}

// close stops it at once; what is on its way is cut off.
func (r *receiver) close() error {
	err := r.server.Close()
	<-r.served
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("stop the receiver of webhooks: %w", err)
	}
	return nil
}

// url is where it takes webhooks.
func (r *receiver) url() string { return "http://" + r.listener.Addr().String() + "/webhook" }

// receipt returns what it knows of an id.
func (r *receiver) receipt(id string) (receipt, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.receipts[id]; known != nil {
		return *known, true
	}
	return receipt{}, false
}

func (r *receiver) total() counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}

// comeAndGo lets the receiver be away now and then, until ctx ends.
func (r *receiver) comeAndGo(ctx context.Context) error {
	if r.faults.AwayEvery == 0 {
		return nil
	}
	tick := time.NewTimer(cmp.Or(r.faults.AwaySoon, r.faults.AwayEvery))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			tick.Reset(r.faults.AwayEvery)
			r.mu.Lock()
			r.awayUntil = time.Now().Add(r.faults.AwayFor)
			r.mu.Unlock()
			r.faults.Away()
		case <-ctx.Done():
			return nil
		}
	}
}

// ServeHTTP takes one webhook.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 4<<20))
	if err != nil {
		http.Error(w, "the body is too big, or broke off", http.StatusBadRequest)
		return
	}
	if r.isAway() {
		panic(http.ErrAbortHandler) // hangs up without an answer
	}
	code, answer, pause := r.take(req, body)
	if pause > 0 {
		select {
		case <-time.After(pause):
		case <-req.Context().Done():
			return
		}
	}
	w.Header().Set("content-type", "text/plain")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, answer) // the sender may have gone
}

func (r *receiver) isAway() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.awayUntil)
}

// take notes a request, and says what is answered, and after which pause.
func (r *receiver) take(req *http.Request, body []byte) (code int, answer string, pause time.Duration) {
	invalid := r.verifier.Verify(body, req.Header)
	id := req.Header.Get(standardwebhooks.HeaderWebhookID)

	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Requests++
	if invalid != nil {
		return http.StatusUnauthorized, "the signature is not right", 0
	}
	r.counts.Verified++
	rec := r.receipts[id]
	if rec == nil {
		rec = &receipt{}
		r.keep(id, rec)
		r.fresh++
	} else {
		r.counts.Repeats++
	}
	rec.Path, rec.Body = req.URL.Path, body
	rec.Timestamp = req.Header.Get(standardwebhooks.HeaderWebhookTimestamp)
	rec.Signature = req.Header.Get(standardwebhooks.HeaderWebhookSignature)
	rec.Requests++
	switch {
	case rec.Done:
		return http.StatusOK, "it is here already", 0
	case r.faults.Refuse != nil:
		if why := r.faults.Refuse(body); why != "" {
			return http.StatusUnprocessableEntity, why, 0
		}
	}
	if rec.Requests == 1 {
		if n := r.faults.Fail; n > 0 && r.fresh%n == 3%n {
			return http.StatusServiceUnavailable, "not now", 0
		}
		if n := r.faults.Slow; n > 0 && r.fresh%n == 0 {
			pause = r.faults.SlowFor
		}
	}
	rec.Done = true
	return http.StatusOK, "thank you", pause
}

// keep notes a new id, and forgets the oldest one if there are too many.
func (r *receiver) keep(id string, rec *receipt) {
	if len(r.ids) >= mostReceipts {
		delete(r.receipts, r.ids[0])
		r.ids = r.ids[1:]
	}
	r.ids = append(r.ids, id)
	r.receipts[id] = rec
}
