package openai_test

import (
	"context"
	"encoding/json"
	"fmt"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/openai"
	"github.com/lighterman/lighterman/provider/providertest"
)

// A compatible server is asked, here a fake one that first says that it is busy.
func Example() {
	server := providertest.NewServer(providertest.OpenAI{Vendor: "vllm"})
	defer server.Close()
	server.Push(providertest.Step{Answer: &providertest.Response{
		Status: 503, Body: `{"error":"busy"}`, Header: map[string][]string{"Retry-After": {"2"}},
	}})

	api, err := openai.New(openai.Vendor("vllm", provider.Options{BaseURL: server.URL + "/v1"}))
	if err != nil {
		fmt.Println(err)
		return
	}
	call := lm.Call{Kind: "chat", Model: "alpha", Body: json.RawMessage(`{"messages":[{"role":"user","content":"Hello!"}]}`)}
	_, err = api.Call(context.Background(), call)
	fmt.Println(lm.KindOf(err), "again in", lm.AsError(err).RetryAfter)

	call.Stream = func(f lm.Frame) { fmt.Printf("%s %q\n", f.Type, f.Data) }
	answer, err := api.Call(context.Background(), call)
	fmt.Println(lm.Result{Body: answer.Body}.Text(), answer.Usage.Output, err)
	// Output:
	// overloaded again in 2s
	// token "You"
	// token " said:"
	// token " Hello!"
	// usage "{\"completion_tokens\":3,\"prompt_tokens\":5,\"total_tokens\":8}"
	// You said: Hello! 3 <nil>
}
