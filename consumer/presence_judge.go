package consumer

import "time"

// look is one sample of who listens, and what is known of how it was taken.
type look struct {
	sent, back    time.Time
	before, after uint64 // generation of the own subscription; 0: there was none
	own           bool   // the own channel was counted
	contact       bool   // takeovers are safe, see contact
	late          bool   // it was not asked or not answered in time
	present, deaf map[string]bool
}

// trusted reports whether a sample may be judged by: whoever cannot see itself
// sees nobody.
func (l look) trusted() bool {
	return l.own && l.before != 0 && l.before == l.after && l.contact && !l.late
}

// judge decides who is dead. It knows no clock and no Redis; one goroutine uses
// it.
//
//	unknown --seen--> present --not seen--> missing --for the grace--> dead
//	   ^                 ^                     |
//	   |                 +-------- seen -------+
//	   +-- own subscription re-made, contact lost, a late sample, deaf, off the roster
//
// What is unknown is left to the lease.
type judge struct {
	grace      time.Duration
	generation uint64
	seen       map[string]time.Time // since when missing, by owner; zero while present
}

func newJudge(grace time.Duration) *judge {
	return &judge{grace: grace, seen: make(map[string]time.Time)}
}

// forget drops all sightings.
func (j *judge) forget() { clear(j.seen) }

// drop drops the sighting of one worker.
func (j *judge) drop(owner string) { delete(j.seen, owner) }

// take takes a sample of these workers and returns those that are dead: seen
// present, and missing in every sample from one to another that was sent the
// grace after the first had come back.
func (j *judge) take(l look, owners []string) (dead []string) {
	if !l.trusted() {
		j.forget()
		return nil
	}
	if l.after != j.generation {
		j.forget()
		j.generation = l.after
	}
	next := make(map[string]time.Time, len(owners))
	for _, o := range owners {
		missing, known := j.seen[o]
		switch {
		case l.deaf[o]:
		case l.present[o]:
			next[o] = time.Time{}
		case !known:
		case missing.IsZero():
			next[o] = l.back
		default:
			next[o] = missing
			if l.sent.Sub(missing) >= j.grace {
				dead = append(dead, o)
			}
		}
	}
	j.seen = next
	return dead
}

// due is when the next verdict can fall; zero when nobody is missing.
func (j *judge) due() (at time.Time) {
	for _, missing := range j.seen {
		if end := missing.Add(j.grace); !missing.IsZero() && (at.IsZero() || end.Before(at)) {
			at = end
		}
	}
	return at
}

// present is how many workers are seen.
func (j *judge) present() (n int) {
	for _, missing := range j.seen {
		if missing.IsZero() {
			n++
		}
	}
	return n
}
