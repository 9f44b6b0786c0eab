package consumer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// A cancel reaches the handler, and what it has called, at once: the heartbeat of
// an hour would tell it otherwise.
func TestCancel_AbortsTheUpstreamCall(t *testing.T) {
	onRedis(t, func(e *env) {
		rounds, bound := 5, 5*time.Second
		if full {
			rounds, bound = 100, 250*time.Millisecond
		}
		arrived, closed := make(chan struct{}, 1), make(chan time.Time, 1)
		upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			arrived <- struct{}{}
			<-r.Context().Done()
			closed <- time.Now()
		}))
		defer upstream.Close()
		client := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{}).DialContext}}
		defer client.CloseIdleConnections()
		causes := make(chan error, 1)
		e.mortal(func(ctx context.Context, _ lm.Claim) (lm.Result, error) {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, upstream.URL, nil)
			if err != nil {
				return lm.Result{}, err
			}
			answer, err := client.Do(r)
			if err == nil {
				_ = answer.Body.Close()
			}
			causes <- context.Cause(ctx)
			return lm.Result{}, err
		}, Options{Lease: 4 * time.Hour})
		var took []time.Duration
		for i := range rounds {
			id := e.enqueue(lm.NewTraceID(0, fmt.Sprint("c", i)))
			e.come("the call", arrived)
			asked := time.Now()
			if end, err := e.s.Cancel(ctx, id); err != nil || end != lua.CancelRequested {
				e.Fatal(end, err)
			}
			took = append(took, received(e, "the end of the connection", closed).Sub(asked))
			if err := received(e, "the handler", causes); !errors.Is(err, lm.ErrCancelRequested) {
				e.Errorf("cause %v", err)
			}
			e.ended(id)
			if r := e.record(id); r.Outcome != lm.Cancelled {
				e.Errorf("outcome %s", r.Outcome)
			}
		}
		slices.Sort(took)
		p99 := took[len(took)*99/100]
		e.Logf("%d cancels, from the asking to the end of the upstream connection: p50 %s, p99 %s, max %s", rounds, took[len(took)/2], p99, took[len(took)-1])
		if p99 > bound {
			e.Errorf("p99 %s, want at most %s", p99, bound)
		}
	})
}
