package anthropic

import (
	"encoding/json"
	"testing"
)

var deltas = map[string]bool{
	`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" token"}}`:                 true,
	`{"type":"content_block_delta","index":12,"delta":{"type":"text_delta","text":"日本"}         }` + "\n":    true,
	`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}    } `:                  true,
	`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\nb"}}`:                   false,
	`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a` + "\n" + `b"}}`:         false,
	`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a` + "\xff" + `b"}}`:       false,
	`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a","x":1}}`:                false,
	`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"},"index":7}`:            false,
	`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}}`:                     false,
	`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}`:                       false,
	`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a`:                         false,
	`{"type":"content_block_delta","index":,"delta":{"type":"text_delta","text":"a"}}`:                       false,
	`{"type":"content_block_delta","index":01,"delta":{"type":"text_delta","text":"a"}}`:                     false,
	`{"type":"content_block_delta","index":-1,"delta":{"type":"text_delta","text":"a"}}`:                     false,
	`{"type":"content_block_delta","index":12345678901,"delta":{"type":"text_delta","text":"a"}}`:            false,
	`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"a"}}`:              false,
	`{"index":0,"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}`:                      false,
	`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"]}`:                      false,
	`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}]`:                      false,
	`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\u0041"}}`:                 false,
	`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"} x }`:                   false,
	`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"` + "\u00a0" + `}}`:      false,
	`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a", "text":"b"}         }`: false,
}

func TestTextDelta_ReadsTheUsualEventOnly(t *testing.T) {
	for data, want := range deltas {
		if _, _, ok := textDelta([]byte(data)); ok != want {
			t.Errorf("ok %t, want %t: %s", ok, want, data)
		}
		agree(t, []byte(data))
	}
}

// Whatever it takes, encoding/json reads the same.
func FuzzTextDelta(f *testing.F) {
	for data := range deltas {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) { agree(t, data) })
}

func agree(t *testing.T, data []byte) {
	t.Helper()
	index, text, ok := textDelta(data)
	if !ok {
		return
	}
	var e event
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatalf("taken, but no JSON: %v in %s", err, data)
	}
	if e.Index != index || (&open{}).join(e.Delta.Text) != text || e.Delta.Type != "text_delta" {
		t.Fatalf("%d %q, but encoding/json reads %d %q in %s", index, text, e.Index, e.Delta.Text, data)
	}
}
