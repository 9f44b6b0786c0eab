//go:build !failpoints

// Package failpoint lets process tests kill a worker at a named edge of the
// lifecycle. Without the build tag failpoints it is nothing and costs nothing.
package failpoint

// At marks an edge.
func At(string) {}
