package cli

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	lm "github.com/lighterman/lighterman"
)

// readFile reads requests from a JSONL file, each with its line number, and with
// its problem where it is none.
func (f *enqueueFlags) readFile(stdin io.Reader) ([]numbered, error) {
	in := stdin
	if f.file != "-" {
		file, err := os.Open(f.file)
		if err != nil {
			return nil, usagef("--file: %w", err)
		}
		defer file.Close() //nolint:errcheck // only read
		if info, err := file.Stat(); err == nil && info.IsDir() {
			return nil, usagef("--file: %s is a directory; want a JSONL file", f.file)
		}
		in = file
	}
	r := &lineReader{template: f.template, seen: make(map[string]int), customIDs: make(map[string]int)}
	lines := bufio.NewReaderSize(in, 64<<10)
	var list []numbered
	for number := 1; ; number++ {
		line, err := readLine(lines)
		if number == 1 && isUTF16(line) {
			return nil, usagef("%s: UTF-16; want UTF-8 (iconv -f UTF-16 -t UTF-8 makes it)", f.fileName())
		}
		if number == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff")) // Windows editors put it there
		}
		if len(bytes.TrimSpace(line)) > 0 || errors.Is(err, errLongLine) {
			n := numbered{line: number, bad: err}
			if !errors.Is(err, errLongLine) {
				n = r.read(line, number)
			}
			list = append(list, n)
		}
		if err != nil && !errors.Is(err, errLongLine) {
			if !errors.Is(err, io.EOF) {
				return nil, usagef("%s:%d: %w", f.fileName(), number, err)
			}
			break
		}
	}
	if len(list) == 0 {
		return nil, usagef("%s: no requests in it", f.fileName())
	}
	return list, nil
}

// lineReader makes requests of lines.
type lineReader struct {
	template  lm.Request
	seen      map[string]int // how often the same request came, by its hash
	customIDs map[string]int // line of each custom ID
}

// batchLine is a line of an OpenAI batch file.
type batchLine struct {
	CustomID string          `json:"custom_id"`
	Method   string          `json:"method"`
	URL      string          `json:"url"`
	Body     json.RawMessage `json:"body"`
}

// batchKinds are the kinds behind the URLs of an OpenAI batch file.
var batchKinds = map[string]string{"/v1/chat/completions": "chat", "/v1/completions": "prompt", "/v1/embeddings": "embed"}

func (r *lineReader) read(line []byte, number int) numbered {
	n := numbered{request: r.template, line: number}
	if n.bad = validUTF8(line); n.bad != nil {
		return n
	}
	var probe map[string]json.RawMessage
	if err := json.Unmarshal(line, &probe); err != nil {
		n.bad = fmt.Errorf("want a JSON object: %w", jsonProblem(err))
		return n
	}
	n.request.Body = bytes.Clone(bytes.TrimSpace(line))
	if _, ok := probe["custom_id"]; ok {
		if n.bad = r.readBatch(line, &n); n.bad != nil {
			return n
		}
	}
	// The same file pushed again must find what it pushed before, and the same
	// request twice in one file is two operations.
	hash := n.request.Hash()
	r.seen[hash]++
	n.request.Key = fmt.Sprintf("%s#%d", hash, r.seen[hash])
	if n.customID != "" {
		n.request.Key = "custom:" + shortID(n.customID) + "/" + hash
	}
	return n
}

func (r *lineReader) readBatch(line []byte, n *numbered) error {
	var b batchLine
	if err := json.Unmarshal(line, &b); err != nil {
		return fmt.Errorf("batch line: %w", jsonProblem(err))
	}
	kind, ok := batchKinds[b.URL]
	switch {
	case b.CustomID == "" || utf8.RuneCountInString(b.CustomID) > 128:
		return errors.New("custom_id: want 1 to 128 characters")
	case b.Method != "POST":
		return fmt.Errorf("method %q: want POST", clipText(b.Method))
	case !ok:
		return fmt.Errorf("url %q: want /v1/chat/completions, /v1/completions or /v1/embeddings", clipText(b.URL))
	case len(b.Body) == 0:
		return errors.New("body: missing")
	}
	if first := r.customIDs[b.CustomID]; first > 0 {
		return fmt.Errorf("custom_id %q: used on line %d already", clipText(b.CustomID), first)
	}
	r.customIDs[b.CustomID] = n.line
	n.customID, n.request.Kind, n.request.Body = b.CustomID, kind, bytes.Clone(b.Body)
	return nil
}

// shortID is a custom ID as a key has room for it: one of many bytes by its hash.
func shortID(customID string) string {
	if len(customID) <= 128 {
		return customID
	}
	sum := sha256.Sum256([]byte(customID))
	return hex.EncodeToString(sum[:])
}

// validUTF8 says where a text stops being UTF-8, as one in Latin-1 does. JSON's own
// check lets it pass, and no model API takes it.
func validUTF8(text []byte) error {
	column := 1
	for at := 0; at < len(text); column++ {
		r, width := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && width == 1 {
			return fmt.Errorf("column %d (byte %d): 0x%02x is no UTF-8; is it Latin-1? iconv -f LATIN1 -t UTF-8 makes it UTF-8", column, at+1, text[at])
		}
		at += width
	}
	return nil
}

// isUTF16 reports whether a file begins as UTF-16 does: with its mark, or with every
// other byte of the first ASCII characters zero.
func isUTF16(line []byte) bool {
	if bytes.HasPrefix(line, []byte{0xff, 0xfe}) || bytes.HasPrefix(line, []byte{0xfe, 0xff}) {
		return true
	}
	return len(line) >= 2 && (line[0] == 0) != (line[1] == 0)
}

// jsonProblem says where a line stops being JSON, without quoting it.
func jsonProblem(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("byte %d: %s", syntax.Offset, syntax.Error())
	case errors.As(err, &kind):
		if kind.Field == "" {
			return fmt.Errorf("got %s", article(kind.Value))
		}
		return fmt.Errorf("%s: got %s", kind.Field, article(kind.Value))
	default:
		return err
	}
}

// article puts the right one before the name of a JSON type.
func article(word string) string {
	if strings.ContainsRune("aeiou", rune(word[0])) {
		return "an " + word
	}
	return "a " + word
}

func clipText(s string) string { return oneLine(s, 60) }

// errLongLine marks a line over the bound of a request.
var errLongLine = fmt.Errorf("line over the bound of %d bytes", lm.MaxRequest)

// readLine reads one line of bounded length; of a longer one it keeps nothing
// and goes on behind it.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := in.ReadSlice('\n')
		if long = long || len(line)+len(part) > lm.MaxRequest+1024; !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case long && (err == nil || errors.Is(err, io.EOF)):
			return nil, errLongLine // at the end of the file the next call says so
		default:
			return line, err
		}
	}
}
