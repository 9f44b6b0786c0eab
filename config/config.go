// Package config holds the settings of every Lighterman command in one struct
// tree and loads it strictly from a YAML file, the environment and flags.
//
// A setting has one name, its path in the tree: redis.url is "url" under
// "redis" in the file and LIGHTERMAN_REDIS_URL in the environment. A flag wins
// over the environment, the environment over the file, the file over the
// default. Everything that is wrong is reported at once, where it was written.
//
// The struct tags are the one description of a setting, from which the loader,
// Env, Print and Schema work: yaml (its name), default, derived (in words, a
// default that follows from another setting), min and max (inclusive), enum,
// required (in a list's item) and desc.
package config

//go:generate go run genschema.go

// Config is what one process was told. Load, Parse and Default return complete
// ones; one that was put together by hand is completed by Fill. It is not
// changed after that and may be read by any number of goroutines.
type Config struct {
	Redis    Redis     `yaml:"redis" desc:"Where the queue lives."`
	Queues   []Queue   `yaml:"queues" desc:"The queues that a worker serves. A list in the file replaces the default interactive:6, default:3, batch:1."`
	Worker   Worker    `yaml:"worker" desc:"How a worker claims, holds and gives up operations."`
	Pipeline Pipeline  `yaml:"pipeline" desc:"How an operation is driven through its stages."`
	Deliver  Deliver   `yaml:"deliver" desc:"What happens to results."`
	Limits   Limits    `yaml:"limits" desc:"What the door refuses, and what is too old."`
	HTTP     HTTP      `yaml:"http" desc:"Health, metrics and profiles."`
	Log      Log       `yaml:"log" desc:"What is logged to stderr, and how."`
	Defaults Defaults  `yaml:"defaults" desc:"The models of requests that name none."`
	Backends []Backend `yaml:"backends" desc:"The endpoints that serve models. The backend sim, which plays models inside the worker, is always there."`
	Models   []Model   `yaml:"models" desc:"The models that requests can name, beside the built-in simulated ones."`
	Pools    []Pool    `yaml:"pools" desc:"Models that stand in for each other, named where a model would be."`
	Groups   []Group   `yaml:"groups" desc:"Backends and models that are looked at together, as lighterman models --group. What is in no group stays where it is."`
	Fleet    Fleet     `yaml:"fleet" desc:"How workers share what they know of models."`
	Sim      Sim       `yaml:"sim" desc:"The simulated models."`

	origins origins // where each value was set; nil when nobody loaded it
}

// Redis says where the queue lives. Without a URL the process joins a
// Lighterman that answers on 127.0.0.1:7379 or starts an embedded Redis there.
type Redis struct {
	URL        SecretURL `yaml:"url" desc:"redis://, rediss:// or unix:// address, user and password in it. Not set: the embedded Redis on 127.0.0.1:7379."`
	URLFile    string    `yaml:"url_file" desc:"File that holds the URL, so that the password is neither in this file nor in the environment. Relative to the working directory."`
	Prefix     string    `yaml:"prefix" default:"lm" desc:"Start of every key, for fleets that share a Redis."`
	Partitions int       `yaml:"partitions" default:"1" min:"1" max:"1024" desc:"Over how many hash tags operations spread. Fixed at the fleet's first start; 64 for Redis Cluster."`
}

// Queue is a queue that a worker serves.
type Queue struct {
	Name        string `yaml:"name" required:"true" desc:"Its name: 1 to 64 of A-Z a-z 0-9 _ . -"`
	Weight      int    `yaml:"weight" default:"1" min:"1" max:"1000" desc:"Its share of new claims while several queues have work."`
	Concurrency int    `yaml:"concurrency" min:"0" max:"10000" desc:"How many of its operations one worker runs at a time. 0: as many as worker.concurrency allows, which is the bound in any case."`
}

// Worker says how a worker claims, holds and gives up operations.
type Worker struct {
	Name         string   `yaml:"name" desc:"Shown in lists and logs; need not be unique. Empty: the host's name."`
	Concurrency  int      `yaml:"concurrency" default:"64" min:"1" max:"10000" desc:"How many operations run at a time."`
	Lease        Duration `yaml:"lease" default:"10s" min:"100ms" max:"1h" desc:"For how long a claim holds without renewal: how late the loss of a whole host is noticed."`
	Heartbeat    Duration `yaml:"heartbeat" derived:"a quarter of worker.lease" min:"10ms" max:"30m" desc:"How often a claim is renewed. At most half the lease, so that one lost renewal costs nothing."`
	Presence     string   `yaml:"presence" default:"on" enum:"on,off" desc:"Whether this worker looks after the others, so that a killed one is noticed within a second; off: by its lease."`
	DrainTimeout Duration `yaml:"drain_timeout" default:"25s" min:"0s" max:"1h" desc:"How long a stopping worker waits for its stages before it hands them over. Under Kubernetes' grace period of 30s."`
	MaxAttempts  int      `yaml:"max_attempts" default:"5" min:"1" max:"100" desc:"After how many tries that returned an error an operation is dead-lettered."`
	CrashLimit   int      `yaml:"crash_limit" default:"3" min:"1" max:"30" desc:"After how many claims without an answer since its last checkpoint an operation is dead-lettered."`
}

// Pipeline says how an operation is driven through its stages.
type Pipeline struct {
	MaxToolRounds int      `yaml:"max_tool_rounds" default:"64" min:"1" max:"1000" desc:"How many times a model may ask for tools within one operation."`
	ChatTools     []string `yaml:"chat_tools" desc:"Which of this worker's tools operations of kind chat may have offered and run, by name; \"*\": each. None by default: what a producer or a document in its prompt says is no order. A handler says itself what its calls may use."`
	EmbedBatch    int      `yaml:"embed_batch" default:"96" min:"1" max:"2048" desc:"How many inputs one call of an embed operation has; a longer list goes in several calls. 96 is what all hosted APIs take; a small server of your own may want less."`
}

// Deliver says what happens to results.
type Deliver struct {
	ResultRetention Duration `yaml:"result_retention" default:"1h" min:"60s" max:"24h" desc:"How long an ended operation, its result and its idempotency key are kept."`
}

// Limits are what the door refuses, and how old an operation may get.
type Limits struct {
	MaxAge     Duration `yaml:"max_age" default:"168h" min:"1m" max:"8760h" desc:"How old an operation may get, since it was accepted or was to start, before the janitor ends it as expired."`
	Checkpoint Size     `yaml:"checkpoint" default:"8MiB" min:"64KiB" max:"64MiB" desc:"Largest checkpoint as stored."`
	Queue      int64    `yaml:"queue" default:"1000000" min:"1" max:"100000000" desc:"How many operations may wait in one queue."`
}

// HTTP is the worker's own address.
type HTTP struct {
	Addr string `yaml:"addr" default:"127.0.0.1:7380" desc:"HOST:PORT for health, metrics and, on a loopback address, profiles. When it is taken, the next free port, which is logged."`
}

// Log says what is logged to stderr, and how.
type Log struct {
	Level  string `yaml:"level" default:"info" enum:"trace,debug,info,warn,error" desc:"The least important lines that are written."`
	Format string `yaml:"format" default:"auto" enum:"auto,console,json" desc:"auto: console on a terminal, json elsewhere."`
}

// Defaults are the models of requests that name none, by kind.
type Defaults struct {
	Chat   string `yaml:"chat" default:"sim" desc:"Model of chat requests."`
	Prompt string `yaml:"prompt" default:"sim" desc:"Model of prompt requests."`
	Embed  string `yaml:"embed" default:"sim-embed" desc:"Model of embed requests."`
}

// Fleet says how workers share what they know of models.
type Fleet struct {
	SyncPolicy   string   `yaml:"sync_policy" default:"immediate" enum:"in-memory,sync-on-boundary,periodic,immediate" desc:"When counters go to Redis: never, at start and end, when an interval has passed, or with every call. Deadlines, breakers and sessions always go at once, except with in-memory, which gives up every promise for the fleet."`
	SyncInterval Duration `yaml:"sync_interval" default:"5s" min:"100ms" max:"1h" desc:"Of sync_policy periodic."`
	LockWait     Duration `yaml:"lock_wait" default:"30s" min:"100ms" max:"1h" desc:"How long a change of the fleet waits for the lock."`

	ReconcileInterval Duration `yaml:"reconcile_interval" default:"60s" min:"0s" max:"24h" desc:"How often the fleet lists the models of each backend, once for all its workers. 0s: only by lighterman reconcile."`
	AutoDiscover      bool     `yaml:"auto_discover" default:"false" desc:"Whether what a backend offers and nobody declares can be called too, as BACKEND/NAME; at most 256 models of each backend."`
	ListCache         Duration `yaml:"list_cache" default:"1h" min:"1s" max:"168h" desc:"For how long the last good list of a backend counts while it cannot be listed."`
	BackendTimeout    Duration `yaml:"backend_timeout" default:"10s" min:"100ms" max:"10m" desc:"How long one listing of a backend may take."`
	Detect            bool     `yaml:"detect" default:"true" desc:"Whether a worker looks what its machine offers, where no backend, model or pool is declared: OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY, an Ollama on 127.0.0.1:11434."`
	ProbeOnStart      bool     `yaml:"probe_on_start" default:"false" desc:"Whether a worker looks at every backend before it claims anything, though none is due."`
}

// Sim sets the simulated models.
type Sim struct {
	Latency Duration `yaml:"latency" default:"0s" max:"1h" desc:"How long every simulated call takes before it answers, for trying things out under load."`
	CallLog string   `yaml:"call_log" desc:"File to which every call of a simulated model is appended as a line of JSON. Empty: none."`
	Faults  []Fault  `yaml:"faults" desc:"How declared models of the backend sim fail, for trying routing out. Counted in each process."`
}

// Fault makes calls of a simulated model fail.
type Fault struct {
	Model      string   `yaml:"model" required:"true" desc:"A declared model of a simulated backend."`
	Kind       string   `yaml:"kind" required:"true" enum:"rate_limited,overloaded,quota_exhausted,provider,timeout,stream_interrupted,unauthorized,model_not_found,context_overflow,invalid_request,content_filtered" desc:"How a call fails."`
	After      int      `yaml:"after" default:"0" min:"0" max:"1000000000" desc:"How many calls it answers first."`
	Count      int      `yaml:"count" default:"0" min:"0" max:"1000000000" desc:"How many calls the fault lasts for. 0: for good."`
	Rate       float64  `yaml:"rate" default:"1" min:"0" max:"1" desc:"Which share of them fails, by a hash of the call."`
	RetryAfter Duration `yaml:"retry_after" default:"0s" min:"0s" max:"24h" desc:"What the failure names as the earliest time of the next try. 0s: none."`
}
