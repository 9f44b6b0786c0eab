// Package sim plays a model API inside the process: the models that a fleet
// has before anybody configures one, and the double that tests script.
//
//	sim          answers at once
//	sim-slow     sends its tokens evenly over 10 s (Options.SlowFor)
//	sim-tools    asks for a tool in three rounds, then answers from the results
//	sim-flaky    fails 3 of 10 calls as a provider does with HTTP 500
//	sim-limited  refuses more than 5 calls a second (Options.Limit, Options.Window)
//	sim-embed    embeds texts as vectors of 8 numbers
//	BASE@ID      as BASE, with its own script, faults, limit and prompt cache
//
// Every answer is a function of the call alone, so that another process that
// repeats the call gets the same text, tool calls and failures. What is not: the
// time in `created`, the shared limit of sim-limited, and scripts.
package sim

import (
	"context"
	"errors"
	"time"

	"github.com/lighterman/lighterman"
)

// Options of a Sim. The zero value plays the models as the package describes
// them, without latency, scripts or log.
type Options struct {
	SlowFor time.Duration // how long an answer of sim-slow takes; zero: 10 s
	Limit   int           // calls of sim-limited per Window; zero: 5
	Window  time.Duration // zero: 1 s

	// Latency is waited before the model does anything else; nil: none. It is
	// called concurrently.
	Latency func(model string) time.Duration

	// Script holds replies by model, given in order, each once, in place of the
	// model's own. A model that only a script names answers like sim once its
	// script has ended. See Sim.Push.
	Script map[string][]Reply

	// Faults make calls fail; see Fault.
	Faults []Fault

	// CallLog is the path of a file to which every call is appended, see Log;
	// empty: none, which costs nothing. Worker names this process there.
	CallLog string
	Worker  string
}

// Sim answers model calls. All methods may be called concurrently.
type Sim struct {
	slowFor time.Duration
	latency func(string) time.Duration
	limits  limits
	scripts scripts
	faults  []*fault
	cache   promptCache
	log     *Log
	logErr  error // of opening the log; every call returns it
	logging bool
}

// New makes a Sim. Where the call log cannot be opened every call fails with
// the reason, because a count that misses calls proves nothing; Log tells
// earlier.
func New(o Options) *Sim {
	s := &Sim{slowFor: o.SlowFor, latency: o.Latency, logging: o.CallLog != ""}
	if s.slowFor <= 0 {
		s.slowFor = 10 * time.Second
	}
	s.limits = limits{n: o.Limit, length: o.Window}
	for _, f := range o.Faults {
		s.faults = append(s.faults, &fault{Fault: f})
	}
	for model, replies := range o.Script {
		s.Push(model, replies...)
	}
	if s.logging {
		s.log, s.logErr = OpenLog(o.CallLog, o.Worker)
	}
	return s
}

// Log is the call log, nil when there is none, or why it could not be opened.
// Hand Log.Tool to tool.Lookup to have tool calls counted in the same file.
func (s *Sim) Log() (*Log, error) { return s.log, s.logErr }

// Close closes the call log and returns the first error it met.
func (s *Sim) Close() error { return s.log.Close() }

// Call answers one call. Its errors are of these kinds: invalid_request for a
// body that the call's kind cannot have or a model of the other kind;
// model_not_found; provider from sim-flaky; rate_limited with RetryAfter from
// sim-limited; cancelled when ctx ends, at once, and timeout when its deadline
// or Call.Timeout passes; and whatever a script says.
func (s *Sim) Call(ctx context.Context, c lighterman.Call) (lighterman.Answer, error) {
	if s.logging {
		return s.logged(ctx, &c)
	}
	return s.call(ctx, &c)
}

func (s *Sim) logged(ctx context.Context, c *lighterman.Call) (lighterman.Answer, error) {
	if s.logErr != nil {
		return lighterman.Answer{}, lighterman.Permanent(s.logErr)
	}
	entry := LogEntry{Trace: c.ID, Key: c.Key, Model: c.Model, Attempt: c.Attempt}
	if err := s.log.Append(EventStart, entry); err != nil {
		return lighterman.Answer{}, lighterman.Permanent(err)
	}
	answer, err := s.call(ctx, c)
	event := EventEnd
	if err != nil {
		event = EventError
	} else {
		entry.Usage = &Used{Input: answer.Usage.Input, Cached: answer.Usage.Cached, Output: answer.Usage.Output}
	}
	if logErr := s.log.Append(event, entry); logErr != nil {
		return lighterman.Answer{}, lighterman.Permanent(errors.Join(logErr, err))
	}
	return answer, err
}

func (s *Sim) call(ctx context.Context, c *lighterman.Call) (lighterman.Answer, error) {
	if ctx.Err() != nil {
		return lighterman.Answer{}, interrupted(ctx)
	}
	r, err := parse(c.Kind, c.Body)
	if err != nil {
		return lighterman.Answer{}, err
	}
	name := c.Model
	if name == "" {
		name = r.model
	}
	reply, err := s.reply(name, c, &r)
	if err != nil {
		return lighterman.Answer{}, err
	}
	if broken := s.broken(name, c); broken != nil {
		reply = Reply{Err: broken, Delay: reply.Delay}
	}
	if err := s.play(ctx, name, c, &reply); err != nil {
		return lighterman.Answer{}, err
	}
	if isMember(name) {
		r.cached = s.cache.serve(name, r.list, time.Now())
	}
	return encode(name, c, &r, &reply), nil
}
