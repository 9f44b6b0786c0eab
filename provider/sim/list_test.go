package sim

import (
	"context"
	"testing"

	"github.com/lighterman/lighterman"
)

func TestList_OffersWhatCallKnows(t *testing.T) {
	s := New(Options{Script: map[string][]Reply{"scripted": {{Text: "x"}}}})
	got, err := s.List(t.Context())
	if err != nil || len(got) != len(s.Models()) {
		t.Fatalf("%+v %v", got, err)
	}
	for i, o := range got {
		switch {
		case o.Name != s.Models()[i]:
			t.Errorf("%s in place of %s", o.Name, s.Models()[i])
		case o.Name == "scripted" && o.Can != nil:
			t.Errorf("%+v", o)
		case o.Name == Embed && (!o.Can[lighterman.CanEmbed] || o.Can[lighterman.CanChat]):
			t.Errorf("%+v", o)
		case o.Name == Plain && (!o.Can[lighterman.CanChat] || o.Can[lighterman.CanEmbed]):
			t.Errorf("%+v", o)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := s.List(ended); lighterman.KindOf(err) != lighterman.CallCancelled {
		t.Errorf("%v", err)
	}
}
