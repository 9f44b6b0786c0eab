package router

import (
	"fmt"

	"github.com/lighterman/lighterman/fleet"
)

// What a call reserves of a budget before it is made, where its body does not say.
const (
	// chargedBytes is how many bytes make a token of input: a character of Chinese or
	// Japanese has three. English has more, and gives back what is too much.
	chargedBytes  = 3
	messageTokens = 8     // around each message
	imageTokens   = 1_600 // of an image, which the vendors scale to about that
	// answerTokens are reserved for an answer whose length neither the call nor the
	// model's declaration bounds.
	answerTokens = 4_096
)

// mayCost is what a call of a model is reserved for, in USD: its input at the price of
// input, and its answers at their longest.
func mayCost(m *fleet.ModelSpec, n *Needs) float64 {
	output := 0
	if n.Kind != fleet.CanEmbed {
		output = longest(m, n) * max(n.Answers, 1)
	}
	return (float64(n.Input)*m.Price.Input + float64(output)*m.Price.Output) / 1e6
}

// longest is the longest answer of a call, in tokens: as the call says, else as is
// declared of the model, else a usual one as far as the context has room for it.
func longest(m *fleet.ModelSpec, n *Needs) int {
	switch {
	case n.Output > 0:
		return n.Output
	case m.MaxOutput > 0:
		return m.MaxOutput
	case m.Window > 0:
		return min(max(m.Window-n.Tokens, 1), answerTokens)
	default:
		return answerTokens
	}
}

// whyNever says why time alone does not let a call in whose cost is beyond the whole
// budget; empty: it does.
func whyNever(m *fleet.ModelSpec, n *Needs, a *fleet.Admitted) string {
	if a.Reason != fleet.ReasonBudget || !a.Until.IsZero() {
		return ""
	}
	return fmt.Sprintf(": the call may cost %.6g USD, more than the budget of %.6g: ask for fewer max_tokens, or declare max_output of %s", mayCost(m, n), m.Budget.USD, m.ID)
}
