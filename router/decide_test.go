package router

import (
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
)

func TestDecide_Table(t *testing.T) {
	const s = time.Second
	minute := 60 * s
	all := allOn()
	none := fleet.Switch{}
	cautious := fleet.Switch{OnQuota: true, QuotaThreshold: &minute}
	retry := func(d time.Duration) Reaction { return Reaction{Retry, d} }
	park := func(d time.Duration) Reaction { return Reaction{Park, d} }
	sw, fail := Reaction{Do: Switch}, Reaction{Do: Fail}
	for _, c := range []struct {
		kind  lm.Kind
		after time.Duration
		sw    fleet.Switch
		n     int
		want  Reaction
	}{
		{lm.RateLimited, 0, all, 1, sw},
		{lm.RateLimited, 1 * s, all, 1, sw},
		{lm.RateLimited, 120 * s, all, 1, sw},
		{lm.RateLimited, 0, cautious, 1, sw},
		{lm.RateLimited, 30 * s, cautious, 1, park(30 * s)},
		{lm.RateLimited, 60 * s, cautious, 1, sw},
		{lm.RateLimited, 120 * s, cautious, 1, sw},
		{lm.RateLimited, 5 * s, cautious, 1, retry(5 * s)},
		{lm.RateLimited, 5*s + 1, cautious, 1, park(5*s + 1)},
		{lm.RateLimited, 5 * s, none, 2, retry(5 * s)},
		{lm.RateLimited, 5 * s, none, 3, park(5 * s)},
		{lm.RateLimited, 120 * s, none, 1, park(120 * s)},
		{lm.RateLimited, 0, none, 1, retry(500 * time.Millisecond)},
		{lm.RateLimited, 0, none, 3, fail},

		{lm.Overloaded, 0, all, 1, sw},
		{lm.Overloaded, 0, none, 1, retry(2 * s)},
		{lm.Overloaded, 3 * s, none, 1, retry(3 * s)},
		{lm.Overloaded, 0, none, 2, fail},
		{lm.Overloaded, 30 * s, cautious, 1, park(30 * s)},

		{lm.QuotaExhausted, 0, all, 1, sw},
		{lm.QuotaExhausted, 1 * s, none, 1, park(1 * s)},
		{lm.QuotaExhausted, 0, none, 1, fail},

		{lm.ProviderFailed, 0, all, 1, retry(500 * time.Millisecond)},
		{lm.ProviderFailed, 0, all, 2, retry(1 * s)},
		{lm.ProviderFailed, 0, all, 3, fail},
		{lm.ProviderFailed, 30 * s, all, 1, fail},
		{lm.TimedOut, 0, all, 1, retry(500 * time.Millisecond)},
		{lm.TimedOut, 0, all, 2, fail},
		{lm.StreamInterrupted, 0, all, 2, retry(1 * s)},
		{lm.StreamInterrupted, 0, all, 3, fail},

		{lm.Unauthorized, 0, all, 1, sw},
		{lm.Unauthorized, 0, none, 1, fail},
		{lm.ModelNotFound, 0, all, 1, sw},
		{lm.ModelNotFound, 0, cautious, 1, fail},

		{lm.ContextOverflow, 0, all, 1, fail},
		{lm.InvalidRequest, 0, all, 1, fail},
		{lm.ContentFiltered, 0, all, 1, fail},
		{lm.CallCancelled, 0, all, 1, fail},
		{lm.HandlerFailed, 0, all, 1, fail},
	} {
		if got := Decide(c.kind, c.after, c.sw, c.n, 10*s); got != c.want {
			t.Errorf("%s, Retry-After %s, %+v, failure %d: %s %s, want %s %s", c.kind, c.after, c.sw, c.n, got.Do, got.Wait, c.want.Do, c.want.Wait)
		}
	}
}

func TestDecide_NeverWaitsForTheLease(t *testing.T) {
	if got := Decide(lm.RateLimited, 4*time.Second, fleet.Switch{}, 1, 4*time.Second); got != (Reaction{Park, 4 * time.Second}) {
		t.Errorf("a Retry-After as long as the lease: %v, want a park", got)
	}
	if got := Decide(lm.ProviderFailed, 0, fleet.Switch{}, 1, 400*time.Millisecond); got.Do != Fail {
		t.Errorf("a backoff longer than the lease: %v, want none", got)
	}
}

func TestBackoff_NeverUnderItsFloor(t *testing.T) {
	for range 1000 {
		if d := backoff(2*time.Second, time.Second); d < time.Second || d > 2*time.Second {
			t.Fatalf("waits %s, want 1 s to 2 s", d)
		}
	}
	if d := backoff(time.Second, time.Second); d != time.Second {
		t.Errorf("waits %s, want what the provider said", d)
	}
}

func TestParkUntil_ALittleLaterThanTold(t *testing.T) {
	for _, wait := range []time.Duration{-time.Hour, 0, time.Second, time.Hour} {
		for range 100 {
			got := parkUntil(noon.Add(wait), noon).Sub(noon)
			if least := max(wait, parkLeast); got < least || got > least+min(least/5, parkJitter)+parkLeast {
				t.Fatalf("told %s, waits %s", wait, got)
			}
		}
	}
	if got := parkUntil(time.Time{}, noon).Sub(noon); got < parkUnknown || got > parkUnknown+parkJitter+parkLeast {
		t.Errorf("told nothing, waits %s", got)
	}
}
