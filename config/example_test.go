package config_test

import (
	"fmt"

	"github.com/lighterman/lighterman/config"
)

func ExampleParse() {
	_, err := config.Parse("lighterman.yaml", []byte(`
worker:
  concurency: 8
  lease: 10
queues: [{name: fast, weight: 0}]
`))
	fmt.Println(err)
	// Output:
	// lighterman.yaml:3:3: worker.concurency: unknown; did you mean concurrency?
	// lighterman.yaml:4:10: worker.lease: "10" is not a duration; want numbers with units, as in 500ms, 10s, 1h30m or 7d
	// lighterman.yaml:5:31: queues[0].weight: 0 is out of range; want 1 to 1000
}

func ExampleLoad() {
	c, err := config.Load(config.Options{
		Environ:   []string{"LIGHTERMAN_REDIS_URL=redis://app:hunter2@redis:6379", "LIGHTERMAN_WORKER_LEASE=20s"},
		Overrides: map[string]string{"worker.lease": "30s"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Redis.URL)
	fmt.Println(c.Worker.Lease, c.Worker.Heartbeat, c.Origin("worker.lease"))
	// Output:
	// redis://app:[redacted]@redis:6379
	// 30s 7.5s flag --worker-lease
}
