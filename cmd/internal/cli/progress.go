package cli

import (
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
)

// quietEvery is how often progress is told where there is no terminal.
const quietEvery = 10 * time.Second

// progress shows long work on standard error: a bar on a terminal, else a line
// every 10 s. It is used by one goroutine.
type progress struct {
	what  string
	total int
	done  int
	bad   int
	bar   *progressbar.ProgressBar
	last  time.Time
}

// newProgress makes one; drawn asks for the bar, where there is a terminal.
func newProgress(what string, total int, drawn bool) *progress {
	p := &progress{what: what, total: total, last: time.Now()}
	if drawn && canRedraw(os.Stderr) {
		p.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetDescription(what),
			progressbar.OptionShowCount(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
			progressbar.OptionEnableColorCodes(os.Getenv("NO_COLOR") == ""))
	}
	return p
}

// add notes that n more are done, and how many were bad so far.
func (p *progress) add(n, bad int) {
	p.done += n
	p.bad = bad
	switch {
	case p.bar != nil:
		_ = p.bar.Add(n)
	case time.Since(p.last) >= quietEvery:
		p.last = time.Now()
		fmt.Fprintf(stderr, "%s %d/%d, failed %d\n", p.what, p.done, p.total, p.bad)
	}
}

// end takes the bar off the screen.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish()
		p.bar = nil
	}
}
