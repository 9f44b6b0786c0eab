package config

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/lighterman/lighterman"
)

// KeyEnv is the environment variable in which a provider's key usually is; empty
// for one that has none.
func KeyEnv(provider string) string { return providers[provider].keyEnv }

// Credential reads the backend's key, which the configuration only names: from its
// file, else from its variable, else from the provider's usual one. It is empty
// where the provider needs none. The error says where a key was looked for, and
// never holds one. Only processes that call models or list them need to.
func (b *Backend) Credential() (lighterman.Secret, error) {
	key, from, err := b.lookup()
	switch {
	case err != nil:
		return "", fmt.Errorf("backend %s: %w", b.ID, err)
	case key == "" && from != "":
		return "", fmt.Errorf("backend %s: %s holds no key", b.ID, from)
	case strings.ContainsFunc(key, func(r rune) bool { return r < 0x21 || r > 0x7e }):
		return "", fmt.Errorf("backend %s: what %s holds is no key: it has white space or other characters in it that a key has not", b.ID, from)
	case key == "" && providers[b.Provider].needsKey && b.ownAddress():
		return "", fmt.Errorf("backend %s: no key; set %s, or name %s or %s", b.ID, KeyEnv(b.Provider), keyEnv, keyFile)
	}
	return lighterman.Secret(key), nil
}

// lookup is the key and, where the configuration or the environment says where it
// is, what that is.
func (b *Backend) lookup() (key, from string, err error) {
	switch usual := KeyEnv(b.Provider); {
	case b.APIKeyFile != "":
		content, err := readBounded(b.APIKeyFile, maxSecret)
		return strings.TrimSpace(string(content)), b.APIKeyFile, err
	case b.APIKeyEnv != "":
		return strings.TrimSpace(os.Getenv(b.APIKeyEnv)), b.APIKeyEnv, nil
	case usual != "" && b.ownAddress():
		if key := strings.TrimSpace(os.Getenv(usual)); key != "" {
			return key, usual, nil
		}
	}
	return "", "", nil
}

// ownAddress: the provider's usual key goes to the provider only, never to another
// address that speaks the same.
func (b *Backend) ownAddress() bool {
	return b.BaseURL == "" || strings.HasPrefix(b.BaseURL, "https://"+providers[b.Provider].host+"/") && providers[b.Provider].host != ""
}

var errTwoKeys = errors.New(keyEnv + " is set too; want one of them")
