package lua

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
)

// Foreign is an entry that another producer pushed by hand, read as a request.
type Foreign struct {
	ID      lm.TraceID
	Request lm.Request
	Verdict string // empty, or why the entry is malformed, as a code word
	Detail  string // which field is wrong, and what would be right
}

// Derive reads a foreign entry; every worker derives the same. Its ID is its own
// `id` field in the entry's partition, else made from the entry. The body is
// taken as it is.
func Derive(e Entry) Foreign {
	f := Foreign{Request: lm.Request{Queue: e.Stream.Queue}}
	switch e.refused {
	case "crash_limit":
		f.refuse(e.refused, "it ended every worker that read it")
	case "body_too_large":
		f.refuse(e.refused, "entry: %d bytes, at most %d", e.weight, maxEntry)
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(e.Fields); i += 2 {
		name, value := e.Fields[i], e.Fields[i+1]
		if seen[name] {
			f.refuse("duplicate_field", "%s: there twice", shownField(name))
		}
		seen[name] = true
		f.read(name, value)
	}
	name := f.Request.ID
	if name == "" {
		name = "x" + e.ID + "-" + fieldsHash(e.Fields)
	}
	f.Request.Normalize()
	switch {
	case f.Verdict != "":
	case len(f.Request.Body) == 0:
		f.refuse("no_body", "body: missing or empty")
	case len(f.Request.Body) > lm.MaxRequest:
		f.refuse("body_too_large", "body: %d bytes, at most %d", len(f.Request.Body), lm.MaxRequest)
	case f.Request.Size() > lm.MaxRequest:
		f.refuse("invalid_field", "body and own fields: %d bytes, at most %d", f.Request.Size(), lm.MaxRequest)
	default:
		if err := f.invalid(); err != nil {
			f.refuse("invalid_field", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	if f.Verdict != "" && lm.ValidName(name) != nil {
		name = "x" + e.ID + "-" + fieldsHash(e.Fields) // its ID cannot name keys
	}
	f.ID = lm.NewTraceID(e.Stream.Partition, name)
	return f
}

// read takes one field. The wire's version is 1; fields it does not know are
// kept as the user's own.
func (f *Foreign) read(name, value string) {
	r := &f.Request
	switch name {
	case "v":
		if value != "1" {
			f.refuse("unknown_version", "v: want 1")
		}
	case "id":
		r.ID = value
	case "kind":
		r.Kind = value
	case "body":
		r.Body = json.RawMessage(value)
	case "key":
		r.Key = value
	case "thread":
		r.Thread = value
	case "run":
		r.Run = value
	case "agent":
		r.Agent = value
	case "tenant":
		r.Tenant = value
	case "model":
		r.Model = value
	case "reply":
		r.Reply = value
	case "webhook":
		r.Webhook = value
	case "deadline":
		ms, err := strconv.ParseInt(value, 10, 64)
		if err != nil || ms <= 0 {
			f.refuse("invalid_field", "deadline: want a time in unix milliseconds")
			return
		}
		r.Deadline = time.UnixMilli(ms)
	case "retention":
		ms, err := strconv.ParseInt(value, 10, 64)
		if err != nil || ms < lm.MinRetention.Milliseconds() || ms > lm.MaxRetention.Milliseconds() {
			f.refuse("invalid_field", "retention: want milliseconds, %d to %d", lm.MinRetention.Milliseconds(), lm.MaxRetention.Milliseconds())
			return
		}
		r.Retention = time.Duration(ms) * time.Millisecond
	default:
		if r.Meta == nil {
			r.Meta = make(map[string]string)
		}
		r.Meta[strings.TrimPrefix(name, metaPrefix)] = value
	}
}

// refuse notes why an entry is malformed; the first reason stays.
func (f *Foreign) refuse(verdict, format string, args ...any) {
	if f.Verdict == "" {
		f.Verdict, f.Detail = verdict, fmt.Sprintf(format, args...)
	}
}

// shownField is a field's name, which anybody may have written, as a message shows it.
func shownField(name string) string {
	if lm.ValidName(name) == nil {
		return name
	}
	return fmt.Sprintf("%.40q", name)
}

// invalid checks everything but the body, which is validated after the claim.
func (f *Foreign) invalid() error {
	r := f.Request
	r.Body = json.RawMessage("{}")
	return r.Validate()
}

func fieldsHash(fields []string) string {
	h := sha256.New()
	for _, f := range fields {
		h.Write([]byte(strconv.Itoa(len(f)) + ":" + f))
	}
	return hex.EncodeToString(h.Sum(nil)[:4])
}

// Adoption is what adopt said of a foreign entry.
type Adoption string

// The adoptions.
const (
	Adopted          Adoption = "OK"        // its trace names it; claim or put it back
	AdoptedDuplicate Adoption = "DUPLICATE" // accepted before; removed
	AdoptedDead      Adoption = "DEAD"      // malformed or a conflict; dead-lettered
	AdoptedGone      Adoption = "GONE"      // deleted meanwhile
	AdoptedSkip      Adoption = "SKIP"      // pending with another consumer
)

// Adopt makes foreign entries of one stream, pending with consumer, operations.
// At most 100; the answers come in order. Large bodies go in scripts of their
// own, so that none blocks Redis for long. Safe to repeat.
func (s *Store) Adopt(ctx context.Context, consumer string, entries []Entry) ([]Adoption, error) {
	var adoptions []Adoption
	for len(entries) > 0 {
		foreign, bytes := []Foreign{}, 0
		for _, e := range entries {
			f := Derive(e)
			if f.Verdict != "" {
				f.Request.Body, f.Request.Meta = nil, nil // the script buries the entry itself
			}
			if bytes += f.Request.Size(); bytes > inlineSum && len(foreign) > 0 {
				break
			}
			foreign = append(foreign, f)
		}
		some, err := s.adopt(ctx, consumer, entries[:len(foreign)], foreign)
		if err != nil {
			return nil, err
		}
		adoptions = append(adoptions, some...)
		entries = entries[len(foreign):]
	}
	return adoptions, nil
}

func (s *Store) adopt(ctx context.Context, consumer string, entries []Entry, foreign []Foreign) ([]Adoption, error) {
	st := entries[0].Stream
	p := st.Partition
	c := call{
		script: adoptScript,
		keys:   append(make([]string, 0, 5+7*len(entries)), s.keys.stream(st), s.keys.stats(p), s.keys.dead(p), s.keys.deadlines(p), s.keys.tries(p)),
		args:   []any{len(entries), Group, consumer, st.short()},
	}
	for i, e := range entries {
		f := &foreign[i]
		r, unique := &f.Request, ""
		if r.Key != "" {
			unique = r.KeyHash()
		}
		trace := s.keys.trace(f.ID)
		c.keys = append(c.keys, trace, s.keys.request(f.ID), s.keys.checkpoint(f.ID), s.keys.result(f.ID), s.keys.out(f.ID),
			s.keys.optional(unique != "", s.keys.unique(p, unique), trace),
			s.keys.optional(lm.ValidName(r.Reply) == nil, s.keys.reply(p, r.Reply), trace)) // a malformed entry's may be anything
		width := len(c.args)
		c.args = append(c.args, 0, e.ID, string(f.ID), strings.TrimSpace(f.Verdict+" "+f.Detail), r.Queue, unixMS(r.Deadline), r.Hash(), flag(unique != ""))
		if f.Verdict == "" {
			c.args = appendFields(c.args, r, unique)
		}
		c.args[width] = len(c.args) - width
	}
	var answers []string
	err := again(ctx, s.opts.Patience, func() (err error) {
		answers, err = s.answers(ctx, c, len(entries))
		return err
	})
	if err != nil {
		return nil, err
	}
	adoptions := make([]Adoption, len(answers))
	for i, a := range answers {
		adoptions[i] = Adoption(a)
	}
	return adoptions, nil
}
