package cli

import (
	"slices"
	"testing"
	"time"

	"github.com/lighterman/lighterman/lua"
)

// TestDoctor_NamesWorkersThatKnowLess: two workers of one queue, one of which does not
// know a model and has no handler of a kind.
func TestDoctor_NamesWorkersThatKnowLess(t *testing.T) {
	t.Parallel()
	sh, _, s := sick(t)
	know := func(owner string, kinds, models []string) {
		t.Helper()
		if err := s.PublishCatalog(background, models, false); err != nil {
			t.Fatal(err)
		}
		announced(t, s, lua.WorkerRecord{Owner: owner, Queues: []string{"default:1"}, Kinds: kinds, Catalog: lua.CatalogDigest(models), Presence: true})
	}
	know("full-1", []string{"chat", "summarise"}, []string{"big", "sim"})
	know("full-2", []string{"chat", "summarise"}, []string{"big", "sim"})
	wantFinding(t, diagnosis(t, sh, 0), "LM025", sevOK, "")
	know("less-1", []string{"chat"}, []string{"sim"})
	f := diagnosis(t, sh, 0)["LM025"]
	if want := "workers lack what others of their queue can run: less-1 (models big; kinds summarise)"; f.Severity != sevWarning || f.What != want || f.Remedy == "" {
		t.Errorf("%+v, want %q and a remedy", f, want)
	}
	if out := sh.run("lighterman", "workers").ok(); lineWith(out, []string{"not alike: less-1 (models big; kinds summarise)"}) == "" {
		t.Errorf("workers: %s", out)
	}
}

func TestGapsOf_ComparesReadyWorkersOfOneQueue(t *testing.T) {
	t.Parallel()
	now := time.Now()
	catalogs := map[string][]string{"ab": {"a", "b"}, "a": {"a"}}
	worker := func(owner, queue, catalog string, kinds ...string) lua.WorkerRecord {
		return lua.WorkerRecord{Owner: owner, Queues: []string{queue}, Catalog: catalog, Kinds: kinds, Seen: now}
	}
	silent := worker("s", "q", "ab", "chat", "x")
	silent.Seen = now.Add(-time.Hour)
	draining := worker("d", "q", "ab", "chat", "x")
	draining.Draining = true
	for name, c := range map[string]struct {
		workers []lua.WorkerRecord
		want    []string
	}{
		"alike":                     {[]lua.WorkerRecord{worker("1", "q", "a", "chat"), worker("2", "q", "a", "chat")}, nil},
		"a model":                   {[]lua.WorkerRecord{worker("1", "q", "ab", "chat"), worker("2", "q", "a", "chat")}, []string{"2 (models b)"}},
		"each another":              {[]lua.WorkerRecord{worker("1", "q", "ab", "chat"), worker("2", "q", "a", "chat", "x")}, []string{"1 (kinds x)", "2 (models b)"}},
		"two lack the same":         {[]lua.WorkerRecord{worker("1", "q", "ab", "chat"), worker("2", "q", "a", "chat"), worker("3", "q", "a", "chat")}, []string{"2, 3 (models b)"}},
		"no model at all":           {[]lua.WorkerRecord{worker("1", "q", "a", "chat"), worker("2", "q", "", "chat")}, []string{"2 (models a)"}},
		"weights of queues":         {[]lua.WorkerRecord{worker("1", "q:2", "ab", "chat"), worker("2", "q:1", "a", "chat")}, []string{"2 (models b)"}},
		"other queues":              {[]lua.WorkerRecord{worker("1", "q", "ab", "chat"), worker("2", "r", "a", "chat")}, nil},
		"silent and draining":       {[]lua.WorkerRecord{silent, draining, worker("1", "q", "a", "chat")}, nil},
		"a version that tells none": {[]lua.WorkerRecord{worker("1", "q", "ab", "chat"), worker("2", "q", "")}, nil},
		"a list that is lost":       {[]lua.WorkerRecord{worker("1", "q", "ab", "chat"), worker("2", "q", "lost", "chat")}, nil},
	} {
		var got []string
		for _, g := range gapsOf(c.workers, catalogs, now) {
			got = append(got, g.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
