// Command lighterman is all of Lighterman in one binary.
package main

import "github.com/lighterman/lighterman/cmd/internal/cli"

func main() { cli.Main(cli.Lighterman()) }
