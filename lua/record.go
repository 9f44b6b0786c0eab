package lua

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// metaPrefix marks the user's own fields in a trace, so that none of them can
// name a field of ours.
const metaPrefix = "x_"

// Record is a trace with the fields that only the protocol needs.
type Record struct {
	lm.Trace
	Entry     string // STREAM/ID of its entry; empty while it has none
	Token     string
	Unique    string
	Reply     string
	Webhook   string
	Started   bool
	Followed  bool // somebody reads its frames
	Timeout   time.Duration
	Retention time.Duration // asked for; zero: the fleet's
	Letter    string        // stream ID of its dead-letter entry, once it has failed

	// Bytes of what is stored of it.
	Size, CheckpointSize int

	route   [4]string
	notes   map[byte]*[4]string // pieces by slot; see retry.lua
	hops    map[int]string
	lastHop int
	lines   map[int]string
	last    int // number of the newest line
}

// readRecord reads a trace's fields and values; ok is false when there is none.
// history also reads the recorded hops.
func readRecord(id lm.TraceID, fields []string, history bool) (r Record, ok bool) {
	r.ID = id
	for i := 0; i+1 < len(fields); i += 2 {
		r.set(fields[i], fields[i+1], history)
	}
	if history {
		r.History, r.Notes, r.Steps = r.readHistory(), r.readNotes(), r.readLines()
	}
	if route := strings.Join(r.route[:], ""); route != "" {
		r.Route = strings.Split(route, "\n")
	}
	return r, r.State != lm.None
}

func (r *Record) set(field, value string, history bool) {
	n := func() int { i, _ := strconv.Atoi(value); return i }
	ms := func() time.Time { i, _ := strconv.ParseInt(value, 10, 64); return atMS(i) }
	switch field {
	case "state":
		r.State, _ = lm.ParseState(value)
	case "outcome":
		r.Outcome = lm.Outcome(value)
	case "reason":
		r.Reason = value
	case "queue":
		r.Queue = value
	case "kind":
		r.Kind = value
	case "model":
		r.Model = value
	case "tenant":
		r.Tenant = value
	case "thread":
		r.Thread = value
	case "run":
		r.Run = value
	case "agent":
		r.Agent = value
	case "owner":
		r.Owner = value
	case "epoch":
		e, _ := strconv.ParseInt(value, 10, 64)
		r.Epoch = lm.Epoch(e)
	case "token":
		r.Token = value
	case "entry":
		r.Entry = value
	case "unique":
		r.Unique = value
	case "reply":
		r.Reply = value
	case "webhook":
		r.Webhook = value
	case "started":
		r.Started = value == "1"
	case "followed":
		r.Followed = true
	case "attempts":
		r.Attempts = n()
	case "crashes":
		r.Crashes = n()
	case "crashes_total":
		r.CrashesTotal = n()
	case "schema_waits":
		r.SchemaWaits = n()
	case "cancel_requested":
		r.CancelRequested = lm.Outcome(value)
	case "created":
		r.Created = ms()
	case "parked":
		r.WaitsFor, r.Parked = readPlace(value)
	case "not_before":
		r.NotBefore = ms()
	case "deadline":
		r.Deadline = ms()
	case "beat":
		r.Beat = ms()
	case "ended":
		r.Ended = ms()
	case "timeout":
		r.Timeout = time.Duration(n()) * time.Millisecond
	case "retention":
		r.Retention = time.Duration(n()) * time.Millisecond
	case "hn":
		r.lastHop = n()
	case "sn":
		r.last = n()
	case "size":
		r.Size = n()
	case "checkpoint_size":
		r.CheckpointSize = n()
	case "dead":
		r.Letter = value
	case "retry_of":
		r.RetryOf = lm.TraceID(value)
	case "retried_as":
		r.RetriedAs = lm.TraceID(value)
	case "route1", "route2", "route3", "route4":
		r.route[field[5]-'1'] = value
	default:
		r.setOther(field, value, history)
	}
}

func (r *Record) setOther(field, value string, history bool) {
	if name, ok := strings.CutPrefix(field, metaPrefix); ok {
		if r.Meta == nil {
			r.Meta = make(map[string]string)
		}
		r.Meta[name] = value
		return
	}
	if !history {
		return
	}
	if slot, piece, ok := noteField(field); ok {
		if r.notes == nil {
			r.notes = make(map[byte]*[4]string)
		}
		if r.notes[slot] == nil {
			r.notes[slot] = new([4]string)
		}
		r.notes[slot][piece] = value
		return
	}
	switch {
	case strings.HasPrefix(field, "h"):
		r.hops = numbered(r.hops, field, value)
	case strings.HasPrefix(field, "s"):
		r.lines = numbered(r.lines, field, value)
	}
}

// numbered adds the value of a field that is a letter and a number.
func numbered(ring map[int]string, field, value string) map[int]string {
	i, err := strconv.Atoi(field[1:])
	if err != nil {
		return ring
	}
	if ring == nil {
		ring = make(map[int]string)
	}
	ring[i] = value
	return ring
}

// hopsKept is the size of the ring that include/history.lua writes.
const hopsKept = 64

func (r *Record) readHistory() []lm.Hop {
	var history []lm.Hop
	for back := hopsKept - 1; back >= 0; back-- {
		n := r.lastHop - back
		if value, ok := r.hops[n%hopsKept]; ok && n > 0 {
			history = append(history, readHop(value, r.Created))
		}
	}
	return history
}

// linesKept is the size of the ring that include/lines.lua writes.
const linesKept = 32

func (r *Record) readLines() []lm.StepLine {
	var lines []lm.StepLine
	for back := linesKept - 1; back >= 0; back-- {
		n := r.last - back
		if line, ok := lm.ReadStepLine(r.lines[max(n, 0)%linesKept], r.Created); ok && n > 0 {
			lines = append(lines, line)
		}
	}
	return lines
}

// lost are the claims, of those since the last checkpoint, that a sweep took over
// while they were INFERRING, oldest first. Claims that gave the operation back
// themselves are none. It needs the history.
func (r *Record) lost() []lm.Epoch {
	type death struct {
		epoch lm.Epoch
		in    lm.State
	}
	var deaths []death
	epoch, state := lm.Epoch(0), lm.None // of the claim that holds it, and where that is
	for _, hop := range r.History {
		if epoch != 0 && crashed(hop) {
			deaths, epoch = append(deaths, death{epoch, state}), 0
		}
		if hop.Worker != "" {
			epoch = hop.Epoch
		}
		if n := len(hop.Path); n > 0 {
			state = hop.Path[n-1]
		}
	}
	var lost []lm.Epoch
	for _, d := range deaths[max(0, len(deaths)-r.Crashes):] {
		if d.in == lm.Inferring {
			lost = append(lost, d.epoch)
		}
	}
	return lost
}

// crashed reports whether a hop took the operation from a claim that was gone.
func crashed(h lm.Hop) bool {
	return len(h.Path) == 1 && h.Path[0] == lm.Reclaimed && (h.Reason == CauseLease || h.Reason == CausePresence || h.Reason == causeRepair)
}

// readHop reads "PATH MS TOOK [EXTRA]": ms since the trace was created, took in
// us, extra the epoch and owner of a claim, else a reason.
func readHop(value string, created time.Time) lm.Hop {
	path, rest, _ := strings.Cut(value, " ")
	ms, rest, _ := strings.Cut(rest, " ")
	took, extra, _ := strings.Cut(rest, " ")
	var h lm.Hop
	for _, letter := range []byte(path) {
		h.Path = append(h.Path, lm.StateOf(letter))
	}
	after, _ := strconv.ParseInt(ms, 10, 64)
	us, _ := strconv.ParseInt(took, 10, 64)
	h.At, h.Took = created.Add(time.Duration(after)*time.Millisecond), lm.Seconds(time.Duration(us)*time.Microsecond)
	if path == "C" {
		epoch, owner, _ := strings.Cut(extra, " ")
		e, _ := strconv.ParseInt(epoch, 10, 64)
		h.Epoch, h.Worker = lm.Epoch(e), owner
		return h
	}
	h.Reason = extra
	return h
}

// Records reads traces in one pipeline; one that does not exist has State None.
func (s *Store) Records(ctx context.Context, ids []lm.TraceID) ([]Record, error) {
	cmds := make([]*redis.Cmd, len(ids))
	pipe := s.rdb.Pipeline()
	for i, id := range ids {
		cmds[i] = pipe.Do(ctx, "HGETALL", s.keys.trace(id))
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	records := make([]Record, len(ids))
	for i, cmd := range cmds {
		if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) && !strings.HasPrefix(err.Error(), "WRONGTYPE") {
			return nil, fmt.Errorf("read traces: %w", err) // a trace of another type is none, and takes no neighbour down
		}
		records[i], _ = readRecord(ids[i], texts(cmd.Val()), true)
	}
	return records, nil
}

// Trace reads one trace; ErrNotFound when there is none.
func (s *Store) Trace(ctx context.Context, id lm.TraceID) (lm.Trace, error) {
	records, err := s.Records(ctx, []lm.TraceID{id})
	if err != nil {
		return lm.Trace{}, err
	}
	if records[0].State == lm.None {
		return lm.Trace{}, fmt.Errorf("%s: %w", id, lm.ErrNotFound)
	}
	return records[0].Trace, nil
}

// Results reads the results of ended operations in one pipeline; one that has
// not ended, or whose retention is over, has an empty Outcome.
func (s *Store) Results(ctx context.Context, ids []lm.TraceID) ([]lm.Result, error) {
	cmds := make([]*redis.SliceCmd, len(ids))
	pipe := s.rdb.Pipeline()
	for i, id := range ids {
		cmds[i] = pipe.HMGet(ctx, s.keys.result(id), "outcome", "body", "usage", "error", "attempts", "crashes")
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("read results: %w", err)
	}
	results := make([]lm.Result, len(ids))
	for i, cmd := range cmds {
		results[i] = readResult(ids[i], cmd.Val())
	}
	return results, nil
}

func readResult(id lm.TraceID, v []any) lm.Result {
	r := lm.Result{ID: id}
	if len(v) != 6 || text(v[0]) == "" {
		return r
	}
	r.Outcome = lm.Outcome(text(v[0]))
	if body := text(v[1]); body != "" {
		r.Body = json.RawMessage(body)
	}
	var used spent
	_ = json.Unmarshal([]byte(text(v[2])), &used)
	r.Usage, r.Route, r.Model = used.Usage, used.Route, used.Model
	if e := text(v[3]); e != "" {
		r.Err = &lm.Error{}
		_ = json.Unmarshal([]byte(e), r.Err)
	}
	r.Attempts, r.Crashes = int(number(v[4])), int(number(v[5]))
	return r
}
