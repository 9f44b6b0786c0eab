// Package worker wires one worker from a configuration: Redis (yours, or an
// embedded one), the consumer, the pipeline with its kinds and tools, the models,
// logs, metrics and health. It is what our own commands run, and what a handler
// developer's main calls:
//
//	cfg, err := worker.Load()
//	w, err := worker.New(ctx, cfg)
//	w.Handle("summarise", summarise)
//	err = w.Run(ctx) // SIGTERM drains
package worker
