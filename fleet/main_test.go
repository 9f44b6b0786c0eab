package fleet

import (
	"context"
	"testing"

	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

func TestMain(m *testing.M) { redistest.Main(m) }

var ctx = context.Background()

// onEach runs f with a Store over a redis-server, miniredis and a cluster.
func onEach(t *testing.T, f func(t *testing.T, rdb redis.UniversalClient, s *lua.Store)) {
	t.Helper()
	redistest.EachCluster(t, func(t *testing.T, rdb redis.UniversalClient) {
		f(t, rdb, lua.NewStore(rdb, rdb, lua.Options{}))
	})
}
