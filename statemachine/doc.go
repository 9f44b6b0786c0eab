// Package statemachine is the lifecycle of an operation: the pure table of
// states and legal transitions, the paths through it, and the Machine that
// records a running claim's moves through package lua.
//
//	RECEIVED -> [PREPROCESSING] -> QUEUED -> CLAIMED -> PRE_INFERENCE_GATHER -> INFERRING <-> TOOL_EXECUTING
//	                                 ^          ^                                  |  ^
//	                              RETRYING   RECLAIMED (any claim that was lost)   v  |
//	                                 ^                                         POSTPROCESSING
//	                              ERRORED  (from every state but the last)         v
//	                                 |                               DELIVERING -> DELIVERED
//	                                 +--------------> COMPLETED <------------------+
package statemachine
