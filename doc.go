// Package lighterman names what a Lighterman fleet works on: operations by
// their trace ID, the requests that ask for them, the claims that hold them,
// the model calls they make and the results they end in. It parses and
// validates these words and does nothing else: no Redis, no network, only the
// standard library, so that every other package can speak it.
package lighterman
