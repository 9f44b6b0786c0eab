package config

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/lighterman/lighterman"
)

// Options are what Load works from. The zero value reads the process's
// environment and the file that LIGHTERMAN_CONFIG names, if it names one.
type Options struct {
	File      string            // wins over LIGHTERMAN_CONFIG; neither: no file
	Overrides map[string]string // the flags that were given, by the path of their setting
	Flags     map[string]string // how a flag is called in messages ("--drain-timeout"), by path; default: the path with dashes
	Environ   []string          // NAME=VALUE; nil: the process's own
	IgnoreEnv []string          // LIGHTERMAN_ variables that are not the loader's
}

// Load reads a complete, valid configuration: flags over environment over file
// over defaults. Its error is an Errors with everything that is wrong, values
// that a flag or the environment overrides included. An empty variable counts
// as not set, but where it leaves no Redis URL; one that starts with LIGHTERMAN_ and is not known is an error,
// but for LIGHTERMAN_CONFIG, those of IgnoreEnv, and those that Kubernetes sets
// for a Service of that name. redis.url_file is read here and its content is
// then redis.url; when both are set the stronger source wins, and a url_file
// that loses is emptied; both from the same source are an error.
func Load(o Options) (*Config, error) {
	l := newLoading()
	environ := o.Environ
	if environ == nil {
		environ = os.Environ()
	}
	l.readFile(o, environ)
	l.environment(environ, o.IgnoreEnv)
	l.flags(o)
	return l.finish()
}

// Parse reads a configuration from a file's content alone, as Load would with
// no environment and no flags. The name is for messages.
func Parse(name string, content []byte) (*Config, error) {
	l := newLoading()
	l.parseFile(name, content)
	return l.finish()
}

// loading is a configuration while it is put together.
type loading struct {
	cfg        *Config
	problems   Errors
	bad        map[string]bool // paths that a problem was reported for
	emptyURL   []Origin        // which variables and flags name no Redis though they are given
	readSecret func(path string) ([]byte, error)
}

func newLoading() *loading {
	c := Default()
	c.Worker.Heartbeat = 0 // derived again from the lease that will be found
	c.origins = origins{}
	return &loading{
		cfg: c, bad: map[string]bool{},
		readSecret: func(path string) ([]byte, error) { return readBounded(path, maxSecret) },
	}
}

func (l *loading) report(origin Origin, path, format string, args ...any) {
	l.bad[path] = true
	l.problems = append(l.problems, Problem{Origin: origin, Path: path, Message: fmt.Sprintf(format, args...)})
}

// put sets one setting from text, or reports why it cannot.
func (l *loading) put(s setting, origin Origin, text string) {
	v := reflect.ValueOf(l.cfg).Elem().FieldByIndex(s.index)
	if err := s.set(v, text); err != nil {
		l.report(origin, s.path, "%s", err)
		return
	}
	l.cfg.origins[s.path] = origin
}

func (l *loading) readFile(o Options, environ []string) {
	name, origin := o.File, Origin{Source: FromFlag, Name: "--config"}
	if name == "" {
		name, _ = lookup(environ, envConfig)
		origin = Origin{Source: FromEnv, Name: envConfig}
	}
	if name == "" {
		return
	}
	content, err := readBounded(name, maxFile)
	if err != nil {
		l.report(origin, "", "%s", err)
		return
	}
	l.parseFile(name, content)
}

func (l *loading) flags(o Options) {
	var known []string
	for _, s := range settings() {
		known = append(known, s.path)
	}
	for _, path := range slices.Sorted(maps.Keys(o.Overrides)) {
		origin := Origin{Source: FromFlag, Name: flagName(o, path)}
		s, ok := settingAt(path)
		if !ok {
			l.report(origin, path, "%s", unknown(path, known))
			continue
		}
		if o.Overrides[path] == "" && isRedisURL(path) {
			l.emptyURL = append(l.emptyURL, origin)
			continue
		}
		l.put(s, origin, o.Overrides[path])
	}
}

func flagName(o Options, path string) string {
	if name := o.Flags[path]; name != "" {
		return name
	}
	return "--" + strings.NewReplacer(".", "-", "_", "-").Replace(path)
}

// finish does what needs all sources: the twins of redis.url, derived values,
// and the checks of one setting against another.
func (l *loading) finish() (*Config, error) {
	l.redisURL()
	l.cfg.deriveHeartbeat()
	for _, p := range l.cfg.problems() {
		if !l.isBad(p.Path) {
			l.problems = append(l.problems, p)
		}
	}
	if err := l.problems.orNil(); err != nil {
		return nil, err
	}
	return l.cfg, nil
}

// isBad reports whether a problem of path, or of the list item or section
// around it, is known, from which others would only follow.
func (l *loading) isBad(path string) bool {
	for path != "" && !l.bad[path] {
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return path != ""
}

// unknown is the message for a name that is not among the known ones.
func unknown(name string, known []string) string {
	if near := lighterman.DidYouMean(name, known); near != "" {
		return "unknown; did you mean " + near + "?"
	}
	return "unknown"
}
