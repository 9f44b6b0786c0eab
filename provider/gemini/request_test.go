package gemini_test

import (
	"encoding/base64"
	"strings"
	"testing"

	lm "github.com/lighterman/lighterman"
)

// user is a body with one question and more fields.
func user(more string) string {
	if more != "" {
		more = "," + more
	}
	return `{"messages":[{"role":"user","content":"hi"}]` + more + `}`
}

const hi = `"contents":[{"role":"user","parts":[{"text":"hi"}]}]`

var skipped = base64.StdEncoding.EncodeToString([]byte("skip_thought_signature_validator"))

// asked compares what was sent last. The SDK sends an empty generationConfig where
// there is nothing to say.
func asked(t *testing.T, f *fake, want string) {
	t.Helper()
	sent := f.sent()
	same(t, "sent", strings.NewReplacer(`,"generationConfig":{}`, "", `"generationConfig":{},`, "").Replace(sent[len(sent)-1]), want)
}

// TestRequest_AsItIsSent holds what is sent of a chat-completions body, all of it.
func TestRequest_AsItIsSent(t *testing.T) {
	for _, c := range []struct{ name, model, body, want string }{
		{"the least", gemini25, user(""), `{` + hi + `}`},
		{"what the API has no word for is left out", gemini25, user(`"user":"u","logprobs":true,"parallel_tool_calls":false,"x_unknown":{"a":1},"stream":true`), `{` + hi + `}`},
		{"sampling", gemini25, user(`"max_tokens":300,"temperature":0.7,"top_p":0.95,"stop":["END","\n"],"seed":42`),
			`{` + hi + `,"generationConfig":{"maxOutputTokens":300,"temperature":0.7,"topP":0.95,"stopSequences":["END","\n"],"seed":42}}`},
		{"zeros are said", gemini25, user(`"temperature":0,"top_p":0,"seed":0,"stop":"END"`),
			`{` + hi + `,"generationConfig":{"temperature":0,"topP":0,"stopSequences":["END"],"seed":0}}`},
		{"a seed of 64 bits becomes one of 32", gemini25, user(`"seed":4294967303`), `{` + hi + `,"generationConfig":{"seed":7}}`},
		{"max_completion_tokens comes first", gemini25, user(`"max_tokens":1,"max_completion_tokens":2`), `{` + hi + `,"generationConfig":{"maxOutputTokens":2}}`},
		{"JSON", gemini25, user(`"response_format":{"type":"json_object"}`), `{` + hi + `,"generationConfig":{"responseMimeType":"application/json"}}`},
		{"JSON by a schema", gemini25, user(`"response_format":{"type":"json_schema","json_schema":{"name":"x","strict":true,"schema":{"type":"object","properties":{"a":{"type":"integer"}},"additionalProperties":false}}}`),
			`{` + hi + `,"generationConfig":{"responseMimeType":"application/json","responseJsonSchema":{"type":"object","properties":{"a":{"type":"integer"}},"additionalProperties":false}}}`},
		{"text", gemini25, user(`"response_format":{"type":"text"}`), `{` + hi + `}`},
		{"Gemini's own fields go on", gemini25, user(`"safetySettings":[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"BLOCK_NONE"}],"labels":{"team":"a"},"cachedContent":"cachedContents/1","max_tokens":5,"generationConfig":{"topK":3}`),
			`{` + hi + `,"generationConfig":{"maxOutputTokens":5,"topK":3},"safetySettings":[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"BLOCK_NONE"}],"labels":{"team":"a"},"cachedContent":"cachedContents/1"}`},

		{"system and developer, wherever they are", gemini25, `{"messages":[{"role":"system","content":"one"},{"role":"user","content":"hi"},{"role":"developer","content":[{"type":"text","text":"two"}]}]}`,
			`{` + hi + `,"systemInstruction":{"parts":[{"text":"one"},{"text":"two"}],"role":"user"}}`},
		{"nothing but the system", gemini25, `{"messages":[{"role":"system","content":"hi"}]}`, `{` + hi + `}`},
		{"the same role twice is one content", gemini25, `{"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"},{"role":"assistant","content":"c"},{"role":"assistant","content":"d"},{"role":"user","content":"e"}]}`,
			`{"contents":[{"role":"user","parts":[{"text":"a"},{"text":"b"}]},{"role":"model","parts":[{"text":"c"},{"text":"d"}]},{"role":"user","parts":[{"text":"e"}]}]}`},
		{"empty texts are left out", gemini25, `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":""},{"role":"user","content":[{"type":"text","text":""},{"type":"text","text":"b"}]}]}`,
			`{"contents":[{"role":"user","parts":[{"text":"a"},{"text":"b"}]}]}`},

		{"images", gemini25, `{"messages":[{"role":"user","content":[{"type":"text","text":"what?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0K"}},{"type":"image_url","image_url":{"url":"https://example.com/a/b.JPG?x=1"}},{"type":"image_url","image_url":{"url":"gs://bucket/c.webp"}},{"type":"image_url","image_url":{"url":"https://generativelanguage.googleapis.com/v1beta/files/abc"}}]}]}`,
			`{"contents":[{"role":"user","parts":[{"text":"what?"},{"inlineData":{"mimeType":"image/png","data":"iVBORw0K"}},{"fileData":{"fileUri":"https://example.com/a/b.JPG?x=1","mimeType":"image/jpeg"}},{"fileData":{"fileUri":"gs://bucket/c.webp","mimeType":"image/webp"}},{"fileData":{"fileUri":"https://generativelanguage.googleapis.com/v1beta/files/abc"}}]}]}`},

		{"tools", gemini25, user(`"tools":[{"type":"function","function":{"name":"weather","description":"of a city","parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"],"$defs":{"x":{"type":"null"}}}}},{"type":"function","function":{"name":"now"}},{"type":"function","function":{"name":"then","parameters":null}}]`),
			`{` + hi + `,"tools":[{"functionDeclarations":[{"name":"weather","description":"of a city","parametersJsonSchema":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"],"$defs":{"x":{"type":"null"}}}},{"name":"now"},{"name":"then"}]}]}`},
		{"tool_choice auto", gemini25, user(`"tool_choice":"auto"`), `{` + hi + `,"toolConfig":{"functionCallingConfig":{"mode":"AUTO"}}}`},
		{"tool_choice none", gemini25, user(`"tool_choice":"none"`), `{` + hi + `,"toolConfig":{"functionCallingConfig":{"mode":"NONE"}}}`},
		{"tool_choice required", gemini25, user(`"tool_choice":"required"`), `{` + hi + `,"toolConfig":{"functionCallingConfig":{"mode":"ANY"}}}`},
		{"tool_choice a function", gemini25, user(`"tool_choice":{"type":"function","function":{"name":"now"}}`), `{` + hi + `,"toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["now"]}}}`},

		{"effort high as a budget", gemini25, user(`"reasoning_effort":"high"`), `{` + hi + `,"generationConfig":{"thinkingConfig":{"includeThoughts":true,"thinkingBudget":24576}}}`},
		{"effort medium as a budget", gemini25, user(`"reasoning_effort":"medium"`), `{` + hi + `,"generationConfig":{"thinkingConfig":{"includeThoughts":true,"thinkingBudget":8192}}}`},
		{"effort minimal as a budget", gemini25, user(`"reasoning_effort":"minimal"`), `{` + hi + `,"generationConfig":{"thinkingConfig":{"includeThoughts":true,"thinkingBudget":1024}}}`},
		{"effort none as a budget", gemini25, user(`"reasoning_effort":"none"`), `{` + hi + `,"generationConfig":{"thinkingConfig":{"thinkingBudget":0}}}`},
		{"effort none of a model that always thinks", "gemini-2.5-pro", user(`"reasoning_effort":"none"`), `{` + hi + `,"generationConfig":{"thinkingConfig":{"thinkingBudget":128}}}`},
		{"effort high as a level", gemini3, user(`"reasoning_effort":"high"`), `{` + hi + `,"generationConfig":{"thinkingConfig":{"includeThoughts":true,"thinkingLevel":"HIGH"}}}`},
		{"effort none as a level", gemini3, user(`"reasoning_effort":"none"`), `{` + hi + `,"generationConfig":{"thinkingConfig":{"thinkingLevel":"MINIMAL"}}}`},
		{"effort minimal of a model without it", "gemini-3.1-pro-preview", user(`"reasoning_effort":"minimal"`), `{` + hi + `,"generationConfig":{"thinkingConfig":{"includeThoughts":true,"thinkingLevel":"LOW"}}}`},
		{"effort of an alias", "gemini-flash-latest", user(`"reasoning_effort":"low"`), `{` + hi + `,"generationConfig":{"thinkingConfig":{"includeThoughts":true,"thinkingLevel":"LOW"}}}`},
		{"effort of a model that does not think", "gemini-2.0-flash", user(`"reasoning_effort":"high"`), `{` + hi + `}`},
		{"effort of another family", "gemma-3-27b-it", user(`"reasoning_effort":"high"`), `{` + hi + `}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := serve(t, fine)
			call(t, open(t, f.options()), chatCall(c.model, c.body))
			asked(t, f, c.want)
		})
	}
}

// TestRequest_ToolLoop holds how calls and their results go back.
func TestRequest_ToolLoop(t *testing.T) {
	const turn = `{"messages":[{"role":"user","content":"weather?"},
		{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Oslo\"}"}},{"id":"c2","type":"function","function":{"name":"now","arguments":""}}],"reasoning_details":DETAILS},
		{"role":"tool","tool_call_id":"c1","content":"{\"rain\":true,\"mm\":3.5}"},
		{"role":"tool","tool_call_id":"c2","content":"noon"},
		{"role":"user","content":"and?"}]}`
	const want = `{"contents":[{"role":"user","parts":[{"text":"weather?"}]},
		{"role":"model","parts":[{"functionCall":{"id":"c1","name":"weather","args":{"city":"Oslo"}}FIRST},{"functionCall":{"id":"c2","name":"now"}SECOND}]},
		{"role":"user","parts":[{"functionResponse":{"id":"c1","name":"weather","response":{"rain":true,"mm":3.5}}},{"functionResponse":{"id":"c2","name":"now","response":{"output":"noon"}}},{"text":"and?"}]}]}`
	signed := func(s string) string { return `,"thoughtSignature":"` + s + `"` }
	ours := `[{"type":"reasoning.encrypted","format":"google-gemini-v1","id":"c1","data":"c2ln","index":0}]`
	for _, c := range []struct{ name, model, details, first, second string }{
		{"signed by us", gemini25, ours, signed("c2ln"), ""},
		{"signed by us, of a model that insists", gemini3, ours, signed("c2ln"), ""},
		{"the second one", gemini25, strings.Replace(ours, "c1", "c2", 1), "", signed("c2ln")},
		{"of another provider", gemini25, strings.Replace(ours, "google-gemini-v1", "anthropic-claude-v1", 1), "", ""},
		{"of another provider, to a model that insists", gemini3, strings.Replace(ours, "google-gemini-v1", "anthropic-claude-v1", 1), signed(skipped), ""},
		{"unsigned, to a model that insists", gemini3, `null`, signed(skipped), ""},
		{"a signature that is none", gemini25, strings.Replace(ours, "c2ln", "%%%", 1), "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := serve(t, fine)
			call(t, open(t, f.options()), chatCall(c.model, strings.Replace(turn, "DETAILS", c.details, 1)))
			asked(t, f, strings.NewReplacer("FIRST", c.first, "SECOND", c.second).Replace(want))
		})
	}
}

// TestRequest_ThoughtsGoBackWhereTheyWere: a signed thought before the text, a text's
// signature on it.
func TestRequest_ThoughtsGoBackWhereTheyWere(t *testing.T) {
	f := serve(t, fine)
	call(t, open(t, f.options()), chatCall(gemini3, `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","reasoning_details":[
		{"type":"reasoning.text","format":"google-gemini-v1","text":"I thought","signature":"dGhvdWdodA==","index":0},
		{"type":"reasoning.text","format":"google-gemini-v1","text":"unsigned","index":1},
		{"type":"reasoning.text","format":"anthropic-claude-v1","text":"foreign","signature":"Zm9yZWlnbg==","index":2},
		{"type":"reasoning.encrypted","format":"google-gemini-v1","data":"dGV4dA==","index":3}]},{"role":"user","content":"c"}]}`))
	asked(t, f, `{"contents":[{"role":"user","parts":[{"text":"a"}]},
		{"role":"model","parts":[{"text":"I thought","thought":true,"thoughtSignature":"dGhvdWdodA=="},{"text":"b","thoughtSignature":"dGV4dA=="}]},
		{"role":"user","parts":[{"text":"c"}]}]}`)
}

// TestRequest_LargeNumbersOfAToolStayWhatTheyAre: a function's response is made of
// doubles, in which the ID of a row would become another.
func TestRequest_LargeNumbersOfAToolStayWhatTheyAre(t *testing.T) {
	for result, want := range map[string]string{
		`{\"id\":9007199254740993}`:            `{"output":"{\"id\":9007199254740993}"}`,
		`{\"a\":[{\"id\":12345678901234567}]}`: `{"output":"{\"a\":[{\"id\":12345678901234567}]}"}`,
		`{\"id\":9007199254740992}`:            `{"id":9007199254740992}`,
		`{\"x\":1e400}`:                        `{"output":"{\"x\":1e400}"}`,
		`[1,2]`:                                `{"output":"[1,2]"}`,
		`{} {}`:                                `{"output":"{} {}"}`,
		`null`:                                 `{"output":"null"}`,
		``:                                     `{"output":""}`,
	} {
		f := serve(t, fine)
		call(t, open(t, f.options()), chatCall(gemini25, `{"messages":[{"role":"user","content":"hi"},{"role":"assistant","tool_calls":[{"id":"c","function":{"name":"row","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"`+result+`"}]}`))
		asked(t, f, `{`+strings.TrimSuffix(hi, "]")+`,{"role":"model","parts":[{"functionCall":{"id":"c","name":"row"}}]},{"role":"user","parts":[{"functionResponse":{"id":"c","name":"row","response":`+want+`}}]}]}`)
	}
}

// TestRequest_AToolThatShowsAnImage: it comes beside what the tool says.
func TestRequest_AToolThatShowsAnImage(t *testing.T) {
	f := serve(t, fine)
	call(t, open(t, f.options()), chatCall(gemini25, `{"messages":[{"role":"user","content":"hi"},{"role":"assistant","tool_calls":[{"id":"c","function":{"name":"see","arguments":"{}"}}]},
		{"role":"tool","tool_call_id":"c","content":[{"type":"text","text":"a "},{"type":"text","text":"cat"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0K"}}]}]}`))
	asked(t, f, `{`+strings.TrimSuffix(hi, "]")+`,{"role":"model","parts":[{"functionCall":{"id":"c","name":"see"}}]},
		{"role":"user","parts":[{"functionResponse":{"id":"c","name":"see","response":{"output":"a cat"}}},{"inlineData":{"mimeType":"image/png","data":"iVBORw0K"}}]}]}`)
}

// TestRequest_Refused: what the API cannot be asked is not asked.
func TestRequest_Refused(t *testing.T) {
	for name, c := range map[string]struct {
		model, body, want string
		kind              lm.Kind
	}{
		"a result without its call": {gemini25, `{"messages":[{"role":"user","content":"hi"},{"role":"tool","tool_call_id":"x","content":"secret"}]}`, "messages[1].tool_call_id", lm.InvalidRequest},
		"an image of the system":    {gemini25, `{"messages":[{"role":"system","content":[{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]}]}`, "messages[0].content[0]", lm.InvalidRequest},
		"an image of S3":            {gemini25, `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"s3://secret/a.png"}}]}]}`, "gs://", lm.InvalidRequest},
		"an unknown effort":         {gemini25, user(`"reasoning_effort":"secret"`), "reasoning_effort", lm.InvalidRequest},
		"an unknown format":         {gemini25, user(`"response_format":{"type":"secret"}`), "response_format.type", lm.InvalidRequest},
		"an empty conversation":     {gemini25, `{"messages":[{"role":"user","content":""}]}`, "not empty", lm.InvalidRequest},
		"a model above its place":   {"../secret", user(""), "name", lm.ModelNotFound},
		"a model with a query":      {"x?secret=1", user(""), "name", lm.ModelNotFound},
		"a model with a verb":       {"x:deleteAll", user(""), "name", lm.ModelNotFound},
		"a model without a name":    {"", user(""), "name", lm.ModelNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, fine)
			_, err := open(t, f.options()).Call(t.Context(), chatCall(c.model, c.body))
			if lm.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v, want a %s with %q that quotes nothing", err, c.kind, c.want)
			}
			if n := len(f.paths()); n > 0 {
				t.Errorf("%d requests all the same", n)
			}
		})
	}
}
