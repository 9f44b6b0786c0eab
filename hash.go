package lighterman

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"slices"
	"strconv"
)

// Hash identifies what a request asks for, so that a repeat under the same ID or
// key can be told from another request: 32 hex digits of SHA-256 over every
// field that changes the work. Where and when it is delivered (queue, reply,
// webhook, times) does not count.
func (r *Request) Hash() string {
	h := sha256.New()
	write(h, r.Kind, r.Model, r.Tenant, r.Thread, r.Run, r.Agent, string(r.Body))
	names := make([]string, 0, len(r.Meta))
	for name := range r.Meta {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		write(h, name, r.Meta[name])
	}
	return short(h)
}

// KeyHash names the idempotency key in its scope, (tenant, thread): 32 hex
// digits of SHA-256. It is what Redis sees of the key.
func (r *Request) KeyHash() string {
	h := sha256.New()
	write(h, r.Tenant, r.Thread, r.Key)
	return short(h)
}

// write feeds parts with their lengths, so that no two lists of parts agree.
func write(h hash.Hash, parts ...string) {
	for _, p := range parts {
		io.WriteString(h, strconv.Itoa(len(p)))
		io.WriteString(h, ":")
		io.WriteString(h, p)
	}
}

func short(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)[:16]) }
