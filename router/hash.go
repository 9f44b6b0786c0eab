package router

import "math"

// FNV-1a 64 (http://www.isthe.com/chongo/tech/comp/fnv/).
const (
	fnvOffset = 0xcbf29ce484222325
	fnvPrime  = 0x100000001b3
)

func fnv(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return h
}

// keyHash is the hash of a home key and the zero byte behind it: the part that
// all members share.
func keyHash(key string) uint64 { return fnv(fnvOffset, key) * fnvPrime }

// mix is the finaliser of splitmix64 (Steele, Lea, Flood 2014). Without it IDs
// that differ only in their last character would rank alike for every key.
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// score is a member's score for a key in weighted rendezvous hashing: the highest
// one wins with a probability of its weight's share, and a member that leaves
// moves only its own keys (Schindelhauer and Schomaker 2005).
func score(key uint64, id string, weight int) float64 {
	u := (float64(mix(fnv(key, id))>>11) + 0.5) / (1 << 53)
	return float64(max(weight, 1)) / -math.Log(u)
}
