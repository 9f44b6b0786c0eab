package cli

import (
	"io"
	"os"
)

// eraser takes back text that was written to a regular file, as long as it stands at
// the file's end. nil takes nothing back: a pipe's reader has it already.
type eraser struct {
	file *os.File
	from int64 // the file's size before the first write
}

// newEraser returns nil where out is no regular file, or its end is not where is written.
func newEraser(out io.Writer) *eraser {
	var file *os.File
	switch out := out.(type) {
	case *screen:
		file = out.file
	case *os.File:
		file = out
	default:
		return nil
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	return &eraser{file: file, from: info.Size()}
}

// erase takes back the last n of all bytes that were written since newEraser. It
// returns false, and changes nothing, where another process has written too.
func (e *eraser) erase(n, all int) bool {
	if e == nil {
		return false
	}
	info, err := e.file.Stat()
	if err != nil || info.Size() != e.from+int64(all) {
		return false
	}
	if at, err := e.file.Seek(0, io.SeekCurrent); err != nil || at != info.Size() {
		return false
	}
	to := info.Size() - int64(n)
	if e.file.Truncate(to) != nil {
		return false
	}
	_, err = e.file.Seek(to, io.SeekStart)
	return err == nil
}
