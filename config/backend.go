package config

// Backend is one endpoint that serves models.
type Backend struct {
	ID              string          `yaml:"id" required:"true" desc:"What models call it."`
	Provider        string          `yaml:"provider" required:"true" enum:"openai,anthropic,gemini,vertex,bedrock,ollama,openrouter,mistral,azure,vllm,sim" desc:"Which kind of API it speaks; openai also for any compatible address. sim plays models inside the worker."`
	BaseURL         string          `yaml:"base_url" desc:"Where it is, with the version: https://HOST/v1 for the OpenAI family. Left out: the provider's own address; vllm and a compatible server need it."`
	APIKeyEnv       string          `yaml:"api_key_env" desc:"The environment variable that holds its key. Left out, and no file: the provider's usual one, as OPENAI_API_KEY."`
	APIKeyFile      string          `yaml:"api_key_file" desc:"The file that holds its key."`
	Region          string          `yaml:"region" desc:"Of bedrock. Left out: as the AWS environment says."`
	Profile         string          `yaml:"profile" desc:"Of bedrock: the profile in the shared AWS configuration."`
	Project         string          `yaml:"project" desc:"Of vertex."`
	Location        string          `yaml:"location" desc:"Of vertex, as europe-west4 or global."`
	CredentialsFile string          `yaml:"credentials_file" desc:"Of vertex: a service account's file. Left out: Google's application default credentials."`
	Timeouts        BackendTimeouts `yaml:"timeouts" desc:"How long one attempt waits for what."`
}

// BackendTimeouts are how long one attempt waits for what.
type BackendTimeouts struct {
	Connect   Duration `yaml:"connect" default:"5s" min:"10ms" max:"5m" desc:"For the connection."`
	FirstByte Duration `yaml:"first_byte" default:"60s" min:"10ms" max:"1h" desc:"For the first byte of a streamed answer."`
	Idle      Duration `yaml:"idle" default:"60s" min:"10ms" max:"1h" desc:"For the next bytes of a stream."`
	Reasoning Duration `yaml:"reasoning_idle" default:"2m" min:"10ms" max:"1h" desc:"The same where a model reasons before it answers."`
	Total     Duration `yaml:"total" default:"10m" min:"100ms" max:"24h" desc:"For the whole answer, where the operation names no timeout."`
}

// facts are what is to be known of a provider before it is asked.
type facts struct {
	keyEnv   string   // the usual variable of its key; empty: it has none
	host     string   // its own, to which that key may go
	needsKey bool     // at its own address
	needs    []string // settings without which it cannot be reached
	takes    []string // settings that mean something to it, beside those it needs
}

const (
	baseURL, keyEnv, keyFile          = "base_url", "api_key_env", "api_key_file"
	region, profile                   = "region", "profile"
	project, location, credentialFile = "project", "location", "credentials_file"
)

var hosted = []string{baseURL, keyEnv, keyFile}

// providers are the kinds of APIs.
var providers = map[string]facts{
	"openai":     {keyEnv: "OPENAI_API_KEY", host: "api.openai.com", needsKey: true, takes: hosted},
	"openrouter": {keyEnv: "OPENROUTER_API_KEY", host: "openrouter.ai", needsKey: true, takes: hosted},
	"mistral":    {keyEnv: "MISTRAL_API_KEY", host: "api.mistral.ai", needsKey: true, takes: hosted},
	"azure":      {needs: []string{baseURL}, takes: []string{keyEnv, keyFile}},
	"anthropic":  {keyEnv: "ANTHROPIC_API_KEY", host: "api.anthropic.com", needsKey: true, takes: hosted},
	"gemini":     {keyEnv: "GEMINI_API_KEY", host: "generativelanguage.googleapis.com", needsKey: true, takes: hosted},
	"vllm":       {needs: []string{baseURL}, takes: []string{keyEnv, keyFile}},
	"ollama":     {takes: hosted},
	"vertex":     {needs: []string{project, location}, takes: []string{baseURL, credentialFile}},
	"bedrock":    {takes: []string{baseURL, region, profile, keyEnv, keyFile}},
	SimBackend:   {},
}

// settings are the texts that only some providers take.
func (b *Backend) settings() map[string]string {
	return map[string]string{
		baseURL: b.BaseURL, keyEnv: b.APIKeyEnv, keyFile: b.APIKeyFile, region: b.Region, profile: b.Profile,
		project: b.Project, location: b.Location, credentialFile: b.CredentialsFile,
	}
}
