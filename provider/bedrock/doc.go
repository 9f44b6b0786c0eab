// Package bedrock asks Amazon Bedrock: its Converse operations, which are the same
// for all models there, and for embeddings the models' own formats (Amazon Titan,
// Cohere). AWS's SDK signs and reads the event streams; it does not try again.
package bedrock
