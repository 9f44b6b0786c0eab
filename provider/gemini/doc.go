// Package gemini asks Google's models, through the Gemini API or through Vertex,
// with the official SDK. It never tries again.
//
//	Call -> contents, config -> SDK -> carrier (credential, whole events) -> provider.NewClient -> API
//	     <- growth of a Completion <- SDK <-
//
// The carrier beneath the SDK keeps what the SDK loses: the headers, errors that are
// no events of the stream, and that a stream broke off.
package gemini
