package lighterman

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds and defaults of a request.
const (
	DefaultQueue = "default"
	DefaultKind  = "chat"
	MaxRequest   = 4 << 20 // bytes of body and meta together
	MaxMeta      = 64      // entries of Meta
	maxLabel     = 256     // bytes of tenant, thread, run, agent, model, key
	maxURL       = 2048    // bytes of a webhook's address

	MinRetention = 60 * time.Second // in which a write may be repeated
	MaxRetention = 30 * 24 * time.Hour
)

// Request asks for one operation. The zero value of every field but Body means
// its default.
type Request struct {
	ID      string          `json:"id,omitempty"`      // own name (ValidName); empty: a ULID is minted
	Key     string          `json:"key,omitempty"`     // idempotency key, unique per (tenant, thread)
	Kind    string          `json:"kind,omitempty"`    // which handler runs it; DefaultKind
	Model   string          `json:"model,omitempty"`   // model or pool; wins over a model named in Body
	Queue   string          `json:"queue,omitempty"`   // DefaultQueue
	Tenant  string          `json:"tenant,omitempty"`  // who pays; scopes keys and threads
	Thread  string          `json:"thread,omitempty"`  // a conversation: one partition, one sticky member
	Run     string          `json:"run,omitempty"`     // one run of an agent
	Agent   string          `json:"agent,omitempty"`   // whose calls home to one member
	Reply   string          `json:"reply,omitempty"`   // names the producer's reply stream
	Webhook string          `json:"webhook,omitempty"` // recorded; nothing is sent yet
	Body    json.RawMessage `json:"body,omitempty"`    // OpenAI JSON, kept byte for byte

	Meta      map[string]string `json:"meta,omitempty"`       // the user's own, handed to the handler
	NotBefore time.Time         `json:"not_before,omitzero"`  // earliest start, by Redis' clock; zero: now
	Deadline  time.Time         `json:"deadline,omitzero"`    // expires then, by Redis' clock; zero: never
	Timeout   time.Duration     `json:"timeout_ns,omitempty"` // of each attempt; zero: 10 minutes

	// In and DeadlineIn are NotBefore and Deadline as times from when Redis accepts the
	// request. The producer's clock has no part in them, so they are right where it is off.
	In         time.Duration `json:"in_ns,omitempty"`
	DeadlineIn time.Duration `json:"deadline_in_ns,omitempty"`

	// Retention is how long its trace, result and idempotency key are kept once it has
	// ended, MinRetention to MaxRetention; zero: as long as the fleet keeps them. One that
	// failed is kept for 30 days in any case.
	Retention time.Duration `json:"retention_ns,omitempty"`
}

// Normalize fills the defaults of Queue and Kind.
func (r *Request) Normalize() {
	if r.Queue == "" {
		r.Queue = DefaultQueue
	}
	if r.Kind == "" {
		r.Kind = DefaultKind
	}
}

// Validate reports everything that is wrong with a request, joined: names that
// cannot be part of a key, labels and body over their bounds, a body that is
// not JSON. It does not know kinds, models or queues.
func (r *Request) Validate() error {
	var errs []error
	check := func(field string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", field, err))
		}
	}
	for _, f := range []struct{ field, value string }{{"id", r.ID}, {"kind", r.Kind}, {"queue", r.Queue}, {"reply", r.Reply}} {
		if f.value != "" {
			check(f.field, ValidName(f.value))
		}
	}
	if strings.HasSuffix(r.ID, ".hook") {
		check("id", errors.New(`names that end in ".hook" belong to webhook deliveries`))
	}
	for _, f := range []struct {
		field, value string
		bound        int
	}{{"key", r.Key, maxLabel}, {"model", r.Model, maxLabel}, {"tenant", r.Tenant, maxLabel}, {"thread", r.Thread, maxLabel}, {"run", r.Run, maxLabel}, {"agent", r.Agent, maxLabel}, {"webhook", r.Webhook, maxURL}} {
		check(f.field, validLabel(f.value, f.bound))
	}
	check("body", r.validBody())
	check("meta", r.validMeta())
	check("in", validAfter(r.In, r.NotBefore, "not_before"))
	check("deadline_in", validAfter(r.DeadlineIn, r.Deadline, "deadline"))
	if r.Timeout < 0 {
		check("timeout", fmt.Errorf("%s is negative", r.Timeout))
	}
	check("retention", r.validRetention())
	return errors.Join(errs...)
}

func (r *Request) validRetention() error {
	if r.Retention != 0 && (r.Retention < MinRetention || r.Retention > MaxRetention) {
		return fmt.Errorf("%s; want 60s to 30d", r.Retention)
	}
	return nil
}

// validAfter checks a time from now, which stands for a time that is not given then.
func validAfter(d time.Duration, at time.Time, field string) error {
	switch {
	case d < 0:
		return fmt.Errorf("%s is negative", d)
	case d > 0 && !at.IsZero():
		return fmt.Errorf("give it or %s, not both", field)
	}
	return nil
}

func (r *Request) validBody() error {
	switch {
	case len(r.Body) == 0:
		return errors.New("empty; want OpenAI JSON")
	case r.Size() > MaxRequest:
		return fmt.Errorf("request of %d bytes is over the bound of %d", r.Size(), MaxRequest)
	case !utf8.Valid(r.Body): // which json.Valid lets pass, and no model API takes
		return errors.New("not UTF-8")
	case !json.Valid(r.Body):
		return errors.New("not JSON: " + jsonProblem(r.Body))
	}
	return nil
}

func (r *Request) validMeta() error {
	if len(r.Meta) > MaxMeta {
		return fmt.Errorf("%d entries, at most %d", len(r.Meta), MaxMeta)
	}
	for k, v := range r.Meta {
		if err := ValidName(k); err != nil {
			return err
		}
		if strings.IndexByte(v, 0) >= 0 {
			return fmt.Errorf("%s: a zero byte in the value", k)
		}
	}
	return nil
}

// Size is what a request's bound counts: the bytes of Body and Meta.
func (r *Request) Size() int {
	n := len(r.Body)
	for k, v := range r.Meta {
		n += len(k) + len(v)
	}
	return n
}

func validLabel(s string, bound int) error {
	if len(s) > bound {
		return fmt.Errorf("%d bytes, at most %d", len(s), bound)
	}
	if i := strings.IndexFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }); i >= 0 {
		return fmt.Errorf("control character at byte %d", i)
	}
	return nil
}

// jsonProblem says where a body stops being JSON, without quoting it: bodies
// are prompts, and prompts stay out of error texts.
func jsonProblem(b []byte) string {
	var v any
	err := json.Unmarshal(b, &v)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Sprintf("byte %d: %s", syntax.Offset, strings.TrimPrefix(syntax.Error(), "json: "))
	}
	return "malformed"
}
