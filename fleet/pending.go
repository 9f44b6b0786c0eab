package fleet

import (
	"crypto/rand"
	"sync"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// pendingBound is how many models and operations one unsaved batch may name; what
// comes beyond it is given up and counted as lost.
const pendingBound = 20_000

// pending are counts that wait to be saved. A batch that is under way keeps its
// keys until Redis has answered, so that it may be sent again and counts once.
type pending struct {
	mu     sync.Mutex
	open   *batch
	flight *batch // sent, and not known to be saved
	lost   int64
	saving sync.Mutex // one save at a time
}

// batch is what one save carries.
type batch struct {
	models map[modelEpoch]*counted
	spent  map[spender]*counted
	calls  int64
}

type modelEpoch struct {
	model, backend string
	epoch          int64
}

// spender is an operation or a tenant.
type spender struct {
	op     lm.TraceID
	tenant string
}

// counted is a sum with its replay key.
type counted struct {
	key      string
	requests int64
	usage    lm.Usage
	cost     int64
	last     int64           // server ms of the last
	slots    map[int64]int64 // successes by bucket of the breaker's window
}

func newBatch() *batch {
	return &batch{models: make(map[modelEpoch]*counted), spent: make(map[spender]*counted)}
}

// add counts one success at a server time.
func (p *pending) add(now int64, o Outcome, slot int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.open = newBatch()
	}
	b := p.open
	if len(b.models)+len(b.spent) >= pendingBound {
		p.lost++
		return
	}
	c := sum(b.models, modelEpoch{o.Model, o.Backend, o.CircuitEpoch}, o)
	c.last = max(c.last, now)
	c.slots[slot]++
	if o.Op != "" {
		sum(b.spent, spender{op: o.Op}, o)
	}
	if o.Tenant != "" {
		sum(b.spent, spender{tenant: o.Tenant}, o)
	}
	b.calls++
}

func sum[K comparable](to map[K]*counted, k K, o Outcome) *counted {
	c := to[k]
	if c == nil {
		c = &counted{key: rand.Text(), slots: make(map[int64]int64)}
		to[k] = c
	}
	c.requests++
	c.usage = c.usage.Add(o.Usage)
	c.cost += nano(o.CostUSD)
	return c
}

// count is how many calls are not known to be saved, and how many were given up.
func (p *pending) count() (calls, lost int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range []*batch{p.open, p.flight} {
		if b != nil {
			calls += b.calls
		}
	}
	return calls, p.lost
}

// take moves the open batch into flight and answers it, or the one that is still
// there; nil: nothing is pending.
func (p *pending) take() *batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.flight == nil {
		p.flight, p.open = p.open, nil
	}
	return p.flight
}

// landed forgets the batch in flight; more reports whether there is another.
func (p *pending) landed() (more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flight = nil
	return p.open != nil
}

// has reports whether something of a model is not saved.
func (p *pending) has(model string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range []*batch{p.open, p.flight} {
		if b == nil {
			continue
		}
		for k := range b.models {
			if k.model == model {
				return true
			}
		}
	}
	return false
}

// increments lays a batch out for Redis, at a server time.
func (b *batch) increments(now int64, m *Manager) (models []lua.Increments, spent []lua.Spent) {
	here := slotOf(now, m.breaker.Window)
	for k, c := range b.models {
		quota, budget := m.periods(k.model)
		in := lua.Increments{
			Model: k.model, Backend: k.backend, Key: c.key, Epoch: k.epoch, Age: ms(max(now-c.last, 0)), Requests: c.requests, Usage: c.usage,
			CostNano: c.cost, QuotaPeriod: quota, BudgetPeriod: budget, Window: m.breaker.Window, Past: make(map[int]int64),
		}
		for slot, n := range c.slots {
			in.Past[int(max(here-slot, 0))] += n
		}
		models = append(models, in)
	}
	for k, c := range b.spent {
		spent = append(spent, lua.Spent{Op: k.op, Tenant: k.tenant, Key: c.key, Requests: c.requests, Usage: c.usage, CostNano: c.cost})
	}
	return models, spent
}
