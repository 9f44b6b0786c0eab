package lighterman

import (
	"encoding/json"
	"sync"
	"time"
)

// Call is one request to a model, in OpenAI JSON whatever the provider. Key is
// stable over takeovers and retries, so that a provider or a log can tell a
// repeat from a new call.
type Call struct {
	Kind    string          // chat, prompt or embed
	Model   string          // model or pool
	Body    json.RawMessage // chat-completions, completions or embeddings body
	Key     string          // TRACE/step
	ID      TraceID
	Tenant  string
	Thread  string
	Run     string
	Agent   string
	Attempt int           // 1 for the first try of the operation
	Try     int           // calls of models that this claim has made for the step before this one
	Epoch   Epoch         // of the claim that makes it: new with every try, takeover and return from a park
	Last    string        // the model that answered the operation's call before this one; empty: none yet
	Memo    *sync.Map     // what a caller remembers between the calls of one claim; nil: nothing
	Lost    []Epoch       // claims whose worker died when it may have been making this call: it may have been paid for
	Timeout time.Duration // of the call; zero: the provider's default
	Stream  func(Frame)   // receives tokens as they come; nil: not wanted
}

// Answer is what a model said. Body is a chat.completion, text_completion or
// embedding list, as OpenAI writes it.
type Answer struct {
	Body  json.RawMessage
	Usage Usage
	Model string // the member that answered
	// Route tells of the choices on the way that were not the usual one, each with
	// a reason for every member: "v12 chat: a rate_limited, b failover, c cooldown".
	// Beside an error it and Tries alone are set, and it ends with how every member
	// stood then.
	Route []string `json:",omitempty"`
	// Tries is how many numbers of tries the call has used, from Call.Try on: the
	// next call of the same step and claim begins behind them. 0: one.
	Tries int `json:"-"`
}

// FrameType says what a frame of a token stream carries.
type FrameType string

// The frame types.
const (
	FrameToken      FrameType = "token"
	FrameReasoning  FrameType = "reasoning"
	FrameToolCall   FrameType = "tool_call"
	FrameToolResult FrameType = "tool_result"
	FrameProgress   FrameType = "progress"
	FrameReset      FrameType = "reset"
	FrameUsage      FrameType = "usage"
	FrameFinal      FrameType = "final"
)

// Frame is one piece of an operation's token stream. Epoch and Seq order it;
// whoever makes a frame sets Type and Data only. A reset says that a later claim
// does the work again: what came before is void, or, where Data is "EPOCH SEQ",
// what came after that frame.
type Frame struct {
	ID     string    `json:"id,omitempty"` // where a reader goes on after it; set when it is read
	Epoch  Epoch     `json:"epoch"`
	Seq    uint64    `json:"seq"`
	Type   FrameType `json:"type"`
	Step   string    `json:"step,omitempty"` // the handler's step whose model says it; empty: a built-in kind's, or no model's
	Data   string    `json:"data,omitempty"`
	Result *Result   `json:"result,omitempty"` // of the final frame that ends following
}

// Tool is a function that a model may call, described as OpenAI's tools are.
type Tool struct {
	Name        string
	Description string
	Parameters  json.RawMessage // JSON Schema of the arguments; empty: any object
}

// ToolCall is a model's wish to have a tool called. ID is the model's; Key is
// stable over takeovers, the idempotency key of the call's outside effects.
type ToolCall struct {
	ID        string
	Name      string
	Arguments json.RawMessage
	Key       string
	Trace     TraceID
}
