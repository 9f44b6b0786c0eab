package lua

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrDeaf is in the chain of an error of Listener.Next that came without a lost
// connection: the server has ended the subscription.
var ErrDeaf = errors.New("the server ended the subscription")

// Listener is one subscription of a worker to its control channel and to the
// channel of all workers, on a connection of its own that is dialled once: go-redis
// would dial again and subscribe anew without a word, and who judges others by
// their subscriptions must know when its own was away. Broken once it stays
// broken. Next is called by one goroutine; Ping and Close by any.
type Listener struct {
	client *redis.Client
	pubsub *redis.PubSub
	hears  time.Duration // silence, pings included, after which it is broken
}

// Listen subscribes an owner to its control channel and to that of all, and
// returns when Redis has confirmed both. hears is how long Next waits for any sign
// of life; Ping more often. Close the Listener.
func (s *Store) Listen(ctx context.Context, owner string, hears time.Duration) (*Listener, error) {
	channels := []string{s.keys.control(owner), s.keys.notices()}
	client, err := s.dialOnce(ctx, channels[0])
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	l := &Listener{client: client, hears: hears}
	if s.sharded() {
		l.pubsub = client.SSubscribe(ctx, channels...)
	} else {
		l.pubsub = client.Subscribe(ctx, channels...)
	}
	for {
		got, err := l.pubsub.ReceiveTimeout(ctx, min(hears, dialTimeout))
		if err != nil {
			l.Close()
			return nil, fmt.Errorf("listen: %w", err)
		}
		if sub, ok := got.(*redis.Subscription); ok && sub.Count == len(channels) {
			return l, nil
		}
	}
}

// dialOnce is a client like the one for state, of the node that has the channel's
// slot, which dials at most one connection.
func (s *Store) dialOnce(ctx context.Context, channel string) (*redis.Client, error) {
	var like *redis.Client
	switch c := s.rdb.(type) {
	case *redis.Client:
		like = c
	case *redis.ClusterClient:
		node, err := c.MasterForKey(ctx, channel)
		if err != nil {
			return nil, err
		}
		like = node
	default:
		return nil, fmt.Errorf("no subscription over a %T", c)
	}
	o := *like.Options()
	o.MaxRetries, o.PoolSize, o.MinIdleConns, o.DialerRetries = -1, 1, 0, 1
	dial := o.Dialer
	var dialled atomic.Bool
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dialled.Swap(true) {
			return nil, io.ErrUnexpectedEOF
		}
		return dial(ctx, network, addr)
	}
	return redis.NewClient(&o), nil
}

// Next waits for a word; an empty one is an answer to Ping. Any error ends the
// subscription for good.
func (l *Listener) Next() (string, error) {
	got, err := l.pubsub.ReceiveTimeout(context.Background(), l.hears)
	if err != nil {
		return "", fmt.Errorf("listen: %w", err)
	}
	switch m := got.(type) {
	case *redis.Message:
		return m.Payload, nil
	case *redis.Subscription:
		if strings.HasSuffix(m.Kind, "unsubscribe") { // sunsubscribe: a slot that moved
			return "", ErrDeaf
		}
	}
	return "", nil
}

// Ping asks for a sign of life, which Next returns. Without one a connection whose
// other end is gone without a word would be listened to for ever.
func (l *Listener) Ping(ctx context.Context) error { return l.pubsub.Ping(ctx) }

// Close ends the subscription; a Next that waits returns an error.
func (l *Listener) Close() {
	_ = l.pubsub.Close()
	_ = l.client.Close()
}
