package producer

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
)

// TestBounds_EveryDocumentedOne (docs/wire.md): at the bound a request is taken,
// one over it is refused with the field's name, by the client and, where an entry
// can hold the field, by adoption.
func TestBounds_EveryDocumentedOne(t *testing.T) {
	label := func(set func(*lm.Request, string)) func(*lm.Request, int) {
		return func(r *lm.Request, n int) { set(r, strings.Repeat("a", n)) }
	}
	for field, tt := range map[string]struct {
		bound int
		set   func(r *lm.Request, n int)
	}{
		"id":      {64, label(func(r *lm.Request, s string) { r.ID = s })},
		"kind":    {64, label(func(r *lm.Request, s string) { r.Kind = s })},
		"queue":   {64, label(func(r *lm.Request, s string) { r.Queue = s })},
		"reply":   {64, label(func(r *lm.Request, s string) { r.Reply = s })},
		"key":     {256, label(func(r *lm.Request, s string) { r.Key = s })},
		"model":   {256, label(func(r *lm.Request, s string) { r.Model = s })},
		"tenant":  {256, label(func(r *lm.Request, s string) { r.Tenant = s })},
		"thread":  {256, label(func(r *lm.Request, s string) { r.Thread = s })},
		"run":     {256, label(func(r *lm.Request, s string) { r.Run = s })},
		"agent":   {256, label(func(r *lm.Request, s string) { r.Agent = s })},
		"webhook": {2048, label(func(r *lm.Request, s string) { r.Webhook = s })},
		"meta": {64, func(r *lm.Request, n int) {
			r.Meta = make(map[string]string)
			for i := range n {
				r.Meta[fmt.Sprintf("m%d", i)] = "v"
			}
		}},
		"meta name": {64, func(r *lm.Request, n int) { r.Meta = map[string]string{strings.Repeat("m", n): "v"} }},
		"body": {4 << 20, func(r *lm.Request, n int) {
			r.Kind, r.Body = "own", []byte(`"`+strings.Repeat("b", n-2)+`"`)
		}},
		"body with meta": {4 << 20, func(r *lm.Request, n int) {
			r.Kind, r.Body, r.Meta = "own", []byte(`"`+strings.Repeat("b", n-12)+`"`), map[string]string{"m": strings.Repeat("v", 9)}
		}},
	} {
		t.Run(field, func(t *testing.T) {
			for n, taken := range map[int]bool{tt.bound: true, tt.bound + 1: false} {
				r := chat()
				tt.set(&r, n)
				adopted := lua.Derive(entryOf(r))
				if good := adopted.Verdict == ""; field != "queue" && good != taken {
					t.Errorf("an entry with %d: %q", n, adopted.Verdict)
				}
				r.Normalize()
				err := validate(&r, nil)
				if (err == nil) != taken {
					t.Fatalf("a request with %d: %v", n, err)
				}
				var e *lm.Error
				name, _, _ := strings.Cut(field, " ")
				if !taken && (!errors.As(err, &e) || e.Kind != lm.InvalidRequest || !strings.Contains(err.Error(), name+": ")) {
					t.Errorf("%v: does not name %s", err, name)
				}
			}
		})
	}
}

// entryOf is a request as a foreign producer pushes it.
func entryOf(r lm.Request) lua.Entry {
	fields := []string{"v", "1", "body", string(r.Body)}
	for _, f := range [][2]string{{"id", r.ID}, {"kind", r.Kind}, {"reply", r.Reply}, {"key", r.Key}, {"model", r.Model}, {"tenant", r.Tenant},
		{"thread", r.Thread}, {"run", r.Run}, {"agent", r.Agent}, {"webhook", r.Webhook}} {
		if f[1] != "" {
			fields = append(fields, f[0], f[1])
		}
	}
	for name, value := range r.Meta {
		fields = append(fields, name, value)
	}
	return lua.Entry{Stream: lua.Stream{Queue: "default"}, ID: "1-0", Fields: fields}
}

// TestBounds_WhatNoFieldMayHold: control characters in labels, other characters in
// names, names of ours.
func TestBounds_WhatNoFieldMayHold(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*lm.Request)
		says   string
	}{
		"hook":           {func(r *lm.Request) { r.ID = "a.hook" }, "id: "},
		"slash":          {func(r *lm.Request) { r.ID = "a/b" }, "id: "},
		"brace in queue": {func(r *lm.Request) { r.Queue = "a}b" }, "queue: "},
		"newline":        {func(r *lm.Request) { r.Thread = "a\nb" }, "thread: "},
		"delete":         {func(r *lm.Request) { r.Key = "a\x7fb" }, "key: "},
		"zero in meta":   {func(r *lm.Request) { r.Meta = map[string]string{"m": "a\x00b"} }, "meta: "},
		"empty body":     {func(r *lm.Request) { r.Body = nil }, "body: "},
		"no JSON":        {func(r *lm.Request) { r.Body = []byte("{") }, "body: "},
		"timeout":        {func(r *lm.Request) { r.Timeout = -time.Second }, "timeout: "},
	} {
		t.Run(name, func(t *testing.T) {
			r := chat()
			tt.change(&r)
			r.Normalize()
			if err := validate(&r, nil); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %q", err, tt.says)
			}
		})
	}
}

// TestWithQueueLimit_IsTheDoor: over all partitions, for Enqueue and EnqueueMany.
func TestWithQueueLimit_IsTheDoor(t *testing.T) {
	server := redistest.Start(t)
	c, err := Open(deadline(t), server.URL(), WithQueueLimit(6), WithPartitions(3))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	refused := 0
	for _, a := range c.EnqueueMany(deadline(t), chats(60)) {
		switch {
		case errors.Is(a.Err, ErrQueueFull) && a.ID == "":
			refused++
		case a.Err != nil:
			t.Fatal(a.Err)
		}
	}
	if refused != 54 {
		t.Errorf("%d of 60 were refused, want all but 6", refused)
	}
	if _, err := c.Enqueue(deadline(t), chat()); !errors.Is(err, ErrQueueFull) {
		t.Errorf("one more: %v", err)
	}
	other := chat()
	other.Queue = "batch" // a queue of its own
	if _, err := c.Enqueue(deadline(t), other); err != nil {
		t.Error(err)
	}
}

func TestEnqueue_SaysThatRedisIsFull(t *testing.T) {
	rdb := redistest.Start(t).Client()
	c := open(t, rdb, lua.Options{})
	rdb.ConfigSet(deadline(t), "maxmemory", "1")
	if a, err := c.Enqueue(deadline(t), chat()); !errors.Is(err, lm.ErrOutOfMemory) || a.ID != "" {
		t.Errorf("%+v %v", a, err)
	}
	for _, a := range c.EnqueueMany(deadline(t), chats(3)) {
		if !errors.Is(a.Err, lm.ErrOutOfMemory) {
			t.Errorf("%+v", a)
		}
	}
}
