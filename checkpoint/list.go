package checkpoint

import (
	"bytes"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"
)

// appendList writes steps as a msgpack array of {name, data} into s.plain.
func appendList(s *scratch, steps []StepData) error {
	s.plain.Reset()
	if err := s.enc.EncodeArrayLen(len(steps)); err != nil {
		return fmt.Errorf("encode steps: %w", err)
	}
	for i := range steps {
		if err := s.enc.Encode(&steps[i]); err != nil {
			return fmt.Errorf("encode steps: %w", err)
		}
	}
	return nil
}

// readList reads what appendList wrote. The bytes are scanned before the
// decoder sees them; what it returns shares nothing with b.
func readList(b []byte) ([]StepData, error) {
	if err := scan(b); err != nil {
		return nil, err
	}
	dec := msgpack.GetDecoder()
	defer msgpack.PutDecoder(dec)
	dec.Reset(bytes.NewReader(b))
	dec.DisallowUnknownFields(true)
	dec.DisableAllocLimit(true) // scan has held every length against len(b)
	n, err := dec.DecodeArrayLen()
	if err != nil || n < 0 {
		return nil, corrupt("steps are not an array")
	}
	if n > maxSteps {
		return nil, tooLarge("steps", n, maxSteps)
	}
	steps := make([]StepData, n)
	for i := range steps {
		if err := dec.Decode(&steps[i]); err != nil {
			return nil, corrupt("step %d of %d cannot be decoded", i, n)
		}
	}
	return steps, nil
}

// positions indexes steps by name; two of one name are an error. It gives every
// step bytes that are not nil, so that an empty result reads as it was written.
func positions(steps []StepData) (map[string]int, error) {
	at := make(map[string]int, len(steps))
	for i := range steps {
		if _, twice := at[steps[i].Name]; twice {
			return nil, fmt.Errorf("two steps named %.80q", steps[i].Name)
		}
		at[steps[i].Name] = i
		if steps[i].Data == nil {
			steps[i].Data = []byte{}
		}
	}
	return at, nil
}
