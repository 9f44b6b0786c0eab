package lighterman

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// TestStepLine_IsReadAsItWasWritten, in at most 64 bytes.
func TestStepLine_IsReadAsItWasWritten(t *testing.T) {
	created := time.UnixMilli(1_700_000_000_000)
	for _, l := range []StepLine{
		{Kind: ToolStep, Name: "open_ticket", Outcome: StepOK, Took: Seconds(1500 * time.Microsecond)},
		{Kind: FuncStep, Name: "fetch the page", Outcome: StepError},
		{Kind: CallStep, Name: "", Outcome: StepFailed, Took: Seconds(2 * time.Hour)},
		{Kind: ToolStep, Name: strings.Repeat("ä", 100), Outcome: StepOK, Took: Seconds(2 * time.Hour)},
		{Kind: ToolStep, Name: "a\nb\x1b[2J\xff", Outcome: StepOK},
	} {
		field := l.Field()
		value := "2592000000 " + string(field.Data) // 30 days after it was created
		got, ok := ReadStepLine(value, created)
		if !ok || field.Name != LineField || len(value) > 64 || strings.ContainsFunc(got.Name, func(r rune) bool { return r < ' ' }) || !utf8.ValidString(got.Name) {
			t.Fatalf("%+v: %q of %d bytes became %+v", l, value, len(value), got)
		}
		l.At, got.Name = created.Add(30*24*time.Hour), ""
		l.Name = ""
		if got != l {
			t.Errorf("%+v, want %+v", got, l)
		}
	}
	if got, _ := ReadStepLine("5 1 to open ticket", created); got.Name != "open ticket" {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{"", "1 2 to", "x 2 to a", "1 x to a", "1 2 xo a", "1 2 tx a", "1 2 t a"} {
		if got, ok := ReadStepLine(bad, created); ok {
			t.Errorf("%q was read as %+v", bad, got)
		}
	}
}
