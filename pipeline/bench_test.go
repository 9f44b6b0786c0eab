package pipeline_test

import (
	"fmt"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/provider/sim"
	"github.com/lighterman/lighterman/tool"
)

// Handle of a plain chat is one model call and one advance. The
// claims are made beforehand.
func BenchmarkHandle_PlainChat(b *testing.B) {
	benchmarkChat(b, sim.Plain)
}

// Three rounds of tools are four model calls, three tool calls and seven writes.
func BenchmarkHandle_Tools(b *testing.B) {
	benchmarkChat(b, sim.Tools)
}

func benchmarkChat(b *testing.B, model string) {
	for _, on := range []struct {
		name string
		make func(testing.TB) *world
	}{{"redis", onRedis}, {"miniredis", onMini}} {
		b.Run(on.name, func(b *testing.B) {
			w := on.make(b)
			var p *pipeline.Pipeline
			w.rig(func(r *rig) {
				lookups(b, r.tools, tool.Hidden())
				o := r.opts
				o.Tools, o.Caller = r.tools, r.sim // nothing is counted
				p = pipeline.New(o)
			})
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				claim := w.fresh(chatRequest(model, "Why do rivers bend?"))
				b.StartTimer()
				if _, err := p.Handle(ctx, claim); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// fresh is the claim of a new operation; they are made a hundred at a time.
func (w *world) fresh(req lm.Request) lm.Claim {
	w.Helper()
	if len(w.claims) == 0 {
		req.Normalize()
		ops := make([]lua.Operation, 100)
		for i := range ops {
			w.names++
			ops[i] = lua.Operation{ID: lm.NewTraceID(0, fmt.Sprintf("op-%d", w.names)), Request: &req}
		}
		w.store.Enqueue(ctx, ops)
		entries, err := w.store.Read(ctx, "w", []lua.Share{{Stream: queue, Count: 100}}, 100)
		if err != nil {
			w.Fatal(err)
		}
		claimed, err := w.store.Claim(ctx, "w", time.Hour, entries)
		if err != nil {
			w.Fatal(err)
		}
		for _, c := range claimed {
			w.claims = append(w.claims, c.Claim)
		}
	}
	claim := w.claims[0]
	w.claims = w.claims[1:]
	return claim
}
