package fleet

import (
	"time"

	lm "github.com/lighterman/lighterman"
)

// Spec is what is declared: all of it, by the configuration. Read-only.
type Spec struct {
	Models   []ModelSpec
	Pools    []PoolSpec
	Backends []BackendSpec
	Groups   []GroupSpec
	Observe  ObserveSpec
}

// BackendSpec declares one endpoint. What is seen there is kept under its
// provider, URL and the hash of its credential.
type BackendSpec struct {
	ID, Provider, URL string
}

// GroupSpec names backends and models that are looked at together: all models of
// the backends, discovered ones too, and the named ones.
type GroupSpec struct {
	ID               string
	Backends, Models []string
}

// ObserveSpec is how backends are looked at. Zero fields mean the defaults.
type ObserveSpec struct {
	Interval time.Duration // between two listings of a backend; 60 s
	Keep     time.Duration // for how long a good list stays while listings fail; 1 h
	Discover bool          // offerings that nobody declares become models BACKEND/NAME
}

func (o ObserveSpec) withDefaults() ObserveSpec {
	o.Interval, o.Keep = or(o.Interval, time.Minute), or(o.Keep, time.Hour)
	return o
}

// ModelSpec declares one model offering on a backend.
type ModelSpec struct {
	ID           string
	Backend      string
	Name         string // what the backend calls it
	Window       int    // context length in tokens; 0 unknown
	MaxOutput    int    // tokens of one answer at most; 0 unknown
	Price        Price
	Limits       Limits
	Budget       Budget
	Quota        Quota
	Maintenance  []Window
	Capabilities Capabilities
}

// Limited reports whether a call must be admitted before it is made: something of the
// model is counted for the whole fleet.
func (m *ModelSpec) Limited() bool {
	return m.Limits != Limits{} || m.Budget.USD > 0 || m.Quota.Requests > 0
}

// Price is in USD per million tokens; CachedInput 0 means as Input.
type Price struct{ Input, CachedInput, Output float64 }

// Limits are shared by the fleet; 0 is none.
type Limits struct {
	RPM, TPM   int // requests and tokens per minute
	Concurrent int
	Assumed    bool // nobody declared them: calls wait for their turn, and move to no other member
}

// Budget is money per period; 0 is none.
type Budget struct {
	USD    float64
	Period Period
}

// Quota is requests per period; 0 is none.
type Quota struct {
	Requests int64
	Period   Period
}

// Period is how often a quota or budget starts anew, by UTC.
type Period string

// The periods.
const (
	Hourly   Period = "hourly"
	DailyUTC Period = "daily_utc"
	Weekly   Period = "weekly" // from Monday
	Monthly  Period = "monthly"
)

// Window is a maintenance window: it opens by a cron expression (five fields, UTC).
type Window struct {
	Cron string
	For  time.Duration
}

// Capability is what a model can do.
type Capability = lm.Capability

// The capabilities.
const (
	CanChat   = lm.CanChat
	CanPrompt = lm.CanPrompt
	CanEmbed  = lm.CanEmbed
	CanStream = lm.CanStream
	CanTools  = lm.CanTools
	CanThink  = lm.CanThink
	CanVision = lm.CanVision
)

// Capabilities says of each what is declared; absent is unknown, which a call
// takes for yes, but for chat, prompt and embed of an embedding model.
type Capabilities map[Capability]bool

// Serve reports whether a kind of call, chat, prompt or embed, can be asked of a
// model: what it does not say it can, but a model that says it embeds neither chats
// nor prompts unless it says so, and the other way round.
func (c Capabilities) Serve(kind Capability) bool {
	if yes, said := c[kind]; said {
		return yes
	}
	switch kind {
	case CanEmbed:
		return !c[CanChat] && !c[CanPrompt]
	case CanChat, CanPrompt:
		return !c[CanEmbed]
	default:
		return true
	}
}

// PoolSpec declares models that stand in for each other.
type PoolSpec struct {
	ID      string
	Members []Member
	Routing Routing
	Switch  Switch
}

// Role is a member's part in its pool.
type Role string

// The roles.
const (
	RoleMember       Role = "member"
	RoleFailoverOnly Role = "failover_only"
)

// Member is a model's seat in a pool.
type Member struct {
	Model  string
	Weight int // 1 when not said
	Role   Role
}

// Home is how a pool chooses a session's home.
type Home string

// The home strategies.
const (
	HomeDeterministic Home = "deterministic"
	HomeRoundRobin    Home = "round_robin"
	HomeFirstHealthy  Home = "first_healthy"
)

// Scope is what stickiness holds for.
type Scope string

// The scopes.
const (
	ScopeThread Scope = "thread"
	ScopeRun    Scope = "run"
)

// Routing is how a pool chooses. FailbackAfter: a session returns home when it
// has been idle for longer, default 10 min.
type Routing struct {
	Home          Home
	Scope         Scope
	FailbackAfter time.Duration
}

// Switch is when a pool goes to another member. QuotaThreshold nil: any quota
// signal; else only one whose Retry-After is absent or at least as long.
// MaxSwitches nil: bounded by the members per call; 0 forbids all.
type Switch struct {
	OnCircuitOpen  bool
	OnQuota        bool
	OnPermanent    bool
	QuotaThreshold *time.Duration
	MaxSwitches    *int
}
