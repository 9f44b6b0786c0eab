package config

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/utccron"
)

// maxMembers is the router's.
const maxMembers = 64

// routing checks backends, models and pools, which name one another. Models and
// pools share one namespace.
func (v *validation) routing(c *Config) {
	backends := v.backends(c.Backends)
	names := map[string]string{}
	models := v.models(c.Models, backends, names)
	v.pools(c.Pools, models, names)
	v.defaults(c, slices.Concat(models, keysOf(names)), backends)
	v.groups(c.Groups, keysOf(backends), models)
	for i, f := range c.Sim.Faults {
		v.fault(f, c, backends, "sim.faults["+strconv.Itoa(i)+"]")
	}
}

// backends returns the provider of each.
func (v *validation) backends(backends []Backend) map[string]string {
	declared, first := map[string]string{SimBackend: SimBackend}, map[string]string{}
	for i, b := range backends {
		path := "backends[" + strconv.Itoa(i) + "]"
		v.item(reflect.ValueOf(b), path)
		if b.ID != "" {
			v.report(path+".id", lighterman.ValidName(b.ID))
			v.unique(first, b.ID, path+".id")
			declared[b.ID] = b.Provider
		}
		v.backend(&b, path)
	}
	return declared
}

// backend checks that a backend has what its provider needs and nothing that means
// nothing to it.
func (v *validation) backend(b *Backend, path string) {
	if b.APIKeyEnv != "" && b.APIKeyFile != "" {
		v.report(path+"."+keyFile, errTwoKeys)
	}
	if b.BaseURL != "" {
		v.report(path+"."+baseURL, validBaseURL(b.BaseURL))
	}
	f, known := providers[b.Provider]
	if !known {
		return
	}
	set := b.settings()
	for _, name := range f.needs {
		if set[name] == "" {
			v.report(path+"."+name, fmt.Errorf("missing; the provider %s needs it", b.Provider))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if set[name] != "" && !slices.Contains(f.needs, name) && !slices.Contains(f.takes, name) {
			v.report(path+"."+name, fmt.Errorf("the provider %s has none", b.Provider))
		}
	}
}

// validBaseURL takes http and https without a name, password, query or fragment:
// a credential has its own setting. It never quotes what it was given.
func validBaseURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return errors.New("want an address as https://HOST/v1")
	case u.User != nil:
		return errors.New("a name or password in it would be printed; want " + keyEnv + " or " + keyFile)
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("want an address without ? and #")
	}
	path := strings.TrimRight(u.Path, "/")
	for _, call := range callPaths {
		if base, ok := strings.CutSuffix(path, call); ok {
			u.Path = base
			return fmt.Errorf("the address of one kind of call, which is put behind it for each; want %s", u)
		}
	}
	return nil
}

// callPaths are what model APIs have behind the base of their address.
var callPaths = []string{"/chat/completions", "/completions", "/embeddings", "/responses", "/messages", "/models", "/api/chat", "/api/generate"}

// models returns the names that a pool's members may have.
func (v *validation) models(models []Model, backends, names map[string]string) []string {
	var known []string
	for i, m := range models {
		path := "models[" + strconv.Itoa(i) + "]"
		v.item(reflect.ValueOf(m), path)
		if m.ID != "" {
			v.report(path+".id", validModelName(m.ID))
			v.unique(names, m.ID, path+".id")
			known = append(known, m.ID)
		}
		if m.Name != "" {
			v.report(path+".name", validModelName(m.Name))
		}
		if _, declared := backends[m.Backend]; m.Backend != "" && !declared {
			v.report(path+".backend", undeclared(m.Backend, keysOf(backends)))
		}
		for j, w := range m.Maintenance {
			if w.Cron != "" {
				_, err := utccron.Parse(w.Cron)
				v.report(path+".maintenance["+strconv.Itoa(j)+"].cron", err)
			}
		}
	}
	return append(known, SimModels()...)
}

func (v *validation) pools(pools []Pool, models []string, names map[string]string) {
	for i, p := range pools {
		path := "pools[" + strconv.Itoa(i) + "]"
		v.item(reflect.ValueOf(p), path)
		switch {
		case p.ID == "":
		case slices.Contains(SimModels(), p.ID):
			v.report(path+".id", fmt.Errorf("%s is the name of a simulated model", quote(p.ID)))
		default:
			v.report(path+".id", validModelName(p.ID))
			v.unique(names, p.ID, path+".id")
		}
		v.members(p.Members, models, path+".members")
	}
}

// defaults holds the models of requests without one against what there is. One that
// may be discovered is named after its backend, BACKEND/NAME.
func (v *validation) defaults(c *Config, known []string, backends map[string]string) {
	for _, d := range [][2]string{{"defaults.chat", c.Defaults.Chat}, {"defaults.prompt", c.Defaults.Prompt}, {"defaults.embed", c.Defaults.Embed}} {
		path, name := d[0], d[1]
		if err := validModelName(name); err != nil {
			v.report(path, err)
			continue
		}
		backend, _, discovered := strings.Cut(name, "/")
		_, declared := backends[backend]
		if slices.Contains(known, name) || discovered && (declared || len(c.Backends) == 0) {
			continue
		}
		v.report(path, undeclared(name, known))
	}
}

func (v *validation) groups(groups []Group, backends, models []string) {
	first := map[string]string{}
	for i, g := range groups {
		path := "groups[" + strconv.Itoa(i) + "]"
		v.item(reflect.ValueOf(g), path)
		if g.ID != "" {
			v.report(path+".id", lighterman.ValidName(g.ID))
			v.unique(first, g.ID, path+".id")
		}
		if len(g.Backends)+len(g.Models) == 0 {
			v.report(path, errors.New("has neither backends nor models"))
		}
		v.named(g.Backends, backends, path+".backends")
		v.named(g.Models, models, path+".models")
	}
}

// named checks a list of names against those that there are.
func (v *validation) named(list, known []string, path string) {
	first := map[string]string{}
	for i, name := range list {
		at := path + "[" + strconv.Itoa(i) + "]"
		if !slices.Contains(known, name) {
			v.report(at, undeclared(name, known))
		}
		v.unique(first, name, at)
	}
}

func (v *validation) members(members []Member, models []string, path string) {
	first, homes := map[string]string{}, false
	for i, m := range members {
		at := path + "[" + strconv.Itoa(i) + "].model_id"
		homes = homes || m.Role == "member"
		if m.ModelID == "" {
			continue
		}
		if !slices.Contains(models, m.ModelID) {
			v.report(at, undeclared(m.ModelID, models))
		}
		v.unique(first, m.ModelID, at)
	}
	switch {
	case len(members) > maxMembers:
		v.report(path, fmt.Errorf("%d members, at most %d", len(members), maxMembers))
	case len(members) > 0 && !homes:
		v.report(path, errors.New("all are failover_only; want at least one of role member"))
	}
}

func (v *validation) fault(f Fault, c *Config, backends map[string]string, path string) {
	v.item(reflect.ValueOf(f), path)
	if f.Model == "" {
		return
	}
	var simulated []string
	for _, m := range c.Models {
		if backends[m.Backend] == SimBackend {
			simulated = append(simulated, m.ID)
		}
	}
	if !slices.Contains(simulated, f.Model) {
		v.report(path+".model", undeclared(f.Model, simulated))
	}
}

func undeclared(name string, known []string) error {
	if near := lighterman.DidYouMean(name, known); near != "" {
		return fmt.Errorf("%s is not declared; did you mean %s?", quote(name), near)
	}
	return fmt.Errorf("%s is not declared (declared: %s)", quote(name), few(known))
}

// few lists names, so many that a line has room for them.
func few(names []string) string {
	const most = 8
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "" })
	if len(names) == 0 {
		return "none"
	}
	text := strings.Join(names[:min(len(names), most)], ", ")
	if len(names) > most {
		text += ", ..."
	}
	return text
}

func keysOf(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
