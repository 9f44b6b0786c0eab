// Package producer is the Go client of a Lighterman fleet: it enqueues
// operations, one or many, waits for what they end in, and follows what they say
// before.
//
// # Enqueueing
//
// Once Enqueue returns without an error the operation is in Redis and reaches
// exactly one end. Goroutines that enqueue at the same time share round trips:
// the first request of a partition leaves at once, what arrives while it is
// under way leaves together after it.
//
// Request.In and Request.DeadlineIn are counted by Redis from when it accepts the
// request, so a producer whose clock is off may use them. NotBefore and Deadline are
// compared with the clock of Redis as they are.
//
// # Waiting
//
// A notice in a Redis stream says that an operation has ended. It is a hint and
// can be missed; the trace is the truth:
//
//	          first look              notice, or every 10 s
//	Wait ---> position known ---> trace read ---> waiting ---> result read ---> answer
//	              ^                                  |
//	              +------- contact lost -------------+
//
// The position in the notice stream is taken before the trace is read, so that an
// operation that ends in between is seen in one of the two. After a lost
// contact both are done again. All who wait on one Client share one reader per
// notice stream, one result fetch per batch of notices, and one re-check every
// 10 seconds; there is no other polling. Any process can wait for any ID.
//
// # Following
//
// What an operation says before its end is in a stream of its own, which Follow
// reads in short blocking reads. Its end is told there too, as a hint:
//
//	         marked as followed          final, contact lost, a gap, or every 10 s
//	Follow ---> trace read ---> reading frames ---> trace read ---> rest, result
//	                ^                                   |
//	                +------------ not ended ------------+
package producer
