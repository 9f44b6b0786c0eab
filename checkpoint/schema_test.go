package checkpoint

import (
	"errors"
	"testing"

	"github.com/lighterman/lighterman"
)

// suffix is an upgrade that marks every step with the version it leads to.
func suffix(mark string) Upgrade {
	return func(steps []StepData) ([]StepData, error) {
		for i := range steps {
			steps[i].Data = append(steps[i].Data, mark...)
		}
		return steps, nil
	}
}

// PARITY 14.
func TestParity14_OlderSchemaIsUpgradedElseRegathered(t *testing.T) {
	v1 := newCodec(t, Options{})
	hash := stored(t, v1, "a", "1", "b", "2")

	t.Run("upgraded", func(t *testing.T) {
		v2 := newCodec(t, Options{Schema: 2, Upgrades: map[int]Upgrade{1: suffix("+2")}})
		hash := stored(t, v1, "a", "1", "b", "2")
		b := open(t, v2, hash)
		holds(t, b, "a", "1+2", "b", "2+2")
		if names := record(t, b, hash, "c", "3"); names[0] != Reset {
			t.Fatalf("first write after the upgrade: %v", names)
		}
		if _, left := hash["step:b"]; left || hash[fieldSchema] != "2" {
			t.Errorf("the old fields are still there: schema %s", hash[fieldSchema])
		}
		record(t, b, hash, "d", "4")
		holds(t, open(t, v2, hash), "a", "1+2", "b", "2+2", "c", "3", "d", "4")
		refuses(t, v1, testID, hash, ErrSchemaNewer)
	})
	t.Run("no upgrade", func(t *testing.T) {
		refuses(t, newCodec(t, Options{Schema: 2}), testID, hash, ErrSchemaOlder)
	})
	t.Run("no upgrade from what cannot be read any more", func(t *testing.T) {
		refuses(t, newCodec(t, Options{Schema: 2}), testID, lighterman.Fields{fieldSchema: "1", fieldCodec: "gzip"}, ErrSchemaOlder)
	})
	t.Run("a version that was changed", func(t *testing.T) {
		v2 := newCodec(t, Options{Schema: 2, Upgrades: map[int]Upgrade{1: suffix("")}})
		bad := stored(t, v1, "a", "1")
		bad[fieldSchema] = "2"
		refuses(t, v2, testID, bad, ErrCorrupt)
	})
	t.Run("older is not newer", func(t *testing.T) {
		if _, err := newCodec(t, Options{Schema: 2}).Open(testID, hash); errors.Is(err, ErrSchemaNewer) {
			t.Errorf("%v is also newer", err)
		}
	})
	t.Run("a refused step leaves the upgraded ones alone", func(t *testing.T) {
		v2 := newCodec(t, Options{Schema: 2, Upgrades: map[int]Upgrade{1: suffix("+2")}, MaxInflate: 1000})
		b := open(t, v2, hash)
		if _, err := b.Record("a", make([]byte, 1001)); !errors.Is(err, ErrTooLarge) {
			t.Fatalf("Record: %v", err)
		}
		holds(t, b, "a", "1+2", "b", "2+2")
	})
	t.Run("a gap in the chain", func(t *testing.T) {
		refuses(t, newCodec(t, Options{Schema: 3, Upgrades: map[int]Upgrade{1: suffix("")}}), testID, hash, ErrSchemaOlder)
	})
	for name, up := range map[string]Upgrade{
		"it fails":    func([]StepData) ([]StepData, error) { return nil, errors.New("no") },
		"it panics":   func([]StepData) ([]StepData, error) { panic("payload") },
		"names twice": func(s []StepData) ([]StepData, error) { return append(s, s...), nil },
	} {
		t.Run(name, func(t *testing.T) {
			refuses(t, newCodec(t, Options{Schema: 2, Upgrades: map[int]Upgrade{1: up}}), testID, hash, ErrSchemaOlder)
		})
	}
	t.Run("a corrupt one is not upgraded", func(t *testing.T) {
		called := false
		v2 := newCodec(t, Options{Schema: 2, Upgrades: map[int]Upgrade{1: func(s []StepData) ([]StepData, error) { called = true; return s, nil }}})
		bad := stored(t, v1, "a", "1")
		bad[fieldPayload] = bad[fieldPayload][1:] + "x"
		refuses(t, v2, testID, bad, ErrCorrupt)
		if called {
			t.Error("the upgrade saw corrupt steps")
		}
	})
}

// PARITY 15, what this package decides of it: the newer schema is told apart,
// and the book that replaces it is there for when the waiting has ended.
func TestParity15_NewerSchemaIsDistinguishable(t *testing.T) {
	v3 := newCodec(t, Options{Schema: 3})
	v1 := newCodec(t, Options{})
	hash := stored(t, v3, "a", "1", "b", "2")
	_, err := v1.Open(testID, hash)
	var schema *SchemaError
	if !errors.As(err, &schema) || schema.Have != 3 || schema.Want != 1 {
		t.Fatalf("Open: %v, want a SchemaError 3, 1", err)
	}
	if errors.Is(err, ErrSchemaOlder) || errors.Is(err, ErrCorrupt) {
		t.Errorf("%v is also something else", err)
	}
	refuses(t, v1, testID, hash, ErrSchemaNewer)

	// Whatever else a newer worker changes, its version is read first.
	refuses(t, v1, testID, lighterman.Fields{fieldSchema: "2", "codec": "brotli", "step:x": "?"}, ErrSchemaNewer)
}

// PARITY 22.
func TestParity22_UpgradeChain(t *testing.T) {
	ups := map[int]Upgrade{1: suffix("+2"), 2: func(steps []StepData) ([]StepData, error) {
		return append([]StepData{{Name: "new"}}, steps...), nil
	}}
	v3 := newCodec(t, Options{Schema: 3, Upgrades: ups})
	holds(t, open(t, v3, stored(t, newCodec(t, Options{}), "a", "1", "b", "2")), "new", "", "a", "1+2", "b", "2+2")
	holds(t, open(t, v3, stored(t, newCodec(t, Options{Schema: 2}), "a", "1")), "new", "", "a", "1")
	holds(t, open(t, v3, stored(t, v3, "a", "1")), "a", "1")
}

func TestNew_ReportsAllThatIsWrong(t *testing.T) {
	_, err := New(Options{Schema: -1, MaxBytes: -1, MaxInflate: -1, Upgrades: map[int]Upgrade{7: suffix("")}})
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) || len(joined.Unwrap()) != 4 {
		t.Errorf("New: %v, want four problems", err)
	}
}
