package bedrock

import (
	"encoding/json"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/document"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// reasoningFormat marks the reasoning that came from here.
const reasoningFormat = "amazon-bedrock-v1"

// request says a chat in Converse's words. What Converse has no word for is left out;
// fields of the body that are not OpenAI's (top_k, thinking) go to the model as its
// additional fields.
func request(model string, chat *provider.Chat) (*bedrockruntime.ConverseInput, error) {
	in := &bedrockruntime.ConverseInput{ModelId: aws.String(model), InferenceConfig: inference(chat)}
	for i := range chat.Messages {
		m := &chat.Messages[i]
		if m.Role == "system" {
			for _, p := range m.Parts {
				if p.Text != "" {
					in.System = append(in.System, &types.SystemContentBlockMemberText{Value: p.Text})
				}
			}
			continue
		}
		content, err := blocks(i, m)
		if err != nil {
			return nil, err
		}
		in.Messages = appended(in.Messages, roleOf(m), content)
	}
	if len(in.Messages) == 0 {
		return nil, lm.Errorf(lm.InvalidRequest, "messages: want at least one of the user")
	}
	if chat.Choice.Mode != "none" {
		in.ToolConfig = tools(chat)
	}
	if f := chat.Format; f.Type == "json_schema" {
		in.OutputConfig = &types.OutputConfig{TextFormat: &types.OutputFormat{
			Type:      types.OutputFormatTypeJsonSchema,
			Structure: &types.OutputFormatStructureMemberJsonSchema{Value: types.JsonSchemaDefinition{Schema: aws.String(string(f.Schema)), Name: name(f.Name)}},
		}}
	}
	in.AdditionalModelRequestFields = additional(model, chat)
	return in, nil
}

func name(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// streamed is the same request for the streaming operation.
func streamed(in *bedrockruntime.ConverseInput) *bedrockruntime.ConverseStreamInput {
	return &bedrockruntime.ConverseStreamInput{
		ModelId: in.ModelId, InferenceConfig: in.InferenceConfig, Messages: in.Messages, System: in.System, ToolConfig: in.ToolConfig,
		OutputConfig: in.OutputConfig, AdditionalModelRequestFields: in.AdditionalModelRequestFields,
	}
}

func inference(chat *provider.Chat) *types.InferenceConfiguration {
	c := &types.InferenceConfiguration{StopSequences: chat.Stop}
	if chat.MaxTokens > 0 {
		c.MaxTokens = aws.Int32(int32(min(chat.MaxTokens, 1<<30))) //nolint:gosec // bounded
	}
	if chat.Temperature != nil {
		c.Temperature = aws.Float32(float32(*chat.Temperature))
	}
	if chat.TopP != nil {
		c.TopP = aws.Float32(float32(*chat.TopP))
	}
	return c
}

func roleOf(m *provider.Message) types.ConversationRole {
	if m.Role == "assistant" {
		return types.ConversationRoleAssistant
	}
	return types.ConversationRoleUser // a tool's result too
}

// appended joins what one role said in a row: roles must alternate.
func appended(messages []types.Message, role types.ConversationRole, content []types.ContentBlock) []types.Message {
	if len(content) == 0 {
		return messages
	}
	if n := len(messages); n > 0 && messages[n-1].Role == role {
		messages[n-1].Content = append(messages[n-1].Content, content...)
		return messages
	}
	return append(messages, types.Message{Role: role, Content: content})
}

func blocks(i int, m *provider.Message) ([]types.ContentBlock, error) {
	if m.Role == "tool" {
		return []types.ContentBlock{&types.ContentBlockMemberToolResult{Value: types.ToolResultBlock{
			ToolUseId: aws.String(m.ToolCallID), Content: []types.ToolResultContentBlock{&types.ToolResultContentBlockMemberText{Value: text(m)}},
		}}}, nil
	}
	out := reasoning(m)
	for j, p := range m.Parts {
		switch {
		case p.Image != nil:
			image, err := image(i, j, p.Image)
			if err != nil {
				return nil, err
			}
			out = append(out, image)
		case p.Text != "": // an empty one is refused
			out = append(out, &types.ContentBlockMemberText{Value: p.Text})
		}
	}
	for j, c := range m.ToolCalls {
		input := map[string]any{}
		if strings.TrimSpace(c.Arguments) != "" && json.Unmarshal([]byte(c.Arguments), &input) != nil {
			return nil, lm.Errorf(lm.InvalidRequest, "messages[%d].tool_calls[%d].function.arguments: want a JSON object", i, j)
		}
		out = append(out, &types.ContentBlockMemberToolUse{Value: types.ToolUseBlock{
			ToolUseId: aws.String(c.ID), Name: aws.String(c.Name), Input: document.NewLazyDocument(input),
		}})
	}
	return out, nil
}

// reasoning is what this API wrote itself; another's signature would be refused.
func reasoning(m *provider.Message) []types.ContentBlock {
	var out []types.ContentBlock
	for _, b := range m.Reasoning {
		switch {
		case b.Format != reasoningFormat:
		case b.Type == "reasoning.encrypted":
			out = append(out, &types.ContentBlockMemberReasoningContent{Value: &types.ReasoningContentBlockMemberRedactedContent{Value: decoded(b.Data)}})
		default:
			out = append(out, &types.ContentBlockMemberReasoningContent{Value: &types.ReasoningContentBlockMemberReasoningText{
				Value: types.ReasoningTextBlock{Text: aws.String(b.Text), Signature: name(b.Signature)},
			}})
		}
	}
	return out
}

func text(m *provider.Message) string {
	var b strings.Builder
	for _, p := range m.Parts {
		b.WriteString(p.Text)
	}
	return b.String()
}

// formats are the images that Converse takes, by media type.
var formats = map[string]types.ImageFormat{
	"image/png": types.ImageFormatPng, "image/jpeg": types.ImageFormatJpeg, "image/jpg": types.ImageFormatJpeg,
	"image/gif": types.ImageFormatGif, "image/webp": types.ImageFormatWebp,
}

func image(i, j int, m *provider.Image) (types.ContentBlock, error) {
	bad := func(want string) error {
		return lm.Errorf(lm.InvalidRequest, "messages[%d].content[%d].image_url.url: bedrock takes %s", i, j, want)
	}
	if len(m.Data) > 0 {
		format, known := formats[m.MediaType]
		if !known {
			return nil, bad("png, jpeg, gif and webp")
		}
		return &types.ContentBlockMemberImage{Value: types.ImageBlock{Format: format, Source: &types.ImageSourceMemberBytes{Value: m.Data}}}, nil
	}
	if !strings.HasPrefix(m.URL, "s3://") {
		return nil, bad("data:image/png;base64,... and s3://BUCKET/KEY.png, no web address")
	}
	format, known := formats["image/"+m.URL[strings.LastIndex(m.URL, ".")+1:]]
	if !known {
		return nil, bad("s3://BUCKET/KEY that ends in .png, .jpeg, .jpg, .gif or .webp")
	}
	return &types.ContentBlockMemberImage{Value: types.ImageBlock{
		Format: format, Source: &types.ImageSourceMemberS3Location{Value: types.S3Location{Uri: aws.String(m.URL)}},
	}}, nil
}

func tools(chat *provider.Chat) *types.ToolConfiguration {
	if len(chat.Tools) == 0 {
		return nil
	}
	c := &types.ToolConfiguration{}
	for _, t := range chat.Tools {
		schema := map[string]any{"type": "object", "properties": map[string]any{}}
		if len(t.Parameters) > 0 {
			_ = json.Unmarshal(t.Parameters, &schema) // what is no object, the API refuses
		}
		c.Tools = append(c.Tools, &types.ToolMemberToolSpec{Value: types.ToolSpecification{
			Name: aws.String(t.Name), Description: name(t.Description),
			InputSchema: &types.ToolInputSchemaMemberJson{Value: document.NewLazyDocument(schema)},
		}})
	}
	switch chat.Choice.Mode {
	case "required":
		c.ToolChoice = &types.ToolChoiceMemberAny{}
	case "function":
		c.ToolChoice = &types.ToolChoiceMemberTool{Value: types.SpecificToolChoice{Name: aws.String(chat.Choice.Name)}}
	}
	return c
}

// budgets are the tokens of thinking that an effort stands for.
var budgets = map[string]int{"minimal": 1024, "low": 1024, "medium": 4096, "high": 16384}

// reasons reports whether the model is asked to think before it answers.
func reasons(model string, chat *provider.Chat) bool {
	_, told := chat.Extra["thinking"]
	return told || budgets[chat.Effort] > 0 && strings.Contains(model, "claude")
}

// additional are the fields that only the model itself knows.
func additional(model string, chat *provider.Chat) document.Interface {
	fields := map[string]any{}
	for k, raw := range chat.Extra {
		var v any
		if json.Unmarshal(raw, &v) == nil {
			fields[k] = v
		}
	}
	if _, told := fields["thinking"]; !told && reasons(model, chat) {
		fields["thinking"] = map[string]any{"type": "enabled", "budget_tokens": budgets[chat.Effort]}
	}
	if len(fields) == 0 {
		return nil
	}
	return document.NewLazyDocument(fields)
}
