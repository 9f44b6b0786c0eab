package e2e

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lighterman/lighterman/internal/embedded"
)

// TestDev_EnqueueFromASecondProcess: the first two minutes of a user.
func TestDev_EnqueueFromASecondProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("process tests are not short")
	}
	needDefaultAddr(t)
	dev := launch(t, "dev", binary(t, "lighterman"), []string{"dev", "--http", "127.0.0.1:0", "--log-format", "json"}, nil, nil)
	dev.out.await(t, dev, "ready")
	for _, name := range []string{"enqueue", "lighterman"} {
		args := []string{"Why do rivers bend?", "--wait", "--timeout", "20s"}
		if name == "lighterman" {
			args = append([]string{"enqueue"}, args...)
		}
		began := time.Now()
		command := launch(t, name, binary(t, name), args, nil, nil)
		if code := command.exit(30 * time.Second); code != 0 || !strings.Contains(command.out.tail(1), "Faster water on the outside") {
			t.Errorf("%s %v ended with %d: %s%s", name, args, code, command.out.tail(5), command.log.tail(5))
		}
		t.Logf("%s --wait answered after %s", name, time.Since(began).Round(time.Millisecond))
	}
	show := launch(t, "show", binary(t, "lighterman"), []string{"show", "last"}, nil, nil)
	if code := show.exit(30 * time.Second); code != 0 || !strings.Contains(show.out.tail(20), "COMPLETED") {
		t.Errorf("show last ended with %d: %s%s", code, show.out.tail(20), show.log.tail(5))
	}
	dev.signal(syscall.SIGTERM)
	if code := dev.exit(10 * time.Second); code != 0 {
		t.Errorf("dev ended with %d after SIGTERM", code)
	}
}

// needDefaultAddr waits until nobody uses the one address that every embedded
// Redis of a machine has.
func needDefaultAddr(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		listener, err := net.Listen("tcp", embedded.DefaultAddr)
		if err == nil {
			_ = listener.Close()
			return
		}
		if time.Now().After(deadline) {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skipf("NOT TESTED: another Lighterman has %s: %v", embedded.DefaultAddr, err)
		}
	}
}

// TestDemo: the show ends with its proof.
func TestDemo(t *testing.T) {
	if !full {
		t.Skip("LIGHTERMAN_E2E=full runs the demo")
	}
	program := binary(t, "lighterman")
	began := time.Now()
	demo := launch(t, "demo", program, []string{"demo", "--count", "100"}, nil, nil)
	if code := demo.exit(90 * time.Second); code != 0 {
		t.Errorf("demo ended with %d", code)
	}
	t.Logf("the demo took %s; its end:\n%s", time.Since(began).Round(time.Millisecond), demo.out.tail(7))
}
