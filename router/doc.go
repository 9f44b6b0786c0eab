// Package router chooses a member of a pool for a model call, calls it, and
// decides after an error whether to try again there, go to another member, set
// the operation aside or give up.
//
// The choice is Pick, a pure function of a fleet.Snapshot: it never waits for
// Redis. Its order is
//
//	eligible        the model can do what the call needs, and the call fits
//	not yet tried   for this call: every member is left at most once
//	healthy         no open circuit, cooldown, quarantine, window, budget, order
//	the session's   the member that the thread or run sticks to
//	home            the one that it prefers
//	failover        the others; failover_only members last
//
// The reaction to an error is Decide, a pure function of its kind and the pool's
// switch policy. Router does what they say.
package router
