package fleet

import "time"

// Start is when the period that holds t began, by UTC; the zero time for an
// unknown period, in which nothing is counted.
func (p Period) Start(t time.Time) time.Time {
	t = t.UTC()
	y, m, d := t.Date()
	switch p {
	case Hourly:
		return t.Truncate(time.Hour)
	case DailyUTC:
		return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	case Weekly:
		return time.Date(y, m, d-(int(t.Weekday())+6)%7, 0, 0, 0, 0, time.UTC)
	case Monthly:
		return time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
	default:
		return time.Time{}
	}
}

// End is when the period that holds t ends and the next begins.
func (p Period) End(t time.Time) time.Time {
	start := p.Start(t)
	switch p {
	case Hourly:
		return start.Add(time.Hour)
	case DailyUTC:
		return start.AddDate(0, 0, 1)
	case Weekly:
		return start.AddDate(0, 0, 7)
	case Monthly:
		return start.AddDate(0, 1, 0)
	default:
		return time.Time{}
	}
}

// orDaily is the period of a quota or budget that names none.
func (p Period) orDaily() Period {
	if p == "" {
		return DailyUTC
	}
	return p
}

// used counts in the running period.
type used struct {
	sum   int64
	start int64 // ms
}

// at is what has been used of the period that holds now.
func (u used) at(now int64, p Period) int64 {
	if u.start >= startMS(p, now) {
		return u.sum
	}
	return 0
}

// add counts by; a period that has ended starts anew, and a clock set back does
// not bring an old one back.
func (u used) add(now int64, p Period, by int64) used {
	start := startMS(p, now)
	if start == 0 {
		return u
	}
	if start > u.start {
		u = used{start: start}
	}
	u.sum += by
	return u
}

func startMS(p Period, now int64) int64 {
	start := p.Start(time.UnixMilli(now))
	if start.IsZero() {
		return 0
	}
	return start.UnixMilli()
}
