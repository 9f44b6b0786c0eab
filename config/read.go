package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// Bounds of what is read, so that a wrong path does not fill the memory.
const (
	maxFile   = 1 << 20  // bytes of a configuration file
	maxSecret = 64 << 10 // bytes of a url_file
)

// redisURL settles which of redis.url and redis.url_file counts, and reads the
// latter if it does.
func (l *loading) redisURL() {
	r := &l.cfg.Redis
	if r.URLFile == "" {
		l.noURL()
		return
	}
	url, file := l.cfg.origins["redis.url"], l.cfg.origins["redis.url_file"]
	switch {
	case r.URL != "" && url.Source == file.Source:
		l.report(file, "redis.url_file", "redis.url is set too (%s); want one of them", url)
		return
	case r.URL != "" && url.Source > file.Source:
		r.URLFile = ""
		delete(l.cfg.origins, "redis.url_file")
		return
	case strings.Contains(r.URLFile, "://"): // not quoted, for its password
		l.report(file, "redis.url_file", "want a file's name, got a URL; did you mean redis.url?")
		return
	}
	content, err := l.readSecret(r.URLFile)
	text := strings.TrimSpace(string(content))
	switch {
	case err != nil:
		l.report(file, "redis.url_file", "%s", err)
	case text == "":
		l.report(file, "redis.url_file", "%s is empty; want a URL", quote(r.URLFile))
	default:
		r.URL = SecretURL(text)
		l.cfg.origins["redis.url"] = file
	}
}

// isRedisURL reports whether a setting says where Redis is.
func isRedisURL(path string) bool { return path == "redis.url" || path == "redis.url_file" }

// noURL reports variables and flags that were to name a Redis and are empty, as one
// whose value was forgotten is: who set it does not mean the embedded Redis.
func (l *loading) noURL() {
	if l.cfg.Redis.URL != "" {
		return
	}
	for _, origin := range l.emptyURL {
		l.report(origin, "", "set, and empty; want a URL, or leave it out for the embedded Redis, which nothing survives")
	}
}

// Reread is what the file of redis.url_file says now, which may have a newer password.
// The error is of one that cannot be read, or that holds no URL; it never quotes it.
func (r Redis) Reread() (SecretURL, error) {
	content, err := readBounded(r.URLFile, maxSecret)
	text := strings.TrimSpace(string(content))
	if err == nil {
		_, err = parseRedisURL(text)
	}
	return SecretURL(text), err
}

// readBounded reads a whole file of at most limit bytes. Its errors name the
// file.
func readBounded(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, openProblem(name, err)
	}
	defer f.Close() //nolint:errcheck // only read
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, openProblem(name, err)
	case int64(len(content)) > limit:
		return nil, fmt.Errorf("%s is larger than %s", quote(name), Size(limit))
	}
	return bytes.TrimPrefix(content, []byte("\ufeff")), nil
}

func openProblem(name string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return fmt.Errorf("read %s: %w", quote(name), err)
}
