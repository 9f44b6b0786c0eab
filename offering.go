package lighterman

// Capability is what a model can do.
type Capability string

// The capabilities.
const (
	CanChat   Capability = "chat"
	CanPrompt Capability = "prompt"
	CanEmbed  Capability = "embed"
	CanStream Capability = "stream"
	CanTools  Capability = "tools"
	CanThink  Capability = "think"
	CanVision Capability = "vision"
)

// Offering is one model as its backend lists it.
type Offering struct {
	Name   string              `json:"name"`             // what the backend calls it
	Window int                 `json:"window,omitempty"` // context length in tokens; 0: the backend does not say
	Can    map[Capability]bool `json:"can,omitempty"`    // what the backend says of it; absent: it does not say
}
