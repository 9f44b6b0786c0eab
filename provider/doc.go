// Package provider says what all model APIs have in common: the interface that an
// adapter satisfies, the classification of what went wrong, time-outs, and the
// OpenAI JSON in which calls come and answers go whatever the API speaks. One
// sub-package per API asks it once; nobody here tries again, that is the router's.
//
//	Call -> adapter: request in the API's words -> Client -> API
//	     <- Completion: frames while it streams, then one chat.completion
//	     <- Classify: an Error of our kinds, with the API's Retry-After
package provider
