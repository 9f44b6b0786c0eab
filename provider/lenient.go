package provider

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
)

// Decode reads JSON into v as encoding/json does, and leaves out each value that has
// another form than v expects: an API's answer is not lost because of a field that
// nobody needs. Whoever needs one looks whether it is there. Error: it is no JSON.
func Decode(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	var form *json.UnmarshalTypeError // it is the first of them; the rest was read
	if errors.As(err, &form) {
		return nil
	}
	return err
}

// Count is a number of tokens as APIs write it: 12, 12.0, 2.25 (to the nearest), "12".
// Anything else is 0.
type Count int64

// UnmarshalJSON satisfies json.Unmarshaler. It returns no error.
func (c *Count) UnmarshalJSON(raw []byte) error {
	*c = 0
	if len(raw) == 0 || raw[0] == '-' || raw[0] == 'n' {
		return nil
	}
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil { // the usual form
		*c = Count(n)
		return nil
	}
	written := string(raw)
	if raw[0] == '"' && json.Unmarshal(raw, &written) != nil {
		written = "" // a count that cannot be read is none
	}
	if f, err := strconv.ParseFloat(strings.TrimSpace(written), 64); err == nil && f >= 0 && f < maxCount {
		*c = Count(math.Round(f))
	}
	return nil
}

// maxCount is the largest count that is believed: JSON's numbers are exact up to it.
const maxCount = 1 << 53
