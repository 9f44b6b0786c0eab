package config_test

import (
	"strings"
	"testing"

	"github.com/lighterman/lighterman/config"
)

// TestLoad_EmptyRedisURLIsNotTheEmbeddedRedis: a variable or flag whose value was
// forgotten.
func TestLoad_EmptyRedisURLIsNotTheEmbeddedRedis(t *testing.T) {
	for name, o := range map[string]config.Options{
		"LIGHTERMAN_REDIS_URL":      {Environ: []string{"LIGHTERMAN_REDIS_URL="}},
		"LIGHTERMAN_REDIS_URL_FILE": {Environ: []string{"LIGHTERMAN_REDIS_URL_FILE="}},
		"--redis-url":               {Environ: []string{"X=1"}, Overrides: map[string]string{"redis.url": ""}},
	} {
		_, err := config.Load(o)
		if err == nil || !strings.HasPrefix(err.Error(), name+": set, and empty; want a URL") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, o := range map[string]config.Options{
		"a flag":    {Environ: []string{"LIGHTERMAN_REDIS_URL="}, Overrides: map[string]string{"redis.url": "redis://h"}},
		"not set":   {Environ: []string{"X=1"}},
		"the last":  {Environ: []string{"LIGHTERMAN_REDIS_URL=", "LIGHTERMAN_REDIS_URL=redis://h"}},
		"the other": {Environ: []string{"LIGHTERMAN_REDIS_URL_FILE=", "LIGHTERMAN_REDIS_URL=redis://h"}},
	} {
		if _, err := config.Load(o); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
