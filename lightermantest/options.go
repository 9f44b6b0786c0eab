package lightermantest

import (
	"cmp"
	"time"

	"github.com/lighterman/lighterman/consumer"
	"github.com/lighterman/lighterman/provider/sim"
	"github.com/rs/zerolog"
)

// Options of a fleet. The zero value is one worker on a Redis in memory.
type Options struct {
	Workers     int           // that run at any time; default 1. A killed one is replaced
	Redis       string        // URL; empty: in memory. The fleet's keys have a prefix of their own
	Partitions  int           // default 1
	Queues      []string      // default: default
	Concurrency int           // operations at once in a worker; default 8
	Lease       time.Duration // default 5 s; what a killed worker held is taken over at once
	MaxAttempts int           // default 5; retries wait 10 to 50 ms
	Timeout     time.Duration // of Wait; default 15 s
	ChatTools   []string      // as pipeline.chat_tools: which of Worker.Tool's the kind chat may use; default none

	// Config declares models and pools, in YAML as in the configuration file: its
	// models, pools, defaults and sim.faults count, nothing else of it does. Calls then
	// go through a router, with sessions, breakers, cooldowns and limits that the
	// fleet's workers share. See the package.
	Config string
	Sim    sim.Options       // the models; Sim.Script says what they answer. See Fleet.Script
	Models map[string]string // the model of a request that names none, by kind; default: Config's defaults: sim, for embed sim-embed
	Log    zerolog.Logger
}

func (o Options) withDefaults() Options {
	o.Workers = cmp.Or(o.Workers, 1)
	o.Partitions = cmp.Or(o.Partitions, 1)
	if len(o.Queues) == 0 {
		o.Queues = []string{"default"}
	}
	o.Concurrency = cmp.Or(o.Concurrency, 8)
	o.Lease = cmp.Or(o.Lease, 5*time.Second)
	o.MaxAttempts = cmp.Or(o.MaxAttempts, 5)
	o.Timeout = cmp.Or(o.Timeout, 15*time.Second)
	return o
}

// models are those of requests that name none.
func (o Options) models(d *declared) map[string]string {
	switch {
	case o.Models != nil:
		return o.Models
	case d != nil:
		return map[string]string{"chat": d.defaults.Chat, "prompt": d.defaults.Prompt, "embed": d.defaults.Embed}
	}
	return map[string]string{"chat": sim.Plain, "prompt": sim.Plain, "embed": sim.Embed}
}

// blockFor is how long a worker's read waits for entries, which is also what the
// end of a fleet takes.
const blockFor = 50 * time.Millisecond

// consumer is how a worker of that name consumes: as in production, with short
// waits.
func (o Options) consumer(name string) consumer.Options {
	queues := make([]consumer.Queue, len(o.Queues))
	for i, q := range o.Queues {
		queues[i] = consumer.Queue{Name: q, Weight: 1}
	}
	return consumer.Options{
		Name: name, Queues: queues, Concurrency: o.Concurrency, MaxAttempts: o.MaxAttempts,
		Lease: o.Lease, Beat: min(o.Lease/4, 500*time.Millisecond), Tick: 20 * time.Millisecond, Block: blockFor,
		DrainTimeout: time.Second, Backoff: consumer.Backoff{First: 10 * time.Millisecond, Cap: 50 * time.Millisecond}, Log: o.Log,
	}
}
