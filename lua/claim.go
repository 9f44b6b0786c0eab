package lua

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
)

// Requests and checkpoints up to inlineBytes travel in a claim's answer while a
// call's sum stays under inlineSum; larger ones are read under their claims, see
// Fetch (64 claims of 12 MiB each blocked Redis for 2 s).
const (
	inlineBytes = 16 << 10
	inlineSum   = 1 << 20
)

// Verdict is what claim said of an entry.
type Verdict string

// The verdicts.
const (
	ClaimOK    Verdict = "OK"    // the claim is ours
	ClaimStale Verdict = "STALE" // the trace does not name this entry; it was removed
	ClaimLost  Verdict = "LOST"  // its trace is gone; dead-lettered trace_lost
	ClaimSkip  Verdict = "SKIP"  // another's; nothing was touched

	ClaimExpire Verdict = "EXPIRE" // past its deadline; nothing was touched, Expire is to end it
)

// Claimed answers one entry. Claim is set when Verdict is ClaimOK. Started is
// false for one that has crashed so often that it must run alone.
type Claimed struct {
	Verdict Verdict
	ID      lm.TraceID
	Claim   lm.Claim // without what is Unread
	Unread  Unread
	Record  Record // the trace as it was before
	Started bool
	Stop    error // why it is to end at once: ErrCancelRequested, ErrExpired; nil: it is not
	Err     error
}

// Claim takes entries of one stream that the owner has just read, at most 100,
// in their order. lease is stored, so that no sweep takes the claim before. The
// answers come in the order of entries. A call that failed may have claimed:
// repeat it with the same tokens, as Claim itself does while patience lasts.
func (s *Store) Claim(ctx context.Context, owner string, lease time.Duration, entries []Entry) ([]Claimed, error) {
	st := entries[0].Stream
	c := call{
		script: claimScript,
		keys:   append(make([]string, 0, 3+3*len(entries)), s.keys.stream(st), s.keys.stats(st.Partition), s.keys.dead(st.Partition)),
		args: append(make([]any, 0, 8+3*len(entries)), len(entries), Group, owner, st.short(), lease.Milliseconds(),
			s.opts.CrashLimit, inlineBytes, inlineSum),
	}
	tokens := make([]string, len(entries))
	for i, e := range entries {
		id := s.idOf(e)
		tokens[i] = newToken()
		c.keys = append(c.keys, s.keys.trace(id), s.keys.request(id), s.keys.checkpoint(id))
		c.args = append(c.args, e.ID, string(id), tokens[i])
	}
	var items []any
	err := again(ctx, s.opts.Patience, func() error {
		v, err := s.run(ctx, c)
		if err != nil {
			return err
		}
		items, err = list(v, len(entries))
		return err
	})
	if err != nil {
		return nil, err
	}
	answers := make([]Claimed, len(entries))
	for i, item := range items {
		answers[i] = s.readClaimed(owner, entries[i], tokens[i], item)
	}
	return answers, nil
}

// idOf is the operation that an entry stands for: its own, or the derived one.
func (s *Store) idOf(e Entry) lm.TraceID {
	if id, ok := e.Own(); ok {
		return id
	}
	return Derive(e).ID
}

func (s *Store) readClaimed(owner string, e Entry, token string, item any) Claimed {
	if word, ok := item.(string); ok {
		if err := refusal(word); err != nil {
			return Claimed{Verdict: ClaimSkip, Err: err}
		}
		return Claimed{Verdict: Verdict(word), ID: s.idOf(e)}
	}
	v, err := list(item, 7)
	if err != nil {
		return Claimed{Verdict: ClaimSkip, Err: err}
	}
	flat := strings.Split(text(v[4]), "\x00") // no value holds one: names, labels and meta are checked at the door
	id := s.idOf(e)
	record, _ := readRecord(id, flat, false)
	var lost []lm.Epoch
	if record.Crashes > 0 {
		record, _ = readRecord(id, flat, true)
		lost = record.lost()
	}
	var unread Unread
	body := text(v[5])
	if v[5] == nil {
		if body = e.body(); len(body) != record.Size {
			body, unread.Request = "", record.Size
		}
	}
	if v[6] == nil {
		unread.Checkpoint = record.CheckpointSize
	}
	claim := lm.Claim{
		ID: id, Request: record.request(body), KeyHash: record.Unique, Attempts: record.Attempts, Crashes: record.Crashes, CrashesTotal: record.CrashesTotal,
		SchemaWaits: record.SchemaWaits, Created: record.Created, ClaimedAt: atMS(number(v[2])), Checkpoint: readFields(v[6]), Lost: lost,
		Fence: lm.NewFence(owner, lm.Epoch(number(v[1])), token, e.Names(), lm.Claimed),
	}
	return Claimed{Verdict: ClaimOK, Claim: claim, Unread: unread, Record: record, Started: text(v[3]) == "1", Stop: stopOf(record.CancelRequested)}
}

// request is what the trace and the stored body say of the request.
func (r *Record) request(body string) lm.Request {
	return lm.Request{
		ID: r.ID.Name(), Kind: r.Kind, Model: r.Model, Queue: r.Queue, Tenant: r.Tenant, Thread: r.Thread, Run: r.Run, Agent: r.Agent,
		Reply: r.Reply, Webhook: r.Webhook, Body: json.RawMessage(body), Meta: r.Meta, NotBefore: r.NotBefore, Deadline: r.Deadline, Timeout: r.Timeout, Retention: r.Retention,
	}
}

func readFields(v any) lm.Fields {
	items, _ := v.([]any)
	if len(items) == 0 {
		return nil
	}
	fields := make(lm.Fields, len(items)/2)
	for i := 0; i+1 < len(items); i += 2 {
		fields[text(items[i])] = text(items[i+1])
	}
	return fields
}

// newToken is 96 random bits in 16 characters.
func newToken() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}
