package router

import "github.com/lighterman/lighterman/fleet"

// Needs is what a call asks of a model. The zero value asks for nothing.
type Needs struct {
	Kind                         fleet.Capability // CanChat, CanPrompt or CanEmbed
	Stream, Tools, Think, Vision bool
	Tokens                       int // the input at least; 0 unknown
	Output                       int // what one answer may have at most, in tokens; 0: it does not say
	Answers                      int // how many: choices of all prompts; 0 is one
	Input                        int // tokens that the input is charged for at the most, as far as can be told
}

// eligible says whether a model can serve a call, and if not, why.
func (n *Needs) eligible(m *fleet.ModelSpec) Reason {
	if c := m.Capabilities; c != nil && !n.capable(c) {
		return NoCapability
	}
	if m.Window > 0 && n.Tokens > m.Window {
		return NoRoom
	}
	return Healthy
}

// capable takes what is not said for a yes; see fleet.Capabilities.Serve.
func (n *Needs) capable(c fleet.Capabilities) bool {
	return c.Serve(n.Kind) && (!n.Stream || can(c, fleet.CanStream)) && (!n.Tools || can(c, fleet.CanTools)) &&
		(!n.Think || can(c, fleet.CanThink)) && (!n.Vision || can(c, fleet.CanVision))
}

func can(c fleet.Capabilities, what fleet.Capability) bool {
	yes, said := c[what]
	return yes || !said
}

// Window is a pool's context length: the least of its members'; 0, unknown, if
// any of them is unknown.
func Window(s *fleet.Snapshot, p *fleet.Pool) int {
	least := 0
	for _, i := range p.Members {
		w := s.Models[i].Spec.Window
		if w == 0 {
			return 0
		}
		if least == 0 || w < least {
			least = w
		}
	}
	return least
}
