// Package lua is every atomic change that Lighterman makes in Redis: one script
// per file behind one typed method of Store, and the only place that knows a key
// name or a command.
//
// A script comes as a trio: finish.lua, finish.go, and its part in the tests.
// The Lua file's head names every KEYS and ARGV slot; a test holds the head
// against the code. Shared pieces are in include/, one function each. All
// scripts take a batch of up to 100 operations of one partition: callers that
// write at the same time share a round trip (see batcher), and an operation that
// fails leaves its neighbours alone.
//
// Every write of a claim is replayable: a lost reply is asked for again with the
// same sequence number, and the script answers the same without a second effect.
package lua
