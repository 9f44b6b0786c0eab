package provider

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// Half is the first half of a surrogate pair, as \ud83d, with which a text ended: a
// server that cuts between tokens may cut a character, of which the next text then
// brings the other half. Empty: there is none.
type Half string

// Join reads a text's literal, quotes included, with the half from before in front of
// it, and keeps the half with which it ends. False: it is no text.
func (h *Half) Join(literal []byte) (string, bool) {
	if *h != "" && len(literal) > 2 {
		literal = append(append([]byte{'"'}, *h...), literal[1:]...)
		*h = ""
	}
	if at := endsInHalf(literal); at > 0 {
		*h = Half(literal[at : len(literal)-1])
		literal = append(append([]byte(nil), literal[:at]...), '"')
	}
	var piece string
	err := json.Unmarshal(literal, &piece)
	return piece, err == nil
}

// Rest is what stands for a half whose other half did not come; empty: there is none.
func (h *Half) Rest() string {
	if *h == "" {
		return ""
	}
	*h = ""
	return string(utf8.RuneError)
}

// endsInHalf is where the first half of a surrogate pair begins that ends a literal, 0
// for none.
func endsInHalf(literal []byte) int {
	at := len(literal) - len(`\ud83d"`)
	if at < 1 || literal[at] != '\\' || literal[at+1] != 'u' {
		return 0
	}
	r, err := strconv.ParseUint(string(literal[at+2:at+6]), 16, 16)
	if err != nil || r < 0xd800 || r > 0xdbff {
		return 0
	}
	slashes := 0 // before it: an odd number of them makes this one a mere character
	for i := at - 1; i > 0 && literal[i] == '\\'; i-- {
		slashes++
	}
	if slashes%2 == 1 {
		return 0
	}
	return at
}
