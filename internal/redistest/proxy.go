package redistest

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// pieceSize is how many bytes travel together.
	pieceSize = 64 << 10
	// inFlight is how many pieces of one connection and direction are on their way.
	inFlight = 64
)

// Proxy stands between clients and a server. It can lose exactly one reply (the
// command runs, its caller sees a broken connection), be slow or narrow, stand
// still, and cut its connections. Its methods may be called concurrently.
type Proxy struct {
	t        testing.TB
	server   *Server
	listener net.Listener
	conns    sync.WaitGroup
	closed   chan struct{}
	lost     atomic.Int64
	moved    atomic.Int64
	held     atomic.Int64
	up, down shaper // to the server, from the server

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
	p := &Proxy{t: t, server: server, listener: listener, closed: make(chan struct{}), open: make(map[net.Conn]bool)}
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

// URL returns the proxy's address in the form that redis.ParseURL accepts.
func (p *Proxy) URL() string { return "redis://" + p.listener.Addr().String() + "/0" }

// LoseReply makes the next request that contains text lose its reply.
func (p *Proxy) LoseReply(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.match = []byte(text)
}

// Lost counts the replies that were lost.
func (p *Proxy) Lost() int { return int(p.lost.Load()) }

// Shape sets how bytes are carried from now on, in each direction.
func (p *Proxy) Shape(l Line) {
	p.up.set(l)
	p.down.set(l)
}

// Freeze stops all bytes in both directions until Thaw. Connections stay open
// and new ones are accepted, as behind a link that has gone without a word.
func (p *Proxy) Freeze() {
	p.up.freeze()
	p.down.freeze()
}

// Thaw lets bytes flow again, those that were held first.
func (p *Proxy) Thaw() {
	p.up.thaw()
	p.down.thaw()
}

// Cut closes all connections and returns how many clients had one.
func (p *Proxy) Cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		_ = c.Close()
	}
	return len(p.open) / 2 // of each connection, the client's end and the server's
}

// Moved counts the bytes that were carried in both directions.
func (p *Proxy) Moved() int64 { return p.moved.Load() }

// Held counts the pieces that came to a frozen line.
func (p *Proxy) Held() int64 { return p.held.Load() }

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
		ended := func() { p.forget(client, server) }
		p.carry(&p.up, server, client, func(b []byte) { lose.CompareAndSwap(false, p.matches(b)) }, nil, ended)
		p.carry(&p.down, client, server, nil, &lose, ended)
	}
}

// piece is what was read at once, and when it arrives.
type piece struct {
	bytes []byte
	at    time.Time
}

// carry copies one direction until either end closes, then closes both. before
// sees each piece on its way to the server; a reply after lose was set is lost.
func (p *Proxy) carry(s *shaper, to, from net.Conn, before func([]byte), lose *atomic.Bool, ended func()) {
	pieces := make(chan piece, inFlight)
	stopped := make(chan struct{}) // the writer has ended
	p.conns.Go(func() {
		defer close(pieces)
		for {
			b := make([]byte, pieceSize)
			n, err := from.Read(b)
			if n > 0 {
				if before != nil {
					before(b[:n])
				}
				select {
				case pieces <- piece{b[:n], s.arrival(time.Now(), n)}:
				case <-stopped:
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	p.conns.Go(func() {
		defer ended()
		defer close(stopped)
		for x := range pieces {
			if lose != nil && lose.Load() {
				p.lost.Add(1)
				return
			}
			if !p.await(s, x.at) {
				return
			}
			if _, err := to.Write(x.bytes); err != nil {
				return
			}
			p.moved.Add(int64(len(x.bytes)))
		}
	})
}

// await waits for a piece's arrival. It returns false when the proxy has ended.
func (p *Proxy) await(s *shaper, at time.Time) bool {
	if wait := time.Until(at); wait > 0 {
		select {
		case <-time.After(wait):
		case <-p.closed:
			return false
		}
	}
	for thawed := s.thawed(); thawed != nil; thawed = s.thawed() {
		p.held.Add(1)
		select {
		case <-thawed:
		case <-p.closed:
			return false
		}
	}
	return true
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

// forget closes connections that are done with.
func (p *Proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(p.open, c)
	}
}

func (p *Proxy) close() {
	_ = p.listener.Close()
	close(p.closed)
	p.Cut()
	p.conns.Wait()
}
