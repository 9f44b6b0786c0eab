package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
)

// foreign is a producer in Python that pushes sim-tools operations all the while.
type foreign struct {
	f     *fleet
	cmd   *exec.Cmd
	stdin io.Closer
	said  chan int // how many it has pushed, when it has ended
	log   strings.Builder
}

// python is Debian's, which has redis-py; without it the test is skipped, in CI
// it fails.
func python(t testing.TB) string {
	t.Helper()
	const path = "/usr/bin/python3"
	if err := exec.Command(path, "-c", "import redis").Run(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no Python with redis-py: %v", err)
		}
		t.Skipf("no Python with redis-py: %v", err)
	}
	return path
}

// push starts the producer: so many operations a second over the partitions.
func (f *fleet) push(url string, cluster bool, partitions, rate int) *foreign {
	f.Helper()
	sharded := "0"
	if cluster {
		sharded = "1"
	}
	p := &foreign{f: f, said: make(chan int, 1)}
	p.cmd = exec.Command(python(f), "testdata/push.py", url, sharded, strconv.Itoa(partitions), strconv.Itoa(rate))
	p.cmd.SysProcAttr = sysProcAttr()
	p.cmd.Stderr = &p.log
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		f.Fatal(err)
	}
	p.stdin = stdin
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		f.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		f.Fatal(err)
	}
	go p.take(stdout, partitions)
	f.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = stdin.Close() })
	return p
}

// take notes every operation that it has pushed.
func (p *foreign) take(stdout io.Reader, partitions int) {
	n := 0
	for lines := bufio.NewScanner(stdout); lines.Scan(); n++ {
		name := fmt.Sprintf("py-%05d", n)
		id := lm.NewTraceID(n%partitions, name)
		question := "Why do rivers bend? (" + name + ")"
		p.f.mu.Lock()
		p.f.asked[id] = ask{lm.Request{Model: "sim-tools", Body: chatBody(question)}, lm.Succeeded, question}
		p.f.order = append(p.f.order, id)
		p.f.mu.Unlock()
	}
	p.said <- n
}

// end stops the producer and returns how many it pushed.
func (p *foreign) end() int {
	p.f.Helper()
	_ = p.stdin.Close()
	select {
	case n := <-p.said:
		if err := p.cmd.Wait(); err != nil || p.log.Len() > 0 {
			p.f.Logf("the Python producer: %v\n%s", err, p.log.String())
		}
		return n
	case <-time.After(30 * time.Second):
		p.f.Fatal("the Python producer has not ended")
		return 0
	}
}
