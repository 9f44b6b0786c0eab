// Package gemini asks the Gemini API, also through Vertex.
package gemini

import _ "google.golang.org/genai"
