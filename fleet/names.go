package fleet

import (
	"math"
	"strconv"
	"time"
)

// reservationName is a reservation as admit.lua writes it.
func reservationName(token string, tokens, cost, slot int64) string {
	n := func(v int64) string { return ":" + strconv.FormatInt(v, 10) }
	return token + n(tokens) + n(cost) + n(slot)
}

func atMS(ms int64) time.Time {
	if ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// nano is USD in billionths, in which costs are counted: exact, and 2^53 of them
// are nine million dollars.
func nano(usd float64) int64 { return int64(math.Round(usd * 1e9)) }

func usd(nano int64) float64 { return float64(nano) / 1e9 }
