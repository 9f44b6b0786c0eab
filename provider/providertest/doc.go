// Package providertest holds every adapter to the same promises: Run is the
// conformance suite, Server a fake model API over real HTTP, and a Format how one
// vendor writes answers, streams and errors on the wire, byte for byte.
//
// The error bodies, headers and stream faults are the vendors' own as documented or
// seen; each says which.
package providertest
