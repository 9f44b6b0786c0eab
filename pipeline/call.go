package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/failpoint"
)

// Ask puts one user message to the operation's model and returns the answer's
// text. Like a Step it is asked once: the answer is checkpointed under its name.
// No tools are offered or run but those that Tools names: what the message quotes may
// say what it likes.
func (o *Op) Ask(ctx context.Context, name, prompt string, options ...CallOption) (string, error) {
	body, err := json.Marshal(map[string]any{"messages": []map[string]string{{"role": "user", "content": prompt}}})
	if err != nil {
		return "", lm.Permanent(err)
	}
	answer, err := o.chat(ctx, name, body, optionsOf(callOptions{asks: true}, options))
	return lm.Result{Body: answer.Body}.Text(), err
}

// Chat puts an OpenAI chat-completions body to a model: the body's, else the
// request's. It offers the tools that the body brings, or those of the worker that Tools
// names; of what the model calls, it runs the worker's that were offered so, and
// returns the last answer, with the usage of all rounds. Every round and every tool call
// is checkpointed under the name.
func (o *Op) Chat(ctx context.Context, name string, body json.RawMessage, options ...CallOption) (lm.Answer, error) {
	return o.chat(ctx, name, body, optionsOf(callOptions{tools: toolRights{named: true}}, options))
}

func (o *Op) chat(ctx context.Context, name string, body json.RawMessage, options callOptions) (lm.Answer, error) {
	if err := o.use(name); err != nil {
		return lm.Answer{}, err
	}
	body, err := options.body(body)
	if err != nil {
		return lm.Answer{}, err
	}
	return o.converse(ctx, name, "chat/"+name+"/", body, true, &options)
}

// utterance is one model call of a handler's step.
type utterance struct {
	step   string // whose frames it makes; empty: a built-in kind's
	name   string // in the checkpoint
	kind   string
	silent bool
	model  string // empty: whom the request or the body names
}

// infer makes one model call, or restores its answer. The caller records it.
func (o *Op) infer(ctx context.Context, u utterance, body json.RawMessage) (answer lm.Answer, restored bool, err error) {
	if data, ok := o.lookup(u.name); ok {
		if err := json.Unmarshal(data, &answer); err == nil {
			o.count(answer.Usage)
			o.answered(answer)
			o.feed.speaks(u.step, u.silent)
			return answer, true, nil
		}
	}
	if u.model == "" {
		u.model = o.model(u.kind, body)
	}
	answer, err = o.call(ctx, u, body, 0)
	return answer, false, err
}

// call makes one model call, after so many tries of this claim for the same step. With
// an error the answer's Tries alone is set.
func (o *Op) call(ctx context.Context, u utterance, body json.RawMessage, tried int) (lm.Answer, error) {
	if err := o.enter(ctx, lm.Inferring); err != nil {
		return lm.Answer{}, err
	}
	if u.model == "" && o.p.opts.NoModel != nil {
		if err := o.p.opts.NoModel(u.kind); err != nil {
			return lm.Answer{}, err
		}
	}
	if u.model == "" {
		return lm.Answer{}, lm.Errorf(lm.ProviderFailed, "the request names no model, and none that serves %s requests is known: `lighterman models --observed` says which backends could not be listed; or name a model", u.kind)
	}
	failpoint.At("inferring")
	o.count(lm.Usage{})
	r := &o.claim.Request
	call := lm.Call{
		Kind: u.kind, Model: u.model, Body: body, Key: o.Key(u.name), ID: o.claim.ID,
		Tenant: r.Tenant, Thread: r.Thread, Run: r.Run, Agent: r.Agent, Attempt: o.Attempt(), Try: tried,
		Epoch: o.claim.Fence.Epoch, Last: o.lastModel(), Memo: &o.memo,
		Lost: o.lost(),
	}
	speech := o.listen(ctx, u, body)
	if speech != nil {
		call.Stream = speech.take
	}
	defer func() { _ = speech.end(false) }() // of a call that fails, or a worker that dies here
	o.edge("before call", u.name)
	began := time.Now()
	answer, err := o.p.opts.Caller.Call(ctx, call)
	o.p.opts.Metrics.stage(lm.Inferring, began)
	if err != nil {
		o.feed.failed(u.step)
		o.went(answer.Route)
		return lm.Answer{Tries: answer.Tries}, err
	}
	failpoint.At("inferred")
	if err := speech.end(true); err != nil {
		return lm.Answer{}, err
	}
	o.edge("after call", u.name)
	if answer.Usage.Calls == 0 {
		answer.Usage.Calls = 1
	}
	o.count(answer.Usage)
	o.answered(answer)
	return answer, nil
}

// listen has a call streamed: every one of the step that is streamed which makes one
// text, unless nobody wants frames and its body says so, because who comes in its middle
// is to get it from the start. nil: it is not.
func (o *Op) listen(ctx context.Context, u utterance, body json.RawMessage) *speech {
	if o.p.opts.Frames == nil || u.kind == "embed" || !o.feed.speaks(u.step, u.silent) {
		return nil
	}
	if a := asksOf(body); a.several || a.stream == no && !o.wanted() {
		return nil
	}
	return o.feed.begin(ctx)
}

// settle has those who follow hold the text of a result that models wrote.
func (o *Op) settle(ctx context.Context, result lm.Result) error {
	if o.p.opts.Frames == nil || !o.wanted() || !o.feed.spoken() {
		return nil
	}
	return o.feed.settle(ctx, result.Text())
}

// lost are the claims that may have died in a call that begins now: what they made
// is not in the checkpoint, and this claim has not got beyond it. It is a guess: a
// crash between two calls looks the same.
func (o *Op) lost() []lm.Epoch {
	if o.beyond.Load() {
		return nil
	}
	return o.claim.Lost
}

// answered remembers who answered, to whom the operation's next call is to stick,
// and which choices led there.
func (o *Op) answered(a lm.Answer) {
	o.went(a.Route)
	o.state.Lock()
	defer o.state.Unlock()
	o.last = a.Model
}

// went keeps the newest notes of a call's way, whether it was answered or not.
func (o *Op) went(route []string) {
	o.state.Lock()
	defer o.state.Unlock()
	o.route = append(o.route, route...)
	o.route = o.route[max(0, len(o.route)-maxRoute):]
}

func (o *Op) lastModel() string {
	o.state.Lock()
	defer o.state.Unlock()
	return o.last
}

// Route tells of the choices of members that were not the usual ones, in the
// order of the calls, the newest 32.
func (o *Op) Route() []string {
	o.state.Lock()
	defer o.state.Unlock()
	return slices.Clone(o.route)
}

// maxRoute bounds what is kept of an operation's route.
const maxRoute = 32

// count adds what a call consumed, and notes that a model was called.
func (o *Op) count(u lm.Usage) {
	o.state.Lock()
	defer o.state.Unlock()
	o.called = true
	o.usage = o.usage.Add(u)
}

// model is whom to call: the request's model where it names one, else the
// body's, else the default of the kind.
func (o *Op) model(kind string, body json.RawMessage) string {
	if o.claim.Request.Model != "" {
		return o.claim.Request.Model
	}
	if !bytes.Contains(body, []byte(`"model"`)) { // most name none, and reading a body costs more than all of the router
		return o.p.opts.Model(kind)
	}
	var named struct {
		Model string `json:"model"`
	}
	if json.Unmarshal(body, &named) == nil && named.Model != "" {
		return named.Model
	}
	return o.p.opts.Model(kind)
}

// saveAnswer records a model's answer and that the next stage begins.
func (o *Op) saveAnswer(ctx context.Context, name string, answer lm.Answer, next lm.State, lines ...lm.StepLine) error {
	data, err := json.Marshal(answer)
	if err != nil {
		return lm.Permanent(fmt.Errorf("encode an answer: %w", err))
	}
	return o.record(ctx, name, data, next, lines...)
}
