// Package lightermantest is what you test your handlers with: a fleet of workers
// in your test's process, a model that says what you script, workers that die
// where you say, and a record of everything that was called.
//
//	func TestSummarise_FetchIsNotRepeated(t *testing.T) {
//		fleet := lightermantest.Run(t, lightermantest.Options{}, func(w *lightermantest.Worker) {
//			w.Handle("summarise", summarise)
//		})
//		fleet.KillAt("after call", 1)
//		id := fleet.Enqueue(lighterman.Request{Kind: "summarise", Body: body})
//		result := fleet.Wait(id)
//		fleet.AssertCalledOnce(id, "fetch")
//	}
//
// The workers are real ones (consumer, pipeline and scripts) on a Redis in
// memory. A killed worker loses its connection to Redis in one instant and comes to
// no further edge of your code. Its operations are taken over at once, as those of
// a process whose death was noticed, by a new worker or any other. What a kill
// cannot show is a process that is gone: deferred functions of the goroutine that
// died still run, and a function that blocks elsewhere runs on until it looks at
// its context.
//
// # Pools
//
// Options.Config declares models and pools in the words of the configuration file,
// or is that file's content. Calls then take the way that they take in production,
// through a router of each worker, and the fleet shares sessions, breakers,
// cooldowns and limits. Every declared model is played by a simulated one of its own,
// whatever its backend. What it says is scripted under its ID:
//
//	fleet := lightermantest.Run(t, lightermantest.Options{Config: `
//	    models:
//	      - {id: a, backend: sim, name: sim}
//	      - {id: b, backend: sim, name: sim, limits: {rpm: 600}}
//	    pools:
//	      - {id: chat, members: [{model_id: a}, {model_id: b, role: failover_only}]}
//	`}, setup)
//	fleet.Script("a", sim.Reply{Err: &lighterman.Error{Kind: lighterman.RateLimited, RetryAfter: time.Minute}})
//	id := fleet.Enqueue(lighterman.Request{Model: "chat", Body: body})
//	fleet.AssertSucceeded(id)
//	fleet.AssertMembers(id, "a", "b")
//
// sim.faults in it, or Options.Sim.Faults, make a member fail for a number of calls;
// Operate disables one. A call that is tried again with the same member waits half
// a second and more, as in production; one that goes to another does not. The record
// of calls holds each try. Pool names are for requests; scripts and the record know
// members.
//
// # Kill points
//
//	start            a Func is about to run
//	before step NAME its function is about to run
//	after step NAME  it has run, and nothing is saved
//	before call      a model is about to be called
//	after call       it has answered, and nothing is saved
//	before tool      a tool is about to be called
//	after tool       it has answered, and nothing is saved
//	saved NAME       a step, an answer or a tool's content is in Redis
//	before finish    the Func has returned, and nothing is saved
//
// A point without its NAME stands for all: "after step", "saved". The name of a
// model call or tool call is its key without the trace ID: "turn:1" is the first
// call of kind chat, "chat/summary/turn:1" that of Ask(ctx, "summary", ...), and
// "tool:1:0:ID" the first tool call of the first answer.
package lightermantest
