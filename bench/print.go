package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
)

// results is all that was measured.
type results struct {
	Redis       string             `json:"redis"`
	CPUs        int                `json:"cpus"`
	N           int                `json:"n"`
	Runs        int                `json:"runs"`
	Rate        int                `json:"rate"`
	Seconds     int                `json:"seconds"`
	Concurrency int                `json:"concurrency"`
	Took        string             `json:"took"`
	Systems     map[string]*result `json:"systems"`
}

// result is one system's.
type result struct {
	Drains    []drain   `json:"drains"`
	Latencies []latency `json:"latencies"`
}

// rows are the lines of the table that come from drains.
var rows = []struct {
	name   string
	digits int
	get    func(drain) float64
}{
	{"drain, op/s", 0, func(d drain) float64 { return d.DrainPerS }},
	{"enqueue, op/s", 0, func(d drain) float64 { return d.EnqueuePerS }},
	{"Redis CPU, enqueue, us/op", 1, func(d drain) float64 { return d.Enqueue.CPU }},
	{"Redis CPU, drain, us/op", 1, func(d drain) float64 { return d.Drain.CPU }},
	{"Redis CPU in all, us/op", 1, func(d drain) float64 { return d.Enqueue.CPU + d.Drain.CPU }},
	{"worker CPU, us/op", 1, func(d drain) float64 { return d.WorkerCPU }},
	{"worker allocations, per op", 0, func(d drain) float64 { return d.Mallocs }},
	{"worker allocated, bytes/op", 0, func(d drain) float64 { return d.AllocBytes }},
	{"producer CPU, us/op", 1, func(d drain) float64 { return d.ProducerCPU }},
	{"commands, per op", 2, func(d drain) float64 { return d.Enqueue.Commands + d.Drain.Commands }},
	{"scripts, per op", 3, func(d drain) float64 { return d.Enqueue.Scripts + d.Drain.Scripts }},
	{"socket reads of Redis, per op", 3, func(d drain) float64 { return d.Enqueue.Reads + d.Drain.Reads }},
	{"memory of a waiting op, bytes", 0, func(d drain) float64 { return d.Bytes }},
}

// print writes the table, or JSON with every single run.
func (r results) print(to io.Writer, asJSON bool) error {
	if asJSON {
		out := json.NewEncoder(to)
		out.SetIndent("", "  ")
		return out.Encode(r)
	}
	var names []string
	for _, name := range systemNames {
		if s := r.Systems[name]; s != nil && len(s.Drains) > 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	fmt.Fprintf(to, "Redis %s, %d CPUs, %d operations, concurrency %d, medians of %d (least-most), %s\n\n", r.Redis, r.CPUs, r.N, r.Concurrency, r.Runs, r.Took)
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	line := func(head string, cell func(*result) string) {
		fmt.Fprint(table, head)
		for _, name := range names {
			fmt.Fprint(table, "\t", cell(r.Systems[name]))
		}
		fmt.Fprintln(table)
	}
	fmt.Fprint(table, "")
	for _, name := range names {
		fmt.Fprint(table, "\t", name)
	}
	fmt.Fprintln(table)
	for _, row := range rows {
		line(row.name, func(s *result) string { return s.median(row.get, row.digits) })
	}
	for _, l := range uniqueNames(latencyRuns) {
		line(l+", p50 / p99 ms", func(s *result) string { return s.latency(l) })
	}
	return table.Flush()
}

func (s *result) median(get func(drain) float64, digits int) string {
	values := make([]float64, len(s.Drains))
	for i, d := range s.Drains {
		values[i] = get(d)
	}
	slices.Sort(values)
	text := number(values[len(values)/2], digits)
	if low, high := number(values[0], digits), number(values[len(values)-1], digits); low != high {
		text += " (" + low + "-" + high + ")"
	}
	return text
}

func (s *result) latency(name string) string {
	for _, l := range s.Latencies {
		if l.Name == name {
			return number(l.P50, 2) + " / " + number(l.P99, 2)
		}
	}
	return "-"
}

func uniqueNames(runs []latencyRun) []string {
	var names []string
	for _, l := range runs {
		if !slices.Contains(names, l.name) {
			names = append(names, l.name)
		}
	}
	return names
}

// number writes a figure with a comma for the thousands.
func number(x float64, digits int) string {
	text := strconv.FormatFloat(x, 'f', digits, 64)
	whole := len(text)
	if digits > 0 {
		whole -= digits + 1
	}
	for i := whole - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
