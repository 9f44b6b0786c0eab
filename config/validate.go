package config

import (
	"errors"
	"fmt"
	"net"
	"reflect"
	"strconv"
	"strings"
	"unicode"

	"github.com/lighterman/lighterman"
)

// maxWorkerName leaves room for "-" and 8 characters in the 64 bytes up to
// which Redis keeps a trace's hash small.
const maxWorkerName = 55

// maxModelName is the bound of a request's model.
const maxModelName = 256

// Validate reports everything that is wrong with a complete configuration, as
// an Errors: values out of range, names that cannot be names, settings that
// contradict each other. What Load and Parse return is valid; Fill comes
// before Validate for one that was put together by hand.
func (c *Config) Validate() error { return c.problems().orNil() }

func (c *Config) problems() Errors {
	v := &validation{origins: c.origins}
	root := reflect.ValueOf(c).Elem()
	for _, s := range settings() {
		v.report(s.path, s.check(root.FieldByIndex(s.index)))
	}
	if c.Redis.URL != "" {
		_, err := parseRedisURL(c.Redis.URL.Reveal())
		v.report("redis.url", err)
	}
	v.report("redis.prefix", lighterman.ValidName(c.Redis.Prefix))
	v.report("http.addr", validAddr(c.HTTP.Addr))
	v.worker(c.Worker)
	v.queues(c.Queues)
	v.routing(c)
	return v.errors
}

// validation collects problems with the places that caused them.
type validation struct {
	origins origins
	errors  Errors
}

func (v *validation) report(path string, err error) {
	if err != nil {
		v.errors = append(v.errors, Problem{Origin: v.origins.at(path), Path: path, Message: err.Error()})
	}
}

func (v *validation) worker(w Worker) {
	switch {
	case w.Name == "":
	case len(w.Name) > maxWorkerName:
		v.report("worker.name", fmt.Errorf("%d characters, at most %d", len(w.Name), maxWorkerName))
	default:
		v.report("worker.name", lighterman.ValidName(w.Name))
	}
	if w.Heartbeat > w.Lease/2 {
		v.report("worker.heartbeat", fmt.Errorf("%s is over half of worker.lease (%s); one lost renewal would cost the claim", w.Heartbeat, w.Lease))
	}
}

func (v *validation) queues(queues []Queue) {
	if len(queues) == 0 {
		v.report("queues", errors.New("no queue; want at least one, or leave the list out for the default"))
	}
	first := map[string]string{}
	for i, q := range queues {
		path := "queues[" + strconv.Itoa(i) + "]"
		v.item(reflect.ValueOf(q), path)
		if q.Name != "" {
			v.report(path+".name", lighterman.ValidName(q.Name))
			v.unique(first, q.Name, path+".name")
		}
	}
}

// item holds the fields of a list's item against their tags.
func (v *validation) item(item reflect.Value, path string) {
	if item.Kind() == reflect.String { // of a list of names, which its owner checks
		return
	}
	for i := range item.NumField() {
		s, f := specOf(item.Type().Field(i)), item.Field(i)
		at := path + "." + s.name
		switch {
		case s.required && (f.IsZero() || f.Kind() == reflect.Slice && f.Len() == 0):
			v.report(at, errors.New("missing"))
		case f.Kind() == reflect.Struct:
			v.item(f, at)
		case f.Kind() == reflect.Slice:
			for j := range f.Len() {
				v.item(f.Index(j), at+"["+strconv.Itoa(j)+"]")
			}
		default:
			v.report(at, s.check(f))
		}
	}
}

func (v *validation) unique(first map[string]string, name, path string) {
	other, taken := first[name]
	if !taken {
		first[name] = path
		return
	}
	where := other
	if o := v.origins.at(other); o.Line > 0 {
		where += " in line " + strconv.Itoa(o.Line)
	}
	v.report(path, fmt.Errorf("%s is taken by %s", quote(name), where))
}

func validAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%s is not an address; want HOST:PORT, as in 127.0.0.1:7380", quote(addr))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("%s: port %s is not one of 0 to 65535", quote(addr), quote(port))
	}
	return nil
}

func validModelName(name string) error {
	switch {
	case name == "":
		return errors.New("empty; want a model's name")
	case len(name) > maxModelName:
		return fmt.Errorf("%d bytes, at most %d", len(name), maxModelName)
	case strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return fmt.Errorf("%s has a space or control character in it", quote(name))
	}
	return nil
}
