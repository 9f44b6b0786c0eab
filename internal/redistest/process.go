package redistest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	startTimeout = 30 * time.Second // generous: a loaded AOF, two cores, the race detector
	termTimeout  = 5 * time.Second  // from SIGTERM to SIGKILL
	portAttempts = 10               // of launches that lose the race for a port
	logTail      = 64 << 10         // bytes of the log that a failed test prints
)

// process is one redis-server, with the directory in which it may be started
// again and again. Its methods may be called concurrently.
type process struct {
	cfg  config
	dir  string
	sock string // path of the unix socket, always open
	port int    // 0 without TCP

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has been waited for
}

// launch makes a directory for cfg and starts a server in it.
func launch(cfg config) (*process, error) {
	// Not os.TempDir: a unix socket's path is limited to 108 bytes, and TMPDIR
	// is long on some machines.
	dir, err := os.MkdirTemp("/tmp", "lmredis-")
	if err != nil {
		return nil, fmt.Errorf("make server directory: %w", err)
	}
	p := &process{cfg: cfg, dir: dir, sock: filepath.Join(dir, "s")}
	for range portAttempts {
		if cfg.tcp {
			if p.port, err = freePort(cfg.cluster); err != nil {
				break
			}
		}
		if err = p.start(); !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	if err != nil {
		err = errors.Join(err, p.remove())
		return nil, err
	}
	return p, nil
}

// start runs redis-server and returns when it accepts commands. It returns an
// error that wraps EADDRINUSE if somebody took the port, which only a new port can
// mend.
func (p *process) start() error {
	if err := p.run(); err != nil || !p.cfg.cluster || p.cfg.member {
		return err
	}
	if err := p.formCluster(); err != nil {
		return errors.Join(fmt.Errorf("%w; its log:\n%s", err, p.log(0)), p.kill())
	}
	return nil
}

// run runs redis-server and returns when it answers.
func (p *process) run() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.runningLocked() {
		return errors.New("start redis-server: it is running")
	}
	conf := filepath.Join(p.dir, "redis.conf")
	if err := os.WriteFile(conf, []byte(p.cfg.file(p.dir, p.sock, p.port)), 0o600); err != nil {
		return fmt.Errorf("write redis.conf: %w", err)
	}
	log, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close() //nolint:errcheck // the child has its own descriptor
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}

	args := []string{conf}
	if p.cfg.sentinel {
		args = append(args, "--sentinel")
	}
	cmd := exec.Command(binary, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, log, log
	cmd.SysProcAttr = sysProcAttr()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // How it ended is in the log; what matters is that it has.
	}()
	p.cmd, p.done = cmd, done

	if err := p.awaitLocked(); err != nil {
		_ = cmd.Process.Kill()
		<-done
		log := p.log(from)
		if strings.Contains(log, "Address already in use") {
			err = fmt.Errorf("%w: %w", err, syscall.EADDRINUSE)
		}
		return fmt.Errorf("%w; its log:\n%s", err, log)
	}
	return nil
}

// awaitLocked returns when the server answers a PING.
func (p *process) awaitLocked() error {
	deadline := time.NewTimer(startTimeout)
	defer deadline.Stop()
	for !answers(p.sock) {
		select {
		case <-p.done:
			return errors.New("start redis-server: it ended at once")
		case <-deadline.C:
			return fmt.Errorf("start redis-server: no answer within %s", startTimeout)
		case <-time.After(2 * time.Millisecond):
		}
	}
	return nil
}

// answers reports whether a server answers a PING on the unix socket. A demand
// for a password is an answer; LOADING is not.
func answers(sock string) bool {
	c, err := net.DialTimeout("unix", sock, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return false
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	reply := make([]byte, 64)
	n, err := c.Read(reply)
	return err == nil && (bytes.HasPrefix(reply[:n], []byte("+PONG")) || bytes.HasPrefix(reply[:n], []byte("-NOAUTH")))
}

// kill ends the server with SIGKILL and returns when it is gone. It does
// nothing if the server is gone already.
func (p *process) kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.runningLocked() {
		return nil
	}
	if err := p.signalLocked(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// terminate ends the server with SIGTERM, and with SIGKILL if that takes too
// long, and returns when it is gone.
func (p *process) terminate() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.runningLocked() {
		return nil
	}
	// A stopped process keeps SIGTERM pending for ever; a continued one acts on it.
	if err := errors.Join(p.signalLocked(syscall.SIGTERM), p.signalLocked(syscall.SIGCONT)); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(termTimeout):
	}
	if err := p.signalLocked(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// signal sends s to the server; it returns os.ErrProcessDone if it is gone.
func (p *process) signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.runningLocked() {
		return os.ErrProcessDone
	}
	return p.cmd.Process.Signal(s)
}

// signalLocked sends s and does not mind if the server has just ended.
func (p *process) signalLocked(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal redis-server %d: %w", p.cmd.Process.Pid, err)
	}
	return nil
}

func (p *process) running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.runningLocked()
}

func (p *process) runningLocked() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// pid returns the process ID of the last server started.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// remove deletes the server's directory; the server must be gone.
func (p *process) remove() error {
	if err := os.RemoveAll(p.dir); err != nil {
		return fmt.Errorf("remove server directory: %w", err)
	}
	return nil
}

func (p *process) tcpAddr() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port))
}

func (p *process) logPath() string { return filepath.Join(p.dir, "log") }

// log returns the end of the log, beginning not before the given offset.
func (p *process) log(from int64) string {
	b, err := os.ReadFile(p.logPath())
	if err != nil {
		return err.Error()
	}
	return string(b[max(min(from, int64(len(b))), int64(len(b)-logTail)):])
}

// freePort returns a loopback port on which nobody listens, and with bus also
// nobody on the cluster bus port 10,000 above it. Both lie below the range that
// Linux gives to outgoing connections, so that a restarted server finds its port
// free.
func freePort(bus bool) (int, error) {
	var err error
	for range 100 {
		port := 12_000 + rand.IntN(10_000)
		if err = canListen(port); err != nil {
			continue
		}
		if !bus {
			return port, nil
		}
		if err = canListen(port + 10_000); err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}

func canListen(port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return l.Close()
}
