//go:build ignore

// Genschema writes schema.json. It is run by go generate.
package main

import (
	"log"
	"os"

	"github.com/lighterman/lighterman/config"
)

func main() {
	if err := os.WriteFile("schema.json", config.Schema(), 0o644); err != nil {
		log.Fatal(err)
	}
}
