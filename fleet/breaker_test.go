package fleet

import (
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

var defaults = BreakerSpec{}.withDefaults()

// TestBreaker_OpensAtExactlyFiveInARow and what resets, doubles and closes it.
func TestBreaker_OpensAtExactlyFiveInARow(t *testing.T) {
	now := int64(1_000_000_000)
	var b breaker
	fail := func(n int) {
		for range n {
			b = b.record(now, lua.ClassFail, b.epoch, "", 0, defaults)
		}
	}
	fail(4)
	b = b.record(now, lua.ClassOK, 0, "", 0, defaults)
	fail(4)
	b = b.record(now, lua.ClassNeutral, 0, "", 0, defaults)
	if b.open {
		t.Fatalf("open after 4: %+v", b)
	}
	fail(1)
	for i, life := range []int64{30, 60, 120, 240, 480, 600, 600} {
		if !b.open || b.openUntil != now+life*1000 || b.epoch != int64(i+1) || b.opened != i+1 {
			t.Fatalf("opening %d: %+v, want open for %d s", i+1, b, life)
		}
		if _, ok, _, until := b.lease(b.openUntil-1, "a", 1000); ok || until != b.openUntil {
			t.Fatalf("admitted while open (until %d)", until)
		}
		now = b.openUntil
		b, _, _, _ = b.lease(now, "a", 60_000)
		if _, ok, _, until := b.lease(now+1, "b", 60_000); ok || until != now+60_000 {
			t.Fatalf("a second probe was admitted (until %d)", until)
		}
		b = b.record(now, lua.ClassFail, b.epoch, "a", 0, defaults)
	}
	now = b.openUntil
	b, _, _, _ = b.lease(now, "a", 60_000)
	if late := b.record(now, lua.ClassOK, b.epoch-1, "a", 0, defaults); late != b {
		t.Errorf("a late result changed %+v to %+v", b, late)
	}
	if other := b.record(now, lua.ClassOK, b.epoch, "b", 0, defaults); other != b {
		t.Errorf("a result that is not the probe's changed %+v to %+v", b, other)
	}
	b = b.record(now, lua.ClassOK, b.epoch, "a", 0, defaults)
	if b.open || b.failures != 0 || b.opened != 0 || b.epoch != 9 {
		t.Errorf("after a good probe: %+v", b)
	}
}

func TestBreaker_OpensAtHalfOfTwenty(t *testing.T) {
	now := int64(1_000_000_000)
	play := func(pattern string, apart int64) (b breaker) {
		at := now
		for _, c := range pattern {
			class := lua.ClassOK
			if c == 'x' {
				class = lua.ClassFail
			}
			b = b.record(at, class, b.epoch, "", 0, defaults)
			at += apart
		}
		return b
	}
	for _, row := range []struct {
		pattern string
		apart   int64
		open    bool
	}{
		{"x.x.x.x.x.x.x.x.x.", 10, false},        // 18 calls
		{".x.x.x.x.x.x.x.x.x.x", 10, true},       // 20, half
		{".x.x.x.x.x.x.x.x.x...x", 10, false},    // 22, 10 failed
		{".x.x.x.x.x.x.x.x.x.x", 4000, false},    // the first have left the window
		{"..........xxxx.xxxx.xx", 10, false},    // 22, 10 failed
		{".........xxxx.xxxx.xx.xx", 10, true},   // 24, 12 failed
		{"..........xxxx.xxxx.xx.x.", 10, false}, // the rate is looked at when one fails: 24, 11 failed
	} {
		if b := play(row.pattern, row.apart); b.open != row.open {
			t.Errorf("%s every %d ms: open %v", row.pattern, row.apart, b.open)
		}
	}
}

// TestBreaker_OneCrashCountsOnce: all that was under way when a server crashed failed
// by the same crash. What begins after it counts.
func TestBreaker_OneCrashCountsOnce(t *testing.T) {
	eachManager(t, func(t *testing.T, m *Manager) {
		began := m.Now().Add(-time.Second)
		crash := func(kind lm.Kind, n int) ModelState {
			for range n {
				record(t, m, Outcome{Model: "a", Kind: kind, Began: began, CircuitEpoch: m.Snapshot().Model("a").State.CircuitEpoch})
			}
			if err := m.Load(ctx); err != nil {
				t.Fatal(err)
			}
			return m.Snapshot().Model("a").State
		}
		if s := crash(lm.ProviderFailed, 30); s.Failures != 1 || s.Circuit != CircuitClosed || s.Errors != 30 || s.ErrorRate != 1 {
			t.Errorf("30 calls under way, one crash: %+v", s)
		}
		if s := crash(lm.StreamInterrupted, 30); s.Failures != 1 || s.Circuit != CircuitClosed {
			t.Errorf("its streams: %+v", s)
		}
		if p := must[SystemState](t)(m.System(ctx)).Providers[0]; !p.Available {
			t.Errorf("one crash made the backend unavailable: %+v", p)
		}
		began = m.Now()
		if s := crash(lm.ProviderFailed, 1); s.Circuit != CircuitOpen { // 61 of 61 failed
			t.Errorf("the next call fails too, at a rate of 1: %+v", s)
		}
		if err := m.Operate(ctx, "a", lua.ModelReset); err != nil {
			t.Fatal(err)
		}
		began = m.Now().Add(-time.Second)
		if s := crash(lm.TimedOut, 5); s.Circuit != CircuitOpen {
			t.Errorf("five time-outs: %+v", s)
		}
	})
}

// TestBreaker_WhatFailsInTurnCounts: each call begins when the one before has failed,
// as fast as can be.
func TestBreaker_WhatFailsInTurnCounts(t *testing.T) {
	eachManager(t, func(t *testing.T, m *Manager) {
		for range 5 {
			record(t, m, Outcome{Model: "a", Kind: lm.ProviderFailed, Began: m.Now()})
		}
		if s := m.Snapshot().Model("a").State; s.Circuit != CircuitOpen || s.Failures != 5 {
			t.Errorf("%+v", s)
		}
	})
}

func TestBreaker_JitterOnlyAdds(t *testing.T) {
	b := breaker{failures: 4}.record(1000_000, lua.ClassFail, 0, "", 250, defaults)
	if want := int64(1000_000 + 37_500); b.openUntil != want {
		t.Errorf("open until %d, want %d", b.openUntil, want)
	}
	if s := (BreakerSpec{Base: time.Hour}).withDefaults(); s.Cap != 10*time.Minute && s.Cap != time.Hour {
		t.Errorf("%+v", s)
	}
}
