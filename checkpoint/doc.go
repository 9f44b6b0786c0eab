// Package checkpoint encodes, compresses, versions and recovers how far an
// operation has got. It knows no Redis: a Book yields the fields of the
// checkpoint hash as []lighterman.Step, which travel through lua's advance
// script, and reads them back as lighterman.Fields.
//
// The first write of an operation carries the base, every finished step in one
// payload; each later write carries one field for the step that it records:
//
//	schema_version           the base's and its steps' schema, decimal
//	checkpoint_ts            server ms, written by the script; only told, never trusted
//	codec                    raw or zstd
//	payload_compressed       msgpack [{name, data}, ...], as codec says
//	payload_size_original    bytes before compression, decimal
//	payload_size_compressed  bytes of payload_compressed, decimal
//	checksum                 seals trace ID and all of the above but the time
//	step:NAME                one step written since, see field.go
//
// A step's field is sealed together with the trace ID, its own name and the
// base that it follows, and carries its place in the order of steps: a field
// that was changed, renamed, taken from another operation or left over from a
// replaced base is detected, and so is one missing between two others. A
// missing last one cannot be told from a step that was never written; that step
// runs again.
//
// What Open makes of a stored checkpoint:
//
//	nothing stored ------------------------------> empty book
//	sound, our schema ---------------------------> book
//	sound, older, a chain of upgrades leads here -> book, the next Record rewrites all
//	older without a chain ---- SchemaError ------> empty book, the next Record rewrites all
//	newer -------------------- SchemaError ------> the same; wait for a newer worker first
//	anything else ------------ ErrCorrupt,
//	                           ErrTooLarge ------> empty book, the next Record rewrites all
package checkpoint
