package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// demoWorker is one worker process of the demo.
type demoWorker struct {
	cmd   *exec.Cmd
	owner string // its consumer name
	done  chan struct{}
	err   error // of its end; read after done
}

// startWorker starts this very program as a worker and waits until it is ready.
func (d *demo) startWorker(name string) (*demoWorker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "worker", "--name", name, "--redis", d.url, "--lease", demoLease.String(),
		"--concurrency", "16", "--http", "127.0.0.1:0", "--log-format", "json")
	cmd.Env = append(os.Environ(), "LIGHTERMAN_SIM_CALL_LOG="+d.callLog(), "LIGHTERMAN_SIM_LATENCY=250ms", "LIGHTERMAN_FLEET_DETECT=false")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	logFile, err := os.Create(filepath.Join(d.dir, name+".log"))
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start worker %s: %w", name, err)
	}
	w := &demoWorker{cmd: cmd, done: make(chan struct{})}
	ready := make(chan string, 1)
	go func() {
		defer close(w.done)
		defer logFile.Close() //nolint:errcheck // a log of a demo
		watchLog(stderr, logFile, ready)
		w.err = cmd.Wait()
	}()
	select {
	case w.owner = <-ready:
		return w, nil
	case <-w.done:
		return nil, fmt.Errorf("worker %s ended at once: %w; see %s", name, w.err, logFile.Name())
	case <-time.After(20 * time.Second):
		_ = w.kill()
		return nil, fmt.Errorf("worker %s is not ready after 20 s; see %s", name, logFile.Name())
	}
}

// watchLog copies a worker's log and tells its consumer name when it is ready.
func watchLog(from io.Reader, to io.Writer, ready chan<- string) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fmt.Fprintln(to, lines.Text())
		var line struct{ Message, Worker string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "worker ready" {
			ready <- line.Worker
		}
	}
}

func (w *demoWorker) stop() { _ = w.cmd.Process.Signal(syscall.SIGSTOP) }

// kill ends the process with SIGKILL and waits for its end.
func (w *demoWorker) kill() error {
	err := w.cmd.Process.Kill()
	<-w.done
	return err
}

// terminate sends SIGTERM and waits until it has drained; an error when it did
// not end well.
func (w *demoWorker) terminate() error {
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-w.done:
		return w.err
	case <-time.After(30 * time.Second):
		return errors.New("the worker did not drain within 30 s")
	}
}

// endWorkers ends what still runs.
func (d *demo) endWorkers() {
	for _, w := range d.workers {
		select {
		case <-w.done:
		default:
			_ = w.kill()
		}
	}
}
