package producer

import (
	"context"
	"crypto/rand"
	"slices"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// Option changes how a Client works; without any the defaults hold.
type Option func(*options)

type options struct {
	store      lua.Options
	replying   bool
	reply      string // names the reply stream; empty: none
	models     []string
	preprocess func(context.Context, *lm.Request) error
	checkpoint int // bytes; 0: the default
	followed   bool
}

func build(opts []Option) options {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if o.replying {
		o.reply = rand.Text() // here, so that two Clients of the same options differ
	}
	return o
}

// WithPartitions says how many partitions the fleet has; 1 by default. Open
// refuses another number than the one the fleet's first start recorded.
func WithPartitions(n int) Option { return func(o *options) { o.store.Partitions = n } }

// WithPrefix sets the prefix of every key; "lm" by default.
func WithPrefix(prefix string) Option { return func(o *options) { o.store.Prefix = prefix } }

// WithQueueLimit sets how many operations of one queue may wait over all
// partitions before Enqueue answers ErrQueueFull; 1,000,000 by default.
func WithQueueLimit(n int) Option { return func(o *options) { o.store.QueueLimit = n } }

// WithCheckpointLimit sets how large a checkpoint Retry takes along, in bytes;
// 8 MiB by default. A fleet with another limit (limits.checkpoint) needs the
// same here, or the work of larger ones begins anew.
func WithCheckpointLimit(bytes int) Option { return func(o *options) { o.checkpoint = bytes } }

// WithReply gives the Client a reply stream of its own: it names itself, by a
// random name, in every request that names no other, and is told only of its own
// operations. That costs two commands per operation at its end and pays where
// many producers share a busy fleet; without it waiting reads the partition's
// stream of all that ended.
func WithReply() Option { return func(o *options) { o.replying = true } }

// WithFollowed has every operation marked as followed when it is accepted, so that
// Follow gets its frames from the very first. Where it is marked by Follow alone,
// a worker that has claimed it before writes frames from its next heartbeat on.
func WithFollowed() Option { return func(o *options) { o.followed = true } }

// WithModels makes Enqueue refuse with ErrUnknownModel a request for a model or
// pool that is not among the names. Without it, and for a request that names
// none, models are left to the workers.
func WithModels(names []string) Option {
	names = slices.Clone(names)
	slices.Sort(names)
	return func(o *options) { o.models = slices.Compact(names) }
}

// WithPreprocess has every request pass through f before it is validated and
// sent; its operation is then recorded as having been through PREPROCESSING. f
// may change the request and its Meta, and replace its Body, whose bytes are
// the caller's. An error refuses the request. Enqueue calls f concurrently.
func WithPreprocess(f func(context.Context, *lm.Request) error) Option {
	return func(o *options) { o.preprocess = f }
}
