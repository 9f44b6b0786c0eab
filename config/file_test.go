package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/lighterman/lighterman/config"
)

func TestParse_SaysWhatIsWrongAndWhere(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"unknown key", "wroker: {}", "1:1: wroker: unknown; did you mean worker?"},
		{"unknown key, nothing near", "xyz: 1", "1:1: xyz: unknown"},
		{"key of another section", "lease: 10s", "1:1: lease: unknown here; did you mean worker.lease?"},
		{"key that is no name", `"a: b": 1`, `1:1: "a: b": unknown`},
		{"key that is a list", "? [a]\n: 1", "1:3: a list: unknown"},
		{"unknown key in a list", "queues: [{name: a, wieght: 2}]", "1:20: queues[0].wieght: unknown; did you mean weight?"},
		{"key twice", "log: {level: info}\nworker: {lease: 1s, lease: 2s}\nlog: {}", "2:21: worker.lease: set twice; first in line 2\n3:1: log: set twice; first in line 1"},
		{"merge key", "a: &a {}\nlog: {<<: *a}", "1:1: a: unknown\n2:7: log.\"<<\": merge keys are not supported"},
		{"list for a section", "worker: [1]", "1:9: worker: want a mapping, got a list"},
		{"text for the document", "hello", "1:1: want a mapping, got text"},
		{"mapping for a list", "queues: {a: 1}", "1:9: queues: want a list, got a mapping"},
		{"text for a list's item", "queues: [a]", "1:10: queues[0]: want a mapping, got text"},
		{"text for a number", "worker: {concurrency: '64'}", "1:23: worker.concurrency: want a whole number, got text"},
		{"fraction for a number", "worker: {concurrency: 1.5}", "1:23: worker.concurrency: \"1.5\" is not a whole number in decimal"},
		{"number for an address", "redis: {url: 1.5}", "1:14: redis.url: want a URL, got a number with a fraction"},
		{"octal or not", "worker: {concurrency: 010}", `1:23: worker.concurrency: "010" is not a whole number in decimal`},
		{"number that is too large", "limits: {queue: 99999999999999999999}", "1:17: limits.queue: 99999999999999999999 is out of range"},
		{"number for text", "worker: {name: 12}", `1:16: worker.name: want text, got a whole number; quote it: "12"`},
		{"bool for text", "defaults: {chat: true}", `1:18: defaults.chat: want text, got true or false; quote it: "true"`},
		{"date for text", "defaults: {chat: 2024-01-01}", `1:18: defaults.chat: want text, got a date; quote it: "2024-01-01"`},
		{"nothing for text", "redis:\n  prefix:\n", "2:10: redis.prefix: want text, got nothing"},
		{"tag of its own", "worker: {name: !x y}", `1:16: worker.name: want text, got a value tagged "!x"; quote it: "y"`},
		{"secret of the wrong type", "redis: {url: [hunter2]}", "1:14: redis.url: want a URL, got a list"},
		{"secret that is a number", "redis: {url: 12345}", "1:14: redis.url: want a URL, got a whole number"},
		{"duration without unit", "worker: {lease: 10}", `1:17: worker.lease: "10" is not a duration; want numbers with units, as in 500ms, 10s, 1h30m or 7d`},
		{"duration out of range", "deliver: {result_retention: 59s}", "1:29: deliver.result_retention: 59s is out of range; want 60s to 24h"},
		{"size out of range", "limits: {checkpoint: 5KiB}", "1:22: limits.checkpoint: 5KiB is out of range; want 64KiB to 64MiB"},
		{"heartbeat too slow", "worker: {heartbeat: 6s}", "1:21: worker.heartbeat: 6s is over half of worker.lease (10s); one lost renewal would cost the claim"},
		{"lease too short", "worker: {heartbeat: 1s,\n lease: 1s}", "1:21: worker.heartbeat: 1s is over half of worker.lease (1s); one lost renewal would cost the claim"},
		{"heartbeat of nothing", "worker: {heartbeat: 0s}", "1:21: worker.heartbeat: 0s is out of range; want 10ms to 30m"},
		{"no word of the list", "log: {format: xml}", `1:15: log.format: "xml": unknown; want auto, console, json`},
		{"name that is none", "redis: {prefix: 'a{b}'}", `1:17: redis.prefix: name "a{b}": '{' is not one of A-Z a-z 0-9 _ . -`},
		{"worker's name too long", "worker: {name: " + strings.Repeat("x", 56) + "}", "1:16: worker.name: 56 characters, at most 55"},
		{"no address", "http: {addr: localhost}", `1:14: http.addr: "localhost" is not an address; want HOST:PORT, as in 127.0.0.1:7380`},
		{"no port", "http: {addr: 'localhost:http'}", `1:14: http.addr: "localhost:http": port "http" is not one of 0 to 65535`},
		{"no queue", "queues: []", "1:9: queues: no queue; want at least one, or leave the list out for the default"},
		{"queue without a name", "queues: [{weight: 1}]", "1:10: queues[0].name: missing"},
		{"queue without a share", "queues: [{name: a, weight: 0}]", "1:28: queues[0].weight: 0 is out of range; want 1 to 1000"},
		{"queue twice", "queues:\n- {name: a}\n- {name: b}\n- {name: a}", `4:10: queues[2].name: "a" is taken by queues[0].name in line 2`},
		{"queue with a bad name", "queues: [{name: a b}]", `1:17: queues[0].name: name "a b": ' ' is not one of A-Z a-z 0-9 _ . -`},
		{"backend of no provider", "backends: [{id: o, provider: opneai}]", `1:30: backends[0].provider: "opneai": unknown; did you mean openai?`},
		{"backend that nobody declares", "models: [{id: gpt, backend: smi, name: gpt-4o}]", `1:29: models[0].backend: "smi" is not declared; did you mean sim?`},
		{"model twice", "models:\n- {id: m, backend: sim, name: sim}\n- {id: m, backend: sim, name: sim}", `3:8: models[1].id: "m" is taken by models[0].id in line 2`},
		{"empty model", "models: [{}]", "1:10: models[0].id: missing\n1:10: models[0].backend: missing\n1:10: models[0].name: missing"},
		{"model with a space", "defaults: {chat: 'a b'}", `1:18: defaults.chat: "a b" has a space or control character in it`},
		{"no default model", "defaults: {chat: ''}", "1:18: defaults.chat: empty; want a model's name"},
		{"alias", "x: &x {lease: 1}\nworker: *x", "1:1: x: unknown\n1:15: worker.lease: \"1\" is not a duration; want numbers with units, as in 500ms, 10s, 1h30m or 7d"},
		{"alias to itself", "worker: &w {lease: *w}", "1:20: worker.lease: want a duration as in 10s, got a mapping"},
		{"no such alias", "worker: *w", "1:9: not YAML: unknown anchor 'w' referenced"},
		{"not YAML", "worker: [1\nlog: 2", "2:4: not YAML: while parsing a flow sequence: did not find expected ',' or ']'"},
		{"tab", "\tworker: 1", "1:1: not YAML: a tab in the indentation; want spaces"},
		{"tab within", "worker:\n  lease: 5s\n \tname: a", "3:2: not YAML: a tab in the indentation; want spaces"},
		{"tab before a list", "backends:\n\t- {id: a, provider: sim}", "2:1: not YAML: a tab in the indentation; want spaces"},
		{"key in the file", "backends: [{id: a, provider: openai, api_key: hunter2}]", "1:38: backends[0].api_key: no key stands in this file; name the variable that holds it with api_key_env, or the file with api_key_file"},
		{"token in the file", "backends: [{id: a, provider: openai, token: hunter2}]", "1:38: backends[0].token: no key stands in this file; name the variable that holds it with api_key_env, or the file with api_key_file"},
		{"password in the file", "redis: {url: 'redis://h', password: hunter2}", "1:27: redis.password: user and password are part of redis.url (redis://USER:PASSWORD@HOST), or of the URL in redis.url_file"},
		{"undeclared backend", "models: [{id: m, backend: zzzz, name: n}]", `1:27: models[0].backend: "zzzz" is not declared (declared: sim)`},
		{"default that is none", "defaults: {chat: zzzz}", `1:18: defaults.chat: "zzzz" is not declared (declared: sim, sim-slow, sim-tools, sim-flaky, sim-limited, sim-embed)`},
		{"default near another", "models: [{id: mini, backend: sim, name: sim}]\ndefaults: {embed: mni}", `2:19: defaults.embed: "mni" is not declared; did you mean mini?`},
		{"default of another backend", "backends: [{id: o, provider: openai}]\ndefaults: {prompt: p/x}", `2:20: defaults.prompt: "p/x" is not declared (declared: sim, sim-slow, sim-tools, sim-flaky, sim-limited, sim-embed)`},
		{"address of a call", "backends: [{id: o, provider: openai, base_url: 'http://h:1/v1/chat/completions'}]", "1:48: backends[0].base_url: the address of one kind of call, which is put behind it for each; want http://h:1/v1"},
		{"address of another call", "backends: [{id: o, provider: openai, base_url: 'http://h/v1/embeddings/'}]", "1:48: backends[0].base_url: the address of one kind of call, which is put behind it for each; want http://h/v1"},
		{"two documents", "log: {}\n---\nlog: {}", "2:1: a second document; want one"},
		{"not UTF-8", "# é\nlog: {level: \xff}", "2:14: not UTF-8 text"},
		{"control character", "log: \x01", "1:6: not UTF-8 text"},
		{"column counts characters", "worker: {name: 'é', xyz: 1}", "1:16: worker.name: name \"é\": 'Ã' is not one of A-Z a-z 0-9 _ . -\n1:21: worker.xyz: unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.Parse("f", []byte(c.yaml))
			if err == nil {
				t.Fatal("accepted")
			}
			if diff := cmp.Diff(c.want, strings.ReplaceAll("\n"+err.Error(), "\nf:", "\n")[1:]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParse_AcceptsWhatPeopleWrite(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		check      func(*config.Config) bool
	}{
		{"empty", "", func(c *config.Config) bool { return len(c.Queues) == 3 }},
		{"only comments", "# nothing\n", func(c *config.Config) bool { return len(c.Queues) == 3 }},
		{"section that is commented out", "redis:\n  # url: redis://h\nqueues:\nworker: {}\n", func(c *config.Config) bool { return len(c.Queues) == 3 && c.Redis.URL == "" }},
		{"queues replace the default", "queues: [{name: a}]", func(c *config.Config) bool {
			return cmp.Equal(c.Queues, []config.Queue{{Name: "a", Weight: 1}})
		}},
		{"alias", "queues: [{name: a, weight: &w 5}, {name: b, weight: *w}]", func(c *config.Config) bool { return c.Queues[1].Weight == 5 }},
		{"size in bytes", "limits: {checkpoint: 65536}", func(c *config.Config) bool { return c.Limits.Checkpoint == 64<<10 }},
		{"zero where it means something", "worker: {drain_timeout: 0s}", func(c *config.Config) bool { return c.Worker.DrainTimeout == 0 }},
		{"model", "models: [{id: my-sim, backend: sim, name: sim-slow}]", func(c *config.Config) bool {
			return len(c.Models) == 1 && c.Models[0].ID == "my-sim" && c.Models[0].Backend == "sim" && c.Models[0].Name == "sim-slow"
		}},
		{"windows line ends", "worker:\r\n  lease: 7s\r\n", func(c *config.Config) bool { return c.Worker.Lease.String() == "7s" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := config.Parse("f", []byte(c.yaml))
			if err != nil || !c.check(got) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}
