package bedrock

import (
	"encoding/base64"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// whole puts an answer that came at once into a completion.
func whole(c *provider.Completion, out *bedrockruntime.ConverseOutput) error {
	message, ok := out.Output.(*types.ConverseOutputMemberMessage)
	if !ok {
		return provider.Truncated()
	}
	for _, b := range message.Value.Content {
		switch b := b.(type) {
		case *types.ContentBlockMemberText:
			c.Text(b.Value)
		case *types.ContentBlockMemberToolUse:
			n := c.Begin(aws.ToString(b.Value.ToolUseId), aws.ToString(b.Value.Name))
			if b.Value.Input != nil {
				arguments, err := b.Value.Input.MarshalSmithyDocument()
				if err != nil {
					return lm.Errorf(lm.ProviderFailed, "read a tool call's arguments: %w", err)
				}
				c.Arguments(n, string(arguments))
			}
			c.Done(n)
		case *types.ContentBlockMemberReasoningContent:
			thought(c, b.Value)
		}
	}
	count(c, out.Usage)
	return finish(c, out.StopReason)
}

func thought(c *provider.Completion, b types.ReasoningContentBlock) {
	switch b := b.(type) {
	case *types.ReasoningContentBlockMemberReasoningText:
		text := aws.ToString(b.Value.Text)
		c.Think(text)
		keep(c, provider.ReasoningBlock{Type: "reasoning.text", Text: text, Signature: aws.ToString(b.Value.Signature)})
	case *types.ReasoningContentBlockMemberRedactedContent:
		keep(c, provider.ReasoningBlock{Type: "reasoning.encrypted", Data: base64.StdEncoding.EncodeToString(b.Value)})
	}
}

func keep(c *provider.Completion, b provider.ReasoningBlock) {
	b.Format, b.Index = reasoningFormat, len(c.Blocks)
	c.Blocks = append(c.Blocks, b)
}

func decoded(data string) []byte {
	b, _ := base64.StdEncoding.DecodeString(data) // what is not ours, the API refuses
	return b
}

// open is a content block of a stream that has not ended.
type open struct {
	tool      int // its number in the completion; -1: none
	text      strings.Builder
	signature string
	redacted  []byte
	reasoning bool
}

// follow puts the events of a stream into a completion until they end. messageStop
// says that the answer is whole; the usage comes behind it.
func follow(c *provider.Completion, events <-chan types.ConverseStreamOutput) error {
	blocks := map[int32]*open{}
	at := func(index *int32) *open {
		i := aws.ToInt32(index)
		if blocks[i] == nil {
			blocks[i] = &open{tool: -1}
		}
		return blocks[i]
	}
	for event := range events {
		switch e := event.(type) {
		case *types.ConverseStreamOutputMemberContentBlockStart:
			if tool, ok := e.Value.Start.(*types.ContentBlockStartMemberToolUse); ok {
				at(e.Value.ContentBlockIndex).tool = c.Begin(aws.ToString(tool.Value.ToolUseId), aws.ToString(tool.Value.Name))
			}
		case *types.ConverseStreamOutputMemberContentBlockDelta:
			at(e.Value.ContentBlockIndex).delta(c, e.Value.Delta)
		case *types.ConverseStreamOutputMemberContentBlockStop:
			at(e.Value.ContentBlockIndex).stop(c)
		case *types.ConverseStreamOutputMemberMessageStop:
			if err := finish(c, e.Value.StopReason); err != nil {
				return err
			}
		case *types.ConverseStreamOutputMemberMetadata:
			count(c, e.Value.Usage)
		}
	}
	return nil
}

func (o *open) delta(c *provider.Completion, d types.ContentBlockDelta) {
	switch d := d.(type) {
	case *types.ContentBlockDeltaMemberText:
		c.Text(d.Value)
	case *types.ContentBlockDeltaMemberToolUse:
		if o.tool >= 0 {
			c.Arguments(o.tool, aws.ToString(d.Value.Input))
		}
	case *types.ContentBlockDeltaMemberReasoningContent:
		o.reasoning = true
		switch r := d.Value.(type) {
		case *types.ReasoningContentBlockDeltaMemberText:
			o.text.WriteString(r.Value)
			c.Think(r.Value)
		case *types.ReasoningContentBlockDeltaMemberSignature:
			o.signature += r.Value
		case *types.ReasoningContentBlockDeltaMemberRedactedContent:
			o.redacted = append(o.redacted, r.Value...)
		}
	}
}

func (o *open) stop(c *provider.Completion) {
	switch {
	case o.tool >= 0:
		c.Done(o.tool)
	case len(o.redacted) > 0:
		keep(c, provider.ReasoningBlock{Type: "reasoning.encrypted", Data: base64.StdEncoding.EncodeToString(o.redacted)})
	case o.reasoning:
		keep(c, provider.ReasoningBlock{Type: "reasoning.text", Text: o.text.String(), Signature: o.signature})
	}
}

// finish says in OpenAI's words why an answer ended.
func finish(c *provider.Completion, why types.StopReason) error {
	switch why {
	case types.StopReasonEndTurn, types.StopReasonStopSequence:
		c.Finish = "stop"
	case types.StopReasonToolUse:
		c.Finish = "tool_calls"
	case types.StopReasonMaxTokens:
		c.Finish = "length"
	case types.StopReasonGuardrailIntervened, types.StopReasonContentFiltered:
		c.Finish = "content_filter"
	case types.StopReasonModelContextWindowExceeded:
		return lm.Errorf(lm.ContextOverflow, "the answer does not fit the model's context (%s)", why)
	case types.StopReasonMalformedModelOutput, types.StopReasonMalformedToolUse:
		return lm.Errorf(lm.ProviderFailed, "the model's output was malformed (%s)", why)
	case "":
	default:
		c.Finish = "stop"
	}
	return nil
}

// count normalises the usage: Bedrock's input leaves out what the cache read or
// wrote.
func count(c *provider.Completion, u *types.TokenUsage) {
	if u == nil {
		return
	}
	cached := int64(aws.ToInt32(u.CacheReadInputTokens))
	c.Usage = lm.Usage{
		Input:  int64(aws.ToInt32(u.InputTokens)) + cached + int64(aws.ToInt32(u.CacheWriteInputTokens)),
		Cached: cached, Output: int64(aws.ToInt32(u.OutputTokens)),
	}
}
