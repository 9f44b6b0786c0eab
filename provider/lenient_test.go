package provider

import (
	"encoding/json"
	"testing"
)

func TestCount_IsReadHoweverItIsWritten(t *testing.T) {
	for raw, want := range map[string]Count{
		`12`: 12, `12.0`: 12, `2.25`: 2, `1e3`: 1000, `"12"`: 12, `" 131072 "`: 131072, `"2.5e1"`: 25,
		`-1`: 0, `null`: 0, `{}`: 0, `[1]`: 0, `true`: 0, `"many"`: 0, `""`: 0, `"NaN"`: 0, `"Inf"`: 0, `1e300`: 0, `"-4"`: 0,
	} {
		got := struct{ A, B Count }{A: 7}
		if err := json.Unmarshal([]byte(`{"A":`+raw+`,"B":5}`), &got); err != nil || got.A != want || got.B != 5 {
			t.Errorf("%s reads %d, then %d, want %d and 5 (%v)", raw, got.A, got.B, want, err)
		}
	}
}

func TestDecode_LeavesOutWhatHasAnotherForm(t *testing.T) {
	var got struct {
		A string
		B []string
		C struct{ D int }
		E string
	}
	if err := Decode([]byte(`{"A":{},"B":"x","C":{"D":"y"},"E":"kept"}`), &got); err != nil || got.A != "" || got.B != nil || got.C.D != 0 || got.E != "kept" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{``, `{"A":`, `<html>`} {
		if Decode([]byte(bad), &got) == nil {
			t.Errorf("%q is no JSON", bad)
		}
	}
}
