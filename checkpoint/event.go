package checkpoint

import (
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/lighterman/lighterman"
)

// EventKind says what happened to a checkpoint; it is made for a metric label.
type EventKind string

// The kinds of events.
const (
	Saved       EventKind = "saved"        // Saved was called: Original, Stored
	Recovered   EventKind = "recovered"    // Open restored steps: Original, Stored, Age
	Upgraded    EventKind = "upgraded"     // ... of an older schema; comes before Recovered
	SchemaOlder EventKind = "schema_older" // Open found an older one that no upgrade leads from
	SchemaNewer EventKind = "schema_newer" // Open found a newer one
	Corrupt     EventKind = "corrupt"      // Open found a corrupt one
	TooLarge    EventKind = "too_large"    // Open or Record refused one over a bound
)

// Event is one count for metrics.
type Event struct {
	Kind     EventKind
	Original int           // bytes before compression
	Stored   int           // bytes in Redis, without the fixed fields
	Age      time.Duration // since the last write; 0 when its time cannot be read
}

func (c *Codec) observe(e Event) {
	if c.opts.Observe != nil {
		c.opts.Observe(e)
	}
}

func (c *Codec) saved(id lighterman.TraceID, fields int, s size) {
	c.opts.Log.Debug().Str("trace_id", string(id)).Int("fields", fields).
		Int("size_original", s.original).Int("size_compressed", s.stored).
		Float64("ratio", ratio(s)).Msg("checkpoint_saved")
	c.observe(Event{Kind: Saved, Original: s.original, Stored: s.stored})
}

// ratio is original over stored size, in hundredths; 0 when nothing is stored.
func ratio(s size) float64 {
	if s.stored == 0 {
		return 0
	}
	return math.Round(100*float64(s.original)/float64(s.stored)) / 100
}

func (c *Codec) recovered(b *Book, schema int, written string) {
	age := c.age(written)
	if schema != c.opts.Schema {
		c.stale(b.id, schema, "upgraded")
		c.observe(Event{Kind: Upgraded})
	}
	c.opts.Log.Info().Str("trace_id", string(b.id)).Int("steps", len(b.steps)).
		Int64("age_ms", age.Milliseconds()).Int("schema", schema).Msg("checkpoint_recovered")
	c.observe(Event{Kind: Recovered, Original: b.total.original, Stored: b.total.stored, Age: age})
}

// age is the time since a checkpoint was written, by the server's clock then
// and ours now; never negative, 0 when the stored time cannot be read. Nothing
// depends on it.
func (c *Codec) age(written string) time.Duration {
	ms, err := strconv.ParseInt(written, 10, 64)
	if err != nil {
		return 0
	}
	return max(0, c.opts.Now().Sub(time.UnixMilli(ms)))
}

// refused counts why Open restored nothing. Only a schema's mismatch is logged
// here; the error is the caller's to log.
func (c *Codec) refused(id lighterman.TraceID, err error) {
	var schema *SchemaError
	switch {
	case errors.As(err, &schema) && schema.Have > schema.Want:
		c.stale(id, schema.Have, "newer")
		c.observe(Event{Kind: SchemaNewer})
	case schema != nil:
		c.stale(id, schema.Have, "regather")
		c.observe(Event{Kind: SchemaOlder})
	case errors.Is(err, ErrTooLarge):
		c.observe(Event{Kind: TooLarge})
	default:
		c.observe(Event{Kind: Corrupt})
	}
}

func (c *Codec) stale(id lighterman.TraceID, have int, reason string) {
	c.opts.Log.Warn().Str("trace_id", string(id)).Int("have", have).Int("want", c.opts.Schema).
		Str("reason", reason).Msg("checkpoint_schema_stale")
}
