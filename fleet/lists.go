package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lighterman/lighterman/lua"
)

// lists are what a Manager has read of the backends' lists. A list is read again
// only when its record names another etag, so that it costs nothing while nothing
// changes.
type lists struct {
	mu    sync.Mutex
	read  map[lua.ListName]list
	stock *inventory // by these lists
	etags map[string]string
}

// list is one that was read.
type list struct {
	etag      string
	offerings []offered
}

// listName is the name under which this Manager keeps and looks for a backend's
// list.
func (m *Manager) listName(b BackendSpec) lua.ListName {
	return lua.NewListName(b.ID, b.Provider, b.URL, m.opts.Credentials[b.ID])
}

// pickRecords are the records of the declared backends: under this Manager's own
// names, or, for an onlooker, the newest.
func (m *Manager) pickRecords(all []lua.Observation) map[string]lua.Observation {
	own := make(map[string]lua.ListName, len(m.opts.Spec.Backends))
	for _, b := range m.opts.Spec.Backends {
		own[b.ID] = m.listName(b)
	}
	records := make(map[string]lua.Observation)
	for _, o := range all {
		name, declared := own[o.Name.Backend]
		if !declared || !m.opts.Onlooker && o.Name != name {
			continue
		}
		if old, has := records[name.Backend]; !has || o.Tried.After(old.Tried) {
			records[name.Backend] = o
		}
	}
	return records
}

// concerns says of a backend whose credential this Manager goes by: its own, or, for
// an onlooker, that of the worker that listed the backend last. Where none has, an
// onlooker takes any for the one in use.
func (m *Manager) concerns(backend string, records map[string]lua.Observation) concerns {
	if !m.opts.Onlooker {
		return func(credential string) bool { return credential == m.opts.Credentials[backend] }
	}
	return func(credential string) bool {
		r, looked := records[backend]
		for _, b := range m.opts.Spec.Backends {
			if b.ID == backend && looked {
				return r.Name == lua.NewListName(b.ID, b.Provider, b.URL, credential)
			}
		}
		return true
	}
}

// takeStock reads the lists that are new and answers the inventory by all of them.
// Lists that have outlived their time are none.
func (m *Manager) takeStock(ctx context.Context, st lua.FleetState) (*inventory, map[string]lua.Observation, error) {
	records := m.pickRecords(st.Observed)
	keep := m.opts.Spec.Observe.withDefaults().Keep
	current := make(map[string]lua.Observation)
	for backend, o := range records {
		if o.Etag != "" && st.Now.Sub(o.Listed) <= keep {
			current[backend] = o
		}
	}
	m.lists.mu.Lock()
	defer m.lists.mu.Unlock()
	if err := m.readLocked(ctx, current); err != nil {
		return nil, nil, err
	}
	etags, good := make(map[string]string), make(map[string][]offered)
	for backend, o := range current {
		if l := m.lists.read[o.Name]; l.etag == o.Etag && len(l.offerings) > 0 {
			etags[backend], good[backend] = o.Name.Digest+l.etag, l.offerings
		}
	}
	if m.lists.stock == nil || !maps.Equal(etags, m.lists.etags) {
		m.lists.stock, m.lists.etags = takeStock(m.opts.Spec, good), etags
	}
	return m.lists.stock, records, nil
}

// lastGood reads the last good lists of records, by backend.
func (m *Manager) lastGood(ctx context.Context, records []lua.Observation) (map[string][]offered, error) {
	var names []lua.ListName
	for _, o := range records {
		if o.Etag != "" {
			names = append(names, o.Name)
		}
	}
	texts, err := m.at.Lists(ctx, names)
	if err != nil {
		return nil, err
	}
	good := make(map[string][]offered, len(names))
	for i, name := range names {
		var l []offered
		if json.Unmarshal([]byte(texts[i]), &l) == nil {
			good[name.Backend] = l
		}
	}
	return good, nil
}

// stock is the inventory as last taken.
func (m *Manager) stock() *inventory {
	m.lists.mu.Lock()
	defer m.lists.mu.Unlock()
	if m.lists.stock == nil {
		m.lists.stock = takeStock(m.opts.Spec, nil)
	}
	return m.lists.stock
}

// readLocked reads the lists whose records name another etag than the one that was
// read, and forgets those without a record. One that is gone or cannot be read is
// an empty one.
func (m *Manager) readLocked(ctx context.Context, current map[string]lua.Observation) error {
	var names []lua.ListName
	kept := make(map[lua.ListName]list, len(current))
	for _, o := range current {
		if l, has := m.lists.read[o.Name]; has && l.etag == o.Etag {
			kept[o.Name] = l
		} else {
			names = append(names, o.Name)
		}
	}
	texts, err := m.at.Lists(ctx, names)
	if err != nil {
		return err
	}
	for i, name := range names {
		l := list{etag: current[name.Backend].Etag}
		if json.Unmarshal([]byte(texts[i]), &l.offerings) != nil || etagOf([]byte(texts[i])) != l.etag {
			l = list{} // it has changed since its record was read: the next look finds it
		}
		kept[name] = l
	}
	m.lists.read = kept
	return nil
}

// CachedLists are the records of all backends' lists, whoever made them, sorted.
func (m *Manager) CachedLists(ctx context.Context) ([]lua.Observation, error) {
	all, _, err := m.at.Observations(ctx)
	slices.SortFunc(all, func(a, b lua.Observation) int {
		return cmp.Or(strings.Compare(a.Name.Backend, b.Name.Backend), strings.Compare(a.Name.Digest, b.Name.Digest))
	})
	return all, err
}

// ForgetLists forgets the lists and records of a backend, with whatever credential
// and address they were made, or without a name of all; each is then listed anew
// with the next cycle. It answers how many.
func (m *Manager) ForgetLists(ctx context.Context, backends ...string) (int, error) {
	all, now, err := m.at.Observations(ctx)
	if err != nil {
		return 0, err
	}
	var names []lua.ListName
	for _, o := range all {
		if len(backends) == 0 || slices.Contains(backends, o.Name.Backend) {
			names = append(names, o.Name)
		}
	}
	forgotten := 0
	for batch := range slices.Chunk(names, forgetBatch) {
		n, err := m.at.ForgetLists(ctx, batch, now.Add(time.Hour))
		if forgotten += n; err != nil {
			return forgotten, err
		}
	}
	return forgotten, m.read(ctx, 0)
}

// forgetBatch is how many lists one script forgets.
const forgetBatch = 100
