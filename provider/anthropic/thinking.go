package anthropic

import (
	"strings"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/packages/param"

	"github.com/lighterman/lighterman/provider"
)

// budgets are the tokens of thinking that an effort allows models that think within
// one: the API wants 1024 at least and fewer than max_tokens.
var budgets = map[string]int64{"low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 24576}

const leastBudget = 1024

// think translates reasoning_effort. A caller who sends the API's own thinking or
// output_config knows better; those are not touched.
func (t *translation) think() error {
	effort := t.chat.Effort
	if effort == "minimal" {
		effort = "low"
	}
	switch _, known := budgets[effort]; {
	case effort == "" || t.own("thinking") || t.own("output_config"):
		return nil
	case effort == "none":
		t.thinkNot()
		return nil
	case !known:
		return invalid("reasoning_effort: want none, minimal, low, medium, high, xhigh or max")
	}
	if t.generation < claude46 {
		t.budget(budgets[effort])
		return nil
	}
	if effort == "xhigh" && t.generation < claude47 {
		effort = "high"
	}
	t.params.OutputConfig.Effort = anthropic.OutputConfigEffort(effort)
	if t.forced() { // thinking and a tool that must be called exclude each other
		return nil
	}
	adaptive := anthropic.ThinkingConfigAdaptiveParam{}
	if t.generation >= claude47 { // which hide it otherwise; reasoning that nobody sees looks like a stall
		adaptive.Display = anthropic.ThinkingConfigAdaptiveDisplaySummarized
	}
	t.params.Thinking = anthropic.ThinkingConfigParamUnion{OfAdaptive: &adaptive}
	return nil
}

// thinkNot asks for no thinking in the way that the model has: not at all, a switch,
// or the least effort where it always thinks.
func (t *translation) thinkNot() {
	name := t.call.Model
	switch {
	case t.generation < claude50: // they do not, unasked
	case t.generation == claude50 && strings.Contains(name, "opus"), strings.Contains(name, "haiku"):
		off := anthropic.NewThinkingConfigDisabledParam()
		t.params.Thinking = anthropic.ThinkingConfigParamUnion{OfDisabled: &off}
	case t.generation > claude50 && strings.Contains(name, "sonnet"):
		off := anthropic.NewThinkingConfigBetweenToolsParam()
		t.params.Thinking = anthropic.ThinkingConfigParamUnion{OfBetweenTools: &off}
	default:
		t.params.OutputConfig.Effort = anthropic.OutputConfigEffortLow
	}
}

// budget has an older model think, where it can and where there is room for it.
func (t *translation) budget(tokens int64) {
	tokens = min(tokens, t.params.MaxTokens/2)
	if t.generation < claude37 || tokens < leastBudget || t.forced() || t.midLoop() {
		return
	}
	t.params.Thinking = anthropic.ThinkingConfigParamOfEnabled(tokens)
}

// forced: the model must call a tool.
func (t *translation) forced() bool {
	return t.chat.Choice.Mode == "required" || t.chat.Choice.Mode == "function"
}

// midLoop: the model is in the middle of a tool loop that it, or another model, began
// without thoughts that can be shown to it. Older models refuse to think then.
func (t *translation) midLoop() bool {
	for i := len(t.chat.Messages) - 1; i >= 0; i-- {
		switch m := &t.chat.Messages[i]; m.Role {
		case "user":
			return false
		case "assistant":
			if len(m.ToolCalls) > 0 && len(t.thoughts(m)) == 0 {
				return true
			}
		}
	}
	return false
}

// sampling sets temperature and top_p as far as the model takes them: the newer ones
// take neither, the older ones up to 1 and not both, and none while thinking.
func (t *translation) sampling() {
	if t.generation >= claude47 || t.thinks() {
		return
	}
	switch {
	case t.chat.Temperature != nil:
		t.params.Temperature = anthropic.Float(min(max(*t.chat.Temperature, 0), 1))
	case t.chat.TopP != nil:
		t.params.TopP = anthropic.Float(min(max(*t.chat.TopP, 0), 1))
	}
}

// thinks: the request asks the model to think.
func (t *translation) thinks() bool {
	return t.own("thinking") || !param.IsOmitted(t.params.Thinking)
}

// thought is a block of reasoning and its place in the message.
type thought struct {
	at    int
	block anthropic.ContentBlockParamUnion
}

// thoughts are a message's blocks of reasoning that this account and model wrote. Those
// of another format, account or model would be refused, and so would one without its
// signature.
func (t *translation) thoughts(m *provider.Message) []thought {
	var out []thought
	for _, r := range m.Reasoning {
		switch {
		case r.Format != reasoningFormat || r.Origin != "" && r.Origin != t.origin:
		case r.Type == "reasoning.text" && r.Signature != "":
			out = append(out, thought{r.Index, anthropic.NewThinkingBlock(r.Signature, r.Text)})
		case r.Type == "reasoning.encrypted" && r.Data != "":
			out = append(out, thought{r.Index, anthropic.NewRedactedThinkingBlock(r.Data)})
		}
	}
	return out
}
