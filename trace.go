package lighterman

import "time"

// Trace is the recorded state of one operation, as people and producers read
// it. It is a copy; changing it changes nothing.
type Trace struct {
	ID              TraceID           `json:"id"`
	State           State             `json:"state"`
	Outcome         Outcome           `json:"outcome,omitempty"`
	Reason          string            `json:"reason,omitempty"`
	Queue           string            `json:"queue"`
	Kind            string            `json:"kind"`
	Model           string            `json:"model,omitempty"`
	Tenant          string            `json:"tenant,omitempty"`
	Thread          string            `json:"thread,omitempty"`
	Run             string            `json:"run,omitempty"`
	Agent           string            `json:"agent,omitempty"`
	Owner           string            `json:"owner,omitempty"` // while claimed
	Epoch           Epoch             `json:"epoch,omitempty"`
	Attempts        int               `json:"attempts"`
	Crashes         int               `json:"crashes"`
	CrashesTotal    int               `json:"crashes_total"`
	SchemaWaits     int               `json:"schema_waits,omitempty"`
	WaitsFor        string            `json:"waits_for,omitempty"`        // what it was parked for last, as model/NAME; see WaitsFor
	Parked          time.Time         `json:"parked,omitzero"`            // since when
	CancelRequested Outcome           `json:"cancel_requested,omitempty"` // cancelled or expired: it is to end so
	Created         time.Time         `json:"created"`
	NotBefore       time.Time         `json:"not_before,omitzero"`
	Deadline        time.Time         `json:"deadline,omitzero"`
	Beat            time.Time         `json:"beat,omitzero"` // last renewal of the lease
	Ended           time.Time         `json:"ended,omitzero"`
	Route           []string          `json:"route,omitempty"`      // of the try that was set aside last, its newest notes in at most 256 bytes; see Answer
	Notes           []Note            `json:"notes,omitempty"`      // why its newest tries ended, oldest first
	Steps           []StepLine        `json:"steps,omitempty"`      // its newest finished steps and tool calls, oldest first
	RetryOf         TraceID           `json:"retry_of,omitempty"`   // the failed operation that this one repeats
	RetriedAs       TraceID           `json:"retried_as,omitempty"` // the operation that repeats this failed one
	History         []Hop             `json:"history"`
	Meta            map[string]string `json:"meta,omitempty"`
}

// Note says why a try ended after which an operation was set aside: of the newest 5
// attempts that failed, and of the newest try that counted as none (parked, or put
// off for another worker). An operation's last failure is its result's error.
type Note struct {
	Attempt int       `json:"attempt"` // the number of the try, from 1
	At      time.Time `json:"at"`      // server time
	Counted bool      `json:"counted"` // as an attempt
	Text    string    `json:"text"`    // one line of at most 200 bytes, redacted: "provider: HTTP 502 Bad Gateway"
}

// Hop is one recorded write of the lifecycle: the states it passed through,
// the last of which it left the operation in.
type Hop struct {
	Path   []State   `json:"path"`
	At     time.Time `json:"at"`                    // server time
	Took   Seconds   `json:"took_seconds,omitzero"` // what the worker measured for the stage it left
	Worker string    `json:"worker,omitempty"`      // of a claim
	Epoch  Epoch     `json:"epoch,omitempty"`       // of a claim
	Reason string    `json:"reason,omitempty"`      // of a putback, a retry, an ending
}
