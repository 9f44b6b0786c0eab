package config

import (
	"regexp"
	"slices"
	"strings"

	"github.com/lighterman/lighterman"
)

// The environment's names: a prefix, then a setting's path in capitals with
// its dots as underscores.
const (
	envPrefix = "LIGHTERMAN_"
	envConfig = envPrefix + "CONFIG"
)

// Variable is an environment variable that Load reads.
type Variable struct {
	Name    string
	Path    string // of its setting; empty for LIGHTERMAN_CONFIG
	Default string // as it would be written, or in words; may be empty
	Desc    string // one or more sentences
}

// Env lists every environment variable that Load reads, LIGHTERMAN_CONFIG
// first, then the settings in the order of the tree. Lists have none.
func Env() []Variable {
	all := []Variable{{Name: envConfig, Desc: "The configuration file, where --config does not name one."}}
	for _, s := range settings() {
		v := Variable{Name: envName(s.path), Path: s.path, Default: s.def, Desc: s.desc}
		if s.derived != "" {
			v.Default = s.derived
		}
		all = append(all, v)
	}
	return all
}

func envName(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// environment applies the variables of an environment. Of a name that occurs
// twice the last counts, as in a process started with it.
func (l *loading) environment(environ, ignore []string) {
	var known []string
	for _, s := range settings() {
		name := envName(s.path)
		known = append(known, name)
		text, set := lookup(environ, name)
		switch origin := (Origin{Source: FromEnv, Name: name}); {
		case text != "":
			l.put(s, origin, text)
		case set && isRedisURL(s.path):
			l.emptyURL = append(l.emptyURL, origin)
		}
	}
	known = append(known, envConfig)
	var reported []string
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case !strings.HasPrefix(name, envPrefix), slices.Contains(known, name), slices.Contains(ignore, name), slices.Contains(reported, name):
		case serviceLink(name, value):
		default:
			reported = append(reported, name)
			l.report(Origin{Source: FromEnv, Name: name}, "", "%s", unknownVariable(name, known))
		}
	}
}

func unknownVariable(name string, known []string) string {
	rest := strings.ToLower(strings.TrimPrefix(name, envPrefix))
	for _, list := range lists() {
		if rest == list || strings.HasPrefix(rest, list+"_") {
			return list + " is a list, which only the configuration file can hold"
		}
	}
	// Without the prefix: it would lend every name eleven letters of likeness.
	var rests []string
	for _, k := range known {
		rests = append(rests, strings.TrimPrefix(k, envPrefix))
	}
	if near := lighterman.DidYouMean(rest, rests); near != "" {
		return "unknown; did you mean " + envPrefix + near + "?"
	}
	for _, k := range known { // a section instead of its first setting, as LIGHTERMAN_REDIS
		if strings.HasPrefix(k, name+"_") {
			return "unknown; did you mean " + k + "?"
		}
	}
	return "unknown"
}

// serviceLinks, and names in _PORT with a servicePort, are what Kubernetes puts into every container of a namespace
// with a Service named lighterman or lighterman-...:
// https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
var serviceLinks = regexp.MustCompile(`^LIGHTERMAN_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

var servicePort = regexp.MustCompile(`^(tcp|udp|sctp)://`)

func serviceLink(name, value string) bool {
	return serviceLinks.MatchString(name) || strings.HasSuffix(name, "_PORT") && servicePort.MatchString(value)
}

// lookup is the value of a variable, and whether it is set.
func lookup(environ []string, name string) (value string, set bool) {
	for _, entry := range environ {
		if n, v, ok := strings.Cut(entry, "="); ok && n == name {
			value, set = v, true
		}
	}
	return value, set
}
