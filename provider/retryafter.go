package provider

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter is the longest wait that is believed.
const maxRetryAfter = 24 * time.Hour

// RetryAfter is for how long the headers of an answer say to wait: zero when they
// do not, at most 24 h. The first of these that is there counts: retry-after-ms and
// x-ms-retry-after-ms; retry-after in seconds, also fractions, or as an HTTP date;
// then the latest of the limits that are used up, as x-ratelimit-remaining-* 0 with
// x-ratelimit-reset-* ("6m0s") and anthropic-ratelimit-*-remaining 0 with
// anthropic-ratelimit-*-reset (RFC 3339).
func RetryAfter(h http.Header, now time.Time) time.Duration {
	if h == nil {
		return 0
	}
	for _, name := range []string{"Retry-After-Ms", "X-Ms-Retry-After-Ms"} {
		if ms, ok := positive(h.Get(name)); ok {
			return bounded(ms * float64(time.Millisecond))
		}
	}
	if text := strings.TrimSpace(h.Get("Retry-After")); text != "" {
		if s, ok := positive(text); ok {
			return bounded(s * float64(time.Second))
		}
		if at, err := http.ParseTime(text); err == nil {
			return bounded(float64(at.Sub(now)))
		}
	}
	return resets(h, now)
}

// resets is when the last of the used-up limits starts anew.
func resets(h http.Header, now time.Time) time.Duration {
	longest := time.Duration(0)
	for name, values := range h {
		lower := strings.ToLower(name)
		var left string
		var wait time.Duration
		switch {
		case len(values) == 0:
			continue
		case strings.HasPrefix(lower, "x-ratelimit-reset-"):
			left = h.Get("X-Ratelimit-Remaining-" + name[len("x-ratelimit-reset-"):])
			wait = span(values[0], now)
		case strings.HasPrefix(lower, "anthropic-ratelimit-") && strings.HasSuffix(lower, "-reset"):
			left = h.Get(strings.TrimSuffix(lower, "reset") + "remaining")
			if at, err := time.Parse(time.RFC3339, values[0]); err == nil {
				wait = bounded(float64(at.Sub(now)))
			}
		}
		if left == "" || strings.Trim(left, "0") == "" {
			longest = max(longest, wait)
		}
	}
	return longest
}

// span reads "6m0s", "120ms", seconds, or a point in time in seconds or milliseconds
// since 1970, as some gateways write it.
func span(text string, now time.Time) time.Duration {
	if s, ok := positive(text); ok {
		switch {
		case s > 1e12:
			return bounded(s*float64(time.Millisecond) - float64(now.UnixNano()))
		case s > 1e9:
			return bounded(s*float64(time.Second) - float64(now.UnixNano()))
		}
		return bounded(s * float64(time.Second))
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0
	}
	return bounded(float64(d))
}

func positive(text string) (float64, bool) {
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	return v, err == nil && v >= 0 && !math.IsInf(v, 0)
}

func bounded(ns float64) time.Duration {
	return time.Duration(min(max(ns, 0), float64(maxRetryAfter)))
}

func statusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return strconv.Itoa(status) + " " + text
	}
	return strconv.Itoa(status)
}
