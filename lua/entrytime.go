package lua

import (
	"strconv"
	"strings"
	"time"
)

// EntryTime is the server time at which an entry was added, which its ID carries;
// entry is STREAM/ID, as a trace and a Fence name it. It returns false for a text
// that names no entry.
func EntryTime(entry string) (time.Time, bool) {
	at := idTime(entry[strings.LastIndexByte(entry, '/')+1:])
	return at, !at.IsZero()
}

// idTime is the server time in a stream ID; zero for a text that is none.
func idTime(id string) time.Time {
	text, _, _ := strings.Cut(id, "-")
	ms, _ := strconv.ParseInt(text, 10, 64)
	return atMS(ms)
}
