package fleet

import (
	"strings"

	lm "github.com/lighterman/lighterman"
)

// match finds a declared name among offerings, as lighterman.MatchModel says; -1: it is
// not there, or nobody can say which it is.
func match(name string, offerings []offered) int {
	return lm.MatchModel(name, offerings, func(o *offered) string { return o.Name })
}

// offered is an offering as it is kept: missed counts the listings since the last
// one that had it.
type offered struct {
	lm.Offering
	Missed int `json:"missed,omitempty"`
}

const (
	// offeringsMost bounds a list; the largest public catalogue known has a few hundred.
	offeringsMost = 5000
	// nameMost bounds a model's name, in bytes.
	nameMost = 256
	// strikes is how many listings in a row must fail, or lack a model that was
	// there, before that counts.
	strikes = 2
)

// settle is the list that is kept after a good listing: sorted, each name once, and
// with what was there before and is missing for the first time.
func settle(before []offered, fresh []lm.Offering) []offered {
	kept := make(map[string]bool, len(fresh))
	var list []offered
	add := func(o offered) {
		if o.Name == "" || len(o.Name) > nameMost || strings.ContainsFunc(o.Name, isControl) || kept[o.Name] || len(list) >= offeringsMost {
			return
		}
		kept[o.Name] = true
		list = append(list, o)
	}
	for _, o := range fresh {
		add(offered{Offering: o})
	}
	for _, o := range before {
		if o.Missed++; o.Missed < strikes {
			add(o)
		}
	}
	sortByName(list)
	return list
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
