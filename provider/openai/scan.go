package openai

import "errors"

// The scanner walks over JSON without decoding it: what it is given was found valid
// by json.Valid before, so that it need only find where values end.

var errScan = errors.New("no JSON of that form")

// members calls f with the raw key, quotes included, and the bounds of the value of
// each member of the object that begins at b[i]. It returns the index behind the
// object. f ends the walk with false.
func members(b []byte, i int, f func(key []byte, from, to int) bool) (int, error) {
	return walk(b, i, '{', f)
}

// elements calls f with the bounds of each element of the array that begins at b[i].
func elements(b []byte, i int, f func(from, to int) bool) (int, error) {
	return walk(b, i, '[', func(_ []byte, from, to int) bool { return f(from, to) })
}

func walk(b []byte, i int, open byte, f func(key []byte, from, to int) bool) (int, error) {
	i = blank(b, i)
	if i >= len(b) || b[i] != open {
		return i, errScan
	}
	for i = blank(b, i+1); i < len(b); i = blank(b, i+1) {
		if b[i] == open+2 { // } and ] come two behind { and [
			return i + 1, nil
		}
		var key []byte
		if open == '{' {
			end := text(b, i)
			if end < 0 {
				return i, errScan
			}
			key = b[i:end]
			if i = blank(b, end); i >= len(b) || b[i] != ':' {
				return i, errScan
			}
			i = blank(b, i+1)
		}
		end := value(b, i)
		if end < 0 {
			return i, errScan
		}
		if !f(key, i, end) {
			return end, nil
		}
		if i = blank(b, end); i < len(b) && b[i] == ',' {
			continue
		}
		if i < len(b) && b[i] == open+2 {
			return i + 1, nil
		}
		return i, errScan
	}
	return i, errScan
}

func blank(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// text is the index behind the string literal that begins at b[i], -1 for none.
func text(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// value is the index behind the value that begins at b[i], -1 for none.
func value(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"':
		return text(b, i)
	case '{', '[':
		depth := 0
		for i < len(b) {
			switch b[i] {
			case '"':
				if i = text(b, i); i < 0 {
					return -1
				}
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
		return -1
	}
	from := i
	for i < len(b) && b[i] != ',' && b[i] != '}' && b[i] != ']' && b[i] != ' ' && b[i] != '\n' && b[i] != '\t' && b[i] != '\r' {
		i++
	}
	if i == from {
		return -1
	}
	return i
}
