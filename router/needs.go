package router

import "github.com/lighterman/lighterman/fleet"

// Needs is what a call asks of a model. The zero value asks for nothing.
type Needs struct {
	Kind                         fleet.Capability // CanChat, CanPrompt or CanEmbed
	Stream, Tools, Think, Vision bool
	Tokens                       int // the input at least; 0 unknown
	Output                       int // what may be answered at most, in tokens; 0: it does not say
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

// capable takes what is not declared for a yes; but a model that declares to embed
// neither chats nor prompts unless it says so, and the other way round.
func (n *Needs) capable(c fleet.Capabilities) bool {
	switch n.Kind {
	case fleet.CanEmbed:
		if !declared(c, fleet.CanEmbed, !c[fleet.CanChat] && !c[fleet.CanPrompt]) {
			return false
		}
	case fleet.CanChat, fleet.CanPrompt:
		if !declared(c, n.Kind, !c[fleet.CanEmbed]) {
			return false
		}
	default:
	}
	return (!n.Stream || declared(c, fleet.CanStream, true)) && (!n.Tools || declared(c, fleet.CanTools, true)) &&
		(!n.Think || declared(c, fleet.CanThink, true)) && (!n.Vision || declared(c, fleet.CanVision, true))
}

func declared(c fleet.Capabilities, what fleet.Capability, otherwise bool) bool {
	if yes, said := c[what]; said {
		return yes
	}
	return otherwise
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
