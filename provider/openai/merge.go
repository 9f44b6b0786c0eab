package openai

import (
	"encoding/json"
	"maps"
	"slices"
)

// merged are fields that nobody here knows, put together from their pieces: texts and
// lists grow, objects take each other's fields, and of anything else the last counts.
// Pieces of one list that have an index, as reasoning_details do, are merged by it.
// The zero value is empty.
type merged map[string]any

// take adds a piece of a field.
func (m *merged) take(field string, raw []byte) {
	var piece any
	if json.Unmarshal(raw, &piece) != nil || piece == nil {
		return
	}
	if *m == nil {
		*m = merged{}
	}
	(*m)[field] = merge(field, (*m)[field], piece)
}

// whole are the fields whose text comes at once, so that a repeat replaces it.
var whole = map[string]bool{"type": true, "format": true, "id": true, "role": true, "name": true, "signature": true, "object": true, "title": true, "url": true}

func merge(field string, old, piece any) any {
	switch piece := piece.(type) {
	case string:
		if before, ok := old.(string); ok && !whole[field] {
			return before + piece
		}
	case []any:
		before, _ := old.([]any)
		for _, one := range piece {
			before = appendIndexed(before, one)
		}
		return before
	case map[string]any:
		before, ok := old.(map[string]any)
		if !ok {
			return piece
		}
		for _, name := range slices.Sorted(maps.Keys(piece)) {
			if piece[name] != nil {
				before[name] = merge(name, before[name], piece[name])
			}
		}
		return before
	}
	return piece
}

// appendIndexed merges an element into the one of the same index and type.
func appendIndexed(list []any, one any) []any {
	piece, ok := one.(map[string]any)
	if !ok || piece["index"] == nil {
		return append(list, one)
	}
	for i, old := range list {
		before, ok := old.(map[string]any)
		if ok && before["index"] == piece["index"] && before["type"] == piece["type"] {
			list[i] = merge("", before, piece)
			return list
		}
	}
	return append(list, one)
}
