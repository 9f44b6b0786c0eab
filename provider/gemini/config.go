package gemini

import (
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"google.golang.org/genai"
)

// passed are the fields of Gemini's own that a body may hold and that go on as they
// are; those that are objects are merged with what is there.
var passed = []string{"generationConfig", "safetySettings", "cachedContent", "labels", "serviceTier"}

// generationConfig says how a chat wants its answer.
func generationConfig(model string, chat *provider.Chat) (*genai.GenerateContentConfig, error) {
	config := &genai.GenerateContentConfig{
		AutomaticContinuation: genai.Ptr(false), // it asks, and pays, several times for one call
		MaxOutputTokens:       int32(min(max(chat.MaxTokens, 0), math.MaxInt32)),
		Temperature:           narrow(chat.Temperature), TopP: narrow(chat.TopP),
		StopSequences: chat.Stop,
		Tools:         tools(chat.Tools), ToolConfig: toolConfig(chat.Choice),
	}
	if chat.Seed != nil {
		config.Seed = genai.Ptr(int32(*chat.Seed)) //nolint:gosec // the API's are of 32 bits; the same seed stays the same
	}
	var err error
	if config.ThinkingConfig, err = thinking(model, chat.Effort); err != nil {
		return nil, err
	}
	switch chat.Format.Type {
	case "", "text":
	case "json_object":
		config.ResponseMIMEType = "application/json"
	case "json_schema":
		config.ResponseMIMEType = "application/json"
		if len(chat.Format.Schema) > 0 {
			config.ResponseJsonSchema = chat.Format.Schema
		}
	default:
		return nil, lm.Errorf(lm.InvalidRequest, "response_format.type: want text, json_object or json_schema")
	}
	config.HTTPOptions = &genai.HTTPOptions{ExtraBody: extraBody(chat.Extra)}
	return config, nil
}

func extraBody(extra map[string]json.RawMessage) map[string]any {
	body := map[string]any{}
	for _, name := range passed {
		var value any
		if raw := extra[name]; raw != nil && json.Unmarshal(raw, &value) == nil && value != nil {
			body[name] = value
		}
	}
	if len(body) == 0 {
		return nil
	}
	return body
}

func tools(declared []provider.Tool) []*genai.Tool {
	if len(declared) == 0 {
		return nil
	}
	t := &genai.Tool{}
	for _, d := range declared {
		f := &genai.FunctionDeclaration{Name: d.Name, Description: d.Description}
		if len(d.Parameters) > 0 && string(d.Parameters) != "null" {
			f.ParametersJsonSchema = d.Parameters
		}
		t.FunctionDeclarations = append(t.FunctionDeclarations, f)
	}
	return []*genai.Tool{t}
}

func toolConfig(choice provider.ToolChoice) *genai.ToolConfig {
	calling := &genai.FunctionCallingConfig{}
	switch choice.Mode {
	case "auto":
		calling.Mode = genai.FunctionCallingConfigModeAuto
	case "none":
		calling.Mode = genai.FunctionCallingConfigModeNone
	case "required":
		calling.Mode = genai.FunctionCallingConfigModeAny
	case "function":
		calling.Mode = genai.FunctionCallingConfigModeAny
		calling.AllowedFunctionNames = []string{choice.Name}
	default:
		return nil
	}
	return &genai.ToolConfig{FunctionCallingConfig: calling}
}

func narrow(v *float64) *float32 {
	if v == nil {
		return nil
	}
	return genai.Ptr(float32(*v))
}

// thinking says a reasoning_effort as the model takes it: Gemini 3 and later a level,
// 2.5 a budget of as many tokens as Google's own OpenAI endpoint gives it; nil, and
// so nothing, for a model that does not think. Whoever asks for reasoning is shown
// its summary.
func thinking(model, effort string) (*genai.ThinkingConfig, error) {
	switch effort {
	case "", "none", "minimal", "low", "medium", "high":
	case "xhigh", "max":
		effort = "high"
	default:
		return nil, lm.Errorf(lm.InvalidRequest, "reasoning_effort: want none, minimal, low, medium or high")
	}
	of := generation(model)
	if effort == "" || of < 25 {
		return nil, nil
	}
	config := &genai.ThinkingConfig{IncludeThoughts: effort != "none"}
	pro := strings.Contains(model, "pro") // it always thinks
	if of == 25 {
		budget := map[string]int32{"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}[effort]
		if effort == "none" && pro {
			budget = 128
		}
		config.ThinkingBudget = &budget
		return config, nil
	}
	level := map[string]genai.ThinkingLevel{
		"none": genai.ThinkingLevelMinimal, "minimal": genai.ThinkingLevelMinimal, "low": genai.ThinkingLevelLow,
		"medium": genai.ThinkingLevelMedium, "high": genai.ThinkingLevelHigh,
	}[effort]
	if level == genai.ThinkingLevelMinimal && pro {
		level = genai.ThinkingLevelLow
	}
	config.ThinkingLevel = level
	return config, nil
}

// thinks reports whether the model may be silent for long before it answers.
func thinks(model, effort string) bool {
	of := generation(model)
	return of >= 30 || of == 25 && effort != "none"
}

var numbered = regexp.MustCompile(`\bgemini-(\d+)(?:\.(\d))?`)

// generation is a model's number times ten, as 25 of gemini-2.5-flash; an alias for
// the newest, as gemini-flash-latest, counts as 30. 0: it is no Gemini by its name.
func generation(model string) int {
	if m := numbered.FindStringSubmatch(model); m != nil {
		major, _ := strconv.Atoi(m[1])
		minor, _ := strconv.Atoi(m[2]) // none: 0
		return 10*major + minor
	}
	if strings.Contains(model, "gemini-") && strings.HasSuffix(model, "-latest") {
		return 30
	}
	return 0
}
