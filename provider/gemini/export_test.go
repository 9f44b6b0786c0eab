package gemini

import (
	"bufio"
	"io"
)

// Events is a stream as the SDK is given it.
func Events(body io.ReadCloser) io.ReadCloser {
	return &events{body: body, lines: bufio.NewReaderSize(body, 16<<10), flow: new(flow)}
}
