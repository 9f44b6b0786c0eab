// Package e2e holds the process tests: real worker processes and a real
// redis-server, killed, stopped and cut off in the middle of their work.
//
//	go test ./internal/e2e                                                  the default, under 150 s
//	LIGHTERMAN_E2E=full go test -count=1 -v -timeout 20m ./internal/e2e     all counts, with the measured figures
//
// The binaries are built once per run, with the build tag failpoints. Every
// test counts that its fault was reached: one that was not is a failure.
//
// A test is a story told with a fleet (fleet_test.go: Redis, workers, the
// operations asked for) and ends with fleet.check, which holds the same
// invariants against everything that is left (invariants_test.go). What a
// worker held when it was killed or stopped is read at once (autopsy_test.go),
// and the call log of the simulated models is held against that (ledger_test.go). It is
// the provider's bill too: what the fleet, the operations and their results count must
// be what it comes to (bill_test.go). A test that declares models says their prices
// (fleet.prices).
package e2e
