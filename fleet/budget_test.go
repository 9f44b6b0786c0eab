package fleet

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// spenderHelper makes calls of model c at the same time, each reserved for 0.03 USD and
// worth at most that, until the budget has no room for one, and says how much all of
// its calls cost: process number, calls.
func spenderHelper(url string, args []string) error {
	var process, calls int
	if _, err := fmt.Sscan(args[0]+" "+args[1], &process, &calls); err != nil {
		return err
	}
	opts, err := redis.ParseURL(url)
	if err != nil {
		return err
	}
	rdb := redis.NewClient(opts)
	o := Options{Spec: testSpec()}
	budgetOnly(&o)
	m, err := New(lua.NewStore(rdb, rdb, lua.Options{}), o)
	if err != nil {
		return err
	}
	if err := m.Load(ctx); err != nil {
		return err
	}
	costs, errs := make([]float64, calls), make([]error, calls)
	var all sync.WaitGroup
	for i := range calls {
		all.Go(func() { costs[i], errs[i] = spend(m, fmt.Sprint(process, "/", i), float64(20+i%11)/1000) })
	}
	all.Wait()
	sum := 0.0
	for i := range calls {
		if errs[i] != nil {
			return errs[i]
		}
		sum += costs[i]
	}
	fmt.Printf("%.3f\n", sum)
	return nil
}

// spend makes one call as soon as the budget lets it, and answers what it cost; 0: the
// budget is used up.
func spend(m *Manager, key string, cost float64) (float64, error) {
	for {
		got, err := m.Admit(ctx, Admission{Model: "c", Key: key, Cost: 0.03})
		switch {
		case err != nil:
			return 0, err
		case got.OK:
			time.Sleep(time.Millisecond) // the call
			return cost, m.Record(ctx, Outcome{Model: "c", Backend: "two", Key: key, Reservation: got.Reservation, CostUSD: cost})
		case got.Until.Sub(m.Now()) > time.Minute:
			return 0, nil
		}
		time.Sleep(time.Millisecond)
	}
}

// TestBudget_AHundredCallsOfFourProcessesDoNotPassIt: 1 USD is left, each call may cost
// 0.03 USD and all of them together 2.5 USD.
func TestBudget_AHundredCallsOfFourProcessesDoNotPassIt(t *testing.T) {
	server := redistest.Start(t)
	type said struct {
		out []byte
		err error
	}
	results := make(chan said)
	for process := range 4 {
		cmd := helper(t, server, "spender", process, 25)
		go func() {
			out, err := cmd.Output()
			results <- said{out, err}
		}()
	}
	told := 0.0
	for range 4 {
		r := <-results
		spent, err := strconv.ParseFloat(strings.TrimSpace(string(r.out)), 64)
		if r.err != nil || err != nil {
			t.Fatal(r.err, err)
		}
		told += spent
	}
	h := server.Client().HGetAll(ctx, cHash).Val()
	used, _ := strconv.ParseInt(h["budget_used"], 10, 64)
	if math.Abs(told-float64(used)/1e9) > 1e-6 || used > 1_000_000_000 || used < 970_000_000 || h["held_cost"] != "0" {
		t.Errorf("used %d nano-USD of 1 USD, the calls say %g; %v", used, told, h)
	}
}
