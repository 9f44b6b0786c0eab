package config

// Model declares one model offering on a backend.
type Model struct {
	ID            string       `yaml:"id" required:"true" desc:"What requests and pools call it."`
	Backend       string       `yaml:"backend" required:"true" desc:"Who serves it: a declared backend, or sim."`
	Name          string       `yaml:"name" required:"true" desc:"What its backend calls it, as sim-slow."`
	ContextWindow int          `yaml:"context_window" default:"0" min:"0" max:"1000000000" desc:"Its context length in tokens. 0: unknown."`
	MaxOutput     int          `yaml:"max_output" default:"0" min:"0" max:"1000000000" desc:"How many tokens one answer of it has at most. A budget reserves so many for a call that says no max_tokens. 0: unknown, 4,096 are reserved."`
	Price         Price        `yaml:"price" desc:"In USD per million tokens."`
	Limits        ModelLimits  `yaml:"limits" desc:"What the whole fleet may ask of it."`
	Budget        Budget       `yaml:"budget" desc:"What it may cost."`
	Quota         Quota        `yaml:"quota" desc:"How many requests it may get."`
	Maintenance   []Window     `yaml:"maintenance" desc:"When it gets no calls."`
	Capabilities  Capabilities `yaml:"capabilities" desc:"What it can do. What is left out is unknown, which a call takes for yes."`
}

// Price is what tokens cost, in USD per million.
type Price struct {
	Input       float64 `yaml:"input" default:"0" min:"0" max:"1000000" desc:"Of input."`
	CachedInput float64 `yaml:"cached_input" default:"0" min:"0" max:"1000000" desc:"Of input that its prompt cache held. 0: as input."`
	Output      float64 `yaml:"output" default:"0" min:"0" max:"1000000" desc:"Of output."`
}

// ModelLimits are shared by the fleet.
type ModelLimits struct {
	RPM        int `yaml:"rpm" default:"0" min:"0" max:"1000000000" desc:"Requests per minute. 0: no limit."`
	TPM        int `yaml:"tpm" default:"0" min:"0" max:"1000000000" desc:"Tokens per minute. 0: no limit."`
	Concurrent int `yaml:"concurrent" default:"0" min:"0" max:"1000000" desc:"Calls at a time. 0: no limit; where provider: ollama and no limit is set: 4."`
}

// Budget is money per period.
type Budget struct {
	USD    float64 `yaml:"usd" default:"0" min:"0" max:"1000000000" desc:"How much. 0: no budget."`
	Period string  `yaml:"period" default:"daily_utc" enum:"hourly,daily_utc,weekly,monthly" desc:"How often it starts anew, by UTC."`
}

// Quota is requests per period.
type Quota struct {
	Requests int64  `yaml:"requests" default:"0" min:"0" max:"1000000000000" desc:"How many. 0: no quota."`
	Period   string `yaml:"period" default:"monthly" enum:"hourly,daily_utc,weekly,monthly" desc:"How often it starts anew, by UTC."`
}

// Window is a maintenance window.
type Window struct {
	Cron string   `yaml:"cron" required:"true" desc:"When it opens: a cron expression of five fields, in UTC, as 0 3 * * 0."`
	For  Duration `yaml:"for" required:"true" max:"168h" min:"1s" desc:"How long it stays open."`
}

// Capabilities is what a model can do; nil is unknown.
type Capabilities struct {
	Chat   *bool `yaml:"chat" desc:"It takes chat requests."`
	Prompt *bool `yaml:"prompt" desc:"It takes prompt requests."`
	Embed  *bool `yaml:"embed" desc:"It takes embed requests."`
	Stream *bool `yaml:"stream" desc:"It streams tokens."`
	Tools  *bool `yaml:"tools" desc:"It calls tools."`
	Think  *bool `yaml:"think" desc:"It reasons before it answers."`
	Vision *bool `yaml:"vision" desc:"It sees images."`
}

// Group names backends and models that are looked at together.
type Group struct {
	ID       string   `yaml:"id" required:"true" desc:"What lists call it."`
	Backends []string `yaml:"backends" desc:"Declared backends, or sim: all their models, those that were discovered too."`
	Models   []string `yaml:"models" desc:"Declared models, or built-in simulated ones, beside those of the backends."`
}

// Pool declares models that stand in for each other.
type Pool struct {
	ID      string   `yaml:"id" required:"true" desc:"What requests call it; no model has the same ID."`
	Members []Member `yaml:"members" required:"true" desc:"Its models, at most 64, at least one of role member."`
	Routing Routing  `yaml:"routing" desc:"How a member is chosen."`
	Switch  Switch   `yaml:"switch" desc:"When a session goes to another member."`
}

// Member is a model's seat in a pool.
type Member struct {
	ModelID string `yaml:"model_id" required:"true" desc:"A declared model, or a built-in simulated one."`
	Weight  int    `yaml:"weight" default:"1" min:"1" max:"1000000" desc:"Its share of the homes."`
	Role    string `yaml:"role" default:"member" enum:"member,failover_only" desc:"A failover_only member is nobody's home and is called only when no other member can be."`
}

// Routing is how a pool chooses.
type Routing struct {
	Home          string   `yaml:"home" default:"deterministic" enum:"deterministic,round_robin,first_healthy" desc:"How a session's home is chosen: by a hash of its key, in turn, or the first healthy one."`
	StickyScope   string   `yaml:"sticky_scope" default:"thread" enum:"thread,run" desc:"What a session is."`
	FailbackAfter Duration `yaml:"failback_after" default:"10m" min:"1s" max:"168h" desc:"A session returns home when it has been idle for longer: when its stand-in's prompt cache has gone cold."`
}

// Switch is when a session goes to another member.
type Switch struct {
	OnCircuitOpen bool `yaml:"on_circuit_open" default:"true" desc:"When its member's circuit breaker is open."`
	OnQuota       bool `yaml:"on_quota" default:"true" desc:"When its member is rate-limited, overloaded or out of quota."`
	OnPermanent   bool `yaml:"on_permanent" default:"true" desc:"When its member refuses the key or does not have the model."`
	Threshold     *int `yaml:"quota_retry_after_threshold_secs" min:"0" max:"86400" desc:"Only where the member says to wait for at least so long, or does not say for how long. Left out: at any quota signal."`
	MaxSwitches   *int `yaml:"max_switches_per_session" min:"0" max:"1000000" desc:"How often a session may switch until a call is served again; 0: never. Left out: each member once per call."`
}

// SimBackend is the backend that plays models inside the worker.
const SimBackend = "sim"

// SimModels are the simulated models that are there without being declared.
func SimModels() []string {
	return []string{"sim", "sim-slow", "sim-tools", "sim-flaky", "sim-limited", "sim-embed"}
}
