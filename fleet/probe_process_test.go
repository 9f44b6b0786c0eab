package fleet

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
)

// What the processes and the test that starts them agree on.
const (
	proberOpen = 30 * time.Millisecond  // of one opening of the circuit
	livesLease = time.Minute            // of a process that will end its probe
	diesLease  = 250 * time.Millisecond // of one that is killed while it holds it
	proberEnd  = 30 * time.Second       // nothing for so long is a wedge
)

func proberOptions(owner string) Options {
	return Options{Owner: owner, Breaker: BreakerSpec{Base: proberOpen, Cap: proberOpen}}
}

// proberHelper asks for the probe of model a as it is told to on standard input:
// "ask KEY LEASE" asks until it is admitted, "stop" asks once more and not again,
// "end KIND" ends its probe; an empty KIND is "ok". It ends with its input.
func proberHelper(url string, args []string) error {
	m, err := helperManager(url, proberOptions(args[0]))
	if err != nil {
		return err
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			lines <- in.Text()
		}
	}()
	p := prober{m: m}
	for {
		var next <-chan time.Time
		if p.asking {
			next = time.After(time.Millisecond)
		}
		select {
		case line, ok := <-lines:
			if !ok {
				return nil
			}
			err = p.told(strings.Fields(line))
		case <-next:
			err = p.ask()
		}
		if err != nil {
			return err
		}
	}
}

// prober is the state of a process that asks for probes.
type prober struct {
	m      *Manager
	asking bool
	call   Admission
	got    Admitted
}

func (p *prober) told(words []string) (err error) {
	switch words[0] {
	case "ask":
		life, err := time.ParseDuration(words[2])
		p.asking, p.call = true, Admission{Model: "a", Key: words[1], For: life}
		return err
	case "stop":
		if p.asking {
			err = p.ask()
		}
		p.asking = false
		fmt.Println("stopped")
		return err
	default:
		o := Outcome{Model: "a", Backend: "one", Key: p.call.Key, Probe: true, CircuitEpoch: p.got.CircuitEpoch, Reservation: p.got.Reservation}
		if words[1] != "ok" {
			o.Kind = lm.Kind(words[1])
		}
		err = p.m.Record(ctx, o)
		fmt.Println("ended")
		return err
	}
}

// ask asks once and says so when it is admitted: by which epoch, and from when
// until when on the server's clock.
func (p *prober) ask() (err error) {
	if p.got, err = p.m.Admit(ctx, p.call); err != nil || !p.got.OK {
		return err
	}
	p.asking = false
	end := p.got.Until.UnixMilli()
	fmt.Println("probe", p.got.Probe, p.got.CircuitEpoch, end-p.call.For.Milliseconds(), end)
	return nil
}

// said is a line that a process wrote; nothing when it has ended.
type said struct {
	by   *proberProcess
	line string
}

type proberProcess struct {
	cmd *exec.Cmd
	in  io.Writer
}

// proberFleet is eight processes that ask for the probe of one circuit.
type proberFleet struct {
	t      *testing.T
	server *redistest.Server
	all    [8]*proberProcess
	heard  chan said
	early  []said // heard while the end of another was waited for
	begun  int
	killed int
}

func (f *proberFleet) start(i int) {
	f.t.Helper()
	f.begun++
	cmd := helper(f.t, f.server, "prober", fmt.Sprint("p", f.begun))
	in := must[io.WriteCloser](f.t)(cmd.StdinPipe())
	out := must[io.ReadCloser](f.t)(cmd.StdoutPipe())
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	p := &proberProcess{cmd, in}
	f.all[i] = p
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			f.heard <- said{p, lines.Text()}
		}
		_ = cmd.Wait()
		f.heard <- said{by: p}
	}()
}

func (f *proberFleet) tell(p *proberProcess, words ...any) {
	f.t.Helper()
	if _, err := fmt.Fprintln(p.in, words...); err != nil {
		f.t.Fatal(err)
	}
}

// next is what one of them says next; not to hear anything is a wedge.
func (f *proberFleet) next(waiting string) said {
	f.t.Helper()
	if len(f.early) > 0 {
		s := f.early[0]
		f.early = f.early[1:]
		return s
	}
	select {
	case s := <-f.heard:
		return s
	case <-time.After(proberEnd):
		f.t.Fatalf("wedged: nobody answers, waiting for %s", waiting)
		return said{}
	}
}

// probe is the next admission, which must be of this epoch and not begin before
// the server's time from.
func (f *proberFleet) probe(epoch, from int64) (p *proberProcess, until int64) {
	f.t.Helper()
	s := f.next("a probe")
	var is bool
	var of, begin int64
	if _, err := fmt.Sscanf(s.line, "probe %t %d %d %d", &is, &of, &begin, &until); err != nil {
		f.t.Fatalf("waiting for a probe: %q", s.line)
	}
	if !is || of != epoch || begin < from {
		f.t.Fatalf("%s: want a probe of epoch %d, not before %d", s.line, epoch, from)
	}
	return s.by, until
}

// kill ends a process that holds the probe, as kill -9 does, and starts another.
func (f *proberFleet) kill(p *proberProcess) {
	f.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		f.t.Fatal(err)
	}
	f.killed++
	for i, at := range f.all {
		if at == p {
			f.start(i)
		}
	}
}

// gone waits for the end of a killed process. What others say meanwhile is kept.
func (f *proberFleet) gone(p *proberProcess) {
	f.t.Helper()
	var kept []said
	for {
		s := f.next("the killed one's end")
		if s.by == p && s.line == "" {
			f.early = kept
			return
		}
		kept = append(kept, s)
	}
}

// opening plays one opening of the circuit. Where somebody dies, the first doomed
// processes ask alone until one of them has the probe. Every doomed process that
// gets it is killed; the one that gets it last ends it as it is told to.
func (f *proberFleet) opening(n, doomed int, epoch, openUntil int64, end lm.Kind) {
	f.t.Helper()
	playing := f.all
	dies := map[*proberProcess]bool{}
	ask := func(those []*proberProcess, life time.Duration) {
		for _, p := range those {
			dies[p] = life == diesLease
			f.tell(p, "ask", fmt.Sprint("opening", n, "/", p.cmd.Process.Pid), life)
		}
	}
	if doomed > 0 {
		ask(playing[:doomed], diesLease)
	} else {
		ask(playing[:], livesLease)
	}
	from, dead := openUntil, map[*proberProcess]bool{}
	var holder *proberProcess
	for {
		var until int64
		if holder, until = f.probe(epoch, from); !dies[holder] {
			break
		}
		if len(dead) == 0 {
			ask(playing[doomed:], livesLease)
		}
		from, dead[holder] = until, true
		f.kill(holder)
		f.gone(holder)
	}
	f.alone(n, playing[:], holder, dead)
	word := string(end)
	if word == "" {
		word = "ok"
	}
	f.tell(holder, "end", word)
	if s := f.next("the end of the probe"); s.by != holder || s.line != "ended" {
		f.t.Fatalf("opening %d: %q, want ended", n, s.line)
	}
}

// alone has all others ask once more while one holds the probe.
func (f *proberFleet) alone(n int, playing []*proberProcess, holder *proberProcess, dead map[*proberProcess]bool) {
	f.t.Helper()
	others := 0
	for _, p := range playing {
		if p != holder && !dead[p] {
			f.tell(p, "stop")
			others++
		}
	}
	for range others {
		if s := f.next("the others' stop"); s.line != "stopped" {
			f.t.Fatalf("opening %d: %q while another holds its probe", n, s.line)
		}
	}
}

// TestProbe_OnePerOpeningInAFleetOfProcesses: eight processes ask for the probe of
// one open circuit, 10 openings (LIGHTERMAN_E2E=full: 100). Every opening admits
// one, never before its time, and one more only for each that is killed with the
// probe in its hands, never before the dead one's lease is over.
func TestProbe_OnePerOpeningInAFleetOfProcesses(t *testing.T) {
	openings := 10
	if full {
		openings = 100
	}
	server := redistest.Start(t)
	m := manager(t, storeOn(t, server), false, func(o *Options) { o.Breaker = proberOptions("").Breaker })
	f := &proberFleet{t: t, server: server, heard: make(chan said, 1000)}
	for i := range f.all {
		f.start(i)
	}
	begun, closed := time.Now(), true
	var last int64
	for n := range openings {
		if err := m.Load(ctx); err != nil {
			t.Fatal(err)
		}
		if closed { // its Manager reads what it has recorded
			fails(t, m, "a", 5)
		}
		st := m.Snapshot().Model("a").State
		if st.Circuit == CircuitClosed || st.CircuitEpoch <= last {
			t.Fatalf("opening %d: %+v after epoch %d", n, st, last)
		}
		last = st.CircuitEpoch
		doomed, end := 0, lm.ProviderFailed
		if n%3 == 1 {
			doomed = 2
		}
		if closed = n%4 == 2; closed {
			end = ""
		}
		f.opening(n, doomed, last, st.OpenUntil.UnixMilli(), end)
	}
	if f.killed < (openings+1)/3 {
		t.Errorf("only %d killed", f.killed)
	}
	t.Logf("%d openings, %d processes killed with the probe, %s", openings, f.killed, time.Since(begun).Round(time.Millisecond))
}
