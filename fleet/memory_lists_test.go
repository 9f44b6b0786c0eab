package fleet

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// TestObserve_RedisAndMemoryAgree: a random walk of listings, each sent twice, on
// the script and on its Go form.
func TestObserve_RedisAndMemoryAgree(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		seed := uint64(time.Now().UnixNano())
		rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // not a secret
		both := []truth{lua.NewStore(rdb, rdb, lua.Options{}), newMemory(time.Now)}
		names := []lua.ListName{lua.NewListName("one", "p", "u", "h"), lua.NewListName("one", "p", "u", "other"), lua.NewListName("two", "p", "u", "")}
		var fences [2]lua.Lock
		for i, at := range both {
			fences[i] = must[lua.Lock](t)(at.AcquireLock(ctx, "w", "token", time.Hour))
		}
		for step := range 300 {
			l := lua.Listing{Name: names[rng.IntN(len(names))], Keep: time.Hour, Took: time.Duration(rng.IntN(9)) * time.Millisecond}
			switch rng.IntN(4) {
			case 0:
				l.Kind = []lm.Kind{lm.TimedOut, lm.Unauthorized, lua.EmptyList}[rng.IntN(3)]
			case 1:
				l.Kind = lm.ProviderFailed
			default:
				l.List = fmt.Appendf(nil, `[{"name":"m%d"}]`, rng.IntN(2))
				l.Etag, l.Count = etagOf(l.List), 1
			}
			again, forget := rng.IntN(3) > 0, rng.IntN(25) == 0
			var texts [2]string
			var scores [2]float64
			for i, at := range both {
				before := must[uint64](t)(at.FleetVersion(ctx))
				for range 2 {
					if ok, err := at.Observe(ctx, "token", fences[i].Fence, l); !ok || err != nil {
						t.Fatal(ok, err)
					}
				}
				changed := must[uint64](t)(at.FleetVersion(ctx)) != before
				forgotten := 0
				if forget {
					forgotten = must[int](t)(at.ForgetLists(ctx, names[:1], time.Now().Add(time.Hour)))
				}
				if again { // the next cycle
					if ok, err := at.ReleaseLock(ctx, "token", fences[i].Fence); !ok || err != nil {
						t.Fatal(ok, err)
					}
					fences[i] = must[lua.Lock](t)(at.AcquireLock(ctx, "w", "token", time.Hour))
				}
				st := must[lua.FleetState](t)(at.FleetState(ctx, nil, []string{"one", "two"}, nil))
				for _, b := range st.Backends {
					if score, err := strconv.ParseFloat(b["score"], 64); err == nil {
						scores[i] = 10*scores[i] + score
					}
				}
				texts[i] = fmt.Sprintln(changed, forgotten, must[[]string](t)(at.Lists(ctx, names)), stateText(st, names))
			}
			if math.Abs(scores[0]-scores[1]) > 1e-4 { // Redis keeps six digits
				t.Fatalf("seed %d, step %d: scores %v", seed, step, scores)
			}
			if texts[0] != texts[1] {
				t.Fatalf("seed %d, step %d, %+v:\nRedis  %smemory %s", seed, step, l, texts[0], texts[1])
			}
		}
	})
}

// stateText is what of the records does not depend on the moment.
func stateText(st lua.FleetState, names []lua.ListName) string {
	text := ""
	for _, name := range names {
		for _, o := range st.Observed {
			if o.Name == name {
				text += fmt.Sprint(name.Backend, " ", o.Strikes, " ", o.Kind, " ", o.Etag, " ", o.Count, " ", o.Took, " ", o.Listed.IsZero(), o.Since.IsZero(), o.Tried.IsZero(), "; ")
			}
		}
	}
	for _, b := range st.Backends {
		text += fmt.Sprint(hash(b).at("last_probe").IsZero(), "; ")
	}
	return text
}
