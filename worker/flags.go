package worker

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/spf13/pflag"
)

// Flags are the flags of a worker, bound to settings of the configuration.
type Flags struct {
	set    *pflag.FlagSet
	file   *string
	queues *[]string
}

// flagPaths are the flags that set one scalar, by the path of the setting.
var flagPaths = []struct{ flag, path, help string }{
	{"redis", "redis.url", "Redis URL; without one the embedded Redis on 127.0.0.1:7379"},
	{"name", "worker.name", "the worker's name in lists and logs"},
	{"concurrency", "worker.concurrency", "operations at a time"},
	{"lease", "worker.lease", "how long a claim holds without renewal"},
	{"drain-timeout", "worker.drain_timeout", "how long a stopping worker waits for its stages"},
	{"http", "http.addr", "HOST:PORT of health, metrics and profiles"},
	{"log-level", "log.level", "trace, debug, info, warn or error"},
	{"log-format", "log.format", "auto, console or json"},
}

// AddFlags adds all flags of a worker to a set.
func AddFlags(fs *pflag.FlagSet) *Flags {
	f := AddCommonFlags(fs)
	f.queues = fs.StringSlice("queue", nil, "queue to serve as NAME, NAME:WEIGHT or NAME:WEIGHT:CONCURRENCY; repeat for more")
	return f
}

// AddCommonFlags adds the flags that name a setting and --config, but not those
// of a list; commands that are no worker take a few of them.
func AddCommonFlags(fs *pflag.FlagSet, only ...string) *Flags {
	f := &Flags{set: fs, file: fs.StringP("config", "c", "", "configuration file (YAML)")}
	for _, p := range flagPaths {
		if len(only) == 0 || slices.Contains(only, p.flag) {
			fs.String(p.flag, "", p.help)
		}
	}
	return f
}

// Load reads the configuration: flags over environment over file over defaults.
// The error lists everything that is wrong. ignore names further LIGHTERMAN_
// variables that are not settings.
func (f *Flags) Load(ignore ...string) (*config.Config, error) {
	o := config.Options{File: *f.file, Overrides: make(map[string]string), Flags: make(map[string]string), IgnoreEnv: append(ignore, "LIGHTERMAN_FAILPOINT")}
	for _, p := range flagPaths {
		o.Flags[p.path] = "--" + p.flag
		if fl := f.set.Lookup(p.flag); fl != nil && fl.Changed {
			o.Overrides[p.path] = fl.Value.String()
		}
	}
	cfg, err := config.Load(o)
	if err != nil || f.queues == nil || len(*f.queues) == 0 {
		return cfg, err
	}
	cfg.Queues, err = readQueues(*f.queues)
	return cfg, err
}

// readQueues reads NAME, NAME:WEIGHT or NAME:WEIGHT:CONCURRENCY.
func readQueues(args []string) ([]config.Queue, error) {
	var problems config.Errors
	queues := make([]config.Queue, 0, len(args))
	for _, arg := range args {
		q, problem := readQueue(arg)
		if slices.ContainsFunc(queues, func(other config.Queue) bool { return other.Name == q.Name }) {
			problem = "named twice"
		}
		if problem != "" {
			problems = append(problems, config.Problem{Origin: config.Origin{Source: config.FromFlag, Name: "--queue"}, Message: fmt.Sprintf("%q: %s", arg, problem)})
		}
		queues = append(queues, q)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return queues, nil
}

// The configuration's bounds of queues[].weight and queues[].concurrency.
const (
	maxWeight      = 1000
	maxConcurrency = 10000
)

func readQueue(arg string) (q config.Queue, problem string) {
	name, rest, weighted := strings.Cut(arg, ":")
	weight, limit, limited := strings.Cut(rest, ":")
	q = config.Queue{Name: name, Weight: 1}
	if err := lm.ValidName(name); err != nil {
		return q, err.Error()
	}
	if weighted {
		n, err := strconv.Atoi(weight)
		if err != nil || n < 1 || n > maxWeight {
			return q, fmt.Sprintf("want NAME:WEIGHT with a weight of 1 to %d", maxWeight)
		}
		q.Weight = n
	}
	if limited {
		n, err := strconv.Atoi(limit)
		if err != nil || n < 0 || n > maxConcurrency {
			return q, fmt.Sprintf("want NAME:WEIGHT:CONCURRENCY with a concurrency of 0 (no limit) to %d", maxConcurrency)
		}
		q.Concurrency = n
	}
	return q, ""
}

// Load reads a worker's configuration from the process's flags, the LIGHTERMAN_
// variables and the file that --config or LIGHTERMAN_CONFIG names, and declares what
// Detect finds. An error is for people; --help prints the flags and exits.
func Load() (*config.Config, error) {
	fs := pflag.NewFlagSet(os.Args[0], pflag.ExitOnError)
	flags := AddFlags(fs)
	if err := fs.Parse(os.Args[1:]); err != nil {
		return nil, err
	}
	cfg, err := flags.Load()
	if err == nil {
		Detect(context.Background(), cfg)
	}
	return cfg, err
}
