package router

import (
	"math"
	"testing"

	"github.com/lighterman/lighterman/fleet"
)

func TestCompare_SaysWhatAChangeMoves(t *testing.T) {
	near := func(x, want float64) bool { return math.Abs(x-want) < 0.02 }
	s := Compare(pool("a b c"), pool("a b c d"), "chat", 5000)
	if !near(s.Moved, 0.25) || len(s.Members) != 4 || !near(s.Members[0].Before, 1./3) || !near(s.Members[0].After, 0.25) || s.Members[3].Before != 0 {
		t.Errorf("a fourth member: %+v", s)
	}
	if s = Compare(pool("a b"), pool("a b c!"), "chat", 1000); s.Moved != 0 || s.Members[2].Member != "c" {
		t.Errorf("a spare one moves nobody: %+v", s)
	}
	if s = Compare(pool("a b"), fleet.Spec{}, "chat", 100); !near(s.Moved, 1) {
		t.Errorf("without the pool: %+v", s)
	}
	if s = Compare(pool("a b", by(fleet.HomeRoundRobin)), pool("a b"), "chat", 100); s.Note == "" {
		t.Errorf("round robin: %+v", s)
	}
}
