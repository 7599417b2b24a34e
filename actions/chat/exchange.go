package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/rowbell/rowbell/pkg/egress"
)

// exchange is one request through the guarded client, made by whichever library, and what
// came of it. It follows no redirect.
type exchange struct {
	client *egress.Client
	ctx    context.Context // the attempt's; libraries bring others
	key    string
	res    *egress.Response
	err    error
}

// errResent reads to egress like what it stands for: a connection that broke.
var errResent = fmt.Errorf("sent again, and broken off again: %w", io.ErrUnexpectedEOF)

// Do is what slack-go wants of a client.
func (x *exchange) Do(req *http.Request) (*http.Response, error) { return x.RoundTrip(req) }

// RoundTrip implements http.RoundTripper.
func (x *exchange) RoundTrip(req *http.Request) (*http.Response, error) {
	req.Header.Set("Idempotency-Key", x.key)
	if again := req.GetBody; again != nil {
		// A server may just have closed the connection that this goes on: then once more, and
		// not on all that are idle.
		resent := false
		req.GetBody = func() (io.ReadCloser, error) {
			if resent {
				return nil, errResent
			}
			resent = true
			return again()
		}
	}
	x.res, x.err = x.client.Do(x.ctx, req)
	if x.res == nil {
		return nil, x.err
	}
	return &http.Response{
		Status: http.StatusText(x.res.StatusCode), StatusCode: x.res.StatusCode, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: x.res.Header, Body: io.NopCloser(bytes.NewReader(x.res.Body)), ContentLength: int64(len(x.res.Body)), Request: req,
	}, nil
}

// json sends an object.
func (x *exchange) json(method, url string, header http.Header, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(x.ctx, method, url, bytes.NewReader(text))
	if err != nil {
		return err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	_, err = x.Do(req) //nolint:bodyclose // it is in memory
	return err
}
