package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	lm "github.com/lighterman/lighterman"
)

// live shows how the demo goes: one line that is redrawn on a terminal, else a
// line every two seconds.
type live struct {
	d     *demo
	began time.Time
	stop  chan struct{}
	once  sync.Once
	done  sync.WaitGroup

	mu     sync.Mutex
	ok     int
	failed int
	change chan struct{} // closed and renewed when a result comes
}

func newLive(d *demo) *live {
	l := &live{d: d, began: time.Now(), stop: make(chan struct{}), change: make(chan struct{})}
	every := 2 * time.Second
	if canRedraw(os.Stdout) {
		every = 200 * time.Millisecond
	}
	l.done.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-l.stop:
				return
			case <-ticker.C:
				l.draw()
			}
		}
	})
	return l
}

// ended counts a result.
func (l *live) ended(r lm.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Outcome == lm.Succeeded {
		l.ok++
	} else {
		l.failed++
	}
	close(l.change)
	l.change = make(chan struct{})
}

// until waits for so many results.
func (l *live) until(ctx context.Context, n int) error {
	for {
		l.mu.Lock()
		ended, change := l.ok+l.failed, l.change
		l.mu.Unlock()
		if ended >= n {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-change:
		}
	}
}

func (l *live) draw() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	counts, err := l.d.store.Counts(ctx, 0)
	if err != nil {
		return
	}
	l.mu.Lock()
	ok, failed := l.ok, l.failed
	l.mu.Unlock()
	bar := strings.Repeat("#", 30*(ok+failed)/l.d.count)
	text := fmt.Sprintf("%6s  [%-30s] %4d/%d done   waiting %-4d running %-3d to be retried %-3d failed %d",
		short(time.Since(l.began)), bar, ok+failed, l.d.count, counts.Sum("waiting"), counts.Sum("running"), counts.Sum("delayed"), failed)
	if canRedraw(os.Stdout) {
		stdout.redraw(clipWidth(text, stdout.width()-1)) // one that wraps could not be drawn over
		return
	}
	fmt.Fprintln(stdout, text)
}

// note writes a line of the story.
func (l *live) note(format string, args ...any) {
	text := fmt.Sprintf("%6s  "+format, append([]any{short(time.Since(l.began))}, args...)...)
	if canRedraw(os.Stdout) {
		stdout.redraw("")
		text = paint(os.Stdout, yellow, text)
	}
	fmt.Fprintln(stdout, text)
}

// end draws the last state; more calls do nothing.
func (l *live) end() {
	l.once.Do(func() {
		close(l.stop)
		l.done.Wait()
		l.draw()
		fmt.Fprintln(stdout)
	})
}
