package producer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/producer"
)

// ask is a chat request in OpenAI JSON.
func ask(question string) lm.Request {
	body, _ := json.Marshal(map[string]any{"messages": []map[string]string{{"role": "user", "content": question}}})
	return lm.Request{Body: body}
}

func ExampleClient_Enqueue() {
	url, stop := fleet(0)
	defer stop()
	ctx := context.Background()
	c, err := producer.Open(ctx, url, producer.WithModels([]string{"gpt-4o", "sim"}))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	req := ask("Why do rivers bend?")
	req.ID = "order-42" // an own ID: a repeat finds the first
	for range 2 {
		a, err := c.Enqueue(ctx, req)
		fmt.Println(a.ID, a.Existing, err)
	}
	req.Body = json.RawMessage(`{"messages":["something else"]}`)
	_, err = c.Enqueue(ctx, req)
	fmt.Println(errors.Is(err, producer.ErrKeyConflict))
	req.Model = "gtp-4o"
	_, err = c.Enqueue(ctx, req)
	fmt.Println(err)
	// Output:
	// 0-order-42 false <nil>
	// 0-order-42 true <nil>
	// true
	// unknown_model: unknown model "gtp-4o"; did you mean gpt-4o? (declared: gpt-4o, sim)
}

func ExampleClient_EnqueueMany() {
	url, stop := fleet(0)
	defer stop()
	ctx := context.Background()
	c, err := producer.Open(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	reqs := []lm.Request{ask("one"), {Body: json.RawMessage(`{"messages":[]}`)}, ask("three")}
	for i, a := range c.EnqueueMany(ctx, reqs) { // one bad request leaves the others alone
		fmt.Println(i, a.ID != "", a.Err)
	}
	// Output:
	// 0 true <nil>
	// 1 false invalid_request: body: "messages" is missing or empty; kind chat needs at least one
	// 2 true <nil>
}

func ExampleClient_Wait() {
	url, stop := fleet(1)
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := producer.Open(ctx, url, producer.WithReply())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	a, err := c.Enqueue(ctx, ask("Why do rivers bend?"))
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := c.Wait(ctx, a.ID)
	fmt.Println(r.Outcome, r.Text(), err)
	_, err = c.Wait(ctx, "0-order-66")
	fmt.Println(err)
	// Output:
	// succeeded Faster water on the outside cuts the bank. <nil>
	// 0-order-66: no such operation
}

func ExampleClient_Follow() {
	url, stop := fleet(1)
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := producer.Open(ctx, url, producer.WithFollowed())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	a, err := c.Enqueue(ctx, ask("Why do rivers bend?"))
	if err != nil {
		fmt.Println(err)
		return
	}
	text := ""
	for frame, err := range c.Follow(ctx, a.ID, "") {
		if err != nil {
			fmt.Println(err)
			return
		}
		switch frame.Type { //nolint:exhaustive // the others are no text
		case lm.FrameToken:
			text += frame.Data
		case lm.FrameReset: // a later claim says it all again
			text = ""
		case lm.FrameFinal: // always the last, whatever came before
			fmt.Println(text == "", frame.Result.Outcome, frame.Result.Text())
		}
	}
	// Output:
	// true succeeded Faster water on the outside cuts the bank.
}

func ExampleClient_WaitMany() {
	url, stop := fleet(3)
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := producer.Open(ctx, url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	var ids []lm.TraceID
	for _, a := range c.EnqueueMany(ctx, []lm.Request{ask("one"), ask("two"), ask("three")}) {
		ids = append(ids, a.ID)
	}
	for r, err := range c.WaitMany(ctx, ids) { // as they end
		if err != nil {
			fmt.Println(r.ID, err)
			continue
		}
		fmt.Println(r.Outcome)
	}
	// Output:
	// succeeded
	// succeeded
	// succeeded
}

func ExampleClient_Status() {
	url, stop := fleet(0)
	defer stop()
	ctx := context.Background()
	c, err := producer.Open(ctx, url, producer.WithPreprocess(func(_ context.Context, r *lm.Request) error {
		r.Tenant = "acme"
		return nil
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	a, _ := c.Enqueue(ctx, ask("Why do rivers bend?"))
	trace, err := c.Status(ctx, a.ID)
	fmt.Println(trace.State.String(), trace.Tenant, trace.History[0].Path[1].String(), err)
	_, err = c.Result(ctx, a.ID)
	fmt.Println(errors.Is(err, producer.ErrNotEnded))
	// Output:
	// QUEUED acme PREPROCESSING <nil>
	// true
}

// fleet is a Redis with a worker that answers n operations.
func fleet(n int) (url string, stop func()) {
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		panic(err)
	}
	url = "redis://" + m.Addr()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := answer(url, n); err != nil {
			panic(err)
		}
	}()
	return url, func() { <-done; m.Close() }
}

func answer(url string, n int) error {
	ctx := context.Background()
	s, err := lua.Open(ctx, url, lua.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	queue := lua.Stream{Queue: "default"}
	if err := s.EnsureGroups(ctx, []lua.Stream{queue}); err != nil {
		return err
	}
	for n > 0 {
		entries, err := s.Block("w", []lua.Stream{queue}, n, time.Second)
		if err != nil || len(entries) == 0 {
			return err
		}
		claims, err := s.Claim(ctx, "w", time.Minute, entries)
		if err != nil {
			return err
		}
		for _, c := range claims {
			err := s.Finish(ctx, c.Claim, lua.Ending{
				Path:   []lm.State{lm.Gathering, lm.Inferring, lm.Postprocessing, lm.Delivering, lm.Delivered, lm.Completed},
				Result: lm.Result{Outcome: lm.Succeeded, Body: json.RawMessage(`"Faster water on the outside cuts the bank."`)},
			})
			if err != nil {
				return err
			}
			n--
		}
	}
	return nil
}
