// Command gen writes the Lua include with the lifecycle's table.
package main

import (
	"log"
	"os"

	"github.com/lighterman/lighterman/statemachine"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: gen FILE")
	}
	if err := os.WriteFile(os.Args[1], []byte(statemachine.Lua()), 0o644); err != nil {
		log.Fatal(err)
	}
}
