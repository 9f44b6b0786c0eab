package checkpoint

import (
	"errors"
	"fmt"
)

// What a caller of Open and Record branches on, with errors.Is.
var (
	// ErrCorrupt: the stored bytes are not what was written for this operation
	// (changed, cut, swapped, incomplete). Gather again.
	ErrCorrupt = errors.New("checkpoint is corrupt")
	// ErrTooLarge: over a bound of Options, as written or as it would inflate.
	// From Open: gather again. From Record: that step stays unrecorded.
	ErrTooLarge = errors.New("checkpoint is too large")
	// ErrSchemaNewer: written by a newer worker. Wait for one.
	ErrSchemaNewer = errors.New("checkpoint has a newer schema")
	// ErrSchemaOlder: written by an older worker, and no upgrade leads here.
	// Gather again.
	ErrSchemaOlder = errors.New("checkpoint has an older schema")
)

// SchemaError says that a stored checkpoint has a schema that this worker
// cannot read. It is ErrSchemaNewer or ErrSchemaOlder.
type SchemaError struct {
	Have int   // as stored
	Want int   // this worker's
	Err  error // what an upgrade said; nil when there was none
}

func (e *SchemaError) Error() string {
	s := fmt.Sprintf("checkpoint has schema %d, this worker %d", e.Have, e.Want)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *SchemaError) Unwrap() error { return e.Err }

// Is makes an older or newer schema findable by its sentinel.
func (e *SchemaError) Is(target error) bool {
	return target == ErrSchemaNewer && e.Have > e.Want || target == ErrSchemaOlder && e.Have < e.Want
}

// corrupt says what is wrong without quoting payload.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

func tooLarge(what string, got, bound int) error {
	return fmt.Errorf("%w: %s %d, at most %d", ErrTooLarge, what, got, bound)
}
