package consumer

// wheel spreads reads over queues by weight: smooth weighted round robin (as in
// nginx's upstream), so that weights 6:3:1 hold for single reads as well as for
// batches.
type wheel struct {
	queues  []Queue
	current []int
	total   int
}

func newWheel(queues []Queue) *wheel {
	w := &wheel{queues: queues, current: make([]int, len(queues))}
	for _, q := range queues {
		w.total += max(1, q.Weight)
	}
	return w
}

// spin deals n reads and returns how many fall to each queue.
func (w *wheel) spin(n int) []int {
	counts := make([]int, len(w.queues))
	for range n {
		best := 0
		for i, q := range w.queues {
			w.current[i] += max(1, q.Weight)
			if w.current[i] > w.current[best] {
				best = i
			}
		}
		w.current[best] -= w.total
		counts[best]++
	}
	return counts
}
