package fleet

import (
	"testing"
	"time"
)

// TestSnapshot_EveryModelIsAPoolOfOne, and of that one.
func TestSnapshot_EveryModelIsAPoolOfOne(t *testing.T) {
	s := NewSnapshot(1, time.Now(), Spec{Models: []ModelSpec{{ID: "a"}, {ID: "b"}, {ID: "c"}}}, nil)
	for i, id := range []string{"a", "b", "c"} {
		p := s.Alone(id)
		if p == nil || p.Spec.ID != id || len(p.Members) != 1 || p.Members[0] != i || len(p.Spec.Members) != 1 {
			t.Fatalf("%s: %+v", id, p)
		}
		if m := p.Spec.Members[0]; m != (Member{Model: id, Weight: 1, Role: RoleMember}) {
			t.Errorf("%s: %+v", id, m)
		}
		if cap(p.Members) != 1 || cap(p.Spec.Members) != 1 {
			t.Errorf("%s: who appends to it writes over the next one", id)
		}
	}
	if p := s.Alone("d"); p != nil {
		t.Errorf("%+v", p)
	}
}
