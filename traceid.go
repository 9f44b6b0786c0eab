package lighterman

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
)

// TraceID names one operation as "P-NAME": the partition that holds its keys,
// then a name that is unique there. Whoever holds the ID can find the keys.
type TraceID string

// NewTraceID joins a partition and a name.
func NewTraceID(partition int, name string) TraceID {
	return TraceID(strconv.Itoa(partition) + "-" + name)
}

// ParseTraceID reads "P-NAME". The error says which of the two parts is wrong.
func ParseTraceID(s string) (TraceID, error) {
	p, name, ok := strings.Cut(s, "-")
	n, err := strconv.Atoi(p)
	if !ok || err != nil || n < 0 || strconv.Itoa(n) != p {
		return "", fmt.Errorf("trace ID %q: want PARTITION-NAME, as in 0-01JD3ZK8Q9W", clip(s))
	}
	if err := ValidName(name); err != nil {
		return "", fmt.Errorf("trace ID %q: %w", clip(s), err)
	}
	return TraceID(s), nil
}

// Partition is the number before the first "-"; 0 when there is none.
func (id TraceID) Partition() int {
	p, _, _ := strings.Cut(string(id), "-")
	n, _ := strconv.Atoi(p)
	return n
}

// Name is what follows the partition.
func (id TraceID) Name() string {
	_, name, _ := strings.Cut(string(id), "-")
	return name
}

// maxName bounds every name that becomes part of a Redis key.
const maxName = 64

// ValidName checks a name that becomes part of a key (an operation's own ID, a
// queue, a kind, a reply address): 1 to 64 of [A-Za-z0-9_.-].
func ValidName(s string) error {
	if s == "" || len(s) > maxName {
		return fmt.Errorf("name %q: want 1 to %d characters, got %d", clip(s), maxName, len(s))
	}
	for _, c := range []byte(s) {
		if !nameByte(c) {
			return fmt.Errorf("name %q: %q is not one of A-Z a-z 0-9 _ . -", clip(s), c)
		}
	}
	return nil
}

func nameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '.' || c == '-'
}

// Partition spreads operations over n partitions: those of one (tenant,
// thread) meet in one partition, else those of one (tenant, key), else the
// name decides. FNV-1a 64 of the parts, each ended by a zero byte, then the
// splitmix64 finaliser, so that names which differ only at their end spread.
func Partition(n int, tenant, thread, key, name string) int {
	if n <= 1 {
		return 0
	}
	h := fnv.New64a()
	write := func(parts ...string) {
		for _, p := range parts {
			h.Write([]byte(p))
			h.Write([]byte{0})
		}
	}
	switch {
	case thread != "":
		write(tenant, thread)
	case key != "":
		write(tenant, key)
	default:
		write(name)
	}
	return int(mix64(h.Sum64()) % uint64(n))
}

// mix64 is the splitmix64 finaliser (Steele, Lea, Flood 2014).
func mix64(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// clip keeps an error line short whatever was sent.
func clip(s string) string {
	if len(s) > 80 {
		return s[:77] + "..."
	}
	return s
}
