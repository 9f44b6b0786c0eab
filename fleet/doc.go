// Package fleet keeps the shared truth about models, backends and pools: what is
// declared, how each model does, who may be called, and one advisory lock for
// changes of all of it.
//
// What is declared comes from the configuration (Spec). How it does lives in Redis
// hashes that every worker changes by atomic scripts (Outcome, Reserve, Probe).
// A worker routes from a Snapshot, an immutable copy in its own memory that a
// change notice and a poll keep at most a second old; so a choice never waits for
// Redis.
package fleet
