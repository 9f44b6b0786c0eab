package e2e

import (
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/producer"
)

// TestFollow_AWorkerIsKilledInTheMiddleOfItsText: every follower, from the start and
// joined late, ends with the text of the result, no word twice and none missing;
// the command on a pipe prints it once.
func TestFollow_AWorkerIsKilledInTheMiddleOfItsText(t *testing.T) {
	f := newFleet(t, time.Second)
	victim := f.start(crew{own: true, slots: 8})
	client := producer.New(f.store, producer.WithFollowed())
	defer client.Close()
	speak := ask{lm.Request{Kind: "speak", Body: []byte(`{}`)}, lm.Succeeded, ":19"}
	a, err := client.Enqueue(t.Context(), speak.request)
	if err != nil {
		t.Fatal(err)
	}
	f.asked[a.ID], f.order = speak, []lm.TraceID{a.ID}
	command := launch(t, "follow", binary(t, "lighterman"), []string{"follow", "--redis", f.redis.URL(), string(a.ID)}, nil, nil)

	killed, text, resets, epochs := false, "", 0, map[lm.Epoch]bool{}
	var result *lm.Result
	for frame, err := range client.Follow(t.Context(), a.ID, "") {
		if err != nil {
			t.Fatal(err)
		}
		switch frame.Type { //nolint:exhaustive // no others
		case lm.FrameToken:
			text += frame.Data
			epochs[frame.Epoch] = true
		case lm.FrameReset:
			text, resets = "", resets+1
		case lm.FrameFinal:
			result = frame.Result
		}
		if !killed && strings.Contains(text, ":7 ") {
			victim.kill()
			f.start(crew{own: true, slots: 8})
			killed = true
		}
	}
	if !killed || len(epochs) != 2 || resets != 1 {
		t.Fatalf("killed %v, %d claims spoke, %d resets: void", killed, len(epochs), resets)
	}
	if result == nil || result.Text() != text || strings.Count(text, " ") != 20 {
		t.Errorf("text %q, result %+v", text, result)
	}
	if code := command.exit(patience); code != 0 || strings.Join(command.out.lines, "\n") != text {
		t.Errorf("the command ended with %d and printed %q", code, command.out.lines)
	}
	late := launch(t, "follow", binary(t, "lighterman"), []string{"follow", "--redis", f.redis.URL(), "last"}, nil, nil)
	if code := late.exit(patience); code != 0 || strings.Join(late.out.lines, "\n") != text {
		t.Errorf("one that came late ended with %d and printed %q", code, late.out.lines)
	}
	if r := f.records(f.all())[0]; r.CrashesTotal != 1 || r.Outcome != lm.Succeeded {
		t.Errorf("%d crashes, %s", r.CrashesTotal, r.Outcome)
	}
}
