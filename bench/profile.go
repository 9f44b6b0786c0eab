package main

import (
	"errors"
	"os"
	"runtime/pprof"
)

var profiling *os.File

// startProfile begins a CPU profile in PREFIX-cpu.prof; without a prefix it does
// nothing.
func startProfile(prefix string) (err error) {
	if prefix == "" {
		return nil
	}
	if profiling, err = os.Create(prefix + "-cpu.prof"); err != nil {
		return err
	}
	return pprof.StartCPUProfile(profiling)
}

// stopProfile ends it and writes all allocations so far to PREFIX-allocs.prof.
func stopProfile(prefix string) error {
	if prefix == "" || profiling == nil {
		return nil
	}
	pprof.StopCPUProfile()
	err := profiling.Close()
	profiling = nil
	f, create := os.Create(prefix + "-allocs.prof")
	if create != nil {
		return errors.Join(err, create)
	}
	return errors.Join(err, pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}
