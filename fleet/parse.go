package fleet

import (
	"fmt"
	"strconv"
	"time"

	"github.com/lighterman/lighterman/lua"
)

// hash is a record as it is stored. What cannot be read counts as zero: a snapshot
// is never refused for one bad field.
type hash map[string]string

func (h hash) num(field string) int64 {
	n, _ := strconv.ParseInt(h[field], 10, 64)
	return n
}

func (h hash) at(field string) time.Time { return atMS(h.num(field)) }

// concerns reports whether what is recorded of a credential, by its hash, is about
// the one that a reader of the record uses.
type concerns func(credential string) bool

// modelState reads a model's record at a server time. A backend that is paused or
// barred for the reader's credential pauses or bars its models.
func modelState(h, backend hash, ours concerns, now time.Time, by lua.Breaker) ModelState {
	s := ModelState{
		Disabled: h["disabled"] == "1", Failures: int(h.num("failures")), Opened: int(h.num("opened")), Circuit: Circuit(h["circuit"]),
		CircuitEpoch: h.num("epoch"), OpenUntil: h.at("open_until"), ProbeOwner: h["probe_owner"], ProbeUntil: h.at("probe_until"),
		CooldownUntil: h.at("cooldown_until"), QuarantineUntil: h.at("quarantine_until"), QuarantineKind: h["quarantine_kind"],
		Requests: h.num("requests"), Errors: h.num("errors"), ErrorRate: errorRate(h, now, by.Window),
		Tokens: h.num("input") + h.num("output"), CostUSD: usd(h.num("cost")),
		QuotaUsed: h.num("quota_used"), QuotaStart: h.at("quota_start"), BudgetUsed: usd(h.num("budget_used")), BudgetStart: h.at("budget_start"),
		LastRequest: h.at("last_request"), LastFailure: h.at("last_failure"),
	}
	if n := parseLimited(h["limited"]); n.shown > now.UnixMilli() {
		s.LimitedBy, s.LimitedUntil, s.LimitedShown = n.reason, atMS(n.until), atMS(n.shown)
	}
	if by := h["quarantine_credential"]; by != "" && !ours(by) {
		s.QuarantineUntil, s.QuarantineKind = time.Time{}, ""
	}
	if s.Circuit == CircuitOpen && !s.OpenUntil.After(now) {
		s.Circuit = CircuitHalfOpen
	}
	if until := backend.at("cooldown_until"); until.After(s.CooldownUntil) {
		s.CooldownUntil, s.CooldownScope = until, AsideBackend
	}
	if until := backend.at("quarantine_until"); !until.IsZero() && !until.Before(s.QuarantineUntil) && ours(backend["quarantine_credential"]) {
		s.QuarantineUntil, s.QuarantineKind, s.QuarantineScope = until, backend["quarantine_kind"], AsideBackend
	}
	return s
}

// errorRate is the share of failed calls in the breaker's window; 0 without calls.
func errorRate(h hash, now time.Time, window time.Duration) float64 {
	slot := slotOf(now.UnixMilli(), window)
	var all, wrong int64
	for i := range buckets {
		var b bucket
		_, err := fmt.Sscan(h["b"+strconv.Itoa(i)], &b.slot, &b.ok, &b.bad)
		if err == nil && b.slot > slot-buckets && b.slot <= slot {
			all += b.ok + b.bad
			wrong += b.bad
		}
	}
	if all == 0 {
		return 0
	}
	return float64(wrong) / float64(all)
}
