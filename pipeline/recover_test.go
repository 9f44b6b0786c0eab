package pipeline_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/checkpoint"
	"github.com/lighterman/lighterman/pipeline"
)

const checkpointKey = "{lm:0}:checkpoint:"

// twoSteps runs step 1, ends where stop says so, and runs step 2.
func twoSteps(stop func() error) program {
	return func(ctx context.Context, r *rig, op *pipeline.Op) (any, error) {
		if _, err := r.step(ctx, op, "1"); err != nil {
			return nil, err
		}
		if err := stop(); err != nil {
			return nil, err
		}
		return r.step(ctx, op, "2")
	}
}

var errStopped = errors.New("stopped")

func stopped() error { return errStopped }
func goOn() error    { return nil }

// interrupted is an operation with step 1 saved by a worker whose codec has the
// options, and nobody's claim.
func interrupted(w *world, o checkpoint.Options) lm.TraceID {
	w.Helper()
	id := w.enqueue(kindRequest("test"))
	r := w.rig(func(r *rig) { r.opts.Codec = codec(w, o) })
	r.register(twoSteps(stopped))
	if _, err := r.Handle(ctx, w.claim(id)); !errors.Is(err, errStopped) {
		w.Fatal(err)
	}
	return id
}

// A newer worker's checkpoint waits for one, a bounded number of times, and is
// replaced then (PARITY 15).
func TestHandle_ANewerSchemaWaitsAndIsThenReplaced(t *testing.T) {
	each(t, func(w *world) {
		id := interrupted(w, checkpoint.Options{Schema: 2})
		r := w.programmed(twoSteps(goOn))
		claim := w.takeover(id)
		for claim.SchemaWaits = range 10 {
			if _, err := r.Handle(ctx, claim); lm.KindOf(err) != lm.SchemaTooNew {
				w.Fatalf("wait %d: %v", claim.SchemaWaits, err)
			}
		}
		if n := r.calls.all(); len(n) != 0 {
			w.Errorf("called %v while waiting", n)
		}
		claim.SchemaWaits = 10
		regathers(w, id, claim, r)
	})
}

// regathers expects that a claim's checkpoint is unusable: step 1 runs again, and
// what is then stored is good.
func regathers(w *world, id lm.TraceID, claim lm.Claim, r *rig) {
	w.Helper()
	r.register(twoSteps(stopped))
	if _, err := r.Handle(ctx, claim); !errors.Is(err, errStopped) {
		w.Fatal(err)
	}
	r.register(twoSteps(goOn))
	w.finish(r, w.takeover(id))
	if diff := cmp.Diff(map[string]int{"step/1": 1, "step/2": 1}, r.calls.all()); diff != "" {
		w.Error(diff)
	}
}

// What cannot be read is gathered again, once: it never fails the operation and
// never comes back (PARITY 16, 17).
func TestHandle_AnUnusableCheckpointIsGatheredAgain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		wrote checkpoint.Options
		harm  func(w *world, key string)
		reads checkpoint.Options
	}{
		{name: "older schema", reads: checkpoint.Options{Schema: 3}},
		{name: "a bomb", reads: checkpoint.Options{MaxInflate: 64 << 10}, harm: plantBomb},
		{name: "bit flip", harm: func(w *world, key string) {
			b, err := w.rdb.HGet(ctx, key, "payload_compressed").Bytes()
			if err != nil {
				w.Fatal(err)
			}
			b[len(b)/2] ^= 1
			w.rdb.HSet(ctx, key, "payload_compressed", b)
		}},
		{name: "cut", harm: func(w *world, key string) { w.rdb.HSet(ctx, key, "payload_compressed", "x") }},
		{name: "a field is gone", harm: func(w *world, key string) { w.rdb.HDel(ctx, key, "checksum") }},
		{name: "a wrong codec", harm: func(w *world, key string) { w.rdb.HSet(ctx, key, "codec", "lzma") }},
		{name: "no schema", harm: func(w *world, key string) { w.rdb.HSet(ctx, key, "schema_version", "new") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(w *world) {
				id := interrupted(w, tt.wrote)
				if tt.harm != nil {
					tt.harm(w, checkpointKey+string(id))
				}
				r := w.rig(func(r *rig) { r.opts.Codec = codec(w, tt.reads) })
				regathers(w, id, w.takeover(id), r)
			})
		})
	}
}

// plantBomb replaces a checkpoint with a sound one that is small and inflates to
// 1 MiB.
func plantBomb(w *world, key string) {
	w.Helper()
	id := lm.TraceID(strings.TrimPrefix(key, checkpointKey))
	book, _ := codec(w, checkpoint.Options{}).Open(id, nil)
	fields, err := book.Record("step/1", make([]byte, 1<<20))
	if err != nil {
		w.Fatal(err)
	}
	w.rdb.Del(ctx, key)
	for _, f := range fields {
		w.rdb.HSet(ctx, key, f.Name, f.Data)
	}
	if n := w.rdb.HStrLen(ctx, key, "payload_compressed").Val(); n < 1 || n > 4096 {
		w.Fatalf("a bomb of %d bytes", n)
	}
}

// A step whose result is over the bound is not saved; the operation goes on, the
// steps after it are saved, and a takeover repeats that one alone.
func TestStep_TooLargeToSaveGoesOn(t *testing.T) {
	each(t, func(w *world) {
		stop := stopped
		f := func(ctx context.Context, r *rig, op *pipeline.Op) (any, error) {
			n, err := pipeline.Step(ctx, op, "large", func(context.Context) (string, error) {
				r.calls.add(op.Key("step/large"))
				var noise strings.Builder
				for range 100 {
					noise.WriteString(rand.Text())
				}
				return noise.String(), nil
			})
			if err != nil || len(n) != 2600 {
				return nil, err
			}
			return twoSteps(stop)(ctx, r, op)
		}
		small := func(r *rig) { r.opts.Codec = codec(w, checkpoint.Options{MaxBytes: 1000}) }
		r := w.rig(small)
		r.register(f)
		id := w.enqueue(kindRequest("test"))
		if _, err := r.Handle(ctx, w.claim(id)); !errors.Is(err, errStopped) {
			w.Fatal(err)
		}
		stop = goOn
		w.finish(r, w.takeover(id))
		if diff := cmp.Diff(map[string]int{"step/large": 2, "step/1": 1, "step/2": 1}, r.calls.all()); diff != "" {
			w.Error(diff)
		}
	})
}

// Where Redis has no memory for a checkpoint the work goes on, and the steps are
// saved with the first write that fits.
func TestStep_OutOfMemoryStepsGoWithTheNextWrite(t *testing.T) {
	w := onRedis(t)
	limit := func(bytes int) {
		if err := w.rdb.ConfigSet(ctx, "maxmemory", strconv.Itoa(bytes)).Err(); err != nil {
			t.Error(err)
		}
	}
	defer limit(0)
	f := func(stop bool) program {
		return func(ctx context.Context, r *rig, op *pipeline.Op) (any, error) {
			for i, name := range []string{"1", "2", "3"} {
				_, err := pipeline.Step(ctx, op, name, func(context.Context) (int, error) {
					r.calls.add(op.Key("step/" + name))
					switch i {
					case 0:
						limit(1)
					case 2:
						limit(0)
					}
					return i, nil
				})
				if err != nil {
					return nil, err
				}
				if stored := w.rdb.Exists(ctx, checkpointKey+string(op.ID())).Val(); stop && stored != int64(i/2) {
					t.Errorf("after step %s: %d checkpoints are stored", name, stored)
				}
			}
			if stop {
				return nil, errStopped
			}
			return "done", nil
		}
	}
	r := w.rig(nil)
	r.register(f(true))
	id := w.enqueue(kindRequest("test"))
	if _, err := r.Handle(ctx, w.claim(id)); !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	r.register(f(false))
	w.finish(r, w.takeover(id))
	if diff := cmp.Diff(map[string]int{"step/1": 1, "step/2": 1, "step/3": 1}, r.calls.all()); diff != "" {
		t.Error(diff)
	}
}
