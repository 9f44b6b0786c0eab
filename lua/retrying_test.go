package lua

import (
	"errors"
	"fmt"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// answer is an error as Redis words it.
type answer string

func (a answer) Error() string { return string(a) }
func (answer) RedisError()     {}

var _ redis.Error = answer("")

// TestIsPassing_LooksAtTheCodeAlone: a queue may be called READONLY, and the text
// of NOGROUP then holds that word.
func TestIsPassing_LooksAtTheCodeAlone(t *testing.T) {
	for text, want := range map[string]bool{
		"LOADING Redis is loading the dataset in memory":        true,
		"BUSY Redis is busy running a script.":                  true,
		"READONLY You can't write against a read only replica.": true,
		"MOVED 3999 127.0.0.1:6381":                             true,
		"ERR max number of clients reached":                     true,
		"ERR -NOREPLICAS Not enough good replicas. script: 1":   true,
		"NOGROUP No such key '{lm:0}:stream:READONLY'":          false,
		"NOGROUP No such key '{lm:0}:stream:BUSY ' or group":    false,
		"WRONGTYPE of {lm:0}:trace:LOADING":                     false,
		"BUSYGROUP Consumer Group name already exists":          false,
		"NOPERM this user has no permissions":                   false,
	} {
		if got := IsPassing(fmt.Errorf("read: %w", answer(text))); got != want {
			t.Errorf("IsPassing(%q) = %v, want %v", text, got, want)
		}
	}
	if IsPassing(errors.New("the handler says: READONLY")) {
		t.Error("an error that is not of Redis passes by itself")
	}
}

// TestAgain_DeniedIsUnavailable: rights that somebody takes for a moment are no
// fault of an operation, and no reason to ask Redis over and over.
func TestAgain_DeniedIsUnavailable(t *testing.T) {
	for _, text := range []string{"NOPERM no permissions", "NOAUTH Authentication required.", "WRONGPASS invalid username-password pair"} {
		tries := 0
		err := again(t.Context(), patienceOfTests, func() error { tries++; return answer(text) })
		if !errors.Is(err, lm.ErrUnavailable) || tries != 1 {
			t.Errorf("%s: %v after %d tries, want unavailable after 1", text, err, tries)
		}
	}
}

const patienceOfTests = 60e9
