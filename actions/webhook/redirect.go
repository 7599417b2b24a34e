package webhook

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/rowbell/rowbell/actions"
	"github.com/rowbell/rowbell/pkg/egress"
)

// Redirect is for ROWBELL_DELIVERY=redirect:<url>: it returns what runs in place of a
// runner of any kind, and sends to target and nowhere else. Target gets the body that a
// webhook gets, with the id of the delivery, and two headers more: rowbell-kind, and
// rowbell-destination if there would have been one. A webhook's own headers stay here;
// its secret signs. If target is not a URL, each attempt fails and is retried.
func Redirect(target string, kind *actions.Kind, of actions.Runner, client *egress.Client, version string) actions.Runner {
	r := &redirect{headers: ownHeaders(version)}
	r.client, r.timeout = client, defaultTimeout
	if r.url, r.err = egress.CheckURL(target); r.err == nil {
		r.destination = destinationOf(r.url)
	}
	r.headers["Rowbell-Kind"] = []string{kind.Name}
	if d := of.Destination(); d != "" {
		r.headers["Rowbell-Destination"] = []string{escape(d, visible)}
	}
	if h, ok := of.(*hook); ok {
		r.signer = h.signer
	}
	return r
}

// redirect stands for another runner.
type redirect struct {
	poster
	err     error // why there is no url
	headers http.Header
	signer  // a webhook's; of other kinds the zero one
}

// Destination implements actions.Runner.
func (r *redirect) Destination() string { return r.destination }

// Secrets implements actions.Runner.
func (r *redirect) Secrets() []string {
	return r.secretRefs
}

// Run implements actions.Runner.
func (r *redirect) Run(ctx context.Context, d *actions.Delivery) (actions.Result, error) {
	if r.err != nil {
		return actions.Result{}, fmt.Errorf("ROWBELL_DELIVERY=redirect: %w", r.err)
	}
	body, err := appendBody(d)
	if err != nil {
		return actions.Result{}, err
	}
	keys, hide, err := r.signingKeys(ctx, d, time.Now())
	if err != nil {
		return actions.Result{}, err
	}
	return r.post(ctx, d, keys, maps.Clone(r.headers), body, hide)
}
