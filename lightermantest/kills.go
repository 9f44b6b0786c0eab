package lightermantest

import "sync"

// kills are the kill points that are set.
type kills struct {
	mu  sync.Mutex
	all []*killPoint
}

type killPoint struct {
	point string
	nth   int // how often it must still be reached; 0: it was
}

// KillAt has the worker die that comes to a point for the nth time from now on,
// counted over the fleet from 1. See the package for the points. Each KillAt kills
// one worker, and several may be set.
func (f *Fleet) KillAt(point string, nth int) {
	f.kills.mu.Lock()
	defer f.kills.mu.Unlock()
	f.kills.all = append(f.kills.all, &killPoint{point: point, nth: max(1, nth)})
}

// due counts an edge and reports whether its worker is to die there.
func (k *kills) due(point, name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	due := false
	for _, p := range k.all {
		if p.nth == 0 || p.point != point && p.point != point+" "+name {
			continue
		}
		p.nth--
		due = due || p.nth == 0
	}
	return due
}

// missed lists the kill points that were not reached, with what was left to count.
func (k *kills) missed() []killPoint {
	k.mu.Lock()
	defer k.mu.Unlock()
	var missed []killPoint
	for _, p := range k.all {
		if p.nth > 0 {
			missed = append(missed, *p)
		}
	}
	return missed
}
