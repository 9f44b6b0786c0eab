package fleet

import (
	"strings"

	lm "github.com/lighterman/lighterman"
)

// match finds a declared name among offerings: as it is, else by its normal form
// where exactly one offering has that; -1: it is not there, or nobody can say which
// it is.
func match(name string, offerings []offered) int {
	for i := range offerings {
		if offerings[i].Name == name {
			return i
		}
	}
	found, want := -1, normal(name)
	for i := range offerings {
		if normal(offerings[i].Name) != want {
			continue
		}
		if found >= 0 {
			return -1
		}
		found = i
	}
	return found
}

// normal is a name without what APIs add to or take off one and the same model:
// Gemini's models/, Ollama's :latest, and case.
func normal(name string) string {
	name = strings.ToLower(name)
	name = strings.TrimPrefix(name, "models/")
	return strings.TrimSuffix(name, ":latest")
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
