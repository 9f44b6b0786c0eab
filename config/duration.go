package config

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Duration is a time span that is written as 500ms, 10s, 1h30m or 7d. A day is
// 24 hours. It is never negative.
type Duration time.Duration

const day = 24 * time.Hour

// durationPattern is what UnmarshalText takes, and what the schema says.
const (
	durationPattern = `^(0|[0-9]+d(` + shortPattern + `)*|(` + shortPattern + `)+)$`
	shortPattern    = `[0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h)`
)

var durationRegexp = regexp.MustCompile(durationPattern)

// UnmarshalText reads whole days followed by what time.ParseDuration takes. A
// number without a unit (but 0), a sign, and what exceeds 292 years are errors.
func (d *Duration) UnmarshalText(b []byte) error {
	text := string(b)
	if strings.HasPrefix(text, "-") {
		return fmt.Errorf("%s: a duration cannot be negative", quote(text))
	}
	if !durationRegexp.MatchString(text) {
		return fmt.Errorf("%s is not a duration; want numbers with units, as in 500ms, 10s, 1h30m or 7d", quote(text))
	}
	days, rest := "0", text
	if before, after, ok := strings.Cut(text, "d"); ok {
		days, rest = before, after
	}
	n, err := strconv.ParseInt(days, 10, 64)
	if err != nil || n > math.MaxInt64/int64(day) {
		return fmt.Errorf("%s is too long a duration", quote(text))
	}
	var short time.Duration
	if rest != "" {
		short, err = time.ParseDuration(rest)
	}
	total := time.Duration(n)*day + short
	if err != nil || total < 0 {
		return fmt.Errorf("%s is too long a duration", quote(text))
	}
	*d = Duration(total)
	return nil
}

// String is the shortest usual form: 7d, 36h, 1h30m, 2.5s. UnmarshalText reads
// it back.
func (d Duration) String() string {
	t := time.Duration(d)
	if t > 0 && t%day == 0 {
		return strconv.FormatInt(int64(t/day), 10) + "d"
	}
	s := t.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText writes String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Std is the span as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }
