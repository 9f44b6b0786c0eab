package config

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDuration_ReadsDaysAndGoUnits(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "500ms": 500 * time.Millisecond, "10s": 10 * time.Second, "1h30m": 90 * time.Minute,
		"7d": 7 * day, "1d12h": 36 * time.Hour, "2.5s": 2500 * time.Millisecond, "106751d": 106751 * day,
	} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || time.Duration(d) != want {
			t.Errorf("%q = %v, %v; want %v", text, time.Duration(d), err, want)
		}
	}
}

func TestDuration_RefusesWhatItCannotMean(t *testing.T) {
	for text, want := range map[string]string{
		"-1s": "cannot be negative", "-7d": "cannot be negative", "": "not a duration", "10": "not a duration",
		"1.5d": "not a duration", "1h1d": "not a duration", "+1s": "not a duration", "ten": "not a duration",
		"106752d": "too long", "106751d24h": "too long", "99999999999999999999d": "too long", "9999999999999h": "too long",
	} {
		d := Duration(7)
		err := d.UnmarshalText([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || d != 7 {
			t.Errorf("%q = %v, %v; want an error with %q and the value left alone", text, d, err, want)
		}
	}
}

func TestDuration_PrintsTheShortForm(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Hour: "1h", 90 * time.Minute: "1h30m", 24 * time.Hour: "1d", 36 * time.Hour: "36h",
		2500 * time.Millisecond: "2.5s", 10 * time.Minute: "10m", time.Hour + 10*time.Second: "1h0m10s",
	} {
		if got := Duration(d).String(); got != want {
			t.Errorf("%d prints as %q, want %q", d, got, want)
		}
	}
}

func TestDurationAndSize_ReadBackWhatTheyPrint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Duration(rapid.Int64Min(0).Draw(t, "duration"))
		s := Size(rapid.Int64Min(0).Draw(t, "size"))
		var d2 Duration
		var s2 Size
		if err := d2.UnmarshalText([]byte(d.String())); err != nil || d2 != d {
			t.Fatalf("%q reads as %d, %v; want %d", d, d2, err, d)
		}
		if err := s2.UnmarshalText([]byte(s.String())); err != nil || s2 != s {
			t.Fatalf("%q reads as %d, %v; want %d", s, s2, err, s)
		}
	})
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "1000": 1000, "12B": 12, "64KiB": 64 << 10, "4MiB": 4 << 20, "1GiB": 1 << 30} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q = %d, %v; want %d", text, s, err, want)
		}
	}
	for text, want := range map[string]string{
		"": "not a size", "4MB": "not a size", "4 MiB": "not a size", "-1": "not a size", "1.5MiB": "not a size", "4mib": "not a size",
		"9223372036854775808": "too large", "8589934592GiB": "too large",
	} {
		s := Size(7)
		err := s.UnmarshalText([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || s != 7 {
			t.Errorf("%q = %d, %v; want an error with %q and the value left alone", text, s, err, want)
		}
	}
}
