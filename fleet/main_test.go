package fleet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// helperEnv makes the test binary play a worker process: "what url arguments".
const helperEnv = "LIGHTERMAN_FLEET_HELPER"

func TestMain(m *testing.M) {
	if task := strings.Fields(os.Getenv(helperEnv)); len(task) > 0 {
		if err := helpers[task[0]](task[1], task[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	redistest.Main(m)
}

var ctx = context.Background()

var full = os.Getenv("LIGHTERMAN_E2E") == "full"

// onEach runs f with a Store over a redis-server, miniredis and a cluster.
func onEach(t *testing.T, f func(t *testing.T, rdb redis.UniversalClient, s *lua.Store)) {
	t.Helper()
	redistest.EachCluster(t, func(t *testing.T, rdb redis.UniversalClient) {
		f(t, rdb, lua.NewStore(rdb, rdb, lua.Options{}))
	})
}

// helper starts a process of its own that ends with the test.
func helper(t *testing.T, server *redistest.Server, what string, args ...any) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+what+" "+server.URL()+" "+strings.TrimSpace(fmt.Sprintln(args...)))
	cmd.Stderr = os.Stderr
	return cmd
}

// helpers are what a helper process does.
var helpers = map[string]func(url string, args []string) error{
	"records": recordsHelper,
	"holder":  holderHelper,
	"prober":  proberHelper,
	"cutoff":  cutoffHelper,
	"spender": spenderHelper,
}

func helperManager(url string, o Options) (*Manager, error) {
	opts, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	rdb := redis.NewClient(opts)
	o.Spec = testSpec()
	m, err := New(lua.NewStore(rdb, rdb, lua.Options{}), o)
	if err != nil {
		return nil, err
	}
	return m, m.Load(ctx)
}

// recordsHelper records n calls of model a from 8 goroutines, every one of them
// twice where its number is divisible by 10: policy, process number, n.
func recordsHelper(url string, args []string) error {
	var n, process int
	if _, err := fmt.Sscan(args[1]+" "+args[2], &process, &n); err != nil {
		return err
	}
	m, err := helperManager(url, Options{Policy: SyncPolicy(args[0])})
	if err != nil {
		return err
	}
	errs := make(chan error, n)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := g; i < n; i += 8 {
				o := Outcome{Model: "a", Backend: "one", Key: fmt.Sprint(process, "/", i), Usage: lm.Usage{Calls: 1, Input: 100, Cached: 40, Output: 10}, CostUSD: 0.000_000_7, Tenant: "t", Op: opID(i % 7)}
				for range 1 + max(0, 1-i%10) {
					if err := m.Record(ctx, o); err != nil {
						errs <- err
					}
				}
			}
		})
	}
	all.Wait()
	errs <- m.Save(ctx)
	return <-errs
}

// holderHelper takes the lock, says so, and writes under it whenever it is asked
// to by a line on standard input.
func holderHelper(url string, _ []string) error {
	m, err := helperManager(url, Options{Owner: "stopped", LockLife: lockLifeOfHelper})
	if err != nil {
		return err
	}
	h, err := m.AcquireLock(ctx)
	if err != nil {
		return err
	}
	fmt.Println("held", h.Fence)
	var line string
	for {
		if n, _ := fmt.Scanln(&line); n == 0 {
			return nil
		}
		// Straight to the script: what it believes itself must not matter.
		ok, err := m.at.SetUnderLock(ctx, h.ID, h.Fence, "p", map[string]string{"written_by": "stopped"})
		fmt.Println("wrote", ok, err, "believes", h.Held())
	}
}
