package router

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lighterman/lighterman/fleet"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func TestSetAside_SaysWhyWhoseAndUntilWhen(t *testing.T) {
	spec := pool("a b c d")
	snap, _ := snapshot(spec, states{
		"a": {QuarantineUntil: noon.Add(time.Minute), QuarantineScope: fleet.AsideBackend}, "b": {Disabled: true}, "d": openFor(0),
	})
	r := prometheus.NewRegistry()
	r.MustRegister(SetAside{Snapshot: func() *fleet.Snapshot { return snap }, Now: func() time.Time { return noon }})
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	var got []string
	for line := range strings.Lines(rec.Body.String()) {
		if !strings.HasPrefix(line, "#") {
			got = append(got, line)
		}
	}
	const want = `lighterman_model_set_aside{model="a",reason="quarantine",scope="backend"} 1
lighterman_model_set_aside{model="b",reason="manual",scope="operator"} 1
lighterman_model_set_aside{model="d",reason="error_threshold",scope="model"} 1
lighterman_model_set_aside_until_timestamp_seconds{model="a",reason="quarantine",scope="backend"} 1.79526246e+09
lighterman_model_set_aside_until_timestamp_seconds{model="b",reason="manual",scope="operator"} 0
lighterman_model_set_aside_until_timestamp_seconds{model="d",reason="error_threshold",scope="model"} 1.7952624e+09
`
	if strings.Join(got, "") != want {
		t.Errorf("%s", rec.Body)
	}
}
