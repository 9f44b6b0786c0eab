// Package utccron reads cron expressions of five fields in UTC, the one form in
// which maintenance windows are declared.
package utccron

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

var parser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// Schedule says when an expression's next time is.
type Schedule interface {
	// Next is the first time after t; zero when there is none.
	Next(t time.Time) time.Time
}

// Parse reads minute, hour, day of month, month and day of week. A time zone in
// front, which the library knows too, and a day that no calendar has are errors.
func Parse(expression string) (Schedule, error) {
	if strings.Contains(expression, "TZ=") {
		return nil, errors.New("a time zone in a cron expression; windows are in UTC")
	}
	schedule, err := parser.Parse(expression)
	if err != nil {
		return nil, fmt.Errorf("not a cron expression of five fields, as in 0 3 * * 0: %w", err)
	}
	if schedule.Next(time.Unix(0, 0).UTC()).IsZero() {
		return nil, errors.New("a day that no calendar has")
	}
	return schedule, nil
}
