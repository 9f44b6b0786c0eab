// Package consumer reads the group's streams, claims what there is room for,
// hands each claim to a Handler and ends it with what the handler returned. It
// renews leases, takes over what dead workers left, and drains. It knows nothing
// of stages or models.
//
// One goroutine per role; each has a file:
//
//	reader (per partition)  slots -> read -> adopt -> claim -> run
//	run (per operation)     Handler.Handle, then finish, retry, park or putback
//	heartbeat               renews what is held; a lost claim's context ends
//	lease                   ends work by itself when no renewal got through for a lease
//	ticker (per partition)  promotes what is due, sweeps what a dead worker left
//	census                  removes dead consumers
//	orders                  learns which queues are paused and whether to drain
//	janitor                 goes over all keys once an hour: repairs orphans, ends what is too old
//	listener                keeps the subscription to the control channel, acts on its words
//	reporter                announces this worker on the roster, marks it busy
//	watch                   samples who listens, takes over at once what a dead one left
//
// A claim's life here:
//
//	read --claim--> held --handler returns--> ended (finish, retry, putback)
//	                 |  ^
//	   beat: lost    |  | beat: renewed
//	   no contact    v  |
//	              cancelled with a cause --> dropped (fenced) or put back (still ours)
package consumer
