// Command worker runs one worker.
package main

import "github.com/lighterman/lighterman/cmd/internal/cli"

func main() { cli.Main(cli.Worker()) }
