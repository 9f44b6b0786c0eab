// Package redistest gives tests a Redis of their own: a real redis-server that
// lives as long as one test, or a miniredis whose clock runs.
//
// The usual entry is Each, which runs a test on both:
//
//	func TestFinish_StaleEpochChangesNothing(t *testing.T) {
//		redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) { ... })
//	}
//
// Where the two differ, the real server is right (delivery counts after
// JUSTID, deleted entries in a pending list, lag). EachCluster adds a cluster
// of one node, the only one of the three that raises CROSSSLOT.
//
// Tests that need to break things use Start, whose Server can be killed,
// stopped, continued and restarted. A server takes about 10 ms to start, so one
// per test is the rule; a cluster takes 2 s, so that EachCluster and SharedCluster
// lend one to one test after the other.
//
// Every server is a child of the test binary, is ended when its test ends, and
// on Linux is killed by the kernel if the test binary dies first. Without a
// redis-server in PATH, tests are skipped on a developer's machine and fail
// where the environment variable CI is set.
package redistest
