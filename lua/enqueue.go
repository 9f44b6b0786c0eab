package lua

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
)

// What the door can answer.
var (
	ErrKeyConflict = errors.New("the same ID or idempotency key was used with another request")
	ErrQueueFull   = errors.New("the queue is full")
)

// Operation is a request on its way in, with its ID.
type Operation struct {
	ID      lm.TraceID
	Request *lm.Request
	Path    []lm.State // from RECEIVED; nil: RECEIVED, QUEUED
	Named   bool       // the producer chose the ID or gave a key, so a repeat is compared

	Followed bool // somebody is going to read its frames
}

// Accepted answers one Operation. ID is the operation's, or with Existing the
// ID of the one that was accepted before. Err is nil, ErrKeyConflict,
// ErrQueueFull or an error of Redis; the other operations are not affected.
type Accepted struct {
	ID       lm.TraceID
	Existing bool
	Err      error
}

// pipelined is how many scripts go out in one pipeline: 2,000 operations a
// round trip. The caller bounds their bytes.
const pipelined = 20

// Enqueue accepts operations of any partitions: one script per 100 of a
// partition, fewer large ones, sent in pipelines, so that 10,000 take five round trips. The
// answers come in the order of ops. Safe to repeat.
func (s *Store) Enqueue(ctx context.Context, ops []Operation) []Accepted {
	answers := make([]Accepted, len(ops))
	byPartition := make(map[int][]int)
	for i, op := range ops {
		p := op.ID.Partition()
		byPartition[p] = append(byPartition[p], i)
	}
	var batches [][]int
	for _, all := range byPartition {
		for len(all) > 0 {
			n := within(len(all), func(i int) int { return ops[all[i]].Request.Size() })
			batches = append(batches, all[:n])
			all = all[n:]
		}
	}
	for len(batches) > 0 {
		n := min(len(batches), pipelined)
		s.enqueueBatches(ctx, ops, batches[:n], answers)
		batches = batches[n:]
	}
	return answers
}

// enqueueBatches sends some batches in one pipeline and repeats those whose
// reply was lost.
func (s *Store) enqueueBatches(ctx context.Context, ops []Operation, batches [][]int, answers []Accepted) {
	open := batches
	err := again(ctx, s.opts.Patience, func() error {
		calls := make([]call, len(open))
		for i, batch := range open {
			calls[i] = s.enqueueCall(ops, batch)
		}
		values, errs := s.runAll(ctx, calls)
		var passing error
		var left [][]int
		for i, batch := range open {
			err := errs[i]
			var items []any
			if err == nil {
				items, err = list(values[i], len(batch))
			}
			if err != nil && IsPassing(err) {
				left, passing = append(left, batch), err
				continue
			}
			for j, at := range batch {
				if err != nil {
					answers[at] = Accepted{Err: err}
				} else {
					answers[at] = accepted(ops[at].ID, text(items[j]))
				}
			}
		}
		open = left
		return passing
	})
	for _, batch := range open {
		for _, at := range batch {
			answers[at] = Accepted{Err: err}
		}
	}
}

func accepted(id lm.TraceID, answer string) Accepted {
	code, rest, _ := strings.Cut(answer, " ")
	switch code {
	case "OK":
		return Accepted{ID: id}
	case "EXISTING":
		return Accepted{ID: lm.TraceID(rest), Existing: true}
	case "CONFLICT":
		return Accepted{ID: lm.TraceID(rest), Err: ErrKeyConflict}
	case "QUEUEFULL":
		return Accepted{Err: ErrQueueFull}
	case "MANYQUEUES":
		return Accepted{Err: ErrTooManyQueues}
	default:
		if err := refusal(answer); err != nil {
			return Accepted{Err: err}
		}
		return Accepted{Err: fmt.Errorf("enqueue answered %q", answer)}
	}
}

func (s *Store) enqueueCall(ops []Operation, batch []int) call {
	p := ops[batch[0]].ID.Partition()
	c := call{
		script: enqueueScript,
		keys:   append(make([]string, 0, 3+7*len(batch)), s.keys.stats(p), s.keys.delayed(p), s.keys.deadlines(p)),
		args:   append(make([]any, 0, 2+16*len(batch)), len(batch), max(1, s.opts.QueueLimit/s.opts.Partitions)),
	}
	for _, at := range batch {
		op := ops[at]
		r, unique := op.Request, ""
		if r.Key != "" {
			unique = r.KeyHash()
		}
		trace := s.keys.trace(op.ID)
		c.keys = append(c.keys, trace, s.keys.request(op.ID), s.keys.checkpoint(op.ID), s.keys.result(op.ID), s.keys.out(op.ID),
			s.keys.optional(unique != "", s.keys.unique(p, unique), trace),
			s.keys.stream(Stream{Partition: p, Queue: r.Queue}))
		hash := ""
		if op.Named || unique != "" {
			hash = r.Hash()
		}
		path := "RQ"
		if op.Path != nil {
			path = letters(op.Path)
		}
		width := len(c.args)
		c.args = append(c.args, 0, string(op.ID), r.Queue, path, when(r.NotBefore, r.In), when(r.Deadline, r.DeadlineIn), []byte(r.Body), hash, flag(unique != ""))
		c.args = appendFields(c.args, r, unique)
		if op.Followed {
			c.args = append(c.args, "followed", 1)
		}
		c.args[width] = len(c.args) - width
	}
	return c
}

// when is a time as enqueue takes it: unix ms, or with a plus ms from the server's now,
// rounded up.
func when(at time.Time, after time.Duration) any {
	if after > 0 {
		return "+" + strconv.FormatInt((after+time.Millisecond-1).Milliseconds(), 10)
	}
	return unixMS(at)
}

// appendFields lists the trace fields that come from a request; body, times and
// hash have slots of their own.
func appendFields(to []any, r *lm.Request, unique string) []any {
	add := func(field, value string) {
		if value != "" {
			to = append(to, field, value)
		}
	}
	add("queue", r.Queue)
	add("kind", r.Kind)
	add("model", r.Model)
	add("tenant", r.Tenant)
	add("thread", r.Thread)
	add("run", r.Run)
	add("agent", r.Agent)
	add("reply", r.Reply)
	add("webhook", r.Webhook)
	add("unique", unique)
	if r.Timeout > 0 {
		to = append(to, "timeout", r.Timeout.Milliseconds())
	}
	if r.Retention > 0 {
		to = append(to, "retention", r.Retention.Milliseconds())
	}
	for name, value := range r.Meta {
		to = append(to, metaPrefix+name, value)
	}
	return to
}

func letters(path []lm.State) string {
	b := make([]byte, len(path))
	for i, s := range path {
		b[i] = s.Letter()
	}
	return string(b)
}

func flag(on bool) int {
	if on {
		return 1
	}
	return 0
}
