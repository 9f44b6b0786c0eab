package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/provider/providertest"
)

// vendor is a model API of each kind on a fake server, and what its model costs.
type vendor struct {
	name   string
	format providertest.Format
	extra  string // of its backend's settings
	price  float64
	server *providertest.Server
}

func vendors() []*vendor {
	return []*vendor{
		{name: "openai", format: providertest.OpenAI{}, price: 1},
		{name: "anthropic", format: providertest.Anthropic{}, price: 2},
		{name: "gemini", format: providertest.Gemini{}, price: 3},
		{name: "bedrock", format: providertest.Bedrock{}, extra: ", region: eu-west-1", price: 4},
		{name: "ollama", format: providertest.NewOllama(), price: 5},
	}
}

const keyCanary = "sk-canary-91d2c7e0b5a44f38"

// declare starts the servers and writes a configuration in which one pool holds a
// model of each.
func declare(t *testing.T, all []*vendor) string {
	t.Helper()
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte(keyCanary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var backends, models, members strings.Builder
	for _, v := range all {
		v.server = providertest.NewServer(v.format)
		t.Cleanup(v.server.Close)
		fmt.Fprintf(&backends, "  - {id: %[1]s, provider: %[1]s, base_url: %q, api_key_file: %q%s}\n", v.name, v.server.URL, key, v.extra)
		fmt.Fprintf(&models, "  - {id: %[1]s-model, backend: %[1]s, name: alpha, price: {input: %g, output: %g}}\n", v.name, v.price, 2*v.price)
		fmt.Fprintf(&members, "      - {model_id: %s-model}\n", v.name)
	}
	path := filepath.Join(dir, "lighterman.yaml")
	text := "backends:\n" + backends.String() + "models:\n" + models.String() + "pools:\n  - id: any\n    members:\n" + members.String()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// asking writes a JSONL file of n chats.
func asking(t *testing.T, n int) string {
	t.Helper()
	var file bytes.Buffer
	for i := range n {
		body, err := json.Marshal(map[string]any{"messages": []map[string]string{
			{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hello to you"}, {"role": "user", "content": question(i)},
		}})
		if err != nil {
			t.Fatal(err)
		}
		file.Write(append(body, '\n'))
	}
	path := filepath.Join(t.TempDir(), "requests.jsonl")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// shown is what `show --output json` tells of an operation.
type shown struct {
	ID     lm.TraceID
	Costs  lua.Costs
	Result lm.Result
}

// run enqueues a file for a model and returns what show tells of each line.
func (f *fleet) run(config, file, model string) []shown {
	f.Helper()
	out := filepath.Join(f.TempDir(), "answers.jsonl")
	args := []string{"enqueue", "--config", config, "--redis", f.url, "--file", file, "--model", model, "--wait", "--out", out, "--timeout", "90s"}
	command := launch(f, "enqueue", binary(f.T, "lighterman"), args, nil, nil)
	if code := command.exit(2 * time.Minute); code != 0 {
		f.Fatalf("enqueue --model %s ended with %d: %s", model, code, command.log.tail(5))
	}
	content, err := os.ReadFile(out)
	if err != nil {
		f.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	all := make([]shown, len(lines))
	for _, line := range lines {
		var a struct {
			Line int
			ID   lm.TraceID
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			f.Fatal(err)
		}
		show := launch(f, "show", binary(f.T, "lighterman"), []string{"show", "--redis", f.url, string(a.ID), "--output", "json"}, nil, nil)
		if code := show.exit(time.Minute); code != 0 {
			f.Fatalf("show ended with %d: %s", code, show.log.tail(5))
		}
		if err := json.Unmarshal([]byte(show.out.tail(1<<20)), &all[a.Line-1]); err != nil {
			f.Fatal(err)
		}
	}
	return all
}

// TestProviders: one file runs against five model APIs, first by each alone and then
// by a pool of all whose members fail in their vendors' own ways: answers, usage and
// costs are right whoever answers.
func TestProviders_OneFileThroughFiveAPIs(t *testing.T) {
	f := newFleet(t, 10*time.Second)
	all := vendors()
	config := declare(t, all)
	w := f.start(crew{config: config, slots: 16})
	n := rounds(12, 200)
	file := asking(t, n)
	var want []shown
	for _, v := range all {
		got := f.run(config, file, v.name+"-model")
		for i := range got {
			f.checkAnswer(got[i], i, v.price)
		}
		if want == nil {
			want = got
		}
		for i := range got {
			if got[i].Result.Text() != want[i].Result.Text() || got[i].Result.Usage != want[i].Result.Usage {
				t.Errorf("%s answers line %d with %q and %+v, %s with %q and %+v", v.name, i+1, got[i].Result.Text(), got[i].Result.Usage, all[0].name, want[i].Result.Text(), want[i].Result.Usage)
			}
		}
	}
	for _, v := range all {
		v.fail()
	}
	by, routes := map[float64]int{}, 0
	got := f.run(config, file, "any")
	for i := range got {
		price := f.checkAnswer(got[i], i, 0)
		by[price]++
		routes += min(len(got[i].Result.Route), 1)
		if got[i].Result.Usage != want[i].Result.Usage {
			t.Errorf("the pool's usage of line %d is %+v, want %+v", i+1, got[i].Result.Usage, want[i].Result.Usage)
		}
	}
	t.Logf("%d requests by five APIs; then by the pool, answers by price %v, %d of them with switches", n, by, routes)
	if routes == 0 || len(by) < 2 {
		t.Error("nobody failed over: void")
	}
	f.checkSecrets(config, w)
}

// fail has a vendor's model fail for a while, as the vendor says it.
func (v *vendor) fail() {
	kinds := map[string][]lm.Kind{
		"openai": {lm.RateLimited, lm.ProviderFailed}, "anthropic": {lm.Overloaded, lm.Overloaded}, "gemini": {lm.ProviderFailed, lm.RateLimited},
		"bedrock": {lm.QuotaExhausted}, "ollama": {lm.ModelNotFound},
	}[v.name]
	for _, kind := range kinds {
		for _, e := range v.format.Errors() {
			if e.Kind == kind {
				v.server.Push(providertest.Step{}, providertest.Fail(e))
				break
			}
		}
	}
}

// checkAnswer checks one answer and what it cost; price 0: any vendor's. It returns
// the price.
func (f *fleet) checkAnswer(got shown, i int, price float64) float64 {
	f.Helper()
	r := got.Result
	if r.Outcome != lm.Succeeded || !strings.HasSuffix(r.Text(), question(i)) || !strings.HasPrefix(r.Text(), "You said: ") {
		f.Errorf("line %d: %s %q %v", i+1, r.Outcome, r.Text(), r.Err)
	}
	if r.Usage.Calls != 1 || r.Usage.Input == 0 || r.Usage.Output == 0 {
		f.Errorf("line %d: usage %+v", i+1, r.Usage)
	}
	unit := (float64(r.Usage.Input) + 2*float64(r.Usage.Output)) / 1e6
	is := math.Round(got.Costs.USD / unit)
	if is < 1 || is > 5 || price > 0 && is != price || math.Abs(got.Costs.USD-is*unit) > 2e-9 {
		f.Errorf("line %d costs %g, %g times its usage at a price of 1; want %g times", i+1, got.Costs.USD, got.Costs.USD/unit, price)
	}
	return is
}

// checkSecrets: the key is in no log, no key and no value of Redis, and no print of
// the configuration; what was asked is in no log and no key.
func (f *fleet) checkSecrets(config string, w *worker) {
	f.Helper()
	places := map[string]string{"the worker's log": w.log.tail(1<<20) + w.out.tail(1<<20), "the keys": strings.Join(f.keys(), "\n")}
	for where, text := range places {
		for _, canary := range []string{keyCanary, "canary-91d2", question(0)} {
			if strings.Contains(text, canary) {
				f.Errorf("%q is in %s", canary, where)
			}
		}
	}
	for _, args := range [][]string{{"config", "print"}, {"models", "--output", "json"}, {"pools"}, {"doctor"}} {
		command := launch(f, args[0], binary(f.T, "lighterman"), append(args, "--config", config, "--redis", f.url), nil, nil)
		command.exit(time.Minute)
		if text := command.out.tail(1<<20) + command.log.tail(1<<20); strings.Contains(text, "canary-91d2") || text == "" {
			f.Errorf("%v tells the key, or nothing: %s", args, command.out.tail(3))
		}
	}
	if found := f.holding("canary-91d2"); found != "" {
		f.Errorf("the key is in %s", found)
	}
	if f.holding(question(0)) == "" {
		f.Error("what was asked is nowhere in Redis: the search finds nothing")
	}
}

// holding is a key of Redis whose value holds a text; empty: there is none.
func (f *fleet) holding(text string) string {
	f.Helper()
	ctx := f.Context()
	for _, key := range f.keys() {
		var value any
		switch kind := f.rdb.Type(ctx, key).Val(); kind {
		case "string":
			value = f.rdb.Get(ctx, key).Val()
		case "hash":
			value = f.rdb.HGetAll(ctx, key).Val()
		case "stream":
			value = f.rdb.XRange(ctx, key, "-", "+").Val()
		case "zset":
			value = f.rdb.ZRange(ctx, key, 0, -1).Val()
		case "set":
			value = f.rdb.SMembers(ctx, key).Val()
		case "list":
			value = f.rdb.LRange(ctx, key, 0, -1).Val()
		case "none":
		default:
			f.Fatalf("%s is a %s: not read", key, kind)
		}
		if strings.Contains(fmt.Sprint(value), text) {
			return key
		}
	}
	return ""
}
