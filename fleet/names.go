package fleet

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// reservationName is a reservation as admit.lua writes it.
func reservationName(token string, tokens, cost, slot int64) string {
	n := func(v int64) string { return ":" + strconv.FormatInt(v, 10) }
	return token + n(tokens) + n(cost) + n(slot)
}

// parseReservation reads a reservation's name.
func parseReservation(name string) (token string, tokens, cost, slot int64) {
	parts := strings.Split(name, ":")
	if len(parts) != 4 {
		return name, 0, 0, 0
	}
	n := func(s string) int64 { v, _ := strconv.ParseInt(s, 10, 64); return v }
	return parts[0], n(parts[1]), n(parts[2]), n(parts[3])
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
