package lua

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestPeriod_IsTheCalendar holds the script's arithmetic against Go's calendar.
func TestPeriod_IsTheCalendar(t *testing.T) {
	each(t, func(e *env) {
		rnd := rand.New(rand.NewPCG(1, 2))
		for range 500 {
			at := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rnd.Int64N(40*365*24)) * time.Hour).Add(-time.Duration(rnd.IntN(2)) * time.Millisecond)
			y, m, d := at.Date()
			for period, want := range map[string]time.Time{
				"hourly": at.Truncate(time.Hour), "daily_utc": time.Date(y, m, d, 0, 0, 0, 0, time.UTC),
				"weekly":  time.Date(y, m, d-(int(at.Weekday())+6)%7, 0, 0, 0, 0, time.UTC),
				"monthly": time.Date(y, m, 1, 0, 0, 0, 0, time.UTC), "": {},
			} {
				got, err := e.rdb.Eval(ctx, mustRead("include/period.lua")+"return period_start(ARGV[1], tonumber(ARGV[2]))", []string{"{a}"}, period, at.UnixMilli()).Int64()
				if err != nil || got != unixMS(want) {
					e.Fatalf("%s of %s: %s %v, want %s", period, at, atMS(got), err, want)
				}
			}
		}
	})
}
