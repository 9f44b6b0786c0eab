package config

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
)

// Size is a number of bytes, written as 1000, 64KiB, 4MiB or 1GiB.
type Size int64

// sizePattern is what UnmarshalText takes, and what the schema says.
const sizePattern = `^([0-9]+)(KiB|MiB|GiB|B)?$`

var sizeRegexp = regexp.MustCompile(sizePattern)

// units from the largest; KB and MB, which mean 1000 to some and 1024 to
// others, are not among them.
var units = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {"", 1}}

// UnmarshalText reads a whole number of bytes, KiB, MiB or GiB. Any other
// unit, a fraction and a sign are errors.
func (s *Size) UnmarshalText(b []byte) error {
	m := sizeRegexp.FindStringSubmatch(string(b))
	if m == nil {
		return fmt.Errorf("%s is not a size; want bytes or a whole number of KiB, MiB or GiB, as in 4MiB", quote(string(b)))
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return err
	}
	for _, u := range units {
		if u.name != m[2] {
			continue
		}
		if err != nil || n > math.MaxInt64/u.bytes {
			return fmt.Errorf("%s is too large a size", quote(string(b)))
		}
		*s = Size(n * u.bytes)
		return nil
	}
	return nil
}

// String uses the largest unit that divides it. UnmarshalText reads it back.
func (s Size) String() string {
	for _, u := range units[:3] {
		if s > 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText writes String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
