package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// resultFile is the file of --out. Results are written beside it, and take its place
// when the command ends: until then what was there stays as it was.
type resultFile struct {
	file   *os.File
	name   string // as it was given
	wrote  bool
	target string // what a symbolic link of that name leads to; empty: written where it is
}

// createResults begins the file of a name. What is no regular file, as a pipe or a
// device, is written where it is.
func createResults(name string) (*resultFile, error) {
	target := name
	info, err := os.Stat(name)
	switch {
	case err == nil && info.IsDir():
		return nil, usagef("--out: %s is a directory; want a file", name)
	case err == nil && !info.Mode().IsRegular():
		file, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return nil, usagef("--out: %w", err)
		}
		return &resultFile{file: file, name: name}, nil
	case err == nil:
		if target, err = filepath.EvalSymlinks(name); err != nil {
			return nil, usagef("--out: %w", err)
		}
	}
	mode := os.FileMode(0o666) // less what the process masks
	if info != nil {
		mode = info.Mode().Perm()
	}
	file, err := os.OpenFile(fmt.Sprintf("%s.%d.part", target, os.Getpid()), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return nil, usagef("--out: %w", err)
	}
	return &resultFile{file: file, name: name, target: target}, nil
}

// Write satisfies io.Writer. Its error ends the command with exit 1.
func (r *resultFile) Write(p []byte) (int, error) {
	n, err := r.file.Write(p)
	r.wrote = r.wrote || n > 0
	if err != nil {
		err = &outputError{r.name, err}
	}
	return n, err
}

// end puts what was written in the file's place; without a result the file stays as
// it was.
func (r *resultFile) end() error {
	if !r.wrote {
		r.drop()
		return nil
	}
	err := r.file.Close()
	if err == nil && r.target != "" {
		err = os.Rename(r.file.Name(), r.target)
	}
	if err != nil {
		return &outputError{r.name, err}
	}
	return nil
}

func (r *resultFile) drop() {
	_ = r.file.Close()
	if r.target != "" {
		_ = os.Remove(r.file.Name())
	}
}

// checkOut refuses results that would go into the file of the requests, under
// whatever name.
func (f *enqueueFlags) checkOut(stdin io.Reader) error {
	if f.file == "" {
		return nil
	}
	in, err := f.statRequests(stdin)
	if err != nil || !in.Mode().IsRegular() { // reading says what is wrong
		return nil //nolint:nilerr // as above
	}
	if f.out != "" {
		if out, err := os.Stat(f.out); err == nil && os.SameFile(in, out) {
			return usagef("--out %s is the file of the requests; want another", f.out)
		}
		return nil
	}
	if out, err := os.Stdout.Stat(); err == nil && os.SameFile(in, out) {
		return usagef("standard output is the file of the requests; want another")
	}
	return nil
}

func (f *enqueueFlags) statRequests(stdin io.Reader) (os.FileInfo, error) {
	if f.file != "-" {
		return os.Stat(f.file)
	}
	if file, ok := stdin.(*os.File); ok {
		return file.Stat()
	}
	return nil, errors.New("no file")
}
