package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// child is a worker process, seen from the program that measures it. They speak
// in lines: the child is told "go", "report" and "stop", and answers with one
// line of JSON when it is ready and when it reports.
type child struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	says chan []byte
}

// stopTimeout bounds a worker's own shutdown; then it is killed.
const stopTimeout = 15 * time.Second

// startChild starts a worker and returns when it is ready to be told to go. It
// dies with this process, or when ctx ends.
func startChild(ctx context.Context, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.CommandContext(ctx, self, args...), says: make(chan []byte)}
	c.cmd.SysProcAttr, c.cmd.Stderr, c.cmd.WaitDelay = diesWithParent(), os.Stderr, time.Second
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %v: %w", args, err)
	}
	go c.listen(out)
	if _, err := c.hear(); err != nil {
		c.kill()
		return nil, fmt.Errorf("%s did not become ready: %w", args[0], err)
	}
	return c, nil
}

func (c *child) listen(out io.Reader) {
	defer close(c.says)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 64<<20) // a report carries every latency
	for lines.Scan() {
		c.says <- append([]byte(nil), lines.Bytes()...)
	}
}

func (c *child) hear() ([]byte, error) {
	select {
	case line, ok := <-c.says:
		if !ok {
			return nil, errors.New("the worker ended; its stderr says why")
		}
		return line, nil
	case <-time.After(stopTimeout):
		return nil, fmt.Errorf("no word within %s", stopTimeout)
	}
}

func (c *child) tell(word string) error {
	_, err := io.WriteString(c.in, word+"\n")
	return err
}

// start lets the worker consume.
func (c *child) start() error { return c.tell("go") }

// report asks what the worker did since it was started.
func (c *child) report() (report, error) {
	var r report
	if err := c.tell("report"); err != nil {
		return r, err
	}
	line, err := c.hear()
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(line, &r)
}

// stop lets the worker end in its own way, and kills it when that takes too long.
func (c *child) stop() error {
	_ = c.tell("stop")
	_ = c.in.Close()
	timer := time.AfterFunc(stopTimeout, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	for range c.says { // until its output ends
	}
	return c.cmd.Wait()
}

// kill ends the worker at once; after stop it does nothing.
func (c *child) kill() {
	if c.cmd.ProcessState != nil {
		return
	}
	_ = c.cmd.Process.Kill()
	for range c.says {
	}
	_ = c.cmd.Wait() // it was killed
}
