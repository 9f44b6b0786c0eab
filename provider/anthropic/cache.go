package anthropic

import (
	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/packages/param"
)

// cache marks what the vendor's prompt cache is to keep: sessions come home to a
// member because of it. At most three of the four marks that the API allows:
//
//   - the end of the system prompt, or of the tools where there is none: calls of an
//     agent, or lines of a file, share it;
//   - in a conversation the end of its last two turns of the user: the next call reads
//     what this one wrote, also when a loop added more blocks than the API looks back.
//
// A prompt shorter than the model's minimum is not cached and costs nothing more. Else
// what is written costs a quarter more once, what is read a tenth; a single question
// is not marked, as nobody would read it again. A caller's own cache_control at the
// top of the body replaces all of this, and null switches it off.
func (t *translation) cache() {
	if raw, own := t.chat.Extra["cache_control"]; own {
		if string(raw) != "null" {
			t.params.CacheControl = param.Override[anthropic.CacheControlEphemeralParam](raw)
		}
		return
	}
	switch {
	case len(t.params.System) > 0:
		t.params.System[len(t.params.System)-1].CacheControl = cacheMark()
	case len(t.params.Tools) > 0:
		t.params.Tools[len(t.params.Tools)-1].OfTool.CacheControl = cacheMark()
	}
	if !t.conversation() {
		return
	}
	marks := 2
	for i := len(t.params.Messages) - 1; i >= 0 && marks > 0; i-- {
		m := &t.params.Messages[i]
		if m.Role != anthropic.MessageParamRoleUser {
			continue
		}
		if c := m.Content[len(m.Content)-1].GetCacheControl(); c != nil {
			*c = cacheMark()
			marks--
		}
	}
}

// conversation: the call has been asked before in part, or belongs to what goes on.
func (t *translation) conversation() bool {
	if t.call.Thread != "" || t.call.Run != "" {
		return true
	}
	for i := range t.chat.Messages {
		if t.chat.Messages[i].Role == "assistant" {
			return true
		}
	}
	return false
}

func cacheMark() anthropic.CacheControlEphemeralParam {
	return anthropic.NewCacheControlEphemeralParam()
}
