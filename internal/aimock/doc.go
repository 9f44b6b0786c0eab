// Package aimock runs npm's @copilotkit/aimock, a mock of the model APIs by somebody
// else: a second opinion on what provider/providertest, which is ours, plays. Its
// happy paths are good for every format; its errors of Bedrock, Gemini and Ollama are
// not the vendors', so that only OpenAI's and Anthropic's are looked at.
//
// It needs node, npm and, the first time, the network, so its tests run at night:
//
//	LIGHTERMAN_NIGHTLY=1 go test -count=1 -v ./internal/aimock     with the matrix of what passed
package aimock
