package router

import (
	"fmt"
	"math"
	"testing"

	"github.com/lighterman/lighterman/fleet"
)

func TestHash_GoldenVectors(t *testing.T) {
	for _, v := range []struct {
		key, id string
		fnv     uint64
		mixed   uint64 // 0: not in the contract
	}{
		{"agent-x", "a", 0x9066d8c0058fddb0, 0x349e3dafc9e95f91},
		{"agent-x", "b", 0x9066dbc0058fe2c9, 0x8223fa1a13a06d68},
		{"agent-x", "c", 0x9066dac0058fe116, 0x7728cca8e1b2a178},
		{"thread-1", "a", 0x9cb926e9d72fc2e4, 0x9ce203173db4aa72},
		{"thread-1", "b", 0, 0x3aa907e023aadbe2},
		{"thread-1", "c", 0, 0x1b3aa695772d8ad3},
		{"日本", "a", 0xda0e7c2d25380366, 0xaa34d7a07af03444},
		{"日本", "b", 0, 0x06278b4c6694db60},
		{"日本", "c", 0, 0xdf618a372d8c19d2},
		{"", "a", 0x08326707b4eb37da, 0},
	} {
		h := fnv(keyHash(v.key), v.id)
		if v.fnv != 0 && h != v.fnv {
			t.Errorf("FNV of %q, %q: %016x, want %016x", v.key, v.id, h, v.fnv)
		}
		if v.mixed != 0 && mix(h) != v.mixed {
			t.Errorf("mixed %q, %q: %016x, want %016x", v.key, v.id, mix(h), v.mixed)
		}
	}
	snap, p := snapshot(pool("a b c"), nil)
	for key, home := range map[string]string{"agent-x": "b", "thread-1": "a", "日本": "c"} {
		if d, err := Pick(snap, p, &Ask{Key: key}, fleet.Session{}, Tried{}, noon); err != nil || d.Home != home || d.Reason != ByHome {
			t.Errorf("home of %q: %+v %v, want %s", key, d, err, home)
		}
	}
}

const keys = 20000

// homes are where 20,000 keys home to.
func homes(spec fleet.Spec, s states) []string {
	snap, p := snapshot(spec, s)
	homes := make([]string, keys)
	for i := range homes {
		d, err := Pick(snap, p, &Ask{Key: fmt.Sprintf("thread-%d", i)}, fleet.Session{}, Tried{}, noon)
		if err != nil || d.Model.Spec.ID != d.Home {
			panic(fmt.Sprint(d, err))
		}
		homes[i] = d.Home
	}
	return homes
}

func TestHome_SharesFollowTheWeights(t *testing.T) {
	for words, want := range map[string]map[string]float64{
		"model-1 model-2 model-3 model-4": {"model-1": .25, "model-2": .25, "model-3": .25, "model-4": .25},
		"model-1*2 model-2 model-3":       {"model-1": .5, "model-2": .25, "model-3": .25},
		"claude-a*3 gpt-b":                {"claude-a": .75, "gpt-b": .25},
		"a b*2 c!*9":                      {"a": 1. / 3, "b": 2. / 3, "c": 0},
	} {
		shares := map[string]float64{}
		for _, home := range homes(pool(words), nil) {
			shares[home] += 1. / keys
		}
		for member, share := range want {
			if math.Abs(shares[member]-share) > 0.03*share {
				t.Errorf("%s: %s has %.4f, want %.4f within 3 %%", words, member, shares[member], share)
			}
		}
	}
}

func TestHome_AMemberThatLeavesMovesOnlyItsOwnKeys(t *testing.T) {
	before := homes(pool("a*2 b c d"), nil)
	for _, after := range [][]string{homes(pool("a*2 b d"), nil), homes(pool("a*2 b c d"), states{"c": openFor(1e9)})} {
		moved := map[string]int{}
		for i := range before {
			switch {
			case before[i] == "c":
				moved[after[i]]++
			case before[i] != after[i]:
				t.Fatalf("key %d moved from %s to %s, and c is the one that left", i, before[i], after[i])
			}
		}
		if moved["c"] > 0 || moved["a"] == 0 || moved["b"] == 0 || moved["d"] == 0 {
			t.Errorf("keys of c went to %v, want all others", moved)
		}
	}
}
