package gemini

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"iter"
	"strconv"
	"strings"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"google.golang.org/genai"
)

// growth is a Completion that grows from Gemini's answers: one, or those of a stream.
type growth struct {
	provider.Completion
	key      string          // the call's: IDs of tool calls come from it
	calls    int             // function calls so far
	thoughts strings.Builder // since the last signed one
	adding   bool            // it is our code that runs, not the SDK's
}

// drain adds a stream's answers until it ends. Error: the SDK's, or that of add.
func (g *growth) drain(answers iter.Seq2[*genai.GenerateContentResponse, error]) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if g.adding { // whoever takes the frames panicked
				panic(p)
			}
			err = errShape
		}
	}()
	for answer, err := range answers {
		if err != nil {
			return err
		}
		g.adding = true
		if err := g.add(answer); err != nil {
			return err
		}
		g.adding = false
	}
	return nil
}

// add takes one answer in. Error: ContentFiltered, or ProviderFailed where the model
// wrote what is no answer; both are final.
func (g *growth) add(answer *genai.GenerateContentResponse) error {
	if f := answer.PromptFeedback; f != nil && f.BlockReason != "" && f.BlockReason != genai.BlockedReasonUnspecified {
		return lm.Errorf(lm.ContentFiltered, "the provider's filter refused the request: %s", word(string(f.BlockReason)))
	}
	if g.ID == "" {
		g.ID = answer.ResponseID
	}
	if g.Created.IsZero() {
		g.Created = answer.CreateTime
	}
	if u := answer.UsageMetadata; u != nil { // of a stream, each is the total so far
		g.Usage = lm.Usage{
			Input:  int64(u.PromptTokenCount) + int64(u.ToolUsePromptTokenCount),
			Cached: int64(u.CachedContentTokenCount),
			Output: int64(u.CandidatesTokenCount) + int64(u.ThoughtsTokenCount), Reasoning: int64(u.ThoughtsTokenCount),
		}
	}
	for _, candidate := range answer.Candidates {
		if candidate == nil || candidate.Index != 0 {
			continue
		}
		if candidate.Content != nil {
			for _, part := range candidate.Content.Parts {
				if part != nil {
					g.part(part)
				}
			}
		}
		if err := g.end(candidate.FinishReason); err != nil {
			return err
		}
	}
	return nil
}

// part takes one part in. What has no place in a chat completion, as an image or
// code that the model ran, is left out.
func (g *growth) part(p *genai.Part) {
	switch {
	case p.FunctionCall != nil:
		g.call(p.FunctionCall, p.ThoughtSignature)
	case p.Thought:
		g.Think(p.Text)
		g.thoughts.WriteString(p.Text)
		if len(p.ThoughtSignature) > 0 {
			g.keep(provider.ReasoningBlock{Type: "reasoning.text", Text: g.thoughts.String(), Signature: packed(p.ThoughtSignature)})
			g.thoughts.Reset()
		}
	default:
		g.Text(p.Text)
		if len(p.ThoughtSignature) > 0 {
			g.keep(provider.ReasoningBlock{Type: "reasoning.encrypted", Data: packed(p.ThoughtSignature)})
		}
	}
}

func (g *growth) call(f *genai.FunctionCall, signature []byte) {
	id := f.ID
	if id == "" {
		id = g.callID()
	}
	g.calls++
	n := g.Begin(id, f.Name)
	g.Arguments(n, arguments(f.Args))
	g.Done(n)
	if len(signature) > 0 {
		g.keep(provider.ReasoningBlock{Type: "reasoning.encrypted", ID: id, Data: packed(signature)})
	}
}

// callID is the ID of the next function call where the API gave none: the same when
// the call is asked again, another for another call and position.
func (g *growth) callID() string {
	of := g.key
	if of == "" {
		of = g.ID
	}
	sum := sha256.Sum256([]byte(of + "\x00" + strconv.Itoa(g.calls)))
	return "call_" + hex.EncodeToString(sum[:12])
}

func (g *growth) keep(b provider.ReasoningBlock) {
	b.Format, b.Index = format, len(g.Blocks)
	g.Blocks = append(g.Blocks, b)
}

// end takes in why a candidate ended: empty while it goes on.
func (g *growth) end(reason genai.FinishReason) error {
	switch reason {
	case "", genai.FinishReasonUnspecified:
	case genai.FinishReasonStop:
		g.Finish = "stop"
	case genai.FinishReasonMaxTokens, genai.FinishReasonContinuation:
		g.Finish = "length"
	case genai.FinishReasonSafety, genai.FinishReasonRecitation, genai.FinishReasonBlocklist, genai.FinishReasonProhibitedContent,
		genai.FinishReasonSPII, genai.FinishReasonLanguage, genai.FinishReasonImageSafety, genai.FinishReasonImageProhibitedContent,
		genai.FinishReasonImageRecitation, "MODEL_ARMOR":
		return lm.Errorf(lm.ContentFiltered, "the provider's filter ended the answer: %s", word(string(reason)))
	default:
		// MALFORMED_FUNCTION_CALL, OTHER and the like. The message beside it is left
		// out: it quotes what the model wrote.
		return lm.Errorf(lm.ProviderFailed, "the model ended without an answer: %s", word(string(reason)))
	}
	return nil
}

// word is a reason as far as it is one: an enum's name.
func word(reason string) string {
	if len(reason) > 48 || strings.Trim(reason, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") != "" {
		return "for a reason of its own"
	}
	return reason
}

// arguments writes a function call's arguments as JSON.
func arguments(args map[string]any) string {
	if len(args) == 0 {
		return "{}"
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(args) != nil { // it came as JSON
		return "{}"
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func packed(signature []byte) string { return base64.StdEncoding.EncodeToString(signature) }
