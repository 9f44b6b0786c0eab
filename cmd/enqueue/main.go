// Command enqueue pushes requests and waits for their results.
package main

import "github.com/lighterman/lighterman/cmd/internal/cli"

func main() { cli.Main(cli.Enqueue()) }
