package egress

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// The benchmarks POST 1 KB over 64 goroutines to a server on loopback that reads the
// body and answers "ok"; accepts/op shows whether connections are kept.

func benchServer(b *testing.B) (url string, accepted *atomic.Int64) {
	accepted = new(atomic.Int64)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "ok")
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			accepted.Add(1)
		}
	}
	s.Start()
	b.Cleanup(s.Close)
	return s.URL, accepted
}

func run64(b *testing.B, accepted *atomic.Int64, post func(ctx context.Context) (int, error)) {
	b.ReportAllocs()
	b.ResetTimer()
	var todo atomic.Int64
	todo.Store(int64(b.N))
	done := make(chan error)
	for range 64 {
		go func() {
			var err error
			for todo.Add(-1) >= 0 && err == nil {
				var status int
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				status, err = post(ctx)
				cancel()
				if err == nil && status != http.StatusOK {
					b.Errorf("status %d", status)
				}
			}
			done <- err
		}()
	}
	for range 64 {
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
	b.ReportMetric(float64(accepted.Load())/float64(b.N), "accepts/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "posts/s")
}

func BenchmarkDo(b *testing.B) {
	url, accepted := benchServer(b)
	c, err := New(Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	body := bytes.Repeat([]byte("x"), 1024)
	run64(b, accepted, func(ctx context.Context) (int, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return 0, err
		}
		res, err := c.Do(ctx, req)
		if err != nil {
			return 0, err
		}
		return res.StatusCode, nil
	})
}

func BenchmarkBareClient(b *testing.B) {
	url, accepted := benchServer(b)
	transport := &http.Transport{MaxIdleConnsPerHost: 64, MaxIdleConns: 256}
	b.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}
	body := bytes.Repeat([]byte("x"), 1024)
	run64(b, accepted, func(ctx context.Context) (int, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return 0, err
		}
		res, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		_, err = io.ReadAll(res.Body)
		_ = res.Body.Close()
		return res.StatusCode, err
	})
}
