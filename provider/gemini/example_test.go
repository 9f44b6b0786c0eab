package gemini_test

import (
	"context"
	"encoding/json"
	"fmt"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/gemini"
	"github.com/lighterman/lighterman/provider/providertest"
)

// A call goes in as OpenAI JSON and comes back as it, whatever the API speaks.
func Example() {
	server := providertest.NewServer(providertest.Gemini{})
	defer server.Close()
	client, err := gemini.New(context.Background(), gemini.Options{
		Options: provider.Options{BaseURL: server.URL, Key: "a key"}, // without BaseURL: Google's
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, err := client.Call(context.Background(), lm.Call{
		Kind: "chat", Model: "gemini-2.5-flash", Body: json.RawMessage(`{"messages":[{"role":"user","content":"Hello."}]}`),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(lm.Result{Body: answer.Body}.Text())
	// Output: You said: Hello.
}
