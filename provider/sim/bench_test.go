package sim_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider/sim"
)

func BenchmarkCall(b *testing.B) {
	long := `{"messages":[{"role":"system","content":"` + strings.Repeat("be kind ", 500) + `"},{"role":"user","content":"Why?"}]}`
	for _, bc := range []struct{ name, kind, model, body string }{
		{"sim", "chat", "sim", rivers},
		{"sim/4KiB", "chat", "sim", long},
		{"sim-tools", "chat", "sim-tools", rivers},
		{"sim-embed", "embed", "sim-embed", `{"input":"Why?"}`},
	} {
		b.Run(bc.name, func(b *testing.B) {
			s, c := sim.New(sim.Options{}), lighterman.Call{Kind: bc.kind, Model: bc.model, Body: json.RawMessage(bc.body), Key: "0-01JD3ZK8Q9W/infer"}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Call(b.Context(), c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestCall_PlainAnswerStaysCheap(t *testing.T) {
	s, c := sim.New(sim.Options{}), chat("sim", rivers)
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := s.Call(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 8 {
		t.Errorf("%g allocations a call, want at most 8", allocs)
	}
}
