package config

import "reflect"

// Default is the configuration of a process that was told nothing.
func Default() *Config {
	c := new(Config)
	c.Fill()
	return c
}

// Fill gives every zero field its default, in the items of lists too, and
// derives the heartbeat from the lease. A setting whose zero means something
// (worker.drain_timeout: hand over at once) can only be zero through Load.
func (c *Config) Fill() {
	root := reflect.ValueOf(c).Elem()
	for _, s := range settings() {
		s.fill(root.FieldByIndex(s.index))
	}
	if len(c.Queues) == 0 {
		c.Queues = defaultQueues()
	}
	fillLists(root)
	c.deriveHeartbeat()
}

// defaultQueues has room for people who wait, for the usual and for bulk.
func defaultQueues() []Queue {
	return []Queue{{Name: "interactive", Weight: 6}, {Name: "default", Weight: 3}, {Name: "batch", Weight: 1}}
}

// deriveHeartbeat renews four times within a lease, so that three renewals in
// a row must be lost before a claim is.
func (c *Config) deriveHeartbeat() {
	if c.Worker.Heartbeat == 0 {
		c.Worker.Heartbeat = c.Worker.Lease / 4
	}
}

// fillLists fills the items of all lists in a struct.
func fillLists(v reflect.Value) {
	for i := range v.NumField() {
		if !v.Type().Field(i).IsExported() {
			continue
		}
		switch f := v.Field(i); f.Kind() {
		case reflect.Struct:
			fillLists(f)
		case reflect.Slice:
			for j := range f.Len() {
				fillItem(f.Index(j))
			}
		default:
		}
	}
}

// fillItem fills a list's item, the sections and lists in it included.
func fillItem(item reflect.Value) {
	if item.Kind() == reflect.String { // of a list of names
		return
	}
	for i := range item.NumField() {
		switch f := item.Field(i); f.Kind() {
		case reflect.Struct:
			fillItem(f)
		case reflect.Slice:
			for j := range f.Len() {
				fillItem(f.Index(j))
			}
		default:
			specOf(item.Type().Field(i)).fill(f)
		}
	}
}
