// Package pipeline drives one operation through its stages, from its checkpoint
// to its result. A Func is written as if it ran once: what it does through Op
// (Step, Ask, Chat) is checkpointed when it is done, and when another worker runs
// the Func again after a crash, what was done returns its recorded result at once
// and is not done a second time.
//
// The state follows what a Func does:
//
//	Step before the first model call   PRE_INFERENCE_GATHER
//	Ask, Chat                          INFERRING
//	a tool that the model asked for,
//	Step after a model call            TOOL_EXECUTING
//	return                             POSTPROCESSING ... COMPLETED, written by the consumer
//
// One write per stage: the state goes in before its work begins, together with
// what the stage before it left to be saved.
package pipeline
