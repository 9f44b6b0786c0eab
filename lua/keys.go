package lua

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strconv"
	"strings"

	lm "github.com/lighterman/lighterman"
)

// Group is the consumer group of every stream.
const Group = "workers"

// Stream names one stream of entries: a queue's own, or its resume stream with
// what reclaim and drain put back.
type Stream struct {
	Partition int
	Queue     string
	Resume    bool
}

// short is the stream's name in a trace's entry field.
func (s Stream) short() string {
	if s.Resume {
		return "resume:" + s.Queue
	}
	return "stream:" + s.Queue
}

// streamOf reads a trace's entry field, STREAM/ID.
func streamOf(partition int, entry string) (s Stream, id string, ok bool) {
	short, id, ok := strings.Cut(entry, "/")
	kind, queue, named := strings.Cut(short, ":")
	return Stream{Partition: partition, Queue: queue, Resume: kind == "resume"}, id, ok && named
}

// keys makes key names. All of one operation's keys carry its partition's hash
// tag, so that one script can touch them on Redis Cluster too.
type keys struct{ prefix string }

func (k keys) in(partition int, rest string) string {
	return "{" + k.prefix + ":" + strconv.Itoa(partition) + "}:" + rest
}

func (k keys) of(id lm.TraceID, what string) string {
	p, _, _ := strings.Cut(string(id), "-")
	return "{" + k.prefix + ":" + p + "}:" + what + ":" + string(id)
}

func (k keys) trace(id lm.TraceID) string      { return k.of(id, "trace") }
func (k keys) request(id lm.TraceID) string    { return k.of(id, "request") }
func (k keys) checkpoint(id lm.TraceID) string { return k.of(id, "checkpoint") }
func (k keys) result(id lm.TraceID) string     { return k.of(id, "result") }
func (k keys) out(id lm.TraceID) string        { return k.of(id, "out") }

func (k keys) stream(s Stream) string           { return k.in(s.Partition, s.short()) }
func (k keys) delayed(p int) string             { return k.in(p, "delayed") }
func (k keys) parked(p int) string              { return k.in(p, "parked") }
func (k keys) deadlines(p int) string           { return k.in(p, "deadlines") }
func (k keys) dead(p int) string                { return k.in(p, "dead") }
func (k keys) done(p int) string                { return k.in(p, "done") }
func (k keys) tries(p int) string               { return k.in(p, "tries") }
func (k keys) stats(p int) string               { return k.in(p, "stats") }
func (k keys) tick(p int) string                { return k.in(p, "tick") }
func (k keys) reply(p int, cl string) string    { return k.in(p, "reply:"+cl) }
func (k keys) unique(p int, hash string) string { return k.in(p, "unique:"+hash) }
func (k keys) fleet(what string) string         { return "{" + k.prefix + ":fleet}:" + what }

func (k keys) model(id string) string   { return k.fleet("model:" + id) }
func (k keys) backend(id string) string { return k.fleet("backend:" + id) }
func (k keys) pool(id string) string    { return k.fleet("pool:" + id) }
func (k keys) holds(id string) string   { return k.fleet("holds:" + id) }
func (k keys) turn(pool string) string  { return k.fleet("turn:" + pool) }
func (k keys) version() string          { return k.fleet("version") }
func (k keys) observed() string         { return k.fleet("observed") }
func (k keys) list(n ListName) string   { return k.fleet("prov:" + n.Backend + ":" + n.Digest) }

// seen is the replay key of a call or of a batch of counts.
func (k keys) seen(key string) string { return k.fleet("seen:" + digest(key)) }

// costs are those of an operation or of a tenant, whose name is the user's.
func (k keys) costs(what, name string) string { return k.fleet("cost:" + what + ":" + name) }

// session is a key in a slot of its own: sessions spread over a cluster.
func (k keys) session(key string) string { return k.prefix + ":session:{" + key + "}" }

func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = io.WriteString(h, strconv.Itoa(len(p))+":"+p)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// optional is a key that an operation may not have; its slot then holds the
// trace's key, which keeps the slot count fixed and the hash slot right.
func (k keys) optional(has bool, key, trace string) string {
	if has {
		return key
	}
	return trace
}

// operation is the bundle of keys that a terminal write needs, in the order in
// which the scripts take it.
func (k keys) operation(to []string, id lm.TraceID, unique, reply string) []string {
	p, trace := id.Partition(), k.trace(id)
	return append(to, trace, k.request(id), k.checkpoint(id), k.result(id), k.out(id),
		k.optional(unique != "", k.unique(p, unique), trace),
		k.optional(reply != "", k.reply(p, reply), trace))
}
