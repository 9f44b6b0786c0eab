package e2e

import (
	"encoding/json"
	"strconv"
	"time"

	lm "github.com/lighterman/lighterman"
)

// nemesisConfig keeps attempts short and plenty, so that a handler that hangs is
// tried again within the run and none fails for good.
const nemesisConfig = `
worker: {max_attempts: 30, crash_limit: 20, drain_timeout: 1s}
deliver: {result_retention: 120s}
`

// nemesisWork are the operations that keep coming: good ones, and a few whose
// handler misbehaves in its first attempt.
var nemesisWork = []func(int) ask{plain, tools, twoStep, plain, misbehaving("hang"), plain, tools, misbehaving("deaf"), plain, misbehaving("panic"), twoStep, misbehaving("leak")}

// misbehaving asks for an operation whose handler hangs until its context ends,
// ignores its context, panics or leaks a goroutine in the first attempt.
func misbehaving(how string) func(int) ask {
	return func(i int) ask {
		body, _ := json.Marshal(map[string]string{"how": how, "n": strconv.Itoa(i)}) // strings only
		return ask{lm.Request{Kind: "misbehave", Body: body, Timeout: time.Second}, lm.Succeeded, how}
	}
}
