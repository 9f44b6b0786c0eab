package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// snapshot is what INFO says at one moment.
type snapshot struct {
	text  map[string]string
	calls map[string]float64 // of each command, those within scripts included
	asked float64            // how many commands this program's own looking had cost when it was taken
}

// looked counts the commands with which the program only looks: INFO and the
// polling for the end. They are subtracted.
var looked float64

func info(ctx context.Context, rdb *redis.Client) (snapshot, error) {
	looked++
	raw, err := rdb.Info(ctx, "everything").Result()
	if err != nil {
		return snapshot{}, fmt.Errorf("info: %w", err)
	}
	s := snapshot{text: make(map[string]string), calls: make(map[string]float64), asked: looked}
	for line := range strings.Lines(raw) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		command, isCommand := strings.CutPrefix(key, "cmdstat_")
		if !isCommand {
			s.text[key] = value
			continue
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(value, "calls="), ",")
		s.calls[command], _ = strconv.ParseFloat(first, 64)
	}
	return s, nil
}

func (s snapshot) number(key string) float64 {
	n, _ := strconv.ParseFloat(s.text[key], 64)
	return n
}

// cpu is the CPU time of Redis's main thread in seconds: what one core is for
// all that the server does. Freeing memory in the background is not in it.
func (s snapshot) cpu() float64 {
	if _, ok := s.text["used_cpu_user_main_thread"]; ok {
		return s.number("used_cpu_user_main_thread") + s.number("used_cpu_sys_main_thread")
	}
	return s.number("used_cpu_user") + s.number("used_cpu_sys")
}

// cost is what Redis spent between two snapshots, per operation.
type cost struct {
	CPU      float64 `json:"cpu_us"`
	Commands float64 `json:"commands"` // those within scripts included
	Scripts  float64 `json:"scripts"`
	Reads    float64 `json:"reads"` // of sockets: what pipelines and batches save
}

func costOf(from, to snapshot, n int) cost {
	each := func(x float64) float64 { return x / float64(n) }
	diff := func(key string) float64 { return to.number(key) - from.number(key) }
	scripts := 0.0
	for _, command := range []string{"eval", "evalsha", "fcall"} {
		scripts += to.calls[command] - from.calls[command]
	}
	own := to.asked - from.asked
	return cost{
		CPU:      each(1e6 * (to.cpu() - from.cpu())),
		Commands: each(diff("total_commands_processed") - own),
		Scripts:  each(scripts),
		Reads:    each(diff("total_reads_processed") - own),
	}
}
