package e2e

import (
	"encoding/json"
	"fmt"
	"strconv"

	lm "github.com/lighterman/lighterman"
)

// ask is an operation that was enqueued, and how it shall end.
type ask struct {
	request lm.Request
	outcome lm.Outcome
	told    string // what its result's text must hold
}

// question is a text that no other operation has.
func question(i int) string { return fmt.Sprintf("Why do rivers bend? (%05d)", i) }

func chatBody(text string) json.RawMessage {
	b, _ := json.Marshal(map[string]any{"messages": []map[string]string{{"role": "user", "content": text}}}) // strings only
	return b
}

// tools asks for a chat with three rounds of tools: four model calls, three tool
// calls.
func tools(i int) ask {
	return ask{lm.Request{Model: "sim-tools", Body: chatBody(question(i))}, lm.Succeeded, question(i)}
}

// plain asks for a chat of one call.
func plain(i int) ask {
	return ask{lm.Request{Model: "sim", Body: chatBody(question(i))}, lm.Succeeded, question(i)}
}

// twoStep asks for the testworker's Func of a Step and an Ask.
func twoStep(i int) ask {
	return ask{lm.Request{Kind: "twostep", Model: "sim", Body: json.RawMessage(`{"n":` + strconv.Itoa(i) + `}`)}, lm.Succeeded, "page of "}
}

// on puts the operations of a kind into another queue.
func on(queue string, kind func(int) ask) func(int) ask {
	return func(i int) ask {
		a := kind(i)
		a.request.Queue = queue
		return a
	}
}

// poison asks for an operation that kills its worker.
func poison(int) ask {
	return ask{request: lm.Request{Kind: "poison", Body: json.RawMessage(`{}`)}, outcome: lm.Failed}
}
