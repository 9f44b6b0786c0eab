package consumer

// wheel spreads reads over queues by weight: smooth weighted round robin (as in
// nginx's upstream), so that weights 6:3:1 hold for single reads as well as for
// batches.
type wheel struct {
	queues  []Queue
	current []int
}

func newWheel(queues []Queue) *wheel {
	return &wheel{queues: queues, current: make([]int, len(queues))}
}

// spin deals n reads and returns how many fall to each queue, at most room of each.
// A queue without room neither gets nor saves up turns: the others share by their
// weights as if it were not there.
func (w *wheel) spin(n int, room []int) []int {
	counts := make([]int, len(w.queues))
	for range n {
		best, total := -1, 0
		for i, q := range w.queues {
			if counts[i] >= room[i] {
				continue
			}
			weight := max(1, q.Weight)
			total += weight
			w.current[i] += weight
			if best < 0 || w.current[i] > w.current[best] {
				best = i
			}
		}
		if best < 0 {
			break
		}
		w.current[best] -= total
		counts[best]++
	}
	return counts
}
