package redistest

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Proxy stands between clients and a server and can lose exactly one reply: the
// command runs, its caller sees a broken connection.
type Proxy struct {
	t        testing.TB
	server   *Server
	listener net.Listener
	conns    sync.WaitGroup
	lost     atomic.Int64

	mu    sync.Mutex
	match []byte // the next request that holds it loses its reply; nil: none
	open  map[net.Conn]bool
}

// NewProxy starts a Proxy before a server; it ends with the test.
func NewProxy(t testing.TB, server *Server) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("redistest: proxy: %v", err)
	}
	p := &Proxy{t: t, server: server, listener: listener, open: make(map[net.Conn]bool)}
	p.conns.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Client returns a client through the proxy, closed with the test.
func (p *Proxy) Client() *redis.Client {
	o := Options("", "")
	o.Network, o.Addr = "tcp", p.listener.Addr().String()
	rdb := redis.NewClient(o)
	p.t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// LoseReply makes the next request that contains text lose its reply.
func (p *Proxy) LoseReply(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.match = []byte(text)
}

// Lost counts the replies that were lost.
func (p *Proxy) Lost() int { return int(p.lost.Load()) }

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		network := "unix"
		if _, _, err := net.SplitHostPort(p.server.Addr); err == nil {
			network = "tcp"
		}
		server, err := net.Dial(network, p.server.Addr)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.track(client, server)
		var lose atomic.Bool
		p.conns.Go(func() { p.pump(server, client, func(b []byte) { lose.CompareAndSwap(false, p.matches(b)) }, nil) })
		p.conns.Go(func() { p.pump(client, server, nil, &lose) })
	}
}

// pump copies one direction until either end closes, then closes both. before
// sees each piece on its way to the server; a reply after lose was set is lost.
func (p *Proxy) pump(to, from net.Conn, before func([]byte), lose *atomic.Bool) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 1<<20)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if before != nil {
				before(buffer[:n])
			}
			if lose != nil && lose.Load() {
				p.lost.Add(1)
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *Proxy) matches(request []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.match == nil || !bytes.Contains(request, p.match) {
		return false
	}
	p.match = nil
	return true
}

func (p *Proxy) track(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.open[c] = true
	}
}

func (p *Proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for c := range p.open {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.conns.Wait()
}
