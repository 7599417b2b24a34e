package pgtest

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// TCPProxy stands between a client and a server, for faults of the network. It starts
// passing everything on.
type TCPProxy struct {
	listener net.Listener
	server   string
	wg       sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond // on mu: paused or closed has changed
	paused  bool
	refused bool
	closed  bool
	conns   map[*net.TCPConn]bool // both sides of each connection
	total   int
}

// Proxy starts a proxy to addr (host:port) that is stopped at the end of t.
func Proxy(t testing.TB, addr string) *TCPProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a local bind
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	p := &TCPProxy{listener: l, server: addr, conns: map[*net.TCPConn]bool{}}
	p.changed = sync.NewCond(&p.mu)
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// ProxyURL starts a proxy to the server of a database URL, and returns it with the URL
// that leads through it.
func ProxyURL(t testing.TB, databaseURL string) (proxy *TCPProxy, throughProxy string) {
	t.Helper()
	u := mustParse(databaseURL)
	addr := u.Host
	if u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), "5432")
	}
	proxy = Proxy(t, addr)
	u.Host = proxy.Addr()
	return proxy, u.String()
}

// Addr is where clients connect to.
func (p *TCPProxy) Addr() string { return p.listener.Addr().String() }

// Cut breaks all connections, on both sides, by a reset. New ones work.
func (p *TCPProxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut()
}

// Refuse breaks all connections and every new one until Resume: a server that is down.
func (p *TCPProxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = true
	p.cut()
}

// Pause stops passing on bytes, in both directions, until Resume: a network that
// swallows packets. Connections stay open, and new ones are accepted and get no answer.
func (p *TCPProxy) Pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = true
}

// Resume ends Pause and Refuse. What was held back by Pause is passed on.
func (p *TCPProxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused, p.refused = false, false
	p.changed.Broadcast()
}

// Connections counts the client connections accepted so far, refused ones not.
func (p *TCPProxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}

// cut is called with mu held.
func (p *TCPProxy) cut() {
	for c := range p.conns {
		_ = c.SetLinger(0) // close by reset
		_ = c.Close()
	}
	clear(p.conns)
	p.changed.Broadcast()
}

func (p *TCPProxy) close() {
	p.mu.Lock()
	p.closed = true
	p.cut()
	p.mu.Unlock()
	_ = p.listener.Close()
	p.wg.Wait()
}

func (p *TCPProxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		client := c.(*net.TCPConn)
		if !p.add(client) {
			_ = client.SetLinger(0)
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.total++
		p.mu.Unlock()
		p.wg.Go(func() { p.serve(client) })
	}
}

// add registers one side of a connection; false if it is to be refused.
func (p *TCPProxy) add(c *net.TCPConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused || p.closed {
		return false
	}
	p.conns[c] = true
	return true
}

// serve connects to the server, once that is allowed, and copies both ways until
// either side ends.
func (p *TCPProxy) serve(client *net.TCPConn) {
	defer p.remove(client)
	if !p.mayPass(client) {
		return
	}
	c, err := net.Dial("tcp", p.server) //nolint:noctx // a local server answers or refuses at once
	if err != nil {
		return
	}
	server := c.(*net.TCPConn)
	if !p.add(server) {
		_ = server.Close()
		return
	}
	defer p.remove(server)
	var both sync.WaitGroup
	both.Go(func() { p.copy(server, client) })
	both.Go(func() { p.copy(client, server) })
	both.Wait()
}

// copy passes bytes on until from ends, and then ends to.
func (p *TCPProxy) copy(to, from *net.TCPConn) {
	defer func() { _ = to.CloseWrite() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !p.mayPass(from) {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				_ = from.Close() // its sender can't be told in another way
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				_ = to.Close()
			}
			return
		}
	}
}

// mayPass waits while the proxy is paused; false if the connection was cut meanwhile.
func (p *TCPProxy) mayPass(c *net.TCPConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.paused && !p.closed && p.conns[c] {
		p.changed.Wait()
	}
	return p.conns[c]
}

func (p *TCPProxy) remove(c *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close()
}
