package lighterman

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
)

// Seconds is a duration that JSON has as a number of seconds: 1.5. Fields of this type
// are named so: took_seconds.
type Seconds time.Duration

// Std is the duration.
func (s Seconds) Std() time.Duration { return time.Duration(s) }

// MarshalJSON writes the seconds, to the microsecond.
func (s Seconds) MarshalJSON() ([]byte, error) {
	rounded := time.Duration(s).Round(time.Microsecond)
	return strconv.AppendFloat(nil, rounded.Seconds(), 'f', -1, 64), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (s *Seconds) UnmarshalJSON(b []byte) error {
	var seconds float64
	if err := json.Unmarshal(b, &seconds); err != nil {
		return err
	}
	*s = Seconds(math.Round(seconds * float64(time.Second)))
	return nil
}
