package checkpoint

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/rs/zerolog"
)

// Defaults of Options, and the bounds that are not options.
const (
	CurrentSchema     = 1
	DefaultMaxBytes   = 8 << 20
	DefaultMaxInflate = 64 << 20

	// maxSteps bounds the steps of one operation on write and on read, so that
	// what was written can be read: a base of maxSteps has fewer msgpack
	// values than maxValues.
	maxSteps = 1 << 16
	// maxSchema bounds a stored version before it is believed.
	maxSchema = 1 << 30
)

// StepData is one finished step: its name, unique in its operation, and what
// the step's owner wants back after a takeover.
type StepData struct {
	Name string `msgpack:"name"`
	Data []byte `msgpack:"data"`
}

// Upgrade turns the steps of schema n into those of schema n+1. It owns what it
// is given. An error or a panic makes the checkpoint unreadable
// (ErrSchemaOlder), not the operation.
type Upgrade func([]StepData) ([]StepData, error)

// Options of a Codec. The zero value means the defaults, no upgrades, no log
// and no observer.
type Options struct {
	Schema     int             // of what this worker writes; CurrentSchema
	Upgrades   map[int]Upgrade // from schema n to n+1
	MaxBytes   int             // stored bytes of one operation's checkpoint; DefaultMaxBytes
	MaxInflate int             // the same before compression; DefaultMaxInflate
	Log        zerolog.Logger
	Observe    func(Event)      // called from many goroutines, must not block; may be nil
	Now        func() time.Time // time.Now; only the recovered age depends on it
}

// Codec opens the checkpoints of many operations. It is safe for concurrent
// use and starts no goroutine.
type Codec struct {
	opts    Options
	enc     *zstd.Encoder // EncodeAll and DecodeAll pool their states inside
	dec     *zstd.Decoder
	scratch sync.Pool // of *scratch
}

// New checks the options and makes a Codec. Zero options cannot fail.
func New(o Options) (*Codec, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("checkpoint options: %w", err)
	}
	o.setDefaults()
	c := &Codec{opts: o, scratch: sync.Pool{New: func() any { return newScratch() }}}
	if err := c.openCompressor(); err != nil {
		return nil, fmt.Errorf("checkpoint options: %w", err)
	}
	return c, nil
}

func (o *Options) validate() error {
	var errs []error
	if o.Schema < 0 || o.Schema > maxSchema {
		errs = append(errs, fmt.Errorf("schema %d: want 1 to %d", o.Schema, maxSchema))
	}
	if o.MaxBytes < 0 {
		errs = append(errs, fmt.Errorf("max bytes %d is negative", o.MaxBytes))
	}
	if o.MaxInflate < 0 || o.MaxInflate > math.MaxInt32 {
		errs = append(errs, fmt.Errorf("max inflate %d: want 1 to %d", o.MaxInflate, math.MaxInt32))
	}
	for from, up := range o.Upgrades {
		if from < 1 || from >= max(o.Schema, CurrentSchema) || up == nil {
			errs = append(errs, fmt.Errorf("upgrade from schema %d: want a function from one below %d", from, max(o.Schema, CurrentSchema)))
		}
	}
	return errors.Join(errs...)
}

func (o *Options) setDefaults() {
	if o.Schema == 0 {
		o.Schema = CurrentSchema
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxInflate == 0 {
		o.MaxInflate = DefaultMaxInflate
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// size is what bytes cost as they are stored, and before compression.
type size struct{ stored, original int }

func (s size) plus(t size) size  { return size{s.stored + t.stored, s.original + t.original} }
func (s size) minus(t size) size { return size{s.stored - t.stored, s.original - t.original} }

// check holds the size of a whole checkpoint against both bounds.
func (o *Options) check(s size, steps int) error {
	switch {
	case s.stored > o.MaxBytes:
		return tooLarge("stored bytes", s.stored, o.MaxBytes)
	case s.original > o.MaxInflate:
		return tooLarge("bytes before compression", s.original, o.MaxInflate)
	case steps > maxSteps:
		return tooLarge("steps", steps, maxSteps)
	}
	return nil
}
