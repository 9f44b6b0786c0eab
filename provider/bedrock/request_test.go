package bedrock_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/bedrock"
)

const good = `{"metrics":{"latencyMs":1},"output":{"message":{"role":"assistant","content":[{"text":"ok"}]}},"stopReason":"end_turn","usage":{"inputTokens":3,"outputTokens":1,"totalTokens":4}}`

// recorder answers every request and remembers what came.
type recorder struct {
	*httptest.Server
	path, auth string
	body       []byte
	answer     string
}

func record(t *testing.T, answer string) *recorder {
	t.Helper()
	r := &recorder{answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.path, r.auth = req.URL.EscapedPath(), req.Header.Get("Authorization")
		r.body, _ = io.ReadAll(req.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, r.answer)
	}))
	t.Cleanup(r.Close)
	return r
}

func open(t *testing.T, url string, key lm.Secret) *bedrock.Client {
	t.Helper()
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", "/nowhere")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
	c, err := bedrock.New(context.Background(), bedrock.Options{Options: provider.Options{BaseURL: url, Key: key}, Region: "eu-west-1"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A chat is said in Converse's words, whatever it holds.
func TestCall_TranslatesTheRequest(t *testing.T) {
	for _, c := range []struct{ name, model, body, want string }{
		{"plain", "m", `{"messages":[{"role":"user","content":"hi"}]}`,
			`{"inferenceConfig":{},"messages":[{"role":"user","content":[{"text":"hi"}]}]}`},
		{"everything a chat can say", "m", `{"messages":[{"role":"developer","content":"be kind"},{"role":"system","content":[{"type":"text","text":"and short"}]},{"role":"user","content":"hi"}],
			"max_completion_tokens":9,"temperature":0.5,"top_p":0.25,"stop":["x","y"],"top_k":7,"user":"u","seed":1}`,
			`{"additionalModelRequestFields":{"top_k":7},"inferenceConfig":{"maxTokens":9,"stopSequences":["x","y"],"temperature":0.5,"topP":0.25},"messages":[{"role":"user","content":[{"text":"hi"}]}],"system":[{"text":"be kind"},{"text":"and short"}]}`},
		{"roles alternate", "m", `{"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"},{"role":"assistant","content":"c"},{"role":"assistant","content":""},{"role":"user","content":"d"}]}`,
			`{"inferenceConfig":{},"messages":[{"role":"user","content":[{"text":"a"},{"text":"b"}]},{"role":"assistant","content":[{"text":"c"}]},{"role":"user","content":[{"text":"d"}]}]}`},
		{"tools", "m", `{"messages":[{"role":"user","content":"w?"},{"role":"assistant","content":null,"tool_calls":[{"id":"t1","type":"function","function":{"name":"w","arguments":"{\"at\":\"x\"}"}},{"id":"t2","type":"function","function":{"name":"w","arguments":""}}]},
			{"role":"tool","tool_call_id":"t1","content":"sun"},{"role":"tool","tool_call_id":"t2","content":"rain"}],
			"tools":[{"type":"function","function":{"name":"w","description":"weather","parameters":{"type":"object","properties":{"at":{"type":"string"}}}}}],"tool_choice":"required"}`,
			`{"inferenceConfig":{},"messages":[{"role":"user","content":[{"text":"w?"}]},{"role":"assistant","content":[{"toolUse":{"input":{"at":"x"},"name":"w","toolUseId":"t1"}},{"toolUse":{"input":{},"name":"w","toolUseId":"t2"}}]},
			{"role":"user","content":[{"toolResult":{"content":[{"text":"sun"}],"toolUseId":"t1"}},{"toolResult":{"content":[{"text":"rain"}],"toolUseId":"t2"}}]}],
			"toolConfig":{"toolChoice":{"any":{}},"tools":[{"toolSpec":{"name":"w","description":"weather","inputSchema":{"json":{"type":"object","properties":{"at":{"type":"string"}}}}}}]}}`},
		{"a tool by name", "m", `{"messages":[{"role":"user","content":"hi"}],"tools":[{"type":"function","function":{"name":"w"}}],"tool_choice":{"type":"function","function":{"name":"w"}}}`,
			`{"inferenceConfig":{},"messages":[{"role":"user","content":[{"text":"hi"}]}],"toolConfig":{"toolChoice":{"tool":{"name":"w"}},"tools":[{"toolSpec":{"name":"w","inputSchema":{"json":{"type":"object","properties":{}}}}}]}}`},
		{"images", "m", `{"messages":[{"role":"user","content":[{"type":"text","text":"what?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk="}},{"type":"image_url","image_url":{"url":"s3://b/k.jpg"}}]}]}`,
			`{"inferenceConfig":{},"messages":[{"role":"user","content":[{"text":"what?"},{"image":{"format":"png","source":{"bytes":"aGk="}}},{"image":{"format":"jpeg","source":{"s3Location":{"uri":"s3://b/k.jpg"}}}}]}]}`},
		{"its own reasoning goes back, another's does not", "m", `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","reasoning_details":[
			{"type":"reasoning.text","format":"amazon-bedrock-v1","text":"hm","signature":"s"},{"type":"reasoning.encrypted","format":"amazon-bedrock-v1","data":"aGk="},
			{"type":"reasoning.text","format":"anthropic-claude-v1","text":"secret","signature":"x"}]},{"role":"user","content":"c"}]}`,
			`{"inferenceConfig":{},"messages":[{"role":"user","content":[{"text":"a"}]},{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"hm","signature":"s"}}},{"reasoningContent":{"redactedContent":"aGk="}},{"text":"b"}]},{"role":"user","content":[{"text":"c"}]}]}`},
		{"an effort of Claude's", "eu.anthropic.claude-x", `{"messages":[{"role":"user","content":"hi"}],"reasoning_effort":"low"}`,
			`{"additionalModelRequestFields":{"thinking":{"budget_tokens":1024,"type":"enabled"}},"inferenceConfig":{},"messages":[{"role":"user","content":[{"text":"hi"}]}]}`},
		{"a schema for the answer", "m", `{"messages":[{"role":"user","content":"hi"}],"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"}}}}`,
			`{"inferenceConfig":{},"messages":[{"role":"user","content":[{"text":"hi"}]}],"outputConfig":{"textFormat":{"structure":{"jsonSchema":{"name":"n","schema":"{\"type\":\"object\"}"}},"type":"json_schema"}}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := record(t, good)
			_, err := open(t, r.URL, "k").Call(t.Context(), lm.Call{Kind: "chat", Model: c.model, Body: json.RawMessage(c.body)})
			if err != nil {
				t.Fatal(err)
			}
			var got, want any
			if json.Unmarshal(r.body, &got) != nil || json.Unmarshal([]byte(c.want), &want) != nil {
				t.Fatalf("not JSON: %s", r.body)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if r.path != "/model/"+c.model+"/converse" || r.auth != "Bearer k" {
				t.Errorf("asked %s with %q", r.path, r.auth)
			}
		})
	}
}

func TestCall_SaysWhatBedrockDoesNotTake(t *testing.T) {
	for name, c := range map[string]struct{ kind, body, want string }{
		"web image":     {"chat", `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://h/x.png"}}]}]}`, "messages[0].content[0].image_url.url: bedrock takes data:"},
		"a tiff":        {"chat", `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/tiff;base64,aGk="}}]}]}`, "png, jpeg, gif and webp"},
		"bad arguments": {"chat", `{"messages":[{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":"[1]"}}]}]}`, "messages[0].tool_calls[0].function.arguments: want a JSON object"},
		"system alone":  {"chat", `{"messages":[{"role":"system","content":"x"}]}`, "want at least one of the user"},
	} {
		t.Run(name, func(t *testing.T) {
			r := record(t, good)
			_, err := open(t, r.URL, "k").Call(t.Context(), lm.Call{Kind: c.kind, Model: "m", Body: json.RawMessage(c.body)})
			if lm.KindOf(err) != lm.InvalidRequest || !strings.Contains(err.Error(), c.want) || r.path != "" {
				t.Errorf("%v (asked %q)", err, r.path)
			}
		})
	}
}

// Without a key of its own a request is signed with AWS's credentials.
func TestCall_SignsWithTheChainsCredentials(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "canary")
	r := record(t, good)
	answer, err := open(t, r.URL, "").Call(t.Context(), lm.Call{Kind: "chat", Model: "m", Body: json.RawMessage(`{"messages":[{"role":"user","content":"hi"}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(r.auth, "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/") || !strings.Contains(r.auth, "/eu-west-1/bedrock/") {
		t.Errorf("signed %q", r.auth)
	}
	if want := (lm.Usage{Calls: 1, Input: 3, Output: 1}); answer.Usage != want {
		t.Errorf("usage %+v", answer.Usage)
	}
}

func TestCall_WithoutCredentialsIsUnauthorized(t *testing.T) {
	for _, v := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_BEARER_TOKEN_BEDROCK"} {
		t.Setenv(v, "")
	}
	r := record(t, good)
	_, err := open(t, r.URL, "").Call(t.Context(), lm.Call{Kind: "chat", Model: "m", Body: json.RawMessage(`{"messages":[{"role":"user","content":"hi"}]}`)})
	if lm.KindOf(err) != lm.Unauthorized {
		t.Errorf("%v", err)
	}
}

func TestCall_EmbedsInTheModelsOwnFormat(t *testing.T) {
	r := record(t, `{"embedding":[0.5,0.25],"inputTextTokenCount":2}`)
	answer, err := open(t, r.URL, "k").Call(t.Context(), lm.Call{Kind: "embed", Model: "amazon.titan-embed-text-v2:0", Body: json.RawMessage(`{"input":["a","b"],"dimensions":256}`)})
	if err != nil {
		t.Fatal(err)
	}
	if answer.Usage != (lm.Usage{Calls: 1, Input: 4}) || strings.Count(string(answer.Body), "[0.5,0.25]") != 2 {
		t.Errorf("%s %+v", answer.Body, answer.Usage)
	}
	if r.path != "/model/amazon.titan-embed-text-v2%3A0/invoke" || !strings.Contains(string(r.body), `"dimensions":256`) {
		t.Errorf("asked %s %s", r.path, r.body)
	}
	r = record(t, `{"embeddings":{"float":[[1,2],[3,4]]}}`)
	answer, err = open(t, r.URL, "k").Call(t.Context(), lm.Call{Kind: "embed", Model: "cohere.embed-v4:0", Body: json.RawMessage(`{"input":["a","b"]}`)})
	if err != nil || !strings.Contains(string(answer.Body), `"embedding":[3,4],"index":1`) && !strings.Contains(string(answer.Body), `"index":1,"embedding":[3,4]`) {
		t.Errorf("%s %v", answer.Body, err)
	}
}

func TestNew_WithoutARegion(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	t.Setenv("AWS_CONFIG_FILE", "/nowhere")
	if _, err := bedrock.New(t.Context(), bedrock.Options{}); err == nil || !strings.Contains(err.Error(), "AWS_REGION") {
		t.Errorf("%v", err)
	}
}
