package fleet

import (
	"maps"
	"slices"
	"strings"
)

// infer is what a provider's model can do as far as its name tells, in the vendors'
// own naming; nil: nothing. It is a guess: what the API tells is believed before
// it, what the configuration declares before both.
func infer(b BackendSpec, name string) Capabilities {
	name = strings.ToLower(name)
	switch {
	case b.Provider == "" || b.Provider == "sim":
		return nil
	case isMedia(name):
		return Capabilities{CanChat: false, CanPrompt: false, CanEmbed: false, CanStream: false, CanTools: false, CanThink: false, CanVision: false}
	case strings.Contains(name, "embed"): // text-embedding-3-small, nomic-embed-text, mistral-embed, amazon.titan-embed-text
		return Capabilities{CanEmbed: true, CanChat: false, CanPrompt: false}
	case completes(b, name):
		return Capabilities{CanPrompt: true, CanStream: true, CanChat: false, CanEmbed: false}
	default:
		return Capabilities{CanChat: true, CanPrompt: true, CanStream: true}
	}
}

// ollamaAtOnce is how many calls an Ollama is taken to answer at a time. It says so
// nowhere. OLLAMA_NUM_PARALLEL is 1 by default, and was 4 where the memory sufficed; what
// one of 1 has beyond that waits there for its turn, so that it is never idle.
const ollamaAtOnce = 4

// assume is the limits of a model: as declared, and where none are, of an Ollama's a few
// calls at a time. Others, as vLLM, take hundreds.
func assume(b BackendSpec, declared Limits) Limits {
	if b.Provider == "ollama" && declared == (Limits{}) {
		return Limits{Concurrent: ollamaAtOnce, Assumed: true}
	}
	return declared
}

// isMedia reports a model that makes or hears something else than text: none of
// our kinds of call.
func isMedia(name string) bool {
	for _, word := range []string{"audio", "image", "video", "whisper", "realtime"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	words := strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune("-_/:. @", r) })
	return slices.Contains(words, "tts")
}

// completes reports a model that only completes prompts. At OpenAI that is what
// -instruct means; elsewhere, behind the same wire too, it is a chat model's name.
func completes(b BackendSpec, name string) bool {
	if strings.Contains(name, "davinci-") || strings.Contains(name, "babbage-") || strings.Contains(name, "gpt-3.5-turbo-instruct") {
		return true
	}
	return strings.HasSuffix(name, "-instruct") && b.Provider == "openai" && (b.URL == "" || strings.Contains(b.URL, "api.openai.com"))
}

// capable is what a model can do in all: as declared, else as its API tells, else
// as its name does. An API that tells one of the kinds of call has told them all.
func capable(declared, told, guessed Capabilities) Capabilities {
	all := Capabilities{}
	if !told[CanChat] && !told[CanPrompt] && !told[CanEmbed] {
		maps.Copy(all, guessed)
	}
	maps.Copy(all, told)
	maps.Copy(all, declared)
	if len(all) == 0 {
		return declared // which may be nil: nothing to be held against a call
	}
	return all
}

// contradicted are the declared capabilities of which the API tells otherwise,
// sorted.
func contradicted(declared, told Capabilities) []Capability {
	var list []Capability
	for c, yes := range declared {
		if said, known := told[c]; known && said != yes {
			list = append(list, c)
		}
	}
	slices.Sort(list)
	return list
}
